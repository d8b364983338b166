//! Free space of a SQLite file after an erasure: gaps in pages, and pages that nobody uses.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::fixture::*;
use crate::retention::pass;
use crate::sqlite_retention::{at, erase_all, files_with, is_sound, keeping, number, record};

const SECRET: &str = "seekret-";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pages_that_retention_has_merged_hold_no_copy_of_an_erased_payload_in_their_gaps() {
    let fixture = SqliteFixture::here();
    let directory = fixture.0.path().to_owned();
    let store = fixture.open(tuning(50)).await.0;
    for n in 0..600_usize {
        let name = if n % 3 == 0 { "held" } else { "other" };
        let text = format!("{}{n} {}", if n % 3 == 0 { SECRET } else { "" }, "s".repeat(n * 911 % 1_500));
        record(&store, name, i64::try_from(n).unwrap(), vec![event(&text)]).await;
    }
    store.hold(&run_id("held"), true).await.unwrap();
    // The events of the held run stay behind in pages that empty around them.
    assert!(pass(&store, &keeping(1), at(1_000)).await >= 300);
    erase_all(&store, "held").await;
    assert_eq!(files_with(&directory, SECRET), [] as [String; 0]);
    store.append(append("later", vec![event("x")])).await.unwrap();
    store.ready().await.unwrap();
    store.close().await;
    is_sound(&directory.join("log.db")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_erasure_clears_the_free_pages_of_an_earlier_version_and_lets_the_file_shrink_from_then_on() {
    let fixture = SqliteFixture::here();
    let path = fixture.options(Tuning::default()).path;
    let earlier = SqliteConnectOptions::new().filename(&path).create_if_missing(true).pragma("secure_delete", "OFF");
    let mut earlier = earlier.page_size(8_192).connect().await.unwrap();
    const LEFT: &str = "CREATE TABLE t (a); WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000) \
        INSERT INTO t SELECT 'seekret-' || n || hex(zeroblob(500)) FROM n; DROP TABLE t";
    sqlx::raw_sql(LEFT).execute(&mut earlier).await.unwrap();
    earlier.close().await.unwrap();
    let length = path.metadata().unwrap().len();
    let store = fixture.open(tuning(1)).await.0;
    store.append(append("r", vec![event("a"), event("b")])).await.unwrap();
    assert!(!files_with(fixture.0.path(), SECRET).is_empty());
    erase_all(&store, "r").await;
    assert_eq!(files_with(fixture.0.path(), SECRET), [] as [String; 0]);
    assert!(path.metadata().unwrap().len() < length / 4);
    store.ready().await.unwrap();
    store.append(append("r", vec![event("c")])).await.unwrap();
    assert_eq!(number(&path, "PRAGMA auto_vacuum").await, 2);
    store.close().await;
    is_sound(&path).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_file_is_not_rewritten_by_an_erasure_and_holds_nothing_of_the_event_itself() {
    let fixture = SqliteFixture::here();
    let path = fixture.options(Tuning::default()).path;
    let store = fixture.open(Tuning::default()).await.0;
    for _ in 0..20 {
        store.append(append("large", vec![event(&"x".repeat(1_000_000))])).await.unwrap();
    }
    store.append(append("r", vec![event(SECRET)])).await.unwrap();
    // VACUUM changes it.
    let before = number(&path, "PRAGMA schema_version").await;
    erase_all(&store, "r").await;
    assert_eq!(files_with(fixture.0.path(), SECRET), [] as [String; 0]);
    assert_eq!(number(&path, "PRAGMA schema_version").await, before);
    erase_all(&store, "large").await;
    erase_all(&store, "r").await;
    assert_ne!(number(&path, "PRAGMA schema_version").await, before, "it is small now");
    store.ready().await.unwrap();
    store.close().await;
    is_sound(&path).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_erasure_that_follows_a_rewrite_and_removes_nothing_leaves_the_file_as_it_is() {
    const REWRITES: &str = "PRAGMA schema_version";
    let fixture = SqliteFixture::here();
    let path = fixture.options(Tuning::default()).path;
    let store = fixture.open(Tuning::default()).await.0;
    store.append(append("r", vec![event("a"), event("b")])).await.unwrap();
    erase_all(&store, "r").await;
    let rewritten = number(&path, REWRITES).await;
    erase_all(&store, "r").await;
    assert_eq!(store.erase(&run_id("r"), 7..=9).await.unwrap(), 0);
    assert_eq!(number(&path, REWRITES).await, rewritten);
    store.append(append("r", vec![event("c")])).await.unwrap();
    erase_all(&store, "r").await;
    assert_eq!(number(&path, REWRITES).await, rewritten + 1);
    store.close().await;
    // Earlier processes may have left something.
    let store = fixture.open(Tuning::default()).await.0;
    erase_all(&store, "r").await;
    assert_eq!(number(&path, REWRITES).await, rewritten + 2);
    store.close().await;
}

/// In one thread, so that all erasures wait before the first has ended.
#[tokio::test]
async fn erasures_that_wait_at_the_same_time_share_one_rewrite_of_the_file() {
    let fixture = SqliteFixture::here();
    let path = fixture.options(Tuning::default()).path;
    let store = fixture.open(Tuning::default()).await.0;
    let names: Vec<String> = (0..12).map(|n| format!("r{n}")).collect();
    for name in &names {
        store.append(append(name, vec![event(SECRET)])).await.unwrap();
    }
    let before = number(&path, "PRAGMA schema_version").await;
    let erasures = names.iter().map(|name| {
        let (store, name) = (store.clone(), run_id(name));
        async move { store.erase(&name, 1..=1).await.unwrap() }
    });
    let erasures: tokio::task::JoinSet<u64> = erasures.collect();
    assert_eq!(erasures.join_all().await, [1; 12]);
    assert_eq!(files_with(fixture.0.path(), SECRET), [] as [String; 0]);
    assert_eq!(number(&path, "PRAGMA schema_version").await, before + 1);
    store.close().await;
}

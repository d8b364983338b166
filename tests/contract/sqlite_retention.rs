//! Removal on SQLite: the raw files hold nothing of an erased payload, disk space comes back, and the file stays sound.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use runlog::domain::retention::{Keep, Retention};
use runlog::domain::{NewEvent, Scope};
use runlog::store::inspect::{CheckOptions, Verdict};
use runlog::store::sqlite::{SqliteOptions, SqliteStore, inspect};
use runlog::store::{Append, Import, Recorded, SharedStore};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::fixture::*;
use crate::retention::pass;

/// Names of the files of the store that hold this text.
pub fn files_with(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    found
}

pub async fn is_sound(path: &Path) {
    let options = CheckOptions { deep: true, max_clock_skew: Duration::from_secs(1_000_000_000) };
    for finding in inspect::look(path, options).await {
        assert!(matches!(finding.verdict, Verdict::Ok | Verdict::Warning), "{finding:?}");
    }
}

pub async fn number(path: &Path, sql: &'static str) -> i64 {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let number = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    number
}

pub fn keeping(seconds: u64) -> Retention {
    Retention { default: Keep::For(Duration::from_secs(seconds)), ..Retention::default() }
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap() + SignedDuration::from_secs(second)
}

pub async fn record(store: &SharedStore, run: &str, second: i64, events: Vec<NewEvent>) {
    let recorded =
        Some(Box::new(Recorded { at: vec![at(second); events.len()], import: Import::default(), first_seq: None }));
    store.append(Append { recorded, ..append(run, events) }).await.unwrap();
}

/// Erases all events of a run.
pub async fn erase_all(store: &SharedStore, run_name: &str) {
    let last = store.extent(&run(run_name)).await.unwrap().end.last;
    assert_eq!(store.erase(&run_id(run_name), 1..=last).await.unwrap(), last);
}

/// Events whose texts and documents hold the secret, between others.
async fn publish_secrets(store: &SharedStore, secret: &str) {
    let others = || (0..20).map(|n| event(&format!("beside {n} {}", "y".repeat(n * 50)))).collect::<Vec<_>>();
    let large = format!("{secret} {}{secret}", "z".repeat(70_000));
    let question = format!("{{\"question_id\":\"q1\",\"question\":\"{secret}\",\"context\":{{\"a\":\"{secret}\"}}}}");
    let answered = question.replace("q1", "q2");
    store.append(append("other", others())).await.unwrap();
    let events = vec![
        event(secret),
        typed("human_input_requested", &question),
        typed("human_input_requested", &answered),
        event(&large),
        typed("human_input_received", "{\"question_id\":\"q2\"}"),
    ];
    store.append(append("r", events)).await.unwrap();
    store.append(append("other", others())).await.unwrap();
    let output = format!("{{\"output\":{{\"text\":\"{secret}\"}},\"usage\":{{\"total_tokens\":3}}}}");
    store.append(append("ended", vec![event("begin"), typed("run_end", &output)])).await.unwrap();
    store.append(append("failed", vec![typed("error", &format!("{{\"message\":\"{secret}\"}}"))])).await.unwrap();
    store.append(append("other", others())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_file_holds_anything_of_an_erased_payload_or_of_the_documents_that_came_from_it() {
    const SECRET: &str = "seekret-8a1d0c77";
    for flush_every in [1, 7, 100_000] {
        let fixture = SqliteFixture::here();
        let directory = fixture.0.path().to_owned();
        let store = fixture.open(tuning(flush_every)).await.0;
        publish_secrets(&store, SECRET).await;
        assert!(!files_with(&directory, SECRET).is_empty());
        assert_eq!(store.erase(&run_id("r"), 1..=4).await.unwrap(), 4);
        assert_eq!(store.erase(&run_id("ended"), 2..=u64::MAX).await.unwrap(), 1);
        assert_eq!(store.erase(&run_id("failed"), 0..=1).await.unwrap(), 1);
        assert_eq!(files_with(&directory, SECRET), [] as [String; 0], "flushed every {flush_every}");
        let run = store.run(&run_id("r")).await.unwrap();
        let open: Vec<_> = run.pending_inputs.iter().map(|question| question.requested_seq).collect();
        assert_eq!((open, run.pending_inputs[0].question.as_str()), (vec![2], ""));
        assert_eq!(store.run(&run_id("ended")).await.unwrap().output_json, None);
        assert_eq!(store.run(&run_id("failed")).await.unwrap().error_json, None);
        // The files work as before.
        store.append(append("r", vec![typed("human_input_received", "{\"question_id\":\"q1\"}")])).await.unwrap();
        assert!(store.run(&run_id("r")).await.unwrap().pending_inputs.is_empty());
        assert_eq!(all(&store, &Scope::Feed).await.len(), 60 + 5 + 2 + 1 + 1);
        store.close().await;
        assert_eq!(files_with(&directory, SECRET), [] as [String; 0]);
        is_sound(&directory.join("log.db")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_events_of_a_run_are_erased_from_all_pages_beside_the_events_of_other_runs() {
    const SECRET: &str = "seekret-";
    let fixture = SqliteFixture::here();
    let directory = fixture.0.path().to_owned();
    let store = fixture.open(tuning(50)).await.0;
    for n in 0..400_usize {
        let of_run = (0..=n % 3).map(|part| event(&format!("{SECRET}{n}-{part} {}", "s".repeat(n * 37 % 3_000))));
        store.append(append("r", of_run.collect())).await.unwrap();
        store.append(append("other", vec![event(&"o".repeat(n * 91 % 2_000))])).await.unwrap();
    }
    let others = events(&store, &run("other")).await;
    erase_all(&store, "r").await;
    assert_eq!(files_with(&directory, SECRET), [] as [String; 0]);
    assert!(events(&store, &run("r")).await.iter().all(|event| event.removal.is_some()));
    assert_eq!(events(&store, &run("other")).await, others);
    store.close().await;
    is_sound(&directory.join("log.db")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_of_which_a_little_is_kept_stays_at_its_size_and_its_ids_go_too() {
    let fixture = SqliteFixture::here();
    let path = fixture.options(Tuning::default()).path;
    let mut store = fixture.open(tuning(100)).await.0;
    let mut sizes = Vec::new();
    // 60 days of 240 events each, of which one day is kept; a run takes an hour.
    for day in 0..60 {
        for hour in 0..24 {
            let name = format!("{day}-{hour}");
            for part in 0..2 {
                let id = |n: usize| format!("{name}-{part}-{n}");
                let events = (0..5).map(|n| with_id(&id(n), event(&"x".repeat(100 + 397 * n)))).collect();
                record(&store, &name, i64::from(day) * 86_400 + i64::from(hour) * 3_600, events).await;
            }
        }
        pass(&store, &keeping(86_400), at(i64::from(day + 1) * 86_400)).await;
        if day % 20 == 19 {
            store.close().await;
            is_sound(&path).await;
            sizes.push(path.metadata().unwrap().len());
            store = fixture.open(tuning(100)).await.0;
        }
    }
    println!("sizes: {sizes:?}");
    // The rows of runs stay.
    assert!(sizes[2] < sizes[0] * 3 / 2, "{sizes:?}");
    store.close().await;
    let ids = number(&path, "SELECT sum(places) FROM id_segments WHERE live").await;
    assert!(ids < 60 * 240 / 2, "{ids} ids of {} events are left", 60 * 240);
    assert_eq!(number(&path, "SELECT count(*) FROM runs").await, 60 * 24);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn free_pages_go_back_to_the_file_system_while_the_store_serves() {
    let fixture = SqliteFixture::here();
    let path = fixture.options(Tuning::default()).path;
    let store = fixture.open(tuning(100)).await.0;
    for second in 0..400 {
        record(&store, "r", second, vec![event(&"x".repeat(50_000))]).await;
    }
    let retention = keeping(10);
    for _ in 0..20 {
        pass(&store, &retention, at(410)).await;
        store.append(append("later", vec![event("x")])).await.unwrap();
    }
    store.erase(&run_id("later"), 1..=1).await.unwrap();
    let size = path.metadata().unwrap().len();
    assert!(size < 8 << 20, "{size} bytes of 20 MB are left");
    store.ready().await.unwrap();
    store.append(append("later", vec![event("x")])).await.unwrap();
    store.close().await;
    is_sound(&path).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_with_removed_events_in_every_place_is_sound_after_each_pass() {
    let fixture = SqliteFixture::here();
    let path = fixture.options(Tuning::default()).path;
    for round in 0..6 {
        let store = fixture.open(tuning(13)).await.0;
        for second in 0..30 {
            for name in ["a", "b", "held"] {
                record(&store, name, round * 30 + second, vec![event("one"), event("two")]).await;
            }
        }
        store.hold(&run_id("held"), round < 4).await.unwrap();
        store.erase(&run_id("b"), 1..=(round.unsigned_abs() * 50)).await.unwrap();
        pass(&store, &keeping(40), at(round * 30 + 30)).await;
        store.close().await;
        is_sound(&path).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_log_that_another_program_checkpoints_is_left_as_it_is_by_an_erasure() {
    let fixture = SqliteFixture::here();
    let options = SqliteOptions { checkpoints: false, ..fixture.options(tuning(1)) };
    let store: SharedStore = Arc::new(SqliteStore::open(options, Arc::new(Recorder::default())).await.unwrap());
    store.append(append("r", vec![event("x")])).await.unwrap();
    assert_eq!(store.erase(&run_id("r"), 1..=1).await.unwrap(), 1);
    assert!(fixture.0.path().join("log.db-wal").metadata().unwrap().len() > 0);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_erasure_that_a_reader_keeps_from_emptying_the_log_is_unknown_until_the_same_call_ends_it() {
    let fixture = SqliteFixture::here();
    let store = fixture.open(tuning(1)).await.0;
    store.append(append("r", vec![event("seekret-a")])).await.unwrap();
    let path = fixture.options(Tuning::default()).path;
    let mut reader = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM log").execute(&mut reader).await.unwrap();
    assert_eq!(reason(store.erase(&run_id("r"), 1..=1).await), "OUTCOME_UNKNOWN");
    assert!(events(&store, &run("r")).await[0].removal.is_some());
    store.append(append("r", vec![event("y")])).await.unwrap();
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    assert_eq!(store.erase(&run_id("r"), 1..=1).await.unwrap(), 1);
    assert_eq!(files_with(fixture.0.path(), "seekret-a"), [] as [String; 0]);
    reader.close().await.unwrap();
}

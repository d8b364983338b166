//! Damaged files: reported with a documented error, and the intact events are still served.

use std::fs;
use std::path::PathBuf;

use runlog::domain::{Error, Scope};
use runlog::store::sqlite::OpenError;
use runlog::store::{Range, RunQuery, SharedStore};

use super::{execute, refusal, try_open};
use crate::fixture::*;

/// Page size in bytes, from the header of the file.
fn page_bytes(file: &[u8]) -> usize {
    u16::from_be_bytes([file[16], file[17]]).into()
}

/// Offset of a byte pattern in the file.
fn find(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).position(|window| window == needle).unwrap()
}

async fn filled(fixture: &SqliteFixture) -> PathBuf {
    let store = fixture.open(ALWAYS_FLUSHED).await.0;
    for n in 0..40 {
        let text = format!("{}-mark-{n:02}-{}", "x".repeat(10_000), "x".repeat(10_000));
        store.append(append(&format!("r{}", n % 4), vec![with_id(&n.to_string(), event(&text))])).await.unwrap();
    }
    store.close().await;
    fixture.options(Tuning::default()).path
}

/// Calls every method: damage is an error and never a panic. Returns the number of errors.
async fn survives(store: &SharedStore) -> usize {
    let mut broken = 0;
    let mut note = |result: Result<(), Error>| match result {
        Ok(()) => {}
        Err(Error::StoreDamaged | Error::EventDamaged { .. } | Error::StoreUnavailable) => broken += 1,
        Err(error) => panic!("{error:?}"),
    };
    for scope in ["r0", "r1", "r2", "r3"].map(run).into_iter().chain([Scope::Feed]) {
        for from in 0..42 {
            for descending in [false, true] {
                let range = Range { from: beyond(from, descending), max_events: 1, max_bytes: 0 };
                let page = store.read(&scope, range).await;
                note(page.and_then(|page| {
                    page.chunks.iter().flat_map(|chunk| chunk.records()).try_for_each(|r| r.map(drop))
                }));
            }
        }
    }
    for name in ["r0", "r1", "r2", "r3"] {
        note(store.run(&run_id(name)).await.map(drop));
        note(store.append(append(name, vec![with_id("1", event("?")), event("new")])).await.map(drop).or_else(
            |error| {
                if error.reason() == "EVENT_ID_CONFLICT" { Ok(()) } else { Err(error) }
            },
        ));
    }
    note(store.runs(&RunQuery { limit: 10, ..RunQuery::default() }).await.map(drop));
    broken
}

#[tokio::test]
async fn damage_in_an_event_harms_that_event_only() {
    let fixture = SqliteFixture::here();
    let path = filled(&fixture).await;
    let mut bytes = fs::read(&path).unwrap();
    // A page in the middle of the row of r1's third event: its link to the next page is lost.
    let size = page_bytes(&bytes);
    let page = find(&bytes, b"-mark-09-") / size * size;
    let inside = bytes[page..page + size].iter().position(|byte| *byte == b'x').unwrap();
    bytes[page..page + inside.max(8)].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let store = fixture.open(NEVER_FLUSHED).await.0;
    let broken = survives(&store).await;
    for healthy in ["r0", "r2", "r3"] {
        assert!(all(&store, &run(healthy)).await.len() >= 10, "other data is served");
    }
    assert!(broken > 0, "damage is reported");
    store.close().await;
}

#[tokio::test]
async fn damage_anywhere_is_an_error_and_no_panic() {
    let fixture = SqliteFixture::here();
    let path = filled(&fixture).await;
    let whole = fs::read(&path).unwrap();
    let (size, mut refused, mut reported) = (page_bytes(&whole), 0, 0);
    for page in 0..whole.len() / size {
        let mut bytes = whole.clone();
        bytes[page * size..(page + 1) * size].fill(if page % 2 == 0 { 0 } else { 0xd7 });
        fs::write(&path, &bytes).unwrap();
        for extension in ["db-wal", "db-shm"] {
            let _ = fs::remove_file(path.with_extension(extension));
        }
        match try_open(fixture.options(NEVER_FLUSHED)).await {
            Ok(store) => {
                reported += usize::from(survives(&store).await > 0);
                store.close().await;
            }
            Err(OpenError::Damaged { .. } | OpenError::NotADatabase { .. } | OpenError::Foreign { .. }) => refused += 1,
            Err(other) => panic!("page {page}: {other}"),
        }
    }
    assert!(refused > 0 && reported > 10, "{refused} refused, {reported} reported");
}

#[tokio::test]
async fn an_empty_header_is_refused_and_not_recreated() {
    let fixture = SqliteFixture::here();
    let path = filled(&fixture).await;
    let mut bytes = fs::read(&path).unwrap();
    bytes[..100].fill(0);
    fs::write(&path, &bytes).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::NotADatabase { .. } | OpenError::Damaged { .. }), "{error}");
    assert!(fs::read(&path).unwrap() == bytes, "what is left can still be rescued");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_damaged_run_does_not_fail_the_group_it_is_in() {
    let fixture = SqliteFixture::here();
    let store = fixture.opened().await;
    for name in ["bad", "good"] {
        store.append(append(name, vec![event("x")])).await.unwrap();
    }
    store.close().await;
    execute(&fixture.options(Tuning::default()).path, "UPDATE runs SET created_at = 'never' WHERE run_id = 'bad'")
        .await;
    let (store, recorder) = fixture.open(Tuning::default()).await;
    let held = recorder.hold(&store).await;
    let bad = store.submit(append("bad", vec![event("y")])).await.unwrap();
    let good = store.submit(append("good", vec![event("y")])).await.unwrap();
    drop(held);
    assert_eq!(reason(bad.stored().await), "STORE_DAMAGED");
    assert_eq!(good.stored().await.unwrap().last_seq, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_damaged_block_of_ids_refuses_the_ids_that_it_may_hold_and_all_else_goes_on() {
    let fixture = SqliteFixture::here();
    let path = fixture.options(Tuning::default()).path;
    let store = fixture.open(ALWAYS_FLUSHED).await.0;
    for n in 0..3 {
        store.append(append("r", vec![with_id(&format!("id-{n}"), event("x"))])).await.unwrap();
    }
    store.close().await;
    // A damaged id hash: the lookup of the id finds no event.
    execute(
        &path,
        "UPDATE id_blocks SET data = CAST(x'00' || substr(data, 2) AS BLOB) WHERE block = (SELECT min(block) FROM id_blocks)",
    )
    .await;
    let store = fixture.open(ALWAYS_FLUSHED).await.0;
    let repeat = |n: usize| append("r", vec![with_id(&format!("id-{n}"), event("x"))]);
    assert_eq!(reason(store.append(repeat(0)).await), "STORE_DAMAGED", "it would be stored a second time");
    for n in 1..3 {
        assert_eq!(duplicates(&store.append(repeat(n)).await.unwrap()), [true]);
    }
    // Enough segments for compactions, which leave the damaged segment out.
    for n in 3..40 {
        store.append(append("r", vec![with_id(&format!("id-{n}"), event("x"))])).await.unwrap();
    }
    assert_eq!(reason(store.append(repeat(0)).await), "STORE_DAMAGED");
    assert!(duplicates(&store.append(repeat(30)).await.unwrap())[0]);
    store.ready().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_damaged_row_of_a_run_refuses_that_run_only() {
    let fixture = SqliteFixture::here();
    let path = fixture.options(Tuning::default()).path;
    for change in [
        "UPDATE runs SET status = 5 WHERE run_id = 'bad'",
        "UPDATE runs SET last_seq = 3 WHERE run_id = 'bad'",
        "UPDATE runs SET updated_at = '2020-01-01T00:00:00Z' WHERE run_id = 'bad'",
        "UPDATE runs SET usage = '{}' WHERE run_id = 'bad'",
        "UPDATE run_documents SET json = replace(json, '42', '43') WHERE run = (SELECT run FROM runs WHERE run_id = 'bad')",
    ] {
        let _ = fs::remove_file(&path);
        let store = fixture.open(ALWAYS_FLUSHED).await.0;
        for name in ["bad", "good"] {
            let events = vec![typed("step", "{}"), typed("run_end", r#"{"output":42}"#)];
            store.append(append(name, events)).await.unwrap();
        }
        store.close().await;
        execute(&path, change).await;
        let store = fixture.open(NEVER_FLUSHED).await.0;
        assert_eq!(reason(store.run(&run_id("bad")).await), "STORE_DAMAGED", "{change}");
        assert_eq!(store.run(&run_id("good")).await.unwrap().output_json.as_deref(), Some("42"));
        store.append(append("good", vec![event("y")])).await.unwrap();
        store.close().await;
    }
}

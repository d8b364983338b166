//! Retention, erasure and holds on PostgreSQL: several replicas, files of the server, ids of removed events.

mod random;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use runlog::domain::retention::{Keep, Retention};
use runlog::domain::{EventId, Removal, Scope};
use runlog::store::inspect::{CheckOptions, Verdict};
use runlog::store::postgres::{PostgresOptions, PostgresStore, inspect};
use runlog::store::{Expired, SharedStore};

use crate::cluster::Database;
use crate::fixture::*;
use crate::proxy::{Mode, Proxy};

async fn opened(options: PostgresOptions) -> (SharedStore, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let store = PostgresStore::open(options, recorder.clone()).await.unwrap();
    (Arc::new(store), recorder)
}

fn options(database: &Database) -> PostgresOptions {
    PostgresOptions { pool_size: 2, ..PostgresOptions::new(database.url()) }
}

/// Waits until this holds.
async fn eventually(holds: impl AsyncFn() -> bool) {
    let waited = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.unwrap();
}

/// Keeps all events for an hour.
fn an_hour() -> Retention {
    Retention { default: Keep::For(Duration::from_secs(3_600)), ..Retention::default() }
}

/// A time at which every event of a test is older than an hour.
fn later() -> Timestamp {
    Timestamp::now() + 2.hours()
}

/// A full pass of retention. Returns the sums.
async fn expire(store: &SharedStore, retention: &Retention, now: Timestamp) -> Expired {
    let mut sum = Expired::default();
    while !sum.is_done {
        let slice = store.expire(retention, now, sum.examined).await.unwrap();
        assert!(slice.examined >= sum.examined);
        sum = Expired { events: sum.events + slice.events, bytes: sum.bytes + slice.bytes, ..slice };
    }
    sum
}

/// Asserts that `check --deep` finds nothing.
async fn is_sound(database: &Database) {
    let look = CheckOptions { deep: true, max_clock_skew: Duration::from_secs(60) };
    for found in inspect::look(&options(database), look).await {
        assert!(["standbys", "store"].contains(&found.name) || found.verdict == Verdict::Ok, "{found:?}");
    }
}

#[tokio::test]
async fn events_go_whole_from_the_begin_of_feed_and_runs_and_the_newest_one_stays() {
    let Some(database) = Database::create().await else { return };
    let (store, recorder) = opened(options(&database)).await;
    for n in 0..1_200 {
        let run = format!("r{}", n % 3);
        store.submit(append(&run, vec![with_id(&format!("e{n}"), event("x"))])).await.unwrap();
    }
    store.append(append("last", vec![typed("run_end", r#"{"output":"kept"}"#)])).await.unwrap();
    assert_eq!(expire(&store, &an_hour(), Timestamp::now()).await.events, 0);
    let expired = expire(&store, &an_hour(), later()).await;
    assert_eq!((expired.events, expired.examined), (1_201, 1_201));
    assert!(!recorder.removals().is_empty());
    assert_eq!(store.extent(&Scope::Feed).await.unwrap().first, 1_201);
    let page = store.read(&Scope::Feed, ascending(1_200, 10)).await.unwrap();
    assert_eq!((page.first, page.scope_end.last, page.chunks[0].first), (1_201, 1_201, 1_201));
    assert_eq!(reason(store.read(&Scope::Feed, ascending(1_199, 10)).await), "CURSOR_EXPIRED");
    for n in 0..3 {
        let name = format!("r{n}");
        let kept = store.run(&run_id(&name)).await.unwrap();
        assert_eq!((kept.first_seq, kept.last_seq), (401, 400));
        assert!(store.read(&run(&name), ascending(400, 10)).await.unwrap().chunks.is_empty());
        assert_eq!(reason(store.read(&run(&name), ascending(0, 10)).await), "CURSOR_EXPIRED");
        assert_eq!(store.last_seq_at(&run_id(&name), 1_201).await.unwrap(), 400);
    }
    let last = store.run(&run_id("last")).await.unwrap();
    assert_eq!((last.first_seq, last.last_seq, last.output_json.as_deref()), (1, 1, Some("\"kept\"")));
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(&mut database.connect().await).await.unwrap();
    assert_eq!(rows, 1);
    is_sound(&database).await;
    // Under the id of an event that is gone another one is stored, on both paths of a commit.
    assert_eq!(reason(store.find_event(None, &EventId::parse("e0").unwrap()).await), "EVENT_NOT_FOUND");
    for (id, seq) in [("e0", 401), ("e3", 402)] {
        let new = store.append(append("r0", vec![with_id(id, event("y"))])).await.unwrap();
        assert_eq!((seqs(&new), duplicates(&new)), (vec![seq], vec![false]));
    }
    is_sound(&database).await;
    store.close().await;
}

#[tokio::test]
async fn an_id_is_free_again_when_its_event_only_fills_the_feed() {
    let Some(database) = Database::create().await else { return };
    let (store, _) = opened(options(&database)).await;
    store.append(append("held", vec![event("kept")])).await.unwrap();
    store.append(append("r", vec![with_id("named", event("x")), event("x"), event("x")])).await.unwrap();
    let assigned = events(&store, &run("r")).await[1].event_id.clone();
    store.append(append("end", vec![event("newest")])).await.unwrap();
    store.hold(&run_id("held"), true).await.unwrap();
    assert!(store.run(&run_id("held")).await.unwrap().is_held);
    // The first event of the feed stays, since one type is kept for ever.
    let by_type = vec![(runlog::domain::filter::TypePattern::parse("", "run_end").unwrap(), Keep::Forever)];
    let retention = Retention { by_type, ..an_hour() };
    assert_eq!(expire(&store, &retention, later()).await.events, 4);
    let feed = events(&store, &Scope::Feed).await;
    let removals: Vec<Option<Removal>> = feed.iter().map(|event| event.removal).collect();
    let gone = Some(Removal::Expired);
    assert_eq!(removals, [None, gone, gone, gone, gone]);
    assert_eq!(store.run(&run_id("r")).await.unwrap().first_seq, 4);
    for id in ["named", assigned.as_str()] {
        assert_eq!(reason(store.find_event(None, &EventId::parse(id).unwrap()).await), "EVENT_NOT_FOUND");
    }
    let again = store.append(append("r", vec![with_id("named", event("y")), with_id(assigned.as_str(), event("y"))]));
    let again = again.await.unwrap();
    assert_eq!((seqs(&again), duplicates(&again)), (vec![4, 5], vec![false, false]));
    is_sound(&database).await;
    // Released, the first event goes, and those behind it.
    store.hold(&run_id("held"), false).await.unwrap();
    expire(&store, &retention, later()).await;
    assert_eq!(store.extent(&Scope::Feed).await.unwrap().first, 7);
    is_sound(&database).await;
    store.close().await;
}

#[tokio::test]
async fn a_maximum_of_bytes_counts_what_all_replicas_store() {
    let Some(database) = Database::create().await else { return };
    let (one, _) = opened(options(&database)).await;
    let (other, _) = opened(options(&database)).await;
    let retention = Retention { max_bytes: Some(100_000), ..Retention::default() };
    let stored = async || -> i64 {
        let sum = "SELECT sum(bytes)::bigint FROM events";
        sqlx::query_scalar(sum).fetch_one(&mut database.connect().await).await.unwrap()
    };
    for round in 0..4 {
        for store in [&one, &other] {
            store.append(append("r", vec![event(&"x".repeat(1_000)); 150])).await.unwrap();
        }
        let store = if round % 2 == 0 { &one } else { &other };
        // What is erased does not count.
        let last = store.extent(&run("r")).await.unwrap().end.last;
        store.erase(&run_id("r"), last - 9..=last).await.unwrap();
        expire(store, &retention, Timestamp::now()).await;
        let counted: i64 = sqlx::query_scalar("SELECT bytes FROM feed_retention")
            .fetch_one(&mut database.connect().await)
            .await
            .unwrap();
        assert_eq!(counted, stored().await);
        assert!((90_000..=100_000).contains(&counted), "{counted}");
    }
    is_sound(&database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_expire_at_once_remove_each_event_once() {
    let Some(database) = Database::create().await else { return };
    let (one, _) = opened(options(&database)).await;
    let (other, _) = opened(options(&database)).await;
    for _ in 0..8 {
        one.append(append("r", vec![event("x"); 500])).await.unwrap();
    }
    one.append(append("last", vec![event("newest")])).await.unwrap();
    let passes = [Arc::clone(&one), other, Arc::clone(&one)].map(|store| {
        tokio::spawn(async move {
            let mut events = 0;
            for _ in 0..20 {
                events += expire(&store, &an_hour(), later()).await.events;
            }
            events
        })
    });
    let mut events = 0;
    for pass in passes {
        events += pass.await.unwrap();
    }
    assert_eq!(events + expire(&one, &an_hour(), later()).await.events, 4_001);
    assert_eq!(one.extent(&Scope::Feed).await.unwrap().first, 4_001);
    is_sound(&database).await;
}

#[tokio::test]
async fn retention_is_not_done_while_another_replica_examines_the_project() {
    let Some(database) = Database::create().await else { return };
    let (store, _) = opened(options(&database)).await;
    store.append(append("r", vec![event("x"), event("newest")])).await.unwrap();
    let mut other = database.connect().await;
    let lock = "SELECT pg_advisory_lock(x'72756e00000000'::bigint | feed_id) FROM feed WHERE id = 1";
    sqlx::query(lock).execute(&mut other).await.unwrap();
    let slice = store.expire(&an_hour(), later(), 0).await.unwrap();
    assert_eq!(slice, Expired { is_elsewhere: true, ..Expired::default() });
    sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut other).await.unwrap();
    let slice = store.expire(&an_hour(), later(), 0).await.unwrap();
    assert!(!slice.is_elsewhere && slice.is_changed);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_entry_of_a_replica_reaches_the_disk_and_what_it_has_seen_need_not() {
    const TRIGGER: &str = "CREATE TABLE settings (op text, setting text); \
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN INSERT INTO settings VALUES (TG_OP, current_setting('synchronous_commit')); RETURN NULL; END $$; \
        CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT OR UPDATE ON replicas DEFERRABLE INITIALLY DEFERRED \
        FOR EACH ROW EXECUTE FUNCTION note()";
    let Some(database) = Database::create().await else { return };
    let (one, _) = opened(options(&database)).await;
    database.execute(TRIGGER).await;
    let (other, _) = opened(options(&database)).await;
    one.append(append("r", vec![event("x")])).await.unwrap();
    one.erase(&run_id("r"), 1..=1).await.unwrap();
    // One whose entry went writes a new one.
    let of = async |sql: &str| -> Vec<(String, String)> {
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&mut database.connect().await).await.unwrap()
    };
    let settings = "SELECT DISTINCT op, setting FROM settings ORDER BY op";
    let pairs = [("INSERT", "local"), ("UPDATE", "off")].map(|(op, setting)| (op.to_owned(), setting.to_owned()));
    assert_eq!(of(settings).await, pairs);
    database.execute("DELETE FROM replicas").await;
    eventually(async || replicas(&database).await == 2).await;
    assert_eq!(of(settings).await, pairs);
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_replica_knows_of_an_erasure_that_is_answered_also_without_notifications() {
    for notify in [true, false] {
        let Some(database) = Database::create().await else { return };
        let poll = Duration::from_secs(3_600);
        let (one, _) = opened(PostgresOptions { notify, poll, ..options(&database) }).await;
        let (other, recorder) = opened(PostgresOptions { notify, poll, ..options(&database) }).await;
        eventually(async || other.may_serve_memory()).await;
        one.append(append("r", vec![event("x"), event("y")])).await.unwrap();
        // The last erasure finds nothing to remove, and is seen by all nevertheless: it may repeat one that was cut off.
        for seq in [1, 2, 2] {
            let before = recorder.removals().len();
            one.erase(&run_id("r"), seq..=seq).await.unwrap();
            assert!(recorder.removals().len() > before);
            assert_eq!(replicas(&database).await, 2, "none was waited for in vain");
        }
        assert_eq!(events(&other, &run("r")).await[0].removal, Some(Removal::Erased));
        assert!(one.may_serve_memory() && other.may_serve_memory());
        one.close().await;
        assert!(!one.may_serve_memory());
        assert_eq!(replicas(&database).await, 1, "the one that ended is not waited for");
        other.close().await;
    }
}

/// Number of replicas that an erasure waits for.
async fn replicas(database: &Database) -> i64 {
    let count = "SELECT count(*) FROM replicas";
    sqlx::query_scalar(count).fetch_one(&mut database.connect().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_that_is_cut_off_serves_nothing_from_memory_once_an_erasure_is_answered() {
    let Some(database) = Database::create().await else { return };
    let proxy = Proxy::start(database.cluster().port()).await;
    let (one, _) = opened(options(&database)).await;
    let url = database.tcp_url("postgres", proxy.port);
    let (other, recorder) = opened(PostgresOptions { pool_size: 1, ..PostgresOptions::new(url) }).await;
    // One that was killed.
    database.execute("INSERT INTO replicas VALUES ('killed', '1:1:')").await;
    eventually(async || other.may_serve_memory()).await;
    one.append(append("r", vec![event("x"), event("y")])).await.unwrap();
    recorder.announced_up_to(2).await;
    let before = recorder.removals().len();
    proxy.set(Mode::Stall);
    assert_eq!(one.erase(&run_id("r"), 1..=1).await.unwrap(), 1);
    assert!(!other.may_serve_memory() && one.may_serve_memory());
    assert_eq!((recorder.removals().len(), replicas(&database).await), (before, 1));
    proxy.set(Mode::Pass);
    eventually(async || other.may_serve_memory()).await;
    assert!(recorder.removals().len() > before, "it drops what it has before it serves");
    assert_eq!(replicas(&database).await, 2);
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_look_at_a_standby_does_not_let_memory_be_served() {
    const ROLE: &str = "CREATE TABLE role AS SELECT false AS is_standby; \
        CREATE FUNCTION public.pg_is_in_recovery() RETURNS boolean STABLE LANGUAGE sql AS 'SELECT is_standby FROM public.role'";
    let Some(database) = Database::create().await else { return };
    database.execute(ROLE).await;
    // The function of the test goes before that of the server.
    let path = format!("ALTER DATABASE {} SET search_path = public, pg_catalog", database.name);
    database.execute(&path).await;
    let (store, _) = opened(options(&database)).await;
    eventually(async || store.may_serve_memory()).await;
    database.execute("UPDATE role SET is_standby = true").await;
    eventually(async || !store.may_serve_memory()).await;
    database.execute("UPDATE role SET is_standby = false").await;
    eventually(async || store.may_serve_memory()).await;
    store.close().await;
}

#[tokio::test]
async fn a_release_at_one_replica_is_seen_by_the_retention_of_another() {
    let Some(database) = Database::create().await else { return };
    let (one, _) = opened(options(&database)).await;
    let (other, _) = opened(options(&database)).await;
    one.append(append("r", vec![event("x")])).await.unwrap();
    let releases = async || one.expire(&an_hour(), Timestamp::now(), 1).await.unwrap().releases;
    let before = releases().await;
    other.hold(&run_id("r"), true).await.unwrap();
    assert_eq!(releases().await, before);
    other.hold(&run_id("r"), false).await.unwrap();
    let released = releases().await;
    assert_ne!(released, before);
    other.hold(&run_id("r"), false).await.unwrap();
    assert_eq!(releases().await, released, "it was not held");
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_that_is_erased_before_its_announcement_is_announced_before_the_removal_or_without_its_payload() {
    let Some(database) = Database::create().await else { return };
    let (store, recorder) = opened(options(&database)).await;
    let held = recorder.hold(&store).await;
    let receipt = store.submit(append("r", vec![event("a text that is to go")])).await.unwrap();
    let stored = "SELECT count(*) FROM events WHERE run = (SELECT run FROM runs WHERE run_id = 'r')";
    let mut connection = database.connect().await;
    while sqlx::query_scalar::<_, i64>(stored).fetch_one(&mut connection).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let erasing = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.erase(&run_id("r"), 1..=1).await }
    });
    let erased = "SELECT count(*) FROM events WHERE removal IS NOT NULL";
    while sqlx::query_scalar::<_, i64>(erased).fetch_one(&mut connection).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!erasing.is_finished(), "the listener does not know of it yet");
    drop(held);
    assert_eq!(erasing.await.unwrap().unwrap(), 1);
    receipt.stored().await.unwrap();
    let holds = |data: &[u8]| data.windows(9).any(|window| window == b"is to go\"");
    let later = recorder.commits().split_off(*recorder.removals().last().unwrap());
    assert!(later.iter().flat_map(|commit| &commit.feed).all(|chunk| !holds(&chunk.data)));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_that_retention_overtakes_announces_what_comes_after() {
    let Some(database) = Database::create().await else { return };
    let (one, _) = opened(options(&database)).await;
    let (behind, recorder) = opened(options(&database)).await;
    let held = recorder.hold(&behind).await;
    for _ in 0..20 {
        one.append(append("r", vec![event("x"); 50])).await.unwrap();
    }
    assert!(expire(&one, &an_hour(), later()).await.events > 900);
    drop(held);
    one.append(append("r", vec![event("y")])).await.unwrap();
    recorder.announced_up_to(1_002).await;
    let last = recorder.commits().pop().unwrap();
    assert_eq!(last.feed_end.last, 1_002);
}

fn files(directory: &Path, into: &mut Vec<PathBuf>) {
    // Files may go meanwhile.
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), into),
            _ => into.push(entry.path()),
        }
    }
}

/// Files of the database, tables of the system included, that hold the text.
async fn holding(database: &Database, text: &str) -> Vec<PathBuf> {
    let directory = "SELECT 'data/base/' || oid FROM pg_database WHERE datname = current_database()";
    let directory: String = sqlx::query_scalar(directory).fetch_one(&mut database.connect().await).await.unwrap();
    let mut found = Vec::new();
    files(&database.cluster().socket_directory().join(directory), &mut found);
    let text = memchr::memmem::Finder::new(text);
    found.retain(|path| std::fs::read(path).is_ok_and(|bytes| text.find(&bytes).is_some()));
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn erased_payloads_and_documents_are_in_no_table_file_of_the_server() {
    let Some(database) = Database::create().await else { return };
    let (store, _) = opened(options(&database)).await;
    let mark = |kind: &str| format!("{kind}-{}-erased", database.name);
    // Small and large payloads, the latter beside the table, uncompressible, with the text at the end.
    let mut rng = crate::rng::Rng::new("noise");
    let noise: String = (0..4_000).map(|_| format!("{:x}", rng.within(0..u64::MAX))).collect();
    for n in 0..300 {
        let text = format!("{} {n}", mark("small"));
        store.append(append("r", vec![event(&text), event("kept")])).await.unwrap();
    }
    store.append(append("r", vec![event(&format!("{noise}{}", mark("large")))])).await.unwrap();
    let output = format!(r#"{{"output":"{}"}}"#, mark("output"));
    store.append(append("r", vec![typed("run_end", &output)])).await.unwrap();
    database.execute("ANALYZE; CHECKPOINT").await;
    for kind in ["small", "large", "output"] {
        assert!(!holding(&database, &mark(kind)).await.is_empty(), "{kind} is there before");
    }
    assert_eq!(store.erase(&run_id("r"), 1..=602).await.unwrap(), 602);
    database.execute("CHECKPOINT").await;
    for kind in ["small", "large", "output"] {
        assert_eq!(holding(&database, &mark(kind)).await, [] as [PathBuf; 0], "{kind}");
    }
    store.close().await;
}

#[tokio::test]
async fn a_damaged_event_loses_its_payload_too_and_stays_damaged() {
    let Some(database) = Database::create().await else { return };
    let (store, _) = opened(options(&database)).await;
    store.append(append("r", vec![event("x"), event("y")])).await.unwrap();
    database.execute("UPDATE events SET event_type = 'other' WHERE pos = 1").await;
    assert_eq!(store.erase(&run_id("r"), 1..=2).await.unwrap(), 2);
    assert_eq!(reason(store.read(&run("r"), ascending(0, 10)).await), "EVENT_DAMAGED");
    assert_eq!(store.scrub(0).await.unwrap().damaged.len(), 1);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE payload::text <> '{}'")
        .fetch_one(&mut database.connect().await)
        .await
        .unwrap();
    assert_eq!(left, 0);
    // The removal is part of the checksum.
    database.execute("UPDATE events SET removal = 2 WHERE pos = 2").await;
    assert_eq!(store.scrub(0).await.unwrap().damaged.len(), 2);
    store.close().await;
}

#[tokio::test]
async fn of_compacted_events_the_last_has_the_joined_text_and_the_others_keep_their_places() {
    let Some(database) = Database::create().await else { return };
    let (store, recorder) = opened(options(&database)).await;
    store.append(append("r", ["a", "b", "c", "d"].map(event).to_vec())).await.unwrap();
    let joined = || event("abc").payload;
    assert!(store.compact(&run_id("r"), &[1, 2], 3, joined()).await.unwrap());
    assert!(!recorder.removals().is_empty());
    let texts = async || -> Vec<(String, Option<Removal>)> {
        let events = events(&store, &run("r")).await.into_iter();
        events.map(|event| (event.payload.as_str().to_owned(), event.removal)).collect()
    };
    let gone = || ("{}".to_owned(), Some(Removal::Compacted));
    let text = |text: &str| (format!("{{\"text\":\"{text}\"}}"), None);
    assert_eq!(texts().await, [gone(), gone(), text("abc"), text("d")]);
    // Events that are removed, or not there, are not compacted.
    for (removed, last) in [(vec![2], 4), (vec![3], 9), (vec![4], 1)] {
        assert!(!store.compact(&run_id("r"), &removed, last, joined()).await.unwrap());
    }
    assert_eq!(texts().await, [gone(), gone(), text("abc"), text("d")]);
    assert_eq!(reason(store.compact(&run_id("missing"), &[1], 2, joined()).await), "RUN_NOT_FOUND");
    is_sound(&database).await;
    // The first seq of the joined text is part of the checksum.
    database.execute("UPDATE events SET joined_from = 2 WHERE pos = 3").await;
    assert_eq!(store.scrub(0).await.unwrap().damaged.len(), 1);
    store.close().await;
}

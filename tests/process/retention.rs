//! Promises 1 to 5 beside a running retention: SIGKILL under load, with readers at every position.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runlog::pb::subscribe_response::Frame;
use runlog::pb::{self, list_events_request};
use tokio::task::JoinSet;
use tonic::Status;
use tonic_types::StatusExt;

use crate::client::{self, Events};
use crate::cluster::Database;
use crate::harness::{Data, Server, eventually, within};
use crate::rng::Rng;

const ROUNDS: u64 = 6;
const RUNS: usize = 12;

/// Everything is too old soon after its commit, but the newest event.
const SHORT: [&str; 4] = ["--retain-for", "20ms", "--retain-interval-ms", "100"];

/// A run and its last acknowledged seq.
type Acked = Arc<Vec<(String, AtomicU64)>>;

/// Publishes to all runs until the server is gone.
async fn publish(mut events: Events, runs: Acked, mine: usize) {
    for n in 0.. {
        for (run_id, acked) in runs.iter().skip(mine).step_by(3) {
            let count = 1 + n % 7;
            let payload = format!(r#"{{"n":{n},"text":"{}"}}"#, "x".repeat(n * 37 % 900));
            let request = client::publish(run_id, vec![client::event("", "step", &payload); count]);
            let Ok(answer) = events.publish(request).await else { return };
            let answer = answer.into_inner();
            let seqs: Vec<u64> = answer.events.iter().map(|event| event.seq).collect();
            let before = acked.load(Ordering::SeqCst);
            assert!(
                seqs[0] > before && seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]),
                "{run_id}: {before} {seqs:?}"
            );
            acked.store(*seqs.last().unwrap(), Ordering::SeqCst);
        }
    }
}

/// Follows a run until the server is gone: each event is the next one, or an error names where the kept ones begin.
async fn follow(mut events: Events, run_id: String) {
    let (mut cursor, mut last) = (String::new(), 0);
    loop {
        let request = pb::SubscribeRequest { wait_for_run: true, ..client::follow_from(&run_id, &cursor) };
        let mut frames = match events.subscribe(request).await {
            Ok(frames) => frames.into_inner(),
            Err(status) => match first_kept(&status) {
                Some(first) => {
                    (last, cursor) = (first.parse().unwrap(), first);
                    continue;
                }
                None => return,
            },
        };
        loop {
            match frames.message().await {
                Ok(Some(response)) => {
                    let Some(Frame::Events(batch)) = response.frame else { continue };
                    for event in batch.events().unwrap() {
                        assert!(event.seq == last + 1 || last == 0, "{run_id}: {} after {last}", event.seq);
                        last = event.seq;
                    }
                }
                Ok(None) => return,
                Err(status) => match first_kept(&status) {
                    Some(first) => {
                        assert!(first.parse::<u64>().unwrap() >= last, "{status:?}");
                        (last, cursor) = (first.parse().unwrap(), first);
                        break;
                    }
                    None => return,
                },
            }
        }
    }
}

/// The `first_cursor` of CURSOR_EXPIRED; `None` for a broken connection. Any other error fails the test.
fn first_kept(status: &Status) -> Option<String> {
    let info = status.get_details_error_info();
    match info.as_ref().map(|info| info.reason.as_str()) {
        Some("CURSOR_EXPIRED") => info.and_then(|info| info.metadata.get("first_cursor").cloned()),
        Some("SHUTTING_DOWN") | None => None,
        Some(_) => panic!("{status:?}"),
    }
}

/// All kept events of a scope.
async fn kept(events: &mut Events, run: Option<&str>) -> Vec<pb::Event> {
    let scope = match run {
        Some(run) => list_events_request::Scope::RunId(run.to_owned()),
        None => list_events_request::Scope::AllRuns(pb::AllRuns {}),
    };
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let request = pb::ListEventsRequest {
            scope: Some(scope.clone()),
            page_size: 1_000,
            cursor: cursor.clone(),
            ..Default::default()
        };
        match within("a page", events.list_events(request)).await {
            Ok(page) => {
                let page = page.into_inner();
                found.extend(page.events);
                if !page.has_more {
                    return found;
                }
                cursor = page.next_cursor;
            }
            // Overtaken between two pages.
            Err(status) => {
                cursor = first_kept(&status).unwrap_or_else(|| panic!("{status:?}"));
                found.clear();
            }
        }
    }
}

/// What is kept has no gap, and nothing acknowledged is missing at the end.
async fn verify(server: &Server, runs: &Acked) {
    let (mut events, mut rows) = (server.events().await, server.runs().await);
    for (run_id, acked) in runs.iter() {
        let acked = acked.load(Ordering::SeqCst);
        let row = rows.get_run(pb::GetRunRequest { run_id: run_id.clone() }).await;
        if acked == 0 && row.is_err() {
            continue;
        }
        let row = row.unwrap().into_inner().run.unwrap();
        assert!(row.last_seq >= acked, "{run_id} lost {acked}: {row:?}");
        let seqs: Vec<u64> = kept(&mut events, Some(run_id)).await.iter().map(|event| event.seq).collect();
        let expected: Vec<u64> = seqs.first().map_or(vec![], |first| (*first..=row.last_seq).collect());
        assert_eq!(seqs, expected, "{run_id}: {row:?}");
        assert!(seqs.first().is_none_or(|first| *first >= row.first_seq), "{run_id}: {row:?} {seqs:?}");
        for cursor in (1..row.last_seq).step_by(1 + usize::try_from(row.last_seq / 50).unwrap()) {
            let scope = Some(list_events_request::Scope::RunId(run_id.clone()));
            let request =
                pb::ListEventsRequest { scope, cursor: cursor.to_string(), page_size: 1, ..Default::default() };
            match events.list_events(request).await {
                Ok(page) => assert_eq!(page.into_inner().events[0].seq, cursor + 1),
                Err(status) => assert!(first_kept(&status).is_some_and(|first| first.parse::<u64>().unwrap() > cursor)),
            }
        }
    }
    let mut last_of_run = std::collections::HashMap::new();
    for event in kept(&mut events, None).await {
        let last = last_of_run.insert(event.run_id.clone(), event.seq);
        assert!(last.is_none_or(|last| last + 1 == event.seq), "{event:?} after {last:?}");
    }
}

async fn survives_kills(seed: &str, start: impl AsyncFn() -> Server) {
    let mut chance = Rng::new(seed);
    let runs: Acked = Arc::new((0..RUNS).map(|run| (format!("run-{run}"), AtomicU64::new(0))).collect());
    for round in 0..=ROUNDS {
        let server = start().await;
        verify(&server, &runs).await;
        if round == ROUNDS {
            return;
        }
        let mut working = JoinSet::new();
        for mine in 0..3 {
            working.spawn(publish(server.events().await, Arc::clone(&runs), mine));
        }
        for (run_id, _) in runs.iter() {
            working.spawn(follow(server.events().await, run_id.clone()));
        }
        let moment = chance.within(1..1_500) as f64;
        let removed = async || server.metric("runlog_expired_events_total").await >= moment;
        eventually("that many removals", removed).await;
        server.kill().await;
        within("the end of the clients", working.join_all()).await;
        println!("round {round}: killed after {moment} removals");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_survives_kill_9_beside_a_running_retention_on_sqlite() {
    let data = Data::new();
    let options = [&SHORT[..], &["--flush-entries", "64"]].concat();
    survives_kills("retention on sqlite", async || Server::with(&data.file(), &options).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_survives_kill_9_beside_a_running_retention_on_postgresql() {
    let Some(database) = Database::create().await else { return };
    let url = database.url();
    survives_kills("retention on postgresql", async || Server::over(["--store", &url], &SHORT, &[]).await).await;
    database.remove().await;
}

//! Guarantees for writers and readers on different replicas.

use runlog::pb::publish_stream_response::Result as Answer;
use runlog::pb::subscribe_request::{Scope, Start};
use runlog::pb::subscribe_response::Frame;
use runlog::pb::{AllRuns, PublishRequest, PublishStreamRequest, SubscribeRequest};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;
use tonic_types::StatusExt;

use crate::cluster::Database;
use crate::proxy::{AtCommit, Mode, Proxy};
use crate::replica::Replica;
use crate::world::{GUARD, event};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_writers_on_two_replicas_exactly_one_wins_each_seq() {
    let Some(database) = Database::create().await else { return };
    let mut writers = JoinSet::new();
    for writer in 0..2 {
        let replica = Replica::start(&database.url(), &[]).await;
        writers.spawn(async move {
            let mut wins = Vec::new();
            for last in 0..200 {
                let events = vec![event(&format!("w{writer}-{last}"))];
                let request = PublishRequest { run_id: "r".to_owned(), events, expected_last_seq: Some(last) };
                match replica.events().publish(request).await {
                    Ok(answer) => wins.push(answer.into_inner().events[0].seq),
                    Err(status) => assert_eq!(status.code(), Code::Aborted, "{status:?}"),
                }
            }
            wins
        });
    }
    let mut wins = writers.join_all().await.concat();
    wins.sort_unstable();
    assert!(wins.iter().copied().eq(1..=200), "each seq has one winner: {wins:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_long_transaction_elsewhere_does_not_stall_the_feed() {
    let Some(database) = Database::create().await else { return };
    database.execute("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.notes (text text)").await;
    let mut long = database.connect().await;
    let open =
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id(); INSERT INTO elsewhere.notes VALUES ('x')";
    sqlx::raw_sql(open).execute(&mut long).await.unwrap();
    let (writing, reading) = (
        Replica::start(&database.url(), &[]).await,
        Replica::start(&database.url(), &["--notify=off", "--poll-ms=20"]).await,
    );
    let request = SubscribeRequest {
        scope: Some(Scope::AllRuns(AllRuns {})),
        start: Some(Start::Cursor(String::new())),
        ..SubscribeRequest::default()
    };
    let mut stream = reading.events().subscribe(request).await.unwrap().into_inner();
    for n in 0..20 {
        let request = PublishRequest { run_id: format!("r{n}"), events: vec![event("x")], expected_last_seq: Some(0) };
        writing.events().publish(request).await.unwrap();
        loop {
            let frame = timeout(GUARD, stream.message()).await.expect("the feed goes on").unwrap().unwrap();
            if let Some(Frame::Events(batch)) = frame.frame {
                assert_eq!(batch.events().unwrap()[0].run_id, format!("r{n}"));
                break;
            }
        }
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut long).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_whose_answer_is_lost_is_stored_once_and_answered_rightly() {
    let Some(database) = Database::create().await else { return };
    let proxy = Proxy::start(database.cluster().port()).await;
    let replica = Replica::start(&database.tcp_url("postgres", proxy.port), &[]).await;
    // For events without ids, only a look into the log reveals the outcome.
    let nameless = || runlog::pb::NewEvent { event_id: String::new(), ..event("x") };
    for round in 0..20 {
        proxy.at_commit(if round % 2 == 0 { AtCommit::LoseAnswer } else { AtCommit::LoseCommit });
        let (run_id, events) = ("r".to_owned(), vec![nameless(), nameless()]);
        let request = PublishRequest { run_id, events, expected_last_seq: Some(2 * round) };
        let answer = replica.events().publish(request).await.unwrap().into_inner();
        let answer: Vec<_> = answer.events.iter().map(|event| (event.seq, event.duplicate)).collect();
        assert_eq!(answer, [(2 * round + 1, false), (2 * round + 2, false)]);
    }
    let stored: i64 =
        sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(&mut database.connect().await).await.unwrap();
    assert_eq!(stored, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outage_longer_than_the_retries_is_an_unknown_outcome_and_stores_nothing_twice() {
    let Some(database) = Database::create().await else { return };
    let proxy = Proxy::start(database.cluster().port()).await;
    let replica = Replica::start(&database.tcp_url("postgres", proxy.port), &["--pg-retry-ms=0"]).await;
    let nameless = || runlog::pb::NewEvent { event_id: String::new(), ..event("nameless") };
    let request = |id: &str, expected_last_seq| {
        let events = vec![nameless(), event(id)];
        PublishRequest { run_id: "r".to_owned(), events, expected_last_seq }
    };
    let published = async |id: &str| {
        let request = PublishRequest { run_id: "r".to_owned(), events: vec![event(id)], expected_last_seq: None };
        // The network to the database may not be restored yet; such a publish stores nothing.
        loop {
            match replica.events().publish(request.clone()).await {
                Ok(answer) => break answer.into_inner().events.remove(0),
                Err(status) => assert_eq!(status.get_details_error_info().unwrap().reason, "STORE_UNAVAILABLE"),
            }
        }
    };
    let stored = async || {
        let count = sqlx::query_scalar("SELECT count(*) FROM events");
        let count: i64 = count.fetch_one(&mut database.connect().await).await.unwrap();
        count.unsigned_abs()
    };
    published("first").await;
    let mut last = 1;
    for (round, loss) in [AtCommit::LoseAnswer, AtCommit::LoseCommit].into_iter().cycle().take(6).enumerate() {
        let id = format!("e{round}");
        proxy.at_commit_then(loss, Mode::Refuse);
        let is_stream = round % 3 == 2;
        let (code, reason) = if is_stream {
            let requests = tokio_stream::iter([PublishStreamRequest { publish: Some(request(&id, Some(last))) }]);
            let mut answers = replica.events().publish_stream(requests).await.unwrap().into_inner();
            let answer = timeout(GUARD, answers.message()).await.unwrap().unwrap().unwrap();
            let Some(Answer::Failure(failure)) = answer.result else { panic!("{answer:?}") };
            (Code::from_i32(failure.code), failure.reason)
        } else {
            let status = replica.events().publish(request(&id, Some(last))).await.unwrap_err();
            assert!(status.get_details_retry_info().is_some(), "{status:?}");
            (status.code(), status.get_details_error_info().unwrap().reason)
        };
        assert_eq!((code, &*reason), (Code::Unavailable, "OUTCOME_UNKNOWN"), "round {round}");
        let is_stored = loss == AtCommit::LoseAnswer;
        if is_stored {
            // A busy server may still be at work, and the replica terminates its former session after reconnecting.
            let is_there = async { while stored().await < last + 2 {} };
            timeout(GUARD, is_there).await.expect("what was handed over is stored");
        }
        proxy.set(Mode::Pass);
        let answered = published(&id).await;
        last += if is_stored { 2 } else { 1 };
        assert_eq!((answered.seq, answered.duplicate), (last, is_stored), "round {round}");
    }
    assert_eq!(stored().await, last);
}

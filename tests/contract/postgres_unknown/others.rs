//! In-doubt commits beside other work: other replicas, appends in the queue, appends in the same group.

use std::time::Duration;

use runlog::store::QueueOptions;
use runlog::store::postgres::PostgresOptions;

use super::{Fixture, GUARD, answers, group, reasons, submitted};
use crate::fixture::*;
use crate::proxy::{AtCommit, Harm, Mode};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn later_commits_of_others_reveal_whether_an_in_doubt_commit_took_place() {
    for (loss, expected) in [
        (AtCommit::LoseAnswer, ["before", "nameless", "named", "theirs"].as_slice()),
        (AtCommit::Delay, ["before", "theirs", "nameless"].as_slice()),
    ] {
        let Some(fixture) = Fixture::new(|options| options.retry = GUARD).await else { return };
        let other = fixture.other().await;
        fixture.store.append(append("r", vec![event("before")])).await.unwrap();
        let held = fixture.recorder.hold(&fixture.store).await;
        fixture.mark_writer().await;
        let appends = vec![
            append("r", vec![event("nameless")]),
            expecting(2, append("r", vec![with_id("named", event("named"))])),
        ];
        let receipts = submitted(&fixture.store, appends).await;
        fixture.proxy.at_commit_then(loss, Mode::Refuse);
        drop(held);
        fixture.proxy.lost().await;
        if loss == AtCommit::LoseAnswer {
            fixture.until("EXISTS (SELECT FROM events WHERE event_id = 'named')").await;
        }
        other.append(append("r", vec![event("theirs")])).await.unwrap();
        fixture.proxy.set(Mode::Pass);
        let answered = answers(receipts).await;
        if loss == AtCommit::LoseAnswer {
            assert_eq!(seqs(answered[0].as_ref().unwrap()), [2]);
            let named = answered[1].as_ref().unwrap();
            assert_eq!((seqs(named), duplicates(named)), (vec![3], vec![false]));
        } else {
            assert_eq!(seqs(answered[0].as_ref().unwrap()), [3]);
            assert_eq!(reasons(&answered), ["OK", "SEQ_CONFLICT"]);
        }
        fixture.proxy.deliver();
        fixture.until_writer_is_gone().await;
        assert_eq!(fixture.texts("r").await, expected, "{loss:?}");
        fixture.store.close().await;
        other.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_database_is_away_all_that_wait_for_it_wait_once() {
    // Eight groups wait, or one of 64; the connect timeout is 300 ms.
    for (in_group, retry, loss, most) in [
        (8, 0, None, 1),
        (8, 700, None, 4),
        (64, 0, Some(AtCommit::LoseAnswer), 0),
        (64, 700, Some(AtCommit::LoseAnswer), 4),
        (8, 700, Some(AtCommit::LoseCommit), 4),
    ] {
        let place = format!("{in_group} in a group, retry {retry}, {loss:?}");
        let change = |options: &mut PostgresOptions| {
            // Without a notification session, only the writer connects.
            options.notify = false;
            options.connect_timeout = Duration::from_millis(300);
            options.retry = Duration::from_millis(retry);
            options.queue = QueueOptions { max_commit_events: in_group, ..QueueOptions::default() };
        };
        let Some(fixture) = Fixture::new(change).await else { return };
        let before = fixture.proxy.accepted();
        let appends = (0..64).map(|n| append(&format!("r{n}"), vec![event("x")])).collect();
        let outcomes = group(&fixture, appends, |proxy| match loss {
            Some(loss) => proxy.at_commit_then(loss, Mode::Stall),
            None => {
                proxy.set(Mode::Stall);
                proxy.harm(Harm::Cut);
            }
        });
        let reasons = reasons(&outcomes.await);
        let connects = fixture.proxy.accepted() - before;
        assert!(connects <= most, "{connects} connections were asked for: {place}");
        let in_doubt = if loss.is_some() { in_group } else { 0 };
        assert_eq!(reasons[..in_doubt], vec!["OUTCOME_UNKNOWN"; in_doubt], "{place}");
        assert_eq!(reasons[in_doubt..], vec!["STORE_UNAVAILABLE"; 64 - in_doubt], "{place}");
        fixture.proxy.set(Mode::Pass);
        if loss == Some(AtCommit::LoseAnswer) {
            fixture.until("(SELECT count(*) >= 65 FROM events)").await;
        }
        fixture.append(append("after", vec![event("x")])).await.unwrap();
        let stored = if loss == Some(AtCommit::LoseAnswer) { in_group } else { 0 };
        assert_eq!(fixture.stored().await.len(), stored + 1, "a publish answered as not stored is not stored: {place}");
        fixture.store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_server_refuses_at_the_statement_or_at_its_commit_is_the_fault_of_one_append() {
    const POISON: &str = "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        IF new.payload::text LIKE '%poison%' THEN RAISE EXCEPTION 'it is poison'; END IF; RETURN new; END $$; ";
    for trigger in ["TRIGGER poison BEFORE", "CONSTRAINT TRIGGER poison AFTER"] {
        let Some(fixture) = Fixture::new(|_| {}).await else { return };
        let when = if trigger.starts_with("CONSTRAINT") { "DEFERRABLE INITIALLY DEFERRED" } else { "" };
        let sql = format!("{POISON} CREATE {trigger} INSERT ON events {when} FOR EACH ROW EXECUTE FUNCTION poison()");
        fixture.database.execute(&sql).await;
        for round in 0..2 {
            let texts = ["good", "poison", "better"];
            let appends = texts.map(|text| append("r", vec![with_id(&format!("{text}-{round}"), event(text))]));
            let outcomes = group(&fixture, appends.to_vec(), |_| {}).await;
            assert_eq!(reasons(&outcomes), ["OK", "INTERNAL", "OK"], "{trigger}, round {round}");
        }
        assert_eq!(fixture.texts("r").await, ["good", "better", "good", "better"]);
        fixture.store.close().await;
    }
}

//! Promises 2 and 3: one gapless sequence a run, and publishing that is safe to repeat.

use runlog::pb;
use runlog::pb::payload::Variant;
use tonic::Code;

use crate::builders::{json_event, notes, numbered, publish_request, the_end, typed_event, with_id};
use crate::harness::TestServer;
use crate::reading::{list_run, seqs};
use crate::refusal::{refused, refused_field};

fn answered(response: &pb::PublishResponse) -> Vec<(u64, bool)> {
    response.events.iter().map(|event| (event.seq, event.duplicate)).collect()
}

#[tokio::test]
async fn each_run_is_one_gapless_sequence_from_1() {
    let server = TestServer::start().await;
    for run_id in ["a", "b"] {
        assert_eq!(answered(&server.publish(run_id, notes(3)).await), [(1, false), (2, false), (3, false)]);
        assert_eq!(answered(&server.publish(run_id, notes(2)).await), [(4, false), (5, false)]);
        let page = server.list(list_run(run_id)).await.unwrap();
        assert_eq!(seqs(&page.events), [1, 2, 3, 4, 5]);
        let times: Vec<_> = page.events.iter().map(|e| e.recorded_at.map(|at| (at.seconds, at.nanos))).collect();
        assert!(times.is_sorted(), "recorded_at never decreases: {times:?}");
    }
}

#[tokio::test]
async fn a_batch_with_one_bad_event_is_stored_not_at_all() {
    let server = TestServer::start().await;
    let batch = vec![numbered(1), json_event("note", "{"), numbered(3)];
    refused_field(server.try_publish("r", batch).await, "events[1].payload");
    assert!(server.everything().await.is_empty());
    server.publish("r", vec![with_id("taken", numbered(1))]).await;
    let batch = vec![numbered(2), with_id("taken", numbered(3)), numbered(4)];
    refused(server.try_publish("r", batch).await).is(Code::AlreadyExists, "EVENT_ID_CONFLICT");
    assert_eq!(server.everything().await.len(), 1);
}

#[tokio::test]
async fn the_same_event_again_is_a_duplicate_with_its_first_seq_also_after_a_restart() {
    let mut server = TestServer::start().await;
    let first = vec![with_id("a", numbered(1)), with_id("b", numbered(2))];
    server.publish("r", first.clone()).await;
    assert_eq!(answered(&server.publish("r", first.clone()).await), [(1, true), (2, true)]);
    let mixed = vec![with_id("c", numbered(3)), with_id("a", numbered(1)), with_id("c", numbered(3))];
    assert_eq!(answered(&server.publish("r", mixed.clone()).await), [(3, false), (1, true), (3, true)]);
    server.restart().await;
    assert_eq!(answered(&server.publish("r", first).await), [(1, true), (2, true)]);
    assert_eq!(answered(&server.publish("r", mixed).await), [(3, true), (1, true), (3, true)]);
    assert_eq!(server.everything().await.len(), 3);
}

#[tokio::test]
async fn a_retry_with_a_fresh_clock_is_still_a_duplicate_and_the_first_time_stays() {
    let server = TestServer::start().await;
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 7 });
    let event = pb::NewEvent { occurred_at: at(1_000), ..with_id("a", numbered(1)) };
    server.publish("r", vec![event.clone()]).await;
    let again = pb::NewEvent { occurred_at: at(2_000), ..event };
    assert_eq!(answered(&server.publish("r", vec![again]).await), [(1, true)]);
    assert_eq!(server.everything().await[0].occurred_at, at(1_000));
}

#[tokio::test]
async fn other_content_under_a_taken_id_is_a_conflict_that_names_the_first_seq() {
    let mut server = TestServer::start().await;
    server.publish("r", vec![numbered(0), with_id("a", numbered(1))]).await;
    let sent = with_id("a", numbered(1));
    let others = [
        with_id("a", numbered(2)),
        with_id("a", json_event("other", r#"{"n":1}"#)),
        pb::NewEvent { agent_name: "another".to_owned(), ..sent.clone() },
        pb::NewEvent { origin: pb::Origin::System.into(), ..sent.clone() },
        with_id("a", json_event("note", r#"{"n":1,"n":1}"#)),
    ];
    for _ in 0..2 {
        for other in &others {
            let refusal = refused(server.try_publish("r", vec![other.clone()]).await);
            let refusal = refusal.is(Code::AlreadyExists, "EVENT_ID_CONFLICT");
            let facts = ["run_id", "event_id", "seq"].map(|name| refusal.metadata[name].as_str());
            assert_eq!(facts, ["r", "a", "2"]);
            assert_eq!(refusal.retry, None, "waiting does not help");
        }
        server.restart().await;
    }
    let in_another_run = server.publish("r2", vec![with_id("a", numbered(2))]).await;
    assert_eq!(answered(&in_another_run), [(1, false)]);
}

#[tokio::test]
async fn one_batch_that_contradicts_itself_is_refused() {
    let server = TestServer::start().await;
    let batch = vec![with_id("a", numbered(1)), with_id("a", numbered(2))];
    refused(server.try_publish("r", batch).await).is(Code::AlreadyExists, "EVENT_ID_CONFLICT");
    assert!(server.everything().await.is_empty());
}

#[tokio::test]
async fn expected_last_seq_makes_a_publish_conditional() {
    let server = TestServer::start().await;
    let mut client = server.events().await;
    let mut publish = async |expected: u64, events: Vec<pb::NewEvent>| {
        let request = pb::PublishRequest { expected_last_seq: Some(expected), ..publish_request("r", events) };
        client.publish(request).await.map(tonic::Response::into_inner)
    };
    refused(publish(1, notes(1)).await).is(Code::Aborted, "SEQ_CONFLICT");
    let first = vec![with_id("a", numbered(1)), with_id("b", numbered(2))];
    assert_eq!(answered(&publish(0, first.clone()).await.unwrap()), [(1, false), (2, false)]);
    for wrong in [0, 1, 3, u64::MAX] {
        let refusal = refused(publish(wrong, notes(1)).await).is(Code::Aborted, "SEQ_CONFLICT");
        assert_eq!(refusal.metadata["expected_last_seq"], wrong.to_string());
        assert_eq!((refusal.metadata["run_id"].as_str(), refusal.metadata["last_seq"].as_str()), ("r", "2"));
    }
    assert_eq!(answered(&publish(0, first.clone()).await.unwrap()), [(1, true), (2, true)], "stored already");
    let half_new = vec![first[1].clone(), numbered(3)];
    refused(publish(0, half_new.clone()).await).is(Code::Aborted, "SEQ_CONFLICT");
    assert_eq!(answered(&publish(2, half_new).await.unwrap()), [(2, true), (3, false)]);
}

#[tokio::test]
async fn the_server_gives_ids_that_are_unique_and_that_a_retry_may_use() {
    let mut server = TestServer::start().await;
    let ids: Vec<String> =
        server.publish("r", notes(100)).await.events.into_iter().map(|event| event.event_id).collect();
    let unique: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), 100);
    let stored: Vec<_> = server.everything().await.into_iter().map(|event| event.event_id).collect();
    assert_eq!(stored, ids);
    server.restart().await;
    let again = vec![with_id(&ids[41], numbered(42))];
    assert_eq!(answered(&server.publish("r", again).await), [(42, true)]);
    let other = vec![with_id(&ids[41], numbered(43))];
    refused(server.try_publish("r", other).await).is(Code::AlreadyExists, "EVENT_ID_CONFLICT");
}

#[tokio::test]
async fn type_and_origin_have_defaults_and_a_given_origin_stands() {
    let server = TestServer::start().await;
    let given = |origin: pb::Origin, event| pb::NewEvent { origin: origin.into(), ..event };
    let events = vec![
        typed_event(Variant::RunStart(Box::default())),
        typed_event(Variant::StructureRunRunning(Box::default())),
        typed_event(Variant::LimitExceeded(Box::default())),
        json_event("run.mine", "{}"),
        json_event("running", "{}"),
        given(pb::Origin::User, json_event("run.mine", "{}")),
        given(pb::Origin::System, the_end()),
    ];
    server.publish("r", events).await;
    let received: Vec<_> = server.everything().await.iter().map(|e| (e.r#type.clone(), e.origin())).collect();
    let (system, user) = (pb::Origin::System, pb::Origin::User);
    let expected = [
        ("run_start", user),
        ("StructureRunRunning", system),
        ("run.limit_exceeded", system),
        ("run.mine", system),
        ("running", user),
        ("run.mine", user),
        ("run_end", system),
    ];
    assert_eq!(received, expected.map(|(name, origin)| (name.to_owned(), origin)));
}

#[tokio::test]
async fn a_variant_under_a_type_that_is_not_its_own_is_refused() {
    let server = TestServer::start().await;
    let under = |name: &str, variant| vec![pb::NewEvent { r#type: name.to_owned(), ..typed_event(variant) }];
    let transition = || Variant::StatusTransition(Box::default());
    let refusal = server.try_publish("r", under("step", Variant::ToolCall(Box::default()))).await;
    refused_field(refusal, "events[0].payload");
    refused_field(server.try_publish("r", under("run.created", transition())).await, "events[0].payload");
    refused_field(server.try_publish("r", under("", transition())).await, "events[0].type");
    assert!(server.everything().await.is_empty());
    for name in ["run.worker.started", "run.cancelled", "run.resumed"] {
        server.publish("r", under(name, transition())).await;
    }
}

#[tokio::test]
async fn the_answer_has_the_status_of_the_run() {
    let server = TestServer::start().await;
    assert_eq!(server.publish("r", notes(1)).await.run_status(), pb::RunStatus::Unspecified);
    assert_eq!(server.publish("r", vec![json_event("run_start", "{}")]).await.run_status(), pb::RunStatus::Running);
    assert_eq!(server.publish("r", vec![the_end()]).await.run_status(), pb::RunStatus::Succeeded);
    assert_eq!(server.publish("r", notes(1)).await.run_status(), pb::RunStatus::Succeeded);
}

//! CreateRun: one run for all requests with the same key.

use runlog::pb;
use tonic::{Code, Status};

use crate::builders::{json_event, notes, with_id};
use crate::harness::{TestServer, in_time};
use crate::reading::json_of;
use crate::refusal::{refused, refused_field};

fn create(run_id: &str, key: &str) -> pb::CreateRunRequest {
    pb::CreateRunRequest { run_id: run_id.to_owned(), idempotency_key: key.to_owned(), ..Default::default() }
}

/// The run's id, and whether the run existed already.
async fn created(server: &TestServer, request: pb::CreateRunRequest) -> Result<(String, bool), Status> {
    let response = server.runs().await.create_run(request).await?.into_inner();
    Ok((response.run.unwrap().run_id, response.already_existed))
}

#[tokio::test]
async fn a_run_begins_with_a_created_event_and_is_queued() {
    let server = TestServer::start().await;
    let mut runs = server.runs().await;
    let response = runs.create_run(create("r", "")).await.unwrap().into_inner();
    let run = response.run.unwrap();
    assert_eq!((run.run_id.as_str(), run.status(), run.last_seq), ("r", pb::RunStatus::Queued, 1));
    assert!(!response.already_existed && run.created_at.is_some() && run.started_at.is_none());
    let events = server.everything().await;
    assert_eq!((events[0].r#type.as_str(), json_of(&events[0]), events.len()), ("run.created", "{}", 1));
    assert_eq!(server.run("r").await, run);
}

#[tokio::test]
async fn without_id_and_key_each_call_creates_another_run() {
    let server = TestServer::start().await;
    let (first, _) = created(&server, create("", "")).await.unwrap();
    let (second, existed) = created(&server, create("", "")).await.unwrap();
    assert!(first != second && !existed && !first.is_empty());
}

#[tokio::test]
async fn the_same_key_gives_the_same_run_as_it_is_now_also_after_a_restart() {
    let mut server = TestServer::start().await;
    for run_id in ["", "r"] {
        let (made, existed) = created(&server, create(run_id, "key")).await.unwrap();
        assert!(!existed);
        server.publish(&made, notes(3)).await;
        for _ in 0..2 {
            let response = server.runs().await.create_run(create(run_id, "key")).await.unwrap().into_inner();
            let run = response.run.unwrap();
            assert_eq!((run.run_id, run.last_seq, response.already_existed), (made.clone(), 4, true));
            server.restart().await;
        }
    }
    let (other, existed) = created(&server, create("", "another key")).await.unwrap();
    assert!(!existed && other != "r");
    assert_eq!(server.everything().await.len(), 9, "three runs, each with one first event");
}

#[tokio::test]
async fn a_run_that_exists_is_not_created_by_another_key_or_none() {
    let server = TestServer::start().await;
    created(&server, create("keyed", "key")).await.unwrap();
    created(&server, create("keyless", "")).await.unwrap();
    server.publish("published", notes(1)).await;
    let with_event = |request, event| pb::CreateRunRequest { first_event: Some(event), ..request };
    let named = with_event(create("named", ""), with_id("a", json_event("x", "{}")));
    created(&server, named.clone()).await.unwrap();
    for request in [
        create("keyed", ""),
        create("keyed", "other"),
        create("keyless", ""),
        create("keyless", "key"),
        create("published", ""),
        create("published", "key"),
        named,
    ] {
        let refusal = refused(created(&server, request.clone()).await).is(Code::AlreadyExists, "RUN_EXISTS");
        assert_eq!(refusal.metadata["run_id"], request.run_id);
    }
    assert_eq!(server.everything().await.len(), 4);
}

#[tokio::test]
async fn the_same_key_with_another_first_event_is_a_conflict() {
    let server = TestServer::start().await;
    let with = |text| pb::CreateRunRequest { first_event: Some(json_event("x", text)), ..create("r", "key") };
    created(&server, with("{}")).await.unwrap();
    assert!(created(&server, with("{}")).await.unwrap().1);
    refused(created(&server, with("[]")).await).is(Code::AlreadyExists, "EVENT_ID_CONFLICT");
}

#[tokio::test]
async fn many_who_create_with_one_key_at_once_get_one_run_and_one_of_them_is_first() {
    let server = TestServer::start().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut runs = server.runs().await;
        calls.spawn(async move { runs.create_run(create("", "key")).await.unwrap().into_inner() });
    }
    let responses = in_time(calls.join_all()).await;
    assert_eq!(responses.iter().filter(|response| !response.already_existed).count(), 1);
    assert_eq!(server.everything().await.len(), 1);
}

#[tokio::test]
async fn agent_structure_and_first_event_are_those_of_the_request() {
    let server = TestServer::start().await;
    let request = pb::CreateRunRequest {
        agent_name: "planner".to_owned(),
        structure_id: "s-1".to_owned(),
        first_event: Some(pb::NewEvent {
            agent_name: "worker".to_owned(),
            ..json_event("run_start", r#"{"framework":"x"}"#)
        }),
        ..create("r", "key")
    };
    created(&server, request).await.unwrap();
    server.publish("r", vec![pb::NewEvent { agent_name: "third".to_owned(), ..json_event("x", "{}") }]).await;
    let run = server.run("r").await;
    assert_eq!((run.agent_name.as_str(), run.structure_id.as_str()), ("planner", "s-1"));
    assert_eq!(run.status(), pb::RunStatus::Running);
    let agents: Vec<_> = server.everything().await.into_iter().map(|event| event.agent_name).collect();
    assert_eq!(agents, ["worker", "third"]);
}

#[tokio::test]
async fn a_run_that_was_not_created_on_purpose_has_the_first_agent_that_an_event_named() {
    let server = TestServer::start().await;
    let by = |agent: &str| pb::NewEvent { agent_name: agent.to_owned(), ..json_event("x", "{}") };
    server.publish("r", vec![by(""), by("first"), by("second")]).await;
    assert_eq!(server.run("r").await.agent_name, "first");
}

#[tokio::test]
async fn what_cannot_be_created_is_refused_by_name_and_nothing_is_stored() {
    let server = TestServer::start().await;
    let long = "x".repeat(201);
    let event = |event| Some(event);
    for (request, field) in [
        (create("a\n", ""), "run_id"),
        (create(&long, ""), "run_id"),
        (create("r", &long), "idempotency_key"),
        (create("r", &"x".repeat(1 << 20)), "idempotency_key"),
        (pb::CreateRunRequest { agent_name: long.clone(), ..create("r", "") }, "agent_name"),
        (pb::CreateRunRequest { agent_name: "a\n".to_owned(), ..create("r", "") }, "agent_name"),
        (pb::CreateRunRequest { structure_id: long.clone(), ..create("r", "") }, "structure_id"),
        (pb::CreateRunRequest { structure_id: "a\n".to_owned(), ..create("r", "") }, "structure_id"),
        (pb::CreateRunRequest { first_event: event(json_event("x", "{")), ..create("r", "") }, "first_event.payload"),
        (pb::CreateRunRequest { first_event: event(json_event("", "{}")), ..create("r", "") }, "first_event.type"),
        (
            pb::CreateRunRequest { first_event: event(with_id("a", json_event("x", "{}"))), ..create("r", "key") },
            "first_event.event_id",
        ),
    ] {
        refused_field(created(&server, request).await, field);
    }
    assert!(server.everything().await.is_empty());
    let refusal = refused(server.runs().await.get_run(pb::GetRunRequest { run_id: "r".to_owned() }).await);
    assert_eq!(refusal.is(Code::NotFound, "RUN_NOT_FOUND").metadata["run_id"], "r");
    created(&server, create("r", &"é".repeat(200))).await.unwrap();
}

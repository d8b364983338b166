//! Two projects on one server: every method and every route with a key of another project. The marks of the other project are in no
//! byte of any answer.

use runlog::domain::KeyScope;
use runlog::pb;
use runlog::pb::admin_service_client::AdminServiceClient;
use runlog::pb::list_events_request::Scope as ListScope;
use runlog::pb::subscribe_request::Scope as FollowScope;
use tonic::Code;

use crate::harness::{ADMIN, create, json, publish, reason, with_keys, with_keys_and};
use crate::matrix::{METHODS, Needs, ROUTES, of_run};
use crate::server::{TestServer, in_time};

/// In everything that the project `default` has: payloads, ids, names.
const MARK: &str = "seen_by_default_only";

/// Run id that both projects use.
const RUN: &str = "shared";

fn marked_event() -> pb::NewEvent {
    pb::NewEvent {
        event_id: MARK.to_owned(),
        r#type: "human_input_requested".to_owned(),
        agent_name: MARK.to_owned(),
        payload: Some(json(&format!(r#"{{"question":"{MARK}","output":"{MARK}"}}"#))),
        ..Default::default()
    }
}

/// A key of this project with all scopes.
async fn key_of(server: &TestServer, project: &str) -> String {
    let request = pb::CreateKeyRequest { project: project.to_owned(), ..create(&KeyScope::ALL) };
    server.keys(ADMIN).await.create_key(request).await.unwrap().into_inner().secret_key
}

/// A server with a run of `default`, and keys of `default` and of `other`.
async fn with_two_projects() -> (TestServer, String, String) {
    let server = with_keys().await;
    let (ours, theirs) = (key_of(&server, "default").await, key_of(&server, "other").await);
    let events = vec![marked_event()];
    let request = pb::PublishRequest { run_id: RUN.to_owned(), events, expected_last_seq: None };
    server.events(&ours).await.publish(request).await.unwrap();
    let created = pb::CreateRunRequest {
        run_id: format!("run_{MARK}"),
        idempotency_key: String::new(),
        structure_id: MARK.to_owned(),
        ..Default::default()
    };
    server.runs(&ours).await.create_run(created).await.unwrap();
    let usage = format!(r#"{{"prompt_tokens":5,"total_tokens":5,"cost_usd":1.5,"model":"{MARK}"}}"#);
    let ended = pb::NewEvent {
        r#type: "run_end".to_owned(),
        agent_name: MARK.to_owned(),
        payload: Some(json(&usage)),
        ..Default::default()
    };
    let paid = pb::PublishRequest { run_id: format!("paid_{MARK}"), events: vec![ended], expected_last_seq: None };
    server.events(&ours).await.publish(paid).await.unwrap();
    let name = MARK.to_owned();
    let request = pb::CreateKeyRequest { name, ..create(&[KeyScope::EventsRead]) };
    server.keys(ADMIN).await.create_key(request).await.unwrap();
    (server, ours, theirs)
}

/// Fails if the text has anything of the project `default`.
fn has_no_mark(what: &str, text: &str) {
    assert!(!text.contains(MARK), "{what}: {text}");
}

/// The answer as text, or the code and the reason of the refusal, neither of which has a mark.
fn seen<T: std::fmt::Debug>(
    what: &str,
    answer: Result<tonic::Response<T>, tonic::Status>,
) -> Result<T, (Code, String)> {
    has_no_mark(what, &format!("{answer:?}"));
    answer.map(tonic::Response::into_inner).map_err(|status| (status.code(), reason(&status)))
}

#[tokio::test]
async fn a_grpc_method_shows_nothing_of_another_project() {
    let (server, ours, theirs) = with_two_projects().await;
    let key_id = |key: &str| key.split_once(':').unwrap().0.to_owned();
    let (mut events, mut runs, mut keys) =
        (server.events(&theirs).await, server.runs(&theirs).await, server.keys(&theirs).await);
    let mut admin = AdminServiceClient::new(server.calls(Some(&theirs)).await);
    let run_id = RUN.to_owned();
    let not_found = Err((Code::NotFound, "RUN_NOT_FOUND".to_owned()));
    let no_key = Err((Code::NotFound, "KEY_NOT_FOUND".to_owned()));
    // What creates a run of the same id comes last.
    let (creating, others): (Vec<_>, Vec<_>) =
        METHODS.iter().map(|(method, _)| *method).partition(|method| method.contains("Publish"));
    for method in others.into_iter().chain(creating) {
        match method {
            "AdminService/Backup" => {
                let refused = seen(method, admin.backup(pb::BackupRequest {}).await).map(drop);
                assert_eq!(refused, Err((Code::PermissionDenied, "DEFAULT_PROJECT_NEEDED".to_owned())));
            }
            "EventService/ListEvents" => {
                let of = |scope| pb::ListEventsRequest { scope: Some(scope), ..Default::default() };
                let run = events.list_events(of(ListScope::RunId(run_id.clone()))).await;
                assert_eq!(seen(method, run).map(drop), not_found);
                let feed = events.list_events(of(ListScope::AllRuns(pb::AllRuns {}))).await;
                assert_eq!(seen(method, feed).unwrap().events, []);
            }
            "EventService/Subscribe" => {
                let scope = Some(FollowScope::RunId(run_id.clone()));
                let request = pb::SubscribeRequest { scope, ..Default::default() };
                assert_eq!(seen(method, events.subscribe(request).await).map(drop), not_found);
            }
            "KeyService/CreateKey" => {
                let request = pb::CreateKeyRequest { project: "default".to_owned(), ..create(&[KeyScope::Admin]) };
                let refused = seen(method, keys.create_key(request).await).map(drop);
                assert_eq!(refused, Err((Code::InvalidArgument, "INVALID_FIELD".to_owned())));
            }
            "KeyService/GetCaller" => {
                let caller = seen(method, keys.get_caller(pb::GetCallerRequest {}).await).unwrap();
                assert_eq!((caller.project.as_str(), caller.scopes.len()), ("other", KeyScope::ALL.len()));
            }
            "KeyService/ListKeys" => {
                let listed = seen(method, keys.list_keys(pb::ListKeysRequest::default()).await).unwrap();
                let listed: Vec<_> = listed.keys.into_iter().map(|key| key.key_id).collect();
                assert_eq!(listed, [key_id(&theirs)]);
            }
            "KeyService/RevokeKey" => {
                let request = pb::RevokeKeyRequest { key_id: key_id(&ours) };
                assert_eq!(seen(method, keys.revoke_key(request).await).map(drop), no_key);
            }
            "KeyService/RotateKey" => {
                let request = pb::RotateKeyRequest { key_id: key_id(&ours), ..Default::default() };
                assert_eq!(seen(method, keys.rotate_key(request).await).map(drop), no_key);
            }
            "RunService/CancelRun" => {
                let request = pb::CancelRunRequest { run_id: run_id.clone() };
                assert_eq!(seen(method, runs.cancel_run(request).await).map(drop), not_found);
            }
            "RunService/ResumeRun" => {
                let request = pb::ResumeRunRequest { run_id: run_id.clone(), ..Default::default() };
                assert_eq!(seen(method, runs.resume_run(request).await).map(drop), not_found);
            }
            "RunService/SignalRun" => {
                let action = pb::SignalAction::Approve.into();
                let request = pb::SignalRunRequest { run_id: run_id.clone(), action, ..Default::default() };
                assert_eq!(seen(method, runs.signal_run(request).await).map(drop), not_found);
            }
            "RunService/CreateRun" => {
                let request = pb::CreateRunRequest { run_id: format!("run_{MARK}"), ..Default::default() };
                let run = runs.create_run(request).await.unwrap().into_inner().run.unwrap();
                assert_eq!((run.last_seq, run.structure_id), (1, String::new()), "a new run of the same id");
            }
            "RunService/CreateStreamToken" => {
                let request = pb::CreateStreamTokenRequest { run_id: run_id.clone() };
                assert_eq!(seen(method, runs.create_stream_token(request).await).map(drop), not_found);
            }
            "RunService/EraseEvents" => {
                let request = pb::EraseEventsRequest { run_id: run_id.clone(), ..Default::default() };
                assert_eq!(seen(method, runs.erase_events(request).await).map(drop), not_found);
            }
            "RunService/HoldRun" => {
                let request = pb::HoldRunRequest { run_id: run_id.clone() };
                assert_eq!(seen(method, runs.hold_run(request).await).map(drop), not_found);
            }
            "RunService/ReleaseRun" => {
                let request = pb::ReleaseRunRequest { run_id: run_id.clone() };
                assert_eq!(seen(method, runs.release_run(request).await).map(drop), not_found);
            }
            "RunService/GetRun" => {
                let request = pb::GetRunRequest { run_id: run_id.clone() };
                assert_eq!(seen(method, runs.get_run(request).await).map(drop), not_found);
            }
            "RunService/GetUsage" => {
                for group_by in [pb::UsageGrouping::Agent, pb::UsageGrouping::Model, pb::UsageGrouping::Day] {
                    let request = pb::GetUsageRequest { group_by: group_by.into(), ..Default::default() };
                    let usage = seen(method, runs.get_usage(request).await).unwrap();
                    // The one run is that of CreateRun above.
                    assert_eq!(usage.total, Some(pb::UsageTotals { runs: 1, ..Default::default() }));
                }
                let of_all = server.runs(&ours).await.get_usage(pb::GetUsageRequest::default()).await.unwrap();
                assert_eq!(of_all.into_inner().total.map(|total| total.cost_usd), Some(1.5));
            }
            "RunService/ListRuns" => {
                let request = pb::ListRunsRequest { text: MARK.to_owned(), ..Default::default() };
                let marked = runs.list_runs(request).await.unwrap().into_inner().runs;
                assert!(marked.iter().all(|run| run.last_seq == 1 && run.agent_name.is_empty()), "{marked:?}");
                let listed = runs.list_runs(pb::ListRunsRequest::default()).await.unwrap().into_inner().runs;
                assert!(listed.iter().all(|run| run.last_seq == 1 && run.structure_id.is_empty()), "{listed:?}");
            }
            "EventService/Publish" => {
                let request = publish(RUN, "step");
                let published = seen(method, events.publish(request).await).unwrap();
                assert_eq!((published.events[0].seq, published.events[0].duplicate), (1, false));
                // The id of an event of the other project is a new id here, whatever its content.
                let event = pb::NewEvent { r#type: "step".to_owned(), ..marked_event() };
                let request =
                    pb::PublishRequest { run_id: run_id.clone(), events: vec![event], expected_last_seq: Some(1) };
                let published = events.publish(request).await.unwrap().into_inner();
                assert_eq!((published.events[0].seq, published.events[0].duplicate), (2, false));
            }
            "EventService/PublishStream" => {
                let request = pb::PublishStreamRequest { publish: Some(publish(RUN, "step")) };
                let mut answers = events.publish_stream(tokio_stream::iter([request])).await.unwrap().into_inner();
                has_no_mark(method, &format!("{:?}", answers.message().await.unwrap()));
            }
            other => panic!("{other} is not in the matrix of projects"),
        }
    }
    let run = server.runs(&ours).await.get_run(pb::GetRunRequest { run_id }).await.unwrap().into_inner().run.unwrap();
    assert_eq!(run.last_seq, 1, "nothing of it has changed: {run:?}");
}

#[tokio::test]
async fn a_rest_route_shows_nothing_of_another_project() {
    let (server, ours, theirs) = with_two_projects().await;
    let before = server.rest("GET", &format!("/v1/runs/{RUN}/events?view=full"), Some(&ours), None).await.body;
    assert!(before.contains(MARK), "{before}");
    let id_of = |path: &str| match path {
        path if path.contains("{event_id}") || path.contains("{structure_id}") => MARK,
        _ => RUN,
    };
    // What creates runs comes last: then the other project has a run of this id, too.
    let (reads, writes): (Vec<_>, Vec<_>) = ROUTES.into_iter().partition(|(method, ..)| *method == "GET");
    for (method, path, needs, body) in reads.iter().chain(&writes) {
        let answer = server.rest(method, &of_run(path, id_of(path)), Some(&theirs), *body).await;
        // The id in the path comes from the caller.
        let is_named = id_of(path) == MARK;
        assert!(is_named || !answer.body.contains(MARK), "{method} {path}: {answer:?}");
        let of_a_run = path.contains('{') && !path.contains("{structure_id}");
        if *method == "GET" && of_a_run && *needs != Needs::Nothing {
            assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
        }
    }
    for group_by in ["agent", "model", "day"] {
        let usage = server.rest("GET", &format!("/v1/usage?group_by={group_by}"), Some(&theirs), None).await;
        assert!(usage.status == 200 && !usage.body.contains(MARK) && !usage.body.contains("1.5"), "{usage:?}");
    }
    let structure = server.rest("GET", &format!("/api/structures/{MARK}/runs"), Some(&theirs), None).await;
    assert!(!structure.body.contains(&format!("run_{MARK}")), "{structure:?}");
    let after = server.rest("GET", &format!("/v1/runs/{RUN}/events?view=full"), Some(&ours), None).await.body;
    assert_eq!(after, before, "nothing of it has changed");
    // Metrics count what all projects do.
    assert_eq!(server.rest("GET", "/metrics", Some(&theirs), None).await.status, 404);
    assert_eq!(server.rest("GET", "/metrics", Some(&ours), None).await.status, 200);
}

#[tokio::test]
async fn a_feed_is_live_with_the_events_of_its_project_only_and_its_cursor_is_refused_elsewhere() {
    let (server, ours, theirs) = with_two_projects().await;
    let scope = Some(FollowScope::AllRuns(pb::AllRuns {}));
    let request = pb::SubscribeRequest { scope, ..Default::default() };
    let mut feed = server.events(&theirs).await.subscribe(request).await.unwrap().into_inner();
    for n in 0..20 {
        server.events(&ours).await.publish(publish(&format!("ours{n}"), "step")).await.unwrap();
    }
    server.events(&theirs).await.publish(publish("theirs", "step")).await.unwrap();
    let (run_id, cursor) = loop {
        let frame = in_time(feed.message()).await.unwrap().unwrap();
        if let Some(pb::subscribe_response::Frame::Events(batch)) = frame.frame {
            break (batch.events().unwrap()[0].run_id.clone(), frame.cursor);
        }
    };
    assert_eq!(run_id, "theirs");
    let of = |cursor: &str| pb::ListEventsRequest {
        scope: Some(ListScope::AllRuns(pb::AllRuns {})),
        cursor: cursor.to_owned(),
        ..Default::default()
    };
    server.events(&theirs).await.list_events(of(&cursor)).await.unwrap();
    let refused = server.events(&ours).await.list_events(of(&cursor)).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "CURSOR_INVALID"));
}

#[tokio::test]
async fn a_stream_token_reads_the_run_of_its_own_project() {
    let (server, ours, theirs) = with_two_projects().await;
    server.events(&theirs).await.publish(publish(RUN, "step")).await.unwrap();
    for (key, is_marked) in [(&ours, true), (&theirs, false)] {
        let token = server.stream_token(Some(key), RUN).await;
        let read = server.rest("GET", &format!("/v1/runs/{RUN}/events?token={token}&view=full"), None, None).await;
        assert_eq!((read.status, read.body.contains(MARK)), (200, is_marked), "{read:?}");
    }
}

#[tokio::test]
async fn projects_and_their_runs_survive_a_restart_and_a_key_of_default_manages_the_keys_of_all() {
    let mut server = with_keys_and(|_| ()).await;
    let theirs = key_of(&server, "other").await;
    server.events(&theirs).await.publish(publish(RUN, "step")).await.unwrap();
    server.restart().await;
    let run_id = RUN.to_owned();
    server.runs(&theirs).await.get_run(pb::GetRunRequest { run_id: run_id.clone() }).await.unwrap();
    let missing = server.runs(&key_of(&server, "default").await).await.get_run(pb::GetRunRequest { run_id }).await;
    assert_eq!(missing.unwrap_err().code(), Code::NotFound);
    let mut admin = server.keys(ADMIN).await;
    let listed = admin.list_keys(pb::ListKeysRequest::default()).await.unwrap().into_inner().keys;
    assert!(listed.iter().any(|key| key.project == "other") && listed.iter().any(|key| key.project == "default"));
    let key_id = theirs.split_once(':').unwrap().0.to_owned();
    let revoked = admin.revoke_key(pb::RevokeKeyRequest { key_id }).await.unwrap().into_inner();
    assert!(revoked.key.unwrap().revoked_at.is_some());
}

//! Cancel, signal and resume, with the rules of the REST API.

use runlog::pb;
use runlog::pb::RunStatus::{AwaitingInput, Cancelled, Queued, Running};
use runlog::pb::SignalAction::{Approve, Reject, SubmitInput};
use runlog::pb::run_service_client::RunServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::builders::{json_event, notes};
use crate::harness::TestServer;
use crate::reading::{json_of, list_run};
use crate::refusal::{refused, refused_field};

const RUN: &str = "r";

fn signal(action: pb::SignalAction, payload_json: Option<&str>) -> pb::SignalRunRequest {
    pb::SignalRunRequest {
        run_id: RUN.to_owned(),
        action: action.into(),
        payload_json: payload_json.map(str::to_owned),
        idempotency_key: String::new(),
    }
}

async fn cancel(runs: &mut RunServiceClient<Channel>) -> Result<pb::Run, Status> {
    let request = pb::CancelRunRequest { run_id: RUN.to_owned() };
    Ok(runs.cancel_run(request).await?.into_inner().run.unwrap())
}

async fn resume(runs: &mut RunServiceClient<Channel>, key: &str) -> Result<pb::Run, Status> {
    let request = pb::ResumeRunRequest { run_id: RUN.to_owned(), idempotency_key: key.to_owned() };
    Ok(runs.resume_run(request).await?.into_inner().run.unwrap())
}

async fn answer(runs: &mut RunServiceClient<Channel>, request: pb::SignalRunRequest) -> Result<pb::Run, Status> {
    Ok(runs.signal_run(request).await?.into_inner().run.unwrap())
}

/// A server with a run of these events.
async fn with_run(events: &[(&str, &str)]) -> (TestServer, RunServiceClient<Channel>) {
    let server = TestServer::start().await;
    server.publish(RUN, events.iter().map(|(event_type, json)| json_event(event_type, json)).collect()).await;
    let runs = server.runs().await;
    (server, runs)
}

/// Type and payload of the last event.
async fn last(server: &TestServer) -> (String, String) {
    let event = server.list(list_run(RUN)).await.unwrap().events.pop().unwrap();
    (event.r#type.clone(), json_of(&event).to_owned())
}

#[tokio::test]
async fn a_run_is_cancelled_once_and_stays_cancelled_and_one_that_ended_otherwise_is_refused() {
    let (server, mut runs) = with_run(&[("run.worker.started", "{}")]).await;
    let run = cancel(&mut runs).await.unwrap();
    assert_eq!((run.status(), run.last_seq), (Cancelled, 2));
    assert_eq!(last(&server).await.0, "run.cancelled");
    assert_eq!(cancel(&mut runs).await.unwrap(), run, "cancelled stays cancelled, and no event is stored");
    refused(resume(&mut runs, "").await).is(Code::FailedPrecondition, "CONTROL_REFUSED");
    refused(answer(&mut runs, signal(Approve, None)).await).is(Code::FailedPrecondition, "CONTROL_REFUSED");

    let (_server, mut runs) = with_run(&[("run_end", "{}")]).await;
    refused(cancel(&mut runs).await).is(Code::FailedPrecondition, "CONTROL_REFUSED");
}

#[tokio::test]
async fn each_signal_answers_the_question_by_its_event_with_the_payload_as_it_was_sent() {
    for (action, name, event_type) in [
        (Approve, "approve", "run.signal_applied"),
        (Reject, "reject", "run.signal_applied"),
        (SubmitInput, "submit_input", "run.input_received"),
    ] {
        let (server, mut runs) = with_run(&[("run.worker.started", "{}"), ("run.awaiting_input", "{}")]).await;
        let json = r#"{ "z":1,"a":12345678901234567890123}"#;
        let run = answer(&mut runs, signal(action, Some(json))).await.unwrap();
        assert_eq!((run.status(), run.last_seq, run.pending_inputs.len()), (AwaitingInput, 3, 0));
        let (stored_type, payload) = last(&server).await;
        assert_eq!(stored_type, event_type);
        let expected = format!(r#""action":"{name}","requested_seq":2,"payload":{json}}}"#);
        assert!(payload.starts_with(r#"{"request_id":"req_"#) && payload.ends_with(&expected), "{payload}");
        refused(answer(&mut runs, signal(action, None)).await).is(Code::FailedPrecondition, "CONTROL_REFUSED");
        assert_eq!(resume(&mut runs, "").await.unwrap().status(), Running);
    }
}

#[tokio::test]
async fn a_stalled_run_is_resumed_once_under_a_key_and_the_key_serves_for_no_other_control() {
    let (_server, mut runs) = with_run(&[("run.worker.stalled", "{}"), ("run.awaiting_input", "{}")]).await;
    let keyed = pb::SignalRunRequest { idempotency_key: "key".to_owned(), ..signal(Approve, None) };
    let answered = answer(&mut runs, keyed.clone()).await.unwrap();
    assert_eq!(answer(&mut runs, keyed).await.unwrap(), answered);
    refused(resume(&mut runs, "key").await).is(Code::AlreadyExists, "EVENT_ID_CONFLICT");

    let (_server, mut runs) = with_run(&[("run.worker.stalled", "{}")]).await;
    let run = resume(&mut runs, "key").await.unwrap();
    assert_eq!((run.status(), run.last_seq), (Queued, 2));
    assert_eq!(resume(&mut runs, "key").await.unwrap(), run);
    refused(resume(&mut runs, "").await).is(Code::FailedPrecondition, "CONTROL_REFUSED");
}

#[tokio::test]
async fn a_control_that_is_not_valid_is_refused_by_the_field_as_the_request_spells_it() {
    let (server, mut runs) = with_run(&[("run.awaiting_input", "{}")]).await;
    refused_field(answer(&mut runs, signal(pb::SignalAction::Unspecified, None)).await, "action");
    refused_field(answer(&mut runs, pb::SignalRunRequest { action: 9, ..signal(Approve, None) }).await, "action");
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    refused_field(answer(&mut runs, signal(Approve, Some(&deep))).await, "payload_json");
    refused_field(answer(&mut runs, signal(Approve, Some("{no json"))).await, "payload_json");
    let long = pb::SignalRunRequest { idempotency_key: "k".repeat(201), ..signal(Approve, None) };
    refused_field(answer(&mut runs, long).await, "idempotency_key");
    refused_field(runs.cancel_run(pb::CancelRunRequest::default()).await, "run_id");
    let unknown = pb::CancelRunRequest { run_id: "unknown".to_owned() };
    refused(runs.cancel_run(unknown).await).is(Code::NotFound, "RUN_NOT_FOUND");
    assert_eq!(server.publish(RUN, notes(1)).await.events[0].seq, 2, "nothing was stored");
}

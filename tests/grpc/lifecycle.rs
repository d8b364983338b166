//! Events after the end of a run: recorded by default, refused under `--lifecycle=strict`.

use runlog::config::LifecycleOption;
use runlog::pb;
use tonic::Code;

use crate::builders::{json_event, numbered, the_end, with_id};
use crate::harness::TestServer;
use crate::refusal::refused;

#[tokio::test]
async fn by_default_a_late_transition_is_stored_and_changes_no_status() {
    let server = TestServer::start().await;
    server.publish("r", vec![the_end(), json_event("error", "{}"), json_event("run_start", "{}")]).await;
    let run = server.run("r").await;
    assert_eq!((run.status(), run.last_seq), (pb::RunStatus::Succeeded, 3));
}

#[tokio::test]
async fn strict_refuses_a_transition_out_of_a_final_status_and_nothing_else() {
    let mut server = TestServer::start_with(|options| options.lifecycle = LifecycleOption::Strict).await;
    server.publish("r", vec![json_event("run_start", "{}"), with_id("end", the_end())]).await;
    for _ in 0..2 {
        for (late, status) in [("error", "FAILED"), ("run_start", "RUNNING"), ("run.cancelled", "CANCELLED")] {
            let refusal = refused(server.try_publish("r", vec![numbered(1), json_event(late, "{}")]).await);
            let refusal = refusal.is(Code::FailedPrecondition, "RUN_STATUS_FINAL");
            let facts = ["run_id", "status", "refused_status"].map(|name| refusal.metadata[name].as_str());
            assert_eq!(facts, ["r", "SUCCEEDED", status]);
            assert_eq!(refusal.retry, None);
        }
        assert!(server.publish("r", vec![with_id("end", the_end())]).await.events[0].duplicate);
        server.restart().await;
    }
    assert_eq!(server.run("r").await.last_seq, 2, "a batch with one refused event is stored not at all");
    server.publish("r", vec![numbered(1), the_end(), json_event("step", "{}")]).await;
    assert_eq!(server.run("r").await.last_seq, 5);
}

#[tokio::test]
async fn strict_refuses_within_one_batch_and_for_a_new_run_too() {
    let server = TestServer::start_with(|options| options.lifecycle = LifecycleOption::Strict).await;
    let refusal = server.try_publish("r", vec![the_end(), json_event("error", "{}")]).await;
    refused(refusal).is(Code::FailedPrecondition, "RUN_STATUS_FINAL");
    assert!(server.everything().await.is_empty());
    assert_eq!(server.publish("r", vec![the_end()]).await.events[0].seq, 1);
}

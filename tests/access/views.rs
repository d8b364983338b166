//! What a key allows beyond its routes: the origin SYSTEM, and payloads in full.

use runlog::domain::KeyScope;
use runlog::pb;
use tonic::Code;

use crate::harness::{publish, reason, with_keys};

#[tokio::test]
async fn events_of_the_platform_need_a_scope_of_their_own_at_every_door() {
    let server = with_keys().await;
    let (_, user) = server.key(&[KeyScope::EventsPublish, KeyScope::RunsWrite]).await;
    let (_, system) = server.key(&[KeyScope::EventsPublish, KeyScope::EventsPublishSystem, KeyScope::RunsWrite]).await;
    let mut given = publish("g", "step");
    given.events[0].origin = pb::Origin::System as i32;
    for request in [publish("g", "run.worker.started"), given] {
        let refused = server.events(&user).await.publish(request.clone()).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "SCOPE_MISSING"), "{refused}");
        assert!(refused.message().contains("events.publish_system"), "{refused}");
        server.events(&system).await.publish(request).await.unwrap();
    }
    let first = |event_type: &str| pb::CreateRunRequest {
        first_event: Some(publish("c", event_type).events.remove(0)),
        ..Default::default()
    };
    let refused = server.runs(&user).await.create_run(first("run.worker.started")).await.unwrap_err();
    assert_eq!(reason(&refused), "SCOPE_MISSING");
    server.runs(&user).await.create_run(first("run.created")).await.unwrap();
    server.runs(&system).await.create_run(first("run.worker.started")).await.unwrap();
    for (path, body) in [
        ("/api/structure-runs/s/events", r#"{"type":"StructureRunRunning","payload":{}}"#),
        ("/api/structure-runs/s/events", r#"{"type":"run.worker.started","payload":{}}"#),
    ] {
        let refused = server.rest("POST", path, Some(&user), Some(body)).await;
        assert!(refused.status == 403 && refused.names("EVENTS.PUBLISH_SYSTEM"), "{path}: {refused:?}");
        let stored = server.rest("POST", path, Some(&system), Some(body)).await;
        assert!(stored.status < 300, "{path}: {stored:?}");
    }
}

#[tokio::test]
async fn a_structure_that_finishes_ends_its_run_only_for_a_key_that_may_publish_what_the_platform_does() {
    let server = crate::harness::with_keys_and(|options| {
        options.writing.finish_ends_run = runlog::config::FinishOption::On;
    })
    .await;
    let (_, user) = server.key(&[KeyScope::EventsPublish, KeyScope::EventsRead]).await;
    let system = [KeyScope::EventsPublish, KeyScope::EventsPublishSystem, KeyScope::EventsRead];
    let (_, system) = server.key(&system).await;
    let body = r#"{"type":"FinishStructureRunEvent","payload":{"output_task_output":{"value":"x"}}}"#;
    for (run, key, status) in [("u", &user, "QUEUED"), ("s", &system, "SUCCEEDED")] {
        let path = format!("/api/structure-runs/{run}");
        let stored = server.rest("POST", &format!("{path}/events"), Some(key), Some(body)).await;
        assert_eq!(stored.status, 202, "{stored:?}");
        let shown = server.rest("GET", &path, Some(key), None).await;
        let has = |text: &str| shown.body.contains(text);
        assert!(has(&format!(r#""status":"{status}""#)) && has(r#""value":"x""#), "{shown:?}");
    }
}

#[tokio::test]
async fn payloads_in_full_need_a_scope_of_their_own_and_defaults_are_reduced() {
    use pb::list_events_request::Scope;
    use runlog::config::ViewOption;
    let server = crate::harness::with_keys_and(|options| options.reading.default_view = ViewOption::Full).await;
    let (_, publisher) = server.key(&[KeyScope::EventsPublish]).await;
    server.events(&publisher).await.publish(publish("r", "step")).await.unwrap();
    let (_, reader) = server.key(&[KeyScope::EventsRead]).await;
    let (_, auditor) = server.key(&[KeyScope::EventsRead, KeyScope::EventsReadSensitive]).await;
    let list = pb::ListEventsRequest {
        scope: Some(Scope::RunId("r".to_owned())),
        view: pb::EventView::Full as i32,
        payload_format: pb::PayloadFormat::Json as i32,
        ..Default::default()
    };
    let refused = server.events(&reader).await.list_events(list.clone()).await.unwrap_err();
    assert!(reason(&refused) == "SCOPE_MISSING" && refused.message().contains("events.read_sensitive"), "{refused}");
    let full = server.events(&auditor).await.list_events(list).await.unwrap().into_inner();
    assert!(format!("{full:?}").contains("private"));
    for path in
        ["/v1/runs/r/events", "/api/runs/r/events", "/api/structure-runs/r/events", "/api/structure-runs/r/logs"]
    {
        let refused = server.rest("GET", &format!("{path}?view=full"), Some(&reader), None).await;
        assert!(refused.status == 403 && refused.names("SCOPE_MISSING"), "{path}: {refused:?}");
        let public = server.rest("GET", path, Some(&reader), None).await;
        assert!(public.status == 200 && !public.body.contains("private"), "{path}: {public:?}");
        let whole = server.rest("GET", path, Some(&auditor), None).await;
        assert!(whole.status == 200 && whole.body.contains("private"), "{path}: {whole:?}");
    }
}

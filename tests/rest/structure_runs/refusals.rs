//! Errors: refused requests, their bodies, and that nothing is stored.

use reqwest::Method;
use runlog::pb;
use serde_json::Value;

use super::posted;
use crate::harness::{Gateway, json};

/// Number of runs.
async fn runs(gateway: &Gateway) -> usize {
    gateway.runs().await.list_runs(pb::ListRunsRequest::default()).await.unwrap().into_inner().runs.len()
}

async fn refused(gateway: &Gateway, method: Method, path: &str, body: Option<&str>) -> (u16, Value) {
    let (status, answer) = json(gateway.send(method, path, body).await).await;
    let error = answer["errors"][0].clone();
    assert!(answer["type"].is_string() && error["type"].is_string() && error["message"].is_string(), "{answer}");
    (status, error["path"].clone())
}

#[tokio::test]
async fn a_refused_batch_names_the_field_and_stores_nothing() {
    let gateway = Gateway::start().await;
    let deep = format!(r#"{{"type":"t","payload":{}1{}}}"#, "[".repeat(65), "]".repeat(65));
    let long = format!(r#"{{"type":"{}"}}"#, "t".repeat(201));
    let many = format!("[{}]", vec![r#"{"type":"t"}"#; 1_001].join(","));
    for (body, status, path) in [
        (r#"{"type":"t""#, 400, ""),
        ("", 400, ""),
        ("NaN", 400, ""),
        ("7", 422, "body"),
        ("{}", 422, "type"),
        (r#"{"type":""}"#, 422, "type"),
        (r#"{"type":7}"#, 422, "type"),
        (&long, 422, "type"),
        (r#"{"type":"t\u0000"}"#, 422, "type"),
        (r#"{"type":"t","timestamp":"soon"}"#, 422, "timestamp"),
        (r#"{"type":"t","timestamp":[1]}"#, 422, "timestamp"),
        (r#"{"type":"t","timestamp":1e999}"#, 422, "timestamp"),
        (r#"{"type":"t","event_id":"e"}"#, 422, "event_id"),
        (r#"{"type":"t","type":"u"}"#, 422, "type"),
        (&deep, 422, "payload"),
        ("[]", 422, "events"),
        (r#"{"events":[]}"#, 422, "events"),
        (r#"{"events":{}}"#, 422, "events"),
        (r#"{"events":null}"#, 422, "events"),
        (r#"{"events":null,"type":"t"}"#, 422, "type"),
        (r#"{"events":[{"type":"t"}],"type":"t"}"#, 422, "type"),
        (r#"[{"type":"t"},7]"#, 422, "[1]"),
        (r#"[{"type":"t"},{"type":"t","x":1}]"#, 422, "[1].x"),
        (r#"{"events":[{"type":"t"},{"payload":1}]}"#, 422, "events[1].type"),
        (&many, 422, "events"),
    ] {
        let expected = if path.is_empty() { Value::Null } else { path.into() };
        let answer = refused(&gateway, Method::POST, "/api/structure-runs/r/events", Some(body)).await;
        assert_eq!(answer, (status, expected), "{}", &body[..body.len().min(80)]);
    }
    assert_eq!(runs(&gateway).await, 0);
}

#[tokio::test]
async fn a_refused_creation_names_the_field_and_stores_nothing() {
    let gateway = Gateway::start().await;
    for (body, status, path) in [
        ("{", 400, ""),
        ("[]", 422, "body"),
        (r#"{"args":"a"}"#, 422, "args"),
        (r#"{"args":["a",1]}"#, 422, "args[1]"),
        (r#"{"env_vars":[{"value":"v"}]}"#, 422, "env_vars[0].name"),
        (r#"{"env_vars":[{"name":"n"}]}"#, 422, "env_vars[0].value"),
        (r#"{"env_vars":[{"name":"n","value":"v","kind":"k"}]}"#, 422, "env_vars[0].kind"),
        (r#"{"arguments":[]}"#, 422, "arguments"),
    ] {
        let expected = if path.is_empty() { Value::Null } else { path.into() };
        let answer = refused(&gateway, Method::POST, "/api/structures/s/runs", Some(body)).await;
        assert_eq!(answer, (status, expected), "{body}");
    }
    let large = format!(r#"{{"args":["{}"]}}"#, "a".repeat(1 << 20));
    assert_eq!(refused(&gateway, Method::POST, "/api/structures/s/runs", Some(&large)).await, (422, "body".into()));
    let answer = refused(&gateway, Method::POST, &format!("/api/structures/{}/runs", "s".repeat(201)), None).await;
    assert_eq!(answer, (422, "structure_id".into()));
    assert_eq!(runs(&gateway).await, 0);
}

#[tokio::test]
async fn bodies_of_another_type_or_too_large_are_refused() {
    let gateway = Gateway::start_with(|options| {
        options.limits.max_payload_bytes = 10_000;
        options.limits.max_request_bytes = 20_000;
    })
    .await;
    for path in ["/api/structure-runs/r/events", "/api/structure-runs/r/cancel", "/api/structures/s/runs"] {
        let request = gateway.client.post(gateway.url(path)).header("content-type", "text/plain").body("{}");
        assert_eq!(request.send().await.unwrap().status(), 415, "{path}");
        let large = " ".repeat(20_001);
        assert_eq!(refused(&gateway, Method::POST, path, Some(&large)).await, (413, Value::Null), "{path}");
        let request = gateway.client.post(gateway.url(path)).body(vec![b'"', 0xff, b'"']);
        assert_eq!(request.send().await.unwrap().status(), 400, "{path}");
    }
    let answer = refused(&gateway, Method::POST, "/api/structure-runs/r/cancel", Some(r#"{"why":"x"}"#)).await;
    assert_eq!(answer, (422, "why".into()));
    assert_eq!(runs(&gateway).await, 0);
}

#[tokio::test]
async fn parameters_that_mean_nothing_are_refused_by_name() {
    let gateway = Gateway::start().await;
    posted(&gateway, "r", r#"{"type":"t"}"#).await;
    for (method, path, field) in [
        (Method::GET, "/api/structures/s/runs?limit=1", "limit"),
        (Method::GET, "/api/structures/s/runs?page=0", "page"),
        (Method::GET, "/api/structures/s/runs?page=1&page=2", "page"),
        (Method::GET, "/api/structures/s/runs?page_size=1001", "page_size"),
        (Method::GET, "/api/structures/s/runs?status=running", "status"),
        (Method::POST, "/api/structures/s/runs?x=1", "x"),
        (Method::GET, "/api/structure-runs/r?x=1", "x"),
        (Method::POST, "/api/structure-runs/r/cancel?x=1", "x"),
        (Method::POST, "/api/structure-runs/r/events?x=1", "x"),
        (Method::GET, "/api/structure-runs/r/events?cursor=1", "cursor"),
        (Method::GET, "/api/structure-runs/r/events?offset=-1", "offset"),
        (Method::GET, "/api/structure-runs/r/events?limit=0", "limit"),
        (Method::GET, "/api/structure-runs/r/events?limit=1001", "limit"),
        (Method::GET, "/api/structure-runs/r/events?limit=%2B1", "limit"),
        (Method::GET, "/api/structure-runs/r/events/stream?offset=1", "offset"),
        (Method::GET, "/api/structure-runs/r/logs?x=1", "x"),
        (Method::GET, "/api/events/e?x=1", "x"),
        (Method::GET, "/api/structure-runs/a%0Ab", "structure_run_id"),
        (Method::GET, "/api/events/a%0Ab", "event_id"),
    ] {
        let body = (method == Method::POST).then_some(r#"{"type":"t"}"#);
        assert_eq!(refused(&gateway, method, path, body).await, (422, field.into()), "{path}");
    }
    assert_eq!(runs(&gateway).await, 1);
}

#[tokio::test]
async fn what_is_not_there_is_404_and_another_method_405() {
    let gateway = Gateway::start().await;
    for path in [
        "/api/structure-runs/none",
        "/api/structure-runs/none/events",
        "/api/structure-runs/none/events?offset=3",
        "/api/structure-runs/none/events/stream",
        "/api/structure-runs/none/logs",
        "/api/events/none",
    ] {
        assert_eq!(refused(&gateway, Method::GET, path, None).await.0, 404, "{path}");
        assert_eq!(refused(&gateway, Method::DELETE, path, None).await.0, 405, "{path}");
    }
    assert_eq!(refused(&gateway, Method::POST, "/api/structure-runs/none/cancel", None).await.0, 404);
    assert_eq!(refused(&gateway, Method::GET, "/api/structure-runs/none/cancel", None).await.0, 405);
    assert_eq!(refused(&gateway, Method::PUT, "/api/structures/s/runs", None).await.0, 405);
    assert_eq!(refused(&gateway, Method::GET, "/api/structure-runs/%FF", None).await.0, 400);
    assert_eq!(runs(&gateway).await, 0);
}

#[tokio::test]
async fn under_a_strict_lifecycle_a_final_status_stays_and_says_so() {
    let gateway = Gateway::start_with(|options| options.lifecycle = runlog::config::LifecycleOption::Strict).await;
    posted(&gateway, "r", r#"{"type":"StructureRunCompleted"}"#).await;
    let path = "/api/structure-runs/r/events";
    assert_eq!(refused(&gateway, Method::POST, path, Some(r#"{"type":"StructureRunError"}"#)).await.0, 409);
    posted(&gateway, "r", r#"{"type":"late"}"#).await;
}

//! Errors beyond the golden conversations: limits, methods, types, and that nothing is stored.

use reqwest::Method;
use serde_json::json;

use super::{INGEST, event};
use crate::harness::{Gateway, json as read};

#[tokio::test]
async fn a_body_of_another_type_or_past_the_bound_is_refused() {
    let gateway = Gateway::start().await;
    let text = event("step").to_string();
    let sent = gateway.client.post(gateway.url(INGEST)).header("content-type", "text/plain").body(text.clone()).send();
    let (status, answer) = read(sent.await.unwrap()).await;
    assert_eq!((status, &answer["error"]["code"]), (415, &json!("UNSUPPORTED_MEDIA_TYPE")));
    let (status, answer) = gateway.post(INGEST, &format!("{text}{}", " ".repeat(4 << 20))).await;
    assert_eq!(
        (status, &answer["error"]["code"], &answer["error"]["status"]),
        (413, &json!("REQUEST_TOO_LARGE"), &json!(413))
    );
    assert_eq!(gateway.get("/api/runs").await.1["runs"], json!([]));
}

#[tokio::test]
async fn a_payload_past_its_bounds_is_refused_by_name() {
    let gateway = Gateway::start().await;
    let nested = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
    let sized = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
    let ingest = |payload: String| {
        let body = format!(r#"{{"event_type":"step","sdk_run_id":"r","payload":{payload}}}"#);
        async { gateway.post(INGEST, &{ body }).await }
    };
    for payload in [nested(65), nested(100_000), sized((1 << 20) + 1)] {
        let (status, answer) = ingest(payload).await;
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!("payload")));
    }
    assert_eq!(gateway.get("/api/runs").await.1["runs"], json!([]));
    for payload in [nested(64), sized(1 << 20)] {
        assert_eq!(ingest(payload).await.0, 202);
    }
}

#[tokio::test]
async fn other_methods_and_other_representations_are_refused_on_every_route() {
    let gateway = Gateway::start().await;
    for (path, allowed) in [
        (INGEST, "POST"),
        ("/api/runs", "GET"),
        ("/api/runs/r", "GET"),
        ("/api/runs/r/events", "GET"),
        ("/api/runs/r/events/stream", "GET"),
    ] {
        let refused = gateway.send(Method::PATCH, path, None).await;
        assert!(refused.headers()["allow"].to_str().unwrap().contains(allowed), "{path}");
        let (status, answer) = read(refused).await;
        assert_eq!((status, &answer["error"]["code"]), (405, &json!("METHOD_NOT_ALLOWED")), "{path}");
        if path.ends_with("/stream") {
            // A stream is served whatever the client accepts.
            continue;
        }
        let method = allowed.parse().unwrap();
        let sent = gateway.client.request::<&str>(method, &gateway.url(path)).header("accept", "image/png").send();
        let (status, answer) = read(sent.await.unwrap()).await;
        assert_eq!((status, &answer["error"]["code"]), (406, &json!("NOT_ACCEPTABLE")), "{path}");
    }
}

#[tokio::test]
async fn a_run_id_that_no_run_can_have_is_refused_by_name() {
    let gateway = Gateway::start().await;
    for id in ["%00", "a%0Ab", "%C2%85", &"r".repeat(201)] {
        for end in ["", "/events", "/events/stream"] {
            let (status, answer) = gateway.get(&format!("/api/runs/{id}{end}")).await;
            assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!("sdk_run_id")), "{id}{end}");
        }
    }
}

#[tokio::test]
async fn a_query_at_the_ingest_is_refused_by_name_and_nothing_is_stored() {
    let gateway = Gateway::start().await;
    let (status, answer) = gateway.post("/api/ingest?dry_run=true", &event("step").to_string()).await;
    assert_eq!(status, 422, "{answer}");
    assert!(answer.to_string().contains("dry_run"), "{answer}");
    let (_, runs) = gateway.get("/api/runs").await;
    assert_eq!(runs["runs"], json!([]));
}

//! Errors: refused requests, their bodies, and that nothing is stored.

use reqwest::Method;
use runlog::config::ServeOptions;
use serde_json::{Value, json};

use crate::harness::{self, Gateway};

use super::{Run, text};

/// Asserts the three members, and the field at fault at the beginning of the text.
fn check(refusal: &Value, reason: &str, begins: &str) {
    let members: Vec<_> = refusal.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["error", "reason_code", "request_id"], "{refusal}");
    assert_eq!(refusal["reason_code"], json!(reason), "{refusal}");
    assert!(text(&refusal["error"]).starts_with(begins), "{begins}: {refusal}");
    assert!(text(&refusal["request_id"]).starts_with("req_"), "{refusal}");
}

#[tokio::test]
async fn members_of_a_run_to_be_are_checked_by_name() {
    let gateway = Gateway::start().await;
    let deep = format!(r#"{{"input":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    for (body, status, reason, begins) in [
        ("{", 400, "malformed_request", "must be JSON"),
        ("[]", 422, "invalid_field", "body: must be an object"),
        (r#"{"inptu":1}"#, 422, "invalid_field", "inptu: "),
        (r#"{"metadata":1}"#, 422, "invalid_field", "metadata: must be an object"),
        (r#"{"attachment_refs":{}}"#, 422, "invalid_field", "attachment_refs: must be an array"),
        (r#"{"sensitivity_tags":"x"}"#, 422, "invalid_field", "sensitivity_tags: must be an array"),
        (r#"{"streaming":1}"#, 422, "invalid_field", "streaming: must be true or false"),
        (r#"{"routing_hint":1}"#, 422, "invalid_field", "routing_hint: must be a string"),
        (r#"{"input":1,"input":2}"#, 422, "invalid_field", "input: is there twice"),
        (&deep, 422, "invalid_field", "body: must nest at most 64 levels"),
    ] {
        let (got, refusal) = gateway.post("/v1/runs", body).await;
        assert_eq!(got, status, "{body}");
        check(&refusal, reason, begins);
    }
    assert_eq!(gateway.get("/v1/runs").await.1["runs"], json!([]), "nothing is stored");
}

#[tokio::test]
async fn members_of_events_are_checked_by_path_and_nothing_of_a_refused_batch_is_stored() {
    let run = Run::create().await;
    for (event, begins) in [
        (r#"{"payload":{}}"#, "type: must be set"),
        (r#"{"type":"a"}"#, "payload: must be set"),
        (r#"{"type":"","payload":{}}"#, "type: must not be empty"),
        (r#"{"type":1,"payload":{}}"#, "type: must be a string"),
        (r#"{"type":"a","payload":{},"seq":1}"#, "seq: is no member"),
        (r#"{"type":"a","payload":{},"timestamp":"yesterday"}"#, "timestamp: must be an ISO 8601 time"),
        (r#"{"type":"a","payload":{},"timestamp":true}"#, "timestamp: must be an ISO 8601 time"),
        (r#"{"type":"a","payload":{},"event_id":""}"#, "event_id: must not be empty"),
        (r#"{"type":"a","payload":{},"agent_name":"\u0007"}"#, "agent_name: must not hold control characters"),
    ] {
        let (status, refusal) = run.post("/events", event).await;
        assert_eq!(status, 422, "{event}");
        check(&refusal, "invalid_field", begins);
        let batch = format!(r#"[{{"type":"good","payload":1}},{event}]"#);
        let (status, refusal) = run.post("/events", &batch).await;
        assert_eq!(status, 422, "{batch}");
        check(&refusal, "invalid_field", &format!("[1].{begins}"));
    }
    let deep = format!(r#"{{"type":"a","payload":{}{}}}"#, "[".repeat(65), "]".repeat(65));
    check(&run.post("/events", &deep).await.1, "invalid_field", "payload: must nest at most 64 levels");
    let large = json!({"type": "a", "payload": "x".repeat(1 << 20)}).to_string();
    check(&run.post("/events", &large).await.1, "invalid_field", "payload: must be at most 1048576 bytes");
    check(&run.post("/events", "[]").await.1, "invalid_field", "events: must hold 1 to 1000");
    let many = super::numbered("a", 1001).to_string();
    check(&run.post("/events", &many).await.1, "invalid_field", "events: must hold 1 to 1000");
    check(&run.post("/events", "[1]").await.1, "invalid_field", "[0]: must be an object");
    check(&run.post("/events", "").await.1, "malformed_request", "must be JSON");
    assert_eq!(run.types().await, ["run.created"]);
}

#[tokio::test]
async fn a_run_that_is_not_there_is_not_found_by_any_route() {
    let gateway = Gateway::start().await;
    let event = r#"{"type":"a","payload":{}}"#;
    for id in ["run_none", "a%20b", "%C3%A9", "%00", &"r".repeat(201)] {
        for (method, rest, body) in [
            (Method::GET, "", None),
            (Method::GET, "/events", None),
            (Method::GET, "/events/stream", None),
            (Method::POST, "/signal", Some(r#"{"action":"approve"}"#)),
            (Method::POST, "/cancel", Some("")),
            (Method::POST, "/resume", Some("{}")),
        ] {
            let (status, refusal) =
                harness::json(gateway.send(method, &format!("/v1/runs/{id}{rest}"), body).await).await;
            assert_eq!(status, 404, "{id}{rest}");
            check(&refusal, "run_not_found", "run ");
        }
    }
    for id in ["%00", &"r".repeat(201)] {
        let (status, refusal) = gateway.post(&format!("/v1/runs/{id}/events"), event).await;
        assert_eq!(status, 422, "{id}");
        check(&refusal, "invalid_field", "id: must ");
    }
    assert_eq!(gateway.get("/v1/runs").await.1["runs"], json!([]));
}

#[tokio::test]
async fn parameters_are_checked_by_name_on_every_route() {
    let run = Run::create().await;
    for (rest, begins) in [
        ("?x=1", "x: is no parameter"),
        ("/events?x=1", "x: is no parameter"),
        ("/events?limit=0", "limit: must be a number from 1 to 1000"),
        ("/events?limit=1001", "limit: "),
        ("/events?limit=+1", "limit: "),
        ("/events?limit=1&limit=2", "limit: must be given once"),
        ("/events?order=up", "order: must be asc or desc"),
        ("/events?view=all", "view: must be public or full"),
        ("/events?types=", "types[0]: "),
        ("/events?types=a&types=b*c", "types[1]: "),
        ("/events/stream?after=1", "after: is no parameter"),
        ("/events/stream?limit=1", "limit: is no parameter"),
    ] {
        let (status, refusal) = run.get(rest).await;
        assert_eq!(status, 422, "{rest}");
        check(&refusal, "invalid_field", begins);
    }
    for (rest, body) in [
        ("/events", r#"{"type":"a","payload":1}"#),
        ("/signal", r#"{"action":"approve"}"#),
        ("/cancel", ""),
        ("/resume", ""),
    ] {
        check(&run.post(&format!("{rest}?dry=1"), body).await.1, "invalid_field", "dry: is no parameter");
    }
    for (rest, begins) in [
        ("?status=done", "status: must be one of queued, "),
        ("?limit=x", "limit: "),
        ("?cursor=7", "cursor: "),
        ("?q=1", "q: "),
    ] {
        check(&run.gateway.get(&format!("/v1/runs{rest}")).await.1, "invalid_field", begins);
    }
    check(&run.gateway.post("/v1/runs?x=1", "{}").await.1, "invalid_field", "x: is no parameter");
    assert_eq!(run.types().await, ["run.created"]);
}

#[tokio::test]
async fn bodies_of_controls_are_checked_by_name() {
    let run = Run::waiting().await;
    for (rest, body, begins) in [
        ("/signal", "{}", "action: must be set"),
        ("/signal", r#"{"action":"maybe"}"#, "action: must be approve, reject or submit_input"),
        ("/signal", r#"{"action":"approve","note":"x"}"#, "note: is no member"),
        ("/cancel", r#"{"reason":"x"}"#, "reason: is no member"),
        ("/resume", "[]", "body: must be an object"),
    ] {
        let (status, refusal) = run.post(rest, body).await;
        assert_eq!(status, 422, "{rest} {body}");
        check(&refusal, "invalid_field", begins);
    }
    assert_eq!(run.post("/signal", "").await.0, 400);
    assert_eq!(run.types().await, ["run.created", "run.awaiting_input"]);
}

#[tokio::test]
async fn methods_types_and_sizes_are_answered_as_http_asks() {
    let small = |options: &mut ServeOptions| {
        options.limits.max_payload_bytes = 1_000;
        options.limits.max_request_bytes = 2_000;
    };
    let gateway = Gateway::start_with(small).await;
    let run = Run { id: text(&gateway.post("/v1/runs", "{}").await.1["id"]), gateway };
    for rest in ["", "/events", "/events/stream", "/signal", "/cancel", "/resume"] {
        let (status, refusal) = harness::json(run.gateway.send(Method::PUT, &run.path(rest), None).await).await;
        assert_eq!(status, 405, "{rest}");
        check(&refusal, "method_not_allowed", "PUT is not allowed");
    }
    let large = json!({"type": "a", "payload": "x".repeat(2_000)}).to_string();
    for path in
        ["/v1/runs".to_owned(), run.path("/events"), run.path("/signal"), run.path("/cancel"), run.path("/resume")]
    {
        let (status, refusal) = run.gateway.post(&path, &large).await;
        assert_eq!(status, 413, "{path}");
        check(&refusal, "request_too_large", "the body must be at most 2000 bytes");
        let form = run.gateway.client.post(run.gateway.url(&path)).header("content-type", "text/plain").body("{}");
        let (status, refusal) = harness::json(form.send().await.unwrap()).await;
        assert_eq!(status, 415, "{path}");
        check(&refusal, "unsupported_media_type", "send application/json");
    }
    assert_eq!(run.send(Method::GET, "", ("accept", "image/png"), "").await.status(), 406);
    assert_eq!(run.types().await, ["run.created"]);
}

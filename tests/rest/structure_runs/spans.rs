//! Spans: posted in the form of Griptape's observability driver, stored as events, returned as sent.

use reqwest::Method;
use serde_json::{Value, json};

use super::listed;
use crate::harness::{Gateway, json_text};

const PATH: &str = "/api/structure-runs/r/spans";

/// A span in the shape of the published driver; each number gives a different span.
fn span(n: u32) -> Value {
    json!({
        "trace_id": "00000000-0000-0000-0000-000000000001", "span_id": format!("00000000-0000-0000-0000-{n:012}"),
        "parent_id": null, "name": "Agent.run()", "start_time": "2026-04-02T10:00:00.000000Z",
        "end_time": "2026-04-02T10:00:01.500000Z", "status": "OK", "attributes": {"tags": ["Agent"]},
        "events": [{"name": "exception", "timestamp": "2026-04-02T10:00:01.000000Z", "attributes": {}}],
    })
}

async fn post(gateway: &Gateway, spans: &str) -> u16 {
    let response = gateway.send(Method::POST, PATH, Some(spans)).await;
    response.status().as_u16()
}

async fn spans(gateway: &Gateway, query: &str) -> Vec<Value> {
    let (status, page) = gateway.get(&format!("{PATH}?{query}")).await;
    assert_eq!(status, 200, "{page}");
    page["spans"].as_array().unwrap().clone()
}

#[tokio::test]
async fn spans_are_stored_once_however_often_they_are_posted_and_come_back_as_sent() {
    let gateway = Gateway::start().await;
    let batch = json!([span(1), span(2)]).to_string();
    assert_eq!((post(&gateway, &batch).await, post(&gateway, &batch).await), (200, 200));
    assert_eq!(post(&gateway, &span(3).to_string()).await, 200);
    assert_eq!(post(&gateway, &json!({"spans": [span(2), span(4)]}).to_string()).await, 200);
    assert_eq!(spans(&gateway, "").await, [1, 2, 3, 4].map(span));
    // The same id with different content is a different span, and is not dropped.
    let mut other = span(1);
    other["status"] = json!("ERROR");
    assert_eq!(post(&gateway, &other.to_string()).await, 200);
    assert_eq!(spans(&gateway, "").await.last(), Some(&other));
    let events = listed(&gateway, "r").await;
    assert_eq!(events.len(), 5);
    assert_eq!((&events[0]["type"], &events[0]["origin"]), (&json!("Span"), &json!("USER")));
    assert_eq!((&events[0]["timestamp"], &events[0]["payload"]), (&json!(1_775_124_001.5), &span(1)));
}

#[tokio::test]
async fn a_span_of_whatever_form_is_kept_and_its_text_is_not_changed() {
    let gateway = Gateway::start().await;
    let odd = r#"{ "span_id":7 ,"big":12345678901234567890123,"end_time":"soon","start_time":null,"x":"\ud800"}"#;
    assert_eq!((post(&gateway, odd).await, post(&gateway, "{}").await), (200, 200));
    let text = json_text(gateway.send(Method::GET, PATH, None).await).await;
    assert_eq!(text, format!(r#"{{"spans":[{odd},{{}}],"page":1}}"#));
}

#[tokio::test]
async fn spans_are_listed_by_pages_among_other_events() {
    let gateway = Gateway::start().await;
    for n in 1..=7 {
        let note = r#"{"type":"note"}"#;
        assert_eq!(gateway.post("/api/structure-runs/r/events", note).await.0, 202);
        assert_eq!(post(&gateway, &span(n).to_string()).await, 200);
    }
    assert_eq!(spans(&gateway, "page=1&page_size=3").await, [1, 2, 3].map(span));
    // A client that writes whole numbers as doubles.
    assert_eq!(spans(&gateway, "page=2.0&page_size=3.0").await, [4, 5, 6].map(span));
    assert_eq!(spans(&gateway, "page=3&page_size=3").await, [span(7)]);
    assert_eq!(spans(&gateway, "page=4&page_size=3").await, [] as [Value; 0]);
    assert_eq!(spans(&gateway, "page=9223372036854775807").await, [] as [Value; 0]);
}

#[tokio::test]
async fn a_refused_batch_of_spans_names_the_field_and_stores_nothing() {
    let gateway = Gateway::start().await;
    let many = format!("[{}]", vec!["{}"; 1_001].join(","));
    for (body, status, path) in [
        ("[{}", 400, None),
        ("7", 422, Some("body")),
        ("[]", 422, Some("spans")),
        (r#"{"spans":null}"#, 422, Some("spans")),
        (r#"{"spans":[{}],"more":1}"#, 422, Some("more")),
        (r#"[{},7]"#, 422, Some("[1]")),
        (&many, 422, Some("spans")),
    ] {
        let (refused, answer) = gateway.post(PATH, body).await;
        let field = answer["errors"][0]["path"].as_str();
        assert_eq!((refused, field), (status, path), "{}", &body[..body.len().min(40)]);
    }
    assert_eq!(gateway.get(PATH).await.0, 404);
    for query in ["page=0", "page_size=101", "page=1.5", "offset=1"] {
        assert_eq!(gateway.get(&format!("{PATH}?{query}")).await.0, 422, "{query}");
    }
}

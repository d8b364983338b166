//! `input_preview` and `output_preview` are shown up to 500 characters, cut at a character boundary; the sent text is
//! stored.

use serde_json::{Value, json};

use super::{INGEST, ingest};
use crate::harness::Gateway;

/// The payload of the only event of the run `r` in this view, as text.
async fn payload_in(gateway: &Gateway, view: &str) -> String {
    let page = gateway
        .client
        .get(gateway.url(&format!("/api/runs/r/events?view={view}")))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let (_, payload) = page.split_once(r#""payload":"#).unwrap();
    let (payload, _) = payload.split_once("}],").unwrap();
    payload.to_owned()
}

async fn payload_after(event_type: &str, payload: &str) -> String {
    let gateway = Gateway::start().await;
    let body = format!(r#"{{"event_type":"{event_type}","sdk_run_id":"r","payload":{payload}}}"#);
    let (status, answer) = gateway.post(INGEST, &body).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(payload_in(&gateway, "full").await, payload, "nothing is lost");
    payload_in(&gateway, "public").await
}

#[tokio::test]
async fn a_preview_of_500_characters_is_shown_and_one_of_501_is_cut() {
    for character in ["a", "é", "🦀", r#"\""#, r"\n", r"\u00e9", r"\ud83e\udd80"] {
        let preview =
            |count: usize| format!(r#"{{ "tool_name":"t", "input_preview" : "{}"}}"#, character.repeat(count));
        assert_eq!(payload_after("tool_call", &preview(500)).await, preview(500), "{character}");
        assert_eq!(payload_after("tool_call", &preview(501)).await, preview(500), "{character}");
    }
}

#[tokio::test]
async fn both_previews_are_cut_and_all_else_stays_as_sent() {
    let sent = |chars: usize| {
        let long = "x".repeat(chars);
        let other = "y".repeat(600);
        format!(
            r#"{{"n":12345678901234567890123,"output_preview":"{long}","other":"{other}","input_preview":"{long}"}}"#
        )
    };
    assert_eq!(payload_after("tool_call", &sent(10_000)).await, sent(500));
    // Only tool calls have previews.
    assert_eq!(payload_after("step", &sent(10_000)).await, sent(10_000));
}

#[tokio::test]
async fn the_retry_of_an_event_whose_preview_was_cut_is_a_duplicate() {
    let gateway = Gateway::start().await;
    let event = json!({ "event_type": "tool_call", "sdk_run_id": "r", "event_id": "e",
        "payload": { "output_preview": "z".repeat(501) } });
    assert_eq!(ingest(&gateway, &event).await.get("duplicate"), None);
    assert_eq!(ingest(&gateway, &event).await["duplicate"], Value::Bool(true));
}

//! Every example of `tests/fixtures/examples`, converted to the typed view and back.

use std::{collections::BTreeSet, fs, path::Path};

use super::canonical::canonical;
use crate::domain::json::redaction::members::members;
use crate::pb::payload::Variant;
use crate::transport::payload::tables::TYPES;
use crate::transport::payload::{allowed_types, to_json, to_typed};

/// Type and payload text of every file in `tests/fixtures/examples`.
fn examples() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/examples");
    let mut examples = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let event = members(&text).unwrap();
        let member = |key: &str| {
            let found = event.iter().find(|member| member.key() == key);
            found.unwrap().raw_value.to_owned()
        };
        examples.push((member("type").trim_matches('"').to_owned(), member("payload")));
    }
    examples
}

/// `extra_json` of the examples: only members with the value null.
fn expected_extra(event_type: &str) -> &'static str {
    match event_type {
        "StructureRunCompleted" => r#"{"status_detail":{"message":null}}"#,
        "run.worker.started" => r#"{"reason_code":null}"#,
        "run.tool.invoked" => r#"{"policy_reason_code":null}"#,
        _ => "",
    }
}

#[test]
fn every_documented_type_has_an_example() {
    let shown: BTreeSet<_> = examples().into_iter().map(|(event_type, _)| event_type).collect();
    for event_type in TYPES {
        assert!(shown.contains(*event_type), "{event_type}");
    }
}

#[test]
fn every_example_comes_back_as_sent() {
    for (event_type, payload) in examples() {
        let back = to_json(&to_typed(&event_type, &payload)).unwrap();
        assert_eq!(canonical(&back), canonical(&payload), "{event_type}");
    }
}

#[test]
fn the_typed_variant_of_an_example_carries_all_but_nulls() {
    for (event_type, payload) in examples() {
        let typed = to_typed(&event_type, &payload);
        if event_type == "FinishStructureRunEvent" {
            assert_eq!(typed.variant, Some(Variant::Json(payload)));
            continue;
        }
        assert!(allowed_types(&typed).contains(&event_type.as_str()), "{event_type}");
        assert_eq!(typed.extra_json, expected_extra(&event_type), "{event_type}");
    }
}

#[test]
fn members_come_back_in_the_order_of_the_page() {
    let (_, payload) = examples().into_iter().find(|(event_type, _)| event_type == "run_end").unwrap();
    let back = to_json(&to_typed("run_end", &payload)).unwrap();
    assert_eq!(
        back,
        r#"{"output":{"answer": "It is 12°C and cloudy."},"prompt_tokens":150,"completion_tokens":45,"total_tokens":195,"cost_usd":0.0023,"model":"gpt-4"}"#
    );
}

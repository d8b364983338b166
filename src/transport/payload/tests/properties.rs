//! Arbitrary payloads: the conversion to the typed view and back loses and changes no value.

use proptest::prelude::*;
use prost::Message;

use super::canonical::canonical;
use crate::domain::json::redaction::members::encode_string;
use crate::pb;
use crate::transport::payload::tables::TYPES;
use crate::transport::payload::{to_json, to_typed};

/// Members of all documented objects, so that members in right and in wrong objects are both likely.
const KEYS: &[&str] = &[
    "status",
    "started_at",
    "completed_at",
    "status_detail",
    "reason",
    "message",
    "exit_code",
    "error",
    "framework",
    "input",
    "output",
    "prompt_tokens",
    "total_tokens",
    "cost_usd",
    "model",
    "error_type",
    "node_name",
    "phase",
    "duration_ms",
    "tool_name",
    "input_preview",
    "output_preview",
    "question",
    "context",
    "channel",
    "response",
    "request_id",
    "metadata",
    "attachment_refs",
    "sensitivity_tags",
    "streaming",
    "routing_hint",
    "routing",
    "from_status",
    "to_status",
    "reason_code",
    "limitType",
    "currentValue",
    "threshold",
    "unit",
    "task_id",
    "kind",
    "content_delta",
    "content",
    "outcome",
    "tool_input_summary",
    "tool_output_summary",
    "policy_reason_code",
    "schema_version",
    "preview",
    "highlights",
    "stats",
    "truncated",
    "key",
    "value",
    "redacted",
    "fields_total",
    "bytes_after_redaction",
    "judge_decision",
    "decision",
    "input_json",
    "tool_input_json",
    "extra_json",
    "json",
];

const SCALARS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-0.0",
    "1",
    "1.0",
    "1e3",
    "1E3",
    "-7",
    "150",
    "0.0023",
    "0.1",
    "1e-7",
    "1.5e300",
    "1e400",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "2147483647",
    "2147483648",
    "12345678901234567890123",
    "\"\"",
    "\"STARTING\"",
    r#""\u00e9\n""#,
    r#""\ud800""#,
    r#""\ud83d\ude00""#,
    r#""a\"b""#,
    "\"é😀\"",
    "{}",
    "[]",
    "[ ]",
    "[{}]",
    r#"[{"key":"a","value":1.0,"redacted":false}]"#,
    r#"{"a":1,"a":2}"#,
];

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => proptest::sample::select(KEYS).prop_map(encode_string),
        1 => "[a-z\"\\\\é]{0,4}".prop_map(|key| encode_string(&key)),
        1 => Just(r#""st\u0061tus""#.to_owned()),
        1 => Just(r#""\ud800""#.to_owned()),
    ]
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec((key(), value, "[ \n]{0,1}"), 0..6).prop_map(|members| {
        let members: Vec<_> = members
            .into_iter()
            .map(|(key, value, space)| format!("{space}{key}{space}:{space}{value}{space}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => proptest::sample::select(SCALARS).prop_map(str::to_owned),
        1 => any::<f64>().prop_filter("JSON", |n| n.is_finite()).prop_map(|n| n.to_string()),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        1 => any::<String>().prop_map(|text| encode_string(&text)),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            object(inner.clone()),
            prop::collection::vec(inner, 0..4).prop_map(|all| format!("[{}]", all.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_payload_survives_the_typed_view(
        event_type in proptest::sample::select(TYPES),
        json in object(value()),
    ) {
        let typed = to_typed(event_type, &json);
        let on_the_wire = pb::Payload::decode(typed.encode_to_vec().as_slice()).unwrap();
        let back = to_json(&on_the_wire).unwrap();
        prop_assert_eq!(canonical(&back), canonical(&json), "{} as {:?}", json, typed);
    }

    #[test]
    fn no_text_makes_the_typed_view_fail(
        event_type in proptest::sample::select(TYPES),
        text in any::<String>(),
    ) {
        let typed = to_typed(event_type, &text);
        let is_json = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
        prop_assert_eq!(to_json(&typed).is_ok(), is_json);
    }
}

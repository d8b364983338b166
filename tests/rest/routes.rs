//! `/openapi.json` in short, as a snapshot: every route with its parameters, its body and its answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::harness::Gateway;

/// The members of an object by name; empty for other values.
fn members(value: &Value) -> BTreeMap<&String, &Value> {
    value.as_object().into_iter().flatten().collect()
}

/// The name of a schema, or of the schemas that it chooses from.
fn name_of(schema: &Value) -> String {
    match (schema["$ref"].as_str(), schema["oneOf"].as_array()) {
        (Some(reference), _) => reference.rsplit('/').next().unwrap().to_owned(),
        (None, Some(choice)) => choice.iter().map(name_of).collect::<Vec<_>>().join(" | "),
        (None, None) => schema["type"].as_str().unwrap_or("any").to_owned(),
    }
}

/// The media types and schemas of a body.
fn content(body: &Value) -> String {
    members(&body["content"]).into_iter().map(|(media, of)| format!(" {media} {}", name_of(&of["schema"]))).collect()
}

fn routes(api: &Value) -> String {
    let mut text = String::new();
    for (path, methods) in members(&api["paths"]) {
        for (method, route) in members(methods) {
            writeln!(text, "{} {path}", method.to_uppercase()).unwrap();
            for parameter in route["parameters"].as_array().into_iter().flatten() {
                let is_needed = if parameter["required"] == true { ", required" } else { "" };
                let (place, name) = (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap());
                writeln!(text, "  {place} {name}{is_needed}").unwrap();
            }
            if !route["requestBody"].is_null() {
                writeln!(text, "  body{}", content(&route["requestBody"])).unwrap();
            }
            for (status, answer) in members(&route["responses"]) {
                writeln!(text, "  {status}{}", content(answer)).unwrap();
            }
        }
    }
    text
}

#[tokio::test]
async fn every_route_parameter_and_answer_is_described() {
    let (_, api) = Gateway::start().await.get("/openapi.json").await;
    insta::with_settings!({prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("routes", routes(&api));
    });
}

//! The description of the public runs API in `/openapi.json`.

use serde_json::Value;

use crate::harness::Gateway;

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(reference) if name == "$ref" => found.push(reference),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| references(element, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_route_and_every_schema_is_described() {
    let gateway = Gateway::start().await;
    let (_, api) = gateway.get("/openapi.json").await;
    for (path, method) in [
        ("/v1/runs", "post"),
        ("/v1/runs", "get"),
        ("/v1/runs/{id}", "get"),
        ("/v1/runs/{id}/events", "post"),
        ("/v1/runs/{id}/events", "get"),
        ("/v1/runs/{id}/events/stream", "get"),
        ("/v1/runs/{id}/signal", "post"),
        ("/v1/runs/{id}/cancel", "post"),
        ("/v1/runs/{id}/resume", "post"),
    ] {
        let responses = &api["paths"][path][method]["responses"];
        for status in ["406", "422", "500", "503"] {
            assert!(responses[status]["content"]["application/json"]["schema"].is_object(), "{method} {path} {status}");
        }
        let is_of_a_run = path.contains("{id}");
        assert_eq!(responses["404"].is_object(), is_of_a_run, "{method} {path}");
        assert_eq!(responses["415"].is_object(), method == "post", "{method} {path}");
    }
    let mut found = Vec::new();
    for (path, calls) in api["paths"].as_object().unwrap() {
        if path.starts_with("/v1/") {
            references(calls, &mut found);
        }
    }
    for (name, schema) in api["components"]["schemas"].as_object().unwrap() {
        if name.starts_with("Public") {
            references(schema, &mut found);
        }
    }
    assert!(found.len() > 50);
    for reference in found {
        assert!(api.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference} leads nowhere");
    }
}

#[tokio::test]
async fn strict_bodies_are_described_as_strict() {
    let gateway = Gateway::start().await;
    let (_, api) = gateway.get("/openapi.json").await;
    let schemas = &api["components"]["schemas"];
    for name in ["PublicCreateRun", "PublicNewEvent", "PublicSignal", "PublicNothing"] {
        assert_eq!(schemas[name]["additionalProperties"], Value::Bool(false), "{name}");
    }
    assert_eq!(schemas["PublicNewEvent"]["required"], serde_json::json!(["type", "payload"]));
    assert_eq!(schemas["PublicCreateRun"].get("required"), None);
    assert_eq!(schemas["PublicSignal"]["required"], serde_json::json!(["action"]));
    let create = &api["paths"]["/v1/runs"]["post"]["requestBody"];
    assert_ne!(create["required"], Value::Bool(true), "{create}");
}

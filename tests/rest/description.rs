//! `/openapi.json` and the parsers agree: parameters, members of bodies, and the responses that every route may give.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Gateway;

/// Operations of the description: path, method, operation.
fn operations(api: &Value) -> Vec<(String, String, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push((path.clone(), method.clone(), operation));
        }
    }
    assert!(operations.len() > 20, "{operations:?}");
    operations
}

/// Names of the query parameters of an operation.
fn query_names(operation: &Value) -> BTreeSet<String> {
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice).iter();
    let in_query = parameters.filter(|parameter| parameter["in"] == "query");
    in_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
}

/// A server with the run `r`, which has ended, so that its streams end too.
async fn with_an_ended_run() -> Gateway {
    let gateway = Gateway::start().await;
    for event_type in ["run_start", "run_end"] {
        let event = json!({"event_type": event_type, "sdk_run_id": "r"}).to_string();
        assert_eq!(gateway.post("/api/ingest", &event).await.0, 202);
    }
    gateway
}

#[tokio::test]
async fn a_route_takes_the_parameters_that_its_description_lists_and_no_other() {
    let gateway = with_an_ended_run().await;
    let (_, api) = gateway.get("/openapi.json").await;
    let reads: Vec<(String, BTreeSet<String>)> = operations(&api)
        .into_iter()
        .filter(|(path, method, _)| {
            method == "get" && ["/api/", "/v1/", "/ag-ui/"].iter().any(|api| path.starts_with(api))
        })
        .map(|(path, _, operation)| (path, query_names(operation)))
        .collect();
    let known: BTreeSet<&String> = reads.iter().flat_map(|(_, names)| names).collect();
    assert!(known.len() > 10, "{known:?}");
    for (template, names) in &reads {
        let segments = template.split('/').map(|segment| if segment.starts_with('{') { "r" } else { segment });
        let path = segments.collect::<Vec<_>>().join("/");
        for name in &known {
            let response = gateway.send(Method::GET, &format!("{path}?{name}=1"), None).await;
            // The stream of all runs has no end; a refusal has one.
            let is_endless = response.status().is_success() && path == "/v1/events/stream";
            let answer = if is_endless { String::new() } else { response.text().await.unwrap() };
            let is_refused = answer.contains(&format!("{name}: is no parameter of this call"));
            assert_eq!(is_refused, !names.contains(*name), "{template}, {name}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_body_takes_the_members_that_its_schema_lists_and_no_other() {
    let gateway = with_an_ended_run().await;
    let (_, api) = gateway.get("/openapi.json").await;
    let properties = |schema: &str| -> BTreeSet<String> {
        let properties = api["components"]["schemas"][schema]["properties"].as_object();
        properties.into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let bodies = [
        ("/api/structures/s/runs", "CreateStructureRun", json!({})),
        ("/api/structure-runs/r/events", "PostedStructureEvent", json!({"type": "t"})),
        ("/api/structure-runs/r/cancel", "StructureNothing", json!({})),
        ("/api/ingest", "IngestEvent", json!({"event_type": "t", "sdk_run_id": "r"})),
        ("/v1/runs", "PublicCreateRun", json!({})),
        ("/v1/runs/r/events", "PublicNewEvent", json!({"type": "t", "payload": {}})),
        ("/v1/runs/r/signal", "PublicSignal", json!({"action": "approve"})),
        ("/v1/runs/r/cancel", "PublicNothing", json!({})),
        ("/v1/runs/r/resume", "PublicNothing", json!({})),
        ("/v1/runs/r/stream-token", "PublicNothing", json!({})),
    ];
    let known: BTreeSet<String> = bodies.iter().flat_map(|(_, schema, _)| properties(schema)).collect();
    assert!(known.len() > 15, "{known:?}");
    for (path, schema, least) in bodies {
        assert_eq!(api["components"]["schemas"][schema]["additionalProperties"], json!(false), "{schema}");
        for name in &known {
            let mut body = least.clone();
            body[name] = Value::Null;
            let (_, answer) = gateway.post(path, &body.to_string()).await;
            let is_refused = answer.to_string().contains(&format!("{name}: is no member of this object"));
            assert_eq!(is_refused, !properties(schema).contains(name), "{schema}, {name}: {answer}");
        }
    }
}

#[tokio::test]
async fn every_operation_describes_the_refusals_of_any_route_in_the_shape_of_its_api() {
    let gateway = Gateway::start().await;
    let (_, api) = gateway.get("/openapi.json").await;
    for (path, method, operation) in operations(&api) {
        let shape = match path.split('/').nth(2) {
            Some("structures" | "structure-runs" | "events") if path.starts_with("/api/") => "StructureRefusal",
            _ if path.starts_with("/api/") => "AgentError",
            _ => "PublicError",
        };
        let has_body = operation.get("requestBody").is_some();
        for status in ["400", "403", "429", "503"].into_iter().chain(has_body.then_some("408")) {
            let response = &operation["responses"][status];
            assert!(response["description"].is_string(), "{method} {path} {status}");
            if status != "503" {
                let schema = &response["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(schema, &json!(format!("#/components/schemas/{shape}")), "{method} {path} {status}");
            }
        }
    }
}

/// Every object of the description with its path.
fn objects<'a>(at: String, value: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(members) => {
            found.push((at.clone(), value));
            members.iter().for_each(|(name, member)| objects(format!("{at}/{name}"), member, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| objects(format!("{at}/[]"), element, found)),
        _ => {}
    }
}

#[tokio::test]
async fn generators_of_clients_can_type_all_that_is_described() {
    let gateway = Gateway::start().await;
    let (_, api) = gateway.get("/openapi.json").await;
    assert_eq!(api["info"]["license"], json!({"name": "MIT", "identifier": "MIT"}));
    assert_eq!(api["servers"][0]["url"], "/");
    let mut all = Vec::new();
    objects(String::new(), &api, &mut all);
    for (at, object) in &all {
        // A type or null is typed by every generator; a choice of types by few.
        let choice = object["oneOf"].as_array().or(object["anyOf"].as_array());
        let is_null = |of: &&Value| of["type"] == "null";
        assert!(choice.is_none_or(|of| of.len() == 2 && of.iter().any(|of| is_null(&of))), "{at}: {object}");
        // Without it, the members of a free object have no type at all in TypeScript.
        let is_free = object["type"] == "object" || object["type"] == json!(["object", "null"]);
        let has_members = object.get("properties").is_some() || object.get("additionalProperties").is_some();
        assert!(!is_free || has_members, "{at}: {object}");
    }
    for (path, _, operation) in operations(&api) {
        let content = &operation["responses"]["200"]["content"];
        let is_stream = path.ends_with("/events/stream") || path.starts_with("/ag-ui/");
        assert_eq!(content.get("text/event-stream").is_some(), is_stream, "{path}");
        assert_eq!(content["text/event-stream"]["schema"].get("type"), is_stream.then_some(&json!("string")), "{path}");
        // A stream is served whatever the client accepts.
        assert_eq!(operation["responses"].get("406").is_none(), is_stream, "{path}");
    }
    // In Go the constructor of `X` is called `NewX`.
    let schemas = api["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys().filter_map(|name| name.strip_prefix("New")) {
        assert!(!schemas.contains_key(name), "New{name} and {name}");
    }
}

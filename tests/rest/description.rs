//! `/openapi.json`: the responses that every route may give.

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

//! The description of the public runs API in `/openapi.json`.

use serde_json::Value;

use crate::harness::Gateway;

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

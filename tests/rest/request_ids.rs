//! `X-Request-Id`: every HTTP response has the header, whichever part of the server made the response.

use std::collections::HashSet;

use http::Request;
use http_body_util::BodyExt;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::Method;
use runlog::pb;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::harness::Gateway;

#[tokio::test]
async fn every_http_response_has_a_request_id_of_its_own_and_its_error_repeats_the_id() {
    let gateway = Gateway::start().await;
    let request = |method: Method, path: &str| gateway.client.request(method, gateway.url(path));
    let (get, post) = (|path: &str| request(Method::GET, path), |path: &str| request(Method::POST, path));
    let mut ids = HashSet::new();
    for (request, status) in [
        (get("/health/live"), 200),
        (get("/metrics"), 200),
        (get("/openapi.json"), 200),
        (get("/v1/runs"), 200),
        (get("/v1/runs").header("host", "evil.example"), 403),
        (post("/v1/runs").header("origin", "https://evil.example"), 403),
        (get("/v1/runs/%FF"), 400),
        (post("/v1/runs").header("content-type", "application/grpc"), 415),
        (post("/runlog.v1.RunService/GetRun").body("{}"), 415),
        (get("/nothing"), 404),
        (get("/v1/runs/none"), 404),
        (request(Method::PUT, "/v1/runs"), 405),
        (request(Method::OPTIONS, "/v1/runs"), 204),
        (get("/v1/runs").header("accept", "image/png"), 406),
        (post("/v1/runs").body("{"), 400),
        (get("/v1/runs?x=1"), 422),
    ] {
        let request = request.build().unwrap();
        let call = format!("{} {}", request.method(), request.url());
        let response = gateway.client.execute(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{call}");
        let id = response.headers().get("x-request-id").map(|id| id.to_str().unwrap().to_owned());
        let Some(id) = id else { panic!("{call} ({status}) has no request id") };
        assert!(id.starts_with("req_"), "{call}: {id}");
        let text = response.text().await.unwrap();
        if status >= 400 {
            let body: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(body["request_id"], Value::from(id.as_str()), "{call}: {body}");
        }
        assert!(ids.insert(id), "{call} has the id of another request");
    }
    for path in ["/api/structure-runs/r", "/api/runs/r"] {
        let refused = get(path).header("host", "evil.example").send().await.unwrap();
        assert_eq!(refused.status(), 403, "{path}");
        assert!(refused.headers().contains_key("x-request-id"), "{path}");
    }
}

#[tokio::test]
async fn a_route_of_the_gateway_that_is_called_as_grpc_over_http_2_has_a_request_id_too() {
    let gateway = Gateway::start().await;
    let address = gateway.url("").strip_prefix("http://").unwrap().to_owned();
    let socket = TcpStream::connect(&address).await.unwrap();
    let (mut requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(gateway.url("/v1/runs")).header("content-type", "application/grpc");
    let response = requests.send_request(request.body(String::new()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 415);
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body: Value = serde_json::from_slice(&response.collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(body["request_id"], Value::from(id));
}

#[tokio::test]
async fn a_grpc_response_has_no_request_id() {
    let gateway = Gateway::start().await;
    let mut runs = gateway.runs().await;
    let listed = runs.list_runs(pb::ListRunsRequest::default()).await.unwrap();
    assert!(!listed.metadata().contains_key("x-request-id"));
    let refused = runs.get_run(pb::GetRunRequest { run_id: "none".to_owned() }).await.unwrap_err();
    assert!(!refused.metadata().contains_key("x-request-id"));
}

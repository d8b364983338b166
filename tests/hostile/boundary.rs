//! Requests from a page of another origin, or through a name that resolves to loopback (DNS rebinding), reach nothing.

use runlog::pb;
use serde_json::Value;
use tonic::Code;

use crate::client::{Http2, Sent, exchange, framed, publish, reason};
use crate::harness::{Data, Server};

const PUBLISH: &str = "/runlog.v1.EventService/Publish";
const CREATE_RUN: &str = "/runlog.v1.RunService/CreateRun";

/// Number of stored runs.
async fn runs(server: &Server) -> u64 {
    let listed = server.runs().await.list_runs(pb::ListRunsRequest::default()).await.unwrap();
    listed.into_inner().runs.len() as u64
}

#[tokio::test]
async fn grpc_is_taken_over_http_2_with_its_own_type_only_so_that_no_page_can_send_it() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let create = framed(&pb::CreateRunRequest { run_id: "r".to_owned(), ..Default::default() });
    for (path, body) in [(PUBLISH, framed(&publish("r"))), (CREATE_RUN, create)] {
        for content_type in ["", "content-type: text/plain\r\n", "content-type: application/grpc\r\n"] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: {}\r\n{content_type}content-length: {}\r\nconnection: close\r\n\r\n",
                server.address,
                body.len()
            );
            let answer = exchange(server.address, &[head.as_bytes(), &body].concat()).await;
            assert!(
                answer.starts_with("HTTP/1.1 415 ") && answer.contains("gRPC, which is served over HTTP/2"),
                "{answer}"
            );
        }
        let client = Http2::connect(server.address).await;
        for content_type in ["text/plain", "application/json", "application/grpc-web+json"] {
            let answer = client.send(path, &[("content-type", content_type)], Sent::whole(body.clone())).await;
            assert_eq!(answer.status(), 415, "{content_type}");
        }
    }
    assert_eq!(runs(&server).await, 0);
}

#[tokio::test]
async fn a_page_of_another_origin_writes_nothing_over_any_protocol() {
    let data = Data::new();
    let server = Server::with(&data.file(), &["--cors-origins", "https://app.example.com"]).await;
    let own = format!("http://{}", server.address);
    let (https, other_port) = (format!("https://{}", server.address), "http://127.0.0.1:1".to_owned());
    let client = Http2::connect(server.address).await;
    for origin in ["https://evil.example", "null", &https, &other_port] {
        let status = client.call(PUBLISH, &[("origin", origin)], Sent::whole(framed(&publish("r")))).await;
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::PermissionDenied, "ORIGIN_NOT_ALLOWED"),
            "{origin}"
        );
        let body = framed(&publish("r"));
        let head = format!(
            "POST {PUBLISH} HTTP/1.1\r\nhost: {}\r\norigin: {origin}\r\ncontent-type: application/grpc-web+proto\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            server.address,
            body.len()
        );
        let answer = exchange(server.address, &[head.as_bytes(), &body].concat()).await;
        assert!(answer.contains("runlog-reason: ORIGIN_NOT_ALLOWED"), "{answer}");
        let event = r#"[{"type":"step"}]"#;
        let head = format!(
            "POST /v1/runs/r/events HTTP/1.1\r\nhost: {}\r\norigin: {origin}\r\ncontent-type: text/plain\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{event}",
            server.address,
            event.len()
        );
        let answer = exchange(server.address, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("origin_not_allowed"), "{answer}");
    }
    let twice = [("origin", own.as_str()), ("origin", "https://evil.example")];
    let status = client.call(PUBLISH, &twice, Sent::whole(framed(&publish("r")))).await;
    assert!(status.message().starts_with("Origin: must be given once"), "{status}");
    assert_eq!(runs(&server).await, 0);
    for origin in [own.as_str(), "https://app.example.com"] {
        let status = client.call(PUBLISH, &[("origin", origin)], Sent::whole(framed(&publish("r")))).await;
        assert_eq!(status.code(), Code::Ok, "{origin}: {status}");
    }
}

#[tokio::test]
async fn on_loopback_only_names_of_loopback_and_allowed_ones_are_answered_to() {
    let data = Data::new();
    let server = Server::with(&data.file(), &["--allowed-hosts", "runlog.internal,other.internal:80"]).await;
    let get = async |hosts: &str| {
        let head = format!("GET /v1/runs HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        let answer = exchange(server.address, head.as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap().to_owned();
        let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap_or_default();
        (status, body["error"].to_string())
    };
    let port = server.address.port();
    for host in [
        "localhost".to_owned(),
        format!("localhost:{port}"),
        "127.0.0.1:1".to_owned(),
        "[::1]".to_owned(),
        "runlog.internal:9".to_owned(),
        "other.internal:80".to_owned(),
    ] {
        let (status, error) = get(&format!("host: {host}\r\n")).await;
        assert_eq!(status, "200", "{host}: {error}");
    }
    for host in ["evil.example", "evil.example:80", "other.internal:81", "localhost.evil.example", "10.0.0.1", "[::]"] {
        let (status, error) = get(&format!("host: {host}\r\n")).await;
        assert!(status == "403" && error.contains("--allowed-hosts"), "{host}: {status} {error}");
        let client = Http2::connect(server.address).await;
        let status = client.call(PUBLISH, &[(":authority", host)], Sent::whole(framed(&publish("r")))).await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "HOST_NOT_ALLOWED"), "{host}");
    }
    for hosts in ["", "host: localhost\r\nhost: localhost\r\n", "host: \r\n", "host: a b\r\n", "host: u@localhost\r\n"]
    {
        let (status, error) = get(hosts).await;
        assert_eq!(status, "400", "{hosts:?}: {error}");
    }
    let answer = exchange(server.address, b"GET /health/live HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "probes of balancers name no host: {answer}");
    assert_eq!(runs(&server).await, 0);
}

#[tokio::test]
async fn on_other_addresses_listed_names_are_answered_to_and_every_address_since_probes_call_by_it() {
    let data = Data::new();
    let options = ["--insecure-no-tls", "--insecure-no-auth", "--allowed-hosts", "runlog.internal"];
    let server = Server::at("0.0.0.0:0", &data.file(), &options).await;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], server.address.port()));
    for (host, status) in [("10.1.2.3:7800", 200), ("[fd00::1]", 200), ("runlog.internal", 200), ("evil.example", 403)]
    {
        let head = format!("GET /health/live HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = exchange(address, head.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
}

#[tokio::test]
async fn a_deadline_that_is_malformed_is_refused_by_name_and_one_that_passed_says_so() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let client = Http2::connect(server.address).await;
    for timeout in ["soon", "1", "1s", "-1S", "999999999S"] {
        let status = client.call(PUBLISH, &[("grpc-timeout", timeout)], Sent::whole(framed(&publish("r")))).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{timeout}");
        assert!(status.message().starts_with("grpc-timeout: must be"), "{status}");
    }
    // A message that never ends: no part of the message is stored.
    for (path, expected) in [(PUBLISH, "OUTCOME_UNKNOWN"), ("/runlog.v1.EventService/ListEvents", "REQUEST_TIMEOUT")] {
        let status =
            client.call(path, &[("grpc-timeout", "10m")], Sent::endless(framed(&publish("r")).slice(..7))).await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, expected), "{status}");
    }
    assert_eq!(runs(&server).await, 0);
}

#[tokio::test]
async fn a_path_that_is_no_text_is_refused_as_a_bad_request() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    for path in ["/v1/runs/%ff", "/v1/runs/%ff/events", "/api/runs/%c3", "/api/structure-runs/%ff/events"] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = exchange(server.address, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
    }
}

//! Event streams of runs that have not begun, and the media types that a client may ask a stream for.

use std::time::Duration;

use reqwest::{Method, Response};

use crate::harness::Gateway;

/// The streams of a run, with the API that names the parameter in a refusal.
const STREAMS: [&str; 3] =
    ["/api/structure-runs/later/events/stream", "/api/runs/later/events/stream", "/v1/runs/later/events/stream"];

async fn publish(gateway: &Gateway, event_type: &str) {
    let event = format!(r#"{{"event_type":"{event_type}","sdk_run_id":"later"}}"#);
    assert_eq!(gateway.post("/api/ingest", &event).await.0, 202);
}

/// Reads until the text is there.
async fn read_until(stream: &mut Response, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().expect("the stream goes on")).unwrap());
    }
    text
}

#[tokio::test]
async fn a_stream_waits_for_a_run_without_events_where_it_is_asked_to_and_is_404_where_not() {
    let gateway = Gateway::start_with(|options| options.reading.sse_heartbeat = Duration::from_secs(1)).await;
    let mut open = Vec::new();
    for path in STREAMS {
        assert_eq!(gateway.stream(path).await.0, 404, "{path}");
        assert_eq!(gateway.stream(&format!("{path}?wait=false")).await.0, 404, "{path}");
        let (status, refusal) = gateway.get(&format!("{path}?wait=1")).await;
        assert!(status == 422 && refusal.to_string().contains("must be true or false"), "{path}: {refusal}");
        assert_eq!(gateway.stream(&format!("{path}?wait=true&cursor=1")).await.0, 409, "{path}");
        let mut stream = gateway.send(Method::GET, &format!("{path}?wait=true"), None).await;
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        assert!(read_until(&mut stream, "\n").await.starts_with(": hb\n"), "{path}");
        open.push(stream);
    }
    publish(&gateway, "run_start").await;
    for stream in &mut open {
        assert!(read_until(stream, "\n\n").await.contains("retry: 2000\nid: 1\ndata: {"));
    }
    publish(&gateway, "run_end").await;
    for (path, stream) in STREAMS.into_iter().zip(open) {
        let rest = stream.text().await.unwrap();
        assert!(rest.contains("id: 2\ndata: {") && rest.ends_with("\n\n: end\n"), "{path}: {rest}");
        // For a run that exists it changes nothing.
        assert_eq!(gateway.stream(&format!("{path}?wait=true")).await, gateway.stream(path).await, "{path}");
        assert_eq!(gateway.stream(&format!("{path}?wait=true&cursor=2")).await.0, 204, "{path}");
    }
}

#[tokio::test]
async fn a_stream_of_ag_ui_events_waits_for_its_run_too() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.stream("/ag-ui/runs/later").await.0, 404);
    let mut stream = gateway.send(Method::GET, "/ag-ui/runs/later?wait=true", None).await;
    assert_eq!(stream.status(), 200);
    assert!(read_until(&mut stream, "\n\n").await.contains("RUN_STARTED"));
    publish(&gateway, "run_start").await;
    read_until(&mut stream, "id: 1\ndata: {").await;
    publish(&gateway, "run_end").await;
    assert!(read_until(&mut stream, ": end\n").await.contains("RUN_FINISHED"));
}

#[tokio::test]
async fn a_stream_that_waits_takes_the_place_of_a_subscription() {
    let gateway = Gateway::start_with(|options| options.reading.max_subscriptions = 1).await;
    let path = format!("{}?wait=true", STREAMS[2]);
    let waiting = gateway.send(Method::GET, &path, None).await;
    assert_eq!(waiting.status(), 200);
    let (status, refusal) = gateway.get(&path).await;
    assert_eq!((status, &refusal["reason_code"]), (429, &"overloaded".into()), "{refusal}");
    drop(waiting);
}

#[tokio::test]
async fn a_stream_is_served_whatever_the_client_accepts_and_other_routes_are_not() {
    let gateway = Gateway::start().await;
    publish(&gateway, "run_end").await;
    for accept in ["application/json", "image/png", "text/event-stream;q=0"] {
        let get = |path: &str| gateway.client.get(gateway.url(path)).header("accept", accept).send();
        for path in STREAMS {
            let answer = get(path).await.unwrap();
            assert_eq!(answer.headers()["content-type"], "text/event-stream", "{path}, {accept}");
            assert!(answer.text().await.unwrap().ends_with(": end\n"), "{path}, {accept}");
        }
        let expected = if accept == "application/json" { 200 } else { 406 };
        assert_eq!(get("/v1/runs").await.unwrap().status(), expected, "{accept}");
        // A run that is called as a stream is none.
        let expected = if accept == "application/json" { 404 } else { 406 };
        assert_eq!(get("/v1/runs/stream").await.unwrap().status(), expected, "{accept}");
    }
}

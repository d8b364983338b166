//! Behaviour common to all REST APIs: routes, methods, types, health, metrics.

use reqwest::Method;
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::harness::{Gateway, json as read};

#[tokio::test]
async fn unmatched_routes_are_refused_in_the_error_format_of_their_api() {
    let gateway = Gateway::start().await;
    let (status, body) = gateway.get("/api/structure-runs/x/nothing").await;
    assert_eq!((status, &body["errors"][0]["type"]), (404, &"no_such_route".into()));
    let (status, body) = gateway.get("/api/nothing").await;
    assert_eq!((status, &body["error"]["code"]), (404, &"NO_SUCH_ROUTE".into()));
    let (status, body) = gateway.get("/nothing").await;
    assert_eq!((status, &body["reason_code"]), (404, &"no_such_route".into()));
    assert!(body["request_id"].as_str().unwrap().starts_with("req_"));
}

#[tokio::test]
async fn methods_and_types_are_answered_as_http_asks() {
    let gateway = Gateway::start().await;
    let deleted = gateway.send(Method::DELETE, "/health/live", None).await;
    assert_eq!(deleted.status(), 405);
    assert!(deleted.headers()["allow"].to_str().unwrap().contains("GET"));
    let options = gateway.send(Method::OPTIONS, "/health/live", None).await;
    assert_eq!(options.status(), 204);
    assert_eq!(options.headers()["allow"], "GET,HEAD");
    let head = gateway.send(Method::HEAD, "/health/live", None).await;
    assert_eq!(head.status(), 200);
    let whole = gateway.send(Method::GET, "/health/live", None).await;
    assert_eq!(head.headers()["content-length"], whole.headers()["content-length"]);
    assert_eq!(whole.headers()["content-length"], "{\"status\":\"live\"}\n".len().to_string());
    assert!(head.bytes().await.unwrap().is_empty());
    let refused = gateway.client.get(gateway.url("/health/live")).header("accept", "image/png").send().await.unwrap();
    assert_eq!(refused.status(), 406);
    assert!(refused.headers().contains_key("x-request-id"));
}

#[tokio::test]
async fn health_metrics_and_the_description_are_there() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.get("/health/live").await.0, 200);
    assert_eq!(gateway.get("/health/ready").await.0, 200);
    let (status, api) = gateway.get("/openapi.json").await;
    assert_eq!((status, &api["info"]["title"]), (200, &"runlog".into()));
    let event = r#"{"event_type":"step","sdk_run_id":"measured","payload":{}}"#;
    assert_eq!(gateway.post("/api/ingest", event).await.0, 202);
    let metrics = gateway.client.get(gateway.url("/metrics")).send().await.unwrap().text().await.unwrap();
    for name in ["http_requests_total", "published_events_total", "commit_events_bucket", "commit_seconds_sum"] {
        assert!(metrics.lines().any(|line| line.starts_with(&format!("runlog_{name}"))), "{name} in {metrics}");
    }
}

#[tokio::test]
async fn the_description_refers_to_nothing_that_is_not_in_it() {
    let gateway = Gateway::start().await;
    let text = gateway.client.get(gateway.url("/openapi.json")).send().await.unwrap().text().await.unwrap();
    let api: serde_json::Value = serde_json::from_str(&text).unwrap();
    let references: Vec<&str> = text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(references.len() > 10, "the description has references");
    for reference in references {
        assert!(api.pointer(reference).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_may_not_write() {
    let gateway =
        Gateway::start_with(|options| options.connections.cors_origins = vec!["https://app.example.com".to_owned()])
            .await;
    let publish = |origin: String| {
        let event = r#"{"event_type":"step","sdk_run_id":"origins","payload":{}}"#;
        gateway.client.post(gateway.url("/api/ingest")).header("origin", origin).body(event).send()
    };
    let refused = publish("https://evil.example.com".to_owned()).await.unwrap();
    assert_eq!(refused.status(), 403);
    assert_eq!(gateway.get("/api/runs/origins").await.0, 404, "nothing is stored");
    assert_eq!(publish("https://app.example.com".to_owned()).await.unwrap().status(), 202);
    assert_eq!(publish(gateway.url("")).await.unwrap().status(), 202, "its own pages");
}

#[tokio::test]
async fn a_stream_that_is_cut_breaks_off_and_does_not_end() {
    let gateway = Gateway::start().await;
    gateway.post("/api/ingest", r#"{"event_type":"run_start","sdk_run_id":"cut","payload":{}}"#).await;
    let stream = gateway.send(Method::GET, "/api/runs/cut/events/stream", None).await;
    let body = tokio::spawn(stream.text());
    let gateway = gateway.restart().await;
    assert!(body.await.unwrap().is_err(), "the reader sees that its stream was cut");
    gateway.post("/api/ingest", r#"{"event_type":"run_end","sdk_run_id":"cut","payload":{}}"#).await;
    let (status, whole) = gateway.stream("/api/runs/cut/events/stream").await;
    assert_eq!((status, whole.matches("data: ").count()), (200, 2));
}

#[tokio::test]
async fn a_write_that_is_not_answered_in_time_is_an_unknown_outcome_in_every_api() {
    let gateway = Gateway::start_with(|options| {
        options.writing.publish_wait = std::time::Duration::from_millis(100);
        options.connections.request_timeout = std::time::Duration::from_millis(100);
    })
    .await;
    let event = |id: &str| json!({"event_type": "step", "sdk_run_id": "r", "event_id": id, "payload": {}}).to_string();
    assert_eq!(gateway.post("/api/ingest", &event("first")).await.0, 202);
    // A disk that does not answer.
    let mut holder = SqliteConnectOptions::new().filename(gateway.data()).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
    let posted = json!({"type": "StructureRunCustomEvent", "payload": {}}).to_string();
    let public_event = json!({"type": "step", "payload": {}}).to_string();
    for (path, body, reason) in [
        ("/api/structures/s/runs", "{}", "/errors/0/type"),
        ("/api/structure-runs/r/events", &*posted, "/errors/0/type"),
        ("/api/structure-runs/r/cancel", "{}", "/errors/0/type"),
        ("/api/ingest", &*event("second"), "/error/code"),
        ("/v1/runs", "{}", "/reason_code"),
        ("/v1/runs/r/events", &*public_event, "/reason_code"),
        ("/v1/runs/r/cancel", "{}", "/reason_code"),
    ] {
        let response = gateway.send(Method::POST, path, Some(body)).await;
        assert!(response.headers().contains_key("retry-after"), "{path}");
        let (status, answer) = read(response).await;
        let reason = answer.pointer(reason).and_then(|reason| reason.as_str()).unwrap_or_default();
        assert_eq!((status, &*reason.to_lowercase()), (503, "outcome_unknown"), "{path}: {answer}");
        assert!(answer.to_string().contains("--request-timeout-ms; whether this request was stored is not known"));
    }
    sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
    holder.close().await.unwrap();
    // The publish was accepted before, so the event is stored before this call is answered.
    loop {
        let (status, answer) = gateway.post("/api/ingest", &event("second")).await;
        if status == 202 {
            break assert_eq!(answer["duplicate"], json!(true), "{answer}");
        }
    }
}

/// The streams of a run in the three APIs.
const STREAMS: [&str; 3] =
    ["/api/structure-runs/r/events/stream", "/api/runs/r/events/stream", "/v1/runs/r/events/stream"];

#[tokio::test]
async fn the_last_event_id_may_be_a_parameter_of_every_stream() {
    let gateway = Gateway::start().await;
    for event_type in ["a", "b", "run_end"] {
        let event = format!(r#"{{"event_type":"{event_type}","sdk_run_id":"r"}}"#);
        assert_eq!(gateway.post("/api/ingest", &event).await.0, 202);
    }
    for path in STREAMS {
        let (_, from_cursor) = gateway.stream(&format!("{path}?cursor=1")).await;
        assert!(from_cursor.starts_with("retry: 2000\nid: 2\n"), "{from_cursor}");
        assert_eq!(gateway.stream(&format!("{path}?lastEventId=1")).await, (200, from_cursor.clone()), "{path}");
        assert_eq!(gateway.stream(&format!("{path}?lastEventId=1&cursor=1")).await, (200, from_cursor.clone()));
        // The parameter takes precedence over the header, like the cursor.
        let request = gateway.client.get(gateway.url(&format!("{path}?lastEventId=1"))).header("last-event-id", "2");
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), from_cursor);
        assert_eq!(gateway.stream(&format!("{path}?lastEventId=3")).await.0, 204, "{path}");
        // A client that began at a cursor has seen newer events when the client reconnects.
        assert_eq!(gateway.stream(&format!("{path}?cursor=0&lastEventId=1")).await, (200, from_cursor.clone()));
        for bad in ["lastEventId=x", "lastEventId=1&lastEventId=1"] {
            let (status, refusal) = gateway.get(&format!("{path}?{bad}")).await;
            assert_eq!(status, 422, "{path}?{bad}: {refusal}");
        }
    }
}

#[tokio::test]
async fn a_stream_says_in_its_last_line_that_the_run_has_ended_and_keeps_line_ends_out_of_its_json() {
    let gateway = Gateway::start().await;
    let payload = "{\"n\u{85}\":\"a\u{2028}b\u{2029}c\u{85}d\",\r\n\"x\": 1}";
    let event = format!(r#"{{"event_type":"run_end","sdk_run_id":"r","payload":{payload}}}"#);
    assert_eq!(gateway.post("/api/ingest", &event).await.0, 202);
    for path in STREAMS {
        let (_, text) = gateway.stream(path).await;
        assert!(text.ends_with("}\n\n: end\n"), "{path}: {text}");
        assert!(!text.contains(['\u{85}', '\u{2028}', '\u{2029}', '\r']), "{path}: {text}");
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let event: serde_json::Value = serde_json::from_str(data).unwrap();
        let shown = event["payload"].get("value").unwrap_or(&event["payload"]);
        assert_eq!(shown["n\u{85}"], "a\u{2028}b\u{2029}c\u{85}d", "{path}: the same JSON");
        // A list has the text as sent.
        let (_, page) = gateway.stream(path.trim_end_matches("/stream")).await;
        assert!(page.contains(payload), "{page}");
    }
}

#[tokio::test]
async fn over_http_1_0_the_last_line_distinguishes_a_stream_that_ended_from_one_that_was_cut() {
    let gateway = Gateway::start().await;
    let get = |path: &str| gateway.client.get(gateway.url(path)).version(reqwest::Version::HTTP_10).send();
    for (run, event_type) in [("ended", "run_end"), ("open", "run_start")] {
        let event = format!(r#"{{"event_type":"{event_type}","sdk_run_id":"{run}"}}"#);
        assert_eq!(gateway.post("/api/ingest", &event).await.0, 202);
    }
    let path = |template: &str, run: &str| template.replace("/r/", &format!("/{run}/"));
    let mut open = Vec::new();
    for template in STREAMS {
        let response = get(&path(template, "ended")).await.unwrap();
        assert_eq!(response.version(), reqwest::Version::HTTP_10);
        let text = response.text().await.unwrap();
        assert!(text.contains("\nid: ") && text.ends_with("}\n\n: end\n"), "{template}: {text}");
        let mut response = get(&path(template, "open")).await.unwrap();
        let mut text = String::new();
        while !text.ends_with("}\n\n") {
            text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
        }
        open.push(response);
    }
    // The server ends: in HTTP/1.0 only the end of the connection marks the end of a body.
    let restart = tokio::spawn(gateway.restart());
    for mut response in open {
        let mut text = String::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        assert!(!text.contains(": end"), "{text}");
    }
    restart.await.unwrap();
}

#[tokio::test]
async fn a_heartbeat_has_the_cursor_where_a_filter_held_events_back_and_only_there() {
    let gateway =
        Gateway::start_with(|options| options.reading.sse_heartbeat = std::time::Duration::from_millis(1_000)).await;
    let publish = async |event_type: &str| {
        let event = format!(r#"{{"event_type":"{event_type}","sdk_run_id":"r"}}"#);
        assert_eq!(gateway.post("/api/ingest", &event).await.0, 202);
    };
    publish("wanted").await;
    let mut filtered = gateway.client.get(gateway.url("/v1/runs/r/events/stream?types=wanted")).send().await.unwrap();
    let mut whole = gateway.client.get(gateway.url("/v1/runs/r/events/stream")).send().await.unwrap();
    let read_until = async |response: &mut reqwest::Response, wanted: &str| {
        let mut text = String::new();
        while !text.contains(wanted) {
            text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
        }
        text
    };
    read_until(&mut filtered, "id: 1\n").await;
    read_until(&mut filtered, ": hb\n").await;
    publish("noise").await;
    let text = read_until(&mut filtered, "id: 2\n").await;
    assert!(text.ends_with(": hb\nid: 2\n"), "no blank line, which would make a message of it: {text}");
    // Delivered once.
    assert_eq!(read_until(&mut filtered, ": hb\n").await, ": hb\n");
    read_until(&mut whole, "id: 2\ndata: ").await;
    let text = read_until(&mut whole, ": hb\n").await;
    assert!(!text.contains("id: ") && text.ends_with(": hb\n"), "nothing was held back: {text}");
    // The next event has its own id, and a reader that resumes from the heartbeat's id misses no event.
    publish("run_end").await;
    publish("wanted").await;
    assert_eq!(read_until(&mut filtered, ": end\n").await.matches("id: ").count(), 0, "the run has ended");
    let (status, text) = gateway.stream("/v1/runs/r/events/stream?types=wanted&lastEventId=2").await;
    assert!(status == 200 && text.contains("id: 4\ndata: "), "{text}");
}

#[tokio::test]
async fn in_an_array_an_error_names_the_event_whichever_layer_finds_the_fault() {
    let gateway = Gateway::start_with(|options| options.lifecycle = runlog::config::LifecycleOption::Strict).await;
    let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    let event = |payload: &str| {
        [
            ("/api/structure-runs/r/events", format!(r#"{{"type":"a","payload":{payload}}}"#)),
            ("/api/ingest", format!(r#"{{"event_type":"a","sdk_run_id":"r","payload":{{"a":{payload}}}}}"#)),
            ("/v1/runs/r/events", format!(r#"{{"type":"a","payload":{payload}}}"#)),
        ]
    };
    for ((path, bad), (_, good)) in event(&deep).into_iter().zip(event("1")) {
        let (status, refusal) = gateway.post(path, &bad).await;
        assert!(status == 422 && refusal.to_string().contains("\"payload: must nest"), "{refusal}");
        let (status, refusal) = gateway.post(path, &format!("[{good},{good},{good},{bad}]")).await;
        assert!(status == 422 && refusal.to_string().contains("\"[3].payload: must nest"), "{refusal}");
    }
    let (_, bad) = &event(&deep)[0];
    let (_, refusal) = gateway.post("/api/structure-runs/r/events", &format!("{{\"events\":[{bad}]}}")).await;
    assert!(refusal.to_string().contains("\"events[0].payload: must nest"), "{refusal}");

    // Faults found in the store: taken ids, repeated ids within one request, and the end of a run.
    let ingested = |run: &str, id: &str, n: u32| {
        format!(r#"{{"event_type":"a","sdk_run_id":"{run}","event_id":"{id}","payload":{{"n":{n}}}}}"#)
    };
    assert_eq!(gateway.post("/api/ingest", &ingested("r", "x", 1)).await.0, 202);
    let (status, refusal) = gateway.post("/api/ingest", &ingested("r", "x", 2)).await;
    assert_eq!((status, &refusal["error"]["details"]["field"]), (409, &"event_id".into()));
    let across = format!("[{},{},{}]", ingested("s", "x", 1), ingested("r", "y", 1), ingested("r", "x", 2));
    let (status, refusal) = gateway.post("/api/ingest", &across).await;
    assert_eq!(
        (status, &refusal["error"]["details"]["field"]),
        (409, &"[2].event_id".into()),
        "its place in the array"
    );
    let twice = format!("[{},{}]", ingested("r", "z", 1), ingested("r", "z", 2));
    let (status, refusal) = gateway.post("/api/ingest", &twice).await;
    assert_eq!((status, &refusal["error"]["details"]["field"]), (409, &"[1].event_id".into()));
    assert!(refusal["error"]["message"].as_str().unwrap().starts_with("two events of this request"), "{refusal}");
    assert_eq!(gateway.post("/v1/runs/r/cancel", "").await.0, 200);
    let body = r#"[{"type":"note","payload":1},{"type":"run_start","payload":1}]"#;
    for (path, field) in [("/v1/runs/r/events", "[1].type: run"), ("/api/structure-runs/r/events", "[1].type")] {
        let (status, refusal) = gateway.post(path, body).await;
        assert!(status == 409 && refusal.to_string().contains(field), "{path}: {refusal}");
    }
}

#[tokio::test]
async fn a_type_that_holds_a_comma_is_asked_for_by_repeating_the_parameter() {
    let gateway = Gateway::start().await;
    for event_type in ["a", "b", "a,b", "run_end"] {
        let event = format!(r#"{{"event_type":"{event_type}","sdk_run_id":"r"}}"#);
        assert_eq!(gateway.post("/api/ingest", &event).await.0, 202);
    }
    for api in ["/api/runs/r", "/v1/runs/r"] {
        for (query, expected) in [
            ("types=a,b", &["a", "b"][..]),
            ("types=a%2Cb", &["a", "b"]),
            ("types=a,b&types=a,b", &["a,b"]),
            ("types=a,b&types=run_end", &["a,b", "run_end"]),
            ("types=a&types=b", &["a", "b"]),
        ] {
            let (_, page) = gateway.get(&format!("{api}/events?{query}")).await;
            let types: Vec<_> = page["events"]
                .as_array()
                .unwrap()
                .iter()
                .map(|event| event.get("type").or(event.get("event_type")).unwrap().as_str().unwrap())
                .collect();
            assert_eq!(types, expected, "{api} {query}");
            let (_, stream) = gateway.stream(&format!("{api}/events/stream?{query}")).await;
            assert_eq!(stream.matches("data: ").count(), expected.len(), "{api} {query}");
        }
    }
}

//! Payloads, keys and stream tokens never reach the log, at any log level and with any error.

use runlog::pb::{self, payload::Variant};
use tokio_stream::StreamExt;

use crate::client::{self, event, publish};
use crate::harness::{Data, Server};

/// Must not occur in any log.
const SECRET: &str = "Hunter2SECRETmarker";

/// Sends the secret wherever a payload may stand, in valid and invalid requests.
async fn workload(server: &Server) {
    let mut events = server.events().await;
    let secret = format!("{{\"input\":\"{SECRET}\",\"{SECRET}\":1}}");
    let good = |id: &str, event_type: &str| event(id, event_type, &secret);
    for event_type in ["step", "run_start", "human_input_requested", "run.created", "error"] {
        events.publish(publish("r", vec![good("", event_type)])).await.unwrap();
    }
    events.publish(publish("r", vec![good("e", "step")])).await.unwrap();
    let typed = pb::RunEnd { output_json: Some(format!("\"{SECRET}\"")), ..Default::default() };
    let payload = Some(pb::Payload { extra_json: String::new(), variant: Some(Variant::RunEnd(typed.into())) });
    events.publish(publish("typed", vec![pb::NewEvent { payload, ..Default::default() }])).await.unwrap();

    // Errors: no JSON, too deep, different content under the same id, too large, wrong in a typed member.
    let deep = format!("{}\"{SECRET}\"{}", "[".repeat(100), "]".repeat(100));
    let large = format!("\"{}\"", SECRET.repeat(100_000));
    for bad in [
        event("", "step", &format!("{{{SECRET}")),
        event("", "step", &format!("{{\"a\":\"{SECRET}\"}} {SECRET}")),
        event("", "step", &deep),
        event("", "step", &large),
        event("e", "step", &format!("\"{SECRET}\"")),
        pb::NewEvent {
            payload: Some(pb::Payload {
                extra_json: SECRET.to_owned(),
                variant: Some(Variant::RunEnd(Box::default())),
            }),
            ..Default::default()
        },
    ] {
        let refused = events.publish(publish("r", vec![bad.clone()])).await.unwrap_err();
        assert!(!refused.message().contains(SECRET), "an error does not repeat the payload: {refused:?}");
        let request = pb::PublishStreamRequest { publish: Some(publish("r", vec![bad])) };
        let answers = events.publish_stream(tokio_stream::iter([request])).await.unwrap().into_inner();
        answers.collect::<Vec<_>>().await;
    }
    // The path of a value is returned to the sender only, never logged.
    let not_json = event("", "step", &format!("{{\"{SECRET}\":NaN}}"));
    let refused = events.publish(publish("r", vec![not_json])).await.unwrap_err();
    assert!(refused.message().contains("NaN is none"), "{refused:?}");
    // A body that is no protobuf, and a body over the size limit.
    let mut body = SECRET.as_bytes().to_vec();
    body.resize(5 << 20, b'x');
    let larger = event("", "step", &String::from_utf8(body).unwrap());
    events.publish(publish("r", vec![larger])).await.unwrap_err();

    // All kinds of reads, with credentials in the request.
    let mut request = tonic::Request::new(client::follow("r"));
    request.metadata_mut().insert("authorization", format!("Bearer {SECRET}").parse().unwrap());
    let mut frames = events.subscribe(request).await.unwrap().into_inner();
    while let Some(frame) = frames.message().await.unwrap() {
        if matches!(frame.frame, Some(pb::subscribe_response::Frame::RunEnded(_))) {
            break;
        }
    }
    assert!(!client::list(&mut events, "r").await.is_empty());
    let run = server.runs().await.get_run(pb::GetRunRequest { run_id: "typed".to_owned() }).await.unwrap();
    assert!(run.into_inner().run.unwrap().output_json.contains(SECRET));
    let key = pb::CreateRunRequest { idempotency_key: SECRET.to_owned(), ..Default::default() };
    server.runs().await.create_run(key).await.unwrap();
}

/// Uses a good stream token, and bad ones; returns the good one.
async fn token_of(server: &Server) -> String {
    let request = pb::CreateStreamTokenRequest { run_id: "typed".to_owned() };
    let token = server.runs().await.create_stream_token(request).await.unwrap().into_inner().token;
    for (run_id, token, status) in [
        ("typed", token.clone(), 200),
        ("r", token.clone(), 403),
        ("typed", format!("{token}{SECRET}"), 401),
        ("typed", format!("{token}&{SECRET}={SECRET}"), 422),
        ("typed", format!("{token}&token={token}"), 401),
    ] {
        for route in ["events", "events/stream"] {
            let url = format!("{}/v1/runs/{run_id}/{route}?token={token}", server.url());
            let answer = reqwest::get(url).await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{route}");
            assert!(!answer.text().await.unwrap().contains(&token), "no answer repeats a token");
        }
    }
    token
}

/// The log, and a token that must not be in it.
async fn log_at(level: &str) -> (String, String) {
    let data = Data::new();
    let server = Server::with(&data.file(), &["--log", level]).await;
    workload(&server).await;
    let token = token_of(&server).await;
    server.terminate().await;
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0));
    (log, token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_payload_no_key_and_no_token_reaches_the_log_at_any_level() {
    for level in ["info", "debug", "runlog=trace", "trace"] {
        let (log, token) = log_at(level).await;
        assert!(log.contains("drained"), "the log was read to its end at {level}");
        println!("{level}: {} lines", log.lines().count());
        let leaks: Vec<_> = log.lines().filter(|line| line.contains(SECRET) || line.contains(&token)).take(3).collect();
        assert!(leaks.is_empty(), "at {level}: {leaks:#?}");
    }
}

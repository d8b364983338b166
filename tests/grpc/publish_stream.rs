//! PublishStream: one answer for each request, in order, successful or not.

use runlog::pb;
use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::publish_stream_response::Result as Answer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{StreamExt, iter};
use tonic::{Code, Streaming};

use crate::builders::{json_event, notes, numbered, publish_request, with_id};
use crate::harness::{TestServer, in_time};
use crate::reading::{follow_run, json_of, seqs};
use crate::refusal::Refusal;

fn request(run_id: &str, events: Vec<pb::NewEvent>) -> pb::PublishStreamRequest {
    pb::PublishStreamRequest { publish: Some(publish_request(run_id, events)) }
}

async fn answers(mut stream: Streaming<pb::PublishStreamResponse>) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(answer) = in_time(stream.message()).await.unwrap() {
        answers.push(answer.result.unwrap());
    }
    answers
}

fn first_seq(answer: &Answer) -> u64 {
    match answer {
        Answer::Published(published) => published.events[0].seq,
        Answer::Failure(failure) => panic!("{failure:?}"),
    }
}

#[tokio::test]
async fn thousands_of_requests_are_answered_in_their_order_and_stored_in_it() {
    let server = TestServer::start().await;
    let requests = iter((1..=5_000).map(|n| request("r", vec![numbered(n)])));
    let stream = server.events().await.publish_stream(requests).await.unwrap().into_inner();
    let answered: Vec<u64> = answers(stream).await.iter().map(first_seq).collect();
    assert_eq!(answered, (1..=5_000).collect::<Vec<u64>>(), "half-closing answers all that was sent");
    for (n, event) in (1..).zip(server.everything().await) {
        assert_eq!((event.seq, json_of(&event)), (n, format!("{{\"n\":{n}}}").as_str()));
    }
}

#[tokio::test]
async fn the_runs_of_a_stream_are_stored_in_its_order_whatever_their_size() {
    let server = TestServer::start().await;
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(300_000));
    let event = |n: usize| if n.is_multiple_of(2) { json_event("note", &large) } else { numbered(n) };
    let requests: Vec<_> = (0..60).map(|n| request(&n.to_string(), vec![event(n)])).collect();
    let stream = server.events().await.publish_stream(iter(requests)).await.unwrap().into_inner();
    assert_eq!(answers(stream).await.len(), 60);
    let stored: Vec<String> = server.everything().await.into_iter().map(|event| event.run_id).collect();
    assert_eq!(stored, (0..60).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_request_is_answered_before_the_next_one_is_sent() {
    let server = TestServer::start().await;
    let (sender, requests) = mpsc::channel(1);
    let mut client = server.events().await;
    let mut stream = client.publish_stream(ReceiverStream::new(requests)).await.unwrap().into_inner();
    for n in 1..=20 {
        sender.send(request("r", vec![numbered(1)])).await.unwrap();
        let answer = in_time(stream.message()).await.unwrap().unwrap().result.unwrap();
        assert_eq!(first_seq(&answer), n);
    }
    drop(sender);
    assert!(in_time(stream.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_failure_is_answered_in_its_place_and_ends_nothing() {
    let server = TestServer::start().await;
    server.publish("r", vec![with_id("taken", numbered(1))]).await;
    let conditional = pb::PublishRequest { expected_last_seq: Some(77), ..publish_request("r", notes(1)) };
    let requests = vec![
        request("r", notes(1)),
        pb::PublishStreamRequest { publish: None },
        request("", notes(1)),
        request("r", vec![]),
        request("r", vec![numbered(1), json_event("note", "{")]),
        request("r", vec![with_id("taken", numbered(2))]),
        pb::PublishStreamRequest { publish: Some(conditional) },
        request("r", vec![with_id("taken", numbered(1))]),
        request("r", notes(1)),
    ];
    let stream = server.events().await.publish_stream(iter(requests)).await.unwrap().into_inner();
    let received: Vec<_> = answers(stream)
        .await
        .into_iter()
        .map(|answer| match answer {
            Answer::Published(published) => format!("{} {}", published.events[0].seq, published.events[0].duplicate),
            Answer::Failure(f) => {
                assert!(!f.message.is_empty());
                let fact = f.metadata.get("field").or(f.metadata.get("seq")).or(f.metadata.get("last_seq"));
                format!("{:?} {} {}", Code::from(f.code), f.reason, fact.unwrap())
            }
        })
        .collect();
    let expected = [
        "2 false",
        "InvalidArgument INVALID_FIELD publish",
        "InvalidArgument INVALID_FIELD publish.run_id",
        "InvalidArgument INVALID_FIELD publish.events",
        "InvalidArgument INVALID_FIELD publish.events[1].payload",
        "AlreadyExists EVENT_ID_CONFLICT publish.events[0].event_id",
        "Aborted SEQ_CONFLICT 2",
        "1 true",
        "3 false",
    ];
    assert_eq!(received, expected);
    assert_eq!(seqs(&server.everything().await), [1, 2, 3]);
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_stream_after_the_answers_to_those_before() {
    let server = TestServer::start_with(|options| {
        options.limits.max_request_bytes = 16 << 10;
        options.limits.max_payload_bytes = 8 << 10;
    })
    .await;
    let large = json_event("big", &format!("\"{}\"", "x".repeat(32 << 10)));
    let requests = vec![request("r", notes(1)), request("r", notes(2)), request("r", vec![large])];
    let mut stream = server.events().await.publish_stream(iter(requests)).await.unwrap().into_inner();
    for seq in [1, 2] {
        assert_eq!(first_seq(&in_time(stream.message()).await.unwrap().unwrap().result.unwrap()), seq);
    }
    let status = in_time(stream.message()).await.unwrap_err();
    Refusal::of(&status).is(Code::ResourceExhausted, "REQUEST_TOO_LARGE");
    assert_eq!(server.everything().await.len(), 3, "all that was answered, and no more");
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_whole_batches_only() {
    let mut server = TestServer::start().await;
    let mut reader = server.subscribe(pb::SubscribeRequest { wait_for_run: true, ..follow_run("r") }).await;
    // A runtime for the client alone: dropping the runtime ends the whole client at once, like a killed process.
    let client = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let address = server.address();
    client.spawn(async move {
        let mut client = EventServiceClient::connect(format!("http://{address}")).await.unwrap();
        let endless = tokio_stream::iter(std::iter::repeat_with(|| request("r", notes(7))));
        answers(client.publish_stream(endless).await.unwrap().into_inner()).await
    });
    reader.events(700).await;
    client.shutdown_background();
    server.restart().await;
    let events = server.everything().await;
    let numbers: Vec<_> = events.iter().map(|event| json_of(event).to_owned()).collect();
    let whole: Vec<_> = (0..events.len()).map(|at| format!("{{\"n\":{}}}", at % 7 + 1)).collect();
    assert_eq!((numbers, events.len() % 7), (whole, 0));
    assert_eq!(seqs(&events), (1..=events.len() as u64).collect::<Vec<_>>(), "and without a gap");
}

#[tokio::test]
async fn draining_answers_what_was_taken_in_and_then_ends_the_stream() {
    let mut server = TestServer::start().await;
    let (sender, requests) = mpsc::channel(1);
    let mut client = server.events().await;
    let mut stream = client.publish_stream(ReceiverStream::new(requests)).await.unwrap().into_inner();
    sender.send(request("r", notes(1))).await.unwrap();
    assert_eq!(first_seq(&in_time(stream.message()).await.unwrap().unwrap().result.unwrap()), 1);
    server.begin_to_drain();
    let refusal = Refusal::of(&in_time(stream.next()).await.unwrap().unwrap_err());
    assert!(refusal.is(Code::Unavailable, "SHUTTING_DOWN").retry.is_some());
    server.restart().await;
    assert_eq!(server.everything().await.len(), 1);
}

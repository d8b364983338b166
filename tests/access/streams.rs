//! Streams end with the key that opened them.

use runlog::config::StoreUrl;
use runlog::domain::KeyScope;
use runlog::pb;
use runlog::pb::subscribe_request::Scope;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::cluster::Database;
use crate::harness::{ADMIN, create, publish, reason, with_keys, with_keys_and};
use crate::server::{TestServer, in_time};

fn follow() -> pb::SubscribeRequest {
    pb::SubscribeRequest { scope: Some(Scope::AllRuns(pb::AllRuns {})), ..Default::default() }
}

/// Reads to the end of a subscription.
async fn end_of(mut frames: tonic::Streaming<pb::SubscribeResponse>) -> Status {
    loop {
        match in_time(frames.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a regular end"),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn open_streams_end_when_their_key_is_revoked_and_others_go_on() {
    let server = with_keys().await;
    let scopes = [KeyScope::EventsPublish, KeyScope::EventsRead];
    let (revoked_id, revoked) = server.key(&scopes).await;
    let (_, other) = server.key(&scopes).await;
    server.events(&other).await.publish(publish("r", "run_start")).await.unwrap();
    let ending = server.events(&revoked).await.subscribe(follow()).await.unwrap().into_inner();
    let mut lasting = server.events(&other).await.subscribe(follow()).await.unwrap().into_inner();
    let (requests, stream) = mpsc::channel(4);
    let mut publisher = server.events(&revoked).await;
    requests.send(pb::PublishStreamRequest { publish: Some(publish("r", "step")) }).await.unwrap();
    let mut answers = publisher.publish_stream(ReceiverStream::new(stream)).await.unwrap().into_inner();
    in_time(answers.message()).await.unwrap().unwrap();
    let url = format!("http://{}/v1/runs/r/events/stream", server.address());
    let sse =
        reqwest::Client::new().get(url).header("authorization", format!("Bearer {revoked}")).send().await.unwrap();
    assert_eq!(sse.status().as_u16(), 200);

    server.keys(ADMIN).await.revoke_key(pb::RevokeKeyRequest { key_id: revoked_id }).await.unwrap();

    let status = end_of(ending).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "API_KEY_REVOKED"));
    let status = loop {
        match in_time(answers.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a regular end"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&status), "API_KEY_REVOKED");
    assert!(in_time(sse.text()).await.is_err(), "an event stream that was cut has no regular end");
    server.events(&other).await.publish(publish("r", "step")).await.unwrap();
    in_time(async {
        loop {
            let frame = lasting.message().await.unwrap().unwrap();
            if let Some(pb::subscribe_response::Frame::Events(batch)) = frame.frame
                && batch.events().unwrap().iter().any(|event| event.seq == 3)
            {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_open_stream_ends_when_its_key_expires() {
    let server = with_keys().await;
    let expires_in = Some(prost_types::Duration { seconds: 2, nanos: 0 });
    let request = pb::CreateKeyRequest { expires_in, ..create(&[KeyScope::EventsRead]) };
    let created = server.keys(ADMIN).await.create_key(request).await.unwrap().into_inner();
    let frames = server.events(&created.secret_key).await.subscribe(follow()).await.unwrap().into_inner();
    assert_eq!(reason(&end_of(frames).await), "API_KEY_EXPIRED");
}

#[tokio::test]
async fn streams_without_a_key_end_when_the_store_gets_its_first_key() {
    let Some(database) = Database::create().await else { return };
    let keyless = TestServer::start_with(|options| options.store.url = Some(StoreUrl::from(database.url()))).await;
    let mut events = pb::event_service_client::EventServiceClient::new(keyless.calls(None).await);
    events.publish(publish("r", "step")).await.unwrap();
    let frames = events.subscribe(follow()).await.unwrap().into_inner();
    // Another replica, which brings a key.
    let _other = with_keys_and(|options| options.store.url = Some(StoreUrl::from(database.url()))).await;
    let status = end_of(frames).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "API_KEY_MISSING"));
    let refused = events.publish(publish("r", "step")).await.unwrap_err();
    assert_eq!(reason(&refused), "API_KEY_MISSING");
}

#[tokio::test]
async fn a_key_whose_row_is_damaged_ends_alone() {
    let server = with_keys().await;
    let (damaged_id, damaged) = server.key(&[KeyScope::EventsRead]).await;
    let (other_id, other) = server.key(&[KeyScope::EventsRead]).await;
    let ending = server.events(&damaged).await.subscribe(follow()).await.unwrap().into_inner();
    let revoked = server.events(&other).await.subscribe(follow()).await.unwrap().into_inner();
    let file = SqliteConnectOptions::new().filename(&server.options().store.data);
    let mut file = SqliteConnection::connect_with(&file).await.unwrap();
    let more = sqlx::query("UPDATE keys SET scopes = 'admin' WHERE key_id = ?").bind(&damaged_id);
    more.execute(&mut file).await.unwrap();
    assert_eq!(reason(&end_of(ending).await), "API_KEY_INVALID");
    assert_eq!(server.rest("GET", "/v1/runs", Some(&other), None).await.status, 200);
    // Others are looked after beside it.
    server.keys(ADMIN).await.revoke_key(pb::RevokeKeyRequest { key_id: other_id }).await.unwrap();
    assert_eq!(reason(&end_of(revoked).await), "API_KEY_REVOKED");
}

//! The first key of a store, and servers with and without keys.

use runlog::config::{AuthOption, KeyText};
use runlog::domain::KeyScope;
use runlog::pb;
use runlog::pb::admin_service_client::AdminServiceClient;
use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::key_service_client::KeyServiceClient;
use runlog::pb::run_service_client::RunServiceClient;
use runlog::server::Server;

use crate::harness::{ADMIN, create, publish, reason, with_keys};
use crate::server::TestServer;

#[tokio::test]
async fn without_keys_everything_is_served_and_a_key_is_ignored() {
    let server = TestServer::start().await;
    for key in [None, Some("key_a:0123456789abcdefghijklmnop"), Some("a token of another system")] {
        EventServiceClient::new(server.calls(key).await).publish(publish("r", "step")).await.unwrap();
        assert_eq!(server.rest("GET", "/v1/runs/r/events?view=full", key, None).await.status, 200);
    }
    // A proxy in front of the server may authenticate in ways of its own.
    let url = format!("http://{}/v1/runs", server.address());
    let request = reqwest::Client::new().get(url).header("authorization", "Basic dTpw").header("authorization", "x");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
    // A caller that reaches the port must not lock the others out.
    let mut keys = KeyServiceClient::new(server.calls(None).await);
    assert_eq!(reason(&keys.create_key(create(&KeyScope::ALL)).await.unwrap_err()), "API_KEY_MISSING");
}

#[tokio::test]
async fn the_first_key_has_the_scope_admin_and_survives_a_restart() {
    let mut server = with_keys().await;
    let list = async |server: &TestServer| {
        let listed = server.keys(ADMIN).await.list_keys(runlog::pb::ListKeysRequest::default()).await;
        listed.unwrap().into_inner()
    };
    let before = list(&server).await;
    server.restart().await;
    let listed = list(&server).await;
    assert_eq!(listed.keys.len(), 1);
    assert_eq!(listed.keys[0].created_at, before.keys[0].created_at, "it is the same key");
    assert_eq!(
        (listed.keys[0].key_id.as_str(), listed.keys[0].scopes.as_slice()),
        ("key_admin", &["admin".to_owned()][..])
    );
    let refused = server.events(ADMIN).await.publish(publish("r", "step")).await.unwrap_err();
    assert_eq!(reason(&refused), "SCOPE_MISSING");
}

#[tokio::test]
async fn a_first_key_with_another_secret_than_the_stored_one_stops_the_start() {
    let mut server = with_keys().await;
    server.stop().await;
    let mut options = server.options().clone();
    options.access.admin_key = Some(KeyText::from("key_admin:another_secret_of_enough".to_owned()));
    let refused = Server::bind(&options).await.err().unwrap().to_string();
    assert!(refused.contains("key_admin") && !refused.contains("another_secret"), "{refused}");
}

#[tokio::test]
async fn a_server_that_requires_keys_serves_nobody_before_the_first_one() {
    let server = TestServer::start_with(|options| options.access.auth = AuthOption::Required).await;
    let refused = EventServiceClient::new(server.calls(None).await).publish(publish("r", "step")).await.unwrap_err();
    assert_eq!(reason(&refused), "API_KEY_MISSING");
    assert_eq!(server.rest("GET", "/health/ready", None, None).await.status, 200);
}

#[tokio::test]
async fn a_server_with_auth_off_does_not_ask_for_the_keys_of_its_store() {
    let mut server = with_keys().await;
    server.key(&[KeyScope::EventsRead]).await;
    server.stop().await;
    let mut options = server.options().clone();
    options.access.auth = AuthOption::Off;
    let again = Server::bind(&options).await.unwrap();
    let (address, stop) = (again.local_addr(), tokio_util::sync::CancellationToken::new());
    let running = tokio::spawn(again.run(stop.clone()));
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    EventServiceClient::new(channel.clone()).publish(publish("r", "step")).await.unwrap();
    // What needs the scope `admin` is open, too, but for the keys themselves.
    let (mut runs, run_id) = (RunServiceClient::new(channel.clone()), "r".to_owned());
    runs.hold_run(pb::HoldRunRequest { run_id: run_id.clone() }).await.unwrap();
    runs.release_run(pb::ReleaseRunRequest { run_id: run_id.clone() }).await.unwrap();
    runs.erase_events(pb::EraseEventsRequest { run_id, ..Default::default() }).await.unwrap();
    let backup = AdminServiceClient::new(channel.clone()).backup(pb::BackupRequest {}).await;
    assert!(backup.unwrap().into_inner().message().await.unwrap().is_some());
    let mut keys = KeyServiceClient::new(channel);
    assert_eq!(reason(&keys.create_key(create(&[KeyScope::EventsRead])).await.unwrap_err()), "API_KEY_MISSING");
    stop.cancel();
    running.await.unwrap().unwrap();
}

//! Keys and stream tokens on several replicas of one PostgreSQL database.

use std::time::{Duration, Instant};

use runlog::config::{KeyText, StoreUrl};
use runlog::domain::KeyScope;
use runlog::pb;
use tonic::Code;

use crate::cluster::{Cluster, Stop};
use crate::harness::{ADMIN, eventually, publish, reason, with_keys_and};
use crate::server::TestServer;

/// The longest time from a revocation to the refusal on every replica.
const LIMIT: Duration = Duration::from_secs(5);

async fn replica(url: &str) -> TestServer {
    with_keys_and(|options| {
        options.store.url = Some(StoreUrl::from(url.to_owned()));
        options.access.admin_key = Some(KeyText::from(ADMIN.to_owned()));
    })
    .await
}

#[tokio::test]
async fn a_stream_token_of_one_replica_is_taken_by_the_other_and_one_of_another_database_is_not() {
    let Some(cluster) = Cluster::start() else { return };
    let cluster: &'static Cluster = Box::leak(Box::new(cluster));
    let (database, foreign) = (cluster.create_database().await.unwrap(), cluster.create_database().await.unwrap());
    let (one, other) = (replica(&database.url()).await, replica(&database.url()).await);
    let foreign = replica(&foreign.url()).await;
    for server in [&one, &foreign] {
        let (_, publisher) = server.key(&[KeyScope::EventsPublish]).await;
        server.events(&publisher).await.publish(publish("r", "run_end")).await.unwrap();
    }
    let (key_id, reader) = one.key(&[KeyScope::EventsRead]).await;
    // Before the other replica has seen the key, and after.
    for _ in 0..2 {
        let token = one.stream_token(Some(&reader), "r").await;
        assert_eq!(other.rest("GET", &format!("/v1/runs/r/events/stream?token={token}"), None, None).await.status, 200);
        assert_eq!(one.rest("GET", &format!("/v1/runs/r/events?token={token}"), None, None).await.status, 200);
        let refused = foreign.rest("GET", &format!("/v1/runs/r/events?token={token}"), None, None).await;
        assert!(refused.status == 401 && refused.names("STREAM_TOKEN_INVALID"), "{refused:?}");
    }
    let back = other.stream_token(Some(&reader), "r").await;
    assert_eq!(one.rest("GET", &format!("/v1/runs/r/events?token={back}"), None, None).await.status, 200);
    one.keys(ADMIN).await.revoke_key(pb::RevokeKeyRequest { key_id }).await.unwrap();
    eventually("the end of the token on the other replica", async || {
        other.rest("GET", &format!("/v1/runs/r/events?token={back}"), None, None).await.names("API_KEY_REVOKED")
    })
    .await;
}

#[tokio::test]
async fn a_key_revoked_on_one_replica_is_refused_on_the_other_within_5_s_and_after_a_restart_of_postgresql() {
    let Some(cluster) = Cluster::start() else { return };
    let cluster: &'static Cluster = Box::leak(Box::new(cluster));
    let database = cluster.create_database().await.unwrap();
    let (one, other) = (replica(&database.url()).await, replica(&database.url()).await);
    let (key_id, key) = one.key(&[KeyScope::EventsPublish]).await;
    let (restarted_id, restarted) = one.key(&[KeyScope::EventsPublish]).await;
    for key in [&key, &restarted] {
        other.events(key).await.publish(publish("r", "step")).await.unwrap();
    }
    let is_refused = async |key: &str| {
        let answer = other.events(key).await.publish(publish("r", "step")).await;
        answer
            .is_err_and(|status| (status.code(), reason(&status)) == (Code::Unauthenticated, "API_KEY_REVOKED".into()))
    };
    one.keys(ADMIN).await.revoke_key(pb::RevokeKeyRequest { key_id }).await.unwrap();
    let revoked = Instant::now();
    eventually("the refusal on the other replica", async || is_refused(&key).await).await;
    assert!(revoked.elapsed() < LIMIT, "{:?}", revoked.elapsed());

    cluster.stop(Stop::Immediate);
    cluster.resume();
    eventually("a revocation after the restart", async || {
        let request = pb::RevokeKeyRequest { key_id: restarted_id.clone() };
        one.keys(ADMIN).await.revoke_key(request).await.is_ok()
    })
    .await;
    eventually("the refusal after the restart", async || is_refused(&restarted).await).await;
    eventually("the first key on the other replica", async || {
        other.keys(ADMIN).await.list_keys(pb::ListKeysRequest::default()).await.is_ok()
    })
    .await;
}

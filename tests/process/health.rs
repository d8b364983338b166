//! gRPC health and `/health/ready` report whether the store accepts publishes, and recover with the store.

use sqlx::Connection;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::client;
use crate::cluster::{Cluster, Database, Stop};
use crate::harness::{Server, eventually};

/// Waits until health has this status for the server and each service, and readiness agrees.
async fn becomes(server: &Server, status: ServingStatus) {
    let is_ready = status == ServingStatus::Serving;
    for service in ["", "runlog.v1.EventService", "runlog.v1.RunService"] {
        eventually(&format!("{status:?} of {service:?}"), async || {
            let mut health = HealthClient::new(server.channel().await);
            let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
            answer.into_inner().status() == status
        })
        .await;
    }
    eventually("readiness", async || {
        let answer = reqwest::get(format!("{}/health/ready", server.url())).await.unwrap();
        answer.status().is_success() == is_ready
    })
    .await;
}

#[tokio::test]
async fn health_follows_postgresql_down_and_up_again() {
    let Some(cluster) = Cluster::start() else { return };
    let server = Server::on(&cluster.url("postgres")).await;
    becomes(&server, ServingStatus::Serving).await;
    cluster.stop(Stop::Immediate);
    becomes(&server, ServingStatus::NotServing).await;
    server.says("\"message\":\"not ready\"").await;
    cluster.resume();
    becomes(&server, ServingStatus::Serving).await;
    server.says("\"message\":\"ready again\"").await;
}

#[tokio::test]
async fn health_says_so_while_a_foreign_lock_stops_publishes_though_readers_are_answered() {
    let Some(database) = Database::create().await else { return };
    let server = Server::on(&database.url()).await;
    let mut events = server.events().await;
    let publish = |id| client::publish("r", vec![client::event(id, "step", "{}")]);
    events.publish(publish("before")).await.unwrap();
    let mut foreign = database.connect().await;
    let mut lock = foreign.begin().await.unwrap();
    sqlx::query("SELECT FROM feed FOR UPDATE").execute(&mut *lock).await.unwrap();
    let mut publisher = events.clone();
    let request = publish("behind");
    let stuck = tokio::spawn(async move { publisher.publish(request).await });
    becomes(&server, ServingStatus::NotServing).await;
    let read = server.runs().await.get_run(runlog::pb::GetRunRequest { run_id: "r".to_owned() }).await;
    assert_eq!(read.unwrap().into_inner().run.unwrap().last_seq, 1);
    lock.rollback().await.unwrap();
    let _ = stuck.await.unwrap();
    events.publish(publish("after")).await.unwrap();
    becomes(&server, ServingStatus::Serving).await;
}

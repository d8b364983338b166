//! TLS to the PostgreSQL server.

use std::sync::Arc;

use runlog::store::Store;
use runlog::store::postgres::{OpenError, PostgresOptions, PostgresStore};
use sqlx::Connection;

use crate::cluster::Cluster;
use crate::fixture::*;

async fn open(url: &str) -> Result<PostgresStore, OpenError> {
    PostgresStore::open(PostgresOptions::new(url), Arc::new(Recorder::default())).await
}

#[tokio::test]
async fn a_server_that_demands_tls_is_verified_and_an_impostor_is_refused_by_name() {
    let Some(cluster) = Cluster::start() else { return };
    let (ours, other) = cluster.demand_tls();
    let url =
        |host: &str, parameters: &str| format!("postgres://postgres@{host}:{}/postgres?{parameters}", cluster.port());
    let verified = |ca: &std::path::Path| format!("sslmode=verify-full&sslrootcert={}", ca.display());

    let store = open(&url("127.0.0.1", &verified(&ours))).await.unwrap();
    store.append(append("r", vec![event("x")])).await.unwrap();
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'runlog'";
    let mut connection = sqlx::PgConnection::connect(&cluster.url("postgres")).await.unwrap();
    let encrypted: Option<bool> = sqlx::query_scalar(encrypted).fetch_one(&mut connection).await.unwrap();
    assert_eq!(encrypted, Some(true));
    store.close().await;

    let error = open(&url("127.0.0.1", &verified(&other))).await.err().unwrap();
    assert!(matches!(error, OpenError::Tls { .. }), "another authority: {error}");
    let error = open(&url("localhost", &verified(&ours))).await.err().unwrap();
    assert!(matches!(error, OpenError::Tls { .. }), "another name: {error}");
    let error = open(&url("127.0.0.1", "sslmode=disable")).await.err().unwrap();
    assert!(matches!(error, OpenError::Authentication { .. }), "{error}");
    assert!(error.to_string().contains("no encryption"), "{error}");
}

//! GET /ag-ui/runs/{id}: what a stream takes of the server, in turns to read up to its cursor and in memory.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::poll;
use http::Request;
use http_body_util::BodyExt;
use runlog::domain::View;
use runlog::service::live::hub::{Hub, WindowLimits};
use runlog::service::{Service, ServiceOptions};
use runlog::store::Latch;
use runlog::store::sqlite::{SqliteOptions, SqliteStore};
use runlog::transport::memory::{Account, Call, Memory, MemoryOptions};
use runlog::transport::rest::{self, Gateway, GatewayOptions, Offer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::server::{DATA, in_time};

/// Most bytes of answers that one connection may hold.
const MOST: usize = 4 << 20;

/// The routes without a network, and one connection.
struct Routes {
    router: Router,
    resuming: Arc<Semaphore>,
    memory: Arc<Memory>,
    account: Arc<Account>,
    _directory: TempDir,
}

impl Routes {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let hub = Arc::new(Hub::new(WindowLimits::default()));
        let store = SqliteStore::open(SqliteOptions::new(directory.path().join(DATA)), hub.clone()).await.unwrap();
        let service = Service::new(Arc::new(store), hub, ServiceOptions::default(), Latch::default());
        let options = GatewayOptions {
            cors_origins: Vec::new(),
            default_view: View::Public,
            request_timeout: Duration::from_secs(60),
            sse_heartbeat: Duration::from_secs(1),
        };
        let gateway = Gateway::new(service, options, runlog::telemetry::recorder());
        let memory = Memory::new(MemoryOptions {
            receive_bytes: MOST,
            send_bytes: 2 * MOST,
            calls_bytes: 64,
            connections_at_least: 2,
            call_bytes: 1,
            connection_bytes: 1,
            max_silence: Duration::from_secs(60),
        });
        let account = memory.account(Ipv4Addr::LOCALHOST.into(), CancellationToken::new());
        let resuming = Arc::clone(&gateway.resuming);
        Self { router: rest::router(gateway, Offer::All), resuming, memory, account, _directory: directory }
    }

    fn call(&self) -> Arc<Call> {
        self.memory.call(&self.account).unwrap()
    }

    async fn publish(&self, events: &Value) {
        let request = Request::post("/v1/runs/r/events").header("content-type", "application/json");
        let request = request.extension(self.call()).body(Body::from(events.to_string())).unwrap();
        assert_eq!(self.router.clone().oneshot(request).await.unwrap().status(), 201);
    }

    async fn stream(&self, path: &str, call: Arc<Call>) -> Body {
        let request = Request::get(path).extension(call).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body()
    }
}

async fn next(body: &mut (impl http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin)) -> Bytes {
    in_time(body.frame()).await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn a_stream_that_resumes_waits_for_its_turn_with_heartbeats_and_gives_it_back_at_its_cursor() {
    let routes = Routes::new().await;
    routes.publish(&json!([{"type": "step", "payload": {"node_name": "s", "phase": "start"}}, {"type": "note", "payload": {}}])).await;
    let turns = routes.resuming.available_permits();
    assert!(turns > 0);
    let taken = routes.resuming.acquire_many(u32::try_from(turns).unwrap()).await.unwrap();
    let mut resumed = routes.stream("/ag-ui/runs/r?cursor=2", routes.call()).await;
    for _ in 0..2 {
        assert_eq!(next(&mut resumed).await, ": hb\n");
    }
    let mut from_the_first = routes.stream("/ag-ui/runs/r", routes.call()).await;
    assert!(next(&mut from_the_first).await.starts_with(b"retry: "), "it has nothing to read before");
    drop(taken);
    let mut begin = next(&mut resumed).await;
    while begin == ": hb\n" {
        begin = next(&mut resumed).await;
    }
    let begin = String::from_utf8(begin.to_vec()).unwrap();
    assert!(begin.starts_with("retry: ") && begin.contains("STEP_STARTED"), "{begin}");
    assert_eq!(routes.resuming.available_permits(), turns);
}

#[tokio::test]
async fn the_frames_of_an_event_are_charged_for_all_that_they_hold() {
    let routes = Routes::new().await;
    let quotes = "\"".repeat(20_000);
    let payload = json!({"tool_name": "t", "phase": "end", "input": {"q": quotes}, "output": quotes});
    routes.publish(&json!([{"type": "tool_call", "payload": payload}])).await;
    let mut plain = routes.stream("/ag-ui/runs/r?view=full", routes.call()).await;
    next(&mut plain).await;
    let frames = next(&mut plain).await.len();
    assert!(frames > 3 * payload.to_string().len() / 2, "{frames}");
    drop(plain);
    let call = routes.call();
    let stream = routes.stream("/ag-ui/runs/r?view=full", Arc::clone(&call)).await;
    let mut answer = runlog::transport::memory::answer(tonic::body::Body::new(stream), call);
    next(&mut answer).await;
    let piece = next(&mut answer).await;
    assert!(piece.len() < frames);
    let other = routes.call();
    assert!(poll!(Box::pin(other.room(MOST - frames))).is_ready(), "no more than they hold");
    assert!(poll!(Box::pin(other.room(MOST - frames + 1))).is_pending(), "and no less");
}

//! What the fuzz targets do with their input: texts and bytes of strangers are parsed, and what holds for every input is asserted.
//! The suite `fuzz` runs the same functions over the corpus, and over small changes of it, with the stable toolchain.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use jiff::Timestamp;
use prost::Message;
use runlog::codec::record;
use runlog::domain::access::{Credential, Secret, StreamToken};
use runlog::domain::history::{Epoch, History};
use runlog::domain::json::public_view::{View, may_differ};
use runlog::domain::{
    Cursor, EventType, FeedCursor, FeedId, KeyId, KeyScope, Limits, Payload, ProjectId, RunId, Scope,
};
use runlog::pb;
use runlog::pb::event_service_server::EventService;
use runlog::pb::run_service_server::RunService;
use runlog::service::live::hub::{Hub, WindowLimits};
use runlog::service::{Service, ServiceOptions};
use runlog::store::Latch;
use runlog::store::sqlite::{SqliteOptions, SqliteStore};
use runlog::transport::grpc::{EventHandler, RunHandler};
use runlog::transport::rest::{self, Gateway, GatewayOptions, Offer};
use tower::ServiceExt;

/// Texts that say who calls: keys, tokens, names.
pub fn keys(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(credential) = text.parse::<Credential>() {
        assert_eq!(
            credential.expose().parse::<Credential>().map(|again| again.digest()).ok(),
            Some(credential.digest())
        );
    }
    let token = StreamToken::verify(text, &Secret([7; 32]), Timestamp::UNIX_EPOCH);
    assert!(token.is_err(), "nobody who lacks the secret makes a token");
    assert!(KeyId::parse(text).is_ok_and(|id| id.as_str() == text) || KeyId::parse(text).is_err());
    assert!(ProjectId::parse(text).is_ok_and(|id| id.as_str() == text) || ProjectId::parse(text).is_err());
    if let Ok(scope) = text.parse::<KeyScope>() {
        assert_eq!(scope.as_str(), text);
    }
}

/// Payloads: what is taken is kept as sent, and the public view of it is JSON too.
pub fn payloads(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let types =
        ["tool_call", "run.tool.invoked", "step", "run.output", "StructureRunCompleted", "human_input_requested"];
    let name = types[usize::from(*kind) % types.len()];
    let event_type = EventType::parse(name).expect("a documented type");
    let Ok(payload) = Payload::parse(&event_type, text, &Limits::default()) else { return };
    let shown = View::Public.show(name, payload.as_str());
    let is_json = serde_json_is_valid(&shown.json);
    assert!(is_json, "{name}: {text:?} is shown as {:?}", shown.json);
    if !may_differ(name, payload.as_str()) {
        assert_eq!(shown.json, payload.as_str(), "{name}");
    }
    // The view of a view is the same view.
    assert_eq!(View::Public.show(name, &shown.json).json, shown.json, "{name}: {text:?}");
}

fn serde_json_is_valid(text: &str) -> bool {
    let event_type = EventType::parse("step").expect("a type");
    Payload::parse(&event_type, text, &Limits { max_payload_bytes: usize::MAX, ..Limits::default() }).is_ok()
}

/// Cursors of runs and feeds.
pub fn cursors(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let epochs = vec![Epoch { id: 1, start: 100 }, Epoch { id: 2, start: 250 }];
    let history = History::new(FeedId(0x00c0_ffee), epochs);
    let run = Scope::Run(RunId::parse("r").expect("an id"));
    for scope in [run, Scope::Feed] {
        if let Ok(cursor) = Cursor::parse(text, &scope, &history) {
            let again = cursor.to_text(&scope, &history);
            assert_eq!(Cursor::parse(&again, &scope, &history).ok(), Some(cursor), "{text:?}");
        }
    }
    if let Ok(cursor) = FeedCursor::parse(text) {
        assert_eq!(cursor.to_string(), text);
    }
}

/// Bytes of the store: nothing damaged ends the program.
pub fn records(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let _ = (record::count(data), record::first(data), record::header(data).map(|header| header.seq));
    let _ = (record::recorded_at(data), record::decode(bytes.clone()));
    let mut rest = bytes;
    while !rest.is_empty() && record::split_entry(&mut rest).is_ok() {}
}

/// A server without a network, over a store in memory.
struct Server {
    runtime: tokio::runtime::Runtime,
    service: Service,
    router: axum::Router,
    _directory: tempfile::TempDir,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let memory = std::path::Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let directory = directory.expect("a directory");
    let hub = Arc::new(Hub::new(WindowLimits::default()));
    let options = SqliteOptions::new(directory.path().join("log.db"));
    let store = runtime.block_on(SqliteStore::open(options, hub.clone())).expect("a store");
    let service = Service::new(Arc::new(store), hub, ServiceOptions::default(), Latch::default());
    let options = GatewayOptions {
        cors_origins: Vec::new(),
        default_view: View::Public,
        request_timeout: std::time::Duration::from_secs(60),
        sse_heartbeat: std::time::Duration::from_secs(15),
    };
    let gateway = Gateway::new(service.clone(), options, runlog::telemetry::recorder());
    Server { runtime, service, router: rest::router(gateway, Offer::Events), _directory: directory }
});

/// Routes that take a body, and routes that take a query.
const ROUTES: [(Method, &str); 12] = [
    (Method::POST, "/v1/runs"),
    (Method::POST, "/v1/runs/r/events"),
    (Method::POST, "/v1/runs/r/signal"),
    (Method::POST, "/v1/runs/r/cancel"),
    (Method::POST, "/v1/runs/r/resume"),
    (Method::POST, "/api/structures/s/runs"),
    (Method::POST, "/api/structure-runs/r/events"),
    (Method::POST, "/api/structure-runs/r/spans"),
    (Method::POST, "/api/ingest"),
    (Method::GET, "/v1/runs/r/events"),
    (Method::GET, "/api/runs/r/events"),
    (Method::GET, "/api/structure-runs/r/events"),
];

/// Bodies and queries of the REST APIs: each is answered, and no answer is a defect.
pub fn bodies(data: &[u8]) {
    let Some((route, rest)) = data.split_first() else { return };
    let (method, path) = &ROUTES[usize::from(*route) % ROUTES.len()];
    let (uri, body) = if *method == Method::GET {
        // A query of any bytes, as a client could encode them.
        let query: String = rest.iter().map(|byte| format!("%{byte:02X}")).collect();
        let query = query.replace("%3D", "=").replace("%26", "&");
        (format!("{path}?{query}"), Body::empty())
    } else {
        ((*path).to_owned(), Body::from(rest.to_vec()))
    };
    let request = Request::builder().method(method).uri(uri).header("content-type", "application/json").body(body);
    let Ok(request) = request else { return };
    let answer = SERVER.runtime.block_on(SERVER.router.clone().oneshot(request)).expect("an answer");
    assert!(answer.status() < StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}: {}", answer.status());
}

/// Messages of gRPC: each is answered, and no answer is a defect.
pub fn messages(data: &[u8]) {
    let Some((method, bytes)) = data.split_first() else { return };
    let events = EventHandler::new(SERVER.service.clone());
    let runs = RunHandler::new(SERVER.service.clone());
    let answer = SERVER.runtime.block_on(async {
        match method % 5 {
            0 => events.publish(tonic::Request::new(pb::PublishRequest::decode(bytes).ok()?)).await.err(),
            1 => events.list_events(tonic::Request::new(pb::ListEventsRequest::decode(bytes).ok()?)).await.err(),
            2 => runs.create_run(tonic::Request::new(pb::CreateRunRequest::decode(bytes).ok()?)).await.err(),
            3 => runs.get_usage(tonic::Request::new(pb::GetUsageRequest::decode(bytes).ok()?)).await.err(),
            _ => runs.list_runs(tonic::Request::new(pb::ListRunsRequest::decode(bytes).ok()?)).await.err(),
        }
    });
    let Some(status) = answer else { return };
    let defects = [tonic::Code::Internal, tonic::Code::Unknown, tonic::Code::DataLoss];
    assert!(!defects.contains(&status.code()), "{status:?}");
}

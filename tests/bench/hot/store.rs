//! The SQLite store on a disk: durable appends, pages, and event streams.

use axum::body::Body;
use axum::http::Request;
use criterion::{Criterion, Throughput, criterion_group};
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use runlog::domain::Scope;
use runlog::service::{Service, ServiceOptions};
use runlog::store::{Latch, Range, ReadFrom};
use runlog::telemetry;
use runlog::transport::rest::{self, Gateway, GatewayOptions, Offer};
use tower::ServiceExt as _;

use crate::events;
use crate::scratch::{Scratch, runtime};

/// Number of runs.
const RUNS: usize = 1_000;
/// Events of the run that the readers read.
const STORED: usize = 1_000;
/// Events of a page.
const PAGE: usize = 100;

criterion_group!(benches, append, page, stream);

fn append(c: &mut Criterion) {
    let runtime = runtime();
    let scratch = Scratch::new(&runtime);
    let mut group = c.benchmark_group("append");
    let mut run = 0;
    for (name, at_a_time, batch) in [("1 event", 1, 1), ("100 events", 1, 100), ("64 at a time", 64, 1)] {
        group.throughput(Throughput::Elements(at_a_time * batch as u64));
        group.bench_function(name, |b| {
            b.to_async(&runtime).iter(|| {
                let appends = (0..at_a_time).map(|_| {
                    run = (run + 1) % RUNS;
                    scratch.store.append(events::append(run, batch))
                });
                let appends: Vec<_> = appends.collect();
                async move { join_all(appends).await.into_iter().for_each(|done| drop(done.unwrap())) }
            });
        });
    }
}

fn page(c: &mut Criterion) {
    let runtime = runtime();
    let scratch = Scratch::new(&runtime);
    runtime.block_on(scratch.store.append(events::append(0, STORED))).unwrap();
    let mut group = c.benchmark_group("page");
    group.throughput(Throughput::Elements(PAGE as u64));
    for (name, scope) in [("of a run", Scope::Run(events::run_id(0))), ("of all runs", Scope::Feed)] {
        group.bench_function(name, |b| {
            let range = Range { from: ReadFrom::After(450), max_events: PAGE, max_bytes: 3 << 20 };
            b.to_async(&runtime).iter(async || scratch.store.read(&scope, range).await.unwrap());
        });
    }
}

fn stream(c: &mut Criterion) {
    let runtime = runtime();
    let scratch = Scratch::new(&runtime);
    let mut run = events::append(0, STORED - 1);
    run.events.push(events::new_event("run_end"));
    runtime.block_on(scratch.store.append(run)).unwrap();
    let service = Service::new(scratch.store.clone(), scratch.hub.clone(), ServiceOptions::default(), Latch::default());
    let seconds = std::time::Duration::from_secs;
    let options = GatewayOptions {
        default_view: runlog::domain::View::Public,
        cors_origins: Vec::new(),
        request_timeout: seconds(30),
        sse_heartbeat: seconds(5),
    };
    let gateway = rest::router(Gateway::new(service, options, telemetry::recorder()), Offer::All);
    let mut group = c.benchmark_group("event stream");
    group.throughput(Throughput::Elements(STORED as u64));
    group.bench_function("of a run over the agent SDK API", |b| {
        b.to_async(&runtime).iter(async || {
            let request = Request::get("/api/runs/run-0/events/stream").body(Body::empty()).unwrap();
            let response = gateway.clone().oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        });
    });
}

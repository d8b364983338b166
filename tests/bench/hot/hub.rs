//! Announcing a commit to the subscribers of a run.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group};
use runlog::codec::{Chunk, record};
use runlog::domain::{RunStatus, Scope};
use runlog::service::live::hub::{Hub, Subscriber, WindowLimits};
use runlog::store::{Commit, CommitListener as _, ProjectNumber, RunCommit, ScopeEnd};

use crate::events;

/// Most events of one read.
const MAX_EVENTS: usize = 100;
const MAX_BYTES: usize = 512 << 10;

criterion_group!(benches, announce);

fn announce(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub");
    for subscribers in [1, 100] {
        let hub = Arc::new(Hub::new(WindowLimits::default()));
        let scope = Scope::Run(events::run_id(0));
        let mut members: Vec<Subscriber> = (0..subscribers).map(|_| hub.join(ProjectNumber::DEFAULT, &scope)).collect();
        let mut seq = 0;
        group.throughput(Throughput::Elements(subscribers));
        group.bench_function(format!("to {subscribers}"), |b| {
            b.iter(|| {
                seq += 1;
                hub.committed(commit(seq));
                for member in &mut members {
                    assert_eq!(member.seen().last, seq);
                    let taken = member.take(seq, MAX_EVENTS, MAX_BYTES).unwrap().unwrap();
                    assert_eq!(taken.last, seq);
                }
            });
        });
    }
}

/// A commit of one event.
fn commit(seq: u64) -> Commit {
    let mut data = Vec::new();
    record::append_entry(&events::stored(seq), &mut data);
    let chunk = Chunk { first: seq, count: 1, sensitive: false, data: data.into() };
    let scope_end = ScopeEnd { last: seq, status: RunStatus::Running };
    let run = RunCommit { run_id: events::run_id(0), chunks: vec![chunk.clone()], scope_end };
    let feed_end = ScopeEnd { last: seq, status: RunStatus::Unspecified };
    Commit { project: ProjectNumber::DEFAULT, runs: vec![run], feed: vec![chunk], feed_end }
}

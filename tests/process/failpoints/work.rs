//! Publishers that retry unacknowledged events until their runs are complete or the server is gone, and a reader.

use std::collections::BTreeSet;

use runlog::pb::{self, subscribe_response::Frame};
use tokio::task::{JoinHandle, JoinSet};
use tonic::Code;

use crate::client::{self, Events, frame, is_broken, refusal};
use crate::harness::{Server, within};
use crate::ledger::Run;

/// Events of one request of each publisher.
const SIZES: [usize; 3] = [1, 2, 3];

/// Runs of each publisher, one after the other.
const RUNS: usize = 3;

pub struct Work {
    publishers: Vec<Publisher>,
}

struct Publisher {
    size: usize,
    runs: Vec<Run>,
    /// The reasons of all failed answers.
    reasons: BTreeSet<String>,
    is_gone: bool,
}

impl Work {
    pub fn new() -> Self {
        let run = |size: usize, n: usize| Run::new(format!("{size}-{n}"), true);
        let publisher = |size| Publisher {
            size,
            runs: (0..RUNS).map(|n| run(size, n)).collect(),
            reasons: BTreeSet::new(),
            is_gone: false,
        };
        Self { publishers: SIZES.into_iter().map(publisher).collect() }
    }

    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.publishers.iter().flat_map(|publisher| &publisher.runs)
    }

    /// Publishes until all runs are complete; returns the reasons of failed answers. `None`: the server is gone.
    pub async fn publish(&mut self, server: &Server) -> Option<BTreeSet<String>> {
        let mut working = JoinSet::new();
        for publisher in self.publishers.drain(..) {
            working.spawn(publisher.publish(server.events().await));
        }
        self.publishers = within("the publishers", working.join_all()).await;
        let reasons = self.publishers.iter().flat_map(|publisher| &publisher.reasons).cloned().collect();
        (!self.publishers.iter().any(|publisher| publisher.is_gone)).then_some(reasons)
    }

    /// Promises 1 to 3: the runs equal the sent and acknowledged events, and each event has its seq.
    pub async fn verify(&mut self, server: &Server) {
        let (mut events, mut runs) = (server.events().await, server.runs().await);
        for run in self.publishers.iter_mut().flat_map(|publisher| &mut publisher.runs) {
            run.verify(&mut events, &mut runs, true).await;
        }
    }

    /// Promise 3: retries of stored events are duplicates.
    pub async fn repeat(&self, server: &Server) {
        let mut events = server.events().await;
        for run in self.runs() {
            let again = events.publish(client::publish(&run.id, run.sent.clone())).await.unwrap().into_inner();
            let seqs = again.events.iter().map(|event| (event.seq, event.duplicate));
            assert!(seqs.eq((1..=run.sent.len() as u64).map(|seq| (seq, true))), "run {}", run.id);
        }
    }
}

impl Publisher {
    async fn publish(mut self, mut events: Events) -> Self {
        self.reasons.clear();
        self.is_gone = false;
        for run in &mut self.runs {
            while run.acked < run.sent.len() || !run.is_full() {
                if run.acked == run.sent.len() {
                    (0..self.size).for_each(|_| drop(run.next_event()));
                }
                let request = client::publish(&run.id, run.sent[run.acked..].to_vec());
                match events.publish(request).await {
                    Ok(answer) => {
                        let answer = answer.into_inner();
                        // For an unknown outcome, only this answer reveals the result.
                        if run.is_unknown {
                            let is_stored = answer.events.iter().any(|event| event.duplicate);
                            run.stored_at_start = if is_stored { run.sent.len() } else { run.acked };
                        }
                        run.is_unknown = false;
                        run.acknowledge(&answer);
                    }
                    Err(status) if is_broken(&status) => {
                        (self.is_gone, run.is_unknown) = (true, false);
                        return self;
                    }
                    Err(status) => {
                        let (code, reason) = refusal(&status);
                        assert!([Code::Unavailable, Code::Internal].contains(&code), "{status:?}");
                        run.is_unknown |= reason == "OUTCOME_UNKNOWN";
                        self.reasons.insert(reason);
                    }
                }
            }
        }
        self
    }
}

/// Follows the first run to its end; returns the last seq. Promise 4: there is no gap and no duplicate.
pub async fn follow(server: &Server) -> JoinHandle<u64> {
    let mut events = server.events().await;
    let first = pb::SubscribeRequest { wait_for_run: true, ..client::follow(&format!("{}-0", SIZES[0])) };
    let mut frames = events.subscribe(first).await.unwrap().into_inner();
    tokio::spawn(async move {
        let mut last = 0;
        loop {
            match frame(&mut frames).await.unwrap().frame.unwrap() {
                Frame::Events(batch) => {
                    for event in batch.events().unwrap() {
                        assert_eq!(event.seq, last + 1);
                        last = event.seq;
                    }
                }
                Frame::RunEnded(_) => return last,
                Frame::CaughtUp(_) | Frame::Heartbeat(_) => {}
            }
        }
    })
}

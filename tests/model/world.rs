//! The service with its readers, beside the oracle; each operation is applied to both.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use proptest::sample::Index;
use runlog::domain::event::Appended;
use runlog::domain::{Cursor, Error, Result, Scope};
use runlog::service::publish::Publish;
use runlog::service::subscribe::{Start, Subscribe};
use runlog::store::Receipt;

use crate::listing::{self, Walk};
use crate::ops::{Expect, Op, PublishSpec, ScopeSpec, Setup};
use crate::oracle::{self, Oracle, Predicted};
use crate::reader::{self, Reader};
use crate::server::{Server, guarded};
use crate::stores::Backend;

/// A cursor that the server returned.
#[derive(Clone, Debug)]
pub struct Seen {
    pub scope: ScopeSpec,
    pub cursor: String,
    pub at: u64,
}

/// The state of a case.
pub struct World<B> {
    pub setup: Setup,
    pub backend: B,
    pub server: Server,
    pub oracle: Oracle,
    pub readers: Vec<Reader>,
    pub pending: VecDeque<(Receipt, Predicted)>,
    pub seen: Vec<Seen>,
    /// Position up to which retention has examined the feed.
    pub examined: u64,
    /// Notifications may have been lost, so readers are woken by the clock.
    pub in_the_dark: bool,
}

/// Runs one case.
pub fn play<B: Backend>(setup: Setup, ops: Vec<Op>) {
    let mut runtime = match setup.threads {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(async {
        let mut world = World::<B>::new(setup).await;
        for op in ops {
            match op {
                Op::Restart { power_loss } => world = world.restart(power_loss).await,
                op => world.step(op).await,
            }
        }
        world.finish().await;
    });
}

impl<B: Backend> World<B> {
    async fn new(setup: Setup) -> Self {
        let backend = B::new().await;
        let server = Server::start(&backend, &setup).await;
        let oracle = Oracle::new(setup.strict);
        let (readers, pending, seen) = Default::default();
        Self { setup, backend, server, oracle, readers, pending, seen, examined: 0, in_the_dark: false }
    }

    pub async fn step(&mut self, op: Op) {
        match op {
            Op::Submit(publish) => self.submit(publish).await,
            Op::SubmitInVain(publish, loss) => self.submit_in_vain(publish, loss).await,
            Op::Retry(index) => self.retry(index).await,
            Op::Deliver => {
                self.settle().await;
                self.server.faults.deliver().await;
            }
            Op::Settle => self.settle().await,
            Op::Subscribe(spec) => self.subscribe(spec).await,
            Op::Read(reader, frames) => self.read(reader, usize::from(frames)).await,
            Op::CatchUp(reader) => self.read(reader, usize::MAX).await,
            Op::Poll(reader) => self.poll(reader).await,
            Op::Drop(reader) => {
                if let Some(reader) = pick(reader, &mut self.readers) {
                    reader.live = None;
                }
            }
            Op::Resume(reader) => self.resume(reader).await,
            Op::List { scope, filter, descending, page_size, from } => {
                let from = from.and_then(|index| self.seen_in(scope, index)).map(|seen| (seen.cursor, seen.at));
                self.list(Walk { scope, filter, descending, page_size, from }).await;
            }
            Op::LoseSignals(lost) => {
                // Waking readers by the clock needs a paused clock.
                let lost = lost && !self.setup.threads;
                self.server.signals.lost.store(lost, Ordering::SeqCst);
                self.in_the_dark |= lost;
            }
            Op::Remove(remove) => self.remove(remove).await,
            Op::BadCursor(scope, kind) => self.bad_cursor(scope, kind).await,
            Op::Restart { .. } => unreachable!("takes the world as a whole"),
        }
    }

    /// The publish for a specification, in the current state.
    pub fn publish(&self, spec: &PublishSpec) -> Publish {
        let events: Vec<_> = spec.events.iter().map(|event| self.oracle.event(event)).collect();
        let last = self.oracle.runs[usize::from(spec.run)].last();
        let expected_last_seq = match spec.expect {
            Expect::Nothing => None,
            Expect::Right => Some(last),
            Expect::Wrong(by) => Some(if by % 2 == 0 { last.saturating_sub(by) } else { last + by }),
        };
        Publish { run_id: oracle::run_id(spec.run), events, expected_last_seq }
    }

    pub async fn submit(&mut self, spec: PublishSpec) {
        let publish = self.publish(&spec);
        if self.oracle.runs[usize::from(spec.run)].doubt.is_some() {
            return self.submit_to_doubtful(spec.run, publish).await;
        }
        let predicted = self.oracle.predict(spec.run, &publish.events, publish.expected_last_seq);
        let receipt = guarded(self.server.service.submit(publish, None)).await.expect("the queue has room");
        self.pending.push_back((receipt, predicted));
    }

    /// Waits for the submitted publishes. Promises 2 and 3: each answer matches its prediction.
    pub async fn settle(&mut self) {
        while let Some((receipt, predicted)) = self.pending.pop_front() {
            let answer = guarded(receipt.stored()).await;
            self.answered(&predicted, answer);
        }
        listing::learn_feed(&self.server, &mut self.oracle).await;
        let (acked, _) = self.oracle.end(None);
        assert_eq!(self.oracle.feed.len() as u64, acked);
    }

    /// Checks an answer against the prediction.
    pub fn answered(&mut self, predicted: &Predicted, answer: Result<Appended>) {
        let run = predicted.run;
        assert!(predicted.is(&answer), "run {run} answered {answer:?}, expected was {predicted:?}");
        for event in answer.iter().flat_map(|appended| &appended.events) {
            self.oracle.acknowledge(run, event.seq, &event.event_id);
        }
    }

    pub async fn list(&mut self, walk: Walk) {
        let (acked, handed_in) = self.oracle.end(walk.scope);
        if walk.scope.is_some() && acked == 0 {
            if handed_in == 0 {
                let scope = oracle::scope(walk.scope);
                let missing = self.server.store.extent(&scope).await;
                assert!(matches!(missing, Err(Error::RunNotFound { .. })), "{missing:?}");
            }
            return;
        }
        let found = listing::walk(&self.server, &walk).await;
        listing::learn_feed(&self.server, &mut self.oracle).await;
        if let Some((cursor, at)) = walk.from.as_ref().filter(|_| !walk.descending)
            && self.oracle.is_expired(walk.scope, *at)
        {
            let error = found.err().expect("a refusal");
            reader::check_expired(&self.server, &self.oracle, walk.scope, cursor, &error);
            return;
        }
        let found = found.expect("a page");
        listing::check(&self.oracle, &walk, acked, &found.events);
        self.seen.extend(found.cursors);
    }

    /// Promise 5: a cursor is valid for ever or refused by name.
    async fn bad_cursor(&mut self, spec: ScopeSpec, kind: u8) {
        self.settle().await;
        self.settle_doubts().await;
        let (scope, feed) = (oracle::scope(spec), self.server.store.history());
        let (end, _) = self.oracle.end(spec);
        if end == 0 {
            return;
        }
        let other = if spec.is_some() { Scope::Feed } else { oracle::scope(Some(0)) };
        let gone = self.oracle.first(spec) - 1;
        let (cursor, reason) = match kind {
            4 if gone < 2 => return,
            4 => (Cursor(gone - 1).to_text(&scope, &feed), "CURSOR_EXPIRED"),
            0 => (Cursor(end + 1).to_text(&scope, &feed), "CURSOR_BEYOND_END"),
            1 => (Cursor(1).to_text(&other, &feed), "CURSOR_INVALID"),
            2 => (Cursor(i64::MAX as u64).to_text(&scope, &feed), "CURSOR_BEYOND_END"),
            _ => ("01".to_owned(), "CURSOR_INVALID"),
        };
        let request = Subscribe {
            epoch: String::new(),
            scope,
            start: Start::After(cursor),
            filter: oracle::filter(0),
            keep_open: false,
            wait_for_run: true,
            max_batch: 0,
            heartbeat: None,
        };
        let refused = guarded(self.server.service.subscribe(request)).await.err().expect("a refusal");
        assert_eq!((refused.reason(), refused.field().as_deref()), (reason, Some("cursor")));
    }

    /// An earlier cursor of this scope.
    pub fn seen_in(&self, scope: ScopeSpec, index: Index) -> Option<Seen> {
        let of_scope: Vec<_> = self.seen.iter().filter(|seen| seen.scope == scope).collect();
        (!of_scope.is_empty()).then(|| of_scope[index.index(of_scope.len())].clone())
    }
}

pub fn pick<T>(index: Index, of: &mut [T]) -> Option<&mut T> {
    if of.is_empty() { None } else { Some(&mut of[index.index(of.len())]) }
}

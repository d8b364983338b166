//! What readers do: subscribe, read, poll, and resume after a cut or after retention has overtaken them.

use futures_util::FutureExt;
use proptest::sample::Index;
use runlog::domain::Error;
use runlog::service::subscribe::{Start, Subscribe};

use crate::listing;
use crate::ops::{ScopeSpec, StartSpec, SubscribeSpec};
use crate::oracle::{self, Oracle};
use crate::reader::{self, Reader, next_frame};
use crate::server::{Server, guarded, let_it_be_late};
use crate::stores::Backend;
use crate::world::{World, pick};

const MAX_READERS: usize = 12;

impl<B: Backend> World<B> {
    pub async fn subscribe(&mut self, spec: SubscribeSpec) {
        if self.readers.len() == MAX_READERS {
            self.readers.remove(0);
        }
        let mut from = 0;
        let start = match &spec.start {
            StartSpec::Beginning => Start::After(String::new()),
            StartSpec::Latest => Start::Latest,
            StartSpec::Tail(count) => Start::Tail(*count),
            StartSpec::Seen(index) => {
                let seen = self.seen_in(spec.scope, *index);
                from = seen.as_ref().map_or(0, |seen| seen.at);
                Start::After(seen.map(|seen| seen.cursor).unwrap_or_default())
            }
        };
        let request = Subscribe {
            epoch: String::new(),
            scope: oracle::scope(spec.scope),
            start,
            filter: oracle::filter(spec.filter),
            keep_open: spec.keep_open,
            wait_for_run: spec.wait_for_run,
            max_batch: spec.max_batch,
            heartbeat: None,
        };
        let (acked, _) = self.oracle.end(spec.scope);
        let mut reader = Reader::new(&spec, request.clone(), from, acked);
        match guarded(self.server.service.subscribe(request.clone())).await {
            Ok(live) => {
                listing::learn_feed(&self.server, &mut self.oracle).await;
                reader.began(&self.server, &self.oracle, live, acked);
                self.readers.push(reader);
            }
            Err(Error::RunNotFound { .. }) => assert!(acked == 0 && spec.scope.is_some() && !spec.wait_for_run),
            Err(error) => {
                let Start::After(cursor) = &request.start else { panic!("subscribing failed: {error:?}") };
                assert!(self.oracle.is_expired(spec.scope, from), "{error:?}");
                reader::check_expired(&self.server, &self.oracle, spec.scope, cursor, &error);
            }
        }
    }

    pub async fn resume(&mut self, index: Index) {
        let dropped = |at: &usize| self.readers[*at].live.is_none() && !self.readers[*at].is_over();
        let mut dropped: Vec<_> = (0..self.readers.len()).filter(dropped).collect();
        if let Some(at) = pick(index, &mut dropped) {
            self.resume_at(*at).await;
        }
    }

    /// Resumes a reader from its cursor, or from the first one that is kept.
    pub async fn resume_at(&mut self, at: usize) {
        let reader = &mut self.readers[at];
        let (acked, _) = self.oracle.end(reader.scope);
        let mut live = guarded(self.server.service.subscribe(reader.resumption())).await;
        if let Err(error) = &live {
            reader.overtaken(&self.server, &self.oracle, error);
            live = guarded(self.server.service.subscribe(reader.resumption())).await;
        }
        reader.began(&self.server, &self.oracle, live.expect("a cursor that is kept stays valid"), acked);
    }

    /// Reads frames as long as frames are due.
    pub async fn read(&mut self, index: Index, frames: usize) {
        if self.in_the_dark {
            self.settle().await;
        }
        let Some(reader) = pick(index, &mut self.readers) else { return };
        for _ in 0..frames {
            if !reader.is_owed(&self.oracle) {
                break;
            }
            if self.in_the_dark {
                let_it_be_late().await;
            }
            let acked = if self.in_the_dark { 0 } else { announced(&self.server, &self.oracle, reader.scope) };
            let next = reader.due().await;
            listing::learn_feed(&self.server, &mut self.oracle).await;
            self.seen.push(reader.answered(&self.server, &self.oracle, next, acked));
        }
        if reader.is_over() && reader.live.is_some() {
            assert!(guarded(next_frame(reader.live.as_mut().unwrap())).await.unwrap().is_none(), "the end closes");
            reader.live = None;
        }
    }

    /// Polls once and drops the future; a frame that is ready must be right.
    pub async fn poll(&mut self, index: Index) {
        let Some(reader) = pick(index, &mut self.readers) else { return };
        let is_over = reader.is_over();
        let Some(live) = reader.live.as_mut().filter(|_| !is_over) else { return };
        let acked = if self.in_the_dark { 0 } else { announced(&self.server, &self.oracle, reader.scope) };
        if let Some(next) = next_frame(live).now_or_never() {
            let next = next.map(|frame| frame.expect("no end yet"));
            listing::learn_feed(&self.server, &mut self.oracle).await;
            self.seen.push(reader.answered(&self.server, &self.oracle, next, acked));
        }
    }
}

/// The end of a scope that was acknowledged and announced to the hub. An event of a publish in doubt that a list shows is stored,
/// and may not be announced yet.
fn announced(server: &Server, oracle: &Oracle, scope: ScopeSpec) -> u64 {
    let (acked, _) = oracle.end(scope);
    scope.map_or(acked, |run| acked.min(server.signals.announced(&oracle::run_id(run))))
}

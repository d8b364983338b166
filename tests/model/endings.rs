//! Restarts, and the end of a case: acknowledged and delivered events survive the server.

use runlog::domain::Error;

use crate::listing::{self, Walk};
use crate::ops::{Op, RUNS};
use crate::oracle;
use crate::reader::next_frame;
use crate::server::{Server, guarded, let_it_be_late};
use crate::stores::Backend;
use crate::world::World;

impl<B: Backend> World<B> {
    /// Stops the server and starts a new server on the same data.
    pub async fn restart(mut self, power_loss: bool) -> Self {
        if power_loss {
            self.settle().await;
        }
        self.server.draining.set();
        listing::learn_feed(&self.server, &mut self.oracle).await;
        for reader in &mut self.readers {
            let Some(mut live) = reader.live.take() else { continue };
            if reader.is_over() {
                continue;
            }
            match guarded(next_frame(&mut live)).await {
                Err(Error::ShuttingDown) => reader.cut(&self.server, &self.oracle, &live.cursor()),
                received => panic!("a drained subscription ended with {received:?}"),
            }
        }
        if power_loss {
            self.backend.lose_power().await;
        }
        let Self { setup, backend, server, oracle, readers, pending, seen, examined, .. } = self;
        guarded(server.store.close()).await;
        drop(server);
        let server = Server::start(&backend, &setup).await;
        let mut next = Self { setup, backend, server, oracle, readers, pending, seen, examined, in_the_dark: false };
        // Publishes accepted before the stop were stored before the stop.
        next.settle().await;
        next
    }

    /// Every reader resumes and reads to the end, and the store holds all events.
    pub async fn finish(mut self) {
        self.step(Op::LoseSignals(false)).await;
        self.settle().await;
        self.settle_doubts().await;
        for index in 0..self.readers.len() {
            self.read_to_the_end(index).await;
        }
        self.readers.clear();
        assert_eq!(self.server.signals.hub.followed_runs(), 0, "the last reader frees the run");
        self = self.restart(true).await;
        for scope in (0..RUNS).map(Some).chain([None]) {
            for descending in [false, true] {
                self.list(Walk { scope, filter: 0, descending, page_size: 7, from: None }).await;
            }
            if let Some(run) = scope.filter(|run| self.oracle.runs[usize::from(*run)].acked > 0) {
                let stored = guarded(self.server.service.run(&oracle::run_id(run))).await.unwrap();
                let model = &self.oracle.runs[usize::from(run)];
                assert_eq!((stored.first_seq, stored.last_seq), (model.gone + 1, model.last()));
                assert_eq!(stored.is_held, model.is_held, "whether run {run} is held");
                assert_eq!(Some(stored.status).filter(|s| *s as u8 > 0), model.status, "the status of run {run}");
            }
        }
        guarded(self.server.store.close()).await;
    }

    async fn read_to_the_end(&mut self, index: usize) {
        loop {
            if self.readers[index].live.is_none() && !self.readers[index].is_over() {
                self.resume_at(index).await;
            }
            let reader = &mut self.readers[index];
            if !reader.is_owed(&self.oracle) {
                return;
            }
            if self.in_the_dark {
                let_it_be_late().await;
            }
            let next = reader.due().await;
            self.seen.push(reader.answered(&self.server, &self.oracle, next, 0));
        }
    }
}

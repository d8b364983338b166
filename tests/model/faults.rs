//! A store that loses answers: the publish is stored, is lost, or is stored later.

use std::ops::RangeInclusive;
use std::sync::Mutex;

use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Arc;

use runlog::domain::history::History;
use runlog::domain::retention::Retention;
use runlog::domain::usage::UsageReport;
use runlog::domain::{Error, Event, EventId, Payload, ProjectId, Result, Run, RunFilter, RunId, Scope};
use runlog::store::backup::BackupCopy;
use runlog::store::{
    Append, Expired, KeyStore, Page, ProjectNumber, Range, Receipt, RunQuery, RunsPage, ScopeExtent, Scrubbed,
    SharedStore, Store, Submitting, UsageQuery,
};

/// The hidden result of a publish whose outcome is unknown to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The publish is stored; the answer is lost.
    Answer,
    /// The publish is not stored.
    Commit,
    /// The publish is stored later, unless another publish to the run comes first.
    Delay,
}

/// A store that loses the answer to the next publish.
pub struct Unreliable {
    inner: SharedStore,
    next: Mutex<Option<Loss>>,
    delayed: Mutex<Vec<(Append, u64)>>,
}

impl Unreliable {
    pub fn over(inner: SharedStore) -> Self {
        Self { inner, next: Mutex::default(), delayed: Mutex::default() }
    }

    /// Loses the next publish in this manner.
    pub fn lose_next(&self, loss: Loss) {
        *self.next.lock().unwrap() = Some(loss);
    }

    /// Submits the delayed publishes. A store accepts a delayed commit only for a run without newer events.
    pub async fn deliver(&self) {
        let delayed = std::mem::take(&mut *self.delayed.lock().unwrap());
        for (append, last) in delayed {
            if self.last(&append.run_id).await == last {
                // The client already has the answer `OUTCOME_UNKNOWN`.
                let _ = self.inner.append(append).await;
            }
        }
    }

    async fn last(&self, run_id: &RunId) -> u64 {
        match self.inner.extent(&Scope::Run(run_id.clone())).await {
            Ok(extent) => extent.end.last,
            Err(Error::RunNotFound { .. }) => 0,
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn submit_or_lose(&self, append: Append) -> Result<Receipt> {
        let loss = self.next.lock().unwrap().take();
        match loss {
            None => return self.inner.submit(append).await,
            Some(Loss::Answer) => drop(self.inner.submit(append).await?),
            Some(Loss::Commit) => {}
            Some(Loss::Delay) => {
                let last = self.last(&append.run_id).await;
                self.delayed.lock().unwrap().push((append, last));
            }
        }
        let (outcome, receipt) = Receipt::new();
        outcome.send(Err(Error::OutcomeUnknown)).unwrap();
        Ok(receipt)
    }
}

#[async_trait]
impl Store for Unreliable {
    fn submit(&self, append: Append) -> Submitting<'_> {
        Submitting::Right(Box::pin(self.submit_or_lose(append)))
    }

    async fn read(&self, scope: &Scope, range: Range) -> Result<Page> {
        self.inner.read(scope, range).await
    }

    async fn extent(&self, scope: &Scope) -> Result<ScopeExtent> {
        self.inner.extent(scope).await
    }

    async fn erase(&self, run_id: &RunId, seqs: RangeInclusive<u64>) -> Result<u64> {
        self.inner.erase(run_id, seqs).await
    }

    async fn compact(&self, run_id: &RunId, removed: &[u64], last: u64, payload: Payload) -> Result<bool> {
        self.inner.compact(run_id, removed, last, payload).await
    }

    async fn hold(&self, run_id: &RunId, is_held: bool) -> Result<()> {
        self.inner.hold(run_id, is_held).await
    }

    async fn expire(&self, retention: &Retention, now: Timestamp, after: u64) -> Result<Expired> {
        self.inner.expire(retention, now, after).await
    }

    fn projects(&self) -> Vec<(ProjectId, ProjectNumber)> {
        self.inner.projects()
    }

    async fn run(&self, run_id: &RunId) -> Result<Run> {
        self.inner.run(run_id).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<RunsPage> {
        self.inner.runs(query).await
    }

    async fn count_runs(&self, filter: &RunFilter) -> Result<u64> {
        self.inner.count_runs(filter).await
    }

    async fn run_ids_at(&self, filter: &RunFilter, offset: u64, limit: usize) -> Result<Vec<RunId>> {
        self.inner.run_ids_at(filter, offset, limit).await
    }

    async fn usage(&self, query: &UsageQuery) -> Result<UsageReport> {
        self.inner.usage(query).await
    }

    async fn find_event(&self, run_id: Option<&RunId>, event_id: &EventId) -> Result<Event> {
        self.inner.find_event(run_id, event_id).await
    }

    fn may_serve_memory(&self) -> bool {
        self.inner.may_serve_memory()
    }

    fn queued_bytes(&self) -> usize {
        self.inner.queued_bytes()
    }

    async fn scrub(&self, after: u64) -> Result<Scrubbed> {
        self.inner.scrub(after).await
    }

    async fn backup(&self) -> Result<BackupCopy> {
        self.inner.backup().await
    }

    fn in_project(&self, project: ProjectNumber) -> SharedStore {
        self.inner.in_project(project)
    }

    async fn project(&self, id: &ProjectId) -> Result<Option<ProjectNumber>> {
        self.inner.project(id).await
    }

    async fn create_project(&self, id: &ProjectId) -> Result<ProjectNumber> {
        self.inner.create_project(id).await
    }

    fn keys(&self) -> &dyn KeyStore {
        self.inner.keys()
    }

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn history(&self) -> Arc<History> {
        self.inner.history()
    }

    fn generation(&self) -> u64 {
        self.inner.generation()
    }

    async fn last_seq_at(&self, run_id: &RunId, position: u64) -> Result<u64> {
        self.inner.last_seq_at(run_id, position).await
    }

    async fn ready(&self) -> Result<()> {
        self.inner.ready().await
    }

    async fn lost(&self) -> Error {
        self.inner.lost().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

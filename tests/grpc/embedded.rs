//! The service without a transport, on a real SQLite file whose reads are counted.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use runlog::domain::history::History;
use runlog::domain::retention::Retention;
use runlog::domain::usage::UsageReport;
use runlog::domain::{
    Error, Event, EventFilter, EventId, EventType, NewEvent, Payload, ProjectId, Result, Run, RunFilter, RunId, Scope,
};
use runlog::service::live::hub::{Hub, WindowLimits};
use runlog::service::publish::Publish;
use runlog::service::subscribe::{Frame, Start, Subscribe, Subscription};
use runlog::service::{Service, ServiceOptions};
use runlog::store::backup::BackupCopy;
use runlog::store::sqlite::{SqliteOptions, SqliteStore};
use runlog::store::{
    Append, Expired, KeyStore, Latch, Page, ProjectNumber, Range, RunQuery, RunsPage, ScopeExtent, Scrubbed,
    SharedStore, Store, Submitting, UsageQuery,
};
use runlog::transport::frames;
use tempfile::TempDir;

use crate::harness::in_time;

/// A service without a transport.
pub struct Embedded {
    pub service: Service,
    pub store: Arc<Counting>,
    _directory: TempDir,
}

impl Embedded {
    pub async fn start(options: ServiceOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let hub = Arc::new(Hub::new(WindowLimits::default()));
        let options_of_store = SqliteOptions::new(directory.path().join("log.db"));
        let store = SqliteStore::open(options_of_store, hub.clone()).await.unwrap();
        let store = Arc::new(Counting {
            store,
            pages: AtomicUsize::new(0),
            failing: AtomicUsize::new(0),
            changing: AtomicUsize::new(0),
            changes: AtomicU64::new(0),
            is_cut_off: AtomicBool::new(false),
        });
        let shared: SharedStore = store.clone();
        let service = Service::new(shared, hub, options, Latch::default());
        Self { service, store, _directory: directory }
    }
}

/// A SQLite store that counts reads, and fails a chosen read.
pub struct Counting {
    store: SqliteStore,
    pages: AtomicUsize,
    failing: AtomicUsize,
    changing: AtomicUsize,
    changes: AtomicU64,
    is_cut_off: AtomicBool,
}

impl Counting {
    /// Number of pages read since the last call.
    pub fn pages(&self) -> usize {
        self.pages.swap(0, Ordering::SeqCst)
    }

    /// Fails the read of the page with this number, counted from 1 and from now.
    pub fn fail(&self, page: usize) {
        self.pages();
        self.failing.store(page, Ordering::SeqCst);
    }

    /// Whether the store may not know what other replicas have removed.
    pub fn cut_off(&self, is_cut_off: bool) {
        self.is_cut_off.store(is_cut_off, Ordering::SeqCst);
    }

    /// Reports another generation of the history, with the same events, during the read of the page with this number.
    pub fn change_history(&self, page: usize) {
        self.pages();
        self.changing.store(page, Ordering::SeqCst);
    }
}

#[async_trait]
impl Store for Counting {
    fn submit(&self, append: Append) -> Submitting<'_> {
        self.store.submit(append)
    }

    async fn read(&self, scope: &Scope, range: Range) -> Result<Page> {
        let page = self.pages.fetch_add(1, Ordering::SeqCst) + 1;
        if page == self.failing.load(Ordering::SeqCst) {
            return Err(Error::StoreUnavailable);
        }
        let read = self.store.read(scope, range).await;
        if page == self.changing.load(Ordering::SeqCst) {
            self.changes.fetch_add(1, Ordering::SeqCst);
        }
        read
    }

    async fn extent(&self, scope: &Scope) -> Result<ScopeExtent> {
        self.store.extent(scope).await
    }

    async fn erase(&self, run_id: &RunId, seqs: RangeInclusive<u64>) -> Result<u64> {
        self.store.erase(run_id, seqs).await
    }

    async fn compact(&self, run_id: &RunId, removed: &[u64], last: u64, payload: Payload) -> Result<bool> {
        self.store.compact(run_id, removed, last, payload).await
    }

    async fn hold(&self, run_id: &RunId, is_held: bool) -> Result<()> {
        self.store.hold(run_id, is_held).await
    }

    async fn expire(&self, retention: &Retention, now: Timestamp, after: u64) -> Result<Expired> {
        self.store.expire(retention, now, after).await
    }

    fn projects(&self) -> Vec<(ProjectId, ProjectNumber)> {
        self.store.projects()
    }

    async fn run(&self, run_id: &RunId) -> Result<Run> {
        self.store.run(run_id).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<RunsPage> {
        self.store.runs(query).await
    }

    async fn count_runs(&self, filter: &RunFilter) -> Result<u64> {
        self.store.count_runs(filter).await
    }

    async fn run_ids_at(&self, filter: &RunFilter, offset: u64, limit: usize) -> Result<Vec<RunId>> {
        self.store.run_ids_at(filter, offset, limit).await
    }

    async fn usage(&self, query: &UsageQuery) -> Result<UsageReport> {
        self.store.usage(query).await
    }

    async fn find_event(&self, run_id: Option<&RunId>, event_id: &EventId) -> Result<Event> {
        self.store.find_event(run_id, event_id).await
    }

    fn may_serve_memory(&self) -> bool {
        !self.is_cut_off.load(Ordering::SeqCst)
    }

    fn queued_bytes(&self) -> usize {
        self.store.queued_bytes()
    }

    async fn scrub(&self, after: u64) -> Result<Scrubbed> {
        self.store.scrub(after).await
    }

    async fn backup(&self) -> Result<BackupCopy> {
        self.store.backup().await
    }

    fn in_project(&self, project: ProjectNumber) -> SharedStore {
        self.store.in_project(project)
    }

    async fn project(&self, id: &ProjectId) -> Result<Option<ProjectNumber>> {
        self.store.project(id).await
    }

    async fn create_project(&self, id: &ProjectId) -> Result<ProjectNumber> {
        self.store.create_project(id).await
    }

    fn keys(&self) -> &dyn KeyStore {
        self.store.keys()
    }

    fn kind(&self) -> &'static str {
        self.store.kind()
    }

    fn history(&self) -> Arc<History> {
        self.store.history()
    }

    fn generation(&self) -> u64 {
        self.store.generation() + self.changes.load(Ordering::SeqCst)
    }

    async fn last_seq_at(&self, run_id: &RunId, position: u64) -> Result<u64> {
        self.store.last_seq_at(run_id, position).await
    }

    async fn ready(&self) -> Result<()> {
        self.store.ready().await
    }

    async fn lost(&self) -> Error {
        self.store.lost().await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

/// Publishes this number of steps to the run `r`.
pub async fn publish(service: &Service, count: usize) {
    let event = |n: usize| NewEvent::new(EventType::parse("step").unwrap(), Payload::from_stored(format!("{n}")));
    let run_id = RunId::parse("r").unwrap();
    let publish = Publish { run_id, events: (0..count).map(event).collect(), expected_last_seq: None };
    service.publish(publish).await.unwrap();
}

/// The next frame, before the end of the subscription.
pub async fn next_frame(subscription: &mut Subscription) -> Frame {
    let (frame, _) = in_time(frames::next(subscription, None)).await.unwrap().unwrap();
    frame
}

/// A subscription to all events of a scope, with the server's defaults.
pub fn request(scope: &Scope, start: Start) -> Subscribe {
    Subscribe {
        epoch: String::new(),
        scope: scope.clone(),
        start,
        filter: EventFilter::default(),
        keep_open: false,
        wait_for_run: false,
        max_batch: 0,
        heartbeat: None,
    }
}

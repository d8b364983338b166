//! The fixture of the contract: a store's data that outlives the store, a listener that can block the commit path, and
//! builders.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use runlog::codec::record;
use runlog::domain::event::Appended;
use runlog::domain::projection::Lifecycle;
use runlog::domain::{Error, Event, EventId, EventType, Limits, NewEvent, Payload, RunId, Scope};
use runlog::store::postgres::{PostgresOptions, PostgresStore};
use runlog::store::sqlite::{SqliteOptions, SqliteStore};
use runlog::store::{
    Append, Commit, CommitListener, Condition, ProjectNumber, QueueOptions, Range, ReadFrom, SharedStore,
};
use tokio::sync::watch;

use crate::cluster::Database;
use crate::pooler::{self, Pooler};

/// Options that the cases vary.
#[derive(Clone, Copy)]
pub struct Tuning {
    pub lifecycle: Lifecycle,
    /// Flush the unindexed end of the log after about this number of appends.
    pub flush_every: usize,
    pub queue_events: usize,
    pub queue_bytes: usize,
    pub queue_wait: Duration,
    pub coalesce_deltas: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        let (flush_every, queue_events, queue_bytes) = (16_384, 65_536, 64 << 20);
        Self {
            lifecycle: Lifecycle::Record,
            flush_every,
            queue_events,
            queue_bytes,
            queue_wait: Duration::from_secs(60),
            coalesce_deltas: Duration::ZERO,
        }
    }
}

impl Tuning {
    fn queue(self) -> QueueOptions {
        let Self { queue_events, queue_bytes, queue_wait, coalesce_deltas, .. } = self;
        QueueOptions { queue_events, queue_bytes, queue_wait, coalesce_deltas, ..QueueOptions::default() }
    }
}

pub const NEVER_FLUSHED: Tuning = tuning(usize::MAX);
pub const ALWAYS_FLUSHED: Tuning = tuning(1);

pub const fn tuning(flush_every: usize) -> Tuning {
    Tuning {
        lifecycle: Lifecycle::Record,
        flush_every,
        queue_events: 65_536,
        queue_bytes: 64 << 20,
        queue_wait: Duration::from_secs(60),
        coalesce_deltas: Duration::ZERO,
    }
}

/// The data of one store, removed when dropped.
pub trait Fixture: Send + Sync + Sized + 'static {
    /// `None` without this kind of database on the machine; the reason is printed.
    fn new() -> impl Future<Output = Option<Self>> + Send;
    /// Opens a store over the data; the previous store's data is kept.
    fn store(&self, tuning: Tuning, listener: Arc<dyn CommitListener>) -> impl Future<Output = SharedStore> + Send;

    fn open(&self, tuning: Tuning) -> impl Future<Output = (SharedStore, Arc<Recorder>)> + Send {
        async move {
            let recorder = Arc::new(Recorder::default());
            (self.store(tuning, recorder.clone()).await, recorder)
        }
    }

    fn opened(&self) -> impl Future<Output = SharedStore> + Send {
        async { self.open(Tuning::default()).await.0 }
    }
}

/// A SQLite file in its own directory.
pub struct SqliteFixture(pub tempfile::TempDir);

impl SqliteFixture {
    pub fn options(&self, tuning: Tuning) -> SqliteOptions {
        SqliteOptions {
            lifecycle: tuning.lifecycle,
            max_unflushed_entries: tuning.flush_every,
            queue: tuning.queue(),
            ..SqliteOptions::new(self.0.path().join("log.db"))
        }
    }
}

impl SqliteFixture {
    pub fn here() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Fixture for SqliteFixture {
    async fn new() -> Option<Self> {
        Some(Self::here())
    }

    async fn store(&self, tuning: Tuning, listener: Arc<dyn CommitListener>) -> SharedStore {
        Arc::new(SqliteStore::open(self.options(tuning), listener).await.unwrap())
    }
}

/// A database in the shared cluster of the test program.
pub struct PostgresFixture(pub Database);

impl Fixture for PostgresFixture {
    async fn new() -> Option<Self> {
        Some(Self(Database::create().await?))
    }

    async fn store(&self, tuning: Tuning, listener: Arc<dyn CommitListener>) -> SharedStore {
        let (lifecycle, queue) = (tuning.lifecycle, tuning.queue());
        // Few connections, since many tests run at a time.
        let options = PostgresOptions { lifecycle, queue, pool_size: 4, ..PostgresOptions::new(self.0.url()) };
        Arc::new(PostgresStore::open(options, listener).await.unwrap())
    }
}

/// A database behind a pooler.
pub struct PoolerFixture {
    pub database: Database,
    pooler: &'static Pooler,
}

impl PoolerFixture {
    pub fn options(&self, tuning: Tuning) -> PostgresOptions {
        let (lifecycle, queue, poll) = (tuning.lifecycle, tuning.queue(), Duration::from_millis(20));
        let url = self.pooler.url(&self.database.name);
        PostgresOptions { lifecycle, queue, poll, notify: false, pool_size: 4, ..PostgresOptions::new(url) }
    }
}

impl Fixture for PoolerFixture {
    async fn new() -> Option<Self> {
        let pooler = pooler::shared()?;
        Some(Self { database: Database::create().await?, pooler })
    }

    async fn store(&self, tuning: Tuning, listener: Arc<dyn CommitListener>) -> SharedStore {
        Arc::new(PostgresStore::open(self.options(tuning), listener).await.unwrap())
    }
}

/// Records commits. A hold blocks the commit path, so that the appends submitted meanwhile form one group.
#[derive(Default)]
pub struct Recorder {
    commits: Mutex<Vec<Commit>>,
    /// Number of commits before each removal.
    removals: Mutex<Vec<usize>>,
    held: Mutex<bool>,
    released: Condvar,
    announced: watch::Sender<usize>,
}

impl CommitListener for Recorder {
    fn committed(&self, commit: Commit) {
        self.commits.lock().unwrap().push(commit);
        self.announced.send_modify(|announced| *announced += 1);
        if *self.held.lock().unwrap() {
            // The runtime must know of the blocking: this worker may be the one that drives sockets and timers.
            tokio::task::block_in_place(|| {
                drop(self.released.wait_while(self.held.lock().unwrap(), |held| *held).unwrap());
            });
        }
    }

    fn removed(&self, _: ProjectNumber) {
        let commits = self.commits.lock().unwrap().len();
        self.removals.lock().unwrap().push(commits);
    }
}

impl Recorder {
    /// Number of commits before each removal.
    pub fn removals(&self) -> Vec<usize> {
        self.removals.lock().unwrap().clone()
    }

    pub fn commits(&self) -> Vec<Commit> {
        self.commits.lock().unwrap().clone()
    }

    /// Blocks the commit path after the commit of an event of run `plug`, until the returned guard is dropped: a case
    /// that fails meanwhile must end too.
    pub async fn hold(self: &Arc<Self>, store: &SharedStore) -> Held {
        *self.held.lock().unwrap() = true;
        let held = Held(self.clone());
        let announced = *self.announced.borrow();
        store.submit(append("plug", vec![event("plug")])).await.unwrap();
        self.announced.subscribe().wait_for(|now| *now > announced).await.unwrap();
        held
    }

    /// Waits for the announcement of this position.
    pub async fn announced_up_to(&self, position: u64) {
        let mut announced = self.announced.subscribe();
        let is_there = |_: &usize| self.commits().last().is_some_and(|commit| commit.feed_end.last >= position);
        tokio::time::timeout(Duration::from_secs(60), announced.wait_for(is_there)).await.unwrap().unwrap();
    }
}

pub struct Held(Arc<Recorder>);

impl Drop for Held {
    fn drop(&mut self) {
        *self.0.held.lock().unwrap() = false;
        self.0.released.notify_all();
    }
}

pub fn run_id(text: &str) -> RunId {
    RunId::parse(text).unwrap()
}

pub fn run(text: &str) -> Scope {
    Scope::Run(run_id(text))
}

pub fn payload(event_type: &EventType, text: impl Into<Box<str>>) -> Payload {
    Payload::parse(event_type, text, &Limits::default()).unwrap()
}

/// An event of a type that does not change the status.
pub fn event(text: &str) -> NewEvent {
    typed("step", &serde_json::json!({ "text": text }).to_string())
}

pub fn typed(event_type: &str, json: &str) -> NewEvent {
    let event_type = EventType::parse(event_type).unwrap();
    let payload = payload(&event_type, json);
    NewEvent::new(event_type, payload)
}

pub fn with_id(id: &str, event: NewEvent) -> NewEvent {
    NewEvent { event_id: Some(EventId::parse(id).unwrap()), ..event }
}

pub fn append(run: &str, events: Vec<NewEvent>) -> Append {
    Append::new(run_id(run), events)
}

pub fn expecting(last_seq: u64, append: Append) -> Append {
    Append { condition: Some(Condition::LastSeq(last_seq)), ..append }
}

pub fn seqs(appended: &Appended) -> Vec<u64> {
    appended.events.iter().map(|event| event.seq).collect()
}

pub fn duplicates(appended: &Appended) -> Vec<bool> {
    appended.events.iter().map(|event| event.duplicate).collect()
}

pub fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    result.unwrap_err().reason()
}

pub fn ascending(from: u64, max_events: usize) -> Range {
    Range { from: ReadFrom::After(from), max_events, max_bytes: 1 << 20 }
}

/// Events after the offset, or before it when descending.
pub fn beyond(offset: u64, descending: bool) -> ReadFrom {
    if descending { ReadFrom::Before(offset) } else { ReadFrom::After(offset) }
}

/// All records of a scope with their offsets, page by page.
pub async fn all(store: &SharedStore, scope: &Scope) -> Vec<(u64, Bytes)> {
    let mut records: Vec<(u64, Bytes)> = Vec::new();
    loop {
        let from = records.last().map_or(0, |(offset, _)| *offset);
        let page = store.read(scope, ascending(from, 500)).await.unwrap();
        if page.chunks.is_empty() {
            return records;
        }
        for chunk in page.chunks {
            assert_eq!(chunk.first, records.last().map_or(0, |(last, _)| *last) + 1, "no gap between chunks");
            let before = records.len();
            records.extend(chunk.records().map(Result::unwrap));
            assert_eq!(records.len() - before, chunk.count as usize, "a chunk holds as many as it says");
        }
    }
}

/// All events of a scope.
pub async fn events(store: &SharedStore, scope: &Scope) -> Vec<Event> {
    all(store, scope).await.into_iter().map(|(_, bytes)| record::decode(bytes).unwrap()).collect()
}

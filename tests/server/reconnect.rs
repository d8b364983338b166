//! The hot window: a reader whose connection broke comes back, and what it missed is still in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use runlog::domain::{
    Event, EventFilter, EventId, EventType, FeedId, NewEvent, Origin, Payload, Result, Run, RunId, Scope,
};
use runlog::service::hub::{Hub, WindowLimits};
use runlog::service::publish::Publish;
use runlog::service::subscribe::{Frame, FrameKind, Start, Subscribe, Subscription};
use runlog::service::{Service, ServiceOptions};
use runlog::store::sqlite::{SqliteOptions, SqliteStore};
use runlog::store::{Append, Page, Range, Receipt, RunQuery, RunsPage, SharedStore, Store, Tip};
use tokio_util::sync::CancellationToken;

use crate::harness::in_time;

/// Counts the pages that are read.
struct Counting {
    store: SqliteStore,
    pages: AtomicUsize,
}

#[async_trait]
impl Store for Counting {
    async fn submit(&self, append: Append) -> Result<Receipt> {
        self.store.submit(append).await
    }

    async fn read(&self, scope: &Scope, range: Range) -> Result<Page> {
        self.pages.fetch_add(1, Ordering::SeqCst);
        self.store.read(scope, range).await
    }

    async fn tip(&self, scope: &Scope) -> Result<Tip> {
        self.store.tip(scope).await
    }

    async fn run(&self, run_id: &RunId) -> Result<Run> {
        self.store.run(run_id).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<RunsPage> {
        self.store.runs(query).await
    }

    async fn count_runs(&self, query: &RunQuery) -> Result<u64> {
        self.store.count_runs(query).await
    }

    async fn runs_at(&self, query: &RunQuery, offset: u64) -> Result<Vec<Run>> {
        self.store.runs_at(query, offset).await
    }

    async fn find_event(&self, run_id: Option<&RunId>, event_id: &EventId) -> Result<Event> {
        self.store.find_event(run_id, event_id).await
    }

    fn feed_id(&self) -> FeedId {
        self.store.feed_id()
    }

    async fn ready(&self) -> Result<()> {
        self.store.ready().await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

async fn publish(service: &Service, count: usize) {
    let event = |n: usize| NewEvent {
        event_id: None,
        event_type: EventType::parse("step").unwrap(),
        origin: Origin::User,
        occurred_at: None,
        agent_name: None,
        payload: Payload::from_stored(format!("{n}")),
    };
    let run_id = RunId::parse("r").unwrap();
    let publish = Publish { run_id, events: (0..count).map(event).collect(), expected_last_seq: None };
    service.publish(publish).await.unwrap();
}

async fn subscribe(service: &Service, scope: &Scope, start: Start) -> Subscription {
    let request = Subscribe {
        scope: scope.clone(),
        start,
        filter: EventFilter::default(),
        keep_open: false,
        wait_for_run: false,
        max_batch: 0,
        heartbeat: None,
    };
    service.subscribe(request).await.unwrap()
}

/// Reads until it is told that the replay is over; returns the cursor and how many frames of events there were.
async fn caught_up(subscription: &mut Subscription) -> (String, usize) {
    let mut frames = 0;
    loop {
        match in_time(subscription.next()).await.unwrap().unwrap() {
            Frame { kind: FrameKind::Events(_), .. } => frames += 1,
            Frame { kind: FrameKind::CaughtUp { .. }, cursor } => return (cursor, frames),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_reader_that_comes_back_soon_reads_no_page_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Arc::new(Hub::new(WindowLimits::default()));
    let store = SqliteStore::open(SqliteOptions::new(dir.path().join("log.db")), hub.clone()).await.unwrap();
    let counting = Arc::new(Counting { store, pages: AtomicUsize::new(0) });
    let shared: SharedStore = counting.clone();
    let service = Service::new(shared, hub, ServiceOptions::default(), CancellationToken::new());
    publish(&service, 3).await;
    for scope in [Scope::Run(RunId::parse("r").unwrap()), Scope::Feed] {
        let mut first = subscribe(&service, &scope, Start::After(String::new())).await;
        let (mut cursor, _) = caught_up(&mut first).await;
        drop(first);
        assert!(counting.pages.swap(0, Ordering::SeqCst) > 0, "the first time nothing is in memory");
        for _ in 0..3 {
            publish(&service, 70).await;
            publish(&service, 70).await;
            let mut again = subscribe(&service, &scope, Start::After(cursor.clone())).await;
            let (reached, frames) = caught_up(&mut again).await;
            assert!(frames >= 2 && reached != cursor);
            cursor = reached;
        }
        assert_eq!(counting.pages.swap(0, Ordering::SeqCst), 0);
    }
    counting.close().await;
}

//! Read-ahead: a replay reads the store ahead of its reader, within a memory limit shared by all readers, and delivers
//! the same frames as without read-ahead.

use runlog::codec::record;
use runlog::domain::{EventFilter, RunId, Scope};
use runlog::service::subscribe::{FrameKind, Start, Subscribe, Subscription};
use runlog::service::{Service, ServiceOptions};
use runlog::store::Store;

use crate::embedded::{Embedded, next_frame, publish, request};

/// Events of the run; a frame holds 100 by default.
const EVENTS: usize = 3_000;

/// Read-ahead memory for one reader.
const ONE_SHARE: usize = 4 << 20;

async fn filled(read_ahead_bytes: usize) -> Embedded {
    let embedded = Embedded::start(ServiceOptions { read_ahead_bytes, ..ServiceOptions::default() }).await;
    for _ in 0..3 {
        publish(&embedded.service, EVENTS / 3).await;
    }
    embedded
}

/// All seqs of the run.
fn all() -> Vec<u64> {
    (1..=EVENTS as u64).collect()
}

fn all_of_the_run() -> Subscribe {
    request(&Scope::Run(RunId::parse("r").unwrap()), Start::After(String::new()))
}

async fn reader(service: &Service) -> Subscription {
    service.subscribe(all_of_the_run()).await.unwrap()
}

/// The seqs of the next frame; `None` at the end of the replay.
async fn seqs(subscription: &mut Subscription) -> Option<Vec<u64>> {
    let FrameKind::Events(batches) = next_frame(subscription).await.kind else { return None };
    let mut seqs = Vec::new();
    for batch in batches {
        let mut rest = batch.data.clone();
        while !rest.is_empty() {
            seqs.push(record::header(&record::split_entry(&mut rest).unwrap()).unwrap().seq);
        }
    }
    Some(seqs)
}

/// Reads to the end of the replay.
async fn rest(subscription: &mut Subscription) -> Vec<u64> {
    let mut all = Vec::new();
    while let Some(mut seqs) = seqs(subscription).await {
        all.append(&mut seqs);
    }
    all
}

#[tokio::test]
async fn a_replay_reads_few_long_pages_and_delivers_each_event_once() {
    let Embedded { service, store, .. } = &filled(64 << 20).await;
    for scope in [Scope::Run(RunId::parse("r").unwrap()), Scope::Feed] {
        store.pages();
        let mut subscription = service.subscribe(request(&scope, Start::After(String::new()))).await.unwrap();
        assert_eq!(rest(&mut subscription).await, all());
        assert!(store.pages() <= 4, "the first frame, and what was read ahead");
    }
    // Full frames end within a page of the store.
    let filter = EventFilter::parse(&["step".to_owned()], Vec::new()).unwrap();
    let request = Subscribe { filter, max_batch: 7, ..all_of_the_run() };
    let mut filtered = service.subscribe(request).await.unwrap();
    assert_eq!(rest(&mut filtered).await, all());
    store.close().await;
}

#[tokio::test]
async fn without_room_nothing_is_kept_beyond_a_frame_and_nothing_is_left_out() {
    let Embedded { service, store, .. } = &filled(0).await;
    let filter = EventFilter::parse(&["step".to_owned()], Vec::new()).unwrap();
    let request = Subscribe { filter, max_batch: 70, ..all_of_the_run() };
    let mut filtered = service.subscribe(request).await.unwrap();
    store.pages();
    assert_eq!(rest(&mut filtered).await, all());
    assert!(store.pages() >= EVENTS / 70, "each frame was read from the store");
    store.close().await;
}

#[tokio::test]
async fn readers_share_the_read_ahead_memory_and_without_memory_read_frame_by_frame() {
    let Embedded { service, store, .. } = &filled(ONE_SHARE).await;
    let mut first = reader(service).await;
    let mut received = seqs(&mut first).await.unwrap();
    store.pages();
    let mut second = reader(service).await;
    assert_eq!(rest(&mut second).await.len(), EVENTS);
    let pages = store.pages();
    assert!(pages >= EVENTS / 100, "the room is the first one's, but {pages} pages were enough");
    received.append(&mut rest(&mut first).await);
    assert_eq!(received, all());
    // Both readers follow the live run now and have released their read-ahead memory.
    store.pages();
    let mut third = reader(service).await;
    assert_eq!(rest(&mut third).await.len(), EVENTS);
    assert!(store.pages() <= 4, "the room was given back");
    // A dropped reader releases its memory too.
    let mut fourth = reader(service).await;
    seqs(&mut fourth).await.unwrap();
    drop(fourth);
    store.pages();
    assert_eq!(rest(&mut reader(service).await).await.len(), EVENTS);
    assert!(store.pages() <= 4, "the room was given back");
    store.close().await;
}

#[tokio::test]
async fn a_read_ahead_that_failed_is_done_again_when_it_is_needed() {
    let Embedded { service, store, .. } = &filled(ONE_SHARE).await;
    store.fail(2);
    let mut subscription = reader(service).await;
    assert_eq!(rest(&mut subscription).await, all());
    store.close().await;
}

//! Recent events: a reader reconnects soon and gets the missed events from memory.

use runlog::domain::{RunId, Scope};
use runlog::service::ServiceOptions;
use runlog::service::subscribe::{Frame, FrameKind, Start, Subscribe, Subscription};
use runlog::store::Store;

use crate::embedded::{Embedded, next_frame, publish, request};

/// Reads to the end of the replay; returns the cursor and the number of event frames.
async fn caught_up(subscription: &mut Subscription) -> (String, usize) {
    let mut frames = 0;
    loop {
        match next_frame(subscription).await {
            Frame { kind: FrameKind::Events(_), .. } => frames += 1,
            Frame { kind: FrameKind::CaughtUp { .. }, cursor } => return (cursor, frames),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_reader_that_comes_back_soon_reads_no_page_of_the_store() {
    let Embedded { service, store, .. } = &Embedded::start(ServiceOptions::default()).await;
    publish(service, 3).await;
    for scope in [Scope::Run(RunId::parse("r").unwrap()), Scope::Feed] {
        let mut first = service.subscribe(request(&scope, Start::After(String::new()))).await.unwrap();
        let (mut cursor, _) = caught_up(&mut first).await;
        drop(first);
        assert!(store.pages() > 0, "the first time nothing is in memory");
        for _ in 0..3 {
            publish(service, 70).await;
            publish(service, 70).await;
            let mut again = service.subscribe(request(&scope, Start::After(cursor.clone()))).await.unwrap();
            let (reached, frames) = caught_up(&mut again).await;
            assert!(frames >= 2 && reached != cursor);
            cursor = reached;
        }
        assert_eq!(store.pages(), 0);
    }
    store.close().await;
}

#[tokio::test]
async fn while_other_replicas_may_have_erased_what_is_in_memory_the_store_is_read() {
    let Embedded { service, store, .. } = &Embedded::start(ServiceOptions::default()).await;
    let all = || request(&Scope::Run(RunId::parse("r").unwrap()), Start::After(String::new()));
    publish(service, 1).await;
    let mut live = service.subscribe(all()).await.unwrap();
    let (cursor, _) = caught_up(&mut live).await;
    for is_cut_off in [false, true, false] {
        store.cut_off(is_cut_off);
        store.pages();
        publish(service, 150).await;
        for _ in 0..2 {
            assert!(matches!(next_frame(&mut live).await.kind, FrameKind::Events(_)));
        }
        assert_eq!(store.pages(), if is_cut_off { 2 } else { 0 }, "each frame is read");
    }
    // So is what was read ahead.
    let mut behind = service.subscribe(Subscribe { max_batch: 10, ..all() }).await.unwrap();
    next_frame(&mut behind).await;
    store.cut_off(true);
    store.pages();
    for _ in 0..3 {
        next_frame(&mut behind).await;
    }
    assert!(store.pages() >= 3);
    assert_ne!(behind.cursor(), cursor);
    store.close().await;
}

#[tokio::test]
async fn a_change_of_the_history_during_a_read_does_not_end_a_finished_run_before_its_last_event() {
    use runlog::domain::{EventType, NewEvent, Payload};
    use runlog::service::publish::Publish;

    let Embedded { service, store, .. } = &Embedded::start(ServiceOptions::default()).await;
    publish(service, 5).await;
    let run_id = RunId::parse("r").unwrap();
    let end = NewEvent::new(EventType::parse("run_end").unwrap(), Payload::from_stored("{}"));
    service.publish(Publish { run_id: run_id.clone(), events: vec![end], expected_last_seq: None }).await.unwrap();
    for page in [1, 2] {
        let mut again =
            service.subscribe(request(&Scope::Run(run_id.clone()), Start::After(String::new()))).await.unwrap();
        store.change_history(page);
        let mut events = 0;
        let last_seq = loop {
            match next_frame(&mut again).await.kind {
                FrameKind::Events(batches) => {
                    for batch in batches {
                        events += runlog::codec::record::count(&batch.data).unwrap();
                    }
                }
                FrameKind::Ended { last_seq, .. } => break last_seq,
                _ => {}
            }
        };
        assert_eq!((events, last_seq), (6, 6), "page {page}");
    }
    store.close().await;
}

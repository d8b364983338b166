//! Recent events: a reader reconnects soon and gets the missed events from memory.

use runlog::domain::{RunId, Scope};
use runlog::service::ServiceOptions;
use runlog::service::subscribe::{Frame, FrameKind, Start, Subscription};
use runlog::store::Store;

use crate::embedded::{Embedded, publish, request};
use crate::harness::in_time;

/// Reads to the end of the replay; returns the cursor and the number of event frames.
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

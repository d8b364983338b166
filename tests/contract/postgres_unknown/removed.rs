//! In-doubt commits whose events lose their payload, or go, before the doubt is resolved.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use runlog::domain::retention::{Keep, Retention};

use super::{Fixture, answers, reasons, submitted};
use crate::fixture::*;
use crate::proxy::{AtCommit, Mode};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stored_commit_is_never_taken_for_one_that_was_not_because_its_events_are_removed() {
    for (is_erased, expected) in [(true, "OK"), (false, "OUTCOME_UNKNOWN")] {
        let retry = Duration::from_secs(if is_erased { 60 } else { 3 });
        let Some(fixture) = Fixture::new(|options| options.retry = retry).await else { return };
        let other = fixture.other().await;
        fixture.store.append(append("r", vec![event("before")])).await.unwrap();
        let held = fixture.recorder.hold(&fixture.store).await;
        let receipts = submitted(&fixture.store, vec![append("r", vec![with_id("named", event("lost"))])]).await;
        fixture.proxy.at_commit_then(AtCommit::LoseAnswer, Mode::Refuse);
        drop(held);
        fixture.proxy.lost().await;
        fixture.until("EXISTS (SELECT FROM events WHERE event_id = 'named')").await;
        if is_erased {
            assert_eq!(other.erase(&run_id("r"), 2..=2).await.unwrap(), 1);
        } else {
            other.append(append("later", vec![event("newest")])).await.unwrap();
            let day = Keep::For(Duration::from_secs(86_400));
            let retention = Retention { default: day, ..Retention::default() };
            assert_eq!(other.expire(&retention, Timestamp::now() + 48.hours(), 0).await.unwrap().events, 4);
        }
        fixture.proxy.set(Mode::Pass);
        let answered = answers(receipts).await;
        assert_eq!(reasons(&answered), [expected]);
        if let Ok(stored) = &answered[0] {
            assert_eq!((seqs(stored), duplicates(stored)), (vec![2], vec![false]));
        }
        let end = other.extent(&run("r")).await.unwrap().end.last;
        assert_eq!(end, 2, "it is stored once");
        fixture.store.close().await;
        other.close().await;
    }
}

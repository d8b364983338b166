use jiff::Timestamp;

use super::*;
use crate::codec::record;
use crate::domain::{Event, EventId, EventType, Origin, Payload, RunId};
use crate::service::live::recent_events::EncodingKey;
use crate::store::RunCommit;

fn run_id() -> RunId {
    RunId::parse("r").unwrap()
}

fn key() -> RunKey {
    RunKey::new(ProjectNumber::DEFAULT, run_id())
}

fn chunk(first: u64, count: u32) -> Chunk {
    let mut data = Vec::new();
    for seq in first..first + u64::from(count) {
        let event = Event {
            run_id: run_id(),
            seq,
            event_id: EventId::parse("e").unwrap(),
            event_type: EventType::parse("step").unwrap(),
            origin: Origin::User,
            occurred_at: Timestamp::UNIX_EPOCH,
            sent_seconds: None,
            recorded_at: Timestamp::UNIX_EPOCH,
            agent_name: None,
            payload: Payload::from_stored("{}"),
            removal: None,
            joined_from: None,
        };
        record::append_entry(&event, &mut data);
    }
    Chunk { first, count, sensitive: false, data: data.into() }
}

fn commit(chunks: Vec<Chunk>) -> Commit {
    let scope_end = ScopeEnd { last: chunks.last().unwrap().last(), status: RunStatus::Running };
    let feed_end = ScopeEnd { last: 0, status: RunStatus::Unspecified };
    let runs = vec![RunCommit { run_id: run_id(), chunks, scope_end }];
    Commit { project: ProjectNumber::DEFAULT, runs, feed: vec![], feed_end }
}

fn hub(events: usize) -> Arc<Hub> {
    Arc::new(Hub::new(WindowLimits { events, bytes: 1 << 20, ..Default::default() }))
}

fn scope() -> Scope {
    Scope::Run(run_id())
}

#[test]
fn the_window_of_an_idle_run_is_kept_for_subscribers_that_reconnect_while_few_others_are_idle() {
    let hub = hub(10);
    let (a, b) = (hub.join(ProjectNumber::DEFAULT, &scope()), hub.join(ProjectNumber::DEFAULT, &scope()));
    drop(a);
    assert_eq!(hub.followed_runs(), 1);
    drop(b);
    assert_eq!(hub.followed_runs(), 0);
    hub.committed(commit(vec![chunk(1, 3)]));
    let again = hub.join(ProjectNumber::DEFAULT, &scope());
    assert_eq!(again.take(2, 10, 1 << 20).unwrap().unwrap().last, 3, "announced to an idle run");
    drop(again);
    let most = MAX_IDLE_RUNS.get();
    let other = |n: usize| Scope::Run(RunId::parse(&format!("other-{n}")).unwrap());
    (0..most - 1).for_each(|n| drop(hub.join(ProjectNumber::DEFAULT, &other(n))));
    drop(hub.join(ProjectNumber::DEFAULT, &scope()));
    (0..most - 1).for_each(|n| drop(hub.join(ProjectNumber::DEFAULT, &other(n))));
    assert!(
        hub.join(ProjectNumber::DEFAULT, &scope()).take(2, 10, 1 << 20).unwrap().is_some(),
        "it was idle later than the others"
    );
    (0..=most).for_each(|n| drop(hub.join(ProjectNumber::DEFAULT, &other(n))));
    assert!(hub.join(ProjectNumber::DEFAULT, &scope()).take(2, 10, 1 << 20).unwrap().is_none());
    let runs = hub.runs.lock();
    assert_eq!((runs.followed.len(), runs.idle.len()), (0, most));
}

#[test]
fn the_window_of_an_idle_run_does_not_grow() {
    let hub = hub(1_000_000);
    drop(hub.join(ProjectNumber::DEFAULT, &scope()));
    for first in (1..200_000).step_by(1_000) {
        hub.committed(commit(vec![chunk(first, 1_000)]));
        let bytes = hub.runs.lock().idle.peek(&key()).unwrap().broadcast.window.lock().bytes();
        assert!(bytes <= IDLE_WINDOW_BYTES, "{bytes}");
    }
}

#[test]
fn the_feed_is_there_for_who_comes_back() {
    let hub = hub(10);
    drop((hub.join(ProjectNumber::DEFAULT, &Scope::Feed), hub.join(ProjectNumber::DEFAULT, &Scope::Feed)));
    let feed_end = ScopeEnd { last: 2, status: RunStatus::Unspecified };
    hub.committed(Commit { project: ProjectNumber::DEFAULT, runs: vec![], feed: vec![chunk(1, 2)], feed_end });
    assert_eq!(hub.join(ProjectNumber::DEFAULT, &Scope::Feed).take(1, 10, 1 << 20).unwrap().unwrap().last, 2);
}

#[test]
fn all_subscribers_share_one_encoding() {
    let hub = hub(10);
    let (a, b) = (hub.join(ProjectNumber::DEFAULT, &scope()), hub.join(ProjectNumber::DEFAULT, &scope()));
    hub.committed(commit(vec![chunk(1, 3)]));
    let take = |subscriber: &Subscriber| subscriber.take(1, 10, 1 << 20).unwrap().unwrap().batches.remove(0);
    let form = take(&a).encoding(EncodingKey::JsonPublic, |batch| batch.data.slice(1..));
    assert_eq!(take(&b).encoding(EncodingKey::JsonPublic, |_| unreachable!("encoded already")), form);
}

#[test]
fn the_window_forgets_the_oldest_and_says_so() {
    let hub = hub(4);
    let subscriber = hub.join(ProjectNumber::DEFAULT, &scope());
    for first in [1, 3, 5] {
        hub.committed(commit(vec![chunk(first, 2)]));
    }
    assert!(subscriber.take(1, 10, 1 << 20).unwrap().is_none());
    let taken = subscriber.take(3, 10, 1 << 20).unwrap().unwrap();
    assert_eq!((taken.batches.len(), taken.last), (2, 6));
    assert!(subscriber.take(7, 10, 1 << 20).unwrap().is_none());
}

#[test]
fn a_take_begins_inside_a_chunk_and_ends_at_the_bounds() {
    let hub = hub(100);
    let subscriber = hub.join(ProjectNumber::DEFAULT, &scope());
    hub.committed(commit(vec![chunk(1, 10), chunk(11, 10)]));
    assert_eq!(subscriber.take(4, 3, 1 << 20).unwrap().unwrap().last, 6);
    assert_eq!(subscriber.take(4, 12, 1 << 20).unwrap().unwrap().last, 10, "a chunk is not cut behind another");
    assert_eq!(subscriber.take(4, 17, 1 << 20).unwrap().unwrap().last, 20);
    assert_eq!(subscriber.take(1, 100, 1).unwrap().unwrap().last, 10, "the first chunk goes whatever its bytes");
}

#[test]
fn after_a_gap_in_the_announcements_the_window_starts_over() {
    let hub = hub(100);
    let subscriber = hub.join(ProjectNumber::DEFAULT, &scope());
    hub.committed(commit(vec![chunk(1, 2)]));
    hub.committed(commit(vec![chunk(5, 2)]));
    assert!(subscriber.take(1, 10, 1 << 20).unwrap().is_none());
    assert_eq!(subscriber.take(5, 10, 1 << 20).unwrap().unwrap().last, 6);
}

#[test]
fn what_is_of_interest_is_what_is_followed_while_that_can_be_named() {
    let hub = hub(10);
    let other = |n: usize| RunId::parse(&format!("other-{n}")).unwrap();
    let idle = hub.join(ProjectNumber::DEFAULT, &Scope::Run(other(0)));
    drop(idle);
    assert_eq!(hub.interest(ProjectNumber::DEFAULT), Interest::Runs(vec![]), "an idle run has no subscribers");
    let one = hub.join(ProjectNumber::DEFAULT, &scope());
    assert_eq!(hub.interest(ProjectNumber::DEFAULT), Interest::Runs(vec![run_id()]));
    let feed = hub.join(ProjectNumber::DEFAULT, &Scope::Feed);
    assert_eq!(hub.interest(ProjectNumber::DEFAULT), Interest::All);
    let elsewhere = ProjectNumber::of(1).unwrap();
    assert_eq!(hub.interest(elsewhere), Interest::Runs(vec![]), "nobody there follows anything");
    drop(feed);
    assert_eq!(hub.interest(ProjectNumber::DEFAULT), Interest::Runs(vec![run_id()]));
    let most: Vec<_> = (1..MAX_INTEREST).map(|n| hub.join(ProjectNumber::DEFAULT, &Scope::Run(other(n)))).collect();
    assert!(matches!(hub.interest(ProjectNumber::DEFAULT), Interest::Runs(runs) if runs.len() == MAX_INTEREST));
    let too_many = hub.join(ProjectNumber::DEFAULT, &Scope::Run(other(MAX_INTEREST)));
    assert_eq!(hub.interest(ProjectNumber::DEFAULT), Interest::All);
    drop((one, most, too_many));
    assert_eq!(hub.interest(ProjectNumber::DEFAULT), Interest::Runs(vec![]));
}

use std::time::Duration;

use super::*;
use crate::domain::filter::TypePattern;

const DAY: i64 = 86_400;

/// The time at which all slices are decided.
const NOW: i64 = 100 * DAY;

/// An event of this run and seq at this position, of this age in days.
fn event(position: i64, run: i64, seq: i64, age: i64) -> Candidate {
    Candidate {
        pos: position,
        run,
        seq,
        event_type: "step".to_owned(),
        recorded_s: NOW - age * DAY,
        recorded_ns: 0,
        bytes: 100,
        is_removed: false,
        run_status: RunStatus::Running as i64,
        first_seq: 1,
        held: false,
    }
}

fn days(days: u64) -> Keep {
    Keep::For(Duration::from_secs(days * 86_400))
}

fn all_for(limit: Keep) -> Retention {
    Retention { default: limit, ..Retention::default() }
}

fn decide(retention: &Retention, excess: i64, first: u64, after: u64, events: &[Candidate]) -> Decision {
    let now = Timestamp::from_second(NOW).unwrap();
    Rules { retention, now, excess, last: 1_000, first }.decide(after, events)
}

#[test]
fn old_events_at_the_begin_of_feed_and_runs_go_whole_and_the_first_young_one_ends_the_slice() {
    let events = [event(1, 7, 1, 9), event(2, 8, 1, 8), event(3, 7, 2, 7), event(4, 7, 3, 1), event(5, 8, 2, 9)];
    let decision = decide(&all_for(days(5)), 0, 1, 0, &events);
    assert_eq!((decision.examined, decision.is_done, decision.first), (3, true, 4));
    assert_eq!(decision.deleted, [1, 2, 3]);
    assert_eq!(decision.first_seqs, [(7, 3), (8, 2)].into());
    assert_eq!((decision.events, decision.bytes), (3, 300));
    assert!(decision.stubs.is_empty() && decision.detached.is_empty());
}

#[test]
fn an_event_behind_a_kept_one_becomes_a_stub_and_the_feed_stays_without_gaps() {
    let by_type = vec![(TypePattern::parse("", "kept").unwrap(), Keep::Forever)];
    let retention = Retention { by_type, ..all_for(days(5)) };
    let kept = Candidate { event_type: "kept".to_owned(), ..event(2, 7, 2, 9) };
    let events = [event(1, 7, 1, 9), kept, event(3, 7, 3, 8), event(4, 8, 1, 8), event(5, 8, 2, 8)];
    let decision = decide(&retention, 0, 1, 0, &events);
    assert_eq!((decision.first, decision.first_seqs), (2, [(7, 2), (8, 3)].into()));
    assert_eq!((decision.deleted, decision.stubs, decision.detached), (vec![1], vec![3], vec![4, 5]));
    // The next pass finds nothing to do.
    let stub = |event: Candidate, first_seq| Candidate { is_removed: true, first_seq, ..event };
    let again = [
        Candidate { first_seq: 2, ..events[1].clone() },
        stub(event(3, 7, 3, 8), 2),
        stub(event(4, 8, 1, 8), 3),
        stub(event(5, 8, 2, 8), 3),
    ];
    let decision = decide(&retention, 0, 2, 1, &again);
    assert_eq!(decision, Decision { examined: 5, first: 2, ..Decision::default() });
    // Without the rule all of them go, stubs of both kinds included, and only one payload.
    let decision = decide(&all_for(days(5)), 0, 2, 1, &again);
    assert_eq!((decision.deleted, decision.first, decision.events), (vec![2, 3, 4, 5], 6, 1));
    assert_eq!(decision.first_seqs, [(7, 4)].into());
}

#[test]
fn a_held_run_keeps_its_events_when_the_feed_moves_past_them() {
    let held = |event| Candidate { held: true, ..event };
    let events = [held(event(1, 7, 1, 9)), event(2, 8, 1, 9), held(event(3, 7, 2, 9))];
    let decision = decide(&all_for(days(5)), 1_000, 1, 0, &events);
    assert_eq!((decision.first, decision.deleted, decision.first_seqs), (4, vec![2], [(8, 2)].into()));
    // Released, its events go though they lie before the first one of the feed.
    let decision = decide(&all_for(days(5)), 0, 4, 0, &[event(1, 7, 1, 9), event(3, 7, 2, 9)]);
    assert_eq!((decision.first, decision.deleted, decision.first_seqs), (4, vec![1, 3], [(7, 3)].into()));
}

#[test]
fn a_slice_that_does_not_begin_at_the_first_position_of_the_feed_leaves_no_hole_in_it() {
    let decision = decide(&all_for(days(5)), 0, 3, 9, &[event(10, 7, 1, 9)]);
    assert_eq!((decision.first, decision.deleted, decision.detached), (3, vec![], vec![10]));
}

#[test]
fn the_newest_event_stays_as_a_stub() {
    let decision = decide(&all_for(days(5)), 0, 1_000, 999, &[event(1_000, 7, 1, 9)]);
    assert_eq!((decision.first, decision.stubs, decision.deleted), (1_000, vec![1_000], vec![]));
    assert!(decision.first_seqs.is_empty() && decision.detached.is_empty());
}

#[test]
fn bytes_beyond_the_maximum_go_from_the_oldest_event_on_whatever_their_age() {
    let events = [event(1, 7, 1, 0), event(2, 7, 2, 0), event(3, 7, 3, 0)];
    let decision = decide(&Retention::default(), 150, 1, 0, &events);
    assert_eq!((decision.deleted, decision.first, decision.is_done), (vec![1, 2], 3, true));
    let none = decide(&Retention::default(), 0, 1, 0, &events);
    assert_eq!(none, Decision { first: 1, is_done: true, ..Decision::default() });
}

#[test]
fn a_rule_for_the_status_of_the_run_counts() {
    let retention = Retention { by_status: vec![(RunStatus::Failed, Keep::Forever)], ..all_for(days(5)) };
    let failed = Candidate { run_status: RunStatus::Failed as i64, ..event(1, 7, 1, 9) };
    let decision = decide(&retention, 0, 1, 0, &[failed, event(2, 8, 1, 9)]);
    assert_eq!((decision.first, decision.deleted, decision.detached), (1, vec![], vec![2]));
}

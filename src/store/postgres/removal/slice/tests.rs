use std::time::Duration;

use super::*;
use crate::domain::filter::TypePattern;
use crate::domain::retention::{Keep, Retention};

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

fn five_days() -> Retention {
    Retention { default: Keep::For(Duration::from_secs(5 * 86_400)), ..Retention::default() }
}

fn outcome(retention: &Retention, excess: i64, first: u64, after: u64, events: &[Candidate]) -> Outcome {
    let judge = Judge { retention, now: Timestamp::from_second(NOW).unwrap(), last: 1_000 };
    Outcome::of(&judge, excess, first, after, events)
}

#[test]
fn rows_go_lose_their_payload_or_their_place_in_the_run_and_are_not_changed_twice() {
    let by_type = vec![(TypePattern::parse("", "kept").unwrap(), Keep::Forever)];
    let retention = Retention { by_type, ..five_days() };
    let kept = Candidate { event_type: "kept".to_owned(), ..event(2, 7, 2, 9) };
    let events = [event(1, 7, 1, 9), kept, event(3, 7, 3, 8), event(4, 8, 1, 8), event(5, 8, 2, 8)];
    let first = outcome(&retention, 0, 1, 0, &events);
    assert_eq!((first.first, first.first_seqs), (2, [(7, 2), (8, 3)].into()));
    assert_eq!((first.deleted, first.stubs, first.detached), (vec![1], vec![3], vec![4, 5]));
    assert_eq!((first.events, first.bytes, first.examined, first.is_done), (4, 400, 5, false));
    let stub = |event: Candidate, first_seq| Candidate { is_removed: true, first_seq, ..event };
    let again = [
        Candidate { first_seq: 2, ..events[1].clone() },
        stub(event(3, 7, 3, 8), 2),
        stub(event(4, 8, 1, 8), 3),
        stub(event(5, 8, 2, 8), 3),
    ];
    let second = outcome(&retention, 0, 2, 1, &again);
    assert_eq!(second, Outcome { examined: 5, first: 2, ..Outcome::default() });
    let all = outcome(&five_days(), 0, 2, 1, &again);
    assert_eq!((all.deleted, all.first, all.events, all.first_seqs), (vec![2, 3, 4, 5], 6, 1, [(7, 4)].into()));
}

#[test]
fn a_slice_that_does_not_begin_at_the_first_position_of_the_feed_leaves_no_hole_in_it() {
    let outcome = outcome(&five_days(), 0, 3, 9, &[event(10, 7, 1, 9)]);
    assert_eq!((outcome.first, outcome.deleted, outcome.detached), (3, vec![], vec![10]));
}

#[test]
fn the_excess_of_bytes_shrinks_with_each_payload_that_goes() {
    let removed = Candidate { is_removed: true, ..event(1, 7, 1, 0) };
    let events = [removed, event(2, 7, 2, 0), event(3, 7, 3, 0), event(4, 7, 4, 0)];
    let some = outcome(&Retention::default(), 150, 1, 0, &events);
    assert_eq!((some.deleted, some.first, some.is_done, some.bytes), (vec![1, 2, 3], 4, true, 200));
    let none = outcome(&Retention::default(), 0, 1, 0, &events);
    assert_eq!(none, Outcome { first: 1, is_done: true, ..Outcome::default() });
}

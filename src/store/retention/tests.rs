use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::filter::TypePattern;

const DAY: i64 = 86_400;

/// The time at which all slices are decided.
const NOW: i64 = 100 * DAY;

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    run: i64,
    seq: u64,
    event_type: &'static str,
    age: i64,
    has_payload: bool,
}

/// A log with rows of some events, of which retention removes some.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Log {
    /// The rows by the positions of their first events; dropped events are `None`.
    rows: BTreeMap<u64, Vec<Option<Stored>>>,
    first_seqs: BTreeMap<i64, u64>,
    held: Vec<i64>,
    failed: Vec<i64>,
    begin: u64,
    last: u64,
}

impl Log {
    /// A log of events of runs and ages in days, in rows of this many events.
    fn of(events: &[(i64, i64)], in_row: usize) -> Self {
        let typed: Vec<_> = events.iter().map(|(run, age)| (*run, *age, "step")).collect();
        Self::of_types(&typed, in_row)
    }

    fn of_types(events: &[(i64, i64, &'static str)], in_row: usize) -> Self {
        let (mut rows, mut seqs) = (BTreeMap::new(), BTreeMap::<i64, u64>::new());
        for (n, part) in events.chunks(in_row).enumerate() {
            let stored = part.iter().map(|&(run, age, event_type)| {
                let seq = seqs.entry(run).or_default();
                *seq += 1;
                Some(Stored { run, seq: *seq, event_type, age, has_payload: true })
            });
            rows.insert((n * in_row) as u64 + 1, stored.collect());
        }
        let first_seqs = seqs.keys().map(|run| (*run, 1)).collect();
        Self { rows, first_seqs, held: Vec::new(), failed: Vec::new(), begin: 1, last: events.len() as u64 }
    }

    /// A pass in slices of this many rows, each with what is stored by then. `over`: events that go at any age.
    fn pass(&mut self, retention: &Retention, slice: usize, mut over: usize) -> &mut Self {
        let judge = Judge { retention, now: Timestamp::from_second(NOW).unwrap(), last: self.last };
        let starts: Vec<u64> = self.rows.keys().copied().collect();
        for part in starts.chunks(slice) {
            let mut runs = self.runs();
            for start in part {
                let Some(row) = self.facts(*start, &runs) else { continue };
                if over == 0 && judge.ends_before(&row, &runs) {
                    return self.end_slice(&runs);
                }
                let decisions = judge.decide(&row, &mut runs, &mut self.begin, over > 0);
                let kept = self.rows.get_mut(start).unwrap().iter_mut().filter(|event| event.is_some());
                for (event, decision) in kept.zip(decisions) {
                    let had_payload = event.as_ref().is_some_and(|event| event.has_payload);
                    match decision {
                        Decision::Keep => continue,
                        Decision::Expire => event.as_mut().unwrap().has_payload = false,
                        Decision::Drop => *event = None,
                    }
                    over = over.saturating_sub(usize::from(had_payload));
                }
            }
            self.end_slice(&runs);
        }
        self
    }

    fn end_slice(&mut self, runs: &[RunFacts]) -> &mut Self {
        self.first_seqs = runs.iter().map(|run| (run.run, run.first_seq)).collect();
        self
    }

    fn runs(&self) -> Vec<RunFacts> {
        let status = |run: &i64| if self.failed.contains(run) { RunStatus::Failed } else { RunStatus::Running };
        let facts = |(run, first_seq): (&i64, &u64)| RunFacts {
            run: *run,
            status: status(run),
            first_seq: *first_seq,
            is_held: self.held.contains(run),
        };
        self.first_seqs.iter().map(facts).collect()
    }

    /// The row at this position; `None` if all of it is dropped. Like a store, it forgets the places of dropped events.
    fn facts(&self, first: u64, runs: &[RunFacts]) -> Option<RowFacts<'static>> {
        let event = |event: &Stored| EventFacts {
            run: runs.iter().position(|run| run.run == event.run).unwrap(),
            seq: event.seq,
            event_type: event.event_type,
            recorded_at: Timestamp::from_second(NOW - event.age * DAY).unwrap(),
        };
        let events: Vec<_> = self.rows[&first].iter().flatten().map(event).collect();
        (!events.is_empty()).then_some(RowFacts { first, events })
    }

    /// Positions of the events with payload.
    fn payloads(&self) -> Vec<u64> {
        self.positions(|event| event.has_payload)
    }

    /// Positions of all stored events.
    fn stored(&self) -> Vec<u64> {
        self.positions(|_| true)
    }

    fn positions(&self, counts: impl Fn(&Stored) -> bool) -> Vec<u64> {
        let all = self.rows.iter().flat_map(|(first, row)| (*first..).zip(row));
        all.filter(|(_, event)| event.as_ref().is_some_and(&counts)).map(|(position, _)| position).collect()
    }

    fn first_seq(&self, run: i64) -> u64 {
        self.first_seqs[&run]
    }
}

fn days(days: u64) -> Keep {
    Keep::For(Duration::from_secs(days * 86_400))
}

fn all_for(limit: Keep) -> Retention {
    Retention { default: limit, ..Retention::default() }
}

fn but_for_type(name: &str, limit: Keep, retention: Retention) -> Retention {
    Retention { by_type: vec![(TypePattern::parse("", name).unwrap(), limit)], ..retention }
}

#[test]
fn old_events_at_the_begin_of_feed_and_runs_go_whole_and_the_first_young_one_ends_the_pass() {
    let mut log = Log::of(&[(7, 9), (8, 8), (7, 7), (7, 1), (8, 9)], 1);
    log.pass(&all_for(days(5)), 9, 0);
    assert_eq!((log.stored(), log.begin), (vec![4, 5], 4));
    assert_eq!((log.first_seq(7), log.first_seq(8), log.payloads()), (3, 2, vec![4, 5]));
}

#[test]
fn an_event_behind_a_kept_one_stays_without_payload_and_the_feed_stays_without_gaps() {
    let events = [(7, 9, "step"), (7, 9, "kept"), (7, 8, "step"), (8, 8, "step"), (8, 8, "step"), (9, 1, "step")];
    let mut log = Log::of_types(&events, 1);
    let retention = but_for_type("kept", Keep::Forever, all_for(days(5)));
    log.pass(&retention, 9, 0);
    assert_eq!((log.begin, log.stored(), log.payloads()), (2, vec![2, 3, 4, 5, 6], vec![2, 6]));
    assert_eq!((log.first_seq(7), log.first_seq(8)), (2, 3));
    // The next pass finds nothing to do.
    let before = log.clone();
    assert_eq!(*log.pass(&retention, 9, 0), before);
    // Without the rule all of them go, those without payload included.
    log.pass(&all_for(days(5)), 9, 0);
    assert_eq!((log.begin, log.stored(), log.first_seq(7)), (6, vec![6], 4));
}

#[test]
fn a_held_run_keeps_its_events_when_the_feed_moves_past_them_and_loses_them_when_it_is_released() {
    let mut log = Log::of(&[(7, 9), (8, 9), (7, 9), (9, 1)], 1);
    log.held = vec![7];
    log.pass(&all_for(days(5)), 9, 0);
    assert_eq!((log.begin, log.stored(), log.payloads(), log.first_seq(7)), (4, vec![1, 3, 4], vec![1, 3, 4], 1));
    log.held.clear();
    log.pass(&all_for(days(5)), 9, 0);
    assert_eq!((log.begin, log.stored(), log.first_seq(7)), (4, vec![4], 3));
}

#[test]
fn the_newest_event_stays_without_payload() {
    let mut log = Log::of(&[(7, 9), (7, 9)], 1);
    log.pass(&all_for(days(5)), 9, 0);
    assert_eq!((log.begin, log.stored(), log.payloads(), log.first_seq(7)), (2, vec![2], vec![], 2));
}

#[test]
fn events_of_one_row_leave_the_feed_together() {
    let mut log = Log::of(&[(7, 9), (8, 9), (7, 9), (8, 1), (9, 1)], 2);
    log.pass(&all_for(days(5)), 9, 0);
    // The second row is still in the feed, and with it the place of its first event.
    assert_eq!((log.begin, log.stored(), log.payloads()), (3, vec![3, 4, 5], vec![4, 5]));
    assert_eq!((log.first_seq(7), log.first_seq(8)), (3, 2));
}

#[test]
fn bytes_beyond_the_maximum_go_from_the_oldest_event_on_whatever_their_age() {
    let mut log = Log::of(&[(7, 0), (7, 0), (7, 0)], 1);
    log.pass(&Retention::default(), 9, 2);
    assert_eq!((log.begin, log.stored(), log.first_seq(7)), (3, vec![3], 3));
    let before = log.clone();
    assert_eq!(*log.pass(&Retention::default(), 9, 0), before);
}

#[test]
fn a_rule_for_the_status_of_the_run_counts() {
    let mut log = Log::of(&[(7, 9), (8, 9), (9, 1)], 1);
    log.failed = vec![7];
    let retention = Retention { by_status: vec![(RunStatus::Failed, Keep::Forever)], ..all_for(days(5)) };
    log.pass(&retention, 9, 0);
    assert_eq!((log.begin, log.payloads(), log.first_seq(7), log.first_seq(8)), (1, vec![1, 3], 1, 2));
}

/// Events in the order of their times, of some runs and types.
fn events() -> impl Strategy<Value = Vec<(i64, i64, &'static str)>> {
    let event = (0..4_i64, 0..12_i64, prop::sample::select(vec!["step", "kept", "short"]));
    prop::collection::vec(event, 1..40).prop_map(|mut events| {
        events.sort_by_key(|(_, age, _)| -age);
        events
    })
}

proptest! {
    #[test]
    fn slices_of_any_size_remove_the_same_and_rows_of_any_size_the_same_payloads(
        events in events(), slice in 1..9_usize, in_row in 1..6_usize, held in 0..6_i64, over in 0..9_usize,
        kept in prop::option::of(6..20_u64),
    ) {
        let retention = but_for_type("kept", kept.map_or(Keep::Forever, days), all_for(days(5)));
        let passed = |in_row, slice, over| {
            let mut log = Log::of_types(&events, in_row);
            log.held = vec![held];
            // The second pass is that of another day, after the end of the hold.
            log.pass(&retention, slice, over);
            let first = log.clone();
            log.held.clear();
            (first, log.pass(&all_for(days(2)), slice, 0).clone())
        };
        prop_assert_eq!(passed(in_row, slice, over), passed(in_row, 99, over));
        let (first, second) = passed(in_row, slice, 0);
        let (of_single, then) = passed(1, slice, 0);
        prop_assert_eq!(first.payloads(), of_single.payloads());
        prop_assert_eq!(second.payloads(), then.payloads());
        prop_assert_eq!(&first.first_seqs, &of_single.first_seqs);
        prop_assert!(first.begin <= of_single.begin);
        for log in [first, second] {
            let stored = log.stored();
            prop_assert!((log.begin..=log.last).all(|position| stored.binary_search(&position).is_ok()));
        }
    }
}

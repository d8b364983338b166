//! The operations that remove events. Ages are relative: `short` and `long` name two events, and rules keep what is at most as old
//! as one of them.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use runlog::domain::RunStatus;
use runlog::domain::filter::TypePattern;
use runlog::domain::retention::{Keep, Retention};

use crate::ops::RUNS;

#[derive(Clone, Debug)]
pub enum Remove {
    /// Erases a range of seqs; `last` 0: to the end of the run. `publishes`: two events are on their way to the run meanwhile.
    Erase {
        run: u8,
        first: u64,
        last: u64,
        publishes: bool,
    },
    Hold(u8, bool),
    Expire(ExpireSpec),
    /// Compacts `count` events, `step` apart, into the event at `last`.
    Compact {
        run: u8,
        last: Index,
        step: u64,
        count: u64,
    },
}

/// A slice of retention, or a whole pass.
#[derive(Clone, Debug)]
pub struct ExpireSpec {
    pub rules: Rules,
    pub short: Index,
    pub long: Index,
    /// The event that `short` names is too old itself.
    pub is_past: bool,
    pub is_whole: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Rules {
    /// All events are kept equally long.
    Default,
    ByType,
    ByTypeAndDefault,
    ByStatus,
    ByStatusAndDefault,
    ByBytes(u64),
    ByBytesAndDefault(u64),
}

impl Rules {
    pub fn retention(self, short: Duration, long: Duration) -> Retention {
        let (short, long) = (Keep::For(short), Keep::For(long));
        let steps = |keep| vec![(TypePattern::parse("types", "step*").unwrap(), keep)];
        let statuses = |keep| vec![(RunStatus::Running, keep), (RunStatus::Succeeded, keep)];
        let kept = Retention::default();
        match self {
            Self::Default => Retention { default: short, ..kept },
            Self::ByType => Retention { by_type: steps(short), ..kept },
            Self::ByTypeAndDefault => Retention { default: long, by_type: steps(short), ..kept },
            Self::ByStatus => Retention { by_status: statuses(short), ..kept },
            Self::ByStatusAndDefault => Retention { default: short, by_status: statuses(long), ..kept },
            Self::ByBytes(max) => Retention { max_bytes: Some(max), ..kept },
            Self::ByBytesAndDefault(max) => Retention { default: short, max_bytes: Some(max), ..kept },
        }
    }
}

fn rules() -> impl Strategy<Value = Rules> {
    let bytes = || prop_oneof![Just(200u64), 1_000..8_000u64, Just(1u64 << 20)];
    prop_oneof![
        2 => Just(Rules::Default),
        2 => Just(Rules::ByType),
        2 => Just(Rules::ByTypeAndDefault),
        1 => Just(Rules::ByStatus),
        1 => Just(Rules::ByStatusAndDefault),
        1 => bytes().prop_map(Rules::ByBytes),
        1 => bytes().prop_map(Rules::ByBytesAndDefault),
    ]
}

fn erase() -> impl Strategy<Value = Remove> {
    let range = prop_oneof![
        3 => (0..12u64, 0..6u64).prop_map(|(first, more)| (first, (first + more).max(1))),
        1 => (0..12u64).prop_map(|first| (first, 0)),
        1 => Just((0, 0)),
    ];
    (0..RUNS, range, any::<bool>()).prop_map(|(run, (first, last), publishes)| Remove::Erase {
        run,
        first,
        last,
        publishes,
    })
}

fn expire() -> impl Strategy<Value = Remove> {
    let ages = (any::<Index>(), any::<Index>(), prop::bool::weighted(0.25), prop::bool::weighted(0.75));
    (rules(), ages).prop_map(|(rules, (short, long, is_past, is_whole))| {
        Remove::Expire(ExpireSpec { rules, short, long, is_past, is_whole })
    })
}

pub fn remove() -> impl Strategy<Value = Remove> {
    let compact = (0..RUNS, any::<Index>(), 1..3u64, 1..4u64);
    prop_oneof![
        2 => erase(),
        1 => (0..RUNS, any::<bool>()).prop_map(|(run, is_held)| Remove::Hold(run, is_held)),
        3 => expire(),
        1 => compact.prop_map(|(run, last, step, count)| Remove::Compact { run, last, step, count }),
    ]
}

//! The operations, with small values that collide often: four runs, a dozen ids, windows and flush intervals of a few
//! events.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::faults::Loss;
use crate::removal_specs::{self, Remove};

/// Options of the server of one case. Readers must see no difference between the options.
#[derive(Clone, Debug)]
pub struct Setup {
    pub strict: bool,
    /// Worker threads, for races; otherwise one thread with a paused clock, for lost notifications.
    pub threads: bool,
    pub window_events: usize,
    pub window_bytes: usize,
    pub unflushed_entries: usize,
    pub commit_events: usize,
    pub page_bytes: usize,
    pub batch_bytes: usize,
    pub read_connections: u32,
}

/// The id of an event.
#[derive(Clone, Debug)]
pub enum Id {
    None,
    Own(u8),
    /// An id that the server gave to an earlier event of any run.
    Assigned(Index),
}

/// An event. For an event with an id, `other` 0 is the original content; other values are different content.
#[derive(Clone, Debug)]
pub struct EventSpec {
    pub id: Id,
    pub seed: u16,
    pub other: u8,
    pub occurred_at: Option<i32>,
}

#[derive(Clone, Debug)]
pub enum Expect {
    Nothing,
    Right,
    Wrong(u64),
}

#[derive(Clone, Debug)]
pub struct PublishSpec {
    pub run: u8,
    pub events: Vec<EventSpec>,
    pub expect: Expect,
}

/// A run, or all runs.
pub type ScopeSpec = Option<u8>;

#[derive(Clone, Debug)]
pub enum StartSpec {
    Beginning,
    Latest,
    Tail(u32),
    /// Any earlier cursor of the scope.
    Seen(Index),
}

#[derive(Clone, Debug)]
pub struct SubscribeSpec {
    pub scope: ScopeSpec,
    pub start: StartSpec,
    pub filter: u8,
    pub keep_open: bool,
    pub wait_for_run: bool,
    pub max_batch: usize,
}

#[derive(Clone, Debug)]
pub enum Op {
    /// Submits a publish without waiting for the answer.
    Submit(PublishSpec),
    /// Publishes and loses the answer.
    SubmitInVain(PublishSpec, Loss),
    /// Retries an in-doubt publish.
    Retry(Index),
    /// Stores the delayed publishes.
    Deliver,
    /// Waits for the answers of all submitted publishes.
    Settle,
    Subscribe(SubscribeSpec),
    /// A slow reader reads this number of frames, as far as frames are due.
    Read(Index, u8),
    /// A reader polls once and drops the future.
    Poll(Index),
    CatchUp(Index),
    Drop(Index),
    /// A dropped reader resumes from its cursor.
    Resume(Index),
    List {
        scope: ScopeSpec,
        filter: u8,
        descending: bool,
        page_size: usize,
        from: Option<Index>,
    },
    /// Loses the notifications of commits from now on, or delivers them again.
    LoseSignals(bool),
    /// Erases, expires or compacts events, or holds a run.
    Remove(Remove),
    /// An invalid or expired cursor for the scope.
    BadCursor(ScopeSpec, u8),
    Restart {
        power_loss: bool,
    },
}

pub const RUNS: u8 = 4;

pub fn case() -> impl Strategy<Value = (Setup, Vec<Op>)> {
    (setup(), prop::collection::vec(op(), 1..70))
}

fn setup() -> impl Strategy<Value = Setup> {
    let sizes = (1..12usize, prop_oneof![Just(1usize), 200..3_000usize], 1..30usize, 1..12usize);
    let bytes = prop_oneof![Just(1usize), 150..1_500usize, Just(1usize << 20)];
    (any::<bool>(), any::<bool>(), sizes, bytes.clone(), bytes, 1..4u32).prop_map(
        |(strict, threads, sizes, page_bytes, batch_bytes, read_connections)| {
            let (window_events, window_bytes, unflushed_entries, commit_events) = sizes;
            Setup {
                strict,
                threads,
                window_events,
                window_bytes,
                unflushed_entries,
                commit_events,
                page_bytes,
                batch_bytes,
                read_connections,
            }
        },
    )
}

fn event() -> impl Strategy<Value = EventSpec> {
    let id = prop_oneof![
        4 => Just(Id::None),
        4 => (0..12u8).prop_map(Id::Own),
        1 => any::<Index>().prop_map(Id::Assigned),
    ];
    let other = prop_oneof![9 => Just(0u8), 1 => 1..3u8];
    let occurred_at = prop_oneof![Just(None), any::<i32>().prop_map(Some)];
    (id, 0..512u16, other, occurred_at).prop_map(|(id, seed, other, occurred_at)| EventSpec {
        id,
        seed,
        other,
        occurred_at,
    })
}

fn publish() -> impl Strategy<Value = PublishSpec> {
    let events = prop_oneof![
        4 => prop::collection::vec(event(), 1..2),
        2 => prop::collection::vec(event(), 2..6),
        1 => prop::collection::vec(event(), 6..25),
    ];
    let expect = prop_oneof![
        6 => Just(Expect::Nothing),
        2 => Just(Expect::Right),
        1 => (1..4u64).prop_map(Expect::Wrong),
    ];
    (0..RUNS, events, expect).prop_map(|(run, events, expect)| PublishSpec { run, events, expect })
}

fn scope() -> impl Strategy<Value = ScopeSpec> {
    prop_oneof![2 => (0..RUNS).prop_map(Some), 1 => Just(None)]
}

fn subscribe() -> impl Strategy<Value = SubscribeSpec> {
    let start = prop_oneof![
        3 => Just(StartSpec::Beginning),
        1 => Just(StartSpec::Latest),
        2 => (0..9u32).prop_map(StartSpec::Tail),
        2 => any::<Index>().prop_map(StartSpec::Seen),
    ];
    let filter = prop_oneof![2 => Just(0u8), 1 => 1..9u8];
    (scope(), start, filter, prop::bool::weighted(0.25), any::<bool>(), 0..7usize).prop_map(
        |(scope, start, filter, keep_open, wait_for_run, max_batch)| SubscribeSpec {
            scope,
            start,
            filter,
            keep_open,
            wait_for_run,
            max_batch,
        },
    )
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![Just(Loss::Answer), Just(Loss::Commit), Just(Loss::Delay)]
}

fn op() -> impl Strategy<Value = Op> {
    let list = (scope(), 0..9u8, any::<bool>(), 1..9usize, prop::option::of(any::<Index>()));
    prop_oneof![
        14 => publish().prop_map(Op::Submit),
        2 => (publish(), loss()).prop_map(|(publish, loss)| Op::SubmitInVain(publish, loss)),
        2 => any::<Index>().prop_map(Op::Retry),
        1 => Just(Op::Deliver),
        6 => Just(Op::Settle),
        6 => subscribe().prop_map(Op::Subscribe),
        8 => (any::<Index>(), 1..4u8).prop_map(|(reader, frames)| Op::Read(reader, frames)),
        4 => any::<Index>().prop_map(Op::Poll),
        4 => any::<Index>().prop_map(Op::CatchUp),
        2 => any::<Index>().prop_map(Op::Drop),
        3 => any::<Index>().prop_map(Op::Resume),
        3 => list.prop_map(|(scope, filter, descending, page_size, from)| {
            Op::List { scope, filter, descending, page_size, from }
        }),
        1 => any::<bool>().prop_map(Op::LoseSignals),
        1 => (scope(), 0..5u8).prop_map(|(scope, kind)| Op::BadCursor(scope, kind)),
        6 => removal_specs::remove().prop_map(Op::Remove),
        1 => any::<bool>().prop_map(|power_loss| Op::Restart { power_loss }),
    ]
}

//! Appends that have left the channel of the commit queue ahead of their group: small ones that wait for further deltas, and
//! large ones, which small ones may overtake. All keep their space in the queue.

use std::collections::VecDeque;

use foldhash::HashMap;
use tokio::time::Instant;

use super::group::{QueuedAppend, Request};
use crate::store::{Append, RunKey, Sequence};

/// Approximate memory of an append, in bytes, from which the append is large. Below, an append adds less to the time of a
/// commit than the sync of the disk takes.
pub const LARGE_BYTES: usize = 256 << 10;

/// Whether an append of these bytes is large by itself. Imports are.
pub fn is_large(append: &Append, bytes: usize) -> bool {
    bytes >= LARGE_BYTES || append.import().is_some()
}

/// Small and large appends, each in the order of their acceptance. An append behind a large one of its run or its sequence
/// counts as large, so that it is not stored before that one; so do imports, always.
#[derive(Default)]
pub struct HeldAppends {
    small: VecDeque<Request>,
    large: VecDeque<Request>,
    /// Number of held large appends of each run and sequence, and of imports.
    large_of: HashMap<Order, usize>,
    /// Events and bytes of the small appends, and how many of these must not wait.
    events: usize,
    bytes: usize,
    due: usize,
}

/// Appends that are stored in the order of their acceptance.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Order {
    Run(RunKey),
    Sequence(Sequence),
    Imports,
}

impl Order {
    /// The orders that an append is part of.
    fn of(QueuedAppend { run, append }: &QueuedAppend) -> impl Iterator<Item = Self> {
        let import = append.import().map(|_| Self::Imports);
        [Some(Self::Run(run.clone())), append.sequence.map(Self::Sequence), import].into_iter().flatten()
    }
}

impl HeldAppends {
    /// Adds an append behind the others of its size.
    pub fn push(&mut self, request: Request) {
        if self.is_large(&request) {
            for order in Order::of(&request.append) {
                *self.large_of.entry(order).or_default() += 1;
            }
            self.large.push_back(request);
            return;
        }
        self.events += request.append.append.events.len();
        self.bytes += request.bytes;
        self.due += usize::from(request.waits_until.is_none());
        self.small.push_back(request);
    }

    /// Whether an append counts as large.
    pub fn is_large(&self, request: &Request) -> bool {
        is_large(&request.append.append, request.bytes)
            || (!self.large.is_empty() && Order::of(&request.append).any(|order| self.large_of.contains_key(&order)))
    }

    /// Takes the first small append.
    pub fn pop_small(&mut self) -> Option<Request> {
        let request = self.small.pop_front()?;
        self.events -= request.append.append.events.len();
        self.bytes -= request.bytes;
        self.due -= usize::from(request.waits_until.is_none());
        Some(request)
    }

    /// Takes the first append of the large ones if it has at most these bytes, unless small ones are held: these may be earlier
    /// ones of its run.
    pub fn pop_large(&mut self, most_bytes: usize) -> Option<Request> {
        if !self.small.is_empty() {
            return None;
        }
        let request = self.large.pop_front_if(|request| request.bytes <= most_bytes)?;
        for order in Order::of(&request.append) {
            if let Some(held) = self.large_of.get_mut(&order) {
                *held -= 1;
                if *held == 0 {
                    self.large_of.remove(&order);
                }
            }
        }
        Some(request)
    }

    /// End of the wait of the first append; `None` if there is nothing to wait for.
    pub fn waits_until(&self) -> Option<Instant> {
        self.small.front().filter(|_| !self.is_due())?.waits_until
    }

    /// Whether an append must not wait.
    pub fn is_due(&self) -> bool {
        self.due > 0 || self.has_large()
    }

    /// Whether a large append is held.
    pub fn has_large(&self) -> bool {
        !self.large.is_empty()
    }

    /// Number of events of the small appends.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Approximate memory of the small appends, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of appends.
    pub fn len(&self) -> usize {
        self.small.len() + self.large.len()
    }

    /// Whether no append is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{EventType, NewEvent, Payload, RunId};
    use crate::store::commit::queue::{CommitQueueReceiver, Group, Queue, QueueOptions};
    use crate::store::{Import, ProjectNumber, Receipt, Recorded};

    const SMALL: usize = 100;

    fn append(run: &str, bytes: usize) -> Append {
        let payload = Payload::from_stored(format!("\"{}\"", "x".repeat(bytes)));
        Append::new(RunId::parse(run).unwrap(), vec![NewEvent::new(EventType::parse("t").unwrap(), payload)])
    }

    fn imported(run: &str) -> Append {
        let recorded = Recorded { at: Vec::new(), import: Import::default(), first_seq: None };
        Append { recorded: Some(Box::new(recorded)), ..append(run, SMALL) }
    }

    async fn submit(queue: &Queue, append: Append) -> Receipt {
        queue.submit(ProjectNumber::of(0).unwrap(), append).await.unwrap()
    }

    /// The runs of the next groups, until no append is queued.
    async fn groups(waiting: &mut CommitQueueReceiver) -> Vec<Vec<String>> {
        let mut groups = Vec::new();
        while !waiting.depth().is_idle() {
            groups.push(runs(&waiting.next().await.unwrap()));
        }
        groups
    }

    fn runs(group: &Group) -> Vec<String> {
        group.appends.iter().map(|queued| queued.run.run_id.to_string()).collect()
    }

    #[tokio::test]
    async fn while_small_appends_come_every_second_group_has_large_ones_within_the_limits_of_a_commit() {
        let options = QueueOptions { max_commit_bytes: 2 * LARGE_BYTES + 1_000, ..QueueOptions::default() };
        let (queue, mut waiting) = Queue::new(options);
        for n in 1..=5 {
            submit(&queue, append(&format!("large {n}"), LARGE_BYTES)).await;
        }
        let mut taken = Vec::new();
        for n in 1..=4 {
            submit(&queue, append(&format!("small {n}"), SMALL)).await;
            taken.push(runs(&waiting.next().await.unwrap()));
        }
        assert_eq!(taken[0], ["small 1"]);
        assert_eq!(taken[1], ["small 2", "large 1", "large 2"]);
        assert_eq!(taken[2], ["small 3"]);
        assert_eq!(taken[3], ["small 4", "large 3", "large 4"]);
        assert_eq!(groups(&mut waiting).await, [["large 5"]], "and no small one is there to wait for");
    }

    #[tokio::test]
    async fn where_small_appends_fill_the_groups_large_ones_have_as_much_room_in_every_second_one() {
        let options = QueueOptions { max_commit_events: 4, ..QueueOptions::default() };
        let (queue, mut waiting) = Queue::new(options);
        for _ in 0..6 {
            submit(&queue, append("large", LARGE_BYTES)).await;
        }
        for _ in 0..16 {
            submit(&queue, append("small", SMALL)).await;
        }
        let of = |small: usize, large: usize| [vec!["small"; small], vec!["large"; large]].concat();
        assert_eq!(groups(&mut waiting).await, [of(4, 0), of(4, 4), of(4, 0), of(4, 2)]);
    }

    #[tokio::test]
    async fn imports_keep_their_order_and_share_a_commit_with_publishes_of_other_runs() {
        let (queue, mut waiting) = Queue::new(QueueOptions { max_commit_events: 4, ..QueueOptions::default() });
        for append in [imported("a"), imported("b"), append("c", SMALL), append("a", SMALL), imported("d")] {
            submit(&queue, append).await;
        }
        assert_eq!(groups(&mut waiting).await, [vec!["c", "a", "b", "a"], vec!["d"]]);
    }

    #[tokio::test]
    async fn large_appends_leave_a_part_of_the_queue_to_small_ones() {
        let options =
            QueueOptions { queue_bytes: 4 * LARGE_BYTES, queue_wait: Duration::ZERO, ..QueueOptions::default() };
        let (queue, mut waiting) = Queue::new(options);
        let project = ProjectNumber::of(0).unwrap();
        // With what an event takes beside its payload, three are more than three quarters.
        for n in 0..2 {
            submit(&queue, append(&format!("large {n}"), LARGE_BYTES)).await;
        }
        let third = queue.submit(project, append("large 2", LARGE_BYTES)).await;
        assert_eq!(third.unwrap_err().reason(), "OVERLOADED");
        submit(&queue, append("small", SMALL)).await;
        drop(waiting.next().await);
        drop(waiting.next().await);
        submit(&queue, append("large 2", LARGE_BYTES)).await;
    }

    proptest! {
        /// Whatever is queued and taken in whatever turns: nothing is lost, each run and each sequence keeps its order.
        #[test]
        fn appends_of_a_run_and_of_a_sequence_keep_their_order(
            steps in proptest::collection::vec((0..5_usize, 0..4_usize, 0..6_usize), 1..60),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let options = QueueOptions { max_commit_events: 4, max_commit_bytes: LARGE_BYTES, ..QueueOptions::default() };
                let (queue, mut waiting) = Queue::new(options);
                let sequences = [Sequence::begin(), Sequence::begin()];
                let mut taken = Vec::new();
                for (number, (run, sequence, kind)) in steps.iter().enumerate() {
                    let bytes = if *kind == 0 { LARGE_BYTES } else { number };
                    let run = format!("{run}");
                    let append = if *kind == 1 { imported(&run) } else { append(&run, bytes) };
                    // The number of the append is its time.
                    let mut append = Append { sequence: sequences.get(*sequence).copied(), ..append };
                    append.events[0].sent_seconds = Some(number as f64);
                    submit(&queue, append).await;
                    if *kind > 3 {
                        taken.extend(waiting.next().await.unwrap().appends);
                    }
                }
                while !waiting.depth().is_idle() {
                    taken.extend(waiting.next_of(1).await.appends);
                }
                assert_eq!(taken.len(), steps.len());
                let mut last: HashMap<Order, f64> = HashMap::new();
                for queued in taken {
                    let number = queued.append.events[0].sent_seconds.unwrap();
                    for order in Order::of(&queued) {
                        let before = last.insert(order, number);
                        assert!(before.is_none_or(|before| before < number), "{number} was taken after {before:?}");
                    }
                }
            });
        }
    }
}

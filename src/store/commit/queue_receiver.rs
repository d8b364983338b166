//! The receiving end of the commit queue: appends are taken in groups, one for each commit. With
//! [`QueueOptions::coalesce_deltas`] a group of deltas alone waits for further deltas, so that many of them cost one commit and
//! one frame of each reader.
//!
//! Small appends overtake large ones, so that a small one waits for one large commit, or two if they are planned ahead, and not
//! for all that are queued. While both are queued, every second group has large ones, as many as a group of them alone.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::backpressure::Backpressure;
use super::group::{Group, Request};
use super::held_appends::{HeldAppends, LARGE_BYTES};
use super::progress::Progress;
use super::queue_depth::QueueDepth;
use super::queue_options::QueueOptions;
use super::reply::Replies;
use crate::domain::Error;
use crate::store::Latch;

/// The receiving end of the queue, owned by the committer.
pub struct CommitQueueReceiver {
    pub(super) requests: mpsc::Receiver<Request>,
    /// Appends that have left the channel.
    pub(super) held: HeldAppends,
    pub(super) depth: Arc<QueueDepth>,
    pub(super) progress: Arc<Progress>,
    pub(super) backpressure: Arc<Backpressure>,
    pub(super) options: QueueOptions,
    pub(super) closing: Latch,
    /// Whether the last group contained more than one append.
    pub(super) had_company: bool,
    /// Whether the last group left large appends behind, so that the next one takes some.
    pub(super) is_turn_of_large: bool,
}

impl CommitQueueReceiver {
    /// Whether the queue accepts no appends any more.
    pub fn is_closing(&self) -> bool {
        self.closing.is_set()
    }

    /// The shared counter of queued appends.
    pub fn depth(&self) -> Arc<QueueDepth> {
        Arc::clone(&self.depth)
    }

    /// The next group: all queued appends up to the limits of a commit. Waits for the first append, and after deltas for
    /// further ones. `None` after the queue is closed and empty.
    pub async fn next(&mut self) -> Option<Group> {
        while self.held.is_empty() {
            tokio::select! {
                biased;
                first = self.requests.recv() => self.held.push(first?),
                () = self.closing.wait(), if !self.requests.is_closed() => self.requests.close(),
            }
        }
        self.wait_for_deltas().await;
        let mut group = self.group();
        self.take(&mut group);
        // The first append may have woken the committer before other producers ran in the same scheduler round. If the
        // last group had several appends, one yield lets these producers join the commit; a lone producer is not
        // delayed.
        if self.had_company && self.has_room(&group) {
            tokio::task::yield_now().await;
            self.take(&mut group);
        }
        self.take_large(&mut group);
        self.had_company = group.appends.len() > 1;
        Some(group)
    }

    /// The next group after `appends` appends are queued, and the wait of deltas among them is over; used while a commit is
    /// in progress. Dropping the future takes no append from the queue.
    pub async fn next_of(&mut self, appends: usize) -> Group {
        self.depth.wait_for(appends).await;
        self.wait_for_deltas().await;
        let mut group = self.group();
        self.take(&mut group);
        self.take_large(&mut group);
        self.had_company = group.appends.len() > 1;
        group
    }

    /// Waits while deltas alone are queued: until their time has passed, a group is full, a publisher waits for space, or
    /// the queue is closed. Dropping the future keeps the appends, their order and their time.
    async fn wait_for_deltas(&mut self) {
        self.receive_deltas();
        let Some(end) = self.held.waits_until() else { return };
        let mut end = pin!(sleep_until(end));
        while self.may_wait() {
            tokio::select! {
                biased;
                () = self.closing.wait() => return,
                () = &mut end => return,
                () = self.backpressure.begun() => {}
                next = self.requests.recv() => match next {
                    Some(next) => self.held.push(next),
                    None => return,
                },
            }
            self.receive_deltas();
        }
    }

    /// Holds queued deltas, up to a full group or the first append that must not wait.
    fn receive_deltas(&mut self) {
        while self.may_wait() {
            let Ok(next) = self.requests.try_recv() else { break };
            self.held.push(next);
        }
    }

    /// Whether the held appends may wait for further deltas.
    fn may_wait(&self) -> bool {
        let has_room = self.is_below_limits(self.held.events(), self.held.bytes());
        has_room && !self.held.is_due() && !self.backpressure.is_on() && !self.closing.is_set()
    }

    fn group(&self) -> Group {
        let appends = self.depth.queued().min(self.options.max_commit_events);
        let replies = Replies::new(Arc::clone(&self.progress), appends);
        Group { appends: Vec::with_capacity(appends), replies, events: 0, bytes: 0 }
    }

    /// Adds queued small appends to the group, up to the limits of a commit.
    pub fn take(&mut self, group: &mut Group) {
        let before = group.appends.len();
        while self.has_room(group) {
            let Some(next) = self.held.pop_small().or_else(|| self.receive_small()) else { break };
            group.add(next);
        }
        self.depth.dec(group.appends.len() - before);
    }

    /// The next small append in the channel; large ones before it are held.
    fn receive_small(&mut self) -> Option<Request> {
        loop {
            let next = self.requests.try_recv().ok()?;
            if !self.held.is_large(&next) {
                return Some(next);
            }
            self.held.push(next);
        }
    }

    /// Adds large appends. If it is their turn, or no small one is in the group: the first one, and more up to the limits of a
    /// commit for them alone. Else those that are small themselves and only wait behind others, while the group has room.
    fn take_large(&mut self, group: &mut Group) {
        let is_turn = group.appends.is_empty() || self.is_turn_of_large;
        let (small_events, small_bytes) = if is_turn { (group.events, group.bytes) } else { (0, 0) };
        let largest = if is_turn { usize::MAX } else { LARGE_BYTES - 1 };
        let mut most_bytes = largest;
        while self.is_below_limits(group.events - small_events, group.bytes - small_bytes)
            && let Some(next) = self.held.pop_large(most_bytes)
        {
            self.depth.dec(1);
            group.add(next);
            most_bytes = largest.min(self.options.max_commit_bytes.saturating_sub(group.bytes - small_bytes));
        }
        self.is_turn_of_large = self.held.has_large() && !is_turn;
    }

    /// Answers all appends queued at the moment with an error, without planning them.
    pub fn refuse(&mut self, error: &Error) {
        for _ in 0..self.held.len() + self.requests.len() {
            let held = self.held.pop_small().or_else(|| self.held.pop_large(usize::MAX));
            let Some(request) = held.or_else(|| self.requests.try_recv().ok()) else { break };
            self.depth.dec(1);
            request.reply.answer(Err(error.clone()));
        }
    }

    fn has_room(&self, group: &Group) -> bool {
        self.is_below_limits(group.events, group.bytes)
    }

    fn is_below_limits(&self, events: usize, bytes: usize) -> bool {
        events < self.options.max_commit_events && bytes < self.options.max_commit_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::poll;
    use tokio::time::{Instant, advance};

    use crate::domain::{EventType, NewEvent, Payload, RunId};
    use crate::store::commit::queue::{CommitQueueReceiver, Group, Queue, QueueOptions};
    use crate::store::{Append, Condition, Import, ProjectNumber, Receipt, Recorded};

    const WINDOW: Duration = Duration::from_millis(20);

    fn queue(change: impl FnOnce(&mut QueueOptions)) -> (Queue, CommitQueueReceiver) {
        let mut options = QueueOptions { coalesce_deltas: WINDOW, ..QueueOptions::default() };
        change(&mut options);
        Queue::new(options)
    }

    fn event(event_type: &str) -> NewEvent {
        NewEvent::new(EventType::parse(event_type).unwrap(), Payload::from_stored("{}"))
    }

    fn append(types: &[&str]) -> Append {
        Append::new(RunId::parse("r").unwrap(), types.iter().map(|event_type| event(event_type)).collect())
    }

    async fn submit(queue: &Queue, append: Append) -> Receipt {
        queue.submit(ProjectNumber::of(0).unwrap(), append).await.unwrap()
    }

    async fn submit_deltas(queue: &Queue, count: usize) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for _ in 0..count {
            receipts.push(submit(queue, append(&["step.progress"])).await);
        }
        receipts
    }

    fn types(group: &Group) -> Vec<String> {
        let events = group.appends.iter().flat_map(|queued| &queued.append.events);
        events.map(|event| event.event_type.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn deltas_wait_for_those_that_come_within_the_window_of_the_first() {
        let (queue, mut waiting) = queue(|_| ());
        let mut next = Box::pin(waiting.next());
        assert!(poll!(&mut next).is_pending());
        let began = Instant::now();
        for _ in 0..4 {
            submit_deltas(&queue, 2).await;
            assert!(poll!(&mut next).is_pending());
            advance(WINDOW / 5).await;
        }
        assert_eq!(next.await.unwrap().appends.len(), 8);
        assert_eq!(began.elapsed(), WINDOW, "a later delta does not lengthen the wait");
        let began = Instant::now();
        submit_deltas(&queue, 1).await;
        assert_eq!(waiting.next().await.unwrap().appends.len(), 1);
        assert_eq!(began.elapsed(), WINDOW, "a lone delta waits for the window, and no longer");
    }

    #[tokio::test(start_paused = true)]
    async fn any_other_append_takes_the_waiting_deltas_along_at_once_and_in_order() {
        let recorded = Recorded { at: Vec::new(), import: Import::default(), first_seq: None };
        let others = [
            append(&["step.done"]),
            append(&["step.progress", "step"]),
            Append { condition: Some(Condition::NotEnded), ..append(&["content_delta"]) },
            Append { recorded: Some(Box::new(recorded)), ..append(&["content_delta"]) },
            Append { completion: Some(Box::new(event("run_end"))), ..append(&["content_delta"]) },
        ];
        for other in others {
            let (queue, mut waiting) = queue(|_| ());
            let mut expected = vec!["step.progress".to_owned(); 2];
            expected.extend(other.events.iter().map(|event| event.event_type.to_string()));
            let began = Instant::now();
            let mut next = Box::pin(waiting.next());
            submit_deltas(&queue, 2).await;
            assert!(poll!(&mut next).is_pending());
            submit(&queue, other.clone()).await;
            assert_eq!(types(&next.await.unwrap()), expected);
            submit(&queue, other).await;
            assert_eq!(waiting.next().await.unwrap().appends.len(), 1);
            assert_eq!(began.elapsed(), Duration::ZERO, "it does not wait itself");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_group_or_a_publisher_that_waits_for_space_ends_the_wait() {
        let began = Instant::now();
        let (events, mut waiting) = queue(|options| options.max_commit_events = 3);
        submit_deltas(&events, 4).await;
        assert_eq!(waiting.next().await.unwrap().appends.len(), 3);
        let (bytes, mut waiting) = queue(|options| options.max_commit_bytes = 300);
        submit_deltas(&bytes, 4).await;
        assert_eq!(waiting.next().await.unwrap().appends.len(), 2);
        let (full, mut waiting) = queue(|options| options.queue_events = 2);
        let _receipts = submit_deltas(&full, 2).await;
        let mut third = Box::pin(submit_deltas(&full, 1));
        let mut next = Box::pin(waiting.next());
        assert!(poll!(&mut next).is_pending());
        assert!(poll!(&mut third).is_pending());
        let group = next.await.unwrap();
        assert_eq!((group.appends.len(), began.elapsed()), (2, Duration::ZERO));
        drop(group);
        third.await;
        assert_eq!((waiting.next().await.unwrap().appends.len(), began.elapsed()), (1, WINDOW));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_queue_ends_the_wait() {
        let began = Instant::now();
        let (queue, mut waiting) = queue(|_| ());
        let mut next = Box::pin(waiting.next());
        submit_deltas(&queue, 2).await;
        assert!(poll!(&mut next).is_pending());
        queue.close();
        assert_eq!(next.await.unwrap().appends.len(), 2);
        assert!(waiting.next().await.is_none());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_window_deltas_wait_for_nothing() {
        let began = Instant::now();
        let (queue, mut waiting) = queue(|options| options.coalesce_deltas = Duration::ZERO);
        submit_deltas(&queue, 2).await;
        assert_eq!(waiting.next().await.unwrap().appends.len(), 2);
        submit_deltas(&queue, 1).await;
        assert_eq!(waiting.next_of(1).await.appends.len(), 1);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_dropped_goes_on_with_its_appends_their_order_and_its_end() {
        let (queue, mut waiting) = queue(|_| ());
        let (depth, began) = (waiting.depth(), Instant::now());
        let _receipts = submit_deltas(&queue, 2).await;
        assert!(poll!(Box::pin(waiting.next_of(1))).is_pending());
        assert!(!depth.is_idle(), "they are still queued");
        advance(WINDOW / 2).await;
        submit(&queue, append(&["content_delta"])).await;
        assert!(poll!(Box::pin(waiting.next_of(4))).is_pending());
        let group = waiting.next_of(3).await;
        assert_eq!((types(&group).pop().unwrap().as_str(), began.elapsed()), ("content_delta", WINDOW));
        assert!(depth.is_idle());
        drop(group);
        let receipts = submit_deltas(&queue, 2).await;
        assert!(poll!(Box::pin(waiting.next_of(1))).is_pending());
        waiting.refuse(&crate::domain::Error::StoreUnavailable);
        for receipt in receipts {
            assert_eq!(receipt.stored().await.unwrap_err().reason(), "STORE_UNAVAILABLE");
        }
        assert!(depth.is_idle());
    }
}

//! The expected frames of a subscription: from its cursor on every event that passes the filter, once, in order
//! (promise 4), the end of the run not too early (promise 6), and a valid cursor with each frame (promise 5).

use runlog::codec::record;
use runlog::domain::{Error, EventFilter, Result, Scope};
use runlog::service::subscribe::{Frame, FrameKind, Start, Subscribe, Subscription};
use runlog::transport::frames;
use tokio::time::timeout;

use crate::listing::offset;
use crate::ops::{ScopeSpec, SubscribeSpec};
use crate::oracle::{self, Oracle};
use crate::server::{GUARD, Server};
use crate::world::Seen;

/// The next frame of a subscription; `None` after the last.
pub async fn next_frame(live: &mut Subscription) -> Result<Option<Frame>> {
    Ok(frames::next(live, None).await?.map(|(frame, _)| frame))
}

/// Checks the refusal of a cursor whose next event is not kept any more; returns the cursor before the first one that is.
pub fn check_expired(server: &Server, oracle: &Oracle, scope: ScopeSpec, sent: &str, error: &Error) -> String {
    let Error::CursorExpired { cursor, first } = error else { panic!("{sent} was refused with {error:?}") };
    assert_eq!(cursor, sent);
    assert_eq!(offset(&server.store, &oracle::scope(scope), first), oracle.first(scope) - 1, "{error:?}");
    first.clone()
}

/// A reader, across several subscriptions.
pub struct Reader {
    pub live: Option<Subscription>,
    pub cursor: String,
    pub scope: ScopeSpec,
    filter: EventFilter,
    request: Subscribe,
    /// The offset of `cursor`.
    at: u64,
    /// The acknowledged end at the start of the subscription.
    replay_end: u64,
    caught_up: bool,
    end_announced: bool,
    /// The last due frame was a heartbeat without progress.
    was_silent: bool,
}

impl Reader {
    /// A new reader. `from` is the offset of its cursor, `acked` the acknowledged end of the scope before the start.
    pub fn new(spec: &SubscribeSpec, request: Subscribe, from: u64, acked: u64) -> Self {
        Self {
            live: None,
            cursor: String::new(),
            scope: spec.scope,
            filter: oracle::filter(spec.filter),
            request,
            at: from,
            replay_end: acked,
            caught_up: false,
            end_announced: false,
            was_silent: false,
        }
    }

    /// The request that resumes from the reader's cursor.
    pub fn resumption(&self) -> Subscribe {
        Subscribe { start: Start::After(self.cursor.clone()), ..self.request.clone() }
    }

    /// Attaches a subscription; the first subscription decides the start of the reader.
    pub fn began(&mut self, server: &Server, oracle: &Oracle, live: Subscription, acked: u64) {
        let cursor = live.cursor();
        let at = offset(&server.store, &oracle::scope(self.scope), &cursor);
        if self.cursor.is_empty() {
            self.check_start(oracle, at, acked);
        } else {
            assert_eq!(at, oracle.start(self.scope, self.at), "a resumed subscription stands at its cursor");
        }
        (self.cursor, self.at, self.replay_end) = (cursor, at, acked);
        (self.caught_up, self.end_announced) = (false, false);
        self.live = Some(live);
    }

    fn check_start(&self, oracle: &Oracle, at: u64, acked: u64) {
        let (_, handed_in) = oracle.end(self.scope);
        let known = if self.scope.is_some() { handed_in } else { oracle.feed.len() as u64 };
        let gone = oracle.first(self.scope) - 1;
        let passing =
            |from: u64, to: u64| (from + 1..=to).filter(|c| oracle.passes(self.scope, &self.filter, *c)).count();
        let fits = |end: u64| match &self.request.start {
            Start::After(_) => at == oracle.start(self.scope, self.at),
            Start::Latest | Start::Tail(0) => at == end,
            Start::Tail(count) => {
                (gone..=end).contains(&at) && passing(at, end) == passing(gone, end).min(*count as usize)
            }
        };
        assert!((acked..=known).any(fits), "{:?} began at {at}, the end being {acked} to {known}", self.request.start);
    }

    /// Whether the end was delivered and the stream must close.
    pub fn is_over(&self) -> bool {
        self.end_announced && !self.request.keep_open
    }

    /// Whether a frame is due, given the acknowledged events.
    pub fn is_owed(&self, oracle: &Oracle) -> bool {
        let (acked, _) = oracle.end(self.scope);
        let has_ended = |run: u8| oracle.runs[usize::from(run)].ended.is_some_and(|(seq, _)| seq <= acked);
        let ends = self.scope.is_some_and(has_ended) && !self.end_announced;
        self.live.is_some()
            && !self.is_over()
            && (!self.caught_up || ends || (self.at + 1..=acked).any(|c| oracle.passes(self.scope, &self.filter, c)))
    }

    /// Waits for a frame that is due, or for a refusal.
    pub async fn due(&mut self) -> Result<Frame> {
        let place = format!("{:?} after {:?}, caught up: {}", self.request, self.cursor, self.caught_up);
        let next = timeout(GUARD, next_frame(self.live.as_mut().unwrap())).await;
        let next = next.unwrap_or_else(|_| panic!("what is due does not come: {place}"));
        let frame = next?.expect("no end yet");
        let is_silence = matches!(frame.kind, FrameKind::Heartbeat) && frame.cursor == self.cursor;
        // A heartbeat that finds only the end may come before the end.
        assert!(!(is_silence && self.was_silent), "nothing but heartbeats in place of what is due: {place}");
        self.was_silent = is_silence;
        Ok(frame)
    }

    /// Checks a frame or a refusal; see [`received`](Self::received).
    pub fn answered(&mut self, server: &Server, oracle: &Oracle, next: Result<Frame>, acked: u64) -> Seen {
        match next {
            Ok(frame) => self.received(server, oracle, &frame, acked),
            Err(error) => {
                self.overtaken(server, oracle, &error);
                Seen { scope: self.scope, cursor: self.cursor.clone(), at: self.at }
            }
        }
    }

    /// Handles the refusal of the cursor: the next event is not kept any more. The reader goes on from the named one.
    pub fn overtaken(&mut self, server: &Server, oracle: &Oracle, error: &Error) {
        // The cursor 0 is no position, but that of a subscription under way is one.
        let is_expired = self.at + 1 < oracle.first(self.scope) && (self.at > 0 || self.live.is_some());
        assert!(is_expired, "{error:?} after {} of {:?}", self.at, self.scope);
        // Beyond the last frame, if the filter has held events back since.
        let sent = self.live.as_ref().map_or(self.cursor.clone(), Subscription::cursor);
        self.cursor = check_expired(server, oracle, self.scope, &sent, error);
        self.at = oracle.first(self.scope) - 1;
        self.live = None;
    }

    /// Checks a frame. `acked` is the end that was acknowledged, and announced to the hub, before the read.
    fn received(&mut self, server: &Server, oracle: &Oracle, frame: &Frame, acked: u64) -> Seen {
        assert!(!self.is_over(), "nothing comes after the end: {frame:?}");
        let before = self.at;
        let scope = oracle::scope(self.scope);
        self.at = offset(&server.store, &scope, &frame.cursor);
        self.cursor.clone_from(&frame.cursor);
        let live = self.live.as_ref().unwrap();
        assert_eq!(live.cursor(), frame.cursor);
        match &frame.kind {
            FrameKind::Events(batches) => {
                let mut events = Vec::new();
                for batch in batches {
                    let mut rest = batch.data.clone();
                    while !rest.is_empty() {
                        events.push(record::decode(record::split_entry(&mut rest).unwrap()).unwrap());
                    }
                }
                let asked = if self.request.max_batch == 0 { 100 } else { self.request.max_batch };
                assert!(!events.is_empty() && events.len() <= asked, "{} events of {asked}", events.len());
                self.check_silence(oracle, before, events.len());
                let due = (before + 1..=self.at).filter(|c| oracle.passes(self.scope, &self.filter, *c));
                for (offset, event) in due.zip(&events) {
                    oracle.check(self.scope, offset, event);
                }
            }
            FrameKind::CaughtUp { last_seq } => {
                self.check_silence(oracle, before, 0);
                assert!(!std::mem::replace(&mut self.caught_up, true), "caught up is received once");
                assert!(self.at >= self.replay_end, "all that was stored at the beginning is received before");
                assert_eq!(*last_seq, if matches!(scope, Scope::Run(_)) { self.at } else { 0 });
            }
            FrameKind::Heartbeat => self.check_silence(oracle, before, 0),
            FrameKind::Ended { status, last_seq } => {
                self.check_silence(oracle, before, 0);
                assert!(!std::mem::replace(&mut self.end_announced, true), "the end is received once");
                assert!(self.caught_up, "the end comes after the replay");
                let run = &oracle.runs[usize::from(self.scope.expect("the feed has no end"))];
                let (final_seq, final_status) = run.ended.expect("the run has ended");
                assert_eq!((*status, *last_seq), (final_status, self.at));
                assert!(*last_seq >= final_seq.max(acked), "{last_seq} of {acked}, ended at {final_seq}");
            }
        }
        Seen { scope: self.scope, cursor: frame.cursor.clone(), at: self.at }
    }

    /// Handles the end of the server: the resume cursor may lie beyond events that the filter holds back.
    pub fn cut(&mut self, server: &Server, oracle: &Oracle, cursor: &str) {
        let before = self.at;
        self.at = offset(&server.store, &oracle::scope(self.scope), cursor);
        self.cursor = cursor.to_owned();
        self.check_silence(oracle, before, 0);
    }

    /// The number of delivered events equals the number of events between the two cursors: no gap, no duplicate.
    fn check_silence(&self, oracle: &Oracle, before: u64, received: usize) {
        assert!(self.at >= before, "a cursor never goes back: {before} to {}", self.at);
        let due = (before + 1..=self.at).filter(|c| oracle.passes(self.scope, &self.filter, *c)).count();
        assert_eq!(received, due, "{received} of the {due} events after {before} and up to {} were received", self.at);
    }
}

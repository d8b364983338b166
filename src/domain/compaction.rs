//! Compaction of deltas: once a step is done, its text is in `step.done` as a whole, and the deltas of the text may become one.

use super::event::{Event, Removal};
use super::json::redaction::members::{decode_string, members};

/// Type of the events that hold deltas, and their `kind`.
const DELTA: (&str, &str) = ("step.progress", "content_delta");

/// Type of the event that ends a step, with the whole text.
pub const STEP_DONE: &str = "step.done";

/// Member with the text of a delta.
const TEXT: &str = "content_delta";

/// Most deltas in one replacement, which is one transaction of the store.
pub const GROUP: usize = 500;

/// Replacement of neighbouring deltas of a step by the last of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// Seqs of the deltas that lose their payload, descending.
    pub removed: Vec<u64>,
    /// Seq of the last delta, which gets the joined text.
    pub last: u64,
    /// Payload of the last delta with the joined text, all else as sent.
    pub payload: String,
}

/// The deltas of a step, collected from its end backwards.
#[derive(Debug)]
pub struct StepDeltas {
    task: Option<String>,
    content: String,
    /// Newest first.
    deltas: Vec<Delta>,
    /// Payload of each [`GROUP`]th delta.
    payloads: Vec<String>,
}

/// A delta, which has the text of the step from here to the next delta.
#[derive(Clone, Copy, Debug)]
struct Delta {
    seq: u64,
    start: usize,
}

/// Whether the deltas of a step are complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Earlier events are needed.
    Incomplete,
    /// All deltas are collected.
    Complete,
    /// The deltas are not the text of the step, or one of them is removed.
    Differs,
}

impl StepDeltas {
    /// For the event that ends a step; `None` for any other event, and without a text.
    #[must_use]
    pub fn before(done: &Event) -> Option<Self> {
        let step = Members::of(done).filter(|_| done.event_type.as_str() == STEP_DONE)?;
        let content = step.string("content").filter(|content| !content.is_empty())?;
        Some(Self { task: step.string("task_id"), content, deltas: Vec::new(), payloads: Vec::new() })
    }

    /// Whether no delta is collected yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deltas.is_empty()
    }

    /// Bytes of the joined text.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.content.len()
    }

    /// Takes the event before those taken so far.
    pub fn take(&mut self, event: &Event) -> Progress {
        let is_step = event.event_type.as_str() == STEP_DONE;
        if !is_step && event.event_type.as_str() != DELTA.0 {
            return Progress::Incomplete;
        }
        match event.removal {
            None => {}
            // Its text is in a later delta.
            Some(Removal::Compacted) => return Progress::Incomplete,
            // It is not known whose event it was.
            Some(_) => return Progress::Differs,
        }
        let Some(members) = Members::of(event) else { return Progress::Incomplete };
        if members.string("task_id") != self.task {
            return Progress::Incomplete;
        }
        if is_step {
            return Progress::Differs;
        }
        if members.string("kind").as_deref() != Some(DELTA.1) {
            return Progress::Incomplete;
        }
        let rest = &self.content[..self.start()];
        let start = members.string(TEXT).and_then(|text| rest.strip_suffix(text.as_str()).map(str::len));
        let Some(start) = start else { return Progress::Differs };
        if self.deltas.len().is_multiple_of(GROUP) {
            self.payloads.push(event.payload.as_str().to_owned());
        }
        self.deltas.push(Delta { seq: event.seq, start });
        if start == 0 { Progress::Complete } else { Progress::Incomplete }
    }

    /// Offset in the text up to which deltas are missing.
    fn start(&self) -> usize {
        self.deltas.last().map_or(self.content.len(), |oldest| oldest.start)
    }

    /// The replacements of complete deltas in their order: first in groups, then the last of each group. Between any two of them the
    /// deltas have the same text together. Empty for a single delta, and where a text cannot be replaced.
    #[must_use]
    pub fn compactions(&self) -> Vec<Compaction> {
        let groups: Vec<&[Delta]> = self.deltas.chunks(GROUP).collect();
        let mut end = self.content.len();
        let mut all = Vec::new();
        for (group, payload) in groups.iter().zip(&self.payloads) {
            let start = group.last().map_or(end, |oldest| oldest.start);
            all.push(compaction(group.iter().map(|delta| delta.seq), payload, &self.content[start..end]));
            end = start;
        }
        if let (Some(payload), 2..) = (self.payloads.first(), groups.len()) {
            let newest = groups.iter().filter_map(|group| group.first());
            all.push(compaction(newest.map(|delta| delta.seq), payload, &self.content));
        }
        let all: Option<Vec<Compaction>> = all.into_iter().collect();
        all.unwrap_or_default().into_iter().filter(|compaction| !compaction.removed.is_empty()).collect()
    }
}

/// Replaces the deltas with these seqs, descending, by the first; `None` if its payload does not have its text once.
fn compaction(mut seqs: impl Iterator<Item = u64>, payload: &str, text: &str) -> Option<Compaction> {
    let last = seqs.next()?;
    let value = Members(members(payload)?).only(TEXT)?;
    // A part of the payload, so the distance of the two is its offset.
    let start = value.as_ptr() as usize - payload.as_ptr() as usize;
    let joined = serde_json::to_string(text).ok()?;
    let payload = [&payload[..start], &joined, &payload[start + value.len()..]].concat();
    Some(Compaction { removed: seqs.collect(), last, payload })
}

/// Members of a payload, decoded without loss.
struct Members<'a>(Vec<super::json::redaction::members::Member<'a>>);

impl<'a> Members<'a> {
    fn of(event: &'a Event) -> Option<Self> {
        members(event.payload.as_str()).map(Self)
    }

    /// JSON text of a member that is there once.
    fn only(&self, name: &str) -> Option<&'a str> {
        let mut found = self.0.iter().filter(|member| member.exact_key().as_deref() == Some(name));
        let value = found.next()?.raw_value;
        found.next().is_none().then_some(value)
    }

    /// Text of a member that is there once and is a string.
    fn string(&self, name: &str) -> Option<String> {
        self.only(name).and_then(decode_string).map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventId, EventType, Origin, Payload, RunId};

    fn event(seq: u64, event_type: &str, payload: &str) -> Event {
        let at = jiff::Timestamp::UNIX_EPOCH;
        Event {
            run_id: RunId::parse("r").unwrap(),
            seq,
            event_id: EventId::parse("e").unwrap(),
            event_type: EventType::parse(event_type).unwrap(),
            origin: Origin::User,
            occurred_at: at,
            sent_seconds: None,
            recorded_at: at,
            agent_name: None,
            payload: Payload::from_stored(payload),
            removal: None,
            joined_from: None,
        }
    }

    fn delta(seq: u64, task: &str, text: &str) -> Event {
        let payload = format!(r#"{{ "task_id":"{task}","kind":"content_delta","content_delta":"{text}","n":1.0 }}"#);
        event(seq, "step.progress", &payload)
    }

    fn done(seq: u64, task: &str, content: &str) -> Event {
        event(seq, "step.done", &format!(r#"{{"task_id":"{task}","content":"{content}","outcome":"succeeded"}}"#))
    }

    fn all_compacted(events: &[Event]) -> Option<Vec<Compaction>> {
        let (last, before) = events.split_last().unwrap();
        let mut deltas = StepDeltas::before(last)?;
        for event in before.iter().rev() {
            match deltas.take(event) {
                Progress::Incomplete => {}
                Progress::Complete => return Some(deltas.compactions()),
                Progress::Differs => return None,
            }
        }
        None
    }

    fn compacted(events: &[Event]) -> Option<Compaction> {
        all_compacted(events).and_then(|mut all| all.pop())
    }

    #[test]
    fn many_deltas_are_joined_in_groups_and_their_text_is_whole_at_every_moment() {
        let count = 2 * GROUP as u64 + 3;
        let texts: Vec<String> = (1..=count).map(|seq| format!("{seq},")).collect();
        let mut events: Vec<Event> = (1..).zip(&texts).map(|(seq, text)| delta(seq, "a", text)).collect();
        events.push(done(count + 1, "a", &texts.concat()));
        let compactions = all_compacted(&events).unwrap();
        assert_eq!(compactions.len(), 4);
        for compaction in compactions {
            assert!(compaction.removed.len() < GROUP);
            for event in events.iter_mut().filter(|event| compaction.removed.contains(&event.seq)) {
                event.remove(Removal::Compacted);
            }
            let last = events.iter_mut().find(|event| event.seq == compaction.last).unwrap();
            last.payload = Payload::from_stored(compaction.payload);
            let kept = events.iter().filter(|event| event.removal.is_none() && event.seq <= count);
            let text: String = kept.map(|event| Members::of(event).unwrap().string(TEXT).unwrap()).collect();
            assert_eq!(text, texts.concat());
        }
        assert_eq!(events.iter().filter(|event| event.removal.is_none()).count(), 2, "one delta and the end");
        assert_eq!(all_compacted(&events), Some(vec![]), "nothing is left to do");
    }

    #[test]
    fn the_last_delta_gets_the_joined_text_and_keeps_all_else_as_sent() {
        let events = [
            delta(1, "a", "One "),
            delta(2, "b", "other"),
            event(3, "tool_call", "{}"),
            delta(4, "a", r"tw\u00f6 "),
            delta(5, "a", ""),
            delta(6, "a", r"\ud83d\ude00"),
            done(7, "a", "One twö \u{1f600}"),
        ];
        let payload =
            "{ \"task_id\":\"a\",\"kind\":\"content_delta\",\"content_delta\":\"One twö 😀\",\"n\":1.0 }".to_owned();
        assert_eq!(compacted(&events), Some(Compaction { removed: vec![5, 4, 1], last: 6, payload }));
        let missing = |index: usize| {
            events.iter().enumerate().filter(move |(at, _)| *at != index).map(|(_, event)| event.clone())
        };
        assert_eq!(compacted(&missing(0).collect::<Vec<_>>()), None, "the beginning is missing");
        assert_eq!(compacted(&missing(3).collect::<Vec<_>>()), None, "the middle is missing");
    }

    #[test]
    fn deltas_that_are_not_the_text_of_their_step_stay() {
        assert_eq!(compacted(&[delta(1, "a", "One"), delta(2, "a", "two"), done(3, "a", "One three")]), None);
        assert_eq!(compacted(&[delta(1, "a", "One"), done(2, "a", "One")]), None, "a single one");
        assert_eq!(compacted(&[delta(1, "a", "One"), delta(2, "a", "two"), done(3, "b", "Onetwo")]), None);
        let step_between = [delta(1, "a", "One"), done(2, "a", "x"), delta(3, "a", "two"), done(4, "a", "Onetwo")];
        assert_eq!(compacted(&step_between), None);
        let mut erased = [delta(1, "a", "One"), delta(2, "a", "two"), done(3, "a", "Onetwo")];
        erased[0].remove(Removal::Erased);
        assert_eq!(compacted(&erased), None);
        assert!(StepDeltas::before(&done(1, "a", "")).is_none());
        assert!(StepDeltas::before(&event(1, "step.done", "[]")).is_none());
        assert!(StepDeltas::before(&event(1, "step", r#"{"content":"x"}"#)).is_none());
        let twice = r#"{"task_id":"a","kind":"content_delta","content_delta":"x","content_delta":"two"}"#;
        assert_eq!(compacted(&[delta(1, "a", "One"), event(2, "step.progress", twice), done(3, "a", "Onetwo")]), None);
    }
}

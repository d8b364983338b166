//! Steps whose deltas are compacted while a reader is away, or between two reads of its connection.

use serde_json::json;

use super::*;
use crate::domain::Removal;

/// Deltas of a step, of which each has its seq as its text.
const DELTAS: u64 = 7;

/// A log of the deltas and the end of the step, after a compaction that joined these ranges of seqs.
fn log(joined: &[(u64, u64)]) -> Vec<Event> {
    let delta = |seq: u64| {
        let of = joined.iter().find(|(from, last)| (*from..=*last).contains(&seq));
        let text: String = of.map_or(seq..=seq, |(from, last)| *from..=*last).map(|seq| seq.to_string()).collect();
        let payload = json!({"task_id": "t", "kind": "content_delta", "content_delta": text});
        let mut event = Event { joined_from: of.map(|(from, _)| *from), ..event(seq, "step.progress", &payload) };
        if of.is_some_and(|(_, last)| seq < *last) {
            event.remove(Removal::Compacted);
        }
        event
    };
    let done = event(DELTAS + 1, "step.done", &json!({"task_id": "t", "content": "whole"}));
    (1..=DELTAS).map(delta).chain([done]).collect()
}

/// A message of a reader, with the seqs of its parts.
struct Message {
    id: Value,
    parts: Vec<(u64, String)>,
    is_open: bool,
}

/// A reader that keeps messages over connections by the rule of the documentation.
#[derive(Default)]
struct Reader {
    cursor: u64,
    messages: Vec<Message>,
    dropped: Vec<Value>,
}

impl Reader {
    /// Reads on, up to the event `last`. The log is another one after the event `then.0` of the connection.
    fn read(&mut self, now: &[Event], then: (u64, &[Event]), last: u64) {
        let mut translation = Translation::after(RunId::parse("r").unwrap(), 0, self.cursor);
        let mut connection = Connection::default();
        let cursor = self.cursor;
        for seq in 0..=last {
            let log = if seq <= then.0 { now } else { then.1 };
            let event = usize::try_from(seq).unwrap().checked_sub(1).map(|index| &log[index]);
            let of_event = event.map(|event| translation.translate(event, event.payload.as_str())).unwrap_or_default();
            if seq == cursor {
                self.take(None, &values(&translation.prelude()), &mut connection);
            } else if seq > cursor {
                self.take(event, &values(&of_event), &mut connection);
            }
        }
        self.cursor = last;
    }

    fn take(&mut self, event: Option<&Event>, of_event: &[Value], connection: &mut Connection) {
        for value in of_event {
            connection.take(value);
            let id = &value["messageId"];
            if self.dropped.contains(id) {
                continue;
            }
            match value["type"].as_str().unwrap() {
                // What is open is started again.
                "RUN_STARTED" => self.messages.iter_mut().for_each(|message| message.is_open = false),
                "TEXT_MESSAGE_START" => self.start(id),
                "TEXT_MESSAGE_CONTENT" => self.append(event.unwrap(), value),
                "TEXT_MESSAGE_END" => self.message(id).is_open = false,
                _ => {}
            }
        }
    }

    fn message(&mut self, id: &Value) -> &mut Message {
        self.messages.iter_mut().find(|message| message.id == *id).unwrap()
    }

    /// Goes on with the message where it is there.
    fn start(&mut self, id: &Value) {
        if !self.messages.iter().any(|message| message.id == *id) {
            self.messages.push(Message { id: id.clone(), parts: Vec::new(), is_open: true });
        }
        self.message(id).is_open = true;
    }

    fn append(&mut self, event: &Event, content: &Value) {
        let delta = content["delta"].as_str().unwrap().to_owned();
        for message in self.messages.iter_mut().filter(|message| message.id != content["messageId"]) {
            let parts = message.parts.len();
            message.parts.retain(|(seq, _)| event.joined_from.is_none_or(|from| *seq < from));
            if message.parts.is_empty() && parts > 0 {
                self.dropped.push(message.id.clone());
            }
        }
        self.messages.retain(|message| !self.dropped.contains(&message.id));
        self.message(&content["messageId"]).parts.push((event.seq, delta));
    }

    fn text(&self) -> String {
        self.messages.iter().flat_map(|message| &message.parts).map(|(_, text)| text.as_str()).collect()
    }
}

#[test]
fn a_reader_has_every_text_once_and_no_empty_or_open_message_wherever_it_was_cut_and_deltas_were_joined() {
    let (sent, end) = (log(&[]), DELTAS + 1);
    for joined in [vec![(1, 7)], vec![(3, 7)], vec![(4, 7)], vec![(1, 3), (4, 7)], vec![(2, 3), (4, 5), (6, 7)]] {
        let compacted = log(&joined);
        for (first, second, between) in
            (0..=end).flat_map(|a| (a..=end).map(move |b| (a, b))).flat_map(|(a, b)| (0..=end).map(move |c| (a, b, c)))
        {
            let mut reader = Reader::default();
            if first > 0 {
                reader.read(&sent, (end, &sent), first);
            }
            // The first of these connections may begin before the compaction.
            if second > first {
                reader.read(&sent, (between, &compacted), second);
            }
            reader.read(&compacted, (end, &compacted), end);
            let at = format!("{joined:?}, cut after {first} and {second}, compacted after {between}");
            assert_eq!(reader.text(), "1234567", "{at}");
            assert!(reader.messages.iter().all(|message| !message.parts.is_empty()), "an empty message: {at}");
            assert!(reader.messages.iter().all(|message| !message.is_open), "an open message: {at}");
        }
    }
}

#[test]
fn a_joined_text_goes_where_its_first_delta_was_unless_the_reader_has_a_part_of_it() {
    let joined = |joined: &[(u64, u64)], cursor: u64| {
        let mut translation = Translation::after(RunId::parse("r").unwrap(), 0, cursor);
        let of = |event: &Event| values(&translation.translate(event, event.payload.as_str()));
        let events: Vec<Value> = log(joined).iter().flat_map(of).collect();
        let contents = events.iter().filter(|event| event["type"] == "TEXT_MESSAGE_CONTENT");
        contents.map(|event| event["messageId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (cursor, id) in [(0, "message-1"), (1, "message-1"), (2, "message-7"), (6, "message-7"), (7, "message-1")] {
        assert_eq!(joined(&[(2, 7)], cursor), ["message-1", id], "continued, {cursor}");
    }
    for (cursor, id) in [(0, "message-1"), (1, "message-7"), (6, "message-7"), (7, "message-1")] {
        assert_eq!(joined(&[(1, 7)], cursor), [id], "begun, {cursor}");
    }
}

#[test]
fn a_part_that_a_tool_call_ended_is_a_part_too() {
    let said = |seq: u64, text: &str, joined_from: Option<u64>, translation: &mut Translation| {
        let payload = json!({"task_id": "t", "kind": "content_delta", "content_delta": text});
        let event = Event { joined_from, ..event(seq, "step.progress", &payload) };
        short(&values(&translation.translate(&event, &payload.to_string())))
    };
    let mut run = begin();
    said(1, "One ", None, &mut run);
    let call = json!({"task_id": "t", "kind": "tool_call_start", "tool_name": "find"});
    run.translate(&event(2, "step.progress", &call), &call.to_string());
    // A compaction comes between these reads.
    assert_eq!(said(3, "One two", Some(1), &mut run), ["TEXT_MESSAGE_START message-3", "TEXT_MESSAGE_CONTENT One two"]);
}

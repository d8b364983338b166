//! Records: the stored form of an event, the protobuf encoding of `runlog.v1.Event` with the payload in its `json` variant.
//!
//! A record is also the wire form for readers of JSON payloads. So an event is encoded once, at its commit, and the same bytes
//! are sent to all these readers. The schema here must match `proto/runlog/v1/event.proto`.

mod header;
mod wire;

use bytes::{Buf, Bytes};
use jiff::Timestamp;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, encoded_len_varint};

use crate::domain::error::{Error, Result};
use crate::domain::event::{Event, Origin, Removal};
use crate::domain::event_types::EventType;
use crate::domain::ids::{AgentName, EventId, RunId};
use crate::domain::json::Payload;
pub use header::{Header, agent_name, header, recorded_at};
use wire::{message_length, number_length, put_number, put_text, start_message, text_length};

/// Field number of an entry in a list of records: `events` of `runlog.v1.EventBatch`.
const ENTRY_TAG: u8 = 1;

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(string, tag = "1")]
    run_id: String,
    #[prost(uint64, tag = "2")]
    seq: u64,
    #[prost(string, tag = "3")]
    event_id: String,
    #[prost(string, tag = "4")]
    event_type: String,
    #[prost(int32, tag = "5")]
    origin: i32,
    #[prost(message, optional, tag = "6")]
    occurred_at: Option<Instant>,
    #[prost(message, optional, tag = "7")]
    recorded_at: Option<Instant>,
    #[prost(string, tag = "8")]
    agent_name: String,
    #[prost(message, optional, tag = "10")]
    payload: Option<JsonPayload>,
    #[prost(double, optional, tag = "11")]
    sent_seconds: Option<f64>,
    #[prost(int32, tag = "12")]
    removal: i32,
    #[prost(uint64, tag = "13")]
    joined_from: u64,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, PartialEq, Message)]
struct Instant {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct JsonPayload {
    #[prost(string, tag = "2")]
    json: String,
}

/// Appends the event as one entry (tag, length, record) to a list in the encoding of `runlog.v1.EventBatch`.
///
/// Hand-written to save the copies of all texts into a `Record`; a test compares the bytes with prost's encoding.
pub fn append_entry(event: &Event, out: &mut Vec<u8>) {
    let origin = match event.origin {
        Origin::System => 1,
        Origin::User => 2,
    };
    let (occurred_at, recorded_at) = (instant(event.occurred_at), instant(event.recorded_at));
    let (run_id, event_id, event_type) = (event.run_id.as_str(), event.event_id.as_str(), event.event_type.as_str());
    let agent_name = event.agent_name.as_ref().map_or("", AgentName::as_str);
    let json = event.payload.as_str();
    let removal = event.removal.map_or(0, |removal| removal as u64);
    let joined_from = event.joined_from.unwrap_or(0);
    let (occurred_length, recorded_length) = (occurred_at.encoded_len(), recorded_at.encoded_len());
    let payload_length = text_length(json);
    let length = [run_id, event_id, event_type, agent_name].into_iter().map(text_length).sum::<usize>()
        + number_length(event.seq)
        + number_length(origin)
        + message_length(occurred_length)
        + message_length(recorded_length)
        + message_length(payload_length)
        + event.sent_seconds.map_or(0, |_| 1 + size_of::<f64>())
        + number_length(removal)
        + number_length(joined_from);
    out.reserve(message_length(length));
    start_message(ENTRY_TAG, length, out);
    put_text(1, run_id, out);
    put_number(2, event.seq, out);
    put_text(3, event_id, out);
    put_text(4, event_type, out);
    put_number(5, origin, out);
    start_message(6, occurred_length, out);
    occurred_at.encode_raw(out);
    start_message(7, recorded_length, out);
    recorded_at.encode_raw(out);
    put_text(8, agent_name, out);
    start_message(10, payload_length, out);
    put_text(2, json, out);
    if let Some(seconds) = event.sent_seconds {
        out.push(11 << 3 | WireType::SixtyFourBit as u8);
        out.extend_from_slice(&seconds.to_le_bytes());
    }
    put_number(12, removal, out);
    put_number(13, joined_from, out);
}

/// Appends a record that is encoded already to a list, as an entry.
pub fn append_encoded(record: &[u8], out: &mut Vec<u8>) {
    start_message(ENTRY_TAG, record.len(), out);
    out.extend_from_slice(record);
}

// Field numbers are below 16, so a tag takes one byte. Empty and zero values are left out, as in proto3.

/// Size of the tag and length that [`append_entry`] puts before a record of this length, in bytes.
#[must_use]
pub fn entry_overhead(record_len: usize) -> usize {
    1 + encoded_len_varint(record_len as u64)
}

/// Removes the first entry of a list and returns its record.
///
/// # Errors
/// `StoreDamaged` for a list that does not decode.
pub fn split_entry(list: &mut Bytes) -> Result<Bytes> {
    let (_, WireType::LengthDelimited) = decode_key(list).map_err(damaged)? else {
        return Err(damaged("an entry has another wire type"));
    };
    let length = usize::try_from(decode_varint(list).map_err(damaged)?).map_err(damaged)?;
    if length > list.remaining() {
        return Err(damaged("an entry is cut off"));
    }
    Ok(list.split_to(length))
}

/// The first record of a list; `None` if incomplete.
#[must_use]
pub fn first(list: &[u8]) -> Option<&[u8]> {
    let mut rest = list;
    next(&mut rest)
}

/// Number of records in a list; `None` if the last one is incomplete.
#[must_use]
pub fn count(list: &[u8]) -> Option<u32> {
    let (mut rest, mut count) = (list, 0);
    while !rest.is_empty() {
        next(&mut rest)?;
        count += 1;
    }
    Some(count)
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let after = rest.strip_prefix(&[ENTRY_TAG << 3 | WireType::LengthDelimited as u8])?;
    *rest = after;
    let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
    let (record, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(record)
}

/// Decodes a record.
///
/// # Errors
/// `StoreDamaged` for bytes that are not a record.
pub fn decode(record: Bytes) -> Result<Event> {
    let record = Record::decode(record).map_err(damaged)?;
    Ok(Event {
        run_id: RunId::parse(&record.run_id).map_err(damaged)?,
        seq: record.seq,
        event_id: EventId::parse(&record.event_id).map_err(damaged)?,
        event_type: EventType::parse(&record.event_type).map_err(damaged)?,
        origin: origin(record.origin)?,
        occurred_at: timestamp(record.occurred_at)?,
        sent_seconds: record.sent_seconds,
        recorded_at: timestamp(record.recorded_at)?,
        agent_name: match record.agent_name.as_str() {
            "" => None,
            name => Some(AgentName::parse(name).map_err(damaged)?),
        },
        payload: Payload::from_stored(record.payload.unwrap_or_default().json),
        removal: match record.removal {
            0 => None,
            number => Some(Removal::from_number(number).ok_or_else(|| damaged("a record has an unknown removal"))?),
        },
        joined_from: Some(record.joined_from).filter(|seq| *seq > 0),
    })
}

fn origin(number: i32) -> Result<Origin> {
    match number {
        1 => Ok(Origin::System),
        2 => Ok(Origin::User),
        _ => Err(damaged("a record has an unknown origin")),
    }
}

fn instant(at: Timestamp) -> Instant {
    // Before 1970 both parts of a jiff time may be negative; in protobuf nanos are never negative.
    let (mut seconds, mut nanos) = (at.as_second(), at.subsec_nanosecond());
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    Instant { seconds, nanos }
}

fn timestamp(at: Option<Instant>) -> Result<Timestamp> {
    let at = at.ok_or_else(|| damaged("a record lacks a time"))?;
    Timestamp::new(at.seconds, at.nanos).map_err(damaged)
}

/// Logs the cause, which is not part of the error.
fn damaged(cause: impl std::fmt::Display) -> Error {
    tracing::error!(%cause, "a stored record does not decode");
    Error::StoreDamaged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            run_id: RunId::parse("run-1").unwrap(),
            seq: 300,
            event_id: EventId::parse("e").unwrap(),
            event_type: EventType::parse("tool_call").unwrap(),
            origin: Origin::User,
            occurred_at: Timestamp::new(-5, -1).unwrap(),
            sent_seconds: None,
            recorded_at: Timestamp::MAX,
            agent_name: Some(AgentName::parse("a").unwrap()),
            payload: Payload::from_stored("{ \"b\":1}"),
            removal: None,
            joined_from: None,
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let mut list = Vec::new();
        let other = Event { seq: 301, agent_name: None, ..event() };
        append_entry(&event(), &mut list);
        append_entry(&other, &mut list);
        let mut list = Bytes::from(list);
        assert_eq!(decode(split_entry(&mut list).unwrap()).unwrap(), event());
        let record = split_entry(&mut list).unwrap();
        let header = header(&record).unwrap();
        assert_eq!((header.run_id, header.seq, header.event_id), ("run-1", 301, "e"));
        assert_eq!((header.event_type, header.origin), ("tool_call", Origin::User));
        assert_eq!(recorded_at(&record).unwrap(), other.recorded_at);
        assert_eq!(decode(record).unwrap(), other);
        assert!(list.is_empty());
    }

    #[test]
    fn a_record_is_written_as_prost_writes_it() {
        let long = "x".repeat(20_000);
        for (seq, agent, json) in [(1, None, "{}"), (300, Some("a"), ""), (u64::MAX >> 1, Some("agent"), long.as_str())]
        {
            let agent_name = agent.map(|name| AgentName::parse(name).unwrap());
            let sent_seconds = agent.map(|_| -0.1);
            let removal = agent.map(|_| Removal::Compacted);
            let joined_from = agent.map(|_| seq - 1);
            let payload = Payload::from_stored(json);
            let event = Event { seq, agent_name, sent_seconds, payload, removal, joined_from, ..event() };
            let mut list = Vec::new();
            append_entry(&event, &mut list);
            let mut list = Bytes::from(list);
            let length = list.len();
            let written = split_entry(&mut list).unwrap();
            assert_eq!(length, written.len() + entry_overhead(written.len()));
            let record = Record::decode(written.clone()).unwrap();
            assert_eq!(record.encode_to_vec(), written);
            assert_eq!(decode(written).unwrap(), event);
        }
    }

    #[test]
    fn a_cut_record_is_damage_not_a_panic() {
        let mut list = Vec::new();
        append_entry(&event(), &mut list);
        let list = Bytes::from(list);
        for end in 0..list.len() {
            let mut cut = list.slice(..end);
            assert!(split_entry(&mut cut).is_err());
            let _ = header(&list[..end]);
        }
    }
}

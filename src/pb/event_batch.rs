//! Hand-written `EventBatch`: a batch of encoded events.

use bytes::{BufMut, Bytes, BytesMut};
use prost::{
    DecodeError, Message,
    bytes::Buf,
    encoding::{
        DecodeContext, WireType, bytes as bytes_field, encode_key, encode_varint, encoded_len_varint, skip_field,
    },
};

use super::Event;

/// Field number of `events`.
const EVENTS_TAG: u32 = 1;
/// Size of the field's key in bytes.
const KEY_LEN: usize = 1;

/// Events in order: `message EventBatch { repeated Event events = 1; }` on the wire.
///
/// An event is encoded once and its bytes are shared by all readers, so a batch is a list of encoded chunks, not of messages.
/// Batches are equal if their chunks are equal; the same events in different chunks are not equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EventBatch {
    /// Each chunk has one or more complete entries: key 0x0a, length, encoded [`Event`].
    pub chunks: Vec<Bytes>,
}

impl EventBatch {
    /// Encodes events into one chunk.
    pub fn from_events<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut chunk = BytesMut::new();
        for event in events {
            let len = event.encoded_len();
            chunk.reserve(entry_len(len));
            put_entry_head(len, &mut chunk);
            event.encode_raw(&mut chunk);
        }
        let chunks = if chunk.is_empty() { Vec::new() } else { vec![chunk.freeze()] };
        Self { chunks }
    }

    /// Adds one encoded [`Event`] (without key and length) as a chunk.
    pub fn push_record(&mut self, event_bytes: &[u8]) {
        let mut chunk = BytesMut::with_capacity(entry_len(event_bytes.len()));
        put_entry_head(event_bytes.len(), &mut chunk);
        chunk.put_slice(event_bytes);
        self.chunks.push(chunk.freeze());
    }

    /// Decodes the events.
    ///
    /// # Errors
    /// A chunk does not decode as entries.
    pub fn events(&self) -> Result<Vec<Event>, DecodeError> {
        let mut events = Vec::new();
        for chunk in &self.chunks {
            // Clones the reference only; the decoder copies the strings.
            events.append(&mut Entries::decode(chunk.clone())?.events);
        }
        Ok(events)
    }
}

/// The same message with decoded events.
#[derive(Clone, PartialEq, prost::Message)]
struct Entries {
    #[prost(message, repeated, tag = "1")]
    events: Vec<Event>,
}

fn entry_len(event_len: usize) -> usize {
    KEY_LEN + encoded_len_varint(event_len as u64) + event_len
}

fn put_entry_head(event_len: usize, buf: &mut impl BufMut) {
    encode_key(EVENTS_TAG, WireType::LengthDelimited, buf);
    encode_varint(event_len as u64, buf);
}

impl Message for EventBatch {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        for chunk in &self.chunks {
            buf.put_slice(chunk);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag != EVENTS_TAG {
            return skip_field(wire_type, tag, buf, ctx);
        }
        let mut event = Bytes::new();
        bytes_field::merge(wire_type, &mut event, buf, ctx)?;
        // The key was consumed before this call and a `Buf` cannot go back, so the entry is copied once. Only clients decode
        // batches.
        self.push_record(&event);
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    fn clear(&mut self) {
        self.chunks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, run_id: &str) -> Event {
        Event { run_id: run_id.to_owned(), seq, r#type: "step".to_owned(), ..Event::default() }
    }

    /// A short event, an empty event, and an event with a length of two bytes.
    fn samples() -> Vec<Event> {
        vec![event(1, "r"), Event::default(), event(u64::MAX, &"x".repeat(300))]
    }

    #[test]
    fn a_batch_is_the_same_on_the_wire_as_the_derived_message() {
        let derived = Entries { events: samples() };
        let by_hand = EventBatch::from_events(&samples());
        assert_eq!(by_hand.encode_to_vec(), derived.encode_to_vec());
        assert_eq!(by_hand.encoded_len(), derived.encoded_len());
    }

    #[test]
    fn records_pushed_one_by_one_make_the_same_wire() {
        let mut batch = EventBatch::default();
        for event in samples() {
            batch.push_record(&event.encode_to_vec());
        }
        assert_eq!(batch.chunks.len(), 3);
        assert_eq!(batch.encode_to_vec(), EventBatch::from_events(&samples()).encode_to_vec());
        assert_eq!(batch.events(), Ok(samples()));
    }

    #[test]
    fn a_batch_decodes_what_the_derived_message_encodes() {
        let wire = Entries { events: samples() }.encode_to_vec();
        let batch = EventBatch::decode(wire.as_slice()).unwrap();
        assert_eq!(batch.events(), Ok(samples()));
        assert_eq!(batch.encode_to_vec(), wire);
    }

    #[test]
    fn an_empty_batch_is_empty_on_the_wire() {
        assert!(EventBatch::from_events([]).encode_to_vec().is_empty());
        assert_eq!(EventBatch::default().events(), Ok(vec![]));
    }

    #[test]
    fn fields_of_a_later_version_are_skipped() {
        let mut wire = EventBatch::from_events(&samples()).encode_to_vec();
        wire.extend([0x10, 0x07]); // field 2, varint 7
        assert_eq!(EventBatch::decode(wire.as_slice()).unwrap().events(), Ok(samples()));
    }

    #[test]
    fn a_cut_batch_is_an_error() {
        let wire = EventBatch::from_events(&samples()).encode_to_vec();
        assert!(EventBatch::decode(&wire[..wire.len() - 1]).is_err());
        let torn = EventBatch { chunks: vec![Bytes::from_static(&[0x0a, 0x05, 0x01])] };
        assert!(torn.events().is_err());
    }

    #[test]
    fn a_batch_of_another_wire_type_is_an_error() {
        assert!(EventBatch::decode([0x08, 0x01].as_slice()).is_err());
    }
}

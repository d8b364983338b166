//! Presentation of stored events: payloads as typed variants or as JSON text, in the public or the full view.

use std::borrow::Cow;

use bytes::Bytes;
use prost::Message;

use crate::domain::{Error, Result, View};
use crate::pb;
use crate::service::live::recent_events::{EncodedEvents, EncodingKey};

use super::payload;

/// Presentation that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presentation {
    /// Whether payloads are typed variants; else JSON text.
    pub typed: bool,
    /// Public view or full view of each payload.
    pub view: View,
}

impl Presentation {
    /// Decodes a record into an event of this presentation. `sensitive`: whether the public view may omit members.
    pub fn event(self, record: Bytes, sensitive: bool) -> Result<pb::Event> {
        let mut event = pb::Event::decode(record).map_err(|cause| {
            tracing::error!(%cause, "a stored record does not decode");
            Error::StoreDamaged
        })?;
        let Some(pb::Payload { variant: Some(pb::payload::Variant::Json(json)), .. }) = &mut event.payload else {
            return Ok(event);
        };
        if sensitive {
            let shown = self.view.show(&event.r#type, json);
            event.redacted = shown.redacted;
            if let Cow::Owned(public) = shown.json {
                *json = public;
            }
        }
        if self.typed {
            let typed = payload::to_typed(&event.r#type, json);
            event.payload = Some(typed);
        }
        Ok(event)
    }

    /// A chunk of an `EventBatch`, encoded once and shared by all subscribers with this presentation.
    pub fn chunk(self, batch: &EncodedEvents) -> Result<Bytes> {
        // Without members to omit, one encoding serves both views.
        let key = match (self.typed, self.view == View::Full || !batch.sensitive) {
            (false, true) => return Ok(batch.data.clone()),
            (false, false) => EncodingKey::JsonPublic,
            (true, false) => EncodingKey::TypedPublic,
            (true, true) => EncodingKey::TypedFull,
        };
        let encoded = batch.encoding(key, |batch| self.encode(batch).unwrap_or_default());
        // A chunk is never empty: empty bytes mark an encoding that failed.
        if encoded.is_empty() { Err(Error::StoreDamaged) } else { Ok(encoded) }
    }

    fn encode(self, batch: &EncodedEvents) -> Result<Bytes> {
        let mut rest = batch.data.clone();
        let mut events = Vec::new();
        while !rest.is_empty() {
            events.push(self.event(crate::codec::record::split_entry(&mut rest)?, batch.sensitive)?);
        }
        Ok(pb::EventBatch::from_events(&events).chunks.pop().unwrap_or_default())
    }
}

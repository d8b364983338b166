//! Ids derived from the content of a request, so that a repeated request writes the same run or event.

use sha2::{Digest, Sha256};
use uuid::Builder;

use crate::domain::json::{Members, canonical};
use crate::domain::{Error, EventId, EventType, RunId, StructureId};

/// Run id of a key. The structure id is part of the hash, so that structures do not share keys.
pub fn run_id_of(structure_id: &StructureId, key: &str) -> Result<RunId, Error> {
    let digest = Sha256::new().chain_update(structure_id.as_str()).chain_update([0]).chain_update(key).finalize();
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    RunId::parse(&format!("run_{hex}"))
}

/// Event id for a payload with a string member `id`; `None` for other payloads.
pub fn event_id(run_id: &RunId, event_type: &EventType, payload: &str) -> Option<EventId> {
    Members::parse(payload).string("id").filter(|id| !id.is_empty())?;
    content_id(run_id, event_type, payload)
}

/// Event id derived from run, type and payload; the formatting of the JSON makes no difference. The same `id` with
/// other content is another event. A UUID of version 5; ids that the store generates have version 8.
pub fn content_id(run_id: &RunId, event_type: &EventType, payload: &str) -> Option<EventId> {
    let mut hash = Sha256::new();
    // Run ids and types hold no NUL, so the separator is unambiguous. The payload includes the member `id`.
    for part in [run_id.as_str().as_bytes(), event_type.as_str().as_bytes(), &canonical(payload)] {
        hash.update(part);
        hash.update([0]);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    EventId::parse(&Builder::from_sha1_bytes(bytes).into_uuid().hyphenated().to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(run: &str, event_type: &str, payload: &str) -> Option<EventId> {
        event_id(&RunId::parse(run).unwrap(), &EventType::parse(event_type).unwrap(), payload)
    }

    #[test]
    fn the_same_run_id_type_and_payload_are_the_same_event_and_nothing_else_is() {
        let first = id("r", "T", r#"{"id":"a","x":1}"#).unwrap();
        assert_eq!(id("r", "T", r#"{"id":"a","x":1}"#).unwrap(), first);
        assert_eq!(id("r", "T", "{ \"x\" : 1.0, \"\\u0069d\":\"a\" }").unwrap(), first, "another encoding");
        assert!(id("r", "T", r#"{"id":"a","\ud83d":"\ud83d"}"#).is_some(), "a lone surrogate hides nothing beside it");
        for (run, event_type, payload) in [
            ("s", "T", r#"{"id":"a","x":1}"#),
            ("r", "U", r#"{"id":"a","x":1}"#),
            ("r", "T", r#"{"id":"a","x":2}"#),
            ("r", "T", r#"{"id":"b","x":1}"#),
        ] {
            assert_ne!(id(run, event_type, payload).unwrap(), first);
        }
        assert_eq!(uuid::Uuid::try_parse(first.as_str()).unwrap().get_version_num(), 5);
    }

    #[test]
    fn only_a_string_named_id_names_an_event() {
        for payload in ["{}", r#"["a"]"#, r#"{"id":1}"#, r#"{"id":null}"#, r#"{"id":""}"#, r#"{"x":{"id":"a"}}"#, "1"] {
            assert_eq!(id("r", "T", payload), None, "{payload}");
        }
    }
}

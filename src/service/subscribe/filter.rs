//! Filters over stored events: decodes only the header of a record, not the payload.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::record;
use crate::domain::filter::FilteredParts;
use crate::domain::{EventFilter, Result};

use crate::service::live::recent_events::EncodedEvents;

/// Whether a record matches the filter.
pub(crate) fn passes(filter: &EventFilter, record: &[u8]) -> Result<bool> {
    if filter.passes_all() {
        return Ok(true);
    }
    let record::Header { event_type, origin, run_id, .. } = record::header(record)?;
    let agent_name = if filter.needs_agent() { record::agent_name(record)? } else { None };
    Ok(filter.passes(FilteredParts { event_type, origin, run_id, agent_name }))
}

/// The first matching events, at most `max`, and the number of examined events.
pub(crate) fn filtered(
    filter: &EventFilter,
    batches: &[Arc<EncodedEvents>],
    max: usize,
) -> Result<(Option<EncodedEvents>, u64)> {
    let (mut kept, mut sensitive) = (BytesMut::new(), false);
    let (mut passed, mut looked_at) = (0, 0);
    for batch in batches {
        let mut rest: Bytes = batch.data.clone();
        while !rest.is_empty() && passed < max {
            let before = rest.clone();
            let record = record::split_entry(&mut rest)?;
            looked_at += 1;
            if passes(filter, &record)? {
                passed += 1;
                kept.put(before.slice(..before.len() - rest.len()));
                sensitive |= batch.sensitive;
            }
        }
    }
    Ok(((passed > 0).then(|| EncodedEvents::new(sensitive, kept.freeze())), looked_at))
}

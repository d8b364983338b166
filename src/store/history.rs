//! New epochs and the random ids of feeds.

use crate::domain::history::Epoch;

/// A new epoch that begins after this position, with a random id.
pub fn begin_epoch(start: u64) -> Epoch {
    Epoch { id: random_id(), start }
}

/// A random id of an epoch or a feed; never 0.
pub fn random_id() -> u32 {
    let random = uuid::Uuid::new_v4().as_u128();
    // The upper 32 bits of a version 4 UUID are random; version and variant bits lie further down.
    u32::try_from(random >> 96).unwrap_or_default().max(1)
}

//! Ids that a store assigns to events without a producer's id. An assigned id encodes run and seq, so no index is
//! needed.

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::EventId;

/// First bit of an id: set in all that are assigned now. Ids of earlier versions begin with the number of a project, which needs
/// fewer bits.
const FIRST_BIT: u128 = 1 << 127;

/// Bits of the run number, and of the seq.
const RUN: u128 = (1 << 47) - 1;
const SEQ: u128 = (1 << 40) - 1;

/// Assigns an id: a UUID of version 8 with the run number (47 bits), the seq (40 bits) and 34 random bits, so that an id cannot be
/// guessed from its neighbours. Run number and seq are masked with a hash of the random bits, so that no id begins with zeros
/// and ids look as different as they are.
pub fn assigned(run: i64, seq: u64) -> EventId {
    let random = Uuid::new_v4().as_u128();
    let random = (random & 0xfff) << 64 | random >> 96 & 0x3f_ffff;
    let (run_mask, seq_mask) = masks(random);
    let run_bits = (u128::from(run.unsigned_abs()) ^ run_mask) & RUN;
    let seq_bits = (u128::from(seq) ^ seq_mask) & SEQ;
    let bits = FIRST_BIT | run_bits << 80 | seq_bits << 22 | random;
    uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid().into()
}

/// Masks of run number and seq in an id with these random bits, at their places.
fn masks(random: u128) -> (u128, u128) {
    let hash = xxh3_128(&random.to_be_bytes());
    (hash >> 64 & RUN, hash & SEQ)
}

/// Seq encoded in an id that the store assigned to an event of this run; `None` for any other id.
pub fn assigned_seq(run: i64, event_id: &EventId) -> Option<u64> {
    assigned_place(event_id).filter(|(of, _)| *of == run).map(|(_, seq)| seq)
}

/// Run number and seq encoded in an assigned id, also of an earlier version, which did not mask them; `None` for any other id.
pub fn assigned_place(event_id: &EventId) -> Option<(i64, u64)> {
    let id = Uuid::try_parse(event_id.as_str()).ok().filter(|id| id.get_version_num() == 8)?;
    let bits = id.as_u128();
    let random = bits & (0xfff << 64 | 0x3f_ffff);
    let (run_mask, seq_mask) = if bits & FIRST_BIT == 0 { (0, 0) } else { masks(random) };
    let run = i64::try_from((bits >> 80 & RUN) ^ run_mask).ok()?;
    let seq = u64::try_from((bits >> 22 & SEQ) ^ seq_mask).ok()?;
    (seq > 0).then_some((run, seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EventId {
        EventId::parse(text).unwrap()
    }

    #[test]
    fn an_assigned_id_names_its_place_and_only_in_its_run() {
        for (run, seq) in [(1, 1), (77, 300), (9_999 << 32 | 0xffff_ffff, 0xff_ffff_ffff)] {
            let id = assigned(run, seq);
            assert_eq!(assigned_seq(run, &id), Some(seq));
            assert_eq!(assigned_seq(run - 1, &id), None);
            assert_eq!(assigned_place(&id), Some((run, seq)));
        }
        assert_ne!(assigned(1, 1), assigned(1, 1));
        assert_eq!(assigned_seq(1, &id("e-1")), None);
        assert_eq!(assigned_seq(0, &id(&Uuid::now_v7().to_string())), None);
    }

    #[test]
    fn ids_of_neighbours_share_no_beginning_and_none_begins_with_zeros() {
        let ids: Vec<_> = (1..=1_000).map(|seq| assigned(1, seq).to_string()).collect();
        assert!(ids.iter().all(|id| "89abcdef".contains(&id[..1])), "{ids:?}");
        let beginnings: std::collections::HashSet<_> = ids.iter().map(|id| &id[..8]).collect();
        assert!(beginnings.len() > 990, "{ids:?}");
    }

    /// The form is kept for ever: ids lie in stores, exports and clients.
    #[test]
    fn ids_of_every_version_name_their_place() {
        for (stored, place) in [
            ("00000000-0001-80a4-8000-00000062a8a6", (1, 1)),
            ("00000000-0002-80d2-8000-000000b5dcf5", (2, 2)),
            ("00010000-0002-8fff-8000-000000bedcba", (1 << 32 | 2, 2)),
            ("270effff-ffff-8000-bfff-ffffffc00000", (9_998 << 32 | 0xffff_ffff, 0xff_ffff_ffff)),
            ("86120fdd-b2a7-85ae-9629-569600c021b2", (0x18, 1)),
        ] {
            assert_eq!(assigned_place(&id(stored)), Some(place), "{stored}");
        }
    }
}

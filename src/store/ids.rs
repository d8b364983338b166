//! Ids that a store assigns to events without a producer's id. An assigned id encodes run and seq, so no index is
//! needed.

use uuid::Uuid;

use crate::domain::EventId;

/// Assigns an id: a UUID of version 8 with the run number (48 bits), the seq (40 bits) and 34 random bits, so that an
/// id cannot be guessed from its neighbours.
pub fn assigned(run: i64, seq: u64) -> EventId {
    let chance = Uuid::new_v4().as_u128();
    let run_bits = u128::from(run.unsigned_abs() & 0xffff_ffff_ffff);
    let seq_bits = u128::from(seq & 0xff_ffff_ffff);
    let bits = run_bits << 80 | (chance & 0xfff) << 64 | seq_bits << 22 | (chance >> 96 & 0x3f_ffff);
    uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid().into()
}

/// Seq encoded in an id that the store assigned to an event of this run; `None` for any other id.
pub fn assigned_seq(run: i64, event_id: &EventId) -> Option<u64> {
    let id = Uuid::try_parse(event_id.as_str()).ok().filter(|id| id.get_version_num() == 8)?;
    let bits = id.as_u128();
    let of_run = (bits >> 80) == u128::from(run.unsigned_abs() & 0xffff_ffff_ffff);
    of_run.then(|| u64::try_from(bits >> 22 & 0xff_ffff_ffff).unwrap_or(0)).filter(|seq| *seq > 0)
}

/// Run number and seq encoded in an assigned id; `None` for any other id.
pub fn assigned_place(event_id: &EventId) -> Option<(i64, u64)> {
    let id = Uuid::try_parse(event_id.as_str()).ok().filter(|id| id.get_version_num() == 8)?;
    let run = i64::try_from(id.as_u128() >> 80).ok()?;
    assigned_seq(run, event_id).map(|seq| (run, seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assigned_id_names_its_place_and_only_in_its_run() {
        for (run, seq) in [(1, 1), (77, 300), (0xffff_ffff_ffff, 0xff_ffff_ffff)] {
            let id = assigned(run, seq);
            assert_eq!(assigned_seq(run, &id), Some(seq));
            assert_eq!(assigned_seq(run - 1, &id), None);
            assert_eq!(assigned_place(&id), Some((run, seq)));
        }
        assert_ne!(assigned(1, 1), assigned(1, 1));
        assert_eq!(assigned_seq(1, &EventId::parse("e-1").unwrap()), None);
        assert_eq!(assigned_seq(0, &EventId::parse(&Uuid::now_v7().to_string()).unwrap()), None);
    }
}

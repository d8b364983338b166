//! Parts of messages that depend on what is known.

/// The last part of the message of `HistoryLost`.
pub fn agreed_text(end: Option<&str>) -> String {
    match end {
        Some(end) => format!("both agree up to cursor {end:?}: drop what came after it and read on from there"),
        None => "how far both agree is not known: read again from the beginning".to_owned(),
    }
}

/// The message of `EventDamaged`.
pub fn damage_text(run_id: Option<&str>, seqs: Option<(u64, u64)>) -> String {
    let what = match (run_id, seqs) {
        (Some(run_id), Some((first, last))) if first == last => format!("event {first} of run {run_id:?} is"),
        (Some(run_id), Some((first, last))) => format!("events {first} to {last} of run {run_id:?} are"),
        (Some(run_id), None) => format!("an event of run {run_id:?} is"),
        _ => "an event is".to_owned(),
    };
    format!("{what} damaged in the store and cannot be served; all others are; restore it from a backup")
}

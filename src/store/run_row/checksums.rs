//! Checksums of the rows of a run and of its documents.

use serde_json::value::RawValue;

use crate::store::checksum::Checksum;

/// Checksum of a row of `runs`, without the columns that a flush updates. `texts` are agent_name, structure_id,
/// created_at, started_at, completed_at, usage, ended_by and output_at.
pub fn of_row(run: i64, run_id: &str, status: i64, texts: [Option<&str>; 8]) -> i64 {
    let sum = Checksum::default().number(run).text(Some(run_id)).number(status);
    texts.into_iter().fold(sum, Checksum::text).finish()
}

/// Checksum of the end of a run: status, last seq and time of the last change.
pub fn of_end(run: i64, status: i64, last_seq: i64, updated_at: &str) -> i64 {
    Checksum::default().number(run).number(status).number(last_seq).text(Some(updated_at)).finish()
}

/// Checksum of what retention knows of a run: the seq of its first event, and whether it is held.
pub fn of_kept(run: i64, first_seq: i64, is_held: bool) -> i64 {
    Checksum::default().number(run).number(first_seq).number(i64::from(is_held)).finish()
}

/// Checksum of one document of a run.
pub fn of_document(run: i64, kind: &str, json: &str) -> i64 {
    Checksum::default().number(run).text(Some(kind)).text(Some(json)).finish()
}

/// Whether the documents match their checksums. `listed` is a JSON array of pairs of kind and checksum; `questions` is
/// a JSON array of the documents of open questions in the same order.
pub fn agree(run: i64, listed: &str, single: [(&str, Option<&str>); 3], questions: Option<&str>) -> bool {
    let Ok(listed) = serde_json::from_str::<Vec<(String, Option<i64>)>>(listed) else { return false };
    let Ok(questions) = serde_json::from_str::<Vec<&RawValue>>(questions.unwrap_or("[]")) else { return false };
    let mut questions = questions.into_iter();
    let mut seen = 0;
    let all_agree = listed.iter().all(|(kind, checksum)| {
        let json = match single.iter().find(|(name, _)| name == kind) {
            Some((_, json)) => {
                seen += 1;
                *json
            }
            None => questions.next().map(RawValue::get),
        };
        json.is_some_and(|json| checksum.is_none_or(|checksum| checksum == of_document(run, kind, json)))
    });
    all_agree && questions.next().is_none() && seen == single.iter().filter(|(_, json)| json.is_some()).count()
}

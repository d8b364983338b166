//! Rows of the tables `runs` and `run_documents`, shared by both stores.

pub mod checksums;

use std::borrow::Cow;

use jiff::Timestamp;

use crate::domain::projection::{Documents, QuestionChange};
use crate::domain::{AgentName, Error, EventType, PendingInput, Result, Run, RunStatus, StructureId, Usage};
use crate::store::{ProjectNumber, RunKey};

/// A row of `runs` with the documents of the run.
#[derive(sqlx::FromRow)]
pub struct RunRow {
    pub run: i64,
    run_id: String,
    status: i64,
    last_seq: i64,
    /// `None` in queries of the writer, and for a run with all its events.
    #[sqlx(default)]
    first_seq: Option<i64>,
    #[sqlx(default)]
    is_held: Option<bool>,
    agent_name: Option<String>,
    structure_id: Option<String>,
    created_at: String,
    updated_at: String,
    started_at: Option<String>,
    completed_at: Option<String>,
    usage: Option<String>,
    ended_by: Option<String>,
    output_at: Option<String>,
    output: Option<String>,
    error: Option<String>,
    /// JSON array of the documents of open questions.
    pending_inputs: Option<String>,
    /// JSON array of the kinds of these documents, for queries without documents.
    #[sqlx(default)]
    question_kinds: Option<String>,
    status_detail: Option<String>,
    /// Only SQLite has checksums in these tables; `None` also in rows of an older program.
    #[sqlx(default)]
    checksum: Option<i64>,
    #[sqlx(default)]
    end_checksum: Option<i64>,
    #[sqlx(default)]
    kept_checksum: Option<i64>,
    /// JSON array of pairs of kind and checksum of all documents.
    #[sqlx(default)]
    document_checksums: Option<String>,
}

/// Whether the row changes beyond `last_seq` and `updated_at`. Few events do so; most commits skip the other columns.
pub fn changes_more(before: &Run, after: &Run) -> bool {
    before.status != after.status
        || before.agent_name != after.agent_name
        || before.structure_id != after.structure_id
        || before.started_at != after.started_at
        || before.completed_at != after.completed_at
        || before.usage != after.usage
        || before.ended_by != after.ended_by
        || before.output_at != after.output_at
}

impl RunRow {
    /// Parses the row. A checksum mismatch or an invalid value is logged and returned as `StoreDamaged`.
    pub fn into_run(self) -> Result<Run> {
        let run_id = self.run_id.clone();
        let run = if self.is_sound() { self.parse() } else { None };
        run.ok_or_else(|| {
            tracing::error!(run_id, "damaged: a row of the table `runs`, or a document of the run");
            Error::StoreDamaged
        })
    }

    fn is_sound(&self) -> bool {
        let texts = [
            self.agent_name.as_deref(),
            self.structure_id.as_deref(),
            Some(self.created_at.as_str()),
            self.started_at.as_deref(),
            self.completed_at.as_deref(),
            self.usage.as_deref(),
            self.ended_by.as_deref(),
            self.output_at.as_deref(),
        ];
        let of_row = || checksums::of_row(self.run, &self.run_id, self.status, texts);
        let of_end = || checksums::of_end(self.run, self.status, self.last_seq, &self.updated_at);
        let of_kept = || checksums::of_kept(self.run, self.first_seq.unwrap_or(1), self.is_held.unwrap_or_default());
        let single = [("output", &self.output), ("error", &self.error), ("status_detail", &self.status_detail)];
        let single = single.map(|(kind, json)| (kind, json.as_deref()));
        let documents = || {
            let listed = self.document_checksums.as_deref();
            listed.is_none_or(|listed| checksums::agree(self.run, listed, single, self.pending_inputs.as_deref()))
        };
        self.checksum.is_none_or(|checksum| checksum == of_row())
            && self.end_checksum.is_none_or(|checksum| checksum == of_end())
            && self.kept_checksum.is_none_or(|checksum| checksum == of_kept())
            && documents()
    }

    /// The run among those of all projects. Fails with `StoreDamaged` if the number is one of another project.
    pub fn key(&self) -> Result<RunKey> {
        let key = RunKey::from_stored(&self.run_id).filter(|key| key.project == ProjectNumber::of_run(self.run));
        key.ok_or(Error::StoreDamaged)
    }

    /// Size of all documents in bytes.
    pub fn document_bytes(&self) -> usize {
        [&self.output, &self.error, &self.pending_inputs, &self.status_detail]
            .into_iter()
            .flatten()
            .map(String::len)
            .sum()
    }

    fn parse(self) -> Option<Run> {
        fn optional<T>(text: Option<String>, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
            text.map_or(Some(None), |text| parse(&text).map(Some))
        }
        let time = |text: &str| text.parse::<Timestamp>().ok();
        let status = RunStatus::from_number(self.status)?;
        let pending_inputs = match status.is_final() {
            // A replica of version 0.1.0 does not know questions, and leaves the open ones behind when a run ends.
            true => Vec::new(),
            false => questions(self.pending_inputs.as_deref(), self.question_kinds.as_deref())?,
        };
        Some(Run {
            run_id: self.key().ok()?.run_id,
            status,
            agent_name: optional(self.agent_name, |text| AgentName::parse(text).ok())?,
            structure_id: optional(self.structure_id, |text| StructureId::parse(text).ok())?,
            created_at: time(&self.created_at)?,
            updated_at: time(&self.updated_at)?,
            started_at: optional(self.started_at, time)?,
            completed_at: optional(self.completed_at, time)?,
            first_seq: u64::try_from(self.first_seq.unwrap_or(1)).ok()?,
            last_seq: u64::try_from(self.last_seq).ok()?,
            is_held: self.is_held.unwrap_or_default(),
            ended_by: optional(self.ended_by, |text| EventType::parse(text).ok())?,
            output_at: optional(self.output_at, time)?,
            status_detail_json: self.status_detail,
            output_json: self.output,
            error_json: self.error,
            usage: optional(self.usage, |text| serde_json::from_str(text).ok())?,
            pending_inputs,
        })
    }
}

/// Encodes usage as JSON. A sum of costs may reach infinity, which JSON cannot represent; the clamp keeps the row
/// readable.
pub fn usage_json(usage: &Usage) -> String {
    let cost_usd = usage.cost_usd.clamp(f64::MIN, f64::MAX);
    serde_json::to_string(&Usage { cost_usd, ..usage.clone() }).unwrap_or_default()
}

/// The open questions, oldest first: from their documents, otherwise with the parts known from the document kinds.
fn questions(documents: Option<&str>, kinds: Option<&str>) -> Option<Vec<PendingInput>> {
    let mut questions: Vec<PendingInput> = match documents {
        Some(json) => serde_json::from_str(json).ok()?,
        None => references(kinds.unwrap_or("[]"))?,
    };
    questions.sort_by_key(|question| question.requested_seq);
    Some(questions)
}

/// The changed documents by kind; `None` as text deletes a document. Each open question is a document with its own
/// kind.
pub fn changed_documents(documents: &Documents) -> Vec<(Cow<'static, str>, Option<String>)> {
    let mut changed = Vec::new();
    changed.extend(documents.output_json.clone().map(|text| ("output".into(), Some(text))));
    changed.extend(documents.error_json.clone().map(|text| ("error".into(), Some(text))));
    changed.extend(documents.status_detail_json.clone().map(|text| ("status_detail".into(), Some(text))));
    for change in &documents.questions {
        let text = match change {
            QuestionChange::Opened(question) => Some(serde_json::to_string(question).unwrap_or_default()),
            QuestionChange::Closed(_) => None,
        };
        changed.push((kind_of(change.question()).into(), text));
    }
    changed
}

/// Document kind of a question: contains the seq and the question id by which an answer finds the question.
fn kind_of(question: &PendingInput) -> String {
    let PendingInput { requested_seq, question_id, .. } = question;
    match question_id {
        Some(question_id) => format!("pending_input:{requested_seq:020}:{question_id}"),
        None => format!("pending_input:{requested_seq:020}?"),
    }
}

/// Parses a JSON array of document kinds into open questions with only seq and question id.
fn references(kinds: &str) -> Option<Vec<PendingInput>> {
    let kinds: Vec<String> = serde_json::from_str(kinds).ok()?;
    let reference = |kind: &String| {
        let named = kind.strip_prefix("pending_input:")?;
        let (requested_seq, question_id) = match named.strip_suffix('?').filter(|seq| !seq.contains(':')) {
            Some(requested_seq) => (requested_seq, None),
            None => named.split_once(':').map(|(requested_seq, id)| (requested_seq, Some(id.to_owned())))?,
        };
        Some(PendingInput { requested_seq: requested_seq.parse().ok()?, question_id, ..PendingInput::default() })
    };
    kinds.iter().map(reference).collect()
}

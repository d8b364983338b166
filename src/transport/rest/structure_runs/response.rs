//! JSON forms of events and runs in the structure runs API.

use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::env_var::StructureEnvVar;
use crate::codec::record;
use crate::domain::json::Members;
use crate::domain::json::public_view::ShownPayload;
use crate::domain::json::redaction::members::{decode_lossy, elements};
use crate::domain::{Error, Event, Origin, Result, Run, RunId, RunStatus, View};
use crate::service::Service;
use crate::service::list::EventsPage;
use crate::service::live::recent_events::EncodingKey;
use crate::transport::rest::json::JsonText;
use crate::transport::rest::removal::push_removal;
use crate::transport::rest::time::{micros, unix_seconds};
use crate::transport::sse::{EventForm, LineIds};

/// JSON response with this text.
pub fn json(text: String) -> Response {
    JsonText(text).into_response()
}

/// Form of events in this view; the text is built so that the payload stays as sent.
pub fn form(view: View) -> EventForm {
    EventForm {
        keys: [EncodingKey::StructureRunsPublic, EncodingKey::StructureRunsFull],
        view,
        write,
        ids: LineIds::Seqs,
    }
}

fn write(event: &Event, payload: &ShownPayload<'_>, out: &mut String) {
    let (run_id, event_id) = (string(event.run_id.as_str()), string(event.event_id.as_str()));
    let timestamp = serde_json::to_string(&event.sent_seconds.unwrap_or_else(|| unix_seconds(event.occurred_at)))
        .unwrap_or_default();
    let (event_type, payload) = (string(event.event_type.as_str()), never_null(&payload.json));
    let (created_at, origin) = (micros(event.recorded_at), origin(event.origin));
    out.push_str(&format!(r#"{{"event_id":{event_id},"timestamp":{timestamp},"type":{event_type},"payload":"#));
    out.push_str(payload);
    out.push_str(&format!(
        r#","created_at":"{created_at}","origin":"{origin}","structure_run":{run_id},"structure_run_id":{run_id}"#
    ));
    push_removal(event, out);
    out.push('}');
}

/// Replaces null by `{}`, since published clients read members of a payload without a check for null.
pub fn never_null(payload: &str) -> &str {
    match payload.trim() {
        "null" => "{}",
        text => text,
    }
}

/// Name of an origin: `SYSTEM` or `USER`.
pub fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::System => "SYSTEM",
        Origin::User => "USER",
    }
}

fn string(text: &str) -> String {
    // A string always serializes.
    serde_json::to_string(text).unwrap_or_default()
}

/// A page as the schema `StructureEvents`.
pub fn page_json(page: EventsPage, form: EventForm, offset: u64, limit: u64) -> Result<String> {
    let (count, total) = (page.records.len(), page.last_seq);
    // Offsets are seqs, and the first event may have another one than 1.
    let next_offset = page.next_cursor.parse().unwrap_or(offset);
    let mut text = String::from("{\"events\":[");
    for (i, stored) in page.records.into_iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        form.append(&record::decode(stored.bytes)?, stored.sensitive, &mut text);
    }
    text.push_str(&format!(
        "],\"count\":{count},\"total_count\":{total},\"limit\":{limit},\"offset\":{offset},\"next_offset\":{next_offset}}}"
    ));
    Ok(text)
}

/// Status of a structure run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StructureRunStatus {
    /// Accepted; also a run without an event that sets a status.
    Queued,
    /// The run's code is being loaded.
    Starting,
    /// The run's code is running; also a run that awaits input or has stalled.
    Running,
    /// The run has succeeded; final.
    Succeeded,
    /// The run has failed, by another event than `StructureRunError`; final.
    Failed,
    /// The platform has failed, reported by `StructureRunError`; final.
    Error,
    /// The run was cancelled; final.
    Cancelled,
}

impl StructureRunStatus {
    fn of(run: &Run) -> Self {
        match run.status {
            RunStatus::Unspecified | RunStatus::Queued => Self::Queued,
            RunStatus::Starting => Self::Starting,
            RunStatus::Running | RunStatus::AwaitingInput | RunStatus::Stalled => Self::Running,
            RunStatus::Succeeded => Self::Succeeded,
            RunStatus::Failed if run.ended_by.as_ref().is_some_and(|by| by.as_str() == "StructureRunError") => {
                Self::Error
            }
            RunStatus::Failed => Self::Failed,
            RunStatus::Cancelled => Self::Cancelled,
        }
    }

    /// Domain statuses shown as this one. The store has one status for ERROR and FAILED, so either finds both.
    #[must_use]
    pub fn stored_as(self) -> &'static [RunStatus] {
        match self {
            Self::Queued => &[RunStatus::Queued, RunStatus::Unspecified],
            Self::Starting => &[RunStatus::Starting],
            Self::Running => &[RunStatus::Running, RunStatus::AwaitingInput, RunStatus::Stalled],
            Self::Succeeded => &[RunStatus::Succeeded],
            Self::Failed | Self::Error => &[RunStatus::Failed],
            Self::Cancelled => &[RunStatus::Cancelled],
        }
    }
}

/// A run. Times are RFC 3339 with microseconds and `Z`.
#[derive(Debug, Serialize, ToSchema)]
pub struct StructureRun {
    /// Id of the run.
    structure_run_id: String,
    /// Structure of the run; empty for a run created without a structure.
    structure_id: String,
    /// Creator of the run; always empty, since no creator is recorded.
    created_by: String,
    /// Time of the first event by the server's clock.
    #[schema(format = DateTime)]
    created_at: String,
    /// Time of the last event by the server's clock.
    #[schema(format = DateTime)]
    updated_at: String,
    /// Time of the first status STARTING or RUNNING, as reported by the runtime, else by the producer's clock; null
    /// before.
    #[schema(required, format = DateTime)]
    started_at: Option<String>,
    /// Time of the end, as reported by the runtime, else by the producer's clock; null before.
    #[schema(required, format = DateTime)]
    completed_at: Option<String>,
    /// Status of the run.
    status: StructureRunStatus,
    /// Arguments from the creation of the run.
    args: Vec<String>,
    /// Environment variables from the creation of the run, secrets masked.
    env_vars: Vec<StructureEnvVar>,
    /// Result of the run: `output_task_output` of the FinishStructureRunEvent; null before.
    #[schema(value_type = serde_json::Value)]
    output: Option<Box<RawValue>>,
    /// Time of the output by the server's clock, in seconds since 1970; null before.
    #[schema(required)]
    output_timestamp: Option<f64>,
    /// Detail of the final status, as reported by the platform; null if not reported.
    #[schema(value_type = serde_json::Value)]
    status_detail: Option<Box<RawValue>>,
}

impl StructureRun {
    /// Reads arguments and environment variables from the first event of the run.
    pub async fn of(service: &Service, run: Run) -> Result<Self> {
        let (args, env_vars) = created_with(service, &run.run_id).await?;
        Ok(Self {
            structure_run_id: run.run_id.to_string(),
            structure_id: run.structure_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            created_by: String::new(),
            created_at: micros(run.created_at),
            updated_at: micros(run.updated_at),
            started_at: run.started_at.map(micros),
            completed_at: run.completed_at.map(micros),
            status: StructureRunStatus::of(&run),
            args,
            env_vars,
            output: run.output_json.map(document).transpose()?,
            output_timestamp: run.output_at.map(unix_seconds),
            status_detail: run.status_detail_json.map(document).transpose()?,
        })
    }

    /// The run as JSON text.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::internal)
    }
}

fn document(text: String) -> Result<Box<RawValue>> {
    RawValue::from_string(text).map_err(|_| Error::StoreDamaged)
}

/// Arguments and variables of `run.created`; empty if the first event has another type. Variables are masked here as
/// well, since another API may have written the event.
async fn created_with(service: &Service, run_id: &RunId) -> Result<(Vec<String>, Vec<StructureEnvVar>)> {
    let Some(event) = service.first_event(run_id).await?.filter(|event| event.event_type.as_str() == "run.created")
    else {
        return Ok(Default::default());
    };
    let members = Members::parse(event.payload.as_str());
    let list = |name| members.raw(name).and_then(elements).unwrap_or_default().into_iter();
    let args = list("args").filter_map(decode_lossy).map(Into::into).collect();
    let env_vars = list("env_vars").filter_map(StructureEnvVar::stored).map(StructureEnvVar::masked).collect();
    Ok((args, env_vars))
}

//! How a run looks at this door.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::env_var::StructureEnvVar;
use crate::codec::record;
use crate::domain::json::Members;
use crate::domain::json::redaction::members::{decode_lossy, elements};
use crate::domain::{Error, EventFilter, Result, Run, RunId, RunStatus, Scope};
use crate::service::Service;
use crate::service::list::ListEvents;
use crate::transport::rest::time::{micros, unix_seconds};

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StructureRunStatus {
    /// Accepted; also a run whose events tell no status yet.
    Queued,
    /// Its code is being loaded.
    Starting,
    /// Its code runs; also a run that awaits input or whose worker fell silent.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly by its own doing.
    Failed,
    /// Ended by an error of the platform: by `StructureRunError`.
    Error,
    /// Stopped on request.
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

    /// The statuses that are shown by this name. The store does not tell ERROR from FAILED, so either name finds both.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static [RunStatus]> {
        Some(match name {
            "QUEUED" => &[RunStatus::Queued, RunStatus::Unspecified],
            "STARTING" => &[RunStatus::Starting],
            "RUNNING" => &[RunStatus::Running, RunStatus::AwaitingInput, RunStatus::Stalled],
            "SUCCEEDED" => &[RunStatus::Succeeded],
            "FAILED" | "ERROR" => &[RunStatus::Failed],
            "CANCELLED" => &[RunStatus::Cancelled],
            _ => return None,
        })
    }
}

/// A run. Times are RFC 3339 with microseconds and `Z`.
#[derive(Debug, Serialize, ToSchema)]
pub struct StructureRun {
    /// Its id.
    structure_run_id: String,
    /// The structure that it was created for; empty when it was created without one.
    structure_id: String,
    /// Who created it; empty when not known.
    created_by: String,
    /// When its first event was recorded.
    #[schema(format = DateTime)]
    created_at: String,
    /// When its last event was recorded.
    #[schema(format = DateTime)]
    updated_at: String,
    /// When its code was first loaded or running, as its runtime says, else by the producer's clock; null before.
    #[schema(required, format = DateTime)]
    started_at: Option<String>,
    /// When it ended, likewise; null before.
    #[schema(required, format = DateTime)]
    completed_at: Option<String>,
    /// Where it stands.
    status: StructureRunStatus,
    /// The arguments that it was created with.
    args: Vec<String>,
    /// The environment variables that it was created with, secrets masked.
    env_vars: Vec<StructureEnvVar>,
    /// What it produced: `output_task_output` of its FinishStructureRunEvent; null before.
    #[schema(value_type = serde_json::Value)]
    output: Option<Box<RawValue>>,
    /// When its output was recorded, in seconds since 1970; null before.
    #[schema(required)]
    output_timestamp: Option<f64>,
    /// What the platform said about how it ended; null when nothing was said.
    #[schema(value_type = serde_json::Value)]
    status_detail: Option<Box<RawValue>>,
}

impl StructureRun {
    /// The run, with what its first event says about its creation.
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

    /// As JSON text.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|_| Error::Internal)
    }
}

fn document(text: String) -> Result<Box<RawValue>> {
    RawValue::from_string(text).map_err(|_| Error::StoreDamaged)
}

/// Arguments and variables of the event that created the run; none where another kind of event did. Masked here as well:
/// the event may have come in through another door.
async fn created_with(service: &Service, run_id: &RunId) -> Result<(Vec<String>, Vec<StructureEnvVar>)> {
    let first = ListEvents {
        epoch: String::new(),
        scope: Scope::Run(run_id.clone()),
        cursor: String::new(),
        page_size: 1,
        descending: false,
        filter: EventFilter::default(),
    };
    let Some(stored) = service.list_events(&first).await?.records.pop() else { return Ok(Default::default()) };
    if record::header(&stored.bytes)?.event_type != "run.created" {
        return Ok(Default::default());
    }
    let event = record::decode(stored.bytes)?;
    let members = Members::parse(event.payload.as_str());
    let list = |name| members.raw(name).and_then(elements).unwrap_or_default().into_iter();
    let args = list("args").filter_map(decode_lossy).map(Into::into).collect();
    let env_vars = list("env_vars").filter_map(StructureEnvVar::stored).map(StructureEnvVar::masked).collect();
    Ok((args, env_vars))
}

//! Steering a run from outside: cancel, resume, answer. Each is an event like any other, published on the condition that
//! the run still is where it was when it was looked at.

use serde_json::json;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::{Error, EventId, EventType, NewEvent, Origin, Payload, Result, Run, RunId, RunStatus};
use crate::store::Append;

use super::Service;

/// How often a control is tried again when events come in between.
const MAX_TRIES: usize = 16;

/// What is asked of a run.
#[derive(Clone, Debug)]
pub enum Control {
    /// Stop it. Refused when it has ended, unless it was cancelled already.
    Cancel,
    /// Go on: queued again, or running. Refused unless it is stalled or awaits input.
    Resume,
    /// Approve what it asks. Refused when it awaits nothing.
    Approve {
        /// Any JSON that goes with it.
        payload: Option<String>,
    },
    /// Reject what it asks. Refused when it awaits nothing.
    Reject {
        /// Any JSON that goes with it.
        payload: Option<String>,
    },
    /// Give what it asks for. Refused when it awaits nothing.
    SubmitInput {
        /// The input, any JSON.
        payload: Option<String>,
    },
}

impl Control {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Cancel => "run.cancelled",
            Self::Resume => "run.resumed",
            Self::Approve { .. } | Self::Reject { .. } => "run.signal_applied",
            Self::SubmitInput { .. } => "run.input_received",
        }
    }

    fn action(&self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Resume => "resume",
            Self::Approve { .. } => "approve",
            Self::Reject { .. } => "reject",
            Self::SubmitInput { .. } => "submit_input",
        }
    }

    fn is_allowed(&self, run: &Run) -> bool {
        match self {
            Self::Cancel => !run.status.is_final(),
            Self::Resume => matches!(run.status, RunStatus::Stalled | RunStatus::AwaitingInput),
            _ => run.pending_input.is_some(),
        }
    }

    /// The documented payload, with what the caller gave under `payload`.
    fn payload(&self, run: &Run, request_id: &str) -> String {
        let (from, given) = (
            status_name(run.status),
            match self {
                Self::Approve { payload } | Self::Reject { payload } | Self::SubmitInput { payload } => {
                    payload.as_deref()
                }
                Self::Cancel | Self::Resume => None,
            },
        );
        let base = match self {
            Self::Cancel => json!({ "request_id": request_id, "from_status": from, "to_status": "cancelled" }),
            Self::Resume => json!({ "request_id": request_id, "from_status": from, "to_status": "running" }),
            _ => json!({ "request_id": request_id, "action": self.action() }),
        };
        let base = base.to_string();
        // Spliced in as text: what the caller gave stays as it was sent.
        match given.and_then(|text| serde_json::from_str::<&RawValue>(text).ok()) {
            Some(given) => format!("{},\"payload\":{}}}", &base[..base.len() - 1], given.get()),
            None => base,
        }
    }
}

impl Service {
    /// Carries out a control and returns the run afterwards. `key` makes a retry safe; `request_id` goes into the event.
    /// Fails with `RunNotFound`, and with `ControlRefused` from a state that does not allow it.
    pub async fn control(&self, run_id: &RunId, control: Control, key: Option<&str>, request_id: &str) -> Result<Run> {
        let event_id = key.map(|key| control_id(&control, key)).transpose()?;
        for _ in 0..MAX_TRIES {
            let run = self.store.run(run_id).await?;
            if matches!(control, Control::Cancel) && run.status == RunStatus::Cancelled {
                return Ok(run);
            }
            if !control.is_allowed(&run) && !self.is_repeated(run_id, event_id.as_ref()).await? {
                let (run_id, status) = (run_id.to_string(), run.status);
                return Err(Error::ControlRefused { run_id, action: control.action(), status });
            }
            if !control.is_allowed(&run) {
                return Ok(run);
            }
            let append = Append {
                run_id: run_id.clone(),
                events: vec![NewEvent {
                    event_id: event_id.clone(),
                    event_type: EventType::parse(control.event_type())?,
                    origin: Origin::System,
                    occurred_at: None,
                    agent_name: None,
                    payload: Payload::parse(control.payload(&run, request_id), self.limits())
                        .map_err(|error| error.under("payload"))?,
                }],
                expected_last_seq: Some(run.last_seq),
                agent_name: None,
                structure_id: None,
            };
            match self.store.append(append).await {
                Ok(_) => return self.store.run(run_id).await,
                // The same key again: the first one counts, whatever else the request id made of the payload.
                Err(Error::EventIdConflict { .. }) => return Ok(run),
                // Somebody was faster: look again whether it is still allowed.
                Err(Error::SeqConflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Overloaded { what: "the run changes too fast", retry_after: std::time::Duration::from_secs(1) })
    }

    /// Whether a control with this id was carried out before.
    async fn is_repeated(&self, run_id: &RunId, event_id: Option<&EventId>) -> Result<bool> {
        match event_id {
            None => Ok(false),
            Some(event_id) => match self.store.find_event(Some(run_id), event_id).await {
                Ok(_) => Ok(true),
                Err(Error::EventNotFound { .. }) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }
}

fn control_id(control: &Control, key: &str) -> Result<EventId> {
    let key = super::runs::idempotency_key(key)?;
    EventId::parse(&format!("{}-{:032x}", control.action(), xxh3_128(key.as_bytes())))
}

/// The status in the words of the public events.
#[must_use]
pub fn status_name(status: RunStatus) -> String {
    status.to_string().to_lowercase()
}

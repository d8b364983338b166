//! Steering a run from outside: cancel, resume, answer. Each is an event like any other, published on the condition that
//! the run still is where it was when it was looked at.

use serde_json::Value;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::{Error, EventId, EventType, NewEvent, Origin, Payload, Result, Run, RunId, RunStatus, Scope};
use crate::store::Append;

use super::Service;

/// How often a control is tried again when events come in between.
const MAX_TRIES: usize = 16;

/// A run is cancelled once, whoever asks and how often.
const CANCEL_ID: &str = "control-cancel";

/// What is asked of a run.
#[derive(Clone, Debug)]
pub enum Control {
    /// Stop it. Refused when it has ended, unless it was cancelled already.
    Cancel,
    /// Go on: a stalled run is queued again, one that awaits input runs. Refused in any other status.
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

    fn refused(&self, run: &Run) -> Error {
        Error::ControlRefused { run_id: run.run_id.to_string(), action: self.action(), status: run.status }
    }

    /// The id under which it is stored; keys of all controls but cancel share one space.
    fn event_id(&self, key: Option<&str>) -> Result<Option<EventId>> {
        let key = key.map(super::runs::idempotency_key).transpose()?;
        match (self, key) {
            (Self::Cancel, _) => EventId::parse(CANCEL_ID).map(Some),
            (_, Some(key)) => EventId::parse(&format!("control-{:032x}", xxh3_128(key.as_bytes()))).map(Some),
            (_, None) => Ok(None),
        }
    }

    /// The documented payload, with what the caller gave under `payload`, spliced in as text: it stays as it was sent.
    fn payload(&self, run: &Run, request_id: &str) -> Result<String> {
        let transition = |to: &str| format!(r#""from_status":"{}","to_status":"{to}""#, status_name(run.status));
        let facts = match self {
            Self::Cancel => transition("cancelled"),
            // Nobody works on a stalled run: a worker has to take it up again.
            Self::Resume if run.status == RunStatus::Stalled => transition("queued"),
            Self::Resume => transition("running"),
            _ => format!(r#""action":"{}""#, self.action()),
        };
        let given = match self.given() {
            Some(text) => {
                let invalid = |error| Error::invalid("payload", format!("must be JSON: {error}"));
                format!(r#","payload":{}"#, serde_json::from_str::<&RawValue>(text).map_err(invalid)?)
            }
            None => String::new(),
        };
        Ok(format!(r#"{{"request_id":{},{facts}{given}}}"#, Value::from(request_id)))
    }

    fn given(&self) -> Option<&str> {
        match self {
            Self::Approve { payload } | Self::Reject { payload } | Self::SubmitInput { payload } => payload.as_deref(),
            Self::Cancel | Self::Resume => None,
        }
    }
}

impl Service {
    /// Carries out a control and returns the run afterwards. `key` makes a retry safe: the same key with the same control
    /// is carried out once, with another it fails with `EventIdConflict`. `request_id` goes into the event where there is
    /// no key. Fails with `RunNotFound`, with `ControlRefused` from a state that does not allow it, and with `Overloaded`
    /// where the run moves too fast to be looked at.
    pub async fn control(&self, run_id: &RunId, control: Control, key: Option<&str>, request_id: &str) -> Result<Run> {
        let event_id = control.event_id(key)?;
        let request_id = key.map_or_else(|| request_id.to_owned(), keyed_request_id);
        for tries_left in (0..MAX_TRIES).rev() {
            // The end first: what is then seen of the run is at least as new, so that nothing comes in between unseen.
            let last_seq = self.store.tip(&Scope::Run(run_id.clone())).await?.last;
            let run = self.store.run(run_id).await?;
            let is_cancel = matches!(control, Control::Cancel);
            if is_cancel && run.status == RunStatus::Cancelled {
                return Ok(run);
            }
            let is_allowed = control.is_allowed(&run);
            if !is_allowed && (is_cancel || key.is_none()) {
                return Err(control.refused(&run));
            }
            let expected_last_seq = match (is_allowed, tries_left) {
                // A run that never pauses must still be stoppable. Should it end meanwhile, the cancellation comes late.
                (true, 0) if is_cancel => None,
                (true, _) => Some(last_seq),
                // Only the store knows for certain whether this key was carried out before; nothing else is let through.
                (false, _) => Some(u64::MAX),
            };
            let append = Append {
                run_id: run_id.clone(),
                events: vec![self.control_event(&run, &control, event_id.clone(), &request_id)?],
                expected_last_seq,
                agent_name: None,
                structure_id: None,
                recorded: None,
            };
            match self.store.append(append).await {
                // Stored, or another cancellation was, or the run has ended.
                Ok(_) | Err(Error::EventIdConflict { .. } | Error::FinalStatus { .. })
                    if expected_last_seq.is_none() =>
                {
                    let run = self.stored_run(run_id).await?;
                    return if run.status == RunStatus::Cancelled { Ok(run) } else { Err(control.refused(&run)) };
                }
                Ok(_) => return self.stored_run(run_id).await,
                Err(Error::SeqConflict { .. }) if !is_allowed => return Err(control.refused(&run)),
                // Somebody was faster: look again whether it is still allowed, or done already.
                Err(Error::SeqConflict { .. } | Error::FinalStatus { .. }) => {}
                Err(Error::EventIdConflict { .. }) if is_cancel => {}
                Err(conflict @ Error::EventIdConflict { .. }) => {
                    self.require_repeat(run_id, &control, event_id.as_ref(), conflict).await?;
                    return self.store.run(run_id).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Overloaded { what: "the run changes too fast", retry_after: std::time::Duration::from_secs(1) })
    }

    /// Fails with `RunNotFound` where the run has no event: for doors at which a publish does not create a run.
    pub async fn require_run(&self, run_id: &RunId) -> Result<()> {
        self.store.tip(&Scope::Run(run_id.clone())).await.map(drop)
    }

    fn control_event(
        &self,
        run: &Run,
        control: &Control,
        event_id: Option<EventId>,
        request_id: &str,
    ) -> Result<NewEvent> {
        let payload = control.payload(run, request_id)?;
        Ok(NewEvent {
            event_id,
            event_type: EventType::parse(control.event_type())?,
            origin: Origin::System,
            occurred_at: None,
            agent_name: None,
            payload: Payload::parse(payload, self.limits()).map_err(|error| error.under("payload"))?,
        })
    }

    /// A resume is the same whatever status the run was resumed from: that is the run's affair, not the caller's.
    async fn require_repeat(
        &self,
        run_id: &RunId,
        control: &Control,
        event_id: Option<&EventId>,
        conflict: Error,
    ) -> Result<()> {
        let (Control::Resume, Some(event_id)) = (control, event_id) else { return Err(conflict) };
        let event = self.store.find_event(Some(run_id), event_id).await?;
        if event.event_type.as_str() == control.event_type() { Ok(()) } else { Err(conflict) }
    }
}

/// The request id that goes into an event written under an idempotency key: the same for every try.
#[must_use]
pub fn keyed_request_id(key: &str) -> String {
    format!("req_{:032x}", xxh3_128(key.as_bytes()))
}

/// The status in the words of the public events. A run that nothing was said about waits.
#[must_use]
pub fn status_name(status: RunStatus) -> String {
    match status {
        RunStatus::Unspecified => "queued".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

//! Controls of a run: cancel, resume, and answers to questions. A control is stored as an event, on the condition that the
//! control is still possible at the commit: the question is open, or the status is the one that was read. Other events of the
//! run may be stored between the read and the commit.

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::json::{Members, canonical};
use crate::domain::projection::{named_question, question_id};
use crate::domain::{
    Error, Event, EventId, EventType, KeyScope, Limits, NewEvent, Origin, Payload, Result, Run, RunId, RunStatus, Scope,
};
use crate::store::{Append, Condition};

use super::access::audit::Action;
use super::{Service, event_ids};

/// Attempts of one control, when the run's status changes between the read and the commit.
const MAX_TRIES: usize = 16;

/// A control of a run.
#[derive(Clone, Debug)]
pub enum Control {
    /// Cancel the run. Refused for an ended run; a run that is cancelled already is returned as is.
    Cancel,
    /// Continue the run: STALLED becomes QUEUED, AWAITING_INPUT becomes RUNNING. Refused in any other status.
    Resume,
    /// Approve an open question. Refused for a run without open questions.
    Approve {
        /// Any JSON, stored with the answer. An object may name the question.
        payload: Option<String>,
    },
    /// Reject an open question. Refused for a run without open questions.
    Reject {
        /// Any JSON, stored with the answer. An object may name the question.
        payload: Option<String>,
    },
    /// Answer an open question with input. Refused for a run without open questions.
    SubmitInput {
        /// The input, any JSON. An object may name the question.
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

    /// The condition on the run for the commit. Fails if the control is not possible in the run's present state.
    fn condition(&self, run: &Run) -> Result<Condition> {
        let is_possible = match self {
            Self::Cancel => !run.status.is_final(),
            Self::Resume => matches!(run.status, RunStatus::Stalled | RunStatus::AwaitingInput),
            Self::Approve { .. } | Self::Reject { .. } | Self::SubmitInput { .. } => {
                return self.question(run).map(Condition::QuestionOpen);
            }
        };
        if is_possible {
            return Ok(Condition::Status(run.status));
        }
        Err(Error::ControlRefused { run_id: run.run_id.to_string(), action: self.action(), status: run.status })
    }

    /// The seq of the answered question: the open question that the payload names, else the oldest open question.
    fn question(&self, run: &Run) -> Result<u64> {
        let named = self.given().and_then(|json| named_question(&run.pending_inputs, json));
        let (question, problem) = match named {
            Some(named) => (named, "awaits no answer to the question that is named, or none any more"),
            None => (run.pending_inputs.first().map(|oldest| oldest.requested_seq), "awaits no answer any more"),
        };
        let (run_id, action) = (run.run_id.to_string(), self.action());
        question.ok_or(Error::NotAwaited { run_id, action, problem })
    }

    /// The id of the control's event. All controls except cancel share one namespace of keys.
    fn event_id(&self, key: Option<&str>) -> Result<Option<EventId>> {
        match (self, key) {
            (Self::Cancel, _) => event_ids::cancel().map(Some),
            (_, key) => key.map(event_ids::control).transpose(),
        }
    }

    /// The payload of the control's event: request id, statuses or question, and the caller's JSON under `payload`, spliced in
    /// as text, byte for byte.
    fn payload(&self, run: &Run, condition: Condition, request_id: &str) -> String {
        let transition = |to: &str| format!(r#""from_status":"{}","to_status":"{to}""#, status_name(run.status));
        let facts = match (self, condition) {
            (Self::Cancel, _) => transition("cancelled"),
            // A stalled run has no worker, so the run goes back to the queue.
            (Self::Resume, _) if run.status == RunStatus::Stalled => transition("queued"),
            (Self::Resume, _) => transition("running"),
            (_, Condition::QuestionOpen(seq)) => format!(r#""action":"{}","requested_seq":{seq}"#, self.action()),
            _ => format!(r#""action":"{}""#, self.action()),
        };
        let given = self.given().map_or_else(String::new, |json| format!(r#","payload":{}"#, json.trim_ascii()));
        format!(r#"{{"request_id":{},{facts}{given}}}"#, Value::from(request_id))
    }

    /// Checks the caller's JSON against the limits of payloads, before any other use.
    fn check(&self, limits: &Limits) -> Result<()> {
        let Some(given) = self.given() else { return Ok(()) };
        // The caller's JSON is nested one level below the payload.
        let limits = Limits { max_json_depth: limits.max_json_depth - 1, ..*limits };
        let checked = Payload::parse(&EventType::parse(self.event_type())?, given, &limits);
        checked.map(drop).map_err(|error| error.under("payload"))
    }

    /// Whether `event` is this control, stored by an earlier attempt with the same key. Compares type, action and the caller's
    /// JSON. The status before and the answered question depend on the run, not on the caller, so neither is compared.
    fn is_repeat_of(&self, event: &Event) -> bool {
        let members = Members::parse(event.payload.as_str());
        let is_same = match self {
            Self::Cancel | Self::Resume => true,
            _ => {
                members.string("action").as_deref() == Some(self.action())
                    && members.raw("payload").map(canonical)
                        == self.given().filter(|text| text.trim() != "null").map(canonical)
            }
        };
        is_same && event.event_type.as_str() == self.event_type()
    }

    fn given(&self) -> Option<&str> {
        match self {
            Self::Approve { payload } | Self::Reject { payload } | Self::SubmitInput { payload } => payload.as_deref(),
            Self::Cancel | Self::Resume => None,
        }
    }
}

impl Service {
    /// Executes a control and returns the run afterwards. `key` makes a retry safe: the same key with the same control executes
    /// once; the same key with another control fails with `EventIdConflict`. `request_id` goes into the event if there is no
    /// key. Fails with `RunNotFound`, with `ControlRefused` or `NotAwaited` if the run's state does not allow the control, and
    /// with `Overloaded` if the run's status keeps changing between read and commit.
    pub async fn control(&self, run_id: &RunId, control: Control, key: Option<&str>, request_id: &str) -> Result<Run> {
        let action = Action::begin(&self.caller, control.action(), run_id.as_str());
        let run = self.carry_out(run_id, control, key, request_id).await;
        action.end(&run);
        run
    }

    async fn carry_out(&self, run_id: &RunId, control: Control, key: Option<&str>, request_id: &str) -> Result<Run> {
        self.caller.require(KeyScope::RunsWrite)?;
        let key = key.map(super::runs::idempotency_key).transpose()?;
        control.check(self.limits())?;
        self.caller.limits().publish(1, || control.given().map_or(0, str::len)).await?;
        let mut event_id = control.event_id(key)?;
        let is_cancel = matches!(control, Control::Cancel);
        let request_id = key.map_or_else(|| request_id.to_owned(), keyed_request_id);
        for tries_left in (0..MAX_TRIES).rev() {
            let mut run = self.read_run(run_id).await?;
            // In each attempt, and after the read of the run: a replica of version 0.1.0 may run beside this server.
            if let Some(key) = key
                && !is_cancel
                && self.was_carried_out_before(run_id, &control, key).await?
            {
                return self.read_run(run_id).await;
            }
            self.learn_question_ids(&mut run).await?;
            if is_cancel && run.status == RunStatus::Cancelled {
                return Ok(run);
            }
            let (condition, refusal) = match control.condition(&run) {
                // The last attempt cancels under a weaker condition, so a run with a fast changing status can be cancelled.
                Ok(_) if is_cancel && tries_left == 0 => (Condition::NotEnded, None),
                Ok(condition) => (condition, None),
                Err(refusal) if is_cancel || key.is_none() => return Err(refusal),
                // An earlier attempt with this key may be stored. The store returns only such a repeat, and adds no event.
                Err(refusal) => (Condition::OnlyRepeat, Some(refusal)),
            };
            let event = self.control_event(&run, &control, condition, event_id.clone(), &request_id)?;
            let append = Append { condition: Some(condition), ..Append::new(run_id.clone(), vec![event]) };
            match (self.store.append(append).await.map_err(|error| error.of_event(None)), refusal) {
                (Ok(_), _) => return self.stored_run(run_id).await,
                (Err(Error::RunChanged { .. }), Some(refusal)) => return Err(refusal),
                // Conflict: the next attempt reads the run again.
                (Err(Error::RunChanged { .. } | Error::FinalStatus { .. }), None) => {}
                // Either another caller cancelled the run, and the next attempt returns the cancelled run; or an event of an
                // import or of version 0.1.0 has the id, and the cancellation is stored without the reserved id.
                (Err(Error::EventIdConflict { .. }), _) if is_cancel => event_id = None,
                (Err(conflict @ Error::EventIdConflict { .. }), _) => {
                    let Some(event_id) = &event_id else { return Err(conflict) };
                    let event = self.store.find_event(Some(run_id), event_id).await?;
                    return if control.is_repeat_of(&event) { self.read_run(run_id).await } else { Err(conflict) };
                }
                (Err(error), _) => return Err(error),
            }
        }
        Err(Error::Overloaded { what: "the run changes too fast", retry_after: std::time::Duration::from_secs(1) })
    }

    /// Fails with `RunNotFound` if the run has no event. For publishes that must not create a run.
    pub async fn require_run(&self, run_id: &RunId) -> Result<()> {
        self.caller.require(KeyScope::EventsPublish)?;
        self.store.extent(&Scope::Run(run_id.clone())).await.map(drop)
    }

    fn control_event(
        &self,
        run: &Run,
        control: &Control,
        condition: Condition,
        event_id: Option<EventId>,
        request_id: &str,
    ) -> Result<NewEvent> {
        let payload = control.payload(run, condition, request_id);
        let event_type = EventType::parse(control.event_type())?;
        let payload = Payload::parse(&event_type, payload, self.limits()).map_err(|error| error.under("payload"))?;
        Ok(NewEvent { event_id, origin: Origin::System, ..NewEvent::new(event_type, payload) })
    }

    /// Reads question ids from the events, for questions that version 0.1.0 stored in the run without an id.
    async fn learn_question_ids(&self, run: &mut Run) -> Result<()> {
        let run_id = run.run_id.clone();
        for question in run.pending_inputs.iter_mut().filter(|question| question.question_id.is_none()) {
            if let Some(event) = self.event_at(&run_id, question.requested_seq).await? {
                question.question_id = Some(question_id(event.payload.as_str()));
            }
        }
        Ok(())
    }

    /// Whether version 0.1.0 executed the control with this key; version 0.1.0 used other event ids.
    async fn was_carried_out_before(&self, run_id: &RunId, control: &Control, key: &str) -> Result<bool> {
        let event_id = event_ids::control_before(key)?;
        match self.store.find_event(Some(run_id), &event_id).await {
            Ok(event) if !event_ids::is_of_a_control(&event.event_type, event.origin) => Ok(false),
            Ok(event) if control.is_repeat_of(&event) => Ok(true),
            Ok(event) => {
                let (run_id, event_id) = (run_id.to_string(), event_id.to_string());
                Err(Error::EventIdConflict { run_id, event_id, seq: event.seq, index: None })
            }
            Err(Error::EventNotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The request id in an event with an idempotency key: derived from the key, so that all attempts have the same id.
#[must_use]
pub fn keyed_request_id(key: &str) -> String {
    format!("req_{:032x}", xxh3_128(key.as_bytes()))
}

/// The status as spelled in public run events. A run without any status event counts as `queued`.
#[must_use]
pub fn status_name(status: RunStatus) -> String {
    match status {
        RunStatus::Unspecified => "queued".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

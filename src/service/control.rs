//! Steering a run from outside: cancel, resume, answer. Each is an event like any other, published on the condition that it is
//! still possible: a question is open, a status is the one that was looked at. Other events may come in between.

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use crate::codec::record;
use crate::domain::json::{Members, canonical};
use crate::domain::projection::{named_question, question_id};
use crate::domain::{
    Error, Event, EventId, EventType, Limits, NewEvent, Origin, Payload, Result, Run, RunId, RunStatus, Scope,
};
use crate::store::{Append, Condition, Range};

use super::{Service, event_ids};

/// How often a control is tried again when the run's status changes in between.
const MAX_TRIES: usize = 16;

/// What is asked of a run.
#[derive(Clone, Debug)]
pub enum Control {
    /// Stop it. Refused when it has ended, unless it was cancelled already.
    Cancel,
    /// Go on: a stalled run is queued again, one that awaits input runs. Refused in any other status.
    Resume,
    /// Approve what it asks. Refused when it awaits nothing.
    Approve {
        /// Any JSON that goes with it. An object may name the question that is answered.
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

    /// What must still be so of the run when the control is stored. Fails where it is not possible as the run is now.
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

    /// The seq of the open question that it answers: the one that its payload names, else the oldest.
    fn question(&self, run: &Run) -> Result<u64> {
        let named = self.given().and_then(|json| named_question(&run.pending_inputs, json));
        let (question, problem) = match named {
            Some(named) => (named, "awaits no answer to the question that is named, or none any more"),
            None => (run.pending_inputs.first().map(|oldest| oldest.requested_seq), "awaits no answer any more"),
        };
        let (run_id, action) = (run.run_id.to_string(), self.action());
        question.ok_or(Error::NotAwaited { run_id, action, problem })
    }

    /// The id under which it is stored; keys of all controls but cancel share one space.
    fn event_id(&self, key: Option<&str>) -> Result<Option<EventId>> {
        match (self, key) {
            (Self::Cancel, _) => event_ids::cancel().map(Some),
            (_, key) => key.map(event_ids::control).transpose(),
        }
    }

    /// The documented payload and which question it answers, with what the caller gave under `payload`, spliced in as text: it
    /// stays as it was sent.
    fn payload(&self, run: &Run, condition: Condition, request_id: &str) -> String {
        let transition = |to: &str| format!(r#""from_status":"{}","to_status":"{to}""#, status_name(run.status));
        let facts = match (self, condition) {
            (Self::Cancel, _) => transition("cancelled"),
            // Nobody works on a stalled run: a worker has to take it up again.
            (Self::Resume, _) if run.status == RunStatus::Stalled => transition("queued"),
            (Self::Resume, _) => transition("running"),
            (_, Condition::QuestionOpen(seq)) => format!(r#""action":"{}","requested_seq":{seq}"#, self.action()),
            _ => format!(r#""action":"{}""#, self.action()),
        };
        let given = self.given().map_or_else(String::new, |json| format!(r#","payload":{}"#, json.trim_ascii()));
        format!(r#"{{"request_id":{},{facts}{given}}}"#, Value::from(request_id))
    }

    /// Refuses what a caller gave that no event may hold, before anything else looks at it.
    fn check(&self, limits: &Limits) -> Result<()> {
        let Some(given) = self.given() else { return Ok(()) };
        // It lies one level below the payload.
        let limits = Limits { max_json_depth: limits.max_json_depth - 1, ..*limits };
        let checked = Payload::parse(&EventType::parse(self.event_type())?, given, &limits);
        checked.map(drop).map_err(|error| error.under("payload"))
    }

    /// A repeated control is the same whatever the run was like when it was carried out: from which status it was resumed, and
    /// which question was answered, is the run's affair, not the caller's.
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
    /// Carries out a control and returns the run afterwards. `key` makes a retry safe: the same key with the same control
    /// is carried out once, with another it fails with `EventIdConflict`. `request_id` goes into the event where there is
    /// no key. Fails with `RunNotFound`, with `ControlRefused` or `NotAwaited` from a state that does not allow it, and with
    /// `Overloaded` where the run's status changes too fast to be looked at.
    pub async fn control(&self, run_id: &RunId, control: Control, key: Option<&str>, request_id: &str) -> Result<Run> {
        let key = key.map(super::runs::idempotency_key).transpose()?;
        control.check(self.limits())?;
        let mut event_id = control.event_id(key)?;
        let is_cancel = matches!(control, Control::Cancel);
        let request_id = key.map_or_else(|| request_id.to_owned(), keyed_request_id);
        for tries_left in (0..MAX_TRIES).rev() {
            let mut run = self.run(run_id).await?;
            // At each try, and after the look at the run: a replica of version 0.1.0 may run beside this one.
            if let Some(key) = key
                && !is_cancel
                && self.was_carried_out_before(run_id, &control, key).await?
            {
                return self.run(run_id).await;
            }
            self.learn_question_ids(&mut run).await?;
            if is_cancel && run.status == RunStatus::Cancelled {
                return Ok(run);
            }
            let (condition, refusal) = match control.condition(&run) {
                // A run whose status never rests must still be stoppable.
                Ok(_) if is_cancel && tries_left == 0 => (Condition::NotEnded, None),
                Ok(condition) => (condition, None),
                Err(refusal) if is_cancel || key.is_none() => return Err(refusal),
                // Only the store knows for certain whether this key was carried out before; nothing else is let through.
                Err(refusal) => (Condition::OnlyRepeat, Some(refusal)),
            };
            let append = Append {
                run_id: run_id.clone(),
                events: vec![self.control_event(&run, &control, condition, event_id.clone(), &request_id)?],
                condition: Some(condition),
                agent_name: None,
                structure_id: None,
                recorded: None,
            };
            match (self.store.append(append).await.map_err(|error| error.of_event(None)), refusal) {
                (Ok(_), _) => return self.stored_run(run_id).await,
                (Err(Error::RunChanged { .. }), Some(refusal)) => return Err(refusal),
                // Look again whether it is still possible, or done already.
                (Err(Error::RunChanged { .. } | Error::FinalStatus { .. }), None) => {}
                // Cancelled by another caller, which the next look shows; or the id is taken by an event that was imported or
                // stored by version 0.1.0, and the cancellation does without it.
                (Err(Error::EventIdConflict { .. }), _) if is_cancel => event_id = None,
                (Err(conflict @ Error::EventIdConflict { .. }), _) => {
                    let Some(event_id) = &event_id else { return Err(conflict) };
                    let event = self.store.find_event(Some(run_id), event_id).await?;
                    return if control.is_repeat_of(&event) { self.run(run_id).await } else { Err(conflict) };
                }
                (Err(error), _) => return Err(error),
            }
        }
        Err(Error::Overloaded { what: "the run changes too fast", retry_after: std::time::Duration::from_secs(1) })
    }

    /// Fails with `RunNotFound` where the run has no event: for a publish that asks for a run that is there.
    pub async fn require_run(&self, run_id: &RunId) -> Result<()> {
        self.store.scope_end(&Scope::Run(run_id.clone())).await.map(drop)
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
        Ok(NewEvent {
            event_id,
            event_type,
            origin: Origin::System,
            occurred_at: None,
            sent_seconds: None,
            agent_name: None,
            payload,
        })
    }

    /// Asks the events for the ids of questions that version 0.1.0 stored without them.
    async fn learn_question_ids(&self, run: &mut Run) -> Result<()> {
        let scope = Scope::Run(run.run_id.clone());
        for question in run.pending_inputs.iter_mut().filter(|question| question.question_id.is_none()) {
            let from = question.requested_seq.saturating_sub(1);
            let page = self.store.read(&scope, Range { from, descending: false, max_events: 1, max_bytes: 1 }).await?;
            for chunk in page.chunks {
                for record in chunk.records() {
                    let (seq, record) = record?;
                    if seq == question.requested_seq {
                        question.question_id = Some(question_id(record::decode(record)?.payload.as_str()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether version 0.1.0 carried the control out under this key: it gave the event another id.
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

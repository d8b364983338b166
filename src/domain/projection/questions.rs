//! The questions that a run waits on. They queue: an answer closes the one that it names, else the oldest.

use super::{QuestionChange, cut, short};
use crate::domain::event::Event;
use crate::domain::ids::EventId;
use crate::domain::json::Members;
use crate::domain::run::{PendingInput, Run};

/// Most questions of one run that are open at a time. What is asked beyond is stored and listed like any event, and waits in
/// no queue.
pub const MAX_OPEN_QUESTIONS: usize = 100;

/// Most characters of a question in words, and bytes of its context, that are kept with the run: 100 questions must fit into one
/// answer of a client's usual 4 MiB. The event that asked has all of it.
const MAX_QUESTION_CHARS: usize = 2_000;
const MAX_CONTEXT_BYTES: usize = 16 << 10;

/// Members that name a question and nothing else. An answer whose question is not open closes none.
const ITS_OWN: [&str; 2] = ["question_id", "input_id"];

/// Members that correlate events of many kinds. They name a question where one has them.
const SHARED: [&str; 2] = ["id", "request_id"];

/// Opens the question of this event, or closes the one that it answers. Returns what changes.
pub fn apply(run: &mut Run, event: &Event, members: &Members<'_>) -> Vec<QuestionChange> {
    match event.event_type.as_str() {
        "human_input_requested" | "run.awaiting_input" if run.pending_inputs.len() < MAX_OPEN_QUESTIONS => {
            let question = question(event.seq, members);
            run.pending_inputs.push(question.reference());
            vec![QuestionChange::Opened(question)]
        }
        "human_input_received" | "run.signal_applied" | "run.input_received" => {
            let Some(index) = answered(&run.pending_inputs, members) else { return Vec::new() };
            vec![QuestionChange::Closed(run.pending_inputs.remove(index))]
        }
        _ => Vec::new(),
    }
}

/// Closes all of them, at the end of the run.
pub fn close_all(run: &mut Run) -> Vec<QuestionChange> {
    run.pending_inputs.drain(..).map(QuestionChange::Closed).collect()
}

/// Whether a question is open after this answer.
pub fn stays_open(run: &Run, members: &Members<'_>) -> bool {
    let open = run.pending_inputs.len();
    open > usize::from(answered(&run.pending_inputs, members).is_some())
}

/// The open question that a JSON text names: `Some(None)` where it names one that is not open, `None` where it names none.
#[must_use]
pub fn named_question(open: &[PendingInput], json: &str) -> Option<Option<u64>> {
    let index = named(open, &Members::parse(json))?;
    Some(index.map(|index| open[index].requested_seq))
}

/// The id of the question that an event asked with this payload; empty: it has none.
#[must_use]
pub fn question_id(payload: &str) -> String {
    id_of(&Members::parse(payload))
}

fn id_of(members: &Members<'_>) -> String {
    ITS_OWN.iter().chain(&SHARED).find_map(|name| name_of(members, name)).unwrap_or_default()
}

fn answered(open: &[PendingInput], members: &Members<'_>) -> Option<usize> {
    named(open, members).unwrap_or((!open.is_empty()).then_some(0))
}

/// Which question an answer names. `Some(None)`: one that is not open.
fn named(open: &[PendingInput], members: &Members<'_>) -> Option<Option<usize>> {
    if let Some(seq) = members.count("requested_seq") {
        return Some(open.iter().position(|question| question.requested_seq == seq));
    }
    let by_id = |name: &&str| {
        let id = name_of(members, name)?;
        Some(open.iter().position(|question| question.question_id.as_ref() == Some(&id)))
    };
    if let Some(found) = ITS_OWN.iter().find_map(by_id) {
        // A question whose id is not known may be the one that is meant.
        return Some(found.or_else(|| open.iter().position(|question| question.question_id.is_none())));
    }
    SHARED.iter().filter_map(by_id).find(Option::is_some)
}

fn question(seq: u64, members: &Members<'_>) -> PendingInput {
    let string = |name| members.string(name).as_deref().map(short).unwrap_or_default();
    let question = members.words("question").unwrap_or_default();
    PendingInput {
        question_id: Some(id_of(members)),
        question: cut(&question, MAX_QUESTION_CHARS).to_owned(),
        context_json: members.text("context").filter(|json| json.len() <= MAX_CONTEXT_BYTES).unwrap_or_default(),
        channel: string("channel"),
        reason_code: string("reason_code"),
        input_kind: string("input_kind"),
        requested_seq: seq,
    }
}

/// An id that is a name as others are; a number counts as its text.
fn name_of(members: &Members<'_>, name: &str) -> Option<String> {
    members.words(name).filter(|id| EventId::parse(id).is_ok())
}

//! Open questions of a run, a queue: an answer closes the question named by the answer, else the oldest.

use super::documents::QuestionChange;
use super::text::{cut, short};
use crate::domain::event_types::Reads;
use crate::domain::ids::EventId;
use crate::domain::json::Members;
use crate::domain::run::{PendingInput, Run};

/// Maximum number of open questions of a run. The event of a further question is stored and listed like any event, and does
/// not enter the queue.
pub const MAX_OPEN_QUESTIONS: usize = 100;

/// Maximum size of a question's text (characters) and context (bytes) in the state of a run: 100 questions must fit into a
/// response of 4 MiB, the usual limit of gRPC clients. The event has the full texts.
const MAX_QUESTION_CHARS: usize = 2_000;
const MAX_CONTEXT_BYTES: usize = 16 << 10;

/// Members with the id of a question only. An answer with such an id that is not open closes no question.
const ITS_OWN: [&str; 2] = ["question_id", "input_id"];

/// Members with a correlation id of any kind. Used as a question's id if an open question has the same value.
const SHARED: [&str; 2] = ["id", "request_id"];

/// Opens the question of the event with this seq, or closes the answered question. Returns the change.
pub fn apply(run: &mut Run, seq: u64, reads: Reads, members: &Members<'_>) -> Vec<QuestionChange> {
    match reads {
        Reads::Question if run.pending_inputs.len() < MAX_OPEN_QUESTIONS => {
            let question = question(seq, members);
            run.pending_inputs.push(question.reference());
            vec![QuestionChange::Opened(question)]
        }
        Reads::Answer => {
            let Some(index) = answered(&run.pending_inputs, members) else { return Vec::new() };
            vec![QuestionChange::Closed(run.pending_inputs.remove(index))]
        }
        _ => Vec::new(),
    }
}

/// Closes all questions, at the end of the run.
pub fn close_all(run: &mut Run) -> Vec<QuestionChange> {
    run.pending_inputs.drain(..).map(QuestionChange::Closed).collect()
}

/// Whether any question is still open after this answer.
pub fn stays_open(run: &Run, members: &Members<'_>) -> bool {
    let open = run.pending_inputs.len();
    open > usize::from(answered(&run.pending_inputs, members).is_some())
}

/// Seq of the open question that an answer (JSON text) names. `Some(None)`: the named question is not open. `None`: the
/// answer names no question.
#[must_use]
pub fn named_question(open: &[PendingInput], json: &str) -> Option<Option<u64>> {
    let index = named(open, &Members::parse(json))?;
    Some(index.map(|index| open[index].requested_seq))
}

/// Id of the question in a payload; empty: the question has no id.
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

/// Index of the named question. `Some(None)`: the named question is not open. `None`: the answer names no question.
fn named(open: &[PendingInput], members: &Members<'_>) -> Option<Option<usize>> {
    if let Some(seq) = members.count("requested_seq") {
        return Some(open.iter().position(|question| question.requested_seq == seq));
    }
    let by_id = |name: &&str| {
        let id = name_of(members, name)?;
        Some(open.iter().position(|question| question.question_id.as_ref() == Some(&id)))
    };
    if let Some(found) = ITS_OWN.iter().find_map(by_id) {
        // A question of version 0.1.0 was stored without its id and may be the named one.
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

/// The member as an id, under the rules of event ids; a number counts as its text.
fn name_of(members: &Members<'_>, name: &str) -> Option<String> {
    members.words(name).filter(|id| EventId::parse(id).is_ok())
}

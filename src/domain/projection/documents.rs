//! Changes of the texts and questions of a run.

use crate::domain::run::PendingInput;

/// Texts of a run that an event changed. A text may be large, so the cached [`Run`](crate::domain::Run) is without them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    /// New output, as JSON text; `None`: unchanged.
    pub output_json: Option<String>,
    /// New error, as JSON text; `None`: unchanged.
    pub error_json: Option<String>,
    /// New `status_detail` of a structure run, as JSON text; `None`: unchanged.
    pub status_detail_json: Option<String>,
    /// Opened and closed questions, one change for each question.
    pub questions: Vec<QuestionChange>,
}

/// Change of a question by an event.
#[derive(Clone, Debug, PartialEq)]
pub enum QuestionChange {
    /// The question was asked.
    Opened(PendingInput),
    /// The question was answered, or its run ended. Only the [`reference`](PendingInput::reference) is present.
    Closed(PendingInput),
}

impl QuestionChange {
    /// The question; of a closed question the reference.
    #[must_use]
    pub fn question(&self) -> &PendingInput {
        match self {
            Self::Opened(question) | Self::Closed(question) => question,
        }
    }
}

impl Documents {
    /// Adds the changes of a later event. The later change of a text or question wins.
    pub fn merge(&mut self, later: Self) {
        if later.is_empty() {
            return;
        }
        self.output_json = later.output_json.or(self.output_json.take());
        self.error_json = later.error_json.or(self.error_json.take());
        self.status_detail_json = later.status_detail_json.or(self.status_detail_json.take());
        for change in later.questions {
            let seq = change.question().requested_seq;
            self.questions.retain(|before| before.question().requested_seq != seq);
            self.questions.push(change);
        }
    }

    /// Whether there is no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.output_json.is_none()
            && self.error_json.is_none()
            && self.status_detail_json.is_none()
            && self.questions.is_empty()
    }
}

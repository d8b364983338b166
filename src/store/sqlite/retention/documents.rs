//! Documents of a run that came from an erased event.

use sqlx::SqliteConnection;

use crate::domain::projection::{self, QuestionChange};
use crate::domain::{Event, PendingInput, Result};
use crate::store::run_row::{changed_documents, checksums};
use crate::store::sqlite::error::{StepError, from_sqlx};
use crate::store::sqlite::maintenance::transaction;

/// A document to remove, or to replace by one without texts, if it is stored as it came from the event.
pub struct DocumentChange {
    run: i64,
    kind: String,
    json: String,
    /// `None`: the document is removed.
    instead: Option<String>,
}

/// The documents that this event has given its run, if no later event has replaced them.
pub fn of_event(run: i64, event: &Event) -> Vec<DocumentChange> {
    let documents = projection::documents_of(event);
    let questions = documents.questions.iter().filter_map(|change| match change {
        QuestionChange::Opened(question) => Some(question),
        QuestionChange::Closed(_) => None,
    });
    let question = questions.map(without_texts).next();
    let changed = changed_documents(&documents).into_iter();
    let change = |(kind, json): (std::borrow::Cow<'static, str>, Option<String>)| {
        let instead = kind.starts_with("pending_input").then(|| question.clone()).flatten();
        Some(DocumentChange { run, kind: kind.into_owned(), json: json?, instead })
    };
    changed.filter_map(change).collect()
}

/// The question as far as an answer needs it.
fn without_texts(question: &PendingInput) -> String {
    serde_json::to_string(&question.reference()).unwrap_or_default()
}

/// Erases all documents of a run, in a transaction of its own. Questions stay open without their texts. Returns whether there was
/// something to erase.
pub async fn erase_all(connection: &mut SqliteConnection, run: i64) -> Result<bool> {
    const QUESTIONS: &str = "SELECT kind, json FROM run_documents WHERE run = ? AND kind >= 'pending_input'";
    const OTHERS: &str =
        "DELETE FROM run_documents WHERE run = ? AND kind <> 'pending_input' AND kind NOT LIKE 'pending_input:%'";
    transaction::begin(connection).await.map_err(from_sqlx)?;
    let written = async {
        let others = sqlx::query(OTHERS).bind(run).execute(&mut *connection).await?;
        let mut has_erased = others.rows_affected() > 0;
        let questions: Vec<(String, String)> = sqlx::query_as(QUESTIONS).bind(run).fetch_all(&mut *connection).await?;
        for (kind, json) in questions.into_iter().filter(|(kind, _)| kind.starts_with("pending_input")) {
            let Ok(question) = serde_json::from_str::<PendingInput>(&json) else { continue };
            let instead = without_texts(&question);
            if instead != json {
                has_erased = true;
                DocumentChange { run, kind, json, instead: Some(instead) }.write(connection).await?;
            }
        }
        Ok::<bool, StepError>(has_erased)
    };
    let written = written.await;
    transaction::end(connection, written).await.map_err(StepError::into_error)
}

impl DocumentChange {
    /// Writes the change in the caller's transaction. A question is known by its kind: an answered one is gone.
    pub async fn write(&self, transaction: &mut SqliteConnection) -> sqlx::Result<()> {
        let Self { run, kind, json, instead } = self;
        let Some(instead) = instead else {
            const REMOVE: &str = "DELETE FROM run_documents WHERE run = ? AND kind = ? AND json = ?";
            return sqlx::query(REMOVE).bind(run).bind(kind).bind(json).execute(transaction).await.map(drop);
        };
        const BLANK: &str = "UPDATE run_documents SET json = ?, checksum = ? WHERE run = ? AND kind = ?";
        let checksum = checksums::of_document(*run, kind, instead);
        let blank = sqlx::query(BLANK).bind(instead).bind(checksum).bind(run).bind(kind);
        blank.execute(transaction).await.map(drop)
    }
}

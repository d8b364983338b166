//! Documents of a run that came from an erased event.

use crate::domain::PendingInput;
use crate::domain::projection::{Documents, QuestionChange};
use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::error::Fault;

/// Erases the stored documents that are equal to these. A question stays open without its texts, so that an answer finds it.
pub async fn erase(connection: &mut PgExecutor<'_>, run: i64, documents: Documents) -> Result<(), Fault> {
    const DELETE: &str = "DELETE FROM run_documents WHERE run = $1 AND kind = $2 AND json = $3";
    // The second form is that of a program of version 2.
    const BLANK: &str = "UPDATE run_documents SET json = $3 WHERE run = $1 \
        AND (starts_with(kind, 'pending_input:' || lpad($2::text, 20, '0')) OR kind = 'pending_input' \
             AND json ~ ('\"requested_seq\":' || $2::text || '\\}$'))";
    let texts = [
        ("output", documents.output_json),
        ("error", documents.error_json),
        ("status_detail", documents.status_detail_json),
    ];
    for (kind, json) in texts.into_iter().filter_map(|(kind, json)| Some((kind, json?))) {
        sqlx::query(DELETE).bind(run).bind(kind).bind(json).execute(&mut *connection).await?;
    }
    for change in documents.questions {
        if let QuestionChange::Opened(question) = change {
            let blank = serde_json::to_string(&question.reference()).unwrap_or_default();
            let seq = question.requested_seq.cast_signed();
            sqlx::query(BLANK).bind(run).bind(seq).bind(blank).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// Erases all documents of a run. Questions stay open without their texts.
pub async fn erase_all(connection: &mut PgExecutor<'_>, run: i64) -> Result<(), Fault> {
    const OTHERS: &str = "DELETE FROM run_documents WHERE run = $1 AND NOT starts_with(kind, 'pending_input')";
    const QUESTIONS: &str = "SELECT kind, json FROM run_documents WHERE run = $1 AND json IS NOT NULL";
    const BLANK: &str = "UPDATE run_documents SET json = $3 WHERE run = $1 AND kind = $2";
    sqlx::query(OTHERS).bind(run).execute(&mut *connection).await?;
    let questions: Vec<(String, String)> = sqlx::query_as(QUESTIONS).bind(run).fetch_all(&mut *connection).await?;
    for (kind, json) in questions {
        let Ok(question) = serde_json::from_str::<PendingInput>(&json) else { continue };
        let blank = serde_json::to_string(&question.reference()).unwrap_or_default();
        sqlx::query(BLANK).bind(run).bind(kind).bind(blank).execute(&mut *connection).await?;
    }
    Ok(())
}

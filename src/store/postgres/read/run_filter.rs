//! The filters of a [`RunQuery`] in SQL, for every statement that reads the table `runs`.

use crate::store::RunQuery;

/// Condition on a row of `runs`. Its parameters 1 to 6 come from [`bound`], those of the statement follow.
// In the collation "C" `lower` changes ASCII letters only. The id of the run follows the project and a line feed, if there are any.
macro_rules! matching {
    () => {
        "($1::bigint[] IS NULL OR status = ANY($1)) AND ($2::text IS NULL OR agent_name = $2) \
         AND ($3::text IS NULL OR structure_id = $3) \
         AND ($4::text IS NULL OR rtrim(created_at, 'Z') COLLATE \"C\" >= $4) \
         AND ($5::text IS NULL OR rtrim(created_at, 'Z') COLLATE \"C\" < $5) \
         AND ($6::text IS NULL OR strpos(lower(substr(run_id, strpos(run_id, chr(10)) + 1)), $6) > 0 \
              OR strpos(lower(agent_name), $6) > 0)"
    };
}
pub(super) use matching;

/// A statement of sqlx with the parameters of [`matching`].
macro_rules! bound {
    ($statement:expr, $query:expr) => {{
        let query: &$crate::store::RunQuery = $query;
        let [created_from, created_until] = query.created_bounds();
        $statement
            .bind($crate::store::postgres::read::run_filter::statuses(query))
            .bind(query.agent_name.as_ref().map($crate::domain::AgentName::as_str))
            .bind(query.structure_id.as_ref().map($crate::domain::StructureId::as_str))
            .bind(created_from)
            .bind(created_until)
            .bind(query.lower_text())
    }};
}
pub(super) use bound;

/// The statuses as a query parameter; `None` for all.
pub fn statuses(query: &RunQuery) -> Option<Vec<i64>> {
    let numbers: Vec<i64> = query.statuses.iter().map(|status| *status as i64).collect();
    (!numbers.is_empty()).then_some(numbers)
}

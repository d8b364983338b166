//! A [`RunFilter`] in SQL, for every statement that reads the table `runs`.

use crate::domain::RunFilter;
use crate::store::run_filter;

/// Condition on a row `r` of `runs`. Its parameters 1 to 6 come from [`bound`], those of the statement follow.
pub fn matches(filter: &RunFilter) -> String {
    // A plain comparison, so that SQLite uses the index of structures.
    let structure = if filter.structure_id.is_some() { "r.structure_id = ?3" } else { "?3 IS NULL" };
    // `lower` changes ASCII letters only. The id of the run follows the project and a line feed, if there are any.
    format!(
        "(?1 IS NULL OR r.status IN (SELECT value FROM json_each(?1))) \
         AND (?2 IS NULL OR r.agent_name = ?2) AND {structure} \
         AND (?4 IS NULL OR rtrim(r.created_at, 'Z') >= ?4) AND (?5 IS NULL OR rtrim(r.created_at, 'Z') < ?5) \
         AND (?6 IS NULL OR instr(lower(substr(r.run_id, instr(r.run_id, char(10)) + 1)), ?6) > 0 \
              OR instr(lower(r.agent_name), ?6) > 0)"
    )
}

/// A statement of sqlx with the parameters of [`matches()`].
macro_rules! bound {
    ($statement:expr, $filter:expr) => {{
        let filter: &$crate::domain::RunFilter = $filter;
        $crate::store::run_filter::bound!(
            $statement.bind($crate::store::sqlite::read::run_filter::statuses(filter)),
            filter
        )
    }};
}
pub(super) use bound;

/// Parameter of the status filter, a JSON array; null for all statuses.
pub fn statuses(filter: &RunFilter) -> Option<String> {
    run_filter::statuses(filter).map(|numbers| serde_json::to_string(&numbers).unwrap_or_default())
}

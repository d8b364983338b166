//! A [`RunFilter`](crate::domain::RunFilter) in SQL, for every statement that reads the table `runs`.

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
    ($statement:expr, $filter:expr) => {{
        let filter: &$crate::domain::RunFilter = $filter;
        $crate::store::run_filter::bound!($statement.bind($crate::store::run_filter::statuses(filter)), filter)
    }};
}
pub(super) use bound;

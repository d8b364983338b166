//! The parts of a [`RunFilter`] in the form in which the table `runs` of both databases has them.

use crate::domain::RunFilter;

/// Numbers of the statuses; `None` for all statuses.
pub fn statuses(filter: &RunFilter) -> Option<Vec<i64>> {
    let numbers: Vec<i64> = filter.statuses.iter().map(|status| *status as i64).collect();
    (!numbers.is_empty()).then_some(numbers)
}

/// `created_from` and `created_until` as the column `created_at` has them, without the `Z`. A stored time is UTC and its
/// fraction has no zeros at the end, so without the `Z` the order of the texts is that of the times, to the nanosecond.
pub fn created_bounds(filter: &RunFilter) -> [Option<String>; 2] {
    [filter.created_from, filter.created_until]
        .map(|bound| bound.map(|at| at.to_string().trim_end_matches('Z').to_owned()))
}

/// `text` with small ASCII letters, to be looked for in texts with small ASCII letters.
pub fn lower_text(filter: &RunFilter) -> Option<String> {
    filter.text.as_ref().map(|text| text.as_str().to_ascii_lowercase())
}

/// A statement of sqlx, whose parameter 1 is bound, with the parameters 2 to 6 of a filter.
macro_rules! bound {
    ($statement:expr, $filter:expr) => {{
        let filter: &$crate::domain::RunFilter = $filter;
        let [created_from, created_until] = $crate::store::run_filter::created_bounds(filter);
        $statement
            .bind(filter.agent_name.as_ref().map($crate::domain::AgentName::as_str))
            .bind(filter.structure_id.as_ref().map($crate::domain::StructureId::as_str))
            .bind(created_from)
            .bind(created_until)
            .bind($crate::store::run_filter::lower_text(filter))
    }};
}
pub(super) use bound;

//! Usage of a run.

use crate::domain::event_types::Reads;
use crate::domain::json::Members;
use crate::domain::run::Run;

use super::text::short;

/// Sets the usage from `run_end`. Members without a valid count or cost are skipped; if none is valid, the usage stays
/// unset.
pub fn add(run: &mut Run, reads: Reads, members: &Members<'_>) {
    if reads != Reads::RunEnd {
        return;
    }
    let count = |name| members.count(name);
    let (prompt, completion, total) = (count("prompt_tokens"), count("completion_tokens"), count("total_tokens"));
    let cost = members.number("cost_usd").filter(|cost| *cost >= 0.0);
    let model = members.string("model").filter(|model| !model.is_empty()).map(|model| short(&model));
    if prompt.is_none() && completion.is_none() && total.is_none() && cost.is_none() && model.is_none() {
        return;
    }
    let usage = run.usage.get_or_insert_default();
    usage.prompt_tokens = prompt.unwrap_or(0);
    usage.completion_tokens = completion.unwrap_or(0);
    usage.total_tokens = total.unwrap_or(0);
    usage.cost_usd = cost.unwrap_or(0.0);
    usage.model = model.unwrap_or_default();
}

/**
 * Types of the public runs API, as `/openapi.json` describes them.
 *
 * @typedef {"queued" | "starting" | "running" | "awaiting_input" | "stalled" | "succeeded" | "failed" | "cancelled"} Status
 *
 * @typedef {object} Usage
 * @property {number} prompt_tokens
 * @property {number} completion_tokens
 * @property {number} total_tokens
 * @property {number} cost_usd
 * @property {string} [model]
 *
 * @typedef {object} Question
 * @property {number} requested_seq
 * @property {string} [question_id]
 * @property {string} [question]
 * @property {unknown} [context]
 * @property {string} [channel]
 * @property {string} [reason_code]
 * @property {string} [input_kind]
 *
 * @typedef {object} Run
 * @property {string} id
 * @property {Status} status
 * @property {string} created_at
 * @property {string} updated_at
 * @property {string | null} started_at
 * @property {string | null} completed_at
 * @property {number} last_seq
 * @property {unknown} output
 * @property {unknown} error
 * @property {string} [agent_name]
 * @property {string} [structure_id]
 * @property {Usage} [usage]
 * @property {Question} [pending_input]
 * @property {Question[]} [pending_inputs]
 * @property {number} [pending_input_count]
 *
 * @typedef {object} RunEvent
 * @property {number} seq
 * @property {string} type
 * @property {string} timestamp
 * @property {{ redacted: boolean, value: unknown }} payload
 * @property {"erased" | "expired" | "compacted"} [removal] why the payload is gone
 * @property {number} [joined_from] seq of the first event whose text the payload holds, too
 *
 * @typedef {object} EventsPage
 * @property {RunEvent[]} events
 * @property {string} next_cursor
 * @property {boolean} has_more
 *
 * @typedef {RunEvent & { run_id: string }} FeedEvent
 *
 * @typedef {object} UsageTotals
 * @property {number} runs
 * @property {number} prompt_tokens
 * @property {number} completion_tokens
 * @property {number} total_tokens
 * @property {number} cost_usd
 *
 * @typedef {{ key: string | null, totals: UsageTotals }} UsageGroup
 *
 * @typedef {object} UsageReport
 * @property {UsageTotals} total
 * @property {UsageGroup[]} groups
 * @property {boolean} complete
 *
 * @typedef {object} Caller
 * @property {string} [key_id]
 * @property {string} project
 * @property {string[]} scopes
 */

/** All statuses, in the order of the filters. @type {Status[]} */
export const STATUSES = ["queued", "starting", "running", "awaiting_input", "stalled", "succeeded", "failed", "cancelled"];

/** @type {Record<Status, string>} */
const WORDS = {
  queued: "Queued",
  starting: "Starting",
  running: "Running",
  awaiting_input: "Awaiting input",
  stalled: "Stalled",
  succeeded: "Succeeded",
  failed: "Failed",
  cancelled: "Cancelled",
};

/**
 * The name of a status for people.
 * @param {Status} status
 */
export function statusWord(status) {
  return WORDS[status] ?? status;
}

/**
 * Whether a run in this status has ended.
 * @param {Status} status
 */
export function isFinal(status) {
  return status === "succeeded" || status === "failed" || status === "cancelled";
}

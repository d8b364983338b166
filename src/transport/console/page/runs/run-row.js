/** A row of the list of runs. */

import { attribute, fill, h, setText } from "../lib/dom.js";
import { cost, count, fullTime, inline, runDuration, time } from "../lib/format.js";
import { runHash } from "../lib/route.js";
import { isFinal, statusWord } from "../lib/types.js";

/** @typedef {import("../lib/types.js").Run} Run */

/** Headings of the columns; the class names their cells. @type {[string, string][]} */
export const COLUMNS = [
  ["status", "Status"],
  ["run", "Run"],
  ["agent", "Agent"],
  ["started", "Started"],
  ["took", "Duration"],
  ["events", "Events"],
  ["tokens", "Tokens"],
  ["cost", "Cost"],
  ["note", "Waits for, or error"],
];

/**
 * A status as a coloured word.
 * @param {import("../lib/types.js").Status} status
 */
export function statusBadge(status) {
  const badge = h("span", { class: "status" }, h("span", { class: "dot", "aria-hidden": "true" }), statusWord(status));
  badge.dataset.status = status;
  return badge;
}

/** A question in a few words. @param {import("../lib/types.js").Question} question */
export function questionText(question) {
  const { question: text, input_kind: kind, reason_code: reason } = question;
  return text ?? (kind ? `Input: ${kind}` : (reason ?? "An answer"));
}

/** The message inside an error document. @param {unknown} error */
export function errorText(error) {
  if (error && typeof error === "object") {
    const members = /** @type {Record<string, unknown>} */ (error);
    if (typeof members.limitType === "string") {
      return `Limit exceeded: ${members.limitType} ${members.currentValue ?? ""}`.trim();
    }
    const names = ["error_message", "message", "error", "provider_error_message", "reason", "reason_code"];
    const found = names.map((name) => members[name]).find((value) => typeof value === "string" && value !== "");
    if (found) {
      return String(found);
    }
  }
  return error === null || error === undefined ? "" : inline(error, 120);
}

/** What the last column says: the question, else the error. @param {Run} run */
function note(run) {
  if (run.pending_input) {
    const more = (run.pending_input_count ?? 1) - 1;
    return questionText(run.pending_input) + (more > 0 ? ` and ${more} more` : "");
  }
  return run.status === "failed" ? errorText(run.error) : "";
}

export class RunRow {
  element = h("tr", { role: "row" });
  #link = h("a", { class: "run-link" });
  /** @type {Record<string, HTMLTableCellElement>} */
  #cells = {};
  #status = "";
  #shown = "";

  /** @param {Run} run */
  constructor(run) {
    this.run = run;
    for (const [name, heading] of COLUMNS) {
      this.#cells[name] = h("td", { role: "cell", class: `cell-${name}`, "data-label": heading });
    }
    this.#link.href = runHash(run.id);
    this.#link.textContent = run.id;
    this.#cells.run?.append(this.#link);
    this.element.append(...Object.values(this.#cells));
    this.element.dataset.run = run.id;
    // A click anywhere on the row follows its link, which the keyboard reaches.
    this.element.addEventListener("click", (event) => {
      const isOnLink = event.target instanceof Element && event.target.closest("a");
      if (!isOnLink && !getSelection()?.toString()) {
        this.#link.click();
      }
    });
    this.update();
  }

  /** Shows the run as it is now. */
  update() {
    const { run } = this;
    const state = `${run.status} ${run.last_seq} ${run.updated_at} ${run.pending_input?.requested_seq} ${run.pending_input_count}`;
    if (state === this.#shown) {
      return;
    }
    this.#shown = state;
    if (this.#status !== run.status) {
      this.#status = run.status;
      fill(this.#cell("status"), statusBadge(run.status));
      attribute(this.element, "data-status", run.status);
    }
    const started = run.started_at ?? run.created_at;
    setText(this.#cell("agent"), run.agent_name ?? "");
    setText(this.#cell("started"), time(started));
    this.#cell("started").title = fullTime(started);
    setText(this.#cell("events"), count(run.last_seq));
    setText(this.#cell("tokens"), run.usage ? count(run.usage.total_tokens) : "");
    setText(this.#cell("cost"), run.usage ? cost(run.usage.cost_usd) : "");
    setText(this.#cell("note"), note(run));
    this.#cell("note").title = note(run);
    attribute(this.#cell("note"), "data-kind", run.pending_input ? "question" : run.status === "failed" && "error");
    this.tick();
  }

  /** Shows how long the run goes on. */
  tick() {
    const text = runDuration(this.run);
    setText(this.#cell("took"), isFinal(this.run.status) ? text : `${text}…`);
  }

  /** @param {string} name */
  #cell(name) {
    return /** @type {HTMLTableCellElement} */ (this.#cells[name]);
  }
}

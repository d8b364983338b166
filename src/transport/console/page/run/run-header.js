/** The head of a run: status, times, usage, and its output or error. */

import { copyButton, fill, h, setText } from "../lib/dom.js";
import { cost, count, fullTime, runDuration, time } from "../lib/format.js";
import { jsonBlock } from "../lib/json-text.js";
import { runsHash } from "../lib/route.js";
import { isFinal } from "../lib/types.js";
import { errorText, statusBadge } from "../runs/run-row.js";

/** @typedef {import("../lib/types.js").Run} Run */

export class RunHeader extends HTMLElement {
  /** Buttons beside the status. @type {HTMLElement[]} */
  controls = [];
  /** The state of the stream. @type {HTMLElement | null} */
  pill = null;
  #status = h("span", {});
  #facts = h("dl", { class: "run-facts" });
  #result = h("div", { class: "result" });
  #took = h("dd", {});
  /** @type {Run | null} */
  #run = null;
  #resultShown = "";
  #timer = 0;

  connectedCallback() {
    this.#timer = window.setInterval(() => this.#run && setText(this.#took, runDuration(this.#run)), 500);
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  /**
   * Builds the head of a run once.
   * @param {string} id
   */
  begin(id) {
    const back = h("a", { class: "back", href: runsHash() }, "Runs");
    const title = h("h1", { class: "run-id" }, id);
    fill(
      this,
      h("nav", { class: "crumbs", "aria-label": "Breadcrumbs" }, back, h("span", { "aria-hidden": "true" }, "/")),
      h("div", { class: "run-title" }, title, this.#status, this.pill, h("div", { class: "actions end" }, this.controls)),
      this.#facts,
      this.#result,
    );
  }

  /** @param {Run} run */
  show(run) {
    this.#run = run;
    fill(this.#status, statusBadge(run.status));
    const { usage } = run;
    /** @type {[string, string | HTMLElement, string?][]} */
    const facts = [
      ["Agent", run.agent_name ?? "—"],
      ["Structure", run.structure_id ?? ""],
      ["Started", time(run.started_at ?? run.created_at), fullTime(run.started_at ?? run.created_at)],
      [isFinal(run.status) ? "Took" : "Running for", this.#took],
      ["Events", count(run.last_seq)],
      ["Tokens", usage ? count(usage.total_tokens) : "", usage && `${count(usage.prompt_tokens)} in, ${count(usage.completion_tokens)} out`],
      ["Cost", usage ? cost(usage.cost_usd) : ""],
      ["Model", usage?.model ?? ""],
    ];
    setText(this.#took, runDuration(run));
    const shown = facts.filter(([, value]) => value !== "");
    fill(this.#facts, shown.map(([name, value, title]) => h("div", { title }, h("dt", {}, name), value instanceof HTMLElement ? value : h("dd", {}, value))));
    this.#showResult(run);
  }

  /** @param {Run} run */
  #showResult(run) {
    const text = JSON.stringify([run.error, run.output]);
    if (text === this.#resultShown) {
      return;
    }
    this.#resultShown = text;
    const error = run.error !== null && run.error !== undefined;
    const output = run.output !== null && run.output !== undefined;
    fill(this.#result, error && result("Error", "bad", errorText(run.error), run.error), output && result("Output", "good", "", run.output));
  }
}

/**
 * @param {string} heading
 * @param {string} mood
 * @param {string} text
 * @param {unknown} value
 */
function result(heading, mood, text, value) {
  const json = JSON.stringify(value);
  const isText = typeof value === "string";
  const body = isText ? h("p", { class: "written", tabindex: "0" }, value) : jsonBlock(json, heading);
  const copied = () => (isText ? value : JSON.stringify(value, null, 2));
  return h(
    "section",
    { class: `card outcome ${mood}`, "aria-label": heading },
    h("div", { class: "card-head" }, h("h2", {}, heading), copyButton("Copy", "copy", copied)),
    text && h("p", { class: "outcome-text" }, text),
    text ? h("details", {}, h("summary", {}, "Details"), body) : body,
  );
}

customElements.define("run-header", RunHeader);

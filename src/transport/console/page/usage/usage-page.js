/** The page with what runs have used: tokens and cost by agent, model or day. */

import { fill, h, setText } from "../lib/dom.js";
import { cost, count, counted } from "../lib/format.js";
import { isAbort, json, problemText } from "../lib/http.js";
import { RANGES, rangeBegin } from "../lib/ranges.js";
import { replaceHash, usageHash } from "../lib/route.js";

/**
 * @typedef {import("../lib/types.js").UsageGroup} UsageGroup
 * @typedef {import("../lib/types.js").UsageReport} UsageReport
 * @typedef {import("../lib/types.js").UsageTotals} UsageTotals
 * @typedef {{ value: string, words: string, empty: string }} Grouping
 */

/** Value in the URL and for the server, words, and the name of the group without a name. @type {Grouping[]} */
const GROUPINGS = [
  { value: "agent", words: "Agent", empty: "No agent" },
  { value: "model", words: "Model", empty: "No model" },
  { value: "day", words: "Day (UTC)", empty: "" },
];

/** Columns of numbers: class of the cells, heading, text. @type {[string, string, (totals: UsageTotals) => string][]} */
const NUMBERS = [
  ["runs", "Runs", (totals) => count(totals.runs)],
  ["prompt", "Input tokens", (totals) => count(totals.prompt_tokens)],
  ["completion", "Output tokens", (totals) => count(totals.completion_tokens)],
  ["tokens", "All tokens", (totals) => count(totals.total_tokens)],
  ["cost", "Cost", (totals) => cost(totals.cost_usd)],
];

export class UsagePage extends HTMLElement {
  #query;
  #by = h("select", { id: "u-by" }, GROUPINGS.map(({ value, words }) => h("option", { value }, words)));
  #within = h("select", { id: "u-within" }, RANGES.map(({ value, words }) => h("option", { value }, words)));
  #total = h("dl", { class: "totals" });
  #key = h("th", { scope: "col", class: "sum-key" });
  #body = h("tbody");
  #table = h("table", { class: "table usage", "aria-label": "Usage by group" });
  #summary = h("p", { class: "summary", role: "status" });
  #notice = h("div", { class: "notice" });
  #reading = new AbortController();

  /** @param {URLSearchParams} query */
  constructor(query) {
    super();
    this.#query = query;
  }

  connectedCallback() {
    document.title = "Usage · runlog";
    const numbers = NUMBERS.map(([name, words]) => h("th", { scope: "col", class: `number sum-${name}` }, words));
    fill(this.#table, h("thead", {}, h("tr", {}, this.#key, numbers)), this.#body);
    const again = h("button", { type: "button", class: "button", onclick: () => this.#read() }, "Refresh");
    fill(
      this,
      h("div", { class: "page-head" }, h("h1", {}, "Usage"), this.#summary),
      h(
        "div",
        { class: "usage-fields" },
        h("div", { class: "field" }, h("label", { for: "u-by" }, "By"), this.#by),
        h("div", { class: "field" }, h("label", { for: "u-within" }, "Created"), this.#within),
        again,
      ),
      this.#total,
      this.#table,
      this.#notice,
    );
    this.#table.hidden = true;
    this.#by.addEventListener("change", () => this.#choose());
    this.#within.addEventListener("change", () => this.#choose());
    this.navigate(this.#query);
  }

  disconnectedCallback() {
    this.#reading.abort();
  }

  /**
   * Shows the usage of a query of the route.
   * @param {URLSearchParams} query
   */
  navigate(query) {
    this.#query = query;
    this.#by.value = this.#grouping().value;
    this.#within.value = RANGES.find(({ value }) => value === query.get("within"))?.value ?? "";
    void this.#read();
  }

  /** The grouping of the query; by agent where it has none. */
  #grouping() {
    const by = this.#query.get("by");
    return GROUPINGS.find(({ value }) => value === by) ?? /** @type {Grouping} */ (GROUPINGS[0]);
  }

  /** Takes what is chosen into the URL. */
  #choose() {
    const query = new URLSearchParams({ by: this.#by.value });
    if (this.#within.value) {
      query.set("within", this.#within.value);
    }
    replaceHash(usageHash(query));
    this.navigate(query);
  }

  async #read() {
    this.#reading.abort();
    const reading = new AbortController();
    this.#reading = reading;
    const grouping = this.#grouping();
    const parameters = new URLSearchParams({ group_by: grouping.value });
    const from = rangeBegin(this.#query.get("within"));
    if (from) {
      parameters.set("from", from);
    }
    setText(this.#summary, "Loading…");
    try {
      /** @type {UsageReport} */
      const report = await json(`/v1/usage?${parameters}`, { signal: reading.signal });
      if (!reading.signal.aborted) {
        this.#show(report, grouping);
      }
    } catch (error) {
      if (!isAbort(error)) {
        setText(this.#summary, "");
        this.#note(problemText(error));
      }
    }
  }

  /**
   * @param {UsageReport} report
   * @param {Grouping} grouping
   */
  #show({ total, groups, complete }, grouping) {
    const terms = NUMBERS.map(([, words, text]) => h("div", {}, h("dt", {}, words), h("dd", {}, text(total))));
    fill(this.#total, terms);
    setText(this.#key, grouping.words);
    const sorted = grouping.value === "day" ? [...groups].sort(byDay) : groups;
    // The bars show the cost, or the tokens where nothing has a cost.
    const measure = (/** @type {UsageTotals} */ totals) => (total.cost_usd > 0 ? totals.cost_usd : totals.total_tokens);
    const most = Math.max(0, ...groups.map(({ totals }) => measure(totals)));
    fill(this.#body, sorted.map((group) => row(group, grouping, most > 0 ? measure(group.totals) / most : 0)));
    this.#table.hidden = groups.length === 0;
    setText(this.#summary, counted(total.runs, "run"));
    if (groups.length === 0) {
      this.#note(this.#query.get("within") ? "No runs in this time." : "No runs yet.");
    } else {
      this.#note(complete ? "" : "There are more runs: these are sums over the newest 1,000,000.");
    }
  }

  /** @param {string} text */
  #note(text) {
    setText(this.#notice, text);
    this.#notice.hidden = text === "";
  }
}

/**
 * Newest day first, the rest last.
 * @param {UsageGroup} a
 * @param {UsageGroup} b
 */
function byDay(a, b) {
  return (b.key ?? "").localeCompare(a.key ?? "");
}

/**
 * A row of the table.
 * @param {UsageGroup} group
 * @param {Grouping} grouping
 * @param {number} part length of the bar, 0 to 1
 */
function row({ key, totals }, grouping, part) {
  const bar = h("span", { class: "usage-bar", "aria-hidden": "true" });
  bar.style.width = `${part * 100}%`;
  const name = key === null ? "All others" : key || grouping.empty;
  const text = h("span", { class: key ? "usage-name" : "usage-name unnamed", title: name }, name);
  const numbers = NUMBERS.map(([column, words, number]) => h("td", { class: `number sum-${column}`, "data-label": words }, number(totals)));
  return h("tr", {}, h("th", { scope: "row", class: "sum-key" }, text, bar), numbers);
}

customElements.define("usage-page", UsagePage);

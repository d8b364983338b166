/** The filters of the list, which the server applies. All of them stand in the URL. */

import { attribute, fill, h, setText } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { RANGES, rangeBegin } from "../lib/ranges.js";
import { STATUSES, statusWord } from "../lib/types.js";

/**
 * @typedef {import("../lib/types.js").Run} Run
 * @typedef {import("../lib/types.js").Status} Status
 */

/** Names of the filters in the URL. */
const FILTERS = ["status", "agent", "structure", "text", "within"];
/** Pause in typing after which a text is looked for. */
const TYPING_MS = 300;

/**
 * The filters of a query, without what else the URL may hold.
 * @param {URLSearchParams} query
 */
export function filtersOf(query) {
  return new URLSearchParams([...query].filter(([name, value]) => FILTERS.includes(name) && value));
}

/**
 * The filters as `GET /v1/runs` takes them: a range that ends now becomes the time at which it begins.
 * @param {URLSearchParams} query
 */
export function serverQuery(query) {
  const filters = filtersOf(query);
  const from = rangeBegin(filters.get("within"));
  filters.delete("within");
  if (from) {
    filters.set("from", from);
  }
  return filters;
}

/**
 * Whether a run passes filters of the server, by the same rules.
 * @param {Run} run
 * @param {URLSearchParams} filters as {@link serverQuery} gives them
 */
export function passes(run, filters) {
  const [agent, structure, text, from] = ["agent", "structure", "text", "from"].map((name) => filters.get(name));
  const statuses = filters.getAll("status");
  return (
    (!agent || run.agent_name === agent) &&
    (!structure || run.structure_id === structure) &&
    (!text || [run.id, run.agent_name ?? ""].some((name) => lower(name).includes(lower(text)))) &&
    (!from || Date.parse(run.created_at) >= Date.parse(from)) &&
    (statuses.length === 0 || statuses.includes(run.status))
  );
}

/** A text with small ASCII letters; other letters stay. @param {string} text */
function lower(text) {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

export class RunFilters extends HTMLElement {
  /** Called with the new query. @type {(query: URLSearchParams) => void} */
  onChange = () => {};
  #query = new URLSearchParams();
  #typing = 0;
  /** @type {Map<Status, { button: HTMLButtonElement, number: HTMLElement }>} */
  #chips = new Map();
  #group = h("div", { class: "chips", role: "group", "aria-label": "Status, with the number of runs" });
  #agents = h("datalist", { id: "agents" });
  /** @type {Record<string, HTMLInputElement | HTMLSelectElement>} */
  #fields = {};
  #clear = h("button", { type: "button", class: "link", onclick: () => this.onChange(new URLSearchParams()) }, "Clear filters");

  connectedCallback() {
    fill(this.#group, STATUSES.map((status) => this.#chip(status)));
    const options = RANGES.map(({ value, words }) => h("option", { value }, words));
    this.#fields = {
      text: h("input", { type: "search", id: "f-text", placeholder: "Id or agent contains…", maxlength: 200 }),
      agent: h("input", { type: "search", id: "f-agent", placeholder: "Agent", list: "agents" }),
      structure: h("input", { type: "search", id: "f-structure", placeholder: "Structure" }),
      within: h("select", { id: "f-within" }, options),
    };
    /** @type {Record<string, string>} */
    const labels = { text: "Text", agent: "Agent", structure: "Structure", within: "Created" };
    const fields = Object.entries(this.#fields).map(([name, field]) => {
      field.addEventListener("change", () => this.#set(name, field.value.trim()));
      if (name === "text") {
        field.addEventListener("input", () => {
          clearTimeout(this.#typing);
          this.#typing = window.setTimeout(() => this.#set(name, field.value.trim()), TYPING_MS);
        });
      }
      return h("div", { class: "field" }, h("label", { for: field.id }, labels[name]), field);
    });
    fill(
      this,
      this.#group,
      h("div", { class: "fields", role: "search" }, fields, this.#agents, this.#clear),
    );
    this.show(this.#query);
  }

  disconnectedCallback() {
    clearTimeout(this.#typing);
  }

  /**
   * Shows the filters of a query.
   * @param {URLSearchParams} query
   */
  show(query) {
    this.#query = query;
    for (const [name, field] of Object.entries(this.#fields)) {
      const value = query.get(name) ?? "";
      // A space at the end of what is being typed stays.
      if (field.value.trim() !== value) {
        field.value = value;
      }
    }
    for (const [status, { button }] of this.#chips) {
      attribute(button, "aria-pressed", String(query.getAll("status").includes(status)));
    }
    this.#clear.hidden = !FILTERS.some((name) => query.get(name));
  }

  /**
   * Shows how many runs there are in each status.
   * @param {import("./run-counts.js").RunCounts} counts
   */
  count({ byStatus, isComplete }) {
    for (const [status, { number }] of this.#chips) {
      const runs = byStatus.get(status) ?? 0;
      setText(number, runs > 0 ? count(runs) : "");
    }
    attribute(this.#group, "title", isComplete ? null : "Counted are the newest 1,000,000 runs");
  }

  /**
   * Offers the agents of the loaded runs.
   * @param {Run[]} runs
   */
  offer(runs) {
    const agents = [...new Set(runs.map((run) => run.agent_name ?? ""))].filter((name) => name).sort();
    if (agents.length !== this.#agents.childElementCount) {
      fill(this.#agents, agents.map((name) => h("option", { value: name })));
    }
  }

  /** @param {Status} status */
  #chip(status) {
    const number = h("span", { class: "chip-count" });
    const dot = h("span", { class: "dot", "aria-hidden": "true" });
    const button = h("button", { type: "button", class: "chip", "aria-pressed": "false" }, dot, statusWord(status), " ", number);
    button.dataset.status = status;
    button.addEventListener("click", () => {
      const chosen = new Set(this.#query.getAll("status"));
      if (!chosen.delete(status)) {
        chosen.add(status);
      }
      const query = new URLSearchParams(this.#query);
      query.delete("status");
      STATUSES.filter((other) => chosen.has(other)).forEach((other) => query.append("status", other));
      this.onChange(query);
    });
    this.#chips.set(status, { button, number });
    return button;
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  #set(name, value) {
    clearTimeout(this.#typing);
    if (value === (this.#query.get(name) ?? "")) {
      return;
    }
    const query = new URLSearchParams(this.#query);
    if (value) {
      query.set(name, value);
    } else {
      query.delete(name);
    }
    this.onChange(query);
  }
}

customElements.define("run-filters", RunFilters);

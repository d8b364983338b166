/**
 * The filters of the list. Status, agent and structure are filters of the server; text and time narrow what is loaded. All
 * of them stand in the URL.
 */

import { attribute, fill, h, setText } from "../lib/dom.js";
import { STATUSES, statusWord } from "../lib/types.js";

/**
 * @typedef {import("../lib/types.js").Run} Run
 * @typedef {import("../lib/types.js").Status} Status
 */

/** Filters that the server applies. */
export const OF_SERVER = ["status", "agent", "structure"];
const OF_PAGE = ["text", "within"];

/** Time ranges: value in the URL, words, milliseconds. @type {[string, string, number][]} */
const RANGES = [
  ["", "Any time", Infinity],
  ["15m", "Last 15 minutes", 15 * 60_000],
  ["1h", "Last hour", 3_600_000],
  ["24h", "Last 24 hours", 86_400_000],
  ["7d", "Last 7 days", 7 * 86_400_000],
];

/**
 * The filters of a query for the server, without the others.
 * @param {URLSearchParams} query
 */
export function serverQuery(query) {
  const kept = [...query].filter(([name, value]) => OF_SERVER.includes(name) && value);
  return new URLSearchParams(kept);
}

/**
 * Whether a loaded run passes the filters that the page applies.
 * @param {Run} run
 * @param {URLSearchParams} query
 */
export function passes(run, query) {
  const text = (query.get("text") ?? "").toLowerCase();
  const range = RANGES.find(([value]) => value === (query.get("within") ?? ""))?.[2] ?? Infinity;
  const isRecent = Date.now() - Date.parse(run.started_at ?? run.created_at) <= range;
  return isRecent && (!text || `${run.id} ${run.agent_name ?? ""}`.toLowerCase().includes(text));
}

export class RunFilters extends HTMLElement {
  /** Called with the new query. @type {(query: URLSearchParams) => void} */
  onChange = () => {};
  #query = new URLSearchParams();
  /** @type {Map<Status, { button: HTMLButtonElement, count: HTMLElement }>} */
  #chips = new Map();
  #agents = h("datalist", { id: "agents" });
  /** @type {Record<string, HTMLInputElement | HTMLSelectElement>} */
  #fields = {};
  #clear = h("button", { type: "button", class: "link", onclick: () => this.onChange(new URLSearchParams()) }, "Clear filters");

  connectedCallback() {
    const chips = STATUSES.map((status) => this.#chip(status));
    const options = RANGES.map(([value, words]) => h("option", { value }, words));
    this.#fields = {
      text: h("input", { type: "search", id: "f-text", placeholder: "Id or agent contains…" }),
      agent: h("input", { type: "search", id: "f-agent", placeholder: "Agent", list: "agents" }),
      structure: h("input", { type: "search", id: "f-structure", placeholder: "Structure" }),
      within: h("select", { id: "f-within" }, options),
    };
    /** @type {Record<string, string>} */
    const labels = { text: "Text", agent: "Agent", structure: "Structure", within: "Started" };
    const fields = Object.entries(this.#fields).map(([name, field]) => {
      field.addEventListener(name === "text" ? "input" : "change", () => this.#set(name, field.value.trim()));
      return h("div", { class: "field" }, h("label", { for: field.id }, labels[name]), field);
    });
    fill(
      this,
      h("div", { class: "chips", role: "group", "aria-label": "Status, with the number of runs loaded" }, chips),
      h("div", { class: "fields", role: "search" }, fields, this.#agents, this.#clear),
    );
    this.show(this.#query);
  }

  /**
   * Shows the filters of a query.
   * @param {URLSearchParams} query
   */
  show(query) {
    this.#query = query;
    for (const [name, field] of Object.entries(this.#fields)) {
      const value = query.get(name) ?? "";
      if (field.value !== value) {
        field.value = value;
      }
    }
    for (const [status, { button }] of this.#chips) {
      attribute(button, "aria-pressed", String(query.getAll("status").includes(status)));
    }
    this.#clear.hidden = ![...OF_SERVER, ...OF_PAGE].some((name) => query.get(name));
  }

  /**
   * Counts the loaded runs by status, and offers their agents.
   * @param {Run[]} runs
   */
  count(runs) {
    for (const [status, { count }] of this.#chips) {
      const number = runs.filter((run) => run.status === status).length;
      setText(count, number > 0 ? String(number) : "");
    }
    const agents = [...new Set(runs.map((run) => run.agent_name ?? ""))].filter((name) => name).sort();
    if (agents.length !== this.#agents.childElementCount) {
      fill(this.#agents, agents.map((name) => h("option", { value: name })));
    }
  }

  /** @param {Status} status */
  #chip(status) {
    const count = h("span", { class: "chip-count" });
    const dot = h("span", { class: "dot", "aria-hidden": "true" });
    const button = h("button", { type: "button", class: "chip", "aria-pressed": "false" }, dot, statusWord(status), " ", count);
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
    this.#chips.set(status, { button, count });
    return button;
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  #set(name, value) {
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

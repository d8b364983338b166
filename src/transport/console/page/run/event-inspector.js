/** One event in full: what it is, its input and output, and its JSON as stored. */

import { copyButton, fill, h, icon } from "../lib/dom.js";
import { duration, fullTime } from "../lib/format.js";
import { isAbort, problemText, runPath, send } from "../lib/http.js";
import { jsonBlock, onlyEvent, pretty } from "../lib/json-text.js";
import { runHash } from "../lib/route.js";
import { LANES, describe, members } from "./describe.js";
import { Spans } from "./spans.js";
import { writtenIn } from "./written.js";

/**
 * @typedef {import("./spans.js").RunEvent} RunEvent
 * @typedef {import("./spans.js").Place} Place
 */

/** Members with input and output of steps and tools, in the order in which they are shown: name, heading. @type {[string, string][]} */
const FOLDED = [
  ["input", "Input"],
  ["input_preview", "Input"],
  ["tool_input_summary", "Input"],
  ["output", "Output"],
  ["output_preview", "Output"],
  ["tool_output_summary", "Output"],
  ["output_task_input", "Input of the last task"],
  ["output_task_output", "Output of the last task"],
  ["traceback", "Traceback"],
  ["context", "Context"],
];
/** Why a payload is gone, by `removal`. */
const GONE = {
  erased: "The payload was erased.",
  expired: "The payload was older than the server keeps it.",
  compacted: "A later event of the step holds the joined text.",
};
/** Longest member that is shown as a fact, characters. */
const MAX_FACT = 200;

export class EventInspector extends HTMLElement {
  runId = "";
  view = "";
  /** @type {(seq: number) => void} */
  onSelect = () => {};
  onClose = () => {};
  #read = new AbortController();
  #spans = new Spans([]);
  /** @type {RunEvent[]} */
  #around = [];
  /** The event that is shown, and its text. @type {{ event: RunEvent, json: string } | null} */
  #shown = null;

  connectedCallback() {
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", "Event");
    this.addEventListener("keydown", (event) => event.key === "Escape" && this.onClose());
    this.clear();
  }

  disconnectedCallback() {
    this.#read.abort();
  }

  /** Shows no event. */
  clear() {
    this.#read.abort();
    this.#shown = null;
    this.classList.remove("open");
    fill(this, h("p", { class: "hint empty" }, "Choose an event to see it in full."));
  }

  /**
   * Shows an event; the JSON is read again, as the server has it.
   * @param {number} seq
   * @param {Spans} spans
   * @param {RunEvent[]} around
   */
  async show(seq, spans, around) {
    [this.#spans, this.#around, this.#shown] = [spans, around, null];
    this.#read.abort();
    this.#read = new AbortController();
    const { signal } = this.#read;
    this.classList.add("open");
    this.dataset.seq = String(seq);
    try {
      const query = new URLSearchParams({ cursor: String(seq - 1), limit: "1", ...(this.view ? { view: this.view } : {}) });
      const page = await (await send(`${runPath(this.runId)}/events?${query}`, { signal })).text();
      const event = /** @type {RunEvent | undefined} */ (JSON.parse(page).events[0]);
      if (event) {
        this.#shown = { event, json: onlyEvent(page) };
        this.#fill(event, this.#shown.json);
      }
    } catch (error) {
      if (!isAbort(error)) {
        fill(this, this.#head(seq, "Event"), h("p", { class: "problem" }, problemText(error)));
      }
    }
  }

  /**
   * Takes the pairs around the window, and shows the other end of the event once it is known.
   * @param {Spans} spans
   * @param {RunEvent[]} around
   */
  update(spans, around) {
    const seq = this.#shown?.event.seq;
    const before = seq === undefined ? undefined : this.#spans.place(seq)?.span;
    const after = seq === undefined ? undefined : spans.place(seq)?.span;
    if (this.#shown && after && (before?.first !== after.first || before.last !== after.last)) {
      [this.#spans, this.#around] = [spans, around];
      this.#fill(this.#shown.event, this.#shown.json);
    } else if (!this.#shown) {
      [this.#spans, this.#around] = [spans, around];
    }
  }

  /**
   * @param {RunEvent} event
   * @param {string} json
   */
  #fill(event, json) {
    const [place, around] = [this.#spans.place(event.seq), this.#around];
    const about = place?.about ?? describe(event);
    const lane = LANES.find(([name]) => name === about.lane)?.[1] ?? "";
    const link = () => new URL(runHash(this.runId, { seq: event.seq }), location.href).href;
    const written = writtenIn(around).find(({ first, last }) => first <= event.seq && event.seq <= last);
    fill(
      this,
      this.#head(event.seq, about.title),
      h("p", { class: "inspector-meta" }, h("code", {}, event.type), ` · ${lane} · `, h("time", { datetime: event.timestamp }, fullTime(event.timestamp))),
      h("div", { class: "actions" }, copyButton("Copy JSON", "copy", () => pretty(json)), copyButton("Copy link", "link", link)),
      this.#pair(event.seq, place),
      event.removal && h("p", { class: "hint" }, GONE[event.removal]),
      event.joined_from && h("p", { class: "hint" }, `The text of the step from event ${event.joined_from} on is joined here.`),
      event.payload.redacted && h("p", { class: "hint" }, "Parts of the payload are left out or shortened in this view."),
      facts(event),
      written && h("section", {}, h("h3", {}, "Text so far"), h("p", { class: "written", tabindex: "0" }, written.text)),
      folds(event),
      h("details", { open: true }, h("summary", {}, "JSON"), jsonBlock(json, "JSON of the event")),
    );
  }

  /**
   * @param {number} seq
   * @param {string} title
   */
  #head(seq, title) {
    const button = (/** @type {string} */ label, /** @type {string} */ name, /** @type {() => void} */ onclick) =>
      h("button", { type: "button", class: "button icon-only", "aria-label": label, title: label, onclick }, icon(name));
    const moves = [
      seq > 1 && button("Previous event", "up", () => this.onSelect(seq - 1)),
      button("Next event", "down", () => this.onSelect(seq + 1)),
      button("Close", "close", () => this.onClose()),
    ];
    return h("div", { class: "inspector-head" }, h("h2", {}, h("span", { class: "hint" }, `#${seq} `), title), h("div", { class: "actions" }, moves));
  }

  /**
   * The other end of a pair.
   * @param {number} seq
   * @param {Place | undefined} place
   */
  #pair(seq, place) {
    const span = place?.span;
    const to = (/** @type {number} */ other) => h("button", { type: "button", class: "link", onclick: () => this.onSelect(other) }, `#${other}`);
    if (!span || (span.first === span.last)) {
      return null;
    }
    if (span.last === null) {
      return h("p", { class: "pair" }, span.first === seq ? "No end among the events around it." : ["Belongs to ", to(span.first), "."]);
    }
    const took = h("strong", {}, duration(span.took));
    if (span.first === seq) {
      return h("p", { class: "pair" }, "Ends with ", to(span.last), " after ", took, ".");
    }
    return h("p", { class: "pair" }, "Began with ", to(span.first), span.last === seq ? ", took " : ", takes ", took, ".");
  }
}

/** Short members of the payload. @param {RunEvent} event */
function facts(event) {
  const rows = Object.entries(members(event.payload.value)).flatMap(([name, value]) => {
    const isShort = (typeof value === "string" && value !== "" && value.length <= MAX_FACT) || typeof value === "number" || typeof value === "boolean";
    const isFolded = FOLDED.some(([folded]) => folded === name);
    return isShort && !isFolded ? [h("dt", {}, name), h("dd", {}, String(value))] : [];
  });
  return rows.length > 0 && h("dl", { class: "facts" }, rows);
}

/** Input and output, folded. @param {RunEvent} event */
function folds(event) {
  const payload = members(event.payload.value);
  return FOLDED.filter(([name]) => payload[name] !== undefined && payload[name] !== null).map(([name, heading]) => {
    const value = payload[name];
    const label = `${heading} (${name})`;
    const body = typeof value === "string" ? h("pre", { class: "plain", tabindex: "0", role: "region", "aria-label": label }, value) : jsonBlock(JSON.stringify(value), label);
    return h("details", {}, h("summary", {}, heading, " ", h("code", { class: "hint" }, name)), body);
  });
}

customElements.define("event-inspector", EventInspector);

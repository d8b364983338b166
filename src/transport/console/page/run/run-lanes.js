/** The lanes: what the events around the window took, as bars over time. */

import { fill, h } from "../lib/dom.js";
import { counted, duration } from "../lib/format.js";
import { LANES } from "./describe.js";

/**
 * @typedef {import("./spans.js").Spans} Spans
 * @typedef {import("./spans.js").Span} Span
 * @typedef {import("./spans.js").RunEvent} RunEvent
 */

/** Lanes that have bars or marks; text and the rest stand in the timeline only. @type {import("./describe.js").Lane[]} */
const SHOWN = ["step", "tool", "coordination", "human"];
/** Most bars and marks of a lane. */
const MAX_MARKS = 120;
/** Most lines of overlapping bars in a lane of a whole run. */
const MAX_LINES = 4;
const LINE = 16;

/** @typedef {{ seq: number, from: number, to: number, title: string, isOpen: boolean, isPoint: boolean, mood?: string }} Mark */

export class RunLanes extends HTMLElement {
  /** @type {(seq: number) => void} */
  onSelect = () => {};
  #shown = "";
  #timer = 0;
  #body = h("div", { class: "lanes" });
  #caption = h("span", { class: "hint" });

  connectedCallback() {
    const title = h("summary", {}, h("h2", {}, "Lanes"), this.#caption);
    fill(this, h("details", { class: "card lanes-card", open: true }, title, this.#body));
    this.#body.addEventListener("click", (event) => {
      const seq = event.target instanceof HTMLElement ? event.target.dataset.seq : undefined;
      if (seq !== undefined) {
        this.onSelect(Number(seq));
      }
    });
    this.hidden = true;
  }

  disconnectedCallback() {
    clearTimeout(this.#timer);
  }

  /**
   * @param {Spans} spans
   * @param {RunEvent[]} events
   * @param {boolean} isWhole whether these are all events of the run
   */
  show(spans, events, isWhole) {
    const key = `${events[0]?.seq} ${events.at(-1)?.seq} ${isWhole}`;
    if (key === this.#shown) {
      return;
    }
    this.#shown = key;
    clearTimeout(this.#timer);
    // A list that moves fast is drawn once it slows down.
    this.#timer = window.setTimeout(() => this.#draw(spans, events, isWhole), 60);
  }

  /**
   * @param {Spans} spans
   * @param {RunEvent[]} events
   * @param {boolean} isWhole
   */
  #draw(spans, events, isWhole) {
    // For a part of a run the lanes keep their height, so that nothing jumps while the reader scrolls.
    const all = SHOWN.map((lane) => ({ lane, marks: marksOf(lane, spans, events) }));
    const lanes = all.filter(({ marks }) => marks.length > 0 || !isWhole);
    const [firstEvent, lastEvent] = [events[0], events.at(-1)];
    if (!firstEvent || !lastEvent) {
      return;
    }
    this.hidden = lanes.length === 0;
    const maxLines = isWhole ? MAX_LINES : 1;
    const from = Math.min(...lanes.flatMap(({ marks }) => marks.map((mark) => mark.from)), Date.parse(firstEvent.timestamp));
    const to = Math.max(...lanes.flatMap(({ marks }) => marks.map((mark) => mark.to)), Date.parse(lastEvent.timestamp), from + 1);
    const range = isWhole ? counted(events.length, "event") : `events ${firstEvent.seq} to ${lastEvent.seq}`;
    this.#caption.textContent = `${range} in ${duration(to - from)}`;
    fill(this.#body, lanes.map(({ lane, marks }) => laneElement(lane, marks, from, to, maxLines)));
  }
}

/**
 * @param {import("./describe.js").Lane} lane
 * @param {Spans} spans
 * @param {RunEvent[]} events
 * @returns {Mark[]}
 */
function marksOf(lane, spans, events) {
  const end = Date.parse(events.at(-1)?.timestamp ?? "");
  const bars = spans.list.filter((span) => span.lane === lane).map((span) => ({
    seq: span.first,
    from: span.from,
    to: span.last === null ? Math.max(end, span.to) : span.to,
    title: span.title,
    isOpen: span.last === null,
    isPoint: false,
    mood: span.mood,
  }));
  const points = events.flatMap(({ seq, timestamp }) => {
    const place = spans.place(seq);
    if (!place || place.span || place.about.lane !== lane) {
      return [];
    }
    const at = Date.parse(timestamp);
    return [{ seq, from: at, to: at, title: place.about.title, isOpen: false, isPoint: true, mood: place.about.mood }];
  });
  return [...bars, ...points].sort((a, b) => a.from - b.from || a.seq - b.seq).slice(-MAX_MARKS);
}

/**
 * @param {import("./describe.js").Lane} lane
 * @param {Mark[]} marks
 * @param {number} from
 * @param {number} to
 * @param {number} maxLines
 */
function laneElement(lane, marks, from, to, maxLines) {
  /** Percent at which each line is free again. @type {number[]} */
  const lines = [];
  const elements = marks.map((mark) => {
    const left = ((mark.from - from) / (to - from)) * 100;
    const width = mark.isPoint ? 0 : Math.max(0.6, ((mark.to - mark.from) / (to - from)) * 100);
    let line = lines.findIndex((free) => free <= left);
    if (line < 0) {
      line = Math.min(lines.length, maxLines - 1);
    }
    lines[line] = left + Math.max(width, 1.5);
    return markElement(mark, left, width, line);
  });
  const track = h("div", { class: "track" }, elements);
  track.style.height = `${Math.max(1, lines.length) * LINE + 4}px`;
  const name = LANES.find(([known]) => known === lane)?.[1] ?? lane;
  const element = h("div", { class: "lane", role: "group", "aria-label": name }, h("span", { class: "lane-name" }, name), track);
  element.dataset.lane = lane;
  return element;
}

/**
 * @param {Mark} mark
 * @param {number} left percent
 * @param {number} width percent
 * @param {number} line
 */
function markElement(mark, left, width, line) {
  const took = mark.isPoint ? "" : `, ${duration(mark.to - mark.from)}${mark.isOpen ? " so far" : ""}`;
  const label = `${mark.title}${took}, event ${mark.seq}`;
  const kind = `${mark.isPoint ? "moment" : "stretch"}${mark.isOpen ? " open" : ""}${mark.mood ? ` ${mark.mood}` : ""}`;
  const element = h("button", { type: "button", class: kind, title: label, "aria-label": label, "data-seq": mark.seq });
  if (!mark.isPoint) {
    element.textContent = mark.title;
    element.style.width = `${Math.min(width, 100 - left)}%`;
  }
  element.style.left = mark.isPoint ? `clamp(4px, ${left}%, 100% - 6px)` : `min(${left}%, 100% - 6px)`;
  element.style.top = `${line * LINE + 2}px`;
  return element;
}

customElements.define("run-lanes", RunLanes);

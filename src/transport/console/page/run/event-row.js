/** A row of the timeline. Rows are made once and filled again while the reader scrolls. */

import { attribute, h, setText } from "../lib/dom.js";
import { duration, fullTime, offset } from "../lib/format.js";

/**
 * @typedef {import("../lib/types.js").RunEvent} RunEvent
 * @typedef {import("./spans.js").Place} Place
 */

export class EventRow {
  #seq = h("span", { class: "e-seq" });
  #time = h("span", { class: "e-time" });
  #rail = h("span", { class: "e-rail", "aria-hidden": "true" });
  #title = h("span", { class: "e-title" });
  #type = h("span", { class: "e-type" });
  #text = h("span", { class: "e-text" });
  #took = h("span", { class: "e-took" });
  element = h(
    "div",
    { class: "event", role: "option" },
    this.#seq,
    this.#time,
    this.#rail,
    h("span", { class: "e-body" }, this.#title, this.#text),
    this.#type,
    this.#took,
  );
  /** Place that the row shows; −1: none. */
  index = -1;

  /**
   * Moves the row.
   * @param {number} y pixels from the top of the window
   */
  move(y) {
    this.element.style.transform = `translateY(${y}px)`;
  }

  /**
   * A place whose event is not read yet.
   * @param {number} index
   * @param {number} count
   */
  wait(index, count) {
    this.#common(index, count, "event waiting");
    this.element.dataset.lane = "other";
    this.element.removeAttribute("data-seq");
    [this.#seq, this.#time, this.#title, this.#text, this.#type, this.#took].forEach((part) => setText(part, ""));
    setText(this.#seq, "…");
  }

  /**
   * @param {number} index
   * @param {number} count
   * @param {RunEvent} event
   * @param {Place} place
   * @param {number} beganAt time of the run's first event
   */
  show(index, count, event, { about, span, depth }, beganAt) {
    this.#common(index, count, about.mood ? `event ${about.mood}` : "event");
    const { element } = this;
    element.dataset.lane = about.lane;
    element.dataset.seq = String(event.seq);
    element.dataset.role = span && span.first === event.seq ? (span.last === event.seq ? "single" : "start") : span?.last === event.seq ? "end" : "point";
    element.style.setProperty("--depth", String(depth));
    setText(this.#seq, String(event.seq));
    setText(this.#time, offset(Date.parse(event.timestamp) - beganAt));
    this.#time.title = fullTime(event.timestamp);
    setText(this.#title, about.title);
    setText(this.#text, about.text);
    setText(this.#type, event.type);
    const isOpen = span?.first === event.seq && span.last === null && about.phase === "start";
    const took = about.durationMs ?? (span?.last === event.seq && span.first !== event.seq ? span.took : undefined);
    setText(this.#took, took !== undefined ? duration(took) : isOpen ? "open" : "");
  }

  /**
   * @param {number} index
   * @param {number} count
   * @param {string} name
   */
  #common(index, count, name) {
    const { element } = this;
    this.index = index;
    element.id = `event-${index}`;
    element.className = name;
    attribute(element, "aria-posinset", index + 1);
    attribute(element, "aria-setsize", count);
  }
}

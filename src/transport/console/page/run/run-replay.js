/** Plays a run from its recorded times. */

import { attribute, fill, h, icon, setText } from "../lib/dom.js";
import { duration, offset } from "../lib/format.js";

/** @typedef {import("./event-source.js").AllEvents} AllEvents */

const SPEEDS = [1, 4, 16];
/** Shortest time between two changes of the page. */
const TICK_MS = 40;

export class RunReplay extends HTMLElement {
  /** Called with the number of events that are shown; null ends the replay. @type {(shown: number | null) => void} */
  onShow = () => {};
  /** @type {AllEvents | null} */
  #source = null;
  #shown = 0;
  #speed = 1;
  #isPlaying = false;
  #timer = 0;
  /** Time of the recording that is reached, milliseconds since 1970. */
  #clock = 0;
  #tickedAt = 0;
  #play = h("button", { type: "button", class: "button primary", onclick: () => this.#toggle() });
  #step = h("button", { type: "button", class: "button", onclick: () => this.#stepOnce() }, icon("step"), h("span", {}, "Step"));
  #place = h("span", { class: "replay-place", role: "status" });
  /** @type {HTMLButtonElement[]} */
  #speeds = [];

  connectedCallback() {
    this.#speeds = SPEEDS.map((speed) =>
      h("button", { type: "button", class: "segment", "aria-pressed": String(speed === this.#speed), onclick: () => this.#setSpeed(speed) }, `${speed} ×`),
    );
    const speeds = h("div", { class: "segments", role: "group", "aria-label": "Speed" }, this.#speeds);
    const end = h("button", { type: "button", class: "button", onclick: () => this.stop() }, "End replay");
    fill(this, h("div", { class: "card replay", role: "group", "aria-label": "Replay" }, this.#play, this.#step, speeds, this.#place, end));
    this.hidden = true;
  }

  disconnectedCallback() {
    clearTimeout(this.#timer);
  }

  /** Begins at the first event. @param {AllEvents} source */
  begin(source) {
    this.#source = source;
    this.#shown = 0;
    this.hidden = false;
    this.#isPlaying = true;
    this.#clock = 0;
    this.#show(1);
    this.#schedule();
    this.#play.focus();
  }

  /** Ends the replay. */
  stop() {
    clearTimeout(this.#timer);
    this.#isPlaying = false;
    this.hidden = true;
    if (this.#source) {
      this.#source = null;
      this.onShow(null);
    }
  }

  #toggle() {
    if (!this.#isPlaying && this.#source && this.#shown >= this.#source.count) {
      this.#clock = 0;
      this.#show(1);
    }
    this.#isPlaying = !this.#isPlaying;
    this.#schedule();
  }

  #stepOnce() {
    this.#isPlaying = false;
    this.#clock = 0;
    this.#show(Math.min(this.#shown + 1, this.#source?.count ?? 0));
    this.#schedule();
  }

  /** @param {number} speed */
  #setSpeed(speed) {
    this.#speed = speed;
    this.#speeds.forEach((button, index) => attribute(button, "aria-pressed", String(SPEEDS[index] === speed)));
  }

  #schedule() {
    clearTimeout(this.#timer);
    fill(this.#play, icon(this.#isPlaying ? "pause" : "play"), h("span", {}, this.#isPlaying ? "Pause" : "Play"));
    if (this.#isPlaying) {
      this.#tickedAt = performance.now();
      this.#timer = window.setTimeout(() => this.#tick(), TICK_MS);
    }
    this.#describe();
  }

  /** Advances the clock of the recording, and shows the events that it passes. */
  #tick() {
    const source = this.#source;
    if (!source) {
      return;
    }
    const now = performance.now();
    const last = this.#time(this.#shown - 1);
    if (last !== undefined) {
      this.#clock = Math.max(this.#clock, last) + (now - this.#tickedAt) * this.#speed;
    }
    let shown = this.#shown;
    for (let next = this.#time(shown); next !== undefined && next <= this.#clock && shown < source.count; next = this.#time(shown)) {
      shown += 1;
    }
    // The page ahead is read before it is played.
    source.want(shown, shown + 50);
    if (shown !== this.#shown) {
      this.#show(shown);
    }
    if (shown >= source.count) {
      this.#isPlaying = false;
    }
    this.#schedule();
  }

  /** @param {number} shown */
  #show(shown) {
    this.#shown = shown;
    this.onShow(shown);
    this.#describe();
  }

  /** Time of the event at a place, if it is in memory. @param {number} index */
  #time(index) {
    const event = this.#source?.at(index);
    return event && Date.parse(event.timestamp);
  }

  #describe() {
    const [first, last, next] = [this.#time(0), this.#time(this.#shown - 1), this.#time(this.#shown)];
    const at = first !== undefined && last !== undefined ? offset(last - first) : "";
    const pause = next !== undefined && last !== undefined ? Math.max(0, next - Math.max(this.#clock, last)) / this.#speed : 0;
    const wait = pause > 3000 ? `, next in ${duration(pause)}` : "";
    setText(this.#place, `${this.#shown} of ${this.#source?.count ?? 0} ${at}${wait}`);
  }
}

customElements.define("run-replay", RunReplay);

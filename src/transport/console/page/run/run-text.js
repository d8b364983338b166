/** The text that the run writes, joined from its parts as they come. */

import { fill, h, setText } from "../lib/dom.js";
import { writtenIn } from "./written.js";

/** @typedef {import("./spans.js").RunEvent} RunEvent */

/** Longest text that is shown, characters; of a longer one the end. */
const MAX_TEXT = 20_000;

export class RunText extends HTMLElement {
  #task = h("span", { class: "hint" });
  #state = h("span", { class: "hint" });
  #text = h("p", { class: "written", tabindex: "0" });

  connectedCallback() {
    const head = h("div", { class: "card-head" }, h("h2", {}, "Text"), this.#task, this.#state);
    fill(this, h("section", { class: "card text-card", "aria-label": "Text that the run writes" }, head, this.#text));
    this.hidden = true;
  }

  /**
   * Shows the last text among these events.
   * @param {RunEvent[]} events
   * @param {boolean} isLive whether the run goes on
   */
  show(events, isLive) {
    const written = writtenIn(events).at(-1);
    this.hidden = written === undefined;
    if (!written) {
      return;
    }
    const isWriting = isLive && !written.isDone;
    setText(this.#task, written.task);
    setText(this.#state, isWriting ? "is being written…" : "");
    const text = written.text.length > MAX_TEXT ? `…${written.text.slice(-MAX_TEXT)}` : written.text;
    setText(this.#text, text);
    this.#text.classList.toggle("writing", isWriting);
    if (isWriting) {
      this.#text.scrollTop = this.#text.scrollHeight;
    }
  }
}

customElements.define("run-text", RunText);

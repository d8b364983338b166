/** The state of a stream, in words: live, catching up, reconnecting, ended. */

import { fill, h, setText } from "../lib/dom.js";

/** @typedef {"connecting" | "catching-up" | "live" | "reconnecting" | "ended" | "refused"} PillState */

/** @type {Record<PillState, string>} */
const WORDS = {
  connecting: "Connecting",
  "catching-up": "Catching up",
  live: "Live",
  reconnecting: "Reconnecting",
  ended: "Ended",
  refused: "Stopped",
};

export class LivePill extends HTMLElement {
  /** Called by the button that reconnects at once. @type {() => void} */
  onRetry = () => {};
  #word = h("span", { role: "status" });
  /** The seconds that are left, which a screen reader need not say one by one. */
  #left = h("span", { "aria-hidden": "true" });
  #retry = h("button", { type: "button", class: "link", onclick: () => this.onRetry() }, "now");
  #retryAt = 0;
  /** @type {PillState} */
  #state = "connecting";
  #timer = 0;

  connectedCallback() {
    this.#retry.hidden = true;
    fill(this, h("span", { class: "dot", "aria-hidden": "true" }), this.#word, this.#left, this.#retry);
    this.classList.add("pill");
    this.#timer = window.setInterval(() => this.#count(), 500);
    this.show(this.#state);
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  /** The state that is shown. */
  get state() {
    return this.#state;
  }

  /**
   * @param {PillState} state
   * @param {{ retryAt?: number, title?: string }} [detail]
   */
  show(state, { retryAt = 0, title = "" } = {}) {
    this.#state = state;
    this.#retryAt = retryAt;
    this.dataset.state = state;
    this.title = title;
    this.#retry.hidden = state !== "reconnecting" || !retryAt;
    this.#count();
  }

  #count() {
    const left = Math.max(0, Math.ceil((this.#retryAt - Date.now()) / 1000));
    const waits = this.#state === "reconnecting" && left > 0;
    setText(this.#word, WORDS[this.#state]);
    setText(this.#left, waits ? `in ${left} s` : "");
    this.#left.hidden = !waits;
  }
}

customElements.define("live-pill", LivePill);

/** The tools above the timeline: filter by type, jump to a seq, view of payloads, replay. */

import { attribute, fill, h, icon } from "../lib/dom.js";
import { session } from "../shell/session.js";
import { TYPE_GROUPS } from "./describe.js";

export class RunToolbar extends HTMLElement {
  /** @type {(types: string[]) => void} */
  onTypes = () => {};
  /** @type {(seq: number) => void} */
  onJump = () => {};
  /** @type {(view: string) => void} */
  onView = () => {};
  onReplay = () => {};
  /** @type {string[]} */
  #types = [];
  /** @type {Map<string, HTMLButtonElement>} */
  #groups = new Map();
  #input = h("input", { id: "types", type: "search", placeholder: "step, run.*", autocomplete: "off" });
  #seq = h("input", { id: "seq", type: "number", min: 1, inputmode: "numeric", placeholder: "seq" });
  #full = h("input", { id: "full", type: "checkbox" });
  #fullLabel = h("label", { class: "check", for: "full" }, this.#full, "Full payloads");
  #replay = h("button", { type: "button", class: "button", onclick: () => this.onReplay() }, icon("play"), h("span", {}, "Replay"));

  connectedCallback() {
    const groups = TYPE_GROUPS.map(([name, types]) => this.#group(name, types));
    const jump = h("form", { class: "jump" }, h("label", { for: "seq" }, "Jump to"), this.#seq, h("button", { type: "submit", class: "button small" }, "Go"));
    jump.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#seq.valueAsNumber >= 1) {
        this.onJump(this.#seq.valueAsNumber);
      }
    });
    this.#input.addEventListener("change", () => this.onTypes(this.#input.value.split(",").map((type) => type.trim()).filter(Boolean)));
    this.#full.addEventListener("change", () => this.onView(this.#full.checked ? "full" : ""));
    fill(
      this,
      h("div", { class: "chips", role: "group", "aria-label": "Show only" }, groups),
      h("div", { class: "tools" }, h("div", { class: "inline" }, h("label", { for: "types" }, "Types"), this.#input), jump, this.#fullLabel, this.#replay),
    );
  }

  /**
   * Shows the state of the page.
   * @param {string[]} types
   * @param {string} view
   * @param {boolean} mayReplay
   */
  show(types, view, mayReplay) {
    this.#types = types;
    this.#input.value = types.join(",");
    this.#full.checked = view === "full";
    const may = session.may("events.read_sensitive");
    this.#full.disabled = !may;
    this.#fullLabel.title = may ? "Payloads as they were sent" : "This key lacks the scope events.read_sensitive";
    this.#replay.hidden = !mayReplay;
    for (const [name, patterns] of TYPE_GROUPS) {
      const button = this.#groups.get(name);
      if (button) {
        attribute(button, "aria-pressed", String(patterns.every((pattern) => types.includes(pattern))));
      }
    }
  }

  /**
   * @param {string} name
   * @param {string[]} patterns
   */
  #group(name, patterns) {
    const button = h("button", { type: "button", class: "chip", "aria-pressed": "false" }, name);
    button.addEventListener("click", () => {
      const isOn = patterns.every((pattern) => this.#types.includes(pattern));
      const others = this.#types.filter((type) => !patterns.includes(type));
      this.onTypes(isOn ? others : [...others, ...patterns]);
    });
    this.#groups.set(name, button);
    return button;
  }
}

customElements.define("run-toolbar", RunToolbar);

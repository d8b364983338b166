/** The bar at the top: name, state of the stream on the page, and the key. */

import { fill, h, icon } from "../lib/dom.js";
import { runsHash } from "../lib/route.js";
import { CHANGED, SCOPES, session } from "./session.js";

export class ConsoleBar extends HTMLElement {
  #key = h("div", { class: "bar-key" });

  connectedCallback() {
    const mark = h("img", { src: "/console/icon.svg", alt: "", width: 24, height: 24 });
    const home = h("a", { class: "brand", href: runsHash() }, mark, h("span", {}, "runlog"));
    fill(this, h("header", { class: "bar" }, home, this.#key));
    session.addEventListener(CHANGED, () => this.#show());
    this.#show();
  }

  #show() {
    const { caller } = session;
    if (!caller || !session.hasKey) {
      fill(this.#key);
      return;
    }
    const scopes = SCOPES.map(([scope, words]) => {
      const has = session.may(scope);
      const mark = h("span", { class: has ? "mark yes" : "mark", "aria-hidden": "true" }, has ? "✓" : "–");
      return h("li", { class: has ? "" : "missing" }, mark, h("span", {}, has ? "may " : "may not ", words));
    });
    const out = h("button", { type: "button", class: "button small", onclick: () => session.signOut() }, "Sign out");
    fill(
      this.#key,
      h(
        "details",
        { class: "menu" },
        h("summary", { class: "button small" }, icon("key"), h("span", { class: "key-id" }, caller.key_id ?? "No key")),
        h(
          "div",
          { class: "menu-body" },
          h("p", {}, "Project ", h("strong", {}, caller.project)),
          h("ul", { class: "scopes" }, scopes),
          h("p", { class: "hint" }, "The key stays in this tab and is gone when the tab closes."),
          out,
        ),
      ),
    );
  }
}

customElements.define("console-bar", ConsoleBar);

/** The bar at the top: name, pages, and the key. */

import { attribute, fill, h, icon } from "../lib/dom.js";
import { currentRoute, runsHash, usageHash } from "../lib/route.js";
import { CHANGED, SCOPES, session } from "./session.js";

export class ConsoleBar extends HTMLElement {
  #key = h("div", { class: "bar-key" });
  #runs = h("a", { href: runsHash() }, "Runs");
  #usage = h("a", { href: usageHash() }, "Usage");

  connectedCallback() {
    const mark = h("img", { src: "/console/icon.svg", alt: "", width: 24, height: 24 });
    const home = h("a", { class: "brand", href: runsHash() }, mark, h("span", {}, "runlog"));
    const pages = h("nav", { class: "bar-pages", "aria-label": "Pages" }, this.#runs, this.#usage);
    fill(this, h("header", { class: "bar" }, home, pages, this.#key));
    window.addEventListener("hashchange", () => this.#mark());
    this.#mark();
    session.addEventListener(CHANGED, () => this.#show());
    this.#show();
  }

  /** Marks the link of the page that is shown; a run belongs to the list. */
  #mark() {
    const isUsage = currentRoute().page === "usage";
    attribute(this.#runs, "aria-current", isUsage ? null : "page");
    attribute(this.#usage, "aria-current", isUsage ? "page" : null);
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

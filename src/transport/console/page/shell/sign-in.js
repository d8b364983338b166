/** The form that takes a key. */

import { fill, h } from "../lib/dom.js";
import { problemText, storedKey, HttpError } from "../lib/http.js";
import { session } from "./session.js";

export class SignIn extends HTMLElement {
  /** Why a key is asked for, if one was given before. */
  reason = "";

  connectedCallback() {
    const had = storedKey() !== null;
    const problem = h("p", { class: "problem", role: "alert" }, had ? this.reason || "The key is no longer valid." : "");
    const input = h("input", {
      id: "key",
      type: "password",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "key_…:…",
      required: true,
    });
    const submit = h("button", { type: "submit", class: "button primary" }, "Sign in");
    const form = h(
      "form",
      { class: "card sign-in" },
      h("h1", {}, "Sign in"),
      h("p", {}, "This server asks for a key. ", h("code", {}, "runlog keys create"), " makes one."),
      h("label", { for: "key" }, "Key"),
      input,
      problem,
      submit,
      h("p", { class: "hint" }, "It is kept in this tab only and sent in the header Authorization."),
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      try {
        await session.signIn(input.value.trim());
      } catch (error) {
        const isRefused = error instanceof HttpError && error.status === 401;
        problem.textContent = isRefused ? `The server does not accept this key: ${error.message}` : problemText(error);
        submit.disabled = false;
        input.focus();
      }
    });
    fill(this, form);
    input.focus();
  }
}

customElements.define("sign-in", SignIn);

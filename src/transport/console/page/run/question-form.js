/** An open question of a run, with its answers. */

import { fill, h } from "../lib/dom.js";
import { jsonBlock } from "../lib/json-text.js";
import { questionText } from "../runs/run-row.js";

/** @typedef {import("../lib/types.js").Question} Question */

/**
 * An answer that is JSON with members stays so; any other text is the member `input`.
 * @param {string} text
 * @returns {Record<string, unknown>}
 */
function answer(text) {
  try {
    const value = JSON.parse(text);
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      return value;
    }
  } catch {
    // A plain text.
  }
  return { input: text };
}

export class QuestionForm extends HTMLElement {
  /**
   * @param {Question} question
   * @param {boolean} mayAnswer
   * @param {(action: string, payload: Record<string, unknown>) => Promise<void>} onAnswer
   */
  constructor(question, mayAnswer, onAnswer) {
    super();
    this.question = question;
    this.mayAnswer = mayAnswer;
    this.onAnswer = onAnswer;
  }

  connectedCallback() {
    const { question } = this;
    const id = `answer-${question.requested_seq}`;
    const input = h("textarea", { id, rows: 2, placeholder: "Text, or a JSON object" });
    const wantsText = question.input_kind !== undefined && question.input_kind !== "approval";
    const meta = [question.channel && `asked on ${question.channel}`, question.reason_code, question.input_kind].filter(Boolean).join(" · ");
    const form = h(
      "form",
      { class: "card question" },
      h("div", { class: "card-head" }, h("h2", {}, "The run waits for an answer"), h("span", { class: "hint" }, meta)),
      h("p", { class: "question-text" }, questionText(question)),
      question.context !== undefined && h("details", { open: true }, h("summary", {}, "Context"), jsonBlock(JSON.stringify(question.context), "Context of the question")),
      h("label", { for: id }, wantsText ? "Your answer" : "Your answer or a reason (may be empty)"),
      input,
      h(
        "div",
        { class: "actions" },
        this.#button("Approve", "approve", wantsText ? "" : "primary", input),
        this.#button("Reject", "reject", "danger", input),
        this.#button("Send input", "submit_input", wantsText ? "primary" : "", input),
      ),
      !this.mayAnswer && h("p", { class: "hint" }, "This key may not answer: it lacks the scope runs.write."),
    );
    form.addEventListener("submit", (event) => event.preventDefault());
    fill(this, form);
  }

  /**
   * @param {string} label
   * @param {string} action
   * @param {string} kind
   * @param {HTMLTextAreaElement} input
   */
  #button(label, action, kind, input) {
    const button = h("button", { type: "button", class: `button ${kind}`, disabled: !this.mayAnswer }, label);
    button.addEventListener("click", async () => {
      const given = input.value.trim() === "" ? {} : answer(input.value.trim());
      const buttons = this.querySelectorAll("button");
      buttons.forEach((other) => (other.disabled = true));
      await this.onAnswer(action, { ...given, requested_seq: this.question.requested_seq });
      buttons.forEach((other) => (other.disabled = false));
    });
    return button;
  }
}

customElements.define("question-form", QuestionForm);

/** Answers, cancel and resume of a run, with the refusals of the server in words. */

import { fill, h } from "../lib/dom.js";
import { HttpError, json, problemText, runPath } from "../lib/http.js";
import { isFinal, statusWord } from "../lib/types.js";
import { session } from "../shell/session.js";
import { QuestionForm } from "./question-form.js";

/** @typedef {import("../lib/types.js").Run} Run */

/** What a confirmation says. @type {Record<"cancel" | "resume", { title: string, text: string, yes: string, no: string, kind: string, done: string }>} */
const CONFIRM = {
  cancel: {
    title: "Cancel this run?",
    text: "A cancelled run stays cancelled. Its worker learns of it from the event.",
    yes: "Cancel the run",
    no: "Keep it",
    kind: "danger",
    done: "The run is cancelled.",
  },
  resume: {
    title: "Resume this run?",
    text: "A stalled run is queued again. A run that awaits input runs on, also where its question is open.",
    yes: "Resume the run",
    no: "Not now",
    kind: "primary",
    done: "The run is resumed.",
  },
};

/** @type {Record<string, string>} */
const DONE = {
  approve: "Approved.",
  reject: "Rejected.",
  submit_input: "The input is sent.",
};

export class RunSteering extends HTMLElement {
  /** Called with the run that a control answers with. @type {(run: Run) => void} */
  onRun = () => {};
  /** @type {Run | null} */
  #run = null;
  #questions = h("div", { class: "questions" });
  #message = h("p", { class: "message", role: "status" });
  #cancel = h("button", { type: "button", class: "button danger", onclick: () => this.#confirm("cancel") }, "Cancel…");
  #resume = h("button", { type: "button", class: "button", onclick: () => this.#confirm("resume") }, "Resume…");
  #shown = "";
  /** The buttons that steer, for the header of the page. */
  buttons = h("div", { class: "actions" }, this.#resume, this.#cancel);

  connectedCallback() {
    fill(this, this.#message, this.#questions);
    this.#message.hidden = true;
    this.hidden = true;
  }

  /** @param {Run} run */
  show(run) {
    this.#run = run;
    const may = session.may("runs.write");
    this.#cancel.hidden = isFinal(run.status);
    this.#resume.hidden = run.status !== "stalled" && run.status !== "awaiting_input";
    for (const button of [this.#cancel, this.#resume]) {
      button.disabled = !may;
      button.title = may ? "" : "This key lacks the scope runs.write";
    }
    const open = run.pending_inputs ?? [];
    const key = JSON.stringify([open.map((question) => question.requested_seq), may]);
    if (key !== this.#shown) {
      // A form that someone is typing into stays as it is.
      this.#shown = key;
      this.hidden = open.length === 0 && this.#message.hidden;
      fill(this.#questions, open.map((question) => new QuestionForm(question, may, (action, payload) => this.#answer(action, payload))));
    }
  }

  /**
   * @param {string} action
   * @param {Record<string, unknown>} payload
   */
  async #answer(action, payload) {
    await this.#send("signal", { action, payload }, DONE[action] ?? "Sent.");
  }

  /** @param {"cancel" | "resume"} control */
  #confirm(control) {
    const { title, text, yes, no, kind, done } = CONFIRM[control];
    const dialog = h("dialog", { class: "card dialog", "aria-labelledby": "dialog-title" });
    const close = () => {
      dialog.close();
      dialog.remove();
    };
    const confirm = async () => {
      close();
      await this.#send(control, {}, done);
    };
    fill(
      dialog,
      h("h2", { id: "dialog-title" }, title),
      h("p", {}, h("code", {}, this.#run?.id ?? "")),
      h("p", {}, text),
      h("div", { class: "actions end" }, h("button", { type: "button", class: "button", onclick: close }, no), h("button", { type: "button", class: `button ${kind}`, onclick: confirm }, yes)),
    );
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  /**
   * @param {string} control
   * @param {unknown} body
   * @param {string} done
   */
  async #send(control, body, done) {
    const run = this.#run;
    if (!run) {
      return;
    }
    try {
      const after = await json(`${runPath(run.id)}/${control}`, { method: "POST", body, repeatable: true });
      const next = /** @type {Run} */ (after);
      const waits = next.status === "awaiting_input" && !next.pending_input;
      this.#say(waits ? `${done} The run goes on when its worker does, or when you resume it.` : done, false);
      this.onRun(next);
    } catch (error) {
      await this.#refused(run, error);
    }
  }

  /**
   * @param {Run} run
   * @param {unknown} error
   */
  async #refused(run, error) {
    if (!(error instanceof HttpError) || error.status !== 409) {
      this.#say(problemText(error), true);
      return;
    }
    // The run has moved on: it is shown as it is now.
    const now = await json(runPath(run.id)).catch(() => run);
    const { status } = /** @type {Run} */ (now);
    const reason = isFinal(status) ? `The run has ended: ${statusWord(status)}.` : error.message;
    this.#say(`Nothing was changed. ${reason}`, true);
    this.onRun(/** @type {Run} */ (now));
  }

  /**
   * @param {string} text
   * @param {boolean} isProblem
   */
  #say(text, isProblem) {
    this.hidden = false;
    this.#message.hidden = false;
    this.#message.className = isProblem ? "message problem" : "message good";
    this.#message.textContent = text;
  }
}

customElements.define("run-steering", RunSteering);

/**
 * A run as it goes on: its state, and its events as they come. Dispatches `run` when the run was read, `events` with events
 * of the stream as `detail`, and `state` when the stream changes.
 */

import { isAbort, json, runPath } from "../lib/http.js";
import { LiveStream } from "../lib/live.js";
import { isFinal } from "../lib/types.js";

/**
 * @typedef {import("../lib/types.js").Run} Run
 * @typedef {import("../lib/types.js").RunEvent} RunEvent
 * @typedef {import("../shell/live-pill.js").PillState} PillState
 */

/** Types that do not change what the head of a run shows, but for the number of events. */
const QUIET = /^(step|tool_call|step\..*|run\.tool\..*|run\.coordination\..*)$/;
/** Time until the run is read again, after an event that may change it and after any other. */
const SOON_MS = 120;
const LATER_MS = 1500;

export class RunFeed extends EventTarget {
  /** @type {Run | null} */
  run = null;
  /** @type {PillState} */
  state = "connecting";
  retryAt = 0;
  /** @type {unknown} */
  problem = null;
  /** Seq of the last event that is known. */
  seq = 0;
  #id;
  #view;
  /** The stream catches up until this seq. */
  #target = 0;
  #isOpen = false;
  #closed = new AbortController();
  /** @type {LiveStream | null} */
  #stream = null;
  #timer = 0;
  #dueAt = Infinity;

  /**
   * @param {string} id
   * @param {string} view
   */
  constructor(id, view) {
    super();
    this.#id = id;
    this.#view = view;
  }

  /** Reads the run, then follows it from its last event. */
  async begin() {
    const run = await this.#read();
    if (!run || this.#closed.signal.aborted) {
      return;
    }
    if (isFinal(run.status)) {
      this.#become("ended");
      return;
    }
    const view = this.#view ? `&view=${this.#view}` : "";
    this.#stream = new LiveStream(
      {
        path: (cursor) => `${runPath(this.#id)}/events/stream?cursor=${cursor}${view}`,
        onEvents: (events) => this.#onEvents(events),
        onState: (state, { retryAt, error }) => void this.#onState(state, retryAt ?? 0, error),
      },
      String(this.seq),
    );
  }

  /** Ends the stream. */
  close() {
    this.#closed.abort();
    this.#stream?.stop();
    clearTimeout(this.#timer);
  }

  /** Reconnects at once. */
  retryNow() {
    this.#stream?.retryNow();
  }

  /**
   * Takes the run that a control answered with.
   * @param {Run} run
   */
  take(run) {
    // The stream begins after the events that the first read counts.
    this.seq = this.run ? this.seq : run.last_seq;
    this.run = run;
    this.dispatchEvent(new Event("run"));
  }

  /** @returns {Promise<Run | null>} */
  async #read() {
    try {
      const run = /** @type {Run} */ (await json(runPath(this.#id), { signal: this.#closed.signal }));
      this.problem = null;
      this.take(run);
      return run;
    } catch (error) {
      if (!isAbort(error)) {
        this.problem = error;
        this.dispatchEvent(new Event("run"));
      }
      return null;
    }
  }

  /** @param {{ id: string, data: string }[]} events */
  #onEvents(events) {
    const parsed = events.map(({ data }) => ({ event: /** @type {RunEvent} */ (JSON.parse(data)), chars: data.length }));
    // A reconnect from the cursor repeats nothing; this holds for the page whatever a proxy between does.
    const fresh = parsed.filter(({ event }) => event.seq > this.seq);
    this.seq = fresh.at(-1)?.event.seq ?? this.seq;
    this.dispatchEvent(new CustomEvent("events", { detail: fresh }));
    this.#readWithin(fresh.every(({ event }) => QUIET.test(event.type)) ? LATER_MS : SOON_MS);
    this.#settle();
  }

  /**
   * @param {import("../lib/live.js").LiveState} state
   * @param {number} retryAt
   * @param {unknown} error
   */
  async #onState(state, retryAt, error) {
    this.#isOpen = state === "open";
    if (state === "open") {
      this.#become("catching-up");
      const run = await this.#read();
      this.#target = run?.last_seq ?? 0;
      this.#settle();
    } else if (state === "waiting") {
      this.#become("reconnecting", retryAt);
    } else if (state === "ended") {
      await this.#read();
      this.#become("ended");
    } else if (state === "refused") {
      this.problem = error;
      this.#become("refused");
    } else if (this.state !== "reconnecting") {
      this.#become("connecting");
    }
  }

  /** Says live once the stream has caught up. */
  #settle() {
    if (this.#isOpen && this.state !== "live" && this.#target > 0 && this.seq >= this.#target) {
      this.#become("live");
    }
  }

  /**
   * @param {PillState} state
   * @param {number} [retryAt]
   */
  #become(state, retryAt = 0) {
    this.state = state;
    this.retryAt = retryAt;
    this.dispatchEvent(new Event("state"));
  }

  /**
   * Reads the run again, once for all events until then.
   * @param {number} ms
   */
  #readWithin(ms) {
    const due = performance.now() + ms;
    if (due < this.#dueAt) {
      this.#dueAt = due;
      clearTimeout(this.#timer);
      this.#timer = window.setTimeout(() => {
        this.#dueAt = Infinity;
        void this.#read();
      }, ms);
    }
  }
}

/** A stream that is kept up: it reconnects from its cursor, with growing pauses. */

import { HttpError, isAbort, send } from "./http.js";
import { messages } from "./sse.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;
/** The server breaks a silence every few seconds; after this one the connection counts as lost. */
const SILENCE_MS = 20_000;
/**
 * A tab that nobody looks at gives its connection up after this time, since a browser opens only six to a server over
 * HTTP/1.1. It goes on from its cursor when it is looked at.
 */
const HIDDEN_MS = 15_000;

/**
 * @typedef {"connecting" | "open" | "waiting" | "ended" | "refused"} LiveState
 *
 * @typedef {object} Handlers
 * @property {(cursor: string) => string} path path of the stream after a cursor; the empty text is no cursor yet
 * @property {(events: { id: string, data: string }[]) => void} onEvents
 * @property {(state: LiveState, detail: { retryAt?: number, error?: HttpError }) => void} onState
 */

export class LiveStream {
  /** @type {Handlers} */
  #handlers;
  #cursor;
  #stopped = false;
  #failures = 0;
  /** @type {AbortController | null} */
  #connection = null;
  /** @type {(() => void) | null} */
  #wake = null;
  #hiddenTimer = 0;

  /**
   * @param {Handlers} handlers
   * @param {string} [cursor]
   */
  constructor(handlers, cursor = "") {
    this.#handlers = handlers;
    this.#cursor = cursor;
    window.addEventListener("online", this.retryNow);
    document.addEventListener("visibilitychange", this.#onVisibility);
    void this.#run();
  }

  /** Ends the stream and its reconnects. */
  stop() {
    this.#release();
    this.#connection?.abort();
    this.#wake?.();
  }

  /** Ends the pause before the next attempt. */
  retryNow = () => {
    this.#wake?.();
  };

  #onVisibility = () => {
    clearTimeout(this.#hiddenTimer);
    if (document.hidden) {
      this.#hiddenTimer = window.setTimeout(() => this.#connection?.abort(), HIDDEN_MS);
    } else {
      this.retryNow();
    }
  };

  async #run() {
    while (!this.#stopped) {
      if (document.hidden) {
        await new Promise((resolve) => (this.#wake = () => resolve(undefined)));
        continue;
      }
      this.#handlers.onState("connecting", {});
      const isOver = await this.#attempt();
      if (this.#stopped || isOver) {
        return;
      }
      const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures) * (0.75 + Math.random() / 2);
      this.#failures += 1;
      this.#handlers.onState("waiting", { retryAt: Date.now() + pause });
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, pause);
        this.#wake = () => {
          clearTimeout(timer);
          resolve(undefined);
        };
      });
      this.#wake = null;
    }
  }

  /** One connection; true if no further one follows. */
  async #attempt() {
    const connection = new AbortController();
    this.#connection = connection;
    let timer = setTimeout(() => connection.abort(), SILENCE_MS);
    try {
      const response = await send(this.#handlers.path(this.#cursor), { signal: connection.signal });
      if (response.status === 204 || !response.body) {
        return this.#end("ended");
      }
      this.#failures = 0;
      this.#handlers.onState("open", {});
      for await (const batch of messages(response.body)) {
        clearTimeout(timer);
        timer = setTimeout(() => connection.abort(), SILENCE_MS);
        if (this.#stopped) {
          return true;
        }
        if (this.#take(batch)) {
          return this.#end("ended");
        }
      }
      return false;
    } catch (error) {
      const isFinal = error instanceof HttpError && error.status < 500 && error.status !== 429 && error.status !== 408;
      if (isFinal && !this.#stopped) {
        return this.#end("refused", error);
      }
      if (!(error instanceof HttpError) && !(error instanceof TypeError) && !isAbort(error)) {
        console.error(error);
      }
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Hands on the events of a part of the stream; true if the stream says that it ends.
   * @param {import("./sse.js").Message[]} batch
   */
  #take(batch) {
    const events = batch.filter((message) => message.kind === "event");
    if (events.length > 0) {
      this.#handlers.onEvents(events);
    }
    for (const message of batch) {
      if (message.kind !== "comment") {
        this.#cursor = message.id;
      } else if (message.text === "end") {
        return true;
      }
    }
    return false;
  }

  /**
   * @param {"ended" | "refused"} state
   * @param {HttpError} [error]
   */
  #end(state, error) {
    this.#release();
    this.#handlers.onState(state, { error });
    return true;
  }

  #release() {
    this.#stopped = true;
    clearTimeout(this.#hiddenTimer);
    window.removeEventListener("online", this.retryNow);
    document.removeEventListener("visibilitychange", this.#onVisibility);
  }
}

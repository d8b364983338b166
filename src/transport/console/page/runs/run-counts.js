/** How many runs there are in each status, as the server counts all that pass the filters. */

import { json } from "../lib/http.js";

/**
 * @typedef {import("../lib/types.js").Status} Status
 * @typedef {import("../lib/types.js").UsageReport} UsageReport
 */

/** Shortest pause between two reads. */
const PAUSE_MS = 1_000;
/** A count of very many runs takes the server a while: the pause is at least this many times as long. */
const PAUSE_PER_READ = 10;

/** Dispatches `change` when the counts were read. */
export class RunCounts extends EventTarget {
  /** A status without runs is absent. @type {Map<string, number>} */
  byStatus = new Map();
  /** False: only the newest runs are counted. */
  isComplete = true;
  #path;
  #isStale = false;
  #isBusy = false;
  #timer = 0;
  #closed = new AbortController();

  /** @param {URLSearchParams} query filters of the server; each status is counted whatever statuses they name */
  constructor(query) {
    super();
    const filters = new URLSearchParams(query);
    filters.delete("status");
    filters.set("group_by", "status");
    this.#path = `/v1/usage?${filters}`;
  }

  /** Reads the counts now, or after the pause. */
  refresh() {
    this.#isStale = true;
    if (!this.#isBusy) {
      void this.#read();
    }
  }

  /** Ends the reads. */
  close() {
    this.#closed.abort();
    clearTimeout(this.#timer);
  }

  async #read() {
    const begin = performance.now();
    const { signal } = this.#closed;
    this.#isStale = false;
    this.#isBusy = true;
    try {
      /** @type {UsageReport} */
      const { groups, complete } = await json(this.#path, { signal });
      this.byStatus = new Map(groups.map(({ key, totals }) => [key ?? "", totals.runs]));
      this.isComplete = complete;
    } catch {
      // The list says why nothing is answered; the counts are read again with the next event.
    }
    if (signal.aborted) {
      return;
    }
    this.dispatchEvent(new Event("change"));
    this.#timer = window.setTimeout(() => {
      this.#isBusy = false;
      if (this.#isStale) {
        void this.#read();
      }
    }, Math.max(PAUSE_MS, (performance.now() - begin) * PAUSE_PER_READ));
  }
}

/** The runs that are loaded, kept up to date by the feed of all runs. */

import { HttpError, json, runPath } from "../lib/http.js";
import { LiveStream } from "../lib/live.js";
import { passes } from "./run-filters.js";

/**
 * @typedef {import("../lib/types.js").Run} Run
 * @typedef {import("../lib/types.js").FeedEvent} FeedEvent
 * @typedef {{ runs: Run[], next_cursor: string | null }} RunsPage
 */

const PAGE = 50;
/** Most runs that are read again one by one in a round; more are read as a page. */
const SINGLE_READS = 6;
/** Shortest time between two rounds of reads. */
const ROUND_MS = 400;

/** Dispatches `change` when runs came or changed, `events` when the stream brought some, and `state` when the stream changed. */
export class RunList extends EventTarget {
  /** Newest first. @type {Run[]} */
  runs = [];
  isLoading = false;
  hasMore = true;
  /** @type {unknown} */
  problem = null;
  /** @type {{ state: import("../lib/live.js").LiveState, retryAt?: number }} */
  live = { state: "connecting" };
  #query;
  /** @type {string | null} */
  #next = null;
  /** @type {Map<string, Run>} */
  #byId = new Map();
  /** Runs with events that their rows do not show yet. @type {Set<string>} */
  #stale = new Set();
  #round = 0;
  #closed = new AbortController();
  /** @type {LiveStream | null} */
  #stream = null;

  /** @param {URLSearchParams} query filters of the server */
  constructor(query) {
    super();
    this.#query = query;
  }

  /** Joins the feed; the first page is read when the stream is open, so that what comes between the two is in both. */
  begin() {
    this.#stream = new LiveStream({
      path: (cursor) => `/v1/events/stream?${cursor ? `cursor=${cursor}` : "latest=true"}`,
      onEvents: (events) => this.#onEvents(events.map(({ data }) => JSON.parse(data))),
      onState: (state, { retryAt, error }) => {
        if (error?.status === 409 || error?.status === 422) {
          // The server has another history now, and its cursors are new ones.
          this.begin();
          return;
        }
        this.live = { state, retryAt };
        this.problem = error ?? this.problem;
        if (state !== "connecting") {
          void (this.runs.length === 0 ? this.more() : state === "open" && this.#readFirst());
        }
        this.dispatchEvent(new Event("state"));
      },
    });
  }

  /** Reads the newest runs again, after a time without the stream. */
  async #readFirst() {
    try {
      this.#merge((await this.#page(null)).runs);
      this.problem = null;
      this.dispatchEvent(new Event("change"));
    } catch {
      // The stream is about to say that the server is away.
    }
  }

  /** Ends the stream and the reads. */
  close() {
    this.#closed.abort();
    this.#stream?.stop();
    clearTimeout(this.#round);
  }

  /** Reconnects at once. */
  retryNow() {
    this.#stream?.retryNow();
  }

  /** Reads the next page. */
  async more() {
    if (this.isLoading || !this.hasMore) {
      return;
    }
    this.isLoading = true;
    try {
      const page = await this.#page(this.#next);
      this.#next = page.next_cursor;
      this.hasMore = page.next_cursor !== null;
      this.#merge(page.runs);
      this.problem = null;
    } catch (error) {
      this.problem = error;
    }
    this.isLoading = false;
    if (!this.#closed.signal.aborted) {
      this.dispatchEvent(new Event("change"));
    }
  }

  /**
   * @param {string | null} cursor
   * @returns {Promise<RunsPage>}
   */
  #page(cursor) {
    const query = new URLSearchParams(this.#query);
    query.set("limit", String(PAGE));
    if (cursor) {
      query.set("cursor", cursor);
    }
    return json(`/v1/runs?${query}`, { signal: this.#closed.signal });
  }

  /** @param {FeedEvent[]} events */
  #onEvents(events) {
    for (const { run_id: id, seq } of events) {
      const run = this.#byId.get(id);
      if (!run || run.last_seq < seq) {
        this.#stale.add(id);
      }
      if (run) {
        // The row counts at once; the rest of the run follows with the next read.
        run.last_seq = Math.max(run.last_seq, seq);
      }
    }
    if (this.#stale.size > 0 && !this.#round) {
      this.#round = window.setTimeout(() => this.#readStale(), ROUND_MS);
    }
    this.dispatchEvent(new Event("events"));
    this.dispatchEvent(new Event("change"));
  }

  async #readStale() {
    const ids = [...this.#stale];
    this.#stale.clear();
    try {
      if (ids.length > SINGLE_READS) {
        const page = await this.#page(null);
        const read = new Set(page.runs.map((run) => run.id));
        this.#merge(page.runs);
        // A run further down is read by itself, a few in each round.
        const others = ids.filter((id) => !read.has(id) && this.#byId.has(id));
        others.slice(SINGLE_READS).forEach((id) => this.#stale.add(id));
        await this.#readEach(others.slice(0, SINGLE_READS));
      } else {
        await this.#readEach(ids);
      }
    } catch (error) {
      // The stream says that the server is away; the runs are read again when it is back.
      ids.forEach((id) => this.#stale.add(id));
      if (error instanceof HttpError && error.status < 500) {
        this.problem = error;
      }
    }
    this.#round = 0;
    if (this.#closed.signal.aborted) {
      return;
    }
    if (this.#stale.size > 0) {
      this.#round = window.setTimeout(() => this.#readStale(), ROUND_MS * 2);
    }
    this.dispatchEvent(new Event("change"));
  }

  /** @param {string[]} ids */
  async #readEach(ids) {
    const signal = this.#closed.signal;
    const reads = ids.map((id) => json(runPath(id), { signal }));
    this.#merge(/** @type {Run[]} */ (await Promise.all(reads)));
  }

  /** @param {Run[]} runs */
  #merge(runs) {
    for (const run of runs) {
      const known = this.#byId.get(run.id);
      if (known) {
        Object.assign(known, { pending_input: undefined, pending_inputs: undefined, pending_input_count: undefined });
        Object.assign(known, run, { last_seq: Math.max(known.last_seq, run.last_seq) });
      } else if (this.#belongs(run)) {
        this.#byId.set(run.id, run);
        this.runs.push(run);
      }
    }
    this.runs.sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at));
  }

  /**
   * Whether a run that is not loaded has its place among the runs that are: the filters let it through, and it is newer than
   * the oldest of them.
   * @param {Run} run
   */
  #belongs(run) {
    const oldest = this.runs.at(-1);
    const isInReach = !this.hasMore || !oldest || this.isLoading || run.created_at >= oldest.created_at;
    return isInReach && passes(run, this.#query);
  }

  /** The runs that the filters let through now: a run leaves the list when its status does. */
  shown() {
    return this.#query.size === 0 ? this.runs : this.runs.filter((run) => passes(run, this.#query));
  }
}

/**
 * The events of a run, by their place among those that are shown. Pages are read when they are wanted. Two forms: all events,
 * where the place is known from the seq, and the events of some types (`typed-events.js`), which are read one page after the
 * other. Both dispatch `change` when events came.
 */

import { HttpError, isAbort, runPath, send } from "../lib/http.js";
import { PAGE, PageCache } from "./page-cache.js";

/**
 * @typedef {import("../lib/types.js").RunEvent} RunEvent
 * @typedef {import("../lib/types.js").EventsPage} EventsPage
 */

/** Reads of a run's events, shared by both forms. */
export class Source extends EventTarget {
  /** Number of places that are known. */
  count = 0;
  /** Whether there may be places after the known ones. */
  hasMore = false;
  /** @type {unknown} */
  problem = null;
  /** @protected */
  cache = new PageCache();
  /** @protected @type {Map<number, AbortController>} */
  reads = new Map();

  /**
   * @param {string} runId
   * @param {string} view `full`, `public`, or empty for the default of the server
   */
  constructor(runId, view) {
    super();
    this.runId = runId;
    this.view = view;
  }

  /**
   * The event at a place, if it is in memory.
   * @param {number} index
   * @returns {RunEvent | undefined}
   */
  at(index) {
    return this.cache.get(Math.floor(index / PAGE))?.events[index % PAGE];
  }

  /**
   * The events in memory next to a place, without a gap, as far as `reach` in both directions.
   * @param {number} index
   * @param {number} reach
   */
  around(index, reach) {
    /** @type {RunEvent[]} */
    const events = [];
    for (let at = index; at >= Math.max(0, index - reach); at -= 1) {
      const event = this.at(at);
      if (!event) {
        break;
      }
      events.push(event);
    }
    events.reverse();
    for (let at = index + 1; at < Math.min(this.count, index + reach); at += 1) {
      const event = this.at(at);
      if (!event) {
        break;
      }
      events.push(event);
    }
    return events;
  }

  /**
   * The run has events up to this seq.
   * @param {number} seq
   */
  extend(seq) {
    this.count = Math.max(this.count, seq);
  }

  /** Number of pages in memory. */
  get pages() {
    return this.cache.size;
  }

  /** Ends all reads. */
  close() {
    this.reads.forEach((read) => read.abort());
    this.reads.clear();
  }

  /**
   * Reads events after a cursor.
   * @protected
   * @param {string} cursor
   * @param {number} limit
   * @param {string[]} types
   * @param {AbortSignal} signal
   */
  async fetch(cursor, limit, types, signal) {
    const query = new URLSearchParams({ cursor, limit: String(limit) });
    types.forEach((type) => query.append("types", type));
    if (this.view) {
      query.set("view", this.view);
    }
    const response = await send(`${runPath(this.runId)}/events?${query}`, { signal });
    const text = await response.text();
    const page = /** @type {EventsPage} */ (JSON.parse(text));
    return { page, chars: Math.ceil(text.length / Math.max(1, page.events.length)) };
  }

  /**
   * Runs a read once at a time for each key.
   * @protected
   * @param {number} key
   * @param {(signal: AbortSignal) => Promise<void>} read
   */
  async once(key, read) {
    if (this.reads.has(key)) {
      return;
    }
    const controller = new AbortController();
    this.reads.set(key, controller);
    try {
      await read(controller.signal);
      this.problem = null;
    } catch (error) {
      if (isAbort(error)) {
        return;
      }
      this.problem = error;
    } finally {
      if (this.reads.get(key) === controller) {
        this.reads.delete(key);
      }
    }
    this.dispatchEvent(new Event("change"));
  }
}

/** All events of a run: the event with the seq n is at the place n − 1. */
export class AllEvents extends Source {
  /** @param {number} seq */
  indexOf(seq) {
    return seq - 1;
  }

  /**
   * Takes events of the stream.
   * @param {{ event: RunEvent, chars: number }[]} events
   */
  take(events) {
    for (const { event, chars } of events) {
      const page = Math.floor((event.seq - 1) / PAGE);
      const at = (event.seq - 1) % PAGE;
      this.extend(event.seq);
      // Where the page is not in memory it is read when it is wanted.
      if ((at === 0 || this.cache.get(page)) && !this.at(event.seq - 1)) {
        this.cache.put(page, at, event, chars);
      }
    }
    this.dispatchEvent(new Event("change"));
  }

  /**
   * Reads what is missing of the pages of these places, and ends reads of pages that are far from them.
   * @param {number} first
   * @param {number} last
   */
  want(first, last) {
    const [from, to] = [Math.floor(first / PAGE), Math.floor(Math.min(last, this.count - 1) / PAGE)];
    for (const [page, read] of this.reads) {
      if (page < from - 1 || page > to + 1) {
        read.abort();
        this.reads.delete(page);
      }
    }
    for (let page = Math.max(0, from); page <= to; page += 1) {
      this.cache.use(page);
      if (this.#missing(page) !== undefined) {
        void this.once(page, (signal) => this.#read(page, signal));
      }
    }
  }

  /** The first place of a page that is not in memory. @param {number} page */
  #missing(page) {
    const events = this.cache.get(page)?.events ?? [];
    const size = Math.min(PAGE, this.count - page * PAGE);
    for (let at = 0; at < size; at += 1) {
      if (!events[at]) {
        return at;
      }
    }
    return undefined;
  }

  /**
   * @param {number} page
   * @param {AbortSignal} signal
   */
  async #read(page, signal) {
    for (let at = this.#missing(page); at !== undefined; at = this.#missing(page)) {
      const size = Math.min(PAGE, this.count - page * PAGE);
      const read = await this.#readAfter(page * PAGE + at, size - at, signal);
      if (!read) {
        continue;
      }
      const { page: { events }, chars } = read;
      for (const event of events) {
        this.cache.put(page, event.seq - 1 - page * PAGE, event, chars);
      }
      if (events.length === 0) {
        return;
      }
    }
  }

  /**
   * Reads events after a seq; `null` if the server does not keep them any more: their places say so then.
   * @param {number} seq
   * @param {number} limit
   * @param {AbortSignal} signal
   */
  async #readAfter(seq, limit, signal) {
    try {
      return await this.fetch(String(seq), limit, [], signal);
    } catch (error) {
      if (!(error instanceof HttpError) || error.reason !== "cursor_expired") {
        throw error;
      }
      const { page: { events } } = await this.fetch("", 1, [], signal);
      const end = Math.min(seq + limit, (events[0]?.seq ?? this.count + 1) - 1);
      for (let gone = seq + 1; gone <= end; gone += 1) {
        const place = expired(gone, events[0]?.timestamp ?? new Date().toISOString());
        this.cache.put(Math.floor((gone - 1) / PAGE), (gone - 1) % PAGE, place, 0);
      }
      return null;
    }
  }
}

/**
 * The place of an event that is not kept any more, with the time of the first one that is.
 * @param {number} seq
 * @param {string} timestamp
 * @returns {RunEvent}
 */
function expired(seq, timestamp) {
  return { seq, type: "not kept any more", timestamp, payload: { redacted: false, value: {} }, removal: "expired" };
}

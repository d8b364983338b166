import { Source } from "./event-source.js";
import { PAGE } from "./page-cache.js";

/** The events of some types, in the order of their seqs. */
export class TypedEvents extends Source {
  #types;
  /** Cursor before each page that is full, and before the next one. */
  #cursors = [""];
  /** Cursor from which reading goes on. */
  #tail = "";
  #isBehind = false;

  /**
   * @param {string} runId
   * @param {string} view
   * @param {string[]} types patterns of the route
   */
  constructor(runId, view, types) {
    super(runId, view);
    this.#types = types;
    this.hasMore = true;
  }

  /**
   * The place of a seq, as far as it is in memory.
   * @param {number} seq
   */
  indexOf(seq) {
    for (let index = 0; index < this.count; index += 1) {
      if (this.at(index)?.seq === seq) {
        return index;
      }
    }
    return undefined;
  }

  /**
   * The run has more events than were read; some of them may be of these types.
   * @override
   */
  extend() {
    this.#isBehind = true;
    if (!this.hasMore) {
      this.hasMore = true;
      this.dispatchEvent(new Event("change"));
    }
  }

  take() {
    this.extend();
  }

  /**
   * Reads the pages of these places again where they are not in memory, and further pages when the end comes near.
   * @param {number} first
   * @param {number} last
   */
  want(first, last) {
    for (let page = Math.max(0, Math.floor(first / PAGE)); page <= Math.floor(last / PAGE); page += 1) {
      const isKnown = page < this.#cursors.length - 1 || (page === this.#cursors.length - 1 && page * PAGE < this.count);
      if (isKnown && !this.cache.get(page)) {
        const size = Math.min(PAGE, this.count - page * PAGE);
        void this.once(page, (signal) => this.#readAgain(page, size, signal));
      }
    }
    if (this.hasMore && last >= this.count - PAGE / 2) {
      void this.once(-1, (signal) => this.#readOn(signal));
    }
  }

  /**
   * @param {number} page
   * @param {number} size
   * @param {AbortSignal} signal
   */
  async #readAgain(page, size, signal) {
    let cursor = this.#cursors[page] ?? "";
    for (let at = 0; at < size; ) {
      const { page: read, chars } = await this.fetch(cursor, size - at, this.#types, signal);
      read.events.forEach((event) => this.cache.put(page, at++, event, chars));
      cursor = read.next_cursor;
      if (!read.has_more) {
        return;
      }
    }
  }

  /** @param {AbortSignal} signal */
  async #readOn(signal) {
    this.#isBehind = false;
    const cursor = this.#tail;
    const room = PAGE - (this.count % PAGE);
    const { page: read, chars } = await this.fetch(cursor, room, this.#types, signal);
    for (const event of read.events) {
      this.cache.put(Math.floor(this.count / PAGE), this.count % PAGE, event, chars);
      this.count += 1;
    }
    this.#tail = read.next_cursor;
    if (this.count % PAGE === 0 && this.count > 0 && this.#cursors.length === this.count / PAGE) {
      this.#cursors.push(read.next_cursor);
    }
    this.hasMore = read.has_more || this.#isBehind;
  }
}

/** Pages of events in memory: those used last, within bounds of number and size. */

/** @typedef {import("../lib/types.js").RunEvent} RunEvent */

/** Events in one page. */
export const PAGE = 200;

const MAX_PAGES = 40;
/** Characters of JSON in all pages. */
const MAX_CHARS = 32_000_000;

/**
 * @typedef {object} Page
 * @property {(RunEvent | undefined)[]} events by their place in the page
 * @property {number} chars
 */

export class PageCache {
  /** In the order of their last use. @type {Map<number, Page>} */
  #pages = new Map();
  #chars = 0;

  /** @param {number} index of the page */
  get(index) {
    return this.#pages.get(index);
  }

  /**
   * The page, made if it is not there; counts as used.
   * @param {number} index
   */
  use(index) {
    const page = this.#pages.get(index) ?? { events: [], chars: 0 };
    this.#pages.delete(index);
    this.#pages.set(index, page);
    return page;
  }

  /**
   * Puts an event at its place.
   * @param {number} index of the page
   * @param {number} at place in the page
   * @param {RunEvent} event
   * @param {number} chars
   */
  put(index, at, event, chars) {
    const page = this.use(index);
    page.events[at] = event;
    page.chars += chars;
    this.#chars += chars;
    this.#evict(index);
  }

  /** Number of pages held. */
  get size() {
    return this.#pages.size;
  }

  /** Drops the pages used least recently, but not the page in use. @param {number} inUse */
  #evict(inUse) {
    for (const [index, page] of this.#pages) {
      const fits = this.#pages.size <= MAX_PAGES && (this.#chars <= MAX_CHARS || this.#pages.size <= 3);
      if (fits || index === inUse) {
        return;
      }
      this.#pages.delete(index);
      this.#chars -= page.chars;
    }
  }
}

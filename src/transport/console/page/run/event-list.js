/**
 * The timeline: a list of any length of which only the rows in the window are in the page.
 *
 * A browser limits the height of an element, so the height of a long list is scaled: the position of the scroll bar stands
 * for a position in the list, and the rows are put where they belong in the window.
 */

import { attribute, fill, h } from "../lib/dom.js";
import { describe } from "./describe.js";
import { EventRow } from "./event-row.js";
import { Spans } from "./spans.js";

/**
 * @typedef {import("./event-source.js").AllEvents} AllEvents
 * @typedef {import("./typed-events.js").TypedEvents} TypedEvents
 */

/** Height of a row, pixels; `timeline.css` has the same. */
export const ROW = 34;
/** Greatest height of the list, pixels: below the limits of Chromium, Firefox and Safari. */
const MAX_HEIGHT = 12_000_000;
/** Rows above and below the window. */
const OVERSCAN = 6;
/** Events on each side among which starts and ends are paired. */
const REACH = 300;

export class EventList extends HTMLElement {
  /** @type {(seq: number) => void} */
  onSelect = () => {};
  /** Called when the reader reaches or leaves the end. @type {(isAtEnd: boolean) => void} */
  onFollow = () => {};
  /** Called with the pairs around the window. @type {(spans: Spans, events: import("./spans.js").RunEvent[]) => void} */
  onWindow = () => {};
  /** Time of the run's first event. */
  beganAt = 0;
  /** Whether the list stays at its end as events come. */
  isFollowing = false;
  #scroller = h("div", { class: "events", role: "listbox", tabindex: "0", "aria-label": "Events of the run" });
  #spacer = h("div", { class: "spacer", role: "presentation" });
  #layer = h("div", { class: "layer", role: "presentation" });
  /** @type {EventRow[]} */
  #rows = [];
  /** @type {AllEvents | TypedEvents | null} */
  #source = null;
  #limit = Infinity;
  #selected = -1;
  #frame = 0;
  #size = new ResizeObserver(() => this.refresh());
  /** Where the list went by itself, unscaled, until the reader scrolls: the scaled height cannot express each place. @type {number | null} */
  #exactTop = null;

  connectedCallback() {
    this.#spacer.append(this.#layer);
    this.#scroller.append(this.#spacer);
    fill(this, this.#scroller);
    this.#scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    this.#scroller.addEventListener("keydown", (event) => this.#onKey(event));
    this.#layer.addEventListener("click", (event) => {
      const row = event.target instanceof Element ? event.target.closest(".event") : null;
      const shown = this.#rows.find(({ element }) => element === row);
      if (shown) {
        this.select(shown.index);
      }
    });
    this.#size.observe(this.#scroller);
  }

  disconnectedCallback() {
    this.#size.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  /** @param {AllEvents | TypedEvents} source */
  set source(source) {
    this.#source = source;
    this.#selected = -1;
    this.#rows.forEach((row) => (row.index = -1));
    source.addEventListener("change", () => this.refresh());
    this.refresh();
  }

  /** Number of rows at most, for the replay. @param {number} limit */
  set limit(limit) {
    this.#limit = limit;
    this.refresh();
  }

  /** Number of rows. */
  get count() {
    return Math.min(this.#limit, this.#source?.count ?? 0);
  }

  /** The seq of the selected event. */
  get selectedSeq() {
    return this.#source?.at(this.#selected)?.seq;
  }

  /** Shows with the next frame what has changed. */
  refresh() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render();
    });
  }

  /** Goes to the end and stays there. */
  follow() {
    this.isFollowing = true;
    this.onFollow(true);
    this.refresh();
  }

  /**
   * Brings a place into the window.
   * @param {number} index
   */
  reveal(index) {
    const [top, height] = [this.#top, this.#scroller.clientHeight];
    if (index * ROW < top || (index + 1) * ROW > top + height) {
      this.#setFollowing(false);
      this.#goTo(index * ROW - height / 3);
    }
    this.refresh();
  }

  /**
   * Selects a place.
   * @param {number} index
   */
  select(index) {
    this.#selected = index;
    this.reveal(index);
    const seq = this.selectedSeq;
    if (seq !== undefined) {
      this.onSelect(seq);
    }
  }

  /** Selects nothing. */
  deselect() {
    this.#selected = -1;
    this.refresh();
  }

  /** Moves the keyboard to the list. */
  takeFocus() {
    this.#scroller.focus({ preventScroll: true });
  }

  get #height() {
    return Math.min(MAX_HEIGHT, this.count * ROW);
  }

  /** Pixels of the list above the window, unscaled. */
  get #top() {
    if (this.#exactTop !== null) {
      return this.#exactTop;
    }
    const { scrollTop, clientHeight } = this.#scroller;
    const [real, shown] = [this.count * ROW - clientHeight, this.#height - clientHeight];
    return shown <= 0 || real <= shown ? scrollTop : (scrollTop / shown) * real;
  }

  /** @param {number} top unscaled */
  #goTo(top) {
    const { clientHeight } = this.#scroller;
    const [real, shown] = [this.count * ROW - clientHeight, this.#height - clientHeight];
    const target = Math.max(0, Math.min(top, real));
    this.#spacer.style.height = `${this.#height}px`;
    this.#scroller.scrollTop = real <= shown || real <= 0 ? target : (target / real) * shown;
    this.#exactTop = real > shown ? target : null;
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    if (this.#exactTop !== null) {
      const [real, shown] = [this.count * ROW - clientHeight, this.#height - clientHeight];
      // The scroll that #goTo made itself arrives here too.
      if (Math.abs((this.#exactTop / real) * shown - scrollTop) > 1.5) {
        this.#exactTop = null;
      }
    }
    this.#setFollowing(scrollHeight - clientHeight - scrollTop < ROW / 2);
    this.refresh();
  }

  /** @param {boolean} isFollowing */
  #setFollowing(isFollowing) {
    if (this.isFollowing !== isFollowing) {
      this.isFollowing = isFollowing;
      this.onFollow(isFollowing);
    }
  }

  #render() {
    const source = this.#source;
    if (!source) {
      return;
    }
    const { count } = this;
    const height = this.#scroller.clientHeight;
    this.#spacer.style.height = `${this.#height}px`;
    this.#scroller.style.setProperty("--content-height", `${Math.max(3, count) * ROW}px`);
    this.#scroller.style.setProperty("--seq-width", `${Math.max(3, String(source.at(count - 1)?.seq ?? count).length)}ch`);
    if (this.isFollowing) {
      this.#goTo(count * ROW - height);
    }
    const top = this.#top;
    const from = Math.max(0, Math.floor(top / ROW) - OVERSCAN);
    const to = Math.min(count - 1, Math.ceil((top + height) / ROW) + OVERSCAN);
    source.want(from, Math.max(to, from));
    const events = source.around(Math.min(Math.max(0, Math.floor((from + to) / 2)), Math.max(0, count - 1)), REACH);
    const within = this.#limit === Infinity ? events : events.filter((event) => (source.indexOf(event.seq) ?? 0) < this.#limit);
    const spans = new Spans(within);
    this.#showRows(source, spans, from, to, top);
    attribute(this.#scroller, "role", count > 0 ? "listbox" : null);
    const isThere = this.#selected >= from && this.#selected <= to;
    attribute(this.#scroller, "aria-activedescendant", isThere ? `event-${this.#selected}` : null);
    this.onWindow(spans, within);
  }

  /**
   * @param {AllEvents | TypedEvents} source
   * @param {Spans} spans
   * @param {number} from
   * @param {number} to
   * @param {number} top
   */
  #showRows(source, spans, from, to, top) {
    const needed = Math.max(0, to - from + 1);
    while (this.#rows.length < needed) {
      const row = new EventRow();
      this.#rows.push(row);
      this.#layer.append(row.element);
    }
    this.#rows.splice(needed).forEach((row) => row.element.remove());
    const { count } = this;
    for (let index = from; index <= to; index += 1) {
      // Each place keeps its row while it is in the window.
      const row = /** @type {EventRow} */ (this.#rows[index % needed]);
      const event = source.at(index);
      const place = event && spans.place(event.seq);
      if (event && place) {
        row.show(index, count, event, place, this.beganAt);
      } else if (event) {
        row.show(index, count, event, { about: describe(event), depth: 0 }, this.beganAt);
      } else {
        row.wait(index, count);
      }
      row.move(Math.round(index * ROW - top));
      attribute(row.element, "aria-selected", String(index === this.#selected));
    }
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const page = Math.max(1, Math.floor(this.#scroller.clientHeight / ROW) - 1);
    const current = this.#selected < 0 ? Math.floor(this.#top / ROW) - 1 : this.#selected;
    /** @type {Record<string, number>} */
    const moves = { ArrowDown: current + 1, ArrowUp: current - 1, PageDown: current + page, PageUp: current - page, Home: 0, End: this.count - 1 };
    const target = moves[event.key];
    if (target === undefined || event.ctrlKey || event.metaKey || event.altKey || this.count === 0) {
      return;
    }
    event.preventDefault();
    this.select(Math.max(0, Math.min(this.count - 1, target)));
  }
}

customElements.define("event-list", EventList);

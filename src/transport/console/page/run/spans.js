/**
 * Pairs of start and end among neighbouring events, with their nesting.
 *
 * @typedef {import("../lib/types.js").RunEvent} RunEvent
 * @typedef {import("./describe.js").Description} Description
 *
 * @typedef {object} Span
 * @property {import("./describe.js").Lane} lane
 * @property {string} title
 * @property {number} first seq of the start
 * @property {number | null} last seq of the end; null while it is open, or where the end is not among the events
 * @property {number} from milliseconds since 1970
 * @property {number} to
 * @property {number} took milliseconds, as the end reports it, else between the two events
 * @property {number} depth number of spans around it, as the ids say
 * @property {string} [mood]
 *
 * @typedef {object} Place
 * @property {Description} about
 * @property {Span} [span]
 * @property {number} depth
 */

import { describe } from "./describe.js";

/** Deepest nesting that is shown. */
const MAX_DEPTH = 6;

export class Spans {
  /** In the order of their starts. @type {Span[]} */
  list = [];
  /** @type {Map<number, Place>} */
  #places = new Map();
  /** @type {Map<string, Span[]>} */
  #open = new Map();
  /** Depth of the things that have an id of their own. @type {Map<string, number>} */
  #depths = new Map();

  /** @param {RunEvent[]} events without a gap, in the order of their seqs */
  constructor(events) {
    events.forEach((event) => this.#add(event));
  }

  /**
   * Where an event belongs; undefined for an event that is not among these.
   * @param {number} seq
   */
  place(seq) {
    return this.#places.get(seq);
  }

  /** @param {RunEvent} event */
  #add(event) {
    const about = describe(event);
    const time = Date.parse(event.timestamp);
    const open = about.pair === undefined ? [] : this.#opened(about.pair);
    let span = open.at(-1);
    if (about.phase === "end" && span) {
      open.pop();
      this.#close(span, event.seq, time, about);
    } else if (about.phase === "end" || about.durationMs !== undefined) {
      span = this.#begin(event.seq, time - (about.durationMs ?? 0), about);
      this.#close(span, event.seq, time, about);
    } else if (about.phase === "start" || (about.pair !== undefined && !span)) {
      span = this.#begin(event.seq, time, about);
      open.push(span);
    } else if (span) {
      span.to = Math.max(span.to, time);
    }
    const around = about.parent === undefined ? 0 : (this.#depths.get(about.parent) ?? -1) + 1;
    this.#places.set(event.seq, { about, span, depth: span && about.lane !== "text" ? span.depth : Math.min(MAX_DEPTH, around) });
  }

  /** The open spans of a pair, the last one innermost. @param {string} pair */
  #opened(pair) {
    const open = this.#open.get(pair) ?? [];
    this.#open.set(pair, open);
    return open;
  }

  /**
   * @param {number} seq
   * @param {number} from
   * @param {Description} about
   * @returns {Span}
   */
  #begin(seq, from, about) {
    const around = about.parent !== undefined && about.lane !== "text" ? (this.#depths.get(about.parent) ?? -1) + 1 : 0;
    const depth = Math.min(MAX_DEPTH, around);
    const own = about.own ?? (about.lane === "text" ? about.parent : undefined);
    if (own !== undefined) {
      this.#depths.set(own, depth);
    }
    /** @type {Span} */
    const span = { lane: about.lane, title: about.title, first: seq, last: null, from, to: from, took: 0, depth, mood: about.mood };
    this.list.push(span);
    return span;
  }

  /**
   * @param {Span} span
   * @param {number} seq
   * @param {number} to
   * @param {Description} about
   */
  #close(span, seq, to, about) {
    span.last = seq;
    span.to = to;
    span.took = about.durationMs ?? to - span.from;
    span.mood = about.mood ?? span.mood;
    if (span.lane === "text") {
      // The text of a task is a step that ends with its outcome.
      span.lane = about.lane;
    }
  }
}

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
 * @property {number} depth number of spans around it, as the ids say, or the order of the events
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
  /** Open steps. @type {Span[]} */
  #steps = [];
  /** Number of steps that are open, and whose starts are not among the events. */
  #unseenSteps;

  /** @param {RunEvent[]} events without a gap, in the order of their seqs */
  constructor(events) {
    this.#unseenSteps = endsWithoutStart(events.map(describe).filter(({ order }) => order === "around"));
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
      this.#steps = this.#steps.filter((step) => step !== span);
    } else if (about.phase === "end" || about.durationMs !== undefined) {
      span = this.#begin(event.seq, time - (about.durationMs ?? 0), about);
      this.#close(span, event.seq, time, about);
      this.#unseenSteps -= about.phase === "end" && about.order === "around" ? 1 : 0;
    } else if (about.phase === "start" || (about.pair !== undefined && !span)) {
      span = this.#begin(event.seq, time, about);
      open.push(span);
      if (about.order === "around") {
        this.#steps.push(span);
      }
    } else if (span) {
      span.to = Math.max(span.to, time);
    }
    const depth = span && about.lane !== "text" ? span.depth : this.#depth(about, time);
    this.#places.set(event.seq, { about, span, depth });
  }

  /**
   * Number of spans around a thing, by the id of its parent. A tool call without one lies in the step that is open, if there is
   * only one: of two open steps, nothing says which called it. A step in an open step may be a part of it or a branch beside it,
   * and the events of both look the same, so it is not shown as a part.
   * @param {Description} about
   * @param {number} from begin of the thing
   */
  #depth(about, from) {
    if (about.parent !== undefined) {
      return Math.min(MAX_DEPTH, (this.#depths.get(about.parent) ?? -1) + 1);
    }
    const [step, ...others] = this.#steps;
    const isOnly = step !== undefined && others.length === 0 && this.#unseenSteps === 0;
    return about.order === "within" && isOnly && step.from <= from ? Math.min(MAX_DEPTH, step.depth + 1) : 0;
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
    const depth = about.lane === "text" ? 0 : this.#depth(about, from);
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

/**
 * Number of ends whose starts are not among these.
 * @param {Description[]} steps
 */
function endsWithoutStart(steps) {
  /** @type {Map<string | undefined, number>} */
  const open = new Map();
  let count = 0;
  for (const { phase, pair } of steps) {
    const before = open.get(pair) ?? 0;
    if (phase === "start") {
      open.set(pair, before + 1);
    } else if (phase === "end" && before > 0) {
      open.set(pair, before - 1);
    } else if (phase === "end") {
      count += 1;
    }
  }
  return count;
}

/** Texts that a run writes in parts, joined. */

import { members } from "./describe.js";

/** @typedef {import("./spans.js").RunEvent} RunEvent */

/**
 * @typedef {object} Written
 * @property {string} task
 * @property {string} text
 * @property {number} first seq of the first part among the events
 * @property {number} last
 * @property {boolean} isDone
 */

/**
 * The texts of all tasks among these events, in the order in which they began.
 * @param {RunEvent[]} events without a gap
 * @returns {Written[]}
 */
export function writtenIn(events) {
  /** @type {Map<string, { written: Written, parts: { seq: number, start: number }[] }>} */
  const open = new Map();
  /** @type {Written[]} */
  const all = [];
  for (const { seq, type, payload, joined_from: from } of events) {
    const { kind, content_delta: delta, content, task_id: id } = members(payload.value);
    const task = typeof id === "string" ? id : "";
    const of = open.get(task);
    const parts = of?.parts ?? [];
    let written = of?.written;
    if (type === "step.progress" && kind === "content_delta" && typeof delta === "string") {
      if (!written) {
        written = { task, text: "", first: seq, last: seq, isDone: false };
        open.set(task, { written, parts });
        all.push(written);
      }
      // A joined text holds the parts from this seq on, which may have come before they were joined.
      const again = from === undefined ? undefined : parts.find((part) => part.seq >= from);
      if (again) {
        written.text = written.text.slice(0, again.start);
        parts.length = parts.indexOf(again);
      }
      parts.push({ seq, start: written.text.length });
      written.text += delta;
      written.last = seq;
    } else if (type === "step.done" && written) {
      // The whole content, where the event has it: the first parts may lie before these events.
      written.text = typeof content === "string" && content !== "" ? content : written.text;
      written.last = seq;
      written.isDone = true;
      open.delete(task);
    }
  }
  return all;
}

// The parts of the page that need no browser: the parser of streams, JSON as text, pairs of events, texts.

import assert from "node:assert/strict";

const page = new URL("../../src/transport/console/page/", import.meta.url);
const { SseParser } = await import(new URL("lib/sse.js", page));
const { onlyEvent, pretty } = await import(new URL("lib/json-text.js", page));
const { cost, duration } = await import(new URL("lib/format.js", page));
const { Spans } = await import(new URL("run/spans.js", page));
const { writtenIn } = await import(new URL("run/written.js", page));

// A stream is the same wherever it is cut into parts. The id of a heartbeat is a position; the id of an event counts only
// once the whole event is there.
const stream = 'retry: 2000\nid: 1\ndata: {"a":1}\n\n: hb\nid: 7\n: hb\nid: 8\ndata: x\n\n: hb\nid: 9\nid: 10\r\ndata: y\r\ndata: z\r\n\r\n: end\n';
const expected = [
  { kind: "event", id: "1", data: '{"a":1}' },
  { kind: "comment", text: "hb" },
  { kind: "position", id: "7" },
  { kind: "comment", text: "hb" },
  { kind: "event", id: "8", data: "x" },
  { kind: "comment", text: "hb" },
  { kind: "position", id: "9" },
  { kind: "event", id: "10", data: "y\nz" },
  { kind: "comment", text: "end" },
];
for (let size = 1; size <= stream.length; size += 1) {
  const parser = new SseParser();
  const parts = stream.match(new RegExp(`[^]{1,${size}}`, "g"));
  assert.deepEqual(parts.flatMap((part) => parser.push(part)), expected, `in parts of ${size}`);
}

// Indenting changes no number, no order and no member.
const json = '{"big":12345678901234567890,"2":[],"1":{"x":[1,{}]},"text":"a \\"b\\" {,}","e":1.50E+3}';
assert.equal(pretty(json), `{
  "big": 12345678901234567890,
  "2": [],
  "1": {
    "x": [
      1,
      {}
    ]
  },
  "text": "a \\"b\\" {,}",
  "e": 1.50E+3
}`);
assert.equal(onlyEvent('{"events":[{"seq":1,"type":"[]"}],"next_cursor":"1","has_more":false}'), '{"seq":1,"type":"[]"}');

assert.deepEqual([999, 1_000, 59_999, 61_000, 7_260_000, 200_000_000].map(duration), ["999 ms", "1.0 s", "59 s", "1 m 01 s", "2 h 01 m", "2 d 7 h"]);
assert.deepEqual([0, 0.0023, 1.5, 1234.567].map(cost), ["$0", "$0.0023", "$1.50", "$1234.57"]);

// Starts and ends are paired by their ids, else by their names, innermost first; ids say what lies in what.
let now = 0;
const run = (...events) => events.map(([type, value], index) => {
  now += 100;
  return { seq: index + 1, type, timestamp: new Date(now).toISOString(), payload: { redacted: false, value } };
});
const events = run(
  ["step", { node_name: "a", phase: "start" }],
  ["step", { node_name: "a", phase: "start" }],
  ["tool_call", { tool_name: "t", phase: "start", tool_call_id: "1" }],
  ["tool_call", { tool_name: "t", phase: "start", tool_call_id: "2" }],
  ["tool_call", { tool_name: "t", phase: "end", tool_call_id: "1", duration_ms: 5 }],
  ["step", { node_name: "a", phase: "end" }],
  ["step", { node_name: "a", phase: "end" }],
  ["step", { node_name: "no phase" }],
  ["step.progress", { task_id: "w", kind: "content_delta", content_delta: "Hello, " }],
  ["step.progress", { task_id: "w", kind: "tool_call_start", tool_call_id: "3", tool_name: "u" }],
  ["step.progress", { task_id: "w", kind: "tool_call_done", tool_call_id: "3", tool_name: "u" }],
  ["step.progress", { task_id: "w", kind: "content_delta", content_delta: "world" }],
  ["step.done", { task_id: "w", outcome: "succeeded" }],
  ["StartTaskEvent", { task_id: "g" }],
  ["FinishTaskEvent", { task_id: "g" }],
  ["tool_call", { tool_name: "agent", phase: "start", tool_call_id: "4" }],
  ["step", { node_name: "b", phase: "start", step_id: "s", parent_id: "4" }],
  ["step", { node_name: "b", phase: "end", step_id: "s", parent_id: "4" }],
);
const spans = new Spans(events);
const pairs = spans.list.map(({ first, last, lane, depth }) => [first, last, lane, depth]);
assert.deepEqual(pairs, [
  [1, 7, "step", 0],
  [2, 6, "step", 0],
  [3, 5, "tool", 0],
  [4, null, "tool", 0],
  [9, 13, "step", 0],
  [10, 11, "tool", 1],
  [14, 15, "step", 0],
  [16, null, "tool", 0],
  [17, 18, "step", 1],
]);
assert.equal(spans.place(8).span, undefined);
assert.equal(spans.place(5).span.took, 5, "the duration that the event reports");
assert.deepEqual(writtenIn(events), [{ task: "w", text: "Hello, world", first: 9, last: 13, isDone: true }]);

// Deltas that were read before their compaction are not shown twice, and those that are not joined stay.
const part = (text) => ["step.progress", { task_id: "w", kind: "content_delta", content_delta: text }];
const joined = run(part("a"), part("b"), part("c"), part("bcd"), part("e"));
joined[3].joined_from = 2;
assert.equal(writtenIn(joined)[0].text, "abcde");
assert.equal(writtenIn(joined.slice(3))[0].text, "bcde", "the parts before were not read");
joined[3].joined_from = 1;
joined[3].payload.value.content_delta = "abcd";
assert.equal(writtenIn(joined)[0].text, "abcde");

// Without ids a tool call lies in the only open step. Of two open steps, or of one whose start is not known, nothing says
// which called it; steps lie in no step, since branches side by side look the same.
const depths = (...of) => {
  const all = run(...of);
  const known = new Spans(all);
  return all.map(({ seq }) => known.place(seq).depth);
};
const node = (name, phase, more = {}) => ["step", { node_name: name, phase, ...more }];
const call = (phase, more = {}) => ["tool_call", { tool_name: "t", phase, ...more }];
assert.deepEqual(depths(call("start"), call("end"), node("a", "start"), call("start"), call("end"), ["tool_call", { tool_name: "u" }], node("a", "end"), call("end")), [0, 0, 0, 1, 1, 1, 0, 0]);
assert.deepEqual(depths(node("a", "start"), node("b", "start"), call("start"), node("b", "end"), call("start"), call("end"), call("end"), node("a", "end")), [0, 0, 0, 0, 1, 1, 0, 0]);
assert.deepEqual(depths(node("a", "start"), call("start"), node("a", "end"), call("end")), [0, 1, 0, 1], "as it began");
assert.deepEqual(depths(node("a", "start"), call("end", { duration_ms: 100 }), call("end", { duration_ms: 101 })), [0, 1, 1]);
assert.deepEqual(depths(node("a", "start"), call("end", { duration_ms: 101 })), [0, 0], "it began before the step");
assert.deepEqual(depths(node("a", "start"), call("end"), node("b", "end"), call("end")), [0, 0, 0, 1], "b was open until its end");
assert.deepEqual(depths(call("end"), node("a", "end", { duration_ms: 900 }), call("end"), node("a", "end", { duration_ms: 900 })), [0, 0, 0, 0]);
assert.deepEqual(depths(["step", { node_name: "a", phase: "start", id: "s" }], call("start", { parent_id: "s" }), ["step", { node_name: "b", phase: "start", id: "x", parent_id: "s" }]), [0, 1, 1]);

// A payload of any shape is described.
for (const value of [null, 1, "text", [], [1], { node_name: 5, tool_name: {}, phase: [] }, { task_id: 1, kind: "content_delta", content_delta: 2 }]) {
  for (const type of ["step", "tool_call", "step.progress", "step.done", "run.tool.invoked", "run.coordination.decision", "error", "run_end", "Span", "StructureRunCompleted", "run.worker.failed", "constructor", "__proto__", "x"]) {
    new Spans(run([type, value]));
  }
}

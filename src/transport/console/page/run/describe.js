/** What an event is about: its lane, a title, a line of text, and what pairs it with others. Knows the documented types. */

import { inline } from "../lib/format.js";

/**
 * @typedef {import("../lib/types.js").RunEvent} RunEvent
 * @typedef {"run" | "step" | "tool" | "coordination" | "text" | "human" | "other"} Lane
 *
 * @typedef {object} Description
 * @property {Lane} lane
 * @property {string} title
 * @property {string} text
 * @property {"start" | "end" | "point"} phase
 * @property {string} [pair] events with the same text are the start and the end of one thing
 * @property {string} [own] id by which others name this one as their parent
 * @property {string} [parent] id of the thing around it
 * @property {"around" | "within"} [order] without ids the order of the events says what lies in what: a tool within a step
 * @property {number} [durationMs] as the event reports it
 * @property {"good" | "bad"} [mood]
 */

/** Lanes with their names for people. @type {[Lane, string][]} */
export const LANES = [
  ["run", "Run"],
  ["step", "Steps"],
  ["tool", "Tool calls"],
  ["coordination", "Coordination"],
  ["text", "Text"],
  ["human", "Questions"],
  ["other", "Other"],
];

/**
 * Type filters offered on a run: name and patterns of the route.
 * @type {[string, string[]][]}
 */
export const TYPE_GROUPS = [
  ["Run", ["run.created", "run.worker.*", "run.cancelled", "run.resumed", "run.limit_exceeded", "StructureRun*", "run_*", "error"]],
  ["Steps", ["step", "step.done", "Start*", "Finish*", "Span"]],
  ["Tools", ["tool_call", "run.tool.*"]],
  ["Text", ["step.progress"]],
  ["Coordination", ["run.coordination.*"]],
  ["Questions", ["human_input_*", "run.awaiting_input", "run.signal_applied", "run.input_received"]],
];

/** @param {unknown} value @returns {Record<string, unknown>} */
export function members(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value) ? /** @type {Record<string, unknown>} */ (value) : {};
}

/** @param {unknown} value */
const word = (value) => (typeof value === "string" && value !== "" ? value : undefined);

/** @param {unknown} value */
const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : undefined);

/** The first member with a text. @param {Record<string, unknown>} of @param {string[]} names */
const first = (of, ...names) => names.map((name) => word(of[name])).find((text) => text !== undefined);

/** @typedef {(payload: Record<string, unknown>, type: string) => Partial<Description>} Describe */

/** @type {Describe} */
function step(payload) {
  const name = word(payload.node_name) ?? "step";
  const phase = payload.phase === "start" ? "start" : payload.phase === "end" ? "end" : "point";
  const given = phase === "start" ? payload.input : payload.output;
  const own = first(payload, "step_id", "span_id", "id");
  return { lane: "step", title: name, text: given === undefined ? "" : inline(given), phase, pair: phase === "point" ? undefined : `step ${own ?? name}`, own, order: "around" };
}

/** @type {Describe} */
function tool(payload) {
  const name = word(payload.tool_name) ?? "tool";
  const phase = payload.phase === "start" ? "start" : payload.phase === "end" ? "end" : "point";
  const given = phase === "start" ? payload.input_preview : (payload.output_preview ?? payload.input_preview);
  const own = first(payload, "tool_call_id", "call_id", "id");
  const pair = phase === "point" ? undefined : `tool ${own ?? name}`;
  return { lane: "tool", title: name, text: given === undefined ? "" : inline(given), phase, pair, own, order: "within" };
}

/** @type {Describe} */
function progress(payload) {
  const [kind, task] = [payload.kind, word(payload.task_id)];
  if (kind === "tool_call_start" || kind === "tool_call_done") {
    const pair = `tool ${first(payload, "tool_call_id", "tool_name") ?? ""}`;
    const phase = kind === "tool_call_start" ? "start" : "end";
    return { lane: "tool", title: word(payload.tool_name) ?? "tool", text: "", phase, pair, parent: task };
  }
  const text = typeof payload.content_delta === "string" ? payload.content_delta : inline(payload);
  return { lane: "text", title: task ?? "text", text, pair: task && `task ${task}`, parent: task };
}

/** @type {Describe} */
function done(payload) {
  const task = word(payload.task_id);
  const failed = payload.outcome === "fail_run";
  const text = first(payload, "provider_error_message", "content", "reason_code") ?? "";
  const outcome = payload.outcome === "retry_step" ? "retry: " : "";
  const title = task ?? "step";
  return { lane: "step", title, text: inline(outcome + text), phase: "end", pair: task && `task ${task}`, own: task, mood: failed ? "bad" : undefined };
}

/** @type {Describe} */
function invoked(payload) {
  const preview = (/** @type {unknown} */ summary) => word(members(summary).preview) ?? "";
  const text = [preview(payload.tool_input_summary), preview(payload.tool_output_summary)].filter(Boolean).join(" → ");
  const mood = payload.tool_outcome === "failed" || payload.tool_outcome === "denied" ? "bad" : undefined;
  const outcome = word(payload.tool_outcome) ?? "";
  return { lane: "tool", title: word(payload.tool_name) ?? "tool", text: inline(text || outcome), mood, parent: word(payload.task_id) };
}

/** @type {Describe} */
function decision(payload) {
  const text = [first(payload, "role"), first(payload, "reason_code"), word(members(payload.judge_decision).reason)];
  return { lane: "coordination", title: word(payload.decision_type) ?? "decision", text: text.filter(Boolean).join(" · ") };
}

/** @type {Describe} */
function transition(payload, type) {
  const [from, to, reason] = [word(payload.from_status), word(payload.to_status), word(payload.reason_code)];
  const change = from && to ? `${from} → ${to}` : (to ?? "");
  const mood = type.endsWith("failed") ? "bad" : type.endsWith("succeeded") ? "good" : undefined;
  return { lane: "run", title: type.replace(/^run\./, ""), text: [change, reason].filter(Boolean).join(" · "), mood };
}

/** @type {Describe} */
function structure(payload, type) {
  const detail = members(payload.status_detail);
  const text = [word(payload.status), first(detail, "message", "error", "reason")].filter(Boolean).join(" · ");
  const bad = type === "StructureRunError" || payload.status === "FAILED";
  return { lane: "run", title: type, text, mood: bad ? "bad" : payload.status === "SUCCEEDED" ? "good" : undefined };
}

/** @type {Describe} */
function failure(payload) {
  const text = [first(payload, "error_type"), first(payload, "error_message", "message")].filter(Boolean).join(": ");
  return { lane: "run", title: "error", text: text || inline(payload), mood: "bad" };
}

/** @type {Describe} */
function human(payload, type) {
  const text = first(payload, "question", "response", "action", "input_kind", "reason_code") ?? "";
  return { lane: "human", title: type.replace(/^run\./, "").replaceAll("_", " "), text: inline(text) };
}

/** @type {Describe} */
function span(payload) {
  const own = word(payload.span_id);
  return { lane: "step", title: word(payload.name) ?? "span", text: inline(payload.attributes ?? ""), own, parent: word(payload.parent_id ?? payload.parent_span_id) };
}

/** @type {Record<string, Describe>} */
const BY_TYPE = {
  step,
  tool_call: tool,
  "step.progress": progress,
  "step.done": done,
  "run.tool.invoked": invoked,
  "run.coordination.decision": decision,
  "run.awaiting_input": human,
  "run.signal_applied": human,
  "run.input_received": human,
  human_input_requested: human,
  human_input_received: human,
  error: failure,
  run_start: (payload) => ({ lane: "run", title: "run start", text: inline(payload.input ?? payload.framework ?? "") }),
  run_end: (payload) => ({ lane: "run", title: "run end", text: inline(payload.output ?? ""), mood: "good" }),
  "run.limit_exceeded": (payload) => ({ lane: "run", title: "limit exceeded", text: `${word(payload.limitType) ?? ""} ${String(payload.currentValue ?? "")}`, mood: "bad" }),
  Span: span,
};

/** Types of frameworks that come in pairs: `StartTaskEvent` and `FinishTaskEvent`. */
const PAIRED = /^(Start|Finish)(.+?)(Event)?$/;

/** Descriptions of the events in memory. @type {WeakMap<RunEvent, Description>} */
const DESCRIBED = new WeakMap();

/**
 * @param {RunEvent} event
 * @returns {Description}
 */
export function describe(event) {
  const known = DESCRIBED.get(event);
  if (known) {
    return known;
  }
  const description = describeOnce(event);
  DESCRIBED.set(event, description);
  return description;
}

/**
 * @param {RunEvent} event
 * @returns {Description}
 */
function describeOnce(event) {
  const payload = members(event.payload.value);
  const about = (Object.hasOwn(BY_TYPE, event.type) && BY_TYPE[event.type]) || general(event.type);
  const common = { lane: /** @type {Lane} */ ("other"), title: event.type, text: "", phase: /** @type {const} */ ("point") };
  const found = about(payload, event.type);
  const text = event.removal ? `(${event.removal})` : (found.text ?? inline(event.payload.value));
  return { ...common, durationMs: number(payload.duration_ms), parent: first(payload, "parent_id", "parent_span_id"), ...found, text };
}

/** @param {string} type @returns {Describe} */
function general(type) {
  if (type.startsWith("StructureRun")) {
    return structure;
  }
  if (type.startsWith("run.")) {
    return transition;
  }
  const paired = PAIRED.exec(type);
  if (paired && type !== "FinishStructureRunEvent") {
    const isTool = /Tool|Action/.test(type);
    return (payload) => ({
      lane: isTool ? "tool" : "step",
      title: paired[2] ?? type,
      phase: paired[1] === "Start" ? "start" : "end",
      pair: `${paired[2]} ${first(payload, "task_id", "id") ?? ""}`,
    });
  }
  return () => ({});
}

// npm `@ag-ui/client`, as published: reads a run of each vocabulary, cut and resumed after every event, with its verifier.
//
// Its `HttpAgent` posts to an agent, so that a reader of a run overrides `requestInit`, as its documentation says.

import assert from "node:assert/strict";
import { HttpAgent, runHttpRequest, transformHttpEventStream, verifyEvents } from "@ag-ui/client";
import { lastValueFrom, toArray } from "rxjs";

const base = `http://${process.argv[2]}`;

// It warns of events that its schema does not know.
console.warn = (...text) => assert.fail(text.join(" "));

/** Publishes the events of a run, each `[type, payload]`. */
async function publish(run, events) {
  const body = JSON.stringify(events.map(([type, payload]) => ({ type, payload })));
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${base}/v1/runs/${run}/events`, { method: "POST", headers, body });
  assert.equal(response.status, 201, await response.text());
}

const progress = (kind, more) => ["step.progress", { task_id: "task_1", kind, ...more }];
const tool = { tool_call_id: "call_1", tool_name: "memory_search" };

const RUNS = {
  "agent-sdk": [
    ["run_start", { framework: "langgraph", input: { query: "Zurich?" } }],
    ["step", { node_name: "search", phase: "start" }],
    ["tool_call", { tool_name: "web_search", phase: "start", input_preview: "Zurich weather" }],
    ["tool_call", { tool_name: "web_search", phase: "end", output_preview: "12 °C", duration_ms: 740 }],
    ["tool_call", { tool_name: "sum", phase: "end", input: { a: 1 }, output: [2] }],
    ["step", { node_name: "search", phase: "end", duration_ms: 890 }],
    ["human_input_requested", { question: "Publish?", channel: "slack" }],
    ["human_input_received", { response: "yes" }],
    ["step", { node_name: "answer", phase: "start" }],
    ["run_end", { output: { answer: "cloudy" }, prompt_tokens: 150, completion_tokens: 45, total_tokens: 195, model: "gpt-4" }],
  ],
  "public-runs": [
    ["run.created", { request_id: "q" }],
    ["run.worker.started", { from_status: "queued", to_status: "running" }],
    progress("content_delta", { content_delta: "An acknowledged " }),
    progress("content_delta", { content_delta: "event " }),
    progress("tool_call_start", tool),
    ["run.tool.invoked", { ...tool, tool_input: { query: "disk" }, tool_output: "found" }],
    progress("content_delta", { content_delta: "is on disk." }),
    progress("tool_call_start", { tool_call_id: "call_2", tool_name: "fetch" }),
    progress("tool_call_done", { tool_call_id: "call_2", tool_name: "fetch" }),
    ["run.tool.invoked", { tool_call_id: "call_2", tool_name: "fetch", tool_output: "fetched" }],
    ["step.done", { task_id: "task_1", content: "An acknowledged event is on disk.", outcome: "succeeded" }],
    ["step.done", { task_id: "task_2", content: "Whole.", outcome: "succeeded" }],
    ["run.coordination.decision", { decision_type: "stop", reason_code: "JUDGE_STOP" }],
    ["run.worker.failed", { from_status: "running", to_status: "failed", reason_code: "STEP_FAILED" }],
  ],
  cancelled: [
    ["run.created", {}],
    progress("content_delta", { content_delta: "Sehr geehrte " }),
    progress("tool_call_start", tool),
    ["run.cancelled", { from_status: "running", to_status: "cancelled" }],
  ],
  "structure-runs": [
    ["StructureRunStarting", { status: "STARTING" }],
    ["StructureRunRunning", { status: "RUNNING" }],
    ["StartTaskEvent", { task_id: "task" }],
    ["TextChunkEvent", { token: "Three " }],
    ["TextChunkEvent", { token: "incidents." }],
    ["FinishPromptEvent", { model: "gpt-4o" }],
    ["FinishTaskEvent", { task_id: "task" }],
    ["ChartRendered", { points: 7 }],
    ["FinishStructureRunEvent", { output_task_output: { value: "Three incidents." } }],
    ["StructureRunCompleted", { status: "SUCCEEDED", status_detail: { exit_code: 0 } }],
  ],
};

const url = (run) => `${base}/ag-ui/runs/${run}`;

/** The events of a connection that begins after `cursor`, through the verifier. */
function verified(run, cursor) {
  const response = () => fetch(url(run), { headers: { "last-event-id": String(cursor) } });
  return lastValueFrom(transformHttpEventStream(runHttpRequest(response)).pipe(verifyEvents(), toArray()));
}

/** An agent that reads a run. It keeps messages and state over its connections. */
class Reader extends HttpAgent {
  cursor = 0;

  requestInit() {
    return { headers: { accept: "text/event-stream", "last-event-id": String(this.cursor) } };
  }

  /** Reads on, to the event with this seq or to the end. */
  async read(last = Infinity) {
    this.fetch = async (address, init) => {
      const response = await fetch(address, init);
      assert.equal(response.status, 200);
      const blocks = (await response.text()).split("\n\n").slice(0, -1);
      const idOf = (block) => Number(block.match(/^id: (\d+)$/m)?.[1] ?? NaN);
      const end = blocks.findIndex((block) => idOf(block) === last);
      const taken = end < 0 ? blocks : blocks.slice(0, end + 1);
      this.cursor = Math.max(this.cursor, ...taken.map(idOf).filter((id) => !Number.isNaN(id)));
      return new Response(taken.map((block) => `${block}\n\n`).join(""), { headers: response.headers });
    };
    // It rejects after a RUN_ERROR or not, by its version; the messages are what counts here.
    await this.runAgent().catch((error) => assert.match(String(error), /STEP_FAILED/));
  }
}

/** Messages without what the reader makes itself. */
const shown = (agent) => ({ messages: agent.messages, state: agent.state });

for (const [run, events] of Object.entries(RUNS)) {
  await publish(run, events);
  const whole = new Reader({ url: url(run) });
  await whole.read();
  assert.equal(whole.cursor, events.length, "every event has its id");
  assert.ok(whole.messages.length > 0, "a run has messages");
  const end = run === "public-runs" ? "RUN_ERROR" : "RUN_FINISHED";
  for (let cursor = 0; cursor < events.length; cursor += 1) {
    const read = await verified(run, cursor);
    assert.equal(read[0].type, "RUN_STARTED");
    assert.equal(read.at(-1).type, end);
    const cut = new Reader({ url: url(run) });
    if (cursor > 0) await cut.read(cursor);
    assert.equal(cut.cursor, cursor);
    await cut.read();
    assert.deepEqual(shown(cut), shown(whole), `${run}, cut after ${cursor}`);
  }
  const after = await fetch(url(run), { headers: { "last-event-id": String(events.length) } });
  assert.equal(after.status, 204, "nothing is left");
}

// Live: the reader is there before the text, and is cut in the middle of it.
await publish("live", [["run_start", {}], progress("content_delta", { content_delta: "One " })]);
const reading = verified("live", 1);
await publish("live", [progress("content_delta", { content_delta: "two" }), ["step.done", { task_id: "task_1" }], ["run_end", {}]]);
const deltas = (await reading).filter(({ type }) => type === "TEXT_MESSAGE_CONTENT").map(({ delta }) => delta);
assert.deepEqual(deltas, ["One ", "two"]);
console.log("ok");
process.exit(0);

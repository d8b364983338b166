// The client of openapi-generator for `fetch`. Run with the server's base URL.

import assert from "node:assert/strict";
import { AgentSDKApi, Configuration, PublicErrorFromJSON, PublicRunsApi, ResponseError, StructureRunsApi } from "./generated/fetch/index.js";

const RUN = "openapi-generator-typescript";
const configuration = new Configuration({ basePath: process.argv[2] });
const publicRuns = new PublicRunsApi(configuration);

// The stream is opened before the run begins.
const stream = publicRuns.streamPublicRunEvents({ id: RUN, wait: true });

const step = { type: "step", payload: { n: 1 }, eventId: "first", timestamp: new Date("2026-04-02T10:00:00Z") };
const first = await publicRuns.publishPublicRunEvents({ id: RUN, publicNewEvent: [step] });
assert.deepEqual([first.events[0]?.seq, first.events[0]?.duplicate], [1, false]);
await new StructureRunsApi(configuration).postStructureRunEvents({
  structureRunId: RUN,
  structureEventBatch: { events: [{ type: "step", payload: { n: 2 }, timestamp: 1726096542.083 }] },
});
const ended = await new AgentSDKApi(configuration).agentIngest({
  ingestEvent: [{ eventType: "run_end", sdkRunId: RUN, payload: { output: "done" } }],
});
assert.deepEqual([ended[0]?.seq, ended[0]?.runStatus], [3, "success"]);

const data = ((await stream) ?? "").split("\n").filter((line) => line.startsWith("data: "));
assert.deepEqual(data.map((line) => JSON.parse(line.slice(6)).seq), [1, 2, 3]);

const page = await publicRuns.listPublicRunEvents({ id: RUN, limit: 2 });
assert.deepEqual(page.events.map((event) => event.seq), [1, 2]);
assert.deepEqual(page.events[0]?.timestamp, step.timestamp);
const rest = await publicRuns.listPublicRunEvents({ id: RUN, cursor: page.nextCursor });
assert.deepEqual([rest.events[0]?.type, rest.hasMore], ["run_end", false]);
assert.equal((await publicRuns.getPublicRun({ id: RUN })).status, "succeeded");

const reserved = { type: "step", payload: 1, eventId: "runlog:x" };
const refused = await publicRuns.publishPublicRunEvents({ id: RUN, publicNewEvent: [reserved] }).catch((error) => error);
assert(refused instanceof ResponseError && refused.response.status === 422, String(refused));
assert.equal(PublicErrorFromJSON(await refused.response.json()).reasonCode, "invalid_field");
console.log("ok");

// `openapi-fetch` with the types of `openapi-typescript`. Run with the server's base URL.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "./generated/schema.js";

const RUN = "openapi-fetch";
const client = createClient<paths>({ baseUrl: process.argv[2] });
const path = { id: RUN };

// The stream is opened before the run begins, and read as it comes.
const stream = await client.GET("/v1/runs/{id}/events/stream", { params: { path, query: { wait: true } }, parseAs: "stream" });
assert(stream.data);

const events = [{ type: "step", payload: { n: 1 }, event_id: "first" }];
const first = await client.POST("/v1/runs/{id}/events", { params: { path }, body: events });
assert.deepEqual([first.data?.events[0]?.seq, first.data?.events[0]?.duplicate], [1, false]);
const posted = await client.POST("/api/structure-runs/{structure_run_id}/events", {
  params: { path: { structure_run_id: RUN } },
  body: { events: [{ type: "step", payload: { n: 2 }, timestamp: 1726096542.083 }] },
});
assert.equal(posted.response.status, 202);

let text = "";
for await (const chunk of stream.data.pipeThrough(new TextDecoderStream())) {
  text += chunk;
  if (text.includes("id: 2\n") && !text.includes("id: 3\n")) {
    const body = [{ event_type: "run_end", sdk_run_id: RUN, payload: { output: "done" }, event_id: "last" }];
    const ended = await client.POST("/api/ingest", { body });
    assert.deepEqual([ended.data?.[0]?.seq, ended.data?.[0]?.run_status], [3, "success"]);
  }
}
const data = text.split("\n").filter((line) => line.startsWith("data: "));
assert.deepEqual(data.map((line) => JSON.parse(line.slice(6)).seq), [1, 2, 3]);

const page = await client.GET("/v1/runs/{id}/events", { params: { path, query: { limit: 2 } } });
assert.deepEqual([page.data?.events.map((event) => event.seq), page.data?.has_more], [[1, 2], true]);
const run = await client.GET("/v1/runs/{id}", { params: { path } });
assert.equal(run.data?.status, "succeeded");

const reserved = [{ type: "step", payload: 1, event_id: "runlog:x" }];
const refused = await client.POST("/v1/runs/{id}/events", { params: { path }, body: reserved });
assert.deepEqual([refused.response.status, refused.error?.reason_code], [422, "invalid_field"]);
console.log("ok");

// The client of `@hey-api/openapi-ts`, which parses event streams itself. Run with the server's base URL.

import assert from "node:assert/strict";
import { client } from "./generated/hey/client.gen.js";
import {
  agentIngest,
  getPublicRun,
  listPublicRunEvents,
  postStructureRunEvents,
  publishPublicRunEvents,
  streamPublicRunEvents,
} from "./generated/hey/index.js";

const RUN = "hey-api";
const path = { id: RUN };
client.setConfig({ baseUrl: process.argv[2] });

// The stream is opened before the run begins, and read as it comes.
const { stream } = await streamPublicRunEvents({ path, query: { wait: true } });
const publish = (async () => {
  const first = await publishPublicRunEvents({ path, body: [{ type: "step", payload: { n: 1 }, event_id: "first" }] });
  assert.deepEqual([first.data?.events[0]?.seq, first.data?.events[0]?.duplicate], [1, false]);
  const posted = await postStructureRunEvents({
    path: { structure_run_id: RUN },
    body: { events: [{ type: "step", payload: { n: 2 }, timestamp: 1726096542.083 }] },
  });
  assert.equal(posted.response?.status, 202);
  const ended = await agentIngest({ body: [{ event_type: "run_end", sdk_run_id: RUN, payload: { output: "done" } }] });
  assert.deepEqual([ended.data?.[0]?.seq, ended.data?.[0]?.run_status], [3, "success"]);
})();
const seqs: unknown[] = [];
for await (const data of stream) {
  seqs.push((data as unknown as { seq: number }).seq);
}
await publish;
assert.deepEqual(seqs, [1, 2, 3]);

const page = await listPublicRunEvents({ path, query: { limit: 2 } });
assert.deepEqual([page.data?.events.map((event) => event.seq), page.data?.has_more], [[1, 2], true]);
assert.equal((await getPublicRun({ path })).data?.status, "succeeded");

const refused = await publishPublicRunEvents({ path, body: [{ type: "step", payload: 1, event_id: "runlog:x" }] });
assert.deepEqual([refused.response?.status, refused.error?.reason_code], [422, "invalid_field"]);
console.log("ok");

// Runs whose ids are not plain: fetch and EventSource with paths as `encodeURIComponent` makes them.

import assert from "node:assert/strict";
import { EventSource } from "eventsource";

const base = `http://${process.argv[2]}`;
const ids = ["night build 7", "a/b?c=d#e", "100 % + %20", "Größe", "e\u0301", "שלום", "日本語", "🦀".repeat(200)];

async function json(response) {
  const text = await response.text();
  assert.ok(response.ok, `${response.status} ${text}`);
  return JSON.parse(text);
}

for (const id of ids) {
  const body = JSON.stringify({ event_type: "run_end", sdk_run_id: id, payload: { output: id } });
  await json(await fetch(`${base}/api/ingest`, { method: "POST", headers: { "content-type": "application/json" }, body }));
  const path = encodeURIComponent(id);
  for (const api of ["/api/structure-runs/", "/api/runs/", "/v1/runs/"]) {
    const run = await json(await fetch(base + api + path));
    assert.ok(JSON.stringify(run).includes(JSON.stringify(id)), JSON.stringify(run));
  }
  const source = new EventSource(`${base}/api/runs/${path}/events/stream`);
  await new Promise((resolve, reject) => {
    source.addEventListener("run_end", (event) => resolve(assert.ok(event.data.includes(JSON.stringify(id)))));
    source.addEventListener("message", (event) => resolve(assert.ok(event.data.includes(JSON.stringify(id)))));
    source.addEventListener("error", reject);
  });
  source.close();
}
process.exit(0);

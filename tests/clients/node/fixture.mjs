// What the event stream clients share: a run that is published while they read, and a proxy that cuts them off.

import assert from "node:assert/strict";
import net from "node:net";

export const EVENTS = 300;

/** Publishes one event, or the end of the run. */
async function publish(base, run, type, payload) {
  const body = JSON.stringify({ event_type: type, sdk_run_id: run, payload });
  const response = await fetch(`${base}/api/ingest`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  assert.equal(response.status, 202, await response.text());
}

/** The first third of a run, so that there is something to replay; returns what publishes the rest. */
export async function startRun(base, run) {
  let number = 0;
  const some = async (count) => {
    for (let i = 0; i < count; i += 1) {
      await publish(base, run, "step", { n: (number += 1), text: "x".repeat(200) });
    }
  };
  await some(EVENTS / 3);
  return async () => {
    await some(EVENTS - EVENTS / 3 - 1);
    await publish(base, run, "run_end", { output: "done" });
  };
}

/** A proxy that breaks each of the first connections off in the middle of what they read. */
export async function cuttingProxy(base, cuts) {
  const target = new URL(base);
  let left = cuts;
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(target.port), target.hostname);
    let bytes = 0;
    upstream.on("data", (data) => {
      client.write(data);
      bytes += data.length;
      if (left > 0 && bytes > 9_000) {
        left -= 1;
        client.destroy();
        upstream.destroy();
      }
    });
    client.on("data", (data) => upstream.write(data));
    for (const [a, b] of [[client, upstream], [upstream, client]]) {
      a.on("error", () => b.destroy());
      a.on("close", () => b.end());
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    base: `http://127.0.0.1:${server.address().port}`,
    cutsLeft: () => left,
    close: () => server.close(),
  };
}

/** Every event once, in order, and nothing else. */
export function checkAll(ids) {
  assert.deepEqual(ids, Array.from({ length: EVENTS }, (_, i) => String(i + 1)));
}

// npm `eventsource`, as published: follows a run over two cut connections and stops by itself at its end.

import assert from "node:assert/strict";
import { EventSource } from "eventsource";
import { checkAll, cuttingProxy, startRun } from "./fixture.mjs";

const base = `http://${process.argv[2]}`;
const publishRest = await startRun(base, "node-eventsource");
const proxy = await cuttingProxy(base, 2);
const source = new EventSource(`${proxy.base}/v1/runs/node-eventsource/events/stream`);
const ids = [];
source.onmessage = (message) => {
  ids.push(message.lastEventId);
  const event = JSON.parse(message.data);
  assert.equal(String(event.seq), message.lastEventId);
};
const stopped = new Promise((resolve) => {
  source.onerror = () => source.readyState === EventSource.CLOSED && resolve();
});
await publishRest();
await stopped;
checkAll(ids);
assert.equal(proxy.cutsLeft(), 0);
proxy.close();
console.log("ok");
process.exit(0);

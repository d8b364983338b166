// npm `@microsoft/fetch-event-source`, as published. It is made for browsers, so it is given what it looks for there.

import assert from "node:assert/strict";
import { checkAll, cuttingProxy, startRun } from "./fixture.mjs";

globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
const { fetchEventSource } = await import("@microsoft/fetch-event-source");

const base = `http://${process.argv[2]}`;
const publishRest = await startRun(base, "node-fetch");
const proxy = await cuttingProxy(base, 2);
const ids = [];
const read = fetchEventSource(`${proxy.base}/api/runs/node-fetch/events/stream`, {
  openWhenHidden: true,
  onmessage(message) {
    // It makes a message of its own of a comment that a blank line follows; our heartbeat has none.
    assert.notEqual(message.data, "", "an empty message");
    ids.push(message.id);
  },
  // A broken connection is retried at once; anything else is an error of the test.
  onerror(error) {
    if (error instanceof assert.AssertionError) throw error;
    return 50;
  },
});
await publishRest();
await read;
checkAll(ids);
assert.equal(proxy.cutsLeft(), 0);
proxy.close();

// The end again: nothing is left to tell.
const again = await fetch(`${base}/api/runs/node-fetch/events/stream`, { headers: { "last-event-id": ids.at(-1) } });
assert.equal(again.status, 204);
console.log("ok");
process.exit(0);

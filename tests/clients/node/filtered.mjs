// Filtered streams with three published clients: none takes a heartbeat, its cursor or the last comment for an event; line
// separators arrive in the text; whoever keeps ids as they come goes on from the heartbeat's cursor.

import assert from "node:assert/strict";
import net from "node:net";

import { EventSource } from "eventsource";
import polyfill from "event-source-polyfill";

globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
const { fetchEventSource } = await import("@microsoft/fetch-event-source");

const base = `http://${process.argv[2]}`;
const text = "one\u2028two\u2029three\u0085four\nfive";
let published = 0;

/** Publishes events of one run, in their order. */
async function publish(...events) {
  const body = JSON.stringify(events.map(([event_type, payload]) => ({ event_type, sdk_run_id: "filtered", payload })));
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${base}/api/ingest`, { method: "POST", headers, body });
  assert.equal(response.status, 202, await response.text());
  published += events.length;
}

const noise = (count) => Array.from({ length: count }, (_, n) => ["step", { n }]);
const wanted = (n) => ["note", { n, text }];

/** A proxy that notes where each connection begins, sees heartbeats pass, and cuts all connections on demand. */
async function observedProxy() {
  const target = new URL(base);
  const observed = { starts: [], heartbeats: [], sockets: new Set() };
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(target.port), target.hostname);
    client.on("data", (data) => {
      const head = data.toString("latin1");
      const header = head.match(/^last-event-id: *(.*)\r$/im)?.[1];
      if (head.startsWith("GET ")) observed.starts.push(header ?? head.match(/[?&]lastEventId=([^& ]*)/)?.[1] ?? "");
      upstream.write(data);
    });
    upstream.on("data", (data) => {
      observed.heartbeats.push(...[...data.toString("latin1").matchAll(/: hb\nid: (\d+)\n/g)].map((found) => found[1]));
      client.write(data);
    });
    observed.sockets.add(client);
    for (const [a, b] of [[client, upstream], [upstream, client]]) {
      a.on("error", () => b.destroy());
      a.on("close", () => b.destroy());
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  observed.base = `http://127.0.0.1:${server.address().port}`;
  observed.cut = () => observed.sockets.forEach((socket) => socket.destroy());
  return observed;
}

async function until(what, holds) {
  for (let tries = 0; !holds(); tries += 1) {
    assert.ok(tries < 3_000, `${what} did not happen`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const path = "/api/runs/filtered/events/stream?types=note";
const clients = {};

function client(name, proxy) {
  const received = [];
  clients[name] = { received, proxy };
  return (data, id) => {
    assert.notEqual(data, "", `${name}: an empty message`);
    const event = JSON.parse(data);
    assert.equal(event.payload.text, text, `${name}: the text as it was sent`);
    received.push([id, event.payload.n]);
  };
}

await publish(...noise(50), wanted(1));

const fetched = client("fetch-event-source", await observedProxy());
const reading = fetchEventSource(`${clients["fetch-event-source"].proxy.base}${path}`, {
  openWhenHidden: true,
  onmessage: (message) => fetched(message.data, message.id),
  onerror(error) {
    if (error instanceof assert.AssertionError) throw error;
    return 20;
  },
});
for (const [name, Source] of [["eventsource", EventSource], ["event-source-polyfill", polyfill.EventSourcePolyfill]]) {
  const message = client(name, await observedProxy());
  const source = new Source(`${clients[name].proxy.base}${path}`);
  source.onmessage = (event) => message(event.data, event.lastEventId);
  // Both go on by themselves.
  source.onerror = () => {};
}
const all = Object.values(clients);
await until("the first event at every client", () => all.every(({ received }) => received.length === 1));

// The filter holds all of these back; the next heartbeat says how far it looked.
await publish(...noise(200));
const cursor = String(published);
await until("a heartbeat with the cursor", () => all.every(({ proxy }) => proxy.heartbeats.includes(cursor)));
all.forEach(({ proxy }) => proxy.cut());
await until("a new connection of every client", () => all.every(({ proxy }) => proxy.starts.length === 2));
assert.deepEqual(clients["fetch-event-source"].proxy.starts, ["", cursor], "it goes on from the heartbeat");
// These two keep an id only with its event, and look at the others again.
assert.deepEqual(clients.eventsource.proxy.starts, ["", "51"]);
assert.deepEqual(clients["event-source-polyfill"].proxy.starts, ["", "51"]);

await publish(wanted(2), ...noise(3), wanted(3), ["run_end", {}]);
const expected = [["51", 1], ["252", 2], ["256", 3]];
await until("every event at every client", () => all.every(({ received }) => received.length >= expected.length));
await reading;
for (const [name, { received }] of Object.entries(clients)) assert.deepEqual(received, expected, name);
console.log("ok");
process.exit(0);

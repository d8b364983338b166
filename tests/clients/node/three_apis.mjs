// Follows one run over all three APIs with published clients, over whatever cuts them, until its end. Prints the ids that
// each received, as JSON.

import { EventSource } from "eventsource";

globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
const { fetchEventSource } = await import("@microsoft/fetch-event-source");

const [, , base, run] = process.argv;
const received = { a: [], b: [], c: [] };

/** The public runs API, as a browser does it: it stops by itself. */
async function followC() {
  const source = new EventSource(`${base}/v1/runs/${run}/events/stream`);
  source.onmessage = (message) => received.c.push(message.lastEventId);
  await new Promise((resolve) => {
    source.onerror = () => source.readyState === EventSource.CLOSED && resolve();
  });
}

/** The agent SDK API, as many pages do it. */
async function followB() {
  await fetchEventSource(`${base}/api/runs/${run}/events/stream`, {
    openWhenHidden: true,
    onmessage: (message) => received.b.push(message.id),
    onerror: () => 50,
  });
}

/** The structure runs API, by hand: comes back with the last id until there is nothing left. */
async function followA() {
  for (;;) {
    const headers = received.a.length ? { "last-event-id": received.a.at(-1) } : {};
    const response = await fetch(`${base}/api/structure-runs/${run}/events/stream`, { headers });
    if (response.status === 204) return;
    if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
    let text = "";
    try {
      for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
        text += piece;
        const frames = text.split("\n\n");
        text = frames.pop();
        received.a.push(...frames.flatMap((frame) => frame.match(/^id: ?(.+)$/m)?.[1] ?? []));
      }
    } catch {
      // Cut: what came whole counts.
    }
  }
}

await Promise.all([followA(), followB(), followC()]);
console.log(JSON.stringify(received));
process.exit(0);

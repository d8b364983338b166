// Node's own clients over TLS: https (HTTP/1.1) and http2, with the file of the authority as the second argument.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import https from "node:https";

const base = `https://${process.argv[2]}`;
const ca = readFileSync(process.argv[3]);

/** Status and body over HTTP/1.1. */
function ask(path, options = {}, body = "") {
  return new Promise((resolve, reject) => {
    const request = https.request(base + path, { ca, ...options }, async (response) => {
      let text = "";
      for await (const part of response) text += part;
      resolve({ status: response.statusCode, version: response.httpVersion, text });
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** Status and body over HTTP/2. */
async function askOverHttp2(path) {
  const session = http2.connect(base, { ca });
  try {
    return await new Promise((resolve, reject) => {
      session.on("error", reject);
      const stream = session.request({ ":path": path });
      let status = 0;
      let text = "";
      stream.on("response", (headers) => (status = headers[":status"]));
      stream.on("data", (part) => (text += part));
      stream.on("end", () => resolve({ status, protocol: session.alpnProtocol, text }));
      stream.on("error", reject);
    });
  } finally {
    session.close();
  }
}

const body = JSON.stringify({ event_type: "run_end", sdk_run_id: "node-tls", payload: { output: "done" } });
const posted = await ask("/api/ingest", { method: "POST", headers: { "content-type": "application/json" } }, body);
assert.equal(posted.status, 202, posted.text);

const overHttp1 = await ask("/v1/runs/node-tls");
assert.deepEqual([overHttp1.status, overHttp1.version], [200, "1.1"], overHttp1.text);

const overHttp2 = await askOverHttp2("/v1/runs/node-tls");
assert.deepEqual([overHttp2.status, overHttp2.protocol], [200, "h2"], overHttp2.text);
assert.equal(overHttp2.text, overHttp1.text);

const stream = await ask("/v1/runs/node-tls/events/stream");
assert.ok(stream.status === 200 && stream.text.includes("done"), stream.text);

await assert.rejects(ask("/v1/runs/node-tls", { ca: undefined }), (error) => error.code.startsWith("UNABLE_TO_"));
process.exit(0);

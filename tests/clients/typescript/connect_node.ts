/**
 * Publishes a run, lists it, and follows it to its end with connect-node, over restarts of the server.
 *
 *     node connect_node.js ADDRESS RUN_ID
 *
 * RUNLOG_CA is the file of the server's authority, for TLS; RUNLOG_KEY is the key of the caller. The stubs come from protoc-gen-es,
 * see buf.gen.yaml. Connect reads no service config: the interceptor below retries.
 */

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "./gen/connect/google/rpc/error_details_pb.js";
import { Health, HealthCheckResponse_ServingStatus } from "./gen/connect/grpc/health/v1/health_pb.js";
import type { Event } from "./gen/connect/runlog/v1/event_pb.js";
import { EventService, ListEventsRequestSchema } from "./gen/connect/runlog/v1/event_service_pb.js";
import type { PayloadSchema } from "./gen/connect/runlog/v1/payload_pb.js";

type Events = Client<typeof EventService>;

// A call that ends with one of these may be made again. All others are final.
const CUT = [Code.Unavailable, Code.ResourceExhausted];

// Connect's own codes for a lost connection. From the server they have a reason, and are final.
const LOST = [Code.Canceled, Code.Aborted];

function isCut(error: unknown): boolean {
  const { code } = ConnectError.from(error);
  return CUT.includes(code) || (LOST.includes(code) && reason(error) === undefined);
}

/** Makes a unary call again, at most five times: every call here is safe to repeat. */
const retry: Interceptor = (next) => async (request) => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await next(request);
    } catch (error) {
      if (request.stream || attempt === 5 || !isCut(error)) throw error;
      await sleep(200 * 3 ** (attempt - 1) * (0.8 + 0.4 * Math.random()));
    }
  }
};

const withKey = (key: string): Interceptor => (next) => (request) => {
  request.header.set("authorization", `Bearer ${key}`);
  return next(request);
};

function connect(address: string) {
  const { RUNLOG_CA: authority, RUNLOG_KEY: key } = process.env;
  return createGrpcTransport({
    baseUrl: `${authority ? "https" : "http"}://${address}`,
    nodeOptions: authority ? { ca: readFileSync(authority) } : {},
    interceptors: authority && key ? [retry, withKey(key)] : [retry],
    // Notices within 40 s that a peer is gone without a word.
    pingIntervalMs: 30_000,
    pingTimeoutMs: 10_000,
  });
}

/** Yields the events after the cursor, each once and in order, until the run ends. */
async function* follow(events: Events, runId: string, cursor = ""): AsyncGenerator<Event> {
  let epoch = "";
  for (;;) {
    try {
      const frames = events.subscribe({
        scope: { case: "runId", value: runId },
        start: { case: "cursor", value: cursor },
        epoch,
        waitForRun: true,
      });
      for await (const { frame, ...position } of frames) {
        if (frame.case === "events") yield* frame.value.events;
        if (frame.case === "runEnded") return;
        cursor = position.cursor;
        epoch = position.epoch || epoch;
      }
    } catch (error) {
      if (!isCut(error)) throw error;
    }
    await sleep(100 + Math.random() * 1_000);
  }
}

/** Yields the stored events, page by page. */
async function* pages(events: Events, runId: string): AsyncGenerator<Event> {
  const request = create(ListEventsRequestSchema, { scope: { case: "runId", value: runId }, pageSize: 30 });
  for (;;) {
    const page = await events.listEvents(request);
    yield* page.events;
    if (!page.hasMore) return;
    request.cursor = page.nextCursor;
    request.epoch = page.epoch;
  }
}

/** The reason of an error of the server; undefined for an error of the connection. */
function reason(error: unknown): string | undefined {
  return ConnectError.from(error).findDetails(ErrorInfoSchema)[0]?.reason;
}

async function main(address: string, runId: string) {
  const transport = connect(address);
  const { status } = await createClient(Health, transport).check({});
  console.log("health", HealthCheckResponse_ServingStatus[status]);

  const events = createClient(EventService, transport);
  const publish = async (eventId: string, variant: MessageInitShape<typeof PayloadSchema>["variant"]) => {
    // The event id makes a retry safe.
    const answer = await events.publish({ runId, events: [{ eventId, agentName: "planner", payload: { variant } }] });
    console.log("published", String(answer.events[0].seq));
  };
  await publish("start", { case: "runStart", value: { framework: "none" } });
  for (let n = 1; n < 100; n += 1) {
    await publish(`step-${n}`, { case: "step", value: { nodeName: `node ${n}`, phase: "end" } });
  }
  try {
    await publish("start", { case: "runStart", value: { framework: "another" } });
  } catch (error) {
    console.log("refused", reason(error));
  }
  for await (const event of pages(events, runId)) console.log("listed", String(event.seq), event.eventId);
  for await (const event of follow(events, runId)) console.log("followed", String(event.seq), event.eventId);
  console.log("ended");
}

await main(process.argv[2], process.argv[3]);
// An open connection would keep the process for its idle time.
process.exit(0);

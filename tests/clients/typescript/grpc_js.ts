/**
 * Publishes a run, lists it, and follows it to its end with grpc-js, over restarts of the server.
 *
 *     node grpc_js.js ADDRESS RUN_ID SERVICE_CONFIG
 *
 * RUNLOG_CA is the file of the server's authority, for TLS; RUNLOG_KEY is the key of the caller. The stubs come from ts-proto, see
 * buf.gen.yaml.
 */

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type ChannelCredentials, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { ErrorInfo } from "./gen/grpc/google/rpc/error_details.js";
import { Status } from "./gen/grpc/google/rpc/status.js";
import { HealthCheckRequest, HealthCheckResponse_ServingStatus, HealthClient } from "./gen/grpc/grpc/health/v1/health.js";
import type { HealthCheckResponse } from "./gen/grpc/grpc/health/v1/health.js";
import { type Event, NewEvent } from "./gen/grpc/runlog/v1/event.js";
import { EventServiceClient, ListEventsRequest, PublishRequest, SubscribeRequest } from "./gen/grpc/runlog/v1/event_service.js";
import type { ListEventsResponse, PublishResponse, SubscribeResponse } from "./gen/grpc/runlog/v1/event_service.js";
import type { Payload } from "./gen/grpc/runlog/v1/payload.js";

// A stream that ends with one of these was cut. All others are final.
const CUT = [status.UNAVAILABLE, status.RESOURCE_EXHAUSTED];

function tlsAndKey(): ChannelCredentials {
  const { RUNLOG_CA: authority, RUNLOG_KEY: key } = process.env;
  if (authority === undefined) return credentials.createInsecure();
  const tls = credentials.createSsl(readFileSync(authority));
  if (key === undefined) return tls;
  const headers = new Metadata();
  headers.set("authorization", `Bearer ${key}`);
  return credentials.combineChannelCredentials(tls, credentials.createFromMetadataGenerator((_, done) => done(null, headers)));
}

/** The options of all clients; grpc-js shares one connection among those with the same. */
function optionsWith(serviceConfig: string) {
  return {
    "grpc.service_config": serviceConfig,
    // Requests of up to this size are kept for retries; the default is 1 MiB.
    "grpc.per_rpc_retry_buffer_size": 4 << 20,
    // Notices within 40 s that a peer is gone without a word.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    // Waits at most this long between attempts to connect.
    "grpc.max_reconnect_backoff_ms": 2_000,
  };
}

/** A unary call as a promise. */
function ask<Answer>(call: (done: (error: ServiceError | null, answer: Answer) => void) => unknown): Promise<Answer> {
  return new Promise((resolve, reject) => call((error, answer) => (error ? reject(error) : resolve(answer))));
}

function isError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error;
}

/** Yields the events after the cursor, each once and in order, until the run ends. */
async function* follow(events: EventServiceClient, runId: string, cursor = ""): AsyncGenerator<Event> {
  let epoch = "";
  for (;;) {
    const request = SubscribeRequest.fromPartial({
      scope: { $case: "runId", value: runId },
      start: { $case: "cursor", value: cursor },
      epoch,
      waitForRun: true,
    });
    const frames = events.subscribe(request);
    try {
      for await (const response of frames as AsyncIterable<SubscribeResponse>) {
        const { frame } = response;
        if (frame?.$case === "events") yield* frame.value.events;
        if (frame?.$case === "runEnded") return;
        cursor = response.cursor;
        epoch = response.epoch || epoch;
      }
    } catch (error) {
      if (!isError(error) || !CUT.includes(error.code)) throw error;
    } finally {
      frames.cancel();
    }
    await sleep(100 + Math.random() * 1_000);
  }
}

/** Yields the stored events, page by page. */
async function* pages(events: EventServiceClient, runId: string): AsyncGenerator<Event> {
  const request = ListEventsRequest.fromPartial({ scope: { $case: "runId", value: runId }, pageSize: 30 });
  for (;;) {
    const page = await ask<ListEventsResponse>((done) => events.listEvents(request, done));
    yield* page.events;
    if (!page.hasMore) return;
    request.cursor = page.nextCursor;
    request.epoch = page.epoch;
  }
}

/** The reason of an error of the server; undefined for an error of the connection. */
function reason(error: ServiceError): string | undefined {
  const [details] = error.metadata.get("grpc-status-details-bin");
  if (!Buffer.isBuffer(details)) return undefined;
  const info = Status.decode(details).details.find((detail) => detail.typeUrl.endsWith("/google.rpc.ErrorInfo"));
  return info && ErrorInfo.decode(info.value).reason;
}

async function main(address: string, runId: string, serviceConfig: string) {
  const options = optionsWith(readFileSync(serviceConfig, "utf8"));
  const health = new HealthClient(address, tlsAndKey(), options);
  const checked = await ask<HealthCheckResponse>((done) => health.check(HealthCheckRequest.fromPartial({}), done));
  console.log("health", HealthCheckResponse_ServingStatus[checked.status]);
  health.close();

  const events = new EventServiceClient(address, tlsAndKey(), options);
  const publish = async (eventId: string, variant: Payload["variant"]) => {
    // The event id makes a retry safe, so the service config may ask for one.
    const event = NewEvent.fromPartial({ eventId, agentName: "planner", payload: { variant } });
    const request = PublishRequest.fromPartial({ runId, events: [event] });
    const answer = await ask<PublishResponse>((done) => events.publish(request, done));
    console.log("published", String(answer.events[0].seq));
  };
  await publish("start", { $case: "runStart", value: { framework: "none" } });
  for (let n = 1; n < 100; n += 1) {
    await publish(`step-${n}`, { $case: "step", value: { nodeName: `node ${n}`, phase: "end" } });
  }
  try {
    await publish("start", { $case: "runStart", value: { framework: "another" } });
  } catch (error) {
    if (!isError(error)) throw error;
    console.log("refused", reason(error));
  }
  for await (const event of pages(events, runId)) console.log("listed", String(event.seq), event.eventId);
  for await (const event of follow(events, runId)) console.log("followed", String(event.seq), event.eventId);
  console.log("ended");
  events.close();
}

await main(process.argv[2], process.argv[3], process.argv[4]);

// What a page does with two published clients of gRPC-web: publish, list, follow to the end, and read an error.

import { fromBinary, toBinary, create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import grpcWeb from "grpc-web";
import * as pb from "stubs/runlog/v1/event_service_pb.js";

/** An event with a payload as JSON text. */
function event(eventId, type, json) {
  return { eventId, type, payload: { variant: { case: "json", value: json } } };
}

const FIRST = [event("a", "run_start", "{}"), event("b", "note", '{"n":12345678901234567890123}')];
const REST = [event("c", "note", "{}"), event("d", "run_end", '{"output":42}')];

/** Publishes, lists and follows a run, the second half of which is published once the first is read. */
async function uses({ publish, list, follow }, runId) {
  const published = await publish({ runId, events: FIRST });
  const again = await publish({ runId, events: FIRST });
  const page = await list({ scope: { case: "runId", value: runId } });
  const followed = [];
  let ended;
  for await (const { frame } of follow({ scope: { case: "runId", value: runId } })) {
    if (frame.case === "events") followed.push(...frame.value.events);
    if (frame.case === "caughtUp") await publish({ runId, events: REST });
    if (frame.case === "runEnded") ended = Number(frame.value.lastSeq);
  }
  return {
    published: published.events.map(({ seq }) => Number(seq)),
    duplicates: again.events.map(({ duplicate }) => duplicate),
    listed: page.events.map(({ type }) => type),
    followed: followed.map(({ seq }) => Number(seq)),
    ended,
  };
}

/** `@connectrpc/connect-web`, with an interceptor that sends the key. */
export async function connectWeb(baseUrl, key) {
  const authorize = (next) => (request) => {
    request.header.set("authorization", `Bearer ${key}`);
    return next(request);
  };
  const events = createClient(pb.EventService, createGrpcWebTransport({ baseUrl, interceptors: [authorize] }));
  const done = await uses(
    { publish: events.publish, list: events.listEvents, follow: events.subscribe },
    "connect-web",
  );
  const error = await events.publish({ runId: "connect-web", events: [{}] }, { timeoutMs: 60_000 }).catch((error) => error);
  const { code, metadata } = error;
  return { ...done, error: [code, metadata.get("runlog-reason"), metadata.get("runlog-field")] };
}

/** The method of `grpc-web` for one of the service, with the same messages. */
function method(name, { methodKind, input, output }) {
  const type = methodKind === "unary" ? grpcWeb.MethodType.UNARY : grpcWeb.MethodType.SERVER_STREAMING;
  const encode = (request) => toBinary(input, create(input, request));
  const decode = (bytes) => fromBinary(output, bytes);
  return new grpcWeb.MethodDescriptor(`/runlog.v1.EventService/${name}`, type, Object, Object, encode, decode);
}

/** `grpc-web`, in its binary or its text form. */
export async function googleWeb(baseUrl, key, format) {
  const { publish, listEvents, subscribe } = pb.EventService.method;
  const client = new grpcWeb.GrpcWebClientBase({ format });
  const metadata = { authorization: `Bearer ${key}` };
  const unary = (name, descriptor) => (request) => {
    const of = method(name, descriptor);
    return client.unaryCall(`${baseUrl}/runlog.v1.EventService/${name}`, request, metadata, of);
  };
  async function* follow(request) {
    const of = method("Subscribe", subscribe);
    const stream = client.serverStreaming(`${baseUrl}/runlog.v1.EventService/Subscribe`, request, metadata, of);
    const frames = [];
    let wake = () => {};
    const push = (frame) => (frames.push(frame), wake());
    stream.on("data", (value) => push({ value }));
    stream.on("error", (error) => push({ error }));
    stream.on("end", () => push({ end: true }));
    for (;;) {
      while (frames.length === 0) await new Promise((resolve) => (wake = resolve));
      const { value, error, end } = frames.shift();
      if (error) throw error;
      if (end) return;
      yield value;
    }
  }
  const calls = { publish: unary("Publish", publish), list: unary("ListEvents", listEvents), follow };
  const done = await uses(calls, `grpc-web-${format}`);
  const error = await calls.publish({ runId: "grpc-web", events: [{}] }).catch((error) => error);
  return { ...done, error: [error.code, error.metadata["runlog-reason"], error.metadata["runlog-field"]] };
}

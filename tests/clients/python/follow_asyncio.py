"""Publishes a run, lists it, and follows it to its end with asyncio, over restarts of the server.

    python follow_asyncio.py ADDRESS RUN_ID SERVICE_CONFIG

RUNLOG_CA is the file of the server's authority, for TLS; RUNLOG_KEY is the key of the caller. The stubs come from grpc_tools.
"""

import asyncio
import os
import pathlib
import random
import sys

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status.rpc_status import GRPC_DETAILS_METADATA_KEY
from runlog.v1.event_pb2 import NewEvent
from runlog.v1.event_service_pb2 import ListEventsRequest, PublishRequest, SubscribeRequest
from runlog.v1.event_service_pb2_grpc import EventServiceStub
from runlog.v1.payload_pb2 import Payload, RunStart, Step

# A stream that ends with one of these was cut. All others are final.
CUT = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}


def connect(address, service_config):
    options = [
        ("grpc.service_config", service_config),
        # Requests of up to this size are kept for retries; the default is 256 KiB.
        ("grpc.per_rpc_retry_buffer_size", 4 << 20),
        # Notices within 40 s that a peer is gone without a word.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Waits at most this long between attempts to connect.
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    authority = os.environ.get("RUNLOG_CA")
    if authority is None:
        return grpc.aio.insecure_channel(address, options)
    credentials = grpc.ssl_channel_credentials(pathlib.Path(authority).read_bytes())
    if key := os.environ.get("RUNLOG_KEY"):
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(key))
    return grpc.aio.secure_channel(address, credentials, options)


async def follow(events, run_id, cursor=""):
    """Yields the events after the cursor, each once and in order, until the run ends."""
    epoch = ""
    while True:
        request = SubscribeRequest(run_id=run_id, cursor=cursor, epoch=epoch, wait_for_run=True)
        try:
            async for frame in events.Subscribe(request):
                for event in frame.events.events:
                    yield event
                if frame.HasField("run_ended"):
                    return
                cursor, epoch = frame.cursor, frame.epoch or epoch
        except grpc.aio.AioRpcError as error:
            if error.code() not in CUT:
                raise
        await asyncio.sleep(random.uniform(0.1, 1))


async def pages(events, run_id):
    """Yields the stored events, page by page."""
    request = ListEventsRequest(run_id=run_id, page_size=30)
    while True:
        page = await events.ListEvents(request)
        for event in page.events:
            yield event
        if not page.has_more:
            return
        request.cursor, request.epoch = page.next_cursor, page.epoch


def reason(error):
    """The reason of an error of the server; None for an error of the connection."""
    # grpc_status.rpc_status.from_call takes the errors of the synchronous API only.
    for name, value in error.trailing_metadata():
        if name == GRPC_DETAILS_METADATA_KEY:
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info.reason
    return None


async def main(address, run_id, service_config):
    async with connect(address, pathlib.Path(service_config).read_text()) as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        print("health", health_pb2.HealthCheckResponse.ServingStatus.Name(health.status), flush=True)
        events = EventServiceStub(channel)

        async def publish(event_id, **payload):
            # The event_id makes a retry safe, so the service config may ask for one.
            event = NewEvent(event_id=event_id, agent_name="planner", payload=Payload(**payload))
            answer = await events.Publish(PublishRequest(run_id=run_id, events=[event]))
            print("published", answer.events[0].seq, flush=True)

        await publish("start", run_start=RunStart(framework="none"))
        for n in range(1, 100):
            await publish(f"step-{n}", step=Step(node_name=f"node {n}", phase="end"))
        try:
            await publish("start", run_start=RunStart(framework="another"))
        except grpc.aio.AioRpcError as error:
            print("refused", reason(error), flush=True)
        async for event in pages(events, run_id):
            print("listed", event.seq, event.event_id, flush=True)
        async for event in follow(events, run_id):
            print("followed", event.seq, event.event_id, flush=True)
        print("ended", flush=True)


asyncio.run(main(*sys.argv[1:]))

"""Publishes a run, lists it, and follows it to its end, over restarts of the server.

    python follow.py ADDRESS RUN_ID SERVICE_CONFIG

RUNLOG_CA is the file of the server's authority, for TLS; RUNLOG_KEY is the key of the caller. The stubs come from grpc_tools.
"""

import os
import pathlib
import random
import sys
import time

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
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
        return grpc.insecure_channel(address, options)
    credentials = grpc.ssl_channel_credentials(pathlib.Path(authority).read_bytes())
    if key := os.environ.get("RUNLOG_KEY"):
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(key))
    return grpc.secure_channel(address, credentials, options)


def follow(events, run_id, cursor=""):
    """Yields the events after the cursor, each once and in order, until the run ends."""
    epoch = ""
    while True:
        request = SubscribeRequest(run_id=run_id, cursor=cursor, epoch=epoch, wait_for_run=True)
        try:
            for frame in events.Subscribe(request):
                yield from frame.events.events
                if frame.HasField("run_ended"):
                    return
                cursor, epoch = frame.cursor, frame.epoch or epoch
        except grpc.RpcError as error:
            if error.code() not in CUT:
                raise
        time.sleep(random.uniform(0.1, 1))


def pages(events, run_id):
    """Yields the stored events, page by page."""
    request = ListEventsRequest(run_id=run_id, page_size=30)
    while True:
        page = events.ListEvents(request)
        yield from page.events
        if not page.has_more:
            return
        request.cursor, request.epoch = page.next_cursor, page.epoch


def reason(error):
    """The reason of an error of the server; None for an error of the connection."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    return None


def main(address, run_id, service_config):
    with connect(address, pathlib.Path(service_config).read_text()) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        print("health", health_pb2.HealthCheckResponse.ServingStatus.Name(health.status), flush=True)
        events = EventServiceStub(channel)

        def publish(event_id, **payload):
            # The event_id makes a retry safe, so the service config may ask for one.
            event = NewEvent(event_id=event_id, agent_name="planner", payload=Payload(**payload))
            seq = events.Publish(PublishRequest(run_id=run_id, events=[event])).events[0].seq
            print("published", seq, flush=True)

        publish("start", run_start=RunStart(framework="none"))
        for n in range(1, 100):
            publish(f"step-{n}", step=Step(node_name=f"node {n}", phase="end"))
        try:
            publish("start", run_start=RunStart(framework="another"))
        except grpc.RpcError as error:
            print("refused", reason(error), flush=True)
        for event in pages(events, run_id):
            print("listed", event.seq, event.event_id, flush=True)
        for event in follow(events, run_id):
            print("followed", event.seq, event.event_id, flush=True)
        print("ended", flush=True)


main(*sys.argv[1:])

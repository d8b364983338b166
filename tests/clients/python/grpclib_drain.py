"""A client of grpclib, which ends all calls of a connection at its first GOAWAY: the call that a drain ends must have its status
before. Prints `@drain` once it follows, and waits for the end of its call."""

import asyncio
import importlib
import pathlib
import sys
import tempfile

from google.rpc import error_details_pb2
from grpc_tools import protoc
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError

PROTO = pathlib.Path(__file__).resolve().parents[3] / "proto"


def stubs():
    """Generates the stubs as a client's build would."""
    out = tempfile.mkdtemp()
    files = [str(path) for path in PROTO.glob("runlog/v1/*.proto")]
    include = str(pathlib.Path(protoc.__file__).parent / "_proto")
    plugin = pathlib.Path(sys.executable).parent / "protoc-gen-grpclib_python"
    includes = [f"-I{PROTO}", f"-I{include}", f"--plugin=protoc-gen-grpclib_python={plugin}"]
    assert protoc.main(["protoc", *includes, f"--python_out={out}", f"--grpclib_python_out={out}", *files]) == 0
    sys.path.insert(0, out)
    pb2 = importlib.import_module("runlog.v1.event_service_pb2")
    return pb2, importlib.import_module("runlog.v1.event_service_grpc")


async def follows_until_the_drain(pb, service, host, port):
    channel = Channel(host, port)
    events = service.EventServiceStub(channel)
    cursor = None
    try:
        async with events.Subscribe.open() as stream:
            await stream.send_message(pb.SubscribeRequest(run_id="grpclib", wait_for_run=True), end=True)
            async for frame in stream:
                cursor = frame.cursor
                if frame.WhichOneof("frame") == "caught_up":
                    print("@drain", flush=True)
    except GRPCError as error:
        assert error.status == Status.UNAVAILABLE, error
        details = [detail for detail in error.details if isinstance(detail, error_details_pb2.ErrorInfo)]
        assert details[0].reason == "SHUTTING_DOWN" and details[0].metadata["resume_cursor"] == cursor, error
        assert stream.trailing_metadata["runlog-reason"] == "SHUTTING_DOWN", stream.trailing_metadata
    else:
        raise AssertionError("the call ended without an error")
    finally:
        channel.close()


async def main():
    pb, service = stubs()
    host, port = sys.argv[1].rsplit(":", 1)
    await follows_until_the_drain(pb, service, host, int(port))
    print("ok")


asyncio.run(main())

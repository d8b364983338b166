"""A backend service's view of runlog: generated stubs, plain grpcio. Run with the server's address as the argument, and for a
server with TLS with the file of its authority as the second one."""

import importlib
import json
import pathlib
import ssl
import sys
import tempfile
import threading
import urllib.error
import urllib.request

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[3] / "proto"


def stubs():
    """Generates the stubs as a client's build would."""
    out = tempfile.mkdtemp()
    files = [str(path) for path in PROTO.glob("runlog/v1/*.proto")]
    include = str(pathlib.Path(protoc.__file__).parent / "_proto")
    arguments = ["protoc", f"-I{PROTO}", f"-I{include}", f"--python_out={out}", f"--grpc_python_out={out}", *files]
    assert protoc.main(arguments) == 0
    sys.path.insert(0, out)
    names = ["event", "payload", "run", "event_service", "run_service"]
    modules = {name: importlib.import_module(f"runlog.v1.{name}_pb2") for name in names}
    services = {name: importlib.import_module(f"runlog.v1.{name}_pb2_grpc") for name in names[3:]}
    return modules, services


def new_event(pb, kind, json_text, **fields):
    return pb["event"].NewEvent(type=kind, payload=pb["payload"].Payload(json=json_text), **fields)


def publishes_and_lists(pb, events, run_id):
    service = pb["event_service"]
    typed = pb["payload"].Payload(run_start=pb["payload"].RunStart(framework="langgraph", input_json='{"q": 1}'))
    first = pb["event"].NewEvent(event_id="a", payload=typed, agent_name="python")
    second = new_event(pb, "MyOwnEvent", '{"b": 1, "a": 12345678901234567890123}', event_id="b")
    request = service.PublishRequest(run_id=run_id, events=[first, second])
    answer = events.Publish(request)
    assert [event.seq for event in answer.events] == [1, 2], answer
    again = events.Publish(request)
    assert all(event.duplicate for event in again.events), again
    page = events.ListEvents(service.ListEventsRequest(run_id=run_id, view=pb["event"].EVENT_VIEW_FULL))
    assert [event.type for event in page.events] == ["run_start", "MyOwnEvent"], page
    assert page.events[0].payload.run_start.input_json == '{"q": 1}', page
    assert page.events[1].payload.json == '{"b": 1, "a": 12345678901234567890123}', page
    public = events.ListEvents(service.ListEventsRequest(run_id=run_id))
    assert public.events[0].redacted and not public.events[0].payload.run_start.HasField("input_json"), public


def follows_live_to_the_end(pb, events, run_id):
    service = pb["event_service"]
    frames = events.Subscribe(service.SubscribeRequest(run_id=run_id))
    seen, publisher = [], None
    for frame in frames:
        kind = frame.WhichOneof("frame")
        if kind == "events":
            seen += [event.seq for event in frame.events.events]
        elif kind == "caught_up":
            # Only now, so that what follows is delivered live.
            publisher = threading.Thread(target=publish_the_rest, args=(pb, events, run_id))
            publisher.start()
        elif kind == "run_ended":
            assert frame.run_ended.last_seq == 103, frame
    publisher.join()
    assert seen == list(range(1, 104)), seen
    resumed = events.Subscribe(service.SubscribeRequest(run_id=run_id, cursor="100"))
    kinds = [frame.WhichOneof("frame") for frame in resumed]
    assert kinds[0] == "events" and kinds[-1] == "run_ended", kinds


def publish_the_rest(pb, events, run_id):
    service = pb["event_service"]

    def requests():
        for number in range(100):
            publish = service.PublishRequest(run_id=run_id, events=[new_event(pb, "step", f'{{"n":{number}}}')])
            yield service.PublishStreamRequest(publish=publish)
        end = service.PublishRequest(run_id=run_id, events=[new_event(pb, "run_end", '{"output":42}')])
        yield service.PublishStreamRequest(publish=end)

    answers = [answer.published.events[0].seq for answer in events.PublishStream(requests())]
    assert answers == list(range(3, 104)), answers


def errors_say_what_to_do(pb, events, runs, run_id):
    service = pb["event_service"]
    other = service.PublishRequest(run_id=run_id, events=[new_event(pb, "step", "{}", event_id="a")])
    info = error_info(lambda: events.Publish(other), grpc.StatusCode.ALREADY_EXISTS)
    assert info.reason == "EVENT_ID_CONFLICT" and info.domain == "runlog" and info.metadata["seq"] == "1", info
    missing = pb["run_service"].GetRunRequest(run_id="no-such-run")
    assert error_info(lambda: runs.GetRun(missing), grpc.StatusCode.NOT_FOUND).reason == "RUN_NOT_FOUND"


def error_info(call, code):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        for detail in rpc_status.from_call(error).details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo()
                detail.Unpack(info)
                return info
    raise AssertionError("no error with an ErrorInfo")


def is_discoverable(channel):
    services = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {"runlog.v1.EventService", "runlog.v1.RunService", "grpc.health.v1.Health"} <= services, services
    health = health_pb2_grpc.HealthStub(channel)
    for name in ["", "runlog.v1.EventService", "runlog.v1.RunService"]:
        status = health.Check(health_pb2.HealthCheckRequest(service=name)).status
        assert status == health_pb2.HealthCheckResponse.SERVING, name


def open_channel(address, authority):
    if authority is None:
        return grpc.insecure_channel(address)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(pathlib.Path(authority).read_bytes()))


def reads_over_rest(address, authority, run_id):
    """The same run over REST, with an authority that is trusted and without."""
    url = f"https://{address}/v1/runs/{run_id}"
    with urllib.request.urlopen(url, context=ssl.create_default_context(cafile=authority)) as answer:
        assert run_id in json.dumps(json.load(answer))
    try:
        urllib.request.urlopen(url)
    except urllib.error.URLError as error:
        assert isinstance(error.reason, ssl.SSLCertVerificationError), error
    else:
        raise AssertionError("an authority that no one trusts was trusted")


def main():
    pb, services = stubs()
    address, authority = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    with open_channel(address, authority) as channel:
        events = services["event_service"].EventServiceStub(channel)
        runs = services["run_service"].RunServiceStub(channel)
        is_discoverable(channel)
        publishes_and_lists(pb, events, "python-run")
        publishes_and_lists(pb, events, "nächtlicher Lauf 🦀/50 % שלום")
        follows_live_to_the_end(pb, events, "python-run")
        errors_say_what_to_do(pb, events, runs, "python-run")
        run = runs.GetRun(pb["run_service"].GetRunRequest(run_id="python-run")).run
        assert run.status == pb["run"].RUN_STATUS_SUCCEEDED and run.output_json == "42", run
    if authority is not None:
        reads_over_rest(address, authority, "python-run")
    print("ok")


main()

"""The Python client of openapi-generator. Run with the server's base URL; the client is in Python's path as `openapi_client`."""

import json
import sys
import threading

from openapi_client import (
    AgentSDKApi,
    ApiClient,
    Configuration,
    IngestEvent,
    PostedStructureEvent,
    PublicNewEvent,
    PublicRunsApi,
    StructureEventBatch,
    StructureRunsApi,
)
from openapi_client.exceptions import UnprocessableEntityException

RUN = "openapi-generator-python"
api_client = ApiClient(Configuration(host=sys.argv[1]))
public_runs, agent, structures = PublicRunsApi(api_client), AgentSDKApi(api_client), StructureRunsApi(api_client)


def stream_into(received):
    received.append(public_runs.stream_public_run_events(RUN, wait=True))


# The stream is opened before the run begins.
received = []
reader = threading.Thread(target=stream_into, args=(received,))
reader.start()

first = public_runs.publish_public_run_events(RUN, [PublicNewEvent(type="step", payload={"n": 1}, event_id="first")])
assert (first.events[0].seq, first.events[0].duplicate) == (1, False), first
again = public_runs.publish_public_run_events(RUN, [PublicNewEvent(type="step", payload={"n": 1}, event_id="first")])
assert again.events[0].duplicate, again
structures.post_structure_run_events(
    RUN, StructureEventBatch(events=[PostedStructureEvent(type="step", payload={"n": 2}, timestamp=1726096542.083)])
)
ended = agent.agent_ingest([IngestEvent(event_type="run_end", sdk_run_id=RUN, payload={"output": "done"})])
assert (ended[0].seq, ended[0].run_status.value) == (3, "success"), ended

reader.join()
events = [json.loads(line[6:]) for line in received[0].splitlines() if line.startswith("data: ")]
assert [event["seq"] for event in events] == [1, 2, 3], received

page = public_runs.list_public_run_events(RUN, limit=2)
assert [event.seq for event in page.events] == [1, 2] and page.has_more, page
rest = public_runs.list_public_run_events(RUN, cursor=page.next_cursor)
assert [event.type for event in rest.events] == ["run_end"] and not rest.has_more, rest
assert public_runs.get_public_run(RUN).status.value == "succeeded"
assert structures.list_structure_run_events(RUN).events[1].timestamp == 1726096542.083
assert agent.agent_get_run(RUN).output == "done"
assert public_runs.list_public_runs(text=RUN).runs[0].id == RUN

try:
    public_runs.publish_public_run_events(RUN, [PublicNewEvent(type="step", payload=1, event_id="runlog:x")])
    raise AssertionError("a reserved id was taken")
except UnprocessableEntityException as refused:
    assert refused.data.reason_code == "invalid_field" and "event_id" in refused.data.error, refused
print("ok")

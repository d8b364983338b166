"""The client of openapi-python-client. Run with the server's base URL; the client is in Python's path as `runlog_client`."""

import json
import sys
import threading

from runlog_client import Client
from runlog_client.api.agent_sdk import agent_ingest
from runlog_client.api.public_runs import (
    get_public_run,
    list_public_run_events,
    publish_public_run_events,
    stream_public_run_events,
)
from runlog_client.api.structure_runs import list_structure_run_events, post_structure_run_events
from runlog_client.models import (
    IngestEvent,
    IngestEventPayload,
    PostedStructureEvent,
    PublicError,
    PublicNewEvent,
    PublicPublished,
    StructureEventBatch,
)

RUN = "openapi-python-client"
client = Client(base_url=sys.argv[1], raise_on_unexpected_status=True)


def publish(event):
    return publish_public_run_events.sync(RUN, client=client, body=[event])


def stream_into(received):
    received.append(stream_public_run_events.sync(RUN, client=client, wait=True))


# The stream is opened before the run begins.
received = []
reader = threading.Thread(target=stream_into, args=(received,))
reader.start()

first = publish(PublicNewEvent(type_="step", payload={"n": 1}, event_id="first"))
assert isinstance(first, PublicPublished) and first.events[0].seq == 1, first
batch = StructureEventBatch(events=[PostedStructureEvent(type_="step", payload={"n": 2}, timestamp=1726096542.083)])
assert post_structure_run_events.sync_detailed(RUN, client=client, body=batch).status_code == 202
payload = IngestEventPayload.from_dict({"output": "done"})
ended = agent_ingest.sync(client=client, body=[IngestEvent(event_type="run_end", sdk_run_id=RUN, payload=payload)])
assert (ended[0].seq, ended[0].run_status.value) == (3, "success"), ended

reader.join()
events = [json.loads(line[6:]) for line in received[0].splitlines() if line.startswith("data: ")]
assert [event["seq"] for event in events] == [1, 2, 3], received

page = list_public_run_events.sync(RUN, client=client, limit=2)
assert [event.seq for event in page.events] == [1, 2] and page.has_more, page
rest = list_public_run_events.sync(RUN, client=client, cursor=page.next_cursor)
assert [event.type_ for event in rest.events] == ["run_end"] and not rest.has_more, rest
assert get_public_run.sync(RUN, client=client).status.value == "succeeded"
assert list_structure_run_events.sync(RUN, client=client).events[1].timestamp == 1726096542.083

refused = publish(PublicNewEvent(type_="step", payload=1, event_id="runlog:x"))
assert isinstance(refused, PublicError) and refused.reason_code == "invalid_field", refused
print("ok")

"""The vendor's generated client, which types every answer, against the Griptape Cloud structure runs API. Run with the server's address or base URL.

It needs Python 3.12. Its reader of spans is left out: it takes the list of a span's events for one event, which is not what
the vendor's own driver sends.
"""

import json
import sys
import threading

import griptape_cloud_client.models as models
from griptape_cloud_client import AuthenticatedClient
from griptape_cloud_client.api.events import create_events, get_event, get_structure_run_events_sse, list_events
from griptape_cloud_client.api.structure_runs import (
    cancel_structure_run,
    create_structure_run,
    get_structure_run,
    list_structure_run_logs,
    list_structure_runs,
)

argument = sys.argv[1]
BASE = argument if "://" in argument else f"http://{argument}"
client = AuthenticatedClient(base_url=BASE, token="key", raise_on_unexpected_status=True)
RunStatus = models.StructureRunStatus


def create():
    env_vars = [
        models.EnvVar(name="REGION", value="eu", source=models.EnvVarSource.MANUAL),
        models.EnvVar(name="KEY", value="hush", source=models.EnvVarSource.SECRET_REF),
    ]
    body = models.CreateStructureRunRequestContent(args=["summarize"], env_vars=env_vars)
    run = create_structure_run.sync("generated", client=client, body=body)
    assert isinstance(run, models.CreateStructureRunResponseContent), run
    assert (run.status, run.args, run.started_at) == (RunStatus.QUEUED, ["summarize"], None), run
    assert [variable.source for variable in run.env_vars] == [variable.source for variable in env_vars], run
    assert "hush" not in str(run), run
    return run.structure_run_id


def post(run_id, kind, payload, timestamp=1726096542.083):
    event = models.EventInput(type_=kind, payload=payload, timestamp=timestamp)
    body = models.CreateEventsRequestContent(events=[event])
    answer = create_events.sync_detailed(run_id, client=client, body=body)
    assert answer.status_code == 202, answer


def a_run_is_created_read_followed_and_its_logs_are_listed():
    run_id, received = create(), []
    reader = threading.Thread(target=lambda: received.append(get_structure_run_events_sse.sync(run_id, client=client)))
    reader.start()
    post(run_id, "StructureRunRunning", {"status": "RUNNING", "started_at": "2024-09-11T23:15:47"})
    post(run_id, "FinishStructureRunEvent", {"output_task_output": {"value": "x"}})
    post(run_id, "StructureRunCompleted", {"status": "SUCCEEDED", "completed_at": "2024-09-11T23:15:50"})
    reader.join()
    lines = [line for line in received[0].splitlines() if line.startswith("data:")]
    assert [json.loads(line[5:])["type"] for line in lines][-2:] == ["FinishStructureRunEvent", "StructureRunCompleted"]
    run = get_structure_run.sync(run_id, client=client)
    assert (run.status, run.output) == (RunStatus.SUCCEEDED, {"value": "x"}), run
    assert (run.completed_at - run.started_at).total_seconds() == 3 and isinstance(run.output_timestamp, float), run
    page = list_events.sync(run_id, client=client, offset="1", limit="100")
    assert [event.timestamp for event in page.events] == [1726096542.083] * 3 and page.total_count == 4, page
    assert get_event.sync(page.events[0].event_id, client=client) is not None
    logs = list_structure_run_logs.sync(run_id, client=client).logs
    assert len(logs) == 4 and all(isinstance(line, str) for line in logs), logs


def runs_are_listed_by_status_and_cancelled():
    run_id = create()
    page = list_structure_runs.sync("generated", client=client, page=1.0, page_size=10.0, status=[RunStatus.QUEUED])
    assert [run.structure_run_id for run in page.structure_runs] == [run_id], page
    assert (page.pagination.page_number, page.pagination.total_count) == (1, 1), page
    cancelled = cancel_structure_run.sync(run_id, client=client)
    assert isinstance(cancelled, models.CancelStructureRunResponseContent) and cancelled.status == RunStatus.CANCELLED
    assert get_structure_run.sync(run_id, client=client).status == RunStatus.CANCELLED
    refused = get_structure_run.sync("nobody", client=client)
    assert isinstance(refused, models.ClientErrorResponseContent) and refused.errors, refused


a_run_is_created_read_followed_and_its_logs_are_listed()
runs_are_listed_by_status_and_cancelled()
print("ok")

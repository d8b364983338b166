"""The published Griptape drivers against the Griptape Cloud structure runs API. Run with the server's address or base URL as the argument.

The event listener driver posts what an agent's run emits, in batches; the structure run driver creates a run, follows its
stream and returns its output; both are used as they come from PyPI.
"""

import os
import sys
import threading

os.environ.setdefault("OPENAI_API_KEY", "unused")  # The framework's defaults ask for one; nothing is called.

import requests
from griptape.artifacts import ErrorArtifact, TextArtifact
from griptape.drivers.event_listener.griptape_cloud import GriptapeCloudEventListenerDriver
from griptape.drivers.structure_run.griptape_cloud import GriptapeCloudStructureRunDriver
from griptape.events import (
    EventBus,
    EventListener,
    FinishStructureRunEvent,
    StartStructureRunEvent,
    TextChunkEvent,
)
from griptape.structures import Pipeline
from griptape.tasks import CodeExecutionTask

argument = sys.argv[1]
BASE = argument if "://" in argument else f"http://{argument}"


def listener(run_id, **options):
    return GriptapeCloudEventListenerDriver(base_url=BASE, api_key="key", structure_run_id=run_id, **options)


def get(path, **params):
    response = requests.get(f"{BASE}{path}", params=params)
    response.raise_for_status()
    return response.json()


def system_event(run_id, kind, payload):
    """What the platform posts around the run's code."""
    body = {"type": kind, "timestamp": 1726096548.683578, "payload": payload}
    response = requests.post(f"{BASE}/api/structure-runs/{run_id}/events", json=body)
    assert response.status_code == 202 and response.content == b"", (response.status_code, response.content)


def emitted(value):
    """The events that an agent's run emits."""
    chunks = [TextChunkEvent(token=f"{n} ", index=n) for n in range(23)]
    finish = FinishStructureRunEvent(
        structure_id="s", output_task_input=TextArtifact("hi"), output_task_output=TextArtifact(value)
    )
    start = StartStructureRunEvent(structure_id="s", input_task_input=TextArtifact("hi"), input_task_output=None)
    return [start, *chunks, finish]


def batches_arrive_once_and_in_order():
    driver, events = listener("griptape-batches"), emitted("done")
    for event in events:
        driver.publish_event(event)
    driver.flush_events()
    stored = get("/api/structure-runs/griptape-batches/events", offset="0", limit="100")
    assert stored["total_count"] == stored["next_offset"] == len(events), stored
    # The driver hands each batch to a thread of a new pool and waits for it, so batches keep their order.
    assert [event["payload"] for event in stored["events"]] == [event.to_dict() for event in events]
    assert [event["timestamp"] for event in stored["events"]] == [event.timestamp for event in events]
    assert {event["origin"] for event in stored["events"]} == {"USER"}
    # A retry after an answer that was lost.
    driver.try_publish_event_payload_batch([event.to_dict() for event in events])
    assert get("/api/structure-runs/griptape-batches/events")["total_count"] == len(events)
    run = get("/api/structure-runs/griptape-batches")
    assert run["output"] == events[-1].to_dict()["output_task_output"], run


def single_and_custom_events_arrive():
    driver = listener("griptape-single", batched=False)
    driver.publish_event({"note": "mine"})
    driver.publish_event(TextChunkEvent(token="x"))
    events = get("/api/structure-runs/griptape-single/events")["events"]
    assert [event["type"] for event in events] == ["UserEvent", "TextChunkEvent"], events
    assert events[0]["payload"] == {"note": "mine"}


def runner(**env):
    return GriptapeCloudStructureRunDriver(base_url=BASE, api_key="key", structure_id="griptape-structure", env=env)


def newest_run():
    """The run that the other driver created, once it is there."""
    for _ in range(10_000):
        runs = get("/api/structures/griptape-structure/runs", page=1, page_size=1, status="QUEUED")["structure_runs"]
        if runs:
            return runs[0]
    raise AssertionError("no run was created")


def worked(work):
    """Runs the structure run driver while `work` plays the platform and the run's code."""
    failures = []

    def worker():
        try:
            work(newest_run())
        except Exception as failure:  # noqa: BLE001
            failures.append(failure)

    thread = threading.Thread(target=worker)
    thread.start()
    output = runner(REGION="eu", API_KEY="hush").run(TextArtifact("summarize"))
    thread.join()
    assert not failures, failures
    return output


def a_run_is_created_followed_and_returns_its_output():
    heard = []
    EventBus.add_event_listener(EventListener(heard.append))

    def work(run):
        assert run["args"] == ["summarize"] and "hush" not in str(run), run
        run_id = run["structure_run_id"]
        system_event(run_id, "StructureRunStarting", {"status": "STARTING"})
        system_event(run_id, "StructureRunRunning", {"status": "RUNNING"})
        driver = listener(run_id)
        for event in emitted("the summary"):
            driver.publish_event(event)
        driver.flush_events()
        system_event(run_id, "StructureRunCompleted", {"status": "SUCCEEDED"})

    output = worked(work)
    assert output.value == "the summary", output
    assert [event.token for event in heard if isinstance(event, TextChunkEvent)] == [f"{n} " for n in range(23)]


def a_platform_error_is_returned_as_an_error():
    def work(run):
        detail = {"status": "ERROR", "status_detail": {"error": "no worker"}}
        system_event(run["structure_run_id"], "StructureRunError", detail)

    output = worked(work)
    assert isinstance(output, ErrorArtifact) and output.value == "no worker", output


def a_pipeline_publishes_its_own_end():
    """The lines of src/transport/rest/README.md: without `--finish-ends-run` nothing else ends the run."""
    base, key, run_id = BASE, "key", "griptape-pipeline"
    pipeline = Pipeline(tasks=[CodeExecutionTask(on_run=lambda _: TextArtifact("done"))])
    EventBus.add_event_listener(EventListener(event_listener_driver=listener(run_id)))

    def completed(status, **detail):
        event = {"type": "StructureRunCompleted", "payload": {"status": status, "status_detail": detail}}
        url, headers = f"{base}/api/structure-runs/{run_id}/events", {"Authorization": f"Bearer {key}"}
        requests.post(url, json=event, headers=headers).raise_for_status()

    try:
        output = pipeline.run("hi").output
        assert get(f"/api/structure-runs/{run_id}")["status"] == "QUEUED"
        completed("FAILED" if isinstance(output, ErrorArtifact) else "SUCCEEDED")
    except Exception as failure:
        completed("FAILED", reason="Failed", message=str(failure))
        raise
    run = get(f"/api/structure-runs/{run_id}")
    assert (run["status"], run["output"]["value"]) == ("SUCCEEDED", "done"), run


batches_arrive_once_and_in_order()
single_and_custom_events_arrive()
a_run_is_created_followed_and_returns_its_output()
a_platform_error_is_returned_as_an_error()
a_pipeline_publishes_its_own_end()
print("ok")

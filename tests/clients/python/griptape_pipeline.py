"""Plain Griptape pipelines with the published driver, which no platform runs. Run with the address of a server with `--finish-ends-run on`."""

import os
import sys

os.environ.setdefault("OPENAI_API_KEY", "unused")  # The framework's defaults ask for one; nothing is called.

import requests
from griptape.artifacts import ErrorArtifact, TextArtifact
from griptape.drivers.event_listener.griptape_cloud import GriptapeCloudEventListenerDriver
from griptape.events import EventBus, EventListener
from griptape.structures import Pipeline
from griptape.tasks import CodeExecutionTask

argument = sys.argv[1]
BASE = argument if "://" in argument else f"http://{argument}"


def run_of(name, work, first=lambda _: TextArtifact("first")):
    """Runs a pipeline whose events go to the run, and returns the run after its stream has ended."""
    driver = GriptapeCloudEventListenerDriver(base_url=BASE, api_key="key", structure_run_id=name)
    listener = EventBus.add_event_listener(EventListener(event_listener_driver=driver))
    try:
        Pipeline(tasks=[CodeExecutionTask(on_run=first), CodeExecutionTask(on_run=work)]).run()
    finally:
        EventBus.remove_event_listener(listener)
    with requests.get(f"{BASE}/api/structure-runs/{name}/events/stream", stream=True, timeout=60) as stream:
        lines = [line for line in stream.iter_lines(decode_unicode=True) if line]
    assert lines[-1] == ": end" and '"StructureRunCompleted"' in lines[-2], lines[-2:]
    return requests.get(f"{BASE}/api/structure-runs/{name}").json()


def a_pipeline_ends_its_run():
    run = run_of("pipeline-done", lambda _: TextArtifact("done"))
    assert (run["status"], run["output"]["value"]) == ("SUCCEEDED", "done"), run
    assert run["completed_at"] is not None, run


def a_pipeline_whose_output_is_an_error_fails_its_run():
    run = run_of("pipeline-error", lambda _: ErrorArtifact("no model"))
    assert (run["status"], run["output"]["value"]) == ("FAILED", "no model"), run


def fails(_):
    raise ValueError("no tool")


def a_pipeline_whose_task_fails_fails_its_run():
    run = run_of("pipeline-failed", lambda _: TextArtifact("never"), first=fails)
    assert (run["status"], run["output"], run["status_detail"]["reason"]) == ("FAILED", None, "Failed"), run


a_pipeline_ends_its_run()
a_pipeline_whose_task_fails_fails_its_run()
a_pipeline_whose_output_is_an_error_fails_its_run()
print("ok")

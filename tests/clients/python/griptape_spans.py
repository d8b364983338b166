"""The published Griptape observability driver against the Griptape Cloud structure runs API. Run with the server's address or base URL as the argument.

It exports what OpenTelemetry records of an agent's run, takes every answer but 200 for a failure, and says nothing of it.
"""

import os
import sys

os.environ.setdefault("OPENAI_API_KEY", "unused")  # The framework's defaults ask for one; nothing is called.

import requests
from griptape.artifacts import TextArtifact
from griptape.common import observable
from griptape.drivers.event_listener.griptape_cloud import GriptapeCloudEventListenerDriver
from griptape.drivers.observability.griptape_cloud import GriptapeCloudObservabilityDriver
from griptape.drivers.structure_run.griptape_cloud import GriptapeCloudStructureRunDriver
from griptape.events import FinishStructureRunEvent
from griptape.observability.observability import Observability
from opentelemetry.sdk.trace.export import SpanExportResult

argument = sys.argv[1]
BASE = argument if "://" in argument else f"http://{argument}"


def spans(run_id):
    response = requests.get(f"{BASE}/api/structure-runs/{run_id}/spans")
    response.raise_for_status()
    return response.json()["spans"]


class Work:
    """Two steps, one of which fails."""

    @observable(tags=["plan"])
    def plan(self):
        return "planned"

    @observable
    def act(self):
        raise ValueError("no tool")


def record(run_id):
    """Lets the framework observe some work, exports it twice, and tells how that went."""
    driver = GriptapeCloudObservabilityDriver(base_url=BASE, api_key="key", structure_run_id=run_id)
    exporter, results = driver.span_processor.span_exporter, []
    export = type(exporter).export

    def noted(self, batch):
        # The driver's own way of asking again after an answer that was lost.
        results.extend([export(self, batch), export(self, batch)])
        return results[-1]

    type(exporter).export = noted
    with Observability(observability_driver=driver):
        work = Work()
        work.plan()
        try:
            work.act()
        except ValueError:
            pass
    driver.span_processor.shutdown()
    return results


def every_span_arrives_once():
    results = record("griptape-spans")
    assert results and set(results) == {SpanExportResult.SUCCESS}, results
    stored = {span["name"]: span for span in spans("griptape-spans")}
    assert sorted(stored) == ["Work.act()", "Work.plan()", "main"], stored
    assert len(spans("griptape-spans")) == 3
    plan, act, main = stored["Work.plan()"], stored["Work.act()"], stored["main"]
    assert plan["parent_id"] == act["parent_id"] == main["span_id"] and main["parent_id"] is None, stored
    assert (plan["status"], act["status"], plan["attributes"]) == ("OK", "ERROR", {"tags": ["plan"]}), stored
    assert {event["attributes"]["exception.message"] for event in act["events"]} == {"no tool"}, act


def a_run_with_spans_is_still_read_by_the_published_driver():
    runner = GriptapeCloudStructureRunDriver(base_url=BASE, api_key="key", structure_id="griptape-spans")

    class Platform(GriptapeCloudStructureRunDriver):
        """Plays the run's code between the creation of the run and the reading of its stream."""

        def _get_run_events(self, structure_run_id):
            assert record(structure_run_id)
            listener = GriptapeCloudEventListenerDriver(base_url=BASE, api_key="key", structure_run_id=structure_run_id)
            task = {"output_task_input": TextArtifact("hi"), "output_task_output": TextArtifact("done")}
            listener.publish_event(FinishStructureRunEvent(structure_id="s", **task))
            listener.flush_events()
            end = {"type": "StructureRunCompleted", "payload": {"status": "SUCCEEDED"}}
            requests.post(f"{BASE}/api/structure-runs/{structure_run_id}/events", json=end).raise_for_status()
            return runner._get_run_events(structure_run_id)

    platform = Platform(base_url=BASE, api_key="key", structure_id="griptape-spans")
    assert platform.run(TextArtifact("x")).value == "done"


every_span_arrives_once()
a_run_with_spans_is_still_read_by_the_published_driver()
print("ok")

"""A tracing processor for the OpenAI Agents SDK: `agents.add_trace_processor(RunlogTracingProcessor())`."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from agents.tracing import Span, Trace, TracingProcessor

from runlog import _plain
from runlog._agents_values import answer_of, arguments_of, error_of, model_of, usage_of
from runlog._fork import renew_in_children
from runlog._harmless import harmless
from runlog._run import Run, Usage
from runlog.publisher import Publisher, default_publisher

_NOT_SHOWN = {"task", "turn"}
"""Types of spans that only hold others."""
_MAX_TRACES = 10_000


@dataclass
class _Node:
    """A span that goes on, as the events name it."""

    name: str
    agent: str
    step_id: str | None
    parent_id: str | None
    raised_before: BaseException | None
    began: float = field(default_factory=time.monotonic)

    @property
    def shown_id(self) -> str | None:
        return self.step_id or self.parent_id


@dataclass
class _Trace:
    """A trace that goes on, or that waits for an approval."""

    run: Run
    raised_before: BaseException | None
    usage: Usage = field(default_factory=Usage)
    nodes: dict[str, _Node] = field(default_factory=dict)
    output: object = None
    unanswered: dict[str, tuple[str, object]] = field(default_factory=dict)
    """Tool calls of the last turn that ended without an output: they wait for an approval."""
    questions: dict[str, str] = field(default_factory=dict)
    """Tools of the questions that are open, by their ids."""
    has_ended: bool = False


class RunlogTracingProcessor(TracingProcessor):
    """Publishes each trace as one run: agents and custom spans as steps, models as steps with their text, tools as tool calls,
    handoffs and guardrails as steps. Agents that are tools, and runs inside one `trace()`, are in the same run. A tool that
    waits for an approval becomes a question, and the run goes on when the agent does.
    """

    def __init__(self, publisher: Publisher | None = None, *, agent_name: str | None = None, content: bool = True) -> None:
        """publisher: default: one for the process, with the options of the environment.

        agent_name: default: the agent of each event.
        content: False: no inputs, outputs, texts or messages of errors, only names, times and counts.

        The id of the run is `runlog_run_id` in the metadata of the trace, else the id of the trace.
        """
        self._publisher = publisher or default_publisher()
        self._agent_name = agent_name
        self._has_content = content
        self._traces: dict[str, _Trace] = {}
        self.renew_after_fork()
        renew_in_children(self)

    def renew_after_fork(self) -> None:
        """A new lock; what runs goes on in both processes."""
        self._lock = threading.RLock()

    # Traces.

    @harmless
    def on_trace_start(self, trace: Trace) -> None:
        with self._lock:
            if trace.trace_id not in self._traces:
                self._begin(trace)

    def _begin(self, trace: Trace) -> None:
        metadata = getattr(trace, "metadata", None) or {}
        run_id = str(metadata.get("runlog_run_id") or trace.trace_id)
        run = Run(self._publisher, run_id, self._agent_name or "", self._has_content)
        while len(self._traces) >= _MAX_TRACES:
            # The oldest: a trace that never ended.
            self._traces.pop(next(iter(self._traces)))
        self._traces[trace.trace_id] = _Trace(run, _raised())
        given = {name: value for name, value in metadata.items() if name != "runlog_run_id"}
        group = getattr(trace, "group_id", None)
        shown = _plain.bounded(given) if given and self._has_content else None
        run.start("openai-agents", workflow=trace.name, group_id=group, metadata=shown)

    @harmless
    def on_trace_end(self, trace: Trace) -> None:
        with self._lock:
            if known := self._traces.get(trace.trace_id):
                known.has_ended = True
                self._end(trace.trace_id, known, _raised_since(known.raised_before))

    def _end(self, trace_id: str, known: _Trace, error: BaseException | None) -> None:
        """The end of a trace, or of what followed an approval."""
        if error is None and known.unanswered:
            for question_id, (tool, arguments) in known.unanswered.items():
                known.questions[question_id] = tool
                context = {"tool": tool, "arguments": arguments}
                known.run.ask(f"Approve the call of {tool}?", context, "openai-agents", question_id)
            known.unanswered.clear()
            return
        self._traces.pop(trace_id, None)
        if error is not None:
            known.run.fail(error)
        else:
            known.run.end(known.output, known.usage)

    # Spans.

    @harmless
    def on_span_start(self, span: Span[Any]) -> None:
        with self._lock:
            if not (known := self._traces.get(span.trace_id)):
                return
            data = span.span_data
            parent = known.nodes.get(span.parent_id or "")
            agent = data.name if data.type == "agent" else getattr(data, "agent_name", None) or (parent.agent if parent else "")
            name = str(getattr(data, "name", None) or model_of(data) or data.type)
            step_id = None if data.type in _NOT_SHOWN else f"{name[:60]}-{span.span_id[-8:]}"
            node = _Node(name, agent, step_id, parent.shown_id if parent else None, _raised())
            known.nodes[span.span_id] = node
            if known.questions:
                self._answer(known, data)
            if data.type in ("turn", "agent"):
                known.unanswered.clear()
            if data.type == "function":
                known.run.tool_start(name, str(step_id), node.parent_id, arguments_of(data), agent=agent)
            elif step_id and data.type != "handoff":
                known.run.step_start(name, step_id, node.parent_id, getattr(data, "input", None), agent=agent)

    def _answer(self, known: _Trace, data: Any) -> None:
        """The agent goes on: a tool that waited is called now, and another turn shows that the rest was not approved."""
        for question_id, tool in list(known.questions.items()):
            if data.type == "function" and getattr(data, "name", None) == tool:
                known.run.answered("approved", question_id)
                del known.questions[question_id]
                return
            if data.type == "turn":
                known.run.answered("not approved", question_id)
                del known.questions[question_id]

    @harmless
    def on_span_end(self, span: Span[Any]) -> None:
        with self._lock:
            known = self._traces.get(span.trace_id)
            node = known.nodes.pop(span.span_id, None) if known else None
            if known is None or node is None:
                return
            raised = _raised_since(node.raised_before)
            error = error_of(span, raised)
            if span.span_data.type == "function":
                self._end_tool(known, node, span, error)
            elif span.span_data.type in ("generation", "response"):
                self._end_model(known, node, span.span_data, error)
            elif node.step_id:
                self._end_step(known, node, span.span_data, error)
            if known.has_ended and not known.nodes:
                # What follows an approval has no start and end of a trace.
                self._end(span.trace_id, known, raised)

    def _end_tool(self, known: _Trace, node: _Node, span: Span[Any], error: BaseException | str | None) -> None:
        data, call_id = span.span_data, str(node.step_id)
        arguments = arguments_of(data)
        if data.input is not None and data.output is None and error is None:
            known.unanswered[call_id] = (node.name, arguments)
        seconds = time.monotonic() - node.began
        known.run.tool_end(node.name, call_id, node.parent_id, seconds, data.output, error, agent=node.agent, input=arguments)

    def _end_model(self, known: _Trace, node: _Node, data: Any, error: BaseException | str | None) -> None:
        text, calls = answer_of(data)
        model, step_id = model_of(data), str(node.step_id)
        known.usage.add(*usage_of(data), model)
        if text:
            known.output = text
            known.run.text_done(step_id, node.parent_id, text, agent=node.agent)
        seconds = time.monotonic() - node.began
        known.run.step_end(
            node.name, step_id, node.parent_id, seconds, calls or None, error, agent=node.agent, model=model or None
        )

    def _end_step(self, known: _Trace, node: _Node, data: Any, error: BaseException | str | None) -> None:
        name, extra = node.name, {}
        if data.type == "handoff":
            name = f"handoff to {data.to_agent}"
            extra = {"from_agent": data.from_agent, "to_agent": data.to_agent}
        elif data.type == "guardrail":
            extra = {"triggered": data.triggered}
        output = data.data if data.type == "custom" else getattr(data, "output", None)
        seconds = time.monotonic() - node.began
        known.run.step_end(name, str(node.step_id), node.parent_id, seconds, output, error, agent=node.agent, **extra)

    def shutdown(self, timeout: float | None = None) -> None:
        """Sends what waits. The publisher stays open: others may use it."""
        self._publisher.flush(timeout)

    def force_flush(self) -> None:
        """Sends what waits."""
        self._publisher.flush()


def _raised() -> BaseException | None:
    """The exception that is being handled: at the end of a span or trace the one that ends it."""
    return sys.exc_info()[1]


def _raised_since(before: BaseException | None) -> BaseException | None:
    """The same, without one that was already being handled when the span or trace began."""
    now = _raised()
    return None if now is before or isinstance(now, GeneratorExit) else now

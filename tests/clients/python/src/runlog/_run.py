"""Events of one run, in the types that runlog knows: see the event types of the agent SDK in proto/README.md."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

from runlog import _plain
from runlog.publisher import Publisher
from runlog.v1 import payload_pb2 as pb

_MAX_TEXT = 200_000
"""Characters of the text of a model in one event."""
_MAX_MESSAGE = 4_000
_MAX_TRACEBACK = 16_000


@dataclass
class Usage:
    """Tokens of a run so far."""

    prompt: int = 0
    completion: int = 0
    total: int = 0
    model: str = ""

    def add(self, prompt: object, completion: object, total: object = None, model: str = "") -> None:
        """Adds what a call reports; what is not a count is left out."""
        prompt, completion = _count(prompt), _count(completion)
        self.prompt += prompt
        self.completion += completion
        self.total += _count(total) or prompt + completion
        self.model = model or self.model


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


class Run:
    """Publishes the events of one run. All of them are of origin USER, so a key with `events.publish` is enough."""

    def __init__(self, publisher: Publisher, run_id: str, agent_name: str, has_content: bool) -> None:
        self._publisher = publisher
        self._agent_name = agent_name
        self._has_content = has_content
        self.run_id = run_id

    def _publish(self, type: str, payload: Any, essential: bool = False, agent: str = "", **extra: Any) -> None:
        members = {name: value for name, value in extra.items() if value is not None}
        agent_name = self._agent_name or agent
        self._publisher.publish(self.run_id, type, payload, extra=members, agent_name=agent_name[:200], essential=essential)

    def _json(self, value: object) -> str | None:
        return _plain.bounded_json(value) if self._has_content and value is not None else None

    def _text(self, value: object, max_chars: int = _MAX_MESSAGE) -> str | None:
        return _plain.text(value, max_chars) if self._has_content else None

    def start(self, framework: str, input: object = None, **extra: Any) -> None:
        """The run begins."""
        self._publish("run_start", pb.RunStart(framework=framework, input_json=self._json(input)), True, **extra)

    def end(self, output: object, usage: Usage) -> None:
        """The run has succeeded."""
        payload = pb.RunEnd(output_json=self._json(output))
        if usage.total:
            payload.prompt_tokens, payload.completion_tokens = usage.prompt, usage.completion
            payload.total_tokens = usage.total
        if usage.model:
            payload.model = _plain.text(usage.model[:200])
        self._publish("run_end", payload, True)

    def fail(self, error: BaseException) -> None:
        """The run has failed."""
        payload = pb.RunError(error_type=type(error).__name__, error_message=self._text(error))
        if self._has_content:
            lines = "".join(traceback.format_exception(error))
            payload.traceback = _plain.text(lines[-_MAX_TRACEBACK:])
        self._publish("error", payload, True)

    def step_start(self, name: str, step_id: str, parent_id: str | None, input: object = None, agent: str = "") -> None:
        """A step begins."""
        payload = pb.Step(node_name=_plain.text(name), phase="start", input_json=self._json(input))
        self._publish("step", payload, agent=agent, step_id=step_id, parent_id=parent_id)

    def step_end(
        self,
        name: str,
        step_id: str,
        parent_id: str | None,
        seconds: float,
        output: object = None,
        error: BaseException | str | None = None,
        agent: str = "",
        **extra: Any,
    ) -> None:
        """A step has ended."""
        payload = pb.Step(
            node_name=_plain.text(name), phase="end", duration_ms=_millis(seconds), output_json=self._json(output)
        )
        self._publish("step", payload, agent=agent, step_id=step_id, parent_id=parent_id, error=self._error(error), **extra)

    def tool_start(self, name: str, call_id: str, parent_id: str | None, input: object = None, agent: str = "") -> None:
        """A tool is called. The server stores a preview of the input with masked secrets."""
        payload = pb.ToolCall(tool_name=_plain.text(name), phase="start", input_json=self._json(input))
        self._publish("tool_call", payload, agent=agent, tool_call_id=call_id, parent_id=parent_id)

    def tool_end(
        self,
        name: str,
        call_id: str,
        parent_id: str | None,
        seconds: float,
        output: object = None,
        error: BaseException | str | None = None,
        agent: str = "",
        input: object = None,
    ) -> None:
        """A tool has answered or failed."""
        if error is not None and output is None:
            output = self._error(error)
        payload = pb.ToolCall(
            tool_name=_plain.text(name),
            phase="end",
            duration_ms=_millis(seconds),
            input_json=self._json(input),
            output_json=self._json(output),
        )
        failure = self._error(error)
        self._publish("tool_call", payload, agent=agent, tool_call_id=call_id, parent_id=parent_id, error=failure)

    def text_delta(self, task_id: str, text: str) -> None:
        """The next part of the text of a model."""
        if self._has_content:
            payload = pb.StepProgress(task_id=task_id, kind="content_delta", content_delta=_plain.text(text))
            self._publish("step.progress", payload)

    def text_done(self, task_id: str, parent_id: str | None, text: str, succeeded: bool = True, agent: str = "") -> None:
        """The whole text of a model, or what there is of it."""
        payload = pb.StepDone(task_id=task_id, content=self._text(text, _MAX_TEXT))
        if succeeded:
            payload.outcome = "succeeded"
        self._publish("step.done", payload, agent=agent, parent_id=parent_id)

    def ask(self, question: str, context: object, channel: str, question_id: str) -> None:
        """The run waits for a human."""
        payload = pb.HumanInputRequested(
            question=self._text(question) or "(not recorded)", context_json=self._json(context), channel=channel
        )
        self._publish("human_input_requested", payload, True, question_id=question_id)

    def answered(self, response: object, question_id: str | None) -> None:
        """A human has answered."""
        text = response if isinstance(response, str) else _plain.bounded_json(response)
        payload = pb.HumanInputReceived(response=self._text(text))
        self._publish("human_input_received", payload, True, question_id=question_id)

    def custom(self, name: str, data: object) -> None:
        """An event that the agent's own code sends through its framework."""
        self._publish("custom", {"name": name, "data": _plain.bounded(data) if self._has_content else None})

    def _error(self, error: BaseException | str | None) -> dict[str, Any] | None:
        if error is None:
            return None
        name = type(error).__name__ if isinstance(error, BaseException) else "error"
        return {"error_type": name, "error_message": self._text(error)}


def _millis(seconds: float) -> float:
    return round(seconds * 1_000, 3)

"""A callback handler for LangChain and LangGraph: `config={"callbacks": [RunlogCallbackHandler()]}`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import LLMResult

from runlog._deltas import Deltas
from runlog._fork import renew_in_children
from runlog._harmless import harmless
from runlog._langchain_runs import Breakpoint, Runs
from runlog._langchain_values import (
    first_message,
    interrupts_of,
    model_of,
    name_of,
    short_id,
    text_of,
    usage_of,
)
from runlog.publisher import Publisher, default_publisher

if TYPE_CHECKING:
    _Handler = BaseCallbackHandler
else:
    try:
        # LangGraph calls on_interrupt of such handlers only.
        from langgraph.callbacks import GraphCallbackHandler as _Handler
    except ImportError:
        _Handler = BaseCallbackHandler

_NOT_SHOWN = {"LangGraph", "RunnableSequence"}
"""Names of wrappers whose inner parts are shown."""


class RunlogCallbackHandler(_Handler):
    """Publishes each outermost call of a chain, graph, model or tool as one run, with all that is called inside it.

    Chains and nodes become steps, tools tool calls, models steps with their text. A LangGraph interrupt becomes a question,
    and the run goes on when the graph is resumed on the same thread. One handler serves any number of concurrent runs.
    """

    # Callbacks are called in their order, also by asynchronous code.
    run_inline = True
    raise_error = False

    def __init__(
        self,
        publisher: Publisher | None = None,
        *,
        run_id: str | None = None,
        agent_name: str | None = None,
        content: bool = True,
        delta_chars: int = 400,
        delta_seconds: float = 0.25,
    ) -> None:
        """publisher: default: one for the process, with the options of the environment.

        run_id: id of the run in runlog, for a handler that is used for one run. Default: `runlog_run_id` in the metadata of
        the call, else the id that LangChain gives to the outermost call.
        agent_name: default: the name of the outermost chain.
        content: False: no inputs, outputs, texts or messages of errors, only names, times and counts.
        delta_chars, delta_seconds: tokens are published in parts of this length, or after this time.
        """
        super().__init__()
        self._delta_bounds = (delta_chars, delta_seconds)
        self._runs = Runs(publisher or default_publisher(), run_id, agent_name, content)
        self.renew_after_fork()
        renew_in_children(self)

    def renew_after_fork(self) -> None:
        """A new lock; what runs goes on in both processes."""
        self._lock = threading.RLock()

    # Chains and graphs.

    @harmless
    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        with self._lock:
            name = name_of(serialized, kwargs, "chain")
            # The outermost chain is the run itself.
            is_inner = self._runs.is_inner(parent_run_id)
            is_shown = is_inner and name not in _NOT_SHOWN and "langsmith:hidden" not in (tags or ())
            node = self._runs.enter(run_id, parent_run_id, name, inputs, metadata, is_shown)
            if node and node.step_id:
                node.root.run.step_start(name, node.step_id, node.parent_id, inputs)

    @harmless
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end_step(run_id, outputs)

    def _end_step(self, run_id: UUID, output: object) -> None:
        with self._lock:
            if node := self._runs.leave(run_id):
                if node.step_id:
                    node.root.run.step_end(node.name, node.step_id, node.parent_id, node.seconds, output)
                if node.is_root:
                    self._runs.end(node, output)

    @harmless
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._fail_step(run_id, error)

    def _fail_step(self, run_id: UUID, error: BaseException) -> None:
        with self._lock:
            node = self._runs.leave(run_id)
            if node is None:
                return
            interrupts = interrupts_of(error)
            if node.step_id:
                failure = error if interrupts is None else None
                waits = True if interrupts else None
                node.root.run.step_end(node.name, node.step_id, node.parent_id, node.seconds, error=failure, interrupted=waits)
            self._runs.fail(node, error)

    @harmless
    def on_interrupt(self, event: Any) -> None:
        """LangGraph: the graph pauses."""
        with self._lock:
            if node := self._runs.get(event.run_id):
                self._runs.ask(node.root, event.interrupts)
                if not node.root.open_questions:
                    # A breakpoint of the graph, which asks nothing.
                    question = {"question": "Continue?", "status": event.status}
                    self._runs.ask(node.root, [Breakpoint(question, event.checkpoint_id)])

    # Tools and retrievers.

    @harmless
    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        with self._lock:
            name = name_of(serialized, kwargs, "tool")
            given = inputs if inputs is not None else input_str
            if node := self._runs.enter(run_id, parent_run_id, name, given, metadata):
                node.root.run.tool_start(name, short_id(name, run_id), node.parent_id, given)

    @harmless
    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        with self._lock:
            if node := self._runs.leave(run_id):
                content = getattr(output, "content", output)
                node.root.run.tool_end(node.name, str(node.step_id), node.parent_id, node.seconds, content)
                if node.is_root:
                    self._runs.end(node, content)

    @harmless
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        with self._lock:
            if node := self._runs.leave(run_id):
                interrupts = interrupts_of(error)
                failure = error if interrupts is None else "interrupted" if interrupts else None
                node.root.run.tool_end(node.name, str(node.step_id), node.parent_id, node.seconds, error=failure)
                self._runs.fail(node, error)

    @harmless
    def on_retriever_start(
        self,
        serialized: dict[str, Any],
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        with self._lock:
            name = name_of(serialized, kwargs, "retriever")
            if node := self._runs.enter(run_id, parent_run_id, name, query, metadata):
                node.root.run.step_start(name, str(node.step_id), node.parent_id, query)

    @harmless
    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        texts = [{"text": document.page_content, "metadata": document.metadata} for document in documents]
        self._end_step(run_id, texts)

    @harmless
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._fail_step(run_id, error)

    # Models.

    def _enter_model(
        self,
        serialized: dict[str, Any],
        prompts: object,
        run_id: UUID,
        parent_run_id: UUID | None,
        kwargs: dict[str, Any],
    ) -> None:
        with self._lock:
            name = model_of(serialized, kwargs)
            node = self._runs.enter(run_id, parent_run_id, name, prompts, kwargs.get("metadata"))
            if node is None:
                return
            run, task_id = node.root.run, str(node.step_id)
            node.deltas = Deltas(lambda text: run.text_delta(task_id, text), *self._delta_bounds)
            run.step_start(name, task_id, node.parent_id, prompts)

    @harmless
    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[Any]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        prompts: object = messages[0] if len(messages) == 1 else messages
        self._enter_model(serialized, prompts, run_id, parent_run_id, kwargs)

    @harmless
    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        self._enter_model(serialized, prompts, run_id, parent_run_id, kwargs)

    @harmless
    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._add(run_id, text_of(token), "tokens")

    @harmless
    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        delta = event.get("delta") if event.get("event") == "content-block-delta" else None
        if delta and delta.get("type") == "text-delta":
            self._add(run_id, delta.get("text") or "", "events")

    def _add(self, run_id: UUID, text: str, source: Any) -> None:
        """Adds to the text of a model; one that reports it twice, as tokens and as events, is read once."""
        with self._lock:
            node = self._runs.get(run_id)
            if node and node.deltas and text and node.deltas_from in (None, source):
                node.deltas_from = source
                node.deltas.add(text)

    @harmless
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        with self._lock:
            node = self._runs.leave(run_id)
            if node is None:
                return
            text, message = first_message(response)
            for prompt, completion, total in usage_of(response):
                node.root.usage.add(prompt, completion, total, node.name)
            run, step_id, calls = node.root.run, str(node.step_id), getattr(message, "tool_calls", None)
            if text:
                run.text_done(step_id, node.parent_id, text)
            called = [{"tool": call.get("name"), "args": call.get("args")} for call in calls] if calls else None
            run.step_end(node.name, step_id, node.parent_id, node.seconds, called)
            if node.is_root:
                self._runs.end(node, text or called)

    @harmless
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        with self._lock:
            node = self._runs.get(run_id)
            if node and node.deltas and node.deltas.text:
                node.deltas.flush()
                node.root.run.text_done(str(node.step_id), node.parent_id, node.deltas.text, succeeded=False)
        self._fail_step(run_id, error)

    # The agent's own events.

    @harmless
    def on_custom_event(self, name: str, data: Any, *, run_id: UUID, **kwargs: Any) -> None:
        with self._lock:
            if node := self._runs.get(run_id):
                node.root.run.custom(name, data)

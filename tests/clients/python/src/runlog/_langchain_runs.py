"""What the LangChain handler keeps of runs that go on: each callback names its own id and that of its parent, and the root of
these ids is the run."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from runlog._deltas import Deltas
from runlog._langchain_values import interrupts_of, question_of, short_id
from runlog._run import Run, Usage
from runlog.publisher import Publisher

_MAX_PAUSED = 1_000
_MAX_NODES = 50_000
_MAX_ENDED = 10_000


@dataclass
class Root:
    """A run, from its first callback to its last."""

    run: Run
    thread_id: str | None
    usage: Usage = field(default_factory=Usage)
    nodes: set[UUID] = field(default_factory=set)
    open_questions: dict[str, None] = field(default_factory=dict)
    """Ids of the questions that are asked and not answered, in their order."""
    has_ended: bool = False


@dataclass(slots=True)
class Node:
    """A chain, a model, a tool or a retriever that runs."""

    root: Root
    name: str
    is_root: bool
    step_id: str | None
    """Id in the events; None for one that is not shown."""
    parent_id: str | None
    """Id of the nearest one around it that is shown."""
    began: float = field(default_factory=time.monotonic)
    deltas: Deltas | None = None
    deltas_from: Literal["tokens", "events"] | None = None

    @property
    def seconds(self) -> float:
        """Time since its start."""
        return time.monotonic() - self.began

    @property
    def shown_id(self) -> str | None:
        """The id that those inside it name as their parent."""
        return self.step_id or self.parent_id


@dataclass
class Breakpoint:
    """A pause of a graph that asks nothing, in the shape of an interrupt."""

    value: object
    id: str


class Runs:
    """The runs of a handler. The caller holds a lock."""

    def __init__(self, publisher: Publisher, run_id: str | None, agent_name: str | None, has_content: bool) -> None:
        self._publisher = publisher
        self._run_id = run_id
        self._agent_name = agent_name
        self._has_content = has_content
        # The oldest of them are forgotten: a node that was left behind has no end.
        self._nodes: OrderedDict[UUID, Node] = OrderedDict()
        # What is called inside a node that has ended belongs to its run all the same; the oldest are forgotten.
        self._ended: OrderedDict[UUID, Node] = OrderedDict()
        # Runs that wait for a human, by the thread of their checkpoints; the oldest are forgotten.
        self._paused: OrderedDict[str, Root] = OrderedDict()

    def get(self, run_id: UUID | None) -> Node | None:
        """A node that runs."""
        return self._nodes.get(run_id) if run_id else None

    def is_inner(self, parent_run_id: UUID | None) -> bool:
        """Whether what has this parent is inside a run."""
        return self._parent(parent_run_id) is not None

    def _parent(self, parent_run_id: UUID | None) -> Node | None:
        return self.get(parent_run_id) or (self._ended.get(parent_run_id) if parent_run_id else None)

    def enter(
        self,
        run_id: UUID,
        parent_run_id: UUID | None,
        name: str,
        inputs: object,
        metadata: dict[str, Any] | None,
        is_shown: bool = True,
    ) -> Node | None:
        """Begins a node, and with an outermost one its run; None for one that a run has left behind when it ended."""
        parent = self._parent(parent_run_id)
        root = parent.root if parent else self._begin(run_id, name, inputs, metadata)
        step_id = short_id(name, run_id) if is_shown else None
        node = Node(root, name, parent is None, step_id, parent.shown_id if parent else None)
        if root.has_ended:
            self._keep_ended(run_id, node)
            return None
        self._nodes[run_id] = node
        root.nodes.add(run_id)
        while len(self._nodes) > _MAX_NODES:
            oldest, forgotten = self._nodes.popitem(last=False)
            forgotten.root.nodes.discard(oldest)
            self._keep_ended(oldest, forgotten)
        return node

    def _keep_ended(self, run_id: UUID, node: Node) -> None:
        node.deltas = None
        self._ended[run_id] = node
        while len(self._ended) > _MAX_ENDED:
            self._ended.popitem(last=False)

    def leave(self, run_id: UUID) -> Node | None:
        """Ends a node; None for one that is not known, such as one that was left behind by its run."""
        node = self._nodes.pop(run_id, None)
        if node is None:
            return None
        if node.deltas:
            node.deltas.flush()
        self._keep_ended(run_id, node)
        node.root.nodes.discard(run_id)
        if node.is_root:
            node.root.has_ended = True
            # What was cancelled has no end of its own, and what goes on has no run.
            for inner in node.root.nodes:
                if left := self._nodes.pop(inner, None):
                    self._keep_ended(inner, left)
            node.root.nodes.clear()
        return node

    def ask(self, root: Root, interrupts: Sequence[Any]) -> None:
        """Asks the questions of interrupts, each once, however many graphs it passes through."""
        for interrupt in interrupts:
            question, context, question_id = question_of(interrupt)
            if question_id not in root.open_questions:
                root.open_questions[question_id] = None
                root.run.ask(question, context, "langgraph", question_id)

    def end(self, node: Node, output: object) -> None:
        """Ends the run of an outermost node, unless it waits for an answer."""
        root = node.root
        if not root.open_questions:
            root.run.end(output, root.usage)
        elif root.thread_id is not None:
            self._paused[root.thread_id] = root
            while len(self._paused) > _MAX_PAUSED:
                self._paused.popitem(last=False)

    def fail(self, node: Node, error: BaseException) -> None:
        """Asks the questions of an interrupt; ends the run of an outermost node, by its error if it is one."""
        interrupts = interrupts_of(error)
        self.ask(node.root, interrupts or ())
        if node.is_root and interrupts is None:
            node.root.run.fail(error)
        elif node.is_root:
            self.end(node, None)

    def _begin(self, run_id: UUID, name: str, inputs: object, metadata: dict[str, Any] | None) -> Root:
        """The run of an outermost node: a new one, or one that waited for an answer."""
        given = self._run_id or (metadata or {}).get("runlog_run_id")
        thread_id = thread_of(metadata)
        paused = self._paused.pop(thread_id, None) if thread_id is not None else None
        is_resumed, answer = resume_of(inputs)
        if is_resumed and paused and (given is None or str(given) == paused.run.run_id):
            self._answer(paused, answer)
            paused.has_ended = False
            return paused
        run = Run(self._publisher, str(given or run_id), self._agent_name or name, self._has_content)
        if is_resumed and given is not None and answer is not None:
            # Resumed by another process than the one that asked: the answer closes the oldest question.
            run.answered(answer, None)
        else:
            is_graph = name == "LangGraph" or (metadata or {}).get("ls_integration") == "langgraph"
            run.start("langgraph" if is_graph else "langchain", inputs, thread_id=thread_id)
        return Root(run, thread_id)

    def _answer(self, root: Root, answer: Any) -> None:
        questions, root.open_questions = list(root.open_questions), {}
        for question in questions:
            response = answer[question] if isinstance(answer, Mapping) and question in answer else answer
            root.run.answered("continue" if response is None else response, question)


def thread_of(metadata: dict[str, Any] | None) -> str | None:
    """The thread of the checkpoints of a LangGraph run."""
    thread_id = (metadata or {}).get("thread_id")
    return None if thread_id is None else str(thread_id)


def resume_of(inputs: object) -> tuple[bool, Any]:
    """Whether this input resumes a graph, and with which answer."""
    if inputs is None:
        return True, None
    if type(inputs).__name__ == "Command" and getattr(inputs, "resume", None) is not None:
        return True, inputs.resume  # type: ignore[attr-defined]
    return False, None

"""LangChain and LangGraph as they come from PyPI, with fake models, through the callback handler. The server is killed and
started again while a graph runs. Run with the program as the argument."""

import asyncio
import json
import multiprocessing
import sys
import threading
from typing import Annotated, TypedDict
from uuid import uuid4

from langchain_core.callbacks import adispatch_custom_event
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel, RootModel, model_serializer

from runlog import _langchain_runs, default_publisher
from runlog._deltas import Deltas
from runlog.langchain import RunlogCallbackHandler
from runlog.publisher import _default
from served import GUARD, Recording, Said, Server, eventually, parents_are_known

ANSWER = "An acknowledged event is on the disk, whatever happens next. " * 20
USAGE = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}


def last(_, new):
    return new


class State(TypedDict, total=False):
    topic: Annotated[str, last]
    text: Annotated[str, last]


@tool
def search(query: str) -> str:
    """Searches."""
    return f"found {query}"


@tool
def broken(query: str) -> str:
    """Fails."""
    raise RuntimeError(f"no answer to {query}")


def graph_over(server):
    """A graph with another one inside, a tool, a model that streams, a question, and a server that dies meanwhile."""
    model = GenericFakeChatModel(messages=iter([AIMessage(ANSWER)]))
    planner = GenericFakeChatModel(messages=iter([AIMessage("a plan", usage_metadata=USAGE)]))

    def plan(state):
        server.kill()
        planner.invoke(state["topic"])
        return {"text": search.invoke({"query": state["topic"]})}

    def write(state):
        return {"text": "".join(chunk.content for chunk in model.stream(state["text"]))}

    def revive(state):
        server.start()
        return {}

    def approve(state):
        answer = interrupt({"question": "Publish it?", "length": len(state["text"])})
        return {"text": f"{answer}: {state['topic']}"}

    inner = StateGraph(State)
    inner.add_node("write", write)
    inner.add_node("revive", revive)
    inner.add_node("approve", approve)
    inner.add_edge(START, "write")
    inner.add_edge("write", "revive")
    inner.add_edge("revive", "approve")
    inner.add_edge("approve", END)
    outer = StateGraph(State)
    outer.add_node("plan", plan)
    outer.add_node("editor", inner.compile())
    outer.add_edge(START, "plan")
    outer.add_edge("plan", "editor")
    outer.add_edge("editor", END)
    return outer.compile(checkpointer=InMemorySaver())


def a_graph_is_one_run_over_a_killed_server_an_interrupt_and_its_answer(server):
    publisher = Recording(server)
    graph = graph_over(server)
    config = {
        "callbacks": [RunlogCallbackHandler(publisher, agent_name="editor-in-chief")],
        "configurable": {"thread_id": "thread"},
        "metadata": {"runlog_run_id": "graph"},
    }
    paused = graph.invoke({"topic": "logs"}, config)
    assert "__interrupt__" in paused, paused
    publisher.is_all_stored(server)
    run, status = server.state("graph")
    assert status == "AWAITING_INPUT" and run.agent_name == "editor-in-chief", run
    assert run.pending_input.question == "Publish it?" and run.pending_input_count == 1, run
    assert '"length"' in run.pending_input.context_json, run

    result = graph.invoke(Command(resume="yes"), config)
    assert result["text"] == "yes: logs", result
    publisher.is_all_stored(server)
    run, status = server.state("graph")
    assert status == "SUCCEEDED" and not run.pending_input_count, run
    assert (run.usage.prompt_tokens, run.usage.completion_tokens, run.usage.total_tokens) == (11, 7, 18), run.usage
    assert '"yes: logs"' in run.output_json, run.output_json

    events = server.events("graph")
    parents_are_known(events)
    kinds = [kind for _, kind, _ in events]
    assert kinds[0] == "run_start" and kinds[-1] == "run_end" and kinds.count("run_start") == 1, kinds
    assert kinds.count("human_input_requested") == kinds.count("human_input_received") == 1, kinds
    steps = [(payload["node_name"], payload["phase"]) for _, kind, payload in events if kind == "step"]
    before = [
        "plan",
        "GenericFakeChatModel",
        "editor",
        "write",
        "GenericFakeChatModel",
        "revive",
        "approve",
        "editor",
        "approve",
    ]
    assert [name for name, phase in steps if phase == "start"] == before, steps
    assert len([phase for _, phase in steps if phase == "end"]) == len(before), steps
    tools = [payload for _, kind, payload in events if kind == "tool_call"]
    assert [(payload["tool_name"], payload["phase"]) for payload in tools] == [("search", "start"), ("search", "end")], tools
    assert "logs" in tools[0]["input_preview"] and "found logs" in tools[1]["output_preview"], tools
    deltas = [payload["content_delta"] for _, kind, payload in events if kind == "step.progress"]
    assert "".join(deltas) == ANSWER and 1 < len(deltas) < len(ANSWER.split()) / 4, deltas
    assert [payload["content"] for _, kind, payload in events if kind == "step.done"] == ["a plan", ANSWER], events
    assert publisher.ids.keys() == {"graph"}, publisher.ids.keys()


def an_interrupted_run_is_found_by_its_thread(server):
    publisher = Recording(server)

    def ask(state):
        return {"text": interrupt("How many?")}

    builder = StateGraph(State)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    graph = builder.compile(checkpointer=InMemorySaver())
    # A handler for each call, as a service has it, would not know the other's question; one for all of them does.
    config = {"callbacks": [RunlogCallbackHandler(publisher)], "configurable": {"thread_id": "other"}}
    graph.invoke({"topic": "x"}, config)
    assert graph.invoke(Command(resume="3"), config)["text"] == "3"
    publisher.is_all_stored(server)
    (run_id,) = publisher.ids
    assert server.state(run_id)[1] == "SUCCEEDED"
    answer = [payload for _, kind, payload in server.events(run_id) if kind == "human_input_received"]
    assert [payload["response"] for payload in answer] == ["3"], answer


def a_breakpoint_is_a_question_too(server):
    publisher = Recording(server)
    builder = StateGraph(State)
    builder.add_node("act", lambda state: {"text": "done"})
    builder.add_edge(START, "act")
    graph = builder.compile(checkpointer=InMemorySaver(), interrupt_before=["act"])
    config = {"callbacks": [RunlogCallbackHandler(publisher, run_id="breakpoint")], "configurable": {"thread_id": "b"}}
    graph.invoke({"topic": "x"}, config)
    publisher.is_all_stored(server)
    assert server.state("breakpoint")[1] == "AWAITING_INPUT"
    assert graph.invoke(None, config)["text"] == "done"
    publisher.is_all_stored(server)
    assert server.state("breakpoint")[1] == "SUCCEEDED"


def errors_fail_the_run_and_reach_the_caller_unchanged(server):
    publisher = Recording(server)
    builder = StateGraph(State)
    builder.add_node("act", lambda state: {"text": broken.invoke({"query": state["topic"]})})
    builder.add_edge(START, "act")
    config = {"callbacks": [RunlogCallbackHandler(publisher, run_id="broken")]}
    try:
        builder.compile().invoke({"topic": "x"}, config)
    except RuntimeError as error:
        assert str(error) == "no answer to x", error
    else:
        raise AssertionError("the error of the tool is lost")
    publisher.is_all_stored(server)
    run, status = server.state("broken")
    assert status == "FAILED" and '"RuntimeError"' in run.error_json and "Traceback" in run.error_json, run
    ends = [payload for _, _, payload in server.events("broken") if payload.get("phase") == "end"]
    assert [payload["error"]["error_type"] for payload in ends] == ["RuntimeError"] * 2, ends


def a_branch_that_outlives_its_run_makes_no_other_run(server):
    publisher = Recording(server)
    handler = RunlogCallbackHandler(publisher)
    has_failed, may_go, branches = threading.Event(), threading.Event(), []

    def branch(_, config):
        assert may_go.wait(GUARD)
        # Inside a node of a run that has ended.
        model = GenericFakeChatModel(messages=iter([AIMessage("Too late.")]))
        inner = RunnableLambda(lambda value: search.invoke({"query": value}, config), name="inner")
        return (inner | model).invoke("x", config)

    def split(_, config):
        branches.append(threading.Thread(target=RunnableLambda(branch, name="branch").invoke, args=("x", config)))
        branches[0].start()
        eventually("the branch", lambda: len(handler._runs._nodes) == 2)
        raise RuntimeError("no")

    def root(value, config):
        return RunnableLambda(lambda _, config: after(config), name="late").invoke(value, config)

    def after(config):
        # The node has ended when this one begins, and its run goes on.
        ended = RunnableLambda(lambda _, config: configs.append(config), name="ended")
        ended.invoke("x", config)
        return RunnableLambda(lambda _: 1, name="child").invoke("x", configs[0])

    configs = []
    try:
        RunnableLambda(split, name="split").invoke("x", {"callbacks": [handler], "metadata": {"runlog_run_id": "split"}})
    except RuntimeError:
        has_failed.set()
    may_go.set()
    branches[0].join()
    RunnableLambda(root, name="root").invoke("x", {"callbacks": [handler], "metadata": {"runlog_run_id": "joined"}})
    publisher.is_all_stored(server)
    assert has_failed.is_set() and publisher.ids.keys() == {"split", "joined"}, publisher.ids.keys()
    kinds = [(kind, payload.get("node_name"), payload.get("phase")) for _, kind, payload in server.events("split")]
    assert kinds == [("run_start", None, None), ("step", "branch", "start"), ("error", None, None)], kinds
    events = server.events("joined")
    parents_are_known(events)
    assert "child" in [payload.get("node_name") for _, _, payload in events], events
    assert not handler._runs._nodes, handler._runs._nodes


def nodes_without_an_end_are_forgotten(server):
    publisher = Recording(server)
    handler = RunlogCallbackHandler(publisher, run_id="endless")
    bounds = _langchain_runs._MAX_NODES, _langchain_runs._MAX_ENDED
    _langchain_runs._MAX_NODES, _langchain_runs._MAX_ENDED = 10, 5
    try:
        root = uuid4()
        handler.on_chain_start({}, {}, run_id=root, name="root")
        nodes = [uuid4() for _ in range(100)]
        for node in nodes:
            handler.on_chain_start({}, {}, run_id=node, parent_run_id=root, name="node")
        assert (len(handler._runs._nodes), len(handler._runs._ended)) == (10, 5)
    finally:
        _langchain_runs._MAX_NODES, _langchain_runs._MAX_ENDED = bounds
    publisher.is_all_stored(server)


def an_output_that_cannot_be_json_ends_the_run_all_the_same(server):
    publisher = Recording(server)

    class Wordless:
        def __str__(self):
            raise RuntimeError("no words")

    class WordlessError(Exception):
        __str__ = Wordless.__str__

    class Broken(BaseModel):
        @model_serializer
        def dump(self):
            raise RuntimeError("no members")

    class Changing(dict):
        def items(self):
            raise RuntimeError("dictionary changed size during iteration")

    def fails(_):
        raise WordlessError

    odd = [RootModel[list[int]]([1, 2]), Wordless(), Broken(), Changing(a=1), {Wordless(): 1}, 10**5_000]
    for run_id, output in [("odd", odd), ("odder", RootModel[list[int]]([1, 2])), ("oddest", Wordless())]:
        callbacks = [RunlogCallbackHandler(publisher, run_id=run_id)]
        RunnableLambda(lambda _, output=output: output).invoke("x", {"callbacks": callbacks})
    try:
        RunnableLambda(fails, name="fails").invoke("x", {"callbacks": [RunlogCallbackHandler(publisher, run_id="wordless")]})
    except WordlessError:
        publisher.is_all_stored(server)
    outputs = [json.loads(server.state(run_id)[0].output_json) for run_id in ("odd", "odder", "oddest")]
    odd = [[1, 2], "(Wordless)", "(Broken)", "(Changing)", {"(Wordless)": 1}, "(int)"]
    assert outputs == [odd, [1, 2], "(Wordless)"], outputs
    run, status = server.state("wordless")
    assert status == "FAILED" and "(WordlessError)" in run.error_json, run


def concurrent_chains_are_runs_of_their_own_in_order(server):
    publisher = Recording(server)
    handler = RunlogCallbackHandler(publisher, delta_chars=40)

    async def chain(number):
        async def report(value):
            await adispatch_custom_event("progress", {"number": number})
            return value

        model = GenericFakeChatModel(messages=iter([AIMessage(ANSWER)]))
        parts = ChatPromptTemplate.from_template("Write about {topic}") | model | report
        config = {"callbacks": [handler], "metadata": {"runlog_run_id": f"chain-{number}"}}
        return [part async for part in parts.astream({"topic": number}, config)]

    async def all_chains():
        return await asyncio.gather(*(chain(number) for number in range(8)))

    assert len(asyncio.run(all_chains())) == 8
    publisher.is_all_stored(server)
    assert publisher.ids.keys() == {f"chain-{number}" for number in range(8)}, publisher.ids.keys()
    for number in range(8):
        events = server.events(f"chain-{number}")
        parents_are_known(events)
        deltas = [payload["content_delta"] for _, kind, payload in events if kind == "step.progress"]
        assert "".join(deltas) == ANSWER, deltas
        custom = [payload for _, kind, payload in events if kind == "custom"]
        assert custom == [{"name": "progress", "data": {"number": number}}], custom
        assert server.state(f"chain-{number}")[1] == "SUCCEEDED"


def tokens_are_published_after_a_while_though_no_more_come(server):
    publisher = Recording(server)

    class Slow(GenericFakeChatModel):
        def _stream(self, *arguments, **options):
            for chunk in super()._stream(*arguments, **options):
                yield chunk
                if "first" in chunk.message.content:
                    # The model pauses; its first words are to be read meanwhile.
                    seen.append(waits_for("first"))

    def waits_for(text):
        for _ in range(GUARD * 20):
            publisher.flush(GUARD)
            if any(text in payload.get("content_delta", "") for _, _, payload in server.events("slow")):
                return True
        return False

    seen = []
    model = Slow(messages=iter([AIMessage("first second")]))
    callbacks = [RunlogCallbackHandler(publisher, run_id="slow", delta_chars=10_000, delta_seconds=0.05)]
    list(model.stream("x", {"callbacks": callbacks}))
    assert seen == [True], seen
    publisher.is_all_stored(server)


def without_content_only_names_and_counts_are_published(server):
    publisher = Recording(server)
    model = GenericFakeChatModel(messages=iter([AIMessage("secret answer", usage_metadata=USAGE)]))
    chain = ChatPromptTemplate.from_template("secret {topic}") | model
    chain.invoke({"topic": "secret"}, {"callbacks": [RunlogCallbackHandler(publisher, run_id="quiet", content=False)]})
    publisher.is_all_stored(server)
    assert "secret" not in str(server.events("quiet")), server.events("quiet")
    run, status = server.state("quiet")
    assert status == "SUCCEEDED" and run.usage.total_tokens == 18, run


def a_fork_in_the_middle_of_a_callback_does_not_stop_the_child(server):
    publisher = Recording(server)
    handler = RunlogCallbackHandler(publisher, run_id="forked")
    is_held, may_go, handed_on = threading.Event(), threading.Event(), []

    deltas = Deltas(handed_on.append, 100, GUARD)
    deltas.add("of the parent")

    def callback():
        with handler._lock, deltas._lock, _default.lock:
            is_held.set()
            may_go.wait(GUARD)

    def child():
        deltas.add("of the child")
        assert deltas._timer.is_alive(), "nothing hands on what waits"
        deltas.flush()
        assert handed_on == ["of the child"], handed_on
        default_publisher()
        GenericFakeChatModel(messages=iter([AIMessage("Yes.")])).invoke("?", {"callbacks": [handler]})

    thread = threading.Thread(target=callback)
    thread.start()
    is_held.wait(GUARD)
    process = multiprocessing.get_context("fork").Process(target=child, daemon=True)
    process.start()
    process.join(GUARD)
    may_go.set()
    thread.join()
    deltas.flush()
    assert handed_on == ["of the parent"], handed_on
    assert process.exitcode == 0, process.exitcode
    assert server.state("forked")[1] == "SUCCEEDED"


def main():
    said, server = Said(), Server(sys.argv[1])
    # First, since a fork is safe only before the library has been used.
    a_fork_in_the_middle_of_a_callback_does_not_stop_the_child(server)
    a_graph_is_one_run_over_a_killed_server_an_interrupt_and_its_answer(server)
    an_interrupted_run_is_found_by_its_thread(server)
    a_breakpoint_is_a_question_too(server)
    errors_fail_the_run_and_reach_the_caller_unchanged(server)
    an_output_that_cannot_be_json_ends_the_run_all_the_same(server)
    a_branch_that_outlives_its_run_makes_no_other_run(server)
    nodes_without_an_end_are_forgotten(server)
    concurrent_chains_are_runs_of_their_own_in_order(server)
    tokens_are_published_after_a_while_though_no_more_come(server)
    without_content_only_names_and_counts_are_published(server)
    said.none_about_faults()
    server.kill()
    print("ok")


main()

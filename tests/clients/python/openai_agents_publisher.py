"""The OpenAI Agents SDK as it comes from PyPI, with a fake model, through the tracing processor. The server is killed and
started again while agents run. Run with the program as the argument."""

import asyncio
import sys

from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    Runner,
    function_tool,
    generation_span,
    input_guardrail,
    set_trace_processors,
    trace,
)
from agents.testing import ScriptedModel, assistant_message, function_call

from runlog.openai_agents import RunlogTracingProcessor
from served import Recording, Said, Server, parents_are_known


class Traced(ScriptedModel):
    """A scripted model that traces its calls as the models of the SDK do."""

    async def get_response(self, system_instructions, input, *arguments, **options):
        with generation_span(input=[{"role": "user", "content": str(input)}], model="fake-1") as span:
            response = await super().get_response(system_instructions, input, *arguments, **options)
            span.span_data.output = [item.model_dump() for item in response.output]
            span.span_data.usage = {"input_tokens": 5, "output_tokens": 3}
            return response


def agent(name, *answers, **options):
    return Agent(name=name, model=Traced(list(answers)), **options)


def a_trace_is_one_run_over_a_killed_server_nested_agents_and_a_handoff(server):
    publisher = Recording(server)
    set_trace_processors([RunlogTracingProcessor(publisher)])

    @function_tool
    def look_up(order: str) -> str:
        server.kill()
        return f"order {order} is paid"

    @function_tool
    def refund(order: str) -> str:
        server.start()
        return f"refunded {order}"

    expert = agent("expert", [assistant_message("It may be refunded.")])
    billing = agent(
        "billing", [function_call("refund", {"order": "17"}, call_id="c4")], [assistant_message("Done.")], tools=[refund]
    )
    triage = agent(
        "triage",
        [function_call("look_up", {"order": "17"}, call_id="c1")],
        [function_call("ask_expert", {"input": "May it?"}, call_id="c2")],
        [function_call("transfer_to_billing", {}, call_id="c3")],
        tools=[look_up, expert.as_tool("ask_expert", "Asks an expert.")],
        handoffs=[billing],
    )
    with trace("refunds", group_id="customer-1", metadata={"runlog_run_id": "agents", "tier": "gold"}):
        result = asyncio.run(Runner.run(triage, "Refund 17"))
    assert result.final_output == "Done.", result
    publisher.is_all_stored(server)
    assert publisher.ids.keys() == {"agents"}, publisher.ids.keys()

    run, status = server.state("agents")
    assert status == "SUCCEEDED" and run.output_json == '"Done."' and run.agent_name == "triage", run
    # Six answers of models.
    assert (run.usage.prompt_tokens, run.usage.completion_tokens, run.usage.model) == (30, 18, "fake-1"), run.usage
    events = server.events("agents")
    parents_are_known(events)
    start = events[0][2]
    assert start["workflow"] == "refunds" and start["group_id"] == "customer-1" and start["metadata"] == {"tier": "gold"}, start
    steps = [payload["node_name"] for _, kind, payload in events if kind == "step" and payload["phase"] == "end"]
    assert [name for name in steps if name != "fake-1"] == ["expert", "handoff to billing", "triage", "billing"], steps
    assert steps.count("fake-1") == 6, steps
    tools = [(payload["tool_name"], payload["phase"]) for _, kind, payload in events if kind == "tool_call"]
    expected = [(name, phase) for name in ("look_up", "ask_expert", "refund") for phase in ("start", "end")]
    assert tools == expected, tools
    outputs = [payload.get("output_preview", "") for _, kind, payload in events if kind == "tool_call"]
    assert "order 17 is paid" in outputs[1] and "It may be refunded." in outputs[3], outputs
    texts = [payload["content"] for _, kind, payload in events if kind == "step.done"]
    assert texts == ["It may be refunded.", "Done."], texts


def errors_fail_the_run_and_reach_the_caller_unchanged(server):
    publisher = Recording(server)
    set_trace_processors([RunlogTracingProcessor(publisher)])
    try:
        # An exception that is being handled outside is not that of the run.
        try:
            raise KeyError("outside")
        except KeyError:
            fine = asyncio.run(Runner.run(agent("fine", [assistant_message("Yes.")]), "?"))
            assert fine.final_output == "Yes.", fine
            asyncio.run(Runner.run(agent("broken", ValueError("the model broke")), "?"))
    except ValueError as error:
        assert str(error) == "the model broke", error
    else:
        raise AssertionError("the error of the model is lost")
    publisher.is_all_stored(server)
    good, bad = publisher.ids
    assert server.state(good)[1] == "SUCCEEDED", server.events(good)
    run, status = server.state(bad)
    assert status == "FAILED" and '"ValueError"' in run.error_json and "the model broke" in run.error_json, run


def a_guardrail_that_trips_fails_the_run(server):
    publisher = Recording(server)
    set_trace_processors([RunlogTracingProcessor(publisher)])

    @input_guardrail(run_in_parallel=False)
    def polite(context, agent, input):
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    guarded = agent("guarded", [assistant_message("never")], input_guardrails=[polite])
    try:
        asyncio.run(Runner.run(guarded, "?"))
    except InputGuardrailTripwireTriggered:
        pass
    else:
        raise AssertionError("the guardrail does not trip")
    publisher.is_all_stored(server)
    (run_id,) = publisher.ids
    assert server.state(run_id)[1] == "FAILED"
    (end,) = [payload for _, _, payload in server.events(run_id) if payload.get("triggered") is not None]
    assert end["node_name"] == "polite" and end["triggered"] is True, end


def a_tool_that_waits_for_an_approval_is_a_question(server):
    publisher = Recording(server)
    set_trace_processors([RunlogTracingProcessor(publisher)])

    @function_tool(needs_approval=True)
    def deploy(target: str) -> str:
        return f"deployed to {target}"

    careful = agent(
        "careful", [function_call("deploy", {"target": "prod"}, call_id="c1")], [assistant_message("Done.")], tools=[deploy]
    )
    waiting = asyncio.run(Runner.run(careful, "Deploy"))
    (interruption,) = waiting.interruptions
    publisher.is_all_stored(server)
    (run_id,) = publisher.ids
    run, status = server.state(run_id)
    assert status == "AWAITING_INPUT" and run.pending_input.question == "Approve the call of deploy?", run
    assert '"prod"' in run.pending_input.context_json, run
    state = waiting.to_state()
    state.approve(interruption)
    assert asyncio.run(Runner.run(careful, state)).final_output == "Done."
    publisher.is_all_stored(server)
    run, status = server.state(run_id)
    assert status == "SUCCEEDED" and not run.pending_input_count and run.output_json == '"Done."', run
    assert publisher.ids.keys() == {run_id}


def a_dead_server_neither_stops_nor_slows_agents(server):
    publisher = Recording(server, queue_events=10)
    server.kill()
    set_trace_processors([RunlogTracingProcessor(publisher)])
    for _ in range(20):
        assert asyncio.run(Runner.run(agent("alone", [assistant_message("Yes.")]), "?")).final_output == "Yes."
    assert publisher.dropped > 50 and publisher.pending <= 12, (publisher.dropped, publisher.pending)
    publisher.close(0)


def main():
    said, server = Said(), Server(sys.argv[1])
    a_trace_is_one_run_over_a_killed_server_nested_agents_and_a_handoff(server)
    errors_fail_the_run_and_reach_the_caller_unchanged(server)
    a_guardrail_that_trips_fails_the_run(server)
    a_tool_that_waits_for_an_approval_is_a_question(server)
    said.none_about_faults()
    a_dead_server_neither_stops_nor_slows_agents(server)
    print("ok")


main()

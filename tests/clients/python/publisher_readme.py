"""The Python blocks of the README, as they stand. Run with the program as the argument."""

import os
import re
import sys
from pathlib import Path
from typing import TypedDict

from agents import Agent
from agents.testing import ScriptedModel, assistant_message
from langgraph.graph import END, START, StateGraph

from runlog import default_publisher
from served import GUARD, Said, Server

README = Path(__file__).with_name("README.md")


class State(TypedDict):
    topic: str


def graph():
    builder = StateGraph(State)
    builder.add_node("think", lambda state: {"topic": state["topic"].upper()})
    builder.add_edge(START, "think")
    builder.add_edge("think", END)
    return builder.compile()


def main():
    said, server = Said(), Server(sys.argv[1])
    os.environ["RUNLOG_SERVER"] = f"http://{server.address}"
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5, len(blocks)
    agent = Agent(name="refunder", model=ScriptedModel([[assistant_message("Done.")]]))
    names = {"graph": graph(), "agent": agent}
    for block in blocks:
        exec(block.replace("http://127.0.0.1:7800", os.environ["RUNLOG_SERVER"]), names)
    assert default_publisher().flush(GUARD)
    runs = server.run_ids()
    assert {"hello", "order-17", "order-18"} < runs and len(runs) == 4, runs
    for run_id in runs:
        assert server.state(run_id)[1] == "SUCCEEDED", server.events(run_id)
    said.none_about_faults()
    server.kill()
    print("ok")


main()

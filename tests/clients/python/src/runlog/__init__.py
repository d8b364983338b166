"""Publishes the runs of agents to a runlog server, without blocking or breaking the agent.

`Publisher` is the core. `runlog.langchain` and `runlog.openai_agents` are handlers of frameworks on top of it, and
`runlog.v1` has the generated messages and services.
"""

from runlog.publisher import Publisher, default_publisher

__all__ = ["Publisher", "default_publisher"]

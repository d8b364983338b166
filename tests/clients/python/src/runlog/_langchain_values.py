"""Reads names, texts and counts out of what LangChain hands to callbacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from langchain_core.outputs import LLMResult


def short_id(name: str, run_id: UUID) -> str:
    """An id that people can read, unique in a run."""
    return f"{name[:60]}-{run_id.hex[-8:]}"


def name_of(serialized: Mapping[str, Any] | None, kwargs: Mapping[str, Any], otherwise: str) -> str:
    """The name of a chain, tool or retriever."""
    given = kwargs.get("name") or (serialized or {}).get("name")
    if not given and (path := (serialized or {}).get("id")):
        given = path[-1]
    return str(given or otherwise)


def model_of(serialized: Mapping[str, Any] | None, kwargs: Mapping[str, Any]) -> str:
    """The name of a model."""
    metadata, parameters = kwargs.get("metadata") or {}, kwargs.get("invocation_params") or {}
    given = metadata.get("ls_model_name") or parameters.get("model") or parameters.get("model_name")
    return str(given or name_of(serialized, {}, "model"))


def text_of(content: object) -> str:
    """The text in the content of a message: a text, or a list of blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [block if isinstance(block, str) else block.get("text", "") for block in content if _is_text(block)]
    return "".join(text for text in texts if isinstance(text, str))


def _is_text(block: object) -> bool:
    return isinstance(block, str) or (isinstance(block, Mapping) and block.get("type", "text") == "text")


def first_message(response: LLMResult) -> tuple[str, Any]:
    """The text and the message that a model has answered; for a model without messages None."""
    for generation in (generation for row in response.generations for generation in row):
        message = getattr(generation, "message", None)
        return (text_of(message.content) if message is not None else generation.text), message
    return "", None


def usage_of(response: LLMResult) -> Iterator[tuple[object, object, object]]:
    """Tokens of the prompt, of the completion, and of both, as the model reports them."""
    reported = False
    for generation in (generation for row in response.generations for generation in row):
        usage = getattr(getattr(generation, "message", None), "usage_metadata", None)
        if usage:
            reported = True
            yield usage.get("input_tokens"), usage.get("output_tokens"), usage.get("total_tokens")
    usage = (response.llm_output or {}).get("token_usage")
    if isinstance(usage, Mapping) and not reported:
        yield usage.get("prompt_tokens"), usage.get("completion_tokens"), usage.get("total_tokens")


def interrupts_of(error: object) -> list[Any] | None:
    """The interrupts of a LangGraph exception, none of another one that only steers the graph; None for a real error."""
    names = {base.__name__ for base in type(error).__mro__}
    if "GraphInterrupt" in names:
        args = getattr(error, "args", ())
        return list(args[0]) if args and isinstance(args[0], (list, tuple)) else []
    return [] if "GraphBubbleUp" in names else None


def question_of(interrupt: Any) -> tuple[str, object, str]:
    """Question, context and id of an interrupt."""
    value = getattr(interrupt, "value", interrupt)
    interrupt_id = str(getattr(interrupt, "id", None) or getattr(interrupt, "interrupt_id", ""))
    if isinstance(value, str):
        return value, None, interrupt_id
    if isinstance(value, Mapping):
        for name in ("question", "message", "description", "prompt"):
            if isinstance(value.get(name), str):
                return value[name], {key: member for key, member in value.items() if key != name} or None, interrupt_id
    return "The graph waits for an answer.", value, interrupt_id

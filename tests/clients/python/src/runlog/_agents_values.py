"""Reads texts, names and counts out of the spans of the OpenAI Agents SDK."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def answer_of(data: Any) -> tuple[str, list[Any]]:
    """The text and the tool calls that a model has answered, from the data of a generation or response span."""
    response = getattr(data, "response", None)
    return _read(response.output if response is not None else getattr(data, "output", None) or [])


def _read(items: Any) -> tuple[str, list[Any]]:
    texts: list[str] = []
    calls: list[Any] = []
    for item in items:
        members = item if isinstance(item, Mapping) else _dump(item)
        if isinstance(inner := members.get("output"), list):
            # A whole response, as streamed chat completions have it.
            text, called = _read(inner)
            texts.append(text)
            calls += called
        if isinstance(content := members.get("content"), str):
            texts.append(content)
        elif isinstance(content, list):
            texts += [str(part.get("text") or "") for part in content if isinstance(part, Mapping)]
        if members.get("type") == "function_call":
            calls.append({"tool": members.get("name"), "args": _parsed(members.get("arguments"))})
        for call in members.get("tool_calls") or []:
            function = call.get("function") or {}
            calls.append({"tool": function.get("name"), "args": _parsed(function.get("arguments"))})
    return "".join(texts), calls


def _dump(item: Any) -> Mapping[str, Any]:
    dumped = item.model_dump() if hasattr(item, "model_dump") else None
    return dumped if isinstance(dumped, Mapping) else {}


def _parsed(text: object) -> object:
    """Arguments are JSON texts, as a model writes them."""
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return text


def arguments_of(data: Any) -> object:
    """The arguments of a tool call."""
    return _parsed(getattr(data, "input", None))


def model_of(data: Any) -> str:
    """The name of the model of a generation or response span, once it is known."""
    name = getattr(data, "model", None) or getattr(getattr(data, "response", None), "model", None)
    return str(name or "")


def usage_of(data: Any) -> tuple[object, object, object]:
    """Tokens of the prompt, of the completion, and of both."""
    usage = getattr(data, "usage", None) or getattr(getattr(data, "response", None), "usage", None) or {}
    members = usage if isinstance(usage, Mapping) else _dump(usage)
    return (
        members.get("input_tokens", members.get("prompt_tokens")),
        members.get("output_tokens", members.get("completion_tokens")),
        members.get("total_tokens"),
    )


def error_of(span: Any, raised: BaseException | None) -> BaseException | str | None:
    """The error of a span: the exception that ends it, else what the SDK says of it."""
    if raised is not None:
        return raised
    error = span.error
    if not error:
        return None
    data = error.get("data") or {}
    return f"{error.get('message')}: {data['error']}" if data.get("error") else str(error.get("message"))

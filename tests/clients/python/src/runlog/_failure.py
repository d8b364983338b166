"""What a failed call means: try again, or let the events go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2


class Next(Enum):
    """What to do after a failure."""

    RETRY = "retry"
    """Again, as often as it takes: nothing is wrong with the events. With their ids a repeat is stored once."""
    RETRY_FEW = "retry a few times"
    """Again, but not for ever: the events themselves may be the cause."""
    REFUSED = "refused"
    """The server will not take one of these events."""
    REFUSED_ALL = "refused all"
    """The server takes none of these events, since the cause is not in them."""


@dataclass(frozen=True)
class Failure:
    """A failed call."""

    next: Next
    message: str
    delay: float | None = None
    """Seconds that the server asks to wait."""
    index: int | None = None
    """The event that is refused, where the server names it."""
    is_late: bool = False
    """Whether the call was not done in time."""


_RETRIED = {
    grpc.StatusCode.UNAVAILABLE,  # also OUTCOME_UNKNOWN: the same ids make it safe
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_RETRIED_FEW = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
_REFUSED_ALL = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED}
_SCOPE_OF_SOME = "events.publish_system"
"""The scope that some events need and others do not."""
_EVENT = re.compile(r"events\[(\d+)\]")
_TOO_LARGE = "REQUEST_TOO_LARGE"
_TIMEOUT = "REQUEST_TIMEOUT"


def failure_of(error: Exception, has_key_file: bool) -> Failure:
    """The meaning of an exception of a call. A refused key that comes from a file may be replaced by the next try."""
    if not isinstance(error, grpc.RpcError):
        # A file of the credentials is not there or not readable, or the channel cannot be opened.
        return Failure(Next.RETRY, f"{type(error).__name__}: {error}")
    call: Any = error
    code, reason, delay = call.code(), "", None
    metadata: Mapping[str, str] = {}
    for detail in _details(call):
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            reason, metadata = info.reason, info.metadata
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            delay = retry.retry_delay.ToTimedelta().total_seconds()
    message = f"{code.name}{f' ({reason})' if reason else ''}: {call.details()}"
    if code == grpc.StatusCode.UNAUTHENTICATED and has_key_file:
        return Failure(Next.RETRY, message, delay)
    if reason == _TOO_LARGE:
        return Failure(Next.REFUSED, message)
    if code in _RETRIED:
        is_late = code == grpc.StatusCode.DEADLINE_EXCEEDED or reason == _TIMEOUT
        return Failure(Next.RETRY, message, delay, is_late=is_late)
    field = metadata.get("field", "")
    is_of_all = code in _REFUSED_ALL and metadata.get("scope") != _SCOPE_OF_SOME
    if is_of_all or (field and not field.startswith("events")):
        return Failure(Next.REFUSED_ALL, message)
    named = _EVENT.match(field)
    index = int(named[1]) if named else None
    return Failure(Next.RETRY_FEW if code in _RETRIED_FEW else Next.REFUSED, message, delay, index)


def _details(call: Any) -> list[Any]:
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return list(status_pb2.Status.FromString(value).details)
    return []

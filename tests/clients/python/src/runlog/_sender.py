"""Sends batches until the server has them, refuses them, or the time is over."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from runlog._connection import Connection
from runlog._failure import Failure, Next, failure_of
from runlog._queue import Queue, Queued
from runlog.v1 import event_service_pb2

logger = logging.getLogger("runlog")

_FIRST_DELAY = 0.1
_MAX_DELAY = 5.0
_FEW = 5
"""Tries of events that may be the cause of the failure themselves."""
_LATE = 2
"""Calls in a row that are not done in time before fewer events are sent at once."""
_REPORT_INTERVAL = 30.0
"""Seconds between two reports of the same kind in the log."""


class Sender:
    """The sending side of a publisher. One thread at a time uses it."""

    def __init__(self, connection: Connection, queue: Queue, timeout: float, drop: Callable[[int, str], None]) -> None:
        self._connection = connection
        self._queue = queue
        self._timeout = timeout
        self._count_drop = drop
        self._reported = float("-inf")
        self._is_failing = False
        self.published = 0
        self.settled = 0
        """Events of the batch that is being sent which are stored or dropped."""

    def send(self, batch: list[Queued]) -> None:
        """Sends the events of all runs of a batch, those of one run in their order. Raises nothing."""
        runs: dict[str, list[Queued]] = {}
        for queued in batch:
            runs.setdefault(queued.run_id, []).append(queued)
        for run_id, events in runs.items():
            self._send_run(run_id, events)

    def _send_run(self, run_id: str, events: list[Queued], few: int = _FEW, late: int = 0) -> None:
        """Sends events of one run; gives up those that fail `few` times and may be the cause of it.

        late: how many calls in a row were not done in time."""
        tries = 0
        while events:
            request = event_service_pb2.PublishRequest(run_id=run_id, events=[queued.event for queued in events])
            left = self._queue.time_left()
            if left is not None and left <= 0:
                return self._drop(len(events), "not sent before the end of the program")
            failure = self._try(request, self._timeout if left is None else min(self._timeout, left))
            if failure is None:
                return None
            tries += 1
            late = late + 1 if failure.is_late else 0
            if late >= _LATE and len(events) > 1:
                # Events that are stored already keep their ids, so this is safe. A half that is late too is divided at once.
                self._report(failure)
                middle = len(events) // 2
                self._send_run(run_id, events[:middle], few, _LATE - 1)
                return self._send_run(run_id, events[middle:], few, _LATE - 1)
            if failure.index is not None and failure.index < len(events):
                self._refuse(events[failure.index], failure)
                events = events[: failure.index] + events[failure.index + 1 :]
                continue
            if failure.next is Next.REFUSED_ALL:
                return self._drop(len(events), f"refused by the server, {failure.message}")
            if failure.next is Next.REFUSED or (failure.next is Next.RETRY_FEW and tries >= few):
                return self._search(run_id, events, failure)
            self._report(failure)
            delay = min(_MAX_DELAY, _FIRST_DELAY * 2.0 ** min(tries - 1, 10)) * random.uniform(0.5, 1.0)
            self._queue.pause(max(delay, min(failure.delay or 0.0, 60.0)))
        return None

    def _try(self, request: event_service_pb2.PublishRequest, timeout: float) -> Failure | None:
        try:
            self._connection.publish(request, timeout)
        except Exception as error:
            # Whatever it is, the agent goes on.
            return failure_of(error, self._connection.credentials.key_file is not None)
        self.published += len(request.events)
        self.settled += len(request.events)
        if self._is_failing:
            self._is_failing = False
            logger.warning("events are sent again to %s", self._connection.address.target)
        return None

    def _search(self, run_id: str, events: list[Queued], failure: Failure) -> None:
        """Finds the events of a batch that the server does not take and does not name, so that the others are stored."""
        if len(events) > 1:
            middle = len(events) // 2
            self._send_run(run_id, events[:middle], few=1)
            self._send_run(run_id, events[middle:], few=1)
        else:
            self._refuse(events[0], failure)

    def _refuse(self, queued: Queued, failure: Failure) -> None:
        logger.debug("refused event of type %s in run %s", queued.event.type, queued.run_id)
        self._drop(1, f"refused by the server, {failure.message}")

    def _drop(self, count: int, reason: str) -> None:
        self._count_drop(count, reason)
        self.settled += count

    def _report(self, failure: Failure) -> None:
        self._is_failing = True
        if time.monotonic() - self._reported >= _REPORT_INTERVAL:
            self._reported = time.monotonic()
            logger.warning("cannot send events to %s, will retry: %s", self._connection.address.target, failure.message)

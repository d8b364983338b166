"""Events that wait to be sent, with bounds."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from runlog.v1 import event_pb2


@dataclass(frozen=True)
class Queued:
    """An event that waits. It has its id, so that sending it twice stores it once."""

    run_id: str
    event: event_pb2.NewEvent
    size: int


class Queue:
    """A bounded queue with one reader. Events that the reader has taken count until they are `done`.

    The lock is re-entrant: a finalizer or a signal handler may publish at any moment, in a thread that holds it. So a number is
    changed only after all calls that its new value needs.
    """

    def __init__(self, max_events: int, max_bytes: int, lock: threading.RLock) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._reserve = (max(2, max_events // 10), max_bytes // 10)
        self._changed = threading.Condition(lock)
        self._waiting: deque[Queued] = deque()
        self._events = 0
        self._bytes = 0
        self._deadline: float | None = None
        self._is_given_up = False

    def offer(self, events: list[Queued], is_essential: bool) -> bool:
        """Adds all of these events or none. Essential ones may take up to a tenth more than the bounds."""
        with self._changed:
            more_events, more_bytes = self._reserve if is_essential else (0, 0)
            count, size = len(events), sum(queued.size for queued in events)
            if self._deadline is not None or self._events + count > self._max_events + more_events:
                return False
            if self._bytes + size > self._max_bytes + more_bytes:
                return False
            self._waiting.extend(events)
            self._events += count
            self._bytes += size
            self._changed.notify_all()
            return True

    def take(self, max_events: int, max_bytes: int, linger: float) -> list[Queued]:
        """Waits for events, then for `linger` seconds for more of them; empty once the queue is closed and empty."""
        with self._changed:
            while not self._waiting:
                if self._deadline is not None:
                    return []
                self._changed.wait()
            end = time.monotonic() + linger
            while self._deadline is None and len(self._waiting) < max_events:
                left = end - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            taken: list[Queued] = []
            size = 0
            while self._waiting and len(taken) < max_events:
                size += self._waiting[0].size
                if taken and size > max_bytes:
                    break
                taken.append(self._waiting.popleft())
            return taken

    def done(self, events: list[Queued]) -> None:
        """Frees the room of events that were taken."""
        count, size = len(events), sum(queued.size for queued in events)
        with self._changed:
            if not self._is_given_up:
                self._events -= count
                self._bytes -= size
            self._changed.notify_all()

    def wait_until_empty(self, timeout: float) -> bool:
        """Waits until nothing waits and nothing is being sent; false after the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: self._events == 0, timeout)

    def close(self, timeout: float) -> None:
        """Takes no more events; what waits may still be sent within the timeout."""
        with self._changed:
            if self._deadline is None:
                self._deadline = time.monotonic() + timeout
            self._changed.notify_all()

    def give_up(self) -> int:
        """Lets go of all that waits or has been taken, once it is closed; returns the number of these events."""
        with self._changed:
            self._is_given_up = True
            given_up, self._events, self._bytes = self._events, 0, 0
            self._waiting.clear()
            self._changed.notify_all()
            return given_up

    def time_left(self) -> float | None:
        """Seconds until what waits is given up; None while the queue is open."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    def pause(self, seconds: float) -> None:
        """Waits before a retry; the close of the queue ends the pause."""
        end = time.monotonic() + seconds
        with self._changed:
            was_open = self._deadline is None
            while (left := end - time.monotonic()) > 0:
                if self._deadline is not None:
                    if was_open:
                        return
                    left = min(left, self._deadline - time.monotonic())
                    if left <= 0:
                        return
                self._changed.wait(left)

    def __len__(self) -> int:
        return self._events

"""Parts of a text that a model writes, joined into fewer and larger ones."""

from __future__ import annotations

import threading
from collections.abc import Callable

from runlog._fork import renew_in_children


class Deltas:
    """Collects the tokens of one call of a model. Hands them on once they are many, or the first has waited long enough."""

    def __init__(self, hand_on: Callable[[str], None], max_chars: int, max_seconds: float) -> None:
        self._hand_on = hand_on
        self._max_chars = max_chars
        self._max_seconds = max_seconds
        self.text = ""
        """All tokens so far."""
        self.renew_after_fork()
        renew_in_children(self)

    def renew_after_fork(self) -> None:
        """The parts that wait and their timer belong to the parent."""
        # Held while parts are handed on, so that they stay in order.
        self._lock = threading.RLock()
        self._parts: list[str] = []
        self._timer: threading.Timer | None = None

    def add(self, token: str) -> None:
        """Adds a token."""
        with self._lock:
            self._parts.append(token)
            self.text += token
            if sum(map(len, self._parts)) >= self._max_chars:
                self.flush()
            elif self._timer is None:
                self._start_timer()

    def _start_timer(self) -> None:
        timer = threading.Timer(self._max_seconds, self.flush)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:
            # The interpreter is ending: the parts wait for the next token or the end of the call.
            return
        self._timer = timer

    def flush(self) -> None:
        """Hands on what there is."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._parts:
                parts = "".join(self._parts)
                self._parts.clear()
                self._hand_on(parts)

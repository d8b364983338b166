"""Callbacks that cannot break the agent."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec

logger = logging.getLogger("runlog")
P = ParamSpec("P")


def harmless(callback: Callable[P, None]) -> Callable[P, None]:
    """A callback of a framework that logs its own faults in place of raising them."""

    @functools.wraps(callback)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except Exception:
            logger.warning("%s failed; the agent goes on", callback.__qualname__, exc_info=True)

    return wrapped

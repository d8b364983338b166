"""Processes that are forked: a lock that another thread held at that moment is never released in the child."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Renewed(Protocol):
    """What has state that a child must not take over."""

    def renew_after_fork(self) -> None:
        """Called in the child, before anything else."""


_all: weakref.WeakSet[Renewed] = weakref.WeakSet()


def renew_in_children(owner: Renewed) -> None:
    """Renews the owner in each child, as long as it is in use."""
    _all.add(owner)


def _renew_all() -> None:
    for owner in list(_all):
        owner.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)

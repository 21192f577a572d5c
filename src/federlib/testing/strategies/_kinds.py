"""From a class to its strategy."""

from __future__ import annotations

from typing import TypeVar, cast

from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.testing.strategies import (
    _causal,
    _dmn,
    _fencing,
    _fleet,
    _lease,
    _policies,
    _roles,
    _runs,
    _schedules,
    _storage,
    _swim,
    _tasks,
    _transport,
    _vivaldi,
)

__all__ = ["known_kinds", "of"]

_T = TypeVar("_T")

_STRATEGIES: dict[type, st.SearchStrategy[object]] = {
    **_storage.STRATEGIES,
    **_lease.STRATEGIES,
    **_causal.STRATEGIES,
    **_dmn.STRATEGIES,
    **_fencing.STRATEGIES,
    **_fleet.STRATEGIES,
    **_policies.STRATEGIES,
    **_tasks.STRATEGIES,
    **_roles.STRATEGIES,
    **_runs.STRATEGIES,
    **_schedules.STRATEGIES,
    **_swim.STRATEGIES,
    **_transport.STRATEGIES,
    **_vivaldi.STRATEGIES,
}


def of(kind: type[_T]) -> st.SearchStrategy[_T]:
    """Generate legal values of a record or value class of federlib.

    Args:
        kind: The class; `known_kinds` lists them.
    Raises:
        InvalidInput: There is no strategy for it.
    """
    found = _STRATEGIES.get(kind)
    if found is None:
        raise InvalidInput("kind", expected="a record class of federlib", found=kind)
    return cast("st.SearchStrategy[_T]", found)


def known_kinds() -> tuple[type, ...]:
    """Return every class that `of` takes, by module and name."""
    return tuple(sorted(_STRATEGIES, key=lambda kind: (kind.__module__, kind.__qualname__)))

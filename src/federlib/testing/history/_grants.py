"""Grants and renewals, read from a history."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from federlib.errors import InvalidInput
from federlib.testing.history.records import Operation

__all__ = ["Grant", "read_grants"]


@attrs.frozen
class Grant:
    """A lease that was granted or renewed.

    Attributes:
        operation: What was recorded.
        holder_id: Who got it.
        session: Which of its claims.
        token: The fencing token.
        ttl_ms: Time to live; milliseconds.
    """

    operation: Operation
    holder_id: str
    session: str
    token: int
    ttl_ms: int

    @property
    def verb(self) -> str:
        """`acquire` or `renew`."""
        return self.operation.verb


def read_grants(operations: Sequence[Operation]) -> list[Grant]:
    """Return the grants and renewals, in order of their beginnings.

    Raises:
        InvalidInput: An answer is not one of a lease backend.
    """
    return [grant for one in operations if (grant := _read(one)) is not None]


def _read(one: Operation) -> Grant | None:
    if one.verb not in {"acquire", "renew", "release"}:
        return None
    _check_arguments(one)
    if one.outcome != "ok" or one.verb == "release":
        return None
    match one.result:
        case ("granted", str() as holder_id, str() as session, int() as token, int() as ttl_ms):
            return Grant(one, holder_id, session, token, ttl_ms)
        case ("busy" | "not_held", str() | None):
            return None
        case _:
            raise InvalidInput("result", expected=f"an answer to {one.verb}", found=one.result)


def _check_arguments(one: Operation) -> None:
    match (one.verb, *one.arguments):
        case ("acquire", str(), str()) | ("renew" | "release", str(), str(), int()):
            return
        case _:
            raise InvalidInput("arguments", expected=f"those of {one.verb}", found=one.arguments)

"""What etcd's refusals mean in our tree, and whether a request may have taken effect.

A refused write is known to have had no effect only where etcd refuses before it proposes, or
where every member refuses it alike when it is applied. All other errors, a timeout at the
server above all, may come of a proposal that is still on its way.

Source: etcd `api/v3rpc/rpctypes/error.go` and `server/etcdserver/v3_server.go`, 3.5.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from federlib.errors import FederlibError, StoreDenied, StoreFull, Unavailable
from federlib.storage.backends.etcd._wire import reader

__all__ = ["Compacted", "Lost", "Refusal", "Unusable", "read_refusal", "refusal"]

Kind = Literal["busy", "compacted", "denied", "doubtful", "full", "refused", "stale_token"]

_INVALID_ARGUMENT, _NOT_FOUND, _DENIED, _EXHAUSTED = 3, 5, 7, 8
_PRECONDITION, _OUT_OF_RANGE, _UNIMPLEMENTED, _UNAUTHENTICATED = 9, 11, 12, 16
_REFUSED = {_INVALID_ARGUMENT, _NOT_FOUND, _EXHAUSTED, _PRECONDITION, _OUT_OF_RANGE, _UNIMPLEMENTED}
_MAX_REASON = 300
_STALE = ("invalid auth token", "revision of auth store is old", "revision in header is old")
_BUSY = ("too many requests", "raft proposal dropped", "not supported for learner")


class Compacted(Exception):  # noqa: N818 (named for what happened; never leaves the driver)
    """The revision that was asked for is no longer kept."""


class Unusable(Exception):  # noqa: N818 (as above)
    """One endpoint could not do it: try the next.

    Attributes:
        reason: Why, in words.
        may_have_happened: A write may have taken effect, or may yet.
    """

    def __init__(self, reason: str, *, may_have_happened: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.may_have_happened = may_have_happened


class Lost(Unusable):
    """The connection failed: nothing was sent, or no answer came."""


class Refusal(Unusable):
    """The server answered with an error.

    Attributes:
        kind: What to make of it.
        status: Of HTTP.
        code: Of gRPC; 2 ('unknown') where none came.
    """

    def __init__(self, kind: Kind, reason: str, *, status: int, code: int) -> None:
        super().__init__(reason, may_have_happened=kind == "doubtful")
        self.kind = kind
        self.status = status
        self.code = code

    @property
    def is_everywhere(self) -> bool:
        """Every other member would say the same."""
        return self.kind in {"denied", "full", "refused", "stale_token"}

    def translate(self, where: str) -> FederlibError:
        """Name the error of a request that had no effect."""
        if self.kind in {"denied", "stale_token"}:
            return StoreDenied(where, self.reason, hint="check user, password and role at etcd")
        if self.kind == "full":
            return StoreFull(
                where, self.reason, hint="compact and defragment etcd, then disarm its alarm"
            )
        if self.kind == "refused" and self.code == _INVALID_ARGUMENT:
            return Unavailable(
                where,
                self.reason,
                hint="etcd's --max-txn-ops and --max-request-bytes must be its defaults or more",
            )
        return Unavailable(where, self.reason)


class _Problem(msgspec.Struct, frozen=True):
    message: str = ""
    error: str = ""
    code: int = 2


_read_problem = reader(_Problem)


def read_refusal(status: int, body: bytes) -> Refusal:
    """Read an answer whose status is not 200."""
    try:
        problem = _read_problem(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _read_foreign(status)
    reason = (problem.message or problem.error or f"HTTP status {status}")[:_MAX_REASON]
    return refusal(reason, status=status, code=problem.code)


def refusal(reason: str, *, status: int, code: int) -> Refusal:
    """Make of a sentence and a code of etcd what they mean."""
    return Refusal(_judge(code, reason), reason, status=status, code=code)


def _read_foreign(status: int) -> Refusal:
    """Judge an answer that etcd did not write: of a proxy, or of another server."""
    reason = f"it answers with HTTP status {status}, and not as etcd does"
    kind: Kind = "doubtful"
    if status in {401, 403, 407}:
        kind = "denied"
    elif 300 <= status < 500 and status != 408:
        kind = "refused"
    return Refusal(kind, reason, status=status, code=2)


def _judge(code: int, reason: str) -> Kind:
    if any(words in reason for words in _STALE):
        return "stale_token"
    if code in {_DENIED, _UNAUTHENTICATED} or _is_about_users(code, reason):
        return "denied"
    if code == _EXHAUSTED and "space exceeded" in reason:
        return "full"
    if code == _OUT_OF_RANGE and "has been compacted" in reason:
        return "compacted"
    if any(words in reason for words in _BUSY):
        return "busy"
    return "refused" if code in _REFUSED else "doubtful"


def _is_about_users(code: int, reason: str) -> bool:
    words = ("user name", "user ID or password", "authentication")
    return code in {_INVALID_ARGUMENT, _PRECONDITION} and any(word in reason for word in words)

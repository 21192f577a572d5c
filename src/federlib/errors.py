"""Every error that federlib raises, in one tree.

Each class carries the fields a program needs and builds its sentence from them: what
happened, to which thing, what was expected and found, and what to do. The branches under
`FederlibError` say how to react:

* `Unavailable`: nothing happened; a retry is safe.
* `OutcomeUnknown`: it may have happened; inspect, then retry.
* `Conflict`: what was found is not what was expected.
* `Fenced`: you are no longer allowed; stop.
* `InvalidInput`: the caller's mistake (also a `ValueError`).
* `CorruptRecord`: what is stored cannot be trusted.
* `MissingExtra`: an optional dependency is not installed (also an `ImportError`).

An *expected* outcome (a busy lease, a rejected command) is a returned value, not an error.
No field ever holds a secret: a URL is redacted before it comes here.
"""

from __future__ import annotations

__all__ = [
    "ClockBehind",
    "ClonedIdentity",
    "Conflict",
    "CorruptRecord",
    "FederlibError",
    "Fenced",
    "IdentityTaken",
    "InvalidInput",
    "LeaseBusy",
    "LeaseLost",
    "MissingExtra",
    "NotLeader",
    "OutcomeUnknown",
    "PlanMismatch",
    "StaleToken",
    "StoreDenied",
    "StoreFull",
    "StoreReplaced",
    "TimestampTooFarAhead",
    "Unavailable",
]


class FederlibError(Exception):
    """Root of the tree: catches whatever federlib raises on purpose.

    Subclasses keep their fields as plain attributes, so that each one survives `pickle`
    and `copy` whatever the shape of its constructor.
    """

    def __str__(self) -> str:
        return self._sentence()

    def _sentence(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._sentence()!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), dict(self.__dict__)))


def _rebuild(cls: type[FederlibError], fields: dict[str, object]) -> FederlibError:
    error = cls.__new__(cls)
    error.__dict__.update(fields)
    return error


class Unavailable(FederlibError):
    """The thing could not be reached, and nothing was done: a retry is safe.

    Attributes:
        what: What could not be reached, for example ``sqlite store fleet.db``.
        reason: Why, in words.
        hint: What to do about it, or an empty string.
    """

    def __init__(self, what: str, reason: str, *, hint: str = "") -> None:
        super().__init__()
        self.what = what
        self.reason = reason
        self.hint = hint

    def _sentence(self) -> str:
        tail = f"; {self.hint}" if self.hint else ""
        return f"{self.what} is unavailable: {self.reason}{tail}"


class StoreDenied(Unavailable):
    """The operating system does not let this process read or write the store."""


class StoreFull(Unavailable):
    """The disk or quota under the store is full; nothing was written."""


class ClockBehind(Unavailable):
    """The wall clock lies too far behind what a hybrid logical clock has issued.

    Attributes:
        behind_s: How far; seconds.
        max_offset_s: How far it may.
        wait_s: When it will have caught up; seconds from now.
    """

    def __init__(self, *, behind_s: float, max_offset_s: float, wait_s: float) -> None:
        super().__init__(
            "hybrid logical clock",
            f"the next timestamp would lead the wall clock by {behind_s:g} s, "
            f"more than {max_offset_s:g} s",
            hint=f"try again in {wait_s:g} s",
        )
        self.behind_s = behind_s
        self.max_offset_s = max_offset_s
        self.wait_s = wait_s


class OutcomeUnknown(FederlibError):
    """The request left and no answer came: it may have happened.

    Ask `RecordStore.outcome(transaction_id)` or commit the same transaction again; with an
    id set it takes effect at most once.

    Attributes:
        what: The request, for example ``commit``.
        transaction_id: The id of the transaction, or None where it had none.
        reason: Why no answer came.
    """

    def __init__(self, what: str, *, transaction_id: str | None, reason: str) -> None:
        super().__init__()
        self.what = what
        self.transaction_id = transaction_id
        self.reason = reason

    def _sentence(self) -> str:
        name = f" {self.transaction_id!r}" if self.transaction_id is not None else ""
        return (
            f"the outcome of {self.what}{name} is unknown ({self.reason}); "
            "it may have happened: inspect, then retry with the same id"
        )


class Conflict(FederlibError):
    """Something exists, but not as expected.

    Attributes:
        what: The thing.
        expected: What the caller expected, in words.
        actual: What was found, in words.
        hint: What to do about it, or an empty string.
    """

    def __init__(self, what: str, *, expected: str, actual: str, hint: str = "") -> None:
        super().__init__()
        self.what = what
        self.expected = expected
        self.actual = actual
        self.hint = hint

    def _sentence(self) -> str:
        tail = f"; {self.hint}" if self.hint else ""
        return f"{self.what}: expected {self.expected}, found {self.actual}{tail}"


class IdentityTaken(Conflict):
    """Another live process holds this worker identity."""


class ClonedIdentity(Conflict):
    """The identity files were made on another machine: a cloned disk or a copied directory."""


class PlanMismatch(Conflict):
    """A run of this id exists with another plan.

    Attributes:
        differences: What differs, one line each, at most fifty.
    """

    def __init__(self, what: str, *, expected: str, actual: str, differences: list[str]) -> None:
        super().__init__(
            what, expected=expected, actual=actual, hint="choose another run id, or the same plan"
        )
        self.differences = differences


class StoreReplaced(Conflict):
    """The store is not the one that this identity has seen before, and it is empty.

    Fencing tokens would start again below those already handed out.
    """


class LeaseBusy(Conflict):
    """A lease was not acquired within `wait_s`.

    Attributes:
        name: The lease.
        holder: Who holds it, or None if it was free but others were ahead in the queue.
        wait_s: How long was waited; seconds.
    """

    def __init__(self, name: str, *, holder: str | None, wait_s: float) -> None:
        super().__init__(
            f"lease {name!r}",
            expected=f"acquired within {wait_s:g} s",
            actual=f"held by {holder}" if holder is not None else "others ahead in its queue",
        )
        self.name = name
        self.holder = holder
        self.wait_s = wait_s


class TimestampTooFarAhead(Conflict):
    """A timestamp from afar leads the wall clock by too much; nothing of it was taken in.

    Attributes:
        remote: The timestamp, as text.
        ahead_s: How far; seconds.
        max_offset_s: How far it may.
    """

    def __init__(self, remote: str, *, ahead_s: float, max_offset_s: float) -> None:
        super().__init__(
            f"timestamp {remote}",
            expected=f"at most {max_offset_s:g} s ahead of the wall clock",
            actual=f"{ahead_s:g} s ahead",
            hint="compare the clock of its sender with this one's",
        )
        self.remote = remote
        self.ahead_s = ahead_s
        self.max_offset_s = max_offset_s


class Fenced(FederlibError):
    """You are no longer allowed to do this: stop.

    Attributes:
        what: What is fenced.
        reason: Why, in words.
    """

    def __init__(self, what: str, *, reason: str) -> None:
        super().__init__()
        self.what = what
        self.reason = reason

    def _sentence(self) -> str:
        return f"{self.what} is fenced: {self.reason}; stop"


class LeaseLost(Fenced):
    """A held lease was lost.

    Attributes:
        name: The lease.
        token: The fencing token that it had.
    """

    def __init__(self, name: str, *, token: int, reason: str) -> None:
        super().__init__(f"lease {name!r} (token {token})", reason=reason)
        self.name = name
        self.token = token


class StaleToken(Fenced):
    """A fencing token lies below the high-water mark of its resource.

    Attributes:
        resource: The guarded resource.
        token: The token presented.
        high_water: The highest token that the resource has accepted.
    """

    def __init__(self, resource: str, *, token: int, high_water: int) -> None:
        super().__init__(
            f"resource {resource!r}",
            reason=f"token {token} is below the high-water mark {high_water}",
        )
        self.resource = resource
        self.token = token
        self.high_water = high_water


class NotLeader(Fenced):
    """A mutating call was made by a process that does not lead.

    Attributes:
        name: The election.
        role: The role of this process.
        leader: Who leads, where known.
    """

    def __init__(self, name: str, *, role: str, leader: str | None) -> None:
        who = f", {leader} leads" if leader else ""
        super().__init__(f"election {name!r}", reason=f"this process is {role}{who}")
        self.name = name
        self.role = role
        self.leader = leader


class InvalidInput(FederlibError, ValueError):
    """The caller passed something that cannot be right; nothing was done.

    Attributes:
        field: Which argument or field.
        expected: What would be right.
        found: What came, shortened to 200 characters.
        problems: Every problem found, one line each, where several were looked for.
    """

    def __init__(
        self, field: str, *, expected: str, found: object, problems: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        self.field = field
        self.expected = expected
        self.found: str = _shorten(found)
        self.problems = problems

    def _sentence(self) -> str:
        head = f"{self.field}: expected {self.expected}, found {self.found}"
        return "\n  ".join((head, *self.problems))


class CorruptRecord(FederlibError):
    """What is stored cannot be trusted; it was left as it is.

    Attributes:
        where: The file, store or key.
        expected: What should be there.
        found: What is there, shortened to 200 characters.
        hint: What to do about it, or an empty string.
    """

    def __init__(self, where: str, *, expected: str, found: object, hint: str = "") -> None:
        super().__init__()
        self.where = where
        self.expected = expected
        self.found: str = _shorten(found)
        self.hint = hint

    def _sentence(self) -> str:
        tail = f"; {self.hint}" if self.hint else ""
        return f"{self.where}: expected {self.expected}, found {self.found}{tail}"


class MissingExtra(FederlibError, ImportError):
    """An optional dependency is needed and not installed.

    Attributes:
        extra: The extra that brings it.
        needed_for: What needs it.
    """

    def __init__(self, extra: str, *, needed_for: str) -> None:
        super().__init__()
        self.extra = extra
        self.needed_for = needed_for

    def _sentence(self) -> str:
        return f'{self.needed_for} needs an extra: pip install "federlib[{self.extra}]"'


def _shorten(value: object, limit: int = 200) -> str:
    # A hostile value may be huge: take a slice before repr, not after.
    if isinstance(value, str | bytes):
        text = repr(value[:limit])
        return text + (f"… ({len(value)} long)" if len(value) > limit else "")
    try:
        text = repr(value)
    except Exception:
        # An int of 5,000 digits refuses, and so may anybody's class.
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= limit else text[:limit] + "…"

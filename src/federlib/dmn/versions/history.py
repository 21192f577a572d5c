"""Which versions of a model there are, and which one decides: a record, and what changes it.

Every change makes a new `History`; whoever keeps it writes it in one step. A version is never
changed and never removed, so a decision can be replayed for as long as its history is kept.

Source: HA plan §3 (versioned decision tables).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

import msgspec

from federlib._json import RecordReader
from federlib.errors import Conflict, CorruptRecord, InvalidInput

__all__ = [
    "MAX_CHANGES",
    "Change",
    "ChangeKind",
    "History",
    "Published",
    "check_name",
    "decode_history",
    "encode_history",
    "pin",
    "publish",
    "roll_back",
    "unpin",
]

MAX_CHANGES = 1_000
"""How many changes a history tells of; older ones are dropped, versions never."""

FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")

ChangeKind: TypeAlias = Literal["publish", "pin", "unpin", "roll_back"]
"""What was done."""

_Text = Annotated[str, msgspec.Meta(max_length=500)]
_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Number = Annotated[int, msgspec.Meta(ge=1)]
_Instant = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model.

    Attributes:
        number: Counted from 1, in the order of publishing.
        content_hash: SHA-256 of its content, as `federlib.dmn.content_hash` says it.
        version: What the model calls its version; for people.
        at_ns: When it was published; Unix nanoseconds.
        by: Who did it.
        note: Why.
    """

    number: _Number
    content_hash: _Hash
    at_ns: _Instant
    version: str = ""
    by: _Text = ""
    note: _Text = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done to a history.

    Attributes:
        kind: What.
        number: The version that decides from then on.
        at_ns: When; Unix nanoseconds.
        by: Who did it.
        note: Why.
    """

    kind: ChangeKind
    number: _Number
    at_ns: _Instant
    by: _Text = ""
    note: _Text = ""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The versions of one model.

    Attributes:
        name: Of the model, as it is published.
        versions: All of them, the oldest first.
        active: The number of the one that decides; 0 while there is none.
        is_pinned: Whether that stays so when another one is published.
        before: Numbers of those that decided before it, the latest last; for rolling back.
        changes: What was done, the latest last.
        v: Schema version.
    """

    name: str
    versions: tuple[Published, ...] = ()
    active: Annotated[int, msgspec.Meta(ge=0)] = 0
    is_pinned: bool = False
    before: tuple[int, ...] = ()
    changes: tuple[Change, ...] = ()
    v: int = FORMAT

    def find(self, number: int | None = None) -> Published:
        """Return a version; the one that decides where none is named.

        Raises:
            InvalidInput: There is no such version.
        """
        wanted = self.active if number is None else number
        if type(wanted) is not int or not 1 <= wanted <= len(self.versions):
            there = f"1 to {len(self.versions)}" if self.versions else "nothing published yet"
            raise InvalidInput(f"version of {self.name}", expected=there, found=number)
        return self.versions[wanted - 1]


_histories = RecordReader(History, FORMAT)


def check_name(name: str) -> str:
    """Return the name of a model if it may be one, of a file too.

    Raises:
        InvalidInput: Not 1 to 96 of letters, digits and `._-`, a letter or digit first.
    """
    # `type`, because what comes from a request may be anything.
    if type(name) is not str or not _NAME.fullmatch(name):
        raise InvalidInput(
            "name", expected="1 to 96 letters, digits and ._- after a letter or digit", found=name
        )
    return name


def publish(
    history: History,
    content_hash: str,
    *,
    version: str = "",
    at_ns: int,
    by: str = "",
    note: str = "",
) -> History:
    """Add a version; it decides from now on, unless another one is pinned.

    The content that was published last is not published twice: then nothing changes.

    Args:
        history: So far.
        content_hash: Of the model.
        version: What the model calls its version.
        at_ns: Now; Unix nanoseconds.
        by: Who publishes it.
        note: Why.
    """
    if history.versions and history.versions[-1].content_hash == content_hash:
        return history
    published = Published(
        number=len(history.versions) + 1,
        content_hash=content_hash,
        version=version,
        at_ns=at_ns,
        by=by,
        note=note,
    )
    grown = msgspec.structs.replace(history, versions=(*history.versions, published))
    number = history.active if history.is_pinned else published.number
    return _changed(grown, "publish", number, at_ns=at_ns, by=by, note=note)


def pin(history: History, number: int, *, at_ns: int, by: str = "", note: str = "") -> History:
    """Let one version decide, whatever is published after it.

    Args:
        history: So far.
        number: Of the version.
        at_ns: Now; Unix nanoseconds.
        by: Who does it.
        note: Why.
    Raises:
        InvalidInput: There is no such version.
    """
    pinned = msgspec.structs.replace(history, is_pinned=True)
    return _changed(pinned, "pin", history.find(number).number, at_ns=at_ns, by=by, note=note)


def unpin(history: History, *, at_ns: int, by: str = "", note: str = "") -> History:
    """Let the newest version decide again.

    Args:
        history: So far.
        at_ns: Now; Unix nanoseconds.
        by: Who does it.
        note: Why.
    Raises:
        Conflict: Nothing is pinned.
    """
    if not history.is_pinned:
        raise Conflict(f"model {history.name}", expected="a pinned version", actual="none")
    freed = msgspec.structs.replace(history, is_pinned=False)
    return _changed(freed, "unpin", len(history.versions), at_ns=at_ns, by=by, note=note)


def roll_back(history: History, *, at_ns: int, by: str = "", note: str = "") -> History:
    """Let the version decide again that decided before this one, and pin it.

    Pinned, since what was rolled back would otherwise come again with the next publishing of
    a process that does not know of it. Done twice it goes back by two.

    Args:
        history: So far.
        at_ns: Now; Unix nanoseconds.
        by: Who does it.
        note: Why.
    Raises:
        Conflict: No version decided before this one.
    """
    if not history.before:
        raise Conflict(
            f"model {history.name}", expected="a version that decided before", actual="none"
        )
    change = Change(kind="roll_back", number=history.before[-1], at_ns=at_ns, by=by, note=note)
    return msgspec.structs.replace(
        history,
        active=change.number,
        is_pinned=True,
        before=history.before[:-1],
        changes=(*history.changes, change)[-MAX_CHANGES:],
    )


def encode_history(history: History) -> bytes:
    """Return a history as it is stored.

    Raises:
        InvalidInput: It could not be read again: an instant, a name or a note is out of range.
    """
    try:
        data = msgspec.json.encode(history)
        msgspec.json.decode(data, type=History)
    except (TypeError, ValueError) as error:
        expected = "instants, names and notes that can be kept"
        raise InvalidInput(f"model {history.name}", expected=expected, found=str(error)) from error
    return data


def decode_history(where: str, data: bytes) -> History:
    """Read a history as it is stored.

    Args:
        where: It is stored, for errors.
        data: What is there.
    Raises:
        CorruptRecord: It is something else, or names versions that it does not have.
    """
    history = _histories.read(where, data)
    count = len(history.versions)
    if [each.number for each in history.versions] != list(range(1, count + 1)):
        raise CorruptRecord(where, expected="versions in order from 1", found=data)
    named = (history.active, *history.before)
    if count and not all(1 <= number <= count for number in named):
        raise CorruptRecord(where, expected=f"versions within 1 to {count}", found=named)
    return history


def _changed(
    history: History, kind: ChangeKind, number: int, *, at_ns: int, by: str, note: str
) -> History:
    before = history.before
    if history.active not in {0, number}:
        before = (*before, history.active)[-MAX_CHANGES:]
    change = Change(kind=kind, number=number, at_ns=at_ns, by=by, note=note)
    return msgspec.structs.replace(
        history,
        active=number,
        before=before,
        changes=(*history.changes, change)[-MAX_CHANGES:],
    )

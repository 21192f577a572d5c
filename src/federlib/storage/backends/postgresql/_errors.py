"""What PostgreSQL's errors mean in our tree."""

from __future__ import annotations

import psycopg

from federlib.errors import CorruptRecord, FederlibError, StoreDenied, StoreFull, Unavailable

__all__ = ["Severed", "is_severed", "translate"]

_GONE = {"3F000", "P0002", "P0003", "22P02", "22P03", "22021"}
_GONE_CLASSES = ("42", "23")
"""Tables or functions are not as we made them, or what lies in them contradicts itself."""

_DENIED = {"42501", "3D000"}
_DROPPED = {"57P01", "57P02", "57P03", "57P05", "25P03"}
_HINTS = {
    "53300": "raise max_connections of the server, or let fewer processes connect",
    "25006": "name the primary in the URL, or wait for it to take over",
    "55P03": "another session holds a lock; retry",
    "57014": "the server took longer than it was given; retry",
}


_REFUSALS = {
    "too many clients": "53300",
    "remaining connection slots": "53300",
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "no pg_hba.conf entry": "28000",
    "does not exist": "3D000",
    "read-only": "25006",
    "certificate verify failed": "08001",
}
"""Of the server's messages in English, which it sends to whoever has no session yet."""


class Severed(Exception):  # noqa: N818 (what happened)
    """The connection ended, or nothing came in time: what was asked may have been done."""


def is_severed(error: psycopg.Error) -> bool:
    """Say whether an error ended the connection instead of one statement."""
    state = error.sqlstate
    return state is None or state in _DROPPED or state.startswith("08")


def translate(error: psycopg.Error, where: str) -> FederlibError:
    """Say in our words why a statement failed; nothing has happened."""
    state = error.sqlstate or _state_in(str(error))
    reason = _reason(error)
    if state.startswith("28") or state in _DENIED:
        return StoreDenied(where, reason, hint="check user, password and the rights of the user")
    if state in _GONE or state.startswith(_GONE_CLASSES):
        return CorruptRecord(
            where,
            expected="the tables and functions of a federlib store",
            found=reason,
            hint="it was dropped or is not ours; restore a backup, or use another schema",
        )
    if state == "53100":
        return StoreFull(where, reason, hint="free some space on the server and retry")
    return Unavailable(where, reason, hint=_HINTS.get(state, ""))


def _state_in(text: str) -> str:
    """Name the state of a refused connection, of which libpq gives the message alone."""
    return next((state for word, state in _REFUSALS.items() if word in text), "")


def _reason(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error).strip().splitlines()[0:1]
    said = text if isinstance(text, str) else " ".join(text)
    return f"{said or type(error).__name__} ({error.sqlstate or 'no answer'})"

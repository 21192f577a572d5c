"""One process of a chaos run: a member of a real fleet, on a real store.

Run as ``python -m federlib.testing.chaos.child`` by the harness, which writes terms and orders
to its standard input. It ends when that does; on Linux it is killed with the harness even
while it is stopped.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

import anyio
import msgspec
from anyio.abc import TaskGroup

from federlib._tasks import open_task_group
from federlib.identity import IdentityStore
from federlib.testing.chaos.life import Life
from federlib.testing.chaos.records import Order, Terms

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_ORDERS = 0
_CHUNK = 65_536


async def _live(terms: Terms, rest: bytes) -> None:
    identities = IdentityStore(Path(terms.directory) / "identities")
    with await identities.claim_async(terms.seq) as identity:
        life = Life(terms, identity)
        async with open_task_group() as group:
            group.start_soon(_hear, life, group, rest)
            await life.open()
            group.start_soon(life.seat.run)
            group.start_soon(life.tell_roles)
            group.start_soon(life.seat.lead, life.reign)
            if terms.is_consumer:
                group.start_soon(life.consume)
            life.ledger.note("ready")
            await life.leaving.wait()
            group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await life.store.aclose()


async def _hear(life: Life, group: TaskGroup, rest: bytes) -> None:
    """Take orders; end at once when nobody is there to give any."""
    decode = msgspec.json.Decoder(Order).decode
    os.set_blocking(_ORDERS, False)
    while True:
        *lines, rest = rest.split(b"\n")
        for line in lines:
            life.obey(decode(line), group)
        await anyio.wait_readable(_ORDERS)
        came = os.read(_ORDERS, _CHUNK)
        if not came:
            os._exit(1)
        rest += came


def _read_terms() -> tuple[Terms, bytes]:
    text = b""
    while b"\n" not in text:
        came = os.read(_ORDERS, _CHUNK)
        if not came:
            sys.exit(1)
        text += came
    line, _, rest = text.partition(b"\n")
    return msgspec.json.decode(line, type=Terms), rest


def _die_with_parent() -> None:
    """Have the kernel kill this process when the harness dies, even one that is stopped."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> None:
    """Live one life."""
    _die_with_parent()
    terms, rest = _read_terms()
    if os.getppid() != terms.parent:  # It died before the kernel was told.
        sys.exit(1)
    anyio.run(_live, terms, rest)


if __name__ == "__main__":
    main()

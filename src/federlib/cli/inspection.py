"""`federlib lease …`, `federlib commands …` and `federlib logs`."""

from __future__ import annotations

import secrets  # noqa: TID251  # two calls under one name exclude each other
import sys
from collections import deque
from contextlib import aclosing

import anyio
import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from federlib.cli.exec import read_log
from federlib.cli.exits import FAILED, OK
from federlib.cli.report import printable
from federlib.cli.stores import logs_root, require_shared, require_store
from federlib.federation import Federation, connect
from federlib.fencing import Entry
from federlib.lease import Busy, Holder, Lease, LeaseState, NotHeld

__all__ = [
    "acquire_lease",
    "list_commands",
    "list_leases",
    "plain",
    "print_json",
    "print_log",
    "raise_floor",
    "release_lease",
    "show_command",
    "show_lease",
]


def plain(text: str) -> Text:
    """Return text of other people's for a terminal: no markup in it, and no escape sequence."""
    return Text(printable(text))


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def print_log(url: str, run_id: str, task_id: str, attempt: int | None) -> int:
    """Print the log of a task as it was written."""
    log = read_log(logs_root(url), run_id, task_id, attempt)
    if log is None:
        which = "" if attempt is None else f" attempt {attempt} of"
        click.echo(f"no log of{which} task {task_id!r} of run {run_id!r} on this host", err=True)
        return FAILED
    sys.stdout.buffer.write(log.content)
    sys.stdout.buffer.flush()
    return OK


async def list_leases(url: str, *, as_json: bool) -> int:
    """List all leases."""
    require_store(url)
    async with connect(url) as fed:
        states = [await fed.inspect(name) for name in await fed.leases.names()]
        now_ns = fed.clock.wall_ns()
    if as_json:
        print_json([_facts(state, now_ns) for state in states])
        return OK
    table = Table("lease", "state", "holder", "token", "age", "ttl", "waiting")
    for state in states:
        facts = _facts(state, now_ns)
        table.add_row(
            plain(state.name),
            str(facts["state"]),
            plain(str(facts["holder"] or "-")),
            str(state.fencing_token),
            f"{facts['age_s']} s" if state.lease else "-",
            f"{facts['ttl_s']} s" if state.lease else "-",
            str(len(state.waiters)),
        )
    Console().print(table)
    return OK


async def show_lease(url: str, name: str, *, as_json: bool) -> int:
    """Show one lease."""
    require_store(url)
    async with connect(url) as fed:
        state = await fed.inspect(name)
        facts = _facts(state, fed.clock.wall_ns())
    if as_json:
        print_json(facts)
    else:
        for key, value in facts.items():
            text = ", ".join(value) if isinstance(value, list) else str(value)
            click.echo(f"{key:8} {'-' if value in (None, []) else printable(text)}")
    return OK if facts["state"] == "held" else FAILED


def _facts(state: LeaseState, now_ns: int) -> dict[str, object]:
    lease = state.lease
    word = "free" if lease is None else "held" if state.is_live else "expired"
    return {
        "name": state.name,
        "state": word,
        "holder": lease.holder_id if lease else None,
        "token": state.fencing_token,
        "age_s": round(max(0, now_ns - lease.renewed_at) / 1e9, 3) if lease else None,
        "ttl_s": lease.ttl_ms / 1_000 if lease else None,
        "waiters": list(state.waiters),
    }


async def acquire_lease(
    url: str, name: str, *, holder: str, ttl_s: float, wait_s: float, as_json: bool
) -> int:
    """Acquire a lease for a holder of the caller's own naming, and leave it to run out."""
    async with connect(url) as fed:
        require_shared(fed.store, url)
        got = await _acquire(
            fed, name, Holder(holder, f"command-line-{secrets.token_hex(4)}"), ttl_s, wait_s
        )
    if isinstance(got, Busy):
        if as_json:
            print_json({"acquired": False, "holder": got.holder, "expires_at_ns": got.expires})
        else:
            click.echo(f"busy: held by {got.holder}" if got.holder else "busy: others wait for it")
        return FAILED
    if as_json:
        print_json({"acquired": True, "fencing_token": got.fencing_token,
                    "expires_at_ns": got.expires_at})  # fmt: skip
    else:
        click.echo(got.fencing_token)
    return OK


async def _acquire(
    fed: Federation, name: str, holder: Holder, ttl_s: float, wait_s: float
) -> Lease | Busy:
    got: Lease | Busy = await fed.leases.acquire(name, holder, ttl_s=ttl_s, queue=wait_s > 0)
    with anyio.move_on_after(wait_s):
        while isinstance(got, Busy):
            await anyio.sleep(min(got.retry_in_s, 0.05))
            got = await fed.leases.acquire(name, holder, ttl_s=ttl_s, queue=True)
    if isinstance(got, Busy) and wait_s > 0:
        await fed.leases.withdraw(name, holder)
    return got


async def release_lease(url: str, name: str, token: int) -> int:
    """Release a lease by its token."""
    require_store(url)
    async with connect(url) as fed:
        state = await fed.inspect(name)
        held = state.lease
        if held is None or held.fencing_token != token:
            holder = held.holder_id if held else None
            answer: object = NotHeld(name, token, holder)
        else:
            answer = await fed.leases.release(held)
    if isinstance(answer, NotHeld):
        click.echo(f"not held under token {token}" + (f"; {answer.holder} holds it"
                   if answer.holder else ""), err=True)  # fmt: skip
        return FAILED
    click.echo(f"released {name}")
    return OK


async def raise_floor(url: str, token: int) -> int:
    """Make every later grant higher than `token`."""
    async with connect(url) as fed:
        await fed.leases.raise_floor(token)
        # It never falls: it may have been higher already.
        floor = await fed.leases.floor()
    click.echo(f"every later token is higher than {floor}")
    return OK


async def list_commands(
    url: str, *, scope: str | None, status: str | None, limit: int, as_json: bool
) -> int:
    """List the newest commands, the newest last."""
    require_store(url)
    newest: deque[Entry] = deque(maxlen=limit)
    async with (
        connect(url) as fed,
        aclosing(fed.commands.log.commands(scope=scope, status=status)) as records,
    ):
        async for record in records:
            newest.append(record)
    if as_json:
        print_json([_command_facts(record) for record in newest])
        return OK
    table = Table("command", "scope", "action", "epoch", "issuer", "outcome", "reason")
    for record in newest:
        command, outcome = record.command, record.outcome
        table.add_row(
            plain(command.command_id),
            plain(command.scope),
            plain(command.action),
            str(command.leader_epoch),
            plain(command.issuer),
            outcome.status if outcome else "pending",
            plain(outcome.reason if outcome else ""),
        )
    Console().print(table)
    return OK


async def show_command(url: str, command_id: str, *, as_json: bool) -> int:
    """Show everything that is stored of one command."""
    require_store(url)
    async with connect(url) as fed:
        record = await fed.commands.log.find(command_id)
    if record is None:
        click.echo(f"no command {command_id!r}", err=True)
        return FAILED
    facts = _command_facts(record)
    if as_json:
        print_json(facts)
    else:
        for name, value in facts.items():
            click.echo(f"{name:11} {msgspec.json.encode(value).decode()}")
    return OK


def _command_facts(record: Entry) -> dict[str, object]:
    return {
        "command_id": record.command.command_id,
        "scope": record.command.scope,
        "status": record.outcome.status if record.outcome else "pending",
        "issued": record.command,
        "started": record.started,
        "outcome": record.outcome,
    }

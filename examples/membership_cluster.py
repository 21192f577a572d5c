"""Nine processes that know of one another: one is killed, one is cut off and comes back.

    python examples/membership_cluster.py

Two gates, four managers and three workers run on loopback, each a process with a UDP socket
and the cluster's key. The table shows what each (a row) holds of each other (a column). Needs
`pip install "federlib[cli,membership]"`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread
from rich.console import Console
from rich.live import Live
from rich.table import Table

from federlib.membership import (
    HealthAwareServer,
    PeerRole,
    SwimConfig,
    TimeoutSettings,
)
from federlib.transport import Asked, Key, Keyring, Received, UdpTransport, new_secret

ROLES = {
    "gate-1": "gate", "gate-2": "gate", "manager-1": "manager", "manager-2": "manager",
    "manager-3": "manager", "manager-4": "manager", "worker-1": "worker", "worker-2": "worker",
    "worker-3": "worker",
}  # fmt: skip
KILLED, CUT_OFF = "manager-3", "manager-4"
SIGNS = {
    "ALIVE": "[green]●[/]", "SUSPECT": "[yellow]?[/]", "DEAD": "[red]✗[/]",
    "UNCONFIRMED": "[cyan]○[/]", "LEFT": "[dim]-[/]",
}  # fmt: skip
# Everything is five times as fast as by default, so that the story takes seconds.
QUICK = SwimConfig(
    interval_s=0.2,
    gossip_interval_s=0.05,
    push_pull_interval_s=2.0,
    reconnect_interval_s=1.0,
    timeouts=TimeoutSettings(slack_s=0.12, suspicion_max_mult=3.0),
)


# One member.


class Door:
    """The transport of a member that can be cut off: a closed door lets nothing through."""

    def __init__(self, inner: UdpTransport) -> None:
        self.inner = inner
        self.is_open = True

    @property
    def address(self) -> str:
        return self.inner.address

    @property
    def max_payload(self) -> int:
        return self.inner.max_payload

    async def send(self, address: str, payload: bytes) -> None:
        if self.is_open:
            await self.inner.send(address, payload)

    async def receive(self) -> Received:
        while True:
            received = await self.inner.receive()
            if self.is_open:
                return received

    async def request(self, address: str, payload: bytes, *, timeout_s: float) -> Received:
        if not self.is_open:
            await anyio.sleep(timeout_s)
        return await self.inner.request(address, payload, timeout_s=timeout_s)

    async def receive_request(self) -> Asked:
        while True:
            asked = await self.inner.receive_request()
            if self.is_open:
                return asked

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self.inner.__aexit__(kind, error, traceback)


async def take_part(name: str, secret: str) -> None:
    """Be one member: obey what comes by stdin, and tell on stdout what is seen."""
    keyring = Keyring(Key(secret))
    async with (
        Door(UdpTransport("127.0.0.1", 0, cluster="example", keyring=keyring)) as door,
        HealthAwareServer(door, name, PeerRole(ROLES[name]), config=QUICK) as server,
        anyio.create_task_group() as tasks,
    ):
        print(json.dumps({"address": door.address}), flush=True)

        async def obey() -> None:
            while line := await anyio.to_thread.run_sync(
                sys.stdin.readline, abandon_on_cancel=True
            ):
                verb, *addresses = line.split()
                if verb == "join":
                    server.join(addresses)
                elif verb == "leave":
                    break
                else:
                    door.is_open = verb == "open"
            tasks.cancel_scope.cancel()

        tasks.start_soon(obey)
        while True:
            states = {member.node.name: member.state.name for member in server.members()}
            rtts = [server.estimate_peer_rtt(name) for name in server.vivaldi.peers()]
            rtt_ms = sum(rtts) / len(rtts) if rtts else None
            print(json.dumps({"sees": states, "rtt_ms": rtt_ms}), flush=True)
            await anyio.sleep(0.1)


# The nine, from outside.


class Process:
    """One member, as a process of this one."""

    def __init__(self, name: str, secret: str) -> None:
        self.name = name
        self.sees: dict[str, str] = {}
        self.rtt_ms: float | None = None
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--member", name],
            env={**os.environ, "EXAMPLE_SECRET": secret},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.address = str(json.loads(self._process.stdout.readline())["address"])
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            self.sees, self.rtt_ms = told["sees"], told["rtt_ms"]

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        if self.is_running:
            self.tell("leave")
        self._process.wait(10)


class Stage:
    """Shows the table, and waits until something is so."""

    def __init__(self, members: dict[str, Process], live: Live | None) -> None:
        self.members = members
        self._live = live
        self._title = ""
        self._began_s = time.monotonic()

    def say(self, title: str) -> None:
        self._title = title
        at_s = time.monotonic() - self._began_s
        if self._live is None:
            print(f"{at_s:5.1f} s  {title}", flush=True)
        else:
            self._live.console.print(f"[dim]{at_s:5.1f} s[/]  {title}")

    def wait(self, what: str, is_so: Callable[[], bool]) -> None:
        """Wait until something is so, and tell how long it took."""
        began_s = time.monotonic()
        while not is_so():
            if time.monotonic() - began_s > 30:
                raise SystemExit(f"after 30 s: not {what}")
            self.show()
            time.sleep(0.05)
        self.say(f"{what}, after {time.monotonic() - began_s:.1f} s")

    def hold(self, observers: list[str], peer: str, state: str) -> bool:
        """Say whether all these observers hold a peer to be in a state."""
        return all(self.members[name].sees.get(peer) == state for name in observers)

    def show(self) -> None:
        if self._live is not None:
            self._live.update(self.table())

    def table(self) -> Table:
        """What each holds of each."""
        table = Table(title=self._title, caption="● alive  ○ unconfirmed  ? suspect  ✗ dead")
        table.add_column("")
        for name in self.members:
            table.add_column(name.replace("-", "\n"), justify="center")
        table.add_column("mean\nRTT", justify="right")
        for name, member in self.members.items():
            cells = [
                "[dim]·[/]" if peer == name else SIGNS.get(member.sees.get(peer, ""), "")
                for peer in self.members
            ]
            rtt = "" if member.rtt_ms is None else f"{member.rtt_ms:.1f} ms"
            if not member.is_running:
                cells, rtt = [""] * len(cells), "[red]killed[/]"
            table.add_row(name, *cells, rtt)
        return table


@contextmanager
def shown(members: dict[str, Process]) -> Iterator[Stage]:
    """Show a live table on a terminal, and lines elsewhere."""
    console = Console()
    if not console.is_terminal:
        stage = Stage(members, None)
        yield stage
        Console(width=110).print(stage.table())
        return
    with Live(console=console, refresh_per_second=10) as live:
        yield Stage(members, live)


def main() -> int:
    """Play the story."""
    secret = new_secret()
    members = {name: Process(name, secret) for name in ROLES}
    try:
        with shown(members) as stage:
            asked = [name for name, role in ROLES.items() if role != "worker"]
            others = [name for name in asked if name not in {KILLED, CUT_OFF}]
            stage.say("nine processes start; each asks the first gate who is there")
            for member in members.values():
                member.tell(f"join {members['gate-1'].address}")
            stage.wait(
                "all gates and managers know one another",
                lambda: all(
                    stage.hold([other for other in asked if other != name], name, "ALIVE")
                    for name in asked
                ),
            )
            stage.wait(
                "each worker is watched by gates or managers",
                lambda: all(
                    any(stage.hold([name], worker, "ALIVE") for name in asked)
                    for worker in ROLES
                    if worker not in asked
                ),
            )
            stage.say(f"kill -9 {KILLED}")
            members[KILLED].kill()
            stage.wait(
                f"gates and managers hold {KILLED} to be dead",
                lambda: stage.hold(others, KILLED, "DEAD"),
            )
            stage.say(f"{CUT_OFF} is cut off")
            members[CUT_OFF].tell("shut")
            stage.wait(
                f"gates and managers hold {CUT_OFF} to be dead",
                lambda: stage.hold(others, CUT_OFF, "DEAD"),
            )
            stage.say("the cut heals")
            members[CUT_OFF].tell("open")
            stage.wait(
                f"gates and managers hold {CUT_OFF} to be alive again",
                lambda: stage.hold(others, CUT_OFF, "ALIVE"),
            )
    finally:
        for member in members.values():
            member.end()
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--member", choices=ROLES)
    chosen = parser.parse_args().member
    if chosen is not None:
        anyio.run(take_part, chosen, os.environ["EXAMPLE_SECRET"])
    else:
        sys.exit(main())

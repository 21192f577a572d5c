"""Eight tasks want one lease; each works alone, with a token higher than the one before."""

from __future__ import annotations

import anyio

import federlib


async def main() -> None:
    """Let eight tasks of one process contend, and show the order in which they were served."""
    tokens: list[int] = []
    async with federlib.connect("sqlite:///fleet.db") as fed, anyio.create_task_group() as group:

        async def worker(name: str) -> None:
            async with fed.hold("the-printer", ttl_s=5) as lease:
                lease.check()  # before each effect
                tokens.append(lease.token)
                print(f"{name} prints under token {lease.token}")

        for number in range(8):
            group.start_soon(worker, f"worker {number}")
    assert tokens == sorted(tokens)
    assert len(set(tokens)) == 8


anyio.run(main)

"""What concerns all names: their list, the floor, and forgetting those long free."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from federlib.errors import Conflict
from federlib.lease.backends.etcd._records import (
    Floor,
    Grant,
    Names,
    encode,
    read_floor,
    read_grant,
)
from federlib.skewclock import Clock
from federlib.storage.backends.etcd import _wire as wire
from federlib.storage.backends.etcd._client import Ask
from federlib.storage.backends.etcd._engine import EtcdEngine
from federlib.storage.backends.etcd._keys import successor

__all__ = ["Upkeep"]

_PAGE = 1_000
_TRIES = 100


@attrs.frozen
class Upkeep:
    """Thread-safe; every verb blocks."""

    names: Names
    engine: EtcdEngine
    clock: Clock

    def list_names(self) -> Sequence[str]:
        """List the names that were ever granted and are not forgotten, in byte order."""
        return sorted(
            (self.names.name_of(one.key) for one in self._all(keys_only=True)),
            key=str.encode,
        )

    def _all(self, *, keys_only: bool) -> Iterator[wire.KeyValue]:
        start, end = self.names.last, successor(self.names.last)
        while True:
            (page,) = self._read(wire.read(start, end, limit=_PAGE, keys_only=keys_only))
            yield from page.kvs
            if not page.more:
                return
            start = page.kvs[-1].key + b"\0"

    def _read(self, *ops: wire.JsonObject) -> list[wire.RangeAnswer]:
        self.engine.check_usable()
        decode = wire.txn_reader(success=len(ops), failure=0)
        ask = Ask(path=wire.TXN, body=wire.txn([], ops, []), decode=decode, what="read")
        return [one.response_range for one in self.engine.client.ask(ask).answer.responses]

    def _write(self, compare: Sequence[wire.JsonObject], op: wire.JsonObject) -> bool:
        self.engine.check_usable()
        ask = Ask(
            path=wire.TXN,
            body=wire.txn(compare, [op], []),
            decode=wire.txn_reader(success=1, failure=0),
            safety="repeatable",
            what="upkeep of leases",
        )
        return self.engine.client.ask(ask).answer.succeeded

    def floor(self) -> int:
        """Read the floor."""
        return self._find_floor()[0]

    def _find_floor(self) -> tuple[int, int]:
        (found,) = self._read(wire.read(self.names.floor))
        return (read_floor(found.kvs[0]), found.kvs[0].mod_revision) if found.kvs else (0, 0)

    def raise_floor(self, token: int) -> None:
        """Make every later token higher than `token`.

        Raises:
            Conflict: Others change it all the time.
        """
        for _ in range(_TRIES):
            floor, revision = self._find_floor()
            if floor >= token:
                return
            compare = [wire.modified_at(self.names.floor, revision)]
            if self._write(compare, wire.put(self.names.floor, encode(Floor(token=token)))):
                return
        raise Conflict("floor", expected="unchanged", actual="changed again and again")

    def collect(self, now_ns: int, free_before_ns: int) -> int:
        """Forget names that have been free since before an instant; return how many.

        Of one whose holder died nobody wrote when it became free: that is written first.
        """
        forgotten = 0
        for one in self._all(keys_only=False):
            grant = read_grant(one)
            if grant.since_ns >= free_before_ns:
                continue
            keys = self.names.keys(self.names.name_of(one.key))
            unchanged = [
                wire.modified_at(keys.last, one.mod_revision),
                wire.created_at(keys.now, 0, successor(keys.now)),
            ]
            if grant.is_released:
                forgotten += self._write(unchanged, wire.delete(keys.last))
            else:
                freed = Grant(token=grant.token_at(one.mod_revision), since_ns=now_ns)
                self._write(unchanged, wire.put(keys.last, encode(freed)))
        return forgotten

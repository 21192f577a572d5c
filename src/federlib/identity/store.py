"""`IdentityStore`: worker identities on disk, each claimed by one process at a time.

The directory holds `host.json` (who this host is), and for each worker `worker-<seq>.json`
(its incarnation) and `worker-<seq>.lock` (locked while a process lives as that worker).

Source: A2.2 §2.1, design §3 (identity) and §4 (lease, Token).
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from federlib import _host
from federlib.errors import (
    ClonedIdentity,
    CorruptRecord,
    IdentityTaken,
    InvalidInput,
    Unavailable,
)
from federlib.identity._files import FILES
from federlib.identity._process_lock import ProcessLock, holder_of
from federlib.identity.claimed import ClaimedIdentity
from federlib.identity.records import (
    MAX_RECORD_BYTES,
    MAX_SEQ,
    HostRecord,
    SeenStoreRecord,
    SlotRecord,
    WorkerIdentity,
    check_seq,
    decode_record,
    encode_record,
)

__all__ = ["DEFAULT_ROOT", "IDENTITY_ROOT_ENV", "IdentityStore", "identity_root"]

IDENTITY_ROOT_ENV = "OPAL_IDENTITY_ROOT"
"""Names the directory of identities where no argument does."""

DEFAULT_ROOT = "runtime/identities"
"""The directory of identities where nothing else is named; relative to the present one."""

# Claims never wait for each other, only for the disk: a few threads are plenty.
_THREADS = 2
_MAX_INCARNATION = 2**63 - 1

_Record = TypeVar("_Record", bound=HostRecord | SlotRecord | SeenStoreRecord)


def identity_root(environ: Mapping[str, str] | None = None) -> Path:
    """Say where identities are kept: `OPAL_IDENTITY_ROOT`, else `runtime/identities`.

    Source: A2.2 §3.
    """
    text = (os.environ if environ is None else environ).get(IDENTITY_ROOT_ENV, "").strip()
    return Path(text or DEFAULT_ROOT)


class IdentityStore:
    """One host's identities; safe to use from any thread and from many processes at once.

    Nothing is read or written before the first call.

    Args:
        root: The directory; `identity_root()` if omitted. A relative one is taken from the
            present working directory, once.
        machine_id: Tells the hash of this machine's id, or None where it is not known.
        wall_ns: Tells the wall time in Unix nanoseconds, for the records' dates only.
    Raises:
        InvalidInput: `root` cannot be a path.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        machine_id: Callable[[], str | None] = _host.machine_id,
        wall_ns: Callable[[], int] = time.time_ns,  # noqa: TID251  # dates for people only
    ) -> None:
        self._root = identity_root().absolute() if root is None else _check_root(root)
        self._machine_id = machine_id
        self._wall_ns = wall_ns
        self._limiter = RunVar[CapacityLimiter]("federlib identity threads")

    @property
    def root(self) -> Path:
        """The directory, absolute."""
        return self._root

    def host(self) -> HostRecord:
        """Return who this host is; draw it on first use.

        Raises:
            ClonedIdentity: The directory was made on another machine.
            CorruptRecord: Its file cannot be trusted, or is missing beside others.
            InvalidInput: The root is not a directory.
            Unavailable: The directory cannot be read or written (`StoreDenied`, `StoreFull`).
        """
        FILES.ensure_directory(self._root)
        host = self._read("host.json", HostRecord) or self._draw_host()
        here = self._here()
        if host.machine_id is not None and here is not None and host.machine_id != here:
            raise ClonedIdentity(
                f"identity directory {self._root}",
                expected=f"made on this machine ({here})",
                actual=f"made on machine {host.machine_id}",
                hint=f"remove {self._root} to become a new host, or set {IDENTITY_ROOT_ENV}",
            )
        return host

    def claim(self, seq: int | None = None) -> ClaimedIdentity:
        """Become a worker of this host until released, or until this process ends.

        Never waits for another process. A process that starts again gets the lowest free
        number, so a pool of n workers has the same n identities after every restart.

        Args:
            seq: The wanted number; the lowest free one if omitted.
        Returns:
            The identity, in a new incarnation that is already on the disk.
        Raises:
            IdentityTaken: A live process has that number, or all numbers are taken.
            InvalidInput, ClonedIdentity, CorruptRecord, Unavailable: As `host` raises.
        Source: A2.2 §2.1.
        """
        wanted = range(MAX_SEQ + 1) if seq is None else (check_seq(seq),)
        host = self.host()
        for number in wanted:
            lock = ProcessLock.attempt(self._slot(number, "lock"))
            if lock is not None:
                return self._occupy(host, number, lock)
        raise self._taken(WorkerIdentity(host.host_id, wanted[-1]))

    async def claim_async(self, seq: int | None = None) -> ClaimedIdentity:
        """Do as `claim` in a thread of its own; once begun it is not cancelled."""
        limiter = self._limiter.get(None)
        if limiter is None:
            limiter = CapacityLimiter(_THREADS)
            self._limiter.set(limiter)
        return await to_thread.run_sync(self.claim, seq, limiter=limiter)

    def remember_store(self, key: str, store_id: str, *, replace: bool = False) -> str | None:
        """Return the store id that was seen under `key` before, and keep the first one.

        A composition root calls it after opening a store: another id than before, and a
        store without records, means that fencing tokens would start again.

        Args:
            key: Names the place of the store, 1 to 2,048 characters; never a secret.
            store_id: The id found there now, 1 to 256 characters.
            replace: Keep this id from now on instead of an earlier one.
        Returns:
            None if nothing was known under `key`; it is known now, durably.
        Raises:
            InvalidInput, CorruptRecord, Unavailable: As `host` raises.
        Source: design §4, lease, Token.
        """
        _check_text("key", key, 2048)
        _check_text("store_id", store_id, 256)
        FILES.ensure_directory(self._root)
        record = SeenStoreRecord(key=key, store_id=store_id, seen_ns=self._now_ns())
        name = f"store-{hashlib.sha256(key.encode()).hexdigest()[:40]}"
        path = self._root / f"{name}.json"
        seen = self._read(path.name, SeenStoreRecord)
        if seen is None:
            if self._create_once(path, encode_record(record)):
                return None
            seen = self._read(path.name, SeenStoreRecord)
        if seen is None or seen.key != key:
            raise CorruptRecord(str(path), expected=f"key {key!r}", found=seen and seen.key)
        if replace and seen.store_id != store_id:
            self._replace_locked(path, encode_record(record))
        return seen.store_id

    def _replace_locked(self, path: Path, content: bytes) -> None:
        lock = ProcessLock.attempt(path.with_suffix(".lock"))
        if lock is None:
            raise Unavailable(f"identity file {path}", "another process is writing it")
        try:
            with FILES.translated(path):
                FILES.replace(path, content)
        finally:
            lock.release()

    def _draw_host(self) -> HostRecord:
        path = self._root / "host.json"
        drawn = HostRecord(
            host_id=str(uuid.uuid4()),  # noqa: TID251  # drawn once a host, by the shell
            machine_id=self._here(),
            created_ns=self._now_ns(),
        )
        orphan = self._any_slot_record()
        if orphan is None and self._create_once(path, encode_record(drawn)):
            return drawn
        # Another process was faster, or there are workers whose host is gone.
        host = self._read(path.name, HostRecord)
        if host is None:
            raise CorruptRecord(
                str(path),
                expected=f"the host of {orphan}",
                found="no file",
                hint=f"restore it, or remove {self._root} to become a new host",
            )
        return host

    def _occupy(self, host: HostRecord, seq: int, lock: ProcessLock) -> ClaimedIdentity:
        path = self._slot(seq, "json")
        try:
            last = self._last_life(host, seq, marked=lock.is_marked())
            if last:
                lock.mark()
            slot = SlotRecord(
                host_id=host.host_id, seq=seq, incarnation=last + 1, claimed_ns=self._now_ns()
            )
            with FILES.translated(path):
                FILES.replace(path, encode_record(slot))
            if not last:
                # Only now: a marked lock without a record tells that a record was lost.
                lock.mark()
            return ClaimedIdentity(WorkerIdentity(host.host_id, seq), slot.incarnation, lock)
        except BaseException:
            lock.release()
            raise

    def _last_life(self, host: HostRecord, seq: int, *, marked: bool) -> int:
        path = self._slot(seq, "json")
        slot = self._read(path.name, SlotRecord)
        if slot is None and not marked:
            return 0
        if slot is None or (slot.host_id, slot.seq) != (host.host_id, seq):
            raise CorruptRecord(
                str(path),
                expected=f"worker {host.host_id}:{seq}",
                found=f"worker {slot.host_id}:{slot.seq}" if slot else "no file",
                hint=f"restore it, or remove {self._root} to become a new host",
            )
        if slot.incarnation >= _MAX_INCARNATION:
            raise CorruptRecord(
                str(path), expected=f"incarnation below {_MAX_INCARNATION}", found=slot.incarnation
            )
        return slot.incarnation

    def _taken(self, identity: WorkerIdentity) -> IdentityTaken:
        pid = holder_of(self._slot(identity.seq, "lock"))
        return IdentityTaken(
            f"worker identity {identity}",
            expected="free",
            actual=f"held by process {pid}" if pid is not None else "held by a live process",
            hint="claim without a number, or stop that process",
        )

    def _here(self) -> str | None:
        here = self._machine_id()
        return here if here is None else _check_text("machine_id", here, 256)

    def _now_ns(self) -> int:
        # A clock gone mad must not write a record that nobody can read again.
        return min(max(self._wall_ns(), 0), 2**63 - 1)

    def _slot(self, seq: int, suffix: str) -> Path:
        return self._root / f"worker-{seq}.{suffix}"

    def _any_slot_record(self) -> str | None:
        with FILES.translated(self._root):
            return min((path.name for path in self._root.glob("worker-*.json")), default=None)

    def _read(self, name: str, kind: type[_Record]) -> _Record | None:
        path = self._root / name
        raw = FILES.read(path, MAX_RECORD_BYTES)
        return None if raw is None else decode_record(kind, raw, where=str(path))

    def _create_once(self, path: Path, content: bytes) -> bool:
        # Only has to differ from the temporary names of those who try at the same time.
        unique = f"{os.getpid()}-{uuid.uuid4().hex}"  # noqa: TID251
        with FILES.translated(path):
            return FILES.create_once(path, content, unique=unique)


def _check_root(root: object) -> Path:
    text = os.fspath(root) if isinstance(root, str | os.PathLike) else None
    # An empty one would be the working directory itself.
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise InvalidInput("identity root", expected="a path without NUL", found=root)
    return Path(text).absolute()


def _check_text(field: str, text: object, limit: int) -> str:
    # A lone surrogate is text that no file can hold.
    if (
        isinstance(text, str)
        and 0 < len(text) <= limit
        and not any("\ud800" <= c <= "\udfff" for c in text)
    ):
        return text
    raise InvalidInput(field, expected=f"1 to {limit} characters of text", found=text)

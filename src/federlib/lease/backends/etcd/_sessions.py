"""The leases of etcd that this process attaches its keys to.

They are shared between holds, so that one who takes a lease for a moment need not ask for
one of etcd's first. But nobody's keep-alive may lengthen what somebody else has fallen silent
about. So a lease of etcd is kept alive only for who is alone on it; where others are, too, a
new one is asked for, and whoever renews moves there. What is silent stays behind, and runs
out when it should, though this process may have stopped altogether.

A key is attached only to one that was granted or kept alive a moment ago: of the ttl a holder
loses at most `_FRESH_SHARE`, and is told how much.
"""

from __future__ import annotations

import math
import threading

import attrs

from federlib.errors import InvalidInput
from federlib.lease.backends.etcd._wire import GRANT, KEEP_ALIVE, read_granted, read_kept
from federlib.skewclock import Clock
from federlib.storage.backends.etcd._client import Ask, EtcdClient
from federlib.storage.backends.etcd._wire import encode

__all__ = ["Session", "Sessions"]

_FRESH_SHARE = 0.1
_KEEPABLE_SHARE = 0.9
"""Older ones may be gone when a keep-alive arrives; a new one costs no more."""

_NS = 1_000_000_000


@attrs.define(eq=False)
class Session:
    """One lease of etcd.

    Attributes:
        lease_id: Its id.
        seconds: Its ttl, as asked for.
        granted: Its ttl, as the server granted it; seconds.
        sent_boot_ns: The boot clock before what last granted or kept it was sent.
        sent_wall_ns: The same by the wall clock; Unix nanoseconds.
        members: The keys that may be attached to it.
    """

    lease_id: int
    seconds: int
    granted: int
    sent_boot_ns: int
    sent_wall_ns: int
    members: set[bytes] = attrs.Factory(set)


class Sessions:
    """The leases of etcd of one process. Thread-safe; blocks."""

    def __init__(self, client: EtcdClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._mutex = threading.Lock()
        self._current: dict[int, Session] = {}
        self._all: list[Session] = []
        self._at: dict[bytes, Session] = {}

    def get(self, seconds: int, key: bytes, *, patience_s: float, exact: bool = True) -> Session:
        """Return a fresh one for a key, which counts as attached from now on.

        Args:
            seconds: The ttl.
            key: What will be attached.
            patience_s: How long it may take; seconds.
            exact: Refuse what the server would make of the ttl, if that is another.
        Raises:
            InvalidInput: The server grants another ttl.
            Unavailable: There is none; nothing happened.
        """
        found = self.find_fresh(seconds, key, exact=exact)
        if found is not None:
            return found
        with self._mutex:
            known = (self._at.get(key), self._current.get(seconds))
            keepable = next(
                (it for it in known if it and self._may_keep(it, seconds, key, exact)), None
            )
            if keepable is not None:
                keepable.members.add(key)
        if keepable is not None and self._keep(keepable, patience_s):
            with self._mutex:
                self._current[seconds] = self._at[key] = keepable
            return keepable
        session = self._grant(seconds, patience_s, exact=exact)
        with self._mutex:
            self._prune()
            session.members.add(key)
            self._all.append(session)
            self._current[seconds] = self._at[key] = session
        return session

    def find_fresh(self, seconds: int, key: bytes, *, exact: bool = True) -> Session | None:
        """Return a fresh one for a key if nothing needs to be asked for that."""
        with self._mutex:
            found = self._current.get(seconds)
            if found is None or self._age_ns(found) >= seconds * _NS * _FRESH_SHARE:
                return None
            if exact and found.granted != seconds:
                return None
            found.members.add(key)
            self._at[key] = found
            return found

    def age_s(self, key: bytes) -> float:
        """Say how old what a key is attached to may be; seconds."""
        with self._mutex:
            found = self._at.get(key)
            return math.inf if found is None else self._age_ns(found) / _NS

    def settle(self, key: bytes, session: Session | None) -> None:
        """Hear that a key is attached there and nowhere else; with None, that it is gone."""
        with self._mutex:
            for one in self._all:
                if one is not session:
                    one.members.discard(key)
            if session is None:
                self._at.pop(key, None)

    def drop(self, session: Session) -> None:
        """Hear that the server does not know it any more."""
        with self._mutex:
            self._remove(session)

    def _age_ns(self, session: Session) -> int:
        return self._clock.boot_ns() - session.sent_boot_ns

    def _may_keep(self, session: Session, seconds: int, key: bytes, exact: bool) -> bool:  # noqa: FBT001 (of this class)
        return (
            (session.granted if exact else session.seconds) == seconds
            and session.members <= {key}
            and self._age_ns(session) < seconds * _NS * _KEEPABLE_SHARE
        )

    def _keep(self, session: Session, patience_s: float) -> bool:
        boot_ns, wall_ns = self._clock.boot_ns(), self._clock.wall_ns()
        body = encode({"ID": str(session.lease_id)})
        ask = Ask(path=KEEP_ALIVE, body=body, decode=read_kept, what="keep-alive")
        if not self._client.ask(ask, patience_s=patience_s).answer.ttl:
            self.drop(session)
            return False
        with self._mutex:
            # Two may do so at once, and the answer that comes last is perhaps the older one's.
            if boot_ns > session.sent_boot_ns:
                session.sent_boot_ns, session.sent_wall_ns = boot_ns, wall_ns
        return True

    def _grant(self, seconds: int, patience_s: float, *, exact: bool) -> Session:
        boot_ns, wall_ns = self._clock.boot_ns(), self._clock.wall_ns()
        # As a read: one that nobody heard of holds nothing, and runs out by itself.
        ask = Ask(path=GRANT, body=encode({"TTL": str(seconds)}), decode=read_granted)
        answer = self._client.ask(ask, patience_s=patience_s).answer
        if exact and answer.ttl != seconds:
            raise InvalidInput(
                "ttl_s",
                expected=f"at least {answer.ttl} s, the shortest that this etcd grants",
                found=seconds,
            )
        return Session(answer.id, seconds, answer.ttl, boot_ns, wall_ns)

    def _prune(self) -> None:
        for session in list(self._all):
            is_over = self._age_ns(session) > (session.seconds + 1) * _NS
            if is_over or (not session.members and self._current.get(session.seconds) != session):
                self._remove(session)

    def _remove(self, session: Session) -> None:
        if session in self._all:
            self._all.remove(session)
        if self._current.get(session.seconds) is session:
            del self._current[session.seconds]
        for key in session.members:
            if self._at.get(key) is session:
                del self._at[key]

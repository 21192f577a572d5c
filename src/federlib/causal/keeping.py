"""`Causal`: keeps hypotheses, judges commands by them, and records what came of it.

The member `causal` of a federation. Every verb that writes is one transaction with checks,
so nothing is counted twice and nothing that was stated is ever changed.

Source: HA plan §5.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import msgspec

from federlib.causal.effect import assess
from federlib.causal.gate import GateConfig, is_disruptive, judge, mode_for
from federlib.causal.keys import (
    HYPOTHESIS_PREFIX,
    decode_causal,
    evidence_key,
    evidence_prefix,
    hypothesis_key,
    result_key,
    track_key,
)
from federlib.causal.records import (
    Evidence,
    Finding,
    Hypothesis,
    Measured,
    Result,
    TrackRecord,
    Verdict,
    checked,
    encode,
)
from federlib.causal.view import Asked, Intervention, Log, Logged
from federlib.errors import Conflict, CorruptRecord, InvalidInput, Unavailable
from federlib.skewclock import Clock
from federlib.storage import (
    Absent,
    AtRevision,
    Check,
    Committed,
    Put,
    Record,
    RecordStore,
    Transaction,
)
from federlib.telemetry import SILENT, Metric, Telemetry

__all__ = ["CAUSAL_VERDICTS", "Causal"]

CAUSAL_VERDICTS = Metric(
    "federlib_causal_verdicts_total",
    "counter",
    "Disruptive commands that the causal gate judged.",
    ("ruling",),
)

_ATTEMPTS = 16
_NS = 1_000_000_000
_T = TypeVar("_T", Hypothesis, Evidence, Result, TrackRecord)


class Causal:
    """The causal gate of one federation, and what it keeps in the store.

    Args:
        store: Where hypotheses, evidence and results are.
        log: Reads commands and their outcomes.
        member: Tells who we are.
        clock: For instants of record and the age of evidence.
        config: What is asked for; by default nothing (`off`).
        telemetry: Verdicts are counted and logged there.
    """

    def __init__(
        self,
        store: RecordStore,
        *,
        log: Log,
        member: Callable[[], Awaitable[str]],
        clock: Clock,
        config: GateConfig | None = None,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self.config: GateConfig = GateConfig(mode="off") if config is None else config
        self._store = store
        self._log = log
        self._member = member
        self._clock = clock
        self._telemetry = telemetry

    async def state(self, hypothesis: Hypothesis) -> Hypothesis:
        """Write a hypothesis down, once and for all; the same again changes nothing.

        One that contradicts itself can be stated, too; commands that name it are then
        refused, or advised against. Where author and instant are not given, they are ours.

        Returns:
            The hypothesis as it is recorded.
        Raises:
            InvalidInput: A field is out of its range.
            Conflict: Another one has this id: choose a new id.
            CorruptRecord: What is stored under this id cannot be read.
            Unavailable, OutcomeUnknown: The store; stating it again is safe.
        """
        if not isinstance(hypothesis, Hypothesis):
            raise InvalidInput("hypothesis", expected="a Hypothesis", found=hypothesis)
        hypothesis = checked(hypothesis)
        key = hypothesis_key(hypothesis.hypothesis_id)
        signed = await self._signed(hypothesis)
        if await self._commit(Put(key, encode(signed)), Absent(key)):
            return signed
        stored = await self.find(hypothesis.hypothesis_id)
        if stored is not None and _same(stored, hypothesis):
            return stored
        raise Conflict(
            f"hypothesis {hypothesis.hypothesis_id!r}",
            expected="not stated yet, or with the same content",
            actual="stated with other content",
            hint="choose a new id: what was stated stays as it is",
        )

    async def find(self, hypothesis_id: str) -> Hypothesis | None:
        """Read a hypothesis; None where there is none.

        Raises:
            InvalidInput: It cannot be the id of one.
            CorruptRecord: It cannot be read.
        """
        return await self._get(Hypothesis, hypothesis_key(hypothesis_id))

    async def hypotheses(self) -> AsyncGenerator[Hypothesis, None]:
        """Read all hypotheses, in order of their ids."""
        async with aclosing(self._scan(Hypothesis, HYPOTHESIS_PREFIX)) as records:
            async for record in records:
                yield record

    async def attach(
        self,
        hypothesis_id: str,
        measured: Measured,
        *,
        source: str = "",
        observed_at_ns: int | None = None,
    ) -> Evidence:
        """Record evidence for a hypothesis; the gate looks at the newest.

        Args:
            hypothesis_id: The hypothesis; it must have been stated.
            measured: As `measure_effect` gives it.
            source: Where the series come from, for people; at most 200 characters.
            observed_at_ns: Of the newest sample, Unix nanoseconds; by default now.
        Raises:
            InvalidInput: No such hypothesis, or a value is out of range.
        """
        if await self.find(hypothesis_id) is None:
            raise InvalidInput("hypothesis_id", expected="a stated one", found=hypothesis_id)
        now_ns = self._clock.wall_ns()
        author = await self._member()
        for later in range(_ATTEMPTS):
            evidence = checked(
                Evidence(
                    hypothesis_id=hypothesis_id,
                    measured=measured,
                    source=source,
                    observed_at_ns=now_ns if observed_at_ns is None else observed_at_ns,
                    # Two of one instant: the second is a nanosecond younger.
                    recorded_at_ns=now_ns + later,
                    author=author,
                )
            )
            key = evidence_key(evidence)
            if await self._commit(Put(key, encode(evidence)), Absent(key)):
                return evidence
        raise self._contended(hypothesis_id)

    async def evidence(self, hypothesis_id: str) -> tuple[Evidence, ...]:
        """Read all evidence for a hypothesis, the newest last."""
        async with aclosing(self._scan(Evidence, evidence_prefix(hypothesis_id))) as records:
            return tuple([record async for record in records])

    async def track(self, hypothesis_id: str) -> TrackRecord:
        """Read how often a hypothesis was borne out; zeros before any result."""
        found = await self._get(TrackRecord, track_key(hypothesis_id))
        return TrackRecord(hypothesis_id=hypothesis_id) if found is None else found

    async def review(self, command: Asked) -> Verdict | None:
        """Judge a command; None where it is not disruptive, or the mode is `off`.

        Reads the store only for disruptive commands. What cannot be read there counts
        against the command; what cannot be reached raises.

        Raises:
            Unavailable: The store is away.
        """
        action = command.action
        if mode_for(self.config, action) == "off":
            return None
        if not is_disruptive(self.config, action, bytes(command.payload)):
            return None
        verdict = await self._judge(command)
        self._telemetry.emit(CAUSAL_VERDICTS, ruling=verdict.ruling)
        self._telemetry.log(
            "info" if verdict.ruling == "passed" else "warning",
            "causal_verdict",
            command_id=command.command_id,
            scope=command.scope,
            action=action,
            ruling=verdict.ruling,
            mode=verdict.mode,
            causal_id=command.causal_id,
            reason=verdict.reason,
        )
        return verdict

    async def conclude(self, scope: str, command_id: str, measured: Measured) -> Result:
        """Record what came of an applied command, and count it for its hypothesis.

        A second conclusion about a command changes nothing and returns the first. One that
        comes before the window of the expected effect has passed is refused: who looks
        until it fits will find that it fits.

        Args:
            scope: The election under which the command was issued.
            command_id: The command.
            measured: As `measure_effect` gives it for what happened after this command.
        Raises:
            InvalidInput: The command is not known, was not applied, names no stated
                hypothesis, or its window has not passed; or the measurement was not
                adjusted for what the hypothesis adjusts for.
            CorruptRecord: What is stored cannot be read.
            Unavailable, OutcomeUnknown: The store; concluding again is safe.
        """
        key = result_key(scope, command_id)
        if (recorded := await self._get(Result, key)) is not None:
            return recorded
        hypothesis = await self._acted_on(scope, command_id)
        left_out = sorted(set(hypothesis.adjustment) - set(measured.adjusted_for))
        if left_out:
            raise InvalidInput("measured.adjusted_for", expected=f"{left_out} too", found=measured)
        result = checked(
            Result(
                hypothesis_id=hypothesis.hypothesis_id,
                scope=scope,
                command_id=command_id,
                expected=hypothesis.expected,
                measured=measured,
                finding=assess(hypothesis.expected, measured),
                recorded_at_ns=self._clock.wall_ns(),
                author=await self._member(),
            )
        )
        return await self._count(key, result)

    async def result(self, scope: str, command_id: str) -> Result | None:
        """Read what came of a command; None where nobody has concluded that."""
        return await self._get(Result, result_key(scope, command_id))

    async def interventions(
        self, *, scope: str | None = None, hypothesis_id: str | None = None
    ) -> AsyncGenerator[Intervention, None]:
        """Read the commands that the gate judged or that name a hypothesis.

        Each with its verdict, hypothesis, outcome and result: what a dashboard shows. In
        order of scope and id, so by time within a scope.

        Args:
            scope: Only those of one election.
            hypothesis_id: Only those that name one hypothesis.
        """
        found = self._log.commands(scope=scope, causal_id=hypothesis_id)
        async with aclosing(found) as entries:
            async for entry in entries:
                if entry.command.causal_id or _is_judged(entry.command):
                    yield await self._joined(entry)

    async def _joined(self, entry: Logged) -> Intervention:
        command, outcome = entry.command, entry.outcome
        name = command.causal_id
        try:
            hypothesis = None if not name else await self.find(name)
        except InvalidInput:
            # Commands could always name anything.
            hypothesis = None
        return Intervention(
            scope=command.scope,
            command_id=command.command_id,
            action=command.action,
            issuer=command.issuer,
            issued_at_ns=command.issued_at_ns,
            status="pending" if outcome is None else outcome.status,
            causal_id=name,
            verdict=Verdict.decode(command.causal) if _is_judged(command) else None,
            hypothesis=hypothesis,
            result=await self.result(command.scope, command.command_id),
        )

    async def _judge(self, command: Asked) -> Verdict:
        hypothesis: Hypothesis | None = None
        evidence: Evidence | None = None
        track: TrackRecord | None = None
        trouble: list[str] = []
        try:
            if command.causal_id:
                hypothesis = await self.find(command.causal_id)
            if hypothesis is not None:
                evidence = (await self.evidence(hypothesis.hypothesis_id) or (None,))[-1]
                track = await self.track(hypothesis.hypothesis_id)
        except (CorruptRecord, InvalidInput) as error:
            # The gate must not be opened by damage.
            trouble.append(str(error)[:500])
        return judge(
            command.action,
            hypothesis,
            config=self.config,
            now_ns=self._clock.wall_ns(),
            causal_id=command.causal_id,
            evidence=evidence,
            track=track,
            trouble=trouble,
        )

    async def _acted_on(self, scope: str, command_id: str) -> Hypothesis:
        """Return the hypothesis of an applied command whose window has passed."""
        entry = await self._log.find(command_id, scope=scope)
        if entry is None or entry.outcome is None or entry.outcome.status != "applied":
            found = "no such command" if entry is None else "not applied"
            raise InvalidInput("command_id", expected="an applied command", found=found)
        name = entry.command.causal_id
        hypothesis = await self.find(name) if name else None
        if hypothesis is None:
            raise InvalidInput("causal_id", expected="a stated hypothesis", found=name)
        passed_s = (self._clock.wall_ns() - entry.outcome.at_ns) / _NS
        if passed_s < hypothesis.expected.within_s:
            raise InvalidInput(
                "measured",
                expected=f"what was seen in the {hypothesis.expected.within_s:g} s after it",
                found=f"only {passed_s:.0f} s have passed",
            )
        return hypothesis

    async def _count(self, key: str, result: Result) -> Result:
        """Write a result and its count in one commit; who comes second gets the first."""
        counted = track_key(result.hypothesis_id)
        for _ in range(_ATTEMPTS):
            record = await self._store.get(counted)
            if record is None:
                before, check = TrackRecord(hypothesis_id=result.hypothesis_id), None
            else:
                before, check = _read(TrackRecord, record), record.revision
            after = _counted(before, result)
            is_first = await self._commit(
                Put(key, encode(result)),
                Absent(key),
                Put(counted, encode(after)),
                Absent(counted) if check is None else AtRevision(counted, check),
            )
            if is_first:
                self._tell(result)
                return result
            if (recorded := await self._get(Result, key)) is not None:
                return recorded
        raise self._contended(result.hypothesis_id)

    def _tell(self, result: Result) -> None:
        self._telemetry.log(
            "info" if result.finding == "supported" else "warning",
            "causal_result",
            hypothesis_id=result.hypothesis_id,
            scope=result.scope,
            command_id=result.command_id,
            finding=result.finding,
        )

    def _contended(self, hypothesis_id: str) -> Unavailable:
        return Unavailable(
            f"hypothesis {hypothesis_id!r}",
            f"others wrote about it {_ATTEMPTS} times meanwhile",
            hint="try again",
        )

    async def _signed(self, hypothesis: Hypothesis) -> Hypothesis:
        changes: dict[str, object] = {}
        if hypothesis.author == "unknown":
            changes["author"] = await self._member()
        if hypothesis.stated_at_ns == 0:
            changes["stated_at_ns"] = self._clock.wall_ns()
        return msgspec.structs.replace(hypothesis, **changes)

    async def _commit(self, *parts: Put | Check) -> bool:
        writes = tuple(part for part in parts if isinstance(part, Put))
        checks = tuple(part for part in parts if not isinstance(part, Put))
        return isinstance(await self._store.commit(Transaction(writes, checks)), Committed)

    async def _get(self, kind: type[_T], key: str) -> _T | None:
        record = await self._store.get(key)
        return None if record is None else _read(kind, record)

    async def _scan(self, kind: type[_T], prefix: str) -> AsyncGenerator[_T, None]:
        after: str | None = None
        while True:
            page = await self._store.scan(prefix, after=after)
            for record in page.records:
                yield _read(kind, record)
            if page.next is None:
                return
            after = page.next


def _read(kind: type[_T], record: Record) -> _T:
    found = decode_causal(record)
    assert isinstance(found, kind)  # the key says which
    return found


def _is_judged(command: Asked) -> bool:
    return bytes(command.causal) != b"null"


def _same(stored: Hypothesis, stated: Hypothesis) -> bool:
    """Compare all but who stated it and when."""
    blank = {"author": stored.author, "stated_at_ns": stored.stated_at_ns}
    return stored == msgspec.structs.replace(stated, **blank)


def _counted(track: TrackRecord, result: Result) -> TrackRecord:
    counts: dict[Finding, int] = {
        "supported": track.supported,
        "refuted": track.refuted,
        "inconclusive": track.inconclusive,
    }
    counts[result.finding] += 1
    return TrackRecord(
        hypothesis_id=track.hypothesis_id,
        supported=counts["supported"],
        refuted=counts["refuted"],
        inconclusive=counts["inconclusive"],
        last_command_id=result.command_id,
        last_at_ns=result.recorded_at_ns,
    )

"""What the gate keeps: stated once, counted once, whoever comes at the same time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import attrs
import msgspec
import pytest

from causal.examples import MEASURED, SOUND, changed, measured
from federlib.causal import Causal, GateConfig, TrackRecord, Verdict
from federlib.causal.keys import decode_causal, evidence_key, hypothesis_key, result_key, track_key
from federlib.causal.records import Evidence, Result, encode
from federlib.errors import Conflict, CorruptRecord, InvalidInput, OutcomeUnknown, Unavailable
from federlib.fencing import Command, Commands, Outcome, OutcomeLog
from federlib.fencing.records import encode as encode_fencing
from federlib.storage import Committed, Conflicted, Put, Record, Transaction
from federlib.storage.backends.memory import MemoryStore
from federlib.telemetry import RecordingSink, Telemetry
from federlib.testing import ManualClock

pytestmark = pytest.mark.anyio

SCOPE = "coordinator"


class Rivals(MemoryStore):
    """Before each commit, somebody else may do something."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.before: list[Transaction] = []
        self.forgets = 0

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        if self.before:
            await super().commit(self.before.pop(0))
        done = await super().commit(transaction)
        if self.forgets:
            self.forgets -= 1
            raise OutcomeUnknown("store", transaction_id=None, reason="no answer")
        return done


@attrs.frozen
class Seat:
    epoch: int = 1
    name: str = SCOPE

    def check(self) -> int:
        return self.epoch


class World:
    def __init__(self, config: GateConfig | None = None) -> None:
        self.clock = ManualClock()
        self.store = Rivals(self.clock)
        self.sink = RecordingSink()
        self.telemetry = Telemetry(metrics=self.sink)
        self.gate = self.connected(config or GateConfig(mode="enforced"))
        self.commands = Commands(self.store, member=self.member, clock=self.clock, review=self.gate)

    def connected(self, config: GateConfig | None) -> Causal:
        return Causal(
            self.store,
            log=OutcomeLog(self.store),
            member=self.member,
            clock=self.clock,
            config=config,
            telemetry=self.telemetry,
        )

    async def member(self) -> str:
        return "manager-1"

    async def ready(self) -> None:
        await self.gate.state(SOUND)
        await self.gate.attach("leak-restart", MEASURED, source="canary")

    async def issue(
        self, action: str = "restart_many", causal_id: str | None = "leak-restart"
    ) -> Command | Outcome:
        return await self.commands.issue(action, gate=Seat(), causal_id=causal_id)

    async def applied(self) -> str:
        """Issue a restart, and let it be applied."""
        command = await self.issue()
        assert isinstance(command, Command)
        await self.end(command, "applied")
        return command.command_id

    async def end(self, command: Command, status: str) -> None:
        outcome = Outcome(
            command_id=command.command_id,
            status=status,
            epoch=1,
            consumer="worker-1",
            at_ns=self.clock.wall_ns(),
        )
        key = f"command/{SCOPE}/{command.command_id}/outcome"
        await self.store.commit(Transaction((Put(key, encode_fencing(outcome)),)))

    async def put(self, key: str, value: bytes) -> None:
        await self.store.commit(Transaction((Put(key, value),)))


@pytest.fixture
def world() -> World:
    return World()


async def test_a_hypothesis_is_stated_once_and_signed(world: World) -> None:
    bare = changed(author="unknown", stated_at_ns=0)
    stated = await world.gate.state(bare)
    assert (stated.author, stated.stated_at_ns) == ("manager-1", world.clock.wall_ns())
    assert await world.gate.find("leak-restart") == stated
    world.clock.advance(5)
    assert await world.gate.state(bare) == stated
    with pytest.raises(Conflict, match="choose a new id"):
        await world.gate.state(changed(adjustment=()))
    assert [each async for each in world.gate.hypotheses()] == [stated]


async def test_stating_again_after_no_answer_is_safe(world: World) -> None:
    world.store.forgets = 1
    with pytest.raises(OutcomeUnknown):
        await world.gate.state(SOUND)
    assert await world.gate.state(SOUND) == SOUND


async def test_evidence_needs_a_hypothesis_and_the_newest_counts(world: World) -> None:
    with pytest.raises(InvalidInput):
        await world.gate.attach("leak-restart", MEASURED)
    await world.gate.state(SOUND)
    first = await world.gate.attach("leak-restart", MEASURED)
    weak = await world.gate.attach("leak-restart", measured(low=-20.0, high=9.0), source="again")
    assert weak.recorded_at_ns == first.recorded_at_ns + 1
    assert await world.gate.evidence("leak-restart") == (first, weak)
    assert isinstance(await world.issue(), Outcome)
    world.clock.advance(1)
    await world.gate.attach("leak-restart", MEASURED)
    assert isinstance(await world.issue(), Command)


async def test_a_refused_command_is_in_the_log_with_its_reasons(world: World) -> None:
    outcome = await world.issue(causal_id=None)
    assert isinstance(outcome, Outcome)
    assert outcome.status == "rejected_causal"
    assert outcome.reason == "no hypothesis: a disruptive command names one as causal_id"
    entry = await world.commands.log.find(outcome.command_id)
    assert entry is not None
    assert entry.started is None
    verdict = Verdict.decode(entry.command.causal)
    assert (verdict.ruling, verdict.reason) == ("refused", outcome.reason)
    assert await world.commands.counts() == {"rejected_causal": 1}
    assert world.sink.value("federlib_causal_verdicts_total", ruling="refused") == 1


async def test_the_evidence_goes_into_the_record_of_the_command(world: World) -> None:
    await world.ready()
    command = await world.issue()
    assert isinstance(command, Command)
    entry = await world.commands.log.find(command.command_id)
    assert entry is not None
    verdict = Verdict.decode(entry.command.causal)
    assert verdict.ruling == "passed"
    assert verdict.evidence is not None
    assert verdict.evidence.measured == MEASURED
    assert verdict.track == TrackRecord(hypothesis_id="leak-restart")


async def test_in_advisory_mode_it_passes_and_is_written_down() -> None:
    world = World(GateConfig(mode="advisory"))
    command = await world.issue(causal_id="never-stated")
    assert isinstance(command, Command)
    verdict = Verdict.decode(command.causal)
    assert verdict.ruling == "advised"
    assert "'never-stated' was ever stated" in verdict.reason
    assert verdict.hypothesis_id == "never-stated"


@pytest.mark.parametrize("config", [None, GateConfig(mode="off")])
async def test_switched_off_it_judges_nothing(config: GateConfig | None) -> None:
    world = World()
    gate = world.connected(config)
    commands = Commands(world.store, member=world.member, clock=world.clock, review=gate)
    command = await commands.issue("restart_many", gate=Seat())
    assert isinstance(command, Command)
    assert bytes(command.causal) == b"null"


async def test_what_is_not_disruptive_costs_no_look_at_the_store(world: World) -> None:
    world.store.scan = None  # type: ignore[assignment, method-assign]  # would fail when used
    assert isinstance(await world.issue("restart_one"), Command)


@pytest.mark.parametrize(
    "key",
    [hypothesis_key("leak-restart"), track_key("leak-restart"), "causal/evidence/leak-restart/00"],
)
async def test_damage_does_not_open_the_gate(world: World, key: str) -> None:
    await world.ready()
    await world.put(key, b"{}")
    outcome = await world.issue()
    assert isinstance(outcome, Outcome)
    assert outcome.status == "rejected_causal"
    assert key in Verdict.decode((await found(world, outcome)).causal).reason


async def found(world: World, outcome: Outcome) -> Command:
    entry = await world.commands.log.find(outcome.command_id)
    assert entry is not None
    return entry.command


async def test_a_name_that_no_hypothesis_can_have_is_refused(world: World) -> None:
    outcome = await world.issue(causal_id="no/such name")
    assert isinstance(outcome, Outcome)
    assert "hypothesis_id" in outcome.reason
    listed = [each async for each in world.gate.interventions()]
    assert [each.hypothesis for each in listed] == [None]


async def test_a_result_is_recorded_once_and_counted_once(world: World) -> None:
    await world.ready()
    command_id = await world.applied()
    world.clock.advance(600)
    first = await world.gate.conclude(SCOPE, command_id, MEASURED)
    assert first.finding == "supported"
    again = await world.gate.conclude(SCOPE, command_id, measured(low=1.0, high=2.0))
    assert again == first
    track = await world.gate.track("leak-restart")
    assert (track.supported, track.refuted, track.inconclusive) == (1, 0, 0)
    assert track.last_command_id == command_id


async def test_a_hypothesis_that_keeps_failing_is_refused(world: World) -> None:
    await world.ready()
    for _ in range(2):
        command_id = await world.applied()
        world.clock.advance(600)
        result = await world.gate.conclude(SCOPE, command_id, measured(low=-1.0, high=1.0))
        assert result.finding == "refuted"
    outcome = await world.issue()
    assert isinstance(outcome, Outcome)
    assert outcome.reason == "track record: refuted 2 times and borne out 0 times"


async def test_who_looks_before_the_window_has_passed_is_sent_away(world: World) -> None:
    await world.ready()
    command_id = await world.applied()
    world.clock.advance(599)
    with pytest.raises(InvalidInput, match="only 599 s have passed"):
        await world.gate.conclude(SCOPE, command_id, MEASURED)


async def test_only_what_was_applied_and_adjusted_can_be_concluded(world: World) -> None:
    await world.ready()
    with pytest.raises(InvalidInput, match="no such command"):
        await world.gate.conclude(SCOPE, "nobody", MEASURED)
    command = await world.issue()
    assert isinstance(command, Command)
    with pytest.raises(InvalidInput, match="not applied"):
        await world.gate.conclude(SCOPE, command.command_id, MEASURED)
    await world.end(command, "noop")
    with pytest.raises(InvalidInput, match="not applied"):
        await world.gate.conclude(SCOPE, command.command_id, MEASURED)
    command_id = await world.applied()
    world.clock.advance(600)
    with pytest.raises(InvalidInput, match="load"):
        await world.gate.conclude(SCOPE, command_id, measured(adjusted_for=()))
    other = await world.commands.issue("restart_one", gate=Seat())
    assert isinstance(other, Command)
    await world.end(other, "applied")
    with pytest.raises(InvalidInput, match="a stated hypothesis"):
        await world.gate.conclude(SCOPE, other.command_id, MEASURED)


async def test_two_that_conclude_at_once_are_both_counted(world: World) -> None:
    await world.ready()
    ids = [await world.applied() for _ in range(2)]
    world.clock.advance(600)
    rival = TrackRecord(hypothesis_id="leak-restart", supported=7)
    world.store.before = [Transaction((Put(track_key("leak-restart"), encode(rival)),))]
    await world.gate.conclude(SCOPE, ids[0], MEASURED)
    assert (await world.gate.track("leak-restart")).supported == 8
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(world.gate.conclude, SCOPE, ids[1], MEASURED)
    assert (await world.gate.track("leak-restart")).supported == 9


async def test_concluding_again_after_no_answer_counts_once(world: World) -> None:
    await world.ready()
    command_id = await world.applied()
    world.clock.advance(600)
    world.store.forgets = 1
    with pytest.raises(OutcomeUnknown):
        await world.gate.conclude(SCOPE, command_id, MEASURED)
    assert (await world.gate.conclude(SCOPE, command_id, MEASURED)).finding == "supported"
    assert (await world.gate.track("leak-restart")).supported == 1


async def test_rivals_without_end_are_told(world: World) -> None:
    await world.ready()
    command_id = await world.applied()
    world.clock.advance(600)
    world.store.before = [
        Transaction(
            (
                Put(
                    track_key("leak-restart"),
                    encode(TrackRecord(hypothesis_id="leak-restart", supported=k)),
                ),
            )
        )
        for k in range(16)
    ]
    with pytest.raises(Unavailable, match="16 times"):
        await world.gate.conclude(SCOPE, command_id, MEASURED)


async def test_evidence_of_sixteen_rivals_in_one_instant_is_told(world: World) -> None:
    await world.gate.state(SOUND)
    for _ in range(16):
        await world.gate.attach("leak-restart", MEASURED)
    with pytest.raises(Unavailable, match="16 times"):
        await world.gate.attach("leak-restart", MEASURED)


async def test_an_intervention_is_shown_with_all_that_is_known_of_it(world: World) -> None:
    await world.ready()
    refused = await world.issue(causal_id=None)
    command_id = await world.applied()
    await world.issue("restart_one", causal_id=None)  # none of the gate's business
    world.clock.advance(600)
    result = await world.gate.conclude(SCOPE, command_id, MEASURED)
    shown = {each.command_id: each async for each in world.gate.interventions(scope=SCOPE)}
    assert set(shown) == {refused.command_id, command_id}
    done = shown[command_id]
    assert (done.status, done.hypothesis, done.result) == ("applied", SOUND, result)
    assert done.verdict is not None
    assert done.verdict.ruling == "passed"
    assert shown[refused.command_id].status == "rejected_causal"
    named = [each async for each in world.gate.interventions(hypothesis_id="leak-restart")]
    assert [each.command_id for each in named] == [command_id]
    async with aclosing(world.gate.interventions(scope="elsewhere")) as none:
        assert [each async for each in none] == []


async def test_what_is_stated_must_be_well_formed(world: World) -> None:
    for bad in (
        changed(hypothesis_id="a/b"),
        changed(graph={"restart": ()}),
        changed(mechanism=""),
        changed(expected=msgspec.structs.replace(SOUND.expected, at_least=float("nan"))),
        changed(expected=msgspec.structs.replace(SOUND.expected, at_least=0.0)),
        {"hypothesis_id": "x"},
    ):
        with pytest.raises(InvalidInput):
            await world.gate.state(bad)  # type: ignore[arg-type]  # that is the test
    with pytest.raises(InvalidInput):
        await world.gate.find("a/b")


def stored(key: str, value: bytes) -> Record:
    return Record(key, value, 1, 1)


RESULT = Result(
    hypothesis_id="leak-restart",
    scope=SCOPE,
    command_id="c1",
    expected=SOUND.expected,
    measured=MEASURED,
    finding="supported",
    recorded_at_ns=1,
    author="ops",
)


async def test_a_record_under_a_foreign_key_is_corrupt() -> None:
    assert decode_causal(stored(result_key(SCOPE, "c1"), encode(RESULT))) == RESULT
    for key, value in (
        (result_key(SCOPE, "c2"), encode(RESULT)),
        (hypothesis_key("other"), encode(SOUND)),
        ("causal/unheard/of", encode(SOUND)),
        (track_key("leak-restart"), encode(SOUND)),
        (hypothesis_key("leak-restart"), encode(SOUND).replace(b'"v":1', b'"v":2')),
        (hypothesis_key("leak-restart"), b"\xff"),
        ("causal/result/x/c1", encode(msgspec.structs.replace(RESULT, scope="\x00"))),
    ):
        with pytest.raises(CorruptRecord):
            decode_causal(stored(key, value))


async def test_keys_of_evidence_sort_by_time() -> None:
    made = [
        evidence_key(
            Evidence(
                hypothesis_id="h",
                measured=MEASURED,
                source="",
                observed_at_ns=0,
                recorded_at_ns=at,
                author="a",
            )
        )
        for at in (1, 15, 16, 10**18, 2**63 - 1)
    ]
    assert made == sorted(made)


async def test_reading_many_goes_on_over_pages(world: World) -> None:
    for k in range(300):
        key = hypothesis_key(f"h{k:04d}")
        await world.put(key, encode(changed(hypothesis_id=f"h{k:04d}")))

    async def names(items: AsyncGenerator[object, None]) -> int:
        return len([each async for each in items])

    assert await names(world.gate.hypotheses()) == 300

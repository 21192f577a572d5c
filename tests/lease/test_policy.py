"""How patiently a lease is acquired and kept: the numbers, and that the tries end in time."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import anyio
import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from federlib.errors import InvalidInput, LeaseLost, OutcomeUnknown, Unavailable
from federlib.lease import (
    Busy,
    HeldLease,
    Holder,
    Lease,
    LeaseBackend,
    LeaseCapabilities,
    LeasePolicy,
    LeaseState,
    NotHeld,
    Released,
    hold,
    try_acquire,
)
from federlib.lease.policy import DEADLINE_SHARE, LAST_TRY_SHARE
from federlib.testing import LoopClock, run_virtually
from federlib.testing import strategies as fed

CLOCK = LoopClock()
Answer = Literal["hangs", "fails", "is lost"]


@attrs.define
class Try:
    """One call: when it came and when it ended; seconds of the loop."""

    began_s: float
    ended_s: float = math.inf


class DeafBackend(LeaseBackend):
    """Grants at once, or when told; what it is asked after that goes as the test says."""

    def __init__(self, answers: list[Answer], *, delay_s: float = 0.0) -> None:
        self.answers = itertools.chain(answers, itertools.repeat("hangs"))
        self.delay_s = delay_s
        self.deaf_acquires = 0
        self.acquires: list[Try] = []
        self.renewals: list[Try] = []

    @property
    def capabilities(self) -> LeaseCapabilities:
        return LeaseCapabilities(fair_queue=False, multi_host=True, survives_restart=False)

    async def acquire(
        self, name: str, holder: Holder, *, ttl_s: float, queue: bool = False
    ) -> Lease | Busy:
        del queue
        this = Try(anyio.current_time())
        self.acquires.append(this)
        try:
            if len(self.acquires) <= self.deaf_acquires:
                await anyio.sleep_forever()
        finally:
            this.ended_s = anyio.current_time()
        return Lease(
            name=name,
            holder_id=holder.holder_id,
            session=holder.session,
            fencing_token=1,
            ttl_ms=round(ttl_s * 1_000),
            acquired_at=0,
            renewed_at=0,
            expires_at=0,
        )

    async def renew(self, lease: Lease) -> Lease | NotHeld:
        del lease
        this = Try(anyio.current_time())
        self.renewals.append(this)
        try:
            answer = next(self.answers)
            if answer == "hangs":
                await anyio.sleep_forever()
            await anyio.sleep(self.delay_s)
        finally:
            this.ended_s = anyio.current_time()
        if answer == "fails":
            raise Unavailable("engine", "away")
        raise OutcomeUnknown("renewal", transaction_id=None, reason="its answer was lost")

    async def release(self, lease: Lease) -> Released | NotHeld:
        return Released(lease.name, lease.fencing_token)

    async def inspect(self, name: str) -> LeaseState:
        return LeaseState(name=name, fencing_token=1, lease=None, is_live=False)

    @asynccontextmanager
    async def watch(self, name: str) -> AsyncIterator[AsyncIterator[LeaseState]]:
        async def nothing() -> AsyncIterator[LeaseState]:
            await anyio.sleep_forever()
            yield await self.inspect(name)

        yield nothing()


def keep(
    backend: DeafBackend,
    loop: str,
    *,
    ttl_s: float,
    policy: LeasePolicy | None = None,
    chance: float = 0.0,
) -> float:
    """Hold a lease until it is lost; return how long after its grant that was."""

    async def main() -> float:
        began_s = anyio.current_time()
        with pytest.raises(LeaseLost):
            async with hold(
                backend,
                "n",
                holder_id="ada",
                clock=CLOCK,
                ttl_s=ttl_s,
                policy=policy,
                jitter=lambda: chance,
            ):
                await anyio.sleep_forever()
        return anyio.current_time() - began_s

    return run_virtually(main, "trio" if loop == "trio" else "asyncio")


def test_the_defaults_follow_from_the_ttl() -> None:
    policy = LeasePolicy()
    assert policy.renew_after_ns(15_000_000_000) == 5_000_000_000
    assert policy.renewal_limit_s(15, 13.5) == 3.75
    assert policy.acquire_limit_s(15) == 9
    pauses = itertools.islice(policy.renewal_pauses_s(15), 6)
    assert list(pauses) == pytest.approx([0.3, 0.6, 1.2, 1.5, 1.5, 1.5])
    pauses = itertools.islice(policy.acquire_pauses_s(), 8)
    assert list(pauses) == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2, 2])
    assert policy.worst_share == pytest.approx(1 / 3 + 1 / 4 + 1 / 50 + 1 / 4)
    assert policy.worst_share < LAST_TRY_SHARE < DEADLINE_SHARE


def test_no_try_is_longer_than_the_longest_however_long_the_ttl_is() -> None:
    policy = LeasePolicy(longest_attempt_s=7)
    assert policy.renewal_limit_s(3_600, 3_000) == 7
    assert policy.acquire_limit_s(3_600) == 7


def test_a_try_that_begins_late_is_cut_and_one_that_begins_too_late_is_none() -> None:
    policy = LeasePolicy()
    assert policy.renewal_limit_s(10, 1.1) == pytest.approx(1.0)
    assert policy.renewal_limit_s(10, 0.1) == pytest.approx(0, abs=1e-9)
    assert policy.renewal_limit_s(10, 0) == 0


@pytest.mark.parametrize(
    ("chance", "pause_s"), [(0, 10), (0.5, 9), (1, 8)], ids=["none", "half", "all"]
)
def test_jitter_only_ever_shortens_a_pause(chance: float, pause_s: float) -> None:
    assert LeasePolicy(jitter_share=0.2).shortened_s(10, chance) == pytest.approx(pause_s)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        # What was done before there were policies: the second hanging try ended too late.
        ({"attempt_share": 1 / 3}, r"expected 2 tries .* before 0.89 .*the end at 1.02 of it"),
        ({"tries": 3}, r"expected 3 tries .*the end at 1.143 of it"),
        ({"renew_share": 0.4}, "the end at 0.92 of it"),
        ({"pause_share": 0.1, "renew_share": 0.35}, "the end at 0.95 of it"),
        ({"acquire_share": 0.7}, r"acquire_share \+ attempt_share below 0.89.* found '0.95'"),
        ({"tries": 0}, "LeasePolicy.tries: expected a whole number, 1 to 100, found 0"),
        ({"tries": 1.5}, "LeasePolicy.tries"),
        ({"tries": True}, "LeasePolicy.tries"),
        ({"renew_share": 0}, "LeasePolicy.renew_share: expected 0.01 to 0.85, found 0"),
        ({"renew_share": math.nan}, "LeasePolicy.renew_share"),
        ({"attempt_share": "1/4"}, "LeasePolicy.attempt_share"),
        ({"pause_factor": 0.5}, "LeasePolicy.pause_factor: expected 1 to 100"),
        ({"longest_attempt_s": math.inf}, "LeasePolicy.longest_attempt_s"),
        ({"jitter_share": 0.51}, "LeasePolicy.jitter_share: expected 0 to 0.5"),
    ],
)
def test_a_policy_that_cannot_be_safe_is_refused_with_the_number(
    changed: dict[str, float], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        LeasePolicy(**changed)  # type: ignore[arg-type]


def test_something_else_than_a_policy_is_refused_before_anything_happens() -> None:
    wrong: LeasePolicy = {"tries": 2}  # type: ignore[assignment]
    with pytest.raises(InvalidInput, match="policy: expected a LeasePolicy"):
        hold(DeafBackend([]), "n", holder_id="ada", clock=CLOCK, policy=wrong)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@settings(max_examples=60, deadline=None)
@given(
    policy=fed.of(LeasePolicy),
    ttl_s=st.floats(0.1, 3_600),
    answers=st.lists(st.sampled_from(("hangs", "fails", "is lost")), max_size=6),
    delay=st.floats(0, 1),
    chance=st.floats(0, 1),
)
@example(policy=LeasePolicy(), ttl_s=15, answers=[], delay=0, chance=0)
@example(policy=LeasePolicy(), ttl_s=15, answers=["fails", "is lost"] * 9, delay=0.5, chance=1)
def test_the_last_try_to_renew_ends_before_the_holder_must_stop(
    loop: str,
    policy: LeasePolicy,
    ttl_s: float,
    answers: list[Answer],
    delay: float,
    chance: float,
) -> None:
    backend = DeafBackend(answers, delay_s=delay * ttl_s)
    lost_s = keep(backend, loop, ttl_s=ttl_s, policy=policy, chance=chance)
    ttl_s = round(ttl_s * 1_000) / 1_000
    deadline_s = backend.acquires[0].began_s + DEADLINE_SHARE * ttl_s
    tries = backend.renewals
    assert len(tries) >= policy.tries
    assert lost_s == pytest.approx(DEADLINE_SHARE * ttl_s, abs=0.002)
    # Half of the hundredth that is left for timers: what is measured here is exact.
    assert all(this.ended_s <= deadline_s - 0.005 * ttl_s for this in tries)
    assert all(one.ended_s <= next_.began_s for one, next_ in itertools.pairwise(tries))
    longest_s = min(policy.attempt_share * ttl_s, policy.longest_attempt_s)
    assert all(this.ended_s - this.began_s <= longest_s + 1e-6 for this in tries)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@settings(max_examples=30, deadline=None)
@given(policy=fed.of(LeasePolicy))
def test_as_many_hanging_tries_as_promised_have_all_their_time(
    loop: str, policy: LeasePolicy
) -> None:
    backend = DeafBackend([])
    keep(backend, loop, ttl_s=15, policy=policy)
    lasted_s = [this.ended_s - this.began_s for this in backend.renewals[: policy.tries]]
    whole_s = min(policy.attempt_share * 15, policy.longest_attempt_s)
    assert lasted_s == pytest.approx([whole_s] * policy.tries, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_tries_that_fail_at_once_go_on_until_the_end(loop: str) -> None:
    backend = DeafBackend(["fails"] * 100)
    keep(backend, loop, ttl_s=15)
    began_s = [this.began_s - backend.acquires[0].began_s for this in backend.renewals]
    assert began_s == pytest.approx([5, 5.3, 5.9, 7.1, 8.6, 10.1, 11.6, 13.1], abs=0.002)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_hanging_request_does_not_eat_the_whole_wait(loop: str) -> None:
    backend = DeafBackend([])
    backend.deaf_acquires = 2

    async def main() -> HeldLease:
        async with hold(backend, "n", holder_id="ada", clock=CLOCK, ttl_s=10, wait_s=30) as lease:
            return lease

    assert run_virtually(main, "trio" if loop == "trio" else "asyncio").token == 1
    first, second, third = backend.acquires
    assert first.ended_s - first.began_s == pytest.approx(6, abs=0.002)
    assert second.began_s - first.ended_s == pytest.approx(0.05, abs=0.06)
    assert third.began_s - second.ended_s == pytest.approx(0.1, abs=0.06)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("way", ["hold", "try_acquire"])
def test_one_try_that_hangs_is_told_as_an_unknown_outcome(loop: str, way: str) -> None:
    backend = DeafBackend([])
    backend.deaf_acquires = 9
    policy = LeasePolicy(acquire_share=0.2)

    async def main() -> float:
        began_s = anyio.current_time()
        with pytest.raises(OutcomeUnknown, match="no answer within 2 s"):
            if way == "try_acquire":
                await try_acquire(
                    backend, "n", holder_id="ada", clock=CLOCK, ttl_s=10, policy=policy
                )
            else:
                async with hold(
                    backend, "n", holder_id="ada", clock=CLOCK, ttl_s=10, wait_s=0, policy=policy
                ):
                    pytest.fail("entered")
        return anyio.current_time() - began_s

    took_s = run_virtually(main, "trio" if loop == "trio" else "asyncio")
    assert took_s == pytest.approx(2, abs=0.002)
    assert len(backend.acquires) == 1


@pytest.mark.parametrize("ttl_s", [0, -1, math.nan, "5"])
def test_a_ttl_that_cannot_be_is_refused_before_anything_is_asked(ttl_s: float) -> None:
    backend = DeafBackend([])
    with pytest.raises(InvalidInput, match="ttl_s"):
        hold(backend, "n", holder_id="ada", clock=CLOCK, ttl_s=ttl_s)
    assert backend.acquires == []

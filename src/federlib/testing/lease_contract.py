"""`LeaseBackendContract`: a test for every sentence of the `LeaseBackend` protocol.

    class TestMyBackend(LeaseBackendContract):
        @asynccontextmanager
        async def backend(self):
            yield MyBackend(self.clock)

A sentence about an ability is tested as the backend declares it in its capabilities; what
is declared and missing fails, it does not skip.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import anyio
import pytest

from federlib.lease import (
    Busy,
    Holder,
    Lease,
    LeaseBackend,
    LeaseState,
    NotHeld,
    Released,
)

__all__ = ["LeaseBackendContract"]

ADA = Holder("ada", "1.1")
ADA_AGAIN = Holder("ada", "1.2")
BEN = Holder("ben", "1.1")
CY = Holder("cy", "1.1")
NAME = "nightly report/Überblick"


class LeaseBackendContract:
    """Subclass it, give a backend, run pytest.

    Attributes:
        ttl_s: The ttl that the tests lease for; seconds. A backend on real time may choose
            a short one.
        patience_s: How long a watcher may take to hear of a change; seconds of real time.
    """

    ttl_s: float = 6.0
    patience_s: float = 5.0

    def backend(self) -> AbstractAsyncContextManager[LeaseBackend]:
        """Open the backend of this test; a second call opens the same names again."""
        raise NotImplementedError

    async def advance(self, seconds: float) -> None:
        """Let time pass for the backend; with a manual clock, by hand."""
        await anyio.sleep(seconds)

    async def _take(
        self, backend: LeaseBackend, holder: Holder, *, name: str = NAME, queue: bool = False
    ) -> Lease:
        answer = await backend.acquire(name, holder, ttl_s=self.ttl_s, queue=queue)
        assert isinstance(answer, Lease), answer
        return answer

    async def _refused(self, backend: LeaseBackend, holder: Holder, *, queue: bool = False) -> Busy:
        answer = await backend.acquire(NAME, holder, ttl_s=self.ttl_s, queue=queue)
        assert isinstance(answer, Busy), answer
        return answer

    @pytest.mark.anyio
    async def test_a_free_lease_is_granted_as_asked(self) -> None:
        """Check name, holder, session, ttl and expiry of a grant; its token is at least 1."""
        async with self.backend() as backend:
            lease = await self._take(backend, ADA)
            assert (lease.name, lease.holder_id, lease.session) == (NAME, "ada", "1.1")
            assert lease.fencing_token >= 1
            assert lease.ttl_ms == round(self.ttl_s * 1_000)
            assert lease.expires_at == lease.renewed_at + lease.ttl_ms * 1_000_000

    @pytest.mark.anyio
    async def test_a_held_lease_is_refused_and_says_who_has_it_until_when(self) -> None:
        """Check what `Busy` tells: the holder, its expiry, and a `retry_in_s` above 0."""
        async with self.backend() as backend:
            lease = await self._take(backend, ADA)
            busy = await self._refused(backend, BEN)
            assert (busy.name, busy.holder, busy.expires) == (NAME, "ada", lease.expires_at)
            assert 0 < busy.retry_in_s <= self.ttl_s + 3_600

    @pytest.mark.anyio
    async def test_acquiring_never_waits(self) -> None:
        """Have `acquire` refuse within `patience_s`, with and without `queue`."""
        async with self.backend() as backend:
            await self._take(backend, ADA)
            with anyio.fail_after(self.patience_s):
                await self._refused(backend, BEN)
                await self._refused(backend, CY, queue=True)

    @pytest.mark.anyio
    async def test_its_own_session_gets_it_again_renewed_with_the_same_token(self) -> None:
        """Acquire twice under one session: token and `acquired_at` stay, `renewed_at` rises."""
        async with self.backend() as backend:
            first = await self._take(backend, ADA)
            await self.advance(self.ttl_s / 2)
            again = await self._take(backend, ADA)
            assert again.fencing_token == first.fencing_token
            assert again.acquired_at == first.acquired_at
            assert again.renewed_at > first.renewed_at

    @pytest.mark.anyio
    async def test_another_session_of_the_same_holder_is_a_rival(self) -> None:
        """Acquire under a second session of the holder: it is refused."""
        async with self.backend() as backend:
            await self._take(backend, ADA)
            assert (await self._refused(backend, ADA_AGAIN)).holder == "ada"

    @pytest.mark.anyio
    async def test_each_grant_has_a_higher_token(self) -> None:
        """Compare the tokens of one name, across releases and an expiry: strictly rising."""
        async with self.backend() as backend:
            tokens = []
            for holder in (ADA, BEN, ADA, ADA_AGAIN):
                lease = await self._take(backend, holder)
                tokens.append(lease.fencing_token)
                assert isinstance(await backend.release(lease), Released)
            expired = await self._take(backend, BEN)
            await self._expire(backend)
            tokens += [expired.fencing_token, (await self._take(backend, CY)).fencing_token]
            assert tokens == sorted(set(tokens))

    @pytest.mark.anyio
    async def test_names_do_not_touch_each_other(self) -> None:
        """Lease names that begin alike, one with a slash, to three holders at once."""
        async with self.backend() as backend:
            await self._take(backend, ADA, name="a")
            await self._take(backend, BEN, name="a/b")
            await self._take(backend, CY, name="ab")
            assert (await backend.inspect("a")).waiters == ()

    @pytest.mark.anyio
    async def test_renewing_pushes_the_expiry_and_keeps_the_token(self) -> None:
        """Renew before expiry: rivals are refused beyond the first ttl."""
        async with self.backend() as backend:
            lease = await self._take(backend, ADA)
            await self.advance(self.ttl_s * 0.7)
            renewed = await backend.renew(lease)
            assert isinstance(renewed, Lease)
            assert renewed.fencing_token == lease.fencing_token
            assert renewed.expires_at > lease.expires_at
            await self.advance(self.ttl_s * 0.7)
            assert (await self._refused(backend, BEN)).holder == "ada"

    @pytest.mark.anyio
    async def test_an_expired_lease_that_nobody_took_may_be_renewed(self) -> None:
        """Renew after expiry: the token stays, and rivals are refused again."""
        async with self.backend() as backend:
            lease = await self._take(backend, ADA)
            await self._expire(backend)
            renewed = await backend.renew(lease)
            assert isinstance(renewed, Lease)
            assert renewed.fencing_token == lease.fencing_token
            assert (await self._refused(backend, BEN)).holder == "ada"

    @pytest.mark.anyio
    async def test_a_lease_that_another_took_is_not_renewed(self) -> None:
        """Renew a lost lease: `NotHeld` names the new holder, whose lease is unchanged."""
        async with self.backend() as backend:
            old = await self._take(backend, ADA)
            await self._expire(backend)
            new = await self._take(backend, BEN)
            assert await backend.renew(old) == NotHeld(NAME, old.fencing_token, "ben")
            assert (await backend.inspect(NAME)).lease == new

    @pytest.mark.anyio
    async def test_releasing_frees_at_once(self) -> None:
        """Release: a rival gets the lease without a wait, and the highest token is still known."""
        async with self.backend() as backend:
            lease = await self._take(backend, ADA)
            assert await backend.release(lease) == Released(NAME, lease.fencing_token)
            state = await backend.inspect(NAME)
            assert (state.lease, state.is_live) == (None, False)
            assert state.fencing_token == lease.fencing_token
            await self._take(backend, BEN)

    @pytest.mark.anyio
    async def test_releasing_what_is_no_longer_held_has_no_effect(self) -> None:
        """Release twice, the second time also under a new holder: `NotHeld`, nothing changes."""
        async with self.backend() as backend:
            old = await self._take(backend, ADA)
            assert isinstance(await backend.release(old), Released)
            assert await backend.release(old) == NotHeld(NAME, old.fencing_token, None)
            new = await self._take(backend, BEN)
            assert await backend.release(old) == NotHeld(NAME, old.fencing_token, "ben")
            assert (await backend.inspect(NAME)).lease == new

    @pytest.mark.anyio
    async def test_what_was_never_leased_is_neither_renewed_nor_released(self) -> None:
        """Present a lease of a name that was never granted: `NotHeld` without a holder."""
        async with self.backend() as backend:
            lease = await self._take(backend, ADA, name="elsewhere")
            other = Lease(
                name=NAME,
                holder_id="ada",
                session="1.1",
                fencing_token=lease.fencing_token,
                ttl_ms=lease.ttl_ms,
                acquired_at=lease.acquired_at,
                renewed_at=lease.renewed_at,
                expires_at=lease.expires_at,
            )
            assert await backend.renew(other) == NotHeld(NAME, lease.fencing_token, None)
            assert await backend.release(other) == NotHeld(NAME, lease.fencing_token, None)

    @pytest.mark.anyio
    async def test_an_expired_lease_can_be_taken_and_a_live_one_cannot(self) -> None:
        """Try before the ttl ends, and at ttl + `failover_slack_s`, where a rival must succeed."""
        async with self.backend() as backend:
            await self._take(backend, ADA)
            await self.advance(self.ttl_s * 0.8)
            await self._refused(backend, BEN)
            await self.advance(self.ttl_s * 0.2 + backend.capabilities.failover_slack_s)
            assert (await backend.inspect(NAME)).is_live is False
            await self._take(backend, BEN)

    @pytest.mark.anyio
    async def test_inspecting_reads_without_effect(self) -> None:
        """Inspect an unknown name (token 0), and a held one twice with the same answer."""
        async with self.backend() as backend:
            nothing = await backend.inspect(NAME)
            assert nothing == LeaseState(name=NAME, fencing_token=0, lease=None, is_live=False)
            lease = await self._take(backend, ADA)
            state = await backend.inspect(NAME)
            assert state == await backend.inspect(NAME)
            assert (state.lease, state.is_live) == (lease, True)
            assert state.fencing_token == lease.fencing_token

    @pytest.mark.anyio
    async def test_watching_tells_the_present_state_first_and_then_every_change(self) -> None:
        """Watch a renewal, a release and a grant; each is heard within `patience_s`."""
        async with self.backend() as backend:
            lease = await self._take(backend, ADA)
            async with backend.watch(NAME) as states:
                assert (await self._next(states)).lease == lease
                await self.advance(self.ttl_s / 10)
                renewed = await backend.renew(lease)
                assert (await self._next(states)).lease == renewed
                await backend.release(lease)
                assert (await self._next(states)).lease is None
                taken = await self._take(backend, BEN)
                assert (await self._next(states)).lease == taken

    @pytest.mark.anyio
    async def test_queued_holders_are_served_in_the_order_in_which_they_came(self) -> None:
        """Release twice in front of two waiters. Skipped where no `fair_queue` is declared."""
        async with self.backend() as backend:
            if not backend.capabilities.fair_queue:
                pytest.skip("declared: no fair queue")
            lease = await self._take(backend, ADA)
            ben = await self._refused(backend, BEN, queue=True)
            cy = await self._refused(backend, CY, queue=True)
            assert (ben.ahead, cy.ahead) == (0, 1)
            assert (await backend.inspect(NAME)).waiters == ("ben", "cy")
            await backend.release(lease)
            assert (await self._refused(backend, CY, queue=True)).holder is None
            second = await self._take(backend, BEN, queue=True)
            assert (await backend.inspect(NAME)).waiters == ("cy",)
            await backend.release(second)
            await self._take(backend, CY, queue=True)
            assert (await backend.inspect(NAME)).waiters == ()

    @pytest.mark.anyio
    async def test_who_does_not_queue_never_passes_a_living_waiter(self) -> None:
        """Try without `queue` past a waiter. Skipped where no `fair_queue` is declared."""
        async with self.backend() as backend:
            if not backend.capabilities.fair_queue:
                pytest.skip("declared: no fair queue")
            lease = await self._take(backend, ADA)
            await self._refused(backend, BEN, queue=True)
            await backend.release(lease)
            busy = await self._refused(backend, CY)
            assert (busy.holder, busy.ahead) == (None, 1)
            assert (await backend.inspect(NAME)).waiters == ("ben",)

    @pytest.mark.anyio
    async def test_a_place_is_kept_by_calling_again_and_lost_in_silence(self) -> None:
        """Let one of two waiters be silent for 3 ttl. Skipped where no `fair_queue` is declared."""
        async with self.backend() as backend:
            if not backend.capabilities.fair_queue:
                pytest.skip("declared: no fair queue")
            lease = await self._take(backend, ADA)
            busy = await self._refused(backend, BEN, queue=True)
            await self._refused(backend, CY, queue=True)
            waited = 0.0
            while waited < 3 * self.ttl_s:
                await self.advance(busy.retry_in_s)
                waited += busy.retry_in_s
                assert isinstance(await backend.renew(lease), Lease)
                busy = await self._refused(backend, BEN, queue=True)
            assert (await backend.inspect(NAME)).waiters == ("ben",)

    @pytest.mark.anyio
    async def test_withdrawing_leaves_the_queue_and_may_be_repeated(self) -> None:
        """Withdraw the only waiter twice: no waiter is left, and a newcomer gets the lease."""
        async with self.backend() as backend:
            lease = await self._take(backend, ADA)
            await self._refused(backend, BEN, queue=True)
            await backend.withdraw(NAME, BEN)
            await backend.withdraw(NAME, BEN)
            assert (await backend.inspect(NAME)).waiters == ()
            await backend.release(lease)
            await self._take(backend, CY)

    @pytest.mark.anyio
    async def test_tokens_survive_a_restart_where_that_is_declared(self) -> None:
        """Close and open the backend again. Skipped where no `survives_restart` is declared."""
        async with self.backend() as backend:
            if not backend.capabilities.survives_restart:
                pytest.skip("declared: does not survive a restart")
            lease = await self._take(backend, ADA)
            await backend.aclose()
        async with self.backend() as backend:
            state = await backend.inspect(NAME)
            assert (state.lease, state.fencing_token) == (lease, lease.fencing_token)

    @pytest.mark.anyio
    async def test_two_who_ask_at_once_are_never_both_granted(self) -> None:
        """Acquire from ten tasks at once: exactly one is granted."""
        async with self.backend() as backend:
            answers: list[Lease | Busy] = []

            async def ask(number: int) -> None:
                holder = Holder(f"w{number}", "1")
                answers.append(await backend.acquire(NAME, holder, ttl_s=self.ttl_s))

            async with anyio.create_task_group() as group:
                for number in range(10):
                    group.start_soon(ask, number)
            assert sum(isinstance(answer, Lease) for answer in answers) == 1

    async def _expire(self, backend: LeaseBackend) -> None:
        await self.advance(self.ttl_s + backend.capabilities.failover_slack_s)

    async def _next(self, states: AsyncIterator[LeaseState]) -> LeaseState:
        with anyio.fail_after(self.patience_s):
            return await anext(states)

"""`Shared`: what every part of one core works on."""

from __future__ import annotations

import attrs

from federlib.membership.awareness import Hearing
from federlib.membership.config import SwimConfig
from federlib.membership.outbox import Outbox, Own
from federlib.membership.table import MemberTable, RandomSource
from federlib.membership.timers import Timers

__all__ = ["Shared"]


@attrs.frozen(eq=False)
class Shared:
    """One set for each core.

    Attributes:
        own: Who we are.
        config: How the protocol runs.
        table: The members that are known.
        outbox: What is to be sent and told.
        timers: When what is due.
        rng: Randomness.
        hearing: Whether anybody is heard.
    """

    own: Own
    config: SwimConfig
    table: MemberTable
    outbox: Outbox
    timers: Timers
    rng: RandomSource
    hearing: Hearing

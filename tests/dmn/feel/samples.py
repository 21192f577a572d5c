"""Strategies of values, for tests of FEEL."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from federlib.dmn.feel.calendar import DAY_NS
from federlib.dmn.feel.temporal import DateTime, Days, Months, Time, date_of_number
from federlib.dmn.feel.values import Range

__all__ = ["DATES", "DATE_TIMES", "DURATIONS", "NUMBERS", "RANGES", "TIMES", "ZONES"]

NUMBERS = st.integers(-365_243_218_798 - 400, 365_241_780_471)
DATES = NUMBERS.map(date_of_number).filter(lambda each: each is not None)
ZONES = st.sampled_from(
    ["Europe/Paris", "Australia/Melbourne", "Asia/Dhaka", "America/New_York", "Etc/UTC"]
)
OF_DAY = st.integers(0, DAY_NS - 1)
TIMES = st.one_of(
    st.builds(Time, OF_DAY),
    st.builds(Time, OF_DAY, st.integers(-14 * 3600, 14 * 3600)),
    st.builds(Time, OF_DAY, st.none(), ZONES),
)
DATE_TIMES = st.builds(DateTime, DATES, TIMES)
DURATIONS = st.builds(Days, st.integers()) | st.builds(Months, st.integers())

ENDS = st.integers(0, 4).map(Decimal)
RANGES = st.builds(Range, ENDS, ENDS, st.booleans(), st.booleans()).filter(
    lambda each: (
        isinstance(each.low, Decimal)
        and isinstance(each.high, Decimal)
        and (each.low < each.high or (each.low == each.high and each.has_low and each.has_high))
    )
)

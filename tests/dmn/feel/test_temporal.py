"""Dates, times and durations: the calendar, zones, text and properties."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn.feel.samples import DATE_TIMES, DATES, DURATIONS, NUMBERS, TIMES, ZONES
from federlib.dmn.documents.plain_json import read_jsonable
from federlib.dmn.feel import calendar
from federlib.dmn.feel.calendar import (
    DAY_NS,
    MAX_YEAR,
    SECOND_NS,
    day_number,
    day_of,
    is_day,
    is_zone,
    iso_week,
    offset_of_day,
    standard_offset,
)
from federlib.dmn.feel.compile import compile_expression
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.lexical import (
    parse_date,
    parse_date_time,
    parse_duration,
    parse_temporal,
    parse_time,
)
from federlib.dmn.feel.temporal import (
    Date,
    DateTime,
    Days,
    Months,
    Time,
    date_of_number,
    date_time_at,
    has_property,
    property_of,
)
from federlib.dmn.feel.values import Range, Value
from federlib.errors import InvalidInput, MissingExtra


@given(st.dates())
def test_days_are_those_of_python_where_it_has_them(day: date) -> None:
    mine = Date(day.year, day.month, day.day)
    assert mine.number == (day - date(1970, 1, 1)).days
    assert mine.weekday == day.isoweekday()
    assert iso_week(day.year, day.month, day.day) == day.isocalendar().week
    assert day_of(mine.number) == (day.year, day.month, day.day)


@given(NUMBERS)
def test_a_day_is_found_again_by_its_number_in_all_years(number: int) -> None:
    day = date_of_number(number)
    if day is None:
        assert not -MAX_YEAR <= day_of(number)[0] <= MAX_YEAR
    else:
        assert day.number == number
        following = date_of_number(number + 1)
        assert following is None or following.weekday == day.weekday % 7 + 1


@pytest.mark.parametrize(
    ("year", "month", "day", "there"),
    [
        (2000, 2, 29, True),
        (1900, 2, 29, False),
        (-4, 2, 29, True),
        (0, 2, 29, True),
        (MAX_YEAR, 12, 31, True),
        (-MAX_YEAR, 1, 1, True),
        (MAX_YEAR + 1, 1, 1, False),
        (2021, 4, 31, False),
        (2021, 13, 1, False),
        (2021, 1, 0, False),
    ],
)
def test_a_day_is_there_or_not(year: int, month: int, day: int, *, there: bool) -> None:
    assert is_day(year, month, day) is there
    if not there:
        with pytest.raises(InvalidInput):
            Date(year, month, day)


def test_numbers_that_are_no_day_give_none() -> None:
    last = day_number(MAX_YEAR, 12, 31)
    assert date_of_number(last) == Date(MAX_YEAR, 12, 31)
    assert date_of_number(last + 1) is None
    assert date_of_number(10**30) is None


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        (Date(2024, 1, 31), 1, Date(2024, 2, 29)),
        (Date(2023, 1, 31), 1, Date(2023, 2, 28)),
        (Date(2021, 1, 1), -1, Date(2020, 12, 1)),
        (Date(-2021, 1, 1), -1, Date(-2022, 12, 1)),
        (Date(MAX_YEAR, 12, 1), 1, None),
        (Date(-MAX_YEAR, 1, 1), -1, None),
    ],
)
def test_months_move_a_day_to_the_same_or_the_last_of_a_month(
    start: Date, months: int, end: Date | None
) -> None:
    assert start.plus_months(months) == end


@given(st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)), ZONES)
def test_offsets_are_those_of_the_database(local: datetime, zone: str) -> None:
    aware = local.replace(tzinfo=ZoneInfo(zone), microsecond=0)
    day = Date(local.year, local.month, local.day)
    second = local.hour * 3600 + local.minute * 60 + local.second
    offset = aware.utcoffset()
    assert offset is not None
    assert offset_of_day(zone, day.number, second) == int(offset.total_seconds())


@given(st.integers(-(10**19), 10**19) | st.integers(0, 2 * 10**18), ZONES)
def test_an_instant_is_the_same_on_the_clocks_of_every_zone(instant_ns: int, zone: str) -> None:
    there, here = date_time_at(instant_ns, zone=zone), date_time_at(instant_ns)
    assert there is not None
    assert here is not None
    assert there.instant_ns == here.instant_ns == instant_ns
    assert there.plus_ns(0) == there


def test_an_hour_that_is_shown_twice_is_told_apart() -> None:
    first = parse_date_time("2021-10-31T02:30:00@Europe/Paris")
    assert first is not None
    second = first.plus_ns(3600 * SECOND_NS)
    assert second is not None
    assert str(first) == str(second)
    assert first != second
    assert second.time.offset_s == 3600
    third = second.plus_ns(3600 * SECOND_NS)
    assert str(third) == "2021-10-31T03:30:00@Europe/Paris"


def test_an_hour_that_clocks_jump_over_counts_by_the_offset_before() -> None:
    # At 02:00 the clocks of Paris went on to 03:00.
    jumped = parse_date_time("2021-03-28T02:30:00@Europe/Paris")
    after = parse_date_time("2021-03-28T03:30:00@Europe/Paris")
    assert jumped is not None
    assert after is not None
    assert jumped.instant_ns == after.instant_ns


def test_zones_have_offsets_in_every_year() -> None:
    far = parse_date_time("999999999-07-01T00:00:00@Europe/Paris")
    early = parse_date_time("-999999999-07-01T00:00:00@Europe/Paris")
    last = parse_date_time("9999-12-31T23:59:59@America/New_York")
    turn = parse_date_time("9599-12-31T23:59:59@America/New_York")
    for each, offset in ((far, 7200), (early, 561), (last, -18000), (turn, -18000)):
        assert each is not None
        assert each.offset_s == offset


@pytest.mark.parametrize(
    "name",
    ["", "xyz/abc", "../etc/passwd", "localtime", "posix/UTC", "Europe", "Z", "a\0b", "x" * 300],
)
def test_what_is_no_zone_is_refused(name: str) -> None:
    assert not is_zone(name)
    with pytest.raises(InvalidInput):
        Time(0, None, name)


@pytest.fixture
def no_zones(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def find(name: str) -> ZoneInfo:
        raise ZoneInfoNotFoundError(name)

    with monkeypatch.context() as patched:
        patched.setattr(calendar, "ZoneInfo", find)
        calendar._zone.cache_clear()
        yield
    calendar._zone.cache_clear()


@pytest.mark.usefixtures("no_zones")
@pytest.mark.parametrize(
    "text",
    [
        'time("10:00:00@Europe/Paris")',
        'date and time("2024-01-01T10:00:00@Europe/Paris")',
        '@"10:00:00@Europe/Paris"',
        'range("[@\\"10:00:00@Europe/Paris\\"..@\\"11:00:00@Europe/Paris\\"]")',
    ],
)
def test_without_a_database_of_zones_the_problem_names_the_extra(text: str) -> None:
    ev = Evaluation()
    assert compile_expression(text).evaluate(ev, {}) is None
    (problem,) = ev.problems
    assert problem.endswith('(a time zone needs an extra: pip install "federlib[dmn]")')


@pytest.mark.usefixtures("no_zones")
def test_without_a_database_of_zones_a_value_with_one_names_the_extra() -> None:
    with pytest.raises(MissingExtra, match="Europe/Paris"):
        Time(0, None, "Europe/Paris")
    with pytest.raises(MissingExtra, match=r"federlib\[dmn\]"):
        read_jsonable({"@": "10:00:00@Europe/Paris"})


@pytest.mark.parametrize("text", ['time("10:00:00@Nowhere/There")', 'time("10:00:61")'])
def test_a_zone_that_nobody_knows_needs_no_extra(text: str) -> None:
    ev = Evaluation()
    assert compile_expression(text).evaluate(ev, {}) is None
    assert "federlib[" not in ev.problems[0]


@pytest.mark.parametrize("bad", [(-1, None), (DAY_NS, None), (0, 14 * 3600 + 1), (0, -50401)])
def test_a_time_out_of_range_is_refused(bad: tuple[int, int | None]) -> None:
    with pytest.raises(InvalidInput):
        Time(*bad)


def test_a_zone_without_a_date_has_the_offset_outside_summer() -> None:
    assert standard_offset("Europe/Paris") == 3600
    assert standard_offset("Australia/Melbourne") == 36000
    assert Time(0).usual_offset_s is None


def test_the_last_instants_have_no_next() -> None:
    last = parse_date_time("999999999-12-31T23:59:59.999999999")
    assert last is not None
    assert last.plus_ns(1) is None
    assert last.plus_ns(-1) is not None
    zoned = parse_date_time("999999999-12-31T23:00:00@America/New_York")
    assert zoned is not None
    assert zoned.plus_ns(3600 * SECOND_NS) is None
    edge = parse_date_time("-999999999-01-01T00:30:00Z")
    assert edge is not None
    assert edge.instant_ns is not None
    assert date_time_at(edge.instant_ns, zone="America/New_York") is None


@given(st.one_of(DATES, TIMES, DATE_TIMES, DURATIONS))
def test_what_is_written_is_read_again(value: Date | Time | DateTime | Days | Months) -> None:
    assert parse_temporal(str(value)) == value


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2012-12-24", "2012-12-24"),
        ("-2017-12-31", "-2017-12-31"),
        ("0001-01-01", "0001-01-01"),
        ("999999999-12-31", "999999999-12-31"),
        ("-99999-12-31", "-99999-12-31"),
        ("2012-12-25Z", "2012-12-25"),
        ("2012-12-25+05:30", "2012-12-25"),
        ("998-12-31", None),
        ("01211-12-31", None),
        ("9999999999-12-25", None),
        ("+2012-12-02", None),
        ("2017-13-10", None),
        ("2017-02-29", None),
        ("2017-1-1", None),
        ("2012-12-25T", None),
        ("2012-12-25+19:00", None),
        ("２０１７-01-01", None),
        ("", None),
        ("2017-01-01\n", None),
    ],
)
def test_dates_are_read_by_the_rules_of_xml_schema(text: str, canonical: str | None) -> None:
    found = parse_date(text)
    assert (None if found is None else str(found)) == canonical


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("01:02:03", "01:02:03"),
        ("24:00:00", "00:00:00"),
        ("24:00:00.000", "00:00:00"),
        ("11:22:33.4440", "11:22:33.444"),
        ("11:22:33.1234567899", "11:22:33.123456789"),
        ("11:00:00z", "11:00:00Z"),
        ("11:22:33-00:00", "11:22:33Z"),
        ("13:20:00+14:00", "13:20:00+14:00"),
        ("13:20:00+02:45:55", "13:20:00+02:45:55"),
        ("00:01:00@Etc/UTC", "00:01:00@Etc/UTC"),
        ("24:00:01", None),
        ("24:00:00.1", None),
        ("23:59:60", None),
        ("00:60:00", None),
        ("13:20:00+14:01", None),
        ("13:20:00+05:60", None),
        ("13:20:00+05:00:60", None),
        ("13:20:00+5:00", None),
        ("13:20:00+02:00@Europe/Paris", None),
        ("13:20:00@xyz/abc", None),
        ("7:00:00", None),
        ("07:20", None),
    ],
)
def test_times_are_read_by_the_rules_of_xml_schema(text: str, canonical: str | None) -> None:
    found = parse_time(text)
    assert (None if found is None else str(found)) == canonical


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2012-12-24", "2012-12-24T00:00:00"),
        ("2012-03-07Z", "2012-03-07T00:00:00Z"),
        ("2021-01-01T24:00:00", "2021-01-02T00:00:00"),
        ("-999999999-12-31T23:59:59.999999999+02:00", "-999999999-12-31T23:59:59.999999999+02:00"),
        ("999999999-12-31T24:00:00", None),
        ("2011-12-03T10:15:30+01:00@Europe/Paris", None),
        ("2017-02-30T00:00:00", None),
        ("2017-02-30", None),
        ("2017-12-31T25:00:00", None),
        ("11:00:00", None),
        ("2012-03-07+15:00", None),
        ("2017-12-31T13:20:00@" + "x" * 300, None),
    ],
)
def test_dates_and_times_are_read_together(text: str, canonical: str | None) -> None:
    found = parse_date_time(text)
    assert (None if found is None else str(found)) == canonical


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("P1D", "P1D"),
        ("P0DT25H", "P1DT1H"),
        ("PT36H", "P1DT12H"),
        ("-PT90M", "-PT1H30M"),
        ("PT0.000000001S", "PT0.000000001S"),
        ("P1DT2H3M4.5S", "P1DT2H3M4.5S"),
        ("PT0S", "PT0S"),
        ("-P0D", "PT0S"),
        ("P26M", "P2Y2M"),
        ("-P1Y", "-P1Y"),
        ("P0Y", "P0M"),
        ("P1Y1D", None),
        ("P", None),
        ("PT", None),
        ("P1DT", None),
        ("P-1D", None),
        ("PT.5S", None),
        ("P1H", None),
        ("1D", None),
        ("P" + "9" * 5000 + "D", None),
    ],
)
def test_durations_are_read_and_written_in_one_form(text: str, canonical: str | None) -> None:
    found = parse_duration(text)
    assert (None if found is None else str(found)) == canonical


def test_an_at_literal_says_by_its_form_what_it_is() -> None:
    assert parse_temporal("10:30:00@Etc/GMT") == Time(37_800 * SECOND_NS, None, "Etc/GMT")
    assert parse_temporal("2012-12-25") == Date(2012, 12, 25)
    assert parse_temporal("-2012-12-25T00:00:00") == DateTime(Date(-2012, 12, 25), Time(0))
    assert parse_temporal("-P1Y") == Months(-12)
    assert parse_temporal("nonsense") is None
    assert parse_temporal("") is None


MOMENT = parse_date_time("2018-12-10T10:30:01.5@Europe/Paris")


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        (Date(2018, 12, 10), "year", Decimal(2018)),
        (Date(2018, 12, 10), "month", Decimal(12)),
        (Date(2018, 12, 10), "day", Decimal(10)),
        (Date(2018, 12, 9), "weekday", Decimal(7)),
        (MOMENT, "weekday", Decimal(1)),
        (MOMENT, "hour", Decimal(10)),
        (MOMENT, "minute", Decimal(30)),
        (MOMENT, "second", Decimal("1.5")),
        (MOMENT, "time offset", Days(3600 * SECOND_NS)),
        (MOMENT, "timezone", "Europe/Paris"),
        (parse_time("10:00:00-05:30"), "time offset", Days(-19800 * SECOND_NS)),
        (parse_time("10:00:00-05:30"), "timezone", None),
        (parse_time("10:00:00"), "time offset", None),
        (parse_time("10:00:00@Europe/Paris"), "time offset", Days(3600 * SECOND_NS)),
        (parse_duration("P2DT20H14M5.25S"), "days", Decimal(2)),
        (parse_duration("P2DT20H14M5.25S"), "hours", Decimal(20)),
        (parse_duration("P2DT20H14M5.25S"), "minutes", Decimal(14)),
        (parse_duration("P2DT20H14M5.25S"), "seconds", Decimal("5.25")),
        (parse_duration("-P2DT20H14M5S"), "days", Decimal(-2)),
        (parse_duration("-P2DT20H14M5S"), "hours", Decimal(-20)),
        (parse_duration("-P2DT20H14M5S"), "seconds", Decimal(-5)),
        (Months(26), "years", Decimal(2)),
        (Months(-26), "months", Decimal(-2)),
        (Range(Decimal(1), Decimal(9), has_low=True, has_high=False), "start", Decimal(1)),
        (Range(Decimal(1), Decimal(9), has_low=True, has_high=False), "end", Decimal(9)),
        (Range(Decimal(1), Decimal(9), has_low=True, has_high=False), "start included", True),
        (Range(Decimal(1), Decimal(9), has_low=True, has_high=False), "end included", False),
    ],
)
def test_a_property_is_what_the_standard_lists(value: Value, name: str, expected: Value) -> None:
    assert has_property(value, name)
    assert property_of(value, name) == expected


@pytest.mark.parametrize(
    ("value", "name"),
    [(Date(2018, 1, 1), "hour"), (Months(1), "days"), (Days(1), "years"), ("text", "year")],
)
def test_what_is_no_property_is_null(value: Value, name: str) -> None:
    assert not has_property(value, name)
    assert property_of(value, name) is None


@given(st.datetimes(), st.timedeltas())
def test_adding_to_a_local_date_and_time_is_as_in_python(start: datetime, step: timedelta) -> None:
    try:
        wanted = start + step
    except OverflowError:
        return
    since = start.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    mine = date_time_at(since // timedelta(microseconds=1) * 1000)
    assert mine is not None
    moved = mine.plus_ns(step // timedelta(microseconds=1) * 1000)
    assert moved is not None
    assert (moved.date.year, moved.date.month, moved.date.day) == wanted.timetuple()[:3]

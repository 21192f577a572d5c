"""Refusals are counted one by one and told once a minute."""

from __future__ import annotations

from federlib.telemetry import RecordingSink, Telemetry
from federlib.telemetry.logs import Level, LogValue
from federlib.transport import Refusal
from federlib.transport.refusals import LOG_EVERY_S, Tally


class Lines:
    def __init__(self) -> None:
        self.lines: list[tuple[Level, str, dict[str, LogValue]]] = []

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        self.lines.append((level, event, fields))


def refused(sink: RecordingSink, reason: Refusal) -> float:
    return sink.value("federlib_transport_refused_total", channel="udp", reason=reason.value)


def test_a_flood_is_counted_and_makes_one_line_a_minute() -> None:
    sink, log = RecordingSink(), Lines()
    tally = Tally(Telemetry(sink, log), "udp")
    for number in range(1_000):
        tally.refuse(Refusal.UNAUTHENTIC, now_s=number / 1_000)
    assert refused(sink, Refusal.UNAUTHENTIC) == 1_000
    assert [line[2]["count"] for line in log.lines] == [1]
    tally.refuse(Refusal.UNAUTHENTIC, now_s=LOG_EVERY_S)
    assert log.lines[1] == (
        "warning",
        "transport_refused",
        {"channel": "udp", "reason": "unauthentic", "count": 1_000},
    )


def test_each_reason_has_its_line() -> None:
    sink, log = RecordingSink(), Lines()
    tally = Tally(Telemetry(sink, log), "udp")
    for reason in Refusal:
        tally.refuse(reason, now_s=0)
        assert refused(sink, reason) == 1
    said = {line[2]["reason"] for line in log.lines}
    assert said == {each.value for each in Refusal} - {"unconfirmed", "lost"}


def test_every_reason_says_what_it_means() -> None:
    import inspect

    source = inspect.getsource(Refusal)
    assert source.count('"""') == 2 * (len(Refusal) + 1)

"""The system's clocks and their names."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from federlib import _host
from federlib.skewclock import Clock, ClockId, SystemClock

BOOT, LATER = "4c1f0f5e-boot", "9d7a11b2-boot"


def test_each_clock_lies_between_two_readings_of_the_systems_own() -> None:
    clock: Clock = SystemClock()
    for ours, theirs in (
        (clock.wall_ns, time.time_ns),
        (clock.monotonic_ns, time.monotonic_ns),
        (clock.boot_ns, lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)),
    ):
        before, now, after = theirs(), ours(), theirs()
        assert before <= now <= after
        assert type(now) is int


def test_boot_and_monotonic_clocks_never_go_back() -> None:
    clock = SystemClock()
    for read in (clock.boot_ns, clock.monotonic_ns):
        readings = [read() for _ in range(1_000)]
        assert readings == sorted(readings)


def test_the_name_is_the_same_for_every_clock_and_process_of_a_boot() -> None:
    here = SystemClock().clock_id
    assert SystemClock().clock_id == here
    code = "from federlib.skewclock import SystemClock; print(SystemClock().clock_id)"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_the_name_tells_machine_boot_and_time_namespace() -> None:
    name = ClockId(SystemClock().clock_id)
    assert name.machine == _host.machine_id()
    assert name.boot == _host.boot_id()
    assert name.namespace == _host.time_namespace()


def test_without_a_boot_id_no_two_processes_pass_for_two_boots_of_a_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_host, "boot_id", lambda: None)
    monkeypatch.setattr(_host, "machine_id", lambda: "a-machine")
    one = SystemClock().clock_id
    monkeypatch.setattr(os, "getpid", lambda: 1)
    two = SystemClock().clock_id
    assert one != two
    assert not ClockId(one).is_other_boot_of(ClockId(two))


@pytest.mark.parametrize(
    ("text", "machine", "boot", "namespace"),
    [
        ("m/b/", "m", "b", ""),
        ("m/b/86400+0", "m", "b", "86400+0"),
        ("-/b/", None, "b", ""),
        ("/b/", None, "b", ""),
        ("m", "m", "", ""),
        ("", None, "", ""),
        ("m/b/n/more", "m", "b", "n/more"),
    ],
)
def test_a_name_comes_apart_into_its_three_parts(
    text: str, machine: str | None, boot: str, namespace: str
) -> None:
    name = ClockId(text)
    assert (name.machine, name.boot, name.namespace) == (machine, boot, namespace)


@pytest.mark.parametrize(
    ("one", "two", "other_boot"),
    [
        pytest.param(f"m/{BOOT}/", f"m/{LATER}/", True, id="one machine, two boots"),
        pytest.param(f"m/{BOOT}/5+0", f"m/{LATER}/", True, id="namespaces do not matter there"),
        pytest.param(f"m/{BOOT}/", f"m/{BOOT}/", False, id="the same boot"),
        pytest.param(f"m/{BOOT}/5+0", f"m/{BOOT}/", False, id="the same boot, another namespace"),
        pytest.param(f"m/{BOOT}/", f"n/{LATER}/", False, id="two machines"),
        pytest.param(f"-/{BOOT}/", f"-/{LATER}/", False, id="two unknown machines"),
        pytest.param(f"-/{BOOT}/", f"m/{LATER}/", False, id="one unknown machine"),
        pytest.param("m//", f"m/{LATER}/", False, id="an unknown boot"),
        pytest.param("", "", False, id="nothing known"),
    ],
)
def test_only_two_known_boots_of_one_known_machine_are_another_boot(
    one: str, two: str, *, other_boot: bool
) -> None:
    assert ClockId(one).is_other_boot_of(ClockId(two)) is other_boot
    assert ClockId(two).is_other_boot_of(ClockId(one)) is other_boot


@pytest.mark.parametrize("marks", ["kubernetes", "docker", "none"])
def test_a_containers_machine_id_is_believed_only_when_it_is_given(
    monkeypatch: pytest.MonkeyPatch, marks: str
) -> None:
    for name in ("FEDERLIB_MACHINE_ID", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_host, "_read", lambda path: "raw-id" if "machine-id" in path else "")
    monkeypatch.setattr(os.path, "exists", lambda path: marks == "docker" and "docker" in path)
    if marks == "kubernetes":
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    read = _host.machine_id.__wrapped__
    assert (read() is None) is (marks != "none")
    monkeypatch.setenv("FEDERLIB_MACHINE_ID", "given")
    given = read()
    assert given is not None
    assert "given" not in given
    monkeypatch.setenv("FEDERLIB_MACHINE_ID", "given elsewhere")
    assert read() != given


@pytest.mark.parametrize(
    ("text", "namespace"),
    [
        ("monotonic           0         0\nboottime            0         0\n", ""),
        ("monotonic          5         0\nboottime            0         0\n", ""),
        ("monotonic           0         0\nboottime        86400         7\n", "86400+7"),
        ("", ""),
    ],
)
def test_only_an_offset_of_the_boot_clock_makes_another_namespace(
    monkeypatch: pytest.MonkeyPatch, text: str, namespace: str
) -> None:
    monkeypatch.setattr(_host, "_read", lambda _path: text)
    assert _host.time_namespace.__wrapped__() == namespace

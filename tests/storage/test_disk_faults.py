"""The simulated disk: what goes wrong on demand."""

from __future__ import annotations

import errno
from collections.abc import Callable

import attrs
import pytest

from federlib.errors import InvalidInput
from federlib.testing import Fault, ProcessEnded, SimulatedDisk
from storage.disk_lab import NEW, OLD, every_disk, synced


def test_a_sync_that_failed_makes_the_next_one_lie() -> None:
    disk = synced()
    disk.faults = (Fault(2, "io_error", of="sync"),)
    file = disk.open("f")
    file.append(NEW)
    with pytest.raises(OSError, match="Input/output error") as caught:
        file.sync()
    assert caught.value.errno == errno.EIO
    file.sync()
    assert file.read(700, 700) == NEW
    assert {"f": OLD + b"\0" * 700} in every_disk(disk)


def test_after_a_failed_sync_what_is_written_again_lasts() -> None:
    disk = synced()
    disk.faults = (Fault(2, "io_error", of="sync"),)
    file = disk.open("f")
    file.append(NEW)
    with pytest.raises(OSError, match="Input/output error"):
        file.sync()
    file.truncate(700)
    file.append(NEW)
    file.sync()
    assert every_disk(disk) == [{"f": OLD + NEW}]


def test_a_sync_of_a_directory_that_failed_may_be_tried_again() -> None:
    disk = synced(b"")
    disk.faults = (Fault(2, "io_error", of="sync_directory"),)
    disk.open("g", create=True)
    with pytest.raises(OSError, match="Input/output error"):
        disk.sync_directory("")
    assert every_disk(disk) == [{"f": b"", "g": b""}, {"f": b""}]
    disk.sync_directory("")
    assert every_disk(disk) == [{"f": b"", "g": b""}]


def test_one_process_may_end_while_another_goes_on_with_the_same_files() -> None:
    disk = synced(b"")
    other = disk.share()
    disk.faults = (Fault(2, "stop_after", of="append"),)
    with pytest.raises(ProcessEnded):
        disk.open("f").append(b"x")
    file = other.open("f")
    assert file.read(0, 9) == b"x"
    assert {"f": b""} in every_disk(other)
    file.sync()
    assert every_disk(other) == [{"f": b"x"}]
    assert other.counts == {"read": 1, "sync": 1}


def test_a_disk_that_lies_about_sync_says_done_and_does_nothing() -> None:
    disk = SimulatedDisk(faults=[Fault(1, "lost_sync", times=10)])
    file = disk.open("f", create=True)
    file.append(b"x")
    file.sync()
    disk.sync_directory("")
    assert {} in every_disk(disk)


def test_a_full_disk_writes_a_part_of_an_append() -> None:
    disk = synced()
    disk.faults = (Fault(disk.operations + 1, "no_space", part=0.25),)
    with pytest.raises(OSError, match="No space left") as caught:
        disk.open("f").append(b"12345678")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "f")
    assert disk.contents() == {"f": OLD + b"12"}


ACTS: dict[str, Callable[[SimulatedDisk], object]] = {
    "truncate": lambda disk: disk.open("f").truncate(0),
    "remove": lambda disk: disk.remove("f"),
    "rename": lambda disk: disk.rename("f", "g"),
    "make_directory": lambda disk: disk.make_directory("d"),
    "create": lambda disk: disk.open("g", create=True),
    "sync_directory": lambda disk: disk.sync_directory(""),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
@pytest.mark.parametrize("fault", [Fault(1, "no_space", times=99), Fault(1, "io_error", times=99)])
def test_what_fails_changes_nothing(fault: Fault, act: Callable[[SimulatedDisk], object]) -> None:
    disk = synced()
    disk.faults = (attrs.evolve(fault, at=disk.operations + 1),)
    with pytest.raises(OSError, match=r"No space left|Input/output"):
        act(disk)
    assert disk.contents() == {"f": OLD}


def test_a_read_fails_or_returns_one_wrong_bit_and_the_next_one_is_right() -> None:
    disk = synced()
    disk.faults = (Fault(1, "flipped_bit", of="read"), Fault(2, "io_error", of="read"))
    file = disk.open("f")
    assert file.read(0, 4) == b"oono"
    with pytest.raises(OSError, match="Input/output error"):
        file.read(0, 4)
    assert file.read(0, 4) == b"oooo"
    assert disk.counts["read"] == 3


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        (Fault(2, "stop", of="append"), b""),
        (Fault(2, "stop_after", of="append"), b"x"),
    ],
)
def test_a_process_that_was_stopped_does_nothing_any_more(fault: Fault, left: bytes) -> None:
    disk = synced(b"")
    disk.faults = (fault,)
    file = disk.open("f")
    with pytest.raises(ProcessEnded):
        file.append(b"x")
    for act in ACTS.values():
        with pytest.raises(ProcessEnded):
            act(disk)
    with pytest.raises(ProcessEnded):
        file.sync()
    with pytest.raises(ProcessEnded):
        file.read(0, 1)
    file.close()
    assert disk.kill().contents() == {"f": left}


def test_a_full_disk_reserves_or_writes_a_part() -> None:
    disk = synced(b"1234")
    disk.faults = (Fault(1, "no_space", of="write"), Fault(1, "no_space", of="reserve"))
    with pytest.raises(OSError, match="No space left"):
        disk.open("f").write(0, b"abcd")
    with pytest.raises(OSError, match="No space left"):
        disk.open("f").reserve(8)
    assert disk.contents() == {"f": b"ab34" + bytes(2)}


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("at", lambda: Fault(0, "stop")),
        ("times", lambda: Fault(1, "stop", times=0)),
        ("part", lambda: Fault(1, "no_space", part=1.0)),
        ("kind", lambda: Fault(1, "fire")),  # type: ignore[arg-type] # what a caller may mistype
        ("of", lambda: Fault(1, "io_error", of="fsync")),  # type: ignore[arg-type] # as above
        ("of", lambda: Fault(1, "flipped_bit")),
    ],
)
def test_a_fault_that_cannot_be_is_refused(field: str, make: Callable[[], Fault]) -> None:
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.field == field

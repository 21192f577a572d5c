"""The simulated disk: what the loss of power leaves, and what it cannot take."""

from __future__ import annotations

import pytest

from federlib.errors import InvalidInput
from federlib.testing import DiskOperation, SimulatedDisk
from storage.disk_lab import NEW, OLD, every_disk, synced


def keep(_options: int) -> int:
    return 0


def test_what_is_synced_lasts_and_nothing_else_is_in_doubt() -> None:
    disk = synced()
    assert disk.doubts == 0
    assert every_disk(disk) == [{"f": OLD}]


def test_option_0_everywhere_keeps_all_that_was_done() -> None:
    disk = synced()
    disk.open("f").append(NEW)
    disk.make_directory("d")
    disk.rename("f", "d/g")
    assert disk.cut_power(keep).contents() == {"d/": b"", "d/g": OLD + NEW}


def test_each_unsynced_sector_and_the_size_are_lost_alone() -> None:
    disk = synced(b"")
    disk.open("f").append(b"1" * 512 + b"2" * 512)
    found = {content["f"] for content in every_disk(disk)}
    zeros, garbage = b"\0" * 512, b"\xa5" * 512
    assert {b"", b"1" * 512, zeros, garbage} < found
    assert {b"1" * 512 + zeros, zeros + b"2" * 512, garbage + b"2" * 512} < found


def test_an_append_never_hurts_what_lasts_in_the_same_sector() -> None:
    disk = synced(b"kept")
    disk.open("f").append(b"new and more than eight bytes")
    found = {content["f"] for content in every_disk(disk)}
    assert all(data.startswith(b"kept") for data in found)
    assert {b"kept", b"kept" + b"\0" * 29, b"keptnew and " + b"\0" * 21} < found


def test_sizes_grow_in_whole_sectors_without_their_data() -> None:
    disk = synced(b"x" * 100)
    disk.open("f").append(b"y" * 1_000)
    assert {len(content["f"]) for content in every_disk(disk)} == {100, 512, 1_024, 1_100}


def test_a_cut_is_undone_or_not_and_what_was_cut_off_is_as_it_was() -> None:
    disk = synced(OLD + NEW)
    disk.open("f").truncate(512)
    assert [content["f"] for content in every_disk(disk)] == [(OLD + NEW)[:512], OLD + NEW]
    disk.open("f").sync()
    assert every_disk(disk) == [{"f": OLD[:512]}]


def test_in_the_sector_of_a_cut_the_zeros_may_come_before_the_size() -> None:
    disk = synced(b"x" * 10)
    disk.open("f").truncate(4)
    found = {content["f"] for content in every_disk(disk)}
    assert found == {b"x" * 4, b"x" * 10, b"x" * 4 + b"\0" * 6}


def test_after_a_cut_and_an_append_old_and_new_sectors_mix() -> None:
    disk = synced(b"a" * 512 + b"b" * 512)
    file = disk.open("f")
    file.truncate(0)
    file.append(b"c" * 512 + b"d" * 512)
    found = {content["f"] for content in every_disk(disk)}
    assert {b"a" * 512 + b"d" * 512, b"c" * 512 + b"b" * 512, b"", b"c" * 512} < found


def test_reserved_space_is_zeros_whatever_lay_there_before() -> None:
    disk = synced(b"old secret" * 60)
    disk.remove("f")
    disk.sync_directory("")
    file = disk.open("g", create=True)
    disk.sync_directory("")
    file.reserve(600)
    assert [content["g"] for content in every_disk(disk)] == [bytes(600), bytes(512), b""]
    file.sync()
    file.reserve(10)
    assert every_disk(disk) == [{"g": bytes(600)}]


def test_space_reserved_behind_a_cut_holds_zeros_or_what_was_cut_off() -> None:
    disk = synced(b"a" * 512 + b"b" * 512)
    file = disk.open("f")
    file.truncate(0)
    file.reserve(1_024)
    assert disk.cut_power(keep).contents() == {"f": bytes(1_024)}
    found = {content["f"] for content in every_disk(disk)}
    assert {b"", bytes(512), b"a" * 512 + bytes(512), b"a" * 512 + b"b" * 512} < found


def test_a_write_over_what_is_there_tears_but_the_size_and_the_rest_last() -> None:
    disk = synced(b"k" * 8 + b"o" * 24 + b"k" * 8)
    disk.open("f").write(8, b"n" * 24)
    found = {content["f"][8:-8] for content in every_disk(disk)}
    assert {content["f"][:8] + content["f"][-8:] for content in every_disk(disk)} == {b"k" * 16}
    assert found == {
        b"n" * 24,
        b"o" * 24,
        b"n" * 8 + b"o" * 16,
        b"n" * 12 + b"o" * 12,
        b"o" * 12 + b"n" * 12,
    }


def test_bytes_that_are_written_over_as_they_were_stay_so() -> None:
    disk = synced(b"same" * 10 + bytes(100))
    disk.open("f").write(0, b"same" * 10 + b"new!" * 10)
    assert {content["f"][:40] for content in every_disk(disk)} == {b"same" * 10}


def test_a_write_never_reaches_beyond_the_end() -> None:
    with pytest.raises(InvalidInput):
        synced().open("f").write(699, b"xx")


def test_what_another_file_left_behind_may_lie_in_a_new_one() -> None:
    disk = synced(b"old secret".ljust(512, b"!"))
    disk.remove("f")
    disk.sync_directory("")
    disk.open("g", create=True).append(b"n" * 512)
    disk.sync_directory("")
    assert {"g": b"old secret".ljust(512, b"!")} in every_disk(disk)


def test_a_file_may_last_without_its_name() -> None:
    disk = SimulatedDisk()
    file = disk.open("f", create=True)
    file.append(b"x")
    file.sync()
    assert every_disk(disk) == [{"f": b"x"}, {}]
    disk.sync_directory("")
    assert every_disk(disk) == [{"f": b"x"}]


def test_a_name_may_last_without_its_data() -> None:
    disk = SimulatedDisk()
    disk.open("f", create=True).append(b"x")
    disk.sync_directory("")
    assert {"f": b""} in every_disk(disk)
    assert {"f": b"\0"} in every_disk(disk)


def test_a_rename_happens_whole_or_not_at_all() -> None:
    disk = synced()
    file = disk.open("new", create=True)
    file.append(b"x")
    file.sync()
    disk.sync_directory("")
    disk.rename("new", "f")
    assert every_disk(disk) == [{"f": b"x"}, {"f": OLD, "new": b"x"}]


def test_a_rename_between_directories_may_happen_by_half() -> None:
    disk = synced()
    disk.make_directory("d")
    disk.sync_directory("")
    disk.rename("f", "d/f")
    assert every_disk(disk) == [
        {"d/": b"", "d/f": OLD},
        {"d/": b""},
        {"d/": b"", "d/f": OLD, "f": OLD},
        {"d/": b"", "f": OLD},
    ]


def test_names_last_in_any_subset_or_in_order() -> None:
    disk = SimulatedDisk()
    for name in "abc":
        disk.open(name, create=True).sync()
    assert len(every_disk(disk)) == 8
    in_order = every_disk(disk, names_in_order=True)
    assert [sorted(content) for content in in_order] == [["a", "b", "c"], ["a", "b"], ["a"], []]


def test_in_order_a_synced_directory_takes_earlier_names_elsewhere_along() -> None:
    disk = SimulatedDisk()
    disk.make_directory("d")
    disk.make_directory("e")
    disk.sync_directory("e")
    disk.open("f", create=True)
    in_order = every_disk(disk, names_in_order=True)
    assert in_order == [{"d/": b"", "e/": b"", "f": b""}, {"d/": b"", "e/": b""}]


def test_a_directory_that_is_lost_takes_all_below_along() -> None:
    disk = SimulatedDisk()
    disk.make_directory("d")
    disk.open("d/f", create=True)
    disk.sync_directory("d")
    assert every_disk(disk) == [{"d/": b"", "d/f": b""}, {}]


def test_the_end_of_the_process_alone_loses_nothing_yet() -> None:
    disk = synced()
    disk.open("f").append(NEW)
    left = disk.kill()
    assert left.contents() == {"f": OLD + NEW}
    assert {"f": OLD} in every_disk(left)
    left.open("f").sync()
    assert every_disk(left) == [{"f": OLD + NEW}]
    assert {"f": OLD} in every_disk(disk)


def test_an_operation_names_the_file_as_it_is_called_now() -> None:
    told: list[str] = []
    disk = SimulatedDisk(on_operation=lambda op: told.append(f"{op.kind} {op.path}"))
    file = disk.open("new", create=True)
    disk.rename("new", "f")
    file.append(b"x")
    assert told == ["create new", "rename new", "append f"]


def test_operations_are_counted_and_told_before_they_happen() -> None:
    told: list[tuple[DiskOperation, int]] = []
    disk = SimulatedDisk(on_operation=lambda op: told.append((op, len(disk.contents()))))
    file = disk.open("f", create=True)
    file.append(b"x")
    file.read(0, 1)
    disk.rename("f", "g")
    assert told == [
        (DiskOperation(1, "create", "f"), 0),
        (DiskOperation(2, "append", "f", b"x"), 1),
        (DiskOperation(3, "rename", "f"), 1),
    ]
    assert disk.operations == 3


@pytest.mark.parametrize("path", ["", "/f", "../f", "a//f", "a/.", "."])
def test_a_path_that_leaves_the_disk_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput):
        SimulatedDisk().open(path, create=True)


def test_a_name_is_a_file_or_a_directory_and_not_both() -> None:
    disk = synced()
    disk.make_directory("d")
    with pytest.raises(FileExistsError):
        disk.make_directory("f")
    with pytest.raises(IsADirectoryError):
        disk.rename("f", "d")
    with pytest.raises(IsADirectoryError):
        disk.open("d")
    assert disk.contents() == {"d/": b"", "f": OLD}


def test_an_open_file_without_a_name_says_so_and_is_still_there() -> None:
    disk = synced()
    disk.open("g", create=True)
    removed, replaced = disk.open("f"), disk.open("g")
    disk.remove("f")
    disk.open("h", create=True)
    disk.rename("h", "g")
    for file in (removed, replaced):
        with pytest.raises(FileNotFoundError):
            file.size()
    assert removed.read(0, 700) == OLD
    assert disk.open("g").size() == 0


def test_a_closed_file_is_closed() -> None:
    file = synced().open("f")
    file.close()
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.size()


def test_a_file_does_not_grow_by_a_cut() -> None:
    with pytest.raises(InvalidInput):
        synced().open("f").truncate(701)

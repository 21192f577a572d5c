"""While nothing fails, the simulated disk and the one of the operating system are the same."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.storage.disk import Disk, SystemDisk
from federlib.testing import SimulatedDisk

NAMES = ("a", "b", "d", "d/a", "d/b")
Step = Callable[[Disk], object]


def append(path: str, data: bytes, disk: Disk) -> int:
    file = disk.open(path, create=True)
    try:
        file.append(data)
        return file.size()
    finally:
        file.close()


def read(path: str, offset: int, size: int, disk: Disk) -> bytes:
    file = disk.open(path)
    try:
        return file.read(offset, size)
    finally:
        file.close()


def reserve(path: str, size: int, disk: Disk) -> int:
    file = disk.open(path)
    try:
        file.reserve(size)
        return file.size()
    finally:
        file.close()


def write(path: str, share: float, data: bytes, disk: Disk) -> None:
    file = disk.open(path)
    try:
        file.write(int(max(0, file.size() - len(data)) * share), data[: file.size()])
    finally:
        file.close()


def cut(path: str, share: float, disk: Disk) -> int:
    file = disk.open(path)
    try:
        file.truncate(int(file.size() * share))
        if share > 0.5:
            file.sync()
        return file.size()
    finally:
        file.close()


def rename(source: str, target: str, disk: Disk) -> None:
    # Directories are never renamed, and that a name is one is for the caller to know.
    if not {source, target} & {"d"}:
        disk.rename(source, target)


def remove(path: str, disk: Disk) -> None:
    if path != "d":
        disk.remove(path)


def make_directory(path: str, disk: Disk) -> None:
    disk.make_directory(path)


def names_in(path: str, disk: Disk) -> list[str]:
    return disk.list(path)


def sync_directory(path: str, disk: Disk) -> None:
    disk.sync_directory(path)


names = st.sampled_from(NAMES)
directories = st.sampled_from(("", "a", "d", "e"))
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(partial, st.just(append), names, st.binary(max_size=1_500)),
    st.builds(partial, st.just(read), names, st.integers(0, 2_000), st.integers(0, 2_000)),
    st.builds(partial, st.just(reserve), names, st.integers(1, 2_000)),
    st.builds(partial, st.just(write), names, st.floats(0, 1), st.binary(max_size=1_500)),
    st.builds(partial, st.just(cut), names, st.floats(0, 1)),
    st.builds(partial, st.just(rename), names, names),
    st.builds(partial, st.just(remove), names),
    st.builds(partial, st.just(make_directory), st.sampled_from(("", "d", "d/a/x", "e/x"))),
    st.builds(partial, st.just(names_in), directories),
    st.builds(partial, st.just(sync_directory), directories),
)


def result(step: Step, disk: Disk) -> object:
    try:
        return step(disk)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def on_disk(root: Path) -> dict[str, bytes]:
    found = {path: str(path.relative_to(root)) for path in root.rglob("*")}
    return {
        name + "/" * path.is_dir(): b"" if path.is_dir() else path.read_bytes()
        for path, name in found.items()
    }


@settings(deadline=None)
@given(st.lists(steps, max_size=30))
def test_while_nothing_fails_they_agree(plan: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        real, simulated = SystemDisk(Path(directory)), SimulatedDisk()
        for step in plan:
            assert result(step, simulated) == result(step, real)
        assert simulated.contents() == on_disk(Path(directory))


@given(st.lists(steps, max_size=30), st.data())
def test_a_crash_after_everything_was_synced_changes_nothing(
    plan: list[Step], data: st.DataObject
) -> None:
    disk = SimulatedDisk()
    for step in plan:
        result(step, disk)
    for name in disk.contents():
        if name.endswith("/"):
            disk.sync_directory(name[:-1])
        else:
            disk.open(name).sync()
    disk.sync_directory("")
    assert disk.doubts == 0

    def choose(options: int) -> int:
        return data.draw(st.integers(0, options - 1))

    assert disk.cut_power(choose).contents() == disk.contents()


@given(st.lists(steps, max_size=30), st.data())
def test_what_a_crash_leaves_is_settled(plan: list[Step], data: st.DataObject) -> None:
    disk = SimulatedDisk()
    for step in plan:
        result(step, disk)
    left = disk.cut_power(lambda options: data.draw(st.integers(0, options - 1)))
    assert left.doubts == 0
    again = left.cut_power(lambda options: data.draw(st.integers(0, options - 1)))
    assert again.contents() == left.contents()


@given(st.lists(steps, max_size=30))
def test_a_crash_that_loses_nothing_changes_nothing(plan: list[Step]) -> None:
    disk = SimulatedDisk()
    for step in plan:
        result(step, disk)
    assert disk.cut_power(lambda _options: 0).contents() == disk.contents()

"""The evidence of a run as files in a directory, for whoever looks at it later."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import attrs
import msgspec

from federlib._files import PrivateFiles
from federlib.errors import InvalidInput
from federlib.testing.chaos.page import Story, page
from federlib.testing.chaos.picture import Picture
from federlib.testing.chaos.records import Note, Result
from federlib.testing.history import History
from federlib.testing.sim import Schedule

__all__ = ["MADE_BY", "NAMES", "Bundle", "check_directory", "write_report"]

MADE_BY = "federlib chaos"
_MARK = "report.json"
NAMES = (_MARK, "report.html", "schedule.json", "ledger.jsonl", "history.jsonl")
_MAX_MARK_BYTES = 64 << 20
_FILES = PrivateFiles(
    kind="report file", root="report directory", way_out="choose another directory"
)


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    """What `report.json` holds."""

    made_by: str
    result: Result
    replay: str
    violations: tuple[str, ...]
    remarks: tuple[str, ...]
    facts: dict[str, str]


class _Mark(msgspec.Struct, frozen=True):
    made_by: str = ""


@attrs.frozen(kw_only=True)
class Bundle:
    """All that is told of a run.

    Attributes:
        result: The contract.
        story: What is told beside it.
        picture: What is drawn.
        schedule: What was played.
        notes: The ledger.
        history: What processes asked of their store; None where none was recorded.
    """

    result: Result
    story: Story
    picture: Picture
    schedule: Schedule
    notes: tuple[Note, ...]
    history: History | None


def check_directory(directory: Path) -> None:
    """Make a directory for a report, mode 0700, before there is anything to write.

    Raises:
        InvalidInput: It holds files of these names that no earlier report of ours has made,
            or it is no directory.
        Unavailable: It cannot be made or read.
    """
    _FILES.ensure_directory(directory)
    present = [name for name in NAMES if os.path.lexists(directory / name)]
    if present and not _is_ours(directory / _MARK):
        raise InvalidInput(
            "--report",
            expected="a new directory, or one with an earlier report",
            found=f"{directory}, which holds another {present[0]}",
        )


def _is_ours(path: Path) -> bool:
    text = _FILES.read(path, _MAX_MARK_BYTES)
    try:
        return text is not None and msgspec.json.decode(text, type=_Mark).made_by == MADE_BY
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def write_report(directory: Path, bundle: Bundle) -> None:
    """Write all files of a report, each whole, mode 0600; an earlier report is replaced.

    Raises:
        InvalidInput, Unavailable: As `check_directory` raises.
    """
    check_directory(directory)
    story = bundle.story
    document = _Document(
        made_by=MADE_BY,
        result=bundle.result,
        replay=story.replay,
        violations=story.violations,
        remarks=story.remarks,
        facts=dict(story.facts),
    )
    whole = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    # First what says that the rest is ours: a report that was cut short can be replaced.
    _FILES.replace(directory / _MARK, whole)
    html = page(bundle.result, story, bundle.picture)
    _FILES.replace(directory / "report.html", html.encode(errors="replace"))
    schedule = msgspec.json.format(bundle.schedule.to_json(), indent=2)
    _FILES.replace(directory / "schedule.json", schedule.encode() + b"\n")
    _FILES.replace(directory / "ledger.jsonl", _lines(bundle.notes))
    history = () if bundle.history is None else bundle.history.to_lines()
    _FILES.replace(directory / "history.jsonl", b"".join(history))


def _lines(notes: Iterable[Note]) -> bytes:
    return b"".join(msgspec.json.encode(note) + b"\n" for note in notes)

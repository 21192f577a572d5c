"""The whole tree of errors: fields, sentences, pickle and copy."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator

import pytest

import federlib.errors as tree
from federlib.dmn.feel.lexer import FeelSyntaxError, UnknownName
from federlib.dmn.model.problems import ModelProblem, ModelProblems
from federlib.errors import FederlibError

# One or more of every class; a class without an example fails below.
EXAMPLES: tuple[FederlibError, ...] = (
    FederlibError(),
    tree.Unavailable("sqlite store fleet.db", "disk I/O error"),
    tree.Unavailable("store", "busy", hint="retry"),
    tree.StoreDenied("store", "read-only file system", hint="mount it read-write"),
    tree.StoreFull("store", "no space left"),
    tree.OutcomeUnknown("commit", transaction_id=None, reason="no answer within 5 s"),
    tree.OutcomeUnknown("commit", transaction_id="run-1/claim", reason="connection lost"),
    tree.Conflict("record", expected="revision 3", actual="revision 4"),
    tree.Conflict("record", expected="a", actual="b", hint="read it again"),
    tree.IdentityTaken("worker w-1", expected="free", actual="held by process 7"),
    tree.ClonedIdentity("host id", expected="machine a", actual="machine b", hint="reset it"),
    tree.PlanMismatch(
        "run r-1", expected="12 tasks", actual="13 tasks", differences=["+ extract", "- load"]
    ),
    tree.StoreReplaced("store", expected="store id a", actual="store id b, empty"),
    tree.LeaseBusy("nightly", holder="w-1", wait_s=2.5),
    tree.LeaseBusy("nightly", holder=None, wait_s=0),
    tree.Fenced("command c-1", reason="its epoch is over"),
    tree.LeaseLost("nightly", token=7, reason="expired"),
    tree.StaleToken("bucket", token=7, high_water=9),
    tree.NotLeader("scheduler", role="follower", leader="w-2"),
    tree.NotLeader("scheduler", role="observer", leader=None),
    tree.InvalidInput("limit", expected="1 to 1000", found=0),
    tree.InvalidInput("plan", expected="no problem", found=2, problems=("a: cycle", "b: twice")),
    tree.CorruptRecord("runs/1", expected="JSON", found=b"\xff\0"),
    tree.CorruptRecord("runs/1", expected="v 1", found=2, hint="upgrade federlib"),
    tree.MissingExtra("postgres", needed_for="postgresql:// stores"),
    tree.ClockBehind(behind_s=9.5, max_offset_s=3, wait_s=6.5),
    tree.TimestampTooFarAhead("018bcfe5687b-0001", ahead_s=9.5, max_offset_s=3),
    FeelSyntaxError("1 +\n  )", 6, expected="an expression"),
    UnknownName("qeue > 1", 0, name="qeue", known=("queue", "cpu")),
    ModelProblems("scaling", [ModelProblem("Action", "two rules match", rule=3, column="cpu")]),
)


def _pickler(protocol: int) -> Callable[[FederlibError], object]:
    def through_pickle(error: FederlibError) -> object:
        return pickle.loads(pickle.dumps(error, protocol))

    return through_pickle


COPIES: dict[str, Callable[[FederlibError], object]] = {
    **{f"pickle {n}": _pickler(n) for n in range(pickle.HIGHEST_PROTOCOL + 1)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def _walk(cls: type[FederlibError]) -> Iterator[type[FederlibError]]:
    yield cls
    for sub in cls.__subclasses__():
        yield from _walk(sub)


def _name(error: FederlibError) -> str:
    return type(error).__name__


def _classes() -> set[type[FederlibError]]:
    return {cls for cls in _walk(FederlibError) if cls.__module__.startswith("federlib.")}


def test_every_class_has_an_example() -> None:
    assert _classes() - {type(error) for error in EXAMPLES} == set()


def test_every_class_is_exported() -> None:
    defined = {cls.__name__ for cls in _classes() if cls.__module__ == tree.__name__}
    assert sorted(defined) == tree.__all__


@pytest.mark.parametrize("error", EXAMPLES, ids=_name)
@pytest.mark.parametrize("way", COPIES.values(), ids=COPIES.keys())
def test_an_error_survives_being_copied(
    error: FederlibError, way: Callable[[FederlibError], object]
) -> None:
    again = way(error)
    assert type(again) is type(error)
    assert again is not error
    assert vars(again) == vars(error)
    assert str(again) == str(error)
    assert repr(again) == repr(error)


def test_notes_survive_too_and_a_copy_can_be_raised() -> None:
    error = tree.LeaseLost("nightly", token=7, reason="expired")
    error.add_note("seen at shutdown")
    again = pickle.loads(pickle.dumps(error))
    assert again.__notes__ == ["seen at shutdown"]
    with pytest.raises(tree.Fenced, match="token 7"):
        raise again


def test_a_deep_copy_shares_no_list() -> None:
    error = tree.PlanMismatch("r", expected="a", actual="b", differences=["x"])
    again = copy.deepcopy(error)
    again.differences.append("y")
    assert error.differences == ["x"]


def test_errors_of_a_group_survive_pickle() -> None:
    group = ExceptionGroup("several", [tree.StoreFull("store", "quota"), tree.InvalidInput(
        "a", expected="b", found="c")])  # fmt: skip
    again = pickle.loads(pickle.dumps(group))
    assert [str(error) for error in again.exceptions] == [str(e) for e in group.exceptions]


@pytest.mark.parametrize("error", EXAMPLES, ids=_name)
def test_the_sentence_names_every_field(error: FederlibError) -> None:
    sentence = str(error)
    skipped = {"differences"} | {name for name, value in vars(error).items() if value is None}
    for name, value in vars(error).items():
        if name in skipped:
            continue
        parts = value if isinstance(value, tuple) else (value,)
        for part in parts:
            shown = f"{part:g}" if isinstance(part, float) else str(part)
            assert shown in sentence, name


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (EXAMPLES[2], "store is unavailable: busy; retry"),
        (
            EXAMPLES[6],
            (
                "the outcome of commit 'run-1/claim' is unknown (connection lost); it may have "
                "happened: inspect, then retry with the same id"
            ),
        ),
        (EXAMPLES[8], "record: expected a, found b; read it again"),
        (EXAMPLES[13], "lease 'nightly': expected acquired within 2.5 s, found held by w-1"),
        (
            EXAMPLES[14],
            "lease 'nightly': expected acquired within 0 s, found others ahead in its queue",
        ),
        (EXAMPLES[16], "lease 'nightly' (token 7) is fenced: expired; stop"),
        (
            EXAMPLES[17],
            "resource 'bucket' is fenced: token 7 is below the high-water mark 9; stop",
        ),
        (EXAMPLES[18], "election 'scheduler' is fenced: this process is follower, w-2 leads; stop"),
        (EXAMPLES[21], "plan: expected no problem, found 2\n  a: cycle\n  b: twice"),
        (EXAMPLES[23], "runs/1: expected v 1, found 2; upgrade federlib"),
        (
            EXAMPLES[24],
            'postgresql:// stores needs an extra: pip install "federlib[postgres]"',
        ),
        (
            EXAMPLES[25],
            (
                "hybrid logical clock is unavailable: the next timestamp would lead the wall "
                "clock by 9.5 s, more than 3 s; try again in 6.5 s"
            ),
        ),
        (
            EXAMPLES[26],
            (
                "timestamp 018bcfe5687b-0001: expected at most 3 s ahead of the wall clock, "
                "found 9.5 s ahead; compare the clock of its sender with this one's"
            ),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_sentence_reads_well(error: FederlibError, sentence: str) -> None:
    assert str(error) == sentence
    assert repr(error) == f"{type(error).__name__}({sentence!r})"


def test_the_branches_also_belong_to_pythons_tree() -> None:
    assert issubclass(tree.InvalidInput, ValueError)
    assert issubclass(tree.MissingExtra, ImportError)


@pytest.mark.parametrize(
    ("cls", "branch"),
    [
        (tree.StoreDenied, tree.Unavailable),
        (tree.StoreFull, tree.Unavailable),
        (tree.IdentityTaken, tree.Conflict),
        (tree.ClonedIdentity, tree.Conflict),
        (tree.PlanMismatch, tree.Conflict),
        (tree.StoreReplaced, tree.Conflict),
        (tree.LeaseBusy, tree.Conflict),
        (tree.ClockBehind, tree.Unavailable),
        (tree.TimestampTooFarAhead, tree.Conflict),
        (tree.LeaseLost, tree.Fenced),
        (tree.StaleToken, tree.Fenced),
        (tree.NotLeader, tree.Fenced),
    ],
)
def test_a_class_hangs_on_the_branch_that_says_how_to_react(
    cls: type[FederlibError], branch: type[FederlibError]
) -> None:
    assert issubclass(cls, branch)


def test_every_class_hangs_on_exactly_one_branch() -> None:
    branches = set(FederlibError.__subclasses__())
    assert {branch.__name__ for branch in branches} == {
        "Unavailable", "OutcomeUnknown", "Conflict", "Fenced", "InvalidInput", "CorruptRecord",
        "MissingExtra",
    }  # fmt: skip
    for cls in _classes() - {FederlibError}:
        assert sum(issubclass(cls, branch) for branch in branches) == 1, cls


class _Raising:
    def __repr__(self) -> str:
        raise RuntimeError("no repr today")


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ("x" * 10_000, "'" + "x" * 200 + "'… (10000 long)"),
        (b"\0" * 201, repr(b"\0" * 200) + "… (201 long)"),
        ("x" * 200, "'" + "x" * 200 + "'"),
        (list(range(10_000)), repr(list(range(10_000)))[:200] + "…"),
        (None, "None"),
        (10**5_000, "a int that cannot be shown"),
        (_Raising(), "a _Raising that cannot be shown"),
    ],
    ids=["text", "bytes", "just enough", "list", "none", "huge int", "no repr"],
)
def test_a_hostile_value_is_shortened(found: object, shown: str) -> None:
    assert tree.InvalidInput("a", expected="b", found=found).found == shown
    assert tree.CorruptRecord("a", expected="b", found=found).found == shown

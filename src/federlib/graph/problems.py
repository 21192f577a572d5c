"""What can be wrong with a graph, every problem at once.

The fast path of `Graph.build` only notices *that* something is wrong; this module then
walks everything again, slowly, and says what. Nothing here recurses.

Source: design §5, dag (every problem reported at once, a cycle shown as its path).
"""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from federlib.errors import InvalidInput

__all__ = [
    "MAX_ID_BYTES",
    "MAX_PROBLEMS",
    "Problems",
    "find_problems",
    "is_legal_id",
    "show",
]

MAX_ID_BYTES = 512
"""Of a node's id, in UTF-8; the same as a store's key."""

MAX_PROBLEMS = 50
"""How many problems are spelled out; the rest is counted."""

_SHOWN_ID = 80
_SHOWN_PATH = 12


class _NotAList:
    """Stands where parents should be; walking it raises `TypeError`."""

    __slots__ = ("found",)

    def __init__(self, found: object) -> None:
        self.found: object = found


Parents = Collection[object] | _NotAList


class Problems:
    """Collects problems, keeps the first fifty, and counts the rest.

    Attributes:
        count: How many were added.
    """

    def __init__(self) -> None:
        self.count: int = 0
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Add one problem, one line."""
        self.count += 1
        if len(self._lines) < MAX_PROBLEMS:
            self._lines.append(line)

    def __bool__(self) -> bool:
        return self.count > 0

    @property
    def lines(self) -> tuple[str, ...]:
        """At most fifty lines, and one more that counts what was left out."""
        left = self.count - len(self._lines)
        more = (f"… and {left} more",) if left else ()
        return (*self._lines, *more)

    def error(self, field: str, *, expected: str) -> InvalidInput:
        """Build the error that reports them all."""
        found = "1 problem" if self.count == 1 else f"{self.count} problems"
        return InvalidInput(field, expected=expected, found=found, problems=self.lines)


def is_legal_id(node_id: object) -> bool:
    """Say whether this may be the id of a node.

    Legal: non-empty text, at most `MAX_ID_BYTES` of UTF-8, in Unicode normal form NFC,
    without control characters (line breaks included).
    """
    return _id_fault(node_id) is None


def show(value: object) -> str:
    """Quote an id or any other value for people, shortened."""
    if isinstance(value, str):
        text = value if len(value) <= _SHOWN_ID else value[:_SHOWN_ID] + "…"
        return repr(text)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "a number beyond 64 bits"  # writing out a huge one takes long, or fails
    return repr(value) if isinstance(value, int | float | None) else f"a {type(value).__name__}"


def find_problems(
    ids: Sequence[object],
    rows: Sequence[Parents],
    problems: Problems,
    *,
    report_repeats: bool = False,
) -> None:
    """Add everything that is wrong with these nodes and their parents.

    Args:
        ids: Each node's id.
        rows: The ids of its parents.
        problems: Receives one line a problem: illegal and duplicate ids first, then
            parents in the order of the rows, then one cycle of each strongly connected
            component.
        report_repeats: A parent named twice is a problem too.
    """
    index = _index_ids(ids, problems)
    # What fails here is left out of the edges, so that cycles are searched among the rest.
    edges: list[list[int]] = [[] for _ in ids]
    for number, (node_id, parents) in enumerate(zip(ids, rows, strict=True)):
        if isinstance(parents, _NotAList):
            found = show(parents.found)
            problems.add(f"{show(node_id)}: its parents are {found}, not a list of ids")
            continue
        node = index.get(node_id, number) if isinstance(node_id, str) else number
        edges[node] += _checked_parents(node_id, parents, index, problems, report=report_repeats)
    for path in _cycles(edges):
        problems.add("cycle: " + _show_path([ids[node] for node in path]))


def _index_ids(ids: Sequence[object], problems: Problems) -> dict[str, int]:
    index: dict[str, int] = {}
    duplicates: dict[str, int] = {}
    for number, node_id in enumerate(ids):
        fault = _id_fault(node_id)
        if fault is not None:
            problems.add(f"node {number + 1}: the id {show(node_id)} {fault}")
        if not isinstance(node_id, str):
            continue
        if node_id in index:
            duplicates[node_id] = duplicates.get(node_id, 1) + 1
        else:
            index[node_id] = number
    for node_id, times in duplicates.items():
        problems.add(f"{show(node_id)}: the id is used {times} times")
    return index


def _checked_parents(
    node_id: object,
    parents: Collection[object],
    index: Mapping[str, int],
    problems: Problems,
    *,
    report: bool,
) -> list[int]:
    good: dict[int, None] = {}
    seen: set[str] = set()
    for parent in parents:
        if not isinstance(parent, str):
            problems.add(f"{show(node_id)}: a parent is {show(parent)}, not the id of a node")
        elif parent in seen:
            if report:
                problems.add(f"{show(node_id)}: names its parent {show(parent)} twice")
        elif parent == node_id:
            problems.add(f"{show(node_id)}: names itself as a parent")
        elif parent not in index:
            problems.add(f"{show(node_id)}: its parent {show(parent)} does not exist")
        else:
            good[index[parent]] = None
        if isinstance(parent, str):
            seen.add(parent)
    return list(good)


def _id_fault(node_id: object) -> str | None:
    if not isinstance(node_id, str):
        return "is not text"
    if not node_id:
        return "is empty"
    # Characters first: a 10 MB text should not be encoded only to be refused.
    if len(node_id) > MAX_ID_BYTES:
        return f"is longer than {MAX_ID_BYTES} bytes"
    if node_id.isascii():
        return None if node_id.isprintable() else "has a control character"
    try:
        size = len(node_id.encode())
    except UnicodeEncodeError:
        return "cannot be written as UTF-8"
    if size > MAX_ID_BYTES:
        return f"is longer than {MAX_ID_BYTES} bytes"
    # Cc, and the two separators that also end a line in logs and editors.
    if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in node_id):
        return "has a control character"
    return None if unicodedata.is_normalized("NFC", node_id) else "is not in Unicode form NFC"


def _show_path(ids: Sequence[object]) -> str:
    """Write a cycle as `a -> b -> a`: each before the next. A long one is cut in its middle."""
    closed = [*ids, ids[0]]
    left_out = len(closed) - _SHOWN_PATH
    if left_out > 1:
        half = _SHOWN_PATH // 2
        shown = [*map(_plain, closed[:half]), f"… {left_out} more …", *map(_plain, closed[-half:])]
    else:
        shown = [_plain(node_id) for node_id in closed]
    return " -> ".join(shown)


def _plain(node_id: object) -> str:
    # An id may hold spaces and arrows; quotes only where it could be misread.
    text = show(node_id)
    bare = text[1:-1]
    return bare if not any(c.isspace() or c in "'\"\\>" for c in bare) else text


def _cycles(parents: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield one short cycle of each strongly connected component, parents before children."""
    for component in _components(parents):
        if len(component) > 1:
            yield _short_cycle(min(component), frozenset(component), parents)


def _short_cycle(start: int, inside: frozenset[int], parents: Sequence[Sequence[int]]) -> list[int]:
    """Find a shortest cycle through `start` by breadth-first search against the arrows."""
    toward: dict[int, int] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for parent in parents[node]:
            if parent == start:
                return _walk(start, node, toward)
            if parent in inside and parent not in toward:
                toward[parent] = node
                queue.append(parent)
    raise AssertionError("a strongly connected component without a cycle")


def _walk(start: int, node: int, toward: Mapping[int, int]) -> list[int]:
    path = [start]
    while node != start:
        path.append(node)
        node = toward[node]
    return path


def _components(successors: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the strongly connected components (Tarjan 1972, with an explicit stack)."""
    unseen = -1
    number = [unseen] * len(successors)
    low = [0] * len(successors)
    pending: list[int] = []
    is_pending = bytearray(len(successors))
    count = 0
    for root in range(len(successors)):
        if number[root] != unseen:
            continue
        work: list[tuple[int, Iterator[int]]] = [(root, iter(successors[root]))]
        number[root] = low[root] = count
        count += 1
        pending.append(root)
        is_pending[root] = 1
        while work:
            node, rest = work[-1]
            for other in rest:
                if number[other] == unseen:
                    number[other] = low[other] = count
                    count += 1
                    pending.append(other)
                    is_pending[other] = 1
                    work.append((other, iter(successors[other])))
                    break
                if is_pending[other]:
                    low[node] = min(low[node], number[other])
            else:
                work.pop()
                if work:
                    above = work[-1][0]
                    low[above] = min(low[above], low[node])
                if low[node] == number[node]:
                    yield _popped(pending, is_pending, node)


def _popped(pending: list[int], is_pending: bytearray, until: int) -> list[int]:
    component: list[int] = []
    while not component or component[-1] != until:
        node = pending.pop()
        is_pending[node] = 0
        component.append(node)
    return component


def as_rows(
    parents: Mapping[str, Iterable[str]] | Iterable[tuple[str, Iterable[str]]],
) -> tuple[list[object], list[Parents]]:
    """Split nodes from their parents, so that each can be walked more than once.

    Raises:
        InvalidInput: The input is not a mapping or a series of pairs.
    """
    ids: list[object] = []
    rows: list[object] = []
    if isinstance(parents, Mapping):
        ids += parents
        rows += parents.values()
    else:
        try:
            for node_id, row in parents:
                ids.append(node_id)
                rows.append(row)
        except (TypeError, ValueError) as error:
            expected = "ids with the ids of their parents"
            raise InvalidInput("parents", expected=expected, found=str(error)) from error
    if set(map(type, rows)) <= _WALKABLE:
        return ids, rows  # type: ignore[return-value]  # all lists and tuples
    return ids, [_walkable(row) for row in rows]


_WALKABLE = frozenset((list, tuple))


def _walkable(row: object) -> Parents:
    if isinstance(row, list | tuple):
        return row
    if isinstance(row, str | bytes | Mapping) or not isinstance(row, Iterable):
        return _NotAList(row)
    if isinstance(row, set | frozenset):
        # The order of a set of text changes from process to process.
        return sorted(row, key=str)
    return tuple(row)

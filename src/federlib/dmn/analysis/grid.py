"""`Grid`: which rules of a table match in which class of each column, as bits.

Columns that test the same expression are one axis: no input has two values at once. Of each
class two sets of rules are known: those that match for certain, and those that may, because
their cell asks for other facts, or for something that constants do not say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from federlib.dmn.analysis.classes import Class, Classes, classes_of, constants_of
from federlib.dmn.feel.compile import UnaryTests
from federlib.dmn.feel.evaluation import Evaluation, Exhausted
from federlib.dmn.feel.types import ANY
from federlib.dmn.feel.values import Value
from federlib.dmn.model import Definitions, ItemDefinition
from federlib.dmn.tables.cells import Cell, read_cell
from federlib.dmn.tables.table import CompiledTable, TableColumn, Tests

__all__ = ["Axis", "Grid", "Runs", "bits_of", "grid_of", "passes", "restrictions_of"]

_CELL_STEPS = 10_000
_MAX_LOOKS = 1_000_000
# Of one column, a rule and a class each: 40,000 rules with bounds of their own, and about a
# gigabyte with what is made of them.
_MAX_BITS = 4_000_000_000
"""At what one cell lists, while its classes are tried."""
_NO_FACTS: Mapping[str, Value] = {}


@attrs.frozen
class Axis:
    """One thing that a table tests.

    Attributes:
        name: Its expression.
        is_fact: Whether that is the name of a fact.
        classes: Of its values.
        surely: Of each class, the rules that match as far as this axis goes; a bit each.
        maybe: Those and the ones that may.
        rules_surely: Of each rule, the classes in which it matches; a bit each.
        rules_maybe: Those and the ones in which it may.
    """

    name: str
    is_fact: bool
    classes: Classes
    surely: tuple[int, ...]
    maybe: tuple[int, ...]
    rules_surely: tuple[int, ...]
    rules_maybe: tuple[int, ...]


@attrs.frozen
class Grid:
    """A table, axis by axis.

    Attributes:
        axes: What it tests.
        rules: How many rules it has.
        notes: Why not everything can be said; empty: it can.
    """

    axes: tuple[Axis, ...]
    rules: int
    notes: tuple[str, ...]

    @property
    def everything(self) -> int:
        """All rules, a bit each."""
        return (1 << self.rules) - 1

    def example(self, place: Sequence[int]) -> dict[str, Value]:
        """Return what each axis tests at one place: one class of each, from the first on."""
        return {
            axis.name: axis.classes.members[position].example
            for axis, position in zip(self.axes, place, strict=True)
        }


def grid_of(
    table: CompiledTable,
    *,
    restrictions: Mapping[str, Sequence[str]] | None = None,
    has_null: bool = True,
    work: int = 10_000_000,
) -> Grid | None:
    """Find out which rules match where.

    Args:
        table: What.
        restrictions: Unary tests that the values of a column pass beside its allowed values,
            by the name of the column.
        has_null: Whether null is one more value of each column.
        work: How much of it may be done; about a tenth of a second for each million.
    Returns:
        None where the table is too large for that.
    """
    notes: list[str] = []
    axes: list[Axis] = []
    by_name: dict[str, list[int]] = {}
    for position, column in enumerate(table.columns):
        by_name.setdefault(column.name, []).append(position)
    # A bit is set in a number as long as the table.
    work //= 1 + len(table.table.rules) // 4_000
    for name, positions in by_name.items():
        columns = [table.columns[position] for position in positions]
        builder = _AxisBuilder(table, columns, positions, (restrictions or {}).get(name, ()))
        classes = builder.classes(has_null=has_null)
        if len(classes.members) * len(table.table.rules) > _MAX_BITS:
            return None
        masks = builder.bits(classes, work)
        if masks is None:
            return None
        if not classes.is_exact:
            notes.append(
                f"{columns[0].title}: a cell tells values apart in ways that are not tried"
            )
        axes.append(
            Axis(
                name,
                columns[0].code is None,
                classes,
                masks.surely,
                masks.maybe,
                masks.rules_surely,
                masks.rules_maybe,
            )
        )
    computed = [axis.name for axis in axes if not axis.is_fact]
    if computed:
        notes.append(
            f"whether {', '.join(computed)} can have these values together is not looked into"
        )
    return Grid(tuple(axes), len(table.table.rules), tuple(notes))


def passes(tests: Tests, facts: Mapping[str, Value], value: Value) -> bool:
    """Say whether a value passes, with limits of its own."""
    try:
        return tests.matches(Evaluation(steps=_CELL_STEPS), facts, value) is True
    except Exhausted:
        return False


def restrictions_of(model: Definitions) -> dict[str, list[str]]:
    """Find the allowed values of the types of inputs, by the name of the input, or its path."""
    types = {each.name: each for each in model.item_definitions}
    found: dict[str, list[str]] = {}
    for given in model.inputs:
        for path, texts in _allowed(given.name, given.type_ref, types, 0):
            found.setdefault(path, []).extend(texts)
    return found


def _allowed(
    path: str, type_ref: str, types: Mapping[str, ItemDefinition], depth: int
) -> Iterator[tuple[str, list[str]]]:
    item = types.get(type_ref)
    if item is None or item.is_collection or depth > 8:  # no model nests deeper
        return
    yield path, [text for text in (item.allowed, item.constraint) if text]
    yield from _allowed(path, item.type_ref, types, depth + 1)
    for part in item.components:
        if not part.is_collection:
            yield f"{path}.{part.name}", [text for text in (part.allowed, part.constraint) if text]
            yield from _allowed(f"{path}.{part.name}", part.type_ref, types, depth + 1)


class _AxisBuilder:
    def __init__(
        self,
        table: CompiledTable,
        columns: Sequence[TableColumn],
        positions: Sequence[int],
        restrictions: Sequence[str],
    ) -> None:
        self._columns = columns
        self._rules = [
            [
                (rule.conditions[position] if position < len(rule.conditions) else "").strip()
                for position in positions
            ]
            for rule in table.table.rules
        ]
        # One compilation for each distinct text: most cells of a column are seen many times.
        # In the order of the rules, as a set's is another one in each process.
        self._tests = [
            {
                text: column.compile(text)
                for text in dict.fromkeys(rule[number] for rule in self._rules)
            }
            for number, column in enumerate(columns)
        ]
        first = columns[0]
        self._limits = [each.allowed for each in columns if each.allowed is not None]
        self._limits += [first.compile(text) for text in restrictions if text.strip()]

    def classes(self, *, has_null: bool) -> Classes:
        read = [
            constants_of(tests)
            for each in self._tests
            for tests in each.values()
            if isinstance(tests, UnaryTests)
        ]
        limits = [constants_of(each) for each in self._limits if isinstance(each, UnaryTests)]
        kind = next((each.kind.feel for each in self._columns if each.kind.feel != ANY), ANY)
        if kind == ANY and self._columns[0].code is None:
            kind = self._columns[0].scope.all_names.get(self._columns[0].name, ANY)
        classes = classes_of([*read, *limits], kind, has_null=has_null)
        if not self._limits:
            return classes
        # What is restricted to other values is refused or null before the table is asked.
        within = [
            each
            for each in classes.members
            # Null conforms to every type, and no allowed values keep it out.
            if each.example is None
            or all(passes(limit, _NO_FACTS, each.example) for limit in self._limits)
        ]
        return attrs.evolve(classes, members=tuple(within) or classes.members)

    def bits(self, classes: Classes, work: int) -> _Bits | None:
        """Say which rules match in which class, for certain and at most; None: too much work."""
        runs = Runs(classes.members)
        known: list[dict[str, tuple[int, int]]] = []
        for tests in self._tests:
            places = {text: runs.of(each) for text, each in tests.items()}
            cells = {text: each for text, each in places.items() if each is not None}
            if len(cells) < len(places):
                return None
            known.append(cells)
        everywhere = (1 << len(classes.members)) - 1
        of_rules: tuple[list[int], list[int]] = ([], [])
        for texts in self._rules:
            for found, which in zip(of_rules, (0, 1), strict=True):
                places_of = everywhere
                for cells, text in zip(known, texts, strict=True):
                    places_of &= cells[text][which]
                found.append(places_of)
        surely = _turned(of_rules[0], len(classes.members), work)
        maybe = surely if of_rules[0] == of_rules[1] else None
        maybe = _turned(of_rules[1], len(classes.members), work) if maybe is None else maybe
        if surely is None or maybe is None:
            return None
        return _Bits(tuple(surely), tuple(maybe), tuple(of_rules[0]), tuple(of_rules[1]))


@attrs.frozen
class _Bits:
    """The same bits both ways: the rules of each class, and the classes of each rule."""

    surely: tuple[int, ...]
    maybe: tuple[int, ...]
    rules_surely: tuple[int, ...]
    rules_maybe: tuple[int, ...]


def _turned(masks: Sequence[int], count: int, work: int) -> list[int] | None:
    """Turn bits by 90 degrees; None: it would be too much work."""
    everywhere = (1 << count) - 1
    always = 0
    found = [0] * count
    for number, mask in enumerate(masks):
        if mask == everywhere:
            always |= 1 << number
            continue
        work -= mask.bit_count()
        if work < 0:
            return None
        bit = 1 << number
        for position in bits_of(mask):
            found[position] |= bit
    return [each | always for each in found]


def bits_of(mask: int) -> Iterator[int]:
    """Yield the positions of the bits that are set, from the lowest."""
    while mask:
        yield (mask & -mask).bit_length() - 1
        mask &= mask - 1


class Runs:
    """Finds the classes for which a cell holds, without trying each.

    Between two of its own constants a cell of constants is the same for all classes of one
    type, so one of them is tried.
    """

    def __init__(self, members: Sequence[Class]) -> None:
        self._members = members
        self._points: dict[tuple[type, Value], int] = {}
        self._groups: list[tuple[int, int]] = []
        begin = 0
        for position, member in enumerate(members):
            if member.kind == "point" and not isinstance(member.example, list | dict):
                self._points[type(member.example), member.example] = position
            if position + 1 == len(members) or type(members[position + 1].example) is not type(
                member.example
            ):
                self._groups.append((begin, position + 1))
                begin = position + 1

    def of(self, tests: Tests) -> tuple[int, int] | None:
        """Return where a cell holds, for certain and at most, a bit for each class.

        Returns:
            None where it is too long for that.
        """
        everywhere = (1 << len(self._members)) - 1
        if not isinstance(tests, UnaryTests):
            return 0, 0
        if tests.tree.is_any:
            return everywhere, everywhere
        constants = constants_of(tests)
        if constants.asks_facts:
            return 0, everywhere
        if not constants.is_exact:
            return self._tried(tests)
        own = {
            self._points.get((type(value), value), -1)
            for value in constants.values
            if not isinstance(value, list | dict)
        }
        # Each look at a cell goes through what it lists; at a plain list of strings it does not.
        plain = read_cell(tests.text)
        is_listed = plain is not None and not plain.numbers
        if not is_listed and len(own) * len(constants.values) > _MAX_LOOKS:
            return None
        found = 0
        for begin, end in self._groups:
            start = begin
            for edge in [*sorted(each for each in own if begin <= each < end), end]:
                if start < edge and self._holds(tests, plain, start):
                    found |= ((1 << (edge - start)) - 1) << start
                if edge < end and self._holds(tests, plain, edge):
                    found |= 1 << edge
                start = edge + 1
        return found, found

    def _tried(self, tests: Tests) -> tuple[int, int]:
        """Try each class; what holds for one value of an open class says little of the rest."""
        surely = maybe = 0
        for position, member in enumerate(self._members):
            if member.kind != "point":
                maybe |= 1 << position
            elif passes(tests, _NO_FACTS, member.example):
                surely |= 1 << position
        return surely, surely | maybe

    def _holds(self, tests: Tests, plain: Cell | None, position: int) -> bool:
        value = self._members[position].example
        if plain is not None and isinstance(value, str):
            return (value in plain.strings) != plain.is_but
        return passes(tests, _NO_FACTS, value)

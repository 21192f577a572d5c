"""What a table leaves open, where its rules overlap, and which of them never decide.

    for analysis in analyse(compile_model(load_model(path))):
        for gap in analysis.gaps:
            print(gap.where, gap.example)       # {"cpu": "(80..90)"} {"cpu": "81"}

Each finding has an example: values, in FEEL, that show it. Null is one more value. Where every
cell is made of constants and there was room for all, the analysis is a proof: what it does not
name is not there. Otherwise `is_exhaustive` is False and `notes` say why.

Source: DMN 1.5, 8.2.8 (hit policies; overlapping rules) and 8.2.9 (completeness).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product

import attrs
import msgspec

from federlib.dmn.analysis.classes import literal_text
from federlib.dmn.analysis.grid import Grid, bits_of, grid_of, passes, restrictions_of
from federlib.dmn.engine.compiled import Model
from federlib.dmn.feel.values import Value
from federlib.dmn.tables.hit_policies import letter
from federlib.dmn.tables.table import CompiledTable

__all__ = ["Gap", "Overlap", "TableAnalysis", "Unreachable", "analyse", "analyse_table"]

_MAX_STEPS = 500_000
_MAX_PLACES = 200
"""Of a box in which rules may match or not, that are tried."""


class Gap(msgspec.Struct, frozen=True):
    """Inputs for which no rule matches.

    Attributes:
        where: Which, as unary tests, by what the column tests; a column that does not matter
            is left out.
        example: One of them, in FEEL.
    """

    where: dict[str, str]
    example: dict[str, str]


class Overlap(msgspec.Struct, frozen=True):
    """Inputs for which two rules match.

    Attributes:
        rules: Their ids, or their numbers from 1.
        where: Which inputs, as in a gap.
        example: One of them, in FEEL.
        is_conflict: Whether what the rules conclude is written differently.
        is_error: Whether the hit policy forbids it: UNIQUE always, ANY where it is a conflict.
    """

    rules: tuple[str, str]
    where: dict[str, str]
    example: dict[str, str]
    is_conflict: bool
    is_error: bool


class Unreachable(msgspec.Struct, frozen=True):
    """A rule that never decides.

    Attributes:
        rule: Its id, or its number from 1.
        reason: Why, in words.
    """

    rule: str
    reason: str


class TableAnalysis(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said about one table.

    Attributes:
        element: The decision or knowledge model that it is the logic of.
        hit_policy: Its letter, with the sign of its aggregator.
        rules: How many it has.
        gaps: Inputs for which no rule matches; where there are default outputs they decide.
        overlaps: Inputs for which two match, errors first.
        unreachable: Rules that never decide.
        has_default: Whether it has default outputs.
        is_exhaustive: Whether that is all there is to find, among values of the types that the
            model or a cell names.
        notes: Why it is not.
    """

    element: str
    hit_policy: str
    rules: int
    gaps: tuple[Gap, ...]
    overlaps: tuple[Overlap, ...]
    unreachable: tuple[Unreachable, ...]
    has_default: bool
    is_exhaustive: bool
    notes: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left open, and nothing is that the hit policy forbids."""
        is_open = bool(self.gaps) and not self.has_default
        return not (is_open or self.unreachable or any(each.is_error for each in self.overlaps))


def analyse(model: Model, *, has_null: bool = True, limit: int = 20) -> tuple[TableAnalysis, ...]:
    """Analyse every table of a model.

    Args:
        model: The model.
        has_null: Whether null is one more value of each column: an input may always be missing.
        limit: At most so many gaps, and so many overlaps, of one table are told.
    """
    restrictions = restrictions_of(model.definitions)
    return tuple(
        analyse_table(table, restrictions=restrictions, has_null=has_null, limit=limit)
        for tables in model.tables().values()
        for table in tables
    )


def analyse_table(
    table: CompiledTable,
    *,
    restrictions: Mapping[str, Sequence[str]] | None = None,
    has_null: bool = True,
    limit: int = 20,
    steps: int = _MAX_STEPS,
) -> TableAnalysis:
    """Analyse one table.

    Args:
        table: The table.
        restrictions: Unary tests that the values of a column pass beside its allowed values,
            by the name of the column: those of its type.
        has_null: Whether null is one more value of each column: an input may always be missing.
        limit: At most so many gaps, and so many overlaps, are told.
        steps: How far each search goes.
    """
    grid = grid_of(table, restrictions=restrictions, has_null=has_null)
    gaps: tuple[Gap, ...] = ()
    overlaps: tuple[Overlap, ...] = ()
    unreachable: tuple[Unreachable, ...] = ()
    notes: tuple[str, ...] = ("the table is too large",)
    if grid is not None:
        search = _Search(table, grid, limit, steps)
        gaps = tuple(search.gaps())
        overlaps = tuple(search.overlaps())
        unreachable = tuple(search.unreachable())
        notes = (*grid.notes, *search.notes)
    return TableAnalysis(
        element=table.element,
        hit_policy=letter(table.table),
        rules=len(table.table.rules),
        gaps=gaps,
        overlaps=tuple(sorted(overlaps, key=lambda each: not each.is_error)),
        unreachable=unreachable,
        has_default=any(each.default.strip() for each in table.table.outputs),
        is_exhaustive=not notes,
        notes=notes,
    )


@attrs.define
class _Walk:
    """One search through the grid for places that no rule of some covers.

    Attributes:
        grid: The grid.
        allowed: Of each axis, the positions that are looked at.
        rules: The rules that count.
        left: Steps that are left.
        covered: What was found to be covered, so that it is looked at once.
        always: Of each axis, the rules that match whatever it and those after it are.
    """

    grid: Grid
    allowed: Sequence[Sequence[int]]
    rules: int
    left: int
    covered: set[tuple[int, int, int]] = attrs.field(factory=set)
    always: list[int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Find the rules that match all that is left, from each axis on."""
        self.always = [self.grid.everything]
        for axis, positions in zip(reversed(self.grid.axes), reversed(self.allowed), strict=True):
            rules = self.always[-1]
            for position in positions:
                rules &= axis.surely[position]
            self.left -= len(positions)
            self.always.append(rules)
        self.always.reverse()

    def boxes(
        self, depth: int = 0, surely: int = -1, maybe: int = -1
    ) -> Iterator[tuple[list[Sequence[int]], int]]:
        """Yield what is not covered for certain: positions of each axis, and rules that may."""
        surely &= self.rules
        maybe &= self.rules
        self.left -= 1
        if self.left < 0:
            return
        axes = self.grid.axes
        if not maybe or depth == len(axes):
            if not surely:
                yield [list(each) for each in self.allowed[depth:]], maybe
            return
        if surely & self.always[depth] or (depth, surely, maybe) in self.covered:
            return
        self.left -= len(self.allowed[depth])
        groups: dict[tuple[int, int], list[int]] = {}
        for position in self.allowed[depth]:
            axis = axes[depth]
            key = (surely & axis.surely[position], maybe & axis.maybe[position])
            groups.setdefault(key, []).append(position)
        is_covered = True
        for (sure, may), positions in groups.items():
            for rest, rules in self.boxes(depth + 1, sure, may):
                is_covered = False
                yield [positions, *rest], rules
        if is_covered and self.left >= 0:
            self.covered.add((depth, surely, maybe))


class _Search:
    def __init__(self, table: CompiledTable, grid: Grid, limit: int, steps: int) -> None:
        self._table = table
        self._grid = grid
        self._limit = limit
        self._steps = steps
        self._all = [range(len(axis.classes.members)) for axis in grid.axes]
        self.notes: list[str] = []

    def gaps(self) -> Iterator[Gap]:
        walk = _Walk(self._grid, self._all, self._grid.everything, self._steps)
        told = 0
        for box, maybe in walk.boxes():
            place: Sequence[int] | None = [positions[0] for positions in box]
            if maybe:
                # Some rules are not certain here: then only what is tried is said.
                self._note("gaps: some rules ask for more than was tried")
                place = self._first_open(box, maybe)
                box = [] if place is None else [[position] for position in place]
            if place is None:
                continue
            if told == self._limit:
                self._note(f"gaps: only the first {self._limit} are told")
                break
            told += 1
            yield Gap(self._where(box), self._example(place))
        if walk.left < 0:
            self._note("gaps: more combinations than are tried")

    def _first_open(self, box: Sequence[Sequence[int]], maybe: int) -> Sequence[int] | None:
        """Try places of a box for one at which none of these rules matches."""
        for place in islice(product(*box), _MAX_PLACES):
            if not self._matches(place, maybe):
                return place
        return None

    def overlaps(self) -> Iterator[Overlap]:
        grid, policy = self._grid, self._table.table.hit_policy
        left, told = self._steps, 0
        for rule in range(grid.rules):
            others = grid.everything & ~((2 << rule) - 1)
            for axis in grid.axes:
                if axis.rules_maybe[rule] == (1 << len(axis.maybe)) - 1:
                    continue
                near = 0
                for position in bits_of(axis.rules_maybe[rule]):
                    near |= axis.maybe[position]
                    left -= 1
                others &= near
            while others:
                other = (others & -others).bit_length() - 1
                others &= others - 1
                left -= 1
                found = self._overlap(rule, other)
                if found is None:
                    continue
                is_conflict = self._concluded(rule) != self._concluded(other)
                is_error = policy == "UNIQUE" or (policy == "ANY" and is_conflict)
                if not is_error and policy not in {"UNIQUE", "ANY"} and not is_conflict:
                    continue
                if told == self._limit:
                    self._note(f"overlaps: only the first {self._limit} are told")
                    return
                told += 1
                box, place = found
                names = (self._table.rule_id(rule), self._table.rule_id(other))
                yield Overlap(names, self._where(box), self._example(place), is_conflict, is_error)
            if left < 0:
                self._note("overlaps: more pairs of rules than are tried")
                return

    def unreachable(self) -> Iterator[Unreachable]:
        is_first = self._table.table.hit_policy == "FIRST"
        left = self._steps
        for rule in range(self._grid.rules):
            masks = [axis.rules_maybe[rule] for axis in self._grid.axes]
            if not all(masks):
                yield Unreachable(self._table.rule_id(rule), "no value passes its conditions")
                continue
            if not is_first or not rule:
                continue
            positions = [list(bits_of(mask)) for mask in masks]
            walk = _Walk(self._grid, positions, (1 << rule) - 1, left)
            is_covered = next(walk.boxes(), None) is None
            left = walk.left
            if left < 0:
                self._note("rules that never decide: more combinations than are tried")
                return
            if is_covered:
                yield Unreachable(self._table.rule_id(rule), "earlier rules match all it does")

    def _overlap(self, rule: int, other: int) -> tuple[list[Sequence[int]], Sequence[int]] | None:
        """Find where both match, and an example that was tried if nothing is certain."""
        both = [axis.rules_surely[rule] & axis.rules_surely[other] for axis in self._grid.axes]
        if all(both):
            box: list[Sequence[int]] = [list(bits_of(mask)) for mask in both]
            return box, [positions[0] for positions in box]
        box = [
            list(bits_of(axis.rules_maybe[rule] & axis.rules_maybe[other]))
            for axis in self._grid.axes
        ]
        if not all(box):
            return None
        self._note("overlaps: some rules ask for more than was tried")
        for place in islice(product(*box), _MAX_PLACES):
            if self._matches(place, 1 << rule, 1 << other):
                return [[position] for position in place], place
        return None

    def _matches(self, place: Sequence[int], *rules: int) -> bool:
        """Try whether of each set of rules one matches at a place."""
        values = self._grid.example(place)
        return all(
            any(self._rule_matches(rule, values) for rule in bits_of(mask)) for mask in rules
        )

    def _rule_matches(self, rule: int, values: Mapping[str, Value]) -> bool:
        conditions = self._table.table.rules[rule].conditions
        return all(
            passes(column.compile(text), values, values[column.name])
            for column, text in zip(self._table.columns, conditions, strict=False)
        )

    def _concluded(self, rule: int) -> tuple[str, ...]:
        conclusions = self._table.table.rules[rule].conclusions
        return tuple(" ".join(text.split()) for text in conclusions)

    def _where(self, box: Sequence[Sequence[int]]) -> dict[str, str]:
        return {
            axis.name: axis.classes.text(positions)
            for axis, positions in zip(self._grid.axes, box, strict=True)
            if len(positions) < len(axis.classes.members)
        }

    def _example(self, place: Sequence[int]) -> dict[str, str]:
        values = self._grid.example(place)
        return {name: literal_text(value) for name, value in values.items()}

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

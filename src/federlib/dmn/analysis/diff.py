"""Two versions of a model: what was written differently, and which inputs come out otherwise.

    found = diff_models(old, new, draw=random.Random(1).randrange)
    for each in found.differences:
        print(each.facts, each.before, "->", each.after)

What somebody changed is one question, what it changes another: a new order of rules may change
nothing, and one sign everything. So both versions are asked, with one value of each class that
the cells of either tell apart. Where all combinations were tried and all cells are made of
constants, no difference found is a proof that there is none; the result says so. Otherwise
combinations are drawn, half of them from where the changed rules match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Literal, TypeAlias

import attrs
import msgspec

from federlib.dmn.analysis.changes import ModelChange, changes_between
from federlib.dmn.analysis.classes import Classes, Constants, classes_of, constants_of
from federlib.dmn.analysis.grid import Runs, bits_of, passes, restrictions_of
from federlib.dmn.engine.compiled import Model
from federlib.dmn.feel import ANY, FeelType, compile_unary_tests, evaluate, is_instance
from federlib.dmn.feel.compile import UnaryTests
from federlib.dmn.feel.convert import canonical, from_python, to_python
from federlib.dmn.model import DecisionTable
from federlib.dmn.tables.table import CompiledTable
from federlib.errors import InvalidInput

__all__ = ["Difference", "ModelChange", "ModelDiff", "SearchMethod", "diff_models"]

SearchMethod: TypeAlias = Literal["exhaustive", "sampled"]
"""Whether all combinations were tried, or some that were drawn."""

_MAX_TRIED = 20_000
_MAX_POOL = 200
"""Constants in what computes that are tried for every input."""
_LITERAL = re.compile(r'(?<![\w.])\d{1,30}(?:\.\d{1,30})?(?![\w.])|@?"[^"\\\n]{0,100}"')
_NAME = re.compile(r"[^\W\d][\w \-]*")


class Difference(msgspec.Struct, frozen=True):
    """Facts that come out otherwise.

    Attributes:
        facts: By the names of the inputs.
        before: What the old version decides.
        after: What the new version decides.
        rules_before: Of the old version, the rules that match.
        rules_after: Of the new version.
    """

    facts: dict[str, object]
    before: object
    after: object
    rules_before: tuple[str, ...]
    rules_after: tuple[str, ...]


class ModelDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What two versions have not in common.

    Attributes:
        changes: What is written differently.
        differences: Which facts come out otherwise: one example for each pair of rules that
            match before and after.
        method: How they were looked for.
        tried: How many combinations of facts were tried.
        is_proof: Whether there is no other difference than between those rules, among values
            of the types that the models or their cells name.
        notes: Why it is no proof.
    """

    changes: tuple[ModelChange, ...]
    differences: tuple[Difference, ...]
    method: SearchMethod
    tried: int
    is_proof: bool
    notes: tuple[str, ...] = ()


def diff_models(
    old: Model,
    new: Model,
    decision: str | None = None,
    *,
    draw: Callable[[int], int],
    limit: int = 10,
    most: int = _MAX_TRIED,
    now_ns: int | None = None,
) -> ModelDiff:
    """Compare two versions of a model.

    Args:
        old: The one.
        new: The other.
        decision: Which decision is asked; None: the only one that no other requires.
        draw: Draws a whole number from 0 to below what it is given, such as the `randrange` of
            a `random.Random`; used where there are too many combinations.
        limit: At most so many examples.
        most: At most so many combinations are tried.
        now_ns: What `now()` and `today()` say; Unix nanoseconds.
    Raises:
        InvalidInput: A version has no such decision.
    """
    name = old.default_decision if decision is None else decision
    other = new.default_decision if decision is None else decision
    space = _Space([old, new])
    is_whole = space.size <= most
    places = space.everything() if is_whole else space.drawn(draw, most)
    found: dict[tuple[tuple[str, ...], tuple[str, ...]], Difference] = {}
    tried, is_cut = 0, False
    for facts in places:
        tried += 1
        before = old.outputs(facts, name, now_ns=now_ns)
        after = new.outputs(facts, other, now_ns=now_ns)
        if _is_same(before, after):
            continue
        first = old.decide(facts, name, now_ns=now_ns)
        second = new.decide(facts, other, now_ns=now_ns)
        key = (first.matched, second.matched)
        if key in found:
            continue
        if len(found) == limit:
            is_cut = True
            break
        found[key] = Difference(dict(facts), before, after, *key)
    notes = list(space.notes)
    if not is_whole:
        notes.append(f"{space.size:,} combinations, of which {tried:,} were drawn")
    if is_cut:
        notes.append(f"only the first {limit} differences are told")
    return ModelDiff(
        changes=tuple(changes_between(old.definitions, new.definitions)),
        differences=tuple(found.values()),
        method="exhaustive" if is_whole else "sampled",
        tried=tried,
        is_proof=not notes,
        notes=tuple(notes),
    )


def _is_same(before: object, after: object) -> bool:
    try:
        return canonical(from_python(before)) == canonical(from_python(after))
    except InvalidInput:  # functions, which cannot be compared
        return before is after


@attrs.define
class _Input:
    """One input, or a part of one: what its values are compared with, in either version."""

    path: tuple[str, ...]
    kind: FeelType = ANY
    read: list[Constants] = attrs.field(factory=list)
    limits: list[UnaryTests] = attrs.field(factory=list)
    classes: Classes = attrs.field(factory=lambda: Classes((), is_exact=True))


class _Space:
    """All combinations of facts that two versions may tell apart."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.notes: list[str] = []
        self._inputs: dict[tuple[str, ...], _Input] = {}
        self._tables: list[CompiledTable] = []
        self._pool: list[Constants] = []
        for model in models:
            self._add(model)
        # A part of a context stands for it: the whole would be given as well as its part.
        if self.notes:
            # Something is computed: then an input may matter by any constant that there is.
            self._pool += [_constants_in(model) for model in models]
            for each in self._inputs.values():
                each.read += [_of_kind(constants, each.kind) for constants in self._pool]
        wholes = {path[:1] for path in self._inputs if len(path) > 1}
        self.inputs: list[_Input] = [
            each for path, each in self._inputs.items() if path not in wholes
        ]
        for each in self.inputs:
            each.classes = _within(classes_of(each.read, each.kind), each.limits)
            if not each.classes.is_exact:
                self._note(
                    f"{'.'.join(each.path)}: values are told apart in ways that are not tried"
                )
        self.size: int = prod(len(each.classes.members) for each in self.inputs)
        self._boxes = self._changed_boxes(models)

    def everything(self) -> Iterator[dict[str, object]]:
        """Give every combination."""
        for place in product(*(range(len(each.classes.members)) for each in self.inputs)):
            yield self._facts(place)

    def drawn(self, draw: Callable[[int], int], count: int) -> Iterator[dict[str, object]]:
        """Draw combinations: in turn anywhere, and where a changed rule matches."""
        anywhere = [list(range(len(each.classes.members))) for each in self.inputs]
        for number in range(count):
            box = anywhere
            if self._boxes and number % 2:
                box = self._boxes[draw(len(self._boxes))]
            yield self._facts([positions[draw(len(positions))] for positions in box])

    def _facts(self, place: Sequence[int]) -> dict[str, object]:
        facts: dict[str, object] = {}
        for each, position in zip(self.inputs, place, strict=True):
            inner = facts
            for part in each.path[:-1]:
                found = inner.setdefault(part, {})
                assert isinstance(found, dict)
                inner = found
            inner[each.path[-1]] = to_python(each.classes.members[position].example)
        return facts

    def _add(self, model: Model) -> None:
        definitions = model.definitions
        types = {each.name: model.type_of(each.name) for each in definitions.inputs}
        for name, kind in types.items():
            known = self._inputs.setdefault((name,), _Input((name,)))
            known.kind = kind if known.kind == ANY else known.kind
        for node in definitions.decisions:
            if not isinstance(node.logic, DecisionTable):
                self._note(f"decision {node.name!r} is no table")
        if definitions.imports:
            self._note("imported models are not looked into")
        for tables in model.tables().values():
            for table in tables:
                self._add_table(table, types)
        for path, texts in restrictions_of(definitions).items():
            key = tuple(path.split("."))
            if key in self._inputs and key[0] in types:
                limits = [compile_unary_tests(text) for text in texts]
                self._inputs[key].limits += limits
                self._inputs[key].read += map(constants_of, limits)

    def _add_table(self, table: CompiledTable, types: Mapping[str, FeelType]) -> None:
        self._tables.append(table)
        if any(row is None for row in table.rows):
            self._note(f"{table.element}: conclusions are computed")
        for number, column in enumerate(table.columns):
            path = tuple(part.strip() for part in column.name.split("."))
            # Each once, and in their order: a set's is another one in each process.
            texts = dict.fromkeys(rule.conditions[number] for rule in table.table.rules)
            read = [column.compile(text) for text in texts]
            if column.allowed is not None:
                read.append(column.allowed)
            constants = [constants_of(each) for each in read if isinstance(each, UnaryTests)]
            if path[0] not in types or not all(_NAME.fullmatch(part) for part in path):
                if column.code is not None:
                    self._note(f"{column.name} is computed")
                self._pool += constants
                continue
            known = self._inputs.setdefault(path, _Input(path))
            if known.kind == ANY:
                known.kind = column.kind.feel
            known.read += constants

    def _changed_boxes(self, models: Sequence[Model]) -> list[list[list[int]]]:
        """Find where the rules match that are not in both versions."""
        seen = [
            {
                (table.element, rule.conditions, rule.conclusions)
                for table in each
                for rule in table.table.rules
            }
            for each in ([t for ts in model.tables().values() for t in ts] for model in models)
        ]
        common = seen[0] & seen[1]
        runs = {each.path: Runs(each.classes.members) for each in self.inputs}
        boxes: list[list[list[int]]] = []
        for table in self._tables:
            for rule in table.table.rules:
                if (table.element, rule.conditions, rule.conclusions) in common:
                    continue
                cells: dict[tuple[str, ...], list[int]] = {}
                for column, text in zip(table.columns, rule.conditions, strict=False):
                    path = tuple(part.strip() for part in column.name.split("."))
                    found = runs[path].of(column.compile(text)) if path in runs else None
                    if found is not None:
                        cells[path] = list(bits_of(found[1]))
                box = [
                    cells.get(each.path) or list(range(len(each.classes.members)))
                    for each in self.inputs
                ]
                boxes.append(box)
        return boxes

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _of_kind(constants: Constants, kind: FeelType) -> Constants:
    values = (each for each in constants.values if kind == ANY or is_instance(each, kind))
    return Constants(tuple(values), is_exact=True, asks_facts=False, orders=False)


def _constants_in(model: Model) -> Constants:
    """Find the constants in whatever computes: a look at texts, since any more are no harm."""
    texts: list[str] = []
    waiting: list[object] = [
        msgspec.to_builtins([model.definitions.decisions, model.definitions.knowledge_models])
    ]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list | tuple):
            waiting.extend(each)
        elif isinstance(each, dict):
            waiting.extend(each.values())
            texts += [text for text in (each.get("text"), *each.get("conclusions", ())) if text]
    found = {"0", "1"} | {literal for text in texts for literal in _LITERAL.findall(text)}
    return Constants(
        tuple(evaluate(literal) for literal in sorted(found)[:_MAX_POOL]),
        is_exact=True,
        asks_facts=False,
        orders=False,
    )


def _within(classes: Classes, limits: Sequence[UnaryTests]) -> Classes:
    """Leave out what a type does not allow: it would be null, and null is there already."""
    members = [
        each
        for each in classes.members
        if each.example is None or all(passes(limit, {}, each.example) for limit in limits)
    ]
    return attrs.evolve(classes, members=tuple(members))

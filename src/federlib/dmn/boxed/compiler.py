"""Boxed expressions, compiled to closures.

A compiled expression takes the evaluation and the values of the names that it may use, and
never raises because of data. Texts are compiled by `federlib.dmn.feel`, tables by
`federlib.dmn.tables`; this module puts them together.

Source: DMN 1.5, 7.3 and 10.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from federlib.dmn.boxed import loops
from federlib.dmn.boxed.functions import Code, context_code, function_of, makes_functions, result_of
from federlib.dmn.feel import compile_expression, tree
from federlib.dmn.feel.calls import invoke_named
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.scope import Scope
from federlib.dmn.feel.types import (
    ANY,
    NULL,
    NUMBER,
    ContextType,
    FeelType,
    FunctionType,
    ListType,
    RangeType,
    join,
)
from federlib.dmn.feel.values import Value
from federlib.dmn.model import (
    Conditional,
    Context,
    ContextEntry,
    DecisionTable,
    Expression,
    Filter,
    For,
    FunctionDefinition,
    Invocation,
    ListExpression,
    LiteralExpression,
    Quantified,
    Relation,
)
from federlib.dmn.model.item_types import ANY_ITEM, ItemType, ItemTypes, adapt
from federlib.dmn.model.parts import MAX_EXPRESSIONS
from federlib.dmn.model.problems import Report
from federlib.dmn.tables.compiler import compile_table
from federlib.dmn.tables.table import CompiledTable
from federlib.errors import InvalidInput

__all__ = ["Boxed", "Compiler"]

_MAX_DEPTH = 64

# Each entry sees all above it: the names of a context cost the square of its length.
_MAX_ENTRIES = 1_000

_SOURCE = "_source"


@attrs.frozen
class Boxed:
    """An expression, compiled.

    Attributes:
        code: What it does.
        type: Of its value, as far as it is known.
    """

    code: Code
    type: FeelType = ANY


def _nothing(_ev: Evaluation, _names: Mapping[str, Value]) -> Value:
    return None


_NULL = Boxed(_nothing, NULL)


class Compiler:
    """Compiles the expressions of one model.

    Args:
        types: Its types.
        report: Told what is wrong.

    Attributes:
        tables: The tables that it has compiled, in their order.
    """

    def __init__(self, types: ItemTypes, report: Report) -> None:
        self.tables: list[CompiledTable] = []
        self._types = types
        self._report = report
        self._depth = 0
        self._count = 0

    def compile(self, expression: Expression | None, scope: Scope, element: str) -> Boxed:
        """Compile an expression.

        Args:
            expression: What; None is null.
            scope: The names that it may use.
            element: The element that it is in, for problems.
        """
        if expression is None:
            return _NULL
        if self._depth >= _MAX_DEPTH:
            self._report(element, f"more than {_MAX_DEPTH} expressions in one another")
            return _NULL
        self._count += 1
        if self._count > MAX_EXPRESSIONS:
            self._report("definitions", f"more than {MAX_EXPRESSIONS:,} expressions")
            return _NULL
        self._depth += 1
        try:
            found = self._compile(expression, scope, element)
        finally:
            self._depth -= 1
        if isinstance(expression, FunctionDefinition):
            return found  # its type is that of its result, which it sees to itself
        return self._typed(found, expression.type_ref, element)

    def _typed(self, found: Boxed, type_ref: str, element: str) -> Boxed:
        kind = self._types.resolve(type_ref, element)
        if kind is ANY_ITEM:
            return found
        code = found.code
        return Boxed(lambda ev, names: adapt(ev, code(ev, names), kind, element), kind.feel)

    def _compile(self, expression: Expression, scope: Scope, element: str) -> Boxed:
        match expression:
            case LiteralExpression():
                return self._literal(expression, scope, element)
            case DecisionTable():
                table = compile_table(
                    expression, scope, element, types=self._types, report=self._report
                )
                self.tables.append(table)
                return Boxed(lambda ev, names: table.decide(ev, names).value, table.type)
            case Invocation():
                return self._invocation(expression, scope, element)
            case Context():
                return self._context(expression, scope, element)
            case Relation():
                return self._relation(expression, scope, element)
            case ListExpression(items):
                parts = [self.compile(item, scope, element) for item in items]
                codes = [part.code for part in parts]
                kind = ListType(join(part.type for part in parts))
                return Boxed(lambda ev, names: [code(ev, names) for code in codes], kind)
            case FunctionDefinition():
                return self.function(expression, scope, element)
            case Conditional():
                return self._conditional(expression, scope, element)
            case Filter():
                return self._filter(expression, scope, element)
            case For() | Quantified():
                return self._loop(expression, scope, element)

    def _literal(
        self, literal: LiteralExpression, scope: Scope, element: str, *, shown: str = ""
    ) -> Boxed:
        if literal.language:
            self._report(element, f"expressions in {literal.language!r} are not run, only FEEL")
            return _NULL
        if not literal.text.strip():
            return _NULL
        try:
            compiled = compile_expression(literal.text, scope)
            if shown and not _is_one_filter(compiled.tree):
                raise InvalidInput("match", expected="one expression of FEEL", found=shown)
        except InvalidInput as error:
            reason = str(error)
            self._report(element, reason)
            return Boxed(lambda ev, _: ev.fail(f"{element}: {reason}"))
        return Boxed(compiled.evaluate, compiled.tree.type)

    def _invocation(self, invocation: Invocation, scope: Scope, element: str) -> Boxed:
        function = self.compile(invocation.function, scope, element)
        bindings = [
            (binding.name, self.compile(binding.value, scope, f"{element}, {binding.name!r}").code)
            for binding in invocation.bindings
        ]
        called = function.code

        def invoke(ev: Evaluation, names: Mapping[str, Value]) -> Value:
            arguments = {name: code(ev, names) for name, code in bindings}
            return invoke_named(ev, called(ev, names), arguments)

        kind = function.type
        return Boxed(invoke, kind.result if isinstance(kind, FunctionType) else ANY)

    def _context(self, context: Context, scope: Scope, element: str) -> Boxed:
        if len(context.entries) > _MAX_ENTRIES:
            self._report(element, f"a context of more than {_MAX_ENTRIES:,} entries")
            return _NULL
        entries: list[tuple[str, Code, bool]] = []
        known: dict[str, FeelType] = {}
        result: Boxed | None = None
        for number, entry in enumerate(context.entries, 1):
            where = f"{element}, entry {entry.name or number!r}"
            inner = scope.nested(known) if known else scope
            found = self._typed(self._entry(entry, inner, where), entry.type_ref, where)
            if entry.name:
                entries.append(
                    (entry.name, found.code, isinstance(entry.value, FunctionDefinition))
                )
                known[entry.name] = found.type
            elif number == len(context.entries):
                result = found
            else:
                self._report(where, "an entry without name is the result, and must be the last")
        return Boxed(
            context_code(entries, None if result is None else result.code),
            ContextType(known) if result is None else result.type,
        )

    def _entry(self, entry: ContextEntry, scope: Scope, element: str) -> Boxed:
        if entry.name and makes_functions(entry.value):
            # A function may call itself by the name that it is given.
            scope = scope.nested({entry.name: ANY})
        return self.compile(entry.value, scope, element)

    def _relation(self, relation: Relation, scope: Scope, element: str) -> Boxed:
        columns = [
            (column.name, self._types.resolve(column.type_ref, element))
            for column in relation.columns
        ]
        rows: list[list[tuple[str, ItemType, Boxed]]] = []
        for number, row in enumerate(relation.rows, 1):
            if len(row) != len(columns):
                found = f"row {number} has {len(row)} cells, the relation {len(columns)} columns"
                self._report(element, found)
            rows.append(
                [
                    (name, kind, self.compile(cell, scope, f"{element}, row {number}, {name!r}"))
                    for (name, kind), cell in zip(columns, row, strict=False)
                ]
            )

        def build(ev: Evaluation, names: Mapping[str, Value]) -> Value:
            return [
                {name: adapt(ev, cell.code(ev, names), kind, name) for name, kind, cell in row}
                for row in rows
            ]

        known = {
            name: kind.feel
            if kind is not ANY_ITEM
            else join(row[number][2].type for row in rows if number < len(row))
            for number, (name, kind) in enumerate(columns)
        }
        return Boxed(build, ListType(ContextType(known)))

    def function(
        self,
        definition: FunctionDefinition,
        scope: Scope,
        element: str,
        result: ItemType = ANY_ITEM,
    ) -> Boxed:
        """Compile a function; its value is the function itself.

        Args:
            definition: What.
            scope: The names that it may use beside its parameters.
            element: The element that it is in, for problems.
            result: What it, or its result, must be beside what its own type says.
        """
        parameters = [
            (parameter.name, self._types.resolve(parameter.type_ref, element))
            for parameter in definition.parameters
        ]
        known = {name: kind.feel for name, kind in parameters}
        own = result_of(self._types.resolve(definition.type_ref, element))
        wanted = result_of(result)
        if definition.function_kind != "FEEL":
            body = Boxed(
                lambda ev, _: ev.fail(
                    f"{element}: functions in {definition.function_kind} are not run"
                )
            )
        else:
            body = self.compile(definition.body, scope.nested(known), element)
        code = body.code
        gives = next((each.feel for each in (wanted, own) if each is not ANY_ITEM), body.type)
        kind = FunctionType(tuple(known.values()), gives, tuple(known))

        def define(_ev: Evaluation, names: Mapping[str, Value]) -> Value:
            def call(ev: Evaluation, values: Mapping[str, Value]) -> Value:
                found = adapt(ev, code(ev, {**names, **values}), own, element)
                return adapt(ev, found, wanted, element)

            return function_of(element, parameters, call, kind)

        return Boxed(define, kind)

    def _conditional(self, conditional: Conditional, scope: Scope, element: str) -> Boxed:
        condition = self.compile(conditional.condition, scope, f"{element}, if").code
        then = self.compile(conditional.then, scope, f"{element}, then")
        otherwise = self.compile(conditional.otherwise, scope, f"{element}, else")
        yes, no = then.code, otherwise.code

        def choose(ev: Evaluation, names: Mapping[str, Value]) -> Value:
            found = condition(ev, names)
            if found is True:
                return yes(ev, names)
            if found is False or found is None:
                return no(ev, names)
            return ev.fail(f"{element}: what if asks is neither true nor false")

        return Boxed(choose, join((then.type, otherwise.type)))

    def _filter(self, boxed: Filter, scope: Scope, element: str) -> Boxed:
        source = self.compile(boxed.source, scope, f"{element}, in")
        if isinstance(boxed.match, LiteralExpression) and not boxed.match.language:
            return self._filter_by_text(source, boxed.match, scope, element)
        of = _element_type(source.type)
        known = {**(of.entries if isinstance(of, ContextType) else {}), "item": of}
        match = self.compile(boxed.match, scope.nested(known), f"{element}, match").code
        listed = source.code

        def run(ev: Evaluation, names: Mapping[str, Value]) -> Value:
            def ask(ev: Evaluation, values: Sequence[Value]) -> Value:
                item = values[0]
                entries = item if isinstance(item, dict) else {}
                return match(ev, {**names, **entries, "item": item})

            return loops.filtered(ev, listed(ev, names), ask)

        return Boxed(run, ListType(of))

    def _filter_by_text(
        self, source: Boxed, match: LiteralExpression, scope: Scope, element: str
    ) -> Boxed:
        """Compile a filter as the language has it: it finds the names of elements by itself."""
        where = f"{element}, match"
        known = scope.nested({_SOURCE: source.type})
        found = self._literal(
            LiteralExpression(f"{_SOURCE}[{match.text}\n]"), known, where, shown=match.text
        )
        listed, code = source.code, found.code
        return Boxed(lambda ev, names: code(ev, {**names, _SOURCE: listed(ev, names)}), found.type)

    def _loop(self, loop: For | Quantified, scope: Scope, element: str) -> Boxed:
        source = self.compile(loop.source, scope, f"{element}, in")
        of = _element_type(source.type)
        variable = loop.variable
        listed = source.code
        if isinstance(loop, For):
            inner = scope.nested({variable: of, "partial": ListType(ANY)})
            body = self.compile(loop.result, inner, f"{element}, return")
            result = body.code

            def run(ev: Evaluation, names: Mapping[str, Value]) -> Value:
                def build(ev: Evaluation, values: Sequence[Value]) -> Value:
                    return result(ev, {**names, variable: values[0], "partial": values[1]})

                return loops.mapped(ev, listed(ev, names), build)

            return Boxed(run, ListType(body.type))
        satisfies = self.compile(
            loop.satisfies, scope.nested({variable: of}), f"{element}, satisfies"
        ).code
        is_every = loop.is_every

        def ask(ev: Evaluation, names: Mapping[str, Value]) -> Value:
            def test(ev: Evaluation, values: Sequence[Value]) -> Value:
                return satisfies(ev, {**names, variable: values[0]})

            return loops.quantified(ev, listed(ev, names), test, is_every=is_every)

        return Boxed(ask)


def _is_one_filter(node: tree.Node) -> bool:
    # Brackets in the text may have made something else of it.
    return (
        isinstance(node, tree.Filter)
        and isinstance(node.source, tree.Name)
        and node.source.name == _SOURCE
    )


def _element_type(kind: FeelType) -> FeelType:
    if isinstance(kind, ListType):
        return kind.element
    return NUMBER if isinstance(kind, RangeType) else kind

"""What a text of FEEL says: a frozen tree in which every name is already resolved.

Evaluation works on a frame: a list whose place 0 holds the facts and whose other places
hold what the expression itself names (variables of `for`, parameters, entries of contexts).

Chains of one operator (`a + b - c`, `p or q or r`) are one node, so that long texts do not make
deep trees.

Source: DMN 1.5, 10.3.1.2 and 10.3.2.
"""

from __future__ import annotations

from typing import Literal as OneOf
from typing import TypeAlias

import msgspec

from federlib.dmn.feel.types import ANY, BOOLEAN, FeelType, FunctionType
from federlib.dmn.feel.values import Value

__all__ = [
    "BUILTIN",
    "FACTS",
    "INPUT",
    "UNKNOWN",
    "Arithmetic",
    "ArithmeticOperator",
    "Between",
    "Broken",
    "Call",
    "Comparison",
    "ComparisonOperator",
    "Conjunction",
    "ContextEntry",
    "ContextLiteral",
    "Disjunction",
    "Filter",
    "For",
    "FunctionLiteral",
    "If",
    "In",
    "InstanceOf",
    "Interval",
    "Iteration",
    "ListLiteral",
    "Literal",
    "Name",
    "Negation",
    "Node",
    "Parameter",
    "Path",
    "Quantified",
    "Test",
    "Tests",
]

ComparisonOperator: TypeAlias = OneOf["=", "!=", "<", "<=", ">", ">="]
ArithmeticOperator: TypeAlias = OneOf["+", "-", "*", "/", "**"]

FACTS = 0
"""The place of a name that comes with the facts."""
BUILTIN = -1
"""The place of a function that is built in."""
INPUT = 1
"""The place of `?` in unary tests."""
UNKNOWN = -2
"""The place of a name that nobody knows; its value is null."""


class Literal(msgspec.Struct, frozen=True):
    """A constant: number, string, boolean, null, or a date and the like after `@`."""

    value: Value
    type: FeelType = ANY


class Broken(msgspec.Struct, frozen=True):
    """Something whose value is always an error: null.

    Attributes:
        reason: Why, in words.
    """

    reason: str
    type: FeelType = ANY


class Name(msgspec.Struct, frozen=True):
    """A name.

    Attributes:
        name: As it was declared.
        place: In the frame; or `FACTS`, `BUILTIN`, `UNKNOWN`.
        items: Places of filtered elements that are asked first, the innermost first, since an
            entry of theirs would hide the name.
        is_partial: It is the list that a `for` is building, which must not be seen to grow.
    """

    name: str
    place: int
    items: tuple[int, ...] = ()
    is_partial: bool = False
    type: FeelType = ANY


class Interval(msgspec.Struct, frozen=True):
    """A range with two ends, such as `[1..5)`."""

    low: Node
    high: Node
    has_low: bool
    has_high: bool
    type: FeelType = ANY


class Test(msgspec.Struct, frozen=True):
    """A comparison with what is tested, such as `< 5`; elsewhere a range."""

    operator: ComparisonOperator
    operand: Node
    type: FeelType = ANY


class ListLiteral(msgspec.Struct, frozen=True):
    """A list."""

    elements: tuple[Node, ...]
    type: FeelType = ANY


class ContextEntry(msgspec.Struct, frozen=True):
    """An entry of a context, which the entries after it may name.

    Attributes:
        name: Its key.
        place: In the frame.
        value: What it is.
    """

    name: str
    place: int
    value: Node


class ContextLiteral(msgspec.Struct, frozen=True):
    """A context."""

    entries: tuple[ContextEntry, ...]
    type: FeelType = ANY


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of a function.

    Attributes:
        name: Its name.
        place: In the frame.
        type: What it adapts to.
    """

    name: str
    place: int
    type: FeelType = ANY


class FunctionLiteral(msgspec.Struct, frozen=True):
    """A function that the text defines."""

    parameters: tuple[Parameter, ...]
    body: Node
    type: FunctionType


class Negation(msgspec.Struct, frozen=True):
    """An arithmetic negation."""

    operand: Node
    type: FeelType = ANY


class Arithmetic(msgspec.Struct, frozen=True):
    """A chain of operators of one rank, from the left."""

    first: Node
    rest: tuple[tuple[ArithmeticOperator, Node], ...]
    type: FeelType = ANY


class Comparison(msgspec.Struct, frozen=True):
    """Two values compared."""

    operator: ComparisonOperator
    left: Node
    right: Node
    type: FeelType = BOOLEAN


class Between(msgspec.Struct, frozen=True):
    """A value between two others, which belong to it."""

    value: Node
    low: Node
    high: Node
    type: FeelType = BOOLEAN


class In(msgspec.Struct, frozen=True):
    """A value that passes one of some tests.

    Attributes:
        value: The value.
        tests: One of them must hold.
        place: Where the tests find the value, which they call `?`; 0: they do not ask for it.
        asking: For each test, whether it does.
    """

    value: Node
    tests: tuple[Node, ...]
    place: int = 0
    asking: tuple[bool, ...] = ()
    type: FeelType = BOOLEAN


class Conjunction(msgspec.Struct, frozen=True):
    """All of some."""

    operands: tuple[Node, ...]
    type: FeelType = BOOLEAN


class Disjunction(msgspec.Struct, frozen=True):
    """Any of some."""

    operands: tuple[Node, ...]
    type: FeelType = BOOLEAN


class If(msgspec.Struct, frozen=True):
    """A choice; anything but true chooses `otherwise`."""

    condition: Node
    then: Node
    otherwise: Node
    type: FeelType = ANY


class Iteration(msgspec.Struct, frozen=True):
    """What one variable runs over.

    Attributes:
        name: The variable.
        place: In the frame.
        source: A list, or the first of the values.
        end: The last of them, where two are given.
    """

    name: str
    place: int
    source: Node
    end: Node | None = None


class For(msgspec.Struct, frozen=True):
    """A list made of a body for each of some values.

    Attributes:
        iterations: The variables; the last runs fastest.
        partial: The place of the list so far.
        body: What each element is.
    """

    iterations: tuple[Iteration, ...]
    partial: int
    body: Node
    type: FeelType = ANY


class Quantified(msgspec.Struct, frozen=True):
    """Whether a condition holds for some, or for every, of some values."""

    is_every: bool
    iterations: tuple[Iteration, ...]
    condition: Node
    type: FeelType = BOOLEAN


class Path(msgspec.Struct, frozen=True):
    """An entry of a context, a property of a value, or those of each element of a list."""

    source: Node
    name: str
    type: FeelType = ANY


class Filter(msgspec.Struct, frozen=True):
    """Elements of a list: by number, or those for which a condition holds.

    Attributes:
        source: The list; anything else is a list of itself.
        condition: The condition or number.
        item: The place of the element.
    """

    source: Node
    condition: Node
    item: int
    type: FeelType = ANY


class Call(msgspec.Struct, frozen=True):
    """A function invoked.

    Attributes:
        function: What is invoked.
        arguments: In order.
        names: Names of the parameters, where the arguments are named.
    """

    function: Node
    arguments: tuple[Node, ...]
    names: tuple[str, ...] | None = None
    type: FeelType = ANY


class InstanceOf(msgspec.Struct, frozen=True):
    """Whether a value is of a type.

    Attributes:
        value: The value.
        wanted: The type; None where nobody knows it.
        text: The type as it was written.
    """

    value: Node
    wanted: FeelType | None
    text: str
    type: FeelType = BOOLEAN


class Tests(msgspec.Struct, frozen=True):
    """The unary tests of one cell.

    Attributes:
        tests: One of them must hold; none are `-`, which always does.
        is_negated: They stand in `not(...)`: none may hold.
        asking: For each test, whether it names `?`, the value that is tested.
    """

    tests: tuple[Node, ...]
    is_negated: bool = False
    asking: tuple[bool, ...] = ()

    @property
    def is_any(self) -> bool:
        """Whether it is `-`."""
        return not self.tests


Node: TypeAlias = (
    Literal
    | Broken
    | Name
    | Interval
    | Test
    | ListLiteral
    | ContextLiteral
    | FunctionLiteral
    | Negation
    | Arithmetic
    | Comparison
    | Between
    | In
    | Conjunction
    | Disjunction
    | If
    | For
    | Quantified
    | Path
    | Filter
    | Call
    | InstanceOf
)
"""Any node of an expression."""

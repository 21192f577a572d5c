"""`Scope`: the names that a text may use, with their types.

Source: DMN 1.5, 10.3.2.11 (names and scopes).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import attrs

from federlib.dmn.feel.lexer import NameIndex
from federlib.dmn.feel.types import NAMED_TYPES, ContextType, FeelType, FunctionType, ListType

__all__ = ["Scope"]


@attrs.frozen(eq=False, slots=False)
class Scope:
    """The names that come with the facts, and the types that go by a name.

    Attributes:
        names: The names, each with its type (`ANY` where it is not known).
        types: Types beyond those of the standard, by the names that `instance of` and
            parameters may use.
        outer: Names that are known as well, unless hidden by these.
        strict: An unknown name is an error when a text is compiled. Otherwise it is null, and a
            problem of each evaluation, which is how the standard's test kit has it.
    """

    names: Mapping[str, FeelType] = attrs.field(factory=dict)
    types: Mapping[str, FeelType] = attrs.field(factory=dict)
    outer: Scope | None = None
    strict: bool = attrs.field(default=True, kw_only=True)

    def nested(self, names: Mapping[str, FeelType]) -> Scope:
        """Make a scope in which more names are known.

        Args:
            names: The names, each with its type.
        """
        return Scope(names, outer=self, strict=self.strict)

    @cached_property
    def all_names(self) -> Mapping[str, FeelType]:
        """Every name of it and of the scopes around it."""
        around = self.outer.all_names if self.outer else {}
        return {**around, **self.names}

    @cached_property
    def all_types(self) -> Mapping[str, FeelType]:
        """Every type that goes by a name."""
        around = self.outer.all_types if self.outer else NAMED_TYPES
        return {**around, **self.types}

    @cached_property
    def index(self) -> NameIndex:
        """Finds the names in a text."""
        return NameIndex(self.all_names)

    @cached_property
    def type_index(self) -> NameIndex:
        """Finds the types in a text."""
        return NameIndex(self.all_types)

    @cached_property
    def member_index(self) -> NameIndex:
        """Finds, of the entries that any context in sight has, those of more than one word."""
        names: set[str] = {"time offset", "start included", "end included"}
        stack: list[FeelType] = [*self.all_names.values(), *self.all_types.values()]
        seen: set[int] = set()
        while stack:
            kind = stack.pop()
            if isinstance(kind, ListType):
                stack.append(kind.element)
            elif isinstance(kind, FunctionType):
                stack.extend((kind.result, *kind.parameters))
            elif isinstance(kind, ContextType) and id(kind) not in seen:
                seen.add(id(kind))
                names.update(name for name in kind.entries if not name.isalnum())
                stack.extend(kind.entries.values())
        return NameIndex(names)

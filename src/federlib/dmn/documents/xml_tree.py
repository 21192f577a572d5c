"""XML from anybody, as a small tree: no document type, no entities, bounded depth and size.

expat by itself expands entities that a document defines, and lets elements nest without end;
both are refused here before anything of them is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn, TypeAlias
from xml.parsers import expat

import attrs

from federlib.errors import InvalidInput

__all__ = ["MAX_XML_BYTES", "MAX_XML_DEPTH", "MAX_XML_ELEMENTS", "Fold", "Node", "parse_xml"]

MAX_XML_BYTES = 128 * 2**20
"""Of a document; 100,000 rules of ten columns are about 100 MB."""

MAX_XML_DEPTH = 256
"""Of elements in one another."""

MAX_XML_ELEMENTS = 3_000_000
"""Of a document; an element takes about 200 bytes here."""

_SEPARATOR = "\x1f"


@attrs.define(eq=False)
class Node:
    """An element.

    Attributes:
        namespace: Of its name; empty: none.
        name: Its local name.
        attributes: By local name, or by `namespace name` where they have a namespace.
        prefixes: The prefixes that it declares itself, for names inside values.
        line: Where it begins, counted from 1.
        parent: The element around it.
        children: The elements in it.
        text: The text directly in it, before and between its elements.
        made: What it was folded to when it ended, its elements being gone; None: it was not.
    """

    namespace: str
    name: str
    attributes: Mapping[str, str]
    prefixes: Mapping[str, str]
    line: int
    parent: Node | None
    children: Sequence[Node] = ()
    text: str = ""
    made: object = None

    def get(self, name: str) -> str:
        """Return an attribute without namespace, empty where there is none."""
        return self.attributes.get(name, "")

    def get_in(self, namespace: str, name: str) -> str:
        """Return an attribute of a namespace, empty where there is none."""
        return self.attributes.get(f"{namespace} {name}", "")

    def all(self, name: str) -> Iterator[Node]:
        """Go through the elements of this name, in this one's namespace."""
        return (
            child
            for child in self.children
            if child.name == name and child.namespace == self.namespace
        )

    def first(self, name: str) -> Node | None:
        """Return the first element of this name, in this one's namespace."""
        for child in self.children:
            if child.name == name and child.namespace == self.namespace:
                return child
        return None

    def text_of(self, name: str) -> str:
        """Return the text of the first element of this name, stripped; empty: there is none."""
        child = self.first(name)
        return "" if child is None else child.text.strip()

    def resolve(self, qualified: str) -> tuple[str, str]:
        """Return the namespace and local name of a name with a prefix, as it is meant here."""
        prefix, _, name = qualified.rpartition(":")
        node: Node | None = self
        while node is not None:
            if prefix in node.prefixes:
                return node.prefixes[prefix], name
            node = node.parent
        return "", name


Fold: TypeAlias = Callable[[Node], object]
"""Makes something of an element that has ended, so that its own can go; None: they stay."""

# Most elements of a large table have none: a million of empty dicts would be 64 MB.
_NONE: Mapping[str, str] = {}


def _local(attributes: Mapping[str, str]) -> dict[str, str]:
    return {key.replace(_SEPARATOR, " "): value for key, value in attributes.items()}


class _Builder:
    def __init__(self, where: str, folds: Mapping[str, Fold]) -> None:
        self.where = where
        self.folds = folds
        self.root: Node | None = None
        self.node: Node | None = None
        # Most have one piece of text or none.
        self.pieces: list[str | list[str]] = []
        self.prefixes: dict[str, str] = {}
        self.count = 0
        self.parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        parser = self.parser
        # The text of one run may come in many pieces; expat joins them up to a limit.
        parser.buffer_text = True
        parser.StartElementHandler = self.begin
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.read_text
        parser.StartNamespaceDeclHandler = self.declare
        parser.StartDoctypeDeclHandler = self.refuse
        parser.EntityDeclHandler = self.refuse
        parser.ExternalEntityRefHandler = self.refuse

    def refuse(self, *_: object) -> NoReturn:
        line = self.parser.CurrentLineNumber
        raise InvalidInput(
            self.where, expected="XML without document type", found=f"one in line {line}"
        )

    def declare(self, prefix: str | None, uri: str | None) -> None:
        self.prefixes[prefix or ""] = uri or ""

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if self.count > MAX_XML_ELEMENTS:
            self._too_much(f"{MAX_XML_ELEMENTS:,} elements")
        if len(self.pieces) >= MAX_XML_DEPTH:
            self._too_much(f"{MAX_XML_DEPTH} elements in one another")
        namespace, _, local = name.rpartition(_SEPARATOR)
        node = Node(
            namespace,
            local,
            _local(attributes) if attributes else _NONE,
            self.prefixes or _NONE,
            self.parser.CurrentLineNumber,
            self.node,
        )
        if self.prefixes:
            self.prefixes = {}
        if self.node is None:
            self.root = node
        elif isinstance(self.node.children, list):
            self.node.children.append(node)
        else:
            self.node.children = [node]
        self.node = node
        self.pieces.append("")

    def end(self, _: str) -> None:
        node = self.node
        if node is None:
            raise AssertionError("expat ends what has begun")
        text = self.pieces.pop()
        node.text = text if isinstance(text, str) else "".join(text)
        fold = self.folds.get(node.name)
        if fold is not None:
            node.made = fold(node)
            if node.made is not None:
                node.children = ()
        self.node = node.parent

    def read_text(self, text: str) -> None:
        if not self.pieces:
            return
        before = self.pieces[-1]
        if not before:
            self.pieces[-1] = text
        elif isinstance(before, str):
            self.pieces[-1] = [before, text]
        else:
            before.append(text)

    def _too_much(self, most: str) -> NoReturn:
        line = self.parser.CurrentLineNumber
        raise InvalidInput(self.where, expected=f"at most {most}", found=f"more, in line {line}")


def parse_xml(data: bytes, where: str, folds: Mapping[str, Fold] = {}) -> Node:
    """Read a document.

    Args:
        data: XML, in an encoding that expat knows.
        where: What it is, for errors.
        folds: By the local names of elements what is made of them as soon as they end: a large
            document then never is a tree as a whole.
    Returns:
        Its outermost element.
    Raises:
        InvalidInput: It is not XML, has a document type or entities of its own, or is too
            large or too deep; says in which line.
    """
    if len(data) > MAX_XML_BYTES:
        raise InvalidInput(where, expected=f"at most {MAX_XML_BYTES} bytes of XML", found=len(data))
    builder = _Builder(where, folds)
    try:
        builder.parser.Parse(data, True)  # noqa: FBT003 (a C function without keywords)
    except expat.ExpatError as error:
        raise InvalidInput(where, expected="XML", found=str(error)) from error
    except (LookupError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(where, expected="XML in a known encoding", found=str(error)) from error
    if builder.root is None:
        raise AssertionError("expat refuses a document without an element")
    return builder.root

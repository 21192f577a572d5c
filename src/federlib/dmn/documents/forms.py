"""Models as documents: XML, JSON and YAML, read and written.

    model = load_model(Path("scaling.yaml"))
    print(dump_xml(model).decode())

The three forms hold one model. In JSON and YAML an expression that is only text is FEEL; in
YAML everything is text, so that `no`, `1.10` and `2026-01-01` stay what was written. XML needs
an id for whatever is referred to: `normalised` gives those that are missing, as writing does.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import msgspec

from federlib._files import PrivateFiles
from federlib._json import json_fault, repeated_keys
from federlib._yaml import line_of, safe_loader, unreadable
from federlib.dmn.documents.normal import normalised
from federlib.dmn.documents.shape import find_faults, lean, spell_out
from federlib.dmn.documents.xml import parse_dmn_xml
from federlib.dmn.documents.xml_tree import MAX_XML_BYTES
from federlib.dmn.documents.xml_write import dump_xml
from federlib.dmn.model import Definitions
from federlib.dmn.model.problems import ModelProblem, ModelProblems
from federlib.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    import yaml

__all__ = [
    "MAX_JSON_BYTES",
    "MAX_YAML_BYTES",
    "Form",
    "content_hash",
    "dump_json",
    "dump_model",
    "dump_xml",
    "dump_yaml",
    "load_model",
    "normalised",
    "parse_model",
]

Form: TypeAlias = Literal["xml", "json", "yaml"]
"""How a model is written."""

MAX_JSON_BYTES = 128 * 2**20
"""Of a model in JSON."""

MAX_YAML_BYTES = 2**20
"""Of a model in YAML, which takes a hundred times as long to read as JSON."""

_SUFFIXES: dict[str, Form] = {
    ".dmn": "xml",
    ".xml": "xml",
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
}
_MOST = {"xml": MAX_XML_BYTES, "json": MAX_JSON_BYTES, "yaml": MAX_YAML_BYTES}
_FILES = PrivateFiles("model file", "model directory", "let this process read it")


def load_model(path: Path) -> Definitions:
    """Read a model from a file.

    Args:
        path: The file; `.dmn` and `.xml` are XML, `.json` is JSON, `.yaml` and `.yml` are YAML.
    Returns:
        The model, as it is written: nothing of it is compiled.
    Raises:
        InvalidInput: There is no such file, or its name ends otherwise, or see `parse_model`.
        ModelProblems: See `parse_model`.
        CorruptRecord: It is no regular file.
        Unavailable: It cannot be read.
        MissingExtra: PyYAML is not installed, and it is YAML.
    """
    form = _SUFFIXES.get(path.suffix.lower())
    if form is None:
        expected = f"a name that ends in {', '.join(_SUFFIXES)}"
        raise InvalidInput("model file", expected=expected, found=path.name)
    data = _FILES.read(path, _MOST[form])
    if data is None:
        raise InvalidInput("model file", expected="a file", found=str(path))
    return parse_model(data, form, where=path.name)


def parse_model(data: bytes, form: Form, *, where: str = "model") -> Definitions:
    """Read a model.

    Args:
        data: The document.
        form: How it is written.
        where: What it is, for errors.
    Returns:
        The model, as it is written: nothing of it is compiled.
    Raises:
        InvalidInput: It cannot be read at all, is too large or too deep, or holds what may
            not be there (document types and entities of XML, aliases and tags of YAML).
        ModelProblems: It can be read and is no model; every problem at once.
        MissingExtra: PyYAML is not installed, and it is YAML.
    """
    if form == "xml":
        return parse_dmn_xml(data, where)
    if form == "json":
        return _shaped(_parse_json(data, where), where, is_strict=True)
    if form == "yaml":
        return _shaped(_parse_yaml(data, where), where, is_strict=False)
    raise InvalidInput("form", expected=f"one of {', '.join(get_args(Form))}", found=form)


def dump_model(model: Definitions, form: Form) -> bytes:
    """Write a model; see `dump_xml`, `dump_json` and `dump_yaml`.

    Args:
        model: What.
        form: How.
    """
    if form not in get_args(Form):
        raise InvalidInput("form", expected=f"one of {', '.join(get_args(Form))}", found=form)
    return {"xml": dump_xml, "json": dump_json, "yaml": dump_yaml}[form](model)


def dump_json(model: Definitions) -> bytes:
    """Write a model as JSON; whatever has its default is left out.

    Args:
        model: What.
    """
    return msgspec.json.format(msgspec.json.encode(lean(model)), indent=2) + b"\n"


def dump_yaml(model: Definitions) -> bytes:
    """Write a model as YAML; whatever has its default is left out.

    Args:
        model: What.
    Raises:
        MissingExtra: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra("dmn", needed_for="a model in YAML") from error

    class Dumper(yaml.SafeDumper):
        """Writes what occurs twice twice: no aliases."""

        def ignore_aliases(self, data: object) -> bool:
            del data
            return True

    plain = lean(model)
    text = yaml.dump(plain, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text.encode()


def content_hash(model: Definitions) -> str:
    """Return what tells one version of a model from another: SHA-256 of its content, as hex.

    The same model has the same hash whatever form it came from, given that it has ids.

    Args:
        model: What.
    """
    return hashlib.sha256(msgspec.json.encode(lean(model), order="sorted")).hexdigest()


def _parse_json(data: bytes, where: str) -> object:
    if len(data) > MAX_JSON_BYTES:
        expected = f"at most {MAX_JSON_BYTES} bytes of JSON"
        raise InvalidInput(where, expected=expected, found=len(data))
    try:
        plain: object = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(where, expected="JSON", found=str(error)) from error
    fault = json_fault(plain)
    if fault is not None:
        raise InvalidInput(where, expected="a model in JSON", found=fault)
    repeated = repeated_keys(data, where)
    if repeated:
        expected = "no key twice in one object"
        raise InvalidInput(where, expected=expected, found=", ".join(sorted(set(repeated))))
    return plain


def _parse_yaml(data: bytes, where: str) -> object:
    safe_loader(data, where, extra="dmn", max_bytes=MAX_YAML_BYTES, is_bare=True)
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        node = yaml.compose(data, Loader=loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise unreadable(where, error) from error
    return None if node is None else _plain(node, where)


def _plain(node: yaml.Node, where: str) -> object:
    """Build what a node says; what is only text is what was written: no dates, no floats."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, where) for item in node.value]
    if not isinstance(node, yaml.MappingNode):
        return str(node.value)
    found: dict[str, object] = {}
    for key, value in node.value:
        line = f"in line {line_of(key)}"
        if not isinstance(key, yaml.ScalarNode):
            raise InvalidInput(where, expected="keys that are text", found=f"another {line}")
        name = str(key.value)
        if name in found:
            raise InvalidInput(where, expected="no key twice", found=f"{name} {line}")
        found[name] = _plain(value, where)
    return found


def _shaped(plain: object, where: str, *, is_strict: bool) -> Definitions:
    if not isinstance(plain, dict):
        raise InvalidInput(where, expected="an object with the fields of a model", found=plain)
    spelt = spell_out(plain)
    try:
        return msgspec.convert(spelt, Definitions, strict=is_strict)
    except (msgspec.ValidationError, RecursionError) as error:
        name = plain.get("name")
        # What msgspec finds, the slow look finds as well; if not, its own words must do.
        faults = find_faults(spelt, is_strict=is_strict) or [
            ModelProblem("definitions", str(error))
        ]
        raise ModelProblems(name if isinstance(name, str) else where, faults) from error

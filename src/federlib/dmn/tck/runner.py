"""`run_tck`: the cases of the DMN Technology Compatibility Kit, or of anybody in its format.

    report = run_tck(Path("TestCases"))
    print(report.passed, [failure.test for failure in report.failed])

A case passes when each of its result nodes has the value that is expected; whether an error
was reported beside a null does not count, as in the runners of other vendors. Nothing here
depends on the name, id or path of a case.

Source: DMN TCK, testCases.xsd (20160719) and the README of its slice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from federlib.dmn.documents.xml import parse_dmn_xml
from federlib.dmn.documents.xml_tree import Node, parse_xml
from federlib.dmn.engine.compiled import Model, compile_model
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.values import Value
from federlib.dmn.model import Definitions
from federlib.dmn.tck.values import agree, read_value, show_value
from federlib.errors import FederlibError, InvalidInput

__all__ = ["DEFAULT_NOW_NS", "TckDirectory", "TckError", "TckFailure", "TckReport", "run_tck"]

TEST_NAMESPACE = "http://www.omg.org/spec/DMN/20160719/testcase"
"""Of the files that hold cases."""

DEFAULT_NOW_NS = 1_767_225_600_000_000_000
"""What `now()` says where nobody says it: 2026-01-01T00:00:00Z."""


class TckFailure(msgspec.Struct, frozen=True):
    """A case that does not pass.

    Attributes:
        file: Its file, below the directory that was run.
        test: Its id.
        expected: The value that is expected, as text; with the name of the result node.
        got: The value that came, in the same way, or why there is none.
    """

    file: str
    test: str
    expected: str
    got: str


class TckError(msgspec.Struct, frozen=True):
    """A file that cannot be used.

    Attributes:
        file: Which, below the directory that was run.
        reason: Why.
    """

    file: str
    reason: str


class TckDirectory(msgspec.Struct, frozen=True):
    """What the cases of one directory came to.

    Attributes:
        name: The directory, below the one that was run.
        passed: How many cases passed.
        total: How many there are.
    """

    name: str
    passed: int
    total: int


class TckReport(msgspec.Struct, frozen=True):
    """What a run came to.

    Attributes:
        passed: How many cases passed.
        failed: The others; every case of a model that cannot be read is one.
        errors: The files that cannot be used.
        directories: The cases by directory, in order.
    """

    passed: int
    failed: tuple[TckFailure, ...]
    errors: tuple[TckError, ...]
    directories: tuple[TckDirectory, ...]


def run_tck(directory: Path, *, now_ns: int = DEFAULT_NOW_NS) -> TckReport:
    """Run every test file below a directory against the models beside it.

    Args:
        directory: Where to look; files that are no test files are passed over.
        now_ns: What `now()` and `today()` say; Unix nanoseconds.
    Returns:
        What passed and what failed.
    Raises:
        InvalidInput: There is no such directory.
    """
    if not directory.is_dir():
        raise InvalidInput("directory", expected="a directory", found=str(directory))
    run = _Run(directory, now_ns)
    for path in sorted(directory.rglob("*.xml")):
        run.file(path)
    return TckReport(
        run.passed,
        tuple(run.failed),
        tuple(run.errors),
        tuple(
            TckDirectory(name, passed, total)
            for name, (passed, total) in sorted(run.directories.items())
        ),
    )


class _Run:
    def __init__(self, root: Path, now_ns: int) -> None:
        self.root = root
        self.now_ns = now_ns
        self.passed = 0
        self.failed: list[TckFailure] = []
        self.errors: list[TckError] = []
        self.directories: dict[str, tuple[int, int]] = {}
        self.definitions: dict[Path, Definitions] = {}
        self.broken: dict[Path, str] = {}

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def file(self, path: Path) -> None:
        try:
            root = parse_xml(path.read_bytes(), path.name)
        except (OSError, InvalidInput) as error:
            self.errors.append(TckError(self.name(path), str(error)))
            return
        if root.namespace != TEST_NAMESPACE or root.name != "testCases":
            return
        model_path = path.parent / root.text_of("modelName")
        model: Model | str
        try:
            model = self.model(model_path)
        except (OSError, FederlibError) as error:
            model = f"the model cannot be used: {error}"
            self.errors.append(TckError(self.name(path), model))
        for number, case in enumerate(root.all("testCase"), 1):
            self.case(path, case, case.get("id") or str(number), model)

    def model(self, path: Path) -> Model:
        definitions = self.read(path)
        imported = []
        if definitions.imports:
            for other in sorted(path.parent.glob("*.dmn")):
                if other == path:
                    continue
                try:
                    imported.append(self.read(other))
                except (OSError, FederlibError) as error:
                    self.errors.append(TckError(self.name(other), str(error)))
        return compile_model(definitions, imported, strict=False)

    def read(self, path: Path) -> Definitions:
        found = self.definitions.get(path)
        if found is None:
            found = self.definitions[path] = parse_dmn_xml(path.read_bytes(), path.name)
        return found

    def case(self, path: Path, case: Node, test: str, model: Model | str) -> None:
        failure: tuple[str, str] | None
        if isinstance(model, str):
            failure = ("a model", model)
        else:
            try:
                failure = self.run_case(case, model)
            except Exception as error:
                failure = ("a value", f"{type(error).__name__}: {error}")
        directory = self.name(path.parent)
        passed, total = self.directories.get(directory, (0, 0))
        self.directories[directory] = (passed + (failure is None), total + 1)
        if failure is None:
            self.passed += 1
        else:
            self.failed.append(TckFailure(self.name(path), test, *failure))

    def run_case(self, case: Node, model: Model) -> tuple[str, str] | None:
        """Return what was expected and what came instead; None: the case passes."""
        values = {
            _key(node): read_value(node, model.type_of(_key(node)))
            for node in case.all("inputNode")
        }
        ask = self.asker(case, model, values)
        wrong = []
        for node in case.all("resultNode"):
            wanted = node.first("expected")
            kind = model.type_of(_key(node))
            expected = None if wanted is None else read_value(wanted, kind)
            found, problems = ask(node)
            if not agree(found, expected):
                name = node.get("name")
                reasons = f" ({'; '.join(problems)})" if problems else ""
                wrong.append((f"{name} = {show_value(expected)}", f"{show_value(found)}{reasons}"))
        if not wrong:
            return None
        return "; ".join(one for one, _ in wrong), "; ".join(other for _, other in wrong)

    def asker(
        self, case: Node, model: Model, values: Mapping[str, Value]
    ) -> Callable[[Node], tuple[Value, Sequence[str]]]:
        kind = case.get("type") or "decision"
        invocable = case.get("invocableName")

        def ask(node: Node) -> tuple[Value, Sequence[str]]:
            ev = Evaluation(now_ns=self.now_ns)
            name, namespace = node.get("name"), node.get("namespace")
            if kind == "decisionService":
                outputs = model.evaluate_service(ev, invocable, values)
                if name not in outputs:
                    raise InvalidInput("result", expected=f"one of {list(outputs)}", found=name)
                return outputs[name], ev.problems
            if kind == "bkm":
                return model.call(ev, invocable or name, values, namespace=namespace), ev.problems
            return model.evaluate(ev, name, values, namespace=namespace), ev.problems

        return ask


def _key(node: Node) -> str:
    namespace, name = node.get("namespace"), node.get("name")
    return f"{namespace}#{name}" if namespace else name

"""The runner of the conformance kit: how cases are read, compared and reported."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from federlib.dmn.documents.xml_tree import parse_xml
from federlib.dmn.feel.lexical import parse_date, parse_date_time, parse_duration, parse_time
from federlib.dmn.feel.types import ANY, BOOLEAN, DATE, NUMBER, ContextType, FeelType, ListType
from federlib.dmn.feel.values import Value
from federlib.dmn.tck.runner import TckReport, run_tck
from federlib.dmn.tck.values import agree, read_value, show_value
from federlib.errors import InvalidInput

_HEAD = (
    'xmlns="http://www.omg.org/spec/DMN/20160719/testcase" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    'xmlns:xs="http://www.w3.org/2001/XMLSchema"'
)
_MODEL = """<definitions xmlns="https://www.omg.org/spec/DMN/20230324/MODEL/" name="m"
  namespace="urn:m">
  <inputData name="a" id="a"><variable name="a" typeRef="number"/></inputData>
  <decision name="d" id="d"><variable name="d" typeRef="number"/>
    <informationRequirement><requiredInput href="#a"/></informationRequirement>
    <literalExpression><text>a + 1</text></literalExpression></decision>
  <decision name="bad" id="bad"><variable name="bad"/>
    <literalExpression><text>1 +</text></literalExpression></decision>
  <businessKnowledgeModel name="half" id="h"><variable name="half"/>
    <encapsulatedLogic><formalParameter name="n" typeRef="number"/>
    <literalExpression><text>n / 2</text></literalExpression></encapsulatedLogic>
  </businessKnowledgeModel>
  <decisionService name="s" id="s"><variable name="s"/><outputDecision href="#d"/>
    <inputData href="#a"/></decisionService>
</definitions>"""
_THREE = '<inputNode name="a"><value xsi:type="xs:decimal">3</value></inputNode>'


def _run(folder: Path, *cases: str, model: str | None = _MODEL, name: str = "m.dmn") -> TckReport:
    inside = "".join(cases)
    (folder / "kit").mkdir(exist_ok=True)
    if model is not None:
        (folder / "kit" / "m.dmn").write_text(model)
    text = f"<testCases {_HEAD}><modelName>{name}</modelName>{inside}</testCases>"
    (folder / "kit" / "m-test-01.xml").write_text(text)
    return run_tck(folder)


def _case(name: str, expected: str, inputs: str = _THREE, case: str = "1", more: str = "") -> str:
    return (
        f'<testCase id="{case}" {more}>{inputs}<resultNode name="{name}"><expected>{expected}'
        "</expected></resultNode></testCase>"
    )


def test_a_case_passes_when_each_of_its_results_is_what_is_expected(tmp_path: Path) -> None:
    report = _run(tmp_path, _case("d", '<value xsi:type="xs:decimal">4.0</value>'))
    assert (report.passed, report.failed, report.errors) == (1, (), ())
    assert [(each.name, each.passed, each.total) for each in report.directories] == [("kit", 1, 1)]


def test_a_case_that_fails_says_what_was_expected_and_what_came(tmp_path: Path) -> None:
    report = _run(
        tmp_path,
        _case("d", '<value xsi:type="xs:decimal">5</value>'),
        _case("d", '<value xsi:type="xs:decimal">4</value>', case="2"),
    )
    assert report.passed == 1
    (failure,) = report.failed
    assert (failure.file, failure.test) == ("kit/m-test-01.xml", "1")
    assert (failure.expected, failure.got) == ("d = 5", "4")


def test_an_error_is_a_null_and_never_ends_the_run(tmp_path: Path) -> None:
    report = _run(
        tmp_path,
        _case("bad", '<value xsi:nil="true"/>'),
        _case("nobody", '<value xsi:nil="true"/>', case="2"),
        _case("d", '<value xsi:type="xs:date">never</value>', case="3"),
        _case("d", '<value xsi:type="xs:anyURI">x</value>', case="4"),
        _case("bad", "", case="5"),
    )
    assert report.passed == 2
    assert [failure.test for failure in report.failed] == ["2", "3", "4"]
    assert "InvalidInput: decision: expected one of" in report.failed[0].got


def test_a_value_without_a_type_is_of_the_type_of_the_model(tmp_path: Path) -> None:
    inputs = '<inputNode name="a"><value>3</value></inputNode>'
    assert _run(tmp_path, _case("d", "<value>4.00</value>", inputs)).passed == 1


def test_a_service_and_a_knowledge_model_are_asked_directly(tmp_path: Path) -> None:
    number = '<inputNode name="n"><value xsi:type="xs:decimal">3</value></inputNode>'
    result = '<value xsi:type="xs:decimal">{}</value>'
    report = _run(
        tmp_path,
        _case("d", result.format(4), more='type="decisionService" invocableName="s"'),
        _case("half", result.format("1.5"), number, "2", 'type="bkm" invocableName="half"'),
        _case("x", result.format(4), _THREE, "3", 'type="decisionService" invocableName="s"'),
    )
    assert report.passed == 2
    assert "expected one of ['d'], found 'x'" in report.failed[0].got


def test_a_node_may_be_named_with_the_namespace_of_its_model(tmp_path: Path) -> None:
    inputs = _THREE.replace('name="a"', 'name="a" namespace="urn:m"')
    case = _case("d", '<value xsi:type="xs:decimal">4</value>', inputs)
    assert _run(tmp_path, case.replace('name="d"', 'name="d" namespace="urn:m"')).passed == 1


@pytest.mark.parametrize("model", [None, "<definitions", "<other/>"])
def test_every_case_of_a_model_that_cannot_be_used_fails(tmp_path: Path, model: str | None) -> None:
    report = _run(tmp_path, _case("d", "<value>1</value>"), _case("d", "", case="2"), model=model)
    assert report.passed == 0
    assert len(report.failed) == 2
    assert "the model cannot be used" in report.failed[0].got
    assert [error.file for error in report.errors] == ["kit/m-test-01.xml"]


def test_files_that_hold_no_cases_are_passed_over_and_broken_ones_told(tmp_path: Path) -> None:
    (tmp_path / "other.xml").write_text("<other/>")
    (tmp_path / "broken.xml").write_text("<testCases")
    (tmp_path / "hostile.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    report = run_tck(tmp_path)
    assert (report.passed, report.failed) == (0, ())
    assert [error.file for error in report.errors] == ["broken.xml", "hostile.xml"]


def test_models_beside_are_found_by_their_namespace(tmp_path: Path) -> None:
    main = """<definitions xmlns="https://www.omg.org/spec/DMN/20230324/MODEL/" name="x"
      namespace="urn:x"><import name="m" namespace="urn:m"
      importType="https://www.omg.org/spec/DMN/20230324/MODEL/"/>
      <decision name="e" id="e"><variable name="e"/>
      <informationRequirement><requiredDecision href="urn:m#d"/></informationRequirement>
      <literalExpression><text>m.d * 10</text></literalExpression></decision></definitions>"""
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "x.dmn").write_text(main)
    (tmp_path / "kit" / "broken.dmn").write_text("<")
    report = _run(tmp_path, _case("e", '<value xsi:type="xs:decimal">40</value>'), name="x.dmn")
    assert report.passed == 1
    assert [error.file for error in report.errors] == ["kit/broken.dmn"]


def test_a_directory_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="a directory"):
        run_tck(tmp_path / "nowhere")


def _read(inside: str, kind: FeelType = ANY) -> Value:
    return read_value(parse_xml(f"<expected {_HEAD}>{inside}</expected>".encode(), "test"), kind)


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("", None),
        ('<value xsi:nil="true"/>', None),
        ('<list xsi:nil="true"/>', None),
        ("<list/>", []),
        ('<value xsi:type="xs:string"> a </value>', " a "),
        ('<value xsi:type="xs:string"/>', ""),
        ('<value xsi:type="xs:decimal"> 1.50 </value>', Decimal("1.5")),
        ('<value xsi:type="xs:double">1E3</value>', Decimal(1000)),
        ('<value xsi:type="xs:boolean">true</value>', True),
        ('<value xsi:type="xs:date">2026-11-22</value>', parse_date("2026-11-22")),
        ('<value xsi:type="xs:time">10:00:00Z</value>', parse_time("10:00:00Z")),
        (
            '<value xsi:type="xs:dateTime">2026-11-22T10:00:00</value>',
            parse_date_time("2026-11-22T10:00:00"),
        ),
        ('<value xsi:type="xs:duration">P1Y</value>', parse_duration("P1Y")),
        ('<value xsi:type="xs:duration">-PT5M</value>', parse_duration("-PT5M")),
        (
            (
                '<component name="a"><value xsi:type="xs:decimal">1</value></component>'
                '<component name="b c" xsi:nil="true"/>'
            ),
            {"a": Decimal(1), "b c": None},
        ),
        (
            '<list><item xsi:nil="true"/><item><value xsi:type="xs:int">1</value></item></list>',
            [None, Decimal(1)],
        ),
    ],
)
def test_a_value_is_read_as_it_is_written(inside: str, expected: Value) -> None:
    assert _read(inside) == expected


def test_values_inside_lists_and_contexts_have_the_types_of_the_model() -> None:
    kind = ContextType({"n": ListType(NUMBER), "d": DATE, "b": BOOLEAN})
    inside = (
        '<component name="n"><list><item><value>1</value></item></list></component>'
        '<component name="d"><value>2026-11-22</value></component>'
        '<component name="b"><value>true</value></component>'
        '<component name="s"><value>x</value></component>'
    )
    assert _read(inside, kind) == {
        "n": [Decimal(1)],
        "d": parse_date("2026-11-22"),
        "b": True,
        "s": "x",
    }


@pytest.mark.parametrize("text", ["NaN", "Infinity", "x", ""])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="a decimal"):
        _read(f'<value xsi:type="xs:decimal">{text}</value>')


def _time(text: str) -> Value:
    return parse_time(text)


@pytest.mark.parametrize(
    ("found", "expected", "is_same"),
    [
        (Decimal("2.50"), Decimal("2.5"), True),
        (Decimal("2.5000001"), Decimal("2.5"), False),
        (Decimal("0.3678794411"), Decimal("0.36787944"), True),
        (Decimal("0.367879"), Decimal("0.36787944"), False),
        (Decimal("562.7073593732659"), Decimal("562.707359373292"), True),
        (Decimal("1e-20"), Decimal("2e-20"), False),
        (Decimal(1), True, False),
        (True, Decimal(1), False),
        ("1", Decimal(1), False),
        (None, None, True),
        (None, [], False),
        ([Decimal(1)], [Decimal("1.0")], True),
        ([Decimal(1), Decimal(2)], [Decimal(2), Decimal(1)], False),
        ([Decimal(1)], [Decimal(1), None], False),
        ({"a": Decimal(1)}, {"a": Decimal("1.0")}, True),
        ({"a": Decimal(1), "b": None}, {"a": Decimal(1)}, False),
        (_time("10:00:00+02:00"), _time("08:00:00Z"), True),
        (_time("10:00:00.1Z"), _time("10:00:00Z"), False),
        (_time("10:00:00"), _time("10:00:00Z"), False),
        (
            parse_date_time("2026-06-01T10:00:00@Europe/Paris"),
            parse_date_time("2026-06-01T08:00:00Z"),
            True,
        ),
        (parse_date("2026-11-22"), parse_date("2026-11-22"), True),
        (parse_date("2026-11-22"), parse_date_time("2026-11-22"), False),
        (parse_duration("P1Y"), parse_duration("P12M"), True),
    ],
)
def test_values_agree(found: Value, expected: Value, is_same: bool) -> None:
    assert agree(found, expected) is is_same


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        (Decimal("1.50"), "1.50"),
        ("a", '"a"'),
        ([Decimal(1), {"a": None}], "[1, {a: null}]"),
        (parse_date("2026-11-22"), '@"2026-11-22"'),
    ],
)
def test_values_are_shown_as_people_write_them(value: Value, shown: str) -> None:
    assert show_value(value) == shown


def test_a_long_value_is_shown_in_part() -> None:
    assert len(show_value("x" * 10_000)) <= 301

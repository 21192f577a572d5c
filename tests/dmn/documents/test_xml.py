"""Models from XML, and back."""

from __future__ import annotations

import pytest

from federlib.dmn.documents.forms import dump_xml, normalised, parse_model
from federlib.dmn.documents.xml import DMN_NAMESPACES
from federlib.dmn.documents.xml_expressions import fold_rule
from federlib.dmn.documents.xml_tree import MAX_XML_DEPTH, parse_xml
from federlib.dmn.model import (
    Conditional,
    Context,
    DecisionNode,
    DecisionTable,
    Definitions,
    Filter,
    For,
    FunctionDefinition,
    Invocation,
    ListExpression,
    LiteralExpression,
    Quantified,
    Relation,
    Rule,
)
from federlib.dmn.model.problems import ModelProblems
from federlib.errors import InvalidInput

_LATEST = "https://www.omg.org/spec/DMN/20230324/MODEL/"


def _document(inside: str, namespace: str = _LATEST, attributes: str = "") -> bytes:
    return (
        f'<?xml version="1.0"?><definitions xmlns="{namespace}" name="m" '
        f'namespace="urn:test" {attributes}>{inside}</definitions>'
    ).encode()


def _parse(inside: str, **options: str) -> Definitions:
    return parse_model(_document(inside, **options), "xml")


def _logic(expression: str) -> object:
    return _parse(f'<decision name="d" id="d">{expression}</decision>').decisions[0].logic


_LITERAL = "<literalExpression><text>1</text></literalExpression>"
_ONE = LiteralExpression("1")


@pytest.mark.parametrize("namespace", DMN_NAMESPACES, ids=list(DMN_NAMESPACES.values()))
def test_every_version_of_dmn_loads_to_the_same_model(namespace: str) -> None:
    inside = f"""
      <itemDefinition name="t"><typeRef>number</typeRef>
        <allowedValues><text>[0..9]</text></allowedValues></itemDefinition>
      <inputData id="i" name="a  b"><variable name="a b" typeRef="t"/></inputData>
      <decision id="d" name="d"><variable name="d" typeRef="number"/>
        <informationRequirement><requiredInput href="#i"/></informationRequirement>
        {_LITERAL}</decision>"""
    model = _parse(inside, namespace=namespace)
    assert model == _parse(inside)
    assert model.inputs[0].name == "a b"
    assert model.decisions == (
        DecisionNode("d", logic=_ONE, type_ref="number", inputs=("i",), id="d"),
    )


def test_a_prefix_for_the_namespace_of_dmn_makes_no_difference() -> None:
    text = f'<x:definitions xmlns:x="{_LATEST}" name="m"><x:inputData name="a"/></x:definitions>'
    assert parse_model(text.encode(), "xml").inputs[0].name == "a"


@pytest.mark.parametrize(
    "namespace", ["http://www.omg.org/spec/DMN/20151101/dmn.xsd", "urn:other", ""]
)
def test_another_namespace_is_refused_by_name(namespace: str) -> None:
    with pytest.raises(InvalidInput, match=r"DMN 1.2 to 1.5") as caught:
        parse_model(_document("", namespace), "xml")
    assert namespace in caught.value.found


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (_LITERAL, _ONE),
        (
            (
                f"<context><contextEntry><variable name='a' typeRef='number'/>{_LITERAL}"
                f"</contextEntry><contextEntry>{_LITERAL}</contextEntry></context>"
            ),
            Context,
        ),
        (
            (
                f"<invocation><literalExpression><text>f</text></literalExpression>"
                f"<binding><parameter name='x'/>{_LITERAL}</binding></invocation>"
            ),
            Invocation,
        ),
        (f"<list>{_LITERAL}{_LITERAL}</list>", ListExpression((_ONE, _ONE))),
        (f"<relation><column name='c'/><row>{_LITERAL}</row></relation>", Relation),
        (
            (
                f"<functionDefinition><formalParameter name='n' typeRef='number'/>{_LITERAL}"
                "</functionDefinition>"
            ),
            FunctionDefinition,
        ),
        (
            (
                f"<conditional><if>{_LITERAL}</if><then>{_LITERAL}</then><else>{_LITERAL}</else>"
                "</conditional>"
            ),
            Conditional(_ONE, _ONE, _ONE),
        ),
        (f"<filter><in>{_LITERAL}</in><match>{_LITERAL}</match></filter>", Filter(_ONE, _ONE)),
        (
            f"<for iteratorVariable='i'><in>{_LITERAL}</in><return>{_LITERAL}</return></for>",
            For("i", _ONE, _ONE),
        ),
        (
            (
                f"<every iteratorVariable='i'><in>{_LITERAL}</in><satisfies>{_LITERAL}</satisfies>"
                "</every>"
            ),
            Quantified("i", _ONE, _ONE, is_every=True),
        ),
        (
            (
                f"<some iteratorVariable='i'><in>{_LITERAL}</in><satisfies>{_LITERAL}</satisfies>"
                "</some>"
            ),
            Quantified("i", _ONE, _ONE, is_every=False),
        ),
    ],
)
def test_every_boxed_expression_is_read_and_written(written: str, expected: object) -> None:
    found = _logic(written)
    if isinstance(expected, type):
        assert isinstance(found, expected)
    else:
        assert found == expected
    model = _parse(f'<decision name="d" id="d">{written}</decision>')
    assert parse_model(dump_xml(model), "xml") == model


def test_a_table_is_read_and_written_with_all_that_it_has() -> None:
    table = _logic(
        """<decisionTable id="t" hitPolicy="COLLECT" aggregation="SUM" outputLabel="fee">
        <input id="i" label="age"><inputExpression typeRef="number"><text> a </text>
          </inputExpression><inputValues><text>[0..120]</text></inputValues></input>
        <output id="o" name="fee" label="Fee" typeRef="number"><outputValues><text>1,2</text>
          </outputValues><defaultOutputEntry><text>1</text></defaultOutputEntry></output>
        <annotation name="why"/>
        <rule id="r"><description>old</description><inputEntry><text>&gt; 60</text></inputEntry>
          <outputEntry><text>2</text></outputEntry>
          <annotationEntry><text>age &amp; more</text></annotationEntry></rule>
        </decisionTable>"""
    )
    assert isinstance(table, DecisionTable)
    assert (table.hit_policy, table.aggregator, table.output_label) == ("COLLECT", "SUM", "fee")
    assert table.inputs[0].expression == "a"
    assert table.inputs[0].allowed == "[0..120]"
    assert table.outputs[0].default == "1"
    assert table.rules[0].conditions == ("> 60",)
    assert table.rules[0].annotations == ("age & more",)
    model = normalised(Definitions("m", decisions=(DecisionNode("d", logic=table),)))
    assert parse_model(dump_xml(model), "xml") == model


def test_the_version_of_a_model_survives_in_an_attribute_of_our_own() -> None:
    model = Definitions("m", namespace="urn:x", version="3.1")
    assert parse_model(dump_xml(model), "xml") == model


def test_drawings_extensions_and_knowledge_sources_are_left_out() -> None:
    model = _parse(
        """<extensionElements><x xmlns="urn:x"/></extensionElements>
        <decision name="d" id="d"><extensionElements/>
          <authorityRequirement><requiredAuthority href="#s"/></authorityRequirement>
          <literalExpression xmlns:y="urn:y" y:z="1"><text>1</text></literalExpression>
          <y:other xmlns:y="urn:y"/></decision>
        <knowledgeSource name="s" id="s"/><textAnnotation/><elementCollection name="e"/>
        <d:DMNDI xmlns:d="https://www.omg.org/spec/DMN/20230324/DMNDI/"/>"""
    )
    assert model == Definitions(
        "m", namespace="urn:test", decisions=(DecisionNode("d", logic=_ONE, id="d"),)
    )


def test_every_problem_of_a_schema_is_told_at_once_with_its_element_and_line() -> None:
    with pytest.raises(ModelProblems) as caught:
        _parse(
            f"""
            <decision name="a" id="a"><informationRequirement><requiredInput href="nowhere"/>
              </informationRequirement>{_LITERAL}{_LITERAL}</decision>
            <decision name="b" id="b"><decisionTable hitPolicy="LAST" aggregation="AVG">
              <output/></decisionTable></decision>
            <decision name="c" id="c"><conditional><if>{_LITERAL}</if></conditional></decision>
            <decision id="n"><magic/></decision>
            <itemDefinition name="t" isCollection="maybe"/>"""
        )
    lines = caught.value.problems
    assert caught.value.count == len(lines) == 9
    for expected in (
        "decision 'a': the reference 'nowhere' names no element",
        "decision 'a': decision has 2 expressions",
        "decision 'b': hitPolicy is 'LAST': expected one of UNIQUE",
        "decision 'b': aggregation is 'AVG'",
        "decision 'c': conditional has no then (line 6)",
        "decision 'c': conditional has no else",
        "it has no name",
        "magic is no expression that is known here",
        "type 't': isCollection is 'maybe'",
    ):
        assert any(expected in line for line in lines), expected


def test_languages_other_than_feel_are_kept_and_feel_in_all_its_spellings_is_none() -> None:
    for feel in ("feel", "FEEL", "http://www.omg.org/spec/DMN/20180521/FEEL/"):
        found = _logic(
            f'<literalExpression expressionLanguage="{feel}"><text>1</text></literalExpression>'
        )
        assert found == _ONE
    other = _parse(
        f'<decision name="d" id="d">{_LITERAL}</decision>', attributes='expressionLanguage="urn:js"'
    )
    assert other.decisions[0].logic == LiteralExpression("1", language="urn:js")


@pytest.mark.parametrize(
    "hostile",
    [
        b'<!DOCTYPE a [<!ENTITY b "c">]><definitions name="&b;"/>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><definitions/>',
        b'<!DOCTYPE a [<!ENTITY % b SYSTEM "http://localhost/">%b;]><definitions/>',
        b"<!DOCTYPE definitions><definitions/>",
    ],
    ids=["entity", "external", "parameter entity", "plain doctype"],
)
def test_document_types_and_entities_are_refused(hostile: bytes) -> None:
    with pytest.raises(InvalidInput, match="without document type"):
        parse_model(hostile, "xml")


@pytest.mark.parametrize(
    ("hostile", "expected"),
    [
        (b"<definitions>", "XML"),
        (b"", "XML"),
        (b"\xff\xfe\x00", "XML"),
        (b'<?xml version="1.0" encoding="no-such"?><definitions/>', "XML"),
        (b"<a>" * (MAX_XML_DEPTH + 1), "elements in one another"),
    ],
    ids=["open", "empty", "bytes", "encoding", "deep"],
)
def test_what_is_no_xml_or_too_deep_is_refused(hostile: bytes, expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        parse_model(hostile, "xml")


def test_what_xml_cannot_hold_is_refused_when_it_is_written() -> None:
    with pytest.raises(InvalidInput, match="characters that XML can hold"):
        dump_xml(Definitions("a\x00b"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("<invocation/>", "an invocation calls nothing"),
        (f"<invocation>{_LITERAL}<binding/></invocation>", "a binding without parameter"),
        (
            "<literalExpression><importedValues/></literalExpression>",
            "imported values are not supported",
        ),
        (
            "<decisionTable><input/><output/></decisionTable>",
            "an input clause without expression",
        ),
    ],
)
def test_what_an_expression_lacks_is_told(written: str, expected: str) -> None:
    with pytest.raises(ModelProblems) as caught:
        _logic(written)
    assert any(expected in line for line in caught.value.problems)


def test_an_element_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("federlib.dmn.documents.xml_tree.MAX_XML_ELEMENTS", 3)
    with pytest.raises(InvalidInput, match="at most 3 elements"):
        parse_model(b"<a><b/><c/><d/></a>", "xml")


def test_a_prefix_that_nobody_declares_names_nothing() -> None:
    node = parse_xml(b'<a xmlns:x="urn:x"><b/></a>', "test")
    assert node.children[0].resolve("x:name") == ("urn:x", "name")
    assert node.resolve("y:name") == ("", "name")


@pytest.mark.parametrize("kind", ["Java", "PMML", "FEEL"])
def test_the_kind_of_a_function_is_spelled_as_the_schema_has_it(kind: str) -> None:
    written = f'<functionDefinition kind="{kind}"><context/></functionDefinition>'
    model = _parse(f'<decision name="d" id="d">{written}</decision>')
    logic = model.decisions[0].logic
    assert isinstance(logic, FunctionDefinition)
    assert logic.function_kind == kind.upper()
    assert (f'kind="{kind}"' in dump_xml(model).decode()) is (kind != "FEEL")
    assert parse_model(dump_xml(model), "xml") == model


def test_rules_are_made_as_they_end_and_their_elements_are_gone() -> None:
    entries = "<inputEntry><text> 1 </text></inputEntry><outputEntry><text>2</text></outputEntry>"
    data = f"""<decisionTable xmlns="urn:d" xmlns:o="urn:o"><rule id="r">{entries}</rule>
        <o:rule>{entries}</o:rule><input><rule>{entries}</rule></input></decisionTable>"""
    table = parse_xml(data.encode(), "test", {"rule": fold_rule})
    rule, foreign, given = table.children
    assert rule.made == Rule(("1",), ("2",), (), "r")
    assert rule.children == ()
    for other in (foreign, given.children[0]):
        assert other.made is None
        assert [each.name for each in other.children] == ["inputEntry", "outputEntry"]


def test_text_in_pieces_is_one() -> None:
    node = parse_xml(b"<a>1<b/>2<!-- -->3<b/>4</a>", "test")
    assert node.text == "1234"

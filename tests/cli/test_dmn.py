"""`federlib dmn …`: models checked, asked, explained, compared and put to the test."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from federlib.cli.app import app
from federlib.dmn import read_decision

POLICIES = Path(str(files("federlib.dmn.policies")))
RESTART = POLICIES / "restart.yaml"
ROUTING = POLICIES / "routing.yaml"
FAILED_ONCE = ["-f", "exit code=1", "-f", "is draining=false", "-f", "failures=1"]

BROKEN = """\
name: Broken
inputs: [{name: cpu, type_ref: number}]
decisions:
- name: scale
  inputs: [cpu]
  logic:
    kind: table
    inputs: [{expression: cpu}]
    outputs: [{name: out}]
    rules:
    - {conditions: ["< "], conclusions: ["1"]}
    - {conditions: ["> load"], conclusions: ["("]}
"""

OPEN = """\
name: Open
inputs: [{name: cpu, type_ref: number}]
decisions:
- name: scale
  inputs: [cpu]
  logic:
    kind: table
    inputs: [{expression: cpu}]
    outputs: [{name: out}]
    rules:
    - {conditions: ["< 50"], conclusions: ["1"]}
    - {conditions: ["> 60"], conclusions: ["2"]}
"""


AT = """\
name: M
inputs: [{name: at}]
decisions:
- {name: it, inputs: [at], logic: at}
"""

HOSTILE = """\
name: "M\\e[31m"
version: "\\e[2J"
decisions:
- {name: "d\\e]0;x\\a", logic: 1}
"""


def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["dmn", *map(str, arguments)], input=stdin)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_sound_model_has_no_problems() -> None:
    done = run("check", RESTART)
    assert (done.exit_code, done.stdout) == (
        0,
        "decision 'restart': complete, 6 rules (F)\nRestart: no problems\n",
    )


def test_every_problem_is_told_at_once_with_rule_and_column(tmp_path: Path) -> None:
    model = written(tmp_path / "broken.yaml", BROKEN)
    done = run("check", model)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [
        "decision 'scale', rule 1, cpu",
        "decision 'scale', rule 2, cpu",
        "decision 'scale', rule 2, out",
    ]
    told = json.loads(run("check", model, "--json").stdout)
    assert [(each["rule"], each["column"]) for each in told["problems"]] == [
        (1, "cpu"),
        (2, "cpu"),
        (2, "out"),
    ]
    assert run("eval", model).exit_code == 2


def test_gaps_are_told_and_fail_when_asked_to(tmp_path: Path) -> None:
    model = written(tmp_path / "open.yaml", OPEN)
    done = run("check", model)
    assert done.exit_code == 0
    assert "gap: decision 'scale': cpu: [50..60], null; such as cpu = 50" in done.stdout
    assert run("check", model, "--strict").exit_code == 1
    assert "cpu: [50..60];" in run("check", model, "--no-null").stdout
    (table,) = json.loads(run("check", model, "--json").stdout)["tables"]
    assert table["gaps"] == [{"where": {"cpu": "[50..60], null"}, "example": {"cpu": "50"}}]


def test_rules_that_may_not_overlap_fail(tmp_path: Path) -> None:
    model = written(tmp_path / "open.yaml", OPEN.replace("> 60", ">= 40"))
    done = run("check", model)
    assert done.exit_code == 1
    assert "overlap: decision 'scale': rules 1 and 2: cpu: [40..50)" in done.stdout


def test_a_decision_is_printed_as_feel_and_as_json() -> None:
    facts = [*FAILED_ONCE, "-f", "uptime s=59.9"]
    done = run("eval", RESTART, *facts)
    assert (done.exit_code, done.stdout) == (0, '{"action": "restart_later", "delay s": 2}\n')
    told = json.loads(run("eval", RESTART, *facts, "--json").stdout)
    assert told == {
        "outputs": {"action": "restart_later", "delay s": 2},
        "rules": ["back-off"],
        "problems": [],
    }


def test_a_fact_that_is_missing_is_told_and_fails() -> None:
    done = run("eval", RESTART, "-f", "exit code=2")
    assert done.exit_code == 1
    assert '"quarantine"' in done.stdout
    assert "problem: " in done.stderr
    assert "uptime s" in done.stderr


def test_facts_come_from_a_file_or_standard_input(tmp_path: Path) -> None:
    facts = {"exit code": None, "is draining": False, "failures": 9, "uptime s": 1}
    path = written(tmp_path / "facts.json", json.dumps(facts))
    assert '"quarantine"' in run("eval", RESTART, "--facts", path).stdout
    assert '"quarantine"' in run("eval", RESTART, "--facts", "-", stdin=json.dumps(facts)).stdout
    over = run("eval", RESTART, "--facts", path, "-f", "is draining=true")
    assert '"leave"' in over.stdout


@pytest.mark.parametrize(
    "facts",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"failures": {"@": 1}}',
        b"[" * 5000,
        b'{"failures": 1, "failures": 9}',
    ],
)
def test_facts_that_are_none_are_refused(facts: bytes) -> None:
    done = run("eval", RESTART, "--facts", "-", stdin=facts)
    assert done.exit_code == 2
    assert done.stderr.startswith("federlib: ")


@pytest.mark.parametrize("pair", ["cpu", "=1", "failures=(", "failures=other"])
def test_a_fact_that_cannot_be_read_is_refused(pair: str) -> None:
    assert run("eval", RESTART, "-f", pair).exit_code == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [("1/0", "divi"), ("date(1)", "date"), ("count(for x in 1..9999999 return x)", "more than")],
)
def test_a_fact_that_has_no_value_is_not_taken_for_null(text: str, why: str) -> None:
    done = run("eval", RESTART, "-f", f"failures={text}")
    assert done.exit_code == 2
    assert "--fact failures: expected a value" in done.stderr
    assert why in done.stderr


def test_a_fact_may_be_the_instant_that_now_says(tmp_path: Path) -> None:
    path = written(tmp_path / "m.yaml", AT)
    done = run("eval", path, "--now", "2026-01-02T00:00:00Z", "-f", "at=now()")
    assert "2026-01-02T00:00:00" in done.stdout
    assert done.exit_code == 0


def test_names_do_nothing_to_the_terminal(tmp_path: Path) -> None:
    path = written(tmp_path / "m.yaml", HOSTILE)
    other = written(tmp_path / "n.yaml", HOSTILE.replace("logic: 1", "logic: 2"))
    facts = written(tmp_path / "facts.json", '{"\\u001b[2J": {"@": "no"}}')
    for arguments in (("check", path), ("explain", path), ("show", path), ("diff", path, other),
                      ("eval", path, "--facts", facts)):  # fmt: skip
        done = CliRunner().invoke(app, ["dmn", *map(str, arguments)], color=True)
        assert done.exit_code in {0, 1, 2}
        assert "\x1b" not in done.output
        assert "\x07" not in done.output


def test_an_unknown_decision_names_those_that_there_are() -> None:
    done = run("eval", RESTART, "--decision", "other")
    assert done.exit_code == 2
    assert "backoff s" in done.stderr


def test_now_is_what_it_is_said_to_be(tmp_path: Path) -> None:
    model = written(tmp_path / "now.yaml", "name: Now\ndecisions:\n- {name: d, logic: now()}\n")
    done = run("eval", model, "--now", "2026-01-01T00:00:00Z")
    assert "2026-01-01T00:00:00" in done.stdout
    assert run("eval", model, "--now", "yesterday").exit_code == 2


def test_an_explanation_shows_the_rule_that_decided_and_the_cells_that_did_not_hold() -> None:
    facts = ["-f", 'health="busy"', "-f", "is draining=false", "-f", "load=0.5", "-f", "rtt ms=30"]
    done = run("explain", ROUTING, *facts, "--width", "200")
    assert done.exit_code == 0
    assert '▐ 6 │ ✓ "healthy", "busy" │ ✓ -         │ ✓ -     │ ✓ < 250 ║' in done.stdout
    assert '│   │ = "busy"            │ = false     │ = 0.5   │ = 30    ║' in done.stdout
    assert 'decided  "secondary"' in done.stdout
    assert "by       Routing 1, routing: near-enough" in done.stdout


def test_an_explanation_as_json_is_the_record_of_the_decision() -> None:
    done = run("explain", RESTART, *FAILED_ONCE, "-f", "uptime s=60", "--json")
    made = read_decision(done.stdout_bytes)
    assert made.matched == ("ran-well",)
    assert made.trace is not None
    assert made.outputs == {"action": "restart", "delay s": 0}
    assert made.decided_at_ns


def test_two_versions_are_compared(tmp_path: Path) -> None:
    text = ROUTING.read_text(encoding="utf-8")
    newer = written(tmp_path / "newer.yaml", text.replace('"< 250"', '"<= 250"'))
    done = run("diff", ROUTING, newer)
    assert done.exit_code == 1
    assert "changed: routing, rule near-enough" in done.stdout
    assert '"last_resort" -> "secondary": health = "busy"' in done.stdout
    assert "rtt ms = 250" in done.stdout
    told = json.loads(run("diff", ROUTING, newer, "--json").stdout)
    assert told["is_proof"]
    assert told["method"] == "exhaustive"
    assert {each["facts"]["rtt ms"] for each in told["differences"]} == {250}


def test_versions_that_decide_alike_are_proved_to(tmp_path: Path) -> None:
    text = ROUTING.read_text(encoding="utf-8")
    newer = written(tmp_path / "newer.yaml", text.replace('version: "1"', 'version: "2"'))
    done = run("diff", ROUTING, newer)
    assert done.exit_code == 0
    assert done.stdout.startswith("they decide alike; all ")
    drawn = run("diff", ROUTING, newer, "--most", "10")
    assert "no difference found; 10 combinations tried" in drawn.stdout


@pytest.mark.parametrize(
    ("form", "wanted"),
    [("text", "│ 4 │ -"), ("markdown", "| **F** | **is draining** |"), ("html", "<table class")],
)
def test_a_model_is_drawn(form: str, wanted: str, tmp_path: Path) -> None:
    done = run("show", RESTART, "--as", form)
    assert done.exit_code == 0
    assert wanted in done.stdout
    target = tmp_path / "drawn"
    assert run("show", RESTART, "--as", form, "--output", target).stdout == ""
    assert target.read_text(encoding="utf-8") == done.stdout


MODEL = """\
<definitions xmlns="https://www.omg.org/spec/DMN/20230324/MODEL/" name="m" namespace="n" id="i">
  <inputData id="x" name="x"><variable name="x" typeRef="number"/></inputData>
  <decision id="d" name="double"><variable name="double" typeRef="number"/>
    <informationRequirement id="r"><requiredInput href="#x"/></informationRequirement>
    <literalExpression><text>x * 2</text></literalExpression></decision>
</definitions>
"""
CASES = """\
<testCases xmlns="http://www.omg.org/spec/DMN/20160719/testcase"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xmlns:xsd="http://www.w3.org/2001/XMLSchema">
  <modelName>m.dmn</modelName>
  <testCase id="001"><inputNode name="x"><value xsi:type="xsd:decimal">2</value></inputNode>
    <resultNode name="double"><expected><value xsi:type="xsd:decimal">4.0</value></expected>
    </resultNode></testCase>
  <testCase id="002"><inputNode name="x"><value xsi:type="xsd:decimal">2</value></inputNode>
    <resultNode name="double"><expected><value xsi:type="xsd:decimal">5</value></expected>
    </resultNode></testCase>
</testCases>
"""


def test_the_cases_below_a_directory_are_run(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    written(tmp_path / "one" / "m.dmn", MODEL)
    cases = written(tmp_path / "one" / "m-test-01.xml", CASES)
    done = run("test", tmp_path, "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert list(told) == ["passed", "failed", "errors"]
    assert told["passed"] == 1
    assert told["errors"] == []
    (failure,) = told["failed"]
    assert sorted(failure) == ["expected", "file", "got", "test"]
    assert (failure["file"], failure["test"]) == ("one/m-test-01.xml", "002")
    plain = run("test", tmp_path).stdout
    assert "1 of 2      one" in plain
    assert plain.endswith("1 of 2 cases pass\n")
    cases.write_text(CASES.replace(">5<", ">4<"))
    assert run("test", tmp_path).exit_code == 0


@pytest.mark.parametrize("command", ["check", "eval", "explain", "show"])
def test_what_is_no_model_is_refused_in_words(command: str, tmp_path: Path) -> None:
    for name, text in (("m.dmn", "<a>"), ("m.yaml", "a: [b"), ("m.json", "{}"), ("m.txt", "")):
        done = run(command, written(tmp_path / name, text))
        assert done.exit_code == 2
        assert done.stderr.startswith("federlib: ")
        assert done.exception is None or isinstance(done.exception, SystemExit)

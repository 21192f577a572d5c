"""`federlib causal`: what it prints of hypotheses and interventions, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from click.testing import CliRunner, Result

import federlib
from causal.examples import MEASURED, SOUND, changed
from federlib.causal import GateConfig
from federlib.cli.app import app
from federlib.fencing import Command
from federlib.identity import IdentityStore


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPAL_IDENTITY_ROOT", str(tmp_path / "identities"))
    monkeypatch.setenv("COLUMNS", "250")
    return f"sqlite:///{tmp_path}/fleet.db"


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["causal", *map(str, arguments)])


def facts(*arguments: str | Path) -> Any:
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def write(path: Path, **fields: object) -> Path:
    path.write_bytes(msgspec.json.encode(changed(**fields)))
    return path


def test_a_sound_document_is_consistent_and_a_careless_one_is_not(tmp_path: Path) -> None:
    good = call("check", write(tmp_path / "good.json"))
    assert good.exit_code == 0
    assert good.output == (
        "leak-restart: consistent: restart -> latency: decrease by 5 ms within 600 s\n"
    )
    bad = write(tmp_path / "bad.yaml", adjustment=())  # JSON is YAML, too
    done = call("check", bad)
    assert done.exit_code == 1
    assert "  adjustment: {} leaves open restart <- alarm <- load -> latency\n" in done.output
    told = json.loads(call("check", bad, "--json").output)
    assert told["valid_sets"] == [["load"], ["alarm"]]
    assert told["open_trail"] == "restart <- alarm <- load -> latency"


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    path.write_text("hypothesis_id: x\n")
    done = call("check", path)
    assert done.exit_code == 2
    assert "hypothesis" in done.stderr


def test_stating_writes_once_and_refuses_what_contradicts_itself(tmp_path: Path, url: str) -> None:
    assert call("state", write(tmp_path / "h.json"), "--store", url).output == (
        "stated leak-restart\n"
    )
    assert facts("state", tmp_path / "h.json", "--store", url)["author"] == "ops"
    other = write(tmp_path / "other.json", mechanism="something else")
    done = call("state", other, "--store", url)
    assert done.exit_code == 3
    assert "choose a new id" in done.stderr
    careless = write(tmp_path / "bad.json", hypothesis_id="careless", adjustment=())
    assert call("state", careless, "--store", url).exit_code == 1
    assert [each["hypothesis"]["hypothesis_id"] for each in facts("ls", "--store", url)] == [
        "leak-restart"
    ]


async def act(url: str, root: Path) -> tuple[str, str]:
    """Issue one command that is refused and one that passes."""
    gate = GateConfig(mode="enforced")
    async with (
        federlib.connect(url, identity=IdentityStore(root), causal=gate) as fed,
        fed.elect("coordinator") as seat,
    ):
        async for state in seat.changes():
            if state.role == "leader":
                break
        await fed.causal.state(SOUND)
        refused = await fed.commands.issue("restart_many", gate=seat, causal_id="leak-restart")
        await fed.causal.attach("leak-restart", MEASURED, source="canary of Monday")
        passed = await fed.commands.issue("restart_many", gate=seat, causal_id="leak-restart")
    assert isinstance(passed, Command)
    return refused.command_id, passed.command_id


def test_interventions_show_hypothesis_verdict_and_outcome(tmp_path: Path, url: str) -> None:
    refused, passed = anyio.run(act, url, tmp_path / "leader")
    told = {each["command_id"]: each for each in facts("interventions", "--store", url)}
    assert set(told) == {refused, passed}
    assert told[refused]["status"] == "rejected_causal"
    assert told[refused]["verdict"]["reasons"] == ["no evidence: the effect was never measured"]
    assert told[passed]["verdict"]["evidence"]["measured"]["effect"] == -12.0
    assert told[passed]["hypothesis"]["mechanism"] == SOUND.mechanism
    shown = facts("show", "leak-restart", "--store", url)
    assert [each["source"] for each in shown["evidence"]] == ["canary of Monday"]
    assert len(shown["interventions"]) == 2
    text = call("show", "leak-restart", "--store", url).output
    assert "-12 ms (-15 to -9), canary of Monday" in text
    assert "supported 0, refuted 0, inconclusive 0" in text
    listed = call("interventions", "--store", url).output
    assert "refused: no evidence" in listed
    assert "passed" in listed
    assert "leak-restart" in call("ls", "--store", url).output
    # Nobody else has to know the word: the command's own record has it all.
    shown = CliRunner().invoke(app, ["commands", "show", passed, "--store", url, "--json"])
    assert json.loads(shown.output)["issued"]["causal"]["ruling"] == "passed"


def test_who_only_looks_makes_no_store(tmp_path: Path, url: str) -> None:
    for verb in (["ls"], ["interventions"], ["show", "x"]):
        assert call(*verb, "--store", url).exit_code == 3
    assert not (tmp_path / "fleet.db").exists()


def test_an_unknown_hypothesis_is_told(tmp_path: Path, url: str) -> None:
    call("state", write(tmp_path / "h.json"), "--store", url)
    done = call("show", "nobody", "--store", url)
    assert done.exit_code == 1
    assert "no hypothesis 'nobody'" in done.stderr

"""The process of a `call:` task."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.exec_workshop import Workshop
from federlib.cli.exec import Call, ExecResult, TaskContext, TaskRunner

pytestmark = pytest.mark.anyio

MODULE = """
import os
import sys

import anyio

NOT_CALLABLE = 3

def add(a, b=1):
    return a + b

def context(task, x=0):
    return [task.run_id, task.task_id, task.attempt, task.epoch, task.idempotency_key,
            dict(task.inputs), x]

def touch_inputs(task):
    task.inputs["a"] = 1

async def later(task):
    await anyio.sleep(0)
    return task.task_id

def nothing():
    print("done")

def boom():
    raise ValueError("no coffee")

def leave(code):
    sys.exit(code)

def give(what):
    return {"set": {1}, "nan": float("nan"), "big": "x" * 70000}[what]

def seen():
    return [sys.argv[1:], [n for n in ("FEDERLIB_ARGS", "FEDERLIB_REASON") if n in os.environ]]

def child():
    return os.getpid() == os.getsid(0)

class Box:
    @staticmethod
    def inner():
        return "boxed"
"""
ENV = {
    "FEDERLIB_RUN_ID": "r1",
    "FEDERLIB_TASK_ID": "t1",
    "FEDERLIB_ATTEMPT": "2",
    "FEDERLIB_EPOCH": "7",
    "FEDERLIB_IDEMPOTENCY_KEY": "r1:t1",
}


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    (tmp_path / "work.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("raise RuntimeError('half a module')\n")
    (tmp_path / "exits.py").write_text("raise SystemExit(0)\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "deep.py").write_text("def f():\n    return 1\n")
    return Workshop(tmp_path)


async def call(
    shop: Workshop, target: str, args: object = None, *, inputs: bytes = b"{}"
) -> ExecResult:
    async with TaskRunner() as runner:
        spec = Call(target, json.dumps(args).encode())
        return await runner.run(shop.spec(spec, env=ENV, inputs=inputs))


@pytest.mark.parametrize(
    ("target", "args", "result"),
    [
        ("work:add", {"a": 2, "b": 3}, 5),
        ("work:add", [2], 3),
        ("work:context", {"x": 1}, ["r1", "t1", 2, 7, "r1:t1", {"p": [1]}, 1]),
        ("work:context", None, ["r1", "t1", 2, 7, "r1:t1", {"p": [1]}, 0]),
        ("work:later", None, "t1"),
        ("work:nothing", None, None),
        ("work:Box.inner", [], "boxed"),
        ("work:child", [], True),
        ("package.deep:f", [], 1),
        ("builtins:max", [3, 4], 4),
    ],
)
async def test_a_function_is_called_and_its_value_kept(
    shop: Workshop, target: str, args: object, result: object
) -> None:
    done = await call(shop, target, args, inputs=b'{"p": [1]}')
    assert (done.outcome, done.result) == ("success", result), shop.text()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("missing:f", "ModuleNotFoundError: No module named 'missing'"),
        ("work:missing", "AttributeError"),
        ("work:NOT_CALLABLE", "TypeError: NOT_CALLABLE is not callable"),
        ("work", "ImportError: expected package.module:function"),
        (":f", "ImportError: expected package.module:function"),
        ("broken:f", "RuntimeError: half a module"),
        ("exits:f", "SystemExit: 0"),
    ],
)
async def test_what_cannot_be_imported_is_told_apart(
    shop: Workshop, target: str, reason: str
) -> None:
    done = await call(shop, target)
    assert (done.outcome, done.exit_code, done.is_import_failure) == ("failed", 97, True)
    assert done.message.startswith(f"cannot import {target!r}: {reason}")


@pytest.mark.parametrize(
    ("target", "args", "exit_code", "message"),
    [
        ("work:boom", None, 1, "ValueError: no coffee"),
        ("work:add", {"c": 1}, 1, "TypeError: add() got an unexpected keyword argument 'c'"),
        ("work:add", 5, 1, "TypeError: args: expected an object or a list"),
        ("work:context", {"task": 1}, 1, "TypeError: args: 'task' is the name"),
        ("work:touch_inputs", None, 1, "TypeError: 'mappingproxy' object"),
        ("work:give", ["set"], 1, "TypeError: the result is not JSON"),
        ("work:give", ["nan"], 1, "TypeError: the result is not JSON"),
        ("work:give", ["big"], 1, "ValueError: the result has 70002 bytes"),
        ("work:leave", [4], 4, "exit code 4"),
        ("work:leave", [97], 97, "exit code 97"),
    ],
)
async def test_what_goes_wrong_in_the_function_fails_the_task(
    shop: Workshop, target: str, args: object, exit_code: int, message: str
) -> None:
    done = await call(shop, target, args)
    assert (done.outcome, done.exit_code, done.result) == ("failed", exit_code, None)
    assert done.message.startswith(message)
    assert not done.is_import_failure


async def test_the_traceback_in_the_log_starts_at_the_users_frames(shop: Workshop) -> None:
    await call(shop, "work:boom")
    assert "in boom" in shop.text()
    assert "no coffee" in shop.text()
    assert "federlib" not in shop.text()


async def test_arguments_are_neither_in_the_command_line_nor_in_the_environment(
    shop: Workshop,
) -> None:
    done = await call(shop, "work:seen", [])
    assert done.result == [["work:seen"], []]


async def test_bad_inputs_fail_the_task_in_words(shop: Workshop) -> None:
    done = await call(shop, "work:context", inputs=b"[1]")
    assert done.message == "ValueError: FEDERLIB_INPUTS: expected a JSON object"


def test_a_context_outside_a_run_is_empty() -> None:
    context = TaskContext.from_environ({})
    assert (context.run_id, context.attempt, dict(context.inputs)) == ("", 0, {})


def test_the_process_of_a_call_loads_no_heavy_library() -> None:
    code = (
        "import sys, federlib.cli.exec.call; "
        "print([m for m in ('anyio', 'attr', 'msgspec', 'asyncio', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"

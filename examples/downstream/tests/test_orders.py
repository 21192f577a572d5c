"""A handler meets commands of every shape: other leaders, older releases, typing errors."""

import anyio
import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from billing.orders import Till
from federlib.fencing import Actuation, Command
from federlib.testing import strategies


def act(till: Till, command: Command) -> Actuation:
    return anyio.run(till.act, command)


@given(strategies.of(Command))
def test_commands_of_others_change_nothing(command: Command) -> None:
    till = Till()
    assert act(till, replace(command, action="open")).status == "noop"
    assert till.cents == 0


@given(strategies.of(Command))
def test_arguments_that_make_no_sense_are_an_outcome_and_no_crash(command: Command) -> None:
    arguments = command.arguments()
    assume(not isinstance(arguments, dict) or "cents" not in arguments)
    till = Till()
    done = act(till, replace(command, action="charge"))
    assert done.status == "actuation_failed"
    assert till.cents == 0


@given(strategies.of(Command), st.integers(1, 10**9))
def test_a_charge_is_charged(command: Command, cents: int) -> None:
    till = Till()
    payload = msgspec.Raw(msgspec.json.encode({"cents": cents}))
    charge = replace(command, action="charge", payload=payload)
    assert act(till, charge) == Actuation("applied")
    assert till.cents == cents

"""One decision of a model, asked with facts: outputs alone, or with the record of them.

A decision whose logic is a table of facts goes a short way, on which no fact becomes a decimal;
every other one, and whatever the short way does not know, goes the long way through the
requirement graph. What both say is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from federlib.dmn.engine.decision import Decision, DecisionSource, hash_inputs
from federlib.dmn.feel.convert import canonical, from_python, to_python
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.values import Value
from federlib.dmn.tables.plain import Ask, PlainTable, copied
from federlib.dmn.tables.trace import TableWitness
from federlib.errors import InvalidInput

__all__ = ["Decider", "Evaluate", "InputHasher"]

Evaluate: TypeAlias = Callable[[Evaluation, Mapping[str, Value]], Value]
"""Evaluates a decision on values of FEEL."""

# Integers of so many digits are what they say; longer ones are rounded first.
_PLAIN_BELOW = 10**34

# Of texts that were spelled already; long ones, and whatever comes after so many, are not kept.
_MAX_KNOWN = 512
_MAX_KNOWN_CHARACTERS = 64


class InputHasher:
    """Hashes facts as `hash_inputs` does, without making values of FEEL of the usual ones.

    Args:
        names: Of the inputs that a decision requires.

    Attributes:
        look: Takes facts by name; gives the hash of the inputs among them, in hex, those that are
            missing being null, and whether all are what `to_python` would give, or equal to it.
            Raises `InvalidInput` where FEEL has no such value.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(sorted(set(names)))
        # `{"a":%s,"b":%s}`: the spelling of all of them, with a place for each value.
        spelled = [canonical(name).decode().replace("%", "%%") for name in self._names]
        self._template = "{" + ",".join(f"{name}:%s" for name in spelled) + "}"
        self.look: Callable[[Mapping[str, object]], tuple[str, bool]] = self._looking()

    def hash(self, facts: Mapping[str, object]) -> str:
        """Give the hash alone.

        Args:
            facts: As `look` takes them.
        """
        return self.look(facts)[0]

    def _looking(self) -> Callable[[Mapping[str, object]], tuple[str, bool]]:
        names, template, known = self._names, self._template, dict[str, str]()
        sha256 = hashlib.sha256

        def look(facts: Mapping[str, object]) -> tuple[str, bool]:
            spelled: list[object] = []
            are_plain = True
            for name in names:
                value = facts.get(name)
                # Classes, not subclasses: those may spell themselves as they like.
                if value.__class__ is str:
                    spelled.append(known.get(value) or _learn(known, value))
                elif value.__class__ is int and -_PLAIN_BELOW < value < _PLAIN_BELOW:
                    spelled.append(value)
                elif value.__class__ is float:
                    spelled.append(_float_text(value) or _text(name, value))
                else:
                    are_plain = are_plain and (value is None or value.__class__ is bool)
                    spelled.append(_text(name, value))
            return sha256((template % tuple(spelled)).encode()).hexdigest(), are_plain

        return look


_spell_float = msgspec.json.Encoder().encode


def _learn(known: dict[str, str], value: str) -> str:
    text = canonical(value).decode()
    if len(known) < _MAX_KNOWN and len(value) <= _MAX_KNOWN_CHARACTERS:
        known[value] = text
    return text


def _float_text(value: float) -> str | None:
    """Spell a float as its decimal is spelled; None: it has an exponent, or is no number."""
    # The shortest digits, as `repr` has them, at a quarter of its price; null for what is none.
    text = _spell_float(value).decode()
    if text[-2:] == ".0":
        return str(int(value))
    return None if "e" in text or "n" in text else text


def _text(name: str, value: object) -> str:
    return canonical(from_python(value, where=name)).decode()


class Decider:
    """One decision of a model. Safe to share between threads.

    Args:
        source: What decides.
        evaluate: The long way.
        inputs: The names of the inputs that the decision requires, whether itself or through
            other decisions.
        others: Other names of facts that may change what it decides: of decisions whose results
            may be given, and of what imported models require.
        table: The short way; None: there is none.

    Attributes:
        source: What decides.
        answer: The short way: takes facts and gives outputs that must not be changed, with the
            ids of rules; None where only the long way can tell.
    """

    def __init__(
        self,
        source: DecisionSource,
        evaluate: Evaluate,
        inputs: Sequence[str],
        others: Sequence[str],
        table: PlainTable | None,
    ) -> None:
        self.source: DecisionSource = source
        self._evaluate = evaluate
        self._inputs = tuple(inputs)
        self._relevant = (*inputs, *others)
        self._others = frozenset(others)
        self._look = InputHasher(inputs).look
        self.answer: Ask = _no_answer if table is None else table.answer

    def outputs(self, facts: Mapping[str, object], *, now_ns: int | None = None) -> object:
        """Decide, and give the outputs only.

        Args:
            facts: By name, as `from_python` takes them.
            now_ns: What `now()` says; Unix nanoseconds.
        Raises:
            InvalidInput: FEEL has no such value.
        """
        answer = self.answer(facts)
        if answer is None:
            return self.outputs_of(facts, now_ns)
        outputs = answer[0]
        # The usual case of `copied`, without a call.
        return outputs.copy() if outputs.__class__ is dict else copied(outputs)

    def outputs_of(self, facts: Mapping[str, object], now_ns: int | None) -> object:
        """Give the outputs on the long way."""
        return to_python(self._evaluate(Evaluation(now_ns=now_ns), self._values(facts)))

    def decide(
        self, facts: Mapping[str, object], *, trace: bool = False, now_ns: int | None = None
    ) -> Decision:
        """Decide, and give the record.

        Args:
            facts: By name, as `from_python` takes them.
            trace: Whether the record says why, cell by cell.
            now_ns: When it is decided, and what `now()` says; Unix nanoseconds.
        Raises:
            InvalidInput: FEEL has no such value.
        """
        answer = None if trace else self.answer(facts)
        if answer is None or (
            len(facts) != len(self._inputs) and not self._others.isdisjoint(facts)
        ):
            return self._decide_long(facts, now_ns=now_ns, explains=trace)
        outputs, matched, applied = answer
        inputs_hash, are_plain = self._look(facts)
        return Decision(
            self.source,
            outputs.copy() if outputs.__class__ is dict else copied(outputs),
            matched,
            applied,
            self._given(facts, are_plain=are_plain),
            inputs_hash,
            (),
            None,
            now_ns,
        )

    def _given(self, facts: Mapping[str, object], *, are_plain: bool) -> dict[str, object]:
        """Copy the inputs, of which none is missing, since the table has an answer."""
        if not are_plain:
            return {name: to_python(from_python(facts[name])) for name in self._inputs}
        if facts.__class__ is dict and len(facts) == len(self._inputs):
            return facts.copy()
        return {name: facts[name] for name in self._inputs}

    def _decide_long(
        self, facts: Mapping[str, object], *, now_ns: int | None, explains: bool
    ) -> Decision:
        values = self._values(facts)
        witness = TableWitness(explains=explains, now_ns=now_ns)
        ev = Evaluation(now_ns=now_ns, witness=witness)
        value = self._evaluate(ev, values)
        problems = list(ev.problems)
        if ev.uncounted:
            problems.append(f"… and {ev.uncounted} more")
        matched: tuple[str, ...] = ()
        applied: tuple[str, ...] = ()
        if witness.last is not None:
            table, result = witness.last
            matched = tuple(map(table.rule_id, result.matched))
            applied = tuple(map(table.rule_id, result.applied))
        return Decision(
            source=self.source,
            outputs=to_python(value),
            matched=matched,
            applied=applied,
            inputs={name: to_python(each) for name, each in values.items()},
            inputs_hash=hash_inputs({**dict.fromkeys(self._inputs), **values}),
            problems=tuple(problems),
            trace=tuple(witness.traces) if explains else None,
            decided_at_ns=now_ns,
        )

    def _values(self, facts: Mapping[str, object]) -> dict[str, Value]:
        """Convert the facts that matter; whoever has a large event may pass it as it is."""
        if not isinstance(facts, Mapping):
            raise InvalidInput("facts", expected="a mapping of values by name", found=facts)
        return {
            name: from_python(facts[name], where=name) for name in self._relevant if name in facts
        }


def _no_answer(facts: Mapping[str, object]) -> None:
    del facts

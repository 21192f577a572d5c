"""One decision of a model, asked with facts: outputs alone, or with the record of them.

A decision whose logic is a table of facts goes a short way, on which no fact becomes a decimal;
every other one, and whatever the short way does not know, goes the long way through the
requirement graph. What both say is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from federlib.dmn.decision import Decision, DecisionSource, hash_inputs
from federlib.dmn.feel.convert import canonical, from_python, to_python
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.values import Value
from federlib.dmn.plain import PlainTable, copied
from federlib.dmn.trace import TableWitness
from federlib.errors import InvalidInput

__all__ = ["Decider", "Evaluate", "InputHasher"]

Evaluate: TypeAlias = Callable[[Evaluation, Mapping[str, Value]], Value]
"""Evaluates a decision on values of FEEL."""

# Below, a float is spelled as its decimal is; and so is every whole one as its integer.
_PLAIN_BELOW = 1e15
_PLAIN_FROM = 1e-4


class InputHasher:
    """Hashes facts as `hash_inputs` does, without making values of FEEL of the usual ones.

    Args:
        names: Of the inputs that a decision requires.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names: list[tuple[str, str]] = []
        for place, name in enumerate(sorted(set(names))):
            # `{"name":`, and `,"name":` for all but the first.
            spelled = canonical({name: None}).decode().removesuffix("null}")
            self._names.append((name, spelled if place == 0 else f",{spelled[1:]}"))

    def hash(self, facts: Mapping[str, object]) -> str:
        """Hash the inputs among some facts; those that are missing are null.

        Raises:
            InvalidInput: FEEL has no such value.
        """
        parts = []
        for name, begin in self._names:
            value = facts.get(name)
            # Classes, not subclasses: those may spell themselves as they like.
            if value.__class__ is str:
                # Nothing in it that needs an escape.
                if value.isprintable() and '"' not in value and "\\" not in value:
                    parts.append(f'{begin}"{value}"')
                    continue
            elif value.__class__ is int:
                if -_PLAIN_BELOW < value < _PLAIN_BELOW:
                    parts.append(f"{begin}{value}")
                    continue
            elif value.__class__ is float and _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
                whole = int(value)
                parts.append(f"{begin}{whole if whole == value else repr(value)}")
                continue
            parts.append(begin + canonical(from_python(value, where=name)).decode())
        parts.append("}" if parts else "{}")
        return hashlib.sha256("".join(parts).encode()).hexdigest()


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
        self._hash = InputHasher(inputs).hash
        self._answer = _no_answer if table is None else table.answer

    def outputs(self, facts: Mapping[str, object], *, now_ns: int | None = None) -> object:
        """Decide, and give the outputs only.

        Args:
            facts: By name, as `from_python` takes them.
            now_ns: What `now()` says; Unix nanoseconds.
        Raises:
            InvalidInput: FEEL has no such value.
        """
        answer = self._answer(facts)
        if answer is None:
            values = self._values(facts)
            return to_python(self._evaluate(Evaluation(now_ns=now_ns), values))
        outputs = answer[0]
        # The usual case of `copied`, without a call.
        return outputs.copy() if outputs.__class__ is dict else copied(outputs)

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
        answer = None if trace else self._answer(facts)
        if answer is None:
            return self._decide_long(facts, now_ns=now_ns, explains=trace)
        outputs, matched, applied = answer
        return Decision(
            self.source,
            outputs.copy() if outputs.__class__ is dict else copied(outputs),
            matched,
            applied,
            {name: facts[name] for name in self._inputs if name in facts},
            self._hash(facts),
            (),
            None,
            now_ns,
        )

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

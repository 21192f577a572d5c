"""What a decision costs, beside an if-chain written by hand and beside other rule engines.

Each ratio is the median of alternating rounds: whatever else the machine does falls on all sides
alike. Outputs alone and the full record (outputs, ids of the rules, hash of the inputs, version)
are measured apart; so is zen-engine without and with its trace, through its static loader. Every
engine gives what the if-chain gives, or is not measured.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.children import ChildError, answer, program
from benchmarks.dmn_peers import PEERS, Engine, zen_static
from benchmarks.dmn_tables import Facts, as_model, facts_for, if_chain, rows_of
from benchmarks.table import Row
from federlib.dmn import compile_model

_SMALL, _LARGE, _HUGE = (12, 3), (1_000, 25), (100_000, 2_500)
_CHECKED = 32

Times = Mapping[str, list[float]]


def _alternate(engines: Mapping[str, Engine], facts: Sequence[Facts], rounds: int) -> Times:
    """Ask all engines in turn; nanoseconds a decision, round by round."""
    found: dict[str, list[float]] = {name: [] for name in engines}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, engine in engines.items():
                # Who comes after an engine of a thousand branches finds the caches full of it.
                for each in facts:
                    engine(each)
                began = time.perf_counter_ns()
                for each in facts:
                    engine(each)
                found[name].append((time.perf_counter_ns() - began) / len(facts))
    finally:
        gc.enable()
    return found


def _ratio(times: Times, ours: str, peer: str) -> float:
    pairs = zip(times[ours], times[peer], strict=True)
    return round(statistics.median(one / other for one, other in pairs), 5)


def _speed(size: tuple[int, int], *, quick: bool) -> Iterator[Row]:
    rules = size[0]
    rows, rounds = rows_of(*size), 21 if quick else 201
    facts = facts_for(rows)
    chain, model = if_chain(rows), compile_model(as_model(rows))
    engines: dict[str, Engine] = {
        "chain": chain,
        "outputs": model.outputs,
        "decider": model.decider().outputs,
        "record": model.decide,
    }
    try:
        engines |= {"zen": zen_static(rows), "zen trace": zen_static(rows, trace=True)}
    except ImportError as error:
        missing = str(error)
    else:
        missing = ""
    for each in facts:
        for name, engine in engines.items():
            if name != "record":
                _agree(name, engine, chain, each)
    times = _alternate(engines, facts, rounds)
    evidence = f"median of {rounds} alternating rounds of {len(facts)} decisions"
    small = size == _SMALL

    def row(ours: str, peer: str, what: str, told: str, bar: float | None) -> Row:
        has_peer = peer in times
        return Row(
            f"{what}, {rules:,} rules",
            round(statistics.median(times[ours]) / 1e3, 3) if has_peer else None,
            "µs",
            told,
            _ratio(times, ours, peer) if has_peer else None,
            bar=bar,
            evidence=evidence,
            note="" if has_peer else missing,
        )

    chained, static = "an if-chain", "zen-engine, static loader"
    yield row("outputs", "chain", "outputs", chained, 4.0 if small else 0.4)
    yield row("decider", "chain", "outputs, from a decider", chained, None)
    yield row("outputs", "zen", "outputs", static, 1 / 6 if small else 1 / 5)
    yield row("record", "chain", "full record", chained, None)
    yield row("record", "zen trace", "full record", f"{static}, trace", 1 / 4 if small else 1 / 20)


def _agree(name: str, engine: Engine, chain: Engine, facts: Facts) -> None:
    if engine(facts) != chain(facts):
        raise ValueError(f"{name} gives {engine(facts)}, not {chain(facts)}, for {facts}")


def _peers(size: tuple[int, int], *, quick: bool) -> Iterator[Row]:
    rows = rows_of(*size)
    facts = facts_for(rows)[:: 32 if quick else 8]
    chain, model = if_chain(rows), compile_model(as_model(rows))
    for name, make in PEERS.items():
        title = f"outputs, {size[0]:,} rules"
        if name == "pyDMNrules" and (quick or size != _SMALL):
            continue  # its import takes half a minute, and a thousand rules 13 s
        try:
            engine = make(rows)
            for each in facts[:_CHECKED]:
                _agree(name, engine, chain, each)
        except ImportError as error:
            yield Row(title, None, "µs", name, None, note=str(error))
            continue
        rounds = 3 if quick else 9
        times = _alternate({"ours": model.outputs, "peer": engine}, facts, rounds)
        yield Row(
            title,
            round(statistics.median(times["ours"]) / 1e3, 3),
            "µs",
            name,
            _ratio(times, "ours", "peer"),
            evidence=f"median of {rounds} alternating rounds of {len(facts)} decisions",
        )


def _growth(*, quick: bool) -> Iterator[Row]:
    sizes = (_SMALL, _LARGE) if quick else (_SMALL, _LARGE, _HUGE)
    asked: dict[str, tuple[Engine, Sequence[Facts]]] = {}
    for size in sizes:
        rows = rows_of(*size)
        asked[str(size[0])] = compile_model(as_model(rows)).outputs, facts_for(rows) * 4
    rounds = 21 if quick else 101
    times: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(rounds):
        for name, (engine, facts) in asked.items():
            times[name] += _alternate({name: engine}, facts, 1)[name]
    for low, high, bar in (("12", "1000", 1.6), ("1000", "100000", 3.0)):
        if high in times:
            yield Row(
                f"growth, {int(low):,} to {int(high):,} rules",
                round(statistics.median(times[high]) / 1e3, 3),
                "µs",
                f"itself, {int(low):,} rules",
                _ratio(times, high, low),
                bar=bar,
                evidence=f"median of {rounds} alternating rounds, outputs only",
            )


def _costs(*, quick: bool) -> Iterator[Row]:
    def cost(name: str, unit: str, bar: float, key: str, *arguments: object) -> Row:
        try:
            value = answer(program("dmn_costs", *arguments), timeout_s=600.0)[key]
        except ChildError as error:
            return Row(name, None, unit, "", None, bar=bar, bar_on="value", note=str(error))
        return Row(
            name, round(value, 3), unit, "", None, bar=bar, bar_on="value",
            evidence="one process of its own",
        )  # fmt: skip

    yield cost("import federlib.dmn, median of 5", "s of CPU", 0.15, "s", "import")
    yield cost("compile 1,000 rules", "s", 0.2, "s", "compile", 1_000)
    yield cost("memory, 1,000 rules", "B a rule", 4_096, "bytes_a_rule", "compile", 1_000)
    if not quick:
        yield cost("compile 100,000 rules", "s", 15.0, "s", "compile", 100_000)
        yield cost("memory, 100,000 rules", "B a rule", 4_096, "bytes_a_rule", "compile", 100_000)
    rounds = 50 if quick else 1_000
    yield cost(f"{rounds:,} reloads of 1,000 rules", "MB", 5.0, "grown_mb", "reloads", rounds)


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Measure."""
    for size in (_SMALL, _LARGE):
        yield from _speed(size, quick=quick)
    yield from _growth(quick=quick)
    yield from _costs(quick=quick)
    for size in (_SMALL, _LARGE):
        yield from _peers(size, quick=quick)


if __name__ == "__main__":
    for row in rows():
        print(f"{row.name:36} {row.value} {row.unit} {row.ratio}x {row.peer}  {row.verdict}")

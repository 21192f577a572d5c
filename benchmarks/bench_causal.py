"""How often the causal gate is right, and what it costs.

Right: simulated fleets (`causal_worlds`) whose seeds were never used while anything was
tuned (that was done on 0 to 199; 10,000 to 10,999 and 20,000 to 20,199 had been looked at
before the last change, and are spent). Beside it what others would make of the same series: a
plain t-test before and after, and one on the difference of the groups, neither of which
knows that neighbouring samples resemble each other.

Cost: d-separation beside networkx on the same graphs; the rest without a peer.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks.causal_worlds import AT_LEAST_MS, BEFORE, Episode, Kind, episode, hypothesis
from benchmarks.table import Row
from federlib.causal import (
    Evidence,
    GateConfig,
    Hypothesis,
    Verdict,
    Watched,
    examine,
    judge,
    measure_effect,
)
from federlib.graph import Graph, is_separated

_SEEDS = range(1_000_000, 1_001_000)
_ENFORCED = GateConfig(mode="enforced")
_KNOWING = GateConfig(mode="enforced", confounders={"restart_many": ("load",)})
_WANTED = 0.95
_KINDS: tuple[tuple[Kind, str], ...] = (("confounded", "refused"), ("causal", "passed"))

Passes = Callable[[Episode], bool]


def _gate(
    stated: Hypothesis, *, looks_at_load: bool = True, config: GateConfig = _ENFORCED
) -> Passes:
    def passes(found: Episode) -> bool:
        treated, control = (found.treated, found.control) if looks_at_load else found.without_load()
        return not _judged(treated, control, stated, config).is_refused

    return passes


def _judged(
    treated: Watched,
    control: Watched,
    stated: Hypothesis,
    config: GateConfig,
    *,
    average: int = 1,
) -> Verdict:
    evidence = Evidence(
        hypothesis_id=stated.hypothesis_id,
        measured=measure_effect(treated, control, at=BEFORE, average=average),
        source="simulated",
        observed_at_ns=0,
        recorded_at_ns=0,
        author="bench",
    )
    return judge("restart_many", stated, config=config, now_ns=1, evidence=evidence)


def _t_test(series: Sequence[float]) -> bool:
    """Say whether a t-test for independent samples sees a fall, and one that is large enough."""
    before, after = series[:BEFORE], series[BEFORE:]
    change = statistics.fmean(after) - statistics.fmean(before)
    spread = math.sqrt(
        statistics.variance(before) / len(before) + statistics.variance(after) / len(after)
    )
    return change + 1.98 * spread < 0 and change - 1.98 * spread <= -AT_LEAST_MS


def _before_after(found: Episode) -> bool:
    return _t_test(found.treated.outcome)


def _difference(found: Episode) -> bool:
    pairs = zip(found.treated.outcome, found.control.outcome, strict=True)
    return _t_test([one - other for one, other in pairs])


_BLIND = hypothesis(is_load_known=False)
_WAYS: tuple[tuple[str, Passes], ...] = (
    ("t-test before and after", _before_after),
    ("t-test on the difference of the groups", _difference),
    ("gate; load neither stated nor required", _gate(_BLIND, looks_at_load=False)),
    ("gate; load required, not stated", _gate(_BLIND, looks_at_load=False, config=_KNOWING)),
    ("gate; load stated, not adjusted for", _gate(hypothesis(adjustment=()))),
    ("gate; load stated and adjusted for", _gate(hypothesis())),
)  # fmt: skip


def _rates(*, quick: bool) -> Iterator[Row]:
    seeds = _SEEDS[:40] if quick else _SEEDS
    for kind, verb in _KINDS:
        shares = _shares(kind, seeds)
        plain = shares[_WAYS[0][0]]
        for name, _ in _WAYS:
            share = shares[name]
            is_ours = name == _WAYS[-1][0]
            yield Row(
                f"{kind} restarts {verb}: {name}", round(share, 4), "share", _WAYS[0][0],
                round(share / plain, 3) if plain else None, bar=_WANTED if is_ours else None,
                bar_on="value", higher_is_better=True,
                evidence=f"{len(seeds)} seeds from {seeds[0]}, none of them tuned on",
            )  # fmt: skip


def _shares(kind: Kind, seeds: Sequence[int]) -> dict[str, float]:
    counts = dict.fromkeys((name for name, _ in _WAYS), 0)
    for seed in seeds:
        found = episode(kind, seed)
        for name, passes in _WAYS:
            counts[name] += passes(found) == (kind == "causal")
    return {name: count / len(seeds) for name, count in counts.items()}


def _badly_read(*, quick: bool) -> Iterator[Row]:
    """Tell what comes of a load that is read with much noise, and of averaging it."""
    seeds = _SEEDS[:40] if quick else _SEEDS[:300]
    stated = hypothesis()
    for kind in _KINDS:
        for average in (1, 3):
            right = 0
            for seed in seeds:
                found = episode(kind[0], seed, blur=15.0)
                verdict = _judged(found.treated, found.control, stated, _ENFORCED, average=average)
                right += verdict.is_refused == (kind[0] == "confounded")
            how = "as it is read" if average == 1 else f"averaged over {average} samples"
            yield Row(
                f"{kind[0]} restarts {kind[1]}: load read with noise of 15 %, {how}",
                round(right / len(seeds), 3), "share", "", None, higher_is_better=True,
                evidence=f"{len(seeds)} seeds from {seeds[0]}",
            )  # fmt: skip


def _remembering(rng: random.Random, samples: int, keeps: float) -> list[float]:
    fresh = math.sqrt(1 - keeps * keeps)
    found = [rng.gauss(0, 1)]
    while len(found) < samples:
        found.append(keeps * found[-1] + rng.gauss(0, fresh))
    return found


def _coverage(*, quick: bool) -> Iterator[Row]:
    runs = 50 if quick else 1_000
    kinds = [(keeps, 0.0) for keeps in (0.0, 0.5, 0.8, 0.9, 0.95)] + [(0.9, 0.6), (0.97, 0.6)]
    for keeps, fast in kinds:
        for covariates in (0, 1, 3):
            rng = random.Random(f"coverage {keeps} {fast} {covariates}")
            ours = plain = 0
            for _ in range(runs):
                columns = {f"c{k}": _remembering(rng, 150, 0.9) for k in range(covariates)}
                slow = math.sqrt(1 - fast * fast)
                noise = [
                    slow * each + fast * rng.gauss(0, 1) for each in _remembering(rng, 150, keeps)
                ]
                series = [sum(column) for column in zip(noise, *columns.values(), strict=True)]
                found = measure_effect(Watched(series, columns), at=BEFORE)
                ours += found.low <= 0 <= found.high
                before, after = noise[:BEFORE], noise[BEFORE:]
                change = statistics.fmean(after) - statistics.fmean(before)
                spread = math.sqrt(
                    statistics.variance(before) / 90 + statistics.variance(after) / 60
                )
                plain += abs(change) <= 1.98 * spread
            named = f"noise keeps {keeps:g}" + (" under fast noise" if fast else "")
            yield Row(
                f"95 % interval holds the truth: {named}, {covariates} covariates",
                round(ours / runs, 3), "share", "a t-test for independent samples",
                round(ours / max(plain, 1), 3), bar=None if fast else 0.92, bar_on="value",
                higher_is_better=True, evidence=f"{runs} series of {BEFORE} and 60 samples",
            )  # fmt: skip


def _graphs() -> list[tuple[Graph, int, int, tuple[int, ...]]]:
    rng = random.Random(11)
    found = []
    for _ in range(50):
        parents = {
            f"n{k}": [f"n{j}" for j in range(k) if rng.random() < 3 / (k + 1)] for k in range(30)
        }
        one, other, *given = rng.sample(range(30), 5)
        found.append((Graph.build(parents), one, other, tuple(given)))
    return found


def _us(step: Callable[[], object], calls: int) -> float:
    began = time.perf_counter_ns()
    for _ in range(calls):
        step()
    return (time.perf_counter_ns() - began) / calls / 1_000


def _costs(*, quick: bool) -> Iterator[Row]:
    rounds = 5 if quick else 41
    cases = _graphs()

    def ours() -> list[bool]:
        return [is_separated(graph, (a,), (b,), given) for graph, a, b, given in cases]

    yield _separation(cases, ours, rounds)
    stated, found = hypothesis(adjustment=()), episode("causal", 1)
    shown = _judged(found.treated, found.control, stated, _ENFORCED).evidence
    for name, step, calls in (
        ("examine a hypothesis, 6 nodes", lambda: examine(stated), 50),
        (
            "judge a command, evidence at hand",
            lambda: judge("restart_many", stated, config=_ENFORCED, now_ns=1, evidence=shown),
            50,
        ),
        (
            "measure an effect, 150 samples, 1 covariate",
            lambda: measure_effect(found.treated, found.control, at=BEFORE),
            5,
        ),
    ):
        times = [_us(step, calls) for _ in range(rounds)]
        yield Row(
            f"causal: {name}", round(statistics.median(times), 1), "us", "", None,
            evidence=f"median of {rounds} rounds",
        )  # fmt: skip


def _separation(
    cases: Sequence[tuple[Graph, int, int, tuple[int, ...]]],
    ours: Callable[[], list[bool]],
    rounds: int,
) -> Row:
    name = "d-separation, 30 nodes"
    try:
        import networkx as nx
    except ImportError:
        return Row(
            name, round(_us(ours, rounds) / len(cases), 2), "us", "networkx", None,
            note="networkx is not installed",
        )  # fmt: skip
    foreign = []
    for graph, *_ in cases:
        made: nx.DiGraph[int] = nx.DiGraph()
        made.add_nodes_from(range(len(graph)))
        made.add_edges_from((p, n) for n in range(len(graph)) for p in graph.parents_of(n))
        foreign.append(made)

    def theirs() -> list[bool]:
        return [
            nx.is_d_separator(made, {a}, {b}, set(given))
            for made, (_, a, b, given) in zip(foreign, cases, strict=True)
        ]

    assert ours() == theirs()
    pairs = [(_us(ours, 1), _us(theirs, 1)) for _ in range(rounds)]
    return Row(
        name, round(statistics.median(one for one, _ in pairs) / len(cases), 2), "us",
        f"networkx {nx.__version__}", round(statistics.median(a / b for a, b in pairs), 3),
        bar=1.0, evidence=f"median of {rounds} alternating rounds of {len(cases)} graphs",
    )  # fmt: skip


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Measure how often it is right, and what it costs."""
    yield from _rates(quick=quick)
    yield from _badly_read(quick=quick)
    yield from _coverage(quick=quick)
    yield from _costs(quick=quick)


if __name__ == "__main__":
    for row in rows():
        print(f"{row.name:75} {row.value:>8} {row.unit:6} {row.ratio}x  {row.verdict}")

"""The gate itself: what is disruptive, what is asked for, and what each mode makes of it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal.examples import SOUND, changed, evidence, measured
from federlib.causal import (
    Evidence,
    GateConfig,
    Hypothesis,
    Mode,
    ScaleDown,
    TrackRecord,
    Verdict,
    is_disruptive,
    judge,
)
from federlib.causal.gate import mode_for
from federlib.errors import InvalidInput
from federlib.testing import strategies as fed

ENFORCED = GateConfig(mode="enforced")
NOW = 1_000_000_000
DAY = 86_400 * 1_000_000_000


def judged(
    hypothesis: Hypothesis | None = SOUND,
    shown: Evidence | None = None,
    *,
    config: GateConfig = ENFORCED,
    action: str = "restart_many",
    now_ns: int = NOW,
    track: TrackRecord | None = None,
) -> Verdict:
    return judge(
        action,
        hypothesis,
        config=config,
        now_ns=now_ns,
        causal_id="leak-restart",
        evidence=evidence() if shown is None else shown,
        track=track,
    )


def payload(**fields: object) -> bytes:
    return msgspec.json.encode(fields)


@pytest.mark.parametrize(
    ("action", "arguments", "expected"),
    [
        ("restart_many", b"null", True),
        ("isolate_node", payload(node="a"), True),
        ("restart_one", b"null", False),
        ("scale", payload(**{"from": 8, "n": 8}), False),
        ("scale", payload(**{"from": 8, "n": 20}), False),
        ("scale", payload(**{"from": 8, "n": 6}), False),  # a quarter is allowed
        ("scale", payload(**{"from": 8, "n": 5}), True),
        ("scale_down", payload(**{"from": 8, "n": 5}), True),
        ("scale", payload(**{"from": 2, "n": 1}), False),  # one fewer
        ("scale", payload(**{"from": 1, "n": 0}), True),  # below the floor
        ("scale", payload(**{"from": 100, "n": 90}), False),
        ("scale", payload(**{"from": 100, "n": 89}), True),  # more than ten
        ("scale", payload(n=5), True),  # nobody can say that it is not
        ("scale", payload(**{"from": 8.0, "n": 8}), True),
        ("scale", payload(**{"from": True, "n": 8}), True),
        ("scale", b"[8, 8]", True),
        ("scale", b"not json", True),
        ("scale", b"[" * 5_000, True),
    ],
)
def test_what_is_disruptive(action: str, arguments: bytes, *, expected: bool) -> None:
    assert is_disruptive(ENFORCED, action, arguments) == expected


def test_the_thresholds_are_the_hosts() -> None:
    config = GateConfig(
        disruptive=frozenset({"drain"}),
        scale_down=ScaleDown(
            actions=frozenset({"resize"}), present="now", target="to", max_share=0.5, floor=3
        ),
    )
    assert is_disruptive(config, "drain", b"null")
    assert not is_disruptive(config, "restart_many", b"null")
    assert not is_disruptive(config, "resize", payload(now=8, to=4))
    assert is_disruptive(config, "resize", payload(now=8, to=3))
    assert is_disruptive(config, "resize", payload(now=3, to=2))
    assert not is_disruptive(GateConfig(scale_down=None), "scale", payload(n=0))


def test_a_sound_hypothesis_with_evidence_passes() -> None:
    verdict = judged()
    assert (verdict.ruling, verdict.reasons) == ("passed", ())
    assert verdict.evidence == evidence()
    assert len(verdict.digest) == 64


@pytest.mark.parametrize(
    ("hypothesis", "shown", "reason"),
    [
        (None, None, "no hypothesis 'leak-restart' was ever stated"),
        (changed(action="isolate_node"), None, "the hypothesis is about 'isolate_node'"),
        (changed(expires_at_ns=NOW), None, "the hypothesis has expired"),
        (changed(adjustment=()), None, "leaves open restart <- alarm <- load -> latency"),
        (SOUND, evidence(measured=measured(adjusted_for=())), "was not adjusted for load"),
        (SOUND, evidence(measured=measured(low=-20.0, high=2.0)), "does not bear out"),
        (SOUND, evidence(measured=measured(effect=-2.0, low=-4.0, high=-1.0)), "contradicts"),
        (SOUND, evidence(measured=measured(effect=9.0, low=6.0, high=12.0)), "contradicts"),
        (
            SOUND,
            evidence(measured=measured(placebo_low=-9.0, placebo_high=-2.0)),
            "moved the expected way before the action, too (by 2 to 9 ms)",
        ),
        (
            SOUND,
            evidence(measured=measured(placebo_low=None, placebo_high=None)),
            "before the action cannot be told",
        ),
    ],
)
def test_each_reason_refuses(
    hypothesis: Hypothesis | None, shown: Evidence | None, reason: str
) -> None:
    verdict = judged(hypothesis, shown)
    assert verdict.is_refused
    assert reason in verdict.reason


def test_a_move_before_the_action_counts_where_it_is_not_small_beside_the_effect() -> None:
    small = evidence(measured=measured(placebo_low=-3.0, placebo_high=-1.0))
    assert judged(SOUND, small).ruling == "passed"
    large = evidence(measured=measured(placebo_low=-4.0, placebo_high=-1.0))
    assert judged(SOUND, large).is_refused


def test_without_a_name_or_evidence_it_says_so() -> None:
    nameless = judge("restart_many", None, config=ENFORCED, now_ns=NOW)
    assert nameless.reason == "no hypothesis: a disruptive command names one as causal_id"
    bare = judge("restart_many", SOUND, config=ENFORCED, now_ns=NOW)
    assert bare.reason == "no evidence: the effect was never measured"
    asked_for_none = GateConfig(mode="enforced", needs_evidence=False)
    assert judge("restart_many", SOUND, config=asked_for_none, now_ns=NOW).ruling == "passed"


def test_an_increase_that_was_expected_is_read_the_other_way_round() -> None:
    expected = msgspec.structs.replace(SOUND.expected, direction="increase")
    up = evidence(measured=measured(effect=12.0, low=9.0, high=15.0))
    assert judged(changed(expected=expected), up).ruling == "passed"
    assert judged(changed(expected=expected)).is_refused
    before = evidence(
        measured=measured(effect=12.0, low=9.0, high=15.0, placebo_low=2.0, placebo_high=3.0)
    )
    assert judged(changed(expected=expected), before).is_refused


def test_a_common_cause_that_fooled_the_fleet_before_has_to_be_weighed() -> None:
    config = GateConfig(mode="enforced", confounders={"restart_many": ("deploys", "load")})
    verdict = judged(config=config)
    assert len(verdict.reasons) == 1
    assert verdict.reason.startswith("graph: every hypothesis about 'restart_many' has to weigh")
    assert "'deploys'" in verdict.reason


def test_evidence_grows_old_unless_the_hypothesis_has_earned_trust() -> None:
    later = NOW + 31 * DAY
    assert "31 days old" in judged(now_ns=later).reason
    earned = TrackRecord(hypothesis_id="leak-restart", supported=4, refuted=1)
    assert judged(now_ns=later, track=earned).ruling == "passed"
    mixed = TrackRecord(hypothesis_id="leak-restart", supported=3, refuted=1)
    assert judged(now_ns=later, track=mixed).is_refused
    assert judged(
        now_ns=later, track=mixed, config=GateConfig(mode="enforced", earned=1)
    ).is_refused


def test_a_bad_track_record_refuses_whatever_the_evidence_says() -> None:
    bad = TrackRecord(hypothesis_id="leak-restart", supported=2, refuted=2)
    assert judged(track=bad).reason == "track record: refuted 2 times and borne out 2 times"
    good = TrackRecord(hypothesis_id="leak-restart", supported=3, refuted=2)
    assert judged(track=good).ruling == "passed"
    once = TrackRecord(hypothesis_id="leak-restart", refuted=1)
    assert judged(track=once).ruling == "passed"


def test_single_actions_have_modes_of_their_own() -> None:
    config = GateConfig(mode="enforced", modes={"restart_many": "advisory", "scale": "off"})
    assert [mode_for(config, each) for each in ("restart_many", "scale", "isolate_node")] == [
        "advisory",
        "off",
        "enforced",
    ]
    assert judged(None, config=config).ruling == "advised"


@settings(max_examples=60, deadline=None)
@given(
    fed.of(Hypothesis) | st.just(SOUND) | st.none(),
    fed.of(Evidence) | st.just(evidence()) | st.none(),
    fed.of(TrackRecord) | st.none(),
    st.sampled_from(["advisory", "enforced"]),
)
def test_whatever_it_is_shown_it_rules_by_its_reasons_and_the_mode(
    hypothesis: Hypothesis | None,
    shown: Evidence | None,
    track: TrackRecord | None,
    mode: Mode,
) -> None:
    verdict = judge(
        "restart_many",
        hypothesis,
        config=GateConfig(mode=mode),
        now_ns=NOW,
        evidence=shown,
        track=track,
    )
    if not verdict.reasons:
        assert verdict.ruling == "passed"
    else:
        assert verdict.ruling == ("refused" if mode == "enforced" else "advised")
    assert Verdict.decode(verdict.encode()) == verdict
    if hypothesis is None or shown is None:
        assert verdict.reasons


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "on"},
        {"modes": {"scale": "maybe"}},
        {"modes": None},
        {"confounders": ["load"]},
        {"scale_down": "scale"},
        {"disruptive": "restart_many"},
        {"disruptive": frozenset({1})},
        {"confounders": {"restart_many": "load"}},
        {"needs_evidence": "no"},
        {"evidence_max_age_s": 0},
        {"evidence_max_age_s": float("nan")},
        {"evidence_max_age_s": float("inf")},
        {"earned": 0},
        {"max_refuted": -1},
        {"max_refuted": True},
    ],
)
def test_settings_that_mean_nothing_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=f"^{next(iter(fields))}\\b"):
        GateConfig(**fields)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize(
    "fields",
    [
        {"max_share": 1.5},
        {"max_share": float("nan")},
        {"max_step": -1},
        {"floor": 1.5},
        {"present": "n"},
        {"present": None},
        {"target": ""},
    ],
)
def test_thresholds_that_mean_nothing_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        ScaleDown(**fields)  # type: ignore[arg-type]  # that is the test


def test_what_is_no_verdict_is_refused() -> None:
    with pytest.raises(InvalidInput):
        Verdict.decode(b'{"ruling": "maybe", "mode": "off"}')
    with pytest.raises(InvalidInput):
        Verdict.decode(b"\xff")

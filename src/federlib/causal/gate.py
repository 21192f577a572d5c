"""`judge`: whether a disruptive command may be issued, on what is stated and measured.

Pure: what the hypothesis, its evidence and its track record are, somebody else has read.

Source: HA plan §5 (hypothesis metadata for `restart_many`, `isolate_node`, aggressive
scale-down; advisory mode, then enforced).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import attrs
import msgspec
from attrs.validators import optional

from federlib._bounds import boolean, instance, integer, number
from federlib.causal.consistency import examine
from federlib.causal.effect import assess
from federlib.causal.records import (
    Evidence,
    Hypothesis,
    Measured,
    Mode,
    Ruling,
    TrackRecord,
    Verdict,
    digest,
)
from federlib.errors import InvalidInput

__all__ = ["DISRUPTIVE", "GateConfig", "ScaleDown", "is_disruptive", "judge", "mode_for"]

DISRUPTIVE = frozenset({"restart_many", "isolate_node"})
"""Actions that are disruptive whatever their arguments; by the HA plan."""

_NS = 1_000_000_000
_MOST_REASONS = 12
"""So that a verdict has room in the record of a command, whatever is in them."""
_MANY = 10**9
"""More machines, or commands, than anybody has."""
_PLACEBO_SHARE = 0.2
_MODES = get_args(Mode)


@attrs.frozen(kw_only=True)
class ScaleDown:
    """When scaling down is aggressive: by either of two limits, or below a floor.

    A command whose payload does not tell both sizes is taken for aggressive: nobody can
    say that it is not.

    Attributes:
        actions: Which actions scale.
        present: The field of the payload with the size before.
        target: The field with the size asked for.
        max_share: More than this share of the present size at once is aggressive.
        max_step: So is more than this many at once.
        floor: So is whatever leaves fewer than this.
    """

    actions: frozenset[str] = frozenset({"scale", "scale_down"})
    present: str = "from"
    target: str = "n"
    max_share: float = attrs.field(default=0.25, validator=number(0, 1))
    max_step: int = attrs.field(default=10, validator=integer(0, _MANY))
    floor: int = attrs.field(default=1, validator=integer(0, _MANY))

    def __attrs_post_init__(self) -> None:
        """Refuse limits that mean nothing."""
        object.__setattr__(self, "actions", _names(self.actions, "actions"))
        for field in ("present", "target"):
            found = getattr(self, field)
            if type(found) is not str or not found:
                raise InvalidInput(field, expected="the name of a field", found=found)
        if self.present == self.target:
            # Nothing would ever scale down.
            raise InvalidInput("target", expected="another field than present", found=self.target)

    def is_aggressive(self, payload: object) -> bool:
        """Say whether the arguments of a command scale down too far at once.

        One machine fewer is never aggressive, unless it goes below the floor.
        """
        if not isinstance(payload, Mapping):
            return True
        present, target = payload.get(self.present), payload.get(self.target)
        if type(present) is not int or type(target) is not int:
            return True
        step = present - target
        if step <= 0:
            return False
        if target < self.floor:
            return True
        return step > self.max_step or (step > 1 and step > self.max_share * present)


@attrs.frozen(kw_only=True)
class GateConfig:
    """What the gate asks for, and how strictly.

    Attributes:
        mode: `off` judges nothing; `advisory` writes down what is wrong and lets it pass;
            `enforced` refuses.
        modes: Another mode for single actions.
        disruptive: Actions that need a hypothesis whatever their arguments.
        scale_down: When scaling needs one; None: never.
        confounders: For an action, the common causes that every hypothesis about it must
            have in its graph: those that have fooled this fleet before.
        needs_evidence: Whether the effect must have been measured.
        evidence_max_age_s: How old evidence may be; seconds.
        earned: A hypothesis that was borne out this often, and more than three times as
            often as it was refuted, needs no fresh evidence: the old will do.
        max_refuted: Once a hypothesis was refuted more often than this and no less often
            than it was supported, it carries nothing any more.
    """

    mode: Mode = "advisory"
    modes: Mapping[str, Mode] = attrs.field(factory=dict)
    disruptive: frozenset[str] = DISRUPTIVE
    scale_down: ScaleDown | None = attrs.field(
        factory=ScaleDown, validator=optional(instance(ScaleDown))
    )
    confounders: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    needs_evidence: bool = attrs.field(default=True, validator=boolean())
    evidence_max_age_s: float = attrs.field(
        default=30 * 86_400.0, validator=number(0.001, 1e9, "seconds")
    )
    earned: int = attrs.field(default=3, validator=integer(1, _MANY))
    max_refuted: int = attrs.field(default=1, validator=integer(0, _MANY))

    def __attrs_post_init__(self) -> None:
        """Refuse what would silently open the gate."""
        object.__setattr__(self, "disruptive", _names(self.disruptive, "disruptive"))
        for field in ("modes", "confounders"):
            if not isinstance(found := getattr(self, field), Mapping):
                raise InvalidInput(field, expected="a mapping by action", found=found)
        single = ((f"modes[{action!r}]", mode) for action, mode in self.modes.items())
        for field, mode in (("mode", self.mode), *single):
            if mode not in _MODES:
                raise InvalidInput(field, expected=" or ".join(_MODES), found=mode)
        for action, names in self.confounders.items():
            _names(names, f"confounders[{action!r}]")


def mode_for(config: GateConfig, action: str) -> Mode:
    """Return in which mode commands of an action are judged."""
    return config.modes.get(action, config.mode)


def is_disruptive(config: GateConfig, action: str, payload: bytes) -> bool:
    """Say whether a command needs a hypothesis.

    Args:
        config: Says which do.
        action: Of the command.
        payload: Its arguments, as JSON.
    """
    if action in config.disruptive:
        return True
    scale_down = config.scale_down
    if scale_down is None or action not in scale_down.actions:
        return False
    try:
        arguments: object = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return scale_down.is_aggressive(arguments)


def judge(
    action: str,
    hypothesis: Hypothesis | None,
    *,
    config: GateConfig,
    now_ns: int,
    causal_id: str | None = None,
    evidence: Evidence | None = None,
    track: TrackRecord | None = None,
    trouble: Sequence[str] = (),
) -> Verdict:
    """Judge one disruptive command; every reason at once.

    Args:
        action: What the command does.
        hypothesis: The one that it names, or None where there is none.
        config: How strict to be.
        now_ns: Wall clock; Unix nanoseconds.
        causal_id: What the command names.
        evidence: The newest evidence for the hypothesis.
        track: Its track record.
        trouble: What went wrong while those were read.
    """
    mode = mode_for(config, action)
    reasons = list(trouble)
    if hypothesis is None:
        if not trouble:
            reasons.append(_missing(causal_id))
    else:
        reasons += _stated(action, hypothesis, config, now_ns)
        reasons += _shown(hypothesis, evidence, track, config, now_ns)
        reasons += _remembered(track, config)
    ruling: Ruling = "passed" if not reasons else "refused" if mode == "enforced" else "advised"
    return Verdict(
        ruling=ruling,
        mode=mode,
        reasons=tuple(each[:500] for each in reasons[:_MOST_REASONS]),
        hypothesis_id=causal_id if hypothesis is None else hypothesis.hypothesis_id,
        digest="" if hypothesis is None else digest(hypothesis),
        evidence=evidence,
        track=track,
    )


def _missing(causal_id: str | None) -> str:
    if not causal_id:
        return "no hypothesis: a disruptive command names one as causal_id"
    return f"no hypothesis {causal_id!r} was ever stated"


def _stated(action: str, hypothesis: Hypothesis, config: GateConfig, now_ns: int) -> list[str]:
    reasons = []
    if hypothesis.action != action:
        reasons.append(f"the hypothesis is about {hypothesis.action!r}, not {action!r}")
    if hypothesis.expires_at_ns is not None and now_ns >= hypothesis.expires_at_ns:
        reasons.append("the hypothesis has expired")
    reasons += [
        f"graph: every hypothesis about {action!r} has to weigh {name!r}, and this one does not"
        for name in config.confounders.get(action, ())
        if name not in hypothesis.graph
    ]
    return [*reasons, *examine(hypothesis).faults]


def _shown(
    hypothesis: Hypothesis,
    evidence: Evidence | None,
    track: TrackRecord | None,
    config: GateConfig,
    now_ns: int,
) -> list[str]:
    if not config.needs_evidence:
        return []
    if evidence is None:
        return ["no evidence: the effect was never measured"]
    reasons = []
    age_s = (now_ns - evidence.observed_at_ns) / _NS
    if age_s > config.evidence_max_age_s and not _has_earned(track, config):
        reasons.append(
            f"the evidence is {age_s / 86_400:.0f} days old, "
            f"at most {config.evidence_max_age_s / 86_400:.3g} are taken"
        )
    measured = evidence.measured
    left_out = sorted(set(hypothesis.adjustment) - set(measured.adjusted_for))
    if left_out:
        reasons.append(f"evidence: it was not adjusted for {', '.join(left_out)}"[:500])
    reasons += _placebo(hypothesis, measured)
    finding = assess(hypothesis.expected, measured)
    if finding != "supported":
        reasons.append(_unsupported(hypothesis, measured, finding))
    return reasons


def _has_earned(track: TrackRecord | None, config: GateConfig) -> bool:
    if track is None or track.supported < config.earned:
        return False
    return track.supported > 3 * track.refuted


def _placebo(hypothesis: Hypothesis, measured: Measured) -> list[str]:
    """Ask whether it moved the expected way before anybody did anything.

    A move that is small beside the effect is no other explanation of it.
    """
    low, high, effect = measured.placebo_low, measured.placebo_high, measured.effect
    if low is None or high is None:
        return ["evidence: how it moved before the action cannot be told"]
    if hypothesis.expected.direction == "decrease":
        low, high, effect = -high, -low, -effect
    if low > 0 and low / 2 + high / 2 >= _PLACEBO_SHARE * effect:
        span = f"by {low:.4g} to {high:.4g} {hypothesis.expected.unit}"
        what = f"{hypothesis.outcome!r} moved the expected way before the action, too"
        return [f"evidence: {what} ({span})"]
    return []


def _unsupported(hypothesis: Hypothesis, measured: Measured, finding: str) -> str:
    expected = hypothesis.expected
    verb = "contradicts" if finding == "refuted" else "does not bear out"
    return (
        f"evidence: a change of {measured.effect:.4g} ({measured.low:.4g} to {measured.high:.4g}) "
        f"{expected.unit} {verb} the expected {expected.direction} by {expected.at_least:.4g}"
    )


def _remembered(track: TrackRecord | None, config: GateConfig) -> list[str]:
    if track is None or track.refuted <= config.max_refuted or track.refuted < track.supported:
        return []
    return [f"track record: refuted {track.refuted} times and borne out {track.supported} times"]


def _names(names: object, field: str) -> frozenset[str]:
    if isinstance(names, str) or not isinstance(names, frozenset | set | tuple | list):
        raise InvalidInput(field, expected="several names", found=names)
    if not all(isinstance(name, str) for name in names):
        raise InvalidInput(field, expected="names", found=names)
    return frozenset(names)

"""From a run-length posterior to a named regime: a deterministic state machine with dwell and hysteresis.

Every bar it is told five numbers and answers with a `Segment`.  Two things make a **switch**:

* an alarm: P(r <= horizon) has been at least ``threshold`` for ``dwell`` consecutive bars, and the most
  probable birth of the present run is later than that of the last alarm, so one change alarms once;
* a settled label that differs from the one at the last switch: calm, normal or stressed.

Switches closer than ``cooldown`` bars never happen.  An alarm inside the cool-down waits for its end and then
must still hold; so does a change of label, which is in force at once but becomes a switch only then.

The label is judged by the ratio of the segment's to the long run's volatility, with a wider band to leave a
label than to enter it.  A new label must be asked for by ``dwell`` consecutive bars.  Below ``evidence``
effective observations the label is ``transition``, at once; to leave it takes enough evidence for ``dwell``
consecutive bars.

A NaN is no evidence: of a probability or a run length no alarm, of a ratio no new label, of the effective
sample size a transition.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Label = Literal["calm", "normal", "stressed", "transition"]
SETTLED: tuple[Label, ...] = ("calm", "normal", "stressed")


@dataclass(frozen=True, slots=True)
class SegmentationRule:
    """When a regime has switched, and what it is called.

    Parameters
    ----------
    threshold : float
        Least P(r <= horizon) that counts towards an alarm, in (0, 1].
    horizon : int
        The k of P(r <= k), in bars: which posterior probability the caller passes.
    dwell : int
        Consecutive bars that an alarm or a new label needs, at least 1.
    cooldown : int
        Least number of bars from one switch to the next, at least 1; best above ``horizon``, so that the run
        of one change has outgrown the horizon before the next alarm.
    stressed_enter, stressed_exit : float
        Stressed from this ratio of segment to long-run volatility, until below that one.
    calm_enter, calm_exit : float
        Calm up to this ratio, until above that one.
    evidence : float
        Effective sample size below which the label is ``transition``.

    Raises
    ------
    ValueError
        If a bound is out of range or the bands cross:
        0 < calm_enter <= calm_exit < stressed_exit <= stressed_enter.
    """

    threshold: float = 0.9
    horizon: int = 20
    dwell: int = 3
    cooldown: int = 21
    stressed_enter: float = 1.5
    stressed_exit: float = 1.25
    calm_enter: float = 0.75
    calm_exit: float = 0.85
    evidence: float = 20.0

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold <= 1.0:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")
        for name in ("horizon", "dwell", "cooldown"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 bar, got {getattr(self, name)}")
        if not 0.0 < self.calm_enter <= self.calm_exit < self.stressed_exit <= self.stressed_enter:
            raise ValueError(
                "the bands must satisfy 0 < calm_enter <= calm_exit < stressed_exit <= stressed_enter, got "
                f"{self.calm_enter}, {self.calm_exit}, {self.stressed_exit}, {self.stressed_enter}"
            )
        if not 0.0 <= self.evidence < math.inf:
            raise ValueError(f"evidence must be at least 0 and finite, got {self.evidence}")


@dataclass(frozen=True, slots=True)
class Segment:
    """The regime after a bar.

    Attributes
    ----------
    label : {"calm", "normal", "stressed", "transition"}
    switched : bool
        Whether this bar is a switch.
    cause : {"alarm", "label", ""}
        What made it one.
    switch_probability : float
        P(r <= horizon) as given.
    map_run_length : float
        Most probable run length as given, in bars.
    volatility_ratio : float
        Segment over long-run volatility; NaN when there is none.
    effective_sample_size : float
        As given.
    bars_in_label : int
        Bars for which the label has been this one, this bar included.
    bars_since_switch : int
        0 on a switch; since the start when there has been none.
    confidence : float
        In [0, 1]: effective_sample_size / (effective_sample_size + evidence) * |2 P - 1|, that is how much
        the segment has shown times how sure it is that a change has, or has not, just happened.
    """

    label: Label
    switched: bool
    cause: Literal["alarm", "label", ""]
    switch_probability: float
    map_run_length: float
    volatility_ratio: float
    effective_sample_size: float
    bars_in_label: int
    bars_since_switch: int
    confidence: float


@dataclass(slots=True)
class _Memory:
    """What the machine remembers from bar to bar."""

    bar: int = 0
    alarm_bars: int = 0  # consecutive bars at or above the threshold
    alarm_birth: float = 0.0  # birth of the run of the last alarm; the start counts as one
    last_switch: int = -1  # its bar, or -1
    label: Label = "transition"
    bars_in_label: int = 0
    evidence_bars: int = 0  # consecutive bars with enough evidence
    settled: Label = "transition"  # the last label that was not a transition
    announced: Label = "transition"  # the settled label that the last switch, or the start, made known
    candidate: Label = "transition"  # the label asked for by the latest bars
    candidate_bars: int = 0


class Segmentation:
    """The state machine of one universe, or of one series.

    Parameters
    ----------
    rule : SegmentationRule
        When to switch and what to call it.
    """

    def __init__(self, rule: SegmentationRule | None = None) -> None:
        self.rule = rule or SegmentationRule()
        self._memory = _Memory()

    def step(
        self,
        switch_probability: float,
        map_run_length: float,
        segment_volatility: float,
        reference_volatility: float,
        effective_sample_size: float,
    ) -> Segment:
        """Take one bar.

        Parameters
        ----------
        switch_probability : float
            P(r <= rule.horizon).
        map_run_length : float
            Most probable run length, in bars.
        segment_volatility, reference_volatility : float
            Volatility of the present segment and of the long run, in the same units.
        effective_sample_size : float
            Of the present segment.

        Returns
        -------
        Segment
        """
        rule, memory = self.rule, self._memory
        # plain floats: what is kept must be as JSON will give it back
        switch_probability, map_run_length = float(switch_probability), float(map_run_length)
        effective_sample_size = float(effective_sample_size)
        memory.bar += 1
        ratio = volatility_ratio(float(segment_volatility), float(reference_volatility))
        self._settle(ratio, effective_sample_size)
        cause = self._cause(switch_probability, map_run_length)
        if cause:
            memory.last_switch = memory.bar
            if memory.label in SETTLED:
                memory.announced = memory.label
        certainty = abs(2.0 * switch_probability - 1.0) if 0.0 <= switch_probability <= 1.0 else 0.0
        support = 0.0
        if effective_sample_size > 0.0:
            support = 1.0 / (1.0 + rule.evidence / effective_sample_size)
        return Segment(
            label=memory.label,
            switched=cause != "",
            cause=cause,
            switch_probability=switch_probability,
            map_run_length=map_run_length,
            volatility_ratio=ratio,
            effective_sample_size=effective_sample_size,
            bars_in_label=memory.bars_in_label,
            bars_since_switch=memory.bar - max(memory.last_switch, 0),
            confidence=support * certainty,
        )

    def _cause(self, switch_probability: float, map_run_length: float) -> Literal["alarm", "label", ""]:
        """Why this bar is a switch, if it is one."""
        rule, memory = self.rule, self._memory
        memory.alarm_bars = memory.alarm_bars + 1 if switch_probability >= rule.threshold else 0
        if memory.announced == "transition" and memory.label in SETTLED:
            memory.announced = memory.label  # the first label is a start, not a switch
        if memory.last_switch >= 0 and memory.bar - memory.last_switch < rule.cooldown:
            return ""
        if memory.alarm_bars >= rule.dwell and 0.0 <= map_run_length < math.inf:
            birth = memory.bar - map_run_length
            if birth > memory.alarm_birth:
                memory.alarm_birth = birth
                return "alarm"
        if memory.label in SETTLED and memory.label != memory.announced:
            return "label"
        return ""

    def _settle(self, ratio: float, effective_sample_size: float) -> None:
        """Move the label."""
        rule, memory = self.rule, self._memory
        before = memory.label
        enough = effective_sample_size >= rule.evidence
        memory.evidence_bars = memory.evidence_bars + 1 if enough else 0
        asked = asked_label(rule, memory.settled, ratio)
        if asked == "transition":
            memory.candidate_bars = 0
        else:
            memory.candidate_bars = memory.candidate_bars + 1 if asked == memory.candidate else 1
        memory.candidate = asked
        if not enough:
            memory.label = "transition"
        elif memory.candidate_bars >= rule.dwell and memory.evidence_bars >= rule.dwell:
            memory.label = memory.settled = asked
        memory.bars_in_label = memory.bars_in_label + 1 if memory.label == before else 1

    def state(self) -> dict[str, Any]:
        """The rule and the memory as scalars that JSON can hold."""
        return {"rule": asdict(self.rule), "memory": asdict(self._memory)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Segmentation:
        """The machine that `state` described.

        Raises
        ------
        ValueError
            If a field is missing or unknown, or the rule is out of range.
        """
        memory, expected = state["memory"], {field.name for field in fields(_Memory)}
        if set(memory) != expected:
            raise ValueError(f"memory must have the fields {sorted(expected)}, got {sorted(memory)}")
        machine = cls(SegmentationRule(**state["rule"]))
        machine._memory = _Memory(**memory)
        return machine


def volatility_ratio(segment: float, reference: float) -> float:
    """Segment over reference volatility; NaN unless both are finite, segment >= 0 and reference > 0."""
    if 0.0 <= segment < math.inf and 0.0 < reference < math.inf:
        return segment / reference
    return math.nan


def asked_label(rule: SegmentationRule, present: Label, ratio: float) -> Label:
    """The label that a ratio asks for, given the last settled one; ``transition`` for no evidence.

    A label is left at its exit bound, entered at its enter bound; between them everything is normal.
    """
    if math.isnan(ratio):
        return "transition"
    stressed_from = rule.stressed_exit if present == "stressed" else rule.stressed_enter
    calm_to = rule.calm_exit if present == "calm" else rule.calm_enter
    if ratio >= stressed_from:
        return "stressed"
    return "calm" if ratio <= calm_to else "normal"

r"""The robust programme as a sequence of quadratic programmes.

Each root term lies under a quadratic that touches it where the last programme ended,

.. math::
    (\sigma + r\nu)^2 \le (1+t)\sigma^2 + r^2(1+1/t)\nu^2,\quad t = r\nu/\sigma; \qquad
    \sigma \le \sigma^2/(2s) + s/2,\quad s = \sigma,

so the objective falls from programme to programme; where the touching points move in a steady ratio, the
sequence jumps ahead to where they would settle (Aitken).  The cap on volatility enters by its multiplier:
:math:`\tfrac\psi2(\sigma^2 - V^2)` moves the same coefficient of :math:`\Sigma`, and :math:`\psi` is the root
of a decreasing function, :math:`\sigma(\psi) = V`.  As :math:`1/\sigma` is nearly linear in it (as in a trust
region), the secant on :math:`1/\sigma` needs a handful of programmes; a bracket keeps it safe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stream_allocator.allocate.limits import trade_interval
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.quadratic import QuadraticAnswer, QuadraticFamily, SolverSettings
from stream_allocator.allocate.robust import covariance, root_terms

__all__ = ["SequenceAnswer", "solve_sequence"]

# The touching points are settled where they move by less than this; the objective's error is its square.
SETTLED = 1e-4
# Where they move by less than this, what is known about psi still holds.
NEARLY = 2e-2
# So many programmes may move touching points and psi together.
TOGETHER = 8
# The coefficient of Sigma changes by no more than this factor from one programme to the next.
FASTEST = 5.0
# The cap is met where sigma is this near to it.
MET = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class SequenceAnswer:
    """Where the sequence ended.

    Attributes
    ----------
    last : QuadraticAnswer
        The last programme's answer.
    psi : float
        Multiplier of (sigma^2 - V^2) / 2.
    programmes, iterations : int
        How many programmes, and OSQP's iterations in all of them.
    settled : bool
        Whether the touching points and psi have settled.
    """

    last: QuadraticAnswer
    psi: float
    programmes: int
    iterations: int
    settled: bool


@dataclass(slots=True)
class _Touch:
    """Touching points: the volatility and the norm at which the majorisation is tight."""

    sigma: float
    norm: float


def solve_sequence(
    program: Program,
    settings: SolverSettings,
    psi: float = 0.0,
    most: float = math.inf,
    dust: float = 0.0,
) -> SequenceAnswer:
    """Solve ``program`` by quadratic programmes; the linear limits must not contradict each other.

    Parameters
    ----------
    program : Program
    settings : SolverSettings
    psi : float
        Where the search for the multiplier starts.
    most : float
        Give up where psi would go above this many times the other coefficients of Sigma: with
        ``settled=False``, and this ``psi``.
    dust : float
        Stop where sigma falls to this: on the way to all cash, a kink that the sequence nears and never
        reaches.
    """
    sigma = covariance(program)
    typical = math.sqrt(max(float(np.trace(sigma)) / len(sigma), 1e-300))
    lower, upper = trade_interval(program)
    start = np.minimum(np.maximum(program.current, lower), upper)
    at = root_terms(program, start)
    floor = 1e-6 * typical / math.sqrt(len(start))
    touch = _Touch(max(at.sigma, floor), at.norm) if at.norm > 1e-6 else _Touch(typical, 1.0)
    a, b = _coefficients(program, touch, psi)
    slope = np.abs(program.mean - a * at.marginal - b * start)
    scale = max(float(slope.max()), float(program.linear_cost.max()), 1e-3 * a * typical**2, 1e-12)
    linear = program.mean + 2.0 * program.quadratic_cost * program.current
    family = QuadraticFamily(program, linear, program.linear_cost, scale, settings)
    return _Sequence(program, family, settings, touch, floor, dust).run(psi, most)


def _coefficients(program: Program, touch: _Touch, psi: float) -> tuple[float, float]:
    """Coefficients of Sigma and of the identity."""
    r = math.sqrt(program.radius)
    k = program.mean_ambiguity / math.sqrt(program.mean_evidence)
    a = program.risk_aversion + k / touch.sigma + psi
    b = 0.0
    if r > 0.0 and program.risk_aversion > 0.0:
        t = max(r * touch.norm / touch.sigma, 1e-12)
        a += program.risk_aversion * t
        b = program.risk_aversion * r * r * (1.0 + 1.0 / t)
    return a, b


class _Sequence:
    """The state of one sequence."""

    def __init__(
        self,
        program: Program,
        family: QuadraticFamily,
        settings: SolverSettings,
        touch: _Touch,
        floor: float,
        dust: float,
    ) -> None:
        self._program, self._family, self._settings = program, family, settings
        self._touch, self._floor, self._dust = touch, floor, dust
        self._has_roots = program.mean_ambiguity > 0.0 or program.radius * program.risk_aversion > 0.0
        self._change: Array | None = None  # of the logarithms of the touching points
        # what the coefficient of Sigma is of the order of where the cap is what stops the mean
        natural = float(np.abs(program.mean).max()) / min(program.volatility, 1.0) ** 2
        self._bracket = _Bracket(program.volatility, natural)

    def run(self, psi: float, most: float) -> SequenceAnswer:
        iterations = 0
        for programmes in range(1, self._settings.max_programmes + 1):
            a, b = _coefficients(self._program, self._touch, psi)
            answer = self._family.solve(a, b + 2.0 * self._program.quadratic_cost)
            iterations += answer.iterations
            if answer.status != "solved":
                return SequenceAnswer(answer, psi, programmes, iterations, False)
            at = root_terms(self._program, answer.weights)
            if at.sigma <= self._dust:
                return SequenceAnswer(answer, psi, programmes, iterations, True)
            met = self._bracket.met(at.sigma, psi) or self._bracket.closed(at.sigma)
            # psi and the touching points move together; if that does not settle soon, psi alone until met
            held = programmes > TOGETHER and not met
            change = 0.0 if held else self._move(at.sigma, at.norm, psi)
            settled = change <= SETTLED
            if met:
                if settled:
                    return SequenceAnswer(answer, psi, programmes, iterations, True)
                self._bracket.widen()
                continue
            own = a - psi
            psi = self._bracket.next(psi, at.sigma, a, moved=change > NEARLY)
            if psi > most * own:
                return SequenceAnswer(answer, psi, programmes, iterations, False)
        return SequenceAnswer(answer, psi, programmes, iterations, False)

    def _move(self, sigma: float, norm: float, psi: float) -> float:
        """Touch where the last programme ended; how far, relatively, that is from where it touched before."""
        old = self._touch
        # at the root of psi sigma is the cap, so touch there at once
        cap = self._program.volatility
        sigma = cap if psi > 0.0 or sigma > cap else max(sigma, self._floor)
        norm = max(norm, 1e-12)
        self._touch = _Touch(sigma, norm)
        if not self._has_roots:
            return 0.0
        change = np.log([sigma / old.sigma, norm / old.norm])
        size = float(np.abs(change).max())
        if size > SETTLED:
            self._touch = self._ahead(change)
        return size

    def _ahead(self, change: Array) -> _Touch:
        """Aitken: where changes in a steady ratio would end, looked up every third programme."""
        touch, before, self._change = self._touch, self._change, change
        if before is None:
            return touch
        ratio = float(before @ change) / max(float(before @ before), 1e-300)
        self._change = None  # the next two changes are measured afresh
        if ratio <= 0.2:
            return touch
        ratio = min(ratio, 0.9)
        jump = np.exp(np.clip(change * ratio / (1.0 - ratio), -3.0, 3.0))
        sigma = min(max(touch.sigma * float(jump[0]), self._floor), self._program.volatility)
        return _Touch(sigma, touch.norm * float(jump[1]))


class _Bracket:
    """The search for psi with sigma(psi) = cap, where sigma also moves a little with the touching points."""

    def __init__(self, cap: float, natural: float) -> None:
        self._cap, self._natural = cap, natural
        self._last: tuple[float, float] | None = None  # psi and 1/sigma of the programme before
        self._below: float | None = None  # sigma is above the cap here
        self._above: float | None = None  # and not above it here

    def widen(self) -> None:
        """Forget what was learnt at other touching points, but for the slope."""
        self._below = self._above = None

    def met(self, sigma: float, psi: float) -> bool:
        """Whether the cap holds, and is met where it has a price."""
        if sigma > self._cap * (1.0 + MET):
            return False
        return psi == 0.0 or sigma >= self._cap * (1.0 - MET)

    def closed(self, sigma: float) -> bool:
        """Whether OSQP's accuracy leaves nothing to search, and the cap is nearly met."""
        return self._narrow() and abs(sigma - self._cap) <= 100.0 * MET * self._cap

    def _narrow(self) -> bool:
        if self._below is None or self._above is None:
            return False
        return self._above - self._below <= 1e-6 * max(self._above, self._natural)

    def next(self, psi: float, sigma: float, a: float, moved: bool) -> float:
        """The next psi: the secant on 1/sigma inside the bracket, or its middle where that gets nowhere.

        ``a`` is the coefficient of Sigma, psi included.
        """
        if moved or self._narrow():
            self.widen()
        over = sigma > self._cap
        if over:
            self._below = psi
            self._above = None if self._above is not None and self._above <= psi else self._above
        else:
            self._above = psi
            self._below = None if self._below is not None and self._below >= psi else self._below
        value, target, last = 1.0 / max(sigma, 1e-300), 1.0 / self._cap, self._last
        self._last = (psi, value)
        guess = psi + a * (target / value - 1.0)  # free weights scale like 1/a
        stalled = False
        if last is not None:
            stalled = 0.5 < (target - value) / (target - last[1] or math.inf) <= 1.0
            if (value - last[1]) * (psi - last[0]) > 0.0:
                guess = psi + (target - value) * (psi - last[0]) / (value - last[1])
        if self._below is not None and self._above is not None:
            inside = self._below < guess < self._above
            return guess if inside and not stalled else 0.5 * (self._below + self._above)
        if over:
            most = psi + max(a * (FASTEST - 1.0), self._natural)
            return most if stalled else min(max(guess, psi + 1e-3 * a), most)
        least = max(0.0, psi - a * (1.0 - 1.0 / FASTEST))
        return least if stalled else max(min(guess, psi - 1e-3 * a), least)

"""The Gaussian likelihood of a run, telescoped, and the elementary functions its kernel is made of.

A run of n observations under a normal-inverse-gamma prior (location 0, strength kappa0, shape alpha0, rate
beta0) has the closed form

    log p(x_1..n) = lgamma(alpha_n) - lgamma(alpha0) + alpha0 log beta0 - alpha_n log beta_n
                    + (log kappa0 - log kappa_n) / 2 - (n / 2) log(2 pi) + (1/2) sum log w_t

where every observation has precision w_t (1 in the Gaussian model).  All that depends on n alone is one
table, so a step costs two logarithms a run and no lgamma: the product of Student-t predictives telescopes.

Everything is in the prior's units: kernels see z = (x - location) / scale, so beta0 = alpha0 says that the
prior expects variance one, and neither 1e-200 nor 1e+200 as a unit can underflow or overflow a square.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray
from scipy.special import gammaln

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

P = ParamSpec("P")
R = TypeVar("R")

# Beyond this many prior scales an observation is taken to lie exactly there: its square still fits.
FARTHEST = 1e100


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile with Numba, cached on disk.

    No fast-math: without contraction or reassociation LLVM may still vectorise element by element, and the
    bits are the same on every processor.
    """
    return cast(Callable[P, R], njit(cache=True, error_model="numpy", nogil=True)(function))


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile for use inside another kernel's loop, so that LLVM can vectorise the loop."""
    return cast(Callable[P, R], njit(cache=True, error_model="numpy", nogil=True, forceinline=True)(function))


def _bits_of(typing_context: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.int64))

    return types.int64(types.float64), generate


def _float_of(typing_context: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float64))

    return types.float64(types.int64), generate


bits_of: Callable[[float], Any] = intrinsic(_bits_of)
float_of: Callable[[Any], float] = intrinsic(_float_of)


@inlined
def log(x: float) -> float:
    """Natural logarithm of a positive normal number, without branches (the fdlibm kernel, below 1 ulp).

    The C library's own is neither vectorised by LLVM nor the same to the last bit on every machine.
    """
    half = np.int64(0x3FE6A09E667F3BCD)  # the bits of sqrt(1/2): the mantissa lands in [sqrt(1/2), sqrt(2))
    shifted = bits_of(x) - half
    exponent = float_of(((shifted >> np.int64(52)) + np.int64(3075)) | np.int64(0x4330000000000000)) - (
        4503599627370496.0 + 3075.0
    )
    f = float_of((shifted & np.int64(0x000FFFFFFFFFFFFF)) + half) - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    even = z * (
        6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    h = 0.5 * f * f
    return exponent * 6.93147180369123816490e-01 - (
        (h - (s * (h + (odd + even)) + exponent * 1.90821492927058770002e-10)) - f
    )


@inlined
def exp(x: float) -> float:
    """Exponential without branches; arguments are clamped to [-708, 709] (so 3e-308 stands for zero)."""
    x = min(max(x, -708.0), 709.0)
    shifted = x * 1.4426950408889634 + 6755399441055744.0  # 1.5 * 2**52: rounds to the nearest integer
    n = shifted - 6755399441055744.0
    r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
    r2 = r * r
    r4 = r2 * r2
    # Taylor to degree 12 on |r| <= log(2) / 2, by Estrin's scheme
    low = (1.0 + r) + r2 * (0.5 + r * 0.16666666666666666)
    middle = (0.041666666666666664 + r * 0.008333333333333333) + r2 * (
        0.001388888888888889 + r * 0.0001984126984126984
    )
    high = (2.48015873015873e-05 + r * 2.7557319223985893e-06) + r2 * (
        2.755731922398589e-07 + r * 2.505210838544172e-08
    )
    p = low + r4 * (middle + r4 * (high + r4 * 2.08767569878681e-09))
    return float_of(bits_of(p) + (bits_of(shifted) << np.int64(52)))


def run_tables(max_run: int, hazard: float, kappa0: float, alpha0: float) -> tuple[FloatArray, FloatArray]:
    """What a run's log weight owes to its length alone, oldest first.

    Parameters
    ----------
    max_run : int
        The cap on the run length.
    hazard : float
        Probability of a change after any observation, in (0, 1).
    kappa0, alpha0 : float
        Strength and shape of the prior, positive.  The rate is alpha0: unit variance.

    Returns
    -------
    normaliser, shape : (max_run + 2,) arrays
        For n = max_run + 1 down to 0: lgamma(alpha_n) - lgamma(alpha0) + alpha0 log alpha0 + log(kappa0) / 2
        - (n / 2) log(2 pi) + n log(1 - hazard), and alpha_n = alpha0 + n / 2.  They run from the longest run
        to the newborn because runs are kept in the order of their birth.
    """
    length = np.arange(max_run + 1, -1, -1, dtype=np.float64)
    shape = alpha0 + 0.5 * length
    normaliser = (
        gammaln(shape)
        - gammaln(alpha0)
        + alpha0 * math.log(alpha0)
        + 0.5 * math.log(kappa0)
        - 0.5 * length * math.log(2.0 * math.pi)
        + length * math.log1p(-hazard)
    )
    return np.ascontiguousarray(normaliser), np.ascontiguousarray(shape)

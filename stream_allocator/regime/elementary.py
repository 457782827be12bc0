"""The elementary functions that the kernels are made of, and how kernels are compiled.

No fast-math anywhere: where a product and a sum are to be one operation it is written as `fma`, which is
rounded once by definition.  So LLVM may vectorise and the result is the same to the last bit on every
processor, which cannot be said of the C library's logarithm and exponential.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

P = ParamSpec("P")
R = TypeVar("R")

LN2 = math.log(2.0)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile with Numba, cached on disk."""
    return cast(Callable[P, R], njit(cache=True, error_model="numpy", nogil=True)(function))


def in_place(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a kernel that allocates nothing and returns no array.

    Without Numba's reference counting, whose locked instructions cost a small kernel as much as its work.
    """
    options = {"cache": True, "error_model": "numpy", "nogil": True, "_nrt": False}
    return cast(Callable[P, R], njit(**options)(function))


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


def _exponent_bits(typing_context: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.lshr(arguments[0], context.get_constant(types.int64, 52))

    return types.int64(types.int64), generate


def _fma(typing_context: Any, x: Any, y: Any, z: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


bits_of: Callable[[float], Any] = intrinsic(_bits_of)
float_of: Callable[[Any], float] = intrinsic(_float_of)
exponent_bits: Callable[[Any], Any] = intrinsic(_exponent_bits)
#: x * y + z, rounded once.
fma: Callable[[float, float, float], float] = intrinsic(_fma)


# log2(x) = e + s Q(s^2) with x = 2^e m, m in [sqrt(1/2), sqrt(2)) and s = (m - 1) / (m + 1).  Q is the best
# polynomial of its degree (Remez, 50 digits): relative error 1.2e-18.
Q0, Q1, Q2, Q3 = 2.8853900817779268, 0.9617966939259898, 0.5770780163454703, 0.412198585811078
Q4, Q5, Q6, Q7 = 0.3205985339254348, 0.26233440178471733, 0.22091186611768149, 0.21367078472987187


@inlined
def mantissa(x: float) -> float:
    """m of log2 for a positive normal x, without branches."""
    shifted = bits_of(x) + np.int64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    return float_of((shifted & np.int64(0x000FFFFFFFFFFFFF)) + np.int64(0x3FE6A09E667F3BCD))


@inlined
def mantissa_ratio(x: float) -> float:
    """s of log2 for a positive normal x, without branches."""
    m = mantissa(x)
    return (m - 1.0) / (m + 1.0)


@inlined
def binary_exponent(x: float) -> float:
    """e of log2 for a positive normal x."""
    shifted = bits_of(x) + np.int64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    return float_of(exponent_bits(shifted) | np.int64(0x4330000000000000)) - (4503599627370496.0 + 1023.0)


@inlined
def log2_of(s: float, e: float) -> float:
    """log2 of the number that `mantissa_ratio` and `binary_exponent` have taken apart."""
    z = s * s
    w = z * z
    even = fma(w, fma(w, fma(w, Q6, Q4), Q2), Q0)
    odd = fma(w, fma(w, fma(w, Q7, Q5), Q3), Q1)
    return fma(s, fma(z, odd, even), e)


@inlined
def log2(x: float) -> float:
    """Binary logarithm of a positive normal number, without branches, within 1e-15 of its value.

    The C library's own is neither vectorised by LLVM nor the same to the last bit on every machine.
    """
    return log2_of(mantissa_ratio(x), binary_exponent(x))


# 2^r for |r| <= 1/2: the best polynomial of degree 11 (Remez, 50 digits), relative error 3.1e-18.
E1, E2, E3, E4 = 0.6931471805599453, 0.24022650695910155, 0.055504108664819925, 0.009618129107588335
E5, E6, E7 = 0.0013333558146789923, 0.00015403530462514432, 1.5252733489988525e-05
E8, E9, E10, E11 = 1.32154330896764e-06, 1.0178198021671931e-07, 7.074105613508143e-09, 4.435282706957277e-10


@inlined
def exp2(x: float) -> float:
    """2^x for x <= 1023, without branches, within 2 ulp; below -1022 it is 2^-1022, which stands for zero."""
    x = max(x, -1022.0)
    shifted = x + 6755399441055744.0  # 1.5 * 2**52: rounds to the nearest integer
    r = x - (shifted - 6755399441055744.0)
    z = r * r
    even = fma(z, fma(z, fma(z, fma(z, fma(z, E10, E8), E6), E4), E2), 1.0)
    odd = fma(z, fma(z, fma(z, fma(z, fma(z, E11, E9), E7), E5), E3), E1)
    return float_of(bits_of(fma(r, odd, even)) + (bits_of(shifted) << np.int64(52)))


@inlined
def log(x: float) -> float:
    """Natural logarithm of a positive normal number, within 1e-15 of its value."""
    return 0.6931471805599453 * log2(x)


@inlined
def exp(x: float) -> float:
    """e^x within 3 ulp; outside [-708, 709] as at the nearer end (so 3e-308 stands for zero)."""
    x = min(max(x, -708.0), 709.0)
    y = x * 1.4426950408889634
    rest = fma(x, 1.4426950408889634, -y) + x * 2.0355273740931033e-17  # the low part of 1 / log(2)
    return exp2(y) * fma(rest, 0.6931471805599453, 1.0)


@in_place
def serial_sum(x: FloatArray) -> float:
    """Sum in a fixed order, in four chains, so that the processor need not wait for one."""
    a = b = c = d = 0.0
    whole = x.size // 4 * 4
    for i in range(0, whole, 4):
        a += x[i]
        b += x[i + 1]
        c += x[i + 2]
        d += x[i + 3]
    for i in range(whole, x.size):
        a += x[i]
    return (a + b) + (c + d)


@in_place
def serial_square(x: FloatArray) -> float:
    """Sum of squares, in the order of `serial_sum`."""
    a = b = c = d = 0.0
    whole = x.size // 4 * 4
    for i in range(0, whole, 4):
        a += x[i] * x[i]
        b += x[i + 1] * x[i + 1]
        c += x[i + 2] * x[i + 2]
        d += x[i + 3] * x[i + 3]
    for i in range(whole, x.size):
        a += x[i] * x[i]
    return (a + b) + (c + d)

"""The naive twin of the kernel that writes OSQP's constraints: rows put below each other, dense."""

import numpy as np


def constraints(
    factors, lower, upper, current, traded, both, sign, normals, magnitudes, least, most, direction,
    capped, cap,
):  # fmt: skip
    """The constraints' matrix, dense, and the bounds of its rows."""
    n, k = factors.shape
    eye, endless = np.eye(n), np.inf
    u, v = eye[:, traded], eye[:, both]
    t, b = u.shape[1], v.shape[1]
    nothing = [np.zeros((n, x)) for x in (k, t, b)]
    blocks = [
        ([eye, *nothing], lower, upper),
        ([factors.T, -np.eye(k), *[np.zeros((k, x)) for x in (t, b)]], np.zeros(k), np.zeros(k)),
        (
            [normals + magnitudes * sign, np.zeros((len(most), k)), np.zeros((len(most), t)), magnitudes @ v],
            least,
            most,
        ),
    ]
    for side in (-1.0, 1.0):
        at = current[traded]
        bounds = (np.full(t, -endless), at) if side < 0.0 else (at, np.full(t, endless))
        blocks.append(([u.T, np.zeros((t, k)), side * np.eye(t), np.zeros((t, b))], *bounds))
    for side in (-1.0, 1.0):
        bounds = (np.full(b, -endless), np.zeros(b)) if side < 0.0 else (np.zeros(b), np.full(b, endless))
        blocks.append(([v.T, np.zeros((b, k + t)), side * np.eye(b)], *bounds))
    if capped:
        row = np.concatenate([direction, np.zeros(k), np.ones(t), np.zeros(b)])
        blocks.append(([row[None]], np.array([-endless]), np.array([cap])))
    matrix = np.vstack([np.hstack(parts) for parts, _, _ in blocks])
    low = np.concatenate([low for _, low, _ in blocks])
    high = np.concatenate([high for _, _, high in blocks])
    if not k:
        height, width = matrix.shape
        matrix = np.block([[matrix, np.zeros((height, 1))], [np.zeros((1, width)), np.ones((1, 1))]])
        low, high = np.append(low, 0.0), np.append(high, 0.0)
    return matrix, low, high


def orientation(lower, upper, current, cost, magnitudes, turnover):
    """Which way each asset can trade and stand, and what turnover may be."""
    only_up, only_down = lower >= current, upper <= current
    direction = np.where(only_up, 1.0, np.where(only_down, -1.0, 0.0))
    sign = np.where(lower >= 0.0, 1.0, np.where(upper <= 0.0, -1.0, 0.0))
    capped = turnover < np.maximum(upper - current, current - lower).sum()
    traded = ~(only_up | only_down) & (capped | (cost > 0.0))
    both = (sign == 0.0) & (magnitudes != 0.0).any(axis=0)
    return direction, sign, traded, both, capped, turnover + direction @ current


def steepness(factors, own, current, cost, lower, upper, risk, diagonal, linear):
    """The largest of the objective's slopes at the start, the costs, and a thousandth of a curvature."""
    start = np.clip(current, lower, upper)
    sigma = factors @ factors.T + np.diag(own)
    slope = risk * (sigma @ start) + diagonal * start - linear
    return max(np.abs(slope).max(), cost.max(), 1e-3 * risk * np.diag(sigma).mean(), 1e-12)


def programme(
    factors, dense, own, current, cost, lower, upper, normals, magnitudes, least, most, turnover, risk,
    diagonal, linear,
):  # fmt: skip
    """The whole programme, dense; of the curvature what is not left to others."""
    upper = np.maximum(lower, upper)
    direction, sign, traded, both, capped, cap = orientation(
        lower, upper, current, cost, magnitudes, turnover
    )
    used = factors[:, :0] if dense else factors
    matrix, low, high = constraints(
        used, lower, upper, current, traded, both, sign, normals, magnitudes, least, most, direction, capped,
        cap,
    )  # fmt: skip
    k, size = used.shape[1], matrix.shape[1]
    scale = steepness(factors, own, current, cost, lower, upper, risk, diagonal, linear)
    slope = np.concatenate([cost * direction - linear, np.zeros(k), cost[traded]])
    slope = np.append(slope, np.zeros(size - len(slope))) / scale
    curvature = np.zeros((size, size))
    if k:
        of_y = np.full(k, risk)
        curvature[: len(own) + k, : len(own) + k] = np.diag(np.append(risk * own + diagonal, of_y)) / scale
    return curvature, slope, scale, matrix, low, high

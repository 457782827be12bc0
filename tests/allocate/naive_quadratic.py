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

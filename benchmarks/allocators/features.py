"""What can be said to each library without writing one's own optimisation; read from their sources."""

from __future__ import annotations

__all__ = ["COLUMNS", "FEATURES"]

#: ``expression``: a term or limit that the user writes in CVXPY and hands in.
COLUMNS = ("", "this package", "skfolio", "Riskfolio-Lib", "PyPortfolioOpt", "cvxportfolio")
FEATURES = (
    ("covariance in factor form", "yes", "yes", "no", "no", "yes"),
    ("box by asset", "yes", "yes", "inequality", "yes", "yes"),
    ("groups, overlapping", "yes", "yes", "yes", "expression", "yes"),
    ("long and gross limits of groups", "yes", "expression", "no", "expression", "gross"),
    ("gross exposure", "yes", "yes", "yes", "expression", "yes"),
    ("cash between two bounds", "yes", "yes", "no", "no", "yes"),
    ("turnover, in all", "yes", "expression", "no", "expression", "yes"),
    ("liquidity by asset", "yes", "yes", "inequality", "as a box", "yes"),
    ("linear costs", "by asset", "by asset", "no", "one rate", "by asset"),
    ("quadratic costs", "yes", "expression", "no", "expression", "yes"),
    ("volatility cap beside the utility", "yes", "yes", "yes", "no", "yes"),
    ("tracking error, ex ante", "yes", "on returns", "on returns", "expression", "yes"),
    ("robust covariance", "Wasserstein, Gelbrich", "yes", "yes", "no", "yes"),
    ("ambiguous mean", "yes", "yes", "yes", "no", "yes"),
    ("smallest trade", "yes", "no", "no", "no", "no"),
    ("shadow prices of the limits", "yes", "no", "no", "no", "no"),
    ("proof of the answer", "yes", "no", "no", "no", "no"),
    ("names the limits that clash", "yes", "no", "no", "no", "no"),
    ("something to hold where there is no answer", "ladder", "fallback", "no", "no", "no"),
    ("starts from the last answer", "yes", "no", "no", "no", "compiled once"),
    ("number of assets held (integer)", "no", "yes", "yes", "no", "no"),
    ("CVaR, drawdown and other risk measures", "no", "yes", "yes", "some", "no"),
    ("hierarchical portfolios", "no", "yes", "yes", "yes", "no"),
    ("several periods ahead", "no", "no", "no", "no", "yes"),
)

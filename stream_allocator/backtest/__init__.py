"""The engine over a price file: paper execution, metrics, static baselines, and the report."""

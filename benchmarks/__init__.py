"""What the project claims in numbers, measured: ``python -m benchmarks.NAME [--quick]``.

Each prints tables for people, with peers or a reference measured in the same run, and one JSON object as its
last line.  Machines are shared and noisy: the figures are medians, and ratios within one run.
"""

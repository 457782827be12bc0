"""How cost grows with universes and assets, and what a deployment of a given size needs.

`python -m benchmarks.scale` measures points (`point` in memory, `bus` through Kafka), fits the growth of each
cost (`growth`), plans deployments by it (`capacity`), and checks itself at the largest size that fits.
"""

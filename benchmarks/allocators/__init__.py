"""Parts of :mod:`benchmarks.allocator`: programmes, peers and how answers are judged."""

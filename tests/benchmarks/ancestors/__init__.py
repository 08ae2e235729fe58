"""The algorithms of older scripts for active learning, written plainly, for `tests.benchmarks.bench_ancestors`."""

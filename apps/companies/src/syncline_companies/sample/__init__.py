"""A register of any size, made up: for demos, tests and benchmarks."""

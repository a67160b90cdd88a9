"""What a CUDA card must show, checked and timed: `python -m benchmarks cuda --minutes 6 --json DIR`."""

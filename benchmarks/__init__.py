"""What things cost, measured beside what others do: `python -m benchmarks SUITE`, from the repository's root."""

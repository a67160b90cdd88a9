"""How batches become rows: what `extract` is made of."""

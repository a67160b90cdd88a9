"""How rows are kept, in memory and in a Zarr group."""

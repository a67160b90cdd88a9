"""How layers are found, heard and copied: what `capture` and `list_layers` are made of."""

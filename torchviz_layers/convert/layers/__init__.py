"""The torch modules that converted networks are made of."""

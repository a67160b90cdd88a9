"""The version, in a module of its own: rooms name it in what they write."""

__version__ = "0.1.0"

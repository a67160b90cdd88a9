"""The version, in a module that every room can import: several write it into their files."""

__version__ = "0.1.0"

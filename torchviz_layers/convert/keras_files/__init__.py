"""Keras files read as typed records: configuration, graph of calls, arrays of each layer."""

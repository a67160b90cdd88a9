"""One test module a module of the library."""

"""Statements of Python as lines of at most 120 characters."""

from __future__ import annotations

_LINE = 120  # characters of a line at most
_INDENT = 8  # of the statements in a method


def assignment(name: str, expression: str, shape: str) -> list[str]:
    """Return an assignment with the shape as a comment: behind it, or above one that is too long."""
    if name == expression:
        return []
    line = f"{name} = {expression}"
    if shape and len(f"{line}  # {shape}") + _INDENT <= _LINE:
        return [f"{line}  # {shape}"]
    lines = wrapped(f"{name} = ", expression, "")
    return [f"# {shape}", *lines] if shape else lines


def return_statement(expression: str, lines: list[str]) -> list[str]:
    """Return the return statement; where the last line assigns the value, it becomes the return statement."""
    start = f"{expression} = "
    if lines and lines[-1].startswith(start):
        value = lines.pop().removeprefix(start)  # with its comment, if there is one
        return [f"return {value}"]
    return [f"return {expression}"]


def wrapped(start: str, expression: str, end: str) -> list[str]:
    """Return the lines of a statement: one, or an argument on each where that is too long."""
    if len(start + expression + end) + _INDENT <= _LINE or "(" not in expression:
        return [start + expression + end]
    head, _, rest = expression.partition("(")
    lines = [f"{start}{head}("]
    for part in _split_arguments(rest[:-1]):
        lines += [f"    {line}" for line in wrapped("", part, ",")]
    return [*lines, f"){end}"]


def _split_arguments(text: str) -> list[str]:
    """Split the arguments of a call at its own commas, not at those inside brackets or strings."""
    parts, depth, current, quoted = [], 0, "", False
    for character in text:
        if character == '"':
            quoted = not quoted
        elif not quoted:
            depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0 and not quoted:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [*parts, current.strip()] if current.strip() else parts


def indented(lines: list[str]) -> list[str]:
    """Indent the lines of a method."""
    return [f"        {line}" for line in lines]

"""The source of the modules in `layers`, and of all that they need, for files that do not import this library."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from dataclasses import dataclass
from functools import cache
from types import ModuleType

_PACKAGE = "torchviz_layers.convert.layers"
# in an order in which their definitions can follow each other in one file
_MODULES = (
    "activations",
    "core",
    "convolution",
    "transposed",
    "pooling",
    "normalization",
    "merging",
    "attention",
    "recurrent_cells",
    "recurrent",
    "wrappers",
    "resampling",
    "encoding",
    "reductions",
    "shapes",
    "functions",
    "operations",
)
_IMPORTS = {
    "Callable": "collections.abc",
    "Sequence": "collections.abc",
    "Any": "typing",
    "NamedTuple": "typing",
}


@dataclass(frozen=True)
class Definition:
    """One class, function or table at the top of a module, and the names that its source uses."""

    name: str
    position: tuple[int, int]  # number of the module, line
    source: str
    uses: frozenset[str]


@cache
def definitions() -> dict[str, Definition]:
    """Return every top-level definition of `layers` by its name."""
    found: dict[str, Definition] = {}
    for number, name in enumerate(_MODULES):
        for definition in _of_module(importlib.import_module(f"{_PACKAGE}.{name}"), number):
            if definition.name in found:
                raise RuntimeError(f"two modules of {_PACKAGE} define {definition.name}")
            found[definition.name] = definition
    return found


def _of_module(module: ModuleType, number: int) -> list[Definition]:
    source = inspect.getsource(module)
    lines = source.splitlines()
    found = []
    for node in ast.parse(source).body:
        name = _name_of(node)
        if name is None:
            continue
        text = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        found.append(Definition(name, (number, node.lineno), _without_library(text), frozenset(_free_names(node))))
    return found


def _name_of(node: ast.stmt) -> str | None:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return node.name
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return None


def _free_names(node: ast.AST) -> set[str]:
    """Return the names that a definition uses and does not bind itself."""
    if isinstance(node, ast.FunctionDef):
        # A name that is assigned anywhere in a function is local to it.
        names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
        bound = {part.id for part in names if isinstance(part.ctx, ast.Store)}
        bound |= {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)}
        return {part.id for part in names} - bound
    if isinstance(node, ast.ClassDef):
        return {name for part in ast.iter_child_nodes(node) for name in _free_names(part)}
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _without_library(text: str) -> str:
    """Return a definition without this library's base class and without comments for tools."""
    text = re.sub(r"\(KerasModule, ", "(", text)
    text = text.replace("(KerasModule)", "(nn.Module)")
    return re.sub(r"  # (type: ignore|noqa)[^\n]*", "", text)


def needed(wanted: set[str]) -> tuple[list[str], list[str]]:
    """Return the import lines and definitions that the given names need, in an order that runs."""
    known = definitions()
    # Everything that the wanted definitions use, and what those use in turn.
    pending, taken = [name for name in wanted if name in known], set()
    while pending:
        name = pending.pop()
        if name not in taken:
            taken.add(name)
            pending += [use for use in known[name].uses if use in known]
    chosen = sorted((known[name] for name in taken), key=lambda definition: definition.position)
    used = {use for definition in chosen for use in definition.uses}
    by_module: dict[str, list[str]] = {}
    for name in sorted(used & set(_IMPORTS)):
        by_module.setdefault(_IMPORTS[name], []).append(name)
    imports = [f"from {module} import {', '.join(names)}" for module, names in sorted(by_module.items())]
    return imports, [definition.source for definition in chosen]

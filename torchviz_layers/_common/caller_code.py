"""`package.module:name`: what a caller's own code makes, imported and called by the name of it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchviz_layers.exceptions import TorchvizLayersError


def make_current_folder_importable() -> None:
    """Let Python import what is in the current folder, as `python -m` does and an installed command does not."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        # Last, so that no file of the folder is imported instead of a library of the same name.
        sys.path.append(folder)


@dataclass(frozen=True)
class CallerCode:
    """A name in a module of the caller's.

    Attributes
    ----------
    spec : str
        `package.module:name`.
    kind : str
        What is expected there, "model" say, and the start of each error message.
    error : type
        The error that everything which the code raises becomes.
    expected : str
        What the caller may give in place of `spec`.
    """

    spec: str
    kind: str
    error: type[TorchvizLayersError]
    expected: str

    def find(self) -> Any:
        """Import the module and return what has the name."""
        module, _, name = self.spec.rpartition(":")
        if module.endswith(".py") or not all(part.isidentifier() for part in [*module.split("."), name]):
            raise self.error(
                f"{self.kind} {self.spec!r} was not found, names joined by dots are needed, without .py: expected "
                f"{self.expected}"
            )
        found = self.run(lambda: getattr(importlib.import_module(module), name, None))
        if found is None:
            raise self.error(
                f"{self.kind} {self.spec!r} was not found ({module!r} has no {name!r}): expected {self.expected}"
            )
        return found

    def run(self, code: Callable[[], Any]) -> Any:
        """Call the caller's code; whatever it raises becomes an error that names it."""
        try:
            return code()
        except ModuleNotFoundError as problem:
            raise self.error(
                f"{self.kind} {self.spec!r} was not found ({problem}): expected {self.expected}"
            ) from problem
        except Exception as problem:
            raise self.error(f"{self.kind} {self.spec!r} failed: {type(problem).__name__}: {problem}") from problem

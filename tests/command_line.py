"""The command line, run in the tests' own process."""

import shlex
import sys
import warnings
from collections.abc import Callable
from typing import Any

from torchviz_layers.cli import commands


def command_line(monkeypatch: Any, capsys: Any) -> Callable[[str], tuple[int, str, str]]:
    """Return a function that runs the words of a command and returns its exit code, output and error output."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # which the command line changes

    def command(words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["torchviz-layers", *shlex.split(words)])
        try:
            commands.main()
            code = 0
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return code, out, err

    return command

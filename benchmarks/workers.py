"""Programs that run in a process of their own and answer each line with one line of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any


class Worker:
    """A running program; what it prints besides its answers is kept for the error message."""

    def __init__(self, command: Sequence[str], **environment: str) -> None:
        self.name = " ".join(command)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in `close`; a pipe would fill up
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | environment,
        )

    def ask(self, request: Any = None) -> dict[str, Any]:
        """Send a request and wait for the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it died on its imports: the missing answer tells
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise RuntimeError(f"{self.name} died:\n{self._errors.read()[-3000:]}")
        return dict(json.loads(line))

    def close(self) -> None:
        """Let the program end."""
        self._process.communicate(timeout=60)
        self._errors.close()

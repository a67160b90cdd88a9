"""What the CUDA suite found: printed, saved and logged as it comes. Imports no torch."""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cuda.goals import Row, on_one_line
from benchmarks.report import Report, Table, shown

UNKNOWN = "an unknown card"


class Record:
    """The rows of a run.

    Parameters
    ----------
    folder
        Where the file of results goes, and the log of what failed. None: nowhere.
    settings
        How the suite runs; `unfinished` in the file are the parts that have not ended.
    parts
        Names of all parts that are to run.

    Attributes
    ----------
    environment
        Where it runs, as soon as that is known: the file is named after the card.
    """

    def __init__(self, folder: Path | None, settings: dict[str, Any], parts: list[str]) -> None:
        self.folder, self.settings = folder, settings
        self.environment: dict[str, Any] | None = None
        self.goals = Table("goals", "Goals", [])
        self.parts = Table("parts", "Seconds that each part took, its preparations included", [])
        self._unfinished = list(parts)
        self._began = time.monotonic()
        self._written: Path | None = None
        self._log: list[str] = []

    def add(self, row: Row) -> None:
        """Print a row and save what there is."""
        print(_line(row), flush=True)
        self.goals.rows.append(row)
        self.save()

    def ended(self, part: str, seconds: float) -> None:
        """Note that a part ended, well or not."""
        self._unfinished.remove(part)
        self.parts.rows.append({"name": part, "seconds": seconds})

    def log(self, title: str, text: str) -> None:
        """Keep what the process of a failed part wrote: its traceback, or the stack of a crash."""
        self._log.append(f"==== {title}\n{text.strip()}\n")
        self.save()

    def finish(self, stopped: str | None) -> Counter[str]:
        """Save, print what the outcomes come to on one line, and return their counts."""
        self.save()
        counts = Counter(row["outcome"] for row in self.goals.rows)
        summary = [", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "nothing measured"]
        if stopped is not None:
            summary.insert(0, f"stopped by {stopped}")
        summary.append(f"{(time.monotonic() - self._began) / 60:.1f} minutes")
        if self._written is not None:
            summary.append(str(self._written))
            if self._log:
                summary.append(str(_log_of(self._written)))
        print("\n" + "; ".join(summary), flush=True)
        return counts

    def save(self) -> None:
        """Write the file and the log, where a folder was named."""
        if self.folder is None:
            return
        where = self.environment or self._guessed_environment()
        settings = self.settings | {"unfinished": self._unfinished}
        path = self.folder / file_name(where["card"], quick=settings["quick"], partial=settings["only"] is not None)
        if self._written != path:
            if self._written is not None:  # the card's name was not known yet
                self._written.unlink()
                _log_of(self._written).unlink(missing_ok=True)
            _log_of(path).unlink(missing_ok=True)  # an older run's
        Report("cuda", settings, where, [self.goals, self.parts]).save(path)
        if self._log:
            _log_of(path).write_text("\n".join(self._log), encoding="utf-8")
        self._written = path

    def _guessed_environment(self) -> dict[str, Any]:
        """Return what is known without the process that runs the parts, which has not started."""
        from benchmarks.environment import environment

        return environment("cpu") | {"card": UNKNOWN if self.settings["device"].startswith("cuda") else None}


def file_name(card: str | None, *, quick: bool = False, partial: bool = False) -> str:
    """Return the name of the file of results.

    `nvidia-h200-cuda.json`; with `-quick` or `-partial` where it does not hold everything, so that it does not replace
    the one that does. On the CPU it is a name that no document takes.
    """
    if card is None:
        return "rehearsal.json"
    name = re.sub("[^a-z0-9]+", "-", card.lower()).strip("-")
    return f"{name}-cuda{'-quick' if quick else ''}{'-partial' if partial else ''}.json"


def check_folder(folder: Path | None) -> None:
    """Make the folder of results and write into it, before anything is measured.

    Raises
    ------
    OSError
        Where that is not possible, with the folder's name in the message.
    """
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"--json {folder}: this is a file; name a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"--json {folder}: {error.strerror or error}") from error


def _log_of(path: Path) -> Path:
    return path.with_suffix(".log")


def _line(row: Mapping[str, Any]) -> str:
    seconds = f", {shown(row['seconds'])} s" if row.get("seconds") is not None else ""
    goal = f" (goal: {row['goal']})" if row["goal"] else ""
    return f"{row['outcome']:<12} " + on_one_line(f"{row['name']}: {row['measured']}{seconds}{goal}")

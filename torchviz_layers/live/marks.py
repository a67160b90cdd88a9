"""The reader's marks: a label and a note per sample, in a JSON file that is never half written."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torchviz_layers.exceptions import PageError
from torchviz_layers.page.document import write_beside

FORMAT = 1
MAX_LABEL, MAX_NOTE = 60, 2_000


@dataclass(frozen=True)
class Mark:
    """One mark: the sample's id, a label such as "suspect", a note, and the time."""

    id: int | str
    label: str
    note: str = ""
    time: str = ""


class Marks:
    """The marks of one file, by the samples' ids.

    The file is read again before it is written, so that changes by another server or an editor are kept.

    Parameters
    ----------
    path
        The file; the first mark creates it.

    Raises
    ------
    PageError
        If the file exists and does not contain marks; it is not changed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._marks = _read(path)

    def __iter__(self) -> Iterator[Mark]:
        return iter(self._marks.values())

    def put(self, ids: Iterable[int | str], label: str, note: str = "") -> None:
        """Mark samples, or remove their marks with an empty label; the file is written immediately.

        Raises
        ------
        PageError
            If a text is too long, or the file cannot be read or written. Nothing is changed then.
        """
        label, note = label.strip(), note.strip()
        if len(label) > MAX_LABEL or len(note) > MAX_NOTE:
            raise PageError(
                f"mark: a label of {len(label)} characters and a note of {len(note)}; "
                f"at most {MAX_LABEL} and {MAX_NOTE:,} are allowed"
            )
        with self._lock:
            # What another server or an editor has written since stays.
            marks = _read(self.path)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            for name in ids:
                # Removed first, so that a changed mark moves to the end.
                marks.pop(name, None)
                if label:
                    marks[name] = Mark(name, label, note, now)
            text = json.dumps({"format": FORMAT, "marks": [asdict(mark) for mark in marks.values()]}, indent=1)
            write_beside(self.path, lambda beside: beside.write_text(text + "\n", encoding="utf-8"))
            self._marks = marks


def _read(path: Path) -> dict[int | str, Mark]:
    """Return the marks of a file by the samples' ids; none if there is no file."""
    try:
        records = _records(path.read_text(encoding="utf-8"))
        marks = [_mark(record) for record in records]
    except FileNotFoundError:
        return {}
    except OSError as problem:
        raise PageError(f"marks: {path} cannot be read: {problem.strerror}") from problem
    except (ValueError, TypeError, KeyError) as problem:
        raise PageError(
            f"marks: {path} holds no marks of this program and is not changed; give another file (--marks)"
        ) from problem
    return {mark.id: mark for mark in marks}


def _records(text: str) -> list[dict[str, Any]]:
    content = json.loads(text)
    if content["format"] != FORMAT or not isinstance(content["marks"], list):
        raise ValueError("another format")
    return list(content["marks"])


def _mark(record: dict[str, Any]) -> Mark:
    """Return a mark; raise `TypeError` or `KeyError` for a record that is not one."""
    mark = Mark(**record)
    # bool is a subclass of int, hence `type`.
    if type(mark.id) not in (int, str) or not all(isinstance(part, str) for part in (mark.label, mark.note, mark.time)):
        raise TypeError("no mark")
    return mark

"""What a reader marks: a label and a note a sample, in a JSON file that is written as a whole or not at all."""

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
    """What a reader says of one sample: its id, a label ("suspect"), a note, and when."""

    id: int | str
    label: str
    note: str = ""
    time: str = ""


class Marks:
    """The marks of one file, by the samples' ids.

    The file is read again before it is written, so that what another server or an editor has put there stays.

    Parameters
    ----------
    path
        The file; it is made by the first mark.

    Raises
    ------
    PageError
        If there is a file that holds no marks; it is left as it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._marks = _read(path)

    def __iter__(self) -> Iterator[Mark]:
        return iter(self._marks.values())

    def put(self, ids: Iterable[int | str], label: str, note: str = "") -> None:
        """Mark samples, or take their marks away with an empty label; the file is written at once.

        Raises
        ------
        PageError
            If a text is too long, or the file cannot be read or written; nothing is changed then.
        """
        label, note = label.strip(), note.strip()
        if len(label) > MAX_LABEL or len(note) > MAX_NOTE:
            raise PageError(
                f"mark: a label of {len(label)} letters, a note of {len(note)}; "
                f"at most {MAX_LABEL} and {MAX_NOTE:,} are kept"
            )
        with self._lock:
            marks = _read(self.path)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            for name in ids:
                marks.pop(name, None)
                if label:
                    marks[name] = Mark(name, label, note, now)
            text = json.dumps({"format": FORMAT, "marks": [asdict(mark) for mark in marks.values()]}, indent=1)
            write_beside(self.path, lambda beside: beside.write_text(text + "\n", encoding="utf-8"))
            self._marks = marks


def _read(path: Path) -> dict[int | str, Mark]:
    try:
        return {mark.id: mark for mark in map(_mark, _records(path.read_text(encoding="utf-8")))}
    except FileNotFoundError:
        return {}
    except OSError as problem:
        raise PageError(f"marks: {path} cannot be read: {problem.strerror}") from problem
    except (ValueError, TypeError, KeyError) as problem:
        raise PageError(
            f"marks: {path} holds no marks of this program and is left as it is; give another file (--marks)"
        ) from problem


def _records(text: str) -> list[dict[str, Any]]:
    content = json.loads(text)
    if content["format"] != FORMAT or not isinstance(content["marks"], list):
        raise ValueError("another format")
    return list(content["marks"])


def _mark(record: dict[str, Any]) -> Mark:
    mark = Mark(**record)
    if type(mark.id) not in (int, str) or not all(isinstance(part, str) for part in (mark.label, mark.note, mark.time)):
        raise TypeError("no mark")
    return mark

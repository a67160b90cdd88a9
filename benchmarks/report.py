"""What a suite found: tables with their environment, printed, written as JSON and compared."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """One comparison: rows of the same columns; a row that could not run says why in `note`."""

    name: str
    title: str
    rows: list[dict[str, Any]]

    def columns(self) -> list[str]:
        """Return the columns that a reader wants: all but the raw repeats, those without any value left out."""
        seen = dict.fromkeys(key for row in self.rows for key in row if not isinstance(row[key], list))
        return [key for key in seen if any(row.get(key) is not None for row in self.rows)]


@dataclass(frozen=True)
class Report:
    """A suite's tables, how it ran and where."""

    suite: str
    settings: dict[str, Any]
    environment: dict[str, Any]
    tables: list[Table] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write JSON beside and rename, so that no half-written file stays."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".part")
        draft.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        os.replace(draft, path)

    @classmethod
    def load(cls, path: Path) -> Report:
        """Read what `save` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(**content | {"tables": [Table(**table) for table in content["tables"]]})

    def text(self) -> str:
        """Return all tables as aligned text."""
        return "\n\n".join(f"{table.title}\n{aligned(table.columns(), table.rows)}" for table in self.tables)


def shown(value: Any) -> str:
    """Return a cell as text: three significant digits for numbers that are measured."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    if value == 0 or not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}" if value else "0"
    digits = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:,.{digits}f}"


def aligned(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as text with aligned columns, the first to the left and the others to the right."""
    cells = [list(columns), *([shown(row.get(column)) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) if not place else cell.rjust(width) for place, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in cells)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def compare(before: Report, after: Report) -> str:
    """Return, table by table, how the seconds changed: ratios under 1 are gains."""
    parts = []
    old = {(table.name, row["name"]): row for table in before.tables for row in table.rows}
    for table in after.tables:
        rows = []
        for row in table.rows:
            then, now = old.get((table.name, row["name"]), {}).get("seconds"), row.get("seconds")
            ratio = now / then if then and now else None
            rows.append({"name": row["name"], "before": then, "after": now, "after / before": ratio})
        parts.append(f"{table.title}\n{aligned(list(rows[0]) if rows else ['name'], rows)}")
    differ = [
        f"{key}: {before.environment.get(key)} before, {value} after"
        for key, value in after.environment.items()
        if key not in ("date", "load") and before.environment.get(key) != value
    ]
    return "\n\n".join([*parts, *(["the environments differ:\n" + "\n".join(differ)] if differ else [])])

"""Tables in README and docs, written from the JSON in `results/`: `python -m benchmarks.tables [--check] FILE.md...`.

A table stands between two comments, and everything between them is replaced::

    <!-- benchmark: extraction-cpu/LeNet60 columns=cpu_over_plain,right rows=ours*,timm* -->
    <!-- /benchmark -->

The first word names the file in `results/` and the table in it; `columns` and `rows` (glob patterns of names) choose
and order what is shown, `names` gives the column heads. A single number inside a sentence is
`<!-- number: notebook-cpu/notebook/the notebook as written/cold_over_ours -->8.2<!-- /number -->`. Between
`<!-- cards -->` and `<!-- /cards -->` stand the goals of every card that was measured.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from benchmarks.report import Report, Table, shown

RESULTS = Path(__file__).with_name("results")
_BLOCK = re.compile(r"(<!-- benchmark: (.+?) -->\n).*?(<!-- /benchmark -->)", re.DOTALL)
_CARDS = re.compile(r"(<!-- cards -->\n).*?(<!-- /cards -->)", re.DOTALL)
_NUMBER = re.compile(r"(<!-- number: (.+?) -->).*?(<!-- /number -->)")
HEADS = {
    "name": "",
    "seconds": "seconds",
    "first_seconds": "first run, s",
    "cpu_seconds": "CPU s",
    "cold_seconds": "cold, s",
    "import_seconds": "import, s",
    "convert_seconds": "load, s",
    "peak_mb": "peak MB",
    "html_mb": "MB",
    "knn_accuracy": "10-NN",
}


def rendered(text: str, results: Path = RESULTS) -> str:
    """Return the text with every table and number between markers as the JSON has it now."""
    text = _BLOCK.sub(lambda found: f"{found[1]}{_block(found[2], results)}\n{found[3]}", text)
    text = _CARDS.sub(lambda found: f"{found[1]}{_cards(results)}\n{found[2]}", text)
    return _NUMBER.sub(lambda found: f"{found[1]}{_number(found[2], results)}{found[3]}", text)


def markdown(table: Table, columns: Sequence[str] = (), rows: Sequence[str] = (), names: Sequence[str] = ()) -> str:
    """Return a table as Markdown: the chosen columns after the name, the rows that match, in the order of `rows`."""
    shown_columns = ["name", *(columns or [column for column in table.columns() if column != "name"])]
    if unknown := [column for column in shown_columns if not any(column in row for row in table.rows)]:
        raise KeyError(f"table {table.name!r} has no column {', '.join(unknown)}; it has {', '.join(table.columns())}")
    chosen = [row for pattern in rows or ["*"] for row in table.rows if fnmatch(row["name"], pattern)]
    heads = ["", *names] if names else [HEADS.get(column, column.replace("_", " ")) for column in shown_columns]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    lines += [[_cell(row, column) for column in shown_columns] for row in chosen]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(row: dict[str, Any], column: str) -> str:
    if row.get(column) is None:
        return str(row.get("note") or "") if column == "seconds" else ""
    # A line or a bar in an error's message would end the row or the cell.
    return " ".join(shown(row[column]).split()).replace("|", "\\|")


def _block(words: str, results: Path) -> str:
    place, *options = re.split(r" (?=(?:columns|rows|names)=)", words)
    chosen = {key: value.split(",") for key, value in (option.split("=", 1) for option in options)}
    file, table = place.split("/", 1)
    return markdown(_table(results / f"{file}.json", table), **chosen)


def _cards(results: Path) -> str:
    """Return a heading and the goals of each card that was measured."""
    sections = []
    for path in sorted(results.glob("*-cuda.json")):
        report = Report.load(path)
        where = report.environment
        packages = [name for name in ("torch", "cuml-cu12", "cuml-cu13") if name in where["versions"]]
        versions = ", ".join(f"{name} {where['versions'][name]}" for name in packages)
        about = f"{where['date']}, commit {where['commit']}, driver {where['driver']}, {versions}."
        about += "".join(f" {sentence}" for sentence in _left_out(report.settings))
        table = _table(path, "goals")
        columns = ["goal", "measured", "outcome", *(key for key in ("seconds", "peak_mb") if key in table.columns())]
        sections.append(f"### {where['card']}\n\n{about}\n\n{markdown(table, columns)}")
    return "\n\n".join(sections) or "No card has been measured yet."


def _left_out(settings: dict[str, Any]) -> Iterator[str]:
    """Say what a run on a card did not measure."""
    if settings.get("quick"):
        yield "A quick run: small sizes, and no time is judged."
    if settings.get("only"):
        yield f"These parts alone were run: {', '.join(settings['only'])}."
    if settings.get("unfinished"):
        yield f"These parts did not end within the run's time: {', '.join(settings['unfinished'])}."


def _number(words: str, results: Path) -> str:
    file, table, name, column = words.split("/")
    (row,) = [row for row in _table(results / f"{file}.json", table).rows if row["name"] == name]
    return shown(row[column])


def _table(path: Path, name: str) -> Table:
    tables = {table.name: table for table in Report.load(path).tables}
    if name not in tables:
        raise KeyError(f"{path.name} has no table {name!r}; it has {', '.join(tables)}")
    return tables[name]


def main() -> None:
    """Rewrite the files, or with --check say which differ (exit code 1)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    stale = []
    for file in options.files:
        before = file.read_text(encoding="utf-8")
        after = rendered(before)
        if after != before:
            stale.append(str(file))
            if not options.check:
                file.write_text(after, encoding="utf-8")
    print("\n".join(stale))
    sys.exit(bool(options.check and stale))


if __name__ == "__main__":
    main()

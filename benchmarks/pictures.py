"""Results as plain SVG, readable in light and dark: `python -m benchmarks.pictures RESULT.json FILE.svg`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks.report import Report

WIDTH, HEIGHT, MARGIN = 760, 430, 64
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7f7f7f", "#b8a100", "#5e3c99")

Series = dict[str, list[tuple[float, float]]]


def speed_and_quality(report: Report) -> str:
    """Draw warm seconds against trustworthiness, a point a reducer."""
    rows = [row for row in report.tables[0].rows if row.get("seconds")]
    series = {row["name"]: [(row["seconds"], row["trustworthiness"])] for row in rows}
    return chart(report.tables[0].title, "seconds, warm", "trustworthiness", series, log_y=False)


def scaling(report: Report) -> str:
    """Draw seconds against samples, a line a stage."""
    series: Series = {}
    for row in report.tables[0].rows:
        series.setdefault(row["stage"], []).append((row["n"], row["seconds"]))
    return chart(report.tables[0].title, "samples", "seconds", series, log_y=True)


def chart(title: str, x_label: str, y_label: str, series: Series, *, log_y: bool) -> str:
    """Return an SVG of points, joined where a series has several; x is logarithmic."""
    points = [point for line in series.values() for point in line]
    x_place = _Axis([x for x, _ in points], MARGIN, WIDTH - 190, log=True)
    y_place = _Axis([y for _, y in points], HEIGHT - MARGIN, MARGIN, log=log_y)
    parts = [_text(WIDTH / 2, 26, title, "middle", 15)]
    for tick in x_place.ticks():
        parts.append(_text(x_place(tick), HEIGHT - MARGIN + 22, f"{tick:,g}", "middle"))
        parts.append(_line(x_place(tick), MARGIN, x_place(tick), HEIGHT - MARGIN))
    for tick in y_place.ticks():
        parts.append(_text(MARGIN - 8, y_place(tick) + 4, f"{tick:,g}", "end"))
        parts.append(_line(MARGIN, y_place(tick), WIDTH - 190, y_place(tick)))
    parts.append(_text((MARGIN + WIDTH - 190) / 2, HEIGHT - 14, x_label, "middle"))
    parts.append(_text(MARGIN - 40, MARGIN - 16, y_label, "start"))
    for place, (name, line) in enumerate(series.items()):
        color = COLORS[place % len(COLORS)]
        path = " ".join(f"{x_place(x):.1f},{y_place(y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        for x, y in line:
            parts.append(f'<circle cx="{x_place(x):.1f}" cy="{y_place(y):.1f}" r="4.5" fill="{color}"/>')
        parts.append(f'<circle cx="{WIDTH - 172}" cy="{MARGIN + 22 * place}" r="4.5" fill="{color}"/>')
        parts.append(_text(WIDTH - 160, MARGIN + 22 * place + 4, name, "start"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    return "\n".join([head, *parts, "</svg>", ""])


class _Axis:
    """Places values on a stretch of the picture."""

    def __init__(self, values: Sequence[float], start: float, end: float, *, log: bool) -> None:
        self._scale = math.log10 if log else float
        low, high = self._scale(min(values)), self._scale(max(values))
        room = 0.05 * (high - low) or 0.5
        self._low, self._high, self._start, self._end, self._log = low - room, high + room, start, end, log

    def __call__(self, value: float) -> float:
        share = (self._scale(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Return round values within the axis: 1, 2 and 5 times powers of ten if logarithmic, else five steps."""
        if not self._log:
            step = 10 ** math.floor(math.log10((self._high - self._low) / 3))
            first = math.ceil(self._low / step)
            return [round(step * place, 12) for place in range(first, math.floor(self._high / step) + 1)]
        powers = range(math.floor(self._low), math.ceil(self._high) + 1)
        steps = (1,) if self._high - self._low > 3 else (1, 2, 5)
        ticks = [float(step * 10.0**power) for power in powers for step in steps]
        return [tick for tick in ticks if self._low <= math.log10(tick) <= self._high]


def _text(x: float, y: float, words: str, anchor: str, size: int = 12) -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {where} fill="#808080">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    where = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {where} stroke="#808080" stroke-opacity="0.25"/>'


def main() -> None:
    """Draw the picture that fits the suite."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("result", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    report = Report.load(options.result)
    draw = {"reducers": speed_and_quality, "scaling": scaling}.get(report.suite)
    if draw is None:
        parser.error(f"{report.suite} has no picture; reducers and scaling have one")
    options.picture.write_text(draw(report), encoding="utf-8")


if __name__ == "__main__":
    main()

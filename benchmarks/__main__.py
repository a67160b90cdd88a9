"""`python -m benchmarks SUITE [--quick] [--data SPEC] [--device cpu|cuda] [--json PATH]`; `cuda` checks a card."""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import time
from pathlib import Path

import torch

from benchmarks.cuda.parts import PARTS
from benchmarks.environment import environment
from benchmarks.report import Report, compare

SUITES = ("extraction", "reducers", "conversion", "page", "notebook", "scaling", "suspects")
CUDA = "cuda"


def main() -> None:
    """Run one suite or all, print the tables and write them where asked."""
    options = _parser().parse_args()
    if options.compare:
        print(compare(*map(Report.load, options.compare)))
        return
    if options.suite is None:
        _parser().error("name a suite, or --compare A.json B.json")
    options.device = options.device or ("cuda" if options.suite == CUDA else "cpu")
    if options.device == "cuda" and not torch.cuda.is_available():
        hint = "; --device cpu --quick rehearses the suite" if options.suite == CUDA else ""
        _parser().error(f"--device cuda: PyTorch sees no CUDA card here{hint}")
    if options.suite == CUDA:
        sys.exit(importlib.import_module("benchmarks.cuda.suite").main(options))
    for suite in SUITES if options.suite == "all" else [options.suite]:
        where, started = environment(options.device), time.perf_counter()
        tables = importlib.import_module(f"benchmarks.{suite}").run(options)
        settings = {"quick": options.quick, "data": options.data, "device": options.device}
        report = Report(suite, settings, where, tables)
        print(f"{report.text()}\n\n{suite}: {time.perf_counter() - started:.0f} s\n", flush=True)
        if path := _target(options, suite):
            report.save(path)
            print(path)


def _target(options: argparse.Namespace, suite: str) -> Path | None:
    """Return where the suite's JSON goes: FILE, or FILE as a folder of one file a suite with `all`."""
    if options.json is None:
        return None
    return options.json / f"{suite}.json" if options.suite == "all" else options.json


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of minutes")
    return minutes


def _parser() -> argparse.ArgumentParser:
    parts = ", ".join(f"{name} ({part.about})" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"Parts of `cuda`, the most important first: {parts}.",
    )
    parser.add_argument("suite", nargs="?", choices=[*SUITES, CUDA, "all"])
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats: under two minutes for all")
    parser.add_argument("--data", metavar="SPEC", help="what load_dataset takes; default mnist where it is, or digits")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default cpu; cuda for the suite `cuda`")
    parser.add_argument("--repeats", type=int, metavar="N", help="default 5; 2 with --quick")
    parser.add_argument(
        "--json", type=Path, metavar="PATH", help="write the tables to this file (`all` and `cuda`: into this folder)"
    )
    parser.add_argument(
        "--minutes", type=_minutes, default=6.0, metavar="N", help="of `cuda`: end after N minutes (default 6)"
    )
    parser.add_argument("--tensorflow", type=Path, metavar="PYTHON", help="interpreter that has TensorFlow, as a peer")
    parser.add_argument(
        "--max-n", type=int, metavar="N", help="at most N samples; `reducers` takes 10,000 by itself, `scaling` 50,000"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help="these of the `reducers`, networks of `extraction`, or parts of `cuda`",
    )
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("A.json", "B.json"))
    return parser


if __name__ == "__main__":
    main()

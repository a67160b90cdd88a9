"""Run the suite on the oldest versions that pyproject.toml allows, then on the newest: `make test-floors`.

Each set gets a new virtual environment in `build/floors/`, of several GB: torch from the registry brings CUDA along.
"""

import argparse
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(extra=None):
    """The requirements of the project itself, or of one extra and those that it names."""
    for line in PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]:
        own = re.match(rf"{PROJECT['name']}\[(.+)\]", line)
        if own:
            for name in own[1].split(","):
                yield from requirements(name.strip())
        else:
            yield line


def at_floor(requirement):
    """`name>=1.2,<3; marker` as the constraint `name==1.2; marker`."""
    parts = re.fullmatch(r"([\w.-]+)(?:\[.*\])?>=([\w.]+)[^;]*(;.*)?", requirement)
    if not parts:
        sys.exit(f"pyproject.toml: {requirement!r} names no lowest version (name>=version)")
    return f"{parts[1]}=={parts[2]}{parts[3] or ''}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=["floors", "newest"], help="only this one")
    parser.add_argument("--extras", default="test", help="which of the project's extras, with commas")
    parser.add_argument("--venvs", type=Path, default=ROOT / "build" / "floors", help="where the environments go")
    parser.add_argument("pytest", nargs="*", help="after --: arguments for pytest")
    options = parser.parse_args()

    python = ".".join(map(str, sys.version_info[:3]))
    lines, failed = [], False
    for chosen in [options.set] if options.set else ["floors", "newest"]:
        folder = options.venvs.resolve() / f"{python}-{chosen}"
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        in_venv = [folder / "bin" / "python", "-m"]

        # Wheels only: an old version that has none for this Python is to be named, not to be compiled for an hour.
        install = ["pip", "install", "--only-binary", ":all:", "--editable", f"{ROOT}[{options.extras}]"]
        if chosen == "floors":
            wanted = [*requirements(), *(r for extra in options.extras.split(",") for r in requirements(extra))]
            (folder / "floors.txt").write_text("\n".join(map(at_floor, wanted)) + "\n")
            install += ["--constraint", folder / "floors.txt"]
        print(f"python {python}, {chosen}: installing into {folder}", flush=True)
        with (folder / "install.log").open("w+") as log:
            code = subprocess.run([*in_venv, *install], stdout=log, stderr=subprocess.STDOUT, check=False).returncode
            log.seek(0)
            said = log.read().splitlines()
        if code:
            print(*said[-20:], sep="\n")
            lines.append(f"python {python}, {chosen}: not installed")
            failed = True
            continue
        subprocess.run([*in_venv, "pip", "list", "--format=freeze"], check=True)

        report = folder / "report.xml"
        run = [*in_venv, "pytest", f"--junit-xml={report}", *options.pytest]
        failed |= subprocess.run(run, cwd=ROOT, check=False).returncode != 0
        if not report.exists():
            lines.append(f"python {python}, {chosen}: pytest did not start")
            continue
        counts = {k: float(v) for k, v in ET.parse(report).find("testsuite").items() if re.fullmatch(r"[\d.]+", v)}
        bad = counts["failures"] + counts["errors"]
        lines.append(
            f"python {python}, {chosen}: {counts['tests'] - bad - counts['skipped']:.0f} passed, {bad:.0f} failed, "
            f"{counts['skipped']:.0f} skipped, {counts['time']:.0f} s"
        )
    print("\n".join(lines))
    return failed


if __name__ == "__main__":
    sys.exit(main())

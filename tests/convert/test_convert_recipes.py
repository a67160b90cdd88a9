"""The recipes in converters/ convert the models in models/ and keep their parity reports current."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stored_keras import LAYER_FILES, names_in

CONVERTERS = Path(__file__).parents[2] / "converters"


@pytest.mark.parametrize("name", ["mnist_dense128", "mnist_lenet60"])
def test_recipe_reproduces_its_parity_report(name: str, tmp_path: Path):
    kept = (CONVERTERS / f"{name}.parity.txt").read_text()
    done = subprocess.run(
        [sys.executable, CONVERTERS / f"{name}.py", "--out", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "equal within 1e-05" in kept
    assert done.stdout.splitlines()[:3] == kept.splitlines()[:3]
    assert (tmp_path / f"{name}.py").exists()
    assert (tmp_path / f"{name}.safetensors").exists()


def test_the_guide_tells_what_the_table_of_architectures_holds():
    rows = list(csv.DictReader((CONVERTERS / "applications.tsv").read_text().splitlines(), delimiter="\t"))
    compared = [row for row in rows if row["keras"]]
    assert {row["status"] for row in compared} == {"ok"}
    assert [row["architecture"] for row in rows if not row["keras"]] == ["NASNetMobile"]  # Keras 3 cannot build it
    counts = {
        version: len({row["architecture"] for row in compared if row["keras"] == version})
        for version in ("3.15.1", "2.15.0")
    }
    assert "NASNetMobile" in {row["architecture"] for row in compared if row["keras"] == "2.15.0"}
    guide = " ".join((CONVERTERS.parent / "docs/convert.md").read_text().split())
    assert f"Of Keras 3.15.1 on torch that are {counts['3.15.1']} architectures" in guide
    assert f"of Keras 2.15.0 {counts['2.15.0']}." in guide
    worst, largest = (max(float(row[column]) for row in compared) for column in ("difference", "peak_mb"))
    assert f"the largest difference is {worst:.1e} of the largest feature" in guide
    assert f"the largest process took {largest / 1000:.1f} GB" in guide


def test_the_guide_tells_how_many_small_files_there_are():
    guide = (CONVERTERS.parent / "docs/convert.md").read_text()
    assert f"{len(names_in(LAYER_FILES, '.npz'))} small files" in guide

"""The recipes in converters/ convert the models in models/ and keep their parity reports current."""

import subprocess
import sys
from pathlib import Path

import pytest

CONVERTERS = Path(__file__).parents[1] / "converters"


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

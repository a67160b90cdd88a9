import re
import runpy
import sys
from pathlib import Path

import pytest

from torchviz_layers import data

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize(
    ("name", "digits", "said"),
    [
        ("own_model", 400, r"own_model\.html$"),
        ("two_checkpoints", 1400, r"epoch 2: accuracy (0\.\d+)\nepoch 12: accuracy (0\.\d+)\n"),
        ("resnet_on_folder", None, r"(?s)input +purity 0\.\d\d\n.*avgpool +purity (0\.[5-9]\d|1\.00)\n"),
        ("keras_to_source", None, r"largest difference: (0\.0|\d\.\d+e-0[6-9])"),
    ],
)
def test_example_runs_and_says_what_it_found(name, digits, said, tmp_path, monkeypatch, capsys):
    load = data._load_digits
    monkeypatch.setattr(data, "_load_digits", lambda split: load(split)[:digits])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    found = re.search(said, capsys.readouterr().out.rstrip() + "\n", re.M)
    assert found
    if name == "two_checkpoints":
        assert float(found[1]) < float(found[2])

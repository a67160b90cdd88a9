import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from torchviz_layers.data import datasets as data

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize(
    ("name", "digits", "said"),
    [
        ("own_model", 400, r"own_model\.html$"),
        ("three_checkpoints", 1400, r"epoch 1: accuracy (0\.\d+)\nepoch 3: .*\nepoch 12: accuracy (0\.\d+)\n"),
        ("resnet_on_folder", None, r"(?s)input \(thumbnails\) +purity 0\.\d\d\n.*avgpool +purity (0\.[5-9]\d|1\.00)\n"),
        ("table_breast_cancer", None, r"accuracy 0\.9\d+\nbreast_cancer\.html\n"),
        ("regression_houses", None, r"ten largest residuals: (9|10)\nhouses\.html\n"),
        ("series_conv1d", None, r"accuracy (0\.[6-9]\d+|1\.000)\npulses\.html\n"),
        ("segmentation", None, r"without predictions: .*\nsegmentation\.html\n"),
        ("imagefolder_timm", None, r"(?s)^input \(thumbnails\) +purity 0\.\d\d\n.*fc +purity"),
        ("text_classifier", None, r"(?s)embeddings +purity 0\.\d\d\n.*classifier +purity (0\.[7-9]\d|1\.00)\n"),
        ("keras_to_source", None, r"largest difference: (0\.0|\d\.\d+e-0[6-9])"),
    ],
)
def test_example_runs_and_says_what_it_found(name, digits, said, tmp_path, monkeypatch, capsys):
    library = {"imagefolder_timm": "timm", "text_classifier": "transformers"}.get(name)
    if library is not None:
        pytest.importorskip(library)
    load = data.load_digits
    monkeypatch.setattr(data, "load_digits", lambda split: load(split)[:digits])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    found = re.search(said, capsys.readouterr().out.rstrip() + "\n", re.M)
    assert found
    if name == "three_checkpoints":
        assert float(found[1]) < float(found[2])


@pytest.mark.slow
def test_a_million_pictures_in_small_go_through_two_processes_to_a_page(tmp_path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, str(EXAMPLES / "million.py"), "--images", "600", "--side", "32", "--shown", "200"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = str(EXAMPLES.parent)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "million.html"  # the first process writes it
    assert "200 of 600" in (tmp_path / "million.html").read_text(encoding="utf-8")

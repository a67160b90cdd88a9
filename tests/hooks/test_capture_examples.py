import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "needs", "said"),
    [
        ("basics", "torchvision", "Grad-CAM: (4, 2, 2)"),
        ("large", "zarr", "1  20,000 x 128  float32"),
        ("training_loop", "sklearn", "epoch 20:"),
        pytest.param("timm", "timm", "blocks.11  8 x 192", marks=pytest.mark.slow),
        pytest.param("huggingface", "transformers", "bert.encoder.layer.2.output  4 x 32", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore")  # other people's
def test_examples_run(name, needs, said, tmp_path, monkeypatch, capsys):
    pytest.importorskip(needs, reason=f"{needs} is not installed")
    monkeypatch.setattr(sys, "argv", [name, str(tmp_path / "acts.zarr")])
    runpy.run_path(str(EXAMPLES / f"hooks_{name}.py"), run_name="__main__")
    assert said in capsys.readouterr().out

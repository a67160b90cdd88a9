"""What the documents show is run as it stands."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from torchviz_layers.cli import commands as cli
from torchviz_layers.convert import registry

ROOT = Path(__file__).parent.parent
FEW_DIGITS = """
import numba
numba.set_num_threads(1)  # the tests' other worker has a core too
from torchviz_layers.data import datasets as data
load_all = data.load_digits
data.load_digits = lambda split: load_all(split)[:400]
"""
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Set-up from nothing: .ci/run does these for real; here they would install the whole once more.
SET_UP = ("make ", "python3 -m venv", ".venv/bin/", "pip install")


def blocks(language: str) -> list[tuple[Path, str]]:
    found = [(d, b) for d in DOCUMENTS for b in re.findall(rf"^```{language}\n(.*?)^```", d.read_text(), re.M | re.S)]
    return [pytest.param(d, b, id=f"{d.name}-{k}") for k, (d, b) in enumerate(found)]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An empty folder that has the repository's `models/`, as the documents assume."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))  # docs/extending.md adds a rule
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TORCHVIZ_LAYERS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.usefixtures("checkout", "few_digits")
@pytest.mark.parametrize(("document", "block"), blocks("python"))
def test_python_blocks_run(document, block):
    exec(compile(block, str(document), "exec"), {"__name__": "__main__"})


@pytest.mark.usefixtures("checkout", "few_digits")
@pytest.mark.parametrize(("document", "block"), blocks("bash"))
def test_commands_run(document, block, monkeypatch):
    for line in block.splitlines():
        if line.startswith(SET_UP):
            continue
        assert line.startswith("torchviz-layers "), f"{document.name}: what is {line!r}?"
        monkeypatch.setattr(sys, "argv", shlex.split(line, comments=True))
        cli.main()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_within_the_repository_lead_somewhere(document):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
    assert [t for t in targets if not (document.parent / t).exists()] == []


def test_notebook_runs_on_the_embedded_data(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="the notebook extra is not installed")
    nbformat = pytest.importorskip("nbformat", reason="the notebook extra is not installed")
    monkeypatch.delenv("TORCHVIZ_LAYERS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    notebook = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FEW_DIGITS))
    nbclient.NotebookClient(notebook, timeout=100, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))
    dense, lenet = map(float, re.search(r"dense (0\.\d+), LeNet (0\.\d+)", printed).groups())
    assert 0.6 < dense < lenet
    html = [
        o["data"]["text/html"] for c in notebook.cells for o in c.get("outputs", []) if "text/html" in o.get("data", {})
    ]
    assert len(html) >= 6  # five figures and the page

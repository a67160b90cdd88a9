"""The promises that the package makes as a whole: who imports whom, what is public, what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import torchviz_layers

PACKAGE = Path(torchviz_layers.__file__).parent

# Each stage, and the stages that it may import besides those of `BELOW`; see CONTRIBUTING.md.
MAY_IMPORT = {
    "exceptions": set(),
    "data": set(),
    "neighbors": set(),
    "capture": set(),
    "activations": set(),
    "convert": set(),
    "page": set(),
    "models": {"convert"},
    "extract": {"capture", "activations"},
    "reduce": {"neighbors"},
    "metrics": {"neighbors"},
    "corner_cases": {"metrics", "neighbors"},
}
# The insides of a stage, in packages of their own.
INSIDES = {"_extract": {"activations"}}
MAY_IMPORT["embedding"] = {"neighbors", "reduce"}
MAY_IMPORT["tables"] = {"activations", "embedding"}
MAY_IMPORT["pipeline"] = set(MAY_IMPORT)
MAY_IMPORT["serve"] = {*MAY_IMPORT, "pipeline"}
INSIDES["_serve"] = MAY_IMPORT["serve"]
MAY_IMPORT["cli"] = {*MAY_IMPORT, "serve"}
INSIDES["_cli"] = MAY_IMPORT["cli"]
HEAVY = ("umap", "numba", "cuml", "sklearn", "scipy", "bokeh", "h5py", "onnx", "zarr", "torchvision", "PIL", "click")
OUTSIDE = ("converters", "models", "benchmarks", "examples", "tests")


def stage(path: Path) -> str:
    """Name the stage that a file belongs to; a private module `_x` belongs to the stages that import it."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Return the dotted names that a file imports anywhere, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


FILES = sorted(p for p in PACKAGE.rglob("*.py") if "_bundled" not in p.parts)
STAGED = [p for p in FILES if not p.name.startswith("__") or p.parent != PACKAGE]


@pytest.mark.parametrize("path", STAGED, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_stages_import_only_the_stages_below_them(path):
    own = stage(path)
    used = {name.split(".")[1] for name in imported(path) if name.startswith("torchviz_layers.")} - {own}
    used = {name for name in used if (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir()}
    private = {name for name in used if name.startswith("_")}
    assert used - private <= {"exceptions", *MAY_IMPORT.get(own, INSIDES.get(own, ()))}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_library_imports_nothing_from_the_folders_around_it(path):
    assert not {name for name in imported(path) if name.split(".")[0] in OUTSIDE}


def test_public_names_are_sorted_resolve_and_are_what_dir_shows():
    assert set(dir(torchviz_layers)) == set(torchviz_layers.__all__)
    for name in torchviz_layers.__all__:
        assert getattr(torchviz_layers, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'UMPA'"):
        _ = torchviz_layers.UMPA


def test_functions_named_like_their_modules_stay_functions_after_the_modules_are_imported():
    code = (
        "import torchviz_layers.extract, torchviz_layers.capture as m; from torchviz_layers import capture, extract\n"
    )
    code += "assert capture.__module__ == 'torchviz_layers.capture' and callable(extract), (capture, extract)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


def test_import_loads_nothing_heavy():
    code = "import sys, torch; before = set(sys.modules); import torchviz_layers\n"
    code += "print(*{m.split('.')[0] for m in set(sys.modules) - before})"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=PACKAGE.parent)
    assert not set(run.stdout.split()) & set(HEAVY)


def test_import_costs_little_more_than_torch():
    code = "import time, torch; start = time.perf_counter(); import torchviz_layers; print(time.perf_counter() - start)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=PACKAGE.parent)
    assert float(run.stdout) < 0.2


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_stay_readable_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= 400

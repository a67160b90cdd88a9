"""The promises that the package makes as a whole: who imports whom, what is public, what an import costs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import torchviz_layers

PACKAGE = Path(torchviz_layers.__file__).parent

# A room imports only from those before it.
ROOMS = (
    "exceptions",
    "_common",
    "data",
    "convert",
    "models",
    "hooks",
    "extraction",
    "neighbors",
    "reducers",
    "metrics",
    "corner_cases",
    "page",
    "panels",
    "pipeline",
    "live",
    "cli",
)
HEAVY = ("umap", "numba", "cuml", "sklearn", "scipy", "bokeh", "h5py", "onnx", "zarr", "torchvision", "PIL", "click")
OUTSIDE = ("converters", "models", "benchmarks", "examples", "tests")
LONGEST = 300  # lines of a module


def dotted(path: Path) -> str:
    """Return the name under which a file is imported."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(p for p in PACKAGE.rglob("*.py") if "_bundled" not in p.parts)
MODULES = {dotted(path): path for path in FILES}
IN_ROOMS = {name: path for name, path in MODULES.items() if name not in ("torchviz_layers", "torchviz_layers.__main__")}


def room(name: str) -> str:
    return name.split(".")[1]


def imported(path: Path) -> set[str]:
    """Return the dotted names that a file imports anywhere, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def imported_modules(path: Path) -> set[str]:
    """Return the modules of the package that a file imports; of `from a import b` with a module a.b that one alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in inner}
    return found & set(MODULES) - {dotted(path)}


def test_every_room_is_in_the_list():
    assert {room(name) for name in IN_ROOMS} == set(ROOMS)


@pytest.mark.parametrize("name", IN_ROOMS)
def test_a_room_imports_only_from_the_rooms_before_it(name):
    before = ROOMS[: ROOMS.index(room(name)) + 1]
    used = imported_modules(MODULES[name])
    assert "torchviz_layers" not in used, "the package's own root"
    assert {room(other) for other in used} <= set(before)


def test_the_guide_to_the_architecture_has_the_rooms_in_their_order():
    guide = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    assert tuple(re.findall(r"^\| `(\w+)` \| ", guide.partition("\n## The way")[0], re.M)) == ROOMS


def test_the_page_knows_no_torch():
    for name, path in MODULES.items():
        if room(name + ".") == "page":
            assert "torch" not in {used.split(".")[0] for used in imported(path)}, name


def test_no_modules_import_each_other_in_a_circle():
    rest = {name: imported_modules(path) for name, path in MODULES.items()}
    while free := [name for name, used in rest.items() if not used & set(rest)]:
        for name in free:
            del rest[name]
    assert not rest, "these import each other, or modules that do"


@pytest.mark.parametrize("name", IN_ROOMS)
def test_a_room_uses_the_face_of_another_for_what_is_public(name):
    """What a room's `__init__` exports is imported from there, and private modules only by their own room."""
    for used in imported_modules(MODULES[name]):
        if room(used) != room(name) and not used.startswith("torchviz_layers._common"):
            assert not any(part.startswith("_") for part in used.split(".")[1:]), used


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_library_imports_nothing_from_the_folders_around_it(path):
    assert not {name for name in imported(path) if name.split(".")[0] in OUTSIDE}


def test_public_names_are_sorted_resolve_and_are_what_dir_shows():
    assert set(dir(torchviz_layers)) == set(torchviz_layers.__all__)
    for name in torchviz_layers.__all__:
        assert getattr(torchviz_layers, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'UMPA'"):
        _ = torchviz_layers.UMPA


def test_every_room_exports_the_names_that_it_lists():
    for name, path in MODULES.items():
        if path.name == "__init__.py" and name != "torchviz_layers":
            face = __import__(name, fromlist=["*"])
            for public in getattr(face, "__all__", ()):
                assert getattr(face, public) is not None, (name, public)


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
    assert len(path.read_text().splitlines()) <= LONGEST


def test_no_test_module_imports_another():
    for path in Path(__file__).parent.rglob("test_*.py"):
        used = {name for name in imported(path) if name.startswith("tests.")}
        assert not {name for name in used if name.split(".")[-1].startswith("test_")}, path

"""`.keras` archives whose layers have other names than the groups of their arrays, in the naming of every version."""

from pathlib import Path

import numpy as np
import pytest

from tests.keras_files import KERNEL, dense, sequential, write_keras
from tests.stored_keras import arrays, names_in, outputs_of, unpack
from torchviz_layers import ConversionError, convert_keras
from torchviz_layers.convert.onnx.export import largest_difference

NAME_FILES = Path(__file__).parents[1] / "files/keras_names.tar.xz"
# Keras writes layers that are also attributes of the model under the attribute alone where it visits that one first.
UNREADABLE = (
    *(f"{version}_kept_as_other_attributes" for version in ("2.12.0", "2.13.1", "2.14.0", "2.15.0", "3.0.0")),
    "3.0.0_kept_as_attributes",
)
CALLS_LOST = ("3.2.1_shared_in_one_model",)  # Keras 3.2 loses which call of a shared layer is meant
FILES = [name.removesuffix(".keras") for name in names_in(NAME_FILES, ".keras")]
pytestmark = pytest.mark.usefixtures("read_in_this_process")


@pytest.fixture(scope="module")
def name_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras_names")
    unpack(NAME_FILES, folder)
    return folder


@pytest.mark.parametrize("name", [name for name in FILES if name not in (*UNREADABLE, *CALLS_LOST)])
def test_layers_get_their_arrays_whatever_their_names(name_files: Path, name: str):
    stored = np.load(name_files / f"{name}.npz")
    model = convert_keras(name_files / f"{name}.keras", layout="keras")
    assert largest_difference(outputs_of(model, arrays(stored, "input")), arrays(stored, "output")) <= 1e-5


@pytest.mark.parametrize("name", UNREADABLE)
def test_layers_that_only_an_attribute_of_the_model_leads_to_are_refused(name_files: Path, name: str):
    with pytest.raises(ConversionError, match=r"layer '.' \(Dense\) should have 2 arrays") as refusal:
        convert_keras(name_files / f"{name}.keras")
    assert any(group in str(refusal.value) for group in ("Head", "zoo/dense", "all_blocks/dense"))


@pytest.mark.parametrize("name", CALLS_LOST)
def test_a_shared_layer_of_which_keras_lost_the_calls_is_refused(name_files: Path, name: str):
    with pytest.raises(ConversionError, match=r"layer 'twice' \(Dense\) is called 3 times, .* output of call 1"):
        convert_keras(name_files / f"{name}.keras")


def two_dense(tmp_path: Path, groups: tuple[str, str], version: str, *names: str) -> Path:
    """Write a network whose two layers have the same shapes, with arrays in these groups."""
    square = np.eye(3, dtype=np.float32)
    stored = {}
    for index, group in enumerate(groups):
        stored[f"{group}/vars/0"] = square * (index + 1)
        stored[f"{group}/vars/1"] = np.full(3, index, np.float32)
    model = sequential(dense("b", units=3), dense("a", units=3))
    return write_keras(
        tmp_path / "two.keras",
        model,
        stored,
        version=version,
        group_names=dict(zip(groups[: len(names)], names, strict=True)),
    )


@pytest.mark.parametrize(
    ("version", "groups"),
    [
        ("2.13.1", ("_layer_checkpoint_dependencies/dense", "_layer_checkpoint_dependencies/dense_2")),
        ("2.14.0", ("_layer_checkpoint_dependencies/dense", "_layer_checkpoint_dependencies/dense_1")),
        ("2.15.0", ("layers/dense", "layers/dense_1")),
        ("3.9.0", ("layers/dense", "layers/dense_1")),
    ],
)
def test_each_version_counts_groups_in_its_own_way(tmp_path: Path, version: str, groups: tuple[str, str]):
    model = convert_keras(two_dense(tmp_path, groups, version))
    assert model.b.weight[0, 0] == 1
    assert model.a.weight[0, 0] == 2


@pytest.mark.parametrize(
    ("version", "groups"),
    [
        ("2.14.0", ("_layer_checkpoint_dependencies/dense", "_layer_checkpoint_dependencies/dense_2")),
        ("2.13.1", ("_layer_checkpoint_dependencies/dense", "_layer_checkpoint_dependencies/dense_1")),
        ("3.9.0", ("layers/dense", "layers/a")),
        ("3.9.0", ("layers/b", "layers/a")),
    ],
)
def test_groups_that_the_version_would_not_write_are_refused(tmp_path: Path, version: str, groups: tuple[str, str]):
    with pytest.raises(ConversionError, match=rf"should have 2 arrays .* Keras {version} writes it"):
        convert_keras(two_dense(tmp_path, groups, version))


def test_a_group_of_no_layer_is_refused(tmp_path: Path):
    stored = {"layers/dense/vars/0": KERNEL, "layers/dense/vars/1": KERNEL[0], "layers/dense_1/vars/0": KERNEL}
    path = write_keras(tmp_path / "three.keras", sequential(dense()), stored)
    with pytest.raises(ConversionError, match="group 'layers/dense_1' holds arrays, but no layer's"):
        convert_keras(path)


def test_a_group_that_the_file_gives_to_another_layer_is_refused(tmp_path: Path):
    groups = ("layers/dense", "layers/dense_1")
    with pytest.raises(ConversionError, match=r"layer 'b' .* group 'layers/dense', .* is of layer 'a'"):
        convert_keras(two_dense(tmp_path, groups, "3.9.0", "a", "b"))
    assert convert_keras(two_dense(tmp_path, groups, "3.9.0", "b", "a")).b.weight[0, 0] == 1


@pytest.mark.parametrize("version", ["2.15.0", "3.9.0"])
def test_a_shared_layer_with_two_possible_originals_is_refused(tmp_path: Path, version: str):
    nested = [sequential(dense("fc", units=3), name=name) for name in ("first", "second")]
    model = sequential(*nested, dense("fc", units=3) | {"shared_object_id": 7})
    groups = ("layers/sequential/layers/dense", "layers/sequential_1/layers/dense")
    stored = {f"{group}/vars/0": np.eye(3, dtype=np.float32) for group in groups}
    stored |= {f"{group}/vars/1": np.zeros(3, np.float32) for group in groups}
    with pytest.raises(ConversionError, match=r"layer 'fc' \(Dense\) shares .* has 2 of them"):
        convert_keras(write_keras(tmp_path / "fc.keras", model, stored, version=version))

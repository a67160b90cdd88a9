import shutil
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from torchviz_layers import Activations, extract
from torchviz_layers._common.memory import format_bytes
from torchviz_layers.exceptions import DataError, StoreError, UnknownLayerError


@pytest.fixture
def acts():
    rng = np.random.default_rng(0)
    return Activations(
        {"conv": rng.normal(size=(7, 2, 3)).astype(np.float32), "relu:1": np.arange(14).reshape(7, 2)},
        ids=[f"s{i}" for i in range(7)],
        targets=np.arange(7) % 2,
        predictions=rng.normal(size=(7, 4)).astype(np.float32),
        thumbnails=rng.integers(0, 255, (7, 4, 4, 1), dtype=np.uint8),
        provenance={"model": "Net", "settings": {"pool": "none"}},
        missing={"conv": np.array([False, True, True, False, False, False, True])},
        skipped={"lstm": "its output holds 3 tensors"},
    )


def test_a_mapping_in_order(acts):
    assert list(acts) == ["conv", "relu:1"]
    assert acts.layers == ("conv", "relu:1")
    assert acts[-1] is acts["relu:1"]
    assert acts["conv:0"] is acts["conv"]
    assert acts.n_samples == 7
    assert acts.nbytes == 7 * 6 * 4 + 14 * 8


def test_ids_default_to_positions():
    assert Activations({"a": np.zeros((3, 2))}).ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("layer", "message"),
    [("covn", "did you mean 'conv'"), ("lstm", "'lstm' gave no rows: its output holds 3 tensors"), (5, "out of range")],
)
def test_an_unknown_layer_is_explained(acts, layer, message):
    with pytest.raises(UnknownLayerError, match=message):
        acts[layer]


def test_it_prints_as_a_small_table(acts):
    assert repr(acts).splitlines() == [
        "Activations: 7 samples, 2 layers, 280 bytes in memory",
        "  conv    7 x 2 x 3  float32  3 rows missing",
        "  relu:1  7 x 2  int64",
        "  skipped: lstm: its output holds 3 tensors",
    ]


def test_saving_and_loading_keep_everything(acts, tmp_path):
    acts.save(tmp_path / "acts.zarr")
    loaded = Activations.load(tmp_path / "acts.zarr")
    assert loaded.complete
    assert list(loaded) == list(acts)
    for layer in acts:
        np.testing.assert_array_equal(loaded[layer][:], acts[layer])
    for extra in ("ids", "targets", "predictions", "thumbnails"):
        np.testing.assert_array_equal(getattr(loaded, extra), getattr(acts, extra))
    np.testing.assert_array_equal(loaded.missing["conv"], acts.missing["conv"])
    assert loaded.provenance == acts.provenance
    assert loaded.skipped == acts.skipped
    assert "acts.zarr" in repr(loaded)
    with pytest.raises(StoreError, match="exists already"):
        acts.save(tmp_path / "acts.zarr")


def test_a_loaded_store_can_be_saved_elsewhere(acts, tmp_path):
    acts.save(tmp_path / "a.zarr")
    Activations.load(tmp_path / "a.zarr").save(tmp_path / "b.zarr")
    np.testing.assert_array_equal(Activations.load(tmp_path / "b.zarr")["conv"][:], acts["conv"])


@pytest.mark.parametrize("names", [("ids", "predictions"), ("a/b", "a_b"), ("", "__x"), ("x", "layer_x")])
def test_any_name_of_a_layer_can_be_stored(tmp_path, names):
    arrays = {name: np.full((2, 1), i, np.float32) for i, name in enumerate(names)}
    Activations(arrays, predictions=np.ones((2, 3))).save(tmp_path / "acts.zarr")
    loaded = Activations.load(tmp_path / "acts.zarr")
    assert list(loaded) == list(names)
    assert [float(loaded[name][0, 0]) for name in names] == [0, 1]
    assert loaded.predictions.shape == (2, 3)


def test_npz_export(acts, tmp_path):
    acts.export(tmp_path / "acts.npz")
    with np.load(tmp_path / "acts.npz") as exported:
        np.testing.assert_array_equal(exported["layers/conv"], acts["conv"])
        assert exported["ids"].tolist() == acts.ids.tolist()
        assert set(exported) == {"layers/conv", "layers/relu:1", "ids", "targets", "predictions", "thumbnails"}
    assert [file.name for file in tmp_path.iterdir()] == ["acts.npz"]


def test_safetensors_export_has_no_text(acts, tmp_path):
    from safetensors.numpy import load_file

    acts.export(tmp_path / "acts.safetensors")
    exported = load_file(str(tmp_path / "acts.safetensors"))
    np.testing.assert_array_equal(exported["layers/conv"], acts["conv"])
    assert "ids" not in exported


def test_an_export_that_cannot_be_is_an_error(acts, tmp_path):
    with pytest.raises(StoreError, match=r"export writes \.safetensors or \.npz"):
        acts.export(tmp_path / "acts.csv")
    with pytest.raises(StoreError, match="cannot be written"):
        acts.export(tmp_path / "nowhere" / "acts.npz")


def test_tensors_are_saved_and_bfloat16_rises_to_float32(tmp_path):
    rows = torch.randn(3, 2).bfloat16()
    acts = Activations({"a": rows})
    acts.save(tmp_path / "acts.zarr")
    loaded = Activations.load(tmp_path / "acts.zarr")
    assert loaded["a"].dtype == np.float32
    np.testing.assert_array_equal(loaded["a"][:], rows.float().numpy())


def test_nonfinite_rows_are_named_but_missing_ones_are_not():
    rows = np.zeros((4, 2), np.float32)
    rows[1, 0] = np.inf
    rows[2] = np.nan
    acts = Activations({"a": rows, "b": np.ones((4, 1))}, ids=list("wxyz"), missing={"a": np.array([0, 0, 1, 0], bool)})
    assert {layer: ids.tolist() for layer, ids in acts.nonfinite().items()} == {"a": ["x"]}


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"), (3e12, "3 TB")]
)
def test_sizes_are_spelled_short(count, text):
    assert format_bytes(count) == text


def test_arrays_of_other_numbers_of_rows_are_refused():
    with pytest.raises(DataError, match="'b': 2 rows of 3 samples"):
        Activations({"a": np.zeros((3, 1)), "b": np.zeros((2, 1))})


@pytest.mark.parametrize("damage", ["no ids", "no array", "no key", "array", "runs", "ids"])
def test_a_damaged_store_is_an_error(acts, tmp_path, damage):
    acts.save(tmp_path / "acts")
    header, key = tmp_path / "acts" / "zarr.json", Activations.load(tmp_path / "acts")._arrays["conv"].basename
    if damage == "no key":
        header.write_text(header.read_text().replace('"layers"', '"leyers"'))
    elif damage == "runs":
        (tmp_path / "acts" / "ids" / "missing").mkdir(exist_ok=True)
        (tmp_path / "acts" / "ids" / "missing" / "1.json").write_text("{")
    elif damage == "ids":
        (tmp_path / "acts" / "ids" / "c" / "0").write_bytes(b"?")
    elif damage == "array":
        (tmp_path / "acts" / key / "zarr.json").write_text("?")
    else:
        shutil.rmtree(tmp_path / "acts" / ("ids" if damage == "no ids" else key))
    with pytest.raises(StoreError, match="is damaged"):
        Activations.load(tmp_path / "acts")


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("b/c/2/0/0", r"'b' lacks samples 16 to 23\)"),
        ("a/c/3/0", r"'a' lacks samples 24 to 29\)"),
        ("a/c", r"'a' lacks samples 0 to 7\)"),
        ("targets/c/1", r"'targets' lacks samples 8 to 15\)"),
        ("ids/c/0", r"'ids' lacks samples 0 to 7\)"),
    ],
)
def test_a_store_that_was_copied_in_part_is_an_error_and_no_nan(monkeypatch, tmp_path, lost, says):
    monkeypatch.setattr("torchviz_layers.extraction.table._MOST_CHUNK_ROWS", 8)
    model = nn.Sequential(OrderedDict(b=nn.Identity(), a=nn.Flatten()))
    batches = [(rows, torch.zeros(len(rows))) for rows in torch.rand(30, 2, 3).split(4)]
    assert extract(model, batches, out=tmp_path / "acts", predictions=False).complete
    place = tmp_path / "acts" / lost
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises(StoreError, match=f"is damaged .{says}; extract it again"):
        Activations.load(tmp_path / "acts")


@pytest.mark.parametrize("name", [".", ".."])
def test_names_that_mean_a_folder_can_be_stored(tmp_path, name):
    Activations({name: np.ones((2, 1))}).save(tmp_path / "acts")
    assert Activations.load(tmp_path / "acts")[name][:].tolist() == [[1], [1]]


def test_types_that_a_file_cannot_hold_are_an_error(tmp_path):
    acts = Activations({"a": np.zeros((2, 1), np.longdouble)})
    with pytest.raises(StoreError, match="'a': Zarr has no type for"):
        acts.save(tmp_path / "acts")
    with pytest.raises(StoreError, match="cannot be written"):
        acts.export(tmp_path / "acts.safetensors")


def test_text_targets_stay_out_of_safetensors(tmp_path):
    from safetensors.numpy import load_file

    Activations({"a": np.zeros((2, 1))}, targets=["cat", "dog"]).export(tmp_path / "acts.safetensors")
    assert sorted(load_file(tmp_path / "acts.safetensors")) == ["ids", "layers/a"]

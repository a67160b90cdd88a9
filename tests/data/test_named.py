"""Datasets known by name, and names that are not known."""

import gzip
import struct

import numpy as np
import pytest

from torchviz_layers import load_dataset
from torchviz_layers.data import parse_data_spec
from torchviz_layers.exceptions import DataError, MissingDatasetError


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    monkeypatch.delenv("TORCHVIZ_LAYERS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def write_idx(path, array):
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_mnist_test_set_has_its_known_first_labels_and_pixel_mean(data_dir, monkeypatch):
    monkeypatch.setenv("TORCHVIZ_LAYERS_DATA", str(data_dir))
    mnist = load_dataset("mnist")
    assert mnist.shown.images.shape == (10000, 1, 28, 28)
    assert mnist.targets[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert float(mnist.shown.images.mean()) == pytest.approx(0.1325, abs=1e-4)  # as published for the test set
    assert len(load_dataset("mnist", split="train", limit=7)) == 7


def test_digits_are_drawn_in_the_middle_of_28_pixels():
    digits = load_dataset("digits")
    assert digits.shown.images.shape == (1797, 1, 28, 28)
    assert not digits.shown.images[:, :, :5].any()
    assert not digits.shown.images[:, :, :, 23:].any()
    assert digits.shown.images[:, :, 5:23, 5:23].mean() > 0.2
    assert digits.notice == "scikit-learn's digits: 8 x 8 px drawn at 18 px in the middle of 28 x 28"


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_are_read_from_the_users_cache_plain_or_gzipped(tmp_path, ending):
    folder = tmp_path / "torchviz_layers" / "fashion-mnist" / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    pixels = np.arange(2 * 28 * 28).reshape(2, 28, 28) % 256
    write_idx(folder / f"t10k-images-idx3-ubyte{ending}", pixels)
    write_idx(folder / f"t10k-labels-idx1-ubyte{ending}", np.array([9, 0]))
    samples = load_dataset("fashion-mnist")
    assert np.array_equal((samples.shown.images[:, 0] * 255).round(), pixels)
    assert [samples.class_names[t] for t in samples.targets] == ["Ankle boot", "T-shirt"]


@pytest.mark.usefixtures("no_data")
def test_absent_dataset_names_the_folders_and_how_to_download_it():
    with pytest.raises(MissingDatasetError, match=r"mnist is not on this disk.*mnist.*--download"):
        load_dataset("mnist")


@pytest.mark.usefixtures("no_data")
def test_truncated_idx_file_is_an_error_that_names_it(tmp_path):
    folder = tmp_path / "torchviz_layers" / "mnist"
    folder.mkdir(parents=True)
    for part in ("images-idx3", "labels-idx1"):
        (folder / f"t10k-{part}-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x05ab")[:-4])
    with pytest.raises(DataError, match=r"ubyte\.gz cannot be read"):
        load_dataset("mnist")


@pytest.mark.parametrize("name", ["mnistt", "no/such/folder", "digits:train", "mnist:validation"])
def test_unknown_name_or_split_is_an_error_with_the_name_in_it(name):
    with pytest.raises(DataError, match=name.split(":")[-1]):
        parse_data_spec(name)


def test_empty_name_is_not_the_folder_one_is_in():
    with pytest.raises(DataError, match="'' is no dataset"):
        load_dataset("")

""".npz files: which arrays, and which axis of the images holds the channels."""

import numpy as np
import pytest

from torchviz_layers import load_dataset
from torchviz_layers.data import parse_data_spec
from torchviz_layers.exceptions import DataError


def test_npz_round_trip_keeps_ids_and_class_names(tmp_path):
    pixels = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    path = tmp_path / "mine.npz"
    np.savez(path, images=pixels, targets=[1, 0, 1], class_names=["cat", "dog"], ids=["a", "b", "c"])
    samples = load_dataset(path)
    assert samples.shown.images.shape == (3, 3, 4, 4)
    assert np.array_equal((samples.shown.images[1, 2] * 255).round(), pixels[1, :, :, 2])
    assert samples.class_names == ("cat", "dog")
    assert samples.ids.tolist() == ["a", "b", "c"]


def test_keras_style_npz_is_read_by_split(tmp_path):
    path = tmp_path / "k.npz"
    np.savez(path, x_train=np.zeros((5, 8, 8), np.uint8), y_train=np.arange(5), x_test=np.ones((2, 8, 8), np.uint8))
    assert len(parse_data_spec(f"{path}:train")) == 5
    assert parse_data_spec(str(path)).targets is None


@pytest.mark.parametrize(
    ("targets", "task", "codes"),
    [
        (np.array([[1], [0]]), "classification", [1, 0]),
        (np.array([np.nan, 1]), "classification", [-1, 1]),
        (np.array(["b", "a"]), "classification", [1, 0]),
        (np.eye(2), "classification", [0, 1]),
        (np.array([0.5, 1]), "regression", [0.5, 1]),
        (np.array([[1, 1], [0, 1]]), "multilabel", [[True, True], [False, True]]),
    ],
)
def test_npz_takes_targets_of_every_task(targets, task, codes, tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 8, 8)), targets=targets)
    samples = load_dataset(tmp_path / "x.npz")
    assert samples.task == task
    assert samples.targets.tolist() == codes


def test_npz_with_a_pickle_in_it_is_refused(tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, images=np.array([object()], dtype=object))
    with pytest.raises(DataError, match="cannot be read"):
        load_dataset(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.array(["a", "b"])}, "'images' must be numbers"),
        ({"images": np.float32(3)}, "'images' must be numbers"),
        ({"pictures": np.zeros((2, 8, 8))}, "has pictures; 'images' .* is missing"),
        ({"images": np.zeros((2, 8, 8)), "targets": np.array([0.5, np.inf])}, r"1 are infinite"),
        ({"images": np.zeros((2, 8, 8)), "targets": np.full(2, np.nan)}, "no sample has one"),
        ({"images": np.zeros((2, 8, 8)), "targets": np.arange(3)}, "2 samples, but 3 targets"),
        ({"images": np.zeros((2, 8, 8)), "targets": np.zeros((2, 3, 3))}, "not one target a sample"),
        ({"images": np.zeros((2, 8, 8)), "targets": [0, 1], "class_names": np.array("abc")}, "but 1 class names"),
    ],
)
def test_npz_of_the_wrong_arrays_names_them(arrays, message, tmp_path):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / "bad.npz")


@pytest.mark.parametrize("content", ["absent", "empty", "text", "cut short", "one array", "damaged"])
def test_file_that_is_no_npz_is_named_and_no_pickle_is_recommended(content, tmp_path):
    path = tmp_path / "bad.npz"
    np.savez_compressed(path, images=np.random.default_rng(0).integers(0, 255, (20, 8, 8), np.uint8))
    whole = path.read_bytes()
    if content == "one array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif content == "damaged":
        path.write_bytes(whole[:300] + bytes(100) + whole[400:])
    else:
        path.write_bytes({"empty": b"", "text": b"images", "cut short": whole[:500], "absent": b""}[content])
    if content == "absent":
        path.unlink()
    with pytest.raises(DataError, match=r"bad\.npz cannot be read") as found:
        load_dataset(path)
    assert "pickle" not in str(found.value)


@pytest.mark.parametrize(
    ("shape", "last"),
    [
        ((2, 5, 7, 4), True),
        ((2, 4, 5, 7), False),
        ((2, 4, 4, 3), True),
        ((2, 3, 4, 4), False),
        ((2, 8, 8, 13), True),
        ((2, 13, 8, 8), False),
        ((2, 6, 7, 1), True),
    ],
)
def test_channels_are_found_whichever_axis_holds_them(shape, last, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    np.savez(tmp_path / "x.npz", images=images)
    wanted = np.moveaxis(images, 3, 1) if last else images
    inputs = next(load_dataset(tmp_path / "x.npz").batches())[0]
    np.testing.assert_allclose(inputs, wanted / 255, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 9, 3), (2, 1, 9, 3), (2, 4, 4, 4), (2, 5, 7, 9)])
def test_a_shape_that_does_not_say_which_axis_holds_the_channels_is_refused(shape, tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match="does not say which axis holds the channels"):
        load_dataset(tmp_path / "x.npz")


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 1 / 255), (bool, 1), (np.float32, 1)])
def test_8_bit_images_without_a_value_above_1_get_a_notice(tmp_path, dtype, white):
    images = np.random.default_rng(0).integers(0, 2, (5, 8, 8)).astype(dtype)
    np.savez(tmp_path / "bits.npz", images=images)
    samples = load_dataset(tmp_path / "bits.npz")
    assert samples.shown.images.max() == np.float32(white)
    assert ("if 1 is white" in samples.notice) == (dtype == np.uint8)


@pytest.mark.parametrize("key", ["labels", "label", "target", "y"])
def test_targets_of_any_usual_name_are_read(key, tmp_path):
    np.savez(tmp_path / "data.npz", images=np.zeros((4, 8, 8, 3), np.uint8), **{key: np.array([0, 1, 2, 1])})
    assert load_dataset(str(tmp_path / "data.npz")).targets.tolist() == [0, 1, 2, 1]

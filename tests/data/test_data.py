import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from torchviz_layers import Samples, extract, load_dataset
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
    assert mnist.images.shape == (10000, 1, 28, 28)
    assert mnist.targets[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert float(mnist.images.mean()) == pytest.approx(0.1325, abs=1e-4)  # as published for the test set
    assert len(load_dataset("mnist", split="train", limit=7)) == 7


def test_digits_are_drawn_in_the_middle_of_28_pixels():
    digits = load_dataset("digits")
    assert digits.images.shape == (1797, 1, 28, 28)
    assert not digits.images[:, :, :5].any()
    assert not digits.images[:, :, :, 23:].any()
    assert digits.images[:, :, 5:23, 5:23].mean() > 0.2
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
    assert np.array_equal((samples.images[:, 0] * 255).round(), pixels)
    assert [samples.class_names[t] for t in samples.targets] == ["Ankle boot", "T-shirt"]


@pytest.mark.usefixtures("no_data")
def test_absent_dataset_names_the_folders_and_the_way_out():
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


def test_npz_round_trip_keeps_ids_and_class_names(tmp_path):
    pixels = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    path = tmp_path / "mine.npz"
    np.savez(path, images=pixels, targets=[1, 0, 1], class_names=["cat", "dog"], ids=["a", "b", "c"])
    samples = load_dataset(path)
    assert samples.images.shape == (3, 3, 4, 4)
    assert np.array_equal((samples.images[1, 2] * 255).round(), pixels[1, :, :, 2])
    assert samples.class_names == ("cat", "dog")
    assert samples.ids.tolist() == ["a", "b", "c"]


def test_keras_style_npz_is_read_by_split(tmp_path):
    path = tmp_path / "k.npz"
    np.savez(path, x_train=np.zeros((5, 8, 8), np.uint8), y_train=np.arange(5), x_test=np.ones((2, 8, 8), np.uint8))
    assert len(parse_data_spec(f"{path}:train")) == 5
    assert parse_data_spec(str(path)).targets is None


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
        ({"images": np.zeros((2, 8, 8)), "targets": np.array([0.5, 1])}, "whole numbers"),
        ({"images": np.zeros((2, 8, 8)), "targets": np.array([np.nan, 1])}, "whole numbers"),
        ({"images": np.zeros((2, 8, 8)), "targets": np.array(["a", "b"])}, "whole numbers"),
        ({"images": np.zeros((2, 8, 8)), "targets": np.eye(2)}, r"2 images, but targets of shape \(2, 2\)"),
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


@pytest.mark.parametrize("content", [b"text", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_picture_that_cannot_be_read_is_named(content, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.png cannot be read"):
        load_dataset(tmp_path)


def test_image_folder_takes_classes_from_folders_and_ids_from_files(tmp_path):
    for name, shade in (("b", 255), ("a", 0)):
        (tmp_path / name).mkdir()
        for k in range(3):
            Image.new("RGB", (6, 6), (shade, k, 0)).save(tmp_path / name / f"{k}.png")
    samples = load_dataset(tmp_path)
    assert samples.class_names == ("a", "b")
    assert samples.ids.tolist() == ["a/0.png", "a/1.png", "a/2.png", "b/0.png", "b/1.png", "b/2.png"]
    assert samples.images[3, 0, 0, 0] == 1
    assert load_dataset(tmp_path, limit=2).targets.tolist() == [0, 1]


def picture(path, value=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = value if isinstance(value, np.ndarray) else np.full((6, 6), value, np.uint8)
    Image.fromarray(array).save(path, **options)


def test_hidden_folders_and_those_of_systems_are_no_classes_and_hidden_copies_no_samples(tmp_path):
    kept = ["cat/a.png", "cat/more/b.png", "dog/c.png"]
    hidden = [
        ".ipynb_checkpoints/x.png",
        "__MACOSX/cat/a.png",
        "@eaDir/a.png",
        "cat/.ipynb_checkpoints/a-checkpoint.png",
        "cat/._a.png",
        "dog/__MACOSX/c.png",
    ]
    for name in kept + hidden:
        picture(tmp_path / name)
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "cat" / "folder.png").mkdir()
    samples = load_dataset(tmp_path)
    assert samples.class_names == ("cat", "dog")
    assert samples.ids.tolist() == kept
    assert samples.targets.tolist() == [0, 0, 1]
    assert samples.notice.startswith("6 pictures left out: hidden")
    assert ".ipynb_checkpoints" in samples.notice


def test_folders_of_splits_are_not_taken_for_classes(tmp_path):
    for split in ("test", "train"):
        picture(tmp_path / split / "cat" / "a.png")
    with pytest.raises(DataError, match="holds the splits test, train, not classes: take one of them"):
        load_dataset(tmp_path)
    assert parse_data_spec(f"{tmp_path}:train").class_names == ("cat",)
    picture(tmp_path / "dog" / "b.png")
    assert load_dataset(tmp_path).class_names == ("dog", "test", "train")


def test_a_data_folder_below_a_hidden_one_is_read_and_nothing_is_said(tmp_path):
    picture(tmp_path / ".cache" / "set" / "cat" / "a.png")
    picture(tmp_path / ".cache" / "set" / "cover.png")  # beside the classes: never was a sample
    samples = load_dataset(tmp_path / ".cache" / "set")
    assert samples.ids.tolist() == ["cat/a.png"]
    assert samples.notice == ""


def test_sixteen_bits_of_grey_keep_their_values(tmp_path):
    grey = np.linspace(0, 65535, 48).reshape(6, 8).astype(np.uint16)
    picture(tmp_path / "a" / "0.png", grey)
    picture(tmp_path / "a" / "1.tif", grey)
    picture(tmp_path / "a" / "2.png", (grey >> 8).astype(np.uint8))  # beside one of 8 bits
    for name, white in (("3.pgm", 65535), ("4.pgm", 1023)):  # of as many bits as the file says
        shades = np.round(grey / 65535 * white).astype(">u2")
        (tmp_path / "a" / name).write_bytes(f"P5 8 6 {white}\n".encode() + shades.tobytes())
    images = load_dataset(tmp_path).images
    np.testing.assert_allclose(images[3:], np.broadcast_to(grey / 65535, (2, 3, 6, 8)), atol=1e-3)
    for channel in range(3):
        np.testing.assert_allclose(images[:2, channel], np.stack([grey, grey]) / 65535, atol=1e-6)
        np.testing.assert_array_equal(images[2, channel], ((grey >> 8) / np.float32(255)).astype(np.float32))


def test_floats_from_0_to_1_keep_their_values_and_others_are_refused(tmp_path):
    shades = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    picture(tmp_path / "a" / "0.tif", shades)
    np.testing.assert_array_equal(load_dataset(tmp_path).images[0], np.stack([shades] * 3))
    resized = load_dataset(tmp_path, size=3).images
    assert resized.shape == (1, 3, 3, 3)
    assert 0.1 < resized.mean() < 0.9
    for wrong, message in (
        (shades * 300, r"1\.tif: floats from 0 to 300"),
        (np.where(shades > 0.9, np.float32(np.nan), shades), r"1\.tif: floats from nan"),
        ((shades * 70000).astype(np.int32), r"1\.tif: 32-bit integers from 0 to 70000"),
    ):
        picture(tmp_path / "a" / "1.tif", wrong)
        with pytest.raises(DataError, match=message):
            load_dataset(tmp_path)


def test_pictures_are_turned_as_their_exif_data_say(tmp_path):
    shades = (np.arange(48, dtype=np.uint8) * 5).reshape(6, 8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture(tmp_path / "a" / "0.png", shades, exif=exif)
    np.testing.assert_array_equal(load_dataset(tmp_path).images[0, 0] * 255, np.rot90(shades, -1))


def test_damaged_exif_data_leave_the_picture_as_it_lies_and_are_told(tmp_path):
    shades = (np.arange(48, dtype=np.uint8) * 5).reshape(6, 8)
    damaged = PngInfo()
    damaged.add_text("Raw profile type exif", "\nexif\n       8\nno hexadecimal number", zip=True)
    picture(tmp_path / "a" / "0.png", shades, pnginfo=damaged)
    samples = load_dataset(tmp_path)
    np.testing.assert_array_equal(samples.images[0, 0] * 255, shades)
    assert samples.notice == "1 picture with damaged EXIF data: used as stored, not rotated"


@pytest.mark.parametrize("ending", ["gif", "tif", "webp"])
def test_of_several_frames_the_first_is_taken_and_that_is_told(ending, tmp_path):
    picture(tmp_path / "a" / "0.png", 255)
    first, second = (Image.new("L", (6, 6), shade) for shade in (255, 0))
    first.save(tmp_path / "a" / f"1.{ending}", save_all=True, append_images=[second])
    samples = load_dataset(tmp_path)
    assert (samples.images == 1).all()
    assert samples.notice == "1 picture with several frames or pages: the first is used"


@pytest.mark.parametrize("name", ["0.pgm", "0.PGM", "0.jfif", "0.jpe", "0.tga"])
def test_pictures_are_found_whatever_common_ending_they_have(name, tmp_path):
    kind = "PPM" if name.lower().endswith("pgm") else "TGA" if name.endswith("tga") else "JPEG"
    picture(tmp_path / "a" / name, 255, format=kind)
    samples = load_dataset(tmp_path)
    assert samples.ids.tolist() == [f"a/{name}"]
    assert samples.images.min() > 0.99


def test_files_that_are_not_read_and_links_that_lead_nowhere_are_counted(tmp_path):
    picture(tmp_path / "cat" / "0.png")
    for name in ("1.heic", "2.HEIC", "labels.csv", "Thumbs.db", ".DS_Store"):
        (tmp_path / "cat" / name).write_bytes(b"x")
    (tmp_path / "readme.md").write_text("beside the classes")
    (tmp_path / "cat" / "3.png").symlink_to(tmp_path / "unmounted" / "3.png")
    (tmp_path / "dog").symlink_to(tmp_path / "unmounted")
    samples = load_dataset(tmp_path)
    assert samples.ids.tolist() == ["cat/0.png"]
    links, files = samples.notice.split("; ")
    assert links == "2 links left out: the target is not there (3.png, dog)"
    assert files == "3 files left out: of a kind that is not read as a picture (.csv, .heic)"
    (tmp_path / "cat" / "0.png").unlink()
    with pytest.raises(DataError, match=r"no images in class folders found .*; 2 links left out.*; 3 files left out"):
        load_dataset(tmp_path)


def test_linked_folders_are_followed_and_those_that_lead_back_are_not(tmp_path):
    picture(tmp_path / "elsewhere" / "part" / "1.png")
    picture(tmp_path / "set" / "cat" / "0.png")
    picture(tmp_path / "set" / "dog" / "0.png")
    (tmp_path / "set" / "cat" / "more").symlink_to(tmp_path / "elsewhere" / "part")
    (tmp_path / "set" / "cat" / "back").symlink_to(tmp_path / "set")
    (tmp_path / "elsewhere" / "part" / "again").symlink_to(tmp_path / "elsewhere" / "part")
    samples = load_dataset(tmp_path / "set")
    assert samples.ids.tolist() == ["cat/0.png", "cat/more/1.png", "dog/0.png"]
    assert samples.targets.tolist() == [0, 0, 1]


def test_a_class_folder_without_pictures_keeps_its_number_and_is_told(tmp_path):
    picture(tmp_path / "a" / "0.png")
    (tmp_path / "b").mkdir()
    picture(tmp_path / "c" / "0.png")
    samples = load_dataset(tmp_path)
    assert (samples.class_names, samples.targets.tolist()) == (("a", "b", "c"), [0, 2])
    assert samples.notice == "1 class folder without a picture (b): the numbers of the classes count them"


def test_classes_that_lie_a_folder_deeper_are_told(tmp_path):
    for name in ("cat", "dog"):
        picture(tmp_path / "pets" / name / "0.png")
    samples = load_dataset(tmp_path)
    assert samples.class_names == ("pets",)
    assert samples.notice.startswith("all pictures are of one class, pets; if its folders (cat, dog) are the classes")
    assert load_dataset(tmp_path / "pets").notice == ""


def test_names_that_are_no_utf_8_become_ids_that_can_be_stored(tmp_path):
    folder = os.fsencode(tmp_path) + b"/set/caf\xe9"
    try:
        os.makedirs(folder)
    except OSError:  # a file system that takes UTF-8 only
        pytest.skip("the file system takes no such name")
    picture(Path(os.fsdecode(folder)) / "0.png")
    samples = load_dataset(tmp_path / "set")
    assert samples.class_names == (r"caf\udce9",)
    assert samples.ids.tolist() == [r"caf\udce9/0.png"]
    raw = [(torch.ones(1, 2), None, ["caf\udce9"])]
    acts = extract(torch.nn.Linear(2, 1), raw, out=tmp_path / "acts", progress=False)
    assert list(acts.ids) == [r"caf\udce9"]


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
    np.testing.assert_allclose(load_dataset(tmp_path / "x.npz").images, wanted / 255, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 9, 3), (2, 1, 9, 3), (2, 4, 4, 4), (2, 5, 7, 9)])
def test_a_shape_that_does_not_say_which_axis_holds_the_channels_is_refused(shape, tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match="does not say which axis holds the channels"):
        load_dataset(tmp_path / "x.npz")


def test_images_of_two_sizes_need_a_common_one(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("L", (6, 9)).save(tmp_path / "a" / "0.png")
    Image.new("L", (8, 8)).save(tmp_path / "a" / "1.png")
    with pytest.raises(DataError, match=r"different sizes.*--image-size"):
        load_dataset(tmp_path)
    assert load_dataset(tmp_path, size=5).images.shape == (2, 3, 5, 5)


@pytest.mark.parametrize("name", ["mnistt", "no/such/folder", "digits:train", "mnist:validation"])
def test_unknown_name_or_split_is_an_error_with_the_name_in_it(name):
    with pytest.raises(DataError, match=name.split(":")[-1]):
        parse_data_spec(name)


def test_folder_without_pictures_says_what_it_expects(tmp_path):
    with pytest.raises(DataError, match="class name/picture"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 3, 3), np.float32), "n_samples, channels"),
        (np.full((1, 1, 2, 2), 7, np.float32), "divide 8-bit images by 255"),
        (np.full((1, 1, 2, 2), np.nan, np.float32), "nan"),
        (np.zeros((0, 1, 2, 2), np.float32), "there are none"),
    ],
)
def test_wrong_images_are_refused(images, message):
    with pytest.raises(DataError, match=message):
        Samples(images)


def test_targets_are_held_to_images_and_class_names():
    images = np.zeros((2, 1, 2, 2), np.float32)
    with pytest.raises(DataError, match="2 images, but targets of shape"):
        Samples(images, np.array([0, 1, 2]))
    with pytest.raises(DataError, match="targets from 0 to 5, but 2 class names"):
        Samples(images, np.array([0, 5]), ("a", "b"))


def test_batches_cover_all_samples_in_order_with_the_transform_applied():
    images = np.linspace(0, 1, 7, dtype=np.float32).reshape(7, 1, 1, 1)
    batches = list(Samples(images, np.arange(7)).batches(3, transform=lambda x: x.flatten(1) * 2))
    assert [tuple(x.shape) for x, _, _ in batches] == [(3, 1), (3, 1), (1, 1)]
    assert torch.equal(torch.cat([x for x, _, _ in batches]).flatten(), torch.from_numpy(images).flatten() * 2)
    assert np.concatenate([ids for _, _, ids in batches]).tolist() == list(range(7))


def test_a_slice_keeps_the_ids_its_samples_had():
    samples = Samples(np.zeros((5, 1, 1, 1), np.float32), np.arange(5))[np.array([4, 1])]
    assert samples.ids.tolist() == samples.targets.tolist() == [4, 1]


def test_lists_become_arrays_and_names_a_tuple():
    samples = Samples(np.zeros((2, 1, 1, 1), np.float32), [1, 0], ["cat", "dog"], ["x", "y"])
    assert samples.targets.dtype == np.int64
    assert samples.class_names == ("cat", "dog")
    assert samples[[1]].ids.tolist() == ["y"]


def test_one_row_by_its_number_is_refused_with_the_way_to_get_it():
    with pytest.raises(DataError, match=r"samples\[0\]: give a slice"):
        load_dataset("digits", limit=3)[0]


def test_samples_print_as_one_line():
    assert repr(load_dataset("digits", limit=30)) == "<digits: 30 images of 1 x 28 x 28, 10 classes>"


def test_transform_that_fails_says_on_what():
    def fails(_images):
        raise ValueError("no colours")

    with pytest.raises(DataError, match=r"transform fails on images of shape \(3, 1, 28, 28\): no colours"):
        next(load_dataset("digits", limit=3).batches(3, fails))
    with pytest.raises(DataError, match="batch_size=0"):
        next(load_dataset("digits", limit=3).batches(0))


def test_empty_name_is_not_the_folder_one_is_in():
    with pytest.raises(DataError, match="'' is no dataset"):
        load_dataset("")


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 1 / 255), (bool, 1), (np.float32, 1)])
def test_of_8_bits_without_a_value_above_1_it_is_said_how_they_are_taken(tmp_path, dtype, white):
    images = np.random.default_rng(0).integers(0, 2, (5, 8, 8)).astype(dtype)
    np.savez(tmp_path / "bits.npz", images=images)
    samples = load_dataset(tmp_path / "bits.npz")
    assert samples.images.max() == np.float32(white)
    assert ("if 1 is white" in samples.notice) == (dtype == np.uint8)

"""Folders of class folders: which are classes, which files are samples, what is left out."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.data.picture_files import picture
from torchviz_layers import extract, load_dataset
from torchviz_layers.data import parse_data_spec
from torchviz_layers.exceptions import DataError


def test_image_folder_takes_classes_from_folders_and_ids_from_files(tmp_path):
    for name, shade in (("b", 255), ("a", 0)):
        (tmp_path / name).mkdir()
        for k in range(3):
            Image.new("RGB", (6, 6), (shade, k, 0)).save(tmp_path / name / f"{k}.png")
    samples = load_dataset(tmp_path)
    assert samples.class_names == ("a", "b")
    assert samples.ids.tolist() == ["a/0.png", "a/1.png", "a/2.png", "b/0.png", "b/1.png", "b/2.png"]
    assert samples.shown.images[3, 0, 0, 0] == 1
    assert load_dataset(tmp_path, limit=2).targets.tolist() == [0, 1]


def test_hidden_and_system_folders_are_no_classes_and_hidden_copies_no_samples(tmp_path):
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


def test_a_data_folder_below_a_hidden_one_is_read_without_a_notice(tmp_path):
    picture(tmp_path / ".cache" / "set" / "cat" / "a.png")
    picture(tmp_path / ".cache" / "set" / "cover.png")  # beside the classes: never was a sample
    samples = load_dataset(tmp_path / ".cache" / "set")
    assert samples.ids.tolist() == ["cat/a.png"]
    assert samples.notice == ""


def test_files_that_are_not_read_and_broken_links_are_counted(tmp_path):
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


def test_linked_folders_are_followed_unless_they_point_back(tmp_path):
    picture(tmp_path / "elsewhere" / "part" / "1.png")
    picture(tmp_path / "set" / "cat" / "0.png")
    picture(tmp_path / "set" / "dog" / "0.png")
    (tmp_path / "set" / "cat" / "more").symlink_to(tmp_path / "elsewhere" / "part")
    (tmp_path / "set" / "cat" / "back").symlink_to(tmp_path / "set")
    (tmp_path / "elsewhere" / "part" / "again").symlink_to(tmp_path / "elsewhere" / "part")
    samples = load_dataset(tmp_path / "set")
    assert samples.ids.tolist() == ["cat/0.png", "cat/more/1.png", "dog/0.png"]
    assert samples.targets.tolist() == [0, 0, 1]


def test_a_class_folder_without_pictures_keeps_its_number_with_a_notice(tmp_path):
    picture(tmp_path / "a" / "0.png")
    (tmp_path / "b").mkdir()
    picture(tmp_path / "c" / "0.png")
    samples = load_dataset(tmp_path)
    assert samples.class_names == ("a", "b", "c")
    assert samples.targets.tolist() == [0, 2]
    assert samples.notice == "1 class folder without a picture (b): the numbers of the classes count them"


def test_classes_that_are_one_folder_deeper_get_a_notice(tmp_path):
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


def test_folder_without_pictures_says_what_it_expects(tmp_path):
    with pytest.raises(DataError, match="class name/picture"):
        load_dataset(tmp_path)

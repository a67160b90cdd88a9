"""Picture files of every type and pixel type."""

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.data.picture_files import picture
from torchviz_layers import load_dataset
from torchviz_layers.exceptions import DataError


@pytest.mark.parametrize("content", [b"text", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_picture_that_cannot_be_read_is_named(content, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.png cannot be read"):
        load_dataset(tmp_path)


def test_sixteen_bits_of_grey_keep_their_values(tmp_path):
    grey = np.linspace(0, 65535, 48).reshape(6, 8).astype(np.uint16)
    picture(tmp_path / "a" / "0.png", grey)
    picture(tmp_path / "a" / "1.tif", grey)
    picture(tmp_path / "a" / "2.png", (grey >> 8).astype(np.uint8))  # beside one of 8 bits
    for name, white in (("3.pgm", 65535), ("4.pgm", 1023)):  # of as many bits as the file says
        shades = np.round(grey / 65535 * white).astype(">u2")
        (tmp_path / "a" / name).write_bytes(f"P5 8 6 {white}\n".encode() + shades.tobytes())
    images = load_dataset(tmp_path).shown.images
    np.testing.assert_allclose(images[3:], np.broadcast_to(grey / 65535, (2, 3, 6, 8)), atol=1e-3)
    for channel in range(3):
        np.testing.assert_allclose(images[:2, channel], np.stack([grey, grey]) / 65535, atol=1e-6)
        np.testing.assert_array_equal(images[2, channel], ((grey >> 8) / np.float32(255)).astype(np.float32))


def test_floats_from_0_to_1_keep_their_values_and_others_are_refused(tmp_path):
    shades = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    picture(tmp_path / "a" / "0.tif", shades)
    np.testing.assert_array_equal(load_dataset(tmp_path).shown.images[0], np.stack([shades] * 3))
    resized = load_dataset(tmp_path, size=3).shown.images
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


def test_pictures_are_rotated_as_their_exif_data_say(tmp_path):
    shades = (np.arange(48, dtype=np.uint8) * 5).reshape(6, 8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture(tmp_path / "a" / "0.png", shades, exif=exif)
    np.testing.assert_array_equal(load_dataset(tmp_path).shown.images[0, 0] * 255, np.rot90(shades, -1))


def test_damaged_exif_data_leave_the_picture_as_stored_with_a_notice(tmp_path):
    shades = (np.arange(48, dtype=np.uint8) * 5).reshape(6, 8)
    damaged = PngInfo()
    damaged.add_text("Raw profile type exif", "\nexif\n       8\nno hexadecimal number", zip=True)
    picture(tmp_path / "a" / "0.png", shades, pnginfo=damaged)
    samples = load_dataset(tmp_path)
    np.testing.assert_array_equal(samples.shown.images[0, 0] * 255, shades)
    assert samples.notice == "1 picture with damaged EXIF data: used as stored, not rotated"


@pytest.mark.parametrize("ending", ["gif", "tif", "webp"])
def test_of_several_frames_the_first_is_used_with_a_notice(ending, tmp_path):
    picture(tmp_path / "a" / "0.png", 255)
    first, second = (Image.new("L", (6, 6), shade) for shade in (255, 0))
    first.save(tmp_path / "a" / f"1.{ending}", save_all=True, append_images=[second])
    samples = load_dataset(tmp_path)
    assert (samples.shown.images == 1).all()
    assert samples.notice == "1 picture with several frames or pages: the first is used"


@pytest.mark.parametrize("name", ["0.pgm", "0.PGM", "0.jfif", "0.jpe", "0.tga"])
def test_pictures_are_found_whatever_common_ending_they_have(name, tmp_path):
    kind = "PPM" if name.lower().endswith("pgm") else "TGA" if name.endswith("tga") else "JPEG"
    picture(tmp_path / "a" / name, 255, format=kind)
    samples = load_dataset(tmp_path)
    assert samples.ids.tolist() == [f"a/{name}"]
    assert samples.shown.images.min() > 0.99


def test_images_of_two_sizes_need_a_common_one(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("L", (6, 9)).save(tmp_path / "a" / "0.png")
    Image.new("L", (8, 8)).save(tmp_path / "a" / "1.png")
    with pytest.raises(DataError, match=r"different sizes.*--image-size"):
        load_dataset(tmp_path)
    assert load_dataset(tmp_path, size=5).shown.images.shape == (2, 3, 5, 5)

import errno

import pytest

from torchviz_layers._common.files import atomic_write, write_files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_when_the_block_ends_and_not_before(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == path.suffix
    assert path.read_text() == "new"
    assert names(tmp_path) == ["result.txt"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(error, tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")

    def fail():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["result.txt"]


def test_a_folder_appears_whole(tmp_path):
    with atomic_write(tmp_path / "store.zarr") as temporary:
        (temporary / "0").mkdir(parents=True)
        (temporary / "0" / "data").write_bytes(b"1")
    assert (tmp_path / "store.zarr" / "0" / "data").read_bytes() == b"1"
    assert names(tmp_path) == ["store.zarr"]


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    path = tmp_path / ("x" * 251 + ".txt")
    with atomic_write(path) as temporary:
        temporary.write_text("long")
    assert path.read_text() == "long"


def test_several_files_are_written_all_or_none(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError) as found:
        write_files({tmp_path / "first": b"1", tmp_path / "taken": b"2"})
    assert found.value.errno == errno.EISDIR
    assert names(tmp_path) == ["taken"]
    write_files({tmp_path / "first": b"1", tmp_path / "second": b"2"})
    assert names(tmp_path) == ["first", "second", "taken"]

"""What is left behind: by interrupted runs, by damaged disks, by an output that is full."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from tests.rounding import whole_numbers, whole_samples
from torchviz_layers import Activations, extract
from torchviz_layers.exceptions import CaptureError, StoreError
from torchviz_layers.hooks.batches import as_batch, check_stable


@pytest.fixture
def model():
    return whole_numbers(nn.Sequential(nn.Linear(5, 4), nn.ReLU()))


@pytest.fixture
def x():
    return whole_samples(40, 5)


@pytest.fixture
def store(model, x, tmp_path, monkeypatch):
    monkeypatch.setattr("torchviz_layers.extraction.table._MOST_CHUNK_ROWS", 8)
    extract(model, x.split(8), out=tmp_path / "acts.zarr")
    return tmp_path / "acts.zarr"


def sharded(x, shuffle):
    sampler = DistributedSampler(TensorDataset(x), num_replicas=2, rank=1, shuffle=shuffle)
    return DataLoader(TensorDataset(x), batch_size=4, sampler=sampler)


def interrupt(model, loader, out):
    class Stop:
        dataset, batch_sampler, sampler = loader.dataset, loader.batch_sampler, loader.sampler

        def __iter__(self):
            yield from list(loader)[:3]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(model, Stop(), out=out)


def test_a_part_of_the_samples_that_a_sampler_deals_out_in_order_can_be_resumed(model, x, tmp_path):
    interrupt(model, sharded(x, shuffle=False), tmp_path / "acts.zarr")
    acts = extract(model, sharded(x, shuffle=False), out=tmp_path / "acts.zarr", resume=True)
    np.testing.assert_array_equal(acts["0"][:], model[0](x[1::2]).detach())


def test_a_store_that_cannot_be_resumed_is_named_with_the_way_out(model, x, tmp_path):
    interrupt(model, sharded(x, shuffle=True), tmp_path / "acts.zarr")
    with pytest.raises(
        CaptureError, match=r"same order every time.*to start again remove .*acts\.zarr, or give another"
    ):
        extract(model, sharded(x, shuffle=True), out=tmp_path / "acts.zarr", resume=True)


def test_a_sampler_that_gives_each_process_other_samples_is_refused_where_they_share_a_store(x):
    loader = sharded(x, shuffle=False)
    batch = as_batch((x[:4], None, torch.arange(4)))
    with pytest.raises(CaptureError, match=r"DistributedSampler gives each of 2 processes other samples.*without it"):
        check_stable(loader, batch, None, processes=2)


def test_a_truncated_chunk_is_named_when_the_store_is_opened(store):
    chunk = store / "0" / "c" / "2" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"damaged \('0': the file of samples 16 to 23 has 112 bytes of 132\)"):
        Activations.load(store)


@pytest.mark.parametrize("read", [lambda a: a[:], lambda a: a[17], lambda a: a.oindex[[1, 18]], np.asarray])
def test_overwritten_bytes_are_noticed_when_they_are_read(store, read):
    chunk = store / "0" / "c" / "2" / "0"
    content = bytearray(chunk.read_bytes())
    content[32:48] = b"overwritten here"
    chunk.write_bytes(content)
    acts = Activations.load(store)
    assert acts["0"][:16].shape == (16, 4)
    with pytest.raises(StoreError, match=r"damaged \(samples 16 to 23 of '0' cannot be read\); extract it again"):
        read(acts["0"])
    with pytest.raises(IndexError):
        acts["0"][99]


def test_a_store_without_checksums_is_read_and_resumed_as_before(model, x, tmp_path, monkeypatch):
    import zarr

    monkeypatch.setattr("torchviz_layers.extraction.table._MOST_CHUNK_ROWS", 8)
    create = zarr.Group.create_array

    def plain(self, *args, **options):
        return create(self, *args, **options | {"compressors": None})

    def broken():
        yield from x.split(8)[:3]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(zarr.Group, "create_array", plain)
        with pytest.raises(KeyboardInterrupt):
            extract(model, broken(), out=tmp_path / "acts.zarr", total=40)
    assert (tmp_path / "acts.zarr" / "0" / "c" / "0" / "0").stat().st_size == 8 * 4 * 4
    acts = extract(model, x.split(8), out=tmp_path / "acts.zarr", resume=True)
    np.testing.assert_array_equal(acts["0"][:], model[0](x).detach())
    chunk = tmp_path / "acts.zarr" / "0" / "c" / "1" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(StoreError, match="the file of samples 8 to 15 has 127 bytes of 128"):
        Activations.load(tmp_path / "acts.zarr")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_output_is_one_line_and_exit_code_1():
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "torchviz_layers", "layers", "mnist_dense128"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "torchviz-layers: the output cannot be written: No space left on device\n"

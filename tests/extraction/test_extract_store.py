import errno
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.rounding import whole_numbers, whole_samples
from torchviz_layers import Activations, extract
from torchviz_layers.exceptions import CaptureError, StoreError


@pytest.fixture
def model():
    return whole_numbers(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)))


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of few rows, so that a small store has several."""
    monkeypatch.setattr("torchviz_layers.extraction.table._MOST_CHUNK_ROWS", 16)


X = (torch.arange(500.0) - 250).reshape(100, 5) / 8  # whole eighths: sums are exact in any order
NAMES = np.array([f"s{i}" for i in range(100)])


def batches(size=8, upto=100):
    return [(X[i : i + size], torch.arange(i, min(i + size, 100)), NAMES[i : i + size]) for i in range(0, upto, size)]


def assert_same(acts, others):
    assert list(acts) == list(others)
    for layer in acts:
        np.testing.assert_array_equal(acts[layer][:], others[layer][:])
    for extra in ("ids", "targets", "predictions"):
        np.testing.assert_array_equal(getattr(acts, extra), getattr(others, extra))


def files(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("size", [8, 16, 7, 50])
def test_a_store_holds_what_memory_would(model, tmp_path, size):
    stored = extract(model, batches(size), out=tmp_path / "acts.zarr")
    assert stored.complete
    assert_same(stored, extract(model, batches(size)))
    assert_same(Activations.load(tmp_path / "acts.zarr"), stored)


@pytest.mark.usefixtures("small_chunks")
def test_a_store_of_an_unknown_number_of_samples_has_the_right_length(model, tmp_path):
    stored = extract(model, iter(batches()), out=tmp_path / "acts.zarr")
    assert stored["0"].shape == (100, 4)
    assert_same(stored, extract(model, batches()))


@pytest.mark.usefixtures("small_chunks")
def test_padded_rows_are_stored_as_in_memory(tmp_path):
    model = whole_numbers(nn.Sequential(nn.Conv1d(1, 2, 3)))
    ragged = [whole_samples(8, 1, length) for length in (5, 7, 9, 4, 8)]
    stored = extract(model, ragged, ragged="pad", out=tmp_path / "acts.zarr")
    assert stored["0"].shape == (40, 2, 7)
    np.testing.assert_array_equal(stored["0"][:], extract(model, ragged, ragged="pad")["0"])


def test_zarr_reads_a_store_by_itself_and_dimensions_have_names(model, tmp_path):
    import zarr

    extract(model, batches(), out=tmp_path / "acts.zarr")
    group = zarr.open_group(str(tmp_path / "acts.zarr"), mode="r")
    assert sorted(group.array_keys()) == ["0", "1", "2", "ids", "predictions", "targets"]
    assert group["0"].metadata.dimension_names == ("sample", "0_1")
    assert group["0"].attrs["layer"] == "0"
    assert group.metadata.zarr_format == 3


def test_xarray_and_dask_open_a_store(model, tmp_path):
    xarray = pytest.importorskip("xarray", reason="xarray is not installed: pip install xarray")
    pytest.importorskip("dask", reason="dask is not installed: pip install dask")
    stored = extract(model, batches(), out=tmp_path / "acts.zarr")
    with xarray.open_zarr(tmp_path / "acts.zarr", consolidated=False) as dataset:
        assert dataset.sizes["sample"] == 100
        np.testing.assert_array_equal(dataset["0"].data.compute(), stored["0"][:])


@pytest.mark.usefixtures("small_chunks")
def test_what_passes_max_memory_goes_to_a_store_that_goes_with_the_result(model):
    spilled = extract(model, batches(), max_memory=500)
    path = spilled.path
    assert path is not None
    assert_same(spilled, extract(model, batches()))
    late = extract(model, iter(batches()), max_memory=2000)  # only seen on the way
    assert late.path is not None
    assert_same(late, extract(model, batches()))
    assert path.exists()
    del spilled
    assert not path.exists()


def interrupted(after, size=8):
    """Batches of which the loader raises after some."""
    yield from batches(size)[:after]
    raise KeyboardInterrupt


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("after", [1, 2, 5, 12])
def test_an_interrupted_extraction_stays_readable_and_goes_on(model, tmp_path, after):
    out = tmp_path / "acts.zarr"
    with pytest.raises(KeyboardInterrupt):
        extract(model, interrupted(after), out=out, total=100)
    partial = Activations.load(out)
    assert not partial.complete
    assert "incomplete" in repr(partial)
    assert partial.ids.tolist() == NAMES[: 8 * after].tolist()
    whole = extract(model, batches())
    np.testing.assert_array_equal(partial["1"], whole["1"][: 8 * after])
    ran = []
    handle = model.register_forward_hook(lambda *_: ran.append(1))
    resumed = extract(model, batches(), out=out, resume=True)
    handle.remove()
    assert len(ran) == 1 + 13 - 8 * after // 16 * 2  # one that shows the axis of the samples
    assert resumed.complete
    assert_same(resumed, whole)
    undisturbed = tmp_path / "other.zarr"
    extract(model, batches(), out=undisturbed)
    assert files(out) == files(undisturbed)


@pytest.mark.usefixtures("small_chunks")
def test_resuming_a_complete_store_runs_nothing(model, tmp_path):
    extract(model, batches(), out=tmp_path / "acts.zarr")
    ran = []
    handle = model.register_forward_hook(lambda *_: ran.append(1))
    again = extract(model, batches(), out=tmp_path / "acts.zarr", resume=True)
    handle.remove()
    assert ran == []
    assert_same(again, extract(model, batches()))


@pytest.mark.usefixtures("small_chunks")
def test_a_loader_without_shuffling_is_not_even_read_where_rows_are_stored(model, tmp_path):
    class Counting(TensorDataset):
        read = 0

        def __getitem__(self, index):
            Counting.read += 1
            return super().__getitem__(index)

    loader = DataLoader(Counting(X), batch_size=8)
    with pytest.raises(KeyboardInterrupt):
        extract(model, ((x, None, np.arange(i * 8, i * 8 + len(x))) for i, (x, _, _) in enumerate(interrupted(6))),
                out=tmp_path / "a.zarr")  # fmt: skip
    extract(model, DataLoader(TensorDataset(X), batch_size=8), out=tmp_path / "b.zarr")
    with pytest.raises(StoreError, match="holds activations of other data"):  # its ids are numbers, these had ids
        extract(model, loader, out=tmp_path / "a.zarr", resume=True)

    def broken(size=8):
        yield from list(DataLoader(TensorDataset(X), batch_size=size))[:6]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(model, broken(), out=tmp_path / "c.zarr", total=100)
    Counting.read = 0
    resumed = extract(model, loader, out=tmp_path / "c.zarr", resume=True)
    assert Counting.read == 8 + 100 - 48
    assert_same(resumed, Activations.load(tmp_path / "b.zarr"))


def test_a_store_of_another_run_is_refused(model, tmp_path):
    out = tmp_path / "acts.zarr"
    extract(model, batches(), out=out)
    with pytest.raises(StoreError, match="exists already; pass resume=True"):
        extract(model, batches(), out=out)
    with pytest.raises(StoreError, match=r"was made with .*pool='none' \(now 'flatten'\)"):
        extract(model, batches(), out=out, pool="flatten", resume=True)
    with pytest.raises(StoreError, match="of other data"):
        extract(model, [(X + 1, None, NAMES)], out=out, resume=True)
    with torch.no_grad():
        model[0].weight[0, 0] += 1
    with pytest.raises(StoreError, match="of another model"):
        extract(model, batches(), out=out, resume=True)


@pytest.mark.usefixtures("small_chunks")
def test_a_loader_that_gives_other_samples_the_second_time_is_refused(model, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        extract(model, interrupted(6), out=tmp_path / "acts.zarr", total=100)
    shuffled = batches()
    shuffled[1], shuffled[5] = shuffled[5], shuffled[1]
    with pytest.raises(StoreError, match="holds other samples at row 8 than the loader gives"):
        extract(model, shuffled, out=tmp_path / "acts.zarr", resume=True)


@pytest.mark.parametrize(
    "loader",
    [DataLoader(TensorDataset(X), batch_size=8, shuffle=True), (batch for batch in X.split(8))],
    ids=["shuffling", "generator"],
)
def test_resume_needs_samples_that_can_be_recognised(model, tmp_path, loader):
    with pytest.raises(CaptureError, match=r"without ids, and not known to come in the same order.*DataLoader"):
        extract(model, loader, out=tmp_path / "acts.zarr", resume=True)


def test_what_is_no_store_is_refused(model, tmp_path):
    with pytest.raises(StoreError, match="no stored activations there"):
        Activations.load(tmp_path)
    (tmp_path / "file").write_text("text")
    with pytest.raises(StoreError, match="exists already"):
        extract(model, batches(), out=tmp_path / "file")
    with pytest.raises(StoreError, match="cannot be written"):
        extract(model, batches(), out=tmp_path / "file" / "acts.zarr")
    import zarr

    zarr.open_group(str(tmp_path / "other.zarr"), mode="w")
    with pytest.raises(StoreError, match="but not of activations"):
        Activations.load(tmp_path / "other.zarr")


@pytest.mark.usefixtures("small_chunks")
def test_a_full_disk_is_an_error_and_what_was_stored_stays(model, tmp_path, monkeypatch):
    from torchviz_layers.extraction.store import Store

    write = Store.write

    def fill_up(self, array, start, rows):
        if start >= 48:
            from torchviz_layers.extraction.store import writing

            with writing(self.path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, array, start, rows)

    monkeypatch.setattr(Store, "write", fill_up)
    with pytest.raises(StoreError, match=r"No space left on device; what was stored before stays readable"):
        extract(model, batches(), out=tmp_path / "acts.zarr")
    monkeypatch.undo()
    monkeypatch.setattr("torchviz_layers.extraction.table._MOST_CHUNK_ROWS", 16)
    partial = Activations.load(tmp_path / "acts.zarr")
    assert len(partial.ids) == 48
    assert_same(extract(model, batches(), out=tmp_path / "acts.zarr", resume=True), extract(model, batches()))


def test_more_than_the_disk_holds_is_refused_before_it_starts(model, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 10})())
    with pytest.raises(StoreError, match=r"the activations take 4.4 kB, 10 bytes are free there"):
        extract(model, batches(), out=tmp_path / "acts.zarr")


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("after", range(1, 13))
@pytest.mark.parametrize("sign", [1, -1], ids=["runs at first", "runs at last"])
def test_missing_rows_survive_an_interruption(tmp_path, after, sign):
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.always, self.sometimes = nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x):
            x = self.always(x)
            return self.sometimes(x) if x.sum() * sign > 0 else x[:, :3]

    model = whole_numbers(Sometimes())
    with torch.no_grad():
        model.always.weight.fill_(1)
        model.always.bias.zero_()
    whole = extract(model, batches())
    assert 0 < whole.missing["sometimes"].sum() < 100
    with pytest.raises(KeyboardInterrupt):
        extract(model, interrupted(after), out=tmp_path / "acts.zarr", total=100)
    resumed = extract(model, batches(), out=tmp_path / "acts.zarr", resume=True)
    np.testing.assert_array_equal(resumed.missing["sometimes"], whole.missing["sometimes"])
    np.testing.assert_array_equal(resumed["sometimes"][:], whole["sometimes"])


SCRIPT = """
import sys, time
import torch
from torch import nn
from torchviz_layers import extract

from torchviz_layers.extraction import table
table._MOST_CHUNK_ROWS = 8
torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
for parameter in model.parameters():  # whole numbers: no two processes can add to other sums
    parameter.data = torch.randint(-3, 4, parameter.shape).float()
x = (torch.arange(2000.0) - 1000).reshape(400, 5) / 8

def slowly():
    for i in range(0, 400, 8):
        time.sleep(float(sys.argv[2]))
        yield x[i:i + 8], None, torch.arange(i, i + 8)

extract(model, slowly(), out=sys.argv[1], resume=True, total=400, progress=False)
"""


SHARED = """
import sys
import torch
from torch import nn
from torchviz_layers import extract

class Counting(nn.Linear):
    passes = 0

    def forward(self, x):
        self.passes += len(x) == 100
        return super().forward(x)

torch.manual_seed(0)
model = nn.Sequential(Counting(5, 4))
x = torch.rand(10_000, 5)
batches = [(x[i:i + 100], None, torch.arange(i, i + 100)) for i in range(0, 10_000, 100)]
assert len(extract(model, batches, out=sys.argv[1], progress=False).ids) == 10_000
print("passes", model[0].passes)
"""


def run(*arguments, launcher=(), **options):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *launcher, *map(str, arguments)], env=environment, **options)


def stored_chunks(path):
    return len(list((path / "ids" / "c").glob("*"))) if (path / "ids" / "c").exists() else 0


def wait_for_chunks(path, count):
    deadline = time.monotonic() + 60
    while stored_chunks(path) < count and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The store of one process that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "script.py").write_text(SCRIPT)
    assert run(folder / "script.py", folder / "acts.zarr", 0).wait() == 0
    return files(folder / "acts.zarr")


def test_a_process_killed_at_any_moment_leaves_a_store_that_resumes(tmp_path, undisturbed):
    (tmp_path / "script.py").write_text(SCRIPT)
    out = tmp_path / "acts.zarr"
    process = run(tmp_path / "script.py", out, 0.05)
    wait_for_chunks(out, 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    partial = Activations.load(out)
    assert not partial.complete
    assert 0 < len(partial.ids) < 400
    left_by_zarr = out / "0" / "c" / "9" / "0.b6a1.partial"
    left_by_us = out / "ids" / "missing" / ".2.json.x1y2.partial" / "2.json"
    for left in (left_by_zarr, left_by_us):
        left.parent.mkdir(parents=True, exist_ok=True)
        left.write_bytes(b"what a kill may leave")
    assert run(tmp_path / "script.py", out, 0).wait() == 0
    assert files(out) == undisturbed


@pytest.mark.slow
def test_two_processes_share_the_forward_passes_evenly(tmp_path):
    (tmp_path / "script.py").write_text(SHARED)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = run(tmp_path / "script.py", tmp_path / "acts.zarr", launcher=launcher, stdout=subprocess.PIPE, text=True)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    fewer, more = sorted(int(count) for count in re.findall(r"passes (\d+)", printed))
    assert fewer + more <= 102  # the first batch tells each process the columns
    assert fewer >= 0.9 * more


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_process_killed_five_times_at_random_moments_resumes_each_time(tmp_path, undisturbed):
    (tmp_path / "script.py").write_text(SCRIPT)
    out, rng = tmp_path / "acts.zarr", random.Random(0)
    for _ in range(5):
        process = run(tmp_path / "script.py", out, 0.05)
        wait_for_chunks(out, stored_chunks(out) + rng.randrange(1, 5))
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not Activations.load(out).complete
    assert run(tmp_path / "script.py", out, 0).wait() == 0
    assert files(out) == undisturbed


PEAK = """
import resource, sys
import torch
from torch import nn
from torchviz_layers import extract

n = int(sys.argv[2])
model = nn.Sequential(nn.Linear(64, 60), nn.ReLU(), nn.Linear(60, 42), nn.ReLU(), nn.Linear(42, 10))
x = torch.rand(1000, 64)
batches = ((x, None, torch.arange(i, i + 1000)) for i in range(0, n, 1000))
extract(model, batches, out=sys.argv[1], total=n, progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    (tmp_path / "script.py").write_text(PEAK)
    peaks = []
    for n in (10_000, 1_000_000):
        process = run(tmp_path / "script.py", tmp_path / f"{n}.zarr", n, stdout=subprocess.PIPE)
        peaks.append(int(process.communicate()[0]))
    payload = 1_000_000 * (60 + 60 + 42 + 42 + 10) * 4 / 2**20
    assert payload > 800
    assert peaks[1] - peaks[0] < 200


@pytest.mark.parametrize("kill", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["undisturbed", "killed"])
def test_torchrun_writes_the_same_store_to_the_byte(tmp_path, undisturbed, kill):
    (tmp_path / "script.py").write_text(SCRIPT)
    out = tmp_path / "acts.zarr"
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone")
    if kill:
        process = run(tmp_path / "script.py", out, 0.05, launcher=launcher, start_new_session=True)
        wait_for_chunks(out, 3)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not Activations.load(out).complete
    assert run(tmp_path / "script.py", out, 0, launcher=launcher).wait() == 0
    assert files(out) == undisturbed

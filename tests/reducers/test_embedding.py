"""Embedding what memory does not hold: fitted on a sample, transformed in blocks, from and to Zarr, under torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier

from torchviz_layers import UMAP, Activations, embed
from torchviz_layers.cli import cli
from torchviz_layers.exceptions import NonFiniteError, ReducerError, StoreError, UnknownLayerError
from torchviz_layers.extraction.store import Store
from torchviz_layers.reducers import align, registry
from torchviz_layers.reducers.align import alignment
from torchviz_layers.reducers.registry import make_reducer_on
from torchviz_layers.reducers.tables import embedding_columns, write_embeddings


@pytest.fixture(scope="module")
def blobs():
    X, y = make_blobs(600, n_features=8, centers=6, random_state=0)
    return X.astype(np.float32), y


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("torchviz_layers.reducers.embedding._BLOCK_BYTES", 70 * 8 * 4)


@pytest.fixture
def store(blobs, tmp_path):
    X, y = blobs
    path = tmp_path / "acts.zarr"
    Activations({"first": X, "second": X[:, :5].reshape(600, 5, 1)}, targets=y).save(path)
    return path


@pytest.mark.usefixtures("small_blocks")
def test_a_fit_on_a_sample_is_scikit_learns_fit_on_those_rows_and_its_transform_of_all(blobs):
    X, _ = blobs
    rows = np.sort(np.random.default_rng(0).choice(600, 200, replace=False))
    wanted = PCA(2, svd_solver="full").fit(X[rows]).transform(X)
    found = embed({"layer": X}, reducer=PCA(2, svd_solver="full"), fit_on=200)["layer"]
    np.testing.assert_allclose(found.Z, wanted, rtol=0, atol=1e-4)
    assert found.neighbors.shape == (600, 0)
    assert "fitted on 200 of 600 rows" in found.reason


@pytest.mark.usefixtures("small_blocks")
def test_layers_stay_aligned_by_the_rows_that_were_fitted(blobs):
    X, _ = blobs
    turned = {"first": X, "second": X @ np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]}
    found = embed(turned, reducer=PCA(2), fit_on=300)
    np.testing.assert_allclose(found["second"].Z, found["first"].Z, rtol=0, atol=1e-3)


@pytest.mark.usefixtures("small_blocks")
def test_umap_of_a_sample_keeps_the_classes_of_the_rows_that_it_never_saw(blobs):
    X, y = blobs
    reducer = UMAP(random_state=0, device="cpu")
    found = embed({"layer": X}, reducer=reducer, fit_on=200)["layer"]
    fitted = np.isin(np.arange(600), np.random.default_rng(0).choice(600, 200, replace=False))
    vote = KNeighborsClassifier(5).fit(found.Z[fitted], y[fitted])
    assert vote.score(found.Z[~fitted], y[~fitted]) > 0.95
    assert silhouette_score(found.Z, y) > 0.5
    again = embed({"layer": X}, reducer=reducer, fit_on=200)["layer"]
    np.testing.assert_array_equal(found.Z, again.Z)
    assert not hasattr(reducer, "embedding_")  # copied, not changed


def test_the_size_of_the_blocks_changes_nothing(blobs, monkeypatch):
    X, _ = blobs
    reducer = UMAP(random_state=0, device="cpu", n_epochs=50)
    whole = embed({"layer": X}, reducer=reducer, fit_on=200)["layer"].Z
    monkeypatch.setattr("torchviz_layers.reducers.embedding._BLOCK_BYTES", 33 * 8 * 4)
    np.testing.assert_array_equal(embed({"layer": X}, reducer=reducer, fit_on=200)["layer"].Z, whole)


def test_what_memory_does_not_hold_is_fitted_on_a_sample_unasked(blobs, monkeypatch):
    X, _ = blobs
    monkeypatch.setattr("torchviz_layers.reducers.embedding.available_memory", lambda: 4 * 150 * 8 * 4)
    assert "fitted on 150 of 600 rows" in embed({"layer": X}, reducer="pca")["layer"].reason
    assert embed({"layer": X}, reducer="pca", fit_on=600)["layer"].neighbors.shape == (600, 15)


def test_the_first_process_decides_for_all_what_memory_holds(blobs, monkeypatch):
    class SecondProcess:
        is_first = False

        def broadcast(self, value):
            assert value is None
            raise RuntimeError("told")

    monkeypatch.setattr("torchviz_layers.reducers.embedding.worker_group", lambda: nullcontext(SecondProcess()))
    monkeypatch.setattr("torchviz_layers.reducers.embedding.available_memory", lambda: pytest.fail("decided by itself"))
    with pytest.raises(RuntimeError, match="told"):
        embed({"layer": blobs[0]}, reducer="pca")


def test_a_reducer_without_transform_is_refused_a_sample(blobs):
    with pytest.raises(ReducerError, match=r"TSNE has no transform.*200 of the 600 rows of 'layer'.*umap or pca"):
        embed({"layer": blobs[0]}, reducer=TSNE(), fit_on=200)


@pytest.mark.usefixtures("small_blocks")
def test_rows_that_are_not_finite_are_named_wherever_they_lie(blobs):
    X = blobs[0].copy()
    X[437, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"'layer'.*rows 437"):
        embed({"layer": X}, reducer="pca", fit_on=100)


@pytest.mark.parametrize("fit_on", [0, -3])
def test_no_rows_to_fit_on_are_refused(blobs, fit_on):
    with pytest.raises(ReducerError, match=f"fit_on={fit_on}"):
        embed({"layer": blobs[0]}, reducer="pca", fit_on=fit_on)


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("reducer", ["umap", "pca"])
def test_too_few_samples_are_told_with_how_many_are_needed(n, reducer):
    with pytest.raises(ReducerError, match=rf"layer 'a' has {n} sample\(s\): at least 2 are needed"):
        embed({"a": np.zeros((n, 3), np.float32)}, reducer=reducer)


def test_a_store_becomes_a_store_of_embeddings(store, tmp_path, blobs):
    out = tmp_path / "emb.zarr"
    answer = CliRunner().invoke(
        cli, ["embed", str(store), "--reducer", "pca", "--fit-on", "200", "--out", str(out)], catch_exceptions=False
    )
    assert answer.exit_code == 0
    assert answer.output.splitlines()[-1] == str(out)
    found = Activations.load(out)
    wanted = embed(Activations.load(store), reducer="pca", fit_on=200)
    for layer in ("first", "second"):
        np.testing.assert_array_equal(found[layer][:], wanted[layer].Z)
    np.testing.assert_array_equal(found.targets, blobs[1])
    with pytest.raises(StoreError, match="exists already"):
        CliRunner().invoke(cli, ["embed", str(store), "--reducer", "pca", "--out", str(out)], catch_exceptions=False)


def test_the_command_takes_a_seed_for_a_reducer_that_draws_nothing(store, tmp_path):
    made = []
    for name, words in (("plain.npz", []), ("seeded.npz", ["--seed", "3"])):
        out = tmp_path / name
        run = CliRunner().invoke(cli, ["embed", str(store), "--reducer", "pca", "--out", str(out), *words])
        assert run.exit_code == 0, run.output
        with np.load(out, allow_pickle=False) as stored:
            made.append(dict(stored))
    assert made[0]
    for part in made[0]:
        np.testing.assert_array_equal(made[0][part], made[1][part])


def test_an_unknown_ending_is_refused_before_the_work(store, tmp_path, monkeypatch):
    monkeypatch.setattr("torchviz_layers.reducers.embedding.embed", lambda *_, **__: pytest.fail("worked in vain"))
    with pytest.raises(StoreError, match=r"emb\.csv.*\.parquet, \.npz or \.zarr"):
        CliRunner().invoke(cli, ["embed", str(store), "--out", str(tmp_path / "emb.csv")], catch_exceptions=False)


def test_align_moves_further_rows_as_the_fitted_ones():
    rng = np.random.default_rng(0)
    Z, reference = rng.normal(size=(50, 2)), rng.normal(size=(50, 2))
    np.testing.assert_allclose(alignment(Z, reference)(Z[:7]), align(Z, reference)[:7], rtol=0, atol=1e-12)


def test_two_processes_of_torchrun_give_what_one_gives(store, tmp_path):
    command = [str(store), "--seed", "0", "--fit-on", "200", "--device", "cpu", "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = ["-m", "torchviz_layers", "embed", *command, str(tmp_path / "two.npz")]
    done = subprocess.run([*launch, *program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    alone = CliRunner().invoke(cli, ["embed", *command, str(tmp_path / "one.npz")], catch_exceptions=False)
    assert alone.exit_code == 0
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "two.npz") as two:
        assert list(one) == list(two)
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])


IMPATIENT = """
import sys, time
from datetime import timedelta
import numpy as np
import torch.distributed as dist
from torchviz_layers import embed

class Slow:
    def fit_transform(self, X):
        time.sleep(15)
        return X[:, :2]

dist.init_process_group("gloo", timeout=timedelta(seconds=8))  # the processes must start within it
Z = embed({"a": np.eye(40, dtype=np.float32)}, reducer=Slow(), device="cpu", progress=False)["a"].Z
print("laid out", Z.shape)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_the_other_process_waits_longer_than_the_groups_timeout_for_a_slow_fit(tmp_path):
    (tmp_path / "script.py").write_text(IMPATIENT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, str(tmp_path / "script.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("laid out (40, 2)") == 2


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_the_table_reads_one_probability_a_sample_as_two_classes(shape):
    outputs = np.array([0.1, 0.9, 0.4, 0.6], np.float32)
    layer = {"a": np.eye(4, dtype=np.float32)}
    columns = embedding_columns(embed(layer, reducer="pca"), Activations(layer, predictions=outputs.reshape(shape)))
    assert columns["prediction"].tolist() == [0, 1, 0, 1]
    scaled = Activations(layer, predictions=5 * outputs.reshape(shape))  # logits or values: nobody can know
    assert "prediction" not in embedding_columns(embed(layer, reducer="pca"), scaled)


@pytest.mark.parametrize(
    ("layers", "names"),
    [("conv_1", ["conv_1"]), (-1, ["dense"]), ("conv_*", ["conv_0", "conv_1"]), (["dense", 0], ["dense", "conv_0"])],
)
def test_layers_are_chosen_by_name_index_and_glob(layers, names):
    X = np.eye(9, dtype=np.float32)
    arrays = {"conv_0": X, "conv_1": X, "dense": X}
    for given in (arrays, Activations(arrays)):
        assert list(embed(given, layers, reducer="pca")) == names


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("conv_9", "no activations of 'conv_9'"),
        (3, "index 3 is out of range"),
        ([1.5], "1.5 is a float"),
        (True, "bool"),
    ],
)
def test_layers_that_are_not_there_are_named(layers, message):
    arrays = {"conv_0": np.eye(9, dtype=np.float32), "conv_1": np.eye(9, dtype=np.float32)}
    for given in (arrays, Activations(arrays)):
        with pytest.raises(UnknownLayerError, match=message):
            embed(given, layers, reducer="pca")


@pytest.mark.parametrize("problem", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_store_of_embeddings_is_whole_or_not_there(problem, tmp_path, monkeypatch):
    acts = Activations({"a": np.eye(9, dtype=np.float32), "b": np.eye(9, dtype=np.float32)})
    made = embed(acts, reducer="pca")
    write, calls = Store.write, []

    def fails(self, array, start, rows):
        calls.append(start)
        if len(calls) > 1:
            raise problem
        write(self, array, start, rows)

    monkeypatch.setattr(Store, "write", fails)
    with pytest.raises((KeyboardInterrupt, StoreError)):
        write_embeddings(made, acts, tmp_path / "emb.zarr")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(Store, "write", write)
    write_embeddings(made, acts, tmp_path / "emb.zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["emb.zarr"]
    assert list(Activations.load(tmp_path / "emb.zarr")) == ["a", "b"]


def test_a_number_is_no_index_where_blocks_are_named_by_numbers():
    layers = {name: np.eye(6, dtype=np.float32) for name in ("0.0", "0.1", "1.0")}
    with pytest.raises(UnknownLayerError, match=r"no activations of '1'.*an index must count from the end"):
        embed(layers, "1", reducer="pca")
    assert list(embed(layers, ["-1", 1], reducer="pca")) == ["1.0", "0.1"]


def test_a_device_is_for_reducers_that_take_one_and_an_unknown_one_is_an_error(monkeypatch):
    class First:
        def fit_transform(self, X):
            return X[:, :2]

    monkeypatch.setitem(registry._factories, "first", First)
    layer = {"a": np.eye(5, dtype=np.float32)}
    assert embed(layer, reducer="first", device="cpu", align_layers=False)["a"].Z.shape == (5, 2)
    assert make_reducer_on("umap", "cpu").device == "cpu"
    with pytest.raises(ReducerError, match="device='gpu'"):
        embed(layer, reducer="first", device="gpu")
    with pytest.raises(ReducerError, match="wrong"):
        make_reducer_on("umap", "cpu", wrong=1)

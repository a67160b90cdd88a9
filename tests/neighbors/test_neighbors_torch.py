"""The search for CUDA cards, run on the CPU: the same code, with tensor cores imitated and small tiles."""

import numpy as np
import pytest
import torch

from torchviz_layers.exceptions import DataError
from torchviz_layers.neighbors import cuda, knn, lists

CPU = torch.device("cpu")
METRICS = ["euclidean", "cosine", "correlation", "manhattan"]


def clouds(n=700, width=90):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, width)).astype(np.float32) + rng.integers(3, size=(n, 1)).astype(np.float32)


def rounded(values):
    """Round float32 to TF32's ten bits of fraction, halves up in magnitude."""
    bits = values.contiguous().view(torch.int32)
    return ((bits + (1 << 12)) & ~((1 << 13) - 1)).view(torch.float32)


def cut_off(values):
    """Cut float32 off after TF32's ten bits of fraction."""
    return (values.contiguous().view(torch.int32) & ~((1 << 13) - 1)).view(torch.float32)


@pytest.fixture(params=[rounded, cut_off], ids=["rounded", "cut off"])
def tensor_cores(request, monkeypatch):
    """Multiply as tensor cores do; the list that is returned tells of each product whether they were used."""
    used = []

    def multiply(left, right, coarse):
        used.append(coarse)
        return request.param(left) @ request.param(right) if coarse else left @ right

    monkeypatch.setattr(cuda, "multiply", multiply)
    return used


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(cuda, "_TILE_COLUMNS", 100)
    monkeypatch.setattr(cuda, "_BLOCK_ELEMENTS", 100 * 130)


@pytest.mark.usefixtures("tensor_cores", "small_tiles")
@pytest.mark.parametrize("tensor_cores", [cut_off], indirect=True, ids=["cut off"])  # the coarser one
@pytest.mark.parametrize("metric", METRICS)
def test_tiles_and_tensor_cores_change_no_neighbour(metric):
    X = clouds()
    X[50:60] = X[300:310]  # ties
    found, far = cuda.search(X, 12, None, metric, CPU)
    wanted, true = knn(X, 12, metric=metric, device="cpu", method="exact")
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(far, true, rtol=1e-6, atol=1e-7)
    asked, _ = cuda.search(X, 5, X[:40] + np.float32(0.01), metric, CPU)
    wanted, _ = knn(X, 5, queries=X[:40] + np.float32(0.01), metric=metric, device="cpu")
    np.testing.assert_array_equal(asked, wanted)


def test_rows_that_tensor_cores_cannot_tell_apart_are_searched_again(tensor_cores):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 40)).astype(np.float32) * np.float32(1e-3)
    X[:40] += 5.0  # far from the centre, at distances below what TF32 tells there
    found, _ = cuda.search(X, 8, None, "euclidean", CPU)
    wanted, _ = knn(X, 8, device="cpu")
    np.testing.assert_array_equal(found, wanted)
    assert tensor_cores == [True, False]


@pytest.mark.usefixtures("tensor_cores")
def test_most_digits_are_certified_on_tensor_cores():
    from torchviz_layers import load_dataset

    X = torch.from_numpy(load_dataset("digits").shown.images).flatten(1)
    side = cuda.prepare_side(X)
    found, _, certified = cuda._certified(side, side, torch.arange(len(X)), 2**27, 15, True)
    wanted, _ = knn(X, 15, device="cpu")
    np.testing.assert_array_equal(found[certified], wanted[certified.numpy()])
    assert certified.float().mean() > 0.99


@pytest.mark.slow
@pytest.mark.usefixtures("tensor_cores", "data_dir")
def test_all_of_mnist_has_its_exact_neighbours():
    from torchviz_layers import load_dataset

    X = torch.from_numpy(load_dataset("mnist").shown.images).flatten(1)
    found, _ = cuda.search(X, 15, None, "euclidean", CPU)
    wanted, _ = knn(X, 15, device="cpu", method="exact")
    np.testing.assert_array_equal(found, wanted)


def test_points_are_prepared_once_whatever_the_number_of_blocks(monkeypatch):
    prepared, blocks = [], []
    prepare, certified = cuda.prepare_side, cuda._certified
    monkeypatch.setattr(cuda, "prepare_side", lambda *rows: prepared.append(len(rows[0])) or prepare(*rows))
    monkeypatch.setattr(cuda, "_certified", lambda *a: blocks.append(len(a[1].rows)) or certified(*a))
    monkeypatch.setattr(cuda, "_BLOCK_ELEMENTS", 20_000 * 134)
    X = np.random.default_rng(0).normal(size=(20_000, 4)).astype(np.float32)
    cuda.search(X, 5, None, "euclidean", CPU)
    assert len(blocks) >= 150
    assert prepared == [20_000]


def test_the_users_precision_and_autocast_change_no_result_and_are_left_as_they_were():
    X, matmul = clouds(), torch.backends.cuda.matmul
    wanted, far = cuda.search(X, 12, None, "euclidean", CPU)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, same = cuda.search(X, 12, None, "euclidean", CPU)
        assert torch.equal(found, wanted)
        assert torch.equal(same, far)
        assert matmul.allow_tf32  # reading it raises where the old setting and the new one disagree
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_lists_are_sorted_in_full_precision(monkeypatch):
    cdist, seen = torch.cdist, []
    matmul = torch.backends.cuda.matmul

    def recorded(*args, **options):
        seen.append((torch.is_autocast_enabled("cpu"), getattr(matmul, "fp32_precision", "ieee")))
        return cdist(*args, **options)

    monkeypatch.setattr(torch, "cdist", recorded)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lists._sorted(torch.zeros(4, dtype=torch.int64), torch.rand(30, 3))
    assert seen == [(False, "ieee")]


@pytest.mark.parametrize("size", [1e-30, 1e25])
def test_tiny_and_huge_numbers_have_the_same_neighbours(size):
    X = clouds()
    found, far = cuda.search(X * np.float32(size), 12, None, "euclidean", CPU)
    wanted, true = knn(X, 12, device="cpu")
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(far, true * np.float32(size), rtol=2e-6)


def test_distances_beyond_float32_are_an_error():
    with pytest.raises(DataError, match="larger than float32"):
        cuda.search(np.array([[3e38] * 4, [-3e38] * 4], np.float32), 1, None, "euclidean", CPU)


def groups(n=3_000, width=40):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(20, width))[rng.integers(20, size=n)] * 2 + rng.normal(size=(n, width))).astype(np.float32)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "correlation"])
def test_inverted_lists_find_nearly_all_neighbours_with_their_distances(metric):
    X = groups()
    found, far = lists.search(torch.from_numpy(X), 15, metric, 0, CPU)
    wanted, true = knn(X, 15, metric=metric, device="cpu", method="exact")
    assert (found.numpy() != np.arange(len(X))[:, None]).all()
    assert np.mean([np.isin(a, b).mean() for a, b in zip(wanted, found.numpy(), strict=True)]) > 0.95
    same = found.numpy() == wanted
    np.testing.assert_allclose(far.numpy()[same], true[same], rtol=1e-5, atol=1e-6)
    assert (far.diff(dim=1) >= 0).all()


def test_inverted_lists_are_the_same_for_a_seed():
    X = torch.from_numpy(groups())
    first, again = (lists.search(X, 15, "euclidean", 3, CPU) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


@pytest.mark.parametrize("kinds", [1, 3, 300])
def test_inverted_lists_take_rows_that_are_mostly_copies(kinds):
    X = torch.from_numpy(groups(kinds)).repeat(-(-2_000 // kinds), 1)[:2_000]
    found, far = lists.search(X, 5, "euclidean", 0, CPU)
    assert ((found >= 0) & (found < 2_000)).all()
    assert (found != torch.arange(2_000)[:, None]).all()
    assert far[:, 0].max() == 0


def test_lists_that_are_nearly_empty_borrow_rows_from_more_lists():
    X = torch.cat([torch.rand(1_900, 3), 100 + 50 * torch.rand(100, 3)])
    found, _ = lists.search(X, 200, "euclidean", 0, CPU)
    assert (found >= 0).all()

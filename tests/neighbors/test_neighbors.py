from __future__ import annotations

import gzip
import threading

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from torchviz_layers.exceptions import DataError, NonFiniteError, ReducerError
from torchviz_layers.neighbors import cuda, descent, exact, knn

SCIPY = {"euclidean": "euclidean", "manhattan": "cityblock", "cosine": "cosine", "correlation": "correlation"}


def brute(X, k, metric="euclidean", queries=None):
    """Neighbours by scipy's distances in float64, ties by the lower index."""
    rows = X if queries is None else queries
    distances = cdist(rows.astype(np.float64), X.astype(np.float64), SCIPY[metric])
    if queries is None:
        np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, axis=1)


def confident_softmax(n=1500, classes=10, seed=0):
    """Answers of a confident network: distances of 1e-6 within a class, of 1 between."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), rng.integers(classes, size=n)] += 15.0
    return torch.from_numpy(logits).float().softmax(1).numpy()


@pytest.fixture
def clouds():
    rng = np.random.default_rng(1)
    return rng.normal(size=(700, 90)).astype(np.float32) + rng.integers(3, size=(700, 1))


@pytest.mark.parametrize("metric", SCIPY)
@pytest.mark.parametrize("n_features", [5, 90])
def test_exact_neighbours_are_scipys(clouds, metric, n_features):
    X = clouds[:, :n_features]
    indices, distances = knn(X, 12, metric=metric, device="cpu")
    wanted, far = brute(X, 12, metric)
    np.testing.assert_array_equal(indices, wanted)
    np.testing.assert_allclose(distances, far, rtol=2e-6, atol=1e-7)
    assert indices.dtype == np.int64
    assert distances.dtype == np.float32


@pytest.mark.parametrize("metric", SCIPY)
def test_torch_search_is_the_numba_search(clouds, metric):
    indices, distances = knn(clouds, 12, metric=metric, device="cpu")
    same, close = cuda.search(clouds, 12, None, metric, torch.device("cpu"))
    np.testing.assert_array_equal(same, indices)
    np.testing.assert_allclose(close, distances, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("search", ["products", "coarse products", "differences", "torch"])
def test_near_duplicates_are_told_apart(search):
    X = confident_softmax()
    wanted, _ = brute(X, 15)
    if "products" in search:
        found, _ = exact.search_by_products(X, 15, coarse="coarse" in search)
    elif search == "differences":
        found, _ = exact.search_directly(X, 15, X, np.arange(len(X)))
    else:
        found, _ = cuda.search(X, 15, None, "euclidean", torch.device("cpu"))
    recall = np.mean([np.isin(a, b).mean() for a, b in zip(wanted, found, strict=True)])
    assert recall > 0.9999


@pytest.mark.parametrize("coarse", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("outlier", [0.0, 300.0])
def test_products_are_certified_or_searched_again(clouds, coarse, outlier):
    X = clouds.copy()
    X[5] += np.float32(outlier)
    indices, distances = exact.search_by_products(X, 12, coarse=coarse)
    wanted, far = brute(X, 12)
    np.testing.assert_array_equal(indices, wanted)
    np.testing.assert_allclose(distances, far, rtol=2e-6)
    asked, _ = exact.search_by_products(X, 12, X[:99], np.arange(99), coarse=coarse)
    np.testing.assert_array_equal(asked, wanted[:99])


def test_float32_products_alone_would_fail_on_near_duplicates():
    X = torch.from_numpy(confident_softmax())
    squares = X.square().sum(1)
    scores = squares[:, None] + squares - 2 * X @ X.T
    scores.fill_diagonal_(torch.inf)
    naive = scores.topk(15, largest=False).indices.numpy()
    wanted, _ = brute(X.numpy(), 15)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(wanted, naive, strict=True)]) < 0.6


def test_queries_leave_nothing_out(clouds):
    asked = clouds[:40] + np.float32(0.01)
    indices, distances = knn(clouds, 5, queries=asked, device="cpu")
    wanted, far = brute(clouds, 5, queries=asked)
    np.testing.assert_array_equal(indices, wanted)
    np.testing.assert_allclose(distances, far, rtol=2e-6)
    np.testing.assert_array_equal(indices[:, 0], np.arange(40))


def test_a_query_does_not_depend_on_its_batch(clouds):
    whole = knn(clouds[100:], 5, queries=clouds[:100], device="cpu")
    alone = [knn(clouds[100:], 5, queries=clouds[i : i + 1], device="cpu") for i in range(0, 100, 25)]
    for i, (indices, distances) in zip(range(0, 100, 25), alone, strict=True):
        np.testing.assert_array_equal(indices[0], whole[0][i])
        np.testing.assert_array_equal(distances[0], whole[1][i])


@pytest.mark.parametrize("n_features", [3, 80])
def test_ties_go_to_the_lower_index(n_features):
    X = np.repeat(np.eye(4, n_features, dtype=np.float32), 30, axis=0)
    indices, distances = knn(X, 8, device="cpu")
    wanted, _ = brute(X, 8)
    np.testing.assert_array_equal(indices, wanted)
    assert (distances == 0).all()


@pytest.mark.parametrize("n_features", [6, 80])
def test_thousands_of_duplicates_are_neighbours_at_zero(n_features):
    X = np.repeat(np.random.default_rng(0).normal(size=(2, n_features)), 1500, axis=0)
    indices, distances = knn(X, 10, device="cpu")
    assert (distances == 0).all()
    assert (indices // 1500 == np.arange(3000)[:, None] // 1500).all()


@pytest.mark.parametrize("method", ["exact", "approximate"])
def test_the_number_of_threads_changes_no_byte(method):
    import numba

    X = np.random.default_rng(0).normal(size=(2500, 100)).astype(np.float32)
    threads, torch_threads = numba.get_num_threads(), torch.get_num_threads()
    found = []
    try:
        for count in sorted({1, threads}):
            numba.set_num_threads(count)
            torch.set_num_threads(count)
            found.append([part.tobytes() for part in knn(X, 10, method=method, device="cpu")])
    finally:
        numba.set_num_threads(threads)
        torch.set_num_threads(torch_threads)
    assert all(part == found[0] for part in found)


@pytest.mark.parametrize("metric", SCIPY)
def test_approximate_search_finds_nearly_all(metric):
    rng = np.random.default_rng(2)
    X = (rng.normal(size=(2500, 6)) @ rng.normal(size=(6, 100)) + 0.05 * rng.normal(size=(2500, 100))).astype("f4")
    indices, distances = knn(X, 10, method="approximate", metric=metric, device="cpu")
    wanted, far = brute(X, 10, metric)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(wanted, indices, strict=True)]) > 0.97
    assert (np.diff(distances, axis=1) >= 0).all()
    np.testing.assert_allclose(distances[:, 0], far[:, 0], rtol=0.5, atol=1e-4)


@pytest.mark.slow
def test_approximate_search_finds_nearly_all_of_mnist(data_dir):
    with gzip.open(data_dir / "mnist" / "train-images-idx3-ubyte.gz") as file:
        packed = file.read(16 + 20_000 * 784)
    X = np.frombuffer(packed, np.uint8)[16:].reshape(-1, 784).astype(np.float32) / 255
    rows = np.arange(0, len(X), 40)
    wanted, _ = knn(X, 16, queries=X[rows], device="cpu")
    wanted = [line[line != row][:15] for line, row in zip(wanted, rows, strict=True)]
    found, _ = knn(X, 15, device="cpu")  # as many rows are searched approximately by default
    assert np.mean([np.isin(a, b).mean() for a, b in zip(wanted, found[rows], strict=True)]) > 0.97


def test_approximate_search_survives_duplicates():
    X = np.repeat(np.random.default_rng(0).normal(size=(5, 20)).astype(np.float32), 600, axis=0)
    indices, distances = descent.search(X, 10, seed=0)
    assert (indices >= 0).all()
    assert (indices != np.arange(len(X))[:, None]).all()
    assert (distances == 0).all()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_does_not_matter(clouds, scale):
    indices, distances = knn(clouds.astype(np.float64) * scale, 5, device="cpu")
    wanted, far = knn(clouds, 5, device="cpu")
    np.testing.assert_array_equal(indices, wanted)
    np.testing.assert_allclose(distances / scale, far, rtol=1e-5)


def test_distances_beyond_float32_are_refused(clouds):
    with pytest.raises(DataError, match="scale the data down"):
        knn(clouds.astype(np.float64) * 1e200, 5, device="cpu")


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32, np.int64, np.uint8, bool])
def test_any_real_dtype_goes(dtype):
    X = (np.random.default_rng(0).normal(size=(50, 8)) * 20).astype(dtype)
    np.testing.assert_array_equal(knn(X, 3, device="cpu")[0], brute(X, 3)[0])


def test_a_tensor_may_ask_for_gradients_and_be_bfloat16():
    X = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    np.testing.assert_array_equal(knn(X, 3, device="cpu")[0], brute(X.detach().float().numpy(), 3)[0])


def test_a_row_of_zeros_is_far_from_all_but_itself_by_cosine():
    X = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.1]])
    indices, distances = knn(X, 3, metric="cosine", device="cpu")
    assert indices[0, 0] == 1
    np.testing.assert_allclose(distances[0], [0.0, 1.0, 1.0], atol=1e-7)


def test_two_python_threads_at_once(clouds):
    wanted = knn(clouds, 5, device="cpu")[0]
    found = []
    threads = [threading.Thread(target=lambda: found.append(knn(clouds, 5, device="cpu")[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all((indices == wanted).all() for indices in found)


@pytest.mark.parametrize("k", [0, 10, 11])
def test_k_out_of_range_names_the_range(k):
    with pytest.raises(ReducerError, match=rf"k={k} .* from 1 to 9"):
        knn(np.zeros((10, 2)), k, device="cpu")


def test_bad_rows_are_named():
    X = np.zeros((30, 2))
    X[[4, 17]] = np.nan
    X[5] = np.inf
    with pytest.raises(NonFiniteError, match=r"3 of 30 rows hold NaN or infinity .rows 4, 5, 17"):
        knn(X, 2, device="cpu")


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((0, 3)), r"0 sample\(s\)"),
        (np.zeros((3, 0)), r"0 feature\(s\)"),
        (np.zeros(3), "Reshape"),
        (np.zeros((3, 2), complex), "Complex"),
        (np.array([["a"], ["b"]]), "not real numbers"),
    ],
)
def test_what_is_not_rows_of_numbers_is_refused(X, message):
    with pytest.raises(DataError, match=message):
        knn(X, 1, device="cpu")


def test_options_list_their_choices():
    X = np.zeros((5, 2))
    with pytest.raises(ReducerError, match="euclidean, cosine, correlation, manhattan"):
        knn(X, 1, metric="hamming", device="cpu")
    with pytest.raises(ReducerError, match="auto, exact, approximate"):
        knn(X, 1, method="fast", device="cpu")
    with pytest.raises(ReducerError, match="'auto', 'cpu', 'cuda'"):
        knn(X, 1, device="gpu")
    with pytest.raises(DataError, match="queries have 3 features, X has 2"):
        knn(X, 1, queries=np.zeros((1, 3)), device="cpu")


@pytest.mark.parametrize(
    "error", [torch.cuda.OutOfMemoryError("no"), RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling")]
)
def test_blocks_shrink_where_the_card_is_out_of_memory(clouds, monkeypatch, error):
    sizes, multiply = [], cuda.multiply

    def tight(left, right, coarse):
        sizes.append(len(left))
        if len(left) > 100:
            raise error
        return multiply(left, right, coarse)

    monkeypatch.setattr(cuda, "multiply", tight)
    monkeypatch.setattr(cuda, "_LEAST_ELEMENTS", 700)
    monkeypatch.setattr(cuda, "_BLOCK_ELEMENTS", 700 * 300)
    found, _ = cuda.search(clouds, 5, None, "euclidean", torch.device("cpu"))
    np.testing.assert_array_equal(found, brute(clouds, 5)[0])
    assert sizes[0] > 100
    assert max(sizes[1:]) <= 100

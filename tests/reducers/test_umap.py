from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_blobs
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from torchviz_layers import UMAP
from torchviz_layers.exceptions import DataError, NonFiniteError, ReducerError
from torchviz_layers.metrics import knn_accuracy, trustworthiness
from torchviz_layers.neighbors import knn
from torchviz_layers.reducers import PCA


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def fitted(digits):
    return UMAP(random_state=0, device="cpu").fit(digits[0])


@pytest.fixture
def threads():
    """Let a test change the numbers of threads; put them back."""
    import numba

    before = numba.get_num_threads(), torch.get_num_threads()

    def use(count):
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
        torch.set_num_threads(count)

    yield use
    numba.set_num_threads(before[0])
    torch.set_num_threads(before[1])


def test_digits_come_out_as_ten_groups(digits, fitted):
    X, y = digits
    Z = fitted.embedding_
    assert Z.shape == (1797, 2)
    assert Z.dtype == np.float32
    assert trustworthiness(X, Z, 15) > 0.98
    assert knn_accuracy(Z, y, 10) > 0.97
    assert fitted.engine_ == "numba"
    assert "CUDA" in fitted.engine_reason_ or "CPU" in fitted.engine_reason_


def test_one_seed_gives_the_same_bytes_for_any_number_of_threads(digits, threads):
    X = digits[0][:600]
    maps = []
    for count in (1, 2, 4, 1):
        threads(count)
        maps.append(UMAP(random_state=7, device="cpu", n_epochs=60).fit_transform(X).tobytes())
    assert len(set(maps)) == 1


def test_another_seed_gives_another_map(digits):
    X = digits[0][:300]
    first, second = (UMAP(random_state=seed, device="cpu", n_epochs=30).fit_transform(X) for seed in (1, 2))
    assert np.abs(first - second).max() > 0.1


def test_no_seed_draws_one_and_tells_it(digits):
    X = digits[0][:200]
    free, other = UMAP(n_epochs=20, device="cpu").fit(X), UMAP(n_epochs=20, device="cpu").fit(X)
    assert free.seed_ != other.seed_
    again = UMAP(n_epochs=20, device="cpu", random_state=free.seed_).fit(X)
    np.testing.assert_array_equal(again.embedding_, free.embedding_)


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_numpys_generators_are_seeds(digits, make):
    X = digits[0][:100]
    first, second = (UMAP(n_epochs=10, device="cpu", random_state=make(5)).fit_transform(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_tensors_lists_and_arrays_give_the_same_map(digits):
    X = digits[0][:150].astype(np.float32)
    wanted = UMAP(random_state=0, n_epochs=20, device="cpu").fit_transform(X)
    for same in (torch.from_numpy(X).requires_grad_(), X.astype(np.uint8), X[:, :, None]):
        np.testing.assert_array_equal(UMAP(random_state=0, n_epochs=20, device="cpu").fit_transform(same), wanted)


def test_zarr_arrays_go(digits):
    import zarr

    X = digits[0][:150].astype(np.float32)
    stored = zarr.array(X, chunks=(64, 64))
    wanted = UMAP(random_state=0, n_epochs=20, device="cpu").fit_transform(X)
    np.testing.assert_array_equal(UMAP(random_state=0, n_epochs=20, device="cpu").fit_transform(stored), wanted)


def test_the_callers_array_is_left_alone(digits):
    X = digits[0][:100].copy()
    X.flags.writeable = False
    UMAP(n_epochs=10, device="cpu").fit(X)


@pytest.mark.parametrize("metric", ["cosine", "correlation", "manhattan"])
def test_other_metrics(digits, metric):
    X, y = digits
    model = UMAP(metric=metric, random_state=0, device="cpu", n_epochs=150).fit(X)
    assert model.engine_ == "numba"
    assert trustworthiness(X, model.embedding_, 15, metric=metric) > 0.96
    assert knn_accuracy(model.embedding_, y, 10) > 0.95


@pytest.mark.parametrize("n_components", [1, 3, 5])
def test_other_numbers_of_dimensions(digits, n_components):
    X, y = digits
    Z = UMAP(n_components, random_state=0, device="cpu", n_epochs=150).fit_transform(X)
    assert Z.shape == (1797, n_components)
    assert knn_accuracy(Z, y, 10) > (0.9 if n_components == 1 else 0.97)


@pytest.mark.parametrize("n", range(1, 21))
def test_few_samples(n):
    X = np.random.default_rng(n).normal(size=(n, 4))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_neighbors=15 is cut")
        Z = UMAP(random_state=0, device="cpu").fit_transform(X)
    assert Z.shape == (n, 2)
    assert np.isfinite(Z).all()
    assert len(np.unique(Z, axis=0)) == n


def test_too_few_samples_for_the_neighbourhood_are_told_of():
    with pytest.warns(UserWarning, match="n_neighbors=15 is cut to the number of samples, 8"):
        UMAP(random_state=0, device="cpu").fit(np.random.default_rng(0).normal(size=(8, 3)))


@pytest.mark.parametrize(
    "X",
    [
        np.ones((100, 5)),
        np.zeros((3000, 3)),
        np.repeat(np.random.default_rng(0).normal(size=(3, 6)), 1000, axis=0),
        np.random.default_rng(0).normal(size=(80, 1)),
        np.random.default_rng(0).normal(size=(30, 100_000)).astype(np.float32),
        np.random.default_rng(0).normal(size=(80, 4)) + 1e8,
        (np.random.default_rng(0).normal(size=(80, 4)) * 1e30).astype(np.float32),
    ],
    ids=["constant", "zeros", "duplicates", "one feature", "many features", "offset", "huge"],
)
def test_awkward_data_come_out_finite_and_spread(X):
    Z = UMAP(random_state=0, device="cpu", n_epochs=50).fit_transform(X)
    assert np.isfinite(Z).all()
    assert np.ptp(Z, axis=0).min() > 0.5
    assert np.abs(Z).max() < 100


def test_groups_without_a_link_stay_apart_and_in_view():
    X, y = make_blobs(600, 8, centers=6, cluster_std=0.1, center_box=(-1e4, 1e4), random_state=0)
    Z = UMAP(random_state=0, device="cpu").fit_transform(X)
    assert knn_accuracy(Z, y, 10) == 1.0
    assert np.abs(Z).max() < 100


def test_thousands_of_copies_lie_with_their_kind():
    X = np.repeat(np.random.default_rng(0).normal(size=(3, 6)), 1000, axis=0)
    Z = UMAP(random_state=0, device="cpu").fit_transform(X)
    assert knn_accuracy(Z, np.arange(3000) // 1000, 10) > 0.99


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.uint8, bool])
def test_any_real_dtype(dtype):
    X = (np.random.default_rng(0).normal(size=(60, 5)) * 3).astype(dtype)
    assert np.isfinite(UMAP(random_state=0, device="cpu", n_epochs=20).fit_transform(X)).all()


def test_rows_with_nan_are_named_or_dropped(digits):
    X = digits[0][:120].copy()
    X[[3, 50], 7] = np.nan
    with pytest.raises(NonFiniteError, match=r"2 of 120 rows hold NaN or infinity \(rows 3, 50\)"):
        UMAP(device="cpu").fit(X)
    Z = UMAP(device="cpu", nonfinite="drop", random_state=0, n_epochs=20).fit_transform(X)
    assert np.flatnonzero(np.isnan(Z).any(axis=1)).tolist() == [3, 50]
    kept = np.delete(X, [3, 50], axis=0)
    alone = UMAP(device="cpu", random_state=0, n_epochs=20).fit_transform(kept)
    np.testing.assert_array_equal(np.delete(Z, [3, 50], axis=0), alone)
    X[:] = np.inf
    with pytest.raises(NonFiniteError, match="every one of its 120 rows"):
        UMAP(device="cpu", nonfinite="drop").fit(X)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_components": 0}, "n_components=0.*at least 1"),
        ({"n_neighbors": 1}, "n_neighbors=1.*at least 2"),
        ({"n_neighbors": 5.5}, "n_neighbors=5.5.*whole number"),
        ({"n_epochs": 0}, "n_epochs=0"),
        ({"min_dist": 2.0}, "min_dist=2.0.*spread"),
        ({"spread": 0.0}, "spread=0.0.*above 0"),
        ({"random_state": -1}, "random_state=-1"),
        ({"random_state": "x"}, "random_state='x'"),
        ({"engine": "gpu"}, "'gpu' is none of auto, cuml, torch, numba, umap-learn"),
        ({"device": "tpu"}, "device='tpu' is no device"),
        ({"init": "pcs"}, "'pcs' is none of diffusion, pca, random, spectral"),
        ({"init": np.zeros((3, 2))}, r"shape \(3, 2\).*\(50, 2\)"),
        ({"nonfinite": "skip"}, "'skip' is neither"),
        ({"engine": "numba", "metric": "canberra"}, "does not cover metric='canberra'"),
        ({"metric": "nope"}, "metric='nope'.*euclidean, cosine, correlation, manhattan.*canberra"),
        ({"metric": 3}, "metric=3.*euclidean"),
        ({"metric": "precomputed"}, "metric='precomputed'.*as precomputed_knn"),
        ({"metric": "nope", "engine": "torch"}, "metric='nope'.*euclidean"),
        ({"n_neighbors": "a"}, "n_neighbors='a'.*whole number"),
        ({"min_dist": "a"}, "min_dist='a'.*number"),
        ({"spread": None}, "spread=None.*number above 0"),
        ({"random_state": True}, "random_state=True"),
        ({"device": None}, "device=None is no device"),
        ({"init": 3}, "init=3: it must be one of diffusion"),
        ({"init": [["a", "b"]] * 50}, r"init: list is neither a name nor an array of numbers \(50, 2\)"),
        ({"init": np.full((50, 2), np.nan)}, "init holds NaN or infinity in 50 of 50 rows"),
        ({"callback": 3}, "callback=3.*function"),
        ({"keep_data": "yes"}, "keep_data='yes'.*True or False"),
        ({"verbose": "x"}, "verbose='x'.*True or False"),
        ({"engine_kwargs": 3}, "engine_kwargs=3.*dict"),
        ({"engine_kwargs": {"bogus": 1}}, "engine_kwargs: umap-learn has no option 'bogus'; it has .*learning_rate"),
        ({"engine_kwargs": {"negative_sample_rate": -1}}, "umap-learn fails with.*negative_sample_rate=-1"),
        ({"metric": "haversine"}, "umap-learn fails with metric='haversine'"),
        ({"precomputed_knn": 3}, "must be .indices, distances.*'int'"),
        ({"precomputed_knn": (np.zeros((49, 15), int), np.zeros((49, 15)))}, "for 50 samples"),
        ({"precomputed_knn": (np.full((50, 15), -1), np.zeros((50, 15)))}, "from 0 to 49"),
        ({"precomputed_knn": (np.ones((50, 15), int), np.full((50, 15), np.nan))}, "finite"),
        ({"precomputed_knn": (np.ones((50, 5), int), np.zeros((50, 5)))}, "needs 14"),
    ],
)
def test_wrong_options_are_named_with_a_way_out(params, message):
    X = np.random.default_rng(0).normal(size=(50, 4))
    with pytest.raises(ReducerError, match=message):
        UMAP(**({"device": "cpu"} | params)).fit(X)


@pytest.mark.parametrize("make", [lambda: UMAP(n_neighbors=5, n_epochs=5, device="cpu"), PCA])
def test_the_columns_of_a_table_are_remembered_as_scikit_learn_does(make):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    rows = pandas.DataFrame(np.random.default_rng(0).normal(size=(20, 3)), columns=["a", "b", "c"])
    model = make().fit(rows)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(model.transform(rows[:4]), transformed_values(model, rows[:4]))
    for other in (["a", "b", "d"], ["b", "a", "c"]):
        with pytest.raises(DataError, match="feature names should match"):
            model.transform(rows.set_axis(other, axis=1))
    assert not hasattr(model.fit(rows.to_numpy()), "feature_names_in_")


def transformed_values(model, rows):
    """Transform a table's values, which have no names to compare."""
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        return model.transform(rows.to_numpy())


@pytest.mark.skipif(torch.cuda.is_available(), reason="a card is here")
def test_a_card_that_is_not_there():
    with pytest.raises(ReducerError, match="has no CUDA card; use 'auto' or 'cpu'"):
        UMAP(device="cuda").fit(np.zeros((20, 2)))


@pytest.mark.parametrize("with_self", [True, False])
def test_precomputed_neighbours_give_the_same_map(digits, with_self):
    X = digits[0][:300]
    indices, distances = knn(X, 14, device="cpu")
    if with_self:
        indices = np.hstack([np.arange(300)[:, None], indices])
        distances = np.hstack([np.zeros((300, 1)), distances])
    given = UMAP(precomputed_knn=(indices, distances), random_state=0, device="cpu", n_epochs=30).fit_transform(X)
    np.testing.assert_array_equal(given, UMAP(random_state=0, device="cpu", n_epochs=30).fit_transform(X))


def test_precomputed_neighbours_may_list_a_duplicate_before_the_point_itself():
    X = np.repeat(np.random.default_rng(0).normal(size=(30, 3)), 2, axis=0)
    indices, distances = knn(X, 14, device="cpu")
    own = np.arange(60)[:, None]
    shuffled = np.hstack([indices[:, :1], own, indices[:, 1:]])  # the duplicate first, at 0 as well
    far = np.hstack([distances[:, :1], np.zeros((60, 1)), distances[:, 1:]])
    given = UMAP(precomputed_knn=(shuffled, far), random_state=0, device="cpu", n_epochs=20).fit_transform(X)
    np.testing.assert_array_equal(given, UMAP(random_state=0, device="cpu", n_epochs=20).fit_transform(X))


def test_new_rows_fall_among_their_class_whatever_their_batch(digits):
    X, y = digits
    train, new, labels, truth = train_test_split(X, y, random_state=0)
    model = UMAP(random_state=0, device="cpu").fit(train)
    placed = model.transform(new)
    guess = KNeighborsClassifier(10).fit(model.embedding_, labels).predict(placed)
    assert (guess == truth).mean() > 0.95
    np.testing.assert_array_equal(model.transform(new[100:101])[0], placed[100])
    np.testing.assert_array_equal(model.transform(new[::-1]), placed[::-1])


def test_fitted_rows_keep_their_places(digits, fitted):
    np.testing.assert_array_equal(fitted.transform(digits[0][:50]), fitted.embedding_[:50])


def test_transform_wants_the_features_it_knows(fitted):
    with pytest.raises(DataError, match="3 features, but UMAP is expecting 64"):
        fitted.transform(np.zeros((2, 3)))


def test_pickles_leave_the_training_data_out_unless_asked(digits, fitted):
    copy = pickle.loads(pickle.dumps(fitted))
    assert len(pickle.dumps(fitted)) < digits[0].nbytes / 10
    np.testing.assert_array_equal(copy.embedding_, fitted.embedding_)
    with pytest.raises(ReducerError, match="keep_data=True"):
        copy.transform(digits[0][:5])
    whole = UMAP(random_state=0, device="cpu", n_epochs=20, keep_data=True).fit(digits[0][:200])
    new = digits[0][200:220]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(whole)).transform(new), whole.transform(new))


def test_a_pipeline_of_pca_umap_and_a_classifier(digits):
    X, y = digits
    train, new, labels, truth = train_test_split(X, y, random_state=0)
    steps = make_pipeline(PCA(20), UMAP(random_state=0, device="cpu", n_epochs=150), KNeighborsClassifier(10))
    assert steps.fit(train, labels).score(new, truth) > 0.94


def test_the_callback_sees_the_epochs_and_may_stop_them(digits):
    seen = []
    UMAP(device="cpu", n_epochs=90, callback=lambda done, total, Z: seen.append((done, total, Z.shape))).fit(
        digits[0][:200]
    )
    assert seen[-1] == (90, 90, (200, 2))
    assert [done for done, _, _ in seen] == sorted({done for done, _, _ in seen})
    stopped = []
    UMAP(device="cpu", n_epochs=10_000, callback=lambda done, *_: stopped.append(done) or True).fit(digits[0][:200])
    assert len(stopped) == 1


def test_a_busy_machine_gets_one_thread_and_the_same_map(digits, monkeypatch):
    import numba

    from torchviz_layers.reducers import threads as crew

    used, clock = [], [0.0]

    def now():  # a machine on which several threads take ten times as long as one
        clock[0] += 0.01 if numba.get_num_threads() == 1 else 0.1
        used.append(numba.get_num_threads())
        return clock[0]

    X = digits[0][:200]
    wanted = UMAP(random_state=0, device="cpu", n_epochs=100).fit_transform(X)
    before = numba.get_num_threads()
    monkeypatch.setattr(crew.time, "perf_counter", now)
    busy = UMAP(random_state=0, device="cpu", n_epochs=100).fit_transform(X)
    assert numba.get_num_threads() == before
    np.testing.assert_array_equal(busy, wanted)
    if before > 1:
        assert used.count(1) > used.count(before) / 2


def test_progress_shows_only_where_it_takes_time(digits, capsys):
    UMAP(device="cpu", n_epochs=20, verbose=True).fit(digits[0][:100])
    assert "epoch" not in capsys.readouterr().err


def test_ctrl_c_is_heard_within_a_second_and_the_process_stays_usable(digits):
    X = np.random.default_rng(0).normal(size=(20_000, 10)).astype(np.float32)
    pressed = []

    def press(*_):
        if not pressed:
            pressed.append(time.perf_counter())
            threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            UMAP(device="cpu", n_epochs=100_000, n_neighbors=5, callback=press).fit(X)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.perf_counter() - pressed[0] < 1.5  # the press itself comes 0.05 s later
    assert np.isfinite(UMAP(device="cpu", n_epochs=10).fit_transform(digits[0][:50])).all()


def test_two_python_threads_at_once(digits):
    X = digits[0][:400]
    wanted = UMAP(random_state=0, device="cpu", n_epochs=50).fit_transform(X)
    maps = []
    workers = [
        threading.Thread(target=lambda: maps.append(UMAP(random_state=0, device="cpu", n_epochs=50).fit_transform(X)))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(maps) == 3
    assert all((wanted == Z).all() for Z in maps)


SMALL_RUN = """
import sys
import threading
import numpy as np
from torchviz_layers import UMAP
X = np.random.default_rng(0).normal(size=(60, 4))
run = lambda: UMAP(random_state=0, device="cpu", n_epochs=20).fit_transform(X)
workers = [threading.Thread(target=run) for _ in range(2)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
sys.stdout.write(str(run().shape))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [{"NUMBA_CACHE_DIR": "/proc/no/such/folder"}, {"NUMBA_THREADING_LAYER": "workqueue"}],
    ids=["no folder for the cache", "the layer that two threads would end the process in"],
)
def test_a_machine_that_numba_does_not_like(environment):
    done = subprocess.run(
        [sys.executable, "-c", SMALL_RUN], env=os.environ | environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(60, 2)"


def test_numba_without_a_folder_for_its_cache_compiles_all_the_same(monkeypatch):
    import numba

    from torchviz_layers._common import numba as _numba

    njit = numba.njit

    def refuse(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", refuse)
    assert _numba.jit(lambda x: x + 1)(1) == 2


FIRST_AND_LATER = """
import hashlib
import numpy as np
from torchviz_layers import UMAP
X = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
for n_components in (2, 3, 5):
    umap = UMAP(n_components, n_epochs=30, random_state=0, device="cpu").fit(X)
    print(hashlib.sha256(umap.embedding_.tobytes() + umap.transform(X[:50] + 0.1).tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_the_process_that_compiles_the_kernels_gives_the_bytes_of_later_ones(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", FIRST_AND_LATER]
    first, later = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert list(tmp_path.rglob("*.nbi"))
    assert first.split() == later.split()

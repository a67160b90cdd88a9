"""umap-learn beside ours, and what only it covers: together, as its kernels are compiled again in every process."""

import re

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from tests.umap_problems import as_matrix, problem, rows_in_groups
from torchviz_layers import UMAP, Samples, visualize_layers
from torchviz_layers.exceptions import NonFiniteError
from torchviz_layers.metrics import knn_accuracy, trustworthiness
from torchviz_layers.neighbors import knn
from torchviz_layers.reducers import PCA, graph, numba_engine
from torchviz_layers.reducers.problem import fit_curve


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def rows():
    return rows_in_groups()


@pytest.fixture(scope="module")
def near(rows):
    return knn(rows, 14, device="cpu")


@pytest.mark.filterwarnings("ignore")  # umap-learn's own
def test_the_fuzzy_graph_is_umap_learns(rows, near):
    from umap.umap_ import fuzzy_simplicial_set

    own, nothing = np.arange(250)[:, None], np.zeros((250, 1), np.float32)
    wanted = fuzzy_simplicial_set(
        rows,
        15,
        np.random.RandomState(0),
        "euclidean",
        knn_indices=np.hstack([own, near[0]]),
        knn_dists=np.hstack([nothing, near[1]]),
    )[0]
    found = as_matrix(graph.fuzzy_graph(*near, 15))
    assert found.nnz == wanted.nnz
    assert abs(found - wanted).max() < 2e-5
    assert abs(found - found.T).max() == 0


@pytest.mark.parametrize(("spread", "min_dist"), [(1.0, 0.1), (2.0, 0.5), (1.0, 0.0)])
def test_the_curve_is_umap_learns(spread, min_dist):
    umap_ = pytest.importorskip("umap.umap_")
    np.testing.assert_allclose(fit_curve(spread, min_dist), umap_.find_ab_params(spread, min_dist), rtol=1e-6)


def test_umap_learn_gets_our_start(rows, near):
    edges = graph.fuzzy_graph(*near, 15)
    wanted = numba_engine.start_positions(problem(rows), edges)
    after_one_epoch = UMAP(engine="umap-learn", n_epochs=1, random_state=0, device="cpu").fit_transform(rows)
    for c in range(2):
        assert np.corrcoef(after_one_epoch[:, c], wanted[:, c])[0, 1] > 0.95


@pytest.mark.slow
def test_it_is_as_faithful_as_umap_learn(digits):
    X, y = digits
    ours, theirs = (
        UMAP(random_state=0, engine=name, device="cpu").fit_transform(X) for name in ("numba", "umap-learn")
    )
    assert trustworthiness(X, ours, 15) > trustworthiness(X, theirs, 15) - 0.003
    assert knn_accuracy(ours, y, 10) > knn_accuracy(theirs, y, 10) - 0.005


@pytest.mark.filterwarnings("ignore")  # the checks themselves warn
@pytest.mark.parametrize("estimator", [UMAP(n_epochs=20, random_state=0, device="cpu", keep_data=True), PCA()])
def test_scikit_learns_estimator_checks(estimator):
    # keep_data: one check transforms with a copy from a pickle, which holds no data unless asked to. The check of
    # array API input is skipped by scikit-learn itself, unless SCIPY_ARRAY_API is set; 1.6 does not list it.
    results = check_estimator(estimator, on_fail=None)
    assert [r["check_name"] for r in results if r["status"] not in ("passed", "skipped")] == []
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= {"check_array_api_input"}


@pytest.mark.filterwarnings("ignore")  # umap-learn's own
@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"metric": "canberra"}, "umap-learn covers metric='canberra'"),
        ({"init": "spectral"}, "umap-learn covers init='spectral'"),
        ({"engine_kwargs": {"densmap": True}}, r"umap-learn covers engine_kwargs \(densmap\)"),
        ({"engine_kwargs": {"target_metric": "categorical"}}, "target_metric"),
    ],
)
def test_umap_learn_covers_the_rest(digits, params, reason):
    X, y = digits[0][:120], digits[1][:120]
    model = UMAP(random_state=0, device="cpu", n_epochs=11, **params).fit(X, y)
    assert model.engine_ == "umap-learn"
    assert np.isfinite(model.embedding_).all()
    assert re.search(reason, model.engine_reason_)


@pytest.mark.filterwarnings("ignore")  # umap-learn's own
def test_sparse_rows_go_to_umap_learn(digits):
    X = csr_array(digits[0][:120])
    model = UMAP(random_state=0, device="cpu", n_epochs=11).fit(X)
    assert (model.engine_, model.engine_reason_) == ("umap-learn", "umap-learn covers sparse input")
    assert model.embedding_.shape == (120, 2)
    assert model.transform(X[:7]).shape == (7, 2)
    X.data[0] = np.nan
    with pytest.raises(NonFiniteError):
        UMAP(device="cpu").fit(X)


def test_rows_without_a_neighbour_under_jaccard_are_nan_and_counted_in_a_warning():
    rng = np.random.default_rng(0)
    X = np.zeros((120, 60), np.float32)
    X[:, :40] = rng.random((120, 40)) < 0.3
    X[:3] = 0
    X[[0, 1, 2], [50, 51, 52]] = 1  # nothing in common with any other
    model = UMAP(metric="jaccard", random_state=0, device="cpu")
    with pytest.warns(UserWarning, match=r"3 rows have no neighbour under metric 'jaccard' and are NaN .*, of 120"):
        Z = model.fit_transform(X)
    assert np.flatnonzero(~np.isfinite(Z).all(1)).tolist() == [0, 1, 2]
    assert "3 rows have no neighbour" in model.engine_reason_


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_page_of_points_without_neighbours_says_how_many_and_measures_the_others():
    rng = np.random.default_rng(0)
    images = np.zeros((80, 1, 8, 8), np.float32)
    images[:, 0, :5] = rng.random((80, 5, 8)) < 0.3
    images[:3] = 0
    images[[0, 1, 2], 0, 6, [0, 1, 2]] = 1  # nothing in common with any other
    reducer = UMAP(metric="jaccard", random_state=0, device="cpu")
    page = visualize_layers(nn.Sequential(nn.Flatten()), Samples.of(images), reducer=reducer, progress=False)
    lost = np.isnan(page.data.input_panel.Z).any(1)
    assert np.flatnonzero(lost).tolist() == [0, 1, 2]
    assert page.data.input_panel.trustworthiness > 0.5
    assert any("3 rows have no neighbour under metric 'jaccard' and are NaN" in note for note in page.data.notes)

"""Measures of regression and of several labels, beside scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor, NearestNeighbors

from torchviz_layers import metrics
from torchviz_layers.exceptions import DataError

CLOSE = {"rtol": 0, "atol": 1e-6}


def layer(n_features, n=300):
    """Activations, a value and three labels that their first features half tell."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, n_features))
    values = 1000 + 5 * X[:, 0] - 3 * X[:, 1] + rng.normal(size=n)
    return X, values, X[:, :3] + rng.normal(size=(n, 3)) > 0.5


def scaled(X):
    return (X - X.mean(0)) / np.sqrt(X.var(0).mean())


def folds(n, count=5):
    fold = np.empty(n, int)
    for number, part in enumerate(np.array_split(np.random.default_rng(0).permutation(n), count)):
        fold[part] = number
    return PredefinedSplit(fold)


@pytest.mark.parametrize("n_features", [8, 400])
def test_the_probe_of_values_is_scikit_learns_ridge(n_features):
    X, values, _ = layer(n_features)
    guess = cross_val_predict(Ridge(alpha=1.0), scaled(X), values, cv=folds(300))
    np.testing.assert_allclose(metrics.linear_probe_r2(X, values), r2_score(values, guess), **CLOSE)


@pytest.mark.parametrize("n_features", [8, 400])
def test_the_probe_of_values_holds_in_float32_and_under_autocast(n_features, monkeypatch):
    X, values, _ = layer(n_features)
    wanted = metrics.linear_probe_r2(X, values)
    monkeypatch.setattr("torchviz_layers.metrics.probes._MANY_PRODUCTS", 0)  # float32, as for many rows
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert metrics.linear_probe_r2(X, values, device="cpu") == pytest.approx(wanted, abs=1e-4)


def test_rows_without_a_value_are_left_out_of_the_probe():
    X, values, _ = layer(8)
    gaps = values.copy()
    gaps[::3] = np.nan
    known = ~np.isnan(gaps)
    assert metrics.linear_probe_r2(X, gaps) == metrics.linear_probe_r2(X[known], values[known])
    some = metrics.linear_probe_r2(X, gaps, sample=100)
    assert some == metrics.linear_probe_r2(X[known], values[known], sample=100)


@pytest.mark.parametrize("n_features", [8, 400])
def test_the_probe_of_labels_is_scikit_learns_ridge_classifier(n_features):
    X, _, sets = layer(n_features)
    guess = cross_val_predict(RidgeClassifier(alpha=1.0), scaled(X), sets.astype(int), cv=folds(300))
    wanted = np.mean([accuracy_score(sets[:, label], guess[:, label]) for label in range(3)])
    np.testing.assert_allclose(metrics.linear_probe_label_accuracy(X, sets), wanted, **CLOSE)


def test_neighbour_r2_is_scikit_learns_regressor_left_one_out():
    X, values, _ = layer(4, n=120)
    guess = []
    for row in range(len(X)):
        rest = np.delete(np.arange(len(X)), row)
        model = KNeighborsRegressor(7, algorithm="brute").fit(X[rest], values[rest])
        guess.append(model.predict(X[row : row + 1])[0])
    np.testing.assert_allclose(metrics.neighbor_r2(X, values, 7), r2_score(values, guess), **CLOSE)


def test_neighbourhood_jaccard_counts_labels_that_both_have():
    X, _, sets = layer(4, n=80)
    near = NearestNeighbors(n_neighbors=6).fit(X).kneighbors(return_distance=False)
    indices = []
    for row in range(len(X)):
        for other in near[row]:
            either = (sets[row] | sets[other]).sum()
            indices.append((sets[row] & sets[other]).sum() / either if either else 1)
    np.testing.assert_allclose(metrics.neighborhood_jaccard(X, sets, 6), np.mean(indices), **CLOSE)
    np.testing.assert_allclose(metrics.neighborhood_jaccard(X, sets.astype(int), 6), np.mean(indices), **CLOSE)


def test_r2_of_equal_values_or_of_one_is_none():
    X, _, _ = layer(4, n=20)
    one = np.full(20, np.nan)
    one[3] = 1
    for values in (np.full(20, 0.1), one, np.full(20, np.nan)):
        assert metrics.linear_probe_r2(X, values) is None
        assert metrics.neighbor_r2(X, values, 3) is None


def test_depth_takes_labels_of_any_kind():
    votes = [["b", "a", "b"], ["a", "b", "b"]]
    assert metrics.prediction_depth(votes, ["a", "a", "b"]).tolist() == [1, 2, 0]
    assert metrics.prediction_depth([[-1, 1]], [-1, -1]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.linear_probe_r2(np.zeros((10, 2)), np.zeros(9)), "10 rows"),
        (lambda: metrics.linear_probe_r2(np.zeros((10, 2)), np.array(["a"] * 10)), "not real numbers"),
        (lambda: metrics.linear_probe_r2(np.zeros((10, 2)), np.array([np.inf] * 10)), "infinity"),
        (lambda: metrics.linear_probe_r2(np.zeros((10, 2)), np.arange(10), folds=11), "from 2 to 10"),
        (lambda: metrics.neighbor_r2(np.zeros((10, 2)), np.arange(10), 10), "from 1 to 9"),
        (lambda: metrics.linear_probe_label_accuracy(np.zeros((4, 2)), np.zeros(4)), r"\(n, n_labels\)"),
        (lambda: metrics.neighborhood_jaccard(np.zeros((4, 2)), np.full((4, 2), 2), 2), "nothing but 0 and 1"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(DataError, match=message):
        call()

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.linear_model import RidgeClassifier
from sklearn.manifold import trustworthiness as sklearn_trustworthiness
from sklearn.metrics import silhouette_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from torchviz_layers import metrics
from torchviz_layers.exceptions import DataError
from torchviz_layers.metrics.neighborhoods import nearest, ranks, sorted_ranks

CLOSE = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(scope="module")
def sample():
    """300 samples in 8 dimensions, a map that keeps some of their order, and 4 classes that it half shows."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(300, 8))
    Z = X[:, :2] + 0.3 * rng.normal(size=(300, 2))
    targets = (X[:, 0] > 0) * 2 + (X[:, 1] + 0.5 * rng.normal(size=300) > 0)
    return X, Z, targets


@pytest.mark.parametrize("k", [5, 15])
def test_trustworthiness_and_continuity_are_scikit_learns(sample, k):
    X, Z, _ = sample
    np.testing.assert_allclose(metrics.trustworthiness(X, Z, k), sklearn_trustworthiness(X, Z, n_neighbors=k), **CLOSE)
    np.testing.assert_allclose(metrics.continuity(X, Z, k), sklearn_trustworthiness(Z, X, n_neighbors=k), **CLOSE)


@pytest.mark.parametrize("metric", ["cosine", "manhattan", "correlation"])
def test_trustworthiness_reads_the_metric(sample, metric):
    X, Z, _ = sample
    wanted = sklearn_trustworthiness(X, Z, n_neighbors=10, metric=metric)
    np.testing.assert_allclose(metrics.trustworthiness(X, Z, 10, metric=metric), wanted, **CLOSE)


def test_the_measures_are_zadus():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 10))
    Z = X[:, :2] + 0.4 * rng.normal(size=(400, 2))
    targets = (X[:, 0] > 0) * 1 + (X[:, 1] > 0) * 2
    # what ZADU 0.5.4 answers for these arrays
    np.testing.assert_allclose(metrics.trustworthiness(X, Z, 15), 0.6428240495137046, **CLOSE)
    np.testing.assert_allclose(metrics.continuity(X, Z, 15), 0.7467595048629531, **CLOSE)
    np.testing.assert_allclose(metrics.distance_spearman(X, Z), 0.39506833091600346, **CLOSE)
    np.testing.assert_allclose(metrics.neighborhood_hit(Z, targets, 10), 0.6575, **CLOSE)


def test_ranks_counted_are_ranks_sorted():
    distance = torch.rand(20, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64).mul(30).floor()
    columns = torch.stack([torch.randperm(50)[:7] for _ in range(20)])
    order = distance.sort(dim=1, stable=True).indices
    wanted = order.argsort(dim=1).gather(1, columns) + 1
    assert (ranks(distance, columns) == wanted).all()
    assert (sorted_ranks(distance, columns) == wanted).all()  # what a card runs
    assert (nearest(distance, 7) == order[:, :7].sort(dim=1).values).all()


def test_a_perfect_map_scores_one_and_a_shuffled_one_near_half(sample):
    X, _, _ = sample
    assert metrics.trustworthiness(X, 2 * X + 1, 10) == 1.0
    assert metrics.knn_recall(X, 2 * X + 1, 10) == 1.0
    shuffled = X[np.random.default_rng(0).permutation(len(X))]
    assert 0.4 < metrics.trustworthiness(X, shuffled, 10) < 0.6
    assert metrics.knn_recall(X, shuffled, 10) < 0.1


def test_knn_recall_counts_shared_neighbours():
    X = np.array([[0.0], [1.0], [3.0], [6.0], [10.0]])
    Z = np.array([[0.0], [1.0], [3.0], [2.9], [10.0]])
    # nearest in X: 1, 0, 1, 2, 3; in Z: 1, 0, 3, 2, 2
    assert metrics.knn_recall(X, Z, 1) == pytest.approx(3 / 5)


def test_near_duplicates_keep_their_ranks():
    rng = np.random.default_rng(0)
    X = 1e-7 * rng.normal(size=(200, 10)) + np.repeat(np.eye(10)[:2], 100, axis=0)
    np.testing.assert_allclose(metrics.trustworthiness(X, X * 1e7, 10), 1.0, **CLOSE)


def test_a_sample_of_rows_estimates_the_whole(sample):
    X, Z, _ = sample
    whole = metrics.trustworthiness(X, Z, 10)
    part = metrics.trustworthiness(X, Z, 10, sample=150, random_state=1)
    assert part == metrics.trustworthiness(X, Z, 10, sample=150, random_state=1)
    assert part != whole
    assert abs(part - whole) < 0.02


def test_knn_accuracy_is_scikit_learns_vote(sample):
    X, _, targets = sample
    right = 0
    for i in range(len(X)):
        rest = np.delete(np.arange(len(X)), i)
        vote = KNeighborsClassifier(7, algorithm="brute").fit(X[rest], targets[rest]).predict(X[i : i + 1])
        right += int(vote[0] == targets[i])
    np.testing.assert_allclose(metrics.knn_accuracy(X, targets, 7), right / len(X), **CLOSE)


def test_votes_are_labels_as_they_came():
    X = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    names = np.array(["cat", "cat", "dog", "dog", "dog", "dog"])
    assert metrics.knn_votes(X, names, 2).tolist() == ["cat", "cat", "cat", "dog", "dog", "dog"]
    assert metrics.knn_accuracy(X, names, 2) == pytest.approx(5 / 6)
    assert metrics.neighborhood_hit(X, names, 2) == pytest.approx((0.5 + 0.5 + 0 + 3) / 6)


def test_silhouette_is_scikit_learns(sample):
    X, _, targets = sample
    np.testing.assert_allclose(metrics.silhouette(X, targets), silhouette_score(X, targets), **CLOSE)
    lonely = targets.copy()
    lonely[0] = 9  # a class of one row scores 0
    np.testing.assert_allclose(metrics.silhouette(X, lonely), silhouette_score(X, lonely), **CLOSE)


def test_distance_spearman_is_scipys(sample):
    X, Z, _ = sample
    wanted = spearmanr(pdist(X), pdist(Z)).statistic
    np.testing.assert_allclose(metrics.distance_spearman(X, Z), wanted, **CLOSE)


def test_triplets_agree_with_a_loop(sample):
    X, Z, _ = sample
    assert metrics.triplet_accuracy(X, 3 * X) == 1.0
    rng = np.random.default_rng(0)
    agree = 0
    for _ in range(20_000):
        i, j, other = rng.choice(len(X), 3, replace=False)
        above = np.linalg.norm(X[i] - X[j]) < np.linalg.norm(X[i] - X[other])
        agree += above == (np.linalg.norm(Z[i] - Z[j]) < np.linalg.norm(Z[i] - Z[other]))
    assert abs(metrics.triplet_accuracy(X, Z) - agree / 20_000) < 0.015


def test_linear_cka_is_the_alignment_of_centred_kernels(sample):
    X, Z, _ = sample
    centring = np.eye(len(X)) - 1 / len(X)
    K, L = centring @ X @ X.T @ centring, centring @ Z @ Z.T @ centring
    wanted = (K * L).sum() / np.sqrt((K * K).sum() * (L * L).sum())
    np.testing.assert_allclose(metrics.linear_cka(X, Z), wanted, **CLOSE)
    wide = np.hstack([X] * 60)  # more features than samples: the other formula
    np.testing.assert_allclose(metrics.linear_cka(wide, Z), wanted, **CLOSE)


def test_linear_cka_is_blind_to_rotation_scale_and_offset(sample):
    X, _, _ = sample
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    np.testing.assert_allclose(metrics.linear_cka(X, -7 * X @ rotation + 3), 1.0, **CLOSE)
    assert metrics.linear_cka(X, np.ones((300, 4))) == 0.0


@pytest.mark.parametrize("n_features", [8, 400])
def test_the_linear_probe_is_scikit_learns_ridge(sample, n_features):
    _, _, targets = sample
    X = np.random.default_rng(1).normal(size=(300, n_features))
    X[:, 0] += targets
    scaled = (X - X.mean(0)) / np.sqrt(X.var(0).mean())
    order, fold = np.random.default_rng(0).permutation(300), np.empty(300, int)
    for number, part in enumerate(np.array_split(order, 5)):
        fold[part] = number
    guess = cross_val_predict(RidgeClassifier(alpha=1.0), scaled, targets, cv=PredefinedSplit(fold))
    np.testing.assert_allclose(metrics.linear_probe_accuracy(X, targets), (guess == targets).mean(), **CLOSE)


@pytest.mark.parametrize("n_features", [8, 400])
def test_the_users_autocast_does_not_change_the_linear_probe(sample, monkeypatch, n_features):
    monkeypatch.setattr("torchviz_layers.metrics.probes._MANY_PRODUCTS", 0)  # float32, as for many rows
    _, _, targets = sample
    X = np.random.default_rng(1).normal(size=(300, n_features))
    X[:, 0] += targets
    wanted = metrics.linear_probe_accuracy(X, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert metrics.linear_probe_accuracy(X, targets, device="cpu") == wanted


def test_prediction_depth_is_the_first_layer_of_the_last_run_of_right_votes():
    votes = [[1, 1, 0, 1, 0], [1, 0, 0, 1, 1], [1, 1, 1, 0, 1]]
    assert metrics.prediction_depth(votes, [1, 1, 1, 1, 1]).tolist() == [0, 2, 2, 3, 1]


def test_confidence_and_margin():
    table = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4]])
    np.testing.assert_allclose(metrics.confidence(table), [0.7, 0.5], rtol=1e-6)
    np.testing.assert_allclose(metrics.margin(table), [0.5, 0.1], rtol=1e-5)
    np.testing.assert_allclose(metrics.margin(table, [0, 2]), [0.5, -0.1], rtol=1e-5)


def test_evaluation_gathers_the_measures_and_prints_a_table(sample):
    X, Z, targets = sample
    quality = metrics.evaluate_embedding(X, Z, targets)
    assert quality.trustworthiness == metrics.trustworthiness(X, Z)
    assert quality.continuity == metrics.continuity(X, Z)
    assert quality.distance_spearman == metrics.distance_spearman(X, Z)
    assert quality.knn_accuracy == metrics.knn_accuracy(Z, targets)
    lines = str(quality).splitlines()
    assert lines[0] == f"trustworthiness      {quality.trustworthiness:.4f}"
    assert lines[-1] == "k = 15; all 300 samples"
    assert len(lines) == 9


def test_evaluation_without_targets_leaves_their_measures_out(sample):
    X, Z, _ = sample
    quality = metrics.evaluate_embedding(X, Z, sample=100)
    assert quality.knn_accuracy is None
    assert quality.silhouette is None
    assert str(quality).splitlines()[-1] == "k = 15; 100 of 300 samples"


def test_tensors_and_arrays_score_the_same(sample):
    X, Z, targets = sample
    whole = metrics.evaluate_embedding(torch.from_numpy(X), torch.from_numpy(Z), torch.from_numpy(targets))
    parts = dataclasses.asdict(metrics.evaluate_embedding(X, Z, targets))
    assert dataclasses.asdict(whole) == pytest.approx(parts, abs=1e-12)  # sums in float64, perhaps in another order


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.trustworthiness(np.zeros((10, 2)), np.zeros((9, 2))), "10 rows and Z has 9"),
        (lambda: metrics.trustworthiness(np.zeros((10, 2)), np.zeros((10, 2)), k=5), "from 1 to 4"),
        (lambda: metrics.knn_accuracy(np.zeros((10, 2)), np.zeros(9)), "10 rows"),
        (lambda: metrics.knn_accuracy(np.zeros((10, 2)), np.zeros(10), k=10), "from 1 to 9"),
        (lambda: metrics.silhouette(np.zeros((10, 2)), np.zeros(10)), "single class"),
        (lambda: metrics.linear_probe_accuracy(np.zeros((10, 2)), np.zeros(10), folds=1), "from 2 to 10"),
        (lambda: metrics.distance_spearman(np.zeros((2, 2)), np.zeros((2, 2))), "at least 3 rows"),
        (lambda: metrics.prediction_depth(np.zeros((3, 4)), np.zeros(5)), r"\(n_layers, n\)"),
        (lambda: metrics.margin(np.ones((3, 2)), [0, 1, 2]), "from 0 to 1"),
        (lambda: metrics.confidence(np.zeros(3)), r"\(n, n_classes\)"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(DataError, match=message):
        call()

"""What neighbours have, beside loops over samples; those without a label or value do not count."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score, r2_score

from torchviz_layers._common import votes

RNG = np.random.default_rng(0)
N, K = 40, 5
NEAR = np.stack([RNG.choice(np.delete(np.arange(N), row), K, replace=False) for row in range(N)])
LABELS = np.where(RNG.uniform(size=N) < 0.4, -1, RNG.integers(0, 3, N))
LABELS[NEAR[7]] = -1  # a sample without a labelled neighbour


@pytest.mark.parametrize("block", [4_000_000, 10])
def test_neighbours_without_a_label_do_not_vote(monkeypatch, block):
    monkeypatch.setattr(votes, "_BLOCK", block)
    shares, winners = votes.vote_shares(NEAR, LABELS, 3), votes.vote_winners(NEAR, LABELS, 3)
    same = []
    for row in range(N):
        near = [label for label in LABELS[NEAR[row]] if label >= 0]
        counts = np.bincount(near, minlength=3) if near else np.zeros(3)
        np.testing.assert_allclose(shares[row], counts / max(1, len(near)), rtol=1e-6)
        tied = [label for label in near if counts[label] == counts.max()]
        assert winners[row] == (tied[0] if tied else -1)  # nearest first
        if near and LABELS[row] >= 0:
            same.append(counts[LABELS[row]] / len(near))
    assert winners[7] == -1
    assert votes.same_label_share(NEAR, LABELS) == pytest.approx(np.mean(same))
    assert votes.same_label_share(NEAR, np.full(N, -1)) is None


def test_a_sample_without_a_label_settles_nowhere():
    ballots = np.array([[0, -1, 1], [0, -1, 1]])
    assert votes.prediction_depth(ballots, np.array([0, -1, 0])).tolist() == [0, 2, 2]


def test_means_and_r2_leave_unknown_values_out():
    values = RNG.normal(size=N)
    values[LABELS < 0] = np.nan
    means = votes.neighbor_means(NEAR, values)
    known = [values[row][~np.isnan(values[row])] for row in NEAR]
    np.testing.assert_allclose(means, [near.mean() if len(near) else np.nan for near in known])
    both = ~np.isnan(values) & ~np.isnan(means)
    assert votes.r2(values, means) == pytest.approx(r2_score(values[both], means[both]))


@pytest.mark.parametrize("values", [[0.1] * 5, [3.0, np.nan, np.nan, np.nan, np.nan], [np.nan] * 5])
def test_r2_of_values_that_do_not_differ_is_not_defined(values):
    assert votes.r2(np.array(values), np.arange(5.0)) is None


def test_mean_jaccard_is_scikit_learns_and_that_of_two_empty_sets_is_one(monkeypatch):
    sets = RNG.uniform(size=(N, 3)) < 0.4
    assert (~sets.any(1)).sum() >= 2
    pairs = [(sets[row], sets[near]) for row in range(N) for near in NEAR[row]]
    wanted = [1.0 if not (a | b).any() else jaccard_score(a, b, zero_division=0) for a, b in pairs]
    assert votes.mean_jaccard(NEAR, sets) == pytest.approx(np.mean(wanted))
    monkeypatch.setattr(votes, "_BLOCK", 40)  # a few samples at a time
    assert votes.mean_jaccard(NEAR, sets) == pytest.approx(np.mean(wanted))

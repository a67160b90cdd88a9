"""Corner cases of regressions, planted."""

import numpy as np
import pytest

from torchviz_layers.corner_cases import find_corner_cases
from torchviz_layers.data import Samples
from torchviz_layers.exceptions import DataError


def of_kind(cases, kind):
    return [case.sample for case in cases if case.kind == kind]


def first(cases, kind):
    return next(case for case in cases if case.kind == kind)


@pytest.fixture(scope="module")
def line():
    """200 samples whose value is their first feature times 5, and predictions that are off by about 0.2."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 10, (200, 3))
    values = 5 * X[:, 0]
    return X, values, values + rng.normal(scale=0.2, size=200)


def typical(residuals):
    return 1.4826 * np.median(np.abs(residuals))


def test_the_largest_residual_comes_first_with_what_it_is_off_by(line):
    _, values, predicted = line
    predicted = predicted.copy()
    predicted[[7, 9]] = values[[7, 9]] + [4.0, -2.0]
    cases = find_corner_cases(predicted, values)
    assert of_kind(cases, "large residual")[:2] == [7, 9]
    scale = typical(predicted - values)
    assert first(cases, "large residual").score == pytest.approx(4 / scale)
    large = np.flatnonzero(np.abs(predicted - values) > 2 * scale)
    assert sorted(of_kind(cases, "large residual")) == large.tolist()
    reason = first(cases, "large residual").reason
    assert reason == f"predicted {values[7] + 4:.2f}, true {values[7]:.2f}: off by 4.00, the most of 200 samples"
    assert "more than 99% of the samples" in next(case.reason for case in cases if case.sample == 9)


def test_without_outliers_there_are_no_cases():
    values = np.linspace(0, 1, 50) + 0.5
    assert find_corner_cases(values.copy(), values) == []
    assert find_corner_cases(values + 3.0, values, {"hidden": np.arange(50.0)[:, None]}) == []


def test_samples_without_a_value_or_a_prediction_have_no_residual(line):
    _, values, predicted = line
    values, predicted = values.copy(), predicted.copy()
    predicted[[3, 4]] += 50
    values[3], predicted[5] = np.nan, np.nan
    cases = find_corner_cases({"A": predicted, "B": predicted}, values)
    assert of_kind(cases, "large residual")[0] == 4
    assert not {3, 5} & set(of_kind(cases, "large residual"))


def test_networks_that_are_far_apart_disagree_even_where_no_value_is_known(line):
    _, values, predicted = line
    values, other = values.copy(), predicted.copy()
    values[8], other[8] = np.nan, predicted[8] + 3
    cases = find_corner_cases({"A": predicted, "B": other}, values)
    (case,) = [case for case in cases if case.kind == "networks disagree"]
    assert case.sample == 8
    assert case.reason == (f"A predicted {predicted[8]:.2f}, B {other[8]:.2f}: 3.00 apart, the most of 200 samples")


def test_a_value_that_all_networks_contradict_says_so(line):
    _, values, predicted = line
    wrong = values.copy()
    wrong[11] += 6
    cases = find_corner_cases({"A": predicted, "B": predicted + 0.01}, wrong)
    case = first(cases, "large residual")
    assert case.sample == 11
    assert case.reason.endswith("; all networks are off in this direction")


def test_a_value_unlike_those_of_the_neighbours_is_isolated(line):
    X, values, predicted = line
    values = values.copy()
    values[20] = 200.0
    cases = find_corner_cases(predicted, values, {"input": X, "hidden": X[:, :1]})
    case = first(cases, "isolated")
    assert case.sample == 20
    near = np.argsort(np.abs(X[:, 0] - X[20, 0]))[1:16]
    assert f"its neighbours have {values[near].mean():.2f}"[:30] in case.reason
    assert case.reason.endswith(f"it has {values[20]:.2f}") or "it has 200" in case.reason


def test_a_sample_far_from_all_others_is_isolated_even_without_a_value(line):
    X, values, predicted = line
    X, values = X.copy(), values.copy()
    X[30], values[30] = 500.0, np.nan
    cases = find_corner_cases(predicted, values, {"hidden": X})
    assert 30 in of_kind(cases, "isolated")
    assert "times as far away as those of a typical sample" in first(cases, "isolated").reason


def test_columns_lists_and_samples_are_taken(line):
    X, values, predicted = line
    predicted = predicted.copy()
    predicted[7] += 9
    samples = Samples.of((X.astype(np.float32), values))
    wanted = find_corner_cases(predicted, values)
    for given, targets in ((predicted[:, None], values.tolist()), (predicted.tolist(), samples)):
        assert find_corner_cases(given, targets) == wanted
    whole = np.arange(200)  # classes, unless it is said that they are values
    with pytest.raises(DataError, match="needed"):
        find_corner_cases(predicted, whole)
    assert find_corner_cases(whole + predicted - values, whole, task="regression")[0].sample == 7


def test_a_single_sample_or_equal_values_are_no_problem():
    assert find_corner_cases(np.array([1.0]), np.array([0.5]), {"hidden": np.zeros((1, 2))}) == []
    assert find_corner_cases(np.full(9, 0.5), np.full(9, 0.5), {"hidden": np.zeros((9, 2))}) == []


@pytest.mark.parametrize("size", [1e-12, 1e6, 1e18])
def test_values_of_any_size_are_written_out(line, size):
    _, values, predicted = line
    predicted = predicted.copy()
    predicted[7] += 9
    case = find_corner_cases(predicted * size, values * size, task="regression")[0]
    assert case.sample == 7
    assert len(case.reason) < 130

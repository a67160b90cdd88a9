"""Corner cases of several labels a sample, planted."""

import numpy as np
import pytest

from torchviz_layers.corner_cases import find_corner_cases
from torchviz_layers.exceptions import DataError

NAMES = ("cat", "dog", "hat")


def of_kind(cases, kind):
    return [case.sample for case in cases if case.kind == kind]


@pytest.fixture(scope="module")
def scene():
    """90 samples in three groups of 30, each with label sets of its own; probabilities that say them."""
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], 30)
    sets = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0]], bool)[group]
    X = rng.normal(size=(90, 4)) + 30 * np.eye(4)[group]
    return X, sets, np.where(sets, 0.95, 0.05)


def test_a_missing_and_an_extra_label_are_suspect_and_named(scene):
    X, sets, probabilities = scene
    given = sets.copy()
    given[40, 2], given[5, 1] = False, True  # 40 lacks its hat, 5 has a dog too many
    cases = find_corner_cases(probabilities, given, {"hidden": X}, class_names=NAMES)
    assert sorted(of_kind(cases, "label suspect")) == [5, 40]
    reasons = {case.sample: case.reason for case in cases if case.kind == "label suspect"}
    assert reasons[40] == (
        "not labelled hat, but the network is 95% sure that it is, and 100% of its neighbours have it"
    )
    assert reasons[5] == (
        "labelled dog, but the network is 95% sure that it is not, and 100% of its neighbours do not have it"
    )


def test_a_suspect_label_is_as_probably_wrong_as_network_and_neighbours_say(scene):
    X, sets, probabilities = scene
    given, sure = sets.copy(), probabilities.copy()
    given[40, 2], given[5, 1] = False, True
    sure[5, 1] = 0.2
    near = {"hidden": np.roll(np.arange(90).reshape(3, 30), 1, axis=1).reshape(-1, 1)}  # in the same group
    near["hidden"] = np.column_stack([near["hidden"], np.roll(np.arange(90), 29)])  # 4 and 75; 39 and 11
    cases = [c for c in find_corner_cases(sure, given, {"hidden": X}, neighbors=near) if c.kind == "label suspect"]
    whole = [c for c in find_corner_cases(sure, given, {"hidden": X}) if c.kind == "label suspect"]
    assert {case.sample: case.probability > 0.6 for case in whole} == {40: True, 5: True}
    # A half of the neighbours agrees in place of all, which counts squared.
    (half,) = [case for case in cases if case.sample == 40]
    assert half.probability < 0.26


def test_neighbours_with_the_label_or_one_doubting_network_clear_it(scene):
    X, sets, probabilities = scene
    given, sure = sets.copy(), probabilities.copy()
    given[40, 2] = False
    sure[0, 0] = 0.05  # contradicted by the network, but not by its neighbours
    doubting = sure.copy()
    doubting[40, 2] = 0.6
    assert of_kind(find_corner_cases(sure, given, {"hidden": X}), "label suspect") == [40]
    both = {"A": sure, "B": doubting}
    assert not of_kind(find_corner_cases(both, given, {"A": {"h": X}, "B": {"h": X}}), "label suspect")


def test_networks_are_compared_by_exact_match(scene):
    _, sets, probabilities = scene
    other = probabilities.copy()
    other[31, 2] = 0.1
    cases = find_corner_cases({"A": probabilities, "B": other}, sets, class_names=NAMES)
    (case,) = [case for case in cases if case.kind == "B wrong, A right"]
    assert case.sample == 31
    assert case.reason == "B predicts dog (90% sure), A correctly predicts dog and hat (95%)"
    third = find_corner_cases({"A": probabilities, "B": other, "C": probabilities}, sets, class_names=NAMES)
    assert of_kind(third, "only B wrong") == [31]


def test_a_confident_set_unlike_those_of_the_neighbours_is_isolated(scene):
    X, sets, probabilities = scene
    odd, given = probabilities.copy(), sets.copy()
    odd[10], given[10] = [0.02, 0.98, 0.98], [False, True, True]
    cases = find_corner_cases(odd, given, {"hidden": X}, class_names=NAMES)
    assert of_kind(cases, "confident but isolated") == [10]
    assert "98% sure of dog and hat" in cases[-1].reason


def test_rows_without_a_prediction_are_no_case(scene):
    X, sets, probabilities = scene
    spoilt = probabilities.copy()
    spoilt[3] = np.nan
    given = sets.copy()
    given[3, 1] = True
    cases = find_corner_cases({"A": spoilt, "B": probabilities}, given, {"A": {"h": X}, "B": {"h": X}})
    assert 3 not in [case.sample for case in cases if case.kind in ("label suspect", "A wrong, B right")]
    assert all(np.isfinite(case.score) for case in cases)


def test_one_case_a_sample_and_kind_with_its_strongest_label(scene):
    X, sets, probabilities = scene
    given, sure = sets.copy(), probabilities.copy()
    given[40] = [False, False, False]
    sure[40] = [0.05, 0.85, 0.99]
    cases = find_corner_cases(sure, given, {"hidden": X}, class_names=NAMES)
    (case,) = [case for case in cases if case.kind == "label suspect"]
    assert "not labelled hat" in case.reason


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (np.zeros((90, 2)), "one probability for each label"),
        (np.zeros(90), r"\(n, n_labels\)"),
        (np.full((90, 3), 4.0), "torch.sigmoid"),
    ],
)
def test_predictions_that_do_not_fit_are_named(scene, predictions, message):
    with pytest.raises(DataError, match=message):
        find_corner_cases(predictions, scene[1])

"""Samples without a label, and more than two networks."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from torchviz_layers.corner_cases import find_corner_cases
from torchviz_layers.corner_cases.label_support import kernel_supports
from torchviz_layers.data import Samples
from torchviz_layers.exceptions import DataError


def certain(answers, n_classes=3, confidence=0.97):
    rest = (1 - confidence) / (n_classes - 1)
    return np.full((len(answers), n_classes), rest) + (confidence - rest) * np.eye(n_classes)[answers]


def of_kind(cases, kind):
    return [case.sample for case in cases if case.kind == kind]


def reasons(cases, kind):
    return [case.reason for case in cases if case.kind == kind]


@pytest.fixture(scope="module")
def layer():
    """Two groups of 30 samples far apart, their labels, and a network that knows them."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    return rng.normal(labels[:, None] * 20, 1, (60, 4)) + 30, labels


def test_a_sample_without_a_label_is_no_suspect_and_does_not_vote(layer):
    X, labels = layer
    answers = labels.copy()
    answers[[3, 4]] = 1  # wrong about both, but 4 has no label
    given = labels.copy()
    given[[4, *range(10, 25)]] = -100
    cases = find_corner_cases(certain(answers, 2), given, {"hidden": X})
    assert of_kind(cases, "label suspect") == [3]
    assert "and 0% of its labelled neighbours are labelled 1" in reasons(cases, "label suspect")[0]
    # It is sure of 1 where all labelled neighbours are 0, whether the sample itself has a label or not.
    assert sorted(of_kind(cases, "confident but isolated")) == [3, 4]
    assert not of_kind(cases, "changes and ends wrong")


def test_a_sample_with_no_labelled_neighbour_is_no_case_of_the_votes():
    labels = np.array([0, 0, 0, -1, -1, -1])
    near = np.array([[1, 2], [0, 2], [3, 4], [4, 5], [3, 5], [3, 4]])
    layers = {"a": near, "b": near, "c": near}
    cases = find_corner_cases(certain([1, 0, 1, 1, 1, 1], 2), labels, neighbors=layers)
    assert of_kind(cases, "confident but isolated") == [0]
    assert sorted(of_kind(cases, "label suspect")) == [0, 2]


def test_a_late_change_of_a_sample_without_a_label_names_no_label():
    right = np.array([[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4], [0, 1]])
    wrong = right.copy()
    wrong[6] = [3, 4]
    labels = np.array([0, 0, 0, 1, 1, 1, -1])
    cases = find_corner_cases(certain([0, 0, 0, 1, 1, 1, 0], 2), labels, neighbors={"a": wrong, "b": wrong, "c": right})
    assert reasons(cases, "changes at the end") == [
        "in the network most of its neighbours are 1 until the last layer, then 0"
    ]


def test_supports_leave_samples_without_a_label_out():
    rng = np.random.default_rng(0)
    X, targets = rng.normal(size=(40, 3)).astype(np.float32), rng.integers(0, 2, 40)
    targets[rng.choice(40, 15, replace=False)] = -1
    labelled = np.flatnonzero(targets >= 0)
    rows = labelled[[0, 7, 20]]
    found = kernel_supports(X, targets, 2, rows)
    alone = kernel_supports(X[labelled], targets[labelled], 2, np.array([0, 7, 20]))
    for support, wanted in zip(found, alone, strict=True):
        np.testing.assert_allclose(support, wanted, rtol=1e-5, atol=1e-6)


def test_rows_without_a_prediction_are_neither_right_nor_wrong(layer):
    X, labels = layer
    first, second = certain(labels, 2), certain(1 - labels, 2)
    first[5], second[6] = np.nan, np.nan
    cases = find_corner_cases({"A": first, "B": second}, labels, {"A": {"h": X}, "B": {"h": X}})
    compared = of_kind(cases, "B wrong, A right")
    assert sorted(compared) == [row for row in range(60) if row not in (5, 6)]
    assert all(np.isfinite(case.score) for case in cases)


def test_three_networks_have_one_against_the_others_and_no_pairs():
    targets = np.array([0, 0, 0, 0, 0])
    answers = {"A": [1, 1, 1, 0, 0], "B": [1, 2, 0, 1, 0], "C": [1, 2, 0, 1, 0]}
    networks = {name: certain(given) for name, given in answers.items()}
    cases = find_corner_cases(networks, targets, class_names=["cat", "dog", "fox"])
    assert [(case.kind, case.sample) for case in cases] == [
        ("label suspect", 0),
        ("all wrong", 1),
        ("only A wrong", 2),
        ("only A right", 3),
    ]
    assert cases[0].reason == "labelled cat, but A, B and C predict dog"
    assert cases[1].reason == "labelled cat, but B and C predict fox, A predicts dog"
    assert cases[2].reason == ("A predicts dog (97% sure), the other 2 networks correctly predict cat (97% on average)")
    assert cases[3].reason == "only A correctly predicts cat (97% sure), B and C predict dog"


def test_twelve_networks_keep_the_kinds_few():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 400)
    networks = {}
    for number in range(12):
        answers = np.where(rng.uniform(size=400) < 0.1, rng.integers(0, 3, 400), targets)
        networks[f"net {number}"] = certain(answers)
    cases = find_corner_cases(networks, targets)
    kinds = {case.kind for case in cases}
    assert kinds <= {"label suspect", "all wrong"} | {
        f"only net {number} {how}" for number in range(12) for how in ("wrong", "right")
    }
    for number, probabilities in enumerate(networks.values()):
        others = np.stack([table.argmax(1) == targets for name, table in networks.items() if name != f"net {number}"])
        alone = (probabilities.argmax(1) != targets) & others.all(axis=0)
        assert sorted(of_kind(cases, f"only net {number} wrong")) == np.flatnonzero(alone).tolist()


@pytest.mark.parametrize(
    "targets",
    [
        ["bee", "ant", "bee", None],
        np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]]),
        torch.tensor([1, 0, 1, -100]),
        np.array([1.0, 0.0, 1.0, np.nan]),
    ],
    ids=["text", "one-hot", "tensor", "whole floats"],
)
def test_targets_are_taken_as_samples_take_them(targets):
    predictions = torch.from_numpy(certain([0, 0, 1, 2]))
    if isinstance(targets, np.ndarray) and targets.ndim == 2:
        targets, predictions = targets[:3], predictions[:3]  # a row of zeros would be a set of labels
    assert of_kind(find_corner_cases(predictions, targets), "label suspect") == [0]


def test_samples_bring_their_targets_and_names():
    samples = Samples.of((torch.rand(4, 5), ["bee", "ant", "bee", None]))
    (case,) = find_corner_cases(certain([0, 0, 1, 1], 2), samples)
    assert case.reason == "labelled bee, but the network predicts ant"
    assert find_corner_cases(certain([0, 0], 2), Samples.of(torch.rand(2, 5))) == []
    assert find_corner_cases(certain([0, 0], 2), None) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"predictions": object()}, "not real numbers"),
        ({"predictions": [[0.1], [0.2, 0.8]]}, "no array"),
        ({"predictions": np.array(["a", "b", "c"])}, "not real numbers"),
        ({"targets": object()}, "targets"),
        ({"targets": np.zeros((3, 2, 2))}, "targets"),
        ({"activations": np.zeros((3, 4))}, "a mapping of layer to array"),
        ({"activations": {"hidden": np.zeros((2, 4))}}, "2 rows for 3 samples"),
        ({"predictions": {"A": np.eye(3)}, "activations": {"A": np.eye(3)}}, "network 'A'"),
        ({"neighbors": [1, 2]}, "a mapping of layer to array"),
        ({"task": "ranking"}, "task='ranking'"),
        ({"task": "multilabel"}, "targets"),
        ({"task": "regression"}, "one value a sample"),
        ({"class_names": ["a"]}, "class names"),
        ({"limit": 0}, "limit=0"),
        ({"limit": "many"}, "limit='many'"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    given = {"predictions": certain([0, 1, 2]), "targets": np.array([0, 1, 2])} | arguments
    with pytest.raises(DataError, match=message):
        find_corner_cases(**given)


def test_a_dataset_or_a_loader_gives_the_targets_as_an_array_does():
    rng = np.random.default_rng(0)
    predictions, labels = rng.dirichlet(np.ones(3), 30), rng.integers(0, 3, 30)
    data = TensorDataset(torch.from_numpy(rng.normal(size=(30, 2))), torch.from_numpy(labels))
    expected = [(case.kind, case.sample) for case in find_corner_cases(predictions, labels)]
    assert len(expected) > 0
    for given in (data, DataLoader(data, 8)):
        assert [(case.kind, case.sample) for case in find_corner_cases(predictions, given)] == expected

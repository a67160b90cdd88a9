"""What the offline page and the live page share: layers checked once, corner cases, the part of many samples."""

from collections import Counter

import numpy as np
import pytest

from tests.pages import nearest, page_data
from torchviz_layers import embed, load_dataset, load_model, metrics, panels, visualize_layers
from torchviz_layers._common.arrays import CheckedRows, as_rows
from torchviz_layers.exceptions import NonFiniteError
from torchviz_layers.page import Network, PageData, Panel
from torchviz_layers.panels import checked_rows, compose, measured_panel
from torchviz_layers.reducers.embedding import layer_rows


def test_every_layer_is_checked_once_on_its_way_to_the_page(monkeypatch):
    checks = Counter()

    def counted(layer, activations):
        checks[layer] += 1
        return layer_rows(layer, activations)

    monkeypatch.setattr(panels, "layer_rows", counted)
    model = load_model("mnist_dense128")
    visualize_layers(model, load_dataset("digits", limit=60), [-2, -1], reducer="pca", progress=False)
    assert checks == {"input": 1, "dropout_1": 1, "dense_1": 1}


def test_checked_rows_are_taken_as_they_are_whole_or_in_part():
    rows = checked_rows("layer", np.arange(24, dtype=np.float64).reshape(4, 2, 3))
    assert rows.shape == (4, 6)
    assert rows.values.dtype == np.float32
    assert as_rows(rows) is rows.values
    assert layer_rows("layer", rows) is rows.values
    np.testing.assert_array_equal(np.asarray(rows[[2, 0]]), rows.values[[2, 0]])
    with pytest.raises(NonFiniteError, match="'layer': 1 of 2 rows"):
        checked_rows("layer", np.array([[0.0], [np.nan]]))


def test_measures_of_checked_rows_are_those_of_the_arrays():
    X = np.random.default_rng(0).normal(size=(80, 5)).astype(np.float32)
    targets = np.arange(80) % 3
    embedding = embed({"layer": X}, reducer="pca")["layer"]
    panel = measured_panel("layer", CheckedRows(X), embedding, targets, peer=CheckedRows(X), shape=(5,))
    votes = embedding.neighbors[:, :10]
    assert panel.purity == pytest.approx((targets[votes] == targets[:, None]).mean())
    assert panel.cka == pytest.approx(1)
    assert panel.shape_text == "5"


def test_few_enough_samples_are_all_shown_with_cases_that_name_the_networks():
    data = page_data(corner_cases=())
    composed = compose(data, lambda number: CheckedRows(data.panels[number].Z))
    np.testing.assert_array_equal(composed.rows, np.arange(300))
    assert composed.data.corner_cases is composed.corner_cases
    suspects = {case.sample for case in composed.corner_cases if case.kind == "label suspect"}
    assert suspects == set(range(15, 20))  # where both networks predict the class after the label


def test_of_many_samples_a_part_is_shown_with_neighbours_of_its_own():
    data = page_data(corner_cases=())
    composed = compose(data, lambda number: CheckedRows(data.panels[number].Z), max_samples=200)
    assert composed.data.n_samples == len(composed.rows) == 200
    part = data.panels[0].Z[composed.rows]
    distance = np.linalg.norm(part[:, None] - part, axis=2)
    np.fill_diagonal(distance, np.inf)
    found = np.take_along_axis(distance, composed.data.panels[0].neighbors, 1)
    np.testing.assert_allclose(found, np.sort(distance, 1)[:, :8], rtol=1e-5)


def test_labels_that_no_network_can_predict_give_no_corner_cases():
    data = page_data(corner_cases=())
    targets = data.targets.copy()
    targets[0] = 12
    beyond = page_data(corner_cases=(), targets=targets)
    assert list(compose(beyond, lambda number: CheckedRows(beyond.panels[number].Z)).corner_cases) == []


def measured(X, targets, task):
    return measured_panel("layer", CheckedRows(X), embed({"layer": X}, reducer="pca")["layer"], targets, task=task)


@pytest.fixture(scope="module")
def layer():
    return np.random.default_rng(0).normal(size=(80, 5)).astype(np.float32)


def test_samples_without_a_label_are_in_no_measure_of_classes(layer):
    labels = np.where(np.arange(80) % 4 == 0, -1, np.arange(80) % 3)
    panel = measured(layer, labels, "classification")
    labelled = labels >= 0
    assert panel.probe_accuracy == metrics.linear_probe_accuracy(layer[labelled], labels[labelled])
    near = labels[embed({"layer": layer}, reducer="pca")["layer"].neighbors[:, :10]]
    shares = [(row[row >= 0] == label).mean() for row, label in zip(near, labels, strict=True) if label >= 0]
    assert panel.purity == pytest.approx(np.mean(shares))
    assert (panel.neighbor_r2, panel.probe_r2) == (None, None)


def test_a_regression_has_r2_in_place_of_purity(layer):
    values = layer[:, 0] * 2.5
    values[::5] = np.nan
    panel = measured(layer, values.astype(np.float64), "regression")
    assert panel.probe_r2 == metrics.linear_probe_r2(layer, values)
    assert panel.neighbor_r2 == pytest.approx(metrics.neighbor_r2(layer, values, 10))
    assert panel.probe_r2 > 0.99 > panel.neighbor_r2 > 0
    assert (panel.purity, panel.probe_accuracy) == (None, None)


def test_several_labels_have_jaccard_and_the_accuracy_of_a_label(layer):
    sets = layer[:, :3] > 0
    panel = measured(layer, sets, "multilabel")
    assert panel.purity == pytest.approx(metrics.neighborhood_jaccard(layer, sets, 10))
    assert panel.probe_accuracy == metrics.linear_probe_label_accuracy(layer, sets)


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        (np.array([0, -1, -1, -1]), "classification"),
        (np.array([0, 1, -1, -1]), "classification"),
        (np.full(4, -1), "classification"),
        (np.zeros(4, np.int64), "classification"),
        (np.array([0.5, np.nan, np.nan, np.nan]), "regression"),
        (np.array([0.5, 0.5, 0.5, 0.5]), "regression"),
        (np.full(4, np.nan), "regression"),
        (np.zeros((4, 2), bool), "multilabel"),
        (None, None),
    ],
)
def test_few_or_equal_targets_are_no_problem(layer, targets, task):
    panel = measured(layer[:4], targets, task)
    if targets is None or (task == "classification" and (targets >= 0).sum() < 2):
        assert panel.probe_accuracy is None
    if task != "multilabel":
        assert (panel.probe_r2, panel.neighbor_r2) == (None, None)


def a_network(name, layers, **predicted):
    """A network with these layers (n, n_features) and their exact neighbours; the last is the output."""
    panels = []
    for layer, X in layers.items():
        panels.append(Panel(layer, np.repeat(X[:, :1], 2, axis=1), nearest(X), shape=X.shape[1:]))
    return Network(name, tuple(panels), **predicted)


def composed_cases(layers, networks, **targets):
    """Corner cases of networks with the same layers, and the layers that were read for them."""
    data = PageData("made up", tuple(networks), **targets)
    names = [panel.layer for panel in data.panels]
    read = []

    def read_rows(number):
        read.append(names[number])
        return CheckedRows(layers[names[number]])

    composed = compose(data, read_rows)
    return [(case.kind, case.sample) for case in composed.corner_cases], read


@pytest.fixture(scope="module")
def layers(layer):
    return {"first": layer, "hidden": layer[:, :1] * 2, "output": layer[:, :1]}


def test_cases_of_a_regression_are_its_residuals_and_only_layers_that_count_are_read(layers):
    values = layers["hidden"][:, 0].astype(np.float64) + np.linspace(-0.1, 0.1, 80)
    predicted = layers["hidden"][:, 0].copy()
    values[7] += 9
    values[3] = np.nan
    networks = [a_network("net", layers, values=predicted), a_network("none", layers)]
    cases, read = composed_cases(layers, networks, values=values)
    assert cases[0] == ("large residual", 7)
    assert ("isolated", 7) in cases
    assert read == ["first", "hidden"]
    assert composed_cases(layers, networks, values=np.full(80, np.nan)) == ([], [])


def test_cases_of_several_labels_need_no_rows(layers):
    sets = layers["first"][:, :3] > 0
    given = sets.copy()
    given[5, 0] = not given[5, 0]
    network = a_network(
        "net",
        {"hidden": sets.astype(np.float32) * 9 + layers["first"][:, :3]} | layers,
        probabilities=np.where(sets, 0.95, 0.05).astype(np.float32),
    )
    cases, read = composed_cases(layers, [network], label_sets=given, class_names=("cat", "dog", "hat"))
    assert ("label suspect", 5) in cases
    assert read == []
    data = PageData("made up", (network,), label_sets=given, class_names=("cat", " ", "hat"))
    (reason,) = [case.reason for case in compose(data, layers.__getitem__).corner_cases if case.sample == 5]
    assert "labelled cat" in reason


def test_networks_with_more_classes_than_the_samples_are_compared_all_the_same(layers):
    labels = np.where(np.arange(80) % 5 == 0, -1, np.arange(80) % 3)
    wrong = np.where(labels == 1, 2, np.maximum(labels, 0))
    networks = [
        a_network("narrow", layers, probabilities=np.eye(3, dtype=np.float32)[np.maximum(labels, 0)]),
        a_network("wide", layers, probabilities=np.eye(9, dtype=np.float32)[wrong]),
        a_network("too narrow", layers, probabilities=np.eye(2, dtype=np.float32)[np.maximum(labels, 0) % 2]),
    ]
    cases, _ = composed_cases(layers, networks, targets=labels)
    assert {row for kind, row in cases if kind == "wide wrong, narrow right"} == set(np.flatnonzero(labels == 1))
    assert not [kind for kind, _ in cases if "too narrow" in kind]
    assert composed_cases(layers, networks, targets=np.full(80, -1)) == ([], [])


def test_two_classes_of_which_one_is_labelled_stay_as_they_are(layers):
    labels = np.where(np.arange(80) < 40, -1, 1)  # not the -1 and +1 of a support vector machine
    network = a_network("net", layers, probabilities=np.eye(2, dtype=np.float32)[np.zeros(80, int)])
    cases, _ = composed_cases(layers, [network], targets=labels, class_names=("no", "yes"))
    assert {row for kind, row in cases if kind == "label suspect"} == set(range(40, 80))

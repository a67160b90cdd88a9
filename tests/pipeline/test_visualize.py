import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn import decomposition
from sklearn.neighbors import NearestNeighbors
from torch import nn

from torchviz_layers import Samples, capture, embed, load_dataset, load_model, visualize_layers
from torchviz_layers._common.predictions import as_probabilities
from torchviz_layers.exceptions import DataError, ModelError, NonFiniteError, ReducerError, UnknownLayerError
from torchviz_layers.page import summaries
from torchviz_layers.pipeline import stages
from torchviz_layers.pipeline.stages import out_of_distribution


@pytest.fixture(scope="module")
def digits() -> Samples:
    return load_dataset("digits", limit=300)


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    return {"dense128": load_model("mnist_dense128"), "LeNet60": load_model("mnist_lenet60")}


def distances_between(Z: np.ndarray) -> np.ndarray:
    return cdist(Z, Z)


def test_each_layer_is_turned_onto_the_one_before_without_changing_its_shape():
    X = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32) * (3, 2, 0.1)
    turned = X @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], np.float32)  # the same cloud by another basis
    layers = {"a": X, "b": turned, "c": X[:, ::-1]}
    free = embed(layers, reducer=decomposition.PCA(2), align_layers=False)
    aligned = embed(layers, reducer=decomposition.PCA(2))
    for name in layers:
        assert np.allclose(distances_between(free[name].Z), distances_between(aligned[name].Z), atol=1e-3)
        assert np.allclose(aligned[name].Z, aligned["a"].Z, atol=1e-3)


def test_neighbours_are_those_of_activation_space_whatever_the_plane_shows():
    X = np.random.default_rng(1).normal(size=(60, 9)).astype(np.float32)
    found = embed({"layer": X.reshape(60, 3, 3)}, reducer="pca")["layer"].neighbors
    distances = distances_between(X)
    np.fill_diagonal(distances, np.inf)
    assert np.array_equal(found, np.argsort(distances, axis=1)[:, : found.shape[1]])


def test_an_embedding_prints_as_one_line():
    made = embed({"a": np.eye(20, dtype=np.float32)}, reducer="pca")
    assert re.fullmatch(r"\{'a': <Embedding: 20 x 2 by torch in \d+\.\d s>\}", repr(made))


def test_the_reducer_that_was_given_is_left_as_it_was():
    reducer = decomposition.PCA(2)
    embed({"layer": np.eye(20, dtype=np.float32)}, reducer=reducer)
    assert not hasattr(reducer, "components_")


def test_nan_rows_are_named_with_their_layer():
    X = np.ones((30, 2), np.float32)
    X[[4, 17]] = np.nan, np.inf
    with pytest.raises(NonFiniteError, match=r"'relu': 2 of 30 rows hold NaN or infinity \(rows 4, 17\)"):
        embed({"relu": X})


def test_page_holds_the_layers_outputs_and_truths_that_went_in(digits, networks):
    page = visualize_layers(networks, digits, [-2, -1], reducer="pca", progress=False)
    assert [n.name for n in page.data.networks] == ["dense128", "LeNet60"]
    assert [[p.layer for p in n.panels] for n in page.data.networks] == [
        ["dropout_1", "dense_1"],
        ["dense_1", "dense_2"],
    ]
    assert page.data.input_panel.layer == "input"
    lenet = networks["LeNet60"]
    with torch.no_grad():
        answers = lenet(lenet.transform(torch.from_numpy(digits.shown.images))).numpy()
    assert np.allclose(page.data.networks[1].probabilities, answers, atol=1e-5)
    assert np.array_equal(page.data.targets, digits.targets)
    both = "out of distribution: dense128 and LeNet60 were trained on MNIST, and digits is other data"
    assert page.data.notes[0] == both
    assert {case.kind for case in page.data.corner_cases} >= {"label suspect"}


def test_reasons_of_corner_cases_speak_of_the_votes_that_the_page_shows(digits, networks):
    data = visualize_layers(networks, digits, [-2, -1], reducer="pca", progress=False).data
    votes = {
        n.name: np.stack([summaries.panel_votes(data, p) for p in summaries.journey(data, n)]) for n in data.networks
    }
    held = {"changes at the end": 0, "changes and ends wrong": 0}
    for case in data.corner_cases:
        if case.kind not in held:
            continue
        first, *_, last = votes[case.reason.split()[1]][:, case.sample]
        if case.kind == "changes at the end":
            assert (f"are {first} until" in case.reason, f"then {last}," in case.reason) == (True, True)
        else:
            assert last != digits.targets[case.sample]
        held[case.kind] += 1
    assert min(held.values()) >= 10


def test_every_computing_layer_is_shown_by_default_and_one_network_is_enough(digits, networks):
    page = visualize_layers(networks["LeNet60"], digits[:80], reducer="pca", progress=False)
    names = ["conv_0", "average_pooling2d", "conv_1", "average_pooling2d_1", "dense_0", "dense_1", "dense_2"]
    assert [p.layer for p in page.data.networks[0].panels] == names


def test_measures_of_a_panel_agree_with_their_definitions(digits, networks):
    page = visualize_layers(networks["LeNet60"], digits, ["dense_1"], reducer="pca", progress=False)
    panel = page.data.input_panel
    X = digits.shown.images.reshape(len(digits), -1).astype(np.float64)
    distances = distances_between(X)
    np.fill_diagonal(distances, np.inf)
    near = digits.targets[np.argsort(distances, axis=1, kind="stable")[:, :10]]
    assert panel.purity == pytest.approx((near == digits.targets[:, None]).mean(), abs=2e-3)
    assert 0.5 < panel.trustworthiness <= 1


def test_neighbours_of_a_thinned_page_are_the_nearest_of_those_shown(digits, networks, monkeypatch):
    monkeypatch.setattr(stages, "compose", partial(stages.compose, max_samples=250))
    model = networks["LeNet60"]
    page = visualize_layers(model, digits, ["average_pooling2d_1", -1], reducer="pca", progress=False)
    assert page.data.n_samples == 250
    kept = digits.shown.images[np.asarray(page.data.ids).astype(int)]
    with torch.no_grad(), capture(model, ["average_pooling2d_1", -1]) as acts:
        model(model.transform(torch.from_numpy(kept)))
    for panel, X in zip(page.data.panels, [kept, *acts.values()], strict=True):
        rows = np.asarray(X, np.float64).reshape(250, -1)
        expected = NearestNeighbors(n_neighbors=8).fit(rows).kneighbors()[0]
        shown = np.linalg.norm(rows[:, None] - rows[panel.neighbors], axis=2)
        assert (panel.neighbors != np.arange(250)[:, None]).all()
        np.testing.assert_allclose(shown, expected, atol=1e-4)  # distances: ties may stand in either order
    assert any("those among the samples shown" in note for note in page.data.notes)


def test_own_module_without_targets_or_transform(digits):
    samples = Samples.of(digits.shown.images[:50])
    model = nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    page = visualize_layers(model, samples, reducer="pca", progress=False)
    assert page.data.targets is None
    assert list(page.data.corner_cases) == []


def test_network_without_any_parameters_shows_all_its_layers(digits):
    page = visualize_layers(nn.Sequential(nn.Flatten()), digits[:20], reducer="pca", progress=False)
    assert [panel.layer for panel in page.data.networks[0].panels] == ["0"]


def test_too_few_samples_and_a_failing_network_are_named(digits, networks):
    class Fails(nn.Module):
        def forward(self, _images):
            raise KeyError("vocabulary")

    with pytest.raises(DataError, match="digits: a page needs at least two samples, got 1"):
        visualize_layers(networks["LeNet60"], digits[:1])
    with pytest.raises(ModelError, match=r"net: images of shape \(1, 28, 28\) do not go through \('vocabulary'\)"):
        visualize_layers({"net": Fails()}, digits[:4], progress=False)


def test_wrong_requests_name_the_value(digits, networks):
    with pytest.raises(UnknownLayerError, match="conv_9"):
        visualize_layers(networks["LeNet60"], digits, ["conv_9"])
    with pytest.raises(ModelError, match=r"'LeNet'.*dense128, LeNet60"):
        visualize_layers(networks, digits, {"LeNet": [-1]})
    with pytest.raises(ModelError, match="one to 12 networks expected, got 13"):
        visualize_layers({f"net {k}": networks["LeNet60"] for k in range(13)}, digits)
    with pytest.raises(DataError, match=r"target= is no option .* did you mean targets"):
        visualize_layers(networks, digits, target="digit")
    with pytest.raises(ModelError, match="one to 12 networks expected, got 0"):
        visualize_layers({}, digits)
    with pytest.raises(ModelError, match="'a' is a str, not a"):
        visualize_layers({"a": "mnist_lenet60"}, digits)
    with pytest.raises(ModelError, match="a mapping of names to modules, got list"):
        visualize_layers([networks["LeNet60"]], digits)


def test_image_shape_that_does_not_fit_names_both_shapes(digits, networks):
    colour = Samples.of(np.repeat(digits.shown.images[:4], 3, axis=1))
    with pytest.raises(ModelError, match=r"LeNet60: samples of shape \(3, 32, 32\) do not fit, it wants \(1, 32, 32\)"):
        visualize_layers({"LeNet60": networks["LeNet60"]}, colour)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    with pytest.raises(ModelError, match=r"Sequential: images of shape \(1, 28, 28\) do not go through"):
        visualize_layers(plain, digits)


def test_logits_become_probabilities_and_other_outputs_none():
    logits = np.array([[0.0, 100.0], [3.0, 3.0]], np.float32)
    assert np.allclose(as_probabilities(logits), [[0, 1], [0.5, 0.5]], atol=1e-6)
    assert np.array_equal(as_probabilities(np.eye(2, dtype=np.float32)), np.eye(2))
    assert as_probabilities(np.full((3, 1), 1.5, np.float32)) is None
    assert as_probabilities(np.array([0.5, np.nan], np.float32)) is None
    assert as_probabilities(np.zeros((3, 2, 2), np.float32)) is None
    assert as_probabilities(None) is None


class OneUnit(nn.Module):
    """P(class 1) is the brightness of the first row; `end` makes the output of it."""

    def __init__(self, end=lambda p: p):
        super().__init__()
        self.rows = nn.Flatten()
        self.end = end

    def forward(self, images):
        return self.end(self.rows(images)[:, :1])


@pytest.fixture(scope="module")
def two_classes() -> Samples:
    rng = np.random.default_rng(0)
    images = rng.random((40, 1, 4, 4), np.float32)
    return Samples.of((images, images[:, 0, 0, 0] > 0.4), class_names=("no", "yes"))


@pytest.mark.parametrize("end", [lambda p: p, lambda p: p[:, 0]], ids=["(n, 1)", "(n,)"])
def test_one_sigmoid_output_is_the_probability_of_the_second_class(two_classes, end):
    data = visualize_layers(OneUnit(end), two_classes, reducer="pca", progress=False).data
    p = two_classes.shown.images[:, 0, 0, 0]
    (network,) = data.networks
    np.testing.assert_allclose(network.probabilities, np.stack([1 - p, p], 1), atol=1e-6)
    assert network.accuracy(data.targets) == np.mean((p > 0.5) == (p > 0.4))
    suspects = {case.sample for case in data.corner_cases if case.kind == "label suspect"}
    assert suspects == set(np.flatnonzero((p > 0.5) != (p > 0.4)))


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda p: 4 * p - 2, r"one value a sample, from -1\.\d+ to 1\.\d+: .* end the network with nn\.Sigmoid\(\)"),
        (lambda p: p[:, :, None].repeat(1, 3, 2), r"shape \(3, 2\); class scores are one row"),
        (lambda p: (p, p), "not one tensor with a row for each sample"),
    ],
)
def test_outputs_that_are_no_class_scores_are_said_to_be_none(two_classes, end, reason):
    page = visualize_layers({"net": OneUnit(end)}, two_classes, reducer="pca", progress=False)
    assert page.data.networks[0].probabilities is None
    assert re.search("net is shown without predictions: .*" + reason, " ".join(page.data.notes))


def test_a_sigmoid_a_class_is_said_to_be_taken_for_logits(two_classes):
    page = visualize_layers(OneUnit(lambda p: torch.cat([p, p], 1)), two_classes, reducer="pca", progress=False)
    assert any("in [0, 1], but do not sum to 1: they are taken for logits" in note for note in page.data.notes)


def test_answers_about_other_classes_are_not_held_against_the_samples(digits):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 17))
    page = visualize_layers({"net": model}, digits, reducer="pca", progress=False)
    assert page.data.networks[0].probabilities is None
    assert "net has 17 classes, the samples have 10" in page.data.notes
    assert list(page.data.corner_cases) == []


def test_only_networks_trained_on_mnist_are_said_to_be_out_of_distribution(digits, networks):
    own = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    notes = visualize_layers({"own": own}, digits[:30], reducer="pca", progress=False).data.notes
    assert not any("distribution" in note for note in notes)
    assert "MNIST" not in " ".join(notes)
    both = {"own": own, "LeNet60": networks["LeNet60"]}
    notes = visualize_layers(both, digits[:30], [-1], reducer="pca", progress=False).data.notes
    assert notes[0] == "out of distribution: LeNet60 was trained on MNIST, and digits is other data"
    mine = Samples.of(digits.shown.images[:30], name="digits")  # a folder of one's own by that name
    assert out_of_distribution(networks, mine.dataset) == ""
    assert out_of_distribution(networks, "mnist") == ""
    assert "and fashion-mnist is other" in out_of_distribution(networks, "fashion-mnist")


def test_tensors_are_laid_out_like_the_arrays_they_hold():
    X = torch.randn(40, 6).bfloat16().requires_grad_()
    ours = embed({"layer": X}, reducer=decomposition.PCA(2))["layer"].Z
    assert np.allclose(ours, decomposition.PCA(2).fit_transform(X.detach().float().numpy()), atol=1e-5)


@pytest.mark.parametrize("labels", [["cat", "ant"] * 10, [0, 2] * 10])
def test_names_and_order_of_the_classes_are_those_of_the_networks_configuration(labels):
    model = nn.Linear(4, 3)
    model.config = SimpleNamespace(id2label={0: "cat", 1: "bee", 2: "ant"})
    data = visualize_layers(model, (torch.rand(20, 4), labels), reducer="pca", progress=False).data
    assert data.class_names == ("cat", "bee", "ant")
    assert data.targets.tolist() == [0, 2] * 10
    assert not any("sorted" in note or "order" in note for note in data.notes)


def test_a_configuration_with_other_classes_is_not_used():
    model = nn.Linear(4, 3)
    model.config = SimpleNamespace(id2label={0: "x", 1: "y", 2: "z"})
    data = visualize_layers(model, (torch.rand(20, 4), ["cat", "ant"] * 10), reducer="pca", progress=False).data
    assert data.class_names[:2] == ("ant", "cat")
    assert any("order" in note for note in data.notes)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(2, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, series):
        states, _ = self.lstm(series)
        return self.head(states[:, -1])


def test_one_of_several_tensors_that_a_layer_outputs_is_shown_where_select_names_it():
    series = torch.rand(12, 20, 2)
    page = visualize_layers(
        Recurrent(), series, ["lstm", "head"], select={"lstm": 0}, reducer="pca", progress=False, title=3
    )
    assert [(panel.layer, panel.shape) for panel in page.data.networks[0].panels] == [("lstm", (20, 5)), ("head", (3,))]
    assert page.data.title == "3"


@pytest.mark.parametrize("reducer", [3, decomposition.PCA, object()])
def test_what_is_no_reducer_is_refused_before_the_networks_run(reducer):
    with pytest.raises(ReducerError, match="a name or an object with fit_transform is expected"):
        visualize_layers(nn.Linear(3, 2), torch.rand(4, 3), reducer=reducer)
    with pytest.raises(ReducerError, match="a name or an object with fit_transform is expected"):
        embed(np.eye(5), reducer=reducer)


@pytest.mark.parametrize("layers", [3.5, object()])
def test_layers_that_are_no_list_are_named(layers):
    with pytest.raises(UnknownLayerError, match="names, globs or indices of layers"):
        visualize_layers(nn.Linear(3, 2), torch.rand(4, 3), layers, progress=False)

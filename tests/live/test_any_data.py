"""The live page of samples of any view and task: what is shown, measured, and told of neighbours."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import r2_score
from sklearn.neighbors import NearestNeighbors

from torchviz_layers import Activations, Samples
from torchviz_layers.exceptions import DataError
from torchviz_layers.live import views
from torchviz_layers.live.request import first_request
from torchviz_layers.live.source import Source, open_source
from torchviz_layers.live.views import compute_view, find_neighbors

N = 40
RNG = np.random.default_rng(0)
LAYERS = {"hidden": RNG.normal(size=(N, 6)).astype(np.float32), "out": RNG.normal(size=(N, 3)).astype(np.float32)}
IDS = np.array([f"s{row}" for row in range(N)])
ROWS = RNG.normal(size=(N, 5)).astype(np.float32)
VALUES = LAYERS["hidden"][:, 0] * 3.0
SETS = RNG.integers(0, 2, (N, 3))
CURVES = RNG.normal(size=(N, 2, 50)).astype(np.float32)
TEXTS = [f"sentence number {row}" for row in range(N)]


def stored(tmp_path: Path, **about) -> Path:
    path = tmp_path / "acts.zarr"
    Activations(LAYERS, ids=IDS, **about).save(path)
    return path


def shown(source: Source, monkeypatch) -> tuple[views.View, object]:
    """Return the first view of all samples by PCA, and the data that its page shows."""
    pages = []
    draw = views.live_page
    monkeypatch.setattr(views, "live_page", lambda data, *rest: pages.append(data) or draw(data, *rest))
    request = replace(first_request(source), reducer="pca", options={})
    view = compute_view(source, request, None, lambda _text, _share: None)
    return view, pages[0]


def test_a_regression_is_measured_and_told_in_values(tmp_path, monkeypatch):
    truth = np.where(np.arange(N) == 3, np.nan, VALUES)
    store = stored(tmp_path, targets=truth, predictions=(VALUES + 0.5).astype(np.float32)[:, None])
    source = open_source(store, Samples.of(ROWS, ids=IDS, columns={"age": np.arange(N)}))
    view, data = shown(source, monkeypatch)
    assert list(source.layers) == ["input", "hidden", "out"]
    np.testing.assert_array_equal(data.values, truth)
    np.testing.assert_allclose(data.networks[0].values, VALUES + 0.5, rtol=1e-6)
    np.testing.assert_array_equal(data.rows, ROWS)
    assert data.columns["age"].tolist() == list(range(N))
    near = NearestNeighbors(n_neighbors=11).fit(LAYERS["hidden"]).kneighbors(return_distance=False)[:, :10]
    means = np.nanmean(truth[near], axis=1)
    known = ~np.isnan(truth)
    # float32 neighbours, the same for both; the sums differ in order alone.
    assert data.networks[0].panels[0].neighbor_r2 == pytest.approx(r2_score(truth[known], means[known]), abs=1e-6)
    told = {item["row"]: item["truth"] for item in find_neighbors(source, 5, "hidden", N - 1)["items"]}
    assert told[3] == "no value"
    assert told[7] == f"{VALUES[7]:.4g}"
    assert "age" in view.html


def test_several_labels_are_told_by_name(tmp_path, monkeypatch):
    store = stored(tmp_path, targets=SETS, predictions=np.where(SETS > 0, 2.0, -2.0).astype(np.float32))
    source = open_source(store, Samples.of((CURVES, SETS), ids=IDS, class_names=["red", "round", "big"]))
    _, data = shown(source, monkeypatch)
    np.testing.assert_array_equal(data.label_sets, SETS > 0)
    np.testing.assert_array_equal(data.series, CURVES)
    for item in find_neighbors(source, 5, "hidden", N - 1)["items"]:
        names = [name for name, has in zip(("red", "round", "big"), SETS[item["row"]], strict=True) if has]
        assert item["truth"] == (", ".join(names) or "none of the labels")
        assert item["wrong"] == bool((SETS[item["row"]] != SETS[5]).any())


def test_texts_have_no_panel_of_the_input_and_stand_beside_neighbours(tmp_path, monkeypatch):
    labels = np.array(["ant", "bee"])[np.arange(N) % 2]
    source = open_source(stored(tmp_path, targets=labels), Samples.of(TEXTS, targets=labels, ids=IDS))
    _, data = shown(source, monkeypatch)
    assert list(source.layers) == list(LAYERS)
    assert list(data.texts) == TEXTS
    found = find_neighbors(source, 5, "out", 4)["items"]
    assert [item["text"] for item in found] == [TEXTS[item["row"]] for item in found]
    assert [item["truth"] for item in found] == [labels[item["row"]] for item in found]


def test_samples_without_a_label_are_shown_as_such(tmp_path, monkeypatch):
    targets = np.where(np.arange(N) % 5 == 0, -100, np.arange(N) % 3)
    source = open_source(stored(tmp_path, targets=targets, predictions=LAYERS["out"]))
    _, data = shown(source, monkeypatch)
    np.testing.assert_array_equal(data.targets, np.where(targets < 0, -1, targets))
    told = {item["row"]: item for item in find_neighbors(source, 1, "hidden", N - 1)["items"]}
    assert (told[10]["truth"], told[10]["wrong"]) == ("no label", False)
    assert (told[2]["truth"], told[2]["wrong"]) == ("2", True)


def test_targets_that_are_none_are_left_out_with_a_sentence(tmp_path, monkeypatch):
    source = open_source(stored(tmp_path, targets=np.zeros((N, 2, 2))))
    _, data = shown(source, monkeypatch)
    assert source.task is None
    assert any(re.search(r"targets of the store are not shown: .*\(40, 2, 2\)", note) for note in data.notes)


def test_large_pictures_are_served_as_thumbnails_and_said_to_be(tmp_path):
    pictures = RNG.integers(0, 256, (N, 3, 100, 80), np.uint8)
    source = open_source(stored(tmp_path), Samples.of(pictures, ids=IDS))
    assert next(iter(source.layers)) == "input (thumbnails)"
    assert source.pictures(np.arange(3)).shape == (3, 3, 100, 80)  # shown as large as they are
    values = source.read("input (thumbnails)", np.array([4]))
    assert values.dtype == np.float32
    assert values.max() <= 1


def test_series_of_different_lengths_have_no_panel_of_the_input(tmp_path):
    curves = [RNG.normal(size=(2, 40 + row % 3)).astype(np.float32) for row in range(N)]
    samples = Samples.of(curves, ids=IDS, collate=lambda items: [np.asarray(item) for item in items])
    source = open_source(stored(tmp_path), samples)
    assert list(source.layers) == list(LAYERS)
    assert any("it has no panel" in note for note in source.notes)


@pytest.mark.parametrize(
    ("targets", "theirs"),
    [(VALUES, VALUES + (np.arange(N) < 2)), (SETS, np.where(np.arange(N) < 2, 1 - SETS.T, SETS.T).T)],
)
def test_data_whose_targets_differ_are_refused(tmp_path, targets, theirs):
    store = stored(tmp_path, targets=targets)
    with pytest.raises(DataError, match=r"2 of 40 targets of others differ"):
        open_source(store, Samples.of((ROWS, theirs), ids=IDS, name="others"))
    assert open_source(store, Samples.of((ROWS, targets), ids=IDS)).task in ("regression", "multilabel")


def test_a_store_that_knows_its_samples_reads_its_targets_as_they_were(tmp_path):
    about = {"samples": {"task": "regression"}}
    assert open_source(stored(tmp_path, targets=np.arange(N), provenance=about)).task == "regression"
    (tmp_path / "named").mkdir()
    about = {"samples": {"task": "classification", "class_names": ["zebra", "ant", "mole"]}}
    source = open_source(stored(tmp_path / "named", targets=np.arange(N) % 2, provenance=about))
    assert source.labels.class_names == ("zebra", "ant", "mole")

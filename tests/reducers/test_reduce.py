from __future__ import annotations

import importlib.metadata
import inspect
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn import decomposition

from torchviz_layers.exceptions import DataError, MissingDependencyError, ReducerError
from torchviz_layers.reducers import (
    PCA,
    UMAP,
    Reducer,
    align,
    available_reducers,
    make_reducer,
    register_reducer,
    registry,
)
from torchviz_layers.reducers.checks import check_names


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(120, 7)) * [5, 3, 2, 1, 1, 0.5, 0.1]


def test_reducers_come_by_name():
    assert isinstance(make_reducer("pca", n_components=3), PCA)
    reducer = make_reducer("umap", random_state=3, n_neighbors=5)
    assert isinstance(reducer, UMAP)
    assert (reducer.random_state, reducer.n_neighbors) == (3, 5)
    assert {"umap", "pca", "tsne", "pacmap", "torchdr-umap", "torchdr-tsne"} <= set(available_reducers())


def test_any_object_with_fit_transform_is_a_reducer():
    theirs = decomposition.PCA(2)
    assert make_reducer(theirs) is theirs
    assert isinstance(theirs, Reducer)


@pytest.mark.parametrize(
    ("spec", "params", "message"),
    [
        ("tsnee", {}, "'tsnee' is unknown; there are .*pca.*umap"),
        ("umap", {"neighbours": 3}, "'umap' has no option 'neighbours'; it has .*n_neighbors"),
        ("pca", {"bogus": 3}, "'pca' has no option 'bogus'; it has n_components"),
        (object(), {}, "neither a name nor an object with fit_transform"),
        (UMAP, {}, "neither a name nor an object"),
        (decomposition.PCA(2), {"n_components": 3}, "parameters .n_components. go with a name"),
    ],
)
def test_what_is_no_reducer_is_refused(spec, params, message):
    with pytest.raises(ReducerError, match=message):
        make_reducer(spec, **params)


def test_a_name_is_registered_once(monkeypatch):
    monkeypatch.setattr(registry, "_factories", dict(registry._factories))
    register_reducer("mine")(lambda **params: PCA(**params))
    assert isinstance(make_reducer("mine", n_components=1), PCA)
    with pytest.raises(ReducerError, match="'mine' is registered already"):
        register_reducer("mine")(PCA)
    register_reducer("broken")(dict)
    with pytest.raises(ReducerError, match="made a dict, which has no fit_transform"):
        make_reducer("broken")


def test_other_packages_bring_reducers_by_entry_point(monkeypatch):
    point = importlib.metadata.EntryPoint("theirs", "sklearn.decomposition:PCA", registry.ENTRY_POINTS)
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda **wanted: [point] if wanted.get("name", "theirs") == "theirs" else [],
    )
    assert isinstance(make_reducer("theirs", n_components=2), decomposition.PCA)
    assert "theirs" in available_reducers()


@pytest.mark.parametrize(
    ("name", "module"),
    [("pacmap", "pacmap"), ("tsne", "openTSNE"), ("torchdr-umap", "torchdr"), ("torchdr-tsne", "torchdr")],
)
def test_a_missing_library_answers_with_its_pip_line(name, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'torchviz-layers\[reducers\]'"):
        make_reducer(name, **({"device": "cpu"} if name == "tsne" else {}))


def test_tsne_on_the_cpu_is_opentsne(rows, monkeypatch):
    class Fake:
        def __init__(self, **params):
            self.params = params

        def fit(self, X):
            assert isinstance(X, np.ndarray)
            return np.full((len(X), 2), self.params["perplexity"])

    module = type(sys)("openTSNE")
    module.TSNE = Fake
    monkeypatch.setitem(sys.modules, "openTSNE", module)
    Z = make_reducer("tsne", device="cpu", perplexity=7).fit_transform(torch.from_numpy(rows))
    assert Z.dtype == np.float32
    assert (Z == 7).all()


@pytest.mark.parametrize(
    ("name", "library", "options"),
    [
        ("tsne", "openTSNE", "perplexity"),
        ("pacmap", "pacmap", "MN_ratio"),
        ("torchdr-umap", "torchdr", "min_dist.*process_duplicates"),
        ("torchdr-tsne", "torchdr", "perplexity.*process_duplicates"),
    ],
)
def test_other_libraries_options_are_known_by_name_and_shown(name, library, options):
    pytest.importorskip(library, reason=f"{library} is not installed")
    device = {"device": "cpu"} if name == "tsne" else {}
    with pytest.raises(ReducerError, match=f"reducer '{name}' has no option 'bogus'; it has .*{options}"):
        make_reducer(name, bogus=3, **device)
    assert re.fullmatch(rf"{library}\.\w+\(n_components=3\)", repr(make_reducer(name, n_components=3, **device)))


def test_a_compiled_class_that_does_not_tell_its_options_is_not_asked():
    with pytest.raises(ValueError, match="no signature found"):
        inspect.signature(dict.update)
    check_names(["anything"], type("Compiled", (), {"__init__": dict.update}), "it")


def test_values_that_another_library_fails_at_are_named_by_fit(rows, monkeypatch):
    class Fake:
        def __init__(self, *, perplexity=30):
            self.perplexity = perplexity

        def fit(self, X):
            assert self.perplexity > 0
            return X[:, :2]

    module = type(sys)("openTSNE")
    module.TSNE = Fake
    monkeypatch.setitem(sys.modules, "openTSNE", module)
    reducer = make_reducer("tsne", device="cpu", perplexity=-1)
    with pytest.raises(ReducerError, match=r"reducer 'tsne' fails with perplexity=-1: AssertionError"):
        reducer.fit_transform(rows)
    np.testing.assert_array_equal(make_reducer("tsne", device="cpu").fit_transform(rows), rows[:, :2].astype("f4"))


def test_looking_reducers_up_imports_nothing_heavy():
    code = (
        "import sys; from torchviz_layers.reducers import make_reducer, available_reducers; available_reducers(); "
        "sys.exit(bool({'numba', 'umap', 'sklearn', 'triton', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize("shape", [(120, 7), (7, 120), (30, 30)])
def test_pca_is_scikit_learns(shape):
    X = np.random.default_rng(1).normal(size=shape) * np.linspace(1, 3, shape[1])
    ours, theirs = PCA(3, device="cpu").fit(X), decomposition.PCA(3, svd_solver="full").fit(X)
    signs = np.sign((ours.components_ * theirs.components_).sum(axis=1))
    np.testing.assert_allclose(ours.components_ * signs[:, None], theirs.components_, atol=1e-8)
    np.testing.assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-8)
    np.testing.assert_allclose(ours.embedding_ * signs, theirs.transform(X), atol=1e-4)
    np.testing.assert_allclose(ours.transform(X), ours.embedding_, atol=1e-5)


def test_pca_of_what_has_fewer_dimensions_than_asked():
    X = np.outer(np.arange(5.0), np.ones(12))
    model = PCA(8).fit(X)
    assert model.embedding_.shape == (5, 8)
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(8), atol=1e-6)
    np.testing.assert_allclose(model.embedding_[:, 1:], 0, atol=1e-5)
    np.testing.assert_allclose(PCA(2).fit_transform(np.ones((4, 3))), 0, atol=1e-6)


def test_pca_takes_a_seed_that_changes_nothing(rows):
    np.testing.assert_array_equal(make_reducer("pca", random_state=7).fit_transform(rows), PCA().fit_transform(rows))


def test_pca_names_what_does_not_fit(rows):
    with pytest.raises(ReducerError, match="n_components=8: X has 7 features"):
        PCA(8).fit(rows)
    with pytest.raises(ReducerError, match="n_components='a': X has 7 features"):
        PCA("a").fit(rows)
    with pytest.raises(DataError, match="3 features, but PCA is expecting 7"):
        PCA(2).fit(rows).transform(rows[:, :3])


@pytest.mark.parametrize("mirrored", [False, True])
def test_align_undoes_rotation_reflection_and_offset(mirrored):
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(50, 2)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    turn[:, 0] *= (-1 if mirrored else 1) * np.sign(np.linalg.det(turn))
    Z = (reference @ turn + [3, -8]).astype(np.float32)
    aligned = align(Z, reference)
    np.testing.assert_allclose(aligned, reference, atol=1e-5)
    assert aligned.dtype == np.float32


def test_align_keeps_scale_and_shape():
    rng = np.random.default_rng(0)
    Z, reference = rng.normal(size=(40, 3)), rng.normal(size=(40, 3))
    aligned = align(3 * Z, reference)
    before = np.linalg.norm(3 * Z[:, None] - 3 * Z[None], axis=2)
    np.testing.assert_allclose(np.linalg.norm(aligned[:, None] - aligned[None], axis=2), before, atol=1e-9)
    assert np.linalg.norm(aligned - reference) < np.linalg.norm(3 * Z - reference)


def test_align_leaves_dropped_rows_out():
    reference = np.random.default_rng(0).normal(size=(20, 2))
    Z = reference[:, ::-1].copy()
    Z[4] = np.nan
    aligned = align(Z, reference)
    assert np.isnan(aligned[4]).all()
    np.testing.assert_allclose(np.delete(aligned, 4, 0), np.delete(reference, 4, 0), atol=1e-9)


def test_align_wants_the_same_samples():
    with pytest.raises(ReducerError, match=r"\(3, 2\) and \(4, 2\)"):
        align(np.zeros((3, 2)), np.zeros((4, 2)))

"""The engines against each other and against umap-learn, and which of them runs where."""

from __future__ import annotations

import importlib.machinery
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

from tests import huge_layout
from tests.fake_cards import FakeCurrentDevice
from tests.umap_problems import problem, rows_in_groups
from torchviz_layers import UMAP
from torchviz_layers.exceptions import MissingDependencyError, ReducerError
from torchviz_layers.neighbors import knn
from torchviz_layers.reducers import engines, graph, numba_engine, torch_engine, torch_graph
from torchviz_layers.reducers import initialization as start
from torchviz_layers.reducers import optimization as layout
from torchviz_layers.reducers import torch_optimization as torch_layout

CURVE = (1.577, 0.895)


@pytest.fixture(scope="module")
def rows():
    return rows_in_groups()


@pytest.fixture(scope="module")
def near(rows):
    return knn(rows, 14, device="cpu")


def test_the_torch_graph_is_the_numba_graph(near):
    ours = graph.fuzzy_graph(*near, 15)
    theirs = torch_graph.fuzzy_graph(*map(torch.from_numpy, near), 15)
    np.testing.assert_array_equal(theirs.offsets, ours.offsets)
    np.testing.assert_array_equal(theirs.neighbors, ours.neighbors)
    np.testing.assert_allclose(theirs.weights, ours.weights, atol=1e-6)


@pytest.mark.parametrize("n_components", [2, 3])
def test_torch_lays_out_as_numba_does(near, n_components):
    first = np.random.default_rng(1).normal(size=(250, n_components)) * 5
    ours = layout.optimize(layout.PaddedGraph(graph.fuzzy_graph(*near, 15), 5), first, CURVE, 5, seed=3)
    theirs = torch_layout.optimize(
        torch_graph.fuzzy_graph(*map(torch.from_numpy, near), 15), torch.from_numpy(first), CURVE, 5, seed=3
    )
    assert np.abs(ours - first).max() > 1  # it moved
    np.testing.assert_allclose(theirs, ours, atol=5e-3)  # each epoch lets roundings of 1e-5 grow


def test_an_epoch_in_numba_is_the_formula(near):
    """One epoch in plain NumPy, written from the description in `layout`."""
    g = graph.fuzzy_graph(*near, 15)
    first = np.random.default_rng(1).normal(size=(250, 2)).astype(np.float32) * 5
    a, b = CURVE
    mix = torch_layout.mix
    probability = np.where(g.weights / g.weights.max() >= 1 / 10, g.weights / g.weights.max(), 0.0)
    wanted = np.empty_like(first)
    for i in range(250):
        part = slice(g.offsets[i], g.offsets[i + 1])
        apart = first[i] - first[g.neighbors[part]]
        square = (apart**2).sum(1) + 1e-12
        pull = np.clip((-2 * a * b * square ** (b - 1) / (1 + a * square**b))[:, None] * apart, -4, 4)
        key = mix(mix(5 ^ mix(0)) + i)
        drawn = [mix(key + q * 0x9E3779B9) * 250 >> 32 for q in range(layout.NEGATIVES)]
        apart = first[i] - first[drawn]
        square = (apart**2).sum(1) + 1e-12
        push = np.clip((2 * b / ((0.001 + square) * (1 + a * square**b)))[:, None] * apart, -4, 4)
        total = probability[part].sum()
        move = 2 * (probability[part][:, None] * pull).sum(0) + 5 * total / layout.NEGATIVES * push.sum(0)
        wanted[i] = first[i] + layout.LEARNING_RATE * min(1, layout.HUB / total) * move
    seen = []

    def stop(_done, Z):
        seen.append(Z.copy())
        return True

    layout.optimize(layout.PaddedGraph(g, 10), first, CURVE, 10, seed=5, progress=stop)
    np.testing.assert_allclose(seen[0], wanted, atol=2e-4)


TRITON_RUN = """
import numpy as np, torch
from torchviz_layers.neighbors import knn
from torchviz_layers.reducers import torch_graph, torch_optimization
for dims in (2, 3):
    X = np.random.default_rng(0).normal(size=(41, 5))
    near = knn(X, 10, device="cpu")
    g = torch_graph.fuzzy_graph(*map(torch.from_numpy, near), 11)
    first = torch.from_numpy(np.random.default_rng(1).normal(size=(41, dims)) * 5)
    plain = torch_optimization.optimize(g, first, (1.577, 0.895), 4, 3, use_triton=False)
    kernel = torch_optimization.optimize(g, first, (1.577, 0.895), 4, 3, use_triton=True)
    assert (plain - first).abs().max() > 0.5
    assert (plain - kernel).abs().max() < 1e-3, (plain - kernel).abs().max()
"""


def test_the_triton_kernel_computes_what_torch_does():
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-c", TRITON_RUN],
        env=os.environ | {"TRITON_INTERPRET": "1"},  # the kernel runs on the CPU
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr


def test_the_triton_kernel_counts_beyond_32_bits():
    pytest.importorskip("triton")
    if sys.platform != "linux":
        pytest.skip("memory that is not reserved beforehand is asked for as on Linux")
    try:
        huge_layout.sparse_positions()
    except OSError as error:
        pytest.skip(f"this system gives no memory that it does not reserve: {error}")
    done = subprocess.run(
        [sys.executable, "-m", "tests.huge_layout"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr


def test_the_triton_kernel_compiles_for_cards_that_are_not_here():
    compiler = pytest.importorskip("triton.compiler")
    from triton.backends.compiler import GPUTarget

    from torchviz_layers.reducers import triton_kernel

    pointers = {"now": "*fp32", "after": "*fp32", "offsets": "*i64", "neighbors": "*i32"}
    pointers |= dict.fromkeys(("weights", "pushes", "steps"), "*fp32")
    numbers = {"n": "i32", "key": "i32", "a": "fp32", "b": "fp32", "rate": "fp32"}
    sizes = {"DIMS": 3, "PADDED": 4, "VERTICES": 8, "LANES": layout.LANES, "NEGATIVES": layout.NEGATIVES}
    source = compiler.ASTSource(
        fn=triton_kernel._epoch, signature=pointers | numbers | dict.fromkeys(sizes, "constexpr"), constexprs=sizes
    )
    assert compiler.compile(source, target=GPUTarget("cuda", 80, 32)).asm["cubin"]


@pytest.mark.parametrize("init", ["diffusion", "pca"])
def test_the_torch_start_is_the_numba_start(rows, init):
    indices, distances = knn(rows, 14, device="cpu")
    on_cpu = numba_engine.start_positions(problem(rows, init=init, seed=4), graph.fuzzy_graph(indices, distances, 15))
    edges = torch_graph.fuzzy_graph(torch.from_numpy(indices), torch.from_numpy(distances), 15)
    in_torch = torch_engine.start_positions(problem(rows, init=init, seed=4), torch.from_numpy(rows), edges)
    np.testing.assert_allclose(in_torch, on_cpu, atol=1e-3)
    assert np.abs(on_cpu).max() == pytest.approx(10, abs=0.01)


def test_the_start_is_the_principal_components_after_a_hundred_walks_along_the_graph():
    X = np.random.default_rng(0).normal(size=(500, 3)) * [0.1, 0.1, 3]
    X[:250, 0] += 1  # two rods, so that some difference outlives the walks
    edges = graph.fuzzy_graph(*knn(X, 9, device="cpu"), 10)
    lines = np.split(edges.neighbors, edges.offsets[1:-1])
    walk = np.zeros((500, 500))
    for row, (line, weights) in enumerate(zip(lines, np.split(edges.weights, edges.offsets[1:-1]), strict=True)):
        walk[row, line] = weights / weights.sum()
    wanted = np.linalg.matrix_power(walk, start.DIFFUSION_STEPS) @ numba_engine.start_positions(
        problem(X, init="pca"), None
    )
    wanted -= wanted.mean(0)
    found = numba_engine.start_positions(problem(X), edges)
    np.testing.assert_allclose(found, wanted / np.abs(wanted).max() * start.EXTENT, atol=2e-3)


def test_diffusion_of_a_small_graph_leaves_two_directions():
    X = np.random.default_rng(0).normal(size=(16, 4))
    found = numba_engine.start_positions(problem(X), graph.fuzzy_graph(*knn(X, 14, device="cpu"), 15))
    assert np.abs(found).max() == pytest.approx(start.EXTENT, abs=0.01)
    assert np.linalg.cond(found) < 20  # of all hundred steps one direction would be left


def test_a_vertex_without_edges_stays_where_its_principal_components_are():
    X = np.random.default_rng(0).normal(size=(40, 4))
    edges = graph.fuzzy_graph(*knn(X[:39], 5, device="cpu"), 6)
    alone = graph.Graph(np.append(edges.offsets, edges.offsets[-1]), edges.neighbors, edges.weights)
    X[39] = [90, 0, 0, 0]
    assert np.abs(numba_engine.start_positions(problem(X), alone)).argmax() // 2 == 39
    in_torch = torch_graph.TorchGraph(*map(torch.from_numpy, alone))
    found = torch_engine.start_positions(problem(X, init="diffusion"), torch.from_numpy(X), in_torch)
    assert found.isfinite().all()
    assert found.abs().argmax() // 2 == 39


def test_the_start_is_the_principal_components():
    X = np.random.default_rng(0).normal(size=(400, 6)) * [9, 5, 1, 1, 0.5, 0.1]
    centred = X - X.mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    wanted = u[:, :2] * s[:2]
    found = numba_engine.start_positions(problem(X, init="pca"), None)
    for c in range(2):
        assert abs(np.corrcoef(found[:, c], wanted[:, c])[0, 1]) > 0.9999


@pytest.fixture
def fake_cuml(monkeypatch):
    """A cuml that records what it is asked; `auto` then sees a library, and tensors stay on the CPU."""
    calls = []

    class FakeUMAP:
        def __init__(self, **params):
            self.params = params

        def fit_transform(self, X):
            calls.append((self.params, X))
            return np.zeros((len(X), self.params["n_components"]), np.float32)

    package, manifold = types.ModuleType("cuml"), types.ModuleType("cuml.manifold")
    package.__spec__ = importlib.machinery.ModuleSpec("cuml", None)
    manifold.UMAP = FakeUMAP
    manifold.TSNE = lambda **params: FakeUMAP(n_components=2, **params)
    monkeypatch.setitem(sys.modules, "cuml", package)
    monkeypatch.setitem(sys.modules, "cuml.manifold", manifold)
    return calls


@pytest.mark.usefixtures("fake_cuml")
def test_auto_on_a_card_takes_cuml_where_it_is(rows):
    on_card = problem(rows, device=torch.device("cuda"), seeded=False)
    assert engines.choose_engine("auto", on_card) == ("cuml", "a CUDA card and cuML are present")
    seeded = engines.choose_engine("auto", problem(rows, device=torch.device("cuda")))
    assert seeded == ("torch", "a seed is given, and cuML's maps are not the same for one seed")


@pytest.mark.usefixtures("fake_cuml")
def test_auto_on_a_card_leaves_to_cuml_what_it_covers_too(rows):
    card = {"device": torch.device("cuda")}
    assert engines.choose_engine("auto", problem(rows, init="spectral", **card)).engine == "cuml"
    assert engines.choose_engine("auto", problem(rows, options={"learning_rate": 2.0}, **card)).engine == "cuml"
    assert engines.choose_engine("auto", problem(rows, metric="canberra", **card)).engine == "umap-learn"
    assert engines.choose_engine("auto", problem(rows[:50], init="spectral", **card)).engine == "umap-learn"


@pytest.mark.usefixtures("fake_cuml")
def test_auto_on_a_card_takes_torch_otherwise(rows):
    on_card = problem(rows[:80], device=torch.device("cuda"))
    assert engines.choose_engine("auto", on_card) == ("torch", "cuML needs at least 90 samples, and there are 80")
    watched = problem(rows, device=torch.device("cuda"), callback=print)
    assert engines.choose_engine("auto", watched).engine == "torch"


@pytest.mark.skipif(engines.has_cuml(), reason="cuML is installed")
def test_auto_on_a_card_without_cuml(rows):
    choice = engines.choose_engine("auto", problem(rows, device=torch.device("cuda")))
    assert choice == ("torch", "a CUDA card is present and cuML is not installed")
    with pytest.raises(MissingDependencyError, match=r"pip install 'torchviz-layers\[cuda13\]'"):
        UMAP(engine="cuml").fit(rows)


@pytest.mark.parametrize("name", ["cuml", "torch", "numba", "umap-learn"])
def test_our_engines_have_what_the_protocol_asks(name):
    assert isinstance(engines.load_engine(name), engines.Engine)


class Flat:
    """An engine of somebody else's: the first columns, in float64."""

    columns = 2

    def fit(self, problem):
        return problem.X[:, : self.columns].astype(np.float64), None


def test_an_object_may_be_the_engine(rows):
    model = UMAP(engine=Flat(), random_state=0, device="cpu").fit(rows)
    assert (model.engine_, model.engine_reason_) == ("Flat", "the engine that was passed")
    assert model.embedding_.dtype == np.float32
    np.testing.assert_array_equal(model.embedding_, rows[:, :2].astype(np.float32))
    np.testing.assert_array_equal(model.transform(rows[7:8])[0], model.embedding_[7])


def test_an_engine_that_returns_another_shape_is_an_error(rows, monkeypatch):
    monkeypatch.setattr(Flat, "columns", 3)
    with pytest.raises(ReducerError, match=r"its map has shape \(250, 3\), not \(250, 2\)"):
        UMAP(engine=Flat(), device="cpu").fit(rows)


def refuses_its_options(**_params):
    raise ValueError("n_epochs must be larger")


class Failing:
    """A cuML estimator whose fit fails in a way that is chosen."""

    way = ""

    def __init__(self, **params):
        self.params = params

    def fit_transform(self, X):
        if self.way == "raises":
            raise RuntimeError("RAFT failure at file=graph.cu\nObtained 12 stack frames")
        if self.way == "memory":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        Z = np.zeros((len(X), 2), np.float32)
        Z[7] = np.nan
        return Z if self.way == "nan" else Z[1:]


@pytest.mark.usefixtures("fake_cuml")
@pytest.mark.parametrize(
    ("way", "quoted"),
    [
        ("import", "ImportError: libcudart.so.13: cannot open shared object file"),
        ("options", "ValueError: n_epochs must be larger"),
        ("raises", "RuntimeError: RAFT failure at file=graph.cu"),
        ("memory", "OutOfMemoryError: CUDA out of memory"),
        ("nan", "ReducerError: its map holds NaN or infinity in 1 of 250 rows"),
        ("shape", r"ReducerError: its map has shape \(249, 2\), not \(250, 2\)"),
    ],
)
def test_auto_takes_our_engine_where_cuml_fails_and_says_how(rows, monkeypatch, way, quoted):
    def missing(_name):
        raise ImportError("libcudart.so.13: cannot open shared object file")

    cuml = sys.modules["cuml.manifold"]
    monkeypatch.setattr(Failing, "way", way)
    monkeypatch.setattr(cuml, "UMAP", refuses_its_options if way == "options" else Failing)
    if way == "import":
        monkeypatch.delattr(cuml, "UMAP")
        monkeypatch.setattr(cuml, "__getattr__", missing, raising=False)
    # `auto` sees a card; everything is computed on the CPU.
    monkeypatch.setattr(engines, "choose_engine", lambda *_: engines.Choice("cuml", "a CUDA card and cuML are present"))
    asked = problem(rows.astype(np.float32), seeded=False, n_epochs=20)
    choice, Z, model = engines.compute("auto", asked)
    assert choice.engine == "torch"
    assert re.match(rf"cuML failed \({quoted}", choice.reason)
    np.testing.assert_array_equal(Z, torch_engine.fit(asked)[0])
    assert model is None


@pytest.mark.usefixtures("fake_cuml")
def test_cuml_that_was_asked_for_by_name_fails_with_its_own_error(rows, monkeypatch):
    monkeypatch.setattr(sys.modules["cuml.manifold"], "UMAP", Failing)
    monkeypatch.setattr(Failing, "way", "raises")
    monkeypatch.setattr(engines, "choose_engine", lambda *_: engines.Choice("cuml", "cuml was asked for"))
    with pytest.raises(ReducerError, match="RAFT failure"):
        engines.compute("cuml", problem(rows.astype(np.float32), seeded=False))


def test_what_cuml_failed_at_goes_to_umap_learn_where_only_that_covers_it(rows):
    choice = engines._instead_of_cuml(problem(rows, init="spectral"), RuntimeError("no"))
    assert choice == ("umap-learn", "cuML failed (RuntimeError: no), and umap-learn covers init='spectral'")


def test_between_neighbours_and_layout_no_array_leaves_the_device(rows, monkeypatch):
    left = []
    for name in ("cpu", "numpy", "tolist", "__array__"):
        whole = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *a, _whole=whole, _name=name: left.append(_name) or _whole(self, *a)
        )
    steps = []
    search, optimize = torch_engine.find, torch_engine.optimize

    def found(*asked, **options):
        result = [torch.as_tensor(part) for part in search(*asked, **options)]
        steps.append(("neighbours", len(left)))
        return result

    def laid_out(*asked, **options):
        result = optimize(*asked, **options)
        steps.append(("layout", len(left)))
        return result

    monkeypatch.setattr(torch_engine, "find", found)
    monkeypatch.setattr(torch_engine, "optimize", laid_out)
    Z, _ = torch_engine.fit(problem(rows.astype(np.float32)))
    assert np.isfinite(Z).all()
    (_, before), (_, after) = steps
    assert after == before
    assert left[after:] == ["cpu", "numpy"]  # the map itself


@pytest.mark.usefixtures("fake_cuml")
def test_cuml_is_not_asked_for_what_it_fails_at(rows):
    with pytest.raises(ReducerError, match="needs a CUDA card"):
        engines.choose_engine("cuml", problem(rows))
    with pytest.raises(ReducerError, match="dense rows only"):
        engines.choose_engine("cuml", problem(scipy.sparse.csr_matrix(rows), device=torch.device("cuda")))
    with pytest.raises(ReducerError, match="at least 90 samples, and there are 30"):
        engines.choose_engine("cuml", problem(rows[:30], device=torch.device("cuda")))


def test_cuml_gets_exact_neighbours_a_start_and_a_seed_only_when_given(rows, fake_cuml):
    engines.load_engine("cuml").fit(problem(rows, seed=11))
    engines.load_engine("cuml").fit(problem(rows, seeded=False, options={"negative_sample_rate": 3}))
    (seeded, X), (free, _) = fake_cuml
    assert seeded["random_state"] == 11
    assert free["random_state"] is None
    assert free["negative_sample_rate"] == 3
    assert X.dtype == torch.float32
    indices, distances = seeded["precomputed_knn"]
    np.testing.assert_array_equal(indices[:, 0], np.arange(250))
    np.testing.assert_array_equal(indices[:, 1:], knn(rows.astype(np.float32), 14, device="cpu")[0])
    assert (distances[:, 0] == 0).all()
    assert seeded["init"].shape == (250, 2)  # not "spectral", which is slow there
    assert "build_algo" not in seeded


def test_cuml_builds_its_own_graph_of_many_rows_by_name(rows, fake_cuml, monkeypatch):
    from torchviz_layers.reducers import cuml_engine

    monkeypatch.setattr(cuml_engine, "_EXACT_ROWS", 200)
    cuml_engine.fit(problem(rows, init="random"))
    params = fake_cuml[0][0]
    assert params["build_algo"] == "nn_descent"
    assert params["init"] == "random"
    assert "precomputed_knn" not in params


def test_the_torch_engine_is_as_faithful_as_numba(rows):
    from torchviz_layers.metrics import trustworthiness

    ours, theirs = (UMAP(engine=engine, device="cpu", random_state=0).fit(rows) for engine in ("numba", "torch"))
    assert (theirs.engine_, theirs.engine_reason_) == ("torch", "torch was asked for")
    difference = trustworthiness(rows, theirs.embedding_, 15) - trustworthiness(rows, ours.embedding_, 15)
    assert abs(difference) < 0.01


@pytest.mark.parametrize(
    "error",
    [torch.cuda.OutOfMemoryError("CUDA out of memory"), RuntimeError("cuBLAS error: CUBLAS_STATUS_ALLOC_FAILED")],
)
def test_a_card_without_memory_hands_over_to_the_cpu(rows, monkeypatch, error):
    def no_memory(_problem):
        raise error

    monkeypatch.setattr(torch_engine, "fit", no_memory)
    model = UMAP(engine="torch", device="cpu", random_state=0, n_epochs=20)
    model.fit(rows)
    assert model.engine_ == "numba"
    assert model.engine_reason_ == "the CUDA card ran out of memory (torch was asked for), so the CPU took over"


def test_an_engine_that_fails_otherwise_hands_over_to_nobody(rows, monkeypatch):
    def fails(_problem):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch_engine, "fit", fails)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        UMAP(engine="torch", device="cpu").fit(rows)


def test_the_card_of_a_problem_is_the_current_one_while_an_engine_computes(rows, monkeypatch):
    seen = []
    monkeypatch.setattr(torch.cuda, "device", FakeCurrentDevice(seen))
    monkeypatch.setattr(torch_engine, "fit", lambda _problem: seen.append("fit") or (np.zeros((250, 2)), None))
    engines.compute("torch", problem(rows, device=torch.device("cuda:1")))
    assert seen == ["enter cuda:1", "fit", "leave cuda:1"]
    engines.compute("torch", problem(rows, device=torch.device("cpu")))
    assert seen[3:] == ["fit"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_on_a_card_torch_is_as_faithful_as_numba(rows):
    from torchviz_layers.metrics import trustworthiness

    X = torch.from_numpy(rows).cuda()
    model = UMAP(engine="torch", random_state=0).fit(X)
    ours = UMAP(engine="numba", device="cpu", random_state=0).fit_transform(rows)
    assert abs(trustworthiness(rows, model.embedding_, 15) - trustworthiness(rows, ours, 15)) < 0.01
    np.testing.assert_array_equal(UMAP(engine="torch", random_state=0).fit_transform(X), model.embedding_)

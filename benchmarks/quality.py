"""How faithful our UMAP's maps are beside umap-learn's: `python -m benchmarks.quality [--seeds 5] [--json FILE]`.

Real digits, every computing layer of the two bundled networks, and two made-up sets. Each seed is one row order, the
same for both; umap-learn runs as it comes, without a seed and on all cores. Trustworthiness and distance Spearman are
read at a sample of rows against all, and all with scikit-learn and scipy, not with the library that is judged.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.data import samples_of
from benchmarks.environment import environment
from benchmarks.measures import knn_accuracy
from benchmarks.report import Report, Table

MODELS = {"dense128": "mnist_dense128", "LeNet60": "mnist_lenet60"}
MEASURES = ("trustworthiness", "knn_accuracy", "distance_spearman")
FLOORS = {"trustworthiness": -0.003, "knn_accuracy": -0.005, "distance_spearman": -0.02}


class DataSet(NamedTuple):
    """Rows to lay out and their classes (a tenth of the roll's length, where there are none)."""

    name: str
    X: np.ndarray
    targets: np.ndarray


def main() -> None:
    """Print the table and write it where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="maps of each (default 5)")
    parser.add_argument("--data", metavar="SPEC", help="what load_dataset takes; default mnist where it is, or digits")
    parser.add_argument("--only", metavar="TEXT", default="", help="data sets whose name holds TEXT")
    parser.add_argument("--init", default="diffusion", help="our start: diffusion (default), pca, spectral or random")
    parser.add_argument("--quick", action="store_true", help="1,000 rows")
    parser.add_argument("--max-n", type=int, metavar="N", help="most rows of each (default 10,000)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    rows = []
    for data in data_sets(options):
        if options.only in data.name:
            rows.append(compare(data, options.seeds, options.init))
            print(f"{data.name}: {rows[-1]}", flush=True)
    title = f"UMAP's quality, ours less umap-learn's, means of {options.seeds} seeds"
    settings = {
        "seeds": options.seeds,
        "data": options.data,
        "quick": options.quick,
        "init": options.init,
        "device": "cpu",
    }
    report = Report("quality", settings, environment("cpu"), [Table("quality", title, rows)])
    print(report.text())
    if options.json:
        report.save(options.json)
        print(options.json)


def data_sets(options: argparse.Namespace) -> Iterator[DataSet]:
    """Yield the data sets, the networks' layers in their order."""
    from sklearn.datasets import load_digits, make_blobs, make_swiss_roll

    from torchviz_layers import extract, load_model
    from torchviz_layers.hooks import computing_layers

    limit = 1000 if options.quick else 10_000
    samples = samples_of(options, limit)
    assert samples.targets is not None
    yield DataSet("pixels", samples.shown.images.reshape(len(samples), -1), samples.targets)
    for title, name in MODELS.items():
        model = load_model(name)
        layers = computing_layers(model)
        found = extract(model, samples.batches(256, model.transform), layers, progress=False)
        for layer in layers:
            values = np.asarray(found[layer])
            yield DataSet(f"{title} {layer}", values.reshape(len(values), -1), samples.targets)
    yield DataSet("digits", *load_digits(return_X_y=True))
    yield DataSet("blobs", *make_blobs(limit, 50, centers=30, random_state=0)[:2])
    roll, place = make_swiss_roll(limit, random_state=0)
    yield DataSet("Swiss roll", roll, np.digitize(place, np.quantile(place, np.linspace(0.1, 0.9, 9))))


def compare(data: DataSet, seeds: int, init: str) -> dict[str, Any]:
    """Return one row of the table: ours from that start, and ours less umap-learn's, with the spread over seeds."""
    from torchviz_layers import UMAP

    def theirs(_seed: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import umap

            return umap.UMAP()

    sides: dict[str, Callable[[int], Any]] = {
        "ours": lambda seed: UMAP(random_state=seed, device="cpu", init=init),
        "umap-learn": theirs,
    }
    found: dict[str, dict[str, list[float]]] = {side: {m: [] for m in (*MEASURES, "seconds")} for side in sides}
    judge = Judge(data)
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(data.X))
        for side, build in sides.items():
            started = time.perf_counter()
            Z = np.asarray(build(seed).fit_transform(np.ascontiguousarray(data.X[order])))
            found[side]["seconds"].append(time.perf_counter() - started)
            for measure, value in judge.measure(Z[np.argsort(order)]).items():
                found[side][measure].append(value)
    row: dict[str, Any] = {"name": data.name, "n_features": data.X.shape[1]}
    for measure in MEASURES:
        ours, others = found["ours"][measure], found["umap-learn"][measure]
        row[measure] = statistics.mean(ours)
        row[f"{measure}_less"] = round(statistics.mean(ours) - statistics.mean(others), 4)
        row[f"{measure}_all"] = [ours, others]
    row["within"] = all(row[f"{measure}_less"] >= floor for measure, floor in FLOORS.items())
    return row


class Judge:
    """What maps of one data set are held against: true distances of a sample of rows and their order, computed once."""

    def __init__(self, data: DataSet, n_rows: int = 2000, k: int = 15) -> None:
        from scipy.spatial.distance import cdist
        from scipy.stats import rankdata

        self.targets, self.k = data.targets, k
        self.rows = np.sort(np.random.default_rng(0).permutation(len(data.X))[:n_rows])
        X = data.X.astype(np.float64)
        if X.shape[1] <= 100:
            self.far = cdist(X[self.rows], X)  # differences, for near-duplicates
        else:
            X = X - X.mean(axis=0)
            square = (X[self.rows] ** 2).sum(1)[:, None] + (X**2).sum(1) - 2 * X[self.rows] @ X.T
            self.far = np.sqrt(np.maximum(square, 0))
        pairs = self.far[:, self.rows][np.triu_indices(len(self.rows), 1)]
        self.ranks = rankdata(pairs)
        self.far[np.arange(len(self.rows)), self.rows] = np.inf
        self.sorted = np.sort(self.far, axis=1)

    def measure(self, Z: np.ndarray) -> dict[str, float]:
        """Return the three measures of a map."""
        from scipy.spatial.distance import pdist
        from scipy.stats import rankdata
        from sklearn.neighbors import NearestNeighbors

        n, k = len(Z), self.k
        near = NearestNeighbors(n_neighbors=k).fit(Z).kneighbors(return_distance=False)[self.rows]
        far = np.take_along_axis(self.far, near, axis=1)
        rank = np.stack([np.searchsorted(line, value) + 1 for line, value in zip(self.sorted, far, strict=True)])
        beyond = np.maximum(rank - k, 0).sum()
        return {
            "trustworthiness": float(1 - 2 * beyond / (len(self.rows) * k * (2 * n - 3 * k - 1))),
            "knn_accuracy": knn_accuracy(Z, self.targets),
            "distance_spearman": float(np.corrcoef(self.ranks, rankdata(pdist(Z[self.rows])))[0, 1]),
        }


if __name__ == "__main__":
    main()

"""A page of a multi-label task: each sample has any of the labels, and a network predicts those of at least 0.5.

Over all labels an error is a sample of which not every label is right. For one label, which the reader chooses, the
page's script shows two classes: the samples that have it and those that do not (`templates/js/labels.js`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page.palette import ramp
from torchviz_layers.page.records import Network, PageData, shortened
from torchviz_layers.page.scores import LabelScores, largest
from torchviz_layers.page.subset import Segment, Subset, counted

MOST_COUNTED = 9  # wrong labels of a sample that have a colour of their own; more have the last one
MAX_NAME = 40  # letters of a network's name in the headline
MAX_LISTED = 2  # networks that the headline lists one by one


@dataclass(frozen=True)
class MultiLabel:
    """What a page of these data shows instead of classes."""

    data: PageData

    @cached_property
    def sets(self) -> NDArray[np.bool_]:
        """Which labels each sample has, of shape (n_samples, n_labels)."""
        return np.asarray(self.data.label_sets, bool)

    @cached_property
    def _predicted(self) -> list[NDArray[np.bool_] | None]:
        found: list[NDArray[np.bool_] | None] = []
        for network in self.data.networks:
            outputs = network.probabilities
            # NaN is no label.
            found.append(None if outputs is None else np.nan_to_num(outputs, nan=0.0) >= 0.5)
        return found

    def predicted(self, network: Network) -> NDArray[np.bool_] | None:
        """Return the labels that a network predicts, of shape (n_samples, n_labels); None without predictions."""
        return self._predicted[next(k for k, known in enumerate(self.data.networks) if known is network)]

    def wrong_labels(self, network: Network) -> NDArray[np.int64]:
        """Return how many labels of each sample are wrong, of shape (n_samples,); 0 without predictions."""
        predicted = self.predicted(network)
        if predicted is None:
            return np.zeros(self.data.n_samples, np.int64)
        return np.asarray(np.count_nonzero(predicted != self.sets, axis=1), np.int64)

    def errors(self, network: Network) -> NDArray[np.bool_]:
        """Return a mask of the samples of which not every label is right, of shape (n_samples,)."""
        return self.wrong_labels(network) > 0

    def severity(self) -> NDArray[np.float64]:
        """Return the most wrong labels that a network has for each sample, of shape (n_samples,)."""
        counts = [self.wrong_labels(network) for network in self.data.networks]
        return np.asarray(np.max(counts, axis=0), np.float64)

    def scores(self, network: Network) -> LabelScores | None:
        """Return a network's scores; those of all samples, if only a part is shown; None without predictions."""
        if isinstance(network.scores_of_all, LabelScores):
            return network.scores_of_all
        predicted = self.predicted(network)
        return None if predicted is None else LabelScores.of(self.sets, predicted)

    def subsets(self) -> list[Subset]:
        """Return the inexact predictions of each network, of all, of one alone, and where two differ."""
        predictions = [predicted for predicted in self._predicted if predicted is not None]
        if len(predictions) < len(self._predicted):
            return []
        names = [network.name for network in self.data.networks]
        wrong = [self.errors(network) for network in self.data.networks]
        if len(names) == 1:
            return [Subset("wrong-0", "Errors only", wrong[0])]
        found = [Subset(f"wrong-{k}", f"{name} wrong", wrong[k]) for k, name in enumerate(names)]
        if len(names) == 2:
            differ = np.any(predictions[0] != predictions[1], axis=1)
            found.append(Subset("differ", "They differ", differ))
        found.append(Subset("both-wrong", "Both wrong" if len(names) == 2 else "All wrong", np.all(wrong, axis=0)))
        for k, name in enumerate(names):
            others = np.any([mask for number, mask in enumerate(wrong) if number != k], axis=0)
            found.append(Subset(f"only-{k}", f"Only {name} wrong", wrong[k] & ~others))
        return found

    def headline(self) -> list[Segment] | None:
        """Return the page's first sentence, in parts; None without predictions."""
        known = [(k, score) for k, score in enumerate(map(self.scores, self.data.networks)) if score is not None]
        if len(known) < len(self.data.networks):
            return None
        segments: list[Segment] = []
        if len(known) > MAX_LISTED:
            segments.append((f"Best of {counted('network', len(known))}: ", None))
            known = [max(known, key=lambda entry: entry[1].exact)]
        for position, (k, score) in enumerate(known):
            network = self.data.networks[k]
            exact = round(score.exact * score.n_samples)
            shown = int(np.count_nonzero(self.errors(network)))
            start = "; " if position else ""
            segments.append((f"{start}{shortened(network.name, MAX_NAME)} predicts all labels of {exact:,}", None))
            segments.append(("" if position else f" of {counted('sample', score.n_samples)}", None))
            if not shown:
                continue
            every = shown == score.n_samples - exact
            segments += [(", ", None), (f"{shown:,}", f"wrong-{k}")]
            segments.append((" have errors" if every else " of those with errors are shown", None))
        return [*segments, (".", None)]

    def score(self, network: Network) -> tuple[str, str, str] | None:
        """Return what the header shows of a network: exact matches, accuracy of a label, and what they mean."""
        scores = self.scores(network)
        if scores is None:
            return None
        meaning = "Share of the samples of which every label is right; accuracy of a label, averaged over all labels"
        return f"{scores.exact:.1%} exact", f"{scores.mean_accuracy:.2%} per label", meaning

    def notes(self) -> list[str]:
        """Return no sentence: nothing is left out."""
        return []

    def worst(self, most: int) -> NDArray[np.bool_]:
        """Return a mask of the samples with a wrong label, of at most so many: those of most wrong labels."""
        return largest(self.severity(), 0, most)

    def of_part(self, rows: NDArray[np.int64]) -> dict[str, Any]:  # noqa: ARG002 - the protocol's signature
        """Return no change of the data."""
        return {}

    def promise(self, rows: NDArray[np.int64]) -> str:
        """Return what a page that shows these samples alone is guaranteed to contain."""
        hidden = int(np.delete(self.severity(), rows).max(initial=0))
        which = f"more than {counted('wrong label', hidden)}" if hidden else "a wrong label"
        return f"with all that have {which} and all corner cases; scores and counts of labels are those of all samples"

    def first_colors(self) -> tuple[NDArray[np.float32], float, float, list[str]]:
        """Return what the page opens with: a number per sample, and the ends and colours of their scale."""
        counts = self.sets.sum(axis=1)
        if self._predicted[0] is not None:
            counts = self.wrong_labels(self.data.networks[0])
        most = min(MOST_COUNTED, max(1, int(counts.max(initial=0))))
        return counts.astype(np.float32), -0.5, most + 0.5, ramp(most + 1)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return label sets, eight labels a byte, and probabilities in steps of 1/255."""
        found = {"sets": np.packbits(self.sets, axis=1)}
        for k, network in enumerate(self.data.networks):
            predicted = self.predicted(network)
            if predicted is None or network.probabilities is None:
                continue
            found[f"said-{k}"] = np.packbits(predicted, axis=1)
            shares = np.nan_to_num(network.probabilities, nan=0.0).clip(0, 1)
            found[f"sure-{k}"] = np.rint(255 * shares).astype(np.uint8)
        return found

    def meta(self) -> dict[str, Any]:
        """Return the labels and what each network has wrong of them, as the script reads them."""
        scores = [self.scores(network) for network in self.data.networks]
        first = next((score for score in scores if score is not None), None)
        has = self.sets.sum(axis=0) if first is None else first.has
        return {
            "labels": list(self.data.names_of_labels),
            "has": has.tolist(),
            "count": self.data.n_samples if first is None else first.n_samples,
            "labelErrors": [None if score is None else score.errors.tolist() for score in scores],
            "mostCounted": MOST_COUNTED,
            "ramp": ramp(MOST_COUNTED + 1),
        }

    def table(self) -> dict[str, NDArray[Any]]:
        """Return the columns of an export: the true labels and each network's, as "a; b"."""
        found = {"truth": self._lists(self.sets)}
        for network in self.data.networks:
            predicted = self.predicted(network)
            if predicted is not None:
                found[f"{network.name} prediction"] = self._lists(predicted)
        return found

    def _lists(self, sets: NDArray[np.bool_]) -> NDArray[Any]:
        names = self.data.names_of_labels
        lists = ["; ".join(names[code] for code in np.flatnonzero(row)) for row in sets]
        return np.asarray(lists, dtype=object)

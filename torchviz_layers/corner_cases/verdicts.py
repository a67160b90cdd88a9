"""Where networks are right and wrong about the same samples: the kinds that compare two or more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.corner_cases.cases import CornerCase

ALL_WRONG = "all wrong"
_NAMED = 3  # networks that a reason lists; of more it says how many they are


@dataclass(frozen=True)
class Verdicts:
    """Each network's prediction for each sample, in words, and whether it is right.

    A network without a prediction for a sample is neither right nor wrong, and so are all for one without a label.

    Parameters
    ----------
    names
        The networks' names.
    right, wrong
        Of shape (n_networks, n_samples), bool.
    sureness
        How sure the networks are of their predictions, (n_networks, n_samples), in [0, 1].
    prediction
        What a network (its number) predicts for a sample (its row), in words.
    truth
        The label of a sample (its row), in words.
    """

    names: Sequence[str]
    right: Array
    wrong: Array
    sureness: Array
    prediction: Callable[[int, int], str]
    truth: Callable[[int], str]

    def cases(self) -> Iterator[CornerCase]:
        """Find samples that one network gets right and another one wrong; of more than two, one against the others."""
        networks = range(len(self.names))
        if len(networks) == 2:
            for wrong, right in permutations(networks, 2):
                yield from self._wrong_and_right(wrong, right)
        if len(networks) > 2:
            yield from self._all_wrong()
            for network in networks:
                yield from self._only_wrong(network)
            for network in networks:
                yield from self._only_right(network)

    def _wrong_and_right(self, wrong: int, right: int) -> Iterator[CornerCase]:
        """Find samples that one network misclassifies and the other does not; the surer both are, the stronger."""
        bad, good = self.names[wrong], self.names[right]
        for row in np.flatnonzero(self.wrong[wrong] & self.right[right]).tolist():
            sure_and_wrong, sure_and_right = self.sureness[wrong, row], self.sureness[right, row]
            reason = (
                f"{bad} predicts {self.prediction(wrong, row)} ({sure_and_wrong:.0%} sure), "
                f"{good} correctly predicts {self.truth(row)} ({sure_and_right:.0%})"
            )
            yield CornerCase(f"{bad} wrong, {good} right", row, float(sure_and_wrong * sure_and_right), reason)

    def _all_wrong(self) -> Iterator[CornerCase]:
        """Find samples that all networks get wrong, each in its own way; where they agree, the label is suspect."""
        everyone = list(range(len(self.names)))
        for row in np.flatnonzero(self.wrong.all(axis=0)).tolist():
            predictions = self._grouped(everyone, row)
            if len(predictions) > 1:
                reason = f"labelled {self.truth(row)}, but {self._in_words(predictions)}"
                yield CornerCase(ALL_WRONG, row, float(self.sureness[:, row].mean()), reason)

    def _only_wrong(self, network: int) -> Iterator[CornerCase]:
        others = [other for other in range(len(self.names)) if other != network]
        name = self.names[network]
        for row in np.flatnonzero(self.wrong[network] & self.right[others].all(axis=0)).tolist():
            sure, others_sure = self.sureness[network, row], self.sureness[others, row].mean()
            reason = (
                f"{name} predicts {self.prediction(network, row)} ({sure:.0%} sure), the other {len(others)} networks "
                f"correctly predict {self.truth(row)} ({others_sure:.0%} on average)"
            )
            yield CornerCase(f"only {name} wrong", row, float(sure * others_sure), reason)

    def _only_right(self, network: int) -> Iterator[CornerCase]:
        others = [other for other in range(len(self.names)) if other != network]
        name = self.names[network]
        for row in np.flatnonzero(self.right[network] & self.wrong[others].all(axis=0)).tolist():
            sure, others_sure = self.sureness[network, row], self.sureness[others, row].mean()
            predictions = self._in_words(self._grouped(others, row))
            reason = f"only {name} correctly predicts {self.truth(row)} ({sure:.0%} sure), {predictions}"
            yield CornerCase(f"only {name} right", row, float(sure * others_sure), reason)

    def _grouped(self, networks: Sequence[int], row: int) -> dict[str, list[str]]:
        """Return the names of the networks that give each prediction, the most frequent first."""
        groups: dict[str, list[str]] = {}
        for network in networks:
            groups.setdefault(self.prediction(network, row), []).append(self.names[network])
        return dict(sorted(groups.items(), key=lambda group: -len(group[1])))

    def _in_words(self, predictions: dict[str, list[str]]) -> str:
        """Return who predicts what: "A and B predict dog, C predicts fox"."""
        parts = []
        for prediction, names in predictions.items():
            verb = "predicts" if len(names) == 1 else "predict"
            parts.append(f"{listed(names)} {verb} {prediction}")
        return ", ".join(parts)


def listed(names: Sequence[str]) -> str:
    """Return names as a list in words, "A, B and C"; of more than three networks their number."""
    if len(names) > _NAMED:
        return f"{len(names)} networks"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

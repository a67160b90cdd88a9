"""A page of a regression: values and residuals in place of classes and misclassified samples.

A residual is a network's prediction minus the true value. An error is a residual larger than a threshold, which the
reader can move; the page's script counts the same in `templates/js/residuals.js`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page.palette import diverging, ramp
from torchviz_layers.page.records import Network, PageData, shortened
from torchviz_layers.page.scales import Scale, Threshold
from torchviz_layers.page.scores import ValueScores, exact_floats, largest, rounded
from torchviz_layers.page.subset import Segment, Subset, counted

COLORS = 64  # of a scale
MAX_NAME = 40  # letters of a network's name in the headline
MAX_LISTED = 2  # networks that the headline lists one by one


@dataclass(frozen=True)
class Regression:
    """What a page of these data shows instead of classes."""

    data: PageData

    def residuals(self, network: Network) -> NDArray[np.float64]:
        """Return prediction minus true value of every sample, of shape (n_samples,).

        It is NaN for a sample without a true value, and for all if there are no true values or no predictions. It is
        infinite for a prediction that is NaN or infinite: nothing is farther off.
        """
        number = next(k for k, known in enumerate(self.data.networks) if known is network)
        return self._all_residuals[number]

    @cached_property
    def _all_residuals(self) -> list[NDArray[np.float64]]:
        """Return the residuals of each network."""
        found = []
        for network in self.data.networks:
            residuals = np.full(self.data.n_samples, np.nan)
            if self.data.values is not None and network.values is not None:
                predicted = exact_floats(network.values)
                residuals = np.where(np.isfinite(predicted), predicted, np.inf) - self.data.values
            found.append(residuals)
        return found

    @cached_property
    def threshold(self) -> Threshold | None:
        """The given threshold, or one that about the largest 5 % of the residuals exceed; None without residuals."""
        sizes = np.abs(self._all_residuals).ravel()
        return None if np.isnan(sizes).all() else Threshold.of(sizes, self.data.threshold)

    def errors(self, network: Network) -> NDArray[np.bool_]:
        """Return a mask of the samples whose residual is larger than the threshold, of shape (n_samples,)."""
        threshold = self.threshold
        if threshold is None:
            return np.zeros(self.data.n_samples, bool)
        return np.asarray(np.abs(self.residuals(network)) > threshold.value)

    def severity(self) -> NDArray[np.float64]:
        """Return the size of each sample's largest residual, of shape (n_samples,); 0 without one."""
        sizes = np.abs(self._all_residuals)  # (n_networks, n)
        return np.asarray(np.where(np.isnan(sizes), 0.0, sizes).max(axis=0))

    def worst(self, most: int) -> NDArray[np.bool_]:
        """Return a mask of the errors, of at most so many: the largest."""
        threshold = self.threshold
        return largest(self.severity(), np.inf if threshold is None else threshold.value, most)

    def of_part(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """Return the threshold of a page that shows these samples alone: above it, it shows every error of all."""
        threshold = self.threshold
        if threshold is None:
            return {}
        hidden = np.delete(self.severity(), rows)
        return {"threshold": max(threshold.value, threshold.rounded_up(float(hidden.max(initial=0.0))))}

    def promise(self, rows: NDArray[np.int64]) -> str:
        """Return what a page that shows these samples alone is guaranteed to contain."""
        threshold = self.of_part(rows).get("threshold")
        if threshold is None:
            return "drawn at random, with all corner cases"
        return (
            f"with all that are off by more than {rounded(threshold)} and all corner cases; R² and errors of a network "
            "are those of all samples"
        )

    def scores(self, network: Network) -> ValueScores | None:
        """Return a network's scores; those of all samples, if only a part is shown; None without any residual."""
        if isinstance(network.scores_of_all, ValueScores):
            return network.scores_of_all
        residuals = self.residuals(network)
        if self.data.values is None or np.isnan(residuals).all():
            return None
        return ValueScores.of(residuals, self.data.values)

    def subsets(self) -> list[Subset]:
        """Return the errors of each network, of all, of one alone, and where two differ by more than the threshold."""
        threshold = self.threshold
        if threshold is None:
            return []
        end = f" > {rounded(threshold.value)}"
        names = [network.name for network in self.data.networks]
        wrong = [self.errors(network) for network in self.data.networks]
        if len(names) == 1:
            return [Subset("wrong-0", f"|residual|{end}", wrong[0])]
        found = [Subset(f"wrong-{k}", f"{name}: |residual|{end}", wrong[k]) for k, name in enumerate(names)]
        if len(names) == 2:
            found.append(Subset("differ", f"They differ by{end}", self._differing(threshold.value)))
        every = "Both" if len(names) == 2 else "All"
        found.append(Subset("both-wrong", f"{every}: |residual|{end}", np.all(wrong, axis=0)))
        for k, name in enumerate(names):
            others = np.any([mask for number, mask in enumerate(wrong) if number != k], axis=0)
            found.append(Subset(f"only-{k}", f"Only {name}: |residual|{end}", wrong[k] & ~others))
        return found

    def _differing(self, threshold: float) -> NDArray[np.bool_]:
        predicted = [network.values for network in self.data.networks]
        if predicted[0] is None or predicted[1] is None:
            return np.zeros(self.data.n_samples, bool)
        a, b = exact_floats(predicted[0]), exact_floats(predicted[1])
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            return np.asarray(np.abs(a - b) > threshold)

    def headline(self) -> list[Segment] | None:
        """Return the page's first sentence in parts; None if there is nothing to say on residuals.

        A part whose second entry is not the name of a subset is computed or acted on by `residuals.js`.
        """
        threshold = self.threshold
        scores = [self.scores(network) for network in self.data.networks]
        known = [(k, score) for k, score in enumerate(scores) if score is not None and score.median_error is not None]
        if threshold is None or not known:
            return None
        segments: list[Segment] = []
        if len(known) > MAX_LISTED:
            segments.append((f"Best of {counted('network', len(scores))}: ", None))
            known = [min(known, key=lambda entry: entry[1].median_error or 0.0)]
        for position, (k, score) in enumerate(known):
            name = self.data.networks[k].name
            segments.append((f"{'; ' if position else ''}{shortened(name, MAX_NAME)} predicts within ", None))
            segments.append((rounded(score.median_error or 0.0), f"within-{k}"))
            segments.append((" (median)" if position else f" (median) of {counted('sample', score.count)}", None))
            if score.r2 is not None:
                segments += [(", R² ", None), (f"{score.r2:.2f}", f"plot-{k}")]
            count = int(np.count_nonzero(self.errors(self.data.networks[k])))
            segments += [(", ", None), (f"{count:,}", f"wrong-{k}"), (" off by more than ", None)]
            segments.append((rounded(threshold.value), "threshold"))
        return [*segments, (".", None)]

    def score(self, network: Network) -> tuple[str, str, str] | None:
        """Return what the header shows of a network: R², the mean error, and what they mean."""
        scores = self.scores(network)
        if scores is None or scores.mean_error is None:
            return None
        meaning = "R² and mean absolute error of the predictions"
        if scores.not_finite:
            meaning += f", without {counted('prediction', scores.not_finite)} that are NaN or infinite"
        r2 = "R² –" if scores.r2 is None else f"R² {scores.r2:.2f}"
        return r2, f"MAE {rounded(scores.mean_error)}", meaning

    def notes(self) -> list[str]:
        """Return sentences on samples that the scores leave out."""
        found = []
        for network in self.data.networks:
            scores = self.scores(network)
            if scores is not None and scores.not_finite:
                found.append(
                    f"{network.name}: {counted('prediction', scores.not_finite)} NaN or infinite, left out of R² and "
                    "MAE, and off by more than any threshold"
                )
        if self.data.values is not None and (unknown := int(np.count_nonzero(np.isnan(self.data.values)))):
            found.append(f"{counted('sample', unknown)} without a true value")
        return found

    def first_colors(self) -> tuple[NDArray[np.float32], float, float, list[str]]:
        """Return what the page opens with: a number per sample, and the ends and colours of their scale."""
        shown = self.data.values
        if shown is None:
            known = [network.values for network in self.data.networks if network.values is not None]
            shown = exact_floats(known[0])
        scale = self.scale()
        return shown.astype(np.float32), scale.low, scale.high, ramp(COLORS)

    def scale(self) -> Scale:
        """Return one scale for the true values and all predictions, so that their colours can be compared."""
        known = [exact_floats(network.values) for network in self.data.networks if network.values is not None]
        if self.data.values is not None:
            known.append(self.data.values)
        return Scale.of(np.concatenate(known))

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the true and predicted values, by the names under which the script reads them."""
        found = {}
        if self.data.values is not None:
            found["value"] = np.asarray(self.data.values, np.float64)
        for k, network in enumerate(self.data.networks):
            if network.values is not None:
                found[f"value-{k}"] = exact_floats(network.values)
        return found

    def meta(self) -> dict[str, Any]:
        """Return the scales and the threshold, as the script reads them."""
        residuals = np.concatenate(self._all_residuals)
        threshold = self.threshold
        medians = [None if score is None else score.median_error for score in map(self.scores, self.data.networks)]
        return {
            "threshold": None if threshold is None else vars(threshold),
            "valueScale": vars(self.scale()),
            "residualScale": vars(Scale.symmetric(residuals)),
            "medians": medians,
            "ramp": ramp(COLORS),
            "diverging": diverging(COLORS + 1),
        }

    def table(self) -> dict[str, NDArray[Any]]:
        """Return the columns of an export: the true value, each network's prediction and residual."""
        found: dict[str, NDArray[Any]] = {}
        if self.data.values is not None:
            found["truth"] = self.data.values
        for network in self.data.networks:
            if network.values is None:
                continue
            predicted = exact_floats(network.values)
            found[f"{network.name} prediction"] = predicted
            if self.data.values is not None:
                found[f"{network.name} residual"] = predicted - self.data.values
        return found

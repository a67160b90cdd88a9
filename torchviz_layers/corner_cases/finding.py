"""Which samples to look at first, and why: ranked by kind, each with its reason in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torchviz_layers._common.arrays import Array
from torchviz_layers.corner_cases.arguments import network_outputs, read_truth
from torchviz_layers.corner_cases.cases import CornerCase, ranked
from torchviz_layers.corner_cases.classes import cases_of_classes
from torchviz_layers.corner_cases.evidence import Evidence, Layers, of_network
from torchviz_layers.corner_cases.label_sets import cases_of_label_sets
from torchviz_layers.corner_cases.values import cases_of_values
from torchviz_layers.data import Samples
from torchviz_layers.data.targets import Targets
from torchviz_layers.exceptions import DataError


def find_corner_cases(
    predictions: Array | Mapping[str, Array],
    targets: Samples | Any,
    activations: Mapping[str, Any] | Mapping[str, Mapping[str, Any]] | None = None,
    *,
    neighbors: Mapping[str, Array] | Mapping[str, Mapping[str, Array]] | None = None,
    class_names: Sequence[str] | None = None,
    limit: int = 100,
    task: str | None = None,
) -> list[CornerCase]:
    """Rank the samples that deserve a look, by the predictions of one or several networks.

    **Classes.** A label is suspect where the networks agree on another one; a single network, where it predicts another
    one. The score is -log10 of the probability of the given label. This probability combines the network's own, with a
    weight of one quarter, with the support that the labels of surrounding samples give it in each layer. The sample's
    own label is left out. Surroundings are measured twice: by Euclidean distance and by one that equalizes the spread
    within labels. All are combined by a mean of cube roots, which is between the geometric and the arithmetic mean. The
    probabilities of several networks are averaged. Of two networks, `A wrong, B right` are kinds of their own; of more,
    `all wrong` (where they do not agree), `only A wrong` and `only A right`. The other kinds use the votes of a
    sample's neighbours layer by layer, so they need `activations` or `neighbors`.

    **Values.** `large residual` is scored in typical residuals of the network, and a case from 2 of them. A typical one
    is 1.4826 times the median of the absolute residuals: the standard deviation, if they are normally distributed, and
    outliers do not move it. `networks disagree` is scored by how far the lowest and the highest prediction are apart,
    in the same unit. `isolated` samples differ from the mean of their neighbours' values in the last layer by more than
    3 standard deviations, or are farther from their neighbours there than samples usually are, by as many.

    **Several labels.** A label that a sample has or lacks is suspect where every network gives the contrary a
    probability of at least 80%, and at least half of its neighbours, too. The networks are compared by exact match.

    **Probabilities.** A label suspect states how probable it is that the label is wrong: how much more probable the
    contrary is than what is given, times the share of the neighbours that have the contrary, squared. The square was
    fitted to errors planted in MNIST; with other data take it as a guide.

    Parameters
    ----------
    predictions : ndarray, or mapping of network to such
        Probabilities of the classes (n_samples, n_classes) or of the labels (n_samples, n_labels), or predicted values
        (n_samples,). A row with NaN is a sample without a prediction.
    targets : Samples, Dataset, DataLoader, or array of shape (n_samples,) or (n_samples, n_labels)
        The given labels, values or label sets, as `Samples.of` takes them. Without targets there are no cases; samples
        without a label (None, NaN, -100, -1) are no case that needs one, and do not vote.
    activations : mapping of layer to array (n_samples, ...), or mapping of network to such, optional
        Layers in forward order; the input may be the first. They rank suspects better than neighbours alone. All have
        the same weight, so pass only those that `informative_layers` chooses.
    neighbors : mapping of layer to array (n_samples, k), or mapping of network to such, optional
        Rows of the nearest neighbours in activation space, nearest first, without the sample itself; layers in forward
        order. Default: the 15 nearest, computed from `activations`.
    class_names : sequence of str, optional
        Names of the classes or labels in the reasons, in the order of the networks' outputs. Default: those of the
        samples, or the numbers.
    limit : int
        Maximum number of cases of a kind.
    task : str, optional
        "classification", "regression" or "multilabel". Default: as the targets are, see `Samples.of`.

    Returns
    -------
    list of CornerCase
        Kind by kind, each ranked by descending score, equal ones by row.

    Raises
    ------
    DataError
        If shapes, labels or names of networks do not agree.
    NonFiniteError
        If activations contain NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.99, 0.01]])
    >>> [(case.kind, case.sample) for case in find_corner_cases(probabilities, np.array([0, 1, 1]))]
    [('label suspect', 2)]
    """
    truth = read_truth(targets, task, class_names)
    return [] if truth is None else search(predictions, truth, activations, neighbors=neighbors, limit=limit)


def search(
    predictions: Array | Mapping[str, Array],
    truth: Targets,
    activations: Mapping[str, Any] | None = None,
    *,
    neighbors: Mapping[str, Any] | None = None,
    limit: int = 100,
) -> list[CornerCase]:
    """Return the corner cases by targets that are read already; the arguments are `find_corner_cases`'."""
    if type(limit) is not int or limit < 1:
        raise DataError(f"limit={limit!r}: the number of cases of a kind must be a whole number of at least 1")
    several = isinstance(predictions, Mapping)
    outputs = network_outputs(predictions, truth)
    n = len(truth.values)
    layers: dict[str, Layers] = {}
    for name in outputs:
        acts = of_network("activations", activations, name, several)
        near = of_network("neighbors", neighbors, name, several)
        layers[name] = Layers.of(n, acts, near)
    cases: Iterable[CornerCase]
    if truth.task == "regression":
        cases = cases_of_values(outputs, truth.values, layers, limit)
    elif truth.task == "multilabel":
        cases = cases_of_label_sets(outputs, truth.values, layers, _names(truth, outputs), limit)
    else:
        networks = [Evidence(name, given, truth.values, layers[name]) for name, given in outputs.items()]
        cases = cases_of_classes(networks, truth.values, _names(truth, outputs), limit)
    return ranked(list(cases), limit)


def _names(truth: Targets, outputs: Mapping[str, Array]) -> list[str]:
    """Return a name for every output of the networks: the given one, or its number; a blank one is "(2)" here too."""
    names = list(map(str, range(next(iter(outputs.values())).shape[1])))
    for code, name in enumerate(truth.class_names[: len(names)]):
        names[code] = str(name) if str(name).strip() else f"({code})"
    return names

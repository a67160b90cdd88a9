"""The page's first sentence and the subsets of samples that it counts: whose errors they are, and who agrees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page.outcomes import count_labelled, count_unlabelled, errors_of
from torchviz_layers.page.records import PageData, shortened
from torchviz_layers.page.subset import Segment, Subset, counted, plural
from torchviz_layers.page.summaries import joined
from torchviz_layers.page.tasks import task_of

MAX_NAME = 40  # letters of a network's name in the headline


def subsets(data: PageData) -> list[Subset]:
    """Return the subsets that have a button: errors of a network, of all or of one alone, and differences.

    Names end in the number of their network in `data.networks`; networks that do not classify have no subsets. Of more
    than two networks, the subsets of a pair are not among them: the script computes those of the pair that is chosen.
    """
    task = task_of(data)
    if task is not None:
        return task.subsets()
    numbers = _classifying(data)
    wrong = {k: errors_of(data, data.networks[k]) for k in numbers}
    names = {k: data.networks[k].name for k in numbers}
    truth = count_labelled(data) > 0
    if len(numbers) < 2:
        # Of several networks, the name says which one it is.
        label = "Errors only" if len(data.networks) == 1 else "{} wrong"
        return [Subset(f"wrong-{k}", label.format(names[k]), wrong[k]) for k in numbers if truth]
    differ = _not_all_agree(data.predictions)
    errors = [Subset(f"wrong-{k}", f"{names[k]} wrong", wrong[k]) for k in numbers]
    everywhere = np.all(list(wrong.values()), axis=0)
    if len(numbers) > 2:
        some = Subset("some-differ", "Not all agree", differ)
        return [*errors, Subset("both-wrong", f"All {len(numbers)} wrong", everywhere), some] if truth else [some]
    pair = Subset("differ", "They differ", differ)
    if not truth:
        return [pair]
    first, second = numbers
    return [
        *errors,
        pair,
        Subset("both-wrong", "Both wrong", everywhere),
        Subset(f"only-{first}", f"Only {names[first]} wrong", wrong[first] & ~wrong[second]),
        Subset(f"only-{second}", f"Only {names[second]} wrong", wrong[second] & ~wrong[first]),
    ]


def headline(data: PageData, subsets: Sequence[Subset]) -> list[Segment]:
    """Return the page's first sentence, in parts: how many samples the networks misclassify."""
    task = task_of(data)
    special = None if task is None else task.headline()
    if special is not None:
        return special
    # The subsets depend on what is known; without any there is nothing to say about errors.
    count = {subset.name: subset.count for subset in subsets}
    n = data.count_of_all or data.n_samples
    if not subsets or task is not None:
        layers = sum(len(network.panels) for network in data.networks)
        owners = joined([shortened(network.name, MAX_NAME) for network in data.networks])
        return [(f"{counted('sample', n)} through {counted('layer', layers)} of {owners}.", None)]
    numbers = _classifying(data)
    names = {k: shortened(data.networks[k].name, MAX_NAME) for k in numbers}
    if not count_labelled(data):
        differ = "differ" if "differ" in count else "some-differ"
        who = joined(list(names.values())) if len(numbers) == 2 else f"The {len(numbers)} networks"
        return [(f"{who} differ on ", None), (f"{count[differ]:,}", differ), (f" of {counted('sample', n)}.", None)]
    if len(numbers) == 1:
        return _headline_of_one(data, numbers[0], names[numbers[0]], count)
    if len(numbers) == 2:
        return _headline_of_two(data, names, count)
    return _headline_of_many(data, names, count)


def _classifying(data: PageData) -> list[int]:
    """Return the numbers of the networks that classify."""
    return [k for k, network in enumerate(data.networks) if network.classifies]


def _not_all_agree(predictions: Sequence[NDArray[np.int64]]) -> NDArray[np.bool_]:
    return np.asarray(np.any([each != predictions[0] for each in predictions[1:]], axis=0))


def _headline_of_one(data: PageData, k: int, name: str, count: dict[str, int]) -> list[Segment]:
    n, wrong = count_labelled(data), count[f"wrong-{k}"]
    if not wrong:
        return [(f"{name} classifies {_all(data)} correctly.", None)]
    verb = "is" if wrong == 1 else "are"
    labelled = " labelled" if count_unlabelled(data) else ""
    return [
        (f"{name} classifies {n - wrong:,} of {n:,}{labelled} correctly; ", None),
        (f"{wrong:,}", f"wrong-{k}"),
        (f" {verb} wrong.", None),
    ]


def _headline_of_two(data: PageData, names: dict[int, str], count: dict[str, int]) -> list[Segment]:
    first, second = names
    if not count[f"wrong-{first}"] and not count[f"wrong-{second}"]:
        return [(f"{names[first]} and {names[second]} classify {_all(data)} correctly.", None)]
    # The network with fewer errors is the subject of the sentence.
    good, poor = second, first
    if count[f"wrong-{first}"] < count[f"wrong-{second}"]:
        good, poor = first, second
    segments: list[Segment] = [
        (f"{names[good]} fixes ", None),
        (f"{count[f'only-{poor}']:,}", f"only-{poor}"),
        (f" of {names[poor]}’s ", None),
        (f"{count[f'wrong-{poor}']:,}", f"wrong-{poor}"),
        (f" {plural('error', count[f'wrong-{poor}'])}", None),
    ]
    if count[f"only-{good}"]:
        segments += [(" and makes ", None), (f"{count[f'only-{good}']:,}", f"only-{good}"), (" of its own", None)]
    end = f"{_of_labelled(data)}."
    if not count["both-wrong"]:
        return [*segments, (f"; they have none in common{end}", None)]
    return [*segments, ("; both misclassify ", None), (f"{count['both-wrong']:,}", "both-wrong"), (end, None)]


def _headline_of_many(data: PageData, names: dict[int, str], count: dict[str, int]) -> list[Segment]:
    """Return who is right most and least often, and how many samples all misclassify."""
    accuracies = {k: data.networks[k].accuracy(data.targets) or 0.0 for k in names}
    most, least = max(accuracies.values()), min(accuracies.values())
    size = len(names)
    if not any(count[f"wrong-{k}"] for k in names):
        return [(f"All {size} networks classify {_all(data)} correctly.", None)]
    best = [names[k] for k in names if accuracies[k] == most]
    worst = [names[k] for k in names if accuracies[k] == least]
    sentence = f"{_some(best)} {'is' if len(best) == 1 else 'are'} right most often ({most:.1%})"
    if most == least:
        sentence = f"All {size} networks are right equally often ({most:.1%})"
    else:
        sentence += f", {_some(worst)} least often ({least:.1%})"
    end = f"{_of_labelled(data)}."
    if not count["both-wrong"]:
        return [(f"{sentence}; no sample is misclassified by all {size}{end}", None)]
    return [
        (f"{sentence}; all {size} misclassify ", None),
        (f"{count['both-wrong']:,}", "both-wrong"),
        (end, None),
    ]


def _some(names: Sequence[str]) -> str:
    """Return at most two names; of more, the first and how many others there are."""
    if len(names) <= 2:
        return joined(names)
    return f"{names[0]} and {len(names) - 1} others"


def _of_labelled(data: PageData) -> str:
    return f" (of {count_labelled(data):,} labelled samples)" if count_unlabelled(data) else ""


def _all(data: PageData) -> str:
    n = count_labelled(data)
    if count_unlabelled(data):
        return "the one labelled sample" if n == 1 else f"all {n:,} labelled samples"
    return "the one sample" if n == 1 else f"all {n:,} samples"

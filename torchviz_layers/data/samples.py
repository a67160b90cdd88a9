"""`Samples`: images with their labels, class names and ids, checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from torchviz_layers.exceptions import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

Batch = tuple[torch.Tensor, torch.Tensor | None, np.ndarray]
Transform = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Samples:
    """Images, and the label, the class names and the id of each.

    Attributes
    ----------
    images : ndarray of shape (n_samples, channels, height, width)
        float32 in [0, 1].
    targets : ndarray of shape (n_samples,) or None
        int64 indices into `class_names`.
    class_names : tuple of str
        By default the numbers up to the largest target.
    ids : ndarray of shape (n_samples,)
        Names of the samples (their file names, say); by default 0, 1, 2 and so on.
    name : str
        A name for all of them, for titles.
    notice : str
        A sentence that readers of the results must see; usually empty.
    dataset : str
        The name under which `load_dataset` knows them; empty for other data.

    Raises
    ------
    DataError
        If the arrays disagree in length, the images are not in [0, 1], or a target is not the index of a class.

    Examples
    --------
    >>> samples = Samples(np.zeros((3, 1, 8, 8), np.float32), np.array([0, 1, 1]), ("cat", "dog"))
    >>> samples, samples[:2]
    (<samples: 3 images of 1 x 8 x 8, 2 classes>, <samples: 2 images of 1 x 8 x 8, 2 classes>)
    """

    images: np.ndarray
    targets: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    name: str = "samples"
    notice: str = ""
    dataset: str = ""

    def __post_init__(self) -> None:
        """Check the fields against each other; fill in those that were left out."""
        _check_images(self.images)
        n = len(self.images)
        # The class is frozen, hence `object.__setattr__`.
        object.__setattr__(self, "ids", np.asarray(self.ids) if len(self.ids) else np.arange(n))
        _check_length("ids", self.ids, n, self.name)
        names: Iterable[object] = self.class_names
        if self.targets is not None:
            targets = _as_classes(self.targets, self.name)
            _check_length("targets", targets, n, self.name)
            object.__setattr__(self, "targets", targets)
            if not len(self.class_names):
                names = range(targets.max() + 1)
        object.__setattr__(self, "class_names", tuple(map(str, names)))
        if self.targets is not None:
            low, high = self.targets.min(), self.targets.max()
            if not 0 <= low <= high < len(self.class_names):
                raise DataError(f"{self.name}: targets from {low} to {high}, but {len(self.class_names)} class names")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice | np.ndarray) -> Samples:
        """Return the samples at `rows`; they keep their ids."""
        if not isinstance(rows, slice) and np.ndim(rows) == 0:
            raise DataError(f"samples[{rows!r}]: give a slice or an array of rows, as in samples[:100]")
        targets = None if self.targets is None else self.targets[rows]
        return replace(self, images=self.images[rows], targets=targets, ids=self.ids[rows])

    def __repr__(self) -> str:
        classes = "no targets" if self.targets is None else f"{len(self.class_names):,} classes"
        size = " x ".join(map(str, self.images.shape[1:]))
        return f"<{self.name}: {len(self):,} images of {size}, {classes}>"

    def batches(self, batch_size: int = 256, transform: Transform | None = None) -> Iterator[Batch]:
        """Yield `(inputs, targets, ids)` in order, `transform` applied to each batch of images.

        Inputs are tensors of shape (batch, channels, height, width) before `transform`; targets are None where unknown.
        If `transform` fails, a `DataError` says on which shape.
        """
        if batch_size < 1:
            raise DataError(f"batch_size={batch_size}: it must be at least 1")
        for start in range(0, len(self), batch_size):
            rows = slice(start, start + batch_size)
            inputs = torch.from_numpy(np.ascontiguousarray(self.images[rows]))  # (batch, c, h, w)
            targets = None if self.targets is None else torch.from_numpy(self.targets[rows])
            yield _transformed(inputs, transform), targets, self.ids[rows]


def _transformed(images: torch.Tensor, transform: Transform | None) -> torch.Tensor:
    if transform is None:
        return images
    try:
        return transform(images)
    except Exception as problem:  # the function is the caller's and may raise anything
        reason = str(problem).partition("\n")[0] or type(problem).__name__
        raise DataError(f"the transform fails on images of shape {tuple(images.shape)}: {reason}") from problem


def _as_classes(targets: npt.ArrayLike, name: str) -> np.ndarray:
    """Return targets as int64; refuse what would have to be rounded."""
    array = np.asarray(targets)
    if array.dtype.kind not in "biuf" or (array % 1 != 0).any():  # NaN too: NaN % 1 is NaN, which differs from 0
        raise DataError(f"{name}: targets are whole numbers, one a sample, from 0; got {array.dtype} {array.shape}")
    return array.astype(np.int64)


def _check_length(what: str, values: np.ndarray, n: int, name: str) -> None:
    if values.shape != (n,):
        raise DataError(f"{name}: {n} images, but {what} of shape {values.shape}")


def _check_images(images: np.ndarray) -> None:
    if images.ndim != 4 or images.dtype != np.float32:
        raise DataError(
            f"images: float32 of shape (n_samples, channels, height, width) expected, got {images.dtype} {images.shape}"
        )
    if not len(images):
        raise DataError("images: there are none")
    low, high = float(images.min()), float(images.max())
    if not 0 <= low <= high <= 1:  # false for NaN too
        raise DataError(
            f"images: values in [0, 1] expected, got {low:g} to {high:g}; divide 8-bit images by 255, "
            "16-bit ones by 65535"
        )

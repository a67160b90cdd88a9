"""The options that say which samples a command reads, and the samples that they name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torchviz_layers.data import Samples

DATA_HELP = (
    "The samples: mnist, mnist:train, fashion-mnist, cifar10, digits; a folder of pictures; a file (.npz, .npy, .csv, "
    ".tsv, .parquet, .feather, .txt, .jsonl); or package.module:make, a function of yours that returns a Dataset, a "
    "loader, arrays, Samples, ..."
)
TASKS = ("classification", "regression", "multilabel")


@dataclass(frozen=True)
class DataChoice:
    """What the user says about the samples; each field is an option of the command line."""

    data: str | None = None
    target: str | None = None
    task: str | None = None
    columns: str | None = None
    class_names: str | None = None
    limit: int | None = None
    image_size: int | None = None
    download: bool = False

    @property
    def targets(self) -> str | list[str] | None:
        """The name of the targets, or the names of several columns of them."""
        names = _names("--target", self.target)
        return names if names is None or len(names) > 1 else names[0]

    def first(self, n: int) -> DataChoice:
        """Return the choice of at most the first n samples."""
        return replace(self, limit=n if self.limit is None else min(n, self.limit))

    def load(self) -> Samples:
        """Read the samples; without `--data` that is a usage error."""
        from torchviz_layers.data import Samples, parse_data_spec

        if self.data is None:
            raise click.UsageError(f"--data is missing. {DATA_HELP}")
        columns = _names("--columns", self.columns)
        samples = parse_data_spec(
            self.data,
            targets=self.targets,
            columns=columns,
            limit=self.limit,
            size=self.image_size,
            download=self.download,
        )
        about: dict[str, Any] = {"task": self.task, "class_names": _names("--class-names", self.class_names)}
        return Samples.of(samples, **{name: value for name, value in about.items() if value is not None})


_OPTIONS = (
    click.option("--data", metavar="SPEC", help=DATA_HELP),
    click.option(
        "--target",
        metavar="NAME",
        help="Where the targets are: the column of a table (several of 0 and 1 are labels, NAME,NAME), the array of "
        "an .npz, the key of .jsonl objects or of a dataset's dicts, the other file of an .npy.",
    ),
    click.option("--task", type=click.Choice(TASKS), help="What the targets are for. Default: decided by the targets."),
    click.option(
        "--columns", metavar="NAME,...", help="Columns of numbers of a table that are shown, but not fed to the model."
    ),
    click.option(
        "--class-names",
        metavar="NAME,...",
        help="Names of the classes or labels, in the order of the model's outputs.",
    ),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use only the first N samples."),
    click.option(
        "--image-size", type=click.IntRange(min=1), help="Resize and crop the images of a folder to this size."
    ),
    click.option("--download", is_flag=True, help="Download a dataset that is not on this disk."),
)


def data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the samples, which it gets as one argument: `data`, a `DataChoice`."""
    names = [field.name for field in fields(DataChoice)]

    @functools.wraps(command)
    def with_choice(**arguments: Any) -> None:
        chosen = {name: arguments.pop(name) for name in names}
        command(**arguments, data=DataChoice(**chosen))

    decorated: Callable[..., None] = with_choice
    # The option that is added last is shown first.
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _names(option: str, text: str | None) -> list[str] | None:
    """Split names separated by commas."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise click.UsageError(f"{option} {text!r}: expected names separated by commas, such as age,height")
    return names

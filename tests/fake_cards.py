"""CUDA cards for machines that have none: copies from them are done late, as late as an event allows."""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch import Tensor


class OnCard(Tensor):
    """A tensor that says it is on a card, which does the copies of it."""

    card: Card
    device = property(lambda self: self.card.device)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is Tensor.to and args[1] == "cpu":  # waits for the card
            return args[0].as_subclass(Tensor).clone()
        if func is not Tensor.copy_:
            return super().__torch_function__(func, types, args, kwargs)
        assert kwargs == {"non_blocking": True}
        room, rows = args
        with torch._C.DisableTorchFunctionSubclass():
            # A later operation comes after the copy on the same stream: the copy is of the rows as they are now.
            rows.card.copies.append((room, rows.as_subclass(Tensor).clone()))
        return room


class Card:
    """A card with one stream, on which nothing is done before somebody waits for it."""

    def __init__(self, name: str) -> None:
        self.device = torch.device(name)
        self.copies: list[tuple[Tensor, Tensor]] = []
        self.done = 0
        self._kind = type("OnThisCard", (OnCard,), {"card": self})

    def rows(self, rows: Tensor) -> Tensor:
        """Return rows that are on this card."""
        return rows.as_subclass(self._kind)

    def run(self, upto: int | None = None) -> None:
        """Do the copies up to a number of them, or all."""
        for room, rows in self.copies[self.done : upto]:
            with torch.inference_mode():  # as on a card, where a copy is queued in the mode of the model
                room.copy_(rows)
            self.done += 1


class CardEvent:
    """What is on a card's stream when it is made has to be done first."""

    def __init__(self, card: Card) -> None:
        self._card, self._after = card, len(card.copies)

    def query(self) -> bool:
        """Return whether all that came before is done."""
        return self._card.done >= self._after

    def synchronize(self) -> None:
        """Let the card do what came before."""
        self._card.run(self._after)


class FakeCurrentDevice:
    """Stands for `torch.cuda.device`: notes which card is made the current one, and for how long."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    @contextmanager
    def __call__(self, device):
        self.seen.append(f"enter {device}")
        yield
        self.seen.append(f"leave {device}")

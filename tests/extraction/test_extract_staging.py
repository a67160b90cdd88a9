"""Rows on their way from cards, which are imitated here, through pinned memory to a table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.fake_cards import Card, CardEvent
from torchviz_layers.extraction.ring import PinnedRing
from torchviz_layers.extraction.staging import StagedTable
from torchviz_layers.extraction.table import Table

FIRST, LARGEST = 1024, 4096  # bytes


class Staging:
    """A staged table with little pinned memory, and what is known of it."""

    def __init__(self, *names: str, pad: bool = False) -> None:
        self.cards = {torch.device(name): Card(name) for name in names or ("cuda:0",)}
        self.card = next(iter(self.cards.values()))
        self.allocated: list[int] = []
        self.asked: list[tuple] = []
        self.table = Table(pad=pad)
        ring = PinnedRing(self._allocate, FIRST, LARGEST)
        self.staged = StagedTable(self.table, ring, lambda device: CardEvent(self.cards[device]))
        for name in ("begin", "put", "commit"):
            self._watch(name, getattr(self.table, name))

    def _allocate(self, size: int) -> Tensor:
        self.allocated.append(size)
        return torch.full((size,), 0xAB, dtype=torch.uint8)  # what was never copied is seen

    def _watch(self, name, method):
        def watched(*args, **kwargs):
            self.asked.append((name, args[0] if name == "put" else args, kwargs.get("at", 0)))
            method(*args, **kwargs)

        setattr(self.table, name, watched)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the layers' arrays, once everything has arrived."""
        self.staged.settle()
        return self.table.arrays()[0]


def fill(sink, batches, move=lambda rows: rows):
    """Put batches, each a mapping of layers to rows, into a table."""
    start = 0
    for batch in batches:
        size = len(next(iter(batch.values())))
        sink.begin(start, size)
        for name, rows in batch.items():
            sink.put(name, move(rows.clone()))
        sink.put("ids", np.arange(start, start + size), layer=False)
        sink.commit()
        start += size


def assert_same_bytes(found, batches, *, pad=False):
    table = Table(pad=pad)
    fill(table, batches)
    expected = table.arrays()[0]
    assert list(found) == list(expected)
    for name, rows in expected.items():
        assert found[name].dtype == rows.dtype
        assert found[name].shape == rows.shape
        assert found[name].tobytes() == rows.tobytes(), name


def test_rows_arrive_one_batch_later():
    staging = Staging()
    rows = torch.arange(12.0).reshape(6, 2)
    for start in (0, 2, 4):
        staging.staged.begin(start, 2)
        staging.staged.put("broken off", staging.card.rows(rows[:2]))
        staging.staged.begin(start, 2)  # as after running out of memory
        batch = rows[start : start + 2].clone()
        staging.staged.put("layer", staging.card.rows(batch))
        batch.fill_(-1)  # as an in-place operation would
        staging.staged.put("ids", np.arange(start, start + 2), layer=False)
        staging.staged.commit()
        assert staging.table.committed == max(0, start)
    arrays = staging.arrays()
    assert list(arrays) == ["layer"]
    np.testing.assert_array_equal(arrays["layer"], rows)
    np.testing.assert_array_equal(staging.table.arrays()[1]["ids"], np.arange(6))


DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.bool, torch.int64, torch.uint8, torch.complex64]


def mixed(n_batches):
    """Return batches of layers of all kinds of types, whose sizes are no multiples of the alignment."""
    torch.manual_seed(0)
    return [
        {
            str(dtype): (torch.randn(5, 3 + place, 2) * 9).to(dtype)
            for place, dtype in enumerate(DTYPES)
        } | {"conjugated": torch.randn(5, 3, dtype=torch.complex128).conj(), "turned": torch.randn(7, 5).T}
        for _ in range(n_batches)
    ]  # fmt: skip


def test_rows_of_every_type_arrive_to_the_byte():
    staging, batches = Staging(), mixed(9)
    fill(staging.staged, batches, staging.card.rows)
    assert_same_bytes(staging.arrays(), batches)
    rows_of_all = sum(rows.nbytes for rows in batches[0].values()) * len(batches)
    assert rows_of_all > 3 * LARGEST  # the ring was gone round


def test_pinned_memory_doubles_up_to_its_limit_while_copies_are_under_way():
    staging = Staging()
    fill(staging.staged, mixed(9), staging.card.rows)
    assert staging.allocated == [1024, 2048, 4096]


def test_pinned_memory_does_not_grow_where_copies_arrive_in_time():
    staging, batches = Staging(), mixed(9)

    def move(rows):
        staging.card.run()  # the card has done all that came before
        return staging.card.rows(rows)

    fill(staging.staged, batches, move)
    assert_same_bytes(staging.arrays(), batches)
    assert staging.allocated == [FIRST]


def test_the_table_is_asked_in_the_order_in_which_rows_came():
    staging, batches = Staging(), [{"a": torch.rand(2, 3), "b": torch.rand(2, 9)}, {"b": torch.rand(1, 9)}]
    fill(staging.staged, batches, staging.card.rows)
    assert len(staging.asked) == 5  # the last batch is on its way
    staging.staged.settle()
    assert staging.asked == [
        ("begin", (0, 2), 0), ("put", "a", 0), ("put", "b", 0), ("put", "ids", 0), ("commit", (), 0),
        ("begin", (2, 1), 0), ("put", "b", 0), ("put", "ids", 0), ("commit", (), 0),
    ]  # fmt: skip


def test_many_bytes_travel_in_pieces_of_whole_rows():
    staging, batches = Staging(), [{"a": torch.rand(5, 100)}, {"a": torch.rand(3, 100)}]  # rows of 400 bytes
    fill(staging.staged, batches, staging.card.rows)
    assert_same_bytes(staging.arrays(), batches)
    assert [at for method, name, at in staging.asked if name == "a"] == [0, 2, 4, 0, 2]


def test_a_row_that_fills_the_ring_travels_alone():
    staging, batches = Staging(), [{"a": torch.rand(3, LARGEST // 4), "b": torch.rand(3, 2)}] * 3
    fill(staging.staged, batches, staging.card.rows)
    assert_same_bytes(staging.arrays(), batches)
    assert staging.allocated == [LARGEST]


def test_a_row_larger_than_the_ring_is_copied_without_it():
    staging = Staging()
    batches = [{"a": torch.rand(3, 2), "b": torch.rand(3, LARGEST // 4 + 1), "c": torch.rand(3, 5)}] * 2
    fill(staging.staged, batches, staging.card.rows)
    assert_same_bytes(staging.arrays(), batches)
    assert staging.allocated == [FIRST]


def test_rows_of_several_lengths_are_padded_in_pieces():
    staging = Staging(pad=True)
    batches = [{"a": torch.rand(4, length, 50)} for length in (3, 5, 2)]
    fill(staging.staged, batches, staging.card.rows)
    assert_same_bytes(staging.arrays(), batches, pad=True)


def test_rows_without_numbers_arrive():
    staging, batches = Staging(), [{"a": torch.rand(4, 0)}] * 3
    fill(staging.staged, batches, staging.card.rows)
    assert_same_bytes(staging.arrays(), batches)


def test_every_card_of_a_model_is_waited_for():
    staging, batches = Staging("cuda:0", "cuda:1"), mixed(5)
    cards = list(staging.cards.values())
    turn = iter(range(1000))
    fill(staging.staged, batches, lambda rows: cards[next(turn) % 2].rows(rows))
    assert_same_bytes(staging.arrays(), batches)
    assert all(card.copies for card in cards)


def test_rows_on_the_cpu_and_arrays_may_be_overwritten_at_once():
    staging = Staging()
    rows, ids = torch.arange(6.0).reshape(3, 2), np.arange(3)
    staging.staged.begin(0, 3)
    staging.staged.put("offloaded", rows)
    staging.staged.put("ids", ids, layer=False)
    rows.fill_(-1)
    ids.fill(-1)
    staging.staged.commit()
    np.testing.assert_array_equal(staging.arrays()["offloaded"], [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(staging.table.arrays()[1]["ids"], [0, 1, 2])


def test_a_copy_of_a_batch_that_was_broken_off_spoils_no_later_rows():
    staging = Staging("cuda:0", "cuda:1")
    first, second = staging.cards.values()
    truth = torch.arange(256.0).reshape(4, 64)
    staging.staged.begin(0, 4)
    staging.staged.put("a", second.rows(-truth))  # fills the ring, and is under way for long
    for start in (0, 2):
        staging.staged.begin(start, 2)
        staging.staged.put("a", first.rows(truth[start : start + 2]))
        staging.staged.commit()
    first.run()
    second.run()
    np.testing.assert_array_equal(staging.arrays()["a"], truth)


def test_what_reached_the_table_of_a_batch_that_was_broken_off_counts_for_nothing():
    staging = Staging()
    rows = torch.arange(4 * 300.0).reshape(4, 300)
    staging.staged.begin(0, 4)
    staging.staged.put("a", staging.card.rows(-rows))
    staging.staged.put("lost", staging.card.rows(-rows))
    for _ in range(4):
        staging.staged.put("b", staging.card.rows(-rows))  # so many that some are put away
    assert ("put", "lost", 0) in staging.asked
    for start in (0, 2):
        staging.staged.begin(start, 2)
        for name in "ab":
            staging.staged.put(name, staging.card.rows(rows[start : start + 2]))
        staging.staged.commit()
    arrays = staging.arrays()
    np.testing.assert_array_equal(arrays["a"], rows)
    np.testing.assert_array_equal(arrays["b"], rows)
    assert np.isnan(arrays["lost"]).all()
    assert staging.table.missing(0, 4) == {"lost": [[0, 4]]}


@pytest.mark.parametrize("columns", [1, 300], ids=["put away outside", "put away inside"])
def test_rows_of_a_model_in_inference_mode_arrive(columns):
    staging = Staging()
    batches = [{"a": torch.rand(4, columns), "b": torch.rand(4, columns)} for _ in range(5)]

    def put_inside(name, rows, *, layer=True):
        with torch.inference_mode():
            put(name, rows.clone() if isinstance(rows, Tensor) else rows, layer=layer)

    put = staging.staged.put
    staging.staged.put = put_inside
    fill(staging.staged, batches, staging.card.rows)
    staging.staged.put = put
    staging.staged.begin(20, 4)
    put("a", staging.card.rows(batches[0]["a"]))
    put("b", batches[0]["b"])  # on the CPU: really copied here
    put("ids", np.arange(4), layer=False)
    staging.staged.commit()
    assert_same_bytes(staging.arrays(), [*batches, batches[0]])

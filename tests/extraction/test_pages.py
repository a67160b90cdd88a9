"""Memory handed over many pages at a time: what it costs, when huge pages are asked for, and no changed result."""

from __future__ import annotations

import mmap
import sys

import numpy as np
import pytest
import torch
from torch import nn

from tests.rounding import whole_numbers, whole_samples
from torchviz_layers import extract
from torchviz_layers.extraction import pages
from torchviz_layers.extraction.columns import Column
from torchviz_layers.extraction.pages import Pages

BLOCK = 2 << 20


def can_populate() -> bool:
    """Whether this system makes pages ready on request."""
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    try:
        memory.madvise(23)
    except (AttributeError, OSError):
        return False
    return True


class System:
    """A system whose pages take as long as one says, and that writes down what it was asked."""

    def __init__(self, monkeypatch, *, small, huge, threads=1):
        self.now, self.asked, self.seconds = 0.0, [], {"small": small, "huge": huge}
        self.advised = set()
        monkeypatch.setattr(pages, "perf_counter", lambda: self.now)
        monkeypatch.setattr(pages, "_advise", self.advise)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)

    def advise(self, start, stop, advice):
        """Answer as `madvise` does."""
        if advice == pages._HUGEPAGE:
            self.advised.update(range(start, stop, BLOCK))
        elif start < stop:
            kind = "huge" if start in self.advised else "small"
            self.now += self.seconds[kind] * (stop - start) / BLOCK
            self.asked.append((kind, start, stop))
        return True


@pytest.mark.skipif(not can_populate(), reason="this system cannot make pages ready (Linux 5.14 and newer can)")
def test_what_is_made_ready_is_written_to_without_a_fault(monkeypatch):
    import resource

    # so large that the allocator has to ask the system
    rows, plain, ready = torch.ones(64, 1 << 18), torch.empty(64, 1 << 18), torch.empty(64, 1 << 18)
    stop = ready.data_ptr() + ready.nbytes
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert Pages().make_ready(ready.data_ptr(), stop, stop) == stop

    def faults(array):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        array.copy_(rows)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    assert faults(ready) < 10
    assert faults(plain) > 8  # one a page, be it a small or a huge one


def test_a_column_makes_ready_what_it_writes_to_and_no_more(monkeypatch):
    system = System(monkeypatch, small=1.0, huge=0.3)
    column = Column("x", (1 << 18,), np.dtype(np.float32))
    column.reserve(16, exact=True)
    for row in range(16):
        column.write(row, torch.full((1, 1 << 18), float(row)))
        ready = sum(stop - start for _, start, stop in system.asked)
        assert 0 <= ready - (row + 1 << 20) <= BLOCK or row == 15
    assert ready == 16 << 20
    np.testing.assert_array_equal(column.finish(16)[:, 0], range(16))


def test_blocks_are_made_ready_whole_and_once(monkeypatch):
    system = System(monkeypatch, small=1.0, huge=0.3)
    memory, start, end = Pages(), 5 * BLOCK + 64, 40 * BLOCK + 100
    ready, needs = start, [start + 1000, start + 1001, 9 * BLOCK, 20 * BLOCK + 1, end]
    for need in needs:
        if need > ready:
            ready = memory.make_ready(ready, need, end)
            assert need <= ready <= min(need + BLOCK, end)
    assert [first for _, first, _ in system.asked] == [start, *(last for *_, last in system.asked[:-1])]
    assert system.asked[-1][2] == ready == end


def test_huge_pages_are_taken_where_they_come_sooner(monkeypatch):
    system = System(monkeypatch, small=6e-4, huge=2e-4)
    Pages().make_ready(0, 50 * BLOCK, 50 * BLOCK)
    assert [kind for kind, *_ in system.asked] == ["small"] + 49 * ["huge"]


@pytest.mark.parametrize(("huge", "tries"), [(2.7e-3, 1), (1.3e-3, 3)])
def test_huge_pages_are_given_up_where_they_come_later(monkeypatch, huge, tries):
    system = System(monkeypatch, small=6e-4, huge=huge)
    memory = Pages()
    memory.make_ready(0, 50 * BLOCK, 50 * BLOCK)
    memory.make_ready(60 * BLOCK, 90 * BLOCK, 90 * BLOCK)
    assert [kind for kind, *_ in system.asked] == ["small", *tries * ["huge"], "small", "small"]
    assert sum(stop - start for _, start, stop in system.asked) == 80 * BLOCK
    assert system.now <= 80 * 6e-4 + 2e-3 + 2.7e-3


@pytest.mark.parametrize(("threads", "taken"), [(2, 38), (16, 13), (64, 11)])
def test_where_several_threads_write_huge_pages_have_to_come_sooner(monkeypatch, threads, taken):
    system = System(monkeypatch, small=6e-4, huge=2e-4, threads=threads)
    memory = Pages()
    assert memory.make_ready(100, 40 * BLOCK, 90 * BLOCK) == 40 * BLOCK
    assert [kind for kind, *_ in system.asked] == ["small"] + taken * ["huge"]
    assert system.asked[0][1:] == (BLOCK, 2 * BLOCK)


def test_without_the_system_call_the_rows_are_the_same(monkeypatch):
    model, images = whole_numbers(nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU())), whole_samples(200, 1, 30, 30)
    with_it = extract(model, images.split(32))
    monkeypatch.setattr(pages, "_madvise", None)
    without = extract(model, images.split(32))
    for layer, rows in with_it.items():
        np.testing.assert_array_equal(rows, without[layer])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the call")
def test_a_system_that_refuses_is_left_alone(monkeypatch):
    asked = []
    monkeypatch.setattr(pages, "_madvise", lambda *call: asked.append(call) or -1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    memory = Pages()
    assert memory.make_ready(0, 7 * BLOCK + 5, 90 * BLOCK) == 8 * BLOCK
    assert memory.make_ready(8 * BLOCK, 80 * BLOCK, 90 * BLOCK) == 80 * BLOCK
    assert len(asked) <= 3

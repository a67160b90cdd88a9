"""The calls of a network in an order in which they can run."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from torchviz_layers.convert.keras_files.records import Call, Layer, Network
from torchviz_layers.convert.nested import references
from torchviz_layers.exceptions import ConversionError

CallKey = tuple[str, int]  # a layer's name and the number of one of its calls


def calls_in_order(network: Network) -> Iterator[tuple[Layer, int]]:
    """Yield every call that the outputs need, each after those whose results it takes, else in the file's order.

    This is Kahn's algorithm with a heap: of all calls that can run, the one whose layer comes first in the file is
    next, so that the modules have the order of Keras's layers.
    """
    layers = list(network.layers.values())
    index_of = {layer.name: index for index, layer in enumerate(layers)}
    inputs = {ref[:2] for ref in references(network.inputs)}
    waits_for: dict[CallKey, set[CallKey]] = {}
    users: dict[CallKey, list[CallKey]] = {}
    for key in _needed(network) - inputs:
        waits_for[key] = _sources(_call(network, key)) - inputs
        for source in waits_for[key]:
            users.setdefault(source, []).append(key)
    ready = [(index_of[name], number) for (name, number), sources in waits_for.items() if not sources]
    heapq.heapify(ready)
    done = 0
    while ready:
        index, number = heapq.heappop(ready)
        done += 1
        yield layers[index], number
        finished = (layers[index].name, number)
        for key in users.get(finished, []):
            waits_for[key].discard(finished)
            if not waits_for[key]:
                heapq.heappush(ready, (index_of[key[0]], key[1]))
    if done < len(waits_for):
        raise ConversionError("the model's graph runs in a circle")


def _call(network: Network, key: CallKey) -> Call:
    name, number = key
    calls = network.layers[name].calls
    if number >= len(calls):
        raise ConversionError(f"layer {name!r} is used, but nothing goes into it and it is no input of the model")
    return calls[number]


def _sources(call: Call) -> set[CallKey]:
    """Return the calls whose results a call takes."""
    return {ref[:2] for ref in references((call.args, call.kwargs))}


def _needed(network: Network) -> set[CallKey]:
    """Return the calls on which the outputs depend; missing ones among them."""
    pending = [ref[:2] for ref in references(network.outputs)]
    needed = set(pending)
    while pending:
        name, number = pending.pop()
        for call in network.layers[name].calls[number : number + 1]:
            new = _sources(call) - needed
            needed |= new
            pending += new
    return needed

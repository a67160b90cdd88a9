"""The calls of a network in an order in which they can run."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from torchviz_layers.convert.keras_files.records import Layer, Network
from torchviz_layers.convert.nested import references
from torchviz_layers.exceptions import ConversionError


def calls_in_order(network: Network) -> Iterator[tuple[Layer, int]]:
    """Yield every call that the outputs need, each after those whose results it takes, else in the file's order."""
    layers = list(network.layers.values())
    place = {layer.name: index for index, layer in enumerate(layers)}
    given = {ref[:2] for ref in references(network.inputs)}
    waits: dict[tuple[str, int], set[tuple[str, int]]] = {}
    users: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for key in _needed(network) - given:
        call = network.layers[key[0]].calls[key[1]] if key[1] < len(network.layers[key[0]].calls) else None
        if call is None:
            raise ConversionError(f"layer {key[0]!r} is used, but nothing goes into it and it is no input of the model")
        waits[key] = {ref[:2] for ref in references((call.args, call.kwargs))} - given
        for source in waits[key]:
            users.setdefault(source, []).append(key)
    ready = [(place[key[0]], key[1]) for key, sources in waits.items() if not sources]
    heapq.heapify(ready)
    done = 0
    while ready:
        index, call_index = heapq.heappop(ready)
        done += 1
        yield layers[index], call_index
        for key in users.get((layers[index].name, call_index), []):
            waits[key].discard((layers[index].name, call_index))
            if not waits[key]:
                heapq.heappush(ready, (place[key[0]], key[1]))
    if done < len(waits):
        raise ConversionError("the model's graph runs in a circle")


def _needed(network: Network) -> set[tuple[str, int]]:
    """Return the calls on which the outputs depend."""
    pending = [ref[:2] for ref in references(network.outputs)]
    needed = set(pending)
    while pending:
        name, index = pending.pop()
        for call in network.layers[name].calls[index : index + 1]:
            for ref in references((call.args, call.kwargs)):
                if ref[:2] not in needed:
                    needed.add(ref[:2])
                    pending.append(ref[:2])
    return needed

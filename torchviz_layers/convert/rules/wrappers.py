"""Layers around layers: both directions of a sequence, every step of it, a normalised kernel."""

from __future__ import annotations

from torchviz_layers.convert.axis_order import wanted_order
from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.wrappers import Bidirectional, TimeDistributed
from torchviz_layers.convert.registry import Built, Order, Out, Site, refuse, rule
from torchviz_layers.convert.rules.recurrent import one_or_all, sequence_mask, sequence_options


def _with_zeros_for_masked(layer: Layer) -> Layer:
    """tf.keras and Keras 3 output zeros for masked steps inside Bidirectional, if it returns sequences."""
    version = layer.keras_version.split("-")[0].split(".")
    major_minor = [int(part) for part in version[:2] if part.isdigit()]
    if layer.keras_version.endswith("-tf") or major_minor >= [2, 4]:
        layer.config = {**layer.config, "zero_output_for_mask": bool(layer.get("return_sequences", False))}
    return layer


def _bidirectional_order(layer: Layer, given: Order | None) -> Order | None:
    return wanted_order(layer.children["layer"], given)


@rule("Bidirectional", order=_bidirectional_order)
def bidirectional(layer: Layer, site: Site) -> Built:
    """Two directions; each is a recurrent layer of its own."""
    inner = [_with_zeros_for_masked(layer.children[key]) for key in ("layer", "backward_layer")]
    ahead, back = (site.build(child, site) for child in inner)
    options = sequence_options(inner[0])
    main, *states = (ahead.outs,) if isinstance(ahead.outs, Out) else ahead.outs
    axis = -1
    if main.order is not None:
        axis = main.order.at
    elif "Conv" in inner[0].kind:  # maps with channels first: (n, steps, channels, ...) or (n, channels, ...)
        axis = 2 if options["return_sequences"] else 1
    merge = layer.config.get("merge_mode", "concat")
    module = Bidirectional(ahead.module, back.module, merge, **_returns(options), axis=axis)
    # Without merging both directions are outputs; the states of both follow.
    mains = [main, main] if merge is None else [main]
    outs = (*mains, *states, *states)
    return Built(module, one_or_all(outs), sequence_mask(options), takes_mask=ahead.takes_mask)


def _returns(options: dict[str, bool]) -> dict[str, bool]:
    return {key: options[key] for key in ("return_sequences", "return_state")}


def _inner_order(layer: Layer, given: Order | None) -> Order | None:
    """Return the order that a TimeDistributed layer wants: its inner layer's, one axis further."""
    # The inner layer gets (n * steps, ...): one axis less, and no order with the channels before the steps.
    inside = None
    if given is not None and given.at > 1:
        inside = Order(given.rank - 1, given.at - 1)
    return _with_steps(wanted_order(layer.children["layer"], inside))


def _with_steps(order: Order | None) -> Order | None:
    """Return the order of axes of sequences of tensors that have an order."""
    return None if order is None else Order(order.rank + 1, order.at + 1)


@rule("TimeDistributed", order=_inner_order)
def time_distributed(layer: Layer, site: Site) -> Built:
    """Call the inner layer on all steps as one batch; images inside have channels first."""
    inner_rank = None if site.rank is None else site.rank - 1
    inner_order = None if site.order is None else Order(site.order.rank - 1, site.order.at - 1)
    inside = Site(inner_order, (inner_order,), (inner_rank,), (False,), site.args, {}, site.build)
    inner = site.build(layer.children["layer"], inside)
    if not isinstance(inner.outs, Out):
        raise refuse(layer, "its inner layer has several outputs")
    order, rank = inner.outs
    outside = Out(_with_steps(order), None if rank is None else rank + 1)
    return Built(TimeDistributed(inner.module), outside, mask="pass")


@rule("SpectralNormalization", state=("vector_u",), order=_bidirectional_order)
def spectral_normalization(layer: Layer, site: Site) -> Built:
    """Outside training, the inner layer with the kernel as it was stored: normalised."""
    return site.build(layer.children["layer"], site)

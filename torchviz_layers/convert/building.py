"""`Network` -> `nn.Module`: rules build layers, calls become a `torch.fx` graph or, for a chain, `nn.Sequential`."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import fx, nn

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.module_facts import copy_facts, set_fact
from torchviz_layers.convert.axis_order import reaches
from torchviz_layers.convert.keras_files.naming import attribute_name, class_name
from torchviz_layers.convert.keras_files.records import Array, Call, Constant, Layer, Network, TensorRef
from torchviz_layers.convert.layers.operations import TensorArgument
from torchviz_layers.convert.nested import all_references, leaves, mapped, references
from torchviz_layers.convert.registry import Built, Order, Out, Rule, Site, find_rule
from torchviz_layers.convert.topological_order import calls_in_order
from torchviz_layers.exceptions import ConversionError, UnsupportedLayerError

Factory = Callable[[dict[str, Any], dict[str, Array]], nn.Module]
CustomLayers = Mapping[str, Factory]
Layout = Literal["torch", "keras"]


@dataclass(frozen=True)
class Value:
    """A tensor of the graph under construction: its node, how its axes lie, and the node of its mask."""

    node: Any
    order: Order | None
    rank: int | None
    mask: Any = None


@dataclass
class _Use:
    """A layer's module as first built for calls of one form; later ones come in the same orders of axes."""

    name: str
    built: Built
    site: Site


@dataclass
class NetworkBuilder:
    """Builds one network; nested ones get builders of their own.

    Problems with single layers are collected in `problems`, so that one error can name them all.
    """

    network: Network
    custom_layers: CustomLayers
    problems: list[str] = field(default_factory=list)
    graph: fx.Graph = field(default_factory=fx.Graph)
    modules: OrderedDict[str, nn.Module] = field(default_factory=OrderedDict)
    constants: dict[str, Array] = field(default_factory=dict)
    values: dict[TensorRef, Value] = field(default_factory=dict)
    uses: dict[str, dict[str, _Use]] = field(default_factory=dict)

    def build(self, layout: Layout) -> nn.Module:
        """Return the whole model, its border in the given layout; its `input_shapes` are those of one sample."""
        inputs, shapes = [], []
        for ref, node in zip(references(self.network.inputs), self._placeholders(), strict=True):
            rank, order = _rank(self.network.layers[ref.layer]), reaches(self.network, ref)
            if order is not None and rank not in (None, order.rank):
                order = None
            value = Value(node, None if layout == "keras" else order, order.rank if order else rank)
            inputs.append(self._ordered(value, order))
            shapes.append(_sample_shape(self.network.layers[ref.layer], value.order))
        outputs = self._run(inputs)
        if layout == "keras":
            outputs = mapped(outputs, Value, lambda value: self._ordered(value, None))
        module = self._finish(outputs)
        set_fact(module, "input_shapes", tuple(shapes))
        return module

    def build_nested(
        self, orders: tuple[Order | None, ...], ranks: tuple[int | None, ...]
    ) -> tuple[nn.Module, list[Value]]:
        """Return a nested model whose inputs come as given, and its outputs."""
        outputs = self._run([Value(*each) for each in zip(self._placeholders(), orders, ranks, strict=True)])
        return self._finish(outputs), list(leaves(outputs, Value))

    def _placeholders(self) -> list[fx.Node]:
        names = [attribute_name(ref.layer) for ref in references(self.network.inputs)]
        return [self.graph.placeholder("x" if len(names) == 1 else name) for name in names]

    def _run(self, inputs: list[Value]) -> Any:
        """Add every call to the graph and return the outputs, nested as the network nests them."""
        for ref, value in zip(references(self.network.inputs), inputs, strict=True):
            layer = self.network.layers[ref.layer]
            self.values[ref] = value if layer.get("implied") else self._call(layer, Call((value,)))[0]
        for layer, index in calls_in_order(self.network):
            for position, value in enumerate(self._call(layer, layer.calls[index])):
                self.values[TensorRef(layer.name, index, position)] = value
        return mapped(self.network.outputs, TensorRef, self._value)

    def _value(self, entry: TensorRef | Constant | Value) -> Value:
        """Return the graph's value for an argument of a call."""
        if isinstance(entry, Value):
            return entry
        if isinstance(entry, Constant):
            name = self._free_name("constant")
            self.constants[name] = entry.value
            return Value(self.graph.get_attr(name), None, entry.value.ndim)
        if entry not in self.values:
            raise ConversionError(f"the model uses output {entry.output} of layer {entry.layer!r}, which has fewer")
        return self.values[entry]

    def _call(self, layer: Layer, call: Call) -> list[Value]:
        """Add one call of a layer to the graph and return its outputs."""
        kwargs = dict(call.kwargs)
        given_mask = kwargs.pop("mask", None)
        args, kwargs = mapped((call.args, kwargs), Constant, _plain_if_number)
        args, kwargs = mapped((args, kwargs), (TensorRef, Constant, Value), self._value)
        inputs = list(leaves((args, kwargs), Value))
        count = iter(range(len(inputs)))
        args, kwargs = mapped((args, kwargs), Value, lambda _: TensorArgument(next(count)))
        form = repr((args, {key: value for key, value in kwargs.items() if key != "training"}))
        use = self.uses.get(layer.name, {}).get(form)
        orders = use.site.orders if use else self._orders(layer, inputs)
        inputs = [self._ordered(value, order) for value, order in zip(inputs, orders, strict=True)]
        masks = [value.mask for value in inputs]
        given = [self._value(ref).node for ref in leaves(given_mask, (TensorRef, Constant))]
        masks[: len(given)] = given
        site = self._site(layer, args, kwargs, inputs, masks)
        if use is None or any(new and not old for new, old in zip(site.masked, use.site.masked, strict=True)):
            use = self._build_use(layer, site, form, use)
        node = self.graph.call_module(
            use.name, tuple(value.node for value in inputs), _mask_arguments(use.built, masks)
        )
        return self._outputs(use.built, node, self._mask(use.built, inputs, masks))

    def _outputs(self, built: Built, node: fx.Node, mask: Any) -> list[Value]:
        if isinstance(built.outs, Out):
            return [Value(node, *built.outs, mask)]
        parts = [self.graph.call_function(operator.getitem, (node, index)) for index in range(len(built.outs))]
        return [
            Value(part, *out, mask if part is parts[0] else None) for part, out in zip(parts, built.outs, strict=True)
        ]

    def _mask(self, built: Built, inputs: list[Value], masks: list[Any]) -> Any:
        """Return the mask that goes on from a layer."""
        if built.make_mask is not None:
            function, options = built.make_mask
            return self.graph.call_function(function, (inputs[0].node, *options))
        present = [mask for mask in masks if mask is not None]
        if built.mask == "drop" or not present:
            return None
        if built.mask == "pass":
            return masks[0]
        if built.join_masks is not None:
            function, options = built.join_masks
            return self.graph.call_function(function, (tuple(value.node for value in inputs), tuple(masks), *options))
        if built.merge_masks is torch.logical_or and len(present) < len(masks):  # Keras 3: all of them or none
            return None
        merged = present[0]
        for mask in present[1:]:
            merged = self.graph.call_function(built.merge_masks, (merged, mask))
        return merged

    def _orders(self, layer: Layer, inputs: list[Value]) -> tuple[Order | None, ...]:
        """Return the order of axes in which each input should come."""
        found = find_rule(layer)
        if layer.network is not None:
            wishes = [reaches(layer.network, ref) for ref in references(layer.network.inputs)]
            return tuple(
                value.order or (wish if wish and value.rank in (None, wish.rank) else None)
                for value, wish in zip(inputs, [*wishes, *[None] * len(inputs)], strict=False)
            )
        if found is None or self._custom(layer) is not None:
            return (None,) * len(inputs)
        orders = {value.order for value in inputs if value.order is not None}
        ranks = {value.rank for value in inputs}
        wanted = found.order(layer, orders.pop() if len(orders) == 1 and len(ranks) == 1 else None)
        return tuple(wanted if wanted and value.rank in (None, wanted.rank) else None for value in inputs)

    def _site(self, layer: Layer, args: Any, kwargs: dict[str, Any], inputs: list[Value], masks: list[Any]) -> Site:
        return Site(
            inputs[0].order if inputs else None,
            tuple(value.order for value in inputs),
            tuple(value.rank for value in inputs),
            tuple(mask is not None for mask in masks),
            args,
            kwargs,
            self._build_layer,
            self._outputs_used.get(layer.name, 1),
        )

    @cached_property
    def _outputs_used(self) -> dict[str, int]:
        """How many outputs of each layer the network refers to."""
        used: dict[str, int] = {}
        for ref in all_references(self.network):
            used[ref.layer] = max(used.get(ref.layer, 0), ref.output + 1)
        return used

    def _build_use(self, layer: Layer, site: Site, form: str, before: _Use | None) -> _Use:
        """Build a layer's module: a second one that shares weights for calls of another form than its first ones.

        `before` is a module built for calls without masks, which one that takes masks replaces.
        """
        uses = self.uses.setdefault(layer.name, {})
        name = attribute_name(layer.name)
        if before is None:
            name = self._free_name(f"{name}__{len(uses) + 1}" if uses else name)
        else:
            name = before.name
        built = self._build_layer(layer, site)
        for other in uses.values():
            _share_parameters(built.module, other.built.module)
        self.modules[name] = built.module
        uses[form] = _Use(name, built, site)
        return uses[form]

    def _free_name(self, name: str) -> str:
        while name in self.modules or name in self.constants or (name == "constant" and name in self.network.layers):
            name += "_"
        return name

    def _custom(self, layer: Layer) -> Factory | None:
        return self.custom_layers.get(layer.name) or self.custom_layers.get(layer.kind)

    def _build_layer(self, layer: Layer, site: Site) -> Built:
        if layer.network is not None:
            return self._build_network(layer, layer.network, site)
        if (factory := self._custom(layer)) is not None:
            return Built(factory(layer.config, layer.weights), Out(None, None))
        found = find_rule(layer)
        if found is None:
            self.problems.append(
                f"{layer.name} ({layer.kind}): no rule for this kind; its configuration: {short(layer.config)}"
            )
            return Built(nn.Identity(), site.same)
        return self._apply(found, layer, site)

    def _apply(self, found: Rule, layer: Layer, site: Site) -> Built:
        try:
            with torch.device("meta"):  # memory comes with the weights
                return found.build(layer, site)
        except UnsupportedLayerError as problem:
            self.problems.append(f"{problem}; its configuration: {short(layer.config)}")
            return Built(nn.Identity(), site.same)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError, ArithmeticError) as problem:
            raise ConversionError(
                f"layer {layer.name!r} ({layer.kind}): its configuration is damaged or of an unknown form: "
                f"{type(problem).__name__}: {problem}"
            ) from problem

    def _build_network(self, layer: Layer, network: Network, site: Site) -> Built:
        count = len(list(references(network.inputs)))
        if count != len(site.ranks):
            raise ConversionError(
                f"nested model {layer.name!r} has {count} inputs, but is called with {len(site.ranks)}"
            )
        module, outputs = NetworkBuilder(network, self.custom_layers, self.problems).build_nested(
            site.orders, site.ranks
        )
        outs = tuple(Out(value.order, value.rank) for value in outputs)
        return Built(module, outs if len(outs) > 1 else outs[0])

    def _ordered(self, value: Value, order: Order | None) -> Value:
        """Return a value with its axes in another order; a permuted tensor shares its memory."""
        if value.order == order:
            return value
        rank = (order or value.order).rank  # type: ignore[union-attr] # one of them is given
        axes = list(range(rank))
        if value.order is not None:  # from its own order to Keras's
            axes.append(axes.pop(value.order.at))
        if order is not None:  # from Keras's to the wanted one
            axes.insert(order.at, axes.pop())
        return Value(self.graph.call_method("permute", (value.node, *axes)), order, rank, value.mask)

    def _finish(self, outputs: Any) -> nn.Module:
        """Return the module: a Sequential for a plain chain, else one whose forward is written from the graph."""
        structure = mapped(outputs, Value, lambda value: value.node)
        if isinstance(structure, list):
            structure = tuple(structure) if len(structure) > 1 else structure[0]
        self.graph.output(structure)
        if self._is_chain():
            return nn.Sequential(self.modules)
        root = nn.Module()
        for name, module in self.modules.items():
            root.add_module(name, module)
        for name, value in self.constants.items():
            root.register_buffer(name, torch.from_numpy(value.copy()))
        return ConvertedGraph(root, self.graph, class_name=class_name(self.network.name))

    def _is_chain(self) -> bool:
        """Tell whether every layer takes what the one before it gives, and nothing else."""
        nodes = list(self.graph.nodes)
        links = [node for node in nodes if node.op == "call_module" and not node.kwargs]
        return [node.target for node in links] == list(self.modules) and all(
            node.args == (before,) for before, node in pairwise(nodes)
        )


def _batch_shape(layer: Layer) -> list[int | None] | None:
    shape = layer.get("batch_shape") or layer.get("batch_input_shape")
    return shape if isinstance(shape, list) else None


class ConvertedGraph(fx.GraphModule):
    """A graph module whose input shapes and transform survive a copy and a pickle."""

    def __deepcopy__(self, memo: dict[int, Any]) -> fx.GraphModule:
        result: fx.GraphModule = super().__deepcopy__(memo)
        copy_facts(result, self)
        return result

    def __reduce__(self) -> Any:
        return _unpickled, (*super().__reduce__(), type(self).__name__)


def _unpickled(make: Callable[..., fx.GraphModule], arguments: tuple[Any, ...], name: str) -> fx.GraphModule:
    plain = make(*arguments)
    module = ConvertedGraph(plain, plain.graph, class_name=name)
    copy_facts(module, plain)
    return module.train(plain.training)


def _share_parameters(module: nn.Module, other: nn.Module) -> None:
    """Let `module` use the parameters of `other` that have the same names and shapes."""
    theirs = dict(other.named_parameters())
    for path, own in list(module.named_parameters()):
        if path in theirs and theirs[path].shape == own.shape:
            owner, _, name = path.rpartition(".")
            module.get_submodule(owner).register_parameter(name, theirs[path])


def _rank(layer: Layer) -> int | None:
    shape = _batch_shape(layer)
    return len(shape) if shape else None


def _sample_shape(layer: Layer, order: Order | None) -> tuple[int | None, ...] | None:
    """Return the shape of one sample as it comes into the module; None where the file does not tell."""
    shape = _batch_shape(layer)
    if not shape:
        return None
    if order is not None:
        shape = [*shape[: order.at], shape[-1], *shape[order.at : -1]]
    return tuple(shape[1:])


def _plain_if_number(constant: Constant) -> Any:
    return constant if constant.value.ndim else constant.value.item()


def _mask_arguments(built: Built, masks: list[Any]) -> dict[str, Any]:
    if built.takes_masks and any(mask is not None for mask in masks):
        return {"masks": tuple(masks)}
    return {"mask": masks[0]} if built.takes_mask and masks and masks[0] is not None else {}


def short(config: dict[str, Any], limit: int = 300) -> str:
    """Return a configuration for an error message: no code, no entries that say nothing."""
    kept = {
        key: value for key, value in config.items() if value is not None and key not in ("name", "trainable", "dtype")
    }
    text = ", ".join(f"{key}={value!r}" for key, value in kept.items()) or "empty"
    return text if len(text) <= limit else f"{text[:limit]}..."

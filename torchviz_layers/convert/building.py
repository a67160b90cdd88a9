"""`Network` -> `nn.Module`: rules build the layers' modules, and the calls between them become a `torch.fx` graph.

The calls are added to the graph one after the other, in an order in which they can run. For each one:

1. its tensors are looked up, permuted to the order of axes that the layer takes, and counted;
2. a module is built, unless an earlier call of the same form has built one;
3. a node that calls the module is added, with its outputs and their mask.

A chain without branches becomes an `nn.Sequential`. A nested model is built by a builder of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any, Literal

import torch
from torch import fx, nn

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.module_facts import set_fact
from torchviz_layers.convert.axis_order import reaches, sample_shape
from torchviz_layers.convert.graph_module import assembled, share_parameters
from torchviz_layers.convert.graph_values import Value, fitting, mask_arguments, output_mask, output_values, permuted
from torchviz_layers.convert.keras_files.naming import attribute_name
from torchviz_layers.convert.keras_files.records import Call, Constant, Layer, Network, TensorRef
from torchviz_layers.convert.layers.operations import TensorArgument
from torchviz_layers.convert.nested import all_references, leaves, mapped, references
from torchviz_layers.convert.registry import Built, Order, Out, Rule, Site, find_rule
from torchviz_layers.convert.topological_order import calls_in_order
from torchviz_layers.exceptions import ConversionError, UnsupportedLayerError

Factory = Callable[[dict[str, Any], dict[str, Array]], nn.Module]
CustomLayers = Mapping[str, Factory]
Layout = Literal["torch", "keras"]


@dataclass(frozen=True)
class _Arguments:
    """The arguments of a call: its tensors, and `args` and `kwargs` with `TensorArgument(i)` for the i-th tensor.

    `masks` are the nodes that the call itself passes as `mask=`.
    """

    inputs: list[Value]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    masks: list[Any]

    @property
    def form(self) -> str:
        """What the module depends on besides its inputs: calls of the same form can share a module."""
        return repr((self.args, {key: value for key, value in self.kwargs.items() if key != "training"}))


@dataclass(frozen=True)
class _Use:
    """A module built for the calls of one form: its name in the graph, and the first of these calls."""

    name: str
    built: Built
    site: Site


@dataclass
class NetworkBuilder:
    """Builds one network.

    Problems with single layers are collected in `problems`, so that one error can name them all; such a layer becomes
    an `nn.Identity` meanwhile. `values` are the tensors computed so far, `uses` each layer's modules by form of call.
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
        """Return the whole model; `layout` is that of its inputs and outputs.

        The fact `input_shapes` holds the shape of one sample for each input.
        """
        inputs, shapes = [], []
        for ref, node in zip(references(self.network.inputs), self._placeholders(), strict=True):
            layer = self.network.layers[ref.layer]
            rank = len(layer.batch_shape) if layer.batch_shape else None
            inside = fitting(reaches(self.network, ref), rank)
            outside = None if layout == "keras" else inside
            value = Value(node, outside, inside.rank if inside else rank)
            inputs.append(permuted(self.graph, value, inside))
            shapes.append(sample_shape(layer, outside))
        outputs = self._run(inputs)
        if layout == "keras":
            outputs = mapped(outputs, Value, lambda value: permuted(self.graph, value, None))
        module = self._finish(outputs)
        set_fact(module, "input_shapes", tuple(shapes))
        return module

    def build_nested(
        self, orders: tuple[Order | None, ...], ranks: tuple[int | None, ...]
    ) -> tuple[nn.Module, list[Value]]:
        """Return a nested model whose inputs have the given orders of axes and ranks, and its outputs."""
        inputs = [Value(*each) for each in zip(self._placeholders(), orders, ranks, strict=True)]
        outputs = self._run(inputs)
        return self._finish(outputs), list(leaves(outputs, Value))

    def _placeholders(self) -> list[fx.Node]:
        names = [attribute_name(ref.layer) for ref in references(self.network.inputs)]
        if len(names) == 1:
            names = ["x"]
        return [self.graph.placeholder(name) for name in names]

    def _run(self, inputs: list[Value]) -> Any:
        """Add every call to the graph and return the outputs, nested as the network nests them."""
        for ref, value in zip(references(self.network.inputs), inputs, strict=True):
            layer = self.network.layers[ref.layer]
            # A Sequential model without an InputLayer got one while it was parsed; it is no layer of the file.
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
        arguments = self._arguments(call)
        use = self.uses.get(layer.name, {}).get(arguments.form)
        # A module works on the orders of axes of the call for which it was built.
        orders = use.site.orders if use else self._input_orders(layer, arguments.inputs)
        inputs = [permuted(self.graph, *each) for each in zip(arguments.inputs, orders, strict=True)]
        masks = [value.mask for value in inputs]
        masks[: len(arguments.masks)] = arguments.masks  # those that the call passes come first
        site = self._site(layer, arguments, inputs, masks)
        if use is None:
            use = self._new_use(layer, site, arguments.form)
        elif any(now and not then for now, then in zip(site.masked, use.site.masked, strict=True)):
            # Built for calls without masks: a module that takes masks replaces it, under its name.
            use = self._build_use(layer, site, arguments.form, use.name)
        nodes = tuple(value.node for value in inputs)
        node = self.graph.call_module(use.name, nodes, mask_arguments(use.built, masks))
        mask = output_mask(self.graph, use.built, inputs, masks)
        return output_values(self.graph, use.built, node, mask)

    def _arguments(self, call: Call) -> _Arguments:
        """Split a call's arguments into its tensors and the rest."""
        kwargs = dict(call.kwargs)
        given_mask = kwargs.pop("mask", None)
        nested = mapped((call.args, kwargs), Constant, _number_or_constant)
        nested = mapped(nested, (TensorRef, Constant, Value), self._value)
        inputs = list(leaves(nested, Value))
        numbers = count()
        # `mapped` goes through the entries in the order of `leaves`: the i-th one is `inputs[i]`.
        args, kwargs = mapped(nested, Value, lambda _: TensorArgument(next(numbers)))
        masks = [self._value(ref).node for ref in leaves(given_mask, (TensorRef, Constant))]
        return _Arguments(inputs, args, kwargs, masks)

    def _input_orders(self, layer: Layer, inputs: list[Value]) -> tuple[Order | None, ...]:
        """Return the order of axes in which a layer takes each input."""
        if layer.network is not None:
            # An input that is in Keras's order is permuted outside the nested model where that has image layers.
            wanted = [reaches(layer.network, ref) for ref in references(layer.network.inputs)]
            wanted += [None] * (len(inputs) - len(wanted))
            pairs = zip(inputs, wanted, strict=False)  # a wrong number of inputs is an error later on
            return tuple(value.order or fitting(order, value.rank) for value, order in pairs)
        found = find_rule(layer)
        if found is None or self._custom(layer) is not None:
            return (None,) * len(inputs)
        # A rule keeps the inputs' order only where it is one and the same: else all of them go back to Keras's.
        orders = {value.order for value in inputs if value.order is not None}
        ranks = {value.rank for value in inputs}
        common = orders.pop() if len(orders) == 1 and len(ranks) == 1 else None
        order = found.order(layer, common)
        return tuple(fitting(order, value.rank) for value in inputs)

    def _site(self, layer: Layer, arguments: _Arguments, inputs: list[Value], masks: list[Any]) -> Site:
        return Site(
            order=inputs[0].order if inputs else None,
            orders=tuple(value.order for value in inputs),
            ranks=tuple(value.rank for value in inputs),
            masked=tuple(mask is not None for mask in masks),
            args=arguments.args,
            kwargs=arguments.kwargs,
            build=self._build_layer,
            used=self._outputs_used.get(layer.name, 1),
        )

    @cached_property
    def _outputs_used(self) -> dict[str, int]:
        """How many outputs of each layer the network refers to."""
        used: dict[str, int] = {}
        for ref in all_references(self.network):
            used[ref.layer] = max(used.get(ref.layer, 0), ref.output + 1)
        return used

    def _new_use(self, layer: Layer, site: Site, form: str) -> _Use:
        """Build a layer's module for calls of a form that it was not called in before: `attention`, `attention__2`."""
        name = attribute_name(layer.name)
        earlier = len(self.uses.get(layer.name, {}))
        if earlier:
            name = f"{name}__{earlier + 1}"
        return self._build_use(layer, site, form, self._free_name(name))

    def _build_use(self, layer: Layer, site: Site, form: str, name: str) -> _Use:
        """Build a layer's module under a name; it shares its parameters with those built before."""
        uses = self.uses.setdefault(layer.name, {})
        built = self._build_layer(layer, site)
        for other in uses.values():
            share_parameters(built.module, other.built.module)
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
        """Build a layer: a nested model, one of the caller's, or one by its rule."""
        if layer.network is not None:
            return self._build_network(layer, layer.network, site)
        factory = self._custom(layer)
        if factory is not None:
            return Built(factory(layer.config, layer.weights), Out(None, None))
        found = find_rule(layer)
        if found is None:
            return self._unsupported(f"{layer.name} ({layer.kind}): no rule for this kind", layer, site)
        return self._apply(found, layer, site)

    def _apply(self, found: Rule, layer: Layer, site: Site) -> Built:
        try:
            with torch.device("meta"):  # the weights replace all parameters, so none needs memory before
                return found.build(layer, site)
        except UnsupportedLayerError as problem:
            return self._unsupported(str(problem), layer, site)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError, ArithmeticError) as problem:
            raise ConversionError(
                f"layer {layer.name!r} ({layer.kind}): its configuration is damaged or of an unknown form: "
                f"{type(problem).__name__}: {problem}"
            ) from problem

    def _unsupported(self, problem: str, layer: Layer, site: Site) -> Built:
        """Note a problem with a layer, and return an identity so that the other layers are looked at too."""
        self.problems.append(f"{problem}; its configuration: {layer.short_config()}")
        return Built(nn.Identity(), site.same)

    def _build_network(self, layer: Layer, network: Network, site: Site) -> Built:
        n_inputs = len(list(references(network.inputs)))
        if n_inputs != len(site.ranks):
            raise ConversionError(
                f"nested model {layer.name!r} has {n_inputs} inputs, but is called with {len(site.ranks)}"
            )
        builder = NetworkBuilder(network, self.custom_layers, self.problems)
        module, outputs = builder.build_nested(site.orders, site.ranks)
        outs = tuple(Out(value.order, value.rank) for value in outputs)
        return Built(module, outs if len(outs) > 1 else outs[0])

    def _finish(self, outputs: Any) -> nn.Module:
        """Close the graph with its outputs and return the module; a single output is no tuple."""
        structure = mapped(outputs, Value, lambda value: value.node)
        if isinstance(structure, list):
            structure = tuple(structure) if len(structure) > 1 else structure[0]
        self.graph.output(structure)
        return assembled(self.graph, self.modules, self.constants, self.network.name)


def _number_or_constant(constant: Constant) -> Any:
    """Return the number in an array without axes; other arrays stay."""
    return constant if constant.value.ndim else constant.value.item()

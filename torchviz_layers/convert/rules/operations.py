"""Functions in the graph: nodes of `keras.ops` (Keras 3) and of TensorFlow (Keras 2)."""

from __future__ import annotations

from typing import Any

from torchviz_layers.convert.keras_files.archive import snake_case
from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.operations import ALONG_AXIS, BINARY, OPERATIONS, UNARY, Operation, TensorArgument
from torchviz_layers.convert.layers.reductions import REDUCING
from torchviz_layers.convert.registry import Built, Order, Out, Site, as_keras, operation_key, refuse, rule
from torchviz_layers.convert.rules.names import KERAS3_NAMES, NODE_NAMES, TENSORFLOW_ARGUMENTS, TENSORFLOW_NAMES

_DEFAULT_AXES = {"softmax": -1, "log_softmax": -1, "normalize": -1}
_IGNORED = {
    "out_type",
    "sparse",
    "name",
    "num",
    "validate_indices",
    "conjugate",
    "preserve_aspect_ratio",
    "output_type",
    "on_value",
    "off_value",
    "trainable",
    "function",
}
_TYPED = ("cast", "one_hot", "ones_like", "zeros_like")  # functions of `keras.ops` whose type of numbers counts
_IGNORED_FALSE = {
    "adjoint_a",
    "adjoint_b",
    "a_is_sparse",
    "b_is_sparse",
    "exclusive",
    "reverse",
    "antialias",
    "batch_dims",
}


def _order(layer: Layer, given: Order | None) -> Order | None:
    """Take any order for functions entry by entry or along an axis, Keras's for the others."""
    name = _name_of(layer)
    if name in BINARY or name in UNARY or name in ALONG_AXIS:
        return given
    call = layer.calls[0] if layer.calls else None
    keepdims = layer.get("keepdims") or (call is not None and call.kwargs.get("keepdims"))
    return given if name in REDUCING and keepdims else None


def _name_of(layer: Layer) -> str | None:
    """Return our name for a node's function, or None for an unknown one."""
    if layer.is_operation:
        name = KERAS3_NAMES.get(layer.kind, snake_case(layer.kind))
    else:
        function = str(layer.get("function", "__operators__.getitem"))
        name = TENSORFLOW_NAMES.get(function) or function.rpartition(".")[2]
    return name if name in OPERATIONS else None


@rule(operation_key("*"), "TFOpLambda", "SlicingOpLambda", order=_order)
def operation(layer: Layer, site: Site) -> Built:
    """Apply a known function; nothing is looked up in any module."""
    name = _name_of(layer)
    if name is None:
        what = layer.kind if layer.is_operation else layer.get("function")
        raise refuse(layer, f"the function {what!r} is not one of those known")
    kwargs = {**layer.config, **site.kwargs} if layer.is_operation else dict(site.kwargs)
    kwargs = {} if name == "identity" else _cleaned(layer, name, kwargs)
    if not site.ranks:
        raise refuse(layer, "the file does not say which tensors go into it")
    args = site.args
    if layer.is_operation and name == "einsum":
        args = (kwargs.pop("subscripts"), *args)
    if not layer.is_operation:
        args, kwargs = _from_tensorflow(name, args, kwargs)
    args, kwargs = _with_axes(name, args, kwargs, site)
    module = Operation(name, args, kwargs)
    return Built(module, _outs(layer, name, site, kwargs, args))


@rule("TensorFlowOpLayer", order=as_keras)
def tensorflow_op(layer: Layer, site: Site) -> Built:
    """Apply one operation of TensorFlow (2.1 to 2.3), by the name in its node."""
    node = layer.config.get("node_def")
    if not isinstance(node, dict):
        raise refuse(layer, "its node is stored in binary form")
    name = NODE_NAMES.get(str(node.get("op")))
    if name is None:
        raise refuse(layer, f"the operation {node.get('op')!r} is not one of those known")
    operands: list[Any] = [TensorArgument(index) for index in range(len(site.ranks))]
    for index, value in sorted((layer.get("constants") or {}).items(), key=lambda entry: int(entry[0])):
        operands.insert(int(index), value)
    args: tuple[Any, ...] = tuple(operands)
    kwargs: dict[str, Any] = {}
    if name == "concatenate":
        args, kwargs = (operands[:-1],), {"axis": int(operands[-1])}
    elif name in REDUCING:
        kwargs = {"keepdims": bool(node.get("attr", {}).get("keep_dims", {}).get("b", False))}
    rank = None
    if name in UNARY:
        rank = site.rank
    elif name in BINARY:
        rank = max((rank for rank in site.ranks if rank is not None), default=None)
    return Built(Operation(name, args, kwargs), Out(None, rank))


def _cleaned(layer: Layer, name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that our function takes, without options that change nothing here."""
    kept = {}
    for key, value in kwargs.items():
        if key in _IGNORED or (key in _IGNORED_FALSE and not value):
            continue
        if key == "dtype":
            # In a layer's configuration it is the type that the layer computes in, which is float32 here.
            typed = name in _TYPED if layer.is_operation else name == "cast"
            if not typed:
                continue
            if layer.is_operation and isinstance(value, dict):
                value = value["config"]["name"]
        kept[key] = value
    return kept


def _from_tensorflow(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a call of TensorFlow's function with our names of arguments."""
    names = {
        **TENSORFLOW_ARGUMENTS["" if name in BINARY or name in REDUCING else "unary"],
        **TENSORFLOW_ARGUMENTS.get(name, {}),
    }
    renamed = {names.get(key, key): value for key, value in kwargs.items()}
    if name == "gelu":  # keras.ops approximates by default, TensorFlow does not
        renamed.setdefault("approximate", False)
    if name == "get_item":
        renamed["key"] = _slices(renamed["key"])
    if name == "einsum":
        return (args[0], *renamed.pop("inputs", ()), *renamed.values()), {}
    return args, renamed


def _slices(key: Any) -> Any:
    """Return what TensorFlow writes for an index: slices as dicts, Ellipsis as a string."""
    if isinstance(key, dict) and key.get("class_name") == "__ellipsis__":
        return Ellipsis
    if isinstance(key, dict) and "start" in key:
        return slice(key.get("start"), key.get("stop"), key.get("step"))
    if key == "..." or key == "Ellipsis":
        return Ellipsis
    if isinstance(key, list):
        return tuple(_slices(entry) for entry in key)
    return key


def _with_axes(name: str, args: Any, kwargs: dict[str, Any], site: Site) -> tuple[Any, dict[str, Any]]:
    """Return the arguments with Keras's axis translated to the axis of the converted network's tensors."""
    if site.order is None or name not in {**ALONG_AXIS, **REDUCING}:
        return args, kwargs
    axis = kwargs.get("axis", _DEFAULT_AXES.get(name))
    if axis is None and name in ("concatenate", "split", "split_sizes"):
        axis = 0
    if axis is None:
        return args, kwargs
    if isinstance(axis, int):
        return args, {**kwargs, "axis": site.axis(axis)}
    return args, {**kwargs, "axis": [site.axis(entry) for entry in axis]}


def _outs(layer: Layer, name: str, site: Site, kwargs: dict[str, Any], args: Any) -> Out | tuple[Out, ...]:
    """Return the axes of the results; a function that splits has several."""
    if name in ("split", "split_sizes", "unstack", "top_k"):
        out = Out(None, None) if name == "unstack" else site.same
        return (out,) * _count(layer, name, site, kwargs, args)
    if site.order is not None:
        return site.same
    ranks = [rank for rank in site.ranks if rank is not None]
    if name in BINARY and len(ranks) == len(site.ranks):
        return Out(None, max(ranks))
    return Out(None, site.rank if name in UNARY or name in ALONG_AXIS else None)


def _count(layer: Layer, name: str, site: Site, kwargs: dict[str, Any], args: Any) -> int:
    """Return how many results a function has that splits a tensor."""
    if name == "top_k":
        return 2
    parts = kwargs.get("indices_or_sections", kwargs.get("num_or_size_splits", kwargs.get("num")))
    if parts is None and len(args) > 1:
        parts = args[1]
    if isinstance(parts, int):
        return parts
    if isinstance(parts, (list, tuple)):
        # `split` has indices, between which the parts are; `split_sizes` has the sizes of all parts.
        return len(parts) + 1 if name == "split" else len(parts)
    if name == "unstack":
        return int(layer.get("num", site.used))
    raise refuse(layer, "the file does not say into how many parts it splits")

"""Functions that stand in the graph: nodes of `keras.ops` (Keras 3) and of TensorFlow (Keras 2)."""

from __future__ import annotations

from typing import Any

from torchviz_layers.convert.layers.operations import ALONG_AXIS, BINARY, OPERATIONS, REDUCING, UNARY, Operation
from torchviz_layers.convert.layers.operations import Slot as Place
from torchviz_layers.convert.records import Layer
from torchviz_layers.convert.registry import Built, Order, Out, Site, Slot, as_keras, operation_key, refuse, rule
from torchviz_layers.convert.tree import mapped
from torchviz_layers.convert.weights import snake_case

_KERAS3_NAMES = {
    "Amax": "max",
    "Amin": "min",
    "Fabs": "absolute",
    "TrueDivide": "divide",
    "Logsumexp": "logsumexp",
    "Expm1": "expm1",
    "Log1p": "log1p",
    "Log2": "log2",
    "Log10": "log10",
    "Relu6": "relu6",
    "Arctan2": "arctan2",
    "SaturateCast": "cast",
    "ConvertToTensor": "identity",
    "TopK": "top_k",
    "Rsqrt": "rsqrt",
    "NotEqual": "not_equal",
    "HardSilu": "hard_silu",
    "OneHot": "one_hot",
}

# TensorFlow's function -> ours, and its arguments' names -> ours
TENSORFLOW_NAMES: dict[str, str] = {
    "__operators__.add": "add",
    "math.add": "add",
    "math.subtract": "subtract",
    "math.multiply": "multiply",
    "math.divide": "divide",
    "math.truediv": "divide",
    "truediv": "divide",
    "math.floordiv": "floor_divide",
    "math.floormod": "mod",
    "math.mod": "mod",
    "math.pow": "power",
    "pow": "power",
    "math.maximum": "maximum",
    "math.minimum": "minimum",
    "math.equal": "equal",
    "__operators__.eq": "equal",
    "__operators__.ne": "not_equal",
    "math.not_equal": "not_equal",
    "math.greater": "greater",
    "math.greater_equal": "greater_equal",
    "math.less": "less",
    "math.less_equal": "less_equal",
    "math.logical_and": "logical_and",
    "math.logical_or": "logical_or",
    "math.logical_not": "logical_not",
    "math.squared_difference": "squared_difference",
    "math.abs": "absolute",
    "math.reciprocal": "reciprocal",
    "math.reduce_mean": "mean",
    "math.reduce_sum": "sum",
    "math.reduce_max": "max",
    "math.reduce_min": "min",
    "math.reduce_prod": "prod",
    "math.reduce_std": "std",
    "math.reduce_variance": "var",
    "math.reduce_logsumexp": "logsumexp",
    "math.reduce_all": "all",
    "math.reduce_any": "any",
    "math.l2_normalize": "normalize",
    "nn.l2_normalize": "normalize",
    "linalg.l2_normalize": "normalize",
    "math.argmax": "argmax",
    "argmax": "argmax",
    "math.softplus": "softplus",
    "math.sigmoid": "sigmoid",
    "nn.sigmoid": "sigmoid",
    "nn.swish": "silu",
    "nn.silu": "silu",
    "nn.relu": "relu",
    "nn.relu6": "relu6",
    "nn.elu": "elu",
    "nn.selu": "selu",
    "nn.gelu": "gelu",
    "nn.softmax": "softmax",
    "nn.log_softmax": "log_softmax",
    "nn.tanh": "tanh",
    "nn.leaky_relu": "leaky_relu",
    "nn.depth_to_space": "depth_to_space",
    "nn.space_to_depth": "space_to_depth",
    "compat.v1.nn.depth_to_space": "depth_to_space",
    "concat": "concatenate",
    "split": "split_sizes",
    "stack": "stack",
    "unstack": "unstack",
    "reshape": "reshape",
    "compat.v1.transpose": "transpose",
    "transpose": "transpose",
    "expand_dims": "expand_dims",
    "compat.v1.expand_dims": "expand_dims",
    "squeeze": "squeeze",
    "compat.v1.squeeze": "squeeze",
    "tile": "tile",
    "repeat": "repeat",
    "cast": "cast",
    "linalg.matmul": "matmul",
    "clip_by_value": "clip",
    "where": "where",
    "pad": "pad",
    "compat.v1.pad": "pad",
    "one_hot": "one_hot",
    "gather": "take",
    "compat.v1.gather": "take",
    "shape": "shape",
    "compat.v1.shape": "shape",
    "zeros_like": "zeros_like",
    "ones_like": "ones_like",
    "broadcast_to": "broadcast_to",
    "identity": "identity",
    "stop_gradient": "stop_gradient",
    "reverse": "flip",
    "roll": "roll",
    "image.resize": "resize",
    "compat.v1.image.resize": "resize",
    "norm": "norm",
    "einsum": "einsum",
    "__operators__.getitem": "get_item",
    "__operators__.slice": "get_item",
    "math.cumsum": "cumsum",
    "math.top_k": "top_k",
}
_NODE_NAMES = {
    "Abs": "absolute",
    "Add": "add",
    "AddV2": "add",
    "BatchMatMulV2": "matmul",
    "ConcatV2": "concatenate",
    "Div": "divide",
    "Elu": "elu",
    "Exp": "exp",
    "ExpandDims": "expand_dims",
    "Log": "log",
    "MatMul": "matmul",
    "Max": "max",
    "Maximum": "maximum",
    "Mean": "mean",
    "Min": "min",
    "Minimum": "minimum",
    "Mul": "multiply",
    "Neg": "negative",
    "Pow": "power",
    "Prod": "prod",
    "RealDiv": "divide",
    "Relu": "relu",
    "Relu6": "relu6",
    "Reshape": "reshape",
    "Rsqrt": "rsqrt",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Sqrt": "sqrt",
    "Square": "square",
    "SquaredDifference": "squared_difference",
    "Sub": "subtract",
    "Sum": "sum",
    "Tanh": "tanh",
    "Transpose": "transpose",
}
_TF_ARGUMENTS: dict[str, dict[str, str]] = {
    "": {"x": "x1", "y": "x2", "input_tensor": "x", "features": "x", "logits": "x", "tensor": "x", "input": "x"},
    "unary": {"x": "x", "features": "x", "logits": "x", "t": "x", "input": "x"},
    "clip": {"clip_value_min": "x_min", "clip_value_max": "x_max"},
    "reshape": {"shape": "newshape"},
    "transpose": {"perm": "axes", "a": "x"},
    "tile": {"multiples": "repeats"},
    "pad": {"paddings": "pad_width"},
    "one_hot": {"depth": "num_classes"},
    "matmul": {"b": "x2", "a": "x1"},
    "where": {"x": "x1", "y": "x2"},
    "leaky_relu": {"alpha": "negative_slope"},
    "resize": {"method": "interpolation"},
    "get_item": {"slice_spec": "key"},
    "normalize": {"dim": "axis", "axis": "axis"},
}
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
}
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


def _order(layer: Layer, comes: Order | None) -> Order | None:
    """Operations entry by entry, or along an axis, take any order; the others see Keras's axes."""
    name = _name_of(layer)
    if name in BINARY or name in UNARY or name in ALONG_AXIS:
        return comes
    call = layer.calls[0] if layer.calls else None
    keepdims = layer.get("keepdims") or (call is not None and call.kwargs.get("keepdims"))
    return comes if name in REDUCING and keepdims else None


def _name_of(layer: Layer) -> str | None:
    """Return our name for a node's function, or None for an unknown one."""
    if layer.is_operation:
        name = _KERAS3_NAMES.get(layer.kind, snake_case(layer.kind))
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
    args, kwargs = mapped((args, kwargs), Slot, lambda slot: Place(slot.place))
    module = Operation(name, args, kwargs)
    return Built(module, _outs(layer, name, site, kwargs, args))


@rule("TensorFlowOpLayer", order=as_keras)
def tensorflow_op(layer: Layer, site: Site) -> Built:
    """Apply one operation of TensorFlow (2.1 to 2.3), by the name in its node."""
    node = layer.config.get("node_def")
    if not isinstance(node, dict):
        raise refuse(layer, "its node is stored in binary form")
    name = _NODE_NAMES.get(str(node.get("op")))
    if name is None:
        raise refuse(layer, f"the operation {node.get('op')!r} is not one of those known")
    operands: list[Any] = [Place(index) for index in range(len(site.ranks))]
    for index, value in sorted((layer.get("constants") or {}).items(), key=lambda entry: int(entry[0])):
        operands.insert(int(index), value)
    args: tuple[Any, ...] = tuple(operands)
    kwargs: dict[str, Any] = {}
    if name == "concatenate":
        args, kwargs = (operands[:-1],), {"axis": int(operands[-1])}
    elif name in REDUCING:
        kwargs = {"keepdims": bool(node.get("attr", {}).get("keep_dims", {}).get("b", False))}
    rank = max((rank for rank in site.ranks if rank is not None), default=None) if name in BINARY else None
    return Built(Operation(name, args, kwargs), Out(None, site.rank if name in UNARY else rank))


def _cleaned(layer: Layer, name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for key, value in kwargs.items():
        if key in _IGNORED or (key in _IGNORED_FALSE and not value) or key in ("trainable", "function"):
            continue
        if key == "dtype" and (
            layer.is_operation is False or name not in ("cast", "one_hot", "ones_like", "zeros_like")
        ):
            if name == "cast":
                kept[key] = value
            continue
        kept[key] = value["config"]["name"] if key == "dtype" and isinstance(value, dict) else value
    return kept


def _from_tensorflow(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a call of TensorFlow's function with our names of arguments."""
    names = {**_TF_ARGUMENTS["" if name in BINARY or name in REDUCING else "unary"], **_TF_ARGUMENTS.get(name, {})}
    renamed = {names.get(key, key): value for key, value in kwargs.items()}
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
    """Return the arguments with the axis where it lies in what runs through the network."""
    if site.order is None or name not in {**ALONG_AXIS, **REDUCING}:
        return args, kwargs
    axis = kwargs.get("axis", -1 if name in ("softmax", "log_softmax", "normalize") else None)
    if axis is None and name in ("concatenate", "split", "split_sizes"):
        axis = 0
    if isinstance(axis, int):
        return args, {**kwargs, "axis": site.axis(axis)}
    return args, kwargs if axis is None else {**kwargs, "axis": [site.axis(entry) for entry in axis]}


def _outs(layer: Layer, name: str, site: Site, kwargs: dict[str, Any], args: Any) -> Out | tuple[Out, ...]:
    """Return how the results lie; a function that cuts gives several."""
    if name in ("split", "split_sizes", "unstack", "top_k"):
        return (site.same if name != "unstack" else Out(None, None),) * _count(layer, name, kwargs, args)
    if site.order is not None:
        return site.same
    ranks = [rank for rank in site.ranks if rank is not None]
    if name in BINARY and len(ranks) == len(site.ranks):
        return Out(None, max(ranks))
    return Out(None, site.rank if name in UNARY or name in ALONG_AXIS else None)


def _count(layer: Layer, name: str, kwargs: dict[str, Any], args: Any) -> int:
    if name == "top_k":
        return 2
    parts = kwargs.get("indices_or_sections", kwargs.get("num_or_size_splits", kwargs.get("num")))
    if parts is None and len(args) > 1:
        parts = args[1]
    if isinstance(parts, int):
        return parts
    if isinstance(parts, (list, tuple)):
        return len(parts) + (name == "split")
    if name == "unstack" and isinstance(layer.get("num"), int):
        return int(layer.config["num"])
    raise refuse(layer, "into how many parts it cuts is not told")

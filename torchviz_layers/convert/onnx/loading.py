"""ONNX file -> `nn.Module` that ONNX Runtime computes, with every node of the graph as a submodule for hooks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.module_facts import set_fact
from torchviz_layers.exceptions import ConversionError, MissingDependencyError, ModelError

_NUMPY_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


def load_onnx(path: str | Path) -> nn.Module:
    """Load an ONNX file as a module whose nodes can be captured by name.

    The module runs in ONNX Runtime on the CPU. Its children are the nodes of the graph in their order, named as in
    the file (`/`, `.` and `:` become `_`); a node is computed as an output of its own where a hook wants it.

    A file that is fixed to one batch size runs batch after batch of that size; a shorter one is filled up with copies
    of its last sample, whose rows are dropped again. The first batch, run again in another order, shows which axis of a
    value is that of the samples.

    Parameters
    ----------
    path
        An `.onnx` file. Its weights may be in files in the same folder, nowhere else.

    Raises
    ------
    ConversionError
        The file is missing, damaged, or refers to files elsewhere.
    MissingDependencyError
        onnxruntime is not installed.
    """
    import onnx

    try:
        import onnxruntime  # noqa: F401 - better to fail here than at the first batch
    except ImportError as problem:
        raise MissingDependencyError("onnxruntime", "onnx", "running ONNX models") from problem
    path = Path(path)
    try:
        model = onnx.load(path, load_external_data=False)
        _refuse_files_elsewhere(model, path)
        onnx.load_external_data_for_model(model, str(path.parent))
        module = OnnxModule(model)
        module.session(())
    except ConversionError:
        raise
    except OSError as problem:
        raise ConversionError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    except Exception as problem:
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise ConversionError(f"{path}: not a model that ONNX Runtime can run: {reason}") from problem
    return module.eval()


def _refuse_files_elsewhere(model: Any, path: Path) -> None:
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            location = Path(entry.value) if entry.key == "location" else Path()
            if location.is_absolute() or ".." in location.parts:
                raise ConversionError(
                    f"{path}: refused: weights {tensor.name!r} are in another folder: {entry.value!r}"
                )


class OnnxNode(nn.Module):
    """One node of the graph: it passes what ONNX Runtime computed, so that hooks see it."""

    is_layer = True

    def __init__(self, kind: str, output: str) -> None:
        super().__init__()
        self.kind = kind
        self.output = output

    def forward(self, value: Tensor) -> Tensor:
        """Return the node's output."""
        return value

    def extra_repr(self) -> str:
        """Return the operator's name."""
        return self.kind


class OnnxModule(nn.Module):
    """An ONNX graph: ONNX Runtime computes its outputs, and those of all nodes with hooks."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model
        self._sessions: dict[tuple[str, ...], Any] = {}
        constants = {entry.name for entry in model.graph.initializer}
        inputs = [entry for entry in model.graph.input if entry.name not in constants]
        self.input_names = [entry.name for entry in inputs]
        self.fixed_batch = _fixed_batch(inputs)
        self.output_names = [entry.name for entry in model.graph.output]
        set_fact(self, "input_shapes", tuple(map(_sample_shape, inputs)))
        for index, node in enumerate(model.graph.node):
            if node.op_type != "Constant" and node.output:
                self.add_module(
                    self._free_name(node.name or f"{node.op_type}_{index}"), OnnxNode(node.op_type, node.output[0])
                )

    def _free_name(self, name: str) -> str:
        name = re.sub(r"[./:\s]+", "_", name).strip("_") or "node"
        while hasattr(self, name):
            name += "_"
        return name

    def session(self, extra: tuple[str, ...]) -> Any:
        """Return the ONNX Runtime session that also outputs the values named in `extra`."""
        if extra not in self._sessions:
            import onnx
            import onnxruntime

            model = onnx.ModelProto()
            model.CopyFrom(self._model)
            model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in extra)
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            options.intra_op_num_threads = torch.get_num_threads()
            self._sessions[extra] = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        return self._sessions[extra]

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the graph's output, or a tuple of them."""
        if len(inputs) != len(self.input_names):
            raise TypeError(f"the ONNX model takes {len(self.input_names)} inputs, but got {len(inputs)}")
        nodes = [node for node in self.children() if isinstance(node, OnnxNode) and _is_hooked(node)]
        own = set(self.output_names)
        extra = tuple(dict.fromkeys(node.output for node in nodes if node.output not in own))
        session = self.session(extra)
        feeds = {
            entry.name: np.ascontiguousarray(value.detach().cpu().numpy(), dtype=_NUMPY_TYPES.get(entry.type))
            for entry, value in zip(session.get_inputs(), inputs, strict=True)
        }
        names = [*self.output_names, *extra]
        device = inputs[0].device
        computed = self._run(session, names, feeds)
        values = {name: torch.from_numpy(value).to(device) for name, value in computed.items()}
        for node in nodes:
            if node.output in values:
                values[node.output] = node(values[node.output])
        outputs = tuple(values[name] for name in self.output_names)
        return outputs if len(outputs) > 1 else outputs[0]

    def _run(self, session: Any, names: list[str], feeds: dict[str, Array]) -> dict[str, Array]:
        """Return the named values; in batches of the size that the file is fixed to, where the feeds have another."""
        size, rows = self.fixed_batch, {value.shape[:1] for value in feeds.values()}
        n = rows.pop()[0] if len(rows) == 1 and () not in rows else 0
        if size is None or n in (0, size):
            return dict(zip(names, map(np.asarray, session.run(names, feeds)), strict=True))
        parts = []
        for start in range(0, n, size):
            taken = np.minimum(np.arange(start, start + size), n - 1)  # the last sample again and again
            parts.append(session.run(names, {name: value[taken] for name, value in feeds.items()}))
        moved = np.roll(np.minimum(np.arange(size), n - 1), 1)
        turned = session.run(names, {name: value[moved] for name, value in feeds.items()}) if size > 1 else parts[0]
        joined = {
            name: _joined([part[k] for part in parts], _axis_of_samples(parts[0][k], turned[k], size), n)
            for k, name in enumerate(names)
        }
        for name in self.output_names:
            if joined[name] is None:
                raise ModelError(
                    f"the ONNX file is fixed to batches of {size}, and its output {name!r} of shape "
                    f"{np.shape(parts[0][names.index(name)])} has no axis of samples to join them on: pass {size} "
                    f"samples (batch_size={size}), or export it with a dynamic batch axis"
                )
        return {name: value for name, value in joined.items() if value is not None}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the sessions out: they are made again on use."""
        return {**self.__dict__, "_sessions": {}}


def _is_hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or nn.modules.module._global_forward_hooks)


def _fixed_batch(inputs: list[Any]) -> int | None:
    """Return the batch size that all inputs of a graph are fixed to, None where it is free."""
    sizes = {dims[0].dim_value if (dims := entry.type.tensor_type.shape.dim) else 0 for entry in inputs}
    size = sizes.pop() if len(sizes) == 1 else 0
    return int(size) or None


def _axis_of_samples(value: Any, turned: Any, size: int) -> int | None:
    """Return the axis of a batch's samples in a value; `turned` is the value of the same samples, the last one first.

    The length of an axis is not enough: a sequence may have as many steps as the batch has samples. In batches of one
    sample nothing can be reordered; there the first axis counts, if its length is 1.
    """
    value, turned = np.asarray(value), np.asarray(turned)
    axes = [axis for axis, extent in enumerate(value.shape) if extent == size]
    if size == 1 or not axes:
        return 0 if axes[:1] == [0] else None
    distances = [_distance(np.roll(value, 1, axis), turned) for axis in axes]
    rounding = 1e-6 * _distance(value, np.zeros_like(value))
    if 2 * _distance(value, turned) + rounding < min(distances):
        return None  # the order of the samples changes nothing: a table, or a mean over them
    return next(axis for axis, far in zip(axes, distances, strict=True) if far <= 2 * min(distances) + rounding)


def _distance(one: Array, other: Array) -> float:
    if one.dtype.kind not in "biuf":
        return float((one != other).mean())
    return float(np.abs(np.nan_to_num(one.astype(np.float64)) - np.nan_to_num(other.astype(np.float64))).mean())


def _joined(parts: list[Any], axis: int | None, n: int) -> Array | None:
    """Join a value of several batches on its axis of samples, without the rows of padding.

    A value without one is itself where all batches agree (a shape, a constant), and None where they do not: whose rows
    are which cannot be known.
    """
    values = [np.asarray(part) for part in parts]
    if axis is not None:
        return np.concatenate(values, axis=axis).take(np.arange(n), axis=axis)
    same = all(np.array_equal(values[0], other) for other in values[1:])
    return values[0] if same else None


def _sample_shape(entry: Any) -> tuple[int | None, ...] | None:
    if not entry.type.tensor_type.HasField("shape"):
        return None
    return tuple(size.dim_value or None for size in entry.type.tensor_type.shape.dim[1:])

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
            if entry.key != "location":
                continue
            location = Path(entry.value)
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
                name = self._free_name(node.name or f"{node.op_type}_{index}")
                self.add_module(name, OnnxNode(node.op_type, node.output[0]))

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
        # Nodes with hooks become outputs of the session, so that their hooks get what the graph computed.
        nodes = [node for node in self.children() if isinstance(node, OnnxNode) and _is_hooked(node)]
        extra = tuple(dict.fromkeys(node.output for node in nodes if node.output not in self.output_names))
        session = self.session(extra)
        feeds = {}
        for entry, tensor in zip(session.get_inputs(), inputs, strict=True):
            array = tensor.detach().cpu().numpy()
            feeds[entry.name] = np.ascontiguousarray(array, dtype=_NUMPY_TYPES.get(entry.type))
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
        size, n = self.fixed_batch, _common_length(feeds)
        if size is None or n in (0, size):
            return dict(zip(names, map(np.asarray, session.run(names, feeds)), strict=True))

        def run(rows: Array) -> list[Any]:
            return session.run(names, {name: value[rows] for name, value in feeds.items()})  # type: ignore[no-any-return]

        # The last batch is filled up with copies of the last sample.
        batches = [np.minimum(np.arange(start, start + size), n - 1) for start in range(0, n, size)]
        parts = [run(rows) for rows in batches]
        # The first batch again, its last sample first: what moves along with the samples has them on that axis.
        rolled = run(np.roll(batches[0], 1)) if size > 1 else parts[0]
        joined: dict[str, Array] = {}
        for k, name in enumerate(names):
            values = [np.asarray(part[k]) for part in parts]
            value = _joined(values, _axis_of_samples(values[0], np.asarray(rolled[k]), size), n)
            if value is not None:
                joined[name] = value
            elif name in self.output_names:
                raise ModelError(
                    f"the ONNX file is fixed to batches of {size}, and its output {name!r} of shape "
                    f"{values[0].shape} has no axis of samples to join them on: pass {size} "
                    f"samples (batch_size={size}), or export it with a dynamic batch axis"
                )
        return joined

    def __getstate__(self) -> dict[str, Any]:
        """Leave the sessions out: they are made again on use."""
        return {**self.__dict__, "_sessions": {}}


def _is_hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or nn.modules.module._global_forward_hooks)


def _fixed_batch(inputs: list[Any]) -> int | None:
    """Return the batch size that all inputs of a graph are fixed to, None where it is free."""
    sizes = set()
    for entry in inputs:
        dims = entry.type.tensor_type.shape.dim
        sizes.add(int(dims[0].dim_value) if dims else 0)  # 0 is ONNX's size of a free axis
    size = sizes.pop() if len(sizes) == 1 else 0
    return size or None


def _common_length(feeds: dict[str, Array]) -> int:
    """Return the number of samples in all inputs; 0 where they differ, or where one has no axes."""
    lengths = {value.shape[0] if value.ndim else 0 for value in feeds.values()}
    return lengths.pop() if len(lengths) == 1 else 0


def _axis_of_samples(value: Array, rolled: Array, size: int) -> int | None:
    """Return the axis of a batch's samples in a value; `rolled` is the value of the same samples, the last one first.

    The length of an axis is not enough: a sequence may have as many steps as the batch has samples. In batches of one
    sample nothing can be reordered; there the first axis counts, if its length is 1.
    """
    axes = [axis for axis, extent in enumerate(value.shape) if extent == size]
    if size == 1:
        return 0 if 0 in axes else None
    if not axes:
        return None
    # Rolling the value along the axis of samples gives the value of the rolled samples, up to rounding.
    distances = {axis: _distance(np.roll(value, 1, axis), rolled) for axis in axes}
    nearest = min(distances.values())
    rounding = 1e-6 * _distance(value, np.zeros_like(value))
    if 2 * _distance(value, rolled) + rounding < nearest:
        return None  # the order of the samples changes nothing: a table, or a mean over them
    # Of several axes that fit equally well, the first.
    return next(axis for axis in axes if distances[axis] <= 2 * nearest + rounding)


def _distance(one: Array, other: Array) -> float:
    """Return the mean absolute difference of two arrays; for strings, the share of entries that differ."""
    if one.dtype.kind not in "biuf":
        return float((one != other).mean())
    first, second = (np.nan_to_num(array.astype(np.float64)) for array in (one, other))
    return float(np.abs(first - second).mean())


def _joined(values: list[Array], axis: int | None, n: int) -> Array | None:
    """Join a value of several batches on its axis of samples, without the rows of the copies.

    A value without such an axis is returned where all batches agree (a shape, a constant). Where they do not, it cannot
    be joined: the result is None.
    """
    if axis is not None:
        return np.concatenate(values, axis=axis).take(np.arange(n), axis=axis)
    same = all(np.array_equal(values[0], other) for other in values[1:])
    return values[0] if same else None


def _sample_shape(entry: Any) -> tuple[int | None, ...] | None:
    if not entry.type.tensor_type.HasField("shape"):
        return None
    return tuple(size.dim_value or None for size in entry.type.tensor_type.shape.dim[1:])

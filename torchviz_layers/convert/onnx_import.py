"""ONNX file -> `nn.Module` that ONNX Runtime computes, with every node of the graph as a submodule for hooks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchviz_layers._module_facts import set_fact
from torchviz_layers.exceptions import ConversionError, MissingDependencyError

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

    Parameters
    ----------
    path
        An `.onnx` file. Its weights may lie in files beside it, nowhere else.

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
                raise ConversionError(f"{path}: refused: weights {tensor.name!r} lie in another place: {entry.value!r}")


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
    """An ONNX graph: ONNX Runtime computes it, with the outputs of all hooked nodes beside its own."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model
        self._sessions: dict[tuple[str, ...], Any] = {}
        constants = {entry.name for entry in model.graph.initializer}
        self.input_names = [entry.name for entry in model.graph.input if entry.name not in constants]
        self.output_names = [entry.name for entry in model.graph.output]
        set_fact(
            self,
            "input_shapes",
            tuple(_sample_shape(entry) for entry in model.graph.input if entry.name not in constants),
        )
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
        """Return the ONNX Runtime session that also gives the values named in `extra`."""
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
        values = dict(
            zip(names, (torch.from_numpy(np.asarray(v)).to(device) for v in session.run(names, feeds)), strict=True)
        )
        for node in nodes:
            values[node.output] = node(values[node.output])
        outputs = tuple(values[name] for name in self.output_names)
        return outputs if len(outputs) > 1 else outputs[0]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the sessions behind: they are made anew on use."""
        return {**self.__dict__, "_sessions": {}}


def _is_hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or nn.modules.module._global_forward_hooks)


def _sample_shape(entry: Any) -> tuple[int | None, ...] | None:
    if not entry.type.tensor_type.HasField("shape"):
        return None
    return tuple(size.dim_value or None for size in entry.type.tensor_type.shape.dim[1:])

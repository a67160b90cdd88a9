"""A converted module -> readable PyTorch source that imports torch only, and its weights as safetensors."""

from __future__ import annotations

import builtins
import keyword
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from torchviz_layers._common.files import write_files
from torchviz_layers.convert.source.definitions import definitions, needed
from torchviz_layers.convert.source.expressions import call_expression, constructor_expression, tuple_expression
from torchviz_layers.convert.source.statements import assignment, indented, return_statement, wrapped
from torchviz_layers.convert.summary import output_shapes
from torchviz_layers.exceptions import ConversionError


def write_source(module: nn.Module, path: str | Path, *, name: str | None = None) -> tuple[Path, Path]:
    """Write a converted module as a Python file with one class, and its weights in a file in the same folder.

    Parameters
    ----------
    module
        What `convert_keras` returned.
    path
        The `.py` file to write; the weights go to the same name with `.safetensors`.
    name
        The class's name; by default made from the file's name.

    Returns
    -------
    tuple of Path
        The source and the weights. `model.load_state_dict(safetensors.torch.load_file(weights))` fills the model.

    Raises
    ------
    ConversionError
        The module holds a layer of the caller's own, or a file cannot be written.
    """
    from safetensors.torch import save

    path = Path(path)
    weights = path.with_suffix(".safetensors")
    class_name = name or _capitalised(path.stem)
    text = source_of(module, class_name, weights.name)
    state = {key: value.detach().clone().contiguous() for key, value in module.state_dict().items()}
    try:
        write_files({path: text.encode(), weights: save(state)})
    except OSError as problem:
        raise ConversionError(
            f"{problem.filename or path}: cannot be written: {problem.strerror or problem}"
        ) from problem
    return path, weights


def source_of(module: nn.Module, class_name: str, weights: str = "model.safetensors") -> str:
    """Return the source of a converted module as the text of a Python file."""
    writer = _Writer(output_shapes(module))
    writer.add_class(module, class_name, "")
    imports, helpers = needed(writer.used)
    body = "\n\n\n".join([*helpers, *writer.classes])
    lines = [
        f'"""{class_name}, converted from Keras; the weights are in {weights}.',
        "",
        f">>> model = {class_name}()",
        f'>>> model.load_state_dict(safetensors.torch.load_file("{weights}"))  # doctest: +SKIP',
        ">>> model = model.eval()",
        '"""',
        "",
        "from __future__ import annotations",
        "",
    ]
    if imports:
        lines += [*imports, ""]
    if re.search(r"\btorch\.", body):
        lines.append("import torch")
    if re.search(r"\bF\.", body):
        lines.append("import torch.nn.functional as F")
    lines.append("from torch import Tensor, nn")
    # Two empty lines before a class or function, one before a table.
    gap = "\n\n\n" if body.startswith(("class ", "def ")) else "\n\n"
    return "\n".join(lines) + gap + body + "\n"


def _capitalised(stem: str) -> str:
    name = "".join(part[:1].upper() + part[1:] for part in re.split(r"[\W_]+", stem))
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"Model{name}"


class _Writer:
    """Collects the source of the classes of a model and its nested models.

    A module's path is `prefix + key`; `shapes` are the shapes of the outputs by path, as text.
    """

    def __init__(self, shapes: dict[str, str]) -> None:
        self.shapes = shapes
        self.used: set[str] = set()  # names from `layers` that the classes need
        self.masked: set[str] = set()  # paths of modules that are called with a mask
        self.classes: list[str] = []
        self.names: set[str] = set()  # of the classes

    def add_class(self, module: nn.Module, name: str, prefix: str) -> str:
        """Add the class of a network, those of nested networks before it, and return its name."""
        name = self._free_class(name)
        graph = module.graph if isinstance(module, fx.GraphModule) else _chain_graph(module)
        for node in graph.nodes:
            if node.op == "call_module" and node.kwargs:
                self.masked.add(f"{prefix}{node.target}")
        inits = self._init_lines(module, prefix)
        body = self._forward(graph, module, prefix)
        inputs = [self._variable(node.name) for node in graph.nodes if node.op == "placeholder"]
        arguments = ", ".join(f"{variable}: Tensor" for variable in inputs)
        what = "A chain of layers"
        if isinstance(module, fx.GraphModule):
            what = f"The Keras model {type(module).__name__}"
        result = "Return the outputs"
        shape = self.shapes.get(prefix.rstrip("."), "")
        if shape:
            result += f", {shape}"
        lines = [
            f"class {name}(nn.Module):",
            f'    """{what}."""',
            "",
            "    def __init__(self) -> None:",
            "        super().__init__()",
            *indented(inits),
            "",
            f"    def forward(self, {arguments}) -> {self._result_type(graph)}:",
            f'        """{result}."""',
            *indented(body),
        ]
        self.classes.append("\n".join(lines))
        return name

    def _init_lines(self, module: nn.Module, prefix: str) -> list[str]:
        """Return the lines of `__init__` that make the submodules and buffers."""
        lines: list[str] = []
        for key, child in module.named_children():
            lines += self._init(key, child, prefix)
        for key, value in module._buffers.items():
            if value is not None:
                lines.append(f'self.register_buffer("{key}", {_empty(value)})')
        return lines

    def _free_class(self, name: str) -> str:
        """Return a name for a class that neither another class nor a definition of `layers` has."""
        while name in self.names or name in definitions():
            name += "_" if name in definitions() else "2"
        self.names.add(name)
        return name

    def _result_type(self, graph: fx.Graph) -> str:
        value = next(node for node in graph.nodes if node.op == "output").args[0]
        if isinstance(value, dict):
            return "dict[str, Tensor]"
        return "tuple[Tensor, ...]" if isinstance(value, (list, tuple)) else "Tensor"

    def _init(self, key: str, child: nn.Module, prefix: str) -> list[str]:
        """Return the lines that make a submodule; none where its call needs no module."""
        expression = self._constructor(child, key, prefix)
        if expression is None:
            return []
        if key.isidentifier():
            return wrapped(f"self.{key} = ", expression, "")
        return wrapped(f'self.add_module("{key}", ', expression, ")")

    def _constructor(self, child: nn.Module, key: str, prefix: str, *, whole: bool = False) -> str | None:
        """Return the call that makes a submodule; `whole` for a module inside another layer's."""
        path = f"{prefix}{key}"
        if isinstance(child, (fx.GraphModule, nn.Sequential)):
            return f"{self.add_class(child, _capitalised(key), f'{prefix}{key}.')}()"
        inner = {}
        for name, part in child.named_children():
            inner[id(part)] = self._constructor(part, name, f"{path}.", whole=True)
        shape = self.shapes.get(path, "")
        expression, used = constructor_expression(child, inner, shape, whole=whole, masked=path in self.masked)
        self.used |= used
        return expression

    def _variable(self, name: str) -> str:
        """Return a variable's name that hides nothing which the source uses."""
        if name in definitions() or hasattr(builtins, name) or keyword.iskeyword(name) or name in ("torch", "F", "nn"):
            return f"{name}_"
        return name

    def _forward(self, graph: fx.Graph, module: nn.Module, prefix: str) -> list[str]:
        """Return the lines of `forward`, one for each node of the graph."""
        lines: list[str] = []
        names: dict[fx.Node, str] = {}  # the variable, or the expression, that has the value of a node
        chain = _is_line(graph)
        for node in graph.nodes:
            if node.op == "placeholder":
                names[node] = self._variable(node.name)
                continue
            if node.op == "output":
                lines += return_statement(_rendered(node.args[0], names), lines)
                break
            if not node.users and node.op == "call_function":  # a mask or an output that nothing uses
                continue
            expression = self._node(node, module, names, prefix)
            shape = ""
            if node.op == "call_module":
                if expression in names.values():  # a layer that does nothing outside training: its input itself
                    names[node] = expression
                    continue
                shape = self.shapes.get(f"{prefix}{node.target}", "")
            names[node] = "x" if chain else self._variable(node.name)
            lines += assignment(names[node], expression, shape)
        return lines

    def _node(self, node: fx.Node, module: nn.Module, names: dict[fx.Node, str], prefix: str) -> str:
        """Return the expression of one node."""
        if node.op == "get_attr":
            return f"self.{node.target}"
        arguments = [_rendered(value, names) for value in node.args]
        if node.op == "call_method":
            return f"{arguments[0]}.{node.target}({', '.join(arguments[1:])})"
        keywords = {key: _rendered(value, names) for key, value in node.kwargs.items()}
        if node.op == "call_function":
            return self._function(node, arguments)
        target = str(node.target)
        own = f"self.{target}" if target.isidentifier() else f'getattr(self, "{target}")'
        shape = self.shapes.get(f"{prefix}{target}", "")
        expression, used = call_expression(module.get_submodule(target), own, arguments, keywords, shape)
        self.used |= used
        return expression

    def _function(self, node: fx.Node, arguments: list[str]) -> str:
        name = getattr(node.target, "__name__", str(node.target))
        if name == "getitem":
            return f"{arguments[0]}[{arguments[1]}]"
        if getattr(torch, name, None) is node.target:
            return f"torch.{name}({', '.join(arguments)})"
        self.used.add(name)
        return f"{name}({', '.join(arguments)})"


def _chain_graph(module: nn.Module) -> fx.Graph:
    """Return the graph of a Sequential."""
    graph = fx.Graph()
    node = graph.placeholder("x")
    for key, _ in module.named_children():
        node = graph.call_module(key, (node,))
    graph.output(node)
    return graph


def _is_line(graph: fx.Graph) -> bool:
    """Return whether every value is used by the next node alone, so that one variable does."""
    nodes = list(graph.nodes)
    return nodes[0].name == "x" and all(after.all_input_nodes == [before] for before, after in pairwise(nodes))


def _rendered(value: Any, names: dict[fx.Node, str]) -> str:
    if isinstance(value, fx.Node):
        return names[value]
    if isinstance(value, dict):
        pairs = [f'"{key}": {_rendered(entry, names)}' for key, entry in value.items()]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return tuple_expression([_rendered(entry, names) for entry in value])
    return repr(value)


def _empty(value: torch.Tensor) -> str:
    return f"torch.empty({tuple(value.shape)}, dtype={value.dtype})"

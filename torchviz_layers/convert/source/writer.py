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
from torchviz_layers.convert.source.expressions import call_expression, constructor_expression
from torchviz_layers.convert.summary import output_shapes
from torchviz_layers.exceptions import ConversionError

_LINE = 120


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
        *imports,
        *([""] if imports else []),
        *(["import torch"] if re.search(r"\btorch\.", body) else []),
        *(["import torch.nn.functional as F"] if re.search(r"\bF\.", body) else []),
        "from torch import Tensor, nn",
    ]
    gap = "\n\n\n" if body.startswith(("class ", "def ")) else "\n\n"
    return "\n".join(lines) + gap + body + "\n"


def _capitalised(stem: str) -> str:
    name = "".join(part[:1].upper() + part[1:] for part in re.split(r"[\W_]+", stem))
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"Model{name}"


class _Writer:
    """Collects classes; `used` are the names from `layers` that they need."""

    def __init__(self, shapes: dict[str, str]) -> None:
        self.shapes = shapes
        self.used: set[str] = set()
        self.masked: set[str] = set()
        self.classes: list[str] = []
        self.names: set[str] = set()

    def add_class(self, module: nn.Module, name: str, prefix: str) -> str:
        """Add the class of a network, those of nested networks before it, and return its name."""
        name = self._free_class(name)
        graph = module.graph if isinstance(module, fx.GraphModule) else _chain_graph(module)
        self.masked |= {f"{prefix}{node.target}" for node in graph.nodes if node.op == "call_module" and node.kwargs}
        inits = [self._init(key, child, prefix) for key, child in module.named_children()]
        inits += [
            f"self.register_buffer({key!r}, {_empty(value)})".replace("'", '"')
            for key, value in module._buffers.items()
            if value is not None
        ]
        body = self._forward(graph, module, prefix)
        inputs = [node.name for node in graph.nodes if node.op == "placeholder"]
        arguments = ", ".join(f"{self._variable(node)}: Tensor" for node in inputs)
        shape = self.shapes.get(prefix.rstrip("."), "")
        lines = [
            f"class {name}(nn.Module):",
            f'    """The Keras model {type(module).__name__}."""'
            if isinstance(module, fx.GraphModule)
            else '    """A chain of layers."""',
            "",
            "    def __init__(self) -> None:",
            "        super().__init__()",
            *(f"        {line}" for init in inits if init for line in init.split("\n")),
            "",
            f"    def forward(self, {arguments}) -> {self._result_type(graph)}:",
            f'        """Return the outputs{", " + shape if shape else ""}."""',
            *(f"        {line}" for line in body),
        ]
        self.classes.append("\n".join(lines))
        return name

    def _free_class(self, name: str) -> str:
        while name in self.names or name in definitions():
            name += "_" if name in definitions() else "2"
        self.names.add(name)
        return name

    def _result_type(self, graph: fx.Graph) -> str:
        value = next(node for node in graph.nodes if node.op == "output").args[0]
        if isinstance(value, dict):
            return "dict[str, Tensor]"
        return "tuple[Tensor, ...]" if isinstance(value, (list, tuple)) else "Tensor"

    def _init(self, key: str, child: nn.Module, prefix: str) -> str:
        expression = self._constructor(child, key, prefix)
        if expression is None:
            return ""
        target = f"self.{key} = " if key.isidentifier() else f'self.add_module("{key}", '
        return _wrapped(target, expression, "" if key.isidentifier() else ")")

    def _constructor(self, child: nn.Module, key: str, prefix: str, *, whole: bool = False) -> str | None:
        if isinstance(child, (fx.GraphModule, nn.Sequential)):
            return f"{self.add_class(child, _capitalised(key), f'{prefix}{key}.')}()"
        inner = {
            id(part): self._constructor(part, name, f"{prefix}{key}.", whole=True)
            for name, part in child.named_children()
        }
        expression, used = constructor_expression(
            child, inner, self.shapes.get(f"{prefix}{key}", ""), whole=whole, masked=f"{prefix}{key}" in self.masked
        )
        self.used |= used
        return expression

    def _variable(self, name: str) -> str:
        if name in definitions() or hasattr(builtins, name) or keyword.iskeyword(name) or name in ("torch", "F", "nn"):
            return f"{name}_"
        return name

    def _forward(self, graph: fx.Graph, module: nn.Module, prefix: str) -> list[str]:
        lines: list[str] = []
        names: dict[fx.Node, str] = {}
        chain = _is_line(graph)
        for node in graph.nodes:
            if node.op == "placeholder":
                names[node] = self._variable(node.name)
                continue
            if node.op == "output":
                lines += _return(_rendered(node.args[0], names), lines)
                break
            if not node.users and node.op == "call_function":
                continue
            expression = self._node(node, module, names, prefix)
            if expression in names.values() and node.op == "call_module":  # a layer that rests outside training
                names[node] = expression
                continue
            names[node] = "x" if chain else self._variable(node.name)
            shape = self.shapes.get(f"{prefix}{node.target}", "") if node.op == "call_module" else ""
            lines += _assignment(names[node], expression, shape)
        return lines

    def _node(self, node: fx.Node, module: nn.Module, names: dict[fx.Node, str], prefix: str) -> str:
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
        expression, used = call_expression(
            module.get_submodule(target), own, arguments, keywords, self.shapes.get(f"{prefix}{target}", "")
        )
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
    graph = fx.Graph()
    node = graph.placeholder("x")
    for key, _ in module.named_children():
        node = graph.call_module(key, (node,))
    graph.output(node)
    return graph


def _is_line(graph: fx.Graph) -> bool:
    """Tell whether every value is used by the next node alone, so that one variable does."""
    nodes = list(graph.nodes)
    return nodes[0].name == "x" and all(after.all_input_nodes == [before] for before, after in pairwise(nodes))


def _rendered(value: Any, names: dict[fx.Node, str]) -> str:
    if isinstance(value, fx.Node):
        return names[value]
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}": {_rendered(entry, names)}' for key, entry in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        entries = [_rendered(entry, names) for entry in value]
        return f"({', '.join(entries)}{',' if len(entries) == 1 else ''})"
    return repr(value)


def _empty(value: torch.Tensor) -> str:
    return f"torch.empty({tuple(value.shape)}, dtype={value.dtype})"


def _return(expression: str, lines: list[str]) -> list[str]:
    """Return the return statement; what was only just assigned is returned itself."""
    last = lines[-1] if lines else ""
    start = f"{expression} = "
    if last.startswith(start) and "  # " in last:
        value, _, shape = last.removeprefix(start).partition("  # ")
        lines.pop()
        return [f"return {value}  # {shape}"]
    if last.startswith(start):
        lines.pop()
        return [f"return {last.removeprefix(start)}"]
    return [f"return {expression}"]


def _assignment(name: str, expression: str, shape: str) -> list[str]:
    if name == expression:
        return []
    line = f"{name} = {expression}"
    comment = f"  # {shape}" if shape else ""
    if len(line) + len(comment) + 8 <= _LINE:
        return [line + comment]
    return [*([f"# {shape}"] if shape else []), *_wrapped(f"{name} = ", expression, "").split("\n")]


def _wrapped(start: str, expression: str, end: str) -> str:
    """Return a statement whose call is broken over lines where it is too long for one."""
    if len(start + expression + end) + 8 <= _LINE or "(" not in expression:
        return start + expression + end
    head, _, rest = expression.partition("(")
    parts = _split_arguments(rest[:-1])
    inner = [f"    {line}" for part in parts for line in _wrapped("", part, ",").split("\n")]
    return "\n".join([f"{start}{head}(", *inner, f"){end}"])


def _split_arguments(text: str) -> list[str]:
    parts, depth, current, quoted = [], 0, "", False
    for character in text:
        quoted ^= character == '"'
        depth += (character in "([{") - (character in ")]}") if not quoted else 0
        if character == "," and depth == 0 and not quoted:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [*parts, current.strip()] if current.strip() else parts

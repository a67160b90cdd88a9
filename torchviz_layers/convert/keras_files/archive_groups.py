"""The groups of a `.keras` archive."""

from __future__ import annotations

from torchviz_layers._common.arrays import Array
from torchviz_layers.convert.keras_files.records import KerasFile


class Groups:
    """The groups of an archive: their arrays, and the names of layers that the file gives for them."""

    def __init__(self, file: KerasFile) -> None:
        self.version = file.keras_version
        self.arrays = {path.replace("\\", "/"): array for path, array in file.arrays.items()}
        self.names = {path.replace("\\", "/"): name for path, name in file.group_names.items()}
        self.numbered: dict[str, dict[int, Array]] = {}  # "layers/dense/vars/" -> {0: kernel, 1: bias}
        self.prefixes: set[str] = set()  # of all groups that hold arrays, directly or deeper
        self._children: dict[str, set[str]] = {}
        for path, array in self.arrays.items():
            group, _, name = path.rpartition("/")
            if name.isdigit():
                self.numbered.setdefault(f"{group}/", {})[int(name)] = array
            self._add_prefixes(f"{group}/")

    def below(self, prefix: str) -> dict[str, Array]:
        """Return all arrays whose paths start with `prefix`, by the rest of their paths."""
        return {path[len(prefix) :]: array for path, array in self.arrays.items() if path.startswith(prefix)}

    def variables(self, prefix: str) -> list[Array]:
        """Return the arrays of the object at `prefix` in their order."""
        group = self.numbered.get(f"{prefix}vars/", {})
        return [group[index] for index in sorted(group)]

    def children(self, prefix: str) -> list[str]:
        """Return the groups directly in the group at `prefix` that hold arrays."""
        return sorted(self._children.get(prefix, ()))

    def _add_prefixes(self, prefix: str) -> None:
        """Enter a group and those around it, up to the first one that is known."""
        while prefix not in self.prefixes:
            self.prefixes.add(prefix)
            parent = prefix[: prefix.rstrip("/").rfind("/") + 1]
            self._children.setdefault(parent, set()).add(prefix)
            if not parent:
                return
            prefix = parent

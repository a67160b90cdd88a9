"""A single HTML file without further files: saved, opened in the browser, or shown in a notebook."""

from __future__ import annotations

import html as html_module
import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path

from torchviz_layers._common.files import atomic_write
from torchviz_layers.exceptions import PageError


def write_beside(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file whole or not at all; return the path.

    Raises
    ------
    PageError
        Where it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            write(temporary)
    except OSError as error:
        reason = error.strerror or error
        raise PageError(f"cannot write {path}: {reason}; choose a folder that you can write to") from error
    return path


class OfflineDocument:
    """One self-contained HTML file.

    Parameters
    ----------
    html
        The file's text.
    height
        Its height in a notebook, in pixels.
    """

    def __init__(self, html: str, height: int) -> None:
        self.html = html
        self.height = height

    def save(self, path: str | Path) -> Path:
        """Write the file, whole or not at all, and return its path.

        Raises
        ------
        PageError
            Where it cannot be written.
        """
        return write_beside(Path(path), lambda beside: beside.write_text(self.html, encoding="utf-8"))

    def show(self) -> None:
        """Show it inline in a notebook, otherwise in the browser, from a temporary file."""
        if _in_notebook():
            from IPython.display import display

            display(self)  # type: ignore[no-untyped-call]
            return
        folder = Path(tempfile.mkdtemp(prefix="torchviz_layers-"))
        webbrowser.open(self.save(folder / "page.html").as_uri())

    def _repr_html_(self) -> str:
        # An iframe isolates the page's styles and scripts from those of the notebook.
        return (
            f'<iframe srcdoc="{html_module.escape(self.html)}" width="100%" height="{self.height}" '
            'style="border:0" sandbox="allow-scripts allow-downloads" title="torchviz_layers"></iframe>'
        )


def _in_notebook() -> bool:
    # In a terminal, IPython has no kernel app and cannot display HTML.
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return "IPKernelApp" in getattr(get_ipython(), "config", {})

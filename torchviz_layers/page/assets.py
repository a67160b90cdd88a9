"""The page's files: templates, styles, and JavaScript modules bundled into one script."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any

from torchviz_layers.page.columns import packed_text

# A module may import only from those before it in this order.
SCRIPTS = (
    "store",
    "dom",
    "roving_tabindex",
    "state",
    "link",
    "decisions",
    "pair",
    "votes",
    "subsets",
    "residuals",
    "value_plot",
    "labels",
    "pattern",
    "thumbnails",
    "views",
    "fields",
    "frames",
    "panel_sight",
    "painters",
    "facets",
    "stamps",
    "points",
    "overlays",
    "tooltip",
    "map_names",
    "touch",
    "maps",
    "coloring",
    "ranges",
    "place_names",
    "map_rows",
    "rings",
    "grid",
    "pointer",
    "scatter",
    "map_pictures",
    "chips",
    "toolbar",
    "columns",
    "search",
    "card",
    "journey",
    "gallery",
    "border",
    "why",
    "answers",
    "matrix",
    "selection_curve",
    "curves",
    "theatre",
    "queue",
    "summary",
    "stage_picture",
    "export",
    "relabel",
    "view_link",
    "main",
)

# Later rules override earlier ones of the same weight.
STYLES = ("page", "pictures", "answers", "map", "labels", "links", "facets", "narrow")

_EXPORTED_NAME = re.compile(r"^export (?:async )?(?:function|const|class) (\$|\w+)", flags=re.MULTILINE)
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', flags=re.MULTILINE)
_EXPORT = re.compile(r"^export ", flags=re.MULTILINE)


@cache
def template(name: str) -> str:
    """Return the text of a file in the folder of templates."""
    return (resources.files("torchviz_layers.page") / "templates" / name).read_text(encoding="utf-8")


def page_style() -> str:
    """Return the styles of the page."""
    return "\n".join(template(f"css/{name}.css") for name in STYLES)


def bundle(names: tuple[str, ...]) -> str:
    """Return ES modules as one script: a page opened from disk may not import other files.

    Each module becomes an async function that returns its exports, so that it keeps a scope of its own. It may import
    only from modules before it, by names in braces, and export only where it declares.
    """
    scripts = ["const modules = {};"]
    for name in names:
        text = template(f"js/{name}.js")
        exported = ", ".join(_EXPORTED_NAME.findall(text))
        text = _IMPORT.sub(r"const \1 = modules.\2;", text)
        text = _EXPORT.sub("", text)
        scripts.append(f"modules.{name} = await (async () => {{\n{text}\nreturn {{ {exported} }};\n}})();")
    return "\n".join(scripts)


@cache
def packed_bokeh() -> str:
    """Return BokehJS, minified, without the components that the page does not use, packed to a third of its size."""
    return packed_text(_bokeh_script())


@cache
def bokeh_license() -> str:
    """Return the comment at the beginning of BokehJS that must come with every copy: its licence."""
    found = re.search(r"/\*!.*?\*/", _bokeh_script(), flags=re.DOTALL)
    return found[0] if found else ""


def _bokeh_script() -> str:
    from bokeh.resources import Resources

    return "\n".join(Resources(mode="inline", minified=True, components=["bokeh"]).js_raw)


def environment() -> Any:
    """Return Jinja's environment: values are escaped, and a value that is missing is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(template), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["script_json"] = script_json
    return environment


def script_json(value: Any) -> Any:
    """Return a value as JSON that cannot end the script element it is in, whatever its strings contain."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # U+2028 and U+2029 end a line in JavaScript, although not in JSON.
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)

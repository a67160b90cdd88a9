"""Models by name, file or factory: modules that know what their samples should look like."""

from torchviz_layers.models.loading import (
    bundled_path,
    check_input,
    fitting_transform,
    load_model,
    model_transform,
    naming_model,
    parse_transform,
    set_transform,
    shapes_agree,
    trained_on,
)

__all__ = [
    "bundled_path",
    "check_input",
    "fitting_transform",
    "load_model",
    "model_transform",
    "naming_model",
    "parse_transform",
    "set_transform",
    "shapes_agree",
    "trained_on",
]

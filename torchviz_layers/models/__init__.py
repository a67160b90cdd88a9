"""Models by name, file or factory: modules with the transform of their inputs."""

from torchviz_layers.models.inputs import check_input, naming_model, shapes_agree
from torchviz_layers.models.loading import bundled_path, load_model, trained_on
from torchviz_layers.models.transforms import fitting_transform, model_transform, parse_transform, set_transform

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

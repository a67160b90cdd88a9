"""Picture files for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, value: object = 0, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = value if isinstance(value, np.ndarray) else np.full((6, 6), value, np.uint8)
    Image.fromarray(array).save(path, **options)

"""Colours of classes, which most colour-blind readers can distinguish, and colours of values, ordered by lightness."""

from __future__ import annotations

import math

# Observable's categorical colours: visible on white and on black, and different in lightness as well as in hue. In
# place of its grey, which faded points look like, a plum: of the colours visible on both, among the farthest from the
# nine for readers with and without protanopia, deuteranopia or tritanopia.
TEN = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9c1878")


def class_colors(n_classes: int) -> list[str]:
    """Return one colour per class: the ten or, for more classes, hues a golden angle apart at three lightnesses."""
    if n_classes <= len(TEN):
        return list(TEN[:n_classes])
    colors = []
    for code in range(n_classes):
        # Steps of the golden angle (137.5 degrees) never come close to an earlier hue soon.
        lightness = 0.62 + 0.09 * (code % 3 - 1)
        colors.append(_oklch(lightness, 0.11, math.radians(137.508 * code)))
    return colors


def ramp(count: int) -> list[str]:
    """Return so many colours from low to high: even steps of lightness from blue to yellow, visible on white and black.

    Lightness alone orders them, so that colour-blind readers can read them too. The ends of viridis, which has the same
    hues, are close to black and to white.
    """
    colors = []
    for step in range(count):
        share = step / max(1, count - 1)
        colors.append(_oklch(0.45 + 0.39 * share, 0.125, math.radians(285 - 180 * share)))
    return colors


def diverging(count: int) -> list[str]:
    """Return so many colours from negative to positive: blue, a light yellow at zero, red; the ends equally light.

    No colour between them is grey, which would look like a sample that is not selected.
    """
    colors = []
    for step in range(count):
        place = 2 * step / max(1, count - 1) - 1  # in [-1, 1]
        hue = 100 - (162 if place < 0 else 72) * place  # blue 262, yellow 100, red 28
        colors.append(_oklch(0.82 - 0.3 * abs(place), 0.125 + 0.03 * abs(place), math.radians(hue)))
    return colors


def category_colors(n_categories: int) -> list[str]:
    """Return one colour per category of a reader's column: those of classes, of which none is grey."""
    return class_colors(n_categories)


def _oklch(lightness: float, chroma: float, hue: float) -> str:
    """Return an sRGB colour of the OKLCH space (Ottosson, "A perceptual color space for image processing", 2020)."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    # OKLab to the responses of the long, medium and short cones, then to linear RGB.
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(value)):02x}" for value in linear)


def _gamma(linear: float) -> float:
    """Return a linear channel, clipped to [0, 1], in sRGB's encoding."""
    # sRGB is linear near black and a power elsewhere.
    value = min(1.0, max(0.0, linear))
    if value <= 0.0031308:
        return 12.92 * value
    return float(1.055 * value ** (1 / 2.4) - 0.055)

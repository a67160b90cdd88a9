"""The parts of the CUDA suite in the order in which they run: the most important first."""

from __future__ import annotations

from benchmarks.cuda import maps, recording
from benchmarks.cuda.suite import Part

PARTS = {
    "neighbors": Part("exact neighbours", maps.neighbors, 90),
    "same-bytes": Part("UMAP, one seed", maps.same_bytes, 60),
    "quality": Part("quality of maps", maps.quality, 90),
    "times": Part("UMAP's time", maps.times, 60),
    "capture": Part("capture", recording.capturing, 90),
    "extract": Part("extract to memory", recording.extracting, 90),
    "memory": Part("a batch that the card has no memory for", recording.out_of_memory, 60),
    "million": Part("a million samples", maps.million, 120),
    "metrics": Part("measures", maps.measuring, 60),
    "page": Part("visualize_layers", recording.page, 90),
    "layout": Part("the layout's kernel", maps.layout, 60),
    "compiled": Part("a compiled model", recording.compiled, 60),
    "cards": Part("a second card", recording.second_card, 60),
    "umap-learn": Part("UMAP beside umap-learn", maps.against_umap_learn, 200),
    "quality-70k": Part("quality of a large map", maps.quality_of_many, 120),
}

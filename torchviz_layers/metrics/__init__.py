"""Measures of maps, layers and networks, exact or on a stated sample, on the CPU and on CUDA."""

from __future__ import annotations

from torchviz_layers.metrics.labels import (
    knn_accuracy,
    knn_votes,
    neighbor_r2,
    neighborhood_hit,
    neighborhood_jaccard,
    silhouette,
)
from torchviz_layers.metrics.neighborhoods import continuity, knn_recall, trustworthiness
from torchviz_layers.metrics.networks import confidence, margin, prediction_depth
from torchviz_layers.metrics.probes import linear_probe_accuracy, linear_probe_label_accuracy, linear_probe_r2
from torchviz_layers.metrics.report import EmbeddingQuality, evaluate_embedding
from torchviz_layers.metrics.shapes import distance_spearman, linear_cka, triplet_accuracy

__all__ = [
    "EmbeddingQuality",
    "confidence",
    "continuity",
    "distance_spearman",
    "evaluate_embedding",
    "knn_accuracy",
    "knn_recall",
    "knn_votes",
    "linear_cka",
    "linear_probe_accuracy",
    "linear_probe_label_accuracy",
    "linear_probe_r2",
    "margin",
    "neighbor_r2",
    "neighborhood_hit",
    "neighborhood_jaccard",
    "prediction_depth",
    "silhouette",
    "triplet_accuracy",
    "trustworthiness",
]

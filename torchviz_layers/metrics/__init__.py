"""Measures of maps, layers and networks, exact or on a stated sample, on the CPU and on CUDA."""

from __future__ import annotations

from torchviz_layers.metrics.labels import knn_accuracy, knn_votes, linear_probe_accuracy, neighborhood_hit, silhouette
from torchviz_layers.metrics.neighborhoods import continuity, knn_recall, trustworthiness
from torchviz_layers.metrics.networks import confidence, margin, prediction_depth
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
    "margin",
    "neighborhood_hit",
    "prediction_depth",
    "silhouette",
    "triplet_accuracy",
    "trustworthiness",
]

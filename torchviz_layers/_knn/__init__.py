"""Nearest neighbours by products, by descent and on a card: what `knn` is made of."""

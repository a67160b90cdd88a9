"""`embed` of data that are no layers: their inputs."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.utils.data import DataLoader, TensorDataset

from torchviz_layers import Samples, embed
from torchviz_layers.exceptions import DataError, NonFiniteError, ReducerError

X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


def frame():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install pandas")
    return pandas.DataFrame(X, columns=list("abcdef"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: X,
        lambda: X.astype(np.float64),
        lambda: torch.from_numpy(X),
        lambda: X.reshape(40, 2, 3),
        lambda: (X, np.arange(40) % 3),
        lambda: list(torch.from_numpy(X)),
        lambda: TensorDataset(torch.from_numpy(X), torch.arange(40) % 3),
        lambda: DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=7),
        lambda: Samples.of(X),
        frame,
    ],
    ids=["array", "float64", "tensor", "two axes", "pair", "list", "Dataset", "DataLoader", "Samples", "DataFrame"],
)
def test_the_inputs_of_samples_are_embedded(make):
    embeddings = embed(make(), reducer="pca", progress=False)
    assert list(embeddings) == ["input"]
    expected = PCA(2).fit_transform(X)
    # An axis of PCA may point either way. Two digits fewer than float32 has, for sums in another order.
    np.testing.assert_allclose(np.abs(embeddings["input"].Z), np.abs(expected), atol=1e-4)


def test_whole_numbers_are_rows_too():
    whole = (X * 100).astype(np.int64)
    expected = PCA(2).fit_transform(whole)
    np.testing.assert_allclose(np.abs(embed(whole, reducer="pca")["input"].Z), np.abs(expected), atol=1e-2)


def test_inputs_of_any_width_are_embedded():
    wide = torch.rand(6, 3, 40, 40)  # 4,800 numbers a sample
    assert embed(TensorDataset(wide), reducer="pca")["input"].Z.shape == (6, 2)


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (object(), DataError, "data of type object"),
        (TensorDataset(torch.arange(12).reshape(4, 3)), DataError, "the inputs hold no numbers.*extract"),
        (np.array(["a", "b"]), DataError, "not real numbers"),
        (X[:1], ReducerError, "at least 2"),
        (np.where(X > 2, np.nan, X), NonFiniteError, "'input'.*NaN"),
    ],
)
def test_data_without_rows_say_so(data, kind, message):
    with pytest.raises(kind, match=message):
        embed(data, reducer="pca")


def test_a_number_in_place_of_a_layer_is_named():
    with pytest.raises(ReducerError, match="layer 'a' is one int: give rows"):
        embed({"a": 3}, reducer="pca")

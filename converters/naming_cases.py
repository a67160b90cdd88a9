"""Models whose layers' names say nothing of the groups of their arrays, for tests/files/keras_names.tar.xz.

A `.keras` archive keeps a layer's arrays in a group that is named after its class and a counter, and each version of
Keras counts in its own way. Layers of one model have the same shapes wherever they can: only the outputs then show
that two of them were mistaken for one another. `CASES` are functions of `keras` that return a model.
"""

# ruff: noqa: D103 - the names of the models say what they are

from __future__ import annotations

from collections.abc import Callable
from typing import Any

CASES: dict[str, Callable[[Any], Any]] = {}
SIZE = 3


def case(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Enter a function under its name."""
    CASES[build.__name__] = build
    return build


def dense(keras: Any, name: str) -> Any:
    return keras.layers.Dense(SIZE, name=name)


def block(keras: Any, name: str, *layers: Any) -> Any:
    """Return a functional model of these layers in a row."""
    x = start = keras.Input((SIZE,), name=f"{name}_in")
    for layer in layers:
        x = layer(x)
    return keras.Model(start, x, name=name)


def chain(keras: Any, name: str, *layers: Any) -> Any:
    """Return a Sequential model of these layers."""
    return keras.Sequential([keras.Input((SIZE,), name=f"{name}_in"), *layers], name=name)


@case
def own_names(keras: Any) -> Any:
    return block(keras, "net", *[dense(keras, name) for name in ("Fc4", "Fc2", "fc_3", "Fc1", "Fc3")])


@case
def own_names_sequential(keras: Any) -> Any:
    return chain(keras, "net", *[dense(keras, name) for name in ("Fc4", "Fc2", "fc_3", "Fc1", "Fc3")])


@case
def cases_of_letters(keras: Any) -> Any:
    return block(keras, "net", *[dense(keras, name) for name in ("Dense", "DENSE", "dense", "My_Dense", "MyDense")])


@case
def default_names_of_other_layers(keras: Any) -> Any:
    L = keras.layers
    x = start = keras.Input((4, 4, SIZE), name="dense_4")
    for name in ("dense_1", "dense", "conv2d_1"):
        x = L.Conv2D(SIZE, 1, name=name)(x)
    x = L.BatchNormalization(name="conv2d")(x)
    x = L.BatchNormalization(name="layer_normalization")(x)
    x = L.GlobalAveragePooling2D(name="flatten")(x)
    for name in ("dense_3", "conv2d_2", "dense_2", "batch_normalization"):
        x = L.Dense(SIZE, name=name)(x)
    return keras.Model(start, x)


@case
def kinds_with_and_without_arrays(keras: Any) -> Any:
    L = keras.layers

    def bare(name: str) -> Any:
        return L.LayerNormalization(center=False, scale=False, name=name)

    full = [L.LayerNormalization(name=name) for name in ("norm_9", "norm_1", "norm_5")]
    empty = chain(keras, "empty", L.ReLU(name="relu_a"), L.Dropout(0.5, name="drop"))
    first, second = (chain(keras, name, dense(keras, "fc")) for name in ("seq_b", "seq_a"))
    return block(keras, "net", full[0], bare("z"), full[1], empty, first, L.Dropout(0.2), bare("a"), second, full[2])


@case
def branches(keras: Any) -> Any:
    start = keras.Input((SIZE,))
    left, right = dense(keras, "b")(start), dense(keras, "a")(start)
    low = dense(keras, "d")(dense(keras, "c")(left))
    return keras.Model(start, [dense(keras, "dense_1")(keras.layers.Add()([low, right])), left])


@case
def nested(keras: Any) -> Any:
    inner = block(keras, "Inner", dense(keras, "fc"), dense(keras, "dense"))
    row = chain(keras, "dense", dense(keras, "fc"), dense(keras, "a"))
    deep = block(keras, "functional", dense(keras, "x"), inner, dense(keras, "y"), row)
    other = block(keras, "model", dense(keras, "y"), dense(keras, "x"))
    return block(keras, "net", dense(keras, "fc"), deep, dense(keras, "dense_1"), other, dense(keras, "x"))


@case
def nested_sequential(keras: Any) -> Any:
    inner = chain(keras, "two", dense(keras, "dense_1"), dense(keras, "dense"))
    outer = chain(keras, "one", inner, dense(keras, "dense_1"), chain(keras, "three", dense(keras, "dense")))
    return chain(keras, "net", outer, dense(keras, "dense_2"), dense(keras, "dense_1"))


@case
def shared_in_one_model(keras: Any) -> Any:
    x = start = keras.Input((SIZE,))
    twice, after = dense(keras, "twice"), dense(keras, "after")
    for layer in (twice, dense(keras, "between"), twice, after, twice, dense(keras, "last"), after):
        x = layer(x)
    return keras.Model(start, x)


@case
def shared_by_nested_models(keras: Any) -> Any:
    shared = dense(keras, "shared")
    first = block(keras, "first", dense(keras, "a"), shared, dense(keras, "b"))
    second = block(keras, "second", shared, dense(keras, "b"), dense(keras, "a"))
    return block(keras, "net", first, dense(keras, "before"), second, dense(keras, "last"))


@case
def shared_with_the_outer_model(keras: Any) -> Any:
    shared, also = dense(keras, "shared"), dense(keras, "also")
    inner = block(keras, "inner", dense(keras, "a"), shared)
    late = block(keras, "late", also, dense(keras, "a"))
    return block(keras, "net", inner, shared, dense(keras, "b"), also, dense(keras, "c"), late, dense(keras, "d"))


@case
def same_names_without_sharing(keras: Any) -> Any:
    first = block(keras, "first", dense(keras, "fc"), dense(keras, "shared"))
    second = block(keras, "second", dense(keras, "shared"), dense(keras, "fc"))
    return block(keras, "net", first, dense(keras, "shared"), second, dense(keras, "fc"))


@case
def shared_nested_model(keras: Any) -> Any:
    common = chain(keras, "common", dense(keras, "fc"))
    left = block(keras, "left", common, dense(keras, "a"))
    right = block(keras, "right", dense(keras, "a"), common, chain(keras, "own", dense(keras, "fc")))
    start = keras.Input((SIZE,))
    middle = chain(keras, "middle", dense(keras, "fc"))
    return keras.Model(start, dense(keras, "end")(middle(right(common(left(middle(start)))))))


@case
def wrappers(keras: Any) -> Any:
    L = keras.layers
    x = start = keras.Input((4, SIZE))
    x = L.Bidirectional(L.LSTM(SIZE, return_sequences=True, name="gru"), name="lstm", merge_mode="sum")(x)
    backward = L.GRU(SIZE, return_sequences=True, go_backwards=True, name="b")
    forward = L.GRU(SIZE, return_sequences=True, name="a")
    x = L.Bidirectional(forward, backward_layer=backward, name="bidirectional_1", merge_mode="sum")(x)
    x = L.TimeDistributed(dense(keras, "time_distributed_1"), name="T2")(x)
    x = L.TimeDistributed(dense(keras, "dense"), name="T1")(x)
    return keras.Model(start, x)


@case
def wrapped_models(keras: Any) -> Any:
    L = keras.layers
    x = start = keras.Input((4, SIZE))
    for name in ("time_distributed_1", "T2", "time_distributed"):
        x = L.TimeDistributed(chain(keras, f"row_{name}", dense(keras, "b"), dense(keras, "a")), name=name)(x)
    return keras.Model(start, x)


@case
def stacked_cells(keras: Any) -> Any:
    L = keras.layers
    x = start = keras.Input((4, SIZE))
    cells = [L.LSTMCell(SIZE, name="c"), L.GRUCell(SIZE, name="b"), L.LSTMCell(SIZE, name="a")]
    x = L.RNN(cells, return_sequences=True, name="lstm")(x)
    x = L.RNN([L.GRUCell(SIZE, name="d"), L.GRUCell(SIZE, name="b")], return_sequences=True, name="gru")(x)
    return keras.Model(start, L.LSTM(SIZE, name="rnn")(x))


@case
def attention(keras: Any) -> Any:
    L = keras.layers
    x = start = keras.Input((4, SIZE))
    for name in ("mha_2", "multi_head_attention", "mha_1"):
        x = L.MultiHeadAttention(2, SIZE, name=name)(x, x)
    x = L.SeparableConv1D(SIZE, 2, name="conv1d")(x)
    x = L.Conv1D(SIZE, 1, name="separable_conv1d")(x)
    return keras.Model(start, x)


@case
def kept_as_attributes(keras: Any) -> Any:
    layers = [dense(keras, name) for name in ("c", "b", "a", "d")]
    model = block(keras, "net", *layers)
    model.all_blocks = layers[2:]
    model.by_name = {"first": layers[0]}
    model.inner = layers[1]
    return model


@case
def kept_as_other_attributes(keras: Any) -> Any:
    """Return a model of which some versions of Keras write layers under the model's own attributes alone."""
    layers = [dense(keras, name) for name in ("c", "b", "a", "d")]
    model = block(keras, "net", *layers)
    model.Head, model._base, model.zoo = layers[1], layers[0], [layers[3]]
    return model

"""Models with frozen and unfrozen parts, which order their arrays in an `.h5` file in a way of their own.

`CASES` are functions of `keras` (Keras 3 or tf.keras) that return a model; `LARGE` those that are too large to keep as
test data. Layers have the same shapes wherever they can: only the outputs then show that arrays were mixed up.
"""

# ruff: noqa: D103 - the names of the models say what they are

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from naming_cases import SIZE, block, chain, dense

CASES: dict[str, Callable[[Any], Any]] = {}
LARGE: dict[str, Callable[[Any], Any]] = {}


def case(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Enter a function under its name."""
    CASES[build.__name__] = build
    return build


def thaw(model: Any, *names: str) -> Any:
    """Freeze a model, then let the layers of these names learn again: the usual recipe."""
    model.trainable = False
    for name in names:
        model.get_layer(name).trainable = True
    return model


def freeze(model: Any, *names: str) -> Any:
    """Freeze the layers of these names."""
    for name in names:
        model.get_layer(name).trainable = False
    return model


def normalized(keras: Any, name: str) -> Any:
    L = keras.layers
    layers = [layer for at in "abc" for layer in (dense(keras, at), L.BatchNormalization(name=f"bn_{at}"))]
    return block(keras, name, *layers)


@case
def last_layers_thawed(keras: Any) -> Any:
    base = block(keras, "base", *[dense(keras, name) for name in "dcba"])
    return block(keras, "net", thaw(base, "b", "a"), dense(keras, "head"))


@case
def first_layers_frozen(keras: Any) -> Any:
    base = chain(keras, "base", *[dense(keras, name) for name in "dcba"])
    return chain(keras, "net", freeze(base, "d", "b"), dense(keras, "head"))


@case
def container_alone_frozen(keras: Any) -> Any:
    base = block(keras, "base", *[dense(keras, name) for name in "ba"], keras.layers.BatchNormalization(name="bn"))
    return block(keras, "net", thaw(base, "b", "a", "bn"), dense(keras, "head"))


@case
def normalization_frozen_in_a_thawed_base(keras: Any) -> Any:
    base = normalized(keras, "base")
    return block(keras, "net", freeze(base, "bn_a", "bn_c"), dense(keras, "head"))


@case
def normalization_thawed_in_a_frozen_base(keras: Any) -> Any:
    return block(keras, "net", thaw(normalized(keras, "base"), "bn_b", "c"), dense(keras, "head"))


@case
def nested_in_nested(keras: Any) -> Any:
    inner, second = normalized(keras, "inner"), chain(keras, "second", dense(keras, "y"), dense(keras, "x"))
    middle = block(keras, "middle", dense(keras, "q"), inner, dense(keras, "p"), second)
    outer = block(keras, "outer", dense(keras, "w"), middle, dense(keras, "v"))
    thaw(outer, "v")
    thaw(inner, "bn_b", "b")
    second.get_layer("x").trainable = True
    return block(keras, "net", outer, dense(keras, "head"))


@case
def frozen_container_in_a_thawed_one(keras: Any) -> Any:
    inner = thaw(block(keras, "inner", *[dense(keras, name) for name in "cba"]), "b")
    outer = block(keras, "outer", dense(keras, "w"), inner, dense(keras, "v"))
    return block(keras, "net", freeze(outer, "w"), dense(keras, "head"))


@case
def frozen_when_made(keras: Any) -> Any:
    layers = [keras.layers.Dense(SIZE, name=name, trainable=name in "ac") for name in "dcba"]
    return block(keras, "net", block(keras, "base", *layers), dense(keras, "head"))


def recurrent(keras: Any, *layers: Any) -> Any:
    """Return a model whose nested base has these layers between two of the same shapes."""
    L, x = keras.layers, keras.Input((4, SIZE), name="base_in")
    y = L.Dense(SIZE, name="before")(x)
    for layer in layers:
        y = layer(y, y) if "attention" in layer.name else layer(y)
    base = keras.Model(x, L.Dense(SIZE, name="after")(y), name="base")
    start = keras.Input((4, SIZE))
    return keras.Model(start, L.Dense(SIZE, name="head")(base(start))), base


def bidirectional(keras: Any, name: str) -> Any:
    layer = keras.layers.LSTM(SIZE, return_sequences=True, name="lstm")
    return keras.layers.Bidirectional(layer, merge_mode="sum", name=name)


@case
def forward_half_frozen(keras: Any) -> Any:
    layer = bidirectional(keras, "both")
    model, _ = recurrent(keras, layer)
    layer.forward_layer.trainable = False
    return model


@case
def backward_half_frozen(keras: Any) -> Any:
    layer, other = bidirectional(keras, "both"), bidirectional(keras, "other")
    model, _ = recurrent(keras, layer, other)
    layer.backward_layer.trainable = other.forward_layer.trainable = False
    return model


@case
def half_frozen_alone(keras: Any) -> Any:
    layer = bidirectional(keras, "both")
    model = chain(keras, "net", keras.layers.Reshape((1, SIZE)), layer)
    layer.forward_layer.trainable = False
    return model


@case
def frozen_in_time_distributed(keras: Any) -> Any:
    L = keras.layers
    row = chain(keras, "row", *[dense(keras, name) for name in "srq"])
    layer, plain = L.TimeDistributed(row, name="rows"), L.TimeDistributed(dense(keras, "one"), name="each")
    model, _ = recurrent(keras, layer, plain, L.TimeDistributed(dense(keras, "two"), name="last"))
    freeze(row, "s")
    plain.layer.trainable = False
    return model


def attention_model(keras: Any, *parts: str) -> Any:
    layer = keras.layers.MultiHeadAttention(1, SIZE, name="attention")
    model, _ = recurrent(keras, layer)
    for part in parts:
        getattr(layer, f"_{part}_dense").trainable = False
    return model


@case
def query_frozen(keras: Any) -> Any:
    return attention_model(keras, "query")


@case
def key_and_output_frozen(keras: Any) -> Any:
    return attention_model(keras, "key", "output")


@case
def output_frozen(keras: Any) -> Any:
    return attention_model(keras, "output")


@case
def projection_frozen_alone(keras: Any) -> Any:
    layer = keras.layers.MultiHeadAttention(1, SIZE, name="attention")
    start = keras.Input((4, SIZE))
    model = keras.Model(start, layer(start, start))
    layer._key_dense.trainable = False
    return model


def transfer(keras: Any, build: Callable[..., Any], *thawed: str) -> Any:
    base = thaw(build(include_top=False, weights=None, input_shape=(32, 32, 3)), *thawed)
    start = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(base(start))
    return keras.Model(start, keras.layers.Dense(4)(x))


def vgg16(keras: Any) -> Any:
    return transfer(keras, keras.applications.VGG16, "block5_conv1", "block5_conv2", "block5_conv3")


def mobilenet_v2(keras: Any) -> Any:
    base = keras.applications.MobileNetV2
    return transfer(keras, base, "block_16_project", "block_16_project_BN", "Conv_1", "Conv_1_bn")


LARGE |= {"vgg16": vgg16, "mobilenet_v2": mobilenet_v2}

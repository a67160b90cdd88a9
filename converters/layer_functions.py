"""Models with functions as nodes: `keras.ops` in Keras 3, TensorFlow's own (TFOpLambda, SlicingOpLambda) in Keras 2."""

# ruff: noqa: D103 - the names of the models say what they are

from __future__ import annotations

from typing import Any

from layer_graphs import graph

UNARY = (
    *("abs", "arctan", "ceil", "cos", "cosh", "exp", "expm1", "floor", "isfinite", "negative", "round"),
    *("sign", "sin", "sinh", "square", "tan", "tanh", "erf", "log_sigmoid", "sigmoid", "silu", "softplus", "trunc"),
    *("leaky_relu", "elu", "gelu", "hard_sigmoid", "relu6", "selu", "softsign"),
)
POSITIVE = ("log", "log1p", "log10", "log2", "sqrt", "rsqrt", "reciprocal")
BINARY = (
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "mod", "floor_divide", "equal"),
    *("greater", "greater_equal", "less", "less_equal", "not_equal", "arctan2"),
)


@graph
def operators(keras: Any) -> Any:
    ops, x = keras.ops, keras.Input((4, 6))
    y = (2 * x - 1 + x / 3 - (1 - x)) ** 2
    outputs = [ops.transpose(y, (0, 2, 1)), y[:, 1:3, ::2], y[:, 0], abs(x), ops.mean(y, -1, keepdims=True)]
    outputs += [ops.concatenate([x, y], -1), ops.reshape(x, (-1, 24)), ops.expand_dims(x, 1), ops.argmax(x, -1)]
    outputs += [ops.softmax(x, -1), ops.clip(x, -1.0, 1.0), ops.matmul(x, ops.transpose(y, (0, 2, 1)))]
    outputs += [ops.squeeze(x[:, 1:2], 1), ops.stack([x, y], 1), *ops.split(x, 2, -1), ops.where(x > 0.0, x, y)]
    outputs += [ops.max(x, 1), ops.sum(x, (1, 2)), ops.exp(x), ops.einsum("bij,bkj->bik", x, y)]
    return keras.Model(x, outputs)


@graph
def ops_unary(keras: Any) -> Any:
    ops, x = keras.ops, keras.Input((6,))
    positive = ops.abs(x) + 0.5
    outputs = [getattr(ops, name)(x) for name in UNARY] + [getattr(ops, name)(positive) for name in POSITIVE]
    return keras.Model(x, outputs)


@graph
def ops_binary(keras: Any) -> Any:
    ops, x, y = keras.ops, keras.Input((6,)), keras.Input((6,))
    positive = ops.abs(y) + 0.5
    outputs = [getattr(ops, name)(ops.abs(x), positive) for name in BINARY]
    outputs += [ops.logical_and(x > 0, y > 0), ops.logical_or(x > 0, y > 0), ops.logical_not(x > 0)]
    return keras.Model([x, y], [*outputs, ops.logical_xor(x > 0, y > 0), 1.5 - x, 2.0 / positive, x % 2.0, -x])


@graph
def ops_shapes(keras: Any) -> Any:
    ops, x = keras.ops, keras.Input((4, 6))
    outputs = [ops.flip(x, 1), ops.roll(x, 2, 2), ops.repeat(x, 2, 1), ops.tile(x, (1, 2, 1)), ops.cumsum(x, 1)]
    outputs += [
        ops.moveaxis(x, 1, 2),
        ops.swapaxes(x, 1, 2),
        ops.pad(x, ((0, 0), (1, 2), (0, 1))),
        ops.take(x, [2, 0], 1),
    ]
    outputs += [ops.one_hot(ops.argmax(x, -1), 6), *ops.top_k(x, 2), ops.cast(x > 0, "float32"), ops.cumprod(x, 2)]
    outputs += [ops.std(x, 1), ops.var(x, -1, keepdims=True), ops.prod(x, 1), ops.min(x, -1), ops.any(x > 1, -1)]
    outputs += [ops.all(x > -9, -1), ops.logsumexp(x, -1), ops.norm(x, axis=-1), ops.normalize(x, -1), ops.tril(x)]
    outputs += [ops.tensordot(x, x[0], axes=[[2], [1]]), ops.log_softmax(x, -1), ops.ones_like(x), ops.zeros_like(x)]
    outputs += [ops.broadcast_to(x[:, :1], (2, 4, 6)), ops.pad(x, ((0, 0), (2, 1), (0, 0)), mode="reflect")]
    outputs += [ops.expand_dims(x, (1, 3)), x[..., None], x[:, -1, 1:-1], ops.unstack(x, axis=1)[1], ops.argmin(x, 1)]
    return keras.Model(x, [*outputs, *ops.split(x, [1, 4], -1)])


@graph
def ops_images(keras: Any) -> Any:
    ops, x = keras.ops, keras.Input((6, 6, 4))
    y = keras.layers.Conv2D(8, 3, padding="same")(x)
    outputs = [y * ops.sigmoid(ops.mean(y, (1, 2), keepdims=True)), ops.mean(y, (1, 2)), ops.concatenate([y, y], 1)]
    outputs += [*ops.split(y, 2, -1), ops.softmax(y, 1), ops.max(y, -1, keepdims=True), ops.transpose(y, (0, 3, 1, 2))]
    outputs += [ops.reshape(y, (-1, 36, 8)), y[:, ::2, 1:, :], ops.image.resize(y, (9, 5), "nearest"), ops.flip(y, 2)]
    return keras.Model(x, [*outputs, ops.add(y, x[..., :1]), ops.normalize(y, -1), ops.cumsum(y, -1)])


@graph
def imgops(keras: Any) -> Any:
    import tensorflow as tf

    x = keras.Input((6, 6, 4))
    y = keras.layers.Conv2D(8, 3, padding="same")(x)
    a, b = tf.split(y * 2.0 + 1.0, 2, axis=-1)
    outputs = [y * tf.sigmoid(tf.reduce_mean(y, (1, 2), keepdims=True)), tf.concat([a, b + a], 2), tf.nn.relu6(a)]
    outputs += [
        tf.nn.depth_to_space(y, 2),
        tf.nn.space_to_depth(y, 2),
        tf.image.resize(y, (9, 5)),
        tf.transpose(y, (0, 3, 1, 2)),
    ]
    outputs += [tf.pad(y, ((0, 0), (1, 0), (0, 2), (0, 0))), tf.reshape(y, (-1, 36, 8)), y[:, ::2, 1:], y[..., 0]]
    outputs += [
        tf.image.resize(y, (4, 3), "nearest"),
        tf.reduce_max(y, -1),
        tf.math.l2_normalize(y, -1),
        tf.nn.softmax(y),
    ]
    return keras.Model(x, outputs)


@graph
def tf_functions(keras: Any) -> Any:
    import tensorflow as tf

    x, y = keras.Input((4, 6)), keras.Input((4, 6))
    z = tf.abs(y) + 0.5
    outputs = [x + y, x - 1.0, 2.0 - x, x * y, x / z, x**2.0, -x, x // z, x % z, tf.maximum(x, y), tf.minimum(x, 0.1)]
    outputs += [
        tf.exp(x),
        tf.math.log(z),
        tf.sqrt(z),
        tf.math.rsqrt(z),
        tf.square(x),
        tf.sign(x),
        tf.tanh(x),
        tf.sin(x),
    ]
    outputs += [tf.where(x > 0.0, x, y), tf.cast(x > y, tf.float32), tf.clip_by_value(x, -0.5, 0.5), tf.nn.gelu(x)]
    outputs += [tf.nn.leaky_relu(x), tf.nn.elu(x), tf.nn.silu(x), tf.nn.softplus(x), tf.nn.log_softmax(x, axis=1)]
    outputs += [
        tf.stack([x, y], 1),
        tf.unstack(x, axis=1)[2],
        tf.expand_dims(x, 1),
        tf.squeeze(x[:, :1], 1),
        tf.tile(x, (1, 2, 1)),
    ]
    outputs += [tf.matmul(x, y, transpose_b=True), tf.gather(x, [2, 0], axis=1)]
    outputs += [
        tf.one_hot(tf.argmax(x, -1), 6),
        tf.reverse(x, [1]),
        tf.roll(x, 1, 2),
        tf.repeat(x, 2, 1),
        tf.cumsum(x, 1),
    ]
    outputs += [
        tf.reduce_sum(x, 1),
        tf.reduce_min(x, (1, 2)),
        tf.reduce_prod(x, 1),
        tf.math.reduce_std(x, 1),
        tf.norm(x, axis=-1),
    ]
    outputs += [tf.math.reduce_variance(x, -1), tf.reduce_logsumexp(x, -1), tf.zeros_like(x), tf.ones_like(x)]
    outputs += [
        *tf.math.top_k(x, 2),
        tf.math.squared_difference(x, y),
        *tf.split(x, [1, 2, 3], -1),
        x[:, 1:3, ::2],
        x[:, -1],
    ]
    outputs += [
        tf.identity(x) + tf.stop_gradient(y),
        x[..., tf.newaxis],
        tf.reduce_any(x > 1.0, -1),
        tf.reduce_all(x > -9.0, 1),
    ]
    outputs += [
        tf.reshape(x, (tf.shape(x)[0], 24)),
        tf.broadcast_to(x[:, :1], tf.shape(x)),
        tf.math.floor(x),
        tf.round(x),
    ]
    return keras.Model([x, y], outputs)

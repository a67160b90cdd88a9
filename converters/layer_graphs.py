"""Models with branches, nesting, sharing, masks and functions of their own, for tests/files/keras_layers.tar.xz.

`GRAPHS` are functions of `keras` (Keras 3 or tf.keras) that return a model, by the names of the files.
"""

# ruff: noqa: D103 - the names of the models say what they are

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from layer_cases import TOKENS

GRAPHS: dict[str, Callable[[Any], Any]] = {}
ACTIVATIONS = (
    *("celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh"),
    *("leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu"),
    *("soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "swish"),
    *("tanh", "tanh_shrink"),
)


def graph(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Enter a function under its name."""
    GRAPHS[build.__name__] = build
    return build


def tokens(keras: Any, length: int = 6) -> Any:
    """Return an input of indices."""
    return keras.Input((length,), dtype="int32")


@graph
def activations(keras: Any) -> Any:
    x = keras.Input((6,))
    known = [name for name in ACTIVATIONS if hasattr(keras.activations, name)]
    return keras.Model(x, [keras.layers.Activation(name)(x) for name in known])


# merging


@graph
def merge(keras: Any) -> Any:
    L, a, b = keras.layers, keras.Input((5, 6)), keras.Input((5, 6))
    kinds = (L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum, L.Concatenate)
    return keras.Model([a, b], [*[kind()([a, b]) for kind in kinds], L.Concatenate(axis=1)([a, b])])


@graph
def merge_ranks(keras: Any) -> Any:
    L, a, b = keras.layers, keras.Input((5, 6)), keras.Input((1, 6))
    image, vector = keras.Input((4, 5, 3)), keras.Input((1, 1, 3))
    maps = L.Conv2D(3, 1)(image)
    return keras.Model([a, b, image, vector], [L.Add()([a, b]), L.Multiply()([maps, vector]), L.Average()([a, a, b])])


@graph
def mergeimg(keras: Any) -> Any:
    L, x = keras.layers, keras.Input((6, 5, 3))
    a, b = L.Conv2D(4, 3, padding="same")(x), L.Conv2D(4, 1)(x)
    both = L.Concatenate()([L.Add()([a, b]), a])
    squeezed = L.Dense(8, "sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(both))
    return keras.Model(x, L.Multiply()([both, squeezed]))


@graph
def concat_axes(keras: Any) -> Any:
    L, x = keras.layers, keras.Input((6, 5, 3))
    a, b = L.Conv2D(4, 3, padding="same")(x), L.Conv2D(4, 1)(x)
    return keras.Model(x, [L.Concatenate(axis=axis)([a, b]) for axis in (1, 2, 3, -2)])


@graph
def dot(keras: Any) -> Any:
    L, a, b, c = keras.layers, keras.Input((5, 6)), keras.Input((7, 6)), keras.Input((6,))
    flat = L.Dense(6)(c)
    outputs = [L.Dot(2)([a, b]), L.Dot((2, 1))([a, c]), L.Dot(1, normalize=True)([c, flat])]
    return keras.Model([a, b, c], [*outputs, L.Dot((1, 2))([c, b]), L.Dot(-1)([c, flat])])


@graph
def dot_axes(keras: Any) -> Any:
    L, a, b = keras.layers, keras.Input((5, 6)), keras.Input((6, 5))
    image, other = keras.Input((3, 4, 5)), keras.Input((5, 2))
    outputs = [L.Dot((1, 2))([a, b]), L.Dot((2, 1), normalize=True)([a, b]), L.Dot((3, 1))([image, other])]
    return keras.Model([a, b, image, other], outputs)


# attention


@graph
def attention(keras: Any) -> Any:
    L, q, v = keras.layers, keras.Input((5, 4)), keras.Input((6, 4))
    outputs = [L.Attention()([q, v]), L.Attention(use_scale=True, score_mode="concat")([q, v])]
    outputs += [L.AdditiveAttention()([q, v]), L.Attention()([q, v, v]), L.Attention()([q, v], use_causal_mask=True)]
    return keras.Model([q, v], outputs)


@graph
def attmask(keras: Any) -> Any:
    L, a, b = keras.layers, tokens(keras), tokens(keras, 5)
    q, v = L.Embedding(TOKENS, 8, mask_zero=True)(a), L.Embedding(TOKENS, 8, mask_zero=True)(b)
    mixed = L.Attention()([q, v])
    joined = L.Concatenate()([L.Add()([mixed, q]), q])
    added = L.AdditiveAttention(use_scale=False)([L.Dense(8)(q), v])
    return keras.Model([a, b], [joined, L.GlobalAveragePooling1D()(joined), L.GlobalAveragePooling1D()(added)])


@graph
def mha(keras: Any) -> Any:
    L, q, v = keras.layers, keras.Input((5, 8)), keras.Input((6, 8))
    a = L.MultiHeadAttention(2, 3)(q, v)
    b = L.MultiHeadAttention(2, 3, value_dim=5, output_shape=7, use_bias=False)(q, v, v)
    c, scores = L.MultiHeadAttention(2, 3)(q, q, return_attention_scores=True, use_causal_mask=True)
    return keras.Model([q, v], [a, b, c, scores])


@graph
def mha2d(keras: Any) -> Any:
    L, x = keras.layers, keras.Input((3, 4, 8))
    return keras.Model(x, [L.MultiHeadAttention(2, 3, attention_axes=axes)(x, x) for axes in ((1, 2), (2,), (1,))])


@graph
def mhamask(keras: Any) -> Any:
    L, x = keras.layers, tokens(keras)
    y = L.Embedding(TOKENS, 8, mask_zero=True)(x)
    y = L.LayerNormalization()(L.Add()([y, L.MultiHeadAttention(2, 3)(y, y)]))
    return keras.Model(x, L.GlobalAveragePooling1D()(y))


@graph
def mha_given_mask(keras: Any) -> Any:
    L, q, v, mask = keras.layers, keras.Input((5, 8)), keras.Input((6, 8)), keras.Input((5, 6), dtype="bool")
    return keras.Model([q, v, mask], L.MultiHeadAttention(2, 3)(q, v, attention_mask=mask))


@graph
def mha_output_shape(keras: Any) -> Any:
    L, q, v = keras.layers, keras.Input((5, 8)), keras.Input((6, 4))
    return keras.Model([q, v], L.MultiHeadAttention(2, 3, value_dim=4, output_shape=(2, 3))(q, v))


@graph
def gqa(keras: Any) -> Any:
    L, q, v = keras.layers, keras.Input((5, 8)), keras.Input((6, 8))
    a = L.GroupQueryAttention(3, 4, 2)(q, v)
    b, scores = L.GroupQueryAttention(3, 4, 1, use_bias=False)(q, q, return_attention_scores=True, use_causal_mask=True)
    return keras.Model([q, v], [a, b, scores])


@graph
def transformer(keras: Any) -> Any:
    L, x = keras.layers, tokens(keras)
    y = L.Embedding(TOKENS, 8, mask_zero=True)(x)
    y = L.LayerNormalization(epsilon=1e-6)(y + L.MultiHeadAttention(2, 4)(y, y, use_causal_mask=True))
    z = L.Dense(8)(L.Dense(16, "gelu")(y))
    return keras.Model(x, L.Dense(3, "softmax")(L.GlobalAveragePooling1D()(L.LayerNormalization()(L.Add()([y, z])))))


# recurrent


@graph
def seq2seq(keras: Any) -> Any:
    L, a, b = keras.layers, tokens(keras), tokens(keras, 5)
    _, h, c = L.LSTM(4, return_state=True)(L.Embedding(TOKENS, 4, mask_zero=True)(a))
    y = L.LSTM(4, return_sequences=True)(L.Embedding(TOKENS, 4)(b), initial_state=[h, c])
    return keras.Model([a, b], L.TimeDistributed(L.Dense(3, "softmax"))(y))


@graph
def gru_state(keras: Any) -> Any:
    L, a, b = keras.layers, keras.Input((6, 3)), keras.Input((5, 3))
    y, h = L.GRU(4, return_sequences=True, return_state=True)(a)
    z = L.GRU(4)(b, initial_state=h)
    both = L.Bidirectional(L.LSTM(3, return_state=True))(a)
    again = L.Bidirectional(L.LSTM(3))(b, initial_state=both[1:])
    return keras.Model([a, b], [y, z, *both, again])


@graph
def bi_none(keras: Any) -> Any:
    L, x = keras.layers, keras.Input((6, 3))
    a, b = L.Bidirectional(L.GRU(4, return_sequences=True), merge_mode=None)(x)
    return keras.Model(x, [a, L.Subtract()([a, b])])


@graph
def rnn_state(keras: Any) -> Any:
    L, x, h = keras.layers, keras.Input((6, 3)), keras.Input((4,))
    y, after = L.SimpleRNN(4, return_state=True, return_sequences=True)(x, initial_state=h)
    maps = keras.Input((3, 5, 6, 2))
    z, h2, c2 = L.ConvLSTM2D(3, 3, padding="same", return_state=True)(maps)
    return keras.Model([x, h, maps], [y, after, z, h2, c2])


@graph
def stateful(keras: Any) -> Any:
    x = keras.Input(batch_shape=(2, 6, 3))
    y = keras.layers.LSTM(4, stateful=True, return_sequences=True)(x)
    return keras.Model(x, keras.layers.GRU(2, stateful=True)(y))


@graph
def shared_lstm(keras: Any) -> Any:
    L, a, b = keras.layers, keras.Input((6, 3)), keras.Input((6, 3))
    lstm = L.LSTM(4)
    return keras.Model([a, b], [lstm(a), lstm(L.Masking()(b))])


@graph
def mask_merge(keras: Any) -> Any:
    L, a, b = keras.layers, tokens(keras), tokens(keras)
    x, y = L.Embedding(TOKENS, 4, mask_zero=True)(a), L.Embedding(TOKENS, 4, mask_zero=True)(b)
    plain = L.Embedding(TOKENS, 4)(b)
    joined = [L.Add()([x, y]), L.Multiply()([x, plain]), L.Concatenate()([x, y]), L.Concatenate(axis=1)([x, y])]
    return keras.Model([a, b], [L.LSTM(3)(value) for value in joined])


# nesting and sharing


@graph
def shared(keras: Any) -> Any:
    L, a, b = keras.layers, keras.Input((6, 6, 3)), keras.Input((6, 6, 3))
    conv, head = L.Conv2D(4, 3), keras.Sequential([keras.Input((4, 4, 4)), L.Flatten(), L.Dense(5, "relu")])
    return keras.Model([a, b], L.Subtract()([head(conv(a)), head(conv(b))]))


@graph
def nested(keras: Any) -> Any:
    L, x, inner = keras.layers, keras.Input((6, 6, 3)), keras.Input((6, 6, 3))
    y = L.BatchNormalization()(L.Conv2D(4, 3)(inner))
    body = keras.Model(inner, [y, L.GlobalAveragePooling2D()(y)])
    first, second = body(L.Rescaling(0.5)(x))
    return keras.Model(x, [first, keras.Sequential([keras.Input((4,)), L.Dense(3)])(second)])


@graph
def nested_twice(keras: Any) -> Any:
    L, a, b, inner = keras.layers, keras.Input((6, 3)), keras.Input((6, 3)), keras.Input((6, 3))
    deep = keras.Sequential([keras.Input((6, 4)), L.Conv1D(4, 2), L.BatchNormalization()])
    body = keras.Model(inner, L.GlobalMaxPooling1D()(deep(L.Dense(4)(inner))))
    return keras.Model([a, b], L.Concatenate()([body(a), body(b), body(L.Add()([a, b]))]))


@graph
def frozen(keras: Any) -> Any:
    L = keras.layers
    one = keras.Sequential([keras.Input((6, 6, 3)), L.Conv2D(3, 2), L.BatchNormalization()])
    two = keras.Sequential([keras.Input((5, 5, 3)), L.BatchNormalization(), L.Conv2D(2, 2), L.BatchNormalization()])
    two.layers[1].trainable, one.trainable = False, False
    return keras.Sequential([keras.Input((6, 6, 3)), one, two, L.Flatten(), L.Dense(2)])


@graph
def TDmodel(keras: Any) -> Any:  # noqa: N802 - the name of a file
    L = keras.layers
    inner = keras.Sequential([keras.Input((6, 7, 2)), L.Conv2D(3, 3), L.MaxPooling2D(), L.Flatten()])
    return keras.Sequential([keras.Input((4, 6, 7, 2)), L.TimeDistributed(inner), L.GRU(3)])


@graph
def passthru(keras: Any) -> Any:
    L, x, y = keras.layers, keras.Input((6, 6, 3)), keras.Input((4,))
    return keras.Model([x, y], [L.Conv2D(2, 3)(x), y, x])


@graph
def dictio(keras: Any) -> Any:
    L, a, b = keras.layers, keras.Input((3,), name="left"), keras.Input((4,), name="right")
    return keras.Model({"left": a, "right": b}, {"b": L.Dense(3)(a), "a": L.Dense(2)(b)})


@graph
def flatten_both(keras: Any) -> Any:
    L, x = keras.layers, keras.Input((5, 4, 3))
    y = L.Conv2D(4, 2)(x)
    return keras.Model(x, [L.Dense(2)(L.Flatten()(y)), L.Reshape((-1, 4))(y), L.Permute((3, 1, 2))(y), L.Flatten()(x)])


@graph
def reversible(keras: Any) -> Any:
    x = tokens(keras)
    embedding = keras.layers.ReversibleEmbedding(TOKENS, 4, mask_zero=True, logit_soft_cap=5.0)
    return keras.Model(x, embedding(keras.layers.Dense(4)(embedding(x)), reverse=True))


@graph
def reversible_untied(keras: Any) -> Any:
    x = tokens(keras)
    embedding = keras.layers.ReversibleEmbedding(TOKENS, 4, tie_weights=False)
    return keras.Model(x, embedding(embedding(x), reverse=True))

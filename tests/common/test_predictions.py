"""A network's final output by task: probabilities, values, or a sentence that says why there are none."""

import re

import numpy as np
import pytest
import torch

from torchviz_layers._common.predictions import predicted_classes, predictions_for

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(scale=3, size=(6, 3)).astype(np.float32)


def note_of(outputs, task, names=()):
    found = predictions_for("net", outputs, task, names)
    assert found.probabilities is None
    assert found.values is None
    (note,) = found.notes
    return note


@pytest.mark.parametrize("task", ["classification", None])
def test_class_scores_become_probabilities_whatever_holds_them(task):
    wanted = torch.from_numpy(LOGITS).softmax(1).numpy()
    for outputs in (LOGITS, torch.from_numpy(LOGITS).requires_grad_(), LOGITS.astype(np.float64)):
        found = predictions_for("net", outputs, task, ("a", "b", "c") if task else ())
        np.testing.assert_allclose(found.probabilities, wanted, rtol=1e-6)
        assert found.notes == ()
    rough = predictions_for("net", torch.from_numpy(LOGITS).bfloat16(), task)
    np.testing.assert_allclose(rough.probabilities, wanted, atol=0.05)  # 8 bits of mantissa


def test_more_outputs_than_labels_that_occur_keep_the_predictions():
    wide = RNG.normal(size=(6, 1000)).astype(np.float32)
    assert predictions_for("net", wide, "classification", ("0", "1", "2"), names_assumed=True).probabilities is not None
    assert note_of(wide, "classification", ("ant", "bee", "cat")) == "net has 1,000 classes, the samples have 3"
    sorted_text = predictions_for("net", wide, "classification", ("ant", "bee", "cat"), names_assumed=True)
    assert sorted_text.notes == ("net has 1,000 classes, the samples have 3",)
    # A label that the network cannot predict is no matter of names.
    narrow = predictions_for("net", LOGITS, "classification", ("0", "1", "2", "3"), names_assumed=True)
    assert narrow.notes == ("net has 3 classes, the samples have 4",)


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_one_output_of_a_regression_is_its_value(shape):
    outputs = RNG.normal(scale=40, size=6).astype(np.float32)
    found = predictions_for("net", outputs.reshape(shape), "regression")
    np.testing.assert_array_equal(found.values, outputs)
    assert (found.probabilities, found.notes) == (None, ())


def test_label_outputs_in_0_to_1_are_probabilities_and_others_logits():
    inside = RNG.uniform(size=(6, 3)).astype(np.float32)
    names = ("cat", "dog", "hat")
    given = predictions_for("net", inside, "multilabel", names)
    np.testing.assert_array_equal(given.probabilities, inside)
    assert given.notes == ()
    logits = predictions_for("net", LOGITS, "multilabel", names)
    np.testing.assert_allclose(logits.probabilities, 1 / (1 + np.exp(-LOGITS.astype(np.float64))), rtol=1e-5)
    assert "sigmoid" in logits.notes[0]


@pytest.mark.parametrize(
    ("outputs", "task", "reason"),
    [
        (LOGITS, "regression", "3 values a sample, a predicted value is one"),
        (LOGITS, "multilabel", "3 values a sample, the samples have 2 labels"),
        (np.zeros((6, 3, 8, 8)), "classification", r"shape \(3, 8, 8\); class scores are one row"),
        (np.zeros((6, 4, 4)), None, r"shape \(4, 4\)"),
        (np.zeros((6, 4, 4)), "regression", r"shape \(4, 4\); a predicted value is one number"),
        (np.zeros((6, 3, 8, 8)), "multilabel", r"shape \(3, 8, 8\)"),
        ({"out": LOGITS}, "classification", "not one tensor"),
        ([LOGITS, LOGITS], None, "not one tensor"),
        (None, "regression", "not one tensor"),
        ("words", "multilabel", "not one tensor"),
        (np.array(["a", "b"]), "classification", "not real numbers"),
        (np.ones((6, 2), np.complex64), "regression", "not real numbers"),
        (np.zeros((6, 0)), "multilabel", "empty"),
        (np.zeros(()), "classification", "shape"),
        (np.full((6, 3), np.nan), "classification", "NaN"),
        (np.full((6, 2), np.nan), "multilabel", "NaN"),
        (np.full(6, np.inf), "regression", "NaN or infinity"),
        (np.array([0.5, np.nan]), "classification", "NaN or infinite"),
        (np.array([0.5, 7.0]), "classification", r"from 0.5 to 7: no probability.*nn.Sigmoid"),
    ],
)
def test_what_is_no_prediction_says_why(outputs, task, reason):
    note = note_of(outputs, task, ("a", "b") if task == "multilabel" else ())
    assert re.match(f"net is shown without predictions: .*{reason}", note)


@pytest.mark.parametrize(("task", "field"), [("classification", "probabilities"), ("multilabel", "probabilities")])
def test_rows_with_nan_or_infinity_are_counted_and_leave_the_others_as_they_are(task, field):
    spoilt = LOGITS.copy()
    spoilt[1, 2], spoilt[4, 0] = np.nan, np.inf
    found = predictions_for("net", spoilt, task)
    table, clean = getattr(found, field), getattr(predictions_for("net", LOGITS, task), field)
    assert np.isnan(table[[1, 4]]).all()
    np.testing.assert_array_equal(np.delete(table, [1, 4], 0), np.delete(clean, [1, 4], 0))
    assert found.notes[-1] == "net: the outputs of 2 of 6 samples contain NaN or infinity"
    assert predicted_classes(spoilt)[0] == LOGITS[0].argmax()


def test_a_regression_keeps_values_beside_one_that_is_none():
    found = predictions_for("net", np.array([1.0, np.nan, 1e300]), "regression")
    np.testing.assert_array_equal(found.values, np.array([1, np.nan, np.inf], np.float32))
    assert found.notes == ("net: the outputs of 2 of 3 samples contain NaN or infinity",)

import json

import numpy as np
import pytest

from torchviz_layers.data import Samples
from torchviz_layers.exceptions import DataError

HEAD = "id,row,given,proposed,decision,new label\n"


@pytest.fixture
def samples():
    return Samples.of((np.zeros((4, 1, 8, 8), np.float32), ["cat", "dog", "dog", "cat"]), ids=["a", "b", "c", "d"])


def table(folder, lines, name="decisions.csv"):
    path = folder / name
    path.write_text(HEAD + "".join(f"{line}\n" for line in lines))
    return path


def test_changes_are_applied_and_the_original_stays(samples, tmp_path):
    path = table(tmp_path, ["b,1,dog,cat,change,cat", "a,0,cat,dog,keep,cat", "c,2,dog,cat,unsure,dog"])
    relabelled = samples.relabelled(path)
    assert relabelled.targets.tolist() == [0, 0, 1, 0]
    assert samples.targets.tolist() == [0, 1, 1, 0]
    assert (relabelled.class_names, relabelled.ids.tolist()) == (("cat", "dog"), ["a", "b", "c", "d"])
    assert "1 label is changed, by decisions.csv" in relabelled.notice
    assert next(relabelled.batches())[1].tolist() == [0, 0, 1, 0]


def test_json_is_read_as_csv_is(samples, tmp_path):
    path = tmp_path / "decisions.json"
    path.write_text(json.dumps([{"id": "d", "decision": "change", "new label": "dog"}]))
    assert samples.relabelled(path).targets.tolist() == [0, 1, 1, 1]


def test_samples_without_ids_are_named_by_their_rows(tmp_path):
    samples = Samples.of((np.zeros((3, 4), np.float32), [0, 1, 2]))
    assert samples.relabelled(table(tmp_path, ["2,2,2,0,change,0"])).targets.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["x,1,dog,cat,change,cat"], "id 'x' is none of the 4 samples'"),
        (["a,0,cat,dog,change,fox"], "new label 'fox' of id 'a' is none of the 2 classes"),
        (["a,0,cat,dog,keep,cat", "a,0,cat,dog,change,dog"], "id 'a' has two decisions"),
        (["a,0,cat,dog,maybe,cat"], "decision 1 is 'maybe'; it is one of keep, change, unsure"),
        ([], "has no decision"),
    ],
)
def test_what_does_not_fit_is_named(samples, tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        samples.relabelled(table(tmp_path, lines))


def test_another_file_is_named(samples, tmp_path):
    other = tmp_path / "selection.csv"
    other.write_text("id,truth\na,cat\n")
    with pytest.raises(DataError, match="has no 'decision' and no 'new label'"):
        samples.relabelled(other)
    with pytest.raises(DataError, match="cannot be read"):
        samples.relabelled(tmp_path / "missing.csv")
    with pytest.raises(DataError, match=r"is a \.csv or \.json file"):
        samples.relabelled(tmp_path / "page.html")


def test_a_regression_is_refused(tmp_path):
    samples = Samples.of((np.zeros((2, 4), np.float32), [0.5, 1.5]))
    with pytest.raises(DataError, match="these are for regression"):
        samples.relabelled(table(tmp_path, ["0,0,,,keep,"]))

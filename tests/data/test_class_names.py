"""Class names and ids that data and models know themselves, inside whatever wraps them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset
from torchvision.datasets import DatasetFolder, ImageFolder

from torchviz_layers.data.class_names import class_names_of, class_names_of_model, ids_of


class Named(Dataset):
    def __init__(self, **attributes):
        self.__dict__ |= attributes

    def __len__(self):
        return 4

    def __getitem__(self, row):
        return torch.zeros(3), row


class Wrapper(Dataset):
    def __init__(self, dataset):
        self.dataset = dataset


class Failing:
    @property
    def classes(self):
        raise RuntimeError("not downloaded")


ANIMALS = ("zebra", "ant")
animals = Named(classes=ANIMALS)


@pytest.mark.parametrize(
    "data",
    [
        animals,
        Named(classes=[*ANIMALS]),
        Named(classes=np.array(ANIMALS)),
        Named(classes=[("zebra", "Equus quagga"), ("ant", "Formica")]),
        Named(classes={"ant": 1, "zebra": 0}),
        Named(classes={1: "ant", 0: "zebra"}),
        Named(class_to_idx={"ant": 1, "zebra": 0, "horse": 0}),
        Named(features={"image": None, "label": SimpleNamespace(names=[*ANIMALS])}),
        Named(features={"image": None, "animal": SimpleNamespace(names=[*ANIMALS])}),
        Named(features={"labels": SimpleNamespace(feature=SimpleNamespace(names=[*ANIMALS]))}),
        Subset(animals, [3, 1]),
        Subset(Subset(animals, [3, 1]), [0]),
        ConcatDataset([animals, Subset(animals, [1])]),
        DataLoader(animals, 2),
        DataLoader(ConcatDataset([animals, animals]), 2, shuffle=True),
        Wrapper(Wrapper(animals)),
        SimpleNamespace(data=animals),
    ],
    ids=lambda data: type(data).__name__,
)
def test_names_are_found_in_the_order_of_the_labels(data):
    assert class_names_of(data) == ANIMALS


@pytest.mark.parametrize(
    "data",
    [
        Named(),
        Named(classes=lambda: ANIMALS),
        Named(classes=3),
        Named(classes="zebra"),
        Named(classes=[0, 1]),
        Named(class_to_idx={"ant": 1, "zebra": 5}),
        Named(class_to_idx={"ant": "a", "zebra": "b"}),
        Named(class_to_idx={"ant": True, "zebra": False}),
        Named(features=["zebra", "ant"]),
        Named(features={"a": SimpleNamespace(names=["x"]), "b": SimpleNamespace(names=["y"])}),
        ConcatDataset([animals, Named(classes=("ant", "zebra"))]),
        ConcatDataset([animals, Named()]),
        TensorDataset(torch.zeros(3, 2)),
        Failing(),
        torch.zeros(2),
        np.zeros(2),
        [1, 2],
        None,
    ],
    ids=lambda data: type(data).__name__,
)
def test_where_none_are_known_there_are_none(data):
    assert class_names_of(data) == ()


def test_wrappers_in_a_circle_end():
    one = Wrapper(None)
    one.dataset = Wrapper(one)
    assert class_names_of(one) == ()


def test_the_column_of_a_hugging_face_data_set_may_be_named():
    features = {"fine": SimpleNamespace(names=["pug", "tabby"]), "label": SimpleNamespace(names=["dog", "cat"])}
    data = Named(features=features)
    assert class_names_of(data) == ("dog", "cat")
    assert class_names_of(data, "fine") == ("pug", "tabby")
    assert class_names_of(data, "text") == ()


def test_a_hugging_face_data_set_itself_is_read():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    data = datasets.Dataset.from_dict({"text": ["good", "bad"], "label": [1, 0]}, features=features)
    assert class_names_of(data) == ("neg", "pos")
    assert class_names_of(Subset(data, [1])) == ("neg", "pos")


@pytest.fixture
def folder(tmp_path):
    for name in ("zebra/2.png", "ant/1.png", "zebra/more/3.png"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(path)
    return tmp_path / "pictures"


def test_ids_of_a_folder_are_its_files(folder):
    data = ImageFolder(folder)
    assert ids_of(data).tolist() == ["ant/1.png", "zebra/2.png", "zebra/more/3.png"]
    assert class_names_of(data) == ("ant", "zebra")
    assert ids_of(DatasetFolder(str(folder), Image.open, (".png",))).tolist() == ids_of(data).tolist()
    assert ids_of(Subset(data, [2, 0])).tolist() == ["zebra/more/3.png", "ant/1.png"]
    assert ids_of(Subset(data, torch.tensor([1]))).tolist() == ["zebra/2.png"]
    assert len(ids_of(ConcatDataset([data, Subset(data, [1])]))) == 4


def test_a_loader_has_ids_only_if_its_rows_are_the_datas(folder):
    data = ImageFolder(folder)
    assert ids_of(DataLoader(data, 2)).tolist() == ids_of(data).tolist()
    assert ids_of(DataLoader(data, batch_size=None)).tolist() == ids_of(data).tolist()
    assert ids_of(DataLoader(data, 2, shuffle=True)) is None
    assert ids_of(DataLoader(data, 2, sampler=[2, 1, 0])) is None
    assert ids_of(DataLoader(data, batch_sampler=[[2, 1], [0]])) is None


@pytest.mark.parametrize(
    "data",
    [animals, ConcatDataset([animals]), torch.zeros(2), [], None, Failing()],
    ids=lambda data: type(data).__name__,
)
def test_other_data_have_no_ids(data):
    assert ids_of(data) is None


def hugging_face_model(names):
    model = nn.Linear(2, 2)
    model.config = SimpleNamespace(id2label=names)
    return model


def test_a_models_outputs_have_the_names_of_its_configuration():
    model = hugging_face_model({1: "positive", 0: "negative"})
    assert class_names_of_model(model) == ("negative", "positive")
    assert class_names_of_model(nn.DataParallel(model)) == ("negative", "positive")
    assert class_names_of_model(hugging_face_model({"0": "no", "1": "yes"})) == ("no", "yes")


@pytest.mark.parametrize(
    "model",
    [nn.Linear(1, 1), hugging_face_model({0: "LABEL_0", 1: "LABEL_1"}), hugging_face_model(None), None, "mnist"],
    ids=["plain", "defaults", "without names", "None", "text"],
)
def test_a_model_without_names_of_its_own_has_none(model):
    assert class_names_of_model(model) == ()

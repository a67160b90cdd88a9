"""Several models in one pass over the data."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from tests.rounding import whole_numbers, whole_samples
from torchviz_layers import Activations, extract
from torchviz_layers.exceptions import CaptureError, DataError, ModelError, StoreError, UnknownLayerError


def conv():
    return whole_numbers(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(32, 3)))


def dense():
    return whole_numbers(nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.ReLU(), nn.Linear(4, 3)))


@pytest.fixture
def models():
    return {"conv": conv(), "dense": dense()}


@pytest.fixture
def images():
    return whole_samples(10, 1, 6, 6)


def assert_same(acts, others):
    assert list(acts) == list(others)
    for layer in acts:
        np.testing.assert_array_equal(acts[layer][:], others[layer][:], err_msg=layer)
    for extra in ("ids", "targets", "predictions"):
        np.testing.assert_array_equal(getattr(acts, extra), getattr(others, extra))


def files(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def test_each_model_has_the_rows_that_it_has_by_itself(models, images):
    loader = DataLoader(TensorDataset(images, torch.arange(10)), batch_size=4)
    both = extract(models, loader)
    assert list(both) == ["conv", "dense"]
    for name, model in models.items():
        assert_same(both[name], extract(model, loader))


def test_all_see_one_draw_of_data_that_vary_and_the_loader_is_read_once(images):
    class Draws(IterableDataset):
        passes = 0

        def __iter__(self):
            self.passes += 1
            return iter([(image + torch.randint(9, (1,)), i) for i, image in enumerate(images)])

    class Other(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(x)

    model, draws = conv(), Draws()
    both = extract({"one": model, "same": model, "around it": Other(model)}, DataLoader(draws, batch_size=4))
    assert draws.passes == 1
    assert_same(both["one"], both["same"])
    np.testing.assert_array_equal(both["one"].predictions, both["around it"].predictions)


def test_layers_are_chosen_for_all_or_for_each(models, images):
    both = extract(models, images.split(4), {"conv": ["0", -1]})
    assert list(both["conv"]) == ["0", "3"]
    assert list(both["dense"]) == ["0", "1", "2", "3"]  # the default
    assert [list(acts) for acts in extract(models, images.split(4), [nn.Linear]).values()] == [["3"], ["1", "3"]]


def test_each_forward_decides_how_it_is_given_a_list():
    class Summed(nn.Module):
        def forward(self, tensors: list[torch.Tensor]):
            return tensors[0] + tensors[1]

    class Apart(nn.Module):
        def forward(self, a, b):
            return a - b

    a, b = whole_samples(7, 3), whole_samples(7, 3)
    batches = [([a[:4], b[:4]], torch.zeros(4)), ([a[4:], b[4:]], torch.zeros(3))]
    both = extract({"summed": Summed(), "apart": Apart()}, batches)
    np.testing.assert_array_equal(both["summed"][""], a + b)
    np.testing.assert_array_equal(both["apart"][""], a - b)


def test_models_that_find_different_numbers_of_samples_in_a_batch_are_an_error():
    class Pictures(nn.Module):
        def forward(self, images: list[torch.Tensor]):
            return torch.stack([image.sum() for image in images])

    class Arguments(nn.Module):
        def forward(self, a, b):
            return a + b

    batches = [([torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)], None)]
    with pytest.raises(DataError, match=r"\(2 by pictures, 3 by arguments\)"):
        extract({"pictures": Pictures(), "arguments": Arguments()}, batches)


def test_a_model_that_writes_to_its_inputs_leaves_them_to_the_others(images):
    class Writes(nn.Module):
        def forward(self, x):
            return x.mul_(0).flatten(1)

    both = extract({"writes": Writes(), "conv": conv()}, images.split(4))
    assert_same(both["conv"], extract(conv(), images.split(4)))


def test_the_state_of_all_models_is_restored_after_an_error(images):
    models = {"any size": nn.Sequential(nn.Conv2d(1, 2, 3)), "dense": dense()}
    models["dense"][2].eval()
    with pytest.raises(ModelError, match=r"^dense: images of shape \(1, 5, 6\) do not go through"):
        extract(models, [images, images[:, :, 1:]], ragged="pad")
    assert all(module.training for module in models["any size"].modules())
    assert [module.training for module in models["dense"].modules()] == [True, True, True, False, True]
    assert not nn.modules.module._global_forward_hooks


@pytest.mark.parametrize(
    ("models", "layers", "kind", "message"),
    [
        ({}, None, ModelError, "the mapping is empty"),
        ({3: nn.ReLU()}, None, ModelError, "3 is no name"),
        ({"": nn.ReLU()}, None, ModelError, "'' is no name"),
        ({"net": "resnet18"}, None, CaptureError, "net: model: expected a torch.nn.Module, got str"),
        ({"net": nn.ReLU()}, {"nett": [-1]}, ModelError, r"\['nett'\] is none of the models \(net\)"),
        ({"net": nn.ReLU()}, "conv", UnknownLayerError, "net: layers: 'conv' matches no layer of ReLU"),
        (nn.ReLU(), {"net": [-1]}, CaptureError, "goes with a mapping of models"),
    ],
)
def test_what_is_no_mapping_of_models_or_layers_is_an_error(models, layers, kind, message):
    with pytest.raises(kind, match=message):
        extract(models, [torch.zeros(2, 3)], layers)


def test_each_model_has_a_store_of_its_own_that_is_the_one_it_has_alone(models, images, tmp_path):
    both = extract(models, images.split(4), out=tmp_path / "both")
    for name, model in models.items():
        assert both[name].path == tmp_path / "both" / name
        extract(model, images.split(4), out=tmp_path / name)
        assert files(tmp_path / "both" / name) == files(tmp_path / name)
        assert_same(Activations.load(tmp_path / "both" / name), both[name])


def test_a_batch_is_loaded_if_any_model_needs_it(models, images, tmp_path, monkeypatch):
    monkeypatch.setattr("torchviz_layers.extraction.table._MOST_CHUNK_ROWS", 2)
    loaded = []

    class Noted(TensorDataset):
        def __getitem__(self, index):
            loaded.append(index)
            return super().__getitem__(index)

    class Stops(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.after = model, 100

        def forward(self, x):
            self.after -= len(x)
            if self.after < 0:
                raise KeyboardInterrupt
            return self.model(x)

    loader = DataLoader(Noted(images), batch_size=2)
    stops, out = Stops(dense()), tmp_path / "both"
    wanted = {"conv": models["conv"], "dense": stops}
    whole = extract(wanted, loader)
    stops.after = 5  # the pass that shows the axis takes two samples in copies of this number
    with pytest.raises(KeyboardInterrupt):
        extract(wanted, loader, out=out)
    stored = [Activations.load(out / name).n_samples for name in wanted]
    assert stored[0] > stored[1] > 0
    stops.after = 100
    loaded.clear()
    resumed = extract(wanted, loader, out=out, resume=True)
    assert loaded == [0, 1, *range(stored[1], 10)]
    for name, acts in resumed.items():
        assert acts.complete
        assert_same(acts, whole[name])
    loaded.clear()
    extract(wanted, loader, out=out, resume=True)
    assert loaded == [0, 1], "nothing is needed after the first batch, which shows that it is the same data"


def test_a_store_that_is_there_stops_the_pass_before_any_is_begun(models, images, tmp_path):
    extract(models["dense"], images.split(4), out=tmp_path / "both" / "dense")
    with pytest.raises(StoreError, match=r"dense: exists already; pass resume=True"):
        extract(models, images.split(4), out=tmp_path / "both")
    assert not (tmp_path / "both" / "conv").exists()
    with pytest.raises(StoreError, match="holds the activations of one model"):
        extract(models, images.split(4), out=tmp_path / "both" / "dense")


@pytest.mark.parametrize("name", ["a/b", "..", "a\\b", "c:", "x" * 201])
def test_a_name_that_is_no_folder_is_an_error_where_there_is_a_store(name, images, tmp_path):
    extract({name: dense()}, images.split(4))
    with pytest.raises(StoreError, match=r"cannot be the name of a folder; rename that model, as in \{'"):
        extract({name: dense()}, images.split(4), out=tmp_path / "s")


def test_the_models_share_what_max_memory_allows(models, images):
    sizes = {name: extract(model, images.split(4)).nbytes for name, model in models.items()}
    enough = extract(models, images.split(4), max_memory=sum(sizes.values()))
    assert [acts.path for acts in enough.values()] == [None, None]
    one_fits = extract(models, images.split(4), max_memory=max(sizes.values()))
    assert one_fits["conv"].path is None
    assert one_fits["dense"].path is not None
    late = extract(models, iter(images.split(4)), max_memory=max(sizes.values()))  # their number is not known
    assert sum(acts.path is not None for acts in late.values()) == 1
    for name in models:
        assert_same(one_fits[name], enough[name])
        assert_same(late[name], enough[name])


SCRIPT = """
import sys
import torch
from torch import nn
from torchviz_layers import extract
from torchviz_layers.extraction import InputRows, table

table._MOST_CHUNK_ROWS = 8
torch.manual_seed(0)
torch.set_num_threads(1)
models = {"inputs": InputRows(), "a": nn.Sequential(nn.Linear(5, 4), nn.ReLU()), "b": nn.Sequential(nn.Linear(5, 3))}
for parameter in (*models["a"].parameters(), *models["b"].parameters()):  # whole numbers: sums in any order are equal
    parameter.data = torch.randint(-3, 4, parameter.shape).float()
x = (torch.arange(2000.0) - 1000).reshape(400, 5) / 8
batches = [(x[i:i + 8], None, torch.arange(i, i + 8)) for i in range(0, 400, 8)]
chosen = {name: models[name] for name in sys.argv[2].split(",")}
extract(chosen, batches, out=sys.argv[1], resume=True, progress=False)
"""


def test_torchrun_writes_the_stores_that_one_process_writes_with_a_model_that_was_there_before(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone")

    def run(out, names, launcher=()):
        command = [sys.executable, *launcher, str(script), str(out), names]
        subprocess.run(command, env=environment, check=True, timeout=120)

    run(tmp_path / "one", "inputs,a,b")
    run(tmp_path / "two", "a", launcher)
    run(tmp_path / "two", "inputs,a,b", launcher)
    for name in ("inputs", "a", "b"):
        assert files(tmp_path / "one" / name) == files(tmp_path / "two" / name)

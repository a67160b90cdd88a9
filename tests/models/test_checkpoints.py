"""Checkpoints as training loops and libraries write them: other content than weights, and prefixes of keys."""

import argparse
import pickle
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations

from torchviz_layers import load_model
from torchviz_layers.exceptions import ModelError

HERE = __name__
STATE = {"1.weight": torch.ones(2, 4), "1.bias": torch.tensor([1.0, 2.0])}


def under(prefix, state=STATE):
    return {prefix + key: value for key, value in state.items()}


def tiny() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


def older_weight_norm() -> nn.Module:
    return nn.Sequential(nn.Flatten(), parametrizations.weight_norm(nn.Linear(4, 2)))


def normalised() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Flatten())


def lazily_shaped() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(2))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.embed(tokens))


class Options:
    """A class of a training loop's own, which a checkpoint holds beside the weights."""

    def __init__(self):
        self.rate = 0.1

    def __reduce__(self):
        return (_must_not_run, ())


def _must_not_run():
    raise AssertionError("code of a checkpoint ran")


def test_a_factorys_model_is_loaded_with_each_format(tmp_path):
    save_file(STATE, tmp_path / "w.safetensors")
    torch.save({"state_dict": STATE}, tmp_path / "w.pth")
    torch.save({"epoch": 3, "model_state_dict": STATE}, tmp_path / "w.pt")
    for file in ("w.safetensors", "w.pth", "w.pt"):
        model = load_model(f"{HERE}:tiny", weights=tmp_path / file)
        assert model(torch.ones(1, 1, 2, 2)).tolist() == [[5.0, 6.0]]


def test_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (sys.exit, (1,))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelError, match="no checkpoint that can be read safely"):
        load_model(f"{HERE}:tiny", weights=tmp_path / "evil.pth")


@pytest.mark.parametrize("what", ["a whole module", "junk", "a list", "nothing", "a folder"])
def test_file_that_is_no_checkpoint_is_one_line_without_advice_to_read_it_unsafely(what, tmp_path):
    path = tmp_path / "w.pt"
    if what == "a whole module":
        torch.save(tiny(), path)
    elif what == "junk":
        path.write_text("junk\n")
    elif what == "a list":
        torch.save([torch.ones(1)], path)
    elif what == "a folder":
        path.mkdir()
    with pytest.raises(ModelError, match=r"w\.pt ") as found:
        load_model(f"{HERE}:tiny", weights=path)
    assert "\n" not in str(found.value)
    assert "weights_only" not in str(found.value)


def test_checkpoint_of_another_model_names_both_and_says_what_differs(tmp_path):
    save_file({"weight": torch.ones(1), "1.bias": torch.ones(3)}, tmp_path / "w.safetensors")
    differs = r"lacks 1\.weight \(close: weight\); the model has no weight; of another shape 1\.bias \(3,\) for \(2,\)$"
    with pytest.raises(ModelError, match=rf"w\.safetensors does not fit .*:tiny: it {differs}"):
        load_model(f"{HERE}:tiny", weights=tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "checkpoint",
    [
        under("module."),
        under("_orig_mod."),
        under("model."),
        under("_orig_mod.module."),
        under("model._orig_mod."),
        {"1._orig_mod.weight": STATE["1.weight"], "1._orig_mod.bias": STATE["1.bias"]},
        *({key: STATE, "epoch": 3} for key in ("state_dict", "model", "model_state", "model_state_dict", "net")),
        {"state_dict": under("model."), "optimizer_states": [{"state": {}}]},
        {"model": {"state_dict": under("module.")}},
        {"model": STATE, "net": dict(STATE)},  # the same twice
    ],
    ids=lambda checkpoint: ", ".join(list(checkpoint)[:2]),
)
def test_prefixes_and_outer_keys_are_removed_where_the_rest_fits_exactly(checkpoint, tmp_path):
    torch.save(checkpoint, tmp_path / "w.pt")
    model = load_model(f"{HERE}:tiny", weights=tmp_path / "w.pt")
    assert model(torch.ones(1, 1, 2, 2)).tolist() == [[5.0, 6.0]]


def named_model() -> nn.Module:
    return nn.ModuleDict({"model": tiny()})


def parallel() -> nn.Module:
    return nn.DataParallel(tiny())


@pytest.mark.parametrize("factory", ["named_model", "parallel"])
def test_a_model_whose_own_keys_have_the_prefix_keeps_it(factory, tmp_path):
    own = next(iter(globals()[factory]().state_dict())).removesuffix("1.weight")
    for prefix in (own, f"module.{own}", *(("",) if factory == "parallel" else ())):
        torch.save(under(prefix), tmp_path / "w.pt")
        model = load_model(f"{HERE}:{factory}", weights=tmp_path / "w.pt")
        assert model.state_dict()[f"{own}1.bias"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        (
            {"state_dict": {**under("model."), "loss.weight": torch.ones(3)}},
            r"under 'state_dict', without the prefix 'model\.', the model has no loss\.weight; save the model's part",
        ),
        ({**under("module."), "extra": torch.ones(1)}, r"without the prefix 'module\.', the model has no extra;"),
        ({**STATE, **under("module.", {**STATE, "0.x": torch.ones(1)})}, "the model has no module"),
        ({"model": STATE, "net": {**STATE, "1.bias": torch.zeros(2)}}, "two different state dicts that fit"),
        ({"1.weigth": torch.ones(2, 4), "1.bias": torch.ones(2)}, r"lacks 1\.weight \(close: 1\.weigth\)"),
        ({**STATE, "1.bias": 3}, r"no tensor 1\.bias"),
        ({"epoch": 3, "lr": 0.1}, r"it lacks 1\.weight, 1\.bias; the model has no epoch, lr$"),
        ({}, r"it lacks 1\.weight, 1\.bias$"),
    ],
)
def test_checkpoint_that_fits_in_no_way_names_the_keys_that_are_left_over(checkpoint, message, tmp_path):
    torch.save(checkpoint, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=message):
        load_model(f"{HERE}:tiny", weights=tmp_path / "w.pt")


@pytest.mark.parametrize(
    "beside",
    [argparse.Namespace(lr=0.1), np.float64(0.3), np.arange(3), {"options": Options()}, Path("runs")],
    ids=lambda beside: type(beside).__name__,
)
def test_weights_are_read_beside_objects_that_are_neither_imported_nor_run(beside, tmp_path):
    torch.save({"model": STATE, "args": beside, "epoch": 3}, tmp_path / "w.pt")
    model = load_model(f"{HERE}:tiny", weights=tmp_path / "w.pt")
    assert model(torch.ones(1, 1, 2, 2)).tolist() == [[5.0, 6.0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tiny, r"holds a whole object \(torch\.nn\.modules\.container\.Sequential\)"),
        (lambda: {"model": tiny(), "epoch": 3}, r"'model' is a whole object \(torch\.nn\.modules\.container\.Seq"),
        (lambda: {"model": STATE, "log": defaultdict(list, a=[1])}, r"objects of .*collections\.defaultdict"),
    ],
)
def test_a_checkpoint_of_whole_objects_names_their_class(content, message, tmp_path):
    torch.save(content(), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=message):
        load_model(f"{HERE}:tiny", weights=tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", r"git-lfs pointer.*git lfs pull"),
        ("<!DOCTYPE html>", "a web page or XML"),
        ('{"weight_map": {}}', "JSON"),
    ],
)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_file_that_was_downloaded_instead_of_the_weights_is_named(ending, content, message, tmp_path):
    (tmp_path / f"w.{ending}").write_text(content)
    with pytest.raises(ModelError, match=rf"w\.{ending} is no checkpoint: it is .*{message}"):
        load_model(f"{HERE}:tiny", weights=tmp_path / f"w.{ending}")


@pytest.mark.parametrize("name", ["x" * count for count in range(1, 9)])
def test_a_safetensors_file_may_begin_with_the_byte_of_a_letter(name, tmp_path):
    header = f'{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}'.encode()
    header += b" " * (ord("{") - len(header))
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ModelError, match=f"the model has no {name}"):
        load_model(f"{HERE}:tiny", weights=tmp_path / "w.safetensors")


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_program_is_named_and_never_recommended_to_be_read_unsafely(tmp_path):
    torch.jit.save(torch.jit.trace(tiny(), torch.ones(1, 1, 2, 2)), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="is a TorchScript program, no state dict") as found:
        load_model(f"{HERE}:tiny", weights=tmp_path / "w.pt")
    assert "weights_only" not in str(found.value)


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"state_dict": under("net.")},
        {"state_dict": under("net.backbone.")},
        under("_fsdp_wrapped_module."),
        {"params_ema": STATE},
        {"n_averaged": torch.tensor(3), **under("module.")},
        {"1.weight": torch.full((2, 4), torch.nan), "1.bias": torch.tensor([1.0, 2.0])},
    ],
    ids=["net.", "net.backbone.", "fsdp", "params_ema", "AveragedModel", "NaN"],
)
def test_weights_load_whatever_wrapped_or_averaged_them(checkpoint, tmp_path):
    torch.save(checkpoint, tmp_path / "w.pt")
    assert load_model(f"{HERE}:tiny", weights=tmp_path / "w.pt").state_dict()["1.bias"].tolist() == [1, 2]


def test_two_state_dicts_under_unknown_keys_are_both_named(tmp_path):
    teacher = {**STATE, "1.bias": torch.ones(2)}
    torch.save({"student": under("module."), "teacher": teacher}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"under 'student', without the prefix 'module\.' and under 'teacher'"):
        load_model(f"{HERE}:tiny", weights=tmp_path / "w.pt")


def test_counts_that_old_files_lack_and_the_older_names_of_weight_norm_are_no_obstacle(tmp_path):
    state = {key: value for key, value in normalised().state_dict().items() if "num_batches" not in key}
    torch.save(state, tmp_path / "bn.pt")
    loaded = load_model(f"{HERE}:normalised", weights=tmp_path / "bn.pt").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    state = {"1.bias": torch.ones(2), "1.weight_g": torch.tensor([[2.0], [3.0]]), "1.weight_v": torch.ones(2, 4)}
    torch.save(state, tmp_path / "wn.pt")
    model = load_model(f"{HERE}:older_weight_norm", weights=tmp_path / "wn.pt")
    assert model(torch.ones(1, 4)).tolist() == [[5.0, 7.0]]  # rows of length 2 and 3 times a vector of length 2


@pytest.mark.parametrize("saved", ["embed.weight", "head.weight"])
def test_weights_that_two_modules_share_are_loaded_from_the_one_name_that_safetensors_keeps(saved, tmp_path):
    save_file({saved: torch.arange(20.0).reshape(5, 4)}, tmp_path / "w.safetensors")
    model = load_model(f"{HERE}:Tied", weights=tmp_path / "w.safetensors")
    assert model.head.weight is model.embed.weight
    assert model.embed.weight[4].tolist() == [16, 17, 18, 19]


def test_lazy_layers_take_the_shapes_of_the_checkpoint(tmp_path):
    torch.save(STATE, tmp_path / "w.pt")
    model = load_model(f"{HERE}:lazily_shaped", weights=tmp_path / "w.pt")
    assert model(torch.ones(1, 1, 2, 2)).tolist() == [[5.0, 6.0]]


@pytest.mark.parametrize("ending", ["pt", "ckpt", "bin", "pth.tar"])
def test_weights_given_as_the_model_are_refused_with_the_right_option(ending):
    with pytest.raises(ModelError, match="weights alone are no model"):
        load_model(f"runs/best.{ending}")

"""Every leaf call of well-known architectures equals what a cloning hook sees, and the model stays as it was."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from torchviz_layers import capture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TIMM = [
    "coat_tiny",
    "convnext_atto",
    "deit_tiny_patch16_224",
    "densenet121",
    "edgenext_xx_small",
    "efficientnet_b0",
    "ghostnet_050",
    "gmlp_ti16_224",
    "levit_128s",
    "maxvit_rmlp_pico_rw_256",
    "mixer_s32_224",
    "mobilenetv3_small_050",
    "mobilevit_xxs",
    "poolformer_s12",
    "regnetx_002",
    "resmlp_12_224",
    "resnet10t",
    "swin_tiny_patch4_window7_224",
    "vit_tiny_patch16_224",
    "xcit_nano_12_p16_224",
]
TRANSFORMERS = ["bert", "clip", "distilbert", "gpt2", "llama", "mamba", "swin", "t5", "vit", "whisper"]
FIXED_SIZE = {"inception_v3": 299}


def torchvision_names(kind):
    models = pytest.importorskip("torchvision.models")
    return models.list_models(getattr(models, kind) if kind else models)


def tensors(value):
    if torch.is_tensor(value):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors(part)]


@contextmanager
def clone_everything(model):
    """Let a hook on every leaf clone what the leaf outputs."""
    seen, handles = {}, []
    for name, module in model.named_modules():
        if not list(module.children()):
            handles.append(
                module.register_forward_hook(
                    lambda _m, _i, o, name=name: seen.setdefault(name, []).append([t.clone() for t in tensors(o)])
                )
            )
    yield seen
    for handle in handles:
        handle.remove()


def state(model):
    return {
        name: (sorted(vars(module)), len(module._forward_hooks), len(module._forward_pre_hooks), module.training)
        for name, module in model.named_modules()
    }


def assert_captured_exactly(model, run):
    with clone_everything(model) as truth:  # in the same pass: the same bytes on any processor
        before = state(model)
        with capture(model) as acts, torch.no_grad():
            run(model)
        assert state(model) == before
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks
    for layer, calls in truth.items():
        for call, expected in enumerate(calls):
            found = tensors(acts[f"{layer}:{call}" if call else layer])
            assert len(found) == len(expected), (layer, call)
            assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True)), (layer, call)


@pytest.mark.parametrize("name", torchvision_names(""))
def test_torchvision_classification(name):
    from torchvision import models

    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = models.get_model(name, weights=None, **options).eval()
    edge = FIXED_SIZE.get(name, 224 if name.startswith(("vit", "maxvit")) else 96)
    x = torch.randn(2, 3, edge, edge)
    assert_captured_exactly(model, lambda model: model(x))


@pytest.mark.parametrize("name", [*torchvision_names("segmentation"), *torchvision_names("detection")])
def test_torchvision_segmentation_and_detection(name):
    from torchvision import models

    model = models.get_model(name, weights=None, weights_backbone=None).eval()
    if hasattr(model, "transform") and not name.startswith("ssd"):
        model.transform.min_size, model.transform.max_size = (128,), 128
    x = torch.rand(2, 3, 128, 128)
    assert_captured_exactly(model, lambda model: model(x))


@pytest.mark.parametrize("name", TIMM)
def test_timm(name):
    timm = pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    model = timm.create_model(name, pretrained=False).eval()
    x = torch.randn(1, *model.default_cfg["input_size"])
    assert_captured_exactly(model, lambda model: model(x))


def tiny_transformer(name, transformers):
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    text = {"vocab_size": 50} | small
    ids = torch.randint(3, 50, (2, 7))
    pixels = torch.randn(2, 3, 32, 32)
    words = {"input_ids": ids, "attention_mask": (torch.arange(7) < torch.tensor([[7], [4]])).long()}
    t = transformers
    if name == "bert":
        return t.BertModel(t.BertConfig(**text)), words
    if name == "gpt2":
        return t.GPT2LMHeadModel(t.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2)), words
    if name == "vit":
        return t.ViTModel(t.ViTConfig(image_size=32, patch_size=8, **small)), {"pixel_values": pixels}
    if name == "swin":
        config = t.SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4)
        return t.SwinModel(config), {"pixel_values": pixels}
    if name == "t5":
        config = t.T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
        return t.T5Model(config), words | {"decoder_input_ids": ids[:, :3]}
    if name == "whisper":
        config = t.WhisperConfig(
            vocab_size=50, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=8, max_source_positions=10,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        )  # fmt: skip
        return t.WhisperModel(config), {"input_features": torch.randn(2, 8, 20), "decoder_input_ids": ids[:, :3]}
    if name == "clip":
        vision = {"image_size": 32, "patch_size": 8} | small
        config = t.CLIPConfig(text_config=text | {"eos_token_id": 2}, vision_config=vision, projection_dim=8)
        return t.CLIPModel(config), words | {"pixel_values": pixels}
    if name == "mamba":
        config = t.MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, state_size=4)
        return t.MambaModel(config), {"input_ids": ids}
    if name == "distilbert":
        return t.DistilBertModel(t.DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=2, hidden_dim=32)), words
    return t.LlamaModel(t.LlamaConfig(num_key_value_heads=1, **text)), words


@pytest.mark.filterwarnings("ignore")  # other people's
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(name):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install transformers")
    model, inputs = tiny_transformer(name, transformers)
    assert_captured_exactly(model.eval(), lambda model: model(**inputs))

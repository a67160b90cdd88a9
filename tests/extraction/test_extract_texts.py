"""Batches of texts: tokens padded to another length in every batch, pooled over the tokens that count."""

import numpy as np
import pytest
import torch
from torch import nn

from torchviz_layers import extract
from torchviz_layers.exceptions import CaptureError
from torchviz_layers.extraction import InputRows, input_column

SIZES = [(4, 9), (4, 7), (3, 12)]  # samples and tokens of each batch
N = sum(size for size, _ in SIZES)


def batches(keys=("input_ids", "attention_mask")):
    generator = torch.Generator().manual_seed(0)
    made = []
    for size, length in SIZES:
        counts = torch.randint(2, length + 1, (size,), generator=generator)
        counts[0] = length
        mask = (torch.arange(length) < counts[:, None]).long()
        ids = torch.randint(1, 50, (size, length), generator=generator) * mask
        whole = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
        made.append({key: whole[key] for key in keys})
    return made


class TextNet(nn.Module):
    """Token embeddings, attention and a classifier of the mean token."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.scores = nn.Dropout()
        self.classifier = nn.Linear(16, 3)

    def forward(self, input_ids, attention_mask):
        x = self.embedding(input_ids)
        x, weights = self.attention(x, x, x, key_padding_mask=attention_mask == 0, average_attn_weights=False)
        self.scores(weights)  # (n, heads, tokens, tokens), as transformers' own attention does
        mean = (x * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)
        return self.classifier(mean)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return TextNet().eval()


def expected_means(net):
    rows = []
    for batch in batches():
        mask = batch["attention_mask"][..., None]
        rows.append((net.embedding(batch["input_ids"]) * mask).sum(1) / mask.sum(1))
    return torch.cat(rows).detach()


def test_a_plain_network_of_tokens_has_rows_and_predictions(net):
    captured = extract({"inputs": InputRows(), "net": net}, batches(), pool="token_mean")
    acts = captured["net"]
    np.testing.assert_allclose(acts["embedding"], expected_means(net), rtol=1e-4, atol=1e-6)
    expected = torch.cat([net(**batch) for batch in batches()]).detach()
    np.testing.assert_allclose(acts.predictions, expected, rtol=1e-4, atol=1e-6)
    assert input_column(captured["inputs"]) == (None, "the inputs hold no numbers (token ids, say)")
    assert list(acts) == ["embedding", "classifier"]
    assert "2 tensors" in acts.skipped["attention"]


@pytest.mark.parametrize("kind", ["Bert", "DistilBert"])
@pytest.mark.parametrize("encoding", [True, False], ids=["BatchEncoding", "dict"])
def test_transformers_have_rows_and_predictions(kind, encoding):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install transformers")
    torch.manual_seed(0)
    if kind == "Bert":
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        keys = ("input_ids", "attention_mask", "token_type_ids")
    else:
        sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
        keys = ("input_ids", "attention_mask")
    config = getattr(transformers, f"{kind}Config")(vocab_size=50, num_labels=3, **sizes)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    given = batches(keys)
    if encoding:
        given = [transformers.BatchEncoding(batch) for batch in given]
    acts = extract({"inputs": InputRows(), "net": model}, given, pool="token_mean")["net"]
    with torch.no_grad():
        expected = torch.cat([model(**batch).logits for batch in given])
    np.testing.assert_allclose(acts.predictions, expected, rtol=1e-4, atol=1e-6)
    widths = {acts[layer].shape for layer in acts}
    assert widths == {(N, 16), (N, 32), (N, 3)}
    positions = next(layer for layer in acts.skipped if layer.endswith("position_embeddings"))
    assert "no row for each of 4 samples" in acts.skipped[positions]


def test_two_networks_of_which_one_takes_a_key_more(net):
    class Types(nn.Module):
        def __init__(self):
            super().__init__()
            self.types = nn.Embedding(2, 4)

        def forward(self, token_type_ids):
            return self.types(token_type_ids).mean(1)

    given = batches(("input_ids", "attention_mask", "token_type_ids"))
    captured = extract({"net": net, "types": Types()}, given, pool="token_mean")
    assert captured["net"].n_samples == captured["types"].n_samples == N


def test_a_layer_whose_rows_vary_with_the_tokens_is_left_out_unless_it_is_chosen(net, tmp_path):
    # One vote a pair of tokens: (n, heads, tokens, tokens) pooled is (n, tokens), another number in every batch.
    for options in ({}, {"out": tmp_path / "stored"}, {"max_memory": 100}):
        acts = extract(net, batches(), pool="token_mean", **options)
        assert list(acts) == ["embedding", "classifier"]
        assert acts.skipped["scores"].startswith("its rows have shape (7,) at sample 4, and (9,) before")
        np.testing.assert_allclose(acts["embedding"][:], expected_means(net), rtol=1e-4, atol=1e-6)
    with pytest.raises(CaptureError, match=r"'scores': its rows have shape \(7,\) at sample 4"):
        extract(net, batches(), ["scores"], pool="token_mean")


def test_a_layer_that_an_earlier_run_left_out_stays_out(net, tmp_path, monkeypatch):
    monkeypatch.setattr("torchviz_layers.extraction.table._MOST_CHUNK_ROWS", 4)

    def stops():
        yield from batches()[:2]
        raise KeyboardInterrupt

    def named(loader):
        for number, batch in enumerate(loader):
            yield {**batch, "ids": [f"{number}-{row}" for row in range(len(batch["input_ids"]))]}

    with pytest.raises(KeyboardInterrupt):
        extract(net, named(stops()), pool="token_mean", out=tmp_path / "s")
    acts = extract(net, named(batches()), pool="token_mean", out=tmp_path / "s", resume=True)
    assert list(acts) == ["embedding", "classifier"]
    assert "scores" in acts.skipped
    np.testing.assert_allclose(acts["embedding"][:], expected_means(net), rtol=1e-4, atol=1e-6)

"""Sentences through a Hugging Face text classifier; pass a folder or a name of your own, or none for a tiny one.

pip install transformers
python examples/text_classifier.py [MODEL]
"""

import sys

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from torchviz_layers import UMAP, Samples, visualize_layers

SUBJECTS = ("the film", "this book", "the meal", "our hotel", "her concert", "his lecture")
GOOD, BAD = ("wonderful", "excellent", "charming", "moving"), ("awful", "boring", "terrible", "dull")
TAILS = ("", "and far too long", "from the first minute to the last", "says my sister", "for the price")


def tiny() -> tuple[BertForSequenceClassification, PreTrainedTokenizerFast]:
    """Train a BERT of two layers, whose vocabulary is the words of the sentences, on every other one of them."""
    words = sorted({word for text in texts for word in text.split()})
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
    words_only = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    words_only.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words_only, pad_token="[PAD]", unk_token="[UNK]")
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        id2label={0: "negative", 1: "positive"},
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    batch = tokenizer(texts[::2], padding=True, return_tensors="pt")
    labels = torch.tensor([feeling == "positive" for feeling in feelings[::2]]).long()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(25):
        optimizer.zero_grad()
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
    return model.eval(), tokenizer


torch.manual_seed(0)
texts, feelings = [], []
for subject in SUBJECTS:
    for tail in TAILS:
        for feeling, adjectives in (("negative", BAD), ("positive", GOOD)):
            for adjective in adjectives:
                texts.append(f"{subject} was {adjective} {tail}".strip())
                feelings.append(feeling)

if len(sys.argv) > 1:
    model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
else:
    model, tokenizer = tiny()
samples = Samples.of((texts, feelings), tokenizer=tokenizer, class_names=("negative", "positive"), name="sentences")
page = visualize_layers(
    model, samples, ["*.embeddings", "*encoder.layer.?", "classifier"], reducer=UMAP(random_state=0)
)
for panel in page.data.panels:
    print(f"{panel.layer:28} purity {panel.purity:.2f}")
print(page.save("sentences.html"))

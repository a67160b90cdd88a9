"""Sentences through a Hugging Face text classifier; pass a folder or a name of your own, or none for a tiny random one.

pip install transformers
python examples/text_classifier.py [MODEL]
"""

import sys
import tempfile
from pathlib import Path

from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
)

from torchviz_layers import UMAP, Samples, visualize_layers

SUBJECTS = ("the film", "this book", "the meal", "our hotel", "her concert", "his lecture")
GOOD, BAD = ("wonderful", "excellent", "charming", "moving"), ("awful", "boring", "terrible", "dull")
TAILS = ("", "and far too long", "from the first minute to the last", "says my sister", "for the price")


def tiny() -> tuple[BertForSequenceClassification, BertTokenizerFast]:
    """Make a random BERT of two layers whose vocabulary is the words below."""
    words = sorted({word for text in texts for word in text.lower().split()})
    vocabulary = Path(tempfile.mkdtemp()) / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    config = BertConfig(
        vocab_size=len(words) + 5, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        id2label={0: "negative", 1: "positive"},
    )  # fmt: skip
    return BertForSequenceClassification(config).eval(), BertTokenizerFast(vocab_file=str(vocabulary))


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
page = visualize_layers(model, samples, ["bert.encoder.layer.?", "classifier"], reducer=UMAP(random_state=0))
for panel in page.data.panels:
    print(f"{panel.layer:28} purity {panel.purity:.2f}")
print(page.save("sentences.html"))

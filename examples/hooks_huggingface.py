"""Any Hugging Face model: batches are the tokenizer's dictionaries, padding does not count.

pip install transformers
python examples/hooks_huggingface.py
"""

import torch
from transformers import BertConfig, BertForSequenceClassification

from torchviz_layers import extract

config = BertConfig(
    vocab_size=100, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, num_labels=2
)
model = BertForSequenceClassification(config)  # or .from_pretrained("bert-base-uncased")

lengths = torch.tensor([[12], [7], [9], [3]])
batch = {
    "input_ids": torch.randint(5, 100, (4, 12)),
    "attention_mask": (torch.arange(12) < lengths).long(),
    "labels": torch.tensor([0, 1, 1, 0]),  # become Activations.targets, the model does not get them
    "ids": ["review-1", "review-2", "review-3", "review-4"],
}

acts = extract(model, [batch], "bert.encoder.layer.?.output", pool="token_mean")
print(acts)
print(acts.ids, acts.targets, acts.predictions.shape)

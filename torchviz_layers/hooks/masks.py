"""Which tokens of a batch count: the model's own mask, where it is known what its ones mean, or one that is given."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from torchviz_layers.exceptions import CaptureError
from torchviz_layers.hooks.pooling import first_tokens

TOKEN_POOLS = ("token_mean", "cls", "last_token")
# Hugging Face: 1 is a token. torch.nn.Transformer: True, or minus infinity, is padding.
_ONE_COUNTS = ("attention_mask", "decoder_attention_mask")
_TRUE_PADS = ("src_key_padding_mask", "tgt_key_padding_mask", "memory_key_padding_mask", "key_padding_mask")
# Two axes, and yet not (samples, tokens) of what the model itself reads.
_OTHER_MASKS = (
    "src_mask",
    "tgt_mask",
    "memory_mask",
    "attn_mask",
    "causal_mask",
    "head_mask",
    "decoder_head_mask",
    "cross_attn_head_mask",
    "encoder_attention_mask",
    "special_tokens_mask",
    "global_attention_mask",
)
_log = logging.getLogger("torchviz_layers")


@dataclass
class TokenMasks:
    """The masks of one forward pass after another; says once what cannot be masked."""

    explicit: Tensor | None = None
    known: dict[str, Tensor] = field(default_factory=dict)
    """True where a token counts, by argument."""
    unknown: dict[str, Tensor] = field(default_factory=dict)
    """Masks of which it is not known what their ones mean."""
    _said: set[str] = field(default_factory=set)

    def begin(self, arguments: Mapping[str, Any], explicit: Tensor | None = None) -> None:
        """Read the masks among the arguments of a forward pass; an explicit one takes their place."""
        self.explicit, self.known, self.unknown = explicit, {}, {}
        for name, mask in arguments.items():
            if not isinstance(mask, Tensor) or mask.dim() != 2 or name in _OTHER_MASKS:
                continue
            if name in _TRUE_PADS:
                self.known[name] = ~mask.bool()
            elif name in _ONE_COUNTS and bool(((mask == 0) | (mask == 1)).all()):
                self.known[name] = mask.bool()
            elif name == "padding_mask" and mask.dtype == torch.bool and not bool(mask.all(1).any()):
                self.known[name] = ~mask  # no sample is padding from end to end: its ones are not the tokens
            elif "mask" in name or "padding" in name or mask.dtype == torch.bool:  # `valid`, `is_token`
                self.unknown[name] = mask
        words = arguments.get("decoder_input_ids")
        if isinstance(words, Tensor) and words.dim() == 2 and "decoder_attention_mask" not in self.known:
            self.known["decoder_input_ids (without a mask)"] = torch.ones_like(words, dtype=torch.bool)

    def of(self, rows: Tensor, layer: str, pool: str) -> Tensor | None:
        """Return the mask of rows (n, tokens, ...), or None where no token is known not to count."""
        shape = rows.shape[:2]
        if rows.dim() < 3:
            return None
        if self.explicit is not None:
            if self.explicit.shape == shape:
                return self.explicit
            self._say(pool, f"mask= of shape {tuple(self.explicit.shape)} does not fit", layer, rows)
            return None
        fitting = {name: mask for name, mask in self.known.items() if mask.shape == shape}
        masks = list(fitting.values())
        needed = [first_tokens(mask) if pool == "cls" else mask for mask in masks]
        if any(not torch.equal(needed[0], other) for other in needed[1:]):
            raise CaptureError(
                f"{layer!r}: {' and '.join(fitting)} have the shape of its tokens and differ; mask= says which count"
            )
        if masks:
            return masks[0]
        if names := [name for name, mask in self.unknown.items() if mask.shape == shape]:
            raise CaptureError(
                f"{layer!r}: whether the ones of {names[0]} are tokens or padding is not known; pool={pool!r} needs "
                "mask=, true where a token counts"
            )
        found = ", ".join(f"{name} of shape {tuple(mask.shape)}" for name, mask in (self.known | self.unknown).items())
        if found or pool != "cls":  # a vision transformer has a class token and neither padding nor a mask
            self._say(pool, f"{found or 'no mask'} among the model's arguments fits", layer, rows)
        return None

    def _say(self, pool: str, what: str, layer: str, rows: Tensor) -> None:
        """Say once what is pooled without a mask."""
        kind = pool + str(self.explicit is None) + str(bool(self.known))
        if kind in self._said:
            return
        self._said.add(kind)
        pooled = "position 0 counts, padding or not" if pool == "cls" else "all of them count, padding too"
        _log.warning(
            "pool=%r: %s the %d tokens of %r, so that %s; mask= says which do", pool, what, rows.shape[1], layer, pooled
        )

"""Which tokens of a batch count: by the model's own mask, if the meaning of its ones is known, or by `mask=`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from torchviz_layers.exceptions import CaptureError
from torchviz_layers.hooks.pooling import first_tokens

# Hugging Face: 1 is a token. torch.nn.Transformer: True, or minus infinity, is padding.
_ONE_COUNTS = ("attention_mask", "decoder_attention_mask")
_TRUE_PADS = ("src_key_padding_mask", "tgt_key_padding_mask", "memory_key_padding_mask", "key_padding_mask")
# Masks with two axes that are not the (samples, tokens) which the model reads.
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
    """The masks of the present forward pass; warns once a kind about layers that no mask fits."""

    explicit: Tensor | None = None
    """The mask that the user gave."""
    known: dict[str, Tensor] = field(default_factory=dict)
    """True where a token counts, by argument."""
    unknown: dict[str, Tensor] = field(default_factory=dict)
    """Masks whose ones may be tokens or padding."""
    _warned: set[tuple[str, bool, bool]] = field(default_factory=set)
    """By pool, whether there was no explicit mask, and whether there was a known one."""

    def begin(self, arguments: Mapping[str, Any], explicit: Tensor | None = None) -> None:
        """Read the masks among the arguments of a forward pass; an explicit one is used instead of them."""
        self.explicit, self.known, self.unknown = explicit, {}, {}
        for name, mask in arguments.items():
            # (samples, tokens); masks of attention scores have more axes.
            if not isinstance(mask, Tensor) or mask.dim() != 2 or name in _OTHER_MASKS:
                continue
            if name in _TRUE_PADS:
                self.known[name] = ~mask.bool()
            elif name in _ONE_COUNTS and bool(((mask == 0) | (mask == 1)).all()):
                self.known[name] = mask.bool()
            elif name == "padding_mask" and mask.dtype == torch.bool and not bool(mask.all(1).any()):
                # True is padding. If a whole row is true, it may mean tokens instead: no sample is all padding.
                self.known[name] = ~mask
            elif "mask" in name or "padding" in name or mask.dtype == torch.bool:
                # A boolean tensor of two axes may be a mask whatever its name: `valid`, `is_token`.
                self.unknown[name] = mask
        # Without a mask of its own, a decoder's attention counts all of its tokens.
        tokens = arguments.get("decoder_input_ids")
        if isinstance(tokens, Tensor) and tokens.dim() == 2 and "decoder_attention_mask" not in self.known:
            self.known["decoder_input_ids (without a mask)"] = torch.ones_like(tokens, dtype=torch.bool)

    def of(self, rows: Tensor, layer: str, pool: str) -> Tensor | None:
        """Return the mask (n, tokens) of rows (n, tokens, ...), or None if there is none and all tokens count.

        Raise `CaptureError` if masks of that shape differ, or if it is unknown what the ones of such a mask mean.
        """
        shape = rows.shape[:2]
        if rows.dim() < 3:
            return None  # (n, features): there is no axis of tokens
        if self.explicit is not None:
            if self.explicit.shape == shape:
                return self.explicit
            self._warn(pool, f"mask= of shape {tuple(self.explicit.shape)} does not fit", layer, rows)
            return None
        fitting = {name: mask for name, mask in self.known.items() if mask.shape == shape}
        if fitting:
            return _only_mask(fitting, layer, pool)
        unclear = [name for name, mask in self.unknown.items() if mask.shape == shape]
        if unclear:
            raise CaptureError(
                f"{layer!r}: whether the ones of {unclear[0]} are tokens or padding is not known; pool={pool!r} needs "
                "mask=, true where a token counts"
            )
        masks = (self.known | self.unknown).items()
        found = ", ".join(f"{name} of shape {tuple(mask.shape)}" for name, mask in masks)
        # Without any mask, cls is silent: a vision transformer has a class token, and no padding.
        if found or pool != "cls":
            self._warn(pool, f"{found or 'no mask'} among the model's arguments fits", layer, rows)
        return None

    def _warn(self, pool: str, problem: str, layer: str, rows: Tensor) -> None:
        """Warn that a layer is pooled without a mask, once for each kind of reason."""
        kind = (pool, self.explicit is None, bool(self.known))
        if kind in self._warned:
            return
        self._warned.add(kind)
        pooled = "position 0 counts, padding or not" if pool == "cls" else "all of them count, padding too"
        _log.warning(
            "pool=%r: %s the %d tokens of %r, so that %s; mask= says which do",
            pool, problem, rows.shape[1], layer, pooled,
        )  # fmt: skip


def _only_mask(masks: Mapping[str, Tensor], layer: str, pool: str) -> Tensor:
    """Return the mask, of several the first; raise `CaptureError` if they differ in what the pool needs."""
    # cls needs the position of the first token only, in which masks agree that differ elsewhere.
    first, *others = [first_tokens(mask) if pool == "cls" else mask for mask in masks.values()]
    if not all(torch.equal(first, other) for other in others):
        raise CaptureError(
            f"{layer!r}: {' and '.join(masks)} have the shape of its tokens and differ; mask= says which count"
        )
    return next(iter(masks.values()))

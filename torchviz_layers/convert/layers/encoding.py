"""Encodings of categories and numbers, spectra of signals, contrast of images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchviz_layers.convert.layers.base import KerasModule
from torchviz_layers.convert.layers.convolution import same_padding


class CategoryEncoding(KerasModule):
    """Indices -> `one_hot` (..., tokens), `multi_hot` or `count` (n, tokens)."""

    def __init__(self, num_tokens: int, mode: str) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """Return the encoded indices."""
        return encoded(x.long(), self.num_tokens, self.mode)


def encoded(x: Tensor, num_tokens: int, mode: str) -> Tensor:
    """Return indices one-hot, or the maximum or sum of those along the last axis."""
    if mode == "one_hot" and x.ndim > 1 and x.shape[-1] == 1:
        x = x.squeeze(-1)
    hot = F.one_hot(x, num_tokens).float()  # (..., num_tokens)
    if mode == "one_hot" or x.ndim == 1:
        return hot
    return hot.amax(-2) if mode == "multi_hot" else hot.sum(-2)


class Discretize(KerasModule):
    """The index of the bin that contains each number: itself (`int`), or as `CategoryEncoding` encodes it."""

    def __init__(self, num_boundaries: int, mode: str = "int") -> None:
        super().__init__()
        self.num_boundaries = num_boundaries
        self.mode = mode
        self.register_buffer("boundaries", torch.empty(num_boundaries))

    def forward(self, x: Tensor) -> Tensor:
        """Return int64 indices, or their encoding."""
        index = torch.bucketize(x.float().contiguous(), self.get_buffer("boundaries"), right=True)
        return index if self.mode == "int" else encoded(index, self.num_boundaries + 1, self.mode)


class Spectrogram(KerasModule):
    """Keras's STFTSpectrogram: every channel's short-time Fourier transform, as a convolution with learned kernels.

    `mode` is log, magnitude, psd, real, imag, angle or stft. With `expand_dims` frequencies get an axis of their own.
    """

    def __init__(
        self,
        mode: str,
        frame_length: int,
        frame_step: int,
        frequencies: int,
        same: bool = False,
        expand_dims: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.frame_length = frame_length
        self.frame_step = frame_step
        self.frequencies = frequencies
        self.same = same
        self.expand_dims = expand_dims
        self.channels_last = channels_last
        shape = (frequencies, 1, frame_length)
        self.real = nn.Parameter(torch.empty(shape)) if mode != "imag" else None
        self.imag = nn.Parameter(torch.empty(shape)) if mode != "real" else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the spectrogram of (n, steps, channels), or (n, channels, steps) with channels first."""
        if self.channels_last:
            x = x.movedim(-1, 1)
        parts = [self.transformed(x, kernel) for kernel in (self.real, self.imag) if kernel is not None]
        y = self.combined(parts)  # (n, channels, frequencies, frames)
        if self.expand_dims:
            return y.permute(0, 3, 2, 1) if self.channels_last else y.permute(0, 1, 3, 2)
        y = y.flatten(1, 2)
        return y.movedim(1, -1) if self.channels_last else y

    def transformed(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Convolve each channel of (n, channels, steps) with a kernel."""
        signals = x.flatten(0, 1).unsqueeze(1)  # (n * channels, 1, steps)
        if self.same:
            signals = F.pad(signals, same_padding(x.shape[2:], (self.frame_length,), (self.frame_step,), (1,)))
        y = F.conv1d(signals, kernel, stride=self.frame_step)  # (n * channels, frequencies, frames)
        return y.reshape(*x.shape[:2], *y.shape[1:])

    def combined(self, parts: list[Tensor]) -> Tensor:
        """Return what the mode makes of the real and the imaginary part."""
        if self.mode in ("real", "imag"):
            return parts[0]
        if self.mode == "stft":
            return torch.cat(parts, 2)
        real, imag = parts
        if self.mode == "angle":
            return torch.atan2(imag, real)
        power = real**2 + imag**2
        if self.mode == "psd":  # frequencies between the first and the last count for their negatives too
            return power + F.pad(power[:, :, 1:-1], (0, 0, 1, 1))
        magnitude = power.clamp(min=1e-7).sqrt()
        return magnitude.clamp(min=1e-7).log() if self.mode == "log" else magnitude


class AutoContrast(KerasModule):
    """Stretch every channel of an image over the whole range of values; `axes` are the image's rows and columns."""

    def __init__(self, low: float, high: float, axes: tuple[int, int]) -> None:
        super().__init__()
        self.low = low
        self.high = high
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        """Return the stretched images; a channel of one value stays."""
        least, most = x.amin(self.axes, keepdim=True), x.amax(self.axes, keepdim=True)
        y = (x - least) / (most - least) * (self.high - self.low) + self.low
        return torch.where(y.isnan(), x, y.clamp(self.low, self.high))

"""What the U-Nets are built of."""

from __future__ import annotations

from torch import nn


def block(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    """Two 3x3 convolutions with batch normalisation, then dropout of whole channels."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Dropout2d(dropout),
    )

"""A small residual network for processors and small images."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn
from torchvision.models.resnet import BasicBlock


def resnet10_narrow(channels: int, dropout: float, image_size: int | None) -> tuple[nn.Module, int]:
    """Four residual blocks of 32 to 256 channels behind a 3x3 convolution that halves the image: 256 features.

    A thirtieth of the work of `resnet18_cifar`.
    """
    blocks, width = [], 32
    for planes, stride in ((32, 1), (64, 2), (128, 2), (256, 2)):
        shortcut = nn.Sequential(nn.Conv2d(width, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
        blocks.append(BasicBlock(width, planes, stride, shortcut if stride > 1 else None))
        width = planes
    stem = nn.Conv2d(channels, 32, 3, 2, padding=1, bias=False)
    trunk = nn.Sequential(
        OrderedDict(
            conv1=stem,
            bn1=nn.BatchNorm2d(32),
            relu=nn.ReLU(),
            blocks=nn.Sequential(*blocks),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
        )
    )
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return trunk, 256

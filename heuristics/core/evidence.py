"""Evidence for heuristics from a network that gives logits: one batch at a time, memory independent of the number of
passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heuristics.core.registry import MC
from models.stochastic import mc_dropout, mc_logits, shared_masks

BLOCK = 2**19  # numbers handled at once: 2 MB of float32


def entropy_of(probs: Float[Tensor, "b c *s"]) -> Float[Tensor, "b *s"]:
    """Shannon entropy over the classes, -sum_c p log p, in nats; 0 log 0 is 0.

    The logarithm is taken of max(p, smallest normal number), which leaves p log p exact: a product with p = 0 is 0. It
    works in blocks that stay in the processor's cache; torch.special.entr gives the same at four times the cost.
    """
    block = max(1, BLOCK // max(1, probs[:1].numel()))
    tiny = torch.finfo(probs.dtype).tiny
    return (
        torch.cat([part.clamp_min(tiny).log_().mul_(part).sum(1) for part in probs.split(block)]).neg_().clamp_min_(0)
    )


def likeliest(probs: Float[Tensor, "b c *s"]) -> Int[Tensor, "b *s"]:
    """The most probable class, the first of equals: torch's argmax takes ten times as long where C is not last."""
    return probs.max(1).indices


class RunningMC:
    """Running statistics of K stochastic passes over one batch; holds a few arrays of the size of one pass, whatever K
    is.
    """

    def __init__(self, wanted: Iterable[str] = MC - {"mc_probs"}):
        self.wanted = frozenset(wanted)
        self.n_passes = 0

    def add(self, probs: Float[Tensor, "b c *s"]) -> None:
        """Take in one pass."""
        self.n_passes += 1
        if self.n_passes == 1:
            self._mean = torch.zeros_like(probs)
            self._entropy = torch.zeros_like(probs[:, 0])
            if "mc_std" in self.wanted:
                self._squares = torch.zeros_like(probs)
            if "mc_votes" in self.wanted:
                self._votes = torch.zeros_like(probs)
        if "mc_std" not in self.wanted:
            self._mean += probs
        else:  # Welford's update keeps the spread exact when it is small beside the mean
            deviation = probs - self._mean
            self._mean.add_(deviation, alpha=1 / self.n_passes)
            self._squares.addcmul_(deviation, probs - self._mean)
        if "mc_entropy" in self.wanted:
            self._entropy += entropy_of(probs)
        if "mc_votes" in self.wanted:
            self._votes.scatter_add_(1, likeliest(probs)[:, None], torch.ones_like(probs[:, :1]))

    @property
    def mean(self) -> Float[Tensor, "b c *s"]:
        """Mean probabilities."""
        return self._mean if "mc_std" in self.wanted else self._mean / self.n_passes

    @property
    def entropy(self) -> Float[Tensor, "b *s"]:
        """Mean entropy of the passes, nats."""
        return self._entropy / self.n_passes

    @property
    def std(self) -> Float[Tensor, "b c *s"]:
        """Standard deviation over the passes (divided by K, not K - 1)."""
        return (self._squares / self.n_passes).clamp_min_(0).sqrt_()

    @property
    def votes(self) -> Float[Tensor, "b c *s"]:
        """Share of the passes that predict each class."""
        return self._votes / self.n_passes

    def evidence(self) -> dict[str, Tensor]:
        """The wanted statistics by their evidence names."""
        found = {"mc_mean": "mean", "mc_entropy": "entropy", "mc_std": "std", "mc_votes": "votes"}
        return {name: getattr(self, attribute) for name, attribute in found.items() if name in self.wanted}


def from_logits(
    model: nn.Module,
    images: Float[Tensor, "b channels h w"],
    wanted: frozenset[str],
    mc_samples: int,
    masks_seed: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """The wanted evidence on one batch for a model with `model(images) -> logits (B, C, *S)`.

    Probabilities are of `dtype`: heuristics get float32; metrics ask for float64, which keeps certain predictions
    apart. Logits are float32.

    `embeddings` asks for `model.features(images) -> (B, D)`. `mc_probs` uses the same dropout masks for every image
    (drawn from `masks_seed`), so that joint probabilities across the pool are those of one set of weights per pass.
    """
    found: dict[str, Tensor] = {}
    if "embeddings" in wanted:
        found["embeddings"] = model.features(images).float()  # type: ignore[operator] - a method of every model of ours
    if wanted & {"probs", "logits"}:
        logits = model(images)
        found |= {"probs": probabilities(logits, dtype)} if "probs" in wanted else {}
        found |= {"logits": logits.float()} if "logits" in wanted else {}
    if wanted & MC:
        running, kept = RunningMC(wanted), []
        shared = "mc_probs" in wanted or getattr(model, "shares_masks", False)
        for probs in _passes(model, images, mc_samples, masks_seed if shared else None, dtype):
            running.add(probs)
            if "mc_probs" in wanted:
                kept.append(probs)
        found |= running.evidence()
        if kept:
            found["mc_probs"] = torch.stack(kept, 2)
    if "images" in wanted:
        found["images"] = images
    return found


def probabilities(logits: Float[Tensor, "b c *s"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "b c *s"]:
    """Softmax over the classes in this precision, whatever precision the network ran in."""
    if dtype == torch.float64 and logits.device.type == "mps":  # which has no float64
        logits = logits.cpu()
    return logits.to(dtype).softmax(1)


def _passes(
    model: nn.Module,
    images: Tensor,
    mc_samples: int,
    masks_seed: int | None,
    dtype: torch.dtype,
) -> Iterator[Tensor]:
    """Probabilities of the stochastic passes, with fresh masks for every image, or with shared ones for a seed."""
    if masks_seed is None:
        with mc_dropout(model):
            for logits in mc_logits(model, images, mc_samples):
                yield probabilities(logits, dtype)
    else:
        with shared_masks(model, masks_seed) as set_pass:
            for logits in mc_logits(model, images, mc_samples, set_pass):
                yield probabilities(logits, dtype)

"""What a query strategy is, what it may ask for, and how it is found by name.

A heuristic is a plain function whose parameter names are its request, as with pytest fixtures: `def bald(mc_mean,
mc_entropy)` receives those two and nothing else is computed. Higher always means "label first".

    @scorer      streamed: sees one batch of the pool at a time and returns one score, or one map of scores, per image
    @selector    sees the whole pool at once and returns the `n_query` pool indices to label

Parameters are either names of `EVIDENCE`, or of `GIVEN` (`n_query`, `rng`, ...), or options of the heuristic with a
default (`metric="l2"`), which users set by `heuristic_options.metric=cosine`.

A scorer may have a chooser (`chooser_for`): it then returns a row of scores (B, R) for each image of the batch, and the
chooser makes a batch of the rows of the whole pool. Rows are all that is held of an image, so that a strategy on maps
that compares several rankings stays streamed.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from data.limits import Limit, check_options, options_of
from data.names import Refused, require_one_of, suggestion

# B images in a batch, N in the pool, L labelled, V validation, C classes, K stochastic passes, *S space, D features,
# M boxes. A selector receives the same names stacked over the pool: N in place of B. Probabilities sum to 1 over C;
# entropies are in nats.
EVIDENCE = {
    "logits": "(B, C, *S) outputs of the deterministic pass before the softmax",
    "probs": "(B, C, *S) probabilities of the deterministic pass",
    "mc_mean": "(B, C, *S) mean of the probabilities of K stochastic passes",
    "mc_entropy": "(B, *S) mean of the entropies of K stochastic passes, nats",
    "mc_std": "(B, C, *S) standard deviation of the probabilities over K stochastic passes",
    "mc_votes": "(B, C, *S) share of the K stochastic passes that predict each class",
    "mc_probs": "(B, C, K, *S) probabilities of all K stochastic passes; pass k has the same masks for all images",
    "embeddings": "(B, D) penultimate features of the deterministic pass",
    "prediction": "(B, C, *S) mc_mean where stochastic passes are asked for, else probs",
    "detections": "B dicts of M boxes: boxes, proposals (M, 4), scores, confidence, labels (M,), probs (M, C + 1)",
    "mc_detections": "B dicts as detections, with mc_boxes (M, K, 4) and mc_probs (M, K, C + 1) of K stochastic passes",
    "proposals": "B tensors (M, 4): the regions that a two-stage detector regressed the boxes of `detections` from",
    "noisy_detections": "B lists: detections under rising levels of Gaussian noise, one dict per level",
    "augmented_detections": "B lists: detections of changed copies, in the image's coordinates, one dict per copy",
    "images": "(B, channels, H, W) the images, in 0..1",
    "model": "the network in evaluation mode; must be left as it was",
    "head": "embeddings (N, D) -> logits (N, C): the last part of the network, without dropout; differentiable",
    "labelled_embeddings": "(L, D) embeddings of the labelled set",
    "labelled_logits": "(L, C, *S) logits on the labelled set",
    "labelled_probs": "(L, C, *S) probs on the labelled set",
    "labelled_targets": "(L,) targets of the labelled set",
    "validation_embeddings": "(V, D) embeddings of the validation set",
    "validation_probs": "(V, C, *S) probs on the validation set",
    "validation_targets": "(V,) targets of the validation set",
}
MC = frozenset({"mc_mean", "mc_entropy", "mc_std", "mc_votes", "mc_probs"})  # statistics of stochastic passes
GIVEN = {
    "n_pool": "number of images in the pool",
    "n_query": "number of images to label in this cycle",
    "rng": "numpy.random.Generator of this run, cycle and purpose",
    "progress": "0 in the first cycle that labels, 1 in the last, even steps between",
}


@dataclass(frozen=True)
class Heuristic:
    """A query strategy: `function(**evidence)`, streamed batch by batch (`per_batch`) or over the whole pool."""

    name: str
    function: Callable[..., Any]
    per_batch: bool
    arguments: dict[str, Any] = field(default_factory=dict)
    chooser: Callable[..., Any] | None = None  # of a scorer that gives rows of scores, see `chooser_for`

    @property
    def parameters(self) -> frozenset[str]:
        return frozenset(inspect.signature(self.function).parameters)

    @property
    def wants(self) -> frozenset[str]:
        """The evidence that the function asks for."""
        return self.parameters & frozenset(EVIDENCE)

    @property
    def of_boxes(self) -> bool:
        """Whether it looks at the boxes that a detector found."""
        return any(name.endswith("detections") for name in self.wants)

    @property
    def options(self) -> dict[str, tuple[Any, Limit | None]]:
        """Options of the heuristic, each with its default and the limit that its annotation names."""
        return options_of(self.function) | (options_of(self.chooser) if self.chooser else {})

    def __call__(self, **given: Any) -> Any:
        """Call the function with those of the given values that it asks for."""
        return _called(self.function, given | self.arguments)

    def choose(self, **given: Any) -> Any:
        """The batch that the chooser makes of `scores`, the rows (N, R) of the whole pool."""
        if self.chooser is None:
            raise Refused(f"heuristic {self.name!r} gives one score per image, of which `select` makes a batch")
        return _called(self.chooser, given | self.arguments)


def _called(function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    return function(**{name: values[name] for name in values.keys() & inspect.signature(function).parameters})


_KNOWN: dict[str, Heuristic] = {}
_CHECKS: dict[str, Callable[..., None]] = {}  # of options that do not go together, see `check_for`


def scorer(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register a streamed heuristic: evidence of one batch -> scores (B,) or maps of scores (B, *S)."""
    return _register(function, per_batch=True)


def selector(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register a whole-pool heuristic: evidence of the pool -> `n_query` distinct pool indices, best first."""
    return _register(function, per_batch=False)


def check_for(function: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register what `get` calls with all options of a heuristic, to refuse those that do not go together."""

    def register(check: Callable[..., None]) -> Callable[..., None]:
        _CHECKS[function.__name__] = check
        return check

    return register


def chooser_for(function: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what makes a batch of the rows of scores that a scorer gives: `scores` (N, R), `n_query`, `rng`,
    `progress` -> distinct pool indices, best first. The first column is what is recorded as the score of an image.
    """

    def register(chooser: Callable[..., Any]) -> Callable[..., Any]:
        _KNOWN[function.__name__] = replace(_KNOWN[function.__name__], chooser=chooser)
        return chooser

    return register


def _register(function: Callable[..., Any], per_batch: bool) -> Callable[..., Any]:
    name = function.__name__
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in EVIDENCE | GIVEN and parameter.default is inspect.Parameter.empty:
            raise Refused(
                f"heuristic {name!r} asks for unknown evidence {parameter.name!r}."
                f"{suggestion(parameter.name, EVIDENCE | GIVEN)} Give it a default if it is an option."
            )
    if name in _KNOWN and inspect.getsourcefile(_KNOWN[name].function) != inspect.getsourcefile(function):
        raise Refused(f"two heuristics are called {name!r}; names must be unique")
    _KNOWN[name] = Heuristic(name, function, per_batch)
    return function


def _load_all() -> None:
    """Import every file of the folder of strategies, so that a new one registers itself."""
    package = importlib.import_module("heuristics")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name != "__main__" and not module.ispkg:
            importlib.import_module(f"heuristics.{module.name}")


def names() -> list[str]:
    """All registered heuristics, in alphabetical order."""
    _load_all()
    return sorted(_KNOWN)


def get(name: str, **arguments: Any) -> Heuristic:
    """Find a heuristic by name and bind its options.

    Raises Refused for an unknown name or option, naming the nearest known one, for a value that the option cannot have,
    and for options that do not go together.
    """
    known = names()
    require_one_of("heuristic", name, known)
    found = _KNOWN[name]
    check_options(f"heuristic {name!r}", found.options, arguments)
    if name in _CHECKS:
        _CHECKS[name](**{option: arguments.get(option, default) for option, (default, _) in found.options.items()})
    return replace(found, arguments=arguments)

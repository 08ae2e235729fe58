"""What is tried: every script and mode as a row, with the commands that are typed one after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Person = Callable[[Path], None]  # does something in a trial's folder between two commands
Step = tuple[str, ...] | Person

EXACT = ("precision=float32", "save_every=0.0")
CLASSIFY = ("classify.py", "with", "tiny", *EXACT)
SEGMENT = ("segment.py", "with", "tiny", *EXACT)
DETECT = ("detect.py", "with", "tiny", *EXACT)
PRETRAIN = ("pretrain.py", "with", "tiny", *EXACT)
HEAD = ("train=head", "features=pixels")
HEARTS = (
    *("segment.py", "with", "acdc_quick", *EXACT, "dataset_options.n_pool=4", "dataset_options.n_test=2"),
    *("dataset_options.size=32", "crop=32", "width=4", "depth=3", "steps=6", "batch_size=4", "n_cycles=2"),
    *("mc_samples=2", "n_initial=10", "n_query=12"),
)


def shown(**options: object) -> tuple[str, ...]:
    """Options as they are typed."""
    return tuple(f"{name}={value}" for name, value in options.items())


def person(task: str) -> tuple[Person, Callable[[int], Person], tuple[str, ...]]:
    """Who makes a folder of images, who answers the list of a round, and the words of `suggest` with that folder."""
    from tests.experiments.rounds.annotator import OPTIONS, OWN, Annotator  # late: with torch

    def images(place: Path) -> None:
        Annotator(task, place / "own")

    def answers(round_: int) -> Person:
        return lambda place: Annotator(task, place / "own").answer(place / "out", round_) and None

    options = shown(**OPTIONS[task], **OWN[task])
    return images, answers, ("with", *options, "data_root=PLACE/own", "out=PLACE/out", "save_every=0.0")


def rounds(task: str) -> tuple[Step, ...]:
    """Three lists and two models."""
    images, answers, words = person(task)
    suggest = (f"{task}.py", "suggest", *words)
    return images, suggest, answers(0), suggest, answers(1), suggest


def predictions(task: str) -> tuple[Step, ...]:
    images, answers, words = person(task)
    suggest, predict = (f"{task}.py", "suggest", *words), (f"{task}.py", "predict", *words)
    return images, suggest, answers(0), suggest, predict


@dataclass(frozen=True)
class Mode:
    """One row of the table: `steps` says what is done, `tried` how many of the last commands are killed (0: all)."""

    name: str
    steps: Callable[[], tuple[Step, ...]]
    tried: int = 0


def once(name: str, *words: str) -> Mode:
    return Mode(name, lambda: (words,))


def _semi_supervised() -> list[Mode]:
    few = ("mu=1", "ramp_up=4")
    return [
        once("classify unlabelled=fixmatch", *CLASSIFY, *few, "unlabelled=fixmatch", "pseudo_threshold=0.2"),
        once("classify unlabelled=mean_teacher", *CLASSIFY, *few, "unlabelled=mean_teacher", "heuristic=margin"),
        once("classify unlabelled=label_spreading", *CLASSIFY, *HEAD, "unlabelled=label_spreading"),
        once("segment unlabelled=mean_teacher", *SEGMENT, *few, "unlabelled=mean_teacher", "heuristic=entropy"),
        once("segment unlabelled=cps", *SEGMENT, *few, "unlabelled=cps", "n_val=4", "val_every=5"),
        once("detect unlabelled=pseudo_labels", *DETECT, "unlabelled=pseudo_labels", "pseudo_threshold=0.05"),
        once(
            "detect unlabelled=mean_teacher", *DETECT, "unlabelled=mean_teacher", "burn_in=2", "pseudo_threshold=0.05"
        ),
    ]


MODES: list[Mode] = [
    once("classify", *CLASSIFY, "heuristic=badge", "n_stop=20"),
    once("segment", *SEGMENT, "heuristic=bald", "save_maps=True", "n_cycles=1"),
    once("detect", *DETECT, "heuristic=localization_tightness"),
    once("pretrain", *PRETRAIN),
    once("segment supervised", "segment.py", "supervised", *SEGMENT[1:]),
    Mode("classify evaluate", lambda: (CLASSIFY, ("classify.py", "evaluate", *CLASSIFY[1:])), tried=1),
    once("segment devices=2", *SEGMENT, "device=cpu", "devices=2", "heuristic=entropy"),
    once("pretrain devices=2", *PRETRAIN, "device=cpu", "devices=2"),
    *_semi_supervised(),
    once("segment unit=volume", *HEARTS, "n_initial=20", "n_query=20", "unit=volume", "heuristic=entropy"),
    once("segment apart=2", *HEARTS, "apart=2", "heuristic=random", "n_val=28", "val_every=3"),
    once("classify train=head", *CLASSIFY, *HEAD, "heuristic=typiclust", "initial=kmeans"),
    once("classify proxy=head", *CLASSIFY, "proxy=head", "features=pixels", "heuristic=entropy", "workers=2"),
    once("classify start=warm", *CLASSIFY, "start=warm", "heuristic=coreset"),
    *(Mode(f"{task} suggest", lambda task=task: rounds(task)) for task in ("classify", "segment", "detect")),
    Mode("classify predict", lambda: predictions("classify"), tried=1),
    Mode("segment predict", lambda: predictions("segment"), tried=1),
    once("grid of processes", "grid.py", "classify", *CLASSIFY[1:], "heuristic=random,margin", "--jobs", "2"),
    once("grid of forks", "grid.py", "classify", *CLASSIFY[1:], "heuristic=random,margin", "run=0,1", "--in-process"),
    once("grid of pretrain", "grid.py", "pretrain", *PRETRAIN[1:], "run=0,1", "--in-process"),
]  # fmt: skip

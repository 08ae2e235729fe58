"""Learning an encoder without labels (SimSiam): its images, its batches of two views, its training and its curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from data.augment.images import crop_example
from data.augment.views import VIEWS
from data.files import atomic, folder_of, under_root
from data.loading import load as load_images
from data.names import Refused
from data.splits import Splits, make_splits, read_splits
from data.store import Images
from experiments.learning.batches import TrainingBatches, equal_size_batches
from experiments.learning.devices import device_of, layout_of, precision_of
from experiments.learning.parallel import first_says, shared
from experiments.learning.randomness import START, generator, torch_seeded
from experiments.learning.recipe import Recipe, autocast
from experiments.learning.training import Training, fit
from experiments.measures.neighbours import knn_accuracy
from experiments.tracking.checkpoints import Checkpoint, State
from models.classifiers import make_classifier
from models.simsiam import SimSiam, encoder_state, output_std, simsiam_loss

Values = Mapping[str, Any]
Measure = Callable[[SimSiam], dict[str, float]]
AT_ONCE = 256  # images that the curve is measured on at once
PIXELS = 32  # side to which larger images are averaged where their pixels are the features


def load(options: Values) -> Splits:
    """The images that are learnt from, and those that only report. Refused where whole images have several sizes."""
    task, root = options["task"], folder_of(options["data_root"])
    size = {"image_size": options["image_size"] or None} if task == "classify" else {"scale": options["scale"]}
    images = load_images(task, options["dataset"], root, **size, **options["dataset_options"])
    sizes = np.unique(images.shapes, axis=0)
    if len(sizes) > 1 and not options["crop"]:
        (h, w), (tall, wide) = sizes[0], sizes[-1]
        many = f"the images of {options['dataset']!r} have {len(sizes)} sizes, from {h}x{w} to {tall}x{wide}"
        raise Refused(f"{many}: learn from windows, for example crop={min(128, int(images.shapes.min()))}")
    if options["splits_dir"]:
        splits = read_splits(images, under_root(options["splits_dir"]))
    else:
        splits = make_splits(images, 0, generator(options["seed"], START, "split"))
    if options["batch_size"] > len(splits.train):
        few = f"there are {len(splits.train)} images to learn from"
        raise Refused(f"batch_size={options['batch_size']}, but {few}: use at most as many")
    return splits


def side_of(options: Values, images: Images) -> int:
    """Pixels of the smaller side of what the encoder sees."""
    return options["crop"] or int(images.shapes.min())


def make_model(options: Values, train: Images) -> SimSiam:
    """The network as it is before its first step, on its device; equal for equal `run`."""
    with torch_seeded(options["seed"], START, "weights"):
        encoder = make_classifier(
            options["model"], num_classes=2, channels=train.channels, dropout=0.0, image_size=side_of(options, train)
        )
        model = SimSiam(encoder, options["projector_dim"], options["projector_layers"])
    return model.to(device_of(options["device"])).to(memory_format=layout_of(options))  # type: ignore[call-overload]


def recipe_of(options: Values, n: int) -> Recipe:
    """The recipe for n images: an epoch is n // batch_size steps, and the rate grows with the batch."""
    shared = {name: options[name] for name in Recipe.__dataclass_fields__ if name in options}
    per_epoch = n // options["batch_size"]
    return Recipe(
        **shared
        | {"steps": options["epochs"] * per_epoch, "lr": options["lr"] * options["batch_size"] / 256, "patience": 0}
        | {"val_every": options["record_every"] * per_epoch, "precision": precision_of(options)}
    )


def make_batches(options: Values, train: Images) -> TrainingBatches:
    """Two views of every image: windows are cut where images are stored, all else happens on the device."""
    device, view, crop = device_of(options["device"]), VIEWS[options["augment"]], options["crop"]

    def draw(i: int, rng: np.random.Generator) -> UInt8[ndarray, "h w channels"]:
        return crop_example(train.raw(i), None, crop, rng)[0] if crop else train.raw(i)

    def collate(examples: list) -> tuple[Tensor, None]:
        return torch.from_numpy(np.stack(examples)), None

    def prepare(batch: Any, rng: np.random.Generator) -> Any:
        images = batch[0].to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
        return (view(images, rng), view(images, rng)), None

    recipe = recipe_of(options, len(train))
    return TrainingBatches(draw, collate, prepare, np.arange(len(train)), recipe, options["seed"], START, train.names)


def make_loss(options: Values) -> Callable[[Any, Any], Tensor]:
    """The loss of a batch of two views, each of which passes the network alone, with its own batch statistics."""
    layout = layout_of(options)

    def loss(model: SimSiam, batch: Any) -> Tensor:
        first, second = (model(view.contiguous(memory_format=layout)) for view in batch[0])
        return simsiam_loss((first[0], second[0]), (first[1], second[1]))

    return loss


def measured_on(options: Values, images: Images, most: int = 0) -> tuple[list[Tensor], Int[ndarray, " n"]]:
    """Images as they are, or one fixed window of each, as batches (b, channels, h, w) of one size; their indices."""
    count = min(most, len(images)) or len(images)
    chosen = np.unique(np.linspace(0, len(images) - 1, count).round().astype(np.int64))
    crop, seed = options["crop"], options["seed"]
    shapes = np.full((len(chosen), 2), crop) if crop else images.shapes[chosen]
    batches, order = [], []
    for positions in equal_size_batches(shapes, AT_ONCE):
        raw = [images.raw(int(i)) for i in chosen[positions]]
        if crop:
            rngs = (generator(seed, START, "evaluate", int(i)) for i in chosen[positions])
            raw = [crop_example(image, None, crop, rng)[0] for image, rng in zip(raw, rngs, strict=True)]
        batches.append(torch.from_numpy(np.stack(raw)).permute(0, 3, 1, 2))
        order.append(chosen[positions])
    return batches, np.concatenate(order)


def make_measure(options: Values, splits: Splits) -> tuple[Measure, dict[str, float]]:
    """What a row says of the model, and the accuracy of the most frequent class and of pixels (about their mean too).

    Features and outputs are of images without augmentation, in evaluation mode: with statistics of a batch the last
    batch norm spreads outputs again that have collapsed. Labels are read here alone, and only reported.
    """
    device, layout = device_of(options["device"]), layout_of(options)
    known, rows = measured_on(options, splits.train, options["monitor_images"])
    knn, yardsticks = None, {}
    if splits.train.kind == "class" and options["knn"] != "none":
        knn, yardsticks = _make_knn(options, splits, known, rows)

    def measure(model: SimSiam) -> dict[str, float]:
        model.eval()

        def of_batch(number: int, batch: Tensor) -> Float[Tensor, "b d"]:
            scaled = _scaled(batch, device).contiguous(memory_format=layout)
            with torch.no_grad(), autocast(device, precision_of(options)):
                return model.encoder.features(scaled).float()

        def features(batches: Sequence[Tensor]) -> Float[Tensor, "n d"]:
            return torch.cat(list(shared(of_batch, batches, device)))

        of_known = features(known)
        with torch.no_grad():
            std = output_std(model.projector(of_known))
        return {"output_std": std} | ({"knn_accuracy": knn(of_known, features)} if knn else {})

    return measure, yardsticks


def _make_knn(
    options: Values, splits: Splits, known: Sequence[Tensor], rows: Int[ndarray, " n"]
) -> tuple[Callable[..., float], dict[str, float]]:
    """The accuracy of features, from those of the known images and a function of images; and what it stands beside."""
    device = device_of(options["device"])
    asked, asked_rows = measured_on(options, splits.test) if options["knn"] == "test" else ([], rows[:0])

    def classes_of(part: Images, chosen: Int[ndarray, " n"]) -> Int[Tensor, " n"]:
        return torch.tensor([int(part.target(int(i))) for i in chosen], dtype=torch.int64, device=device)

    known_classes, asked_classes = classes_of(splits.train, rows), classes_of(splits.test, asked_rows)

    def knn(of_known: Tensor, features: Callable[[Sequence[Tensor]], Tensor]) -> float:
        others = (features(asked), asked_classes) if asked else (None, None)
        return knn_accuracy(of_known, known_classes, *others, len(splits.train.classes))

    def pixels(batches: Sequence[Tensor]) -> Float[Tensor, "n d"]:
        return torch.cat([_pixels(batch, device) for batch in batches])

    def centred(found: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return found - found.mean(1, keepdim=True)

    told = asked_classes if asked else known_classes
    most_frequent = float((told == known_classes.bincount().argmax()).double().mean())
    yardsticks = {"most frequent class": most_frequent, "pixels": knn(pixels(known), pixels)}
    return knn, yardsticks | {"centred pixels": knn(centred(pixels(known)), lambda batches: centred(pixels(batches)))}


def pretrain(
    options: Values,
    splits: Splits,
    measure: Measure,
    checkpoint: Checkpoint,
    state: State,
    record: Callable[[dict[str, Any]], None],
) -> SimSiam | None:
    """Train from wherever a killed run stopped; a row per `record_every` epochs goes to the state and to `record`.

    Returns the trained network, or None where its encoder was saved before. Rows are saved before the training that
    they tell of, and a row that is there is not measured again.
    """
    for row in state.curve:
        record(row)  # a resumed run is complete in itself
    if state.cycle > options["epochs"] and first_says(encoder_in(checkpoint).is_file()):
        return None
    model, batches = make_model(options, splits.train), make_batches(options, splits.train)
    per_epoch = len(splits.train) // options["batch_size"]

    def keep(row: dict[str, Any]) -> None:
        state.curve.append(row)
        state.cycle = row["epoch"] + 1
        checkpoint.save(state)
        record(row)

    def watch(training: Training) -> None:
        before = state.curve[-1]["epoch"]
        epoch = training.step // per_epoch
        if epoch <= before:
            return
        scheduled, constant = (group["lr"] for group in training.optimizer.param_groups)
        seconds = training.seconds - sum(row["seconds"] for row in state.curve)
        row = {"epoch": epoch, "loss": float(np.mean(training.losses[before * per_epoch : training.step]))}
        row |= measure(model) | {"learning_rate": scheduled, "predictor_rate": constant, "seconds": max(0.0, seconds)}
        keep(row)

    if not state.curve:
        keep({"epoch": 0, **measure(model), "seconds": 0.0})
    fit(model, make_loss(options), batches, watch=watch, save_to=checkpoint.training_file)
    return model


def encoder_in(checkpoint: Checkpoint) -> Path:
    """The file of the encoder that a run trains."""
    return checkpoint.outputs / "encoder.pt"


def save_encoder(file: Path, model: SimSiam, options: Values, train: Images) -> None:
    """Write the trunk as `make_classifier` names its weights, with what is needed to build it again."""
    of_network = {"network": options["model"], "channels": train.channels, "image_size": side_of(options, train)}
    with atomic(file) as temporary:
        torch.save({"state_dict": encoder_state(model), **of_network, "classes": []}, temporary)


def healthy_std(options: Values) -> float:
    """What `output_std` is about where outputs are spread over the sphere."""
    return 1 / math.sqrt(options["projector_dim"])


def _scaled(batch: Tensor, device: torch.device) -> Tensor:
    return batch.to(device).float().div_(255)


def _pixels(batch: Tensor, device: torch.device) -> Float[Tensor, "b d"]:
    """Pixels as features, averaged to PIXELS a side where there are more."""
    images = _scaled(batch, device)
    height, width = images.shape[-2:]
    return adaptive_avg_pool2d(images, (min(PIXELS, height), min(PIXELS, width))).flatten(1)

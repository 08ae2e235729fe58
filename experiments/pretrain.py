"""Learning an encoder without labels: SimSiam, for weights=simsiam:RUN and features=simsiam:RUN of the other scripts.

python experiments/pretrain.py with quick_tissue         # the built-in tissue phantom, minutes on two cores
python experiments/pretrain.py with quick                # real photographs (CIFAR-10 subset), minutes
python experiments/pretrain.py print_named_configs       # what else there is
"""

import signal
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the project, so that `data` is ours
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the imports without a traceback; later `launch` listens
    from data.memory import say_when_short

    say_when_short()

from sacred import Experiment

from data.files import ROOT
from experiments.pretraining import Pretraining
from experiments.tracking.launch import launch
from experiments.tracking.pretrain_options import PRETRAIN

PRESETS = {  # name -> what it reproduces or is for, and the options that it sets
    "cifar10": (
        "The CIFAR-10 recipe of SimSiam (Chen and He, 2021, appendix D): ResNet-18 for CIFAR, a projector of 2 layers "
        "with 2048 outputs, SGD 0.03 x batch / 256 with cosine, weight decay 5e-4, batches of 512, 800 epochs. "
        "Published reading of kNN on test: about .90; .82 after 200 epochs of batch 128. For a GPU, not run here.",
        {
            **{"dataset": "cifar10", "model": "resnet18_cifar", "augment": "simsiam_cifar", "monitor_images": 0},
            **{"epochs": 800, "batch_size": 512, "lr": 0.03, "momentum": 0.9, "weight_decay": 5e-4},
            **{"projector_layers": 2, "projector_dim": 2048, "record_every": 10},
        },
    ),
    "quick": (
        "Photographs of ten classes (CIFAR-10, the 5,000 training images of the subset) with a small network, 20 "
        "epochs of AdamW. kNN accuracy .222 untrained, .334 after (run 0); pixels .249, .387 less the mean of each "
        "image. bfloat16 wants a processor that has it (else precision=float32).",
        {
            **{"dataset": "cifar10", "model": "resnet10_narrow", "augment": "simsiam_cifar", "precision": "bfloat16"},
            **{"epochs": 20, "batch_size": 64, "optimizer": "adamw", "lr": 0.006, "projector_dim": 512},
            **{"record_every": 2},
        },
    ),
    "quick_tissue": (
        "The built-in tissue phantom with a small network, 16 epochs. kNN accuracy .343 untrained, .411 after (run 0); "
        "pixels .265.",
        {
            **{"dataset": "phantom", "model": "resnet10_narrow", "augment": "simsiam_histology"},
            **{"precision": "bfloat16", "epochs": 16, "batch_size": 64, "lr": 0.12, "projector_dim": 512},
            **{"record_every": 2},
        },
    ),
    "tiny": (
        "Seconds, for tests: a poor network on a few phantom patches.",
        {
            **{"dataset_options": {"n_pool": 48, "n_test": 18}, "image_size": 16, "model": "small_cnn"},
            **{"epochs": 2, "batch_size": 16, "projector_dim": 16},
        },
    ),
}  # fmt: skip


ex = Experiment("pretrain", base_dir=ROOT, save_git_info=False)  # here, so that Sacred keeps this file
SCRIPT = Pretraining(ex, PRETRAIN, PRESETS)

if __name__ == "__main__":
    launch(SCRIPT.command_line)

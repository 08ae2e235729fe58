"""Active learning for classification.

python experiments/classify.py                                             # tissue phantom, random, about a minute
python experiments/classify.py with pneumonia_quick heuristic=badge run=3  # real radiographs, quick
python experiments/classify.py print_named_configs                         # what else there is
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
from experiments.classify_presets import PRESETS
from experiments.commands import Script
from experiments.head_presets import PRESETS as OF_HEADS
from experiments.tracking.launch import launch
from experiments.tracking.options import TABLES


def _task():
    from experiments.tasks.classification import TASK  # with torch, for which no refused option need wait

    return TASK


ex = Experiment("classify", base_dir=ROOT, save_git_info=False)  # here, so that Sacred keeps this file
SCRIPT = Script(ex, TABLES["classify"], {**PRESETS, **OF_HEADS}, _task)

if __name__ == "__main__":
    launch(SCRIPT.command_line)

"""Too little memory is one sentence, wherever it shows."""

import subprocess
import sys

import pytest

from data.memory import is_short, sentence
from tests.experiments.runs import ROOT


def test_what_is_short_of_memory_and_what_is_not():
    chained = ValueError("cannot read the image")
    chained.__cause__ = MemoryError()
    for error in (MemoryError(), ImportError("libtorch_cpu.so: failed to map segment from shared object"), chained):
        assert is_short(error) and "not enough memory" in sentence(error)
    assert is_short(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
    assert is_short(OSError(12, "Cannot allocate memory")) and is_short(RuntimeError("CUDA out of memory."))
    assert is_short(RuntimeError("could not create a primitive"))
    assert not is_short(ValueError("steps=0")) and not is_short(None) and not is_short(ImportError("no module 'x'"))


@pytest.mark.parametrize("megabytes", [100, 1500])
@pytest.mark.parametrize(
    "words",
    [["classify.py", "with", "tiny", "heuristic=bald"], ["grid.py", "classify", "with", "tiny"]],
    ids=lambda words: words[0],
)
def test_a_script_that_cannot_even_import_what_it_needs(megabytes, words, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    limited = ["bash", "-c", f'ulimit -v {megabytes * 1000}; exec "$@"', "-", sys.executable, f"experiments/{words[0]}"]
    ended = subprocess.run([*limited, *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr, ended.stderr
    assert (
        "Refused: there is not enough memory, with ulimit -v at" in ended.stderr
        or "Memory allocation still failed" in ended.stderr
    )

"""The cache of frozen features: computed once, whole, resumed after a kill, by one process at a time."""

import multiprocessing
import time

import numpy as np
import pytest
import torch
from torch import nn

from data.names import Refused
from data.store import Record, cached
from experiments.learning import features as module
from experiments.learning.features import Features, feature_batch
from models.frozen import Frozen

N = 10


class Network(nn.Module):
    """Doubles pixels, counts images in a file, and stops where it is told to."""

    def __init__(self, log, stop_after=10**9, pause=0.0, factor=2.0):
        super().__init__()
        self.log, self.stop_after, self.pause, self.factor, self.seen = log, stop_after, pause, factor, 0

    def forward(self, images):
        if self.seen + len(images) > self.stop_after:
            raise KeyboardInterrupt
        self.seen += len(images)
        time.sleep(self.pause)
        with open(self.log, "a") as file:
            file.write("x" * len(images))
        return self.factor * images.flatten(1)


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIQUOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "CHUNK", 4)
    pixels = np.random.default_rng(0).integers(0, 255, (N, 3, 2, 1), np.uint8)
    records = [Record(f"image {i}", pixels[i], np.int64(i % 2)) for i in range(N)]
    return cached("toy", "f0", "class", ("a", "b"), lambda: records)


def features(images, log, digest="d0", **network):
    frozen = Frozen("toy net", 0, digest, lambda: Network(log, **network))
    return Features(images, frozen, torch.device("cpu"), "float32")


def expected(images, factor=2.0):
    return factor * torch.stack([images.image(i) for i in range(len(images))]).flatten(1)


def counted(log):
    return len(log.read_text()) if log.exists() else 0


def test_they_are_computed_once_and_follow_the_rows(images, tmp_path):
    log = tmp_path / "log"
    for _ in range(2):
        found = features(images, log)
        assert torch.allclose(found.of(np.array([7, 2])), expected(images)[[7, 2]], rtol=1e-3)
        assert counted(log) == N and found.dim == 6
    mean, std = found.statistics(np.arange(N))
    assert torch.allclose(mean, expected(images).mean(0), rtol=1e-3)
    assert torch.allclose(std, expected(images).std(0, correction=0), rtol=1e-2)


def test_another_digest_is_computed_anew(images, tmp_path):
    log = tmp_path / "log"
    features(images, log).of(np.arange(N))
    other = features(images, log, "d1", factor=3.0).of(np.arange(N))
    assert counted(log) == 2 * N and torch.allclose(other, expected(images, 3.0), rtol=1e-3)


def test_a_killed_computation_is_taken_up(images, tmp_path):
    log = tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        features(images, log, stop_after=9).of(np.arange(N))
    assert counted(log) == 8  # two chunks of 4
    assert torch.allclose(features(images, log).of(np.arange(N)), expected(images), rtol=1e-3)
    assert counted(log) == N and not list((tmp_path / "cache" / "features").glob("*.unfinished"))


def test_damage_is_noticed_and_mended(images, tmp_path):
    log = tmp_path / "log"
    features(images, log).of(np.arange(N))
    (file,) = (tmp_path / "cache" / "features").glob("*/features.npy")
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="the features in .* are damaged"):
        assert torch.allclose(features(images, log).of(np.arange(N)), expected(images), rtol=1e-3)
    assert counted(log) == 2 * N


def test_a_damaged_chunk_is_computed_again(images, tmp_path):
    log = tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        features(images, log, stop_after=9).of(np.arange(N))
    chunk = min((tmp_path / "cache" / "features").glob("*.unfinished/*.npz"))
    chunk.write_bytes(chunk.read_bytes()[:-20])
    assert torch.allclose(features(images, log).of(np.arange(N)), expected(images), rtol=1e-3)
    assert counted(log) == N + 4


def test_two_processes_do_not_both_compute(images, tmp_path):
    log = tmp_path / "log"
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=lambda: features(images, log, pause=0.2).of(np.arange(N))) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(20)
    assert [process.exitcode for process in both] == [0, 0] and counted(log) == N


def test_what_float16_cannot_hold_is_refused(images, tmp_path):
    with pytest.raises(Refused, match="features=toy net of image 'image 0' are no numbers that float16 holds"):
        features(images, tmp_path / "log", factor=1e6).of(np.arange(N))


def test_images_without_features_say_so(images):
    with pytest.raises(Refused, match="the images of 'toy' came without frozen features"):
        feature_batch(images, np.array([0]), "cpu")

"""Two easy problems where what is labelled shows one case of many that the unlabelled images lead to step by step."""

import numpy as np

from data.store import Images, Record, cached

SIDE = 16


def _records(target_of, n_pool, n_test, draw):
    for number in range(n_pool + n_test):
        rng = np.random.default_rng(number)
        image, target = draw(number, rng)
        image = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)[:, :, None]
        part = "train" if number < n_pool else "test"
        yield Record(f"{number}.png", image, target_of(target), part=part)


def stripes(cache, n_pool=120, n_test=60) -> Images:
    """Stripes that lie (class 0) or stand (1), of any phase, period and brightness."""

    def draw(number, rng):
        phase, period, height = rng.uniform(0, 6.28), rng.uniform(3.5, 6), rng.uniform(15, 100)
        wave = 128 + height * np.sin(np.arange(SIDE) * 6.28 / period + phase)
        image = np.broadcast_to(wave[:, None], (SIDE, SIDE))
        return (image if number % 2 == 0 else image.T), number % 2

    def records():
        return _records(lambda kind: np.array(kind, dtype=np.int64), n_pool, n_test, draw)

    return cached("stripes", f"{n_pool}-{n_test}", "class", ("lying", "standing"), records, cache_root=cache)


def discs(cache, n_pool=60, n_test=20) -> Images:
    """A bright disc on a darker ground, each image of a brightness of its own."""

    def draw(number, rng):
        rows, columns = np.mgrid[:32, :32]
        row, column, radius = rng.uniform(9, 23, 2).tolist() + [rng.uniform(5, 9)]
        inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        ground = rng.uniform(20, 150)
        return np.where(inside, ground + rng.uniform(40, 90), ground), inside

    def records():
        return _records(lambda inside: inside.astype(np.uint8), n_pool, n_test, draw)

    return cached("discs", f"{n_pool}-{n_test}", "class_map", ("ground", "disc"), records, cache_root=cache)

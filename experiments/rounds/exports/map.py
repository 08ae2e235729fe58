"""Where the picks lie among the pool: a small scatter that leads to each of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from experiments.rounds.exports.cards import plain
from experiments.rounds.exports.target import Chart

WIDTH, HEIGHT, RIM = 960, 300, 16
MOST = 5000  # images of the pool that are drawn
DOT = '<svg viewBox="0 0 16 16" aria-hidden="true">{}</svg>'


def scatter(chart: Chart, shown: Mapping[str, int]) -> str:
    """The map of `chart` as HTML; `shown` are the suggestions that stand on the page, with their ranks.

    The two directions are stretched to the same width each, for they have no unit. Of a pool of more than MOST every
    k-th image is drawn, which is said.
    """
    picks = {name: chart.picks[name] for name in shown if name in chart.picks}
    if not picks:
        return ""
    every = -(-len(chart.pool) // MOST) or 1
    pool = chart.pool[::every]
    all_of_them = np.concatenate([chart.pool, chart.labelled, np.array(list(picks.values()), np.float64)])
    low, high = np.nanmin(all_of_them, 0), np.nanmax(all_of_them, 0)

    def placed(points: Float[ndarray, "n 2"]) -> list[list[int]]:
        inner = np.array([WIDTH, HEIGHT]) - 2 * RIM
        fraction = (points[np.isfinite(points).all(1)] - low) / np.where(high > low, high - low, 1)
        return np.rint(RIM + fraction * inner).astype(int).tolist()

    dots = "".join(f"M{x} {y}h0" for x, y in placed(pool))
    squares = "".join(f"M{x - 4} {y - 4}h8v8h-8z" for x, y in placed(chart.labelled))
    links = ""
    for name, place in picks.items():
        for x, y in placed(np.array([place], np.float64)):
            title = f"<title>{shown[name]} · {plain(name)}</title>"
            links += f'<a href="#pick-{shown[name]}"><circle cx="{x}" cy="{y}" r="6">{title}</circle></a>'
    many = f"{len(chart.pool)} unlabelled" + (f" (one of {every} drawn)" if every > 1 else "")
    keys = [("M8 8h0", "pool", many)]
    keys += [("M4 4h8v8h-8z", "labelled", f"{len(chart.labelled)} labelled")] if len(chart.labelled) else []
    told = "".join(f"<span>{DOT.format(f'<path class={kind!r} d={d!r}/>')}{text}</span>" for d, kind, text in keys)
    told += f"<span>{DOT.format('<circle cx=8 cy=8 r=6 />')}{len(picks)} to label</span>"
    how = f"<span>{plain(chart.how)}</span>" if chart.how else ""
    return (
        '<details class="chart" open><summary>Where they lie among the pool</summary><div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="map of the images">'
        f'<path class="pool" d="{dots}"/><path class="labelled" d="{squares}"/>{links}</svg>'
        f'<div class="key">{told}{how}</div><div class="tip" hidden></div></div></details>\n'
    )

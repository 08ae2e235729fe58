"""python -m heuristics: every query strategy, what it is for, asks for and computes, as a Markdown table."""

import inspect

from heuristics.core.fitting import of_what
from heuristics.core.registry import get, names


def catalogue() -> str:
    """The table of the registry, as docs/strategies.md shows it."""
    rows = ["| name | of | sees | asks for | options | what it computes |", "|---|---|---|---|---|---|"]
    for name in names():
        found = get(name)
        sees = "each image" if found.per_batch else "whole pool"
        asks = ", ".join(f"`{w}`" for w in sorted(found.wants)) or "nothing"
        options = ", ".join(f"`{option}={default!r}`" for option, (default, _) in found.options.items())
        sentence = " ".join((inspect.getdoc(found.function) or "").split("\n\n")[0].split()).replace("|", "\\|")
        rows.append(f"| `{name}` | {of_what(found)} | {sees} | {asks} | {options} | {sentence} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(catalogue())

"""Pieces of a web page that needs nothing beside itself: no scripts, no links, pictures inside, text escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

from matplotlib.figure import Figure

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: #fff; color: #1a1a1a; }
body { font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0.5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 0.5rem; border-top: 1px solid #d9d9d9; padding-top: 1rem; }
p, li { max-width: 46rem; overflow-wrap: anywhere; }
.verdict { border-left: 4px solid #0072b2; padding: 0.2rem 0 0.2rem 0.9rem; }
.note { color: #4a4a4a; font-size: 0.9rem; }
.wide { overflow-x: auto; margin: 0.8rem 0; }
.wide img { display: block; max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e4e4e4; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
pre { overflow-x: auto; background: #f5f5f5; padding: 0.7rem; font-size: 0.8rem; }
summary { cursor: pointer; }
.narrow { display: none; }
@media (max-width: 40rem) { .narrow { display: block; } .wide img { max-width: none; width: 36rem; } }
@media print { details > * { display: block; } }
""".strip()


def paragraph(text: str, kind: str = "") -> str:
    """One paragraph; `kind` is a class of the style sheet."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def items(texts: Iterable[str]) -> str:
    """A list with a dot before each text."""
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table that scrolls by itself where it is too wide; the first column names the row and stays in view."""
    top = "".join(f'<th scope="col">{escape(str(cell))}</th>' for cell in head)
    body = ""
    for first, *others in rows:
        cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in others)
        body += f'<tr><th scope="row">{escape(str(first))}</th>{cells}</tr>\n'
    return f'<div class="wide" tabindex="0"><table><thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table></div>'


def picture(figure: Figure, description: str) -> str:
    """A figure as PNG within the page; `description` is for those who cannot see it."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    data = base64.b64encode(drawn.getvalue()).decode()
    return f'<div class="wide" tabindex="0"><img alt="{escape(description)}" src="data:image/png;base64,{data}"></div>'


def code(lines: Sequence[str]) -> str:
    """Lines as they are to be typed."""
    return f"<pre><code>{escape(chr(10).join(lines))}</code></pre>"


def folded(title: str, *parts: str) -> str:
    """Parts that open at a touch."""
    return f"<details><summary>{escape(title)}</summary>{''.join(parts)}</details>"


def section(title: str, *parts: str) -> str:
    """A heading and what stands below it; parts come from the functions above."""
    return "\n".join([f"<section><h2>{escape(title)}</h2>", *parts, "</section>"])


def page(title: str, *parts: str) -> str:
    """The whole page."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, '
        f'initial-scale=1"><title>{escape(title)}</title>'
    )
    empty_icon = '<link rel="icon" href="data:,">'  # or browsers ask the server for one
    body = "\n".join([f"<h1>{escape(title)}</h1>", *parts])
    return (
        "<!DOCTYPE html>\n<html "
        f'lang="en">\n<head>{head}{empty_icon}\n<style>{STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n'
    )

"""Which of the project's code made a run: a digest of the files that can change its result, and their commit."""

from __future__ import annotations

import ast
import hashlib
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from data.files import ROOT

MARK = "CHANGES_NO_RESULT"  # a module that says so, such as one that draws, is left out with what it alone imports
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")  # where statements stand within others
PATIENCE = 10  # s that git may take


def digest_of(*modules: str) -> str:
    """Digest of the source files of these modules and of all that they import, directly or not, early or late.

    What lies beside them counts only if it is imported: a new heuristic or dataset changes no other run's digest.
    """
    digest = hashlib.sha256()
    for file in sorted(closure(modules)):
        digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def closure(modules: Iterable[str]) -> set[Path]:
    """The project's source files that these modules are, and import."""
    found: set[Path] = set()
    waiting = [file for file in map(_file_of, modules) if file]
    while waiting:
        file = waiting.pop()
        imports, marked = _read(file)
        if file not in found and not marked:
            found.add(file)
            waiting += [other for other in map(_file_of, imports) if other]
    return found


@cache
def _read(file: Path) -> tuple[tuple[str, ...], bool]:
    """What a source file imports, and whether it changes no result."""
    tree = ast.parse(file.read_bytes())
    assigned = (target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets)
    marked = any(isinstance(target, ast.Name) and target.id == MARK for target in assigned)
    return tuple(_imported(tree)), marked


def _imported(tree: ast.Module) -> Iterator[str]:
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        for block in BLOCKS:  # an import is a statement: expressions, which are most of a file, hold none
            waiting += getattr(node, block, ()) if not isinstance(node, ast.expr) else ()


@cache
def _file_of(module: str) -> Path | None:
    """The project's file that a dotted name stands for; None for all other packages and for names within a module."""
    place = ROOT.joinpath(*module.split("."))
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


def commit() -> dict[str, Any]:
    """The commit of the checkout and whether files differ from it; says why where git cannot tell."""
    try:
        head = _git("rev-parse", "HEAD")
        return {"commit": head.strip(), "dirty": bool(_git("status", "--porcelain", "--untracked-files=no").strip())}
    except FileNotFoundError:
        return {"commit": "", "dirty": False, "why": "there is no git on this machine"}
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip()
        return {"commit": "", "dirty": False, "why": f"git does not tell: {said.splitlines()[-1] if said else error}"}


def _git(*words: str) -> str:
    command = ["git", "-C", str(ROOT), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout

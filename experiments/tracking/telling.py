"""What a run tells the grid that started it, in a file of its own: why it failed, what MongoDB lacks."""

from __future__ import annotations

import json
import os
from pathlib import Path

VARIABLE = "ALIQUOT_TOLD"  # names the file; unset for a run that nobody waits for


def tell(**facts: str) -> None:
    """Add facts to the file, if somebody waits for them; one that cannot be written costs a sentence, not the run."""
    name = os.environ.get(VARIABLE)
    if not name:
        return
    file = Path(name)
    try:
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        temporary.write_text(json.dumps({**heard(file), **facts}))
        os.replace(temporary, file)
    except OSError:
        return


def heard(file: Path) -> dict[str, str]:
    """The facts that a run told; none where it told nothing, or was killed before."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

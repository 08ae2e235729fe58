"""Images and what is known of them: `data.load(task, name, data_root, **options)` reads any dataset."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "load":  # imported when it is asked for: reading needs torch, names and limits do not
        from data.loading import load

        return load
    raise AttributeError(f"module 'data' has no attribute {name!r}")

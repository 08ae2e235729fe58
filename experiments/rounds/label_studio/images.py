"""Images that Label Studio shows from where they lie: a local storage for their folder, and one look if it works."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from data.names import Refused, Unreachable
from experiments.rounds.label_studio.client import Gone, Invalid, Server

SHOWN = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"))  # that browsers show
ADDRESS = "/data/local-files/?d="


def serve(server: Server, project: int, images: Path, files: Sequence[Path]) -> str:
    """Where the server finds the folder: what stands before a relative path in the address of an image.

    Connects the folder to the project where it is not yet, without copying or listing anything, and fetches the first
    of `files` once. Refused in one sentence where the server does not give that file.
    """
    images = Path(os.path.abspath(images))
    if not any(
        storage.get("path") == str(images)
        for storage in server.get("/api/storages/localfiles/", project=project)
        if isinstance(storage, dict)
    ):
        _connect(server, project, images)
    file = Path(os.path.abspath(files[0]))
    content = file.read_bytes()
    for above in images.parents:  # which of them is the root that the server was started with, it does not say
        before = f"{ADDRESS}{quote(images.relative_to(above).as_posix())}/"
        try:
            if server.content(before + quote(relative(file, images))) == content:
                return before
        except Gone:
            continue
        except Unreachable:
            raise
        except Refused:
            raise _unserved(server, images, "it serves no local files") from None
    raise _unserved(server, images, f"it does not give {file.name} from there")


def relative(file: Path, images: Path) -> str:
    """The path of an image below the folder of all images. Refused where it lies elsewhere, or no browser shows it."""
    try:
        inner = Path(os.path.abspath(file)).relative_to(os.path.abspath(images))
    except ValueError:
        raise Refused(f"{file} is not below {images}, from where Label Studio shows the images of this study") from None
    if inner.suffix.casefold() not in SHOWN:
        listed = ", ".join(sorted(SHOWN))
        raise Refused(f"{file} cannot be shown by a browser, and so not in Label Studio: expected {listed}")
    return inner.as_posix()


def _connect(server: Server, project: int, images: Path) -> None:
    body = {
        "project": project,
        "path": str(images),
        "title": "Images of the study",
        "use_blob_urls": True,
        "regex_filter": "(?!)",  # nobody's click on Sync shall add images as tasks: those come from the rounds
    }
    try:
        server.post("/api/storages/localfiles/", body)
    except Invalid as error:
        raise _unserved(server, images, str(error)) from None


def _unserved(server: Server, images: Path, reason: str) -> Refused:
    return Refused(
        f"Label Studio at {server.url} does not show images of {images}: start it on a machine that has this folder, "
        f"with LOCAL_FILES_SERVING_ENABLED=true LOCAL_FILES_DOCUMENT_ROOT={images.parent} ({reason.rstrip('.')})"
    )

"""Bad values of options whose meaning no declaration tells: files and folders, networks, metrics, addresses, names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.trials.bad_values import FINE, HALF, LONG, REFUSED, Input

SCRIPTS = ("segment", "classify", "detect")
OWN = {"segment": "folder", "classify": "folder", "detect": "voc", "pretrain": "folder"}


def prepare(place: Path) -> None:
    """Make what the inputs name: a file, a folder that is empty, one that holds something, images of one's own."""
    from tests.experiments.rounds.annotator import Annotator  # late: with torch

    (place / "empty").mkdir(parents=True)
    (place / "full").mkdir()
    (place / "full" / "thesis.txt").write_text("mine")
    (place / "file").write_text("no weights, no images, no table")
    (place / "list.json").write_text("[1, 2]")
    (place / "broken.json").write_text('{"heuristic": "bald"')
    (place / "object.json").write_text('{"heuristic": {"py/object": "os.system"}}')
    (place / "deep.json").write_text("[" * 100_000)
    (place / "binary.json").write_bytes(bytes(range(256)))
    for task in SCRIPTS:
        Annotator(task, place / task)


def of_places(script: str, place: Path) -> Iterator[Input]:
    """Paths that are not there, or are not what they should be; `place` is what `prepare` filled."""
    missing, file, empty, full = (str(place / name) for name in ("missing", "file", "empty", "full"))
    long, odd, nobody, deep = f"{place}/{LONG}", f"{place}/½ñ漢", "~nobody_of_this_name/x", f"{file}/below"
    bad_folder = {"missing": missing, "a file": file, "empty": empty, "long": long, "unicode": odd, "nobody's": nobody}
    bad_file = {
        "missing": missing,
        "a folder": empty,
        "no weights": file,
        "long": long,
        "unicode": odd,
        "below a file": deep,
    }
    own = (f"dataset={OWN[script]}", f"data_root={place / script}")
    for kind, path in bad_folder.items():
        yield Input("data_root", kind, (own[0], f"data_root={path}"), REFUSED)
        yield Input("splits_dir", kind, (f"splits_dir={path}",), REFUSED)
    if script == "pretrain":
        return
    for kind, path in bad_file.items():
        yield Input("weights", kind, (f"weights={path}", *_with_encoder(script)), REFUSED)
        yield Input("checkpoint", kind, (f"checkpoint={path}",), REFUSED, "evaluate")
        yield Input("features", kind, (f"features={path}", "embeddings=features", "heuristic=coreset"), REFUSED)
    for word in ("simsiam:", "simsiam:x", "simsiam:-1", "simsiam:99999", "simsiam:½", f"simsiam:{LONG}"):
        yield Input("weights", "no run", (f"weights={word}", *_with_encoder(script)), REFUSED)
        yield Input("features", "no run", (f"features={word}", "initial=kmeans"), REFUSED)
    yield Input("features", "no network", ("features=timm:no_such_network", "initial=kmeans"), REFUSED)
    for kind, path in {
        "a file": file,
        "below a file": deep,
        "not writable": "/proc/x",
        "long": long,
        "nobody's": nobody,
    }.items():
        yield Input("results_dir", kind, (f"results_dir={path}",), REFUSED)
    yield Input("results_dir", "missing, made", (f"results_dir={missing}_results/½",), FINE)
    for kind, path in {
        "a file": file,
        "below a file": deep,
        "not ours": full,
        "among the images": f"{place / script}/out",
    }.items():
        yield Input("out", kind, (*own, f"out={path}"), REFUSED, "suggest")
        yield Input("out", kind, (*own, f"out={path}"), REFUSED, "predict")
    yield Input("out", "long", (*own, f"out={long}"), REFUSED, "suggest")
    yield Input("out", "not writable", (*own, "out=/proc/x"), REFUSED, "suggest")
    for kind, path in {"a file": file, "missing": missing, "long": long, "nobody's": nobody}.items():
        yield Input("labels", kind, (*own, f"labels={path}"), REFUSED, "suggest")
    for kind, path in bad_folder.items():
        yield Input("images", kind, (*own, f"images={path}"), REFUSED, "predict")
    for name in ("missing", "list", "broken", "object", "deep", "binary"):
        yield Input("with", f"{name}.json", (str(place / f"{name}.json"),), REFUSED)
    for word in (file, empty, "tny", "½", LONG, HALF, "--", "main", "with"):
        yield Input("with", "no preset", (word,), REFUSED)


def of_words(script: str, place: Path) -> Iterator[Input]:
    """Texts that mean something: strategies, metrics, devices, classes, what is exported, addresses."""
    own = (f"dataset={OWN[script]}", f"data_root={place / script}", "n_test=0")
    for kind, wrong in {"misspelt": "bold", "empty": "", "long": LONG, "unicode": "bäld", "two": "bald,random"}.items():
        yield Input("heuristic", kind, (f"heuristic={wrong}",), REFUSED)
        yield Input("metric", kind, (f"metric={wrong}",), REFUSED)
        yield Input("device", kind, (f"device={wrong}",), REFUSED)
        yield Input("export", kind, (*own, f"export={wrong or 'csv,,cvs'}"), REFUSED, "suggest")
    for wrong in ("cuda:99", "cpu:7", "cuda:-1", "cuda:x", "mps:3", "meta", "xla"):
        yield Input("device", "not here", (f"device={wrong}",), REFUSED)
    for kind, title in {
        "unicode": "½ñ漢",
        "long": LONG,
        "mathematics": "$\\frac{",
        "markup": "<b>&",
        "path": "../../x",
    }.items():
        yield Input("dataset_title", kind, (f"dataset_title={title}",), FINE)
    addresses = {
        "word": "nonsense", "another protocol": "ftp://127.0.0.1", "password": "http://a:b@127.0.0.1:9", "no host": "http://",
        "brackets": "http://[", "port": "http://127.0.0.1:999999", "nobody there": "http://127.0.0.1:9", "long": f"http://{LONG}",
        "space": "http://127.0.0.1:9/a b", "unicode": "http://½", "query": "http://127.0.0.1:9/?a=b",
    }  # fmt: skip
    for kind, url in addresses.items():
        yield Input("label_studio", kind, (*own, f"label_studio={url}"), REFUSED, "suggest")
    for kind, names in {"twice": "a,a", "none": ",", "control": "a\x07,b", "one": "a"}.items():
        chosen = (*own[:1], f"data_root={place / script}", "n_test=0", f"classes={names}")
        yield Input("classes", kind, chosen, REFUSED if kind != "one" or script == "classify" else FINE, "suggest")
    yield Input("dataset", "suggest for a simulation", (), REFUSED, "suggest")
    yield Input("dataset", "predict for a simulation", (), REFUSED, "predict")
    yield Input("checkpoint", "no run yet", ("run=77",), REFUSED, "evaluate")


def _with_encoder(script: str) -> tuple[str, ...]:
    return ("encoder=resnet18_cifar",) if script == "segment" else ()

"""The page is read back: well formed, whole in itself, with what it promises, and nothing that a name could smuggle
in."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path

import pytest

from analysis import caveats, page
from analysis.provenance import command_line, documents, environments
from tests.analysis.pages import Page
from tests.analysis.stored_runs import store
from tests.browser import save_picture

HOSTILE = "<script>alert('$x_1')</script>&\"quoted\""


def study(folder, names=("random", "bald", HOSTILE), n_runs=3, **options):
    """Paired runs that begin alike; later strategies are better."""
    number = 0
    for run in range(n_runs):
        for i, name in enumerate(names):
            number += 1
            store(
                folder,
                number,
                name,
                run,
                [0.5 + 0.01 * run, 0.6 + 0.05 * i + 0.003 * run * i, 0.7 + 0.05 * i],
                **options,
            )
    return folder


def test_page_is_whole_in_itself(tmp_path, reported):
    runs = study(tmp_path / "runs")
    store(runs, 90, "random", 0, [0.9], [85], command="supervised")
    text = reported(runs, "--dataset", "glas")
    found = Page(text)
    assert text.startswith("<!DOCTYPE html>") and len(text) < 2_000_000
    assert ("meta", "name", "viewport") in found.attributes
    pictures = found.pictures()
    assert len(pictures) == 4 and all(
        min(picture.size) > 300 for picture in pictures
    )  # curves, ranks, penalties, times
    assert all(value for tag, name, value in found.attributes if (tag, name) == ("img", "alt"))
    linked = [(name, value) for _, name, value in found.attributes if name in ("src", "href", "action", "srcset")]
    assert all(value.startswith("data:") for _, value in linked)
    assert "://" not in text and "url(" not in text and "@import" not in text
    assert not {"script", "iframe", "object", "form"} & set(found.tags)
    assert not [name for _, name, _ in found.attributes if name.startswith("on") or name == "style"]
    assert "secret" not in text and "somebody" not in text  # names of machine and user


def test_hostile_names_are_text(tmp_path, reported):
    text = reported(study(tmp_path / "runs"))
    assert HOSTILE in Page(text).text
    assert "<script" not in text and "alert('" not in text


def test_page_says_what_was_found(tmp_path, reported):
    runs = study(tmp_path / "runs")
    store(runs, 90, "random", 0, [0.9], [85], command="supervised")
    store(runs, 91, "bald", 3, [0.5, 0.6], (4, 8), status="FAILED")
    (runs / "92").mkdir()
    with pytest.warns(UserWarning, match="92"):
        said = Page(reported(runs, "--dataset", "glas")).text
    assert "segment · glas · dice" in said and "3 strategies in 9 runs, 4 to 12 labelled images" in said
    assert (
        "Cannot decide: with 3 runs the smallest possible p is 0.25" in said
        and "against random alone. Cannot decide" in said
    )
    assert "0.800 ± 0.000" in said and "0.510 ± 0.010" in said  # the last value of the third; the first of all
    assert "All labels with the same training reach 0.900" in said
    assert (
        "Too few runs for a claim, which takes at least 6" in said
        and "at least 7 runs of each" in said
        and "one baseline 7" not in said
    )
    assert "Short recipe: each model is trained for 200 steps (preset glas_quick)" in said
    assert "did not end well or are not over, and are left out: 1" in said and "Run 92 is damaged and left out" in said
    assert "not shown: the dataset glas was not found" in said and "no_data" not in said
    assert (
        "p against random at each budget" in said and "+0.053 (p 0.5)" in said
    )  # 0.05 + 0.003 (0 + 1 + 2) / 3; 0.25 in two comparisons
    assert "95 % intervals of the means" in said and "0.485 to 0.535" in said
    assert "numpy 2.4.6" in " ".join(said.split()) and "A & B" in said and "0123456789" in said


def test_commands_are_those_that_were_typed(tmp_path, reported):
    runs = study(tmp_path / "runs")
    said = Page(reported(runs)).text
    assert "python experiments/segment.py with glas_quick heuristic=bald run=2" in said and "9 commands" in said
    hostile = next(line for line in said.splitlines() if "alert" in line and "run=0" in line and "python" in line)
    assert shlex.split(hostile)[-2] == f"heuristic={HOSTILE}"  # one word in a shell


def test_commands_of_runs_that_no_one_typed(tmp_path):
    document = dict(next(iter(documents(study(tmp_path)).values())))
    updates = {
        "heuristic_options": {"metric": "cosine"},
        "dataset_options": {},
        "checkpoint": "",
        "lr": 0.01,
        "model": "5",
        "run": 1,
    }
    document |= {"command": "supervised", "meta": {"named_configs": ["tiny"], "config_updates": updates, "options": {}}}
    words = shlex.split(command_line(document))
    assert words[:5] == ["python", "experiments/segment.py", "supervised", "with", "tiny"]
    assert words[5:] == [
        "heuristic_options.metric=cosine",
        "dataset_options={}",
        "checkpoint=''",
        "lr=0.01",
        "model='5'",
        "run=1",
    ]
    from sacred.arg_parser import get_config_updates

    assert get_config_updates(words[4:]) == (updates, ["tiny"])


def test_surroundings_are_counted(tmp_path):
    found = list(documents(study(tmp_path)).values())
    other = {**found[0], "host": {**found[0]["host"], "threads": 4, "gpus": {"gpus": 2 * [{"model": "H200"}]}}}
    (first, n), (second, m) = environments([*found, other])
    assert (n, m) == (9, 1) and first["accelerators"] == "none" and second["accelerators"] == "2 x H200"
    assert (first["threads"], second["threads"]) == ("unknown", "4")
    assert first["torch"] == "2.15.0" and first["code"] == "0123456789" and first["sacred"] == "unknown"


def test_attempts_on_other_folders_are_none_of_this_one(tmp_path, reported):
    """All are called folder: what lies in them is another dataset."""
    runs, number = tmp_path / "runs", 0
    for place, status in (("lungs", "COMPLETED"), ("bones", "FAILED"), ("lungs", "INTERRUPTED")):
        for run in range(2):
            number += 1
            folder = store(
                runs,
                number,
                "bald",
                run + 2 * (status == "INTERRUPTED"),
                [0.5, 0.6, 0.7],
                status=status,
                dataset="folder",
            )
            config = folder / "config.json"
            config.write_text(config.read_text().replace("no_data", place))
    said = Page(reported(runs, "--dataset", "lungs")).text
    assert "segment · lungs · dice" in said and "are left out: 2." in said


def test_attempts_that_were_continued_are_no_lost_runs(tmp_path, reported):
    """One attempt of run 0 was continued by what completed it; run 5 was never completed, in two attempts."""
    runs = study(tmp_path / "runs", ["random", "bald"])
    for number, run in ((50, 0), (51, 5), (52, 5)):
        store(runs, number, "bald", run, [0.5, 0.6, 0.7], status="INTERRUPTED")
    assert "did not end well or are not over, and are left out: 1." in Page(reported(runs)).text


def test_foreign_records_and_runs_without_the_metric(tmp_path, reported):
    runs = study(tmp_path / "runs", ["random", "bald"])
    for number, record, config in (
        (60, {}, {}),
        (61, {"status": "COMPLETED"}, []),
        (62, {"experiment": "vae", "status": 1}, {}),
    ):
        (runs / str(number)).mkdir()
        (runs / str(number) / "run.json").write_text(json.dumps(record))
        (runs / str(number) / "config.json").write_text(json.dumps(config))
    metrics = runs / "2" / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"dice"', '"slice"'))
    with pytest.warns(UserWarning, match="damaged"):
        said = Page(reported(runs)).text
    assert "Run 2 did not measure dice and is left out." in said and "in 5 runs" in said


def test_one_strategy_and_no_baseline(tmp_path, reported):
    said = Page(reported(study(tmp_path / "runs", ["bald"]))).text
    assert "there is nothing to compare it with" in said and "No runs of random to save labels against" in said


def test_unlike_starts_and_missing_runs_are_told(tmp_path, reported):
    runs = study(tmp_path / "runs", ["random", "bald"])
    store(runs, 50, "coreset", 0, [0.4, 0.6, 0.7])
    said = Page(reported(runs)).text
    assert "Run 0: strategies differ before anything was picked" in said
    assert "coreset lacks run 1, 2" in said


def test_strategies_divided_by_an_option_have_a_baseline_of_their_own(tmp_path, reported):
    runs = study(tmp_path / "runs", ["random"])
    for run in range(3):
        store(runs, 40 + run, "random", run, [0.5 + 0.01 * run, 0.8, 0.9], steps=900)
    said = Page(reported(runs, "--by", "steps", "--baseline", "random, steps=200")).text
    study(tmp_path / "divided", ["random", "bald"])
    assert "random, steps=200 needs" in Page(reported(tmp_path / "divided", "--by", "steps")).text
    assert "random, steps=200 needs" in said and "random, steps=900 beats" not in said


def test_mistakes_are_one_sentence(tmp_path, reported):
    with pytest.raises(SystemExit, match="no folder of runs"):
        reported(tmp_path / "absent")
    with pytest.raises(SystemExit, match="no strategy 'blad' to compare with; known: bald"):
        reported(study(tmp_path / "runs", ["bald"]), "--baseline", "blad")
    with pytest.raises(SystemExit, match="out is an empty word"):
        reported(tmp_path / "runs", "--out", "")
    assert not (tmp_path / "out").exists()


def test_every_file_of_a_run_is_read_once(tmp_path, reported, monkeypatch):
    runs, read = study(tmp_path / "runs", ["random", "bald"]), Counter()
    store(runs, 90, "random", 0, [0.9], [85], command="supervised")
    for name in ("read_bytes", "read_text"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name), read))
    reported(runs)
    kinds = {file.name for file in read if runs in file.parents}
    assert {"run.json", "config.json", "metrics.json", "picks.csv"} <= kinds
    assert [str(file) for file, times in read.items() if runs in file.parents and times > 1] == []


def counted(read, counts):
    def reads(self, *args, **kwargs):
        counts[self] += 1
        return read(self, *args, **kwargs)

    return reads


def test_pieces_are_escaped():
    made = page.page(
        "<t>",
        page.section(
            "<s>", page.table(["<h>"], [["<c>", "&"]]), page.items(["<i>"]), page.code(["<p>"]), page.folded("<f>", "")
        ),
    )
    assert not [tag for tag in Page(made).tags if len(tag) == 1 and tag not in "p"]
    assert caveats.SHORT > 0


@pytest.mark.browser
def test_in_a_browser_it_fits_a_phone_and_asks_for_nothing(tmp_path, reported, browser):
    reported(study(tmp_path / "runs"))
    for width in (360, 1200):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        browser.get((tmp_path / "out" / "index.html").as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        images = browser.execute_script(
            "return [...document.images].map(image => [image.complete, image.naturalWidth])"
        )
        assert len(images) >= 3 and all(complete and wide > 100 for complete, wide in images)
        asked = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        assert not [name for name in asked if not name.startswith("data:")]
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    save_picture(browser, "report.png", tmp_path)


def test_what_was_read_is_shown_escaped_and_without_patients_and_folders(tmp_path, reported):
    part = {"name": "test", "images": 4, "official": []}
    of_class = {"name": HOSTILE, "counts": {"pool": 9, "test": 4}, "images_with": {"pool": 9, "test": 4}}
    read = {"dataset": "glas", "kind": "class", "images": 13, "parts": [{**part, "name": "pool", "images": 9}, part]}
    read |= {"size": {"heights": [8, 8], "widths": [8, 9], "different": 2}, "channels": [3], "unused": []}
    read |= {"values": {"images": 13, "min": 1, "low": 2, "high": 9, "max": 9, "different": 9}, "unit": "images"}
    read |= {"notes": [["left out", "/home/somebody/labels.csv: column <b>x</b> is not used."]], "more_notes": 0}
    both = [{"sides": "pool and test", "patients": 2, "first": ["Mrs Secret"]}]
    read |= {"patients": {"named": {"pool": 3, "test": 2}, "without": 0, "on_both_sides": both}, "alike": []}
    read |= {"classes": [of_class], "more_classes": 0, "counted": {"pool": 9, "test": 4}, "sampled": {}}
    read |= {"boxes_in_test": None, "warnings": ["2 patients are in pool and test: Mrs Secret and 1 more."]}
    runs = tmp_path / "runs"
    store(runs, 1, "random", 0, [0.5, 0.6, 0.7], info={"read": {"damaged": 1}})
    store(runs, 2, "random", 1, [0.5, 0.6, 0.7], info={"read": read})
    run = json.loads((runs / "2/run.json").read_text())
    (runs / "2/run.json").write_text(json.dumps(run | {"start_time": "2026-02-02T03:04:05.678901"}))
    text = reported(runs, "--dataset", "glas")
    assert "<script>" not in text and "&lt;script&gt;" in text and "<b>" not in text
    assert "13 images of glas, 8 x 8 to 9 pixels" in text and "2 patients are in pool and test." in text
    assert "Secret" not in text and "somebody" not in text and "labels.csv: column" in text


def test_runs_that_noted_nothing_or_something_else_say_so(tmp_path, reported):
    store(tmp_path / "runs", 1, "random", 0, [0.5, 0.6, 0.7], info={"read": {"damaged": 1}})
    assert "did not note what they read" in reported(tmp_path / "runs", "--dataset", "glas")

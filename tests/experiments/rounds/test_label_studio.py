"""Rounds through Label Studio: one that is played here, and, marked `labelstudio`, a real one."""

import csv
import json
import os
import time
import uuid
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from data.names import Missing, Refused, Unreachable
from experiments.rounds.label_studio import client, labels
from experiments.rounds.label_studio.project import STATE, project_of
from experiments.rounds.label_studio.pulling import pull
from experiments.rounds.label_studio.sending import send
from tests.experiments.rounds.fake_label_studio import FakeLabelStudio, serving
from tests.experiments.rounds.studies import CLASSES, NAMES, prediction, seen, study_of

TASKS = ("segment", "detect", "classify")


@pytest.fixture
def study(studio, tmp_path):
    """study("segment") is a study of that task, with images."""
    return lambda task: study_of(task, studio.of_test, tmp_path / "rounds")


def label_in(folder, study, name):
    """What stands in the labels folder for an image; None where nothing does."""
    if study.task == "classify":
        rows = (
            list(csv.DictReader((folder / "labels.csv").open(encoding="utf-8")))
            if (folder / "labels.csv").exists()
            else []
        )
        return next((row["label"] for row in rows if row["file"] == name), None)
    file = folder / ("masks" if study.task == "segment" else "boxes") / name
    file = file.with_suffix(".png") if study.task == "segment" else file.with_name(f"{file.name}.xml")
    if not file.exists():
        return None
    if study.task == "segment":
        return np.array(Image.open(file)).astype(np.int64)
    from data.formats.voc_xml import read

    found = read(file)
    return np.array(
        [[*corners, study.classes.index(name)] for corners, name in zip(found.corners, found.names, strict=True)]
    ).reshape(-1, 5)


def expected(study, number):
    """The prediction of that number as a label."""
    of = prediction(study.task, number)
    if study.task == "classify":
        return study.classes[int(of.probs.argmax())]
    return of.class_map if study.task == "segment" else of.boxes[:, :5]


def near_edges(class_map):
    """The pixels next to one of another class, as far as polygons of tolerance 1 may move."""
    same = np.ones(class_map.shape, bool)
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        same &= np.roll(class_map, shift, (0, 1)) == class_map
    return ~same


def number_of(sent):
    return int(sent.url.rpartition("/")[2])


@pytest.mark.parametrize(
    ("task", "shape"), [("segment", "brush"), ("segment", "polygon"), ("detect", "polygon"), ("classify", "polygon")]
)
def test_what_is_sent_and_accepted_comes_back_as_labels(studio, study, task, shape, tmp_path):
    of, folder = study(task), tmp_path / "labels"
    sent = send(of, studio.url, seen(of, range(4)), "round 1", shape)
    assert sent.new == list(NAMES)
    for name in NAMES:
        studio.accept(studio.tasks(number_of(sent))[name], "round 1")
    pulled = pull(of, studio.url, folder)
    assert sorted(pulled.new) == sorted(pulled.labelled) == sorted(NAMES)
    for number, name in enumerate(NAMES):
        label, truth = label_in(folder, of, name), expected(of, number)
        if shape == "polygon" and task == "segment":
            assert 0 < (label != truth).sum() < 0.05 * (truth > 0).sum()
            assert not (near_edges(truth) < (label != truth)).any(), name
        else:
            assert np.array_equal(label, truth), name
    stamps = {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in folder.rglob("*")}
    again = pull(of, studio.url, folder)
    assert again.new == [] and sorted(again.labelled) == sorted(NAMES)
    assert stamps == {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in folder.rglob("*")}


def test_tasks_are_handed_out_by_rank_and_by_that_of_a_later_round(studio, study):
    of = study("detect")
    number = number_of(send(of, studio.url, seen(of, [2, 0, 3, 1]), "round 1"))
    assert studio.call("GET", f"/api/projects/{number}/")["model_version"] == "round 1"
    first = studio.next(number)
    assert (first["data"]["name"], first["data"]["rank"]) == (NAMES[2], 1)
    studio.accept(first, "round 1")

    sent = send(of, studio.url, seen(of, [1, 3, 0], shift=1), "round 2")
    assert (sent.new, sorted(sent.renewed)) == ([], sorted(NAMES[i] for i in (1, 3, 0)))
    assert studio.call("GET", f"/api/projects/{number}/")["model_version"] == "round 2"
    order = []
    for _ in range(3):
        task = studio.next(number)
        order.append(task["data"]["name"])
        assert task["data"]["rank"] == len(order)
        studio.accept(task, "round 2")
    assert order == [NAMES[1], NAMES[3], NAMES[0]]


def test_the_test_part_and_a_start_without_a_model_carry_no_hint_but_an_order(studio, study):
    of = study("detect")
    number = number_of(send(of, studio.url, seen(of, [3, 1, 0], part="test"), "round 1"))
    assert [p["result"] for task in studio.tasks(number).values() for p in task["predictions"]] == [[], [], []]
    assert studio.next(number)["data"]["name"] == NAMES[3]


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_sent_twice(studio, study, task):
    of = study(task)
    sent = send(of, studio.url, seen(of, [0, 1]), "round 1")
    again = send(of, studio.url, seen(of, [0, 1, 2]), "round 1")
    assert (again.new, again.present, again.renewed) == ([NAMES[2]], [NAMES[0], NAMES[1]], [])
    tasks = studio.tasks(number_of(sent))
    assert number_of(again) == number_of(sent) and len(tasks) == 3
    assert all(len(found["predictions"]) == 1 for found in tasks.values())


@pytest.mark.parametrize("path", ["/api/projects/", "/import", "/api/predictions/", "localfiles/"])
def test_killed_between_sending_and_noting_it_goes_on(studio, study, path, monkeypatch):
    """The server has taken what was sent, and the process ends before it knows."""
    of, original = study("segment"), client.Server.post
    if path == "/api/predictions/":
        send(of, studio.url, seen(of, [0, 1]), "round 1")

    def killed(self, where, *given, **query):
        answer = original(self, where, *given, **query)
        if where.endswith(path):
            raise KeyboardInterrupt
        return answer

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(client.Server, "post", killed)
        send(of, studio.url, seen(of, [0, 1]), "round 2")
    sent = send(of, studio.url, seen(of, [0, 1]), "round 2")
    found = [
        p
        for p in studio.call("GET", "/api/projects/?page_size=100")["results"]
        if of.folder.name and _key(of) in p["description"]
    ]
    assert [project["id"] for project in found] == [number_of(sent)]
    tasks = studio.tasks(number_of(sent))
    assert sorted(tasks) == sorted(NAMES[:2])
    for task in tasks.values():
        versions = [p["model_version"] for p in task["predictions"]]
        assert versions.count("round 2") == 1 and len(set(versions)) == len(versions)


def _key(study):
    return json.loads((study.folder / STATE).read_text())["content"]["key"]


def test_a_corrected_label_is_pulled_again_and_what_is_no_label_is_named(studio, study, tmp_path):
    of, folder = study("detect"), tmp_path / "labels"
    number = number_of(send(of, studio.url, seen(of, range(4)), "round 1"))
    tasks = studio.tasks(number)
    assert sorted(pull(of, studio.url, folder).waiting) == sorted(NAMES)
    made = studio.accept(tasks[NAMES[0]], "round 1")
    studio.annotate(tasks[NAMES[1]]["id"], [], was_cancelled=True)
    studio.annotate(tasks[NAMES[2]]["id"], [])
    studio.call("POST", f"/api/tasks/{tasks[NAMES[3]]['id']}/drafts", {"result": [], "lead_time": 1})
    pulled = pull(of, studio.url, folder)
    assert (sorted(pulled.new), pulled.skipped) == (sorted([NAMES[0], NAMES[2]]), [NAMES[1]])
    assert (pulled.nothing_there, pulled.drafts, pulled.waiting) == ([NAMES[2]], [NAMES[3]], [])
    assert label_in(folder, of, NAMES[2]).shape == (0, 5) and label_in(folder, of, NAMES[1]) is None
    said = " ".join(pulled.sentences())
    assert all(word in said for word in ("Skipped by the annotator", "nothing is there: 1", "a draft", NAMES[1]))

    (other,) = (p for p in tasks[NAMES[1]]["predictions"])
    studio.call("PATCH", f"/api/annotations/{made['id']}/", {"result": other["result"]})
    corrected = pull(of, studio.url, folder)
    assert corrected.new == [NAMES[0]]
    assert np.array_equal(label_in(folder, of, NAMES[0]), expected(of, 1))


@pytest.mark.parametrize("task", TASKS)
def test_killed_while_pulling_it_goes_on(studio, study, task, tmp_path, monkeypatch):
    of, folder, written = study(task), tmp_path / "labels", labels.atomic
    sent = send(of, studio.url, seen(of, range(4)), "round 1", "brush")
    for found in studio.tasks(number_of(sent)).values():
        studio.accept(found, "round 1")
    times = iter(range(10))

    @contextmanager
    def killed(file):
        with written(file) as temporary:
            yield temporary
            if next(times) == (0 if task == "classify" else 1):
                raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(labels, "atomic", killed)
        pull(of, studio.url, folder)
    before = [name for name in NAMES if label_in(folder, of, name) is not None]
    assert len(before) == (0 if task == "classify" else 1)
    assert sorted(pull(of, studio.url, folder).new) == sorted(set(NAMES) - set(before))
    for number, name in enumerate(NAMES):
        assert np.array_equal(label_in(folder, of, name), expected(of, number))


@pytest.mark.parametrize(("rule", "number"), [("newest", 1), ("first", 0), ("refuse", None)])
@pytest.mark.parametrize("task", TASKS)
def test_of_two_annotators_one_counts_by_the_rule(studio, study, task, rule, number, tmp_path):
    of, folder = study(task), tmp_path / "labels"
    tasks = studio.tasks(number_of(send(of, studio.url, seen(of, [0, 1]), "round 1", "brush")))
    first, second = (tasks[NAMES[i]]["predictions"][0]["result"] for i in (0, 1))
    studio.annotate(tasks[NAMES[0]]["id"], first)
    studio.annotate(tasks[NAMES[0]]["id"], second)
    studio.annotate(tasks[NAMES[1]]["id"], second)
    studio.annotate(tasks[NAMES[1]]["id"], second)
    pulled = pull(of, studio.url, folder, two_annotators=rule)
    assert sorted(pulled.double) == sorted(NAMES[:2]) and f"{pulled.agreement:.2f}" in " ".join(pulled.sentences())
    expected_agreement = {"classify": 0.0, "detect": 2 * 3 / 7, "segment": pulled.agreement}[task]
    assert pulled.agreement == pytest.approx(expected_agreement) and pulled.agreement < 1
    label = label_in(folder, of, NAMES[0])
    assert (label is None) if number is None else np.array_equal(label, expected(of, number))


def test_an_annotation_that_cannot_be_read_is_named_and_the_others_are_pulled(studio, study, tmp_path):
    of, folder = study("detect"), tmp_path / "labels"
    tasks = studio.tasks(number_of(send(of, studio.url, seen(of, [0, 1]), "round 1", "brush")))
    result = json.loads(json.dumps(tasks[NAMES[0]]["predictions"][0]["result"]))
    result[0]["value"]["rectanglelabels"] = ["cel"]
    studio.annotate(tasks[NAMES[0]]["id"], result)
    studio.accept(tasks[NAMES[1]], "round 1")
    pulled = pull(of, studio.url, folder)
    assert pulled.new == [NAMES[1]] and len(pulled.unread) == 1
    assert "'cel', which is none of cell" in pulled.unread[0] and "Did you mean 'cell'?" in pulled.unread[0]
    assert label_in(folder, of, NAMES[0]) is None


def test_a_task_that_names_a_file_elsewhere_writes_nothing(studio, study, tmp_path):
    of, folder = study("segment"), tmp_path / "labels"
    sent = send(of, studio.url, seen(of, [0]), "round 1")
    (task,) = studio.tasks(number_of(sent)).values()
    evil = {"data": {**task["data"], "name": "../../evil.png"}, "predictions": []}
    studio.call("POST", f"/api/projects/{number_of(sent)}/import", [evil])
    for found in studio.tasks(number_of(sent)).values():
        studio.annotate(found["id"], task["predictions"][0]["result"])
    pulled = pull(of, studio.url, folder)
    assert pulled.new == [NAMES[0]] and "no path below the folder" in pulled.unread[0]
    assert not list(tmp_path.rglob("evil*"))


def test_a_deleted_project_is_named_and_made_anew_on_the_users_word(studio, study, tmp_path):
    of, folder = study("classify"), tmp_path / "labels"
    number = number_of(send(of, studio.url, seen(of, range(4)), "round 1"))
    studio.accept(studio.tasks(number)[NAMES[0]], "round 1")
    pull(of, studio.url, folder)
    studio.call("DELETE", f"/api/projects/{number}/")
    for action in (lambda: send(of, studio.url, seen(of, range(4)), "round 2"), lambda: pull(of, studio.url, folder)):
        with pytest.raises(Missing, match=f"project {number} of this study is no longer .*label_studio_deleted=anew"):
            action()
    assert pull(of, studio.url, folder, deleted="anew").labelled == []
    sent = send(of, studio.url, seen(of, range(1, 4)), "round 2", deleted="anew")
    assert len(studio.tasks(number_of(sent))) == 3
    assert pull(of, studio.url, folder).new == [] and label_in(folder, of, NAMES[0]) == "benign"


def test_images_that_are_not_served_are_told_in_a_sentence(studio, tmp_path):
    of = study_of("segment", tmp_path / "elsewhere", tmp_path / "rounds")
    with pytest.raises(
        Refused, match="does not show images of .*LOCAL_FILES_DOCUMENT_ROOT=.*elsewhere .*must be a sub"
    ):
        send(of, studio.url, seen(of, [0]), "round 1")
    assert studio.tasks(project_of(client.connect(studio.url), of)["id"]) == {}


def test_a_personal_token_is_changed_for_a_short_one_and_that_for_the_next(studio, study, monkeypatch):
    monkeypatch.setenv(client.TOKEN, studio.personal)
    of = study("classify")
    assert len(send(of, studio.url, seen(of, [0]), "round 1").new) == 1
    server = client.connect(studio.url)
    monkeypatch.setattr(server, "_access", "it.has.ended")
    assert server.get("/api/current-user/whoami")["id"] == 1


WRONG = {
    "legacy": ("0" * 40, "does not accept the token in LABEL_STUDIO_API_KEY: copy it anew"),
    "personal": ("eyJh.eyJi.secret", "does not accept the token in LABEL_STUDIO_API_KEY: copy it anew"),
    "none": ("", "needs a token: set LABEL_STUDIO_API_KEY in the environment"),
    "shortened": ("eyJh.eyJi", "without its last part, as the list of Label Studio shows it"),
    "two lines": ("abc\ndef", "characters that no token has"),
}


@pytest.mark.parametrize("token", WRONG)
def test_a_wrong_token_is_told_without_showing_it(studio, study, token, monkeypatch):
    wrong, sentence = WRONG[token]
    monkeypatch.setenv(client.TOKEN, wrong)
    of = study("classify")
    with pytest.raises(Refused, match=sentence) as refused:
        send(of, studio.url, seen(of, [0]), "round 1")
    assert not wrong or wrong not in str(refused.value)
    assert not of.folder.exists() or not list(of.folder.iterdir())


def test_no_token_is_in_a_record_or_a_message(studio, study, tmp_path, monkeypatch, capfd):
    of, folder = study("classify"), tmp_path / "labels"
    for token in (studio.token, studio.personal):
        monkeypatch.setenv(client.TOKEN, token)
        sent = send(of, studio.url, seen(of, range(2)), "round 1")
        said = [
            *sent.sentences(),
            *pull(of, studio.url, folder).sentences(),
            repr(client.connect(studio.url)),
            *capfd.readouterr(),
        ]
        said += [file.read_text() for place in (of.folder, folder) for file in place.rglob("*") if file.is_file()]
        with pytest.raises(Refused) as refused:
            client.connect(studio.url).get(f"/api/nothing/{uuid.uuid4().hex}")
        assert token not in "\n".join([*said, str(refused.value), repr(refused.value)])


def test_legacy_tokens_that_are_disabled_are_told(studio, monkeypatch):
    personal, legacy = studio.personal, studio.authorization
    monkeypatch.setenv(client.TOKEN, personal)
    allow(studio, personal, False)
    try:
        monkeypatch.setenv(client.TOKEN, studio.token)
        with pytest.raises(Refused, match="takes no legacy tokens any more: make a personal access token"):
            client.connect(studio.url)
    finally:
        allow(studio, personal, True)
    assert studio.authorization == legacy and client.connect(studio.url)


def allow(studio, personal, legacy):
    """Allow legacy tokens, or not."""
    if isinstance(studio, FakeLabelStudio):
        studio.legacy = legacy
    else:
        body = {"legacy_api_tokens_enabled": legacy, "api_tokens_enabled": True}
        client.Server(studio.url, personal).post("/api/jwt/settings", body)


def test_a_configuration_that_its_owner_changed_is_kept_while_it_has_all_labels(studio, study):
    of = study("detect")
    number = number_of(send(of, studio.url, seen(of, [0]), "round 1"))
    path = f"/api/projects/{number}/"
    config = studio.call("GET", path)["label_config"]
    changed = config.replace('<Label value="cell"', '<Label hotkey="c" value="cell"')
    assert changed != config
    parsed = (
        {"label": {"type": "RectangleLabels", "labels": list(CLASSES["detect"])}}
        if isinstance(studio, FakeLabelStudio)
        else None
    )
    studio.call("PATCH", path, {"label_config": changed, **({"parsed_label_config": parsed} if parsed else {})})
    send(of, studio.url, seen(of, [1]), "round 1")
    assert studio.call("GET", path)["label_config"] == changed


# What only a server that is played can do.


@pytest.fixture
def played(tmp_path, monkeypatch):
    fake = FakeLabelStudio(tmp_path / "root")
    fake.of_test = fake.root / "test"
    monkeypatch.setenv(client.TOKEN, fake.token)
    with serving(fake):
        yield fake


@pytest.mark.parametrize("call", [("POST", "/import"), ("POST", "/api/projects/"), ("PATCH", "/api/projects/1/")])
def test_a_connection_that_ends_after_the_server_did_its_work_is_told_and_nothing_is_sent_twice(played, tmp_path, call):
    of = study_of("segment", played.of_test, tmp_path / "rounds")
    played.end_after = call
    with pytest.raises(Unreachable, match="does not answer .*nothing is lost"):
        send(of, played.url, seen(of, range(4)), "round 1")
    send(of, played.url, seen(of, range(4)), "round 1")
    assert len(played.projects) == 1 and sorted(played.tasks(1)) == sorted(NAMES)
    assert played.projects[1]["model_version"] == "round 1"


def test_a_server_that_is_away_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv(client.TOKEN, "f00d" * 10)
    of, begun = study_of("segment", tmp_path / "root", tmp_path / "rounds"), time.monotonic()
    with pytest.raises(Unreachable, match=r"http://127.0.0.1:9 does not answer \(Connection refused\): start it"):
        pull(of, "http://127.0.0.1:9", tmp_path / "labels")
    assert time.monotonic() - begun < 5


def test_a_server_that_hangs_is_told(played, monkeypatch):
    monkeypatch.setattr(played, "answer", lambda *given: time.sleep(1) or (200, {}))
    server = client.Server(played.url, played.token, patience=0.2)
    with pytest.raises(Unreachable, match="no answer within 0.2 s"):
        server.get("/api/version")


STRANGE = {
    "another program": ((200, b"<html>"), "as no Label Studio that is known here"),
    "an older one": ((200, {"version": "0.4"}), "as no Label Studio that is known here"),
    "its own error": ((500, b"<html>"), r"error of its own \(500\)"),
    "another address": ((301, b""), "sends on to http://elsewhere.example, which is not followed with a token"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_label_studio_is_told(played, kind, monkeypatch):
    answer, sentence = STRANGE[kind]
    monkeypatch.setattr(played, "answer", lambda *given: answer)
    with pytest.raises(Refused, match=sentence):
        client.connect(played.url)
    assert len(played.asked) == 1


def test_a_token_that_the_server_repeats_is_not_shown(played, monkeypatch):
    monkeypatch.setattr(played, "known", lambda *given: (400, {"detail": f"bad: {played.token}"}))
    with pytest.raises(Refused, match="bad: ...$"):
        client.Server(played.url, played.token).get("/api/x")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("file:///etc/passwd", "is no address"),
        ("127.0.0.1:8080", "is no address"),
        ("http://[::1", "is no address"),
        ("http://a:geheim@127.0.0.1:8080", "holds more than an address"),
        ("http://127.0.0.1:8080/?token=geheim", "holds more than an address"),
    ],
)
def test_an_address_that_is_none_is_refused(url, sentence):
    with pytest.raises(Refused, match=sentence) as refused:
        client.require_url(url)
    assert "geheim" not in str(refused.value)


def test_labels_that_would_travel_in_the_open_are_told():
    assert "not encrypted" in client.Server("http://192.0.2.1:8080", "x").warnings[0]
    assert [client.Server(url, "x").warnings for url in ("http://localhost:1", "http://[::1]:1", "https://a.org")] == [
        []
    ] * 3


def test_loopback_is_asked_without_the_proxy_of_the_environment(played, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert client.connect(played.url).warnings == []


def test_more_tasks_than_a_page_are_all_known(played, tmp_path):
    names = [f"{i:03}.png" for i in range(2 * client.PAGE + 1)]
    of = study_of("classify", played.of_test, tmp_path / "rounds", names)
    send(of, played.url, seen(of, range(len(names)), names=names), "round 1")
    assert send(of, played.url, seen(of, range(len(names)), names=names), "round 1").new == []
    pulled = pull(of, played.url, tmp_path / "labels")
    assert len(pulled.waiting) == len(names) and "and 196 more" in pulled.sentences()[-1]
    assert os.environ[client.TOKEN] == played.token

"""Label Studio as far as the client sees it, in memory: answers as version 1.23.2 gave them, shortened."""

import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tests.label_studio_calls import Calls

DISABLED = "Authentication token no longer valid: legacy token authentication has been disabled for this organization"
NOT_FOUND = {"status_code": 404, "version": "1.23.2", "detail": "No Project matches the given query."}


class FakeLabelStudio(Calls):
    """One organisation with one user; what it holds are the dictionaries that it answers with."""

    token = "f00d" * 10
    personal = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2lnbmF0dXJl"

    def __init__(self, root):
        self.root = root  # of the images that it may show
        self.projects, self.all_tasks, self.storages, self.asked = {}, {}, [], []
        self.legacy, self.serves, self.access, self.number = True, True, "", 0
        self.end_after = None  # (method, end of a path): the next such call is done, and the connection ended
        self.authorization = f"Token {self.token}"
        self.at = self.made = 0

    def stamp(self):
        self.at += 1
        return f"2026-11-26T06:{self.at // 60:02}:{self.at % 60:02}.000000Z"

    def answer(self, method, path, query, body, authorization):
        """Status and content of the answer."""
        if path == "/api/version":
            return 200, {"release": "1.23.2", "label-studio-os-package": {"version": "1.23.2"}}
        if path == "/api/token/refresh/":
            if body.get("refresh") != self.personal:
                return 401, {"detail": "Token is invalid"}
            self.number += 1
            self.access = f"access.{self.number}.x"
            return 200, {"access": self.access}
        if authorization == f"Token {self.token}" and not self.legacy:
            return 401, {"detail": DISABLED}
        if authorization not in (f"Token {self.token}", f"Bearer {self.access or '-'}"):
            return 401, {"detail": "Invalid token."}
        return self.known(method, [part for part in path.split("/") if part], query, body)

    def known(self, method, parts, query, body):
        match method, parts:
            case "GET", ["api", "current-user", "whoami"]:
                return 200, {"id": 1}
            case "GET", ["api", "projects"]:
                return 200, {"count": len(self.projects), "results": list(self.projects.values())}
            case "POST", ["api", "projects"]:
                number = self.made = self.made + 1
                self.projects[number] = {"id": number, "model_version": "", **body}
                return 201, self.projects[number]
            case "GET", ["api", "tasks"]:
                of = [task for task in self.all_tasks.values() if task["project"] == int(query["project"][0])]
                size, page = int(query["page_size"][0]), int(query.get("page", ["1"])[0])
                return 200, {"total": len(of), "tasks": [listed(t) for t in of[size * page - size : size * page]]}
            case "POST", ["api", "tasks", number, "annotations"]:
                annotations = self.all_tasks[int(number)]["annotations"]
                made = {"id": 1000 + self.at, "completed_by": 1, "was_cancelled": False, "created_at": self.stamp()}
                annotations.append({**made, "updated_at": made["created_at"], **body})
                return 201, annotations[-1]
            case "PATCH", ["api", "tasks", number]:
                self.all_tasks[int(number)].update(body)
                return 200, self.all_tasks[int(number)]
            case "PATCH", ["api", "annotations", number]:
                (found,) = (a for t in self.all_tasks.values() for a in t["annotations"] if a["id"] == int(number))
                found.update(body, updated_at=self.stamp())
                return 200, found
            case "POST", ["api", "tasks", number, "drafts"]:
                self.all_tasks[int(number)]["drafts"].append(body)
                return 201, body
            case "POST", ["api", "predictions"]:
                self.all_tasks[body["task"]]["predictions"].append(body)
                return 201, body
            case "GET", ["api", "storages", "localfiles"]:
                return 200, [s for s in self.storages if s["project"] == int(query["project"][0])]
            case "POST", ["api", "storages", "localfiles"]:
                if self.root not in Path(body["path"]).parents:
                    said = f'Absolute local path "{body["path"]}" must be a subdirectory of LOCAL_FILES_DOCUMENT_ROOT.'
                    return 400, {"detail": "Validation error", "validation_errors": {"non_field_errors": [said]}}
                self.storages.append(body)
                return 201, body
            case "GET", ["data", "local-files"]:
                file = self.root / unquote(query["d"][0])
                allowed = any(Path(s["path"]) in file.parents for s in self.storages) and file.is_file()
                return (200, file.read_bytes()) if self.serves and allowed else (404 if self.serves else 403, b"")
            case _, ["api", "projects", number, *rest] if int(number) in self.projects:
                return self.of_project(method, self.projects[int(number)], rest, query, body)
        return 404, NOT_FOUND

    def of_project(self, method, project, rest, query, body):
        of = {n: task for n, task in self.all_tasks.items() if task["project"] == project["id"]}
        match method, rest:
            case "GET", []:
                return 200, project
            case "PATCH", []:
                project.update(body)
                return 200, project
            case "DELETE", []:
                del self.projects[project["id"]]
                return 204, b""
            case "POST", ["import"]:
                for task in body:
                    number = len(self.all_tasks) + 1
                    self.all_tasks[number] = {
                        "id": number,
                        "project": project["id"],
                        "annotations": [],
                        "drafts": [],
                        **task,
                    }
                return 201, {"task_count": len(body)}
            case "GET", ["export"]:
                return 200, [of[int(n)] for n in query["ids[]"] if int(n) in of]
            case "GET", ["next"]:
                open_tasks = [t for t in of.values() if not t["annotations"]]
                scores = {
                    t["id"]: p["score"] for t in open_tasks for p in t["predictions"]
                    if p["model_version"] == project["model_version"]
                }  # fmt: skip
                return (200, of[min(scores, key=scores.__getitem__)]) if scores else (404, NOT_FOUND)
        return 404, NOT_FOUND


def listed(task):
    """A task as lists show it."""
    cancelled = [annotation["was_cancelled"] for annotation in task["annotations"]]
    versions = ",".join(prediction["model_version"] for prediction in task["predictions"])
    counts = {"total_annotations": cancelled.count(False), "cancelled_annotations": cancelled.count(True)}
    return {**task, **counts, "predictions_model_versions": versions}


@contextmanager
def serving(fake):
    """Serve on loopback while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self):
            url = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(content) if content else None
            fake.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
            given = self.headers.get("Authorization", "")
            status, answer = fake.answer(self.command, url.path, parse_qs(url.query), body, given)
            if fake.end_after and self.command == fake.end_after[0] and url.path.endswith(fake.end_after[1]):
                fake.end_after = None
                self.close_connection = True
                self.connection.close()
                return
            text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in (("Content-Length", len(text)), ("Location", "http://elsewhere.example/")):
                self.send_header(name, str(value))
            with suppress(BrokenPipeError):  # of a client that did not wait
                self.end_headers()
                self.wfile.write(text)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *given):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()

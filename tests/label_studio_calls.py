"""What a test asks a Label Studio, real or not, besides what the product asks."""

import json
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

PLAIN = build_opener(ProxyHandler({}))


class Calls:
    """Calls of a user; `url` and `authorization` are set by who serves."""

    url = authorization = None

    def call(self, method, path, body=None):
        headers = {"Content-Type": "application/json", "Authorization": self.authorization}
        content = None if body is None else json.dumps(body).encode()
        try:
            with PLAIN.open(Request(self.url + path, content, headers, method=method), timeout=60) as answer:
                text = answer.read()
        except HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()[:500]}") from None
        return json.loads(text) if text else None

    def tasks(self, project):
        """All tasks, by the name of the image; a name that is there twice fails."""
        wanted = "id,data,drafts,predictions,total_annotations,cancelled_annotations"
        found = self.call("GET", f"/api/tasks?project={project}&page_size=100&fields=all&include={wanted}")["tasks"]
        assert len({task["data"]["name"] for task in found}) == len(found)
        return {task["data"]["name"]: task for task in found}

    def next(self, project):
        """The task that is handed out next; None where all are done."""
        try:
            return self.call("GET", f"/api/projects/{project}/next")
        except AssertionError as error:
            if ": 404" in str(error):
                return None
            raise

    def annotate(self, task, results, **others):
        return self.call("POST", f"/api/tasks/{task}/annotations/", {"result": results, **others})

    def accept(self, task, version):
        """Submit the prediction of a round as it is."""
        (prediction,) = (p for p in task["predictions"] if p["model_version"] == version)
        return self.annotate(task["id"], prediction["result"])

"""A server between `suggest` and a Label Studio, which holds one answer back: whoever waits for it is killed there."""

import http.client
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

BEFORE, AFTER = "before", "after"


class Between:
    """Passes calls on to the Label Studio at `url`; its own address is `here`."""

    def __init__(self, url):
        self.url, self.here, self.held = urlsplit(url), "", threading.Event()
        self.hold = None  # (method, end of a path, BEFORE or AFTER the server does it): the next such call
        self.done = []  # method and path of each call that the server answered

    def hold_next(self, method, path, when):
        self.held.clear()
        self.hold = (method, path, when)

    def pass_on(self, method, path, content, headers):
        held = (
            self.hold if self.hold and method == self.hold[0] and urlsplit(path).path.endswith(self.hold[1]) else None
        )
        self.hold = None if held else self.hold
        if held and held[2] == BEFORE:
            self.held.set()
            return None
        server = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=120)
        server.request(method, path, content, headers)
        answer = server.getresponse()
        found = answer.status, answer.read(), answer.getheader("Content-Type", "application/json")
        self.done.append((method, urlsplit(path).path))
        if held:
            self.held.set()
            return None
        return found


@contextmanager
def between(url):
    """Serve on loopback while the block runs. A call that is held gets no answer until its client is gone."""
    passing = Between(url)

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self):
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            named = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
            found = passing.pass_on(self.command, self.path, content, named)
            if found is None:
                self.connection.settimeout(60)
                with suppress(OSError):
                    self.connection.recv(1)  # nothing comes: it returns when the client is gone
                self.close_connection = True
                return
            self.send_response(found[0])
            self.send_header("Content-Type", found[2])
            self.send_header("Content-Length", str(len(found[1])))
            with suppress(OSError):
                self.end_headers()
                self.wfile.write(found[1])

        do_GET = do_POST = do_PATCH = handle_any  # noqa: N815

        def log_message(self, *given):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    passing.here = f"http://127.0.0.1:{server.server_port}"
    try:
        yield passing
    finally:
        server.shutdown()
        server.server_close()

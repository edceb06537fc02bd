"""A Hugging Face hub on loopback, with what a test wants of one: its models, a second host that files are redirected to,
and faults. `requests` notes what was asked of either host.
"""

import hashlib
import http.server
import json
import threading

REVISION = "0123456789abcdef0123456789abcdef01234567"


def git_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub:
    def __init__(self):
        self.files = {}  # path: bytes, of the one model "org/name"
        self.large = set()  # paths in large file storage: redirected to the second host
        self.token = None  # what Authorization must say
        self.break_after = {}  # path: the connection ends after so many bytes, once
        self.damage = set()  # paths whose last byte is wrong
        self.ranges = True  # whether Range is honoured
        self.hold = None  # an event that a large file's second half waits for
        self.status = {}  # path: an answer instead of the file
        self.extra_siblings = []
        self.revision = REVISION
        self.requests = []
        self.servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler(cdn)) for cdn in (False, True)]
        for server in self.servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url, self.cdn_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in self.servers)

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def listing(self):
        siblings = list(self.extra_siblings)
        for path, data in self.files.items():
            entry = {"rfilename": path, "size": len(data), "blobId": git_id(data)}
            if path in self.large:
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            siblings.append(entry)
        return {"id": "org/name", "sha": self.revision, "siblings": siblings}

    def asked(self, path):
        """(host, Range) of each request for a file."""
        return [(where, headers.get("Range")) for where, url, headers in self.requests if url.endswith("/" + path)]

    def _handler(hub, cdn):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, body=b"", headers=()):
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                hub.requests.append(("cdn" if cdn else "hub", self.path, dict(self.headers)))
                if cdn:
                    return self.send_file(self.path.removeprefix("/store/"))
                if hub.token and self.headers.get("Authorization") != "Bearer " + hub.token:
                    return self.answer(401, b"{}")
                if self.path.startswith("/api/models/"):
                    name = self.path.split("/revision/")[0].removeprefix("/api/models/")
                    if name != "org/name":
                        return self.answer(404, b"{}")
                    return self.answer(200, json.dumps(hub.listing()).encode())
                path = self.path.removeprefix(f"/org/name/resolve/{hub.revision}/")
                if path in hub.large:
                    return self.answer(302, headers=[("Location", f"{hub.cdn_url}/store/{path}")])
                self.send_file(path)

            def send_file(self, path):
                if path in hub.status:
                    return self.answer(hub.status[path])
                data = hub.files.get(path)
                if data is None:
                    return self.answer(404)
                if path in hub.damage:
                    data = data[:-1] + bytes([data[-1] ^ 1])
                begin = 0
                asked = self.headers.get("Range")
                if asked and hub.ranges:
                    begin = int(asked.removeprefix("bytes=").rstrip("-"))
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(data) - begin))
                self.end_headers()
                end = hub.break_after.pop(path, None)
                if hub.hold and path in hub.large:
                    self.wfile.write(data[begin : len(data) // 2])
                    self.wfile.flush()
                    hub.hold.wait(60)
                    begin = len(data) // 2
                self.wfile.write(data[begin:end])
                if end is not None:
                    self.close_connection = True

        return Handler

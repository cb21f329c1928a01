"""A model hub on this machine: repositories in memory, behind the requests of huggingface_hub's own client."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

MAIN = "main"


class Hub:
    """Repositories by id: {"private": ..., "commits": [{path: content}, ...], "titles": [...]}, the last one newest.

    `refuse` names a part of a path: requests to it are answered with a server's error.
    """

    def __init__(self):
        self.repositories, self.objects, self.tokens, self.refuse = {}, {}, set(), None

    def files(self, repo_id, revision=MAIN):
        commits = self.repositories[repo_id]["commits"]
        return commits[-1] if revision == MAIN else next(x for x in commits if commit_id(x) == revision)

    def commit(self, repo_id, lines):
        files, title = dict(self.files(repo_id)), ""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                title = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        self.repositories[repo_id]["commits"].append(files)
        self.repositories[repo_id]["titles"].append(title)
        return commit_id(files)


def commit_id(files):
    named = sorted((name, hashlib.sha1(content).hexdigest()) for name, content in files.items())
    return hashlib.sha1(json.dumps(named).encode()).hexdigest()


@contextmanager
def running_hub():
    """A hub, and the address of its server."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.tokens.add(self.headers.get("Authorization"))
        self._answer(self._posted, body)

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.objects[hashlib.sha256(content).hexdigest()] = content
        self._send(200, {})

    def do_GET(self):
        self._answer(self._fetched, None)

    do_HEAD = do_GET

    def _answer(self, answer, body):
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if self.hub.refuse is not None and self.hub.refuse in parts:
            self._send(500, {"error": "the hub is down"})
        else:
            answer(parts, body)

    def _posted(self, parts, body):
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            repo_id = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            known = repo_id in self.hub.repositories
            if not known:
                empty = {"private": asked.get("private"), "commits": [{}], "titles": [""]}
                self.hub.repositories[repo_id] = empty
            self._send(409 if known else 200, {"url": f"{self._address()}/{repo_id}"})
        elif parts == ["api", "validate-yaml"]:
            self._send(200, {"errors": [], "warnings": []})
        elif parts[-1] == "batch":
            self._send(200, {"transfer": "basic", "objects": [self._upload(x) for x in json.loads(body)["objects"]]})
        elif parts[4] == "preupload":
            modes = [self._mode(file["path"]) for file in json.loads(body)["files"]]
            self._send(200, {"files": modes})
        else:
            repo_id = "/".join(parts[2:4])
            found = self.hub.commit(repo_id, [json.loads(line) for line in body.splitlines() if line])
            self._send(200, {"commitUrl": f"{self._address()}/{repo_id}/commit/{found}", "commitOid": found})

    def _fetched(self, parts, _):
        if parts[0] == "api":
            repo_id = "/".join(parts[2:4])
            if repo_id not in self.hub.repositories:
                self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
                return
            files = self.hub.files(repo_id, parts[5] if len(parts) > 5 else MAIN)
            if parts[4:5] == ["tree"]:
                self._send(200, [{"type": "file", "path": x, "size": len(y), "oid": "0"} for x, y in files.items()])
            else:
                siblings = [{"rfilename": name} for name in files]
                self._send(200, {"id": repo_id, "sha": commit_id(files), "siblings": siblings, "private": False})
            return
        files = self.hub.files("/".join(parts[:2]), parts[3])
        content, headers = files.get("/".join(parts[4:])), {"X-Repo-Commit": commit_id(files)}
        if content is None:
            self._send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", **headers})
        else:
            self._send(200, content, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', **headers})

    def _mode(self, path):
        mode = "lfs" if path.endswith(".safetensors") else "regular"
        return {"path": path, "uploadMode": mode, "shouldIgnore": False}

    def _upload(self, wanted):
        upload = {"href": f"{self._address()}/objects/{wanted['oid']}"}
        return {"oid": wanted["oid"], "size": wanted["size"], "actions": {"upload": upload}}

    def _address(self):
        return f"http://{self.headers['Host']}"

    def _send(self, status, content, headers=()):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

#!/usr/bin/env python3
"""A hub for tests: the parts of the Hugging Face and ModelScope protocols that clients use, and every fault a network can have.

    hub_server.py ROOT [--tls CERT KEY]      prints "PORT CDN_PORT" when it listens, and serves until its standard input closes

ROOT holds repositories as folders: models/ORG/NAME/..., datasets/ORG/NAME/... A file beside them, ROOT/faults.json, is read again for
each request, so that a test changes faults while the server runs; ROOT/requests.log has a line a request (JSON): host, path, range,
whether it had the token. Files of 1000 bytes and more, and all *.safetensors, are large files (LFS): their tree entry has an "lfs", and
resolve answers 302 to the second host, which never wants a token.

faults.json: {"KIND": {...}} with
  "status":    {PATH: [CODE, COUNT, {HEADER: VALUE}]}   the first COUNT answers to a path are that
  "break":     {PATH: [OFFSET ...]}                     each answer breaks off after so many bytes; the list is used up
  "wrong":     {PATH: COUNT}                            the first COUNT answers have one byte changed
  "drip":      {PATH: [BYTES, SECONDS]}                 so many bytes at a time
  "grow":      {PATH: N}                                N bytes more than listed (N < 0: fewer)
  "no_ranges": true                                     ranges are ignored
  "gated": [REPO], "private": [REPO]                    without the token: 401
  "closed": [REPO]                                      403
  "names":     {REPO: [ENTRY ...]}                      more entries of its tree, whatever they are
  "raw_tree":  {REPO: TEXT}                             the answer to a tree request, whatever it is
  "prefix":    TEXT                                     the hub's paths begin with that, as behind a mirror
  "page":      N                                        entries a page
  "endless":   true                                     each page of a tree has a next one
  "redirect":  URL                                      large files are redirected there instead
"""
import email.utils
import hashlib
import json
import os
import ssl
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE = 1000  # bytes
TOKEN = "hf_test_token"


def commit_of(root, repo):
    """Forty digits that change with the content of the repository."""
    digest = hashlib.sha1(repo.encode())
    for path, data in sorted(repo_files(root, repo).items()):
        digest.update(path.encode() + b"\0" + hashlib.sha1(data).digest())
    return digest.hexdigest()


def repo_files(root, repo):
    folder, files = os.path.join(root, repo), {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as file:
                files[os.path.relpath(path, folder)] = file.read()
    return files


def blob_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_large(path, data):
    return len(data) >= LARGE or path.endswith(".safetensors")


class State:
    def __init__(self, root):
        self.root, self.lock, self.used = root, threading.Lock(), {}

    def faults(self):
        try:
            with open(os.path.join(self.root, "faults.json"), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    def once_of(self, kind, path, count):
        """True for the first `count` calls; faults are forgotten when their file is written anew."""
        with self.lock:
            key = (kind, path, os.stat(os.path.join(self.root, "faults.json")).st_mtime_ns)
            self.used[key] = self.used.get(key, 0) + 1
            return self.used[key] <= count

    def next_of(self, kind, path, values):
        with self.lock:
            key = (kind, path, os.stat(os.path.join(self.root, "faults.json")).st_mtime_ns)
            at = self.used.get(key, 0)
            self.used[key] = at + 1
            return values[at] if at < len(values) else None

    def log(self, entry):
        with self.lock, open(os.path.join(self.root, "requests.log"), "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        try:
            self.route()
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    # ---- answers

    def reply(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reply_json(self, value, headers=None):
        self.reply(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def fail(self, status, code, headers=None):
        self.reply(status, json.dumps({"error": code}).encode(),
                   {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})})

    # ---- requests

    def route(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        path = urllib.parse.unquote(url.path).lstrip("/")
        self.state, self.faults = self.server.state, self.server.state.faults()
        self.prefix = self.faults.get("prefix", "")
        path = path.removeprefix(self.prefix)
        self.token = self.headers.get("Authorization") == "Bearer " + TOKEN
        self.state.log({"host": "cdn" if self.server.is_cdn else "hub", "path": path, "method": self.command,
                        "range": self.headers.get("Range"), "token": self.headers.get("Authorization") is not None,
                        "cookie": self.headers.get("Cookie") is not None})
        if self.server.is_cdn:
            return self.serve_large(path)
        # Faults of addresses: by their end, so that tests need not know commits.
        for end, (status, count, headers) in self.faults.get("status", {}).items():
            if path.endswith(end) and self.state.once_of("status", end, count):
                return self.fail(status, headers.pop("X-Error-Code", ""), headers)
        if path.startswith("api/v1/"):
            return self.modelscope(path[len("api/v1/"):].split("/"), query)
        if path.startswith("api/"):
            return self.api(path[len("api/"):].split("/"), query)
        return self.resolve(path)

    def allowed(self, repo):
        name = repo.split("/", 1)[1]
        if name in self.faults.get("private", []) and not self.token:
            self.fail(401, "RepoNotFound")
        elif name in self.faults.get("gated", []) and not self.token:
            self.fail(401, "GatedRepo")
        elif name in self.faults.get("closed", []):
            self.fail(403, "GatedRepo")
        elif not os.path.isdir(os.path.join(self.state.root, repo)):
            self.fail(404, "RepoNotFound")
        else:
            return True
        return False

    def split_repo(self, parts, marks):
        """models/ORG/NAME/MARK/... -> repo, mark, rest; data sets of old have no ORG."""
        for length in (3, 2):
            if len(parts) > length and parts[length] in marks:
                return "/".join(parts[:length]), parts[length], parts[length + 1:]
        return "/".join(parts), "", []

    def api(self, parts, query):
        repo, mark, rest = self.split_repo(parts, ("revision", "tree"))
        if not self.allowed(repo):
            return
        commit = commit_of(self.state.root, repo)
        files = repo_files(self.state.root, repo)
        revision = "/".join(rest) or "main"
        if revision not in ("main", commit, "refs/pr/1"):
            return self.fail(404, "RevisionNotFound")
        if mark != "tree":
            return self.reply_json({"id": repo.split("/", 1)[1], "sha": commit, "private": False, "tags": [], "downloads": 0,
                                    "siblings": [{"rfilename": name} for name in sorted(files)]})
        name = repo.split("/", 1)[1]
        if name in self.faults.get("raw_tree", {}):
            return self.reply(200, self.faults["raw_tree"][name].encode())
        entries = [self.tree_entry(path, data) for path, data in sorted(files.items())] + self.faults.get("names", {}).get(name, [])
        size, start = self.faults.get("page", 1000), int(query.get("cursor", 0))
        headers = {}
        if self.faults.get("endless"):
            headers["Link"] = f'<{self.server.base}/api/{repo}/tree/{commit}?recursive=true>; rel="next"'
            entries, start = [{"type": "directory", "path": "a", "oid": commit, "size": 0}], 0
        elif start + size < len(entries):
            headers["Link"] = f'<{self.server.base}/{self.prefix}api/{repo}/tree/{commit}?recursive=true&cursor={start + size}>; rel="next"'
        self.reply_json(entries[start:start + size], headers)

    def tree_entry(self, path, data):
        size = len(data) - self.faults.get("grow", {}).get(path, 0)
        entry = {"type": "file", "path": path, "size": size, "oid": blob_id(data)}
        if is_large(path, data):
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(data).hexdigest()}\nsize {size}\n"
            entry["oid"] = blob_id(pointer.encode())
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": size, "pointerSize": len(pointer)}
        return entry

    def resolve(self, path):
        parts = path.split("/")
        if parts[0] != "datasets":
            parts = ["models"] + parts
        repo, _, rest = self.split_repo(parts, ("resolve",))
        if not rest or not self.allowed(repo):
            return rest or self.fail(404, "RepoNotFound")
        commit, file = commit_of(self.state.root, repo), "/".join(rest[1:])
        headers = {"X-Repo-Commit": commit}
        if rest[0] not in ("main", commit):
            return self.fail(404, "RevisionNotFound")
        data = repo_files(self.state.root, repo).get(file)
        if data is None:
            return self.fail(404, "EntryNotFound", headers)
        if not is_large(file, data):
            return self.send_content(file, data, {**headers, "ETag": f'"{blob_id(data)}"'})
        etag = hashlib.sha256(data).hexdigest()
        target = self.faults.get("redirect") or f"{self.server.cdn_base}/{urllib.parse.quote(repo)}/{etag}/{urllib.parse.quote(file)}?sig=1"
        self.reply(302, b"", {**headers, "Location": target, "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data))})

    def serve_large(self, path):
        """The second host: REPO/SHA256/FILE."""
        for repo_length in (3, 2):
            parts = path.split("/")
            repo, file = "/".join(parts[:repo_length]), "/".join(parts[repo_length + 1:])
            data = repo_files(self.state.root, repo).get(file)
            if data is not None:
                return self.send_content(file, data, {"ETag": f'"{hashlib.md5(data).hexdigest()}"'})
        self.fail(404, "EntryNotFound")

    def modelscope(self, parts, query):
        repo, mark, rest = self.split_repo(parts, ("repo",))
        if not self.allowed(repo):
            return
        files = repo_files(self.state.root, repo)
        if query.get("Revision") != "master":
            return self.fail(404, "RevisionNotFound")
        if "FilePath" in query:
            data = files.get(query["FilePath"])
            return self.fail(404, "EntryNotFound") if data is None else self.send_content(query["FilePath"], data, {})
        commit = commit_of(self.state.root, repo)
        entries = [{"Path": path, "Name": os.path.basename(path), "Size": len(data), "Type": "blob",
                    "Sha256": hashlib.sha256(data).hexdigest(), "Revision": commit, "CommittedDate": 1}
                   for path, data in sorted(files.items())]
        entries.append({"Path": "folder", "Name": "folder", "Size": 0, "Type": "tree", "Sha256": "", "Revision": "", "CommittedDate": 0})
        if rest == ["tree"]:
            page, size = int(query.get("PageNumber", 1)), int(query.get("PageSize", 50))
            entries = entries[(page - 1) * size:page * size]
        self.reply_json({"Code": 200, "Success": True, "Data": {"Files": entries}})

    # ---- the bytes of a file

    def send_content(self, file, data, headers):
        faults = self.faults
        if faults.get("wrong", {}).get(file) and self.state.once_of("wrong", file, faults["wrong"][file]):
            data = data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1:]
        begin, end, status = 0, len(data), 200
        wanted = self.headers.get("Range")
        if wanted and not faults.get("no_ranges"):
            first, last = wanted.removeprefix("bytes=").split("-")
            begin, end = int(first), min(int(last) + 1, len(data)) if last else len(data)
            if begin >= len(data):
                return self.reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            status, headers = 206, {**headers, "Content-Range": f"bytes {begin}-{end - 1}/{len(data)}"}
        self.send_response(status)
        for name, value in {**headers, "Accept-Ranges": "bytes", "Content-Length": str(end - begin)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.send_bytes(file, data[begin:end])

    def send_bytes(self, file, data):
        offset = None
        if file in self.faults.get("break", {}):
            offset = self.state.next_of("break", file, self.faults["break"][file])
        piece, pause = self.faults.get("drip", {}).get(file, [1 << 16, 0])
        left = data if offset is None else data[:offset]
        while left:
            self.wfile.write(left[:piece])
            self.wfile.flush()
            left = left[piece:]
            if left and pause:
                time.sleep(pause)
        if offset is not None:
            self.close_connection = True


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):  # clients go away: tests of faults see to it
            super().handle_error(request, client_address)


def serve(state, is_cdn, tls):
    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.state, server.is_cdn = state, is_cdn
    server.base = f"{'https' if tls else 'http'}://localhost:{server.server_address[1]}"
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main():
    root = sys.argv[1]
    tls = tuple(sys.argv[3:5]) if len(sys.argv) > 3 else None
    state = State(root)
    hub, cdn = serve(state, False, tls), serve(state, True, tls)
    hub.cdn_base = cdn.base
    print(hub.server_address[1], cdn.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()

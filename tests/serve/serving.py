"""A server under test: `arkit serve` on a free port of 127.0.0.1 with a tiny model, and ways to talk to it. Python's library alone."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time

TEMPLATE = ("{% if tools %}<tools>{% for t in tools %}{{ t.function.name }} {% endfor %}</tools>{% endif %}"
            "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>\n{% endfor %}"
            "{% if add_generation_prompt %}<s>assistant:{% endif %}{# <tool_call> #}")


def make_model(source, folder):
    """The golden tiny model with a chat template and room for long texts."""
    model = os.path.join(folder, "tiny")
    shutil.copytree(source, model)

    def change(file, **values):
        path = os.path.join(model, file)
        with open(path, encoding="utf-8") as f:
            config = json.load(f)
        config.update(values)
        with open(path, "w", encoding="utf-8") as f:
            json.dump(config, f)

    change("tokenizer_config.json", chat_template=TEMPLATE, model_max_length=4096)
    change("config.json", max_position_embeddings=4096)
    return model


class Server:
    def __init__(self, arkit, model, *options, environment=None):
        self.log = open(os.path.join(os.path.dirname(model), f"log-{time.monotonic_ns()}"), "w+b")
        self.process = subprocess.Popen([arkit, "serve", model, "--port", "0", "--json", "--dtype", "float32", *options],
                                        stdout=subprocess.PIPE, stderr=self.log, env={**os.environ, **(environment or {})})
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the server did not start: " + self.messages())
        listening = json.loads(line)
        assert listening["event"] == "listening" and listening["url"].endswith(str(listening["port"])), listening
        self.port = listening["port"]

    def messages(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read().decode()

    def stop(self, sent=signal.SIGTERM, limit=30):
        """Exit code and what the server printed at its end."""
        if self.process.poll() is None:
            self.process.send_signal(sent)
        return self.ended(limit)

    def ended(self, limit=30):
        try:
            out, _ = self.process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, out.decode()

    def connect(self, timeout=30):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, connection=None):
        """Status, headers, bytes."""
        own = connection or self.connect()
        sent = {"Content-Type": "application/json", **(headers or {})}
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        own.request(method, path, data, sent)
        reply = own.getresponse()
        answer = reply.status, dict(reply.getheaders()), reply.read()
        if connection is None:
            own.close()
        return answer

    def post(self, path, body, headers=None, connection=None):
        status, _, data = self.request("POST", path, body, headers, connection)
        return status, json.loads(data)

    def get(self, path, headers=None):
        status, _, data = self.request("GET", path, None, headers)
        return status, json.loads(data)

    def ask(self, path="/v1/completions", **body):
        status, answer = self.post(path, body)
        assert status == 200, (status, answer)
        return answer

    def stream(self, path="/v1/completions", **body):
        """The events of a stream, the last one being None for [DONE]."""
        connection = self.connect()
        connection.request("POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        assert reply.status == 200, reply.read()
        assert reply.getheader("Content-Type").startswith("text/event-stream"), reply.getheaders()
        for line in reply:
            if line.strip():
                assert line.startswith(b"data: "), line
                data = line[len(b"data: "):].strip()
                yield None if data == b"[DONE]" else json.loads(data)
        connection.close()

    def metrics(self):
        _, _, data = self.request("GET", "/metrics")
        values = {}
        for line in data.decode().splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                values[name] = float(value)
        return values

    def wait_for(self, true_of, what, limit=15):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if true_of(self.metrics()):
                return
            time.sleep(0.05)
        raise AssertionError(f"never came: {what}; {self.metrics()}")

    def raw(self, receive_buffer=None):
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident(self):
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

#!/usr/bin/env python3
"""`arkit serve` as clients see it, good ones and bad ones. Traffic goes to 127.0.0.1 alone, and ends.

    server_test.py ARKIT SOURCE_MODEL [unittest's arguments]
"""
import concurrent.futures
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from serving import Server, make_model

ARKIT, SOURCE = sys.argv[1], sys.argv[2]
FOLDER = tempfile.TemporaryDirectory()
MODEL = make_model(SOURCE, FOLDER.name)
WORDS = ["the cat", "a house on", "hello", "one two three", "what is", "in the"]


def text_of(events):
    return "".join(choice.get("text") or "" for event in events if event for choice in event["choices"])


class Endpoints(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(ARKIT, MODEL, "--timeout", "2", "--cache_tokens", "16384")

    @classmethod
    def tearDownClass(cls):
        code, out = cls.server.stop()
        assert code == 0, (code, cls.server.messages())
        assert json.loads(out)["requests"] > 0, out

    def refused(self, status, path="/v1/completions", method="POST", headers=None, body=None, **fields):
        got, _, data = self.server.request(method, path, fields if body is None else body, headers)
        self.assertEqual(got, status, data)
        error = json.loads(data)["error"]
        self.assertEqual(set(error), {"message", "type", "param", "code"})
        self.assertGreater(len(error["message"]), 10)
        return error

    # What there is.

    def test_small_ones(self):
        self.assertEqual(self.server.get("/health"), (200, {"status": "ok"}))
        status, models = self.server.get("/v1/models")
        self.assertEqual((status, models["object"], [m["id"] for m in models["data"]]), (200, "list", ["tiny"]))
        self.assertEqual(self.server.get("/v1/models/tiny")[1]["max_model_len"], 4096)
        self.assertEqual(self.server.get("/v1/models/other")[1]["error"]["code"], "model_not_found")
        status, headers, page = self.server.request("GET", "/")
        self.assertEqual(status, 200)
        self.assertIn(b"<!doctype html", page.lower())
        self.assertNotIn(b"http://", page.replace(b"http://www.w3.org/2000/svg", b""), "no resource from elsewhere")
        self.assertNotIn(b"https://", page)
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        status, headers, data = self.server.request("HEAD", "/health")
        self.assertEqual((status, headers["Content-Length"], data), (200, "17", b""))

    def test_tokens(self):
        ids = self.server.ask("/tokenize", prompt="the cat", add_special_tokens=False)["tokens"]
        self.assertGreater(len(ids), 0)
        self.assertEqual(self.server.ask("/detokenize", tokens=ids)["prompt"], "the cat")
        info = self.server.get("/tokenizer_info")[1]
        self.assertTrue(info["eos_token"])
        self.assertIn("messages", info["chat_template"])

    def test_completions_of_every_kind_of_prompt(self):
        ids = self.server.ask("/tokenize", prompt="the cat")["tokens"]
        one = self.server.ask(prompt="the cat", temperature=0, max_tokens=9)
        self.assertEqual(one["object"], "text_completion")
        self.assertEqual(one["usage"]["prompt_tokens"], len(ids))
        self.assertEqual(one["usage"]["completion_tokens"], 9)
        self.assertEqual(one["choices"][0]["finish_reason"], "length")
        text = one["choices"][0]["text"]
        for prompt, count in ((["the cat"], 1), (ids, 1), ([ids, ids], 2), (["the cat", ids, "the cat"], 3)):
            answer = self.server.ask(prompt=prompt, temperature=0, max_tokens=9)
            self.assertEqual([c["index"] for c in answer["choices"]], list(range(count)))
            self.assertEqual({c["text"] for c in answer["choices"]}, {text})
        self.assertEqual(len(self.server.ask(prompt="a")["choices"]), 1)
        self.assertEqual(self.server.ask(prompt="a", ignore_eos=True)["usage"]["completion_tokens"], 16, "OpenAI's default")

    def test_same_as_generate(self):
        out = subprocess.run([ARKIT, "generate", MODEL, "--prompt", "one two three", "--max_new_tokens", "20", "--dtype", "float32", "--json"],
                             check=True, capture_output=True).stdout
        answer = self.server.ask(prompt="one two three", temperature=0, max_tokens=20)
        self.assertEqual(answer["choices"][0]["text"], json.loads(out)["outputs"][0]["text"])

    def test_answers_that_fit_a_schema(self):
        schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
                  "required": ["name", "age"], "additionalProperties": False}
        asked = {"response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}, "temperature": 1.5,
                 "max_tokens": 200}
        for path, prompt in (("/v1/completions", {"prompt": "a person: "}),
                             ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a person"}]})):
            for choice in self.server.ask(path, n=4, seed=3, **prompt, **asked)["choices"]:
                self.assertEqual(choice["finish_reason"], "stop")
                person = json.loads(choice["text"] if "text" in choice else choice["message"]["content"])
                self.assertEqual(set(person), {"name", "age"})
                self.assertIsInstance(person["name"], str)
                self.assertIn(person["age"], range(100))
        answer = self.server.ask(prompt="x", response_format={"type": "json_object"}, max_tokens=300, seed=1, temperature=1.0)["choices"][0]
        if answer["finish_reason"] == "stop":
            self.assertIsInstance(json.loads(answer["text"]), dict)
        self.refused(400, prompt="a", response_format={"type": "json_schema"})
        wrong = {"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}}
        self.assertIn("cannot be followed", self.refused(400, prompt="a", response_format=wrong)["message"])

    def test_scores_of_a_prompt(self):
        """As lm-eval's local-completions reads them."""
        ids = self.server.ask("/tokenize", prompt="what is the house on", add_special_tokens=False)["tokens"]
        for most in (0, 1):
            answer = self.server.ask(prompt=[ids, ids[:3]], echo=True, logprobs=1, max_tokens=most, temperature=0)
            for choice, given in zip(answer["choices"], (ids, ids[:3])):
                scores = choice["logprobs"]
                for values in scores.values():
                    self.assertEqual(len(values), len(given) + most)
                self.assertIsNone(scores["token_logprobs"][0])
                self.assertIsNone(scores["top_logprobs"][0])
                self.assertEqual("".join(scores["tokens"]), choice["text"])
                for i in range(1, len(given) + most):
                    own, top = scores["token_logprobs"][i], scores["top_logprobs"][i]
                    self.assertLess(own, 0)
                    self.assertEqual(top[scores["tokens"][i]], own)
                    self.assertGreaterEqual(max(top.values()), own)
                    self.assertEqual(scores["text_offset"][i], len("".join(scores["tokens"][:i])))
                if most == 1:
                    self.assertEqual(max(scores["top_logprobs"][-1].values()), scores["token_logprobs"][-1], "greedy")
        alone = self.server.ask(prompt="what is the house on", echo=True, logprobs=1, max_tokens=1, temperature=0)
        both = self.server.ask(prompt=[ids, ids[:3]], echo=True, logprobs=1, max_tokens=1, temperature=0)
        for a, b in zip(alone["choices"][0]["logprobs"]["token_logprobs"][1:], both["choices"][0]["logprobs"]["token_logprobs"][1:]):
            self.assertAlmostEqual(a, b, places=4)
        self.assertEqual(alone["choices"][0]["logprobs"]["tokens"], both["choices"][0]["logprobs"]["tokens"], "no token is put before")

    def test_scores_of_new_tokens(self):
        answer = self.server.ask(prompt="the cat", logprobs=3, max_tokens=5, temperature=0)["choices"][0]
        scores = answer["logprobs"]
        self.assertEqual(len(scores["tokens"]), 5)
        for own, top in zip(scores["token_logprobs"], scores["top_logprobs"]):
            self.assertEqual(own, max(top.values()))
        self.assertIsNone(self.server.ask(prompt="a", logprobs=0, max_tokens=2)["choices"][0]["logprobs"]["top_logprobs"])
        self.assertIsNone(self.server.ask(prompt="a", max_tokens=2)["choices"][0]["logprobs"])

    def test_how_tokens_are_picked(self):
        def text(**more):
            return self.server.ask(prompt="hello", max_tokens=12, ignore_eos=True, **more)["choices"][0]["text"]

        self.assertEqual(text(temperature=2, seed=5), text(temperature=2, seed=5))
        self.assertNotEqual(text(temperature=2, seed=5), text(temperature=2, seed=6))
        self.assertEqual(text(temperature=2, top_k=1), text(temperature=0))
        self.assertEqual(text(temperature=2, top_p=0), text(temperature=0))
        token = self.server.ask("/tokenize", prompt="cat", add_special_tokens=False)["tokens"][0]
        forced = self.server.ask(prompt="hello", max_tokens=3, temperature=0, logit_bias={str(token): 100}, logprobs=0)
        self.assertEqual(len(set(forced["choices"][0]["logprobs"]["tokens"])), 1)
        several = self.server.ask(prompt=["hello", "the"], n=3, max_tokens=12, temperature=2, seed=1, ignore_eos=True)
        self.assertEqual(len({c["text"] for c in several["choices"]}), 6)

    def test_stop_texts(self):
        whole = self.server.ask(prompt="the cat", temperature=0, max_tokens=30, ignore_eos=True)["choices"][0]["text"]
        stop = whole[10:13]
        cut = whole[:whole.find(stop)]
        for given in (stop, [stop], [None, "never there", stop]):
            choice = self.server.ask(prompt="the cat", temperature=0, max_tokens=30, ignore_eos=True, stop=given, logprobs=0)["choices"][0]
            self.assertEqual((choice["text"], choice["finish_reason"]), (cut, "stop"))
            self.assertTrue(all(offset < len(cut) for offset in choice["logprobs"]["text_offset"]))
        events = list(self.server.stream(prompt="the cat", temperature=0, max_tokens=30, ignore_eos=True, stop=stop))
        self.assertEqual(text_of(events), cut)

    def test_streams(self):
        whole = self.server.ask(prompt=["the cat", "hello"], temperature=0, max_tokens=20, ignore_eos=True)
        events = list(self.server.stream(prompt=["the cat", "hello"], temperature=0, max_tokens=20, ignore_eos=True,
                                         stream_options={"include_usage": True}))
        self.assertIsNone(events[-1])
        self.assertEqual(events[-2]["usage"]["completion_tokens"], 40)
        self.assertEqual(events[-2]["choices"], [])
        for choice in whole["choices"]:
            parts = [c for e in events[:-2] for c in e["choices"] if c["index"] == choice["index"]]
            self.assertEqual("".join(p["text"] for p in parts), choice["text"])
            self.assertEqual([p["finish_reason"] for p in parts if p["finish_reason"]], ["length"])
        scored = list(self.server.stream(prompt="the cat", temperature=0, max_tokens=4, echo=True, logprobs=1))
        tokens = [t for e in scored if e for c in e["choices"] if c["logprobs"] for t in c["logprobs"]["tokens"]]
        self.assertEqual(tokens, self.server.ask(prompt="the cat", temperature=0, max_tokens=4, echo=True, logprobs=1)["choices"][0]["logprobs"]["tokens"])

    def test_streams_piece_by_piece(self):
        # Pieces are joined while their reader is busy, so their number says nothing: the first one comes while the text is being
        # written. On a busy machine the text may be complete before this reader gets to ask; one that never streams always is.
        running = 0
        for _ in range(20):
            events = self.server.stream(prompt="the cat", max_tokens=3500, ignore_eos=True)
            next(events)
            running = self.server.metrics()["arkit_texts_running"]
            self.assertEqual(list(events)[-2]["choices"][0]["finish_reason"], "length")
            if running:
                break
        self.assertEqual(running, 1)

    def test_chats(self):
        said = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]
        chat = {"messages": said, "temperature": 0, "max_tokens": 10}
        answer = self.server.ask("/v1/chat/completions", **chat, logprobs=True, top_logprobs=2)
        choice = answer["choices"][0]
        self.assertEqual((answer["object"], choice["message"]["role"]), ("chat.completion", "assistant"))
        self.assertEqual(len(choice["logprobs"]["content"]), answer["usage"]["completion_tokens"])
        self.assertEqual(len(choice["logprobs"]["content"][0]["top_logprobs"]), 2)
        written = "<s>system: be kind</s>\n<s>user: hello</s>\n<s>assistant:"
        text = self.server.ask(prompt=written, add_special_tokens=False, temperature=0, max_tokens=10)["choices"][0]["text"]
        self.assertEqual(choice["message"]["content"], text)
        parts = [{"role": "developer", "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "kind"}]}, said[1]]
        self.assertEqual(self.server.ask("/v1/chat/completions", **{**chat, "messages": parts})["choices"][0]["message"]["content"], text)
        events = list(self.server.stream("/v1/chat/completions", **chat))
        self.assertEqual(events[0]["choices"][0]["delta"], {"role": "assistant", "content": ""})
        self.assertEqual("".join(e["choices"][0]["delta"].get("content", "") for e in events if e), text)
        begun = said + [{"role": "assistant", "content": "the cat"}]
        goes_on = self.server.ask("/v1/chat/completions", **{**chat, "messages": begun})["choices"][0]["message"]["content"]
        prompt = written.replace("<s>assistant:", "<s>assistant: the cat")
        self.assertEqual(goes_on, self.server.ask(prompt=prompt, add_special_tokens=False, temperature=0, max_tokens=10)["choices"][0]["text"])

    def test_what_is_shared_is_not_computed_again(self):
        long = " ".join(WORDS * 20)
        first = self.server.ask(prompt=long, temperature=0, max_tokens=4)
        again = self.server.ask(prompt=long + " hello", temperature=0, max_tokens=4)
        self.assertGreater(again["usage"]["prompt_tokens_details"]["cached_tokens"], first["usage"]["prompt_tokens"] - 3)
        self.assertEqual(self.server.ask(prompt=long, temperature=0, max_tokens=4)["choices"], first["choices"])

    # What is refused.

    def test_wrong_requests(self):
        self.refused(404, "/v1/nothing")
        self.refused(405, "/v1/completions", method="GET")
        self.refused(415, headers={"Content-Type": "text/plain"}, prompt="a")
        for body in (b"", b"{", b"[]", b"{\"prompt\": \"a\",}", b"{\"prompt\": \"\xff\xfe\"}", b"\x00\x01", b"{\"prompt\":\"a\",\"prompt\":\"b\"}",
                     b"[" * 100000):
            self.refused(400, body=body)
        self.assertEqual(self.refused(404, model="gpt-4", prompt="a")["code"], "model_not_found")
        for fields in ({}, {"prompt": 5}, {"prompt": []}, {"prompt": [[]]}, {"prompt": ""} if False else {"prompt": {}},
                       {"prompt": [1, "a"]}, {"prompt": [-1]}, {"prompt": [10**9]}, {"prompt": [1.5]}, {"prompt": [[1], [True]]},
                       {"prompt": "a", "max_tokens": "many"}, {"prompt": "a", "max_tokens": -1}, {"prompt": "a", "max_tokens": 0},
                       {"prompt": "a", "temperature": -1}, {"prompt": "a", "temperature": "hot"}, {"prompt": "a", "top_p": 2},
                       {"prompt": "a", "n": 0}, {"prompt": "a", "n": 10**6}, {"prompt": "a", "stream": "yes"}, {"prompt": "a", "stop": [5]},
                       {"prompt": "a", "stop": ""}, {"prompt": "a", "logprobs": 10**6}, {"prompt": "a", "logprobs": True},
                       {"prompt": "a", "logit_bias": {"x": 1}}, {"prompt": "a", "logit_bias": {"1": 1000}}, {"prompt": "a", "seed": "x"},
                       {"prompt": "a", "best_of": 4}, {"prompt": "a", "suffix": "b"}, {"prompt": "a", "model": 5},
                       {"prompt": "a", "stream_options": []}):
            self.refused(400, **fields)
        self.assertEqual(self.refused(400, prompt=[1] * 5000)["code"], "context_length_exceeded")
        for messages in (None, [], "hi", [5], [{"role": "x", "content": ""}], [{"content": "a"}], [{"role": "user", "content": 5}],
                         [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]):
            self.refused(400, "/v1/chat/completions", messages=messages)
        hello = [{"role": "user", "content": "a"}]
        self.refused(400, "/v1/chat/completions", messages=hello, top_logprobs=2)
        self.refused(400, "/v1/chat/completions", messages=hello, response_format={"type": "nonsense"})
        self.refused(400, "/v1/chat/completions", messages=hello, tools=[5])
        self.refused(400, "/v1/chat/completions", messages=hello, tools=[{"type": "function", "function": {"name": "f"}}], tool_choice="required")
        self.assertEqual(self.refused(400, "/v1/embeddings", input="a")["code"], "no_embeddings")
        self.refused(403, headers={"Host": "evil.example"}, prompt="a")

    def test_unknown_fields_are_named(self):
        status, headers, _ = self.server.request("POST", "/v1/completions", {"prompt": "a", "max_tokens": 1, "do_sample": False, "user": "me"})
        self.assertEqual((status, headers["X-Arkit-Ignored"]), (200, "do_sample"))

    def test_large_bodies(self):
        self.assertEqual(self.refused(413, body=b"x" * (20 << 20))["type"], "invalid_request_error")
        connection = self.server.raw()
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n")
        self.assertIn(b" 413 ", connection.recv(4096))
        connection.close()
        chunked = self.server.raw()
        chunked.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        body = json.dumps({"prompt": "the cat", "max_tokens": 2}).encode()
        for byte in body:
            chunked.sendall(b"1\r\n" + bytes([byte]) + b"\r\n")
        chunked.sendall(b"0\r\n\r\n")
        self.assertIn(b" 200 ", chunked.recv(4096))
        chunked.close()
        waits = self.server.raw()
        waits.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
                      b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        self.assertEqual(waits.recv(4096), b"HTTP/1.1 100 Continue\r\n\r\n")
        waits.sendall(body)
        self.assertIn(b" 200 ", waits.recv(4096))
        waits.close()

    def test_no_http(self):
        for sent in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"):
            connection = self.server.raw()
            connection.sendall(sent)
            self.assertIn(b" 400 ", connection.recv(4096), sent)
            connection.close()
        connection = self.server.raw()
        connection.sendall(b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 40000)
        self.assertIn(b" 431 ", connection.recv(4096))
        connection.close()
        old = self.server.raw()
        old.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        self.assertTrue(old.recv(4096).startswith(b"HTTP/1.0 200 "))
        old.close()

    # Many, slow and leaving clients.

    def test_64_clients_at_once(self):
        asked = [{"prompt": f"{WORDS[i % 6]} {i}", "temperature": 0, "max_tokens": 8 + i % 5} for i in range(64)]
        alone = [self.server.ask(**one)["choices"][0] for one in asked]
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            def ask(i):
                if i % 3 == 0:
                    return text_of(self.server.stream(**asked[i]))
                return self.server.ask(**asked[i])["choices"][0]["text"]
            together = list(pool.map(ask, range(64)))
        self.assertEqual(together, [choice["text"] for choice in alone])

    def test_keeps_connections(self):
        connection = self.server.connect()
        for _ in range(3):
            self.assertEqual(self.server.post("/v1/completions", {"prompt": "a", "max_tokens": 1}, connection=connection)[0], 200)
        connection.close()

    def leave(self, stream):
        before = self.server.metrics()
        connection = self.server.raw()
        body = json.dumps({"prompt": "the cat", "max_tokens": 3500, "stream": stream, "ignore_eos": True}).encode()
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        if stream:
            self.assertIn(b" 200 ", connection.recv(200))
        else:
            self.server.wait_for(lambda m: m["arkit_texts_running"] > 0, "the text runs")
        connection.close()
        self.server.wait_for(lambda m: m["arkit_texts_running"] == 0 and
                             m["arkit_texts_cancelled_total"] == before["arkit_texts_cancelled_total"] + 1, "it is cancelled")
        self.assertLess(self.server.metrics()["arkit_new_tokens_total"], before["arkit_new_tokens_total"] + 3400)

    def test_clients_that_leave(self):
        self.leave(stream=True)
        self.leave(stream=False)

    def test_slow_writers(self):
        start = time.monotonic()
        body = self.server.raw()
        body.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        head = self.server.raw()
        head.sendall(b"POST /v1/comp")
        self.assertEqual(self.server.get("/health")[0], 200)
        self.assertEqual(body.recv(100), b"")
        self.assertEqual(head.recv(100), b"")
        self.assertLess(time.monotonic() - start, 15)

    def test_slow_readers(self):
        before = self.server.metrics()["arkit_texts_cancelled_total"]
        connection = self.server.raw(receive_buffer=4096)
        body = json.dumps({"prompt": "the cat", "n": 4, "max_tokens": 3500, "logprobs": 100, "stream": True, "ignore_eos": True}).encode()
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        resident = self.server.resident()
        self.assertEqual(self.server.ask(prompt="a", max_tokens=2)["object"], "text_completion")
        self.server.wait_for(lambda m: m["arkit_texts_cancelled_total"] >= before + 4, "whoever takes nothing is given up", limit=40)
        self.assertLess(self.server.resident() - resident, 200 << 20)
        connection.close()

    def test_10000_connections_one_after_another(self):
        def once():
            connection = self.server.raw()
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.assertTrue(connection.recv(400).startswith(b"HTTP/1.1 200"))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # no TIME_WAIT
            connection.close()
        for _ in range(200):
            once()
        files, resident = self.server.open_files(), self.server.resident()
        for _ in range(10000):
            once()
        self.server.wait_for(lambda m: m["arkit_connections_open"] <= 2, "all are closed")
        self.assertLessEqual(self.server.open_files(), files + 2)
        self.assertLess(self.server.resident() - resident, 16 << 20)


class Starts(unittest.TestCase):
    def test_keys(self):
        for how in ({"environment": {"ARKIT_API_KEY": "s3cret key"}}, {}):
            server = Server(ARKIT, MODEL, *([] if how else ["--api_key", "s3cret key"]), **how)
            for header, status in ((None, 401), ("Bearer wrong", 401), ("Bearer s3cret ke", 401), ("Bearer s3cret key2", 401),
                                   ("s3cret key", 401), ("Bearer ", 401), ("Bearer s3cret key", 200)):
                headers = {"Authorization": header} if header else {}
                got, _, data = server.request("POST", "/v1/completions", {"prompt": "a", "max_tokens": 1}, headers)
                self.assertEqual(got, status, header)
                self.assertNotIn(b"s3cret", data)
                self.assertEqual(server.request("GET", "/metrics", None, headers)[0], status)
            self.assertEqual(server.get("/health")[0], 200)
            code, out = server.stop(signal.SIGINT)
            self.assertEqual(code, 0)
            self.assertNotIn("s3cret", out + server.messages())

    def test_answers_end_before_the_server(self):
        server = Server(ARKIT, MODEL)
        events = server.stream(prompt="the cat", max_tokens=1500, ignore_eos=True)
        next(events)
        server.process.send_signal(signal.SIGTERM)
        rest = list(events)
        self.assertIsNone(rest[-1])
        self.assertEqual(rest[-2]["choices"][0]["finish_reason"], "length")
        self.assertEqual(server.ended()[0], 0)
        with self.assertRaises(OSError):
            server.raw()

    def test_answers_that_take_too_long_are_cut_when_it_stops(self):
        server = Server(ARKIT, MODEL, "--stop_timeout", "0.2")
        events = server.stream(prompt="the cat", max_tokens=3900, n=8, ignore_eos=True)
        next(events)
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        rest = list(events)
        self.assertIn("stopping", rest[-1]["error"]["message"])
        self.assertEqual(server.ended()[0], 0)
        self.assertLess(time.monotonic() - start, 10)

    def test_limits(self):
        server = Server(ARKIT, MODEL, "--max_waiting", "2", "--max_running", "1", "--max_new_tokens", "300", "--max_body_size", "2000",
                        "--answer_timeout", "5", "--context_tokens", "400", "--served_name", "mine")
        self.assertEqual(server.get("/v1/models")[1]["data"][0]["id"], "mine")
        self.assertEqual(server.post("/v1/completions", {"prompt": "x" * 3000})[0], 413)
        self.assertEqual(server.post("/v1/completions", {"prompt": [1] * 400})[1]["error"]["code"], "context_length_exceeded")
        self.assertEqual(server.ask(prompt="a", max_tokens=1000, ignore_eos=True)["usage"]["completion_tokens"], 300)
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: server.post("/v1/completions", {"prompt": "a", "max_tokens": 300, "ignore_eos": True}), range(12)))
        self.assertEqual({status for status, _ in answers}, {200, 429})
        server.stop()
        slow = Server(ARKIT, MODEL, "--answer_timeout", "0.3")
        self.assertEqual(slow.post("/v1/completions", {"prompt": "a", "max_tokens": 4000, "n": 4, "ignore_eos": True})[0], 504)
        slow.wait_for(lambda m: m["arkit_texts_running"] == 0, "it is given up")
        slow.stop()

    def test_what_cannot_be_started(self):
        def fails(code, *options):
            ended = subprocess.run([ARKIT, "serve", MODEL, *options], capture_output=True, timeout=60, check=False)
            self.assertEqual(ended.returncode, code, ended.stderr)
            self.assertEqual(ended.stdout, b"")
            return ended.stderr.decode()
        fails(2, "--port", "70000")
        fails(2, "--host", "no.such.host.invalid")
        fails(2, "--max_running", "0")
        fails(2, "--timeout", "-1")
        fails(2, "--api_key", "")
        fails(2, "--cache_tokens", "10")
        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        self.assertIn("--port", fails(5, "--port", str(taken.getsockname()[1])))
        taken.close()


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])

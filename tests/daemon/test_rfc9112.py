#!/usr/bin/python3
"""HTTP as RFC 9112 and 9110 want it of a server, over real connections. (What a head means, by itself, is told byte by
byte in tests/unit/http/test_request_head.c; what a body is, in test_request_body.c.)"""
import contextlib
import json
import re
import socket
import threading
import time
import unittest

from lib import fleet as f, serving
from lib.fleet import PATIENCE, wait_until
from lib.serving import RAW, metric

HOST = "Host: here"
DATE = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d GMT"


def setUpModule():
    serving.ServingCase.made = serving.Made()


def head(line, *fields):
    return "\r\n".join((line, *fields, "", "")).encode()


def get(path, *fields, method="GET"):
    return head(f"{method} {path} HTTP/1.1", HOST, *fields)


class Answer:
    """One answer read off a connection, as RFC 9112 has a client read it."""

    def __init__(self, stream, method="GET"):
        self.status_line = stream.readline()
        if not self.status_line:
            raise EOFError("no answer")
        self.status = int(re.fullmatch(rb"HTTP/1\.1 (\d{3}) [ -~]*\r\n", self.status_line).group(1))
        self.fields = {}
        while (line := stream.readline()) != b"\r\n":
            name, value = re.fullmatch(rb"([!-9;-~]+): ([ -~]*)\r\n", line).groups()
            assert name.lower() not in self.fields, line
            self.fields[name.lower().decode()] = value.decode()
        has_body = method != "HEAD" and self.status >= 200 and self.status not in (204, 304)
        self.body = stream.read(int(self.fields["content-length"])) if has_body else b""

    @property
    def code(self):
        return json.loads(self.body)["error"]["code"]


class Rules(serving.ServingCase):
    OPTIONS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.shared = serving.ServingCase()
        cls.shared.setUp()
        cls.addClassCleanup(cls.shared.doCleanups)
        cls.server, cls.nodes = cls.shared.start(*cls.OPTIONS)
        cls.image = cls.made.images[0]
        cls.wanted = cls.made.reference()[0]

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.server.http), timeout=PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.addCleanup(connection.close)
        return connection

    def converse(self, *pieces, methods=("GET",)):
        """The answers to what is sent in these pieces, and whether the connection has ended behind them."""
        connection = self.connect()
        for piece in pieces:
            connection.sendall(piece)
        stream = connection.makefile("rb")
        answers = [Answer(stream, method) for method in methods]
        for answer in answers:
            self.assertRegex(answer.fields["date"], f"^{DATE}$")
            self.assertRegex(answer.fields["x-request-id"], r"^[A-Za-z0-9._-]+$")
        is_last = answers[-1].fields.get("connection") == "close"
        if is_last:
            self.assertEqual(stream.read(), b"")
        stream.close()
        connection.close()
        return answers, is_last

    def one(self, data, status, method="GET", is_last=None, code=None):
        (answer,), ends = self.converse(data, methods=(method,))
        self.assertEqual(answer.status, status, data[:200])
        if is_last is not None:
            self.assertEqual(ends, is_last, data[:200])
        if code:
            self.assertEqual(answer.code, code)
        return answer

    def classified(self, answer):
        self.assertEqual(answer.status, 200, answer.body)
        result = json.loads(answer.body)
        result = result["results"][0] if "results" in result else result
        self.assertEqual((result["class"], result["bits"]), (self.wanted["class"], self.wanted["bits"]))


class Requests(Rules):
    def post(self, *fields, body=None, kind=f"Content-Type: {RAW}"):
        return head("POST /v1/classify HTTP/1.1", HOST, kind, *fields) + (self.image if body is None else body)

    def test_bodies(self):
        """RFC 9112, 6 and 7.1: lengths with blanks around them, chunks with extensions and trailers."""
        n = len(self.image)
        chunked = b"10;x=\"y\"\r\n" + self.image[:16] + b"\r\n%X \t;z\r\n" % (n - 16) + self.image[16:] + b"\r\n0\r\nA: b\r\n\r\n"
        for data in (self.post(f"Content-Length: {n}"), self.post(f"Content-Length:{n} \t "), self.post(f"content-length:\t0000{n}"),
                     self.post("Transfer-Encoding: chunked", body=chunked),
                     self.post("Transfer-Encoding: \tChunked ", body=chunked),
                     self.post(f"Content-Length: {n}", kind=f"Content-Type: \t{RAW} \t"),
                     self.post(f"Content-Length: {n}", "Expect: 100-continue", body=self.image)):
            connection = self.connect()
            connection.sendall(data + get("/healthz"))
            stream = connection.makefile("rb")
            self.classified(Answer(stream))
            self.assertEqual(Answer(stream).status, 200)  # what is behind the body is the next request
        for framing, body in ((("Content-Length: 5", "Content-Length: 6"), b"hello"), (("Content-Length: 5, 5",), b"hello"),
                              (("Content-Length: 0", "Content-Length: 40"), b""), (("Content-Length: -1",), b""),
                              (("Transfer-Encoding: chunked", "Content-Length: 5"), b"0\r\n\r\n"),
                              (("Transfer-Encoding: gzip",), b""), (("Transfer-Encoding: chunked, chunked",), b""),
                              (("Transfer-Encoding: chunked",), b"zz\r\n"), (("Transfer-Encoding: chunked",), b"5\r\nhelloo\r\n"),
                              (("Transfer-Encoding: chunked",), b"5\nhello\n0\n\n")):
            smuggled = get("/healthz")
            self.one(self.post(*framing, body=body + smuggled), 400, is_last=True, code="bad_request")
        self.one(self.post("Transfer-Encoding: gzip, chunked", body=b""), 501, is_last=True, code="not_implemented")
        self.one(self.post("Expect: 200-ok", "Content-Length: 0", body=b""), 417, is_last=True, code="expectation_failed")
        for length in ("1048577", "8388609", "99999999999999999999999999"):
            for path in ("/v1/classify", "/nowhere", "/healthz"):
                status = {"/v1/classify": 413, "/nowhere": 404, "/healthz": 405}[path]
                data = head(f"POST {path} HTTP/1.1", HOST, f"Content-Length: {length}")
                self.one(data, status, is_last=True)
        self.one(self.post("Transfer-Encoding: chunked", body=b"fffffffffffffff0\r\n"), 413, is_last=True, code="too_large")

    def test_continue(self):
        """RFC 9110, 10.1.1: 100 before the body is sent; a refusal in its place where there is one."""
        connection = self.connect()
        stream = connection.makefile("rb")
        for _ in range(2):
            connection.sendall(self.post(f"Content-Length: {len(self.image)}", "Expect: 100-Continue", body=b""))
            self.assertEqual(stream.readline() + stream.readline(), b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.sendall(self.image)
            self.classified(Answer(stream))
        self.one(self.post("Content-Length: 2000000", "Expect: 100-continue", body=b""), 413, is_last=True)
        self.one(get("/nowhere", "Content-Length: 5", "Expect: 100-continue"), 404, is_last=True)
        self.one(get("/healthz", "Expect: 100-continue"), 200, is_last=False)  # nothing is to come
        old = head("POST /v1/classify HTTP/1.0", f"Content-Type: {RAW}", f"Content-Length: {len(self.image)}",
                   "Expect: 100-continue") + self.image
        self.classified(self.one(old, 200, is_last=True))  # 1.0 knows no 100

    def test_versions_and_the_connections_end(self):
        for data, is_last in ((get("/healthz"), False), (get("/healthz", "Connection: close"), True),
                              (get("/healthz", "Connection: x, Close"), True),
                              (head("GET /healthz HTTP/1.0"), True), (head("GET /healthz HTTP/1.9", HOST), False)):
            self.one(data, 200, is_last=is_last)
        old = self.one(head("GET /healthz HTTP/1.0", "Connection: keep-alive"), 200, is_last=False)
        self.assertEqual(old.fields["connection"], "keep-alive")
        for line, status in (("GET /healthz HTTP/2.0", 505), ("PRI * HTTP/2.0", 505), ("GET /healthz HTTP/0.9", 505),
                             ("GET /healthz http/1.1", 400), ("GET /healthz", 400), ("GET /healthz HTTP/1.1 x", 400)):
            self.one(head(line, HOST), status, is_last=True)
        behind = get("/healthz", "Connection: close") + get("/readyz")
        (answer,), _ = self.converse(behind)  # nothing is answered behind the last
        self.assertEqual(answer.status, 200)

    def test_methods(self):
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            self.assertEqual(self.one(get("/healthz", method=method), 405, is_last=False).fields["allow"], "GET, HEAD")
            self.assertEqual(self.one(get("/v1/classify", method=method), 405).fields["allow"], "POST")
            self.assertEqual(self.one(get("/v1/results", method=method), 405).fields["allow"], "GET")
        self.assertEqual(self.one(get("/v1/results", method="HEAD"), 405, method="HEAD").body, b"")
        for method in ("get", "MKCOL", "M-SEARCH", "!"):
            self.one(get("/healthz", method=method), 501, is_last=False, code="not_implemented")
        for path in ("/", "/healthz", "/readyz", "/v1/nodes", "/v1/model", "/metrics", "/nowhere"):
            both, _ = self.converse(get(path, method="HEAD") + get(path), methods=("HEAD", "GET"))
            self.assertEqual(both[0].status, both[1].status)
            if path != "/metrics" and path != "/v1/nodes":
                self.assertEqual(both[0].fields["content-length"], str(len(both[1].body)))

    def test_targets(self):
        for target in ("/healthz", "http://there/healthz", "HTTP://there:80/healthz?x", "/healthz?a=/b", "/%68ealthz", "/v1/%2e%2E/healthz",
                       "/./healthz", "/x/../healthz"):
            self.assertEqual(json.loads(self.one(get(target), 200).body)["mode"], "serve")
        for target in ("/healthz%2f", "/healthz%00", "/healthz/", "//healthz", "/v1%2Fnodes", "/healthz%3f", "/HEALTHZ", "/" + "x" * 9000):
            self.one(get(target), 404, is_last=False, code="not_found")
        self.one(get("/%zz"), 400, code="bad_request")
        for target in ("healthz", "*", "here:80", "ftp://here/", "http://", "http://a@b/", "/#x", "/\u00fc"):
            self.one(get(target), 400, is_last=True, code="bad_request")
        everything = self.one(get("*", method="OPTIONS"), 204, is_last=False)
        self.assertEqual((everything.fields["allow"], everything.body), ("GET, HEAD, POST, OPTIONS", b""))
        self.assertNotIn("content-length", everything.fields)
        self.one(get("here:80", method="CONNECT"), 501)

    def test_fields(self):
        for fields in ((), (HOST, HOST), ("Host: a b",), ("Host : here",), ("Host: a:99999",), (HOST, "A : b"), (HOST, ": b"),
                       (HOST, "no colon"), (HOST, "A: b", " folded"), (HOST, "A: b\0"), (HOST, "A: b\rc"), (HOST, "A: \x7f")):
            self.one(head("GET /healthz HTTP/1.1", *fields), 400, is_last=True, code="bad_request")
        self.one(b"\r\n\r\n" + get("/healthz"), 200)
        self.one(b"GET /healthz HTTP/1.1\nHost: here\n\n", 200)
        for blanks in ("", " ", "\t", " \t "):
            answer = self.one(get("/healthz", f"X-Request-Id:{blanks}mine{blanks}"), 200)
            self.assertEqual(answer.fields["x-request-id"], "mine")
        page = self.one(get("/"), 200)
        self.assertEqual(self.one(get("/", f"If-None-Match: {page.fields['etag']} "), 304).body, b"")

    def test_what_is_no_http_is_told_at_once(self):
        """With the connection left open, so that nothing but what was sent can be told by."""
        for data in (b"GARBAGE\r\n", b"GET /\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\x10\x00\x00\x01", b"\xff", b"SSH-2.0-x\r\n",
                     b"{\"a\": 1}", b"POST /v1/classify HTTP/1.1\r\nHost: here\r\nno colon\r\n"):
            connection = self.connect()
            connection.settimeout(5)  # half of what a head may take
            connection.sendall(data)
            stream = connection.makefile("rb")
            answer = Answer(stream)
            self.assertEqual((answer.status, answer.code, answer.fields["connection"]), (400, "bad_request", "close"))
            self.assertEqual(stream.read(), b"")

    def test_every_cut(self):
        """A request cut in two at any byte is one request, and so are those behind it; the same of one that is bad."""
        image = self.image
        self.other = self.connect()
        self.other_stream = self.other.makefile("rb")
        chunked = b"1\r\n" + image[:1] + b"\r\n%x;x\r\n" % (len(image) - 1) + image[1:] + b"\r\n0\r\nA: b\r\n\r\n"
        kind = "multipart/form-data; charset=x; boundary=\"B B\"; x=y"
        part = b"hello\r\n--B B \r\ncontent-type: " + RAW.encode() + b"\r\n\r\n" + image + b"\r\n--B B--\r\nbye"
        batch = head("POST /v1/classify HTTP/1.1", HOST, f"Content-Type: {kind}", f"Content-Length: {len(part)}") + part
        for request in (self.post("Transfer-Encoding: chunked", body=chunked), batch):
            both = request + get("/nowhere")
            whole = len(both)
            edge = [c for c in range(1, whole) if c < 260 or c > whole - 140 or c % 97 == 0]
            for cut in edge:
                connection = self.connect()
                connection.sendall(both[:cut])
                self.wait_read()
                connection.sendall(both[cut:])
                stream = connection.makefile("rb")
                self.classified(Answer(stream))
                self.assertEqual(Answer(stream).code, "not_found")
                connection.close()
        for bad, status in ((get("/healthz", "Content-Length: 1", "Content-Length: 2"), 400), (get("/", "A: b", " c"), 400),
                            (head("GET / HTTP/3.0", HOST), 505)):
            for cut in range(1, len(bad)):
                connection = self.connect()
                connection.sendall(bad[:cut])
                self.wait_read()
                connection.sendall(bad[cut:])
                answer = Answer(connection.makefile("rb"))
                self.assertEqual((answer.status, answer.fields["connection"]), (status, "close"))
                connection.close()

    def test_every_cut_that_is_the_end(self):
        """A client that sends no more, but reads on: a whole request is answered, a body that was cut is refused."""
        image, size = self.image, len(self.image)
        part = b"--B\r\n\r\n" + image + b"\r\n--B--\r\n"
        for request in (self.post(f"Content-Length: {size}"),
                        self.post("Transfer-Encoding: chunked", body=b"%x\r\n" % size + image + b"\r\n0\r\nA: b\r\n\r\n"),
                        self.post(f"Content-Length: {len(part)}", kind="Content-Type: multipart/form-data; boundary=B", body=part)):
            behind_head = request.index(b"\r\n\r\n") + 4
            for cut in (*range(behind_head, len(request), 37), *range(len(request) - 20, len(request) + 1)):
                connection = self.connect()
                connection.sendall(get("/healthz") + request[:cut])
                connection.shutdown(socket.SHUT_WR)
                stream = connection.makefile("rb")
                self.assertEqual(Answer(stream).status, 200)
                answer = Answer(stream)
                self.assertEqual(answer.status, 200 if cut == len(request) else 400, (cut, answer.body))
                self.assertEqual(stream.read(), b"")
                connection.close()

    def wait_read(self):
        """Until the server has read what was sent: it answers what was sent later."""
        self.other.sendall(get("/healthz"))
        Answer(self.other_stream)

    def test_many_behind_each_other(self):
        """Answered in their order, whatever each takes; a bad one ends it, and nothing behind it is answered."""
        requests = [get("/healthz", "X-Request-Id: a"), self.post(f"Content-Length: {len(self.image)}", "X-Request-Id: b"),
                    get("/v1/nodes", "X-Request-Id: c"), get("/nowhere", "X-Request-Id: d", "Content-Length: 3") + b"abc",
                    get("/", "X-Request-Id: e", method="HEAD")] * 40
        bad = head("GET /healthz HTTP/1.1", HOST, "X-Request-Id: f", "No Field")
        methods = ["GET", "GET", "GET", "GET", "HEAD"] * 40 + ["GET"]
        answers, is_last = self.converse(b"".join(requests) + bad + get("/healthz"), methods=methods)
        self.assertTrue(is_last)
        self.assertEqual([a.fields["x-request-id"] for a in answers], list("abcde") * 40 + ["f"])
        self.assertEqual([a.status for a in answers], [200, 200, 200, 404, 200] * 40 + [400])


    def test_a_head_at_the_end_of_what_is_read_at_once(self):
        """However little room others before it leave, its body is read, and at once."""
        large = b"0" * (1 << 20)
        for behind in (*range(4), 100, 4095, 4096, 4097):
            for fields, body, status in (((f"Content-Length: {len(self.image)}",), self.image, 200),
                                         (("Transfer-Encoding: chunked",), b"%x\r\n%s\r\n0\r\n\r\n" % (len(self.image), self.image), 200),
                                         ((f"Content-Length: {len(large)}",), large, 400)):
                post = self.post("Connection: close", *fields, body=b"")
                left, before = 16384 - behind - len(post), b""
                while left > 0:
                    size = left if left <= 8000 else min(8000, left - 200)
                    before += get("/healthz", "X: " + "x" * (size - len(get("/healthz", "X: "))))
                    left -= size
                connection = self.connect()
                connection.settimeout(5)  # a quarter of what a body may take
                connection.sendall(before + post)
                stream = connection.makefile("rb")
                for _ in range(before.count(b"GET")):
                    self.assertEqual(Answer(stream).status, 200)
                connection.sendall(body)
                self.assertEqual(Answer(stream).status, status, (behind, fields))
                connection.close()

    def test_who_sends_far_too_much_comes_to_read_the_refusal(self):
        """The answer, and the end behind it: a reset at once would spoil the sending that comes before its reading."""
        for size in ((1 << 20) + 1, (8 << 20) + 1, 64 << 20):
            connection = self.connect()
            connection.sendall(self.post(f"Content-Length: {size}", body=b""))
            stream = connection.makefile("rb")
            answer = Answer(stream)
            self.assertEqual((answer.status, answer.fields["connection"], stream.read()), (413, "close", b""))
            connection.setblocking(False)
            sent = 0
            with contextlib.suppress(BlockingIOError):  # what the kernels keep
                while sent < size:
                    sent += connection.send(bytes(min(65536, size - sent)))
            self.assertGreater(sent, 65536)
            connection.close()

    def test_a_coded_body(self):
        for coding, status in (("gzip", 415), ("br", 415), ("identity, gzip", 415), ("identity", 200), ("Identity", 200), ("", 200)):
            self.one(self.post(f"Content-Length: {len(self.image)}", f"Content-Encoding: {coding}"), status, is_last=False)

    def test_a_slow_reader(self):
        """Answers that the kernel does not take at once come whole and in order, and keep nobody else waiting."""
        slow = socket.socket()
        self.addCleanup(slow.close)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(PATIENCE)
        slow.connect(("127.0.0.1", self.server.http))
        slow.sendall(b"".join(get("/", f"X-Request-Id: {i}") for i in range(100)))
        for _ in range(20):
            self.one(get("/healthz"), 200)
        page = self.one(get("/"), 200).body
        stream = slow.makefile("rb", 1024)
        for i in range(100):
            answer = Answer(stream)
            self.assertEqual((answer.status, answer.fields["x-request-id"], answer.body), (200, str(i), page))
        stream.close()
        gone = self.connect()  # one that goes in the middle of it all
        gone.sendall(b"".join(get("/") for _ in range(100)))
        gone.close()
        self.one(get("/healthz"), 200)

    def test_who_floods_keeps_nobody_waiting(self):
        """Connections that never stop asking, and read all answers."""
        flood = [self.connect() for _ in range(4)]
        stopped = threading.Event()

        def pour(connection):
            piece = get("/healthz") * 400
            connection.setblocking(False)
            while not stopped.is_set():
                with contextlib.suppress(BlockingIOError):
                    connection.send(piece)
                with contextlib.suppress(BlockingIOError):
                    connection.recv(1 << 20)
        pourers = [threading.Thread(target=pour, args=(connection,)) for connection in flood]
        for pourer in pourers:
            pourer.start()
        waits = []
        for _ in range(50):
            begun = time.monotonic()
            self.one(get("/healthz"), 200)
            waits.append(time.monotonic() - begun)
        stopped.set()
        for pourer in pourers:
            pourer.join()
        self.assertLess(sorted(waits)[25], 0.5, waits)


class Listeners(Rules):
    def test_heads_of_any_size(self):
        """A listener gets its events, and is forgotten when it goes, whatever its head was like."""
        listeners = []
        for line in (40, 150, 3000):
            for size in (*range(300, 12288, 999), 12288):
                data = b"GET /v1/results HTTP/1.1\r\nHost: here\r\n"
                while len(data) + line + 8 < size:
                    data += (b"X-P: ").ljust(line - 2, b"a") + b"\r\n"
                data += b"X: ".ljust(size - len(data) - 4, b"b") + b"\r\n\r\n"
                self.assertEqual(len(data), size)
                connection = self.connect()
                connection.sendall(data)
                listeners.append((size, connection, connection.makefile("rb")))
        for size, _, stream in listeners:
            self.assertEqual(stream.readline(), b"HTTP/1.1 200 OK\r\n", size)
            while stream.readline() != b"\r\n":
                pass
        for _ in range(5):
            self.classified(self.one(head("POST /v1/classify HTTP/1.1", HOST, f"Content-Type: {RAW}",
                                          f"Content-Length: {len(self.image)}") + self.image, 200))
        for size, _, stream in listeners:
            got = b""
            while got.count(b"event: result") < 5:
                got += stream.readline()
            self.assertNotIn(b"event: lost", got, size)
        self.assertEqual(metric(self.server, "fewbit_sse_subscribers"), len(listeners))
        for _, connection, stream in listeners:
            stream.close()
            connection.close()
        wait_until(lambda: metric(self.server, "fewbit_sse_subscribers") == 0, "the listeners' leave", seconds=5)

    def test_who_never_stops_talking_is_no_listener(self):
        connection = self.connect()
        connection.sendall(get("/v1/results"))
        stream = connection.makefile("rb")
        while stream.readline() != b":\n":
            pass
        sent, piece = 0, b"x" * 65536
        with self.assertRaises(OSError):
            while sent < 64 << 20:
                sent += connection.send(piece)
        self.assertGreater(sent, 8 << 20)
        wait_until(lambda: metric(self.server, "fewbit_sse_subscribers") == 0, "the listener's leave", seconds=5)

    def test_an_old_one(self):
        """HTTP/1.0 has no chunks."""
        connection = self.connect()
        connection.sendall(head("GET /v1/results HTTP/1.0"))
        stream = connection.makefile("rb")
        fields = b"".join(iter(stream.readline, b"\r\n"))
        self.assertNotIn(b"Transfer-Encoding", fields)
        self.assertIn(b"Connection: close", fields)
        self.assertEqual(stream.readline(), b":\n")


class Sites(Rules):
    OPTIONS = ("--allowed-hosts", "here, there.example:8080,127.0.0.1")

    def test_hosts(self):
        for path in ("/", "/v1/classify", "/v1/results", "/v1/training", "/v1/nodes", "/v1/model", "/v1/model/reload", "/metrics",
                     "/healthz", "/readyz", "/nowhere"):
            for method in ("GET", "POST"):
                for host in ("evil", "here.evil", "there.example", "there.example:80", "", "127.0.0.2", "[::1]"):
                    data = head(f"{method} {path} HTTP/1.1", f"Host: {host}")
                    self.one(data, 421, is_last=False, code="wrong_host")
                self.one(head(f"{method} http://evil{path} HTTP/1.1", HOST), 421)
        self.one(head("GET /healthz HTTP/1.0"), 421)
        for host in ("here", "HERE:80", "there.example:8080", f"127.0.0.1:{self.server.http}"):
            self.one(head("GET /healthz HTTP/1.1", f"Host: {host}"), 200)
        self.one(head("GET http://here/healthz HTTP/1.1", "Host: evil"), 200)

    def test_pages_of_other_sites(self):
        """They may read where a browser lets them, and send nothing."""
        foreign = (("Origin: http://evil",), ("Origin: null",), ("Origin: http://here:81",), ("Sec-Fetch-Site: cross-site",),
                   ("Sec-Fetch-Site: same-site", "Origin: http://here"))
        own = ((), ("Origin: http://here",), ("Origin: https://HERE",), ("Sec-Fetch-Site: same-origin", "Origin: https://proxy"),
               ("Sec-Fetch-Site: none",))
        for path in ("/v1/classify", "/v1/model/reload", "/nowhere", "/healthz"):
            for fields in foreign:
                for method in ("POST", "PUT", "DELETE"):
                    self.one(get(path, *fields, "Content-Length: 0", method=method), 403, code="foreign_site")
        for fields in foreign:
            self.one(get("/healthz", *fields), 200)
        for fields in own:
            self.classified(self.one(get("/v1/classify", *fields, f"Content-Type: {RAW}", f"Content-Length: {len(self.image)}",
                                         method="POST") + self.image, 200))
            self.one(get("/v1/model/reload", *fields, "Content-Length: 0", method="POST"), 200)

    def test_lists_that_are_none(self):
        for value in ("", "a b", "http://a", "a:b"):
            failed = self.fleet.run("serve", f.binary("decoder_server"), "serve", self.made.run, "--listen", "127.0.0.1:0", "--http",
                                    "127.0.0.1:0", "--results", "none", f"--allowed-hosts={value}", code=2)
            self.assertRegex(failed.said, "--allowed-hosts")


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""Whoever can reach a serving server's two ports may send anything: it stays up, and serves everybody else."""
import contextlib
import http.client
import io
import json
import random
import re
import resource
import signal
import socket
import struct
import threading
import unittest
import urllib.request
import zlib

from lib import fleet as f, plain_node, serving
from lib.fleet import PATIENCE, PORTIONS, read_json, wait_until
from lib.serving import PNG, RAW, HandNode, call, metric, post

MIB = 1 << 20
VERSION, TAKEN, UNKNOWN, DATA, MODEL, PROTOCOL = 1, 2, 3, 4, 5, 6  # reasons of a Refusal


def setUpModule():
    serving.ServingCase.made = serving.Made()


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def exchange(server, data, half_close=False):
    """Sends bytes to the HTTP port; status and body of the answer, or None where the connection ends without one."""
    with connect(server.http) as connection:
        try:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it need not read all of it
        answer = http.client.HTTPResponse(connection)
        try:
            answer.begin()
            return answer.status, answer.read()
        except (http.client.HTTPException, OSError):
            return None
        finally:
            answer.close()


def request(body=b"", *headers, line="POST /v1/classify HTTP/1.1", kind=RAW):
    lines = [line, "Host: here", f"Content-Type: {kind}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def resident_kib(server):
    return int(server.status("VmRSS").split()[0])


def chunked(body, size):
    chunks = [body[at:at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


class Http(serving.ServingCase):
    def setUp(self):
        super().setUp()
        self.server, self.nodes = self.start()
        self.good = self.made.images[0]
        self.addCleanup(lambda: self.assert_serves(self.server))  # whatever came before

    def refused(self, status, code, method, path, body=None, **headers):
        got, answer, _ = call(self.server, method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        self.assertEqual((got, answer["error"]["code"]), (status, code), (method, path))
        self.assertEqual(set(answer), {"error"})
        self.assertEqual(set(answer["error"]), {"code", "message", "request"})
        return answer["error"]["message"]

    def bad_image(self, body, kind, pattern):
        self.assertRegex(self.refused(400, "bad_image", "POST", "/v1/classify", body, Content_Type=kind), pattern)

    def test_wrong_methods_and_paths(self):
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            self.refused(405, "method_not_allowed", method, "/v1/classify", Content_Type=RAW)
        for path in ("/", "/healthz", "/readyz"):
            self.refused(405, "method_not_allowed", "POST", path, self.good, Content_Type=RAW)
        for path in ("/v1", "/v1/classify/", "/v2/classify", "/../../etc/passwd", "/" + "x" * 4000):
            self.refused(404, "not_found", "GET", path)
            self.refused(404, "not_found", "POST", path, self.good, Content_Type=RAW)

    def test_wrong_types(self):
        """A type decides nothing, but how what is no image is refused; JSON is another way to ask."""
        for body in (self.good + b"x", f.png(self.good)):
            self.refused(400, "bad_json", "POST", "/v1/classify", body, Content_Type="application/json")
        for kind in ("text/plain", "image/gif", "", "image/pngx", "x" * 1000):
            self.refused(415, "unsupported_type", "POST", "/v1/classify", self.good + b"x", Content_Type=kind)
            self.assert_same(post(self.server, f.png(self.good), kind)[1], 0)
        self.refused(415, "unsupported_type", "POST", "/v1/classify", self.good + b"x")
        for headers in ({}, {"Content-Type": "text/plain"}):
            for body in (self.good, f.png(self.good)):
                status, answer, _ = call(self.server, "POST", "/v1/classify", body, headers)
                self.assertEqual(status, 200, answer)
                self.assert_same(answer, 0)

    def test_types_are_read_as_http_says(self):
        """Without regard to case, and with parameters."""
        for kind in ("Application/Octet-Stream", "application/octet-stream; charset=binary", f"{RAW} ;x=y"):
            status, answer = post(self.server, self.good, kind)
            self.assertEqual(status, 200, (kind, answer))
            self.assert_same(answer, 0)

    def test_wrong_sizes(self):
        for length in (0, 1, 783, 785, 10000, MIB):
            self.bad_image(bytes(length), RAW, f"^the body has {length} bytes, a sample 784$")

    def test_wrong_pictures(self):
        whole = f.png(self.good)
        for length in (0, 1, 8, 20, 33, 40, len(whole) // 2, len(whole) - 13):
            self.bad_image(whole[:length], PNG, "^the (body is no PNG|PNG is damaged): ")
        self.bad_image(whole[:-30] + bytes([whole[-30] ^ 1]) + whole[-29:], PNG, "damaged")
        self.bad_image(b"GIF89a" + whole, PNG, "^the body is no PNG: ")
        self.bad_image(random.Random(1).randbytes(5000), PNG, "^the body is no PNG: ")
        for width, height in ((27, 28), (28, 29), (1, 1), (1000, 1000)):
            self.bad_image(f.png(bytes(width * height), width, height), PNG,
                           f"^the image has {width} x {height} pixels, this model takes 28 x 28$")
        header = struct.pack(">IIBBBBB", 60000, 60000, 16, 6, 0, 0, 0)  # a bomb: 28 GB, were it unpacked
        bomb = whole[:8] + whole[8:12] + b"IHDR" + header
        bomb += struct.pack(">I", zlib.crc32(b"IHDR" + header)) + whole[33:]
        self.bad_image(bomb, PNG, "60000 x 60000")

    def test_too_long_a_body(self):
        for length in (MIB + 1, 3 * MIB):
            self.refused(413, "too_large", "POST", "/v1/classify", bytes(length), Content_Type=RAW)
        status, body = exchange(self.server, request(chunked(bytes(2 * MIB), 10000), "Transfer-Encoding: chunked"))
        self.assertEqual((status, json.loads(body)["error"]["code"]), (413, "too_large"))

    def test_many_large_bodies_at_once(self):
        """Their memory has a bound; a small request is answered all the same, and a large one when they have gone."""
        before = resident_kib(self.server)
        with contextlib.ExitStack() as held:
            connections = []
            for _ in range(100):
                connection = held.enter_context(connect(self.server.http))
                connection.sendall(request(bytes(MIB - 1), f"Content-Length: {MIB}"))
                connections.append(connection)
            f.wait_until(lambda: resident_kib(self.server) - before > 60 * 1024, "bodies", explain=self.fleet.explain)
            self.assert_serves(self.server, 1)
            for connection in connections:
                connection.sendall(b"\0")
            refused = 0
            for connection in connections:
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                code = json.loads(answer.read())["error"]["code"]
                self.assertIn((answer.status, code), ((503, "busy"), (400, "bad_image")))
                refused += code == "busy"
            self.assertGreater(refused, 20)
            if not f.SANITIZED:  # a sanitizer keeps what is freed
                self.assertLess(resident_kib(self.server) - before, 80 * 1024)
        self.refused(413, "too_large", "POST", "/v1/classify", bytes(MIB + 1), Content_Type=RAW)

    def test_a_body_in_chunks(self):
        for size in (1, 7, 784, 5000):
            status, body = exchange(self.server, request(chunked(self.good, size), "Transfer-Encoding: chunked"))
            self.assertEqual(status, 200, body)
            self.assert_same(json.loads(body), 0)
        for body in (b"zz\r\n", b"-1\r\nx\r\n", b"ffffffffffffffffff\r\n", b"5\r\nxxxxxxxxxx\r\n", b"\r\n" * 50):
            answer = exchange(self.server, request(body, "Transfer-Encoding: chunked"))
            self.assertIn(answer and answer[0], (None, 400, 413), body)

    def test_lengths_that_lie(self):
        """What is announced and what comes differ: more must never be stored than there is room for."""
        for announced in (0, 1, 5, 784):
            for length in (784, 100000, MIB):
                data = request(chunked(self.good * (length // 784), 65536), "Transfer-Encoding: chunked",
                               f"Content-Length: {announced}")
                answer = exchange(self.server, data)
                self.assertIn(answer and answer[0], (None, 200, 400, 413))
                self.assertTrue(self.server.is_running(), self.fleet.explain())
        for announced in ("-1", "abc", "0x310", "1e3", "784, 784", "99999999999999999999999", "7 84"):
            answer = exchange(self.server, request(self.good, f"Content-Length: {announced}"))
            self.assertIn(answer and answer[0], (None, 400, 413), announced)
        answer = exchange(self.server, request(self.good * 100, "Content-Length: 784", "Content-Length: 78400"))
        self.assertIn(answer and answer[0], (None, 200, 400))

    def test_headers_without_end(self):
        for data in (request(self.good, "X-Filler: " + "x" * 100000), request(self.good, *["X-Filler: xxxx"] * 20000),
                     b"POST /" + b"x" * 200000 + b" HTTP/1.1\r\n\r\n", b"\r\n" * 100000, b"A" * 300000):
            answer = exchange(self.server, data)
            self.assertIn(answer and answer[0], (None, 400, 413, 414, 431), data[:40])

    def test_heads_that_are_none(self):
        """An answer like every other, with a code that stays."""
        for status, code, data in ((400, "bad_request", b"GARBAGE\r\n\r\n"),
                                   (400, "bad_request", request(b"", "no colon")),
                                   (400, "bad_request", request(b"", "Content-Length: 7 84")),
                                   (505, "bad_version", request(b"", line="POST /v1/classify HTTP/9.9")),
                                   (414, "head_too_long", b"GET /" + b"x" * 12288),
                                   (431, "head_too_long", b"GET / HTTP/1.1\r\nA: " + b"x" * 12288)):
            before = metric(self.server, f'fewbit_http_requests_total{{route="other",status="{status}"}}') or 0
            got, body = exchange(self.server, data)
            error = json.loads(body)["error"]
            self.assertEqual((got, error["code"]), (status, code), data[:40])
            self.assertEqual(set(error), {"code", "message", "request"})
            after = metric(self.server, f'fewbit_http_requests_total{{route="other",status="{status}"}}')
            self.assertEqual(after, before + 1)

    def test_what_is_no_http(self):
        draw = random.Random(2)
        frame = io.BytesIO()
        plain_node.send(frame, plain_node.HELLO, plain_node.hello(read_json(self.made.split / "node-0/portion.json")))
        tls = bytes.fromhex("1603010200010001fc0303") + draw.randbytes(500)
        lines = [b"GARBAGE", b"POST", b"POST /v1/classify", b"GET / HTTP/9.9", b"GET / HTTP/1.1\r\nHost",
                 frame.getvalue(), tls] + [draw.randbytes(draw.randrange(1, 3000)) for _ in range(50)]
        for data in lines:
            answer = exchange(self.server, data + b"\r\n\r\n")
            self.assertIn(answer and answer[0] // 100, (None, 4, 5), data[:40])

    def test_half_closed(self):
        """A client that has said all and listens still gets its answer."""
        for _ in range(20):
            answer = exchange(self.server, request(self.good, "Content-Length: 784"), half_close=True)
            self.assertEqual(answer and answer[0], 200)
            self.assert_same(json.loads(answer[1]), 0)

    def test_clients_that_vanish(self):
        whole = request(self.good, "Content-Length: 784")
        for turn in range(300):
            with connect(self.server.http) as connection:
                connection.sendall(whole[:len(whole) * (turn % 4 + 1) // 4])
                if turn % 2:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends with RST
        self.assert_serves(self.server, 1)

    def test_requests_back_to_back(self):
        """Sent in one piece on one connection: answered in order."""
        with connect(self.server.http) as connection:
            connection.sendall(b"".join(request(self.made.images[i], "Content-Length: 784") for i in range(50)))
            stream = connection.makefile("rb")
            for i in range(50):
                head = b"".join(iter(stream.readline, b"\r\n"))
                self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
                length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
                self.assert_same(json.loads(stream.read(length)), i)


class Stopping(serving.ServingCase):
    def test_requests_in_heaps(self):
        """A server that ends while requests of every kind stand in line behind each other still ends well."""
        for turn in range(4):
            server, nodes = self.start()
            heap = (request(line="GET /metrics HTTP/1.1") + request(self.made.images[0], "Content-Length: 784")
                    + request(line="GET /v1/nodes HTTP/1.1")) * 200
            with contextlib.ExitStack() as held:
                for _ in range(8):
                    connection = held.enter_context(connect(server.http))
                    connection.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        connection.send(heap)
                listener = held.enter_context(connect(server.http))
                listener.sendall(request(line="GET /v1/results HTTP/1.1"))
                server.signal(signal.SIGTERM)
                server.wait(0)
            for node in nodes.values():
                node.signal(signal.SIGTERM)
                node.wait(0)


class Slow(serving.ServingCase):
    """What never ends, and crowds."""

    def setUp(self):
        super().setUp()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.held = []
        self.addCleanup(self.let_go)

    def let_go(self):
        while self.held:
            self.held.pop().close()

    def hold(self, port, data=b"", half_close=False):
        connection = connect(port)
        self.held.append(connection)
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return connection

    def assert_cut_off(self, connection, which):
        connection.settimeout(PATIENCE)
        try:
            while connection.recv(4096):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            self.fail(f"{which} is not cut off\n{self.fleet.explain()}")

    def test_what_never_ends_is_cut_off(self):
        """All of it at once, since each takes its time, among more idle connections than the server takes."""
        server, nodes = self.start()
        good = self.made.images[0]
        frames = [self.hold(server.port, data) for data in (
            b"", b"\x10", b"\x10\0\0\x01", b"\xff\x0f\0\x01" + b"x" * 4000, b"\0\0\0\x10" * 100)]
        requests = [self.hold(server.http, data, half_close) for half_close in (False, True) for data in (
            b"", b"\r\n\r\n", b"POST /v1/cl", request()[:-2], bytes(1000), request(good, "Content-Length: 785"),
            request(good, "Content-Length: 1048576"), request(b"310\r\nxx", "Transfer-Encoding: chunked"),
            request(good * 100, "Transfer-Encoding: gzip", "Content-Length: 5"))]
        for _ in range(2100):
            self.hold(server.http)
        frames[0].sendall(b"\0\0\0\x10")  # a sign of life is no Hello
        nodes[2].kill()
        nodes[2] = self.node(server, 2)
        server.wait_event("node_ready", 2, portion=2)  # nodes come and go meanwhile
        dripped = []
        drippers = [threading.Thread(target=lambda where=where, start=start: dripped.append(self.drip(where, start)))
                    for where, start in ((server.port, b"\xff\x0f\0\x01"), (server.http, b"POST /v1/cl"),
                                         (server.http, request(self.made.images[0], "Content-Length: 784")[:-600]))]
        for dripper in drippers:
            dripper.start()
        for dripper in drippers:
            dripper.join()
        self.assertEqual(dripped, [True] * 3, "a drip is not cut off")
        for connection in frames + requests:
            self.assert_cut_off(connection, f"number {self.held.index(connection)}")
        self.let_go()
        for _ in range(3):
            self.assert_serves(server, 6)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http}/metrics", timeout=PATIENCE) as answer:
            counted = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")
        self.assertGreaterEqual(int(counted["fewbit_http_connections_refused_total"]), 50)
        self.assertGreaterEqual(int(counted["fewbit_http_connections_timed_out_total"]), 10)
        for k in (0, 1, 3):
            self.assertEqual(len(server.events("node_ready", portion=k)), 1, "a good node was disturbed")

    def drip(self, port, start):
        """A byte now and then is no Hello, and no request: whether the connection is cut off."""
        connection = self.hold(port, start)
        connection.settimeout(0.2)
        for _ in range(5 * PATIENCE):
            try:
                connection.sendall(b"x")
                if not connection.recv(100):
                    return True
            except TimeoutError:
                pass
            except ConnectionError:
                return True
        return False

    def test_a_good_hello_byte_by_byte(self):
        server, _ = self.start(nodes=(0, 1, 2))
        node = HandNode(server, self.made, 3)
        self.addCleanup(node.close)
        frame = io.BytesIO()
        plain_node.send(frame, plain_node.HELLO, node.hello)
        node.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame.getvalue():
            node.socket.sendall(bytes([byte]))
        node.receive(plain_node.WELCOME)

    def test_a_crowd_of_connections(self):
        """More than the server takes: the oldest make room, and a good node gets in."""
        server, _ = self.start("--deadline", 1000, nodes=(0, 1, 2))
        for _ in range(1200):
            self.hold(server.port)
        self.assertEqual(self.classify(server, 0)["missing"], [3])
        self.node(server, 3)
        self.wait_ready(server, PORTIONS)
        self.assert_serves(server)

    def flood(self, node, frame):
        """Sends frame(0), frame(1) and so on, as fast as the server takes them, until the connection ends."""
        def pour():
            try:
                for first in range(0, 1 << 40, 20000):
                    node.socket.sendall(b"".join(map(frame, range(first, first + 20000))))
            except OSError:
                pass

        def drain():
            try:
                while node.socket.recv(1 << 16):
                    pass
            except OSError:
                pass
        for job in (pour, drain):
            threading.Thread(target=job, daemon=True).start()

    def test_nodes_that_flood(self):
        """They never stop, and answer nothing: requests get the others' answers, the first at the deadline, then at once."""
        server, _ = self.start("--deadline", 1000, nodes=(0, 1))
        for kind, requests in ((plain_node.PING, 1), (plain_node.CODES, 5)):
            flooders = [HandNode(server, self.made, k).join() for k in (2, 3)]
            self.wait_ready(server, PORTIONS)
            for node in flooders:
                def frame(number, kind=kind, model=node.model):
                    payload = plain_node.pack({1: model, 2: number, 4: b"\x05"}) if kind == plain_node.CODES else b""
                    return len(payload).to_bytes(3, "little") + bytes([kind]) + payload
                self.flood(node, frame)
            for turn in range(requests):
                answer = self.classify(server, 0)
                self.assertEqual(answer["missing"], [2, 3])
                self.assertLess(answer["ms"], 5000 if turn == 0 else 900)
            for k in (2, 3):
                self.assertEqual(call(server, "GET", "/v1/nodes")[1]["nodes"][k]["state"], "silent", "the flood is over")
            for node in flooders:
                node.close()
            self.wait_ready(server, 2)
            wait_until(lambda: [call(server, "GET", "/v1/nodes")[1]["nodes"][k]["state"] for k in (2, 3)] == ["missing"] * 2,
                       "the flooders' leave")
        for k in (2, 3):
            self.node(server, k)
        self.wait_ready(server, PORTIONS)
        self.assert_serves(server)


class Nodes(serving.ServingCase):
    """Three good nodes, and the fourth place for whoever comes."""

    def setUp(self):
        super().setUp()
        self.server, self.nodes = self.start(nodes=(0, 1, 2))

    def tearDown(self):
        self.assertTrue(self.server.is_running(), self.fleet.explain())
        for k in (0, 1, 2):
            self.assertEqual(len(self.server.events("node_ready", portion=k)), 1, "a good node was disturbed")
            self.assertTrue(self.nodes[k].is_running())
        answer = self.classify(self.server, 0)
        self.assertEqual(answer["bits"][:3], self.made.reference()[0]["bits"][:3])
        self.node(self.server, 3)  # the place is free again for a good one
        self.wait_ready(self.server, PORTIONS)
        self.assert_serves(self.server)

    def hand(self, portion=3, **changes):
        node = HandNode(self.server, self.made, portion, **changes)
        self.addCleanup(node.close)
        return node

    def test_refusals(self):
        unfit = "portion 3 of {}, does not fit: this run wants mnist, u8 [1, 7, 28]"
        for changes, reason, text in (
                ({"protocol": 1}, VERSION, "protocol 1 is not spoken here, only 2"),
                ({"portion": 1}, TAKEN, "portion 1 is taken by node-1"),
                ({"portion": 4}, UNKNOWN, "there is no portion 4, only 0, 1, 2, 3"),
                ({"dataset": b"cifar10"}, DATA, unfit.format("cifar10, u8 [1, 7, 28]")),
                ({"type": b"f32"}, DATA, unfit.format("mnist, f32 [1, 7, 28]")),
                ({"shape": b"\x01\x0e\x0e"}, DATA, unfit.format("mnist, u8 [1, 14, 14]")),
                ({"shape": b"\x01"}, DATA, unfit.format("mnist, u8 [1]")),
                ({"shape": b""}, PROTOCOL, "portion 3: a portion has 1 to 3 dimensions, not 0"),
                ({"name": b""}, PROTOCOL, "the name must have 1 to 63 bytes of UTF-8"),
                ({"name": b"x" * 64}, PROTOCOL, "the name must have 1 to 63 bytes of UTF-8"),
                ({"name": b"\xff"}, PROTOCOL, "the name must be UTF-8 without control characters"),
                ({"name": "a\u202eb".encode()}, PROTOCOL, "the name must be UTF-8 without control characters")):
            with self.subTest(changes):
                portion = changes.pop("portion", 3)
                self.assertEqual(self.hand(portion, **changes).greet().refusal(), (reason, text))
        node = self.hand(name=b"x" * 63).join()
        self.server.wait_event("node_ready", portion=3)
        again = self.hand().greet()
        self.assertEqual(again.refusal(), (TAKEN, "portion 3 is taken by " + "x" * 63))
        node.close()
        self.wait_ready(self.server, 3)

    def test_a_portion_with_wrong_data_through_the_program(self):
        quadrants = f.split_set(self.made.source, self.folder / "quadrants", "--partition", "quadrants")
        node = self.fleet.node(3, self.server, quadrants, self.folder / "state")
        node.wait(7)
        self.assertRegex(node.said, r"(?m)^encoder_node: the server says: portion 3 of mnist, u8 \[1, 14, 14\], "
                                    r"does not fit: this run wants mnist, u8 \[1, 7, 28\]\n\Z")

    def test_names_cannot_forge_the_log(self):
        self.hand(name=b"a\n12:00:00.000 info  portion 3 is ready", protocol=7).greet().refusal()
        self.server.wait_event("node_refused", message="protocol 7")
        self.assertNotRegex(self.server.said, r"(?m)^12:00:00.000 info  portion 3 is ready")

    def test_frames_before_hello(self):
        for kind, payload in ((plain_node.READY, b"\x08\x01"), (plain_node.ANSWER, b"\x22\x01\x05"), (0, b""),
                              (99, b"abc"), (255, b"\xff" * 4000), (plain_node.HELLO, b"\x0a\x7f"),
                              (plain_node.HELLO, b"\xff" * 11),
                              (plain_node.HELLO, b"\x12\x03abc")):
            with self.subTest(kind=kind, payload=payload[:10]):
                node = self.hand()
                node.send_raw(kind, payload)
                reason, text = node.refusal()
                self.assertIn(reason, (PROTOCOL, VERSION), text)

    def test_lengths_that_lie(self):
        first = self.hand()
        first.send_raw(plain_node.HELLO, b"", 4097)  # more than a first frame may have
        self.assertTrue(first.is_cut_off())
        for length in ((4 << 20) + 1, 0xffffff):
            node = self.hand().join()
            node.receive(plain_node.BEGIN)
            node.send_raw(plain_node.CODES, b"", length)
            self.assertTrue(node.is_cut_off())
            self.wait_ready(self.server, 3)
        node = self.hand().join()  # one that promises 4 MiB and goes
        node.receive(plain_node.BEGIN)
        node.send_raw(plain_node.CODES, b"x" * 1000, 4 << 20)
        node.close()
        self.wait_ready(self.server, 3)

    def test_truncated_frames(self):
        frame = io.BytesIO()
        plain_node.send(frame, plain_node.HELLO, self.hand().hello)
        whole = frame.getvalue()
        for length in range(len(whole)):
            with connect(self.server.port) as connection:
                connection.sendall(whole[:length])

    def test_garbage(self):
        draw = random.Random(4)
        for turn in range(200):
            with connect(self.server.port) as connection:
                try:
                    connection.sendall(draw.randbytes(draw.randrange(1, 20000)))
                except OSError:
                    pass  # cut off already
        with connect(self.server.port) as connection:
            connection.sendall(request(self.made.images[0], "Content-Length: 784"))  # the wrong port
            self.assertEqual(b"", connection.recv(1000)[:0])

    def test_malformed_messages_of_an_admitted_node(self):
        model = read_json(self.made.run / "manifest.json")["last"]["step"]
        draw = random.Random(5)
        for kind, payload in ((plain_node.CODES, b"\x22\x7f"), (plain_node.ANSWER, b"\xff" * 20), (0, b""), (50, b"x"),
                              (plain_node.CODES, plain_node.pack({1: model, 3: 9, 4: b"\x01"})),
                              (plain_node.CODES, plain_node.pack({1: model, 3: (1 << 32) - 1, 4: b"\x01"})),
                              (plain_node.CODES, plain_node.pack({1: model, 2: (1 << 64) - 1, 4: b"\x01"})),
                              (plain_node.CODES, plain_node.pack({1: model, 4: b"\xf1"})),
                              (plain_node.ANSWER, plain_node.pack({1: model, 3: 1, 4: b"\x11"})),
                              (plain_node.ANSWER, plain_node.pack({1: model})),
                              (plain_node.CODES, draw.randbytes(300000))):
            with self.subTest(kind=kind, payload=payload[:10]):
                node = self.hand().join()
                node.receive(plain_node.BEGIN)
                node.send_raw(kind, payload)
                self.assertEqual(node.refusal()[0], PROTOCOL)
                self.wait_ready(self.server, 3)

    def test_messages_out_of_turn(self):
        early = self.hand().greet()
        early.receive(plain_node.WELCOME)
        early.receive(plain_node.RESTORE)
        early.send(plain_node.CODES, {1: 1, 4: b"\x01"})
        self.assertEqual(early.refusal(), (PROTOCOL, "a message out of turn"))
        for kind, fields in ((plain_node.HELLO, None), (plain_node.WELCOME, {1: 1}), (plain_node.RESTORE, {}),
                             (plain_node.READY, {}), (plain_node.BEGIN, {}), (plain_node.REQUEST, {}), (7, {}), (8, {}),
                             (10, {}), (11, {}), (12, {})):
            with self.subTest(kind):
                node = self.hand().join()
                node.receive(plain_node.BEGIN)
                node.send(kind, node.hello if fields is None else fields)
                self.assertEqual(node.refusal()[0], PROTOCOL)
                self.wait_ready(self.server, 3)
        wrong = self.hand().greet()
        wrong.receive(plain_node.WELCOME)
        step = wrong.receive(plain_node.RESTORE)[1]
        wrong.send(plain_node.READY, {1: step + 1})
        self.assertEqual(wrong.refusal(), (PROTOCOL, "Ready, but not for this model"))

    def test_codes_of_another_model(self):
        for kind in (plain_node.CODES, plain_node.ANSWER):
            node = self.hand().join()
            node.receive(plain_node.BEGIN)
            asking = threading.Thread(target=post, args=(self.server, self.made.images[0]))
            asking.start()
            node.receive(plain_node.REQUEST)
            node.send(kind, {1: node.model + 1, 4: b"\x01"})
            self.assertEqual(node.refusal(), (MODEL, "codes of another model"))
            asking.join()
            self.wait_ready(self.server, 3)

    def test_answers_that_nobody_asked_for(self):
        node = self.hand().join().keep_answering(5)
        self.server.wait_event("node_ready", portion=3)
        answer = post(self.server, self.made.images[0])[1]
        for number in [0, 0, *range(1000, 1050), 1 << 20, (1 << 21) - 1]:
            node.send(plain_node.ANSWER, {1: node.model, 2: number, 4: b"\x0f"})
        again = post(self.server, self.made.images[0])[1]
        self.assertEqual((again["bits"], again["class"]), (answer["bits"], answer["class"]))
        self.assertEqual(again["bits"][3], "1010")
        unknown = metric(self.server, 'fewbit_portions_discarded_total{source="http",reason="unsolicited"}')
        self.assertGreaterEqual(unknown, 52)
        node.close()
        self.wait_ready(self.server, 3)
        for number in (0, 1000, (1 << 21) - 1, 1 << 21, 1 << 40, (1 << 64) - 2):
            node = self.hand().join()
            node.receive(plain_node.BEGIN)
            for _ in range(65):
                node.send(plain_node.ANSWER, {1: node.model, 2: number, 4: b"\x0f"})
            self.assertEqual(node.refusal(), (PROTOCOL, "more answers than were asked for"))
            self.wait_ready(self.server, 3)

    def test_a_flood_of_hellos(self):
        frame = io.BytesIO()
        plain_node.send(frame, plain_node.HELLO, self.hand(portion=1).hello)
        for _ in range(20):
            with connect(self.server.port) as connection:
                try:
                    connection.sendall(frame.getvalue() * 1000)
                    connection.recv(1000)
                except ConnectionError:
                    pass
        self.wait_ready(self.server, 3)


if __name__ == "__main__":
    unittest.main()

"""Whoever means a serving server harm, or does not know better, over and over: each kind a thread with its own dice.

None of them sends a whole request for a classification and goes without its answer: so what the server counts as
answered is what its clients have seen.
"""
import collections
import contextlib
import io
import random
import re
import socket
import ssl
import struct
import threading
import time

from lib import fleet as f, plain_node

MIB = 1 << 20
HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: here\r\nContent-Type: application/octet-stream\r\n"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST
SLOW_PATIENCE = 30  # of those that must get their answers


def frame(kind, fields):
    out = io.BytesIO()
    plain_node.send(out, kind, fields)
    return out.getvalue()


class Abusers:
    """`trusted`: the Authority of the node links; `strangers`: another one; `made`: what is served; `patience`: seconds
    that most of them wait to be cut off."""

    def __init__(self, server, made, trusted, strangers, seed, patience):
        self.server, self.made, self.trusted, self.strangers, self.seed = server, made, trusted, strangers, seed
        self.patience = patience
        self.rounds = collections.Counter()  # by kind
        self.answers = collections.Counter()  # statuses of whole classifications
        self.failures = []
        self.stopped = threading.Event()
        self.threads = []

    def start(self, pause):
        """`pause`: seconds between two rounds of one kind, on average."""
        kinds = [(name, getattr(self, name)) for name in dir(self) if name.startswith(("http_", "node_"))]
        for number, (name, act) in enumerate(kinds):
            draw = random.Random(self.seed * 1000 + number)
            thread = threading.Thread(target=self.repeat, args=(name, act, draw, pause), daemon=True)
            self.threads.append(thread)
            thread.start()

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(2 * SLOW_PATIENCE)
            if thread.is_alive():
                self.failures.append(f"{thread.name} does not end")

    def repeat(self, name, act, draw, pause):
        while not self.stopped.wait(draw.uniform(0, 2 * pause)):
            try:
                act(draw)
            except (OSError, EOFError):
                pass  # it was cut off, as it must reckon with
            except Exception as e:
                self.failures.append(f"{name}: {type(e).__name__}: {e}")
                return
            self.rounds[name] += 1

    # Over HTTP.

    @contextlib.contextmanager
    def http(self, *sent, small=False):
        with socket.socket() as connection:
            connection.settimeout(self.patience)
            if small:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", self.server.http))
            for data in sent:
                connection.sendall(data)
            yield connection

    def hold(self, seconds):
        """Lets the time pass, as long as nobody asks to stop."""
        self.stopped.wait(seconds)

    @staticmethod
    def head_of(connection):
        """The first bytes of an answer, b"" where there is none."""
        try:
            return connection.recv(4096)
        except OSError:
            return b""

    def http_garbage(self, draw):
        with self.http(draw.randbytes(draw.randrange(1, 5000)), b"\r\n\r\n") as connection:
            self.head_of(connection)

    def http_half_request(self, draw):
        whole = HEAD + b"Content-Length: 784\r\n\r\n" + bytes(784)
        with self.http(whole[:draw.randrange(len(whole))]) as connection:
            self.hold(draw.uniform(0, 1))
            if draw.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def http_oversized_head(self, draw):
        with self.http(HEAD + b"X-Filler: " + b"x" * draw.randrange(20000, 200000)) as connection:
            self.head_of(connection)

    def http_oversized_body(self, draw):
        length = draw.randrange(MIB + 1, 64 * MIB)
        with self.http(HEAD + b"Content-Length: %d\r\n\r\n" % length) as connection:
            connection.sendall(bytes(2 * MIB))
            self.head_of(connection)

    def http_endless_body(self, draw):
        chunk = b"4000\r\n" + bytes(0x4000) + b"\r\n"
        with self.http(HEAD + b"Transfer-Encoding: chunked\r\n\r\n") as connection:
            while not self.stopped.is_set():
                connection.sendall(chunk * 8)
                self.hold(draw.uniform(0, 0.02))

    def http_bad_image(self, draw):
        body = draw.choice((bytes(783), b"\x89PNG\r\n\x1a\n" + draw.randbytes(500), f.png(bytes(100), 10, 10)))
        kind = b"application/octet-stream" if len(body) == 783 else b"image/png"
        head = HEAD.replace(b"application/octet-stream", kind) + b"Content-Length: %d\r\n\r\n" % len(body)
        with self.http(head + body) as connection:
            if draw.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)  # does not wait for the answer
            elif not self.head_of(connection).startswith(b"HTTP/1.1 400 "):
                raise AssertionError("a bad image is not refused with 400")

    def http_drip(self, draw):
        """A request that comes a byte now and then."""
        with self.http(HEAD[:draw.randrange(10, len(HEAD))]) as connection:
            while not self.stopped.is_set():
                connection.sendall(b"x")
                self.hold(draw.uniform(0.05, 0.5))

    def http_unread_page(self, draw):
        """Asks for much, reads nothing."""
        with self.http(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n" * draw.randrange(1, 40), small=True):
            self.hold(draw.uniform(0, 4))

    def http_unread_events(self, draw):
        with self.http(b"GET /v1/results HTTP/1.1\r\nHost: here\r\n\r\n", small=True):
            self.hold(draw.uniform(0, 4))

    def http_slow_reader(self, draw):
        """Whole requests, whose answers are read late and in small pieces, all of them."""
        count = draw.randrange(1, 20)
        request = HEAD + b"Content-Length: 784\r\nConnection: %s\r\n\r\n"
        data = b"".join(request % (b"close" if i == count - 1 else b"keep-alive") + self.made.images[i]
                        for i in range(count))
        with self.http(data, small=True) as connection:
            connection.settimeout(SLOW_PATIENCE)
            self.hold(draw.uniform(0, 2))
            got = b""
            while piece := connection.recv(1000):
                got += piece
                time.sleep(0.001)
        statuses = [status.decode() for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]
        self.answers.update(statuses)
        if len(statuses) != count:
            raise AssertionError(f"{count} requests on a slow connection, {len(statuses)} answers")

    # On the nodes' port.

    @contextlib.contextmanager
    def plain(self):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=self.patience) as connection:
            yield connection

    @contextlib.contextmanager
    def secure(self, name, authority=None):
        context = (authority or self.trusted).client(name)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # to get as far as the server lets it
        with self.plain() as connection, context.wrap_socket(connection) as wrapped:
            yield wrapped

    def hello(self, portion, **changes):
        fields = plain_node.hello(f.read_json(self.made.split / f"node-{portion}" / "portion.json"))
        return {**fields, 2: b"stranger", **{int(key[1:]): value for key, value in changes.items()}}

    def node_plain_text(self, draw):
        with self.plain() as connection:
            connection.sendall(draw.choice((draw.randbytes(draw.randrange(1, 5000)),
                                            frame(plain_node.HELLO, self.hello(0)), HEAD, b"\x16\x03\x01")))
            if draw.random() < 0.5:
                self.head_of(connection)

    def node_half_handshake(self, draw):
        context = self.trusted.client("node-0")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        talk = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            talk.do_handshake()
        said = outgoing.read()
        with self.plain() as connection:
            connection.sendall(said[:draw.randrange(1, len(said) + 1)])
            self.hold(draw.uniform(0, 2))

    def node_without_certificate(self, draw):
        with self.secure(None) as connection:
            connection.sendall(frame(plain_node.HELLO, self.hello(draw.randrange(4))))
            self.head_of(connection)

    def node_of_strangers(self, draw):
        with self.secure("node-0", self.strangers) as connection:
            self.head_of(connection)

    def node_wrong_hello(self, draw):
        """The certificate is right, what it says is not."""
        k = draw.randrange(4)
        fields = draw.choice((self.hello(k, _1=99), self.hello((k + 1) % 4), self.hello(k, _3=77),
                              self.hello(k, _2=b""), self.hello(k, _4=b"cifar10"), self.hello(k, _7=b"\x01"),
                              self.hello(k, _2=b"\xff\xfe")))
        with self.secure(f"node-{k}") as connection:
            connection.sendall(frame(plain_node.HELLO, fields))
            while connection.recv(4096):
                pass

    def node_random_frames(self, draw):
        with self.secure(f"node-{draw.randrange(4)}") as connection:
            for _ in range(draw.randrange(1, 20)):
                payload = draw.randbytes(draw.randrange(0, 3000))
                length = draw.choice((len(payload), len(payload), draw.randrange(1 << 24)))
                connection.sendall(length.to_bytes(3, "little") + bytes([draw.randrange(20)]) + payload)
            self.head_of(connection)

    def node_impostor(self, draw):
        """A good Hello, which is let in where the portion's node is away; then nonsense, or nothing."""
        k = draw.randrange(4)
        with self.secure(f"node-{k}") as connection:
            connection.sendall(frame(plain_node.HELLO, self.hello(k)))
            self.head_of(connection)
            if draw.random() < 0.5:
                connection.sendall(draw.randbytes(draw.randrange(1, 10000)))
            self.hold(draw.uniform(0, 0.3))

"""Crowds that lean on a server's ports, and honest clients that ask meanwhile; for tests and for the bench."""
import contextlib
import http.client
import resource
import selectors
import socket
import ssl
import threading
import time

ADDRESSES = 200  # of loopback that a crowd comes from
FILES = 20000
HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: here\r\nContent-Type: application/octet-stream\r\n"


@contextlib.contextmanager
def many_files(count=FILES):
    """Room for so many open files; yields whether there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, count), hard), hard))
    try:
        yield hard >= count
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Connections from many addresses, all of which send `first`; `context`: over TLS."""

    def __init__(self, port, count, first=b"", context=None):
        self.sockets = []
        for i in range(count):
            connection = socket.socket()
            self.sockets.append(connection)
            connection.settimeout(30)
            connection.bind((f"127.0.0.{2 + i % ADDRESSES}", 0))
            try:
                connection.connect(("127.0.0.1", port))
                if context:
                    self.sockets[-1] = connection = context.wrap_socket(connection, server_hostname="localhost")
                if first:
                    connection.sendall(first)
            except OSError:
                pass  # turned away at once
            connection.setblocking(False)

    def drip(self):
        """A byte more from each that is still let."""
        for connection in self.sockets:
            with contextlib.suppress(OSError):
                connection.send(b"x")

    def present(self):
        """How many the server has not closed; reads what it sent."""
        return sum(not self.is_closed(connection) for connection in self.sockets)

    @staticmethod
    def is_closed(connection):
        try:
            while piece := connection.recv(65536):
                del piece
            return True
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True

    def close(self):
        while self.sockets:
            self.sockets.pop().close()


class Readers:
    """Reads and drops what comes on a crowd's connections, in a thread, until `close`."""

    def __init__(self, sockets):
        self.selector, self.bytes, self.is_over = selectors.DefaultSelector(), 0, False
        for connection in sockets:
            self.selector.register(connection, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while not self.is_over:
            for key, _ in self.selector.select(0.1):
                try:
                    piece = key.fileobj.recv(65536)
                except OSError:
                    piece = b""
                self.bytes += len(piece)
                if not piece:
                    self.selector.unregister(key.fileobj)

    def close(self):
        self.is_over = True
        self.thread.join()
        self.selector.close()


class Pourers:
    """Bodies that never end, as fast as they are taken: each thread begins anew when it is cut off."""

    def __init__(self, port, threads, head, piece):
        self.port, self.head, self.piece = port, head, piece
        self.cut, self.is_over = 0, False
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def work(self):
        while not self.is_over:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 30) as connection:
                connection.sendall(self.head)
                while not self.is_over:
                    connection.sendall(self.piece)
            self.cut += not self.is_over

    def close(self):
        self.is_over = True
        for thread in self.threads:
            thread.join()


class Honest:
    """Clients that ask one request after another on connections they keep, at a steady pace; `check(status, body)` says
    what is wrong with an answer, or nothing."""

    def __init__(self, port, body, clients=4, pause=0.005, check=None):
        self.port, self.body, self.pause, self.check = port, body, pause, check
        self.seconds, self.problems, self.is_over = [], [], False
        self.started = threading.Barrier(clients + 1)
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()
        self.started.wait(30)

    def work(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.auto_open = False  # whoever loses its connection has been cut off
        self.started.wait(30)
        while not self.is_over:
            begun = time.monotonic()
            try:
                connection.request("POST", "/v1/classify", self.body, {"Content-Type": "application/octet-stream"})
                answer = connection.getresponse()
                status, text = answer.status, answer.read()
            except (OSError, http.client.HTTPException) as e:
                self.problems.append(repr(e))
                return
            self.seconds.append(time.monotonic() - begun)
            wrong = self.check(status, text) if self.check else None
            if wrong:
                self.problems.append(wrong)
            time.sleep(self.pause)
        connection.close()

    def close(self):
        self.is_over = True
        for thread in self.threads:
            thread.join()

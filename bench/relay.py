"""A TCP relay between nodes and a server that counts the frames passing it, by direction and type.

Layout of a frame (docs/protocol.md): payload length in 3 bytes, little-endian, then the type, then the payload.
"""
import collections
import socket
import threading

UP, DOWN = "up", "down"  # node to server, server to node
CODES, ANSWER = 9, 14
HEADER = 4


class Count:
    """What passed of one type in one direction; bytes with headers."""

    def __init__(self):
        self.frames = self.bytes = self.largest = 0

    def add(self, size):
        self.frames += 1
        self.bytes += size
        self.largest = max(self.largest, size)


class Relay:
    """Listens on .port and forwards every connection to 127.0.0.1:to."""

    def __init__(self, to):
        self.to = to
        self.lock = threading.Lock()
        self.counts = collections.defaultdict(Count)  # by (direction, type)
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def count(self, direction, kind):
        with self.lock:
            return self.counts[direction, kind]

    def close(self):
        self.listener.close()
        for s in self.sockets:
            s.close()

    def _accept(self):
        while True:
            try:
                node, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            for s in (node, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets += [node, server]
            threading.Thread(target=self._pump, args=(node, server, UP), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, node, DOWN), daemon=True).start()

    def _pump(self, source, sink, direction):
        rest = b""
        try:
            while data := source.recv(65536):
                sink.sendall(data)
                rest = self._count_frames(rest + data, direction)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _count_frames(self, data, direction):
        """Counts the whole frames of data; returns what is left."""
        while len(data) >= HEADER:
            size = HEADER + int.from_bytes(data[:3], "little")
            if len(data) < size:
                break
            with self.lock:
                self.counts[direction, data[3]].add(size)
            data = data[size:]
        return data

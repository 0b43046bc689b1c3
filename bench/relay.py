"""A TCP relay between nodes and a server that counts the frames passing it, by direction and type.

Layout of a frame (docs/protocol.md): payload length in 3 bytes, little-endian, then the type, then the payload.
"""
import collections
import threading

from lib import relay
from lib.relay import UP  # noqa: F401

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


class Relay(relay.Relay):
    def __init__(self, to):
        self.lock = threading.Lock()
        self.counts = collections.defaultdict(Count)  # by (direction, type)
        super().__init__(to)

    def count(self, direction, kind):
        with self.lock:
            return self.counts[direction, kind]

    def forward(self, source, sink, way):
        rest = b""
        while data := source.recv(65536):
            sink.sendall(data)
            rest = self._count_frames(rest + data, way)

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

"""A decoder server in plain Python that an encoder node should not have trusted; the wire is plain_node.py's."""
import re
import socket
import struct

from . import plain_node
from .plain_node import PING, READY, REFUSAL, RESTORE, WELCOME

BATCH, ACTIVATIONS, GRADIENTS, SAVE, SAVED, COMMITTED = 6, 7, 8, 10, 11, 12
REFINE_REQUEST, REFINEMENT, ACK = 20, 21, 22
TRAIN, SERVE = 1, 2
PATIENCE = 20


def pack(fields):
    """As plain_node.pack; ("fixed", number) is eight bytes, a list of numbers is packed."""
    out = b""
    for number, value in fields.items():
        if isinstance(value, tuple):
            out += plain_node.pack_varint(number * 8 + 1) + struct.pack("<Q", value[1])
        elif isinstance(value, list):
            out += plain_node.pack({number: b"".join(map(plain_node.pack_varint, value))})
        else:
            out += plain_node.pack({number: value})
    return out


class BadServer:
    """Listens; meet() is the next connection of a node, after its Hello."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.port = self.listener.getsockname()[1]

    def meet(self, experiment, mode=TRAIN, run=0x1234, training=0, heartbeat=60000):
        peer = Peer(self.listener.accept()[0])
        peer.receive()  # Hello
        peer.experiment = experiment if isinstance(experiment, bytes) else experiment.encode()
        peer.send(WELCOME, {1: 2, 2: ("fixed", run), 3: mode, 4: peer.experiment, 5: heartbeat,
                            7: ("fixed", training)})
        return peer

    def close(self):
        self.listener.close()


class Peer:
    def __init__(self, connection):
        self.connection = connection
        connection.settimeout(PATIENCE)
        self.stream = connection.makefile("rwb")

    def send(self, kind, fields=None):
        self.send_raw(frame(kind, fields or {}))

    def send_raw(self, data):
        self.stream.write(data)
        self.stream.flush()

    def receive(self):
        while True:
            kind, fields = plain_node.receive(self.stream)
            if kind != PING:
                return kind, fields

    def until(self, *kinds):
        """The next message of these kinds; a Refusal is one of any."""
        while True:
            kind, fields = self.receive()
            if kind in kinds or kind == REFUSAL:
                return kind, fields

    def restore(self, step=0, fresh=True, digest=b""):
        self.send(RESTORE, {1: step, 2: int(fresh), 3: digest})
        return self.until(READY)

    def train(self, step, rows=1):
        """One step, with gradients of 1."""
        bits = int(re.search(rb"(?m)^  bits: (\d+)", self.experiment).group(1))
        self.send(BATCH, {1: step, 5: rows})
        answer = self.until(ACTIVATIONS)
        self.send(GRADIENTS, {1: step, 2: rows, 3: struct.pack("<f", 1) * rows * bits})
        return answer

    def save(self, step):
        """The digest that the node gives, or its error."""
        self.send(SAVE, {1: step})
        kind, fields = self.until(SAVED)
        return fields.get(2) if kind == SAVED and not fields.get(3) else fields.get(3 if kind == SAVED else 2).decode()

    def close(self):
        self.stream.close()
        self.connection.close()


def frame(kind, fields):
    payload = pack(fields)
    return len(payload).to_bytes(3, "little") + bytes([kind]) + payload

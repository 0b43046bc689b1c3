"""TCP relays that stand between nodes and a server."""
import socket
import threading
from contextlib import suppress

from . import plain_node

UP, DOWN = "up", "down"  # node to server, server to node


class Relay:
    """Listens on .port and forwards every connection to this port of 127.0.0.1."""

    def __init__(self, to):
        self.upstream = ("127.0.0.1", to)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with suppress(OSError):  # closed
            while True:
                node = self.listener.accept()[0]
                threading.Thread(target=self.carry, args=(node,), daemon=True).start()

    def carry(self, node):
        with node, socket.create_connection(self.upstream) as server:
            for end in (node, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            down = threading.Thread(target=self.carry_one, args=(server, node, DOWN), daemon=True)
            down.start()
            self.carry_one(node, server, UP)
            down.join()

    def carry_one(self, source, sink, way):
        with suppress(OSError):  # one of the two is gone
            self.forward(source, sink, way)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR if way == UP else socket.SHUT_RDWR)

    def forward(self, source, sink, way):
        while chunk := source.recv(65536):
            sink.sendall(chunk)

    def close(self):
        self.listener.close()


class Between(Relay):
    """`up(kind, fields, connection)` says what becomes of a node's message: True, it goes on; False, it is withheld; else
    the (kind, fields) to send in its place. Connections that were let in count from 0; what comes before the first Ready
    goes on."""

    def __init__(self, to, up):
        self.up, self.count = up, 0
        super().__init__(to)

    def forward(self, source, sink, way):
        if way == DOWN:
            super().forward(source, sink, way)
            return
        connection = None
        with source.makefile("rb") as frames, sink.makefile("wb") as out:
            while True:
                kind, fields = plain_node.receive(frames)
                if kind == plain_node.READY and connection is None:
                    connection, self.count = self.count, self.count + 1
                said = connection is None or self.up(kind, fields, connection)
                if said:
                    plain_node.send(out, *((kind, fields) if said is True else said))

#!/usr/bin/python3
"""A TCP relay that cuts connections in the middle of what passes: cutter.py PORT, the port of 127.0.0.1 to forward to.

Prints the port it listens on. Each line on standard input cuts one connection: half of the bytes that come next are
forwarded, then both sides are reset. Prints a line for each that was cut. A process of its own, so that what its
callers do does not slow it.
"""
import random
import socket
import struct
import sys
import threading

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


class Pair:
    """A connection and its other half."""

    def __init__(self, relay, near, far):
        self.relay, self.ends, self.is_doomed = relay, (near, far), False
        for end in self.ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    def pump(self, source, sink):
        try:
            while data := source.recv(65536):
                if self.is_doomed and len(data) > 1:
                    sink.sendall(data[:len(data) // 2])
                    self.reset()
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.relay.forget(self)

    def reset(self):
        if self.relay.forget(self):
            print("cut", flush=True)
        for end in self.ends:
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RD)  # wakes the other pump
                end.close()
            except OSError:
                pass


class Relay:
    def __init__(self, to):
        self.to, self.lock, self.pairs = to, threading.Lock(), []
        self.listener = socket.create_server(("127.0.0.1", 0))

    def forget(self, pair):
        with self.lock:
            known = pair in self.pairs
            if known:
                self.pairs.remove(pair)
            return known

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                near.close()
                continue
            pair = Pair(self, near, far)
            with self.lock:
                self.pairs.append(pair)

    def doom_one(self, draw):
        with self.lock:
            if self.pairs:
                draw.choice(self.pairs).is_doomed = True


def main(to):
    relay, draw = Relay(to), random.Random(3)
    print(relay.listener.getsockname()[1], flush=True)
    threading.Thread(target=relay.accept, daemon=True).start()
    for _ in sys.stdin:
        relay.doom_one(draw)


if __name__ == "__main__":
    main(int(sys.argv[1]))

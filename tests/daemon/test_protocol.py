#!/usr/bin/python3
"""The protocol as docs/protocol.md has it: our node before a server played by the test, and a node in plain Python
before our server."""
import socket
import sys
import unittest

from lib import fleet as f, plain_node, serving
from lib.fleet import PATIENCE, PORTIONS, read_json, wait_until
from lib.serving import TEST, HandNode, health


def setUpModule():
    serving.ServingCase.made = serving.Made()


class OurNode(serving.ServingCase):
    """A C node, and a server played by the test."""

    def setUp(self):
        super().setUp()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.listener.settimeout(PATIENCE)
        self.manifest = read_json(self.made.run / "manifest.json")

    def accept(self):
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE)
        stream = connection.makefile("rwb")
        connection.close()  # the stream holds it open
        self.addCleanup(stream.close)
        return stream

    def next_frame(self, stream, wanted):
        """Fields and whole size of the next frame that is no ping."""
        while True:
            header = stream.read(4)
            self.assertEqual(len(header), 4, f"closed by the node\n{self.fleet.explain()}")
            payload = stream.read(int.from_bytes(header[:3], "little"))
            if header[3] != plain_node.PING:
                self.assertEqual(header[3], wanted)
                return plain_node.unpack(payload), len(header) + len(payload)

    def welcome(self, stream, heartbeat=1000, **changes):
        numbers = {"protocol": 1, "mode": 3, "experiment": 4}
        fields = {1: 2, 3: 2, 4: (self.made.run / "experiment.yaml").read_bytes(), 5: heartbeat}
        fields.update({numbers[key]: value for key, value in changes.items()})
        payload = plain_node.pack(fields) + bytes([2 << 3 | 1]) + bytes.fromhex(self.manifest["run"])[::-1]
        stream.write(len(payload).to_bytes(3, "little") + bytes([plain_node.WELCOME]) + payload)
        stream.flush()

    def restore(self, stream):
        plain_node.send(stream, plain_node.RESTORE, {1: self.manifest["last"]["step"]})
        fields, _ = self.next_frame(stream, plain_node.READY)
        self.assertEqual({name: value for name, value in fields.items() if name not in (2, 5)}, {1: self.manifest["last"]["step"]})

    def test_the_page_says_the_version(self):
        version = plain_node.hello({"dataset": "", "portion": "", "shape": [], "type": "", "train_samples": 0,
                                    "test_samples": 0, "digest": ""})[1]
        self.assertIn(f"\nVersion {version}. ", (f.ROOT / "docs" / "protocol.md").read_text())

    def test_frames_are_short(self):
        self.node(self.listener.getsockname()[1], 1, "--stream", "test")
        stream = self.accept()
        hello, _ = self.next_frame(stream, plain_node.HELLO)
        info = read_json(self.made.split / "node-1" / "portion.json")
        self.assertEqual(hello, {**plain_node.hello(info), 2: b"node-1"})
        self.welcome(stream)
        self.restore(stream)
        step = self.manifest["last"]["step"]
        for index, number in enumerate((1, 127, 128, 5000, (1 << 21) - 1)):
            plain_node.send(stream, plain_node.REQUEST, {1: number, 2: self.made.portion(1, index)})
            fields, size = self.next_frame(stream, plain_node.ANSWER)
            code = self.made.reference()[index]["bits"][1]
            self.assertEqual(fields, {1: step, 2: number, 4: bytes([int(code[::-1], 2)])})
            self.assertLessEqual(size, 16)
        plain_node.send(stream, plain_node.BEGIN, {1: 9})
        fields, size = self.next_frame(stream, plain_node.CODES)
        self.assertEqual((fields[1], fields.get(2, 0), fields[3]), (step, 0, TEST - 1))
        bits = bin(int.from_bytes(fields[4], "little") | 1 << 4 * TEST)[3:][::-1]
        self.assertEqual([bits[4 * i:4 * i + 4] for i in range(TEST)],
                         [self.made.reference()[i]["bits"][1] for i in range(TEST)])
        self.assertLessEqual(8 * size, 1.05 * 4 * TEST)

    def test_a_node_shows_that_it_is_alive(self):
        self.node(self.listener.getsockname()[1], 0)
        stream = self.accept()
        self.next_frame(stream, plain_node.HELLO)
        self.welcome(stream, heartbeat=100)
        for _ in range(10):
            plain_node.send(stream, plain_node.PING, {})
            self.assertEqual(stream.read(4), bytes([0, 0, 0, plain_node.PING]))

    def test_a_silent_server_is_given_up(self):
        self.node(self.listener.getsockname()[1], 0)
        stream = self.accept()
        self.next_frame(stream, plain_node.HELLO)
        self.welcome(stream, heartbeat=100)
        while stream.read(4):  # pings, until it has had enough
            pass
        self.next_frame(self.accept(), plain_node.HELLO)

    def test_what_a_node_does_when_refused(self):
        def refuse(reason):
            node = self.node(self.listener.getsockname()[1], 0)
            stream = self.accept()
            self.next_frame(stream, plain_node.HELLO)
            plain_node.send(stream, plain_node.REFUSAL, {1: reason, 2: b"because"})
            stream.close()
            return node
        for name, reason in (("version", 1), ("portion unknown", 3), ("data", 4), ("model", 5), ("storage", 8)):
            with self.subTest(name):
                node = refuse(reason)
                node.wait(7)
                self.assertRegex(node.said, r"(?m)^encoder_node: the server says: because\n\Z")
        for name, reason in (("portion taken", 2), ("protocol", 6), ("busy", 7), ("over", 9)):
            with self.subTest(name):
                node = refuse(reason)
                self.next_frame(self.accept(), plain_node.HELLO)  # it tries again
                node.kill()

    def test_a_server_that_a_node_does_not_understand(self):
        text = (self.made.run / "experiment.yaml").read_text()
        for case, changes, reason in (
                ("version", {"protocol": 1}, 1),
                ("no experiment", {"experiment": b"name: [\n"}, 4),
                ("another split", {"experiment": text.replace("partition: slices", "partition: quadrants").encode()}, 4)):
            with self.subTest(case):
                node = self.node(self.listener.getsockname()[1], 0)
                stream = self.accept()
                self.next_frame(stream, plain_node.HELLO)
                self.welcome(stream, **changes)
                fields, _ = self.next_frame(stream, plain_node.REFUSAL)
                self.assertEqual(fields[1], reason, fields)
                self.assertEqual(stream.read(1), b"")
                stream.close()
                node.wait(7)

    def test_messages_out_of_turn(self):
        """The node says so, and tries again."""
        node = self.node(self.listener.getsockname()[1], 0)
        for kind, fields in ((plain_node.RESTORE, {1: 1}), (plain_node.REQUEST, {1: 1, 2: b"x"}),
                             (plain_node.HELLO, {}), (plain_node.BEGIN, {})):
            stream = self.accept()
            self.next_frame(stream, plain_node.HELLO)
            plain_node.send(stream, kind, fields)
            fields, _ = self.next_frame(stream, plain_node.REFUSAL)
            self.assertEqual(fields[1], 6, fields)
            stream.close()
        self.next_frame(self.accept(), plain_node.HELLO)
        self.assertTrue(node.is_running())

    def test_what_is_no_frame(self):
        node = self.node(self.listener.getsockname()[1], 0)
        for garbage in (b"\xff" * 64, b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes([2, 0, 0, 2, 0x22, 0x7f])):
            stream = self.accept()
            self.next_frame(stream, plain_node.HELLO)
            stream.write(garbage)
            stream.flush()
            while stream.read(1):
                pass
            stream.close()
        self.next_frame(self.accept(), plain_node.HELLO)
        self.assertTrue(node.is_running())


class PlainNode(serving.ServingCase):
    def test_serves_beside_three_others(self):
        server, _ = self.start("--heartbeat", 1000, nodes=(0, 1, 2), node_options=("--stream", "test"))
        plain = self.fleet.start("plain", sys.executable, f.ROOT / "tests/lib/plain_node.py",
                                 f"127.0.0.1:{server.port}", self.made.split / "node-3", "stream")
        self.wait_ready(server, PORTIONS)

        def code(index):
            number = plain_node.encode(self.made.portion(3, index), 1, 4)[0]
            return "".join(str(number >> b & 1) for b in range(4))
        seen = set()
        for r in self.wait_for_results(TEST):
            self.assertEqual(r["bits"], [*self.made.reference()[r["id"]]["bits"][:3], code(r["id"])])
            self.assertFalse(r["degraded"])
            seen.add(r["bits"][3])
        self.assertGreater(len(seen), 2)
        for index in range(20):
            answer = self.classify(server, index)
            self.assertEqual(answer["bits"], [*self.made.reference()[index]["bits"][:3], code(index)])
        self.assertEqual(plain.said, "")
        other = self.fleet.start("other", sys.executable, f.ROOT / "tests/lib/plain_node.py",
                                 f"127.0.0.1:{server.port}", self.made.split / "node-3")
        other.wait(1)
        self.assertEqual(other.said, "refused: portion 3 is taken by plain\n")
        self.assertTrue(plain.is_running())

    def test_stays_by_answering_pings(self):
        server, _ = self.start("--heartbeat", 500, nodes=(0,))
        node = HandNode(server, self.made, 1).join().keep_answering(5)
        self.addCleanup(node.close)
        wait_until(lambda: node.pings >= 10, "10 pings", explain=self.fleet.explain)  # after 6, silence costs the link
        self.assertEqual(health(server)["nodes_ready"], 2)
        self.assertEqual(len(server.events("node_ready", portion=1)), 1)

    def test_is_given_up_when_silent(self):
        server, _ = self.start("--heartbeat", 200, nodes=(0,))
        node = HandNode(server, self.made, 1).join()
        self.addCleanup(node.close)
        self.wait_ready(server, 2)
        self.assertTrue(node.is_cut_off())
        self.assertGreaterEqual(node.pings, 2)
        self.wait_ready(server, 1)

    def test_is_at_most_100_lines(self):
        lines = (f.ROOT / "tests/lib/plain_node.py").read_text().splitlines()
        self.assertLessEqual(len(lines), 100)


if __name__ == "__main__":
    unittest.main()

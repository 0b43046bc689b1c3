#!/usr/bin/python3
"""The nodes' port: who comes in and how that is written down; nodes that owe answers, nodes that mean harm, crowds that
keep others out. Each bad node is played by hand beside three good ones, or stands between a good one and the server."""
import json
import re
import socket
import ssl
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest
from contextlib import suppress

from lib import crowds, fleet as f, plain_node, serving
from lib.certificates import Authority
from lib.fleet import PORTIONS, events, read_json, wait_until, weights
from lib.relay import Between
from lib.serving import HandNode, call, metrics

ACTIVATIONS, SAVED, REFINEMENT = 7, 11, 21
TRAIN, SOFT = 0, 1
ROUNDS = {"encoder__refinement": "[1, 3]", "loss__refinement_weights": "[1, 2]"}


def setUpModule():
    serving.ServingCase.made = serving.Made()


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class TrainingCase(f.FleetCase):
    """A training whose portion 2 comes through Between, and the same in one process to compare with."""

    def start(self, up, *options, **changes):
        self.split, self.states, self.run_folder = self.made.split, self.folder / "states", self.folder / "run"
        self.experiment = f.write_experiment(self.folder / "e.yaml", training__epochs=1, **changes)
        server = self.fleet.train(self.experiment, self.split, self.run_folder, "--http", "127.0.0.1:0", *options)
        server.http = server.wait_port("http_listening")
        between = Between(server.port, up)
        self.addCleanup(between.close)
        self.nodes = [self.fleet.node(k, between.port if k == 2 else server, self.split, self.states / f"node-{k}", "--exit-when-done")
                      for k in range(PORTIONS)]
        return server

    def assert_same_weights(self, server):
        server.wait(0)
        for node in self.nodes:
            node.wait(0)
        self.fleet.train_local(self.experiment, self.split, self.folder / "local")
        self.assertEqual(weights(self.run_folder, self.states), weights(self.folder / "local"))

    @property
    def made(self):
        return serving.ServingCase.made


def due_in_training(kind, fields):
    """Which of the answers that are owed in a training this is; None: none."""
    if kind == ACTIVATIONS:
        return "Activations of a training batch" if fields.get(2, TRAIN) == TRAIN else "Activations of an evaluation"
    return {plain_node.READY: "Ready", plain_node.CODES: "Codes", REFINEMENT: "Refinement", SAVED: "Saved"}.get(kind)


class OwedInTraining(TrainingCase):
    ANSWERS = ("Saved", "Ready", "Activations of a training batch", "Activations of an evaluation", "Codes", "Refinement")

    def test_each_withheld_answer_costs_the_node_its_link_and_no_bit(self):
        """On its first connection each answer comes late, but in time, up to Saved, which never comes; on each further one
        it is another that does not."""
        late, withheld, seen = set(), [], []

        def up(kind, fields, connection):
            due = due_in_training(kind, fields)
            wanted = self.ANSWERS[connection] if connection < len(self.ANSWERS) else None
            if due and due == wanted and len(withheld) == connection:
                withheld.append(due)
                node = call(server, "GET", "/v1/nodes")[1]["nodes"][2]
                seen.append((due.split()[0], node["owes"]))
                return False
            if due and connection == 0 and due not in late:
                late.add(due)
                time.sleep(0.4)
            return True

        server = self.start(up, "--answer-timeout", 1, **ROUNDS)
        self.assert_same_weights(server)
        self.assertEqual(withheld, list(self.ANSWERS))
        self.assertEqual([owed for _, owed in seen], [due for due, _ in seen])
        said = re.findall(r"warn  portion 2 \(node-2\): its (\w+) has not come within 1 s \(--answer-timeout\)", server.said)
        self.assertEqual(said, [due.split()[0] for due in self.ANSWERS])
        self.assertEqual(late, set(self.ANSWERS[1:]))
        self.assertIn("the server says: its Refinement has not come within 1 s", self.nodes[2].said)
        self.assertNotRegex(server.said, r"portion [013] .*has not come")


class OwedInServing(serving.ServingCase):
    """Portion 3's node withholds one kind of answer, and gives all others and every ping."""

    def start_between(self, up, *options):
        server, _ = self.start(*options, nodes=(0, 1, 2))
        between = Between(server.port, up)
        self.addCleanup(between.close)
        node = self.fleet.node(3, between.port, self.made.split, self.made.state(3))
        return server, node

    def node_3(self, server):
        return call(server, "GET", "/v1/nodes")[1]["nodes"][3]

    def wait_for_state(self, server, state):
        wait_until(lambda: self.node_3(server)["state"] == state, f"node 3 to be {state}", explain=self.fleet.explain)

    def status(self, server):
        return subprocess.run([f.binary("fewbit"), "status", "--server", f"http://127.0.0.1:{server.http}"],
                              env=f.environment(), capture_output=True, text=True, timeout=f.PATIENCE)

    def test_requests_do_not_wait_for_a_node_that_is_silent(self):
        """The first one does; then it is left out, said so, asked now and then, and back as soon as it answers."""
        withholds = threading.Event()
        server, _ = self.start_between(lambda kind, *_: kind != plain_node.ANSWER or not withholds.is_set(),
                                       "--deadline", 1000, "--answer-timeout", 60)
        self.wait_ready(server, PORTIONS)
        self.assert_same(self.classify(server, 0), 0)
        withholds.set()
        self.assertGreater(self.classify(server, 1)["ms"], 900)
        self.assertEqual(call(server, "GET", "/readyz")[0], 503)
        for index in range(20):
            answer = self.classify(server, index)
            self.assert_degraded(answer, index, {3})
            self.assertLess(answer["ms"], 500)
        shown = self.node_3(server)
        self.assertEqual((shown["state"], shown["owes"], shown["timeouts"]), ("silent", "Answer", 1))
        self.assertGreater(shown["owed_seconds"], 0.9)
        self.assertGreater(shown["answered_seconds"], 0.9)
        m = metrics(server)
        self.assertGreater(m['fewbit_node_owed_seconds{portion="3"}'], 0.9)
        self.assertGreater(m['fewbit_node_last_answer_seconds{portion="3"}'], 0.9)
        self.assertEqual((m["fewbit_nodes_ready"], m['fewbit_node_ready{portion="3"}']), (3, 0))
        self.assertEqual(m['fewbit_node_timeouts_total{portion="3"}'], 1)
        self.assertEqual(m['fewbit_node_owed_seconds{portion="0"}'], 0)
        said = self.status(server)
        self.assertEqual(said.returncode, 7)
        self.assertRegex(said.stderr, r"3 of 4 nodes are; slowest: portion 3 \(node-3\) owes Answer for \d+\.\d s\n")
        withholds.clear()
        self.wait_ready(server, PORTIONS)
        for index in range(5):
            self.assert_same(self.classify(server, index), index)
        self.assertEqual(self.status(server).returncode, 0)
        for line in ("has not answered within 1 s and is left out until it does; 3 of 4", "answers again; 4 of 4"):
            self.assertEqual(server.said.count(f"portion 3 {line}"), 1, server.said)
        self.assertEqual(server.events("node_left"), [])

    def test_a_slow_node_is_not_touched(self):
        def up(kind, *_):
            time.sleep(0.2 if kind in (plain_node.READY, plain_node.ANSWER) else 0)
            return True
        server, _ = self.start_between(up, "--deadline", 1000, "--answer-timeout", 1)
        self.wait_ready(server, PORTIONS)
        for index in range(4):
            self.assert_same(self.classify(server, index), index)
        self.assertEqual(self.node_3(server)["timeouts"], 0)

    def test_who_withholds_an_answer_for_too_long_is_dropped(self):
        other, states = self.folder / "other", self.folder / "states"
        self.fleet.train_local(f.write_experiment(self.folder / "other.yaml", training__seed=2, training__epochs=1),
                               self.made.split, other)
        for run in (self.made.run, other):
            shutil.copytree(run / "nodes", states, dirs_exist_ok=True)
        for kind, name in ((plain_node.READY, "Ready"), (plain_node.ANSWER, "Answer"), (plain_node.PREPARED, "Prepared")):
            with self.subTest(name):
                withholds = threading.Event()
                withholds.set()

                def up(got, fields, connection, kind=kind):
                    return got != kind or not withholds.is_set()
                run = self.folder / name
                run.symlink_to(self.made.run)
                server = self.fleet.serve(run, "--results", "none", "--deadline", 300, "--answer-timeout", 1)
                others = [self.node(server, k, state=states / f"node-{k}") for k in range(3)]
                between = Between(server.port, up)
                node = self.fleet.node(3, between.port, self.made.split, states / "node-3")
                self.wait_ready(server, PORTIONS - (name == "Ready"))
                if name == "Answer":
                    self.classify(server, 0)
                elif name == "Prepared":
                    run.unlink()
                    run.symlink_to(other)
                    server.signal(signal.SIGHUP)
                server.wait_event("node_dropped", portion=3, message=rf"its {name} has not come within 1 s \(--answer-timeout\)")
                self.assertNotRegex(server.said, "portion [012] is (dropped|gone)")
                node.wait_event("server_away", message=f"the server says: its {name} has not come within 1 s")
                withholds.clear()
                self.wait_ready(server, PORTIONS)
                between.close()
                for program in (node, *others, server):
                    program.close()


# Connects again and again to port argv[1], says argv[2] (hex), holds the last 7,000, and tells how many they were.
FLOOD = """
import collections, select, socket, sys
port, words, held, count = int(sys.argv[1]), bytes.fromhex(sys.argv[2]), collections.deque(), 0
while True:
    stream = socket.socket()
    stream.settimeout(10)
    try:
        stream.connect(("127.0.0.1", port))
        stream.sendall(words)
    except OSError:
        pass
    held.append(stream)
    count += 1
    if len(held) > 7000:
        held.popleft().close()
    if count % 100 == 0:
        print(count, flush=True)
"""


class Floods(serving.ServingCase):
    """Strangers come without end, from the node's own address: a node with good credentials is let in all the same."""
    CAPACITY = 1024

    def setUp(self):
        super().setUp()
        room = crowds.many_files(8000)
        self.assertTrue(room.__enter__())
        self.addCleanup(room.__exit__, None, None, None)
        self.authority = Authority(self.folder / "ca")

    def credentials(self, k, tls):
        return self.authority.node(k) if tls else ()

    def let_in_during(self, tls, words, seconds=5, times=10):
        """Within so many seconds, of a flood of so many times the connections that the port takes."""
        server = self.serve(*(self.authority.server() if tls else ()))
        nodes = [self.node(server, k, *self.credentials(k, tls)) for k in range(3)]
        self.wait_ready(server, 3)
        flood = self.fleet.start("flood", sys.executable, "-c", FLOOD, server.port, words.hex())

        def count():
            return int((flood.printed.split() or [0])[-1])
        wait_until(lambda: metrics(server)["fewbit_links_refused_total"] > self.CAPACITY, "a flood",
                   explain=self.fleet.explain)
        began = time.monotonic()
        late = self.node(server, 3, *self.credentials(3, tls))
        self.wait_ready(server, PORTIONS)
        took = time.monotonic() - began
        self.assertLess(took, seconds * (4 if f.SANITIZED else 1))
        wait_until(lambda: count() > times * self.CAPACITY, "a long flood", explain=self.fleet.explain)
        self.assertTrue(flood.is_running())
        m = metrics(server)
        self.assertLessEqual(m["fewbit_links"], self.CAPACITY)
        self.assert_serves(server)
        self.assertEqual(server.events("node_left"), [])
        self.assertLess(len(server.said), 50000)
        for program in (flood, late, *nodes, server):
            program.close()

    def test_silent_ones(self):
        self.let_in_during(True, b"")

    def test_such_as_begin_to_speak(self):
        self.let_in_during(False, b"\x20\0\0\x01\x08")

    def test_such_as_begin_a_handshake(self):
        outgoing = ssl.MemoryBIO()
        hello = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        with suppress(ssl.SSLWantReadError):
            hello.do_handshake()
        self.let_in_during(True, outgoing.read(), seconds=20, times=4)  # each costs the server a signature


REFUSAL, HELLO = plain_node.REFUSAL, plain_node.HELLO
FLOOD_SECONDS = 0.3


def frame(kind, fields):
    payload = fields if isinstance(fields, bytes) else plain_node.pack(fields)
    return len(payload).to_bytes(3, "little") + bytes([kind]) + payload


class Amplified(serving.ServingCase):
    """What one bad node, let in, makes of what it sends: memory, disk, log."""

    def resident(self, server):
        return int(server.status("VmRSS").split()[0]) / 1024

    def pour(self, join, kind, fields):
        """Frame upon frame for a while, and again as soon as it is cut off; returns how often it was."""
        words, cuts, end = frame(kind, fields) * 200, 0, time.monotonic() + FLOOD_SECONDS
        while time.monotonic() < end:
            node = join()
            try:
                while time.monotonic() < end:
                    node.sendall(words)
            except OSError:
                cuts += 1
            node.close()
        return cuts

    def assert_bounded(self, server, join, disk, kinds):
        """Each kind of flood: a few lines of log, nothing on disk, no memory kept."""
        for kind, fields in kinds:
            with self.subTest(kind=kind, fields=str(fields)[:30]):
                before = len(server.said), disk(), self.resident(server)
                self.pour(join, kind, fields)
                self.assertTrue(server.is_running(), self.fleet.explain())
                self.assertLess(len(server.said) - before[0], 60000, server.said[-500:])
                self.assertLess(disk() - before[1], 60000)
                self.assertLess(self.resident(server) - before[2], 64 * (4 if f.SANITIZED else 1))

    def test_in_serving(self):
        server, _ = self.start("--deadline", 500, nodes=(0, 1, 2))
        model = read_json(self.made.run / "manifest.json")["last"]["step"]

        def join():
            return HandNode(server, self.made, 3).join().socket
        self.assert_bounded(server, join, lambda: self.results_path.stat().st_size, (
            (REFUSAL, {1: 1}), (REFUSAL, {1: 5, 2: b"x" * 900}), (plain_node.ANSWER, {1: model, 2: 5, 4: b"\x05"}),
            (plain_node.CODES, {1: model, 2: 1 << 40, 4: b"\x05"}), (plain_node.PREPARED, {1: 1, 3: b"e" * 5000}),
            (REFINEMENT, {1: 1, 3: b"\1"}), (SAVED, {1: 1, 3: b"e" * 5000}), (ACTIVATIONS, {1: 1}), (99, b"x" * 5000)))
        self.wait_ready(server, 3)
        node = HandNode(server, self.made, 3).join()
        node.receive(plain_node.BEGIN)
        before = self.results_path.stat().st_size
        node.send_raw(plain_node.CODES, plain_node.pack({1: model, 3: (1 << 22) - 1, 4: bytes(1 << 21)}))  # 4 million samples
        wait_until(lambda: self.results_path.stat().st_size > before + 4000 * 100, "the first of its samples")
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            node.send(plain_node.PING, {})
            time.sleep(0.1)
        self.assertLess(self.results_path.stat().st_size - before, 140000 * 150)
        self.assertEqual(self.classify(server, 0)["missing"], [3])
        node.close()

    def test_in_training(self):
        experiment = f.write_experiment(self.folder / "e.yaml", training__epochs=1)
        server = self.fleet.train(experiment, self.made.split, self.folder / "run")
        for k in range(3):
            self.fleet.node(k, server, self.made.split, self.folder / f"node-{k}")
        server.wait_event("node_joined", portion=2)

        def join():
            node = HandNode(server, self.made, 3)
            while True:  # as long as the one before it has the portion
                kind, _ = plain_node.receive(node.greet().stream)
                if kind == plain_node.WELCOME:
                    return node.socket
                node.close()
                node.connect()
        self.assert_bounded(server, join, lambda: sum(p.stat().st_size for p in (self.folder / "run").rglob("*")), (
            (REFUSAL, {1: 5, 2: b"x" * 900}), (plain_node.READY, {1: 9}), (ACTIVATIONS, {1: 1, 3: 10, 4: bytes(160)}),
            (SAVED, {1: 0, 2: bytes(32)}), (SAVED, {1: 0, 3: b"e" * 5000}), (plain_node.CODES, {4: b"\x05"})))


class BadInTraining(TrainingCase):
    NAN = b"\0\0\xc0\x7f"

    def bad(self, *answers):
        """Connection by connection, what is sent in place of the 20th training batch's activations."""
        counts = {}

        def up(kind, fields, connection):
            if kind == ACTIVATIONS and connection < len(answers):
                counts[connection] = counts.get(connection, 0) + 1
                if counts[connection] == 20:
                    return kind, {**fields, **answers[connection](fields)}
            return True
        return up

    def test_once_no_number_and_whatever_does_not_fit(self):
        server = self.start(self.bad(lambda a: {4: self.NAN * 40}, lambda a: {4: b"", 5: bytes(5)}, lambda a: {5: bytes(5)},
                                     lambda a: {4: b"\0\0\0\x40" * 40}, lambda a: {4: b"\1\0\0\x80" * 40},
                                     lambda a: {4: a[4][:-4]}, lambda a: {4: a[4] + bytes(4)}, lambda a: {1: a[1] + 1},
                                     lambda a: {1: 1 << 63}, lambda a: {2: SOFT}, lambda a: {2: 77}, lambda a: {3: 9},
                                     lambda a: {3: (1 << 32) - 1}))
        self.assert_same_weights(server)
        self.assertEqual(len(re.findall(r"portion 2 \(node-2\): sent activations that are no numbers", server.said)), 1)
        self.assertEqual(len(re.findall(r"portion 2 \(node-2\): sent activations that were not asked for or do not fit",
                                        server.said)), 12)

    def test_twice_no_number_ends_it_with_its_name(self):
        for value in (self.NAN, b"\0\0\x80\x7f", b"\0\0\x80\xff"):
            with self.subTest(value):
                shutil.rmtree(self.folder / "run", ignore_errors=True)
                server = self.start(self.bad(lambda a: {4: value * 40}, lambda a: {4: a[4][:-4] + value}))
                server.wait(3)
                self.assertRegex(server.said, r"(?m)^decoder_server: portion 2's outputs are no numbers at step 19: a lower "
                                              r"learning rate may keep it finite, or its node \(node-2\) is broken$")
                for node in self.nodes:
                    node.wait(0)
                self.assertEqual(len(events(self.folder / "run", "lost")), 1)

    def test_twice_no_number_with_a_commit_between(self):
        """Each time all go back; the training goes on."""
        counts = []

        def up(kind, fields, connection):
            if kind == SAVED:
                counts.clear()
            if kind == ACTIVATIONS and fields.get(2, TRAIN) == TRAIN and connection < 2:
                counts.append(connection)
                if len(counts) == 30 and (connection == 0 or fields[1] > 60):
                    counts.clear()
                    return kind, {**fields, 4: self.NAN * 40}
            return True
        server = self.start(up, training__checkpoint_every=50)
        self.assert_same_weights(server)
        self.assertEqual(server.said.count("sent activations that are no numbers"), 2)


class Addresses(serving.ServingCase):
    """Wherever an address is written, an IPv6 one stands in brackets, so that it can be used as it is."""

    def setUp(self):
        super().setUp()
        if not has_ipv6():
            self.skipTest("no IPv6 on this machine")

    def listening(self, server, announced):
        """Both addresses as the log has them, which must be those that are announced."""
        nodes = re.search(r" on (\[::1\]:\d+)", server.wait_event(("serving", "listening"))["message"]).group(1)
        http = re.search(r" on (\[::1\]:\d+)", server.wait_event("http_listening")["message"]).group(1)
        told = wait_until(lambda: read_json(announced), "the addresses", explain=self.fleet.explain)
        self.assertEqual((told["nodes"], told["http"]), (nodes, http))
        return nodes, http

    def status(self, http):
        return subprocess.run([f.binary("fewbit"), "status", "--server", f"http://{http}"], env=f.environment(),
                              capture_output=True, text=True, timeout=f.PATIENCE)

    def test_serving(self):
        announced = self.folder / "addresses"
        server = self.fleet.start("serve", f.binary("decoder_server"), "serve", self.made.run, "--listen", "[::1]:0", "--http",
                                  "[::1]:0", "--results", "none", "--address-file", announced)
        nodes, http = self.listening(server, announced)
        for k in range(PORTIONS):
            self.fleet.start(f"node-{k}", f.binary("encoder_node"), "--server", nodes, "--name", f"node-{k}", "--data",
                             self.made.split / f"node-{k}", "--state", self.made.state(k), "--log-level", "debug")
        wait_until(lambda: self.status(http).returncode == 0, "all nodes", explain=self.fleet.explain)
        with socket.create_connection(("::1", int(http.rpartition(":")[2]))) as stream:
            stream.sendall(b"GET /v1/nodes HTTP/1.0\r\nHost: a\r\n\r\n")
            text = b"".join(iter(lambda: stream.recv(4096), b""))
        for node in json.loads(text.partition(b"\r\n\r\n")[2])["nodes"]:
            self.assertRegex(node["address"], r"^\[::1\]:\d+$")
        self.assertIn(f"connected to {nodes}", self.fleet.programs[1].said)
        taken = self.fleet.run("taken", f.binary("decoder_server"), "serve", self.made.run, "--listen", nodes, code=6)
        self.assertIn(f"cannot listen on {nodes}: ", taken.said)

    def test_training_and_then_serving(self):
        announced = self.folder / "addresses"
        experiment = f.write_experiment(self.folder / "e.yaml", training__epochs=1)
        server = self.fleet.start("server", f.binary("decoder_server"), "train", experiment, "--listen", "[::1]:0", "--http",
                                  "[::1]:0", "--labels", self.made.split / "server", "--out", self.folder / "run",
                                  "--address-file", announced, "--serve-after")
        nodes, _ = self.listening(server, announced)
        for k in range(PORTIONS):
            self.fleet.start(f"node-{k}", f.binary("encoder_node"), "--server", nodes, "--name", f"node-{k}", "--data",
                             self.made.split / f"node-{k}", "--state", self.folder / f"node-{k}")
        server.wait_event("serving", message=r"nodes on \[::1\]:\d+$")

    def test_a_node_whose_server_is_away(self):
        node = self.fleet.start("node", f.binary("encoder_node"), "--server", "[::1]:1", "--name", "north", "--data",
                                self.made.split / "node-0", "--state", self.folder / "state")
        node.wait_event("server_away", message=r"cannot connect to \[::1\]:1: ")


class Names(serving.ServingCase):
    def test_the_node_itself_refuses_a_bad_one(self):
        for name in ("", "x" * 64, "a\nb", "a\x1b[2J", "a\x7f", "a\u009bb", "a\u202eb", "a\u2066b", "a\u2028b", "a\udcff"):
            with self.subTest(name):
                node = self.fleet.run("node", f.binary("encoder_node"), "--server", "127.0.0.1:1", "--name", name, "--data",
                                      self.made.split / "node-0", "--state", self.folder / "state", code=2)
                self.assertRegex(node.said, r"^encoder_node: --name: the name must [^\n]*\n\Z")


if __name__ == "__main__":
    unittest.main()

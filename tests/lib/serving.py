"""What the tests of serving share: a small trained run, a server with its nodes, requests, a node played by hand."""
import http.client
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest
import urllib.request

from . import fleet as f, plain_node
from .fleet import PATIENCE, PORTIONS, read_json, wait_until

TRAIN, TEST = 2000, 1000  # 1000 is what one Codes frame of a node holds
RAW, PNG = "application/octet-stream", "image/png"
ANSWER_KEYS = {"request", "class", "label", "probability", "probabilities", "bits", "payload_bits", "rounds",
               "frame_bytes", "frame_bytes_sent", "frame_bytes_received", "raw_bytes", "degraded", "missing",
               "ms", "timings"}
RESULT_KEYS = {"id", "from", "class", "label", "probability", "bits", "degraded", "ms"}


class Images:
    """Test images in self.images, and what nodes see of them."""

    def portion(self, k, index):
        """What node k sees of a test image."""
        size = f.PIXELS // PORTIONS
        return self.images[index][k * size:(k + 1) * size]

    def portions(self):
        """What each node sees of all test images."""
        return [b"".join(self.portion(k, i) for i in range(TEST)) for k in range(PORTIONS)]


class Made(Images):
    """The run that all tests of a module serve; its nodes' checkpoints are in run/nodes/node-K."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-serving-"))
        unittest.addModuleCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.source = f.make_set(self.folder / "source", TRAIN, TEST)
        self.split = f.split_set(self.source, self.folder / "split")
        self.run = self.folder / "run"
        self.images = [f.image(self.source, i) for i in range(TEST)]
        self.labels = f.labels(self.source)
        self._reference = None
        trainer = f.Fleet()
        try:
            trainer.train_local(f.write_experiment(self.folder / "experiment.yaml"), self.split, self.run)
        finally:
            trainer.close()

    def state(self, k):
        return self.run / "nodes" / f"node-{k}"

    def reference(self):
        """The results of the test part, pushed by undisturbed nodes: {id: result}."""
        if self._reference is None:
            quiet = f.Fleet()
            try:
                path = quiet.folder / "results.jsonl"
                server = quiet.serve(self.run, "--results", path, "--deadline", 1000 * PATIENCE)
                nodes = [quiet.node(k, server, self.split, self.state(k), "--stream", "test", "--exit-when-done")
                         for k in range(PORTIONS)]
                for node in nodes:
                    node.wait(0)
                wait_until(lambda: health(server)["nodes_ready"] == 0, "the nodes' leave", explain=quiet.explain)
                server.signal(signal.SIGTERM)
                server.wait(0)
                self._reference = {result["id"]: result for result in read_results(path)}
            finally:
                quiet.close()
        return self._reference


def read_results(path):
    """The whole lines of a results file."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def compare_paths(case, run, results, count):
    """The figures of every serving path (tests/parity/paths.c), none of which may differ from the plain nets."""
    compared = json.loads(case.fleet.run("paths", f.binary("tests/parity_paths"), run, results).printed)
    case.assertEqual(compared["samples"], 2 * count)  # each whole, and without one of its portions
    for name, path in compared["paths"].items():
        with case.subTest(name):
            case.assertEqual(path["other_classes"], 0)
            case.assertLess(path["largest_difference"], 1e-5)
    return compared["paths"]


def call(server, method, path, body=None, headers=None, timeout=PATIENCE):
    """Status, JSON and headers of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers
    finally:
        connection.close()


def health(server):
    return call(server, "GET", "/healthz")[1]


def metrics(server):
    """{name with labels: value}, the node's name left out."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http}/metrics", timeout=PATIENCE) as answer:
        lines = re.sub(r',node="[^"]*"', "", answer.read().decode()).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def metric(server, name):
    """One value of /metrics, its labels but for the node's name in the name; None: not there."""
    return metrics(server).get(name)


def post(server, body, kind=RAW):
    return call(server, "POST", "/v1/classify", body, {"Content-Type": kind})[:2]


class ServingCase(f.FleetCase):
    made = None  # set by the module

    def setUp(self):
        super().setUp()
        self.results_path = self.folder / "results.jsonl"

    def serve(self, *options, **how):
        return self.fleet.serve(self.made.run, "--results", self.results_path, *options, **how)

    def node(self, server, k, *options, state=None, **how):
        return self.fleet.node(k, server, self.made.split, state or self.made.state(k), *options, **how)

    def start(self, *options, nodes=range(PORTIONS), node_options=()):
        """A server, and its nodes by portion, all ready."""
        server = self.serve(*options)
        started = {k: self.node(server, k, *node_options) for k in nodes}
        self.wait_ready(server, len(started))
        return server, started

    def streaming(self, server, *options):
        """Nodes that stream what they are fed, by portion."""
        return [self.node(server, k, "--stream", "stdin", *options, stdin=subprocess.PIPE) for k in range(PORTIONS)]

    def feed(self, nodes, index):
        """Each node gets its portion of a test image."""
        for k, node in enumerate(nodes):
            node.popen.stdin.write(self.made.portion(k, index))
            node.popen.stdin.flush()

    def wait_ready(self, server, count):
        wait_until(lambda: health(server)["nodes_ready"] == count, f"{count} ready nodes", explain=self.fleet.explain)

    def wait_for_results(self, count):
        """All results, once there are as many as that."""
        def enough():
            there = self.results_path.read_bytes() if self.results_path.exists() else b""
            return there.count(b"\n") >= count
        wait_until(enough, f"{count} results", explain=self.fleet.explain)
        return read_results(self.results_path)

    def classify(self, server, index):
        """The answer for a test image, which must be 200."""
        status, answer = post(server, self.made.images[index])
        self.assertEqual(status, 200, answer)
        return answer

    def assert_same(self, answer, index):
        """Class, bits and probability are those that undisturbed nodes gave for this test image."""
        wanted = self.made.reference()[index]
        self.assertEqual((answer["class"], answer["label"], answer["bits"], answer["degraded"]),
                         (wanted["class"], wanted["label"], wanted["bits"], False), f"image {index}")
        self.assertAlmostEqual(answer["probability"], wanted["probability"], 4)

    def assert_degraded(self, answer, index, missing):
        """Everything but the missing portions is as it should be."""
        bits = [None if k in missing else code for k, code in enumerate(self.made.reference()[index]["bits"])]
        self.assertEqual((answer["bits"], answer["missing"], answer["degraded"]), (bits, sorted(missing), True))
        self.assertEqual(answer["payload_bits"], 4 * (PORTIONS - len(missing)))
        self.assertAlmostEqual(sum(answer["probabilities"]), 1, 4)

    def assert_serves(self, server, index=0):
        self.assert_same(self.classify(server, index), index)


PORTION_TAKEN = 2


class HandNode:
    """A node played by the test, frame by frame."""

    def __init__(self, server, made, portion, **changes):
        info = read_json(made.split / f"node-{portion % PORTIONS}" / "portion.json")
        info["portion"] = str(portion)
        self.address = ("127.0.0.1", server.port)
        self.connect()
        numbers = {"protocol": 1, "name": 2, "dataset": 4, "shape": 7, "train_samples": 8, "test_samples": 9,
                   "digest": 10, "portion": 12, "type": 13}
        self.hello = {**plain_node.hello(info), **{numbers[key]: value for key, value in changes.items()}}
        self.model, self.pings, self.sending = None, 0, threading.Lock()

    def connect(self):
        self.socket = socket.create_connection(self.address, timeout=PATIENCE)
        self.stream = self.socket.makefile("rwb")

    def send(self, kind, fields):
        with self.sending:
            plain_node.send(self.stream, kind, fields)

    def send_raw(self, kind, payload, length=None):
        """A frame that need not be a message, with a length that need not be its own."""
        length = len(payload) if length is None else length
        self.stream.write(length.to_bytes(3, "little") + bytes([kind]) + payload)
        self.stream.flush()

    def receive(self, wanted):
        """The fields of the next frame that is no ping; it must be of this type."""
        kind, fields = plain_node.receive(self.stream)
        while kind == plain_node.PING != wanted:
            self.pings += 1
            kind, fields = plain_node.receive(self.stream)
        if kind != wanted:
            raise AssertionError(f"frame type {kind} with {fields}, not {wanted}")
        return fields

    def greet(self):
        self.send(plain_node.HELLO, self.hello)
        return self

    def join(self):
        """As far as Ready; as long as the one before it holds the portion, again."""
        def is_let_in():
            kind, self.welcome = plain_node.receive(self.greet().stream)
            if kind == plain_node.REFUSAL and self.welcome[1] == PORTION_TAKEN:
                self.close()
                self.connect()
                return False
            if kind != plain_node.WELCOME:
                raise AssertionError(f"frame type {kind} with {self.welcome}, not Welcome")
            return True
        wait_until(is_let_in, "the portion to be free")
        restore = self.receive(plain_node.RESTORE)
        self.model = restore.get(4, restore.get(1, 0))
        self.send(plain_node.READY, {1: restore.get(1, 0)})
        return self

    def answer(self, request, code):
        self.send(plain_node.ANSWER, {1: self.model, 2: request.get(1, 0), 4: bytes([code])})

    def keep_answering(self, code):
        """From now on answers every request with `code`, and every ping, in a thread that ends with the connection."""
        def work():
            try:
                while True:
                    kind, fields = plain_node.receive(self.stream)
                    if kind == plain_node.REQUEST:
                        self.answer(fields, code)
                    elif kind == plain_node.PING:
                        self.pings += 1
                        self.send(plain_node.PING, {})
            except OSError:
                pass
        threading.Thread(target=work, daemon=True).start()
        return self

    def refusal(self):
        """Reason and text; the connection must end behind them."""
        fields = self.receive(plain_node.REFUSAL)
        if self.stream.read(1):
            raise AssertionError("more comes behind the Refusal")
        self.close()
        return fields[1], fields[2].decode()

    def is_cut_off(self):
        """Waits until the server has closed the connection, without a frame but pings."""
        try:
            while True:
                kind, fields = plain_node.receive(self.stream)
                if kind != plain_node.PING:
                    raise AssertionError(f"frame type {kind} with {fields}")
                self.pings += 1
        except ConnectionError:
            return True

    def close(self):
        for end in (lambda: self.socket.shutdown(socket.SHUT_RDWR), self.stream.close, self.socket.close):
            try:
                end()
            except OSError:
                pass

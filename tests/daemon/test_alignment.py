"""Samples are joined by their ids: each party's folder holds some of them, in an order of its own, and every value is made
from the id, so that a training on wrongly joined samples would have other weights than one on samples joined beforehand."""
import hashlib
import pathlib
import random
import shutil
import socket
import tempfile
import unittest

import numpy as np
from lib import bad_server as b, fleet as f, own_data as own, plain_node as p
from lib.fleet import read_json, wait_until

NAMES, SHAPES = ("guest", "host"), {"guest": (10,), "host": (20,)}
TRAIN, TEST, BATCH = 1500, 300, 10
CLASSES = ("benign", "malignant")
CHANGES = {"dataset": {"name": "own", "validation": 100}, "loss": {"quantization": 0.1},
           "portions": "\n  - {name: guest, shape: [10], type: f32, encoder: {bits: 3}}"
                       "\n  - {name: host, shape: [20], type: f32}"}

ALIGN_REQUEST, ALIGN_IDS, ALIGNED = 26, 27, 28
SALT = bytes(range(16))
BASE_POINT = bytes.fromhex("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")  # of P-256
shared = None  # pathlib.Path
kept = {}      # what was trained, by what it is


def setUpModule():
    global shared
    shared = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-alignment-"))
    unittest.addModuleCleanup(shutil.rmtree, shared, ignore_errors=True)
    parties = {name: draw(i, 0.8) for i, name in enumerate(NAMES)}
    labels = draw(2, 0.9, shuffles=False)
    write(shared / "apart", parties, labels)
    both = [[name for name in of_split if all(name in ids[split] for ids in parties.values())]
            for split, of_split in enumerate(labels)]
    write(shared / "joined", dict.fromkeys(NAMES, both), both, counted=True)


def draw(seed, share, shuffles=True):
    """Ids of the training samples and of the test samples."""
    draws = random.Random(seed)
    ids = []
    for letter, count in (("p", TRAIN), ("t", TEST)):
        some = [f"{letter}{number}" for number in range(count) if draws.random() < share]
        if shuffles:
            draws.shuffle(some)
        ids.append(some)
    return ids


def value(name, portion):
    """A function of the id."""
    seed = int.from_bytes(hashlib.sha256(f"{name} {portion}".encode()).digest()[:8], "little")
    values = np.random.default_rng(seed).standard_normal(SHAPES[portion]).astype("<f4")
    values[0] += 2 * label(name)
    return values


def label(name):
    return hashlib.sha256(name.encode()).digest()[0] % 2


def write(folder, parties, labels, counted=False):
    for name, ids in parties.items():
        values = [np.stack([value(one, name) for one in of_split]) for of_split in ids]
        own.write_portion(folder / f"node-{name}", name, ids, values, counted=counted)
    own.write_labels(folder / "server", labels, [[label(one) for one in of_split] for of_split in labels], CLASSES,
                     counted=counted)


def tensors(run, states=None):
    """Every checkpoint part's tensors, by a name that is the same in one process (no `states`) and over TCP."""
    parts = {f"head/{p.name}": p for p in (run / "head").iterdir()}
    for k, name in enumerate(NAMES):
        folder = states / f"node-{name}" if states else run / "nodes" / f"node-{k}"
        parts.update({f"{name}/{p.name}": p for p in sorted(folder.rglob("*.safetensors"))})
    return {name: own.tensors(path) for name, path in sorted(parts.items())}


class AlignmentCase(f.FleetCase):
    def experiment(self, **changes):
        dataset = {**CHANGES["dataset"], **{k: v for k, v in changes.items() if k in ("align", "missing", "min_portions")}}
        if "validation" in changes:
            dataset["validation"] = changes["validation"]
        training = {**f.EXPERIMENT["training"], "batch_size": BATCH, **changes.get("training", {})}
        return f.write_experiment(self.folder / "experiment.yaml", **{**CHANGES, "dataset": dataset, "training": training})

    def local(self, data, **changes):
        """The tensors and the result of an undisturbed training in one process."""
        key = (data.name, str(sorted(changes.items())))
        if key not in kept:
            run = shared / f"run-{len(kept)}"
            self.fleet.train_local(self.experiment(**changes), data, run, "--threads", "1")
            kept[key] = tensors(run), read_json(run / "result.json")
        return kept[key]

    def start(self, experiment, *options, data=None, order=NAMES):
        data = data or shared / "apart"
        server = self.fleet.train(experiment, data, self.folder / "run", *options)
        return server, {name: self.node(server, name, data) for name in order}

    def node(self, server, name, data=None):
        data = data or shared / "apart"
        return self.fleet.node(name, server, data, self.folder / "states" / f"node-{name}", "--exit-when-done")

    def end_well(self, server, nodes):
        server.wait(0)
        for node in nodes.values():
            node.wait(0)

    def tcp(self, **changes):
        server, nodes = self.start(self.experiment(**changes), order=reversed(NAMES))
        self.end_well(server, nodes)
        return tensors(self.folder / "run", self.folder / "states")


class Joined(AlignmentCase):
    """No sample is joined wrongly: the weights are those of a training on samples that were joined beforehand."""

    def test_by_hash_in_one_process(self):
        self.assertEqual(self.local(shared / "apart")[0], self.local(shared / "joined", validation=self.held_back())[0])

    def test_by_psi_in_one_process(self):
        self.assertEqual(self.local(shared / "apart", align="psi")[0], self.local(shared / "apart")[0])

    def test_by_hash_over_tcp(self):
        self.assertEqual(self.tcp(), self.local(shared / "apart")[0])

    def test_by_psi_over_tcp(self):
        self.assertEqual(self.tcp(align="psi"), self.local(shared / "apart")[0])

    def held_back(self):
        return self.local(shared / "apart")[1]["alignment"]["validation"]


class Missing(AlignmentCase):
    """Samples that lack a portion are trained on."""

    def test_all_ways_have_the_same_weights(self):
        wanted, result = self.local(shared / "apart", missing="train")
        self.assertEqual(self.local(shared / "apart", missing="train", align="psi")[0], wanted)
        self.assertEqual(self.tcp(missing="train", align="psi"), wanted)
        self.assertNotEqual(self.local(shared / "apart")[0], wanted)
        known = result["alignment"]
        self.assertGreater(known["train"], known["complete"])
        self.assertEqual(result["final"]["with_missing"]["samples"], known["test"] + known["incomplete_test"])
        self.assertEqual(result["final"]["test"]["samples"], known["test"])

    def test_enough_portions_are_all(self):
        """With min_portions of all portions nothing is missing."""
        self.assertEqual(self.local(shared / "apart", missing="train", min_portions=2)[0], self.local(shared / "apart")[0])


class Counts(AlignmentCase):
    def test_one_line_says_how_many_are_common(self):
        known = self.local(shared / "apart")[1]["alignment"]
        ids = [read_json(shared / "apart" / f"node-{name}" / "portion.json") for name in NAMES]
        self.assertEqual(known["samples"], [n[f"{split}_samples"] for n in ids for split in ("train", "test")])
        joined = read_json(shared / "joined" / "server" / "labels.json")
        self.assertEqual(known["train"] + known["validation"], joined["train_samples"])
        self.assertEqual(known["test"], joined["test_samples"])
        server, nodes = self.start(self.experiment())
        line = server.wait_event("aligned")["message"]
        for number in (known["train"], known["validation"], known["test"], *known["samples"]):
            self.assertIn(str(number), line)
        self.end_well(server, nodes)
        self.assertEqual(len(server.events("aligned")), 1)
        identity = read_json(self.folder / "run" / "identity.json")
        self.assertEqual(identity["alignment"], known)


class Disturbed(AlignmentCase):
    def test_a_node_killed_while_samples_are_aligned_is_waited_for(self):
        server, nodes = self.start(self.experiment(align="psi"), order=NAMES[:1])
        server.wait_event("node_joined")
        nodes["guest"].kill()
        server.wait_event("node_lost")
        nodes = {name: self.node(server, name) for name in NAMES}
        self.end_well(server, nodes)
        self.assertEqual(tensors(self.folder / "run", self.folder / "states"), self.local(shared / "apart")[0])

    def test_a_node_killed_while_it_trains_comes_again(self):
        slow = {"training": {"epochs": 6, "checkpoint_every": 20}}
        server, nodes = self.start(self.experiment(**slow))
        wait_until(lambda: f.events(self.folder / "run", "committed")[1:], "two commits", explain=self.fleet.explain)
        nodes["host"].kill()
        server.wait_event("node_lost")
        nodes["host"] = self.node(server, "host")
        self.end_well(server, nodes)
        self.assertEqual(tensors(self.folder / "run", self.folder / "states"), self.local(shared / "apart", **slow)[0])

    def test_a_server_killed_goes_on(self):
        slow = {"training": {"epochs": 6, "checkpoint_every": 20}}
        experiment = self.experiment(align="psi", **slow)
        server, nodes = self.start(experiment)
        wait_until(lambda: f.events(self.folder / "run", "committed")[1:], "two commits", explain=self.fleet.explain)
        before = read_json(self.folder / "run" / "identity.json")["alignment"]
        port = server.port
        server.kill()
        server = self.fleet.train(experiment, shared / "apart", self.folder / "run", "--resume", port=port)
        self.end_well(server, nodes)
        self.assertEqual(read_json(self.folder / "run" / "identity.json")["alignment"], before)
        self.assertEqual(tensors(self.folder / "run", self.folder / "states"), self.local(shared / "apart", **slow)[0])


class Refused(AlignmentCase):
    """One line says what is wrong, and nothing is left that would be in the way."""

    def other(self, guest=None, counted=()):
        """The apart data with another guest's ids."""
        folder = self.folder / "other"
        parties = {"guest": guest or draw(0, 0.8), "host": draw(1, 0.8)}
        for name, ids in parties.items():
            values = [np.zeros((len(of_split), *SHAPES[name]), dtype="<f4") for of_split in ids]
            own.write_portion(folder / f"node-{name}", name, ids, values, counted=name in counted)
        shutil.copytree(shared / "apart" / "server", folder / "server")
        return folder

    def assert_refused_locally(self, data, text):
        ended = self.fleet.train_local(self.experiment(), data, self.folder / "run", code=3)
        self.assertIn(text, ended.said)
        self.assertFalse((self.folder / "run" / "experiment.yaml").exists())
        self.fleet.train_local(self.experiment(), shared / "apart", self.folder / "run")

    def test_nothing_in_common(self):
        strangers = [[f"x{number}" for number in range(100)], [f"y{number}" for number in range(50)]]
        data = self.other(strangers)
        self.assert_refused_locally(data, "0 training samples are common to all portions and the labels")

    def test_nothing_in_common_over_tcp(self):
        strangers = [[f"x{number}" for number in range(100)], [f"y{number}" for number in range(50)]]
        data = self.other(strangers)
        server, _ = self.start(self.experiment(), data=data)
        server.wait(3)
        self.assertIn("0 training samples are common", server.said)
        self.assertFalse((self.folder / "run" / "experiment.yaml").exists())

    def test_fewer_than_a_batch(self):
        few = draw(0, 0.8)
        data = self.other([few[0][:5], few[1]])
        self.assert_refused_locally(data, "fewer than a batch of 10")

    def test_counted_beside_listed(self):
        data = self.other(counted=("guest",))
        self.assert_refused_locally(data, "portion guest counts its samples, the labels have ids: pack both with ids")


class BadServers(AlignmentCase):
    """A server costs a node what its own ids do, once a connection, and the node lives."""

    def setUp(self):
        super().setUp()
        self.server = b.BadServer()
        self.addCleanup(self.server.close)
        run = shared / "resolved"
        if not run.exists():
            self.fleet.train_local(self.experiment(training={"epochs": 1}), shared / "apart", run)
        self.text = (run / "experiment.yaml").read_text()
        self.guest = self.node(self.server, "guest")
        self.count = sum(map(len, draw(0, 0.8)))

    def meet(self):
        peer = self.server.meet(self.text)
        self.addCleanup(peer.close)
        return peer

    def ask(self, peer, **fields):
        peer.send(ALIGN_REQUEST, {2: fields.get("salt", SALT)} if "points" not in fields else
                  {1: 1, **({3: fields["points"]} if fields["points"] else {})})
        return peer.until(ALIGN_IDS)

    def assert_sent_away(self, answer, peer):
        """For this connection: the node comes again."""
        self.assertEqual(answer[0], p.REFUSAL)
        self.assertEqual(answer[1][1], 6)  # PROTOCOL
        peer.close()
        self.assertTrue(self.guest.is_running())

    def test_asks_again(self):
        peer = self.meet()
        self.assertEqual(len(self.ask(peer)[1][1]), 16 * self.count)
        self.assert_sent_away(self.ask(peer), peer)
        peer = self.meet()
        self.assertEqual(len(self.ask(peer)[1][1]), 16 * self.count)

    def test_sends_what_are_no_points(self):
        for points in (bytes(33), b"\2" + b"\xff" * 32, BASE_POINT[:-1], BASE_POINT * 4097):
            peer = self.meet()
            self.assert_sent_away(self.ask(peer, points=points), peer)

    def test_sends_points_and_reads_nothing(self):
        peer = self.meet()
        for _ in range(8):
            peer.send(ALIGN_REQUEST, {1: 1, 3: BASE_POINT * 4096})
        for _ in range(8):
            self.assertEqual(len(peer.until(ALIGN_IDS)[1][2]), 33 * 4096)
        self.assertEqual(len(self.ask(peer, points=b"")[1][2]), 33 * self.count)
        self.assert_sent_away(self.ask(peer, points=BASE_POINT), peer)  # the own ones are sent
        self.assertLess(self.guest.peak_kib() / 1024, 160 if not f.SANITIZED else 1200)
        self.assertTrue(self.guest.is_running())

    def test_aligns_more_than_there_can_be(self):
        for numbers in ({1: 4000000, 3: 1}, {1: 2**32 - 1, 3: 2**32 - 1}, {1: 3, 2: 4, 3: 1}):
            peer = self.meet()
            self.ask(peer)
            peer.send(ALIGNED, {**numbers, 4: bytes(8)})
            self.assert_sent_away(peer.until(p.READY), peer)
        for _ in range(20):  # room for as many as a side may have, and then nothing
            peer = self.meet()
            self.ask(peer)
            peer.send(ALIGNED, {1: 3999999, 3: 1, 4: bytes(4)})
            peer.send(p.RESTORE, {2: 1})
            self.assert_sent_away(peer.until(p.READY), peer)
        self.assertLess(self.guest.peak_kib() / 1024, 160 if not f.SANITIZED else 1200)


class BadNodes(AlignmentCase):
    """The server lives, says why it drops one, and trains with the nodes that keep to the protocol."""

    def join_badly(self, server):
        """A connection in place of the guest's node, welcomed and asked for its ids."""
        info = read_json(shared / "apart" / "node-guest" / "portion.json")
        connection = socket.create_connection(("127.0.0.1", server.port))
        self.addCleanup(connection.close)
        connection.settimeout(b.PATIENCE)
        stream = connection.makefile("rwb")
        self.addCleanup(stream.close)
        p.send(stream, p.HELLO, {**p.hello(info), 14: 0, 15: own.ids_digest(draw(0, 0.8)).encode()})
        self.assertEqual(p.receive(stream)[0], p.WELCOME)
        self.assertEqual(p.receive(stream)[0], ALIGN_REQUEST)
        return stream

    def begin(self, *options, **changes):
        server, nodes = self.start(self.experiment(**changes), *options, order=("host",))
        return server, nodes

    def end_with_the_right_one(self, server, nodes):
        nodes["guest"] = self.node(server, "guest")
        self.end_well(server, nodes)
        self.assertEqual(tensors(self.folder / "run", self.folder / "states"), self.local(shared / "apart")[0])

    def test_answers_of_a_wrong_form(self):
        server, nodes = self.begin()
        count = sum(map(len, draw(0, 0.8)))
        for number, answer in enumerate(({}, {1: bytes(16)}, {1: bytes(16 * count + 16)}, {2: BASE_POINT * count},
                                         {1: bytes(16 * count), 2: BASE_POINT})):
            stream = self.join_badly(server)
            p.send(stream, ALIGN_IDS, answer)
            self.assertEqual(self.refusal(stream), 6)
            server.wait_event("node_lost", number + 1, portion=0)
        self.end_with_the_right_one(server, nodes)

    def test_points_that_are_none(self):
        server, nodes = self.begin(align="psi")
        stream = self.join_badly(server)
        count = sum(map(len, draw(2, 0.9)))
        p.send(stream, ALIGN_IDS, {2: BASE_POINT * count})  # all the same: of different ids they cannot be
        self.assertEqual(self.refusal(stream), 6)
        server.wait_event("node_lost", portion=0)
        self.end_with_the_right_one(server, nodes)

    def test_no_answer(self):
        server, nodes = self.begin("--answer-timeout", "1")
        stream = self.join_badly(server)
        self.assertEqual(self.refusal(stream), 6)
        self.assertIn("AlignIds", server.wait_event("node_dropped", portion=0)["message"])
        server.wait_event("node_lost", portion=0)
        self.end_with_the_right_one(server, nodes)

    def refusal(self, stream):
        while True:
            kind, fields = p.receive(stream)
            if kind == p.PING:
                p.send(stream, p.PING, {})
            else:
                self.assertEqual(kind, p.REFUSAL)
                return fields[1]


if __name__ == "__main__":
    unittest.main()

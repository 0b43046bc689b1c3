#!/usr/bin/python3
"""A node's own limits hold against any server: memory, disk and what it has committed. Every message that a server sends
is tried at its worst; the node lives, or refuses with one line, and loses nothing."""
import hashlib
import itertools
import pathlib
import re
import shutil
import signal
import tempfile
import time
import unittest

from lib import bad_server as b, fleet as f, plain_node as p
from lib.bad_server import BadServer
from lib.fleet import read_json, wait_until

MEMORY, STATE = 64, 8  # MiB: --max-memory, --max-state
# A node without a net: its program, a portion, frames and queues in and out. Sanitizers have memory of their own.
PROGRAM = 160 if not f.SANITIZED else 1200
shared = None  # pathlib.Path of what all tests use


def setUpModule():
    global shared
    shared = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-bad-server-"))
    unittest.addModuleCleanup(shutil.rmtree, shared, ignore_errors=True)
    f.split_set(f.make_set(shared / "source", 300, 100), shared / "split")
    trainer = f.Fleet()
    try:
        trainer.train_local(f.write_experiment(shared / "experiment.yaml", training__epochs=1), shared / "split",
                            shared / "run")
    finally:
        trainer.close()


def contents(folder):
    """Every file with its bytes' digest, and every folder."""
    return {str(path.relative_to(folder)): path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")}


class BadServerCase(f.FleetCase):
    def setUp(self):
        super().setUp()
        self.server = BadServer()
        self.addCleanup(self.server.close)
        self.state = self.folder / "state"

    def node(self, *options, **how):
        return self.fleet.node(0, self.server.port, shared / "split", self.state, "--max-memory", MEMORY, "--max-state",
                               STATE, *options, **how)

    def resolved(self, **changes):
        """The text of the trained run's experiment, with other values for some keys."""
        text = (shared / "run/experiment.yaml").read_text()
        for key, value in changes.items():
            text, count = re.subn(rf"(?m)^(  {key}: ).*$", rf"\g<1>{value}", text)
            self.assertGreaterEqual(count, 1, key)
        return text

    def written(self):
        return sum(path.stat().st_size for path in self.state.rglob("*") if path.is_file())

    def assert_small(self, node, nets=MEMORY):
        self.assertLess(node.peak_kib() / 1024, nets + PROGRAM, self.fleet.explain())

    def assert_refused(self, node, peer, pattern):
        """It ends with one line, and has not grown."""
        peer.close()  # else it would wait a second for that
        node.wait(7)
        said = [line for line in node.said.splitlines() if line.startswith("encoder_node: ")]
        self.assertEqual(len(said), 1, node.said)
        self.assertRegex(said[0], pattern)


class Memory(BadServerCase):
    """Every corner of what makes a net large; a batch goes through what is taken."""
    CORNERS = list(itertools.product((1, 2000, 65536), (1, 64), (2, 8192), ("false", "true")))

    def test_of_a_welcome(self):
        refused = 0
        for hidden, bits, batch, norm in self.CORNERS:
            with self.subTest(hidden=hidden, bits=bits, batch_size=batch, norm=norm):
                node = self.node()
                peer = self.server.meet(self.resolved(hidden=hidden, bits=bits, batch_size=batch, batch_norm=norm))
                kind, fields = peer.restore()
                if kind == p.REFUSAL:
                    refused += 1
                    self.assertRegex(fields[2].decode(), r"takes? \d+ MiB of memory, \d+ MiB are left")
                    self.assert_refused(node, peer, r"takes? \d+ MiB of memory, \d+ MiB are left")
                else:
                    rows = min(batch, 300)
                    self.assertEqual(peer.train(0, rows)[0], b.ACTIVATIONS)
                    self.assertEqual(peer.train(1, rows)[0], b.ACTIVATIONS)
                    self.assert_small(node)
                node.close()
                peer.close()
        self.assertIn(refused, range(4, len(self.CORNERS) - 4))  # both kinds were tried

    def test_of_another_model(self):
        """Beside the one in use: both count. The node goes on with the one in use."""
        shutil.copytree(shared / "run/nodes/node-0", self.state)
        run, step = read_json(shared / "run/identity.json")["run"], read_json(shared / "run/manifest.json")["last"]["step"]
        node = self.node()
        peer = self.server.meet(self.resolved(), b.SERVE, int(run, 16))
        self.assertEqual(peer.restore(step, fresh=False)[0], p.READY)
        for number, (hidden, bits, batch, norm) in enumerate(self.CORNERS * 4):
            text = self.resolved(hidden=hidden, bits=bits, batch_size=batch, batch_norm=norm).encode()
            peer.send(p.PREPARE, {1: number + 1, 2: step, 4: ("fixed", int(run, 16)), 5: text})
            kind, fields = peer.until(p.PREPARED)
            self.assertEqual(kind, p.PREPARED)
            self.assertTrue(fields.get(3))
        peer.send(p.REQUEST, {1: 5, 2: bytes(196)})
        self.assertEqual(peer.until(p.ANSWER)[1][2], 5)
        self.assert_small(node)
        self.assertTrue(node.is_running())


class Texts(BadServerCase):
    def test_bombs(self):
        """Whatever a Welcome brings as an experiment is refused at once, in little memory."""
        good = self.resolved()
        aliases = "a: &a [x, x]\n" + "".join(f"{c}: &{c} [*{a}, *{a}]\n" for a, c in zip("abcdefghijklmno", "bcdefghijklmnop"))
        texts = {"long": b"a" * 4_000_000, "comments": good + "#" * (32 << 10), "deep": "a: " + "[" * 32000,
                 "deep maps": "{a: " * 8000, "aliases": aliases + good,
                 "an alias of itself": "a: &a [*a]\n" + good, "NUL": good.replace("tiny", "ti\0ny"), "no UTF-8": b"name: \xff\xfe\n",
                 "empty": "", "tabs": "\t\t",
                 "many keys": "".join(f"k{i}: 1\n" for i in range(3600)), "huge numbers": good.replace("bits: 4", "bits: " + "9" * 30000)}
        for name, text in texts.items():
            with self.subTest(name):
                node = self.node()
                began = time.monotonic()
                peer = self.server.meet(text)
                self.assertEqual(peer.restore()[0], p.REFUSAL)
                self.assertLess(time.monotonic() - began, 2 if not f.SANITIZED else 20)
                self.assert_refused(node, peer, "the server's experiment")
        self.assertFalse(self.state.exists() and contents(self.state))


class Disk(BadServerCase):
    def test_saving_without_training(self):
        """Restore and Save in a loop write nothing, and neither do Welcomes to runs without number."""
        self.node()
        for run in range(20):
            peer = self.server.meet(self.resolved(), run=run)
            for step in range(20):
                self.assertEqual(peer.restore(step)[0], p.READY)
                self.assertIn("nothing was trained", peer.save(step))
            peer.close()
        wait_until(lambda: len(contents(self.state)) <= 2, "the folders to go", explain=self.fleet.explain)  # of the last run
        self.assertEqual(self.written(), 0)

    def test_saving_in_a_loop(self):
        """With a step between: until --max-state is full, in all runs and trainings together."""
        node = self.node()
        errors = 0
        for run in range(3):
            peer = self.server.meet(self.resolved(hidden=500), run=run, training=run)
            peer.restore()
            for step in range(12):
                peer.train(step)
                said = peer.save(step + 1)
                if isinstance(said, str):
                    errors += 1
                    self.assertIn("--max-state", said)
                self.assertLessEqual(self.written(), STATE << 20)
            peer.close()
        self.assertGreater(errors, 12)
        self.assertGreater(self.written(), STATE << 19)
        self.assertTrue(node.is_running())

    def test_writing_and_removing_in_a_loop(self):
        """A server that has each step removed again writes as much as --max-state within a minute, no more."""
        self.node()
        peer = self.server.meet(self.resolved(hidden=500))
        peer.restore()
        saved = 0
        for step in range(24):
            peer.train(step)
            said = peer.save(step + 1)
            if isinstance(said, str):
                self.assertIn("within a minute", said)
                break
            saved += 1
            peer.send(b.COMMITTED, {1: [step + 1]})
        size = self.written()
        self.assertLessEqual(saved * size, 8 << 20)
        self.assertGreater(saved * size, 6 << 20)

    def test_steps_that_are_not_there(self):
        """A Restore of what is not there makes nothing and ends the node with one line."""
        for step, mode in itertools.product((1, 7, 2**63, 2**64 - 1), (b.TRAIN, b.SERVE)):
            node = self.node()
            peer = self.server.meet(self.resolved(), mode)
            self.assertEqual(peer.restore(step, fresh=False)[0], p.REFUSAL)
            self.assert_refused(node, peer, f"step-{step}.safetensors: No such file")
        self.assertFalse(self.state.exists() and contents(self.state))


class Committed(BadServerCase):
    """What a finished training has left stays as it is, whoever comes under its number."""

    def setUp(self):
        super().setUp()
        shutil.copytree(shared / "run/nodes/node-0", self.state)
        identity = read_json(shared / "run/identity.json")
        self.run_id, self.training = int(identity["run"], 16), int(identity["training"], 16)
        self.step = read_json(shared / "run/manifest.json")["last"]["step"]
        self.before = contents(self.state)

    def assert_kept(self):
        after = contents(self.state)
        self.assertEqual({name: after.get(name) for name in self.before}, self.before)

    def test_every_way_to_overwrite_or_remove(self):
        keeps = ([], [0], [1], [self.step + 1], [2**64 - 1], [self.step - 1, self.step + 1], list(range(8)))
        for training, first in itertools.product((0, 1, self.training), (self.step - 1, self.step, self.step + 5)):
            with self.subTest(is_its=training == self.training, first=first):
                node = self.node()
                peer = self.server.meet(self.resolved(), run=self.run_id, training=training)
                self.assertEqual(peer.restore(first)[0], p.READY)
                peer.save(first)
                peer.train(first)
                peer.save(first + 1)
                self.assert_kept()
                for keep in keeps:
                    if training != self.training or self.step + 1 not in keep or first != self.step:
                        peer.send(b.COMMITTED, {1: keep})
                peer.send(b.BATCH, {1: first + 1, 2: 1, 5: 1})
                peer.until(b.ACTIVATIONS)  # all before it has been taken
                self.assert_kept()
                node.close()
                peer.close()

    def test_other_bytes_of_a_committed_step(self):
        node = self.node()
        peer = self.server.meet(self.resolved(), run=self.run_id, training=self.training)
        peer.restore(self.step - 1)
        peer.train(self.step - 1)
        self.assertIn("was committed with other bytes", peer.save(self.step))
        self.assert_kept()
        self.assertTrue(node.is_running())

    def test_the_same_bytes_are_not_written_again(self):
        self.node()
        digest = bytes.fromhex(read_json(shared / "run/manifest.json")["last"]["encoders"][0])
        peer = self.server.meet(self.resolved(), run=self.run_id, training=self.training)
        path = next(self.state.rglob("step-*"))
        began = path.stat().st_mtime_ns
        self.assertEqual(peer.restore(self.step, False, digest)[0], p.READY)
        self.assertEqual(peer.save(self.step), digest)
        self.assertEqual(path.stat().st_mtime_ns, began)

    def test_another_experiment_or_other_data_under_its_number(self):
        cases = [(self.resolved(**{key: value}), shared / "split", "is of another experiment")
                 for key, value in (("hidden", 33), ("seed", 2), ("epochs", 9), ("learning_rate", 0.5))]
        other = f.split_set(f.make_set(self.folder / "other", 300, 100, seed=99), self.folder / "other-split")
        cases.append((self.resolved(), other, "is of data with digest"))
        for text, data, pattern in cases:
            with self.subTest(pattern):
                node = self.fleet.node(0, self.server.port, data, self.state)
                peer = self.server.meet(text, run=self.run_id, training=self.training)
                self.assertEqual(peer.until(p.READY)[0], p.REFUSAL)
                self.assert_refused(node, peer, f"run.json: {pattern}")
                self.assertEqual(contents(self.state), self.before)


class Floods(BadServerCase):
    """Each message again and again, by a server that reads no answer."""
    SECONDS = 0.2

    def flood(self, peer, data):
        """Sends until the node takes no more for a while, or the time is over."""
        peer.connection.settimeout(0.3)
        end = time.monotonic() + self.SECONDS
        try:
            while time.monotonic() < end:
                peer.connection.sendall(data)
        except (TimeoutError, ConnectionError, BrokenPipeError):
            pass
        peer.close()

    def test_every_message(self):
        shutil.copytree(shared / "run/nodes/node-0", self.state)
        run, step = int(read_json(shared / "run/identity.json")["run"], 16), read_json(shared / "run/manifest.json")["last"]["step"]
        before = contents(self.state)
        text, wide = self.resolved().encode(), self.resolved(bits=64, batch_size=8192)
        train = {
            "Batch": b.frame(b.BATCH, {1: 0, 2: 1, 5: 300}), "Batch of one part": b.frame(b.BATCH, {1: 0, 2: 1, 3: 1, 5: 100}),
            "Batch by ids": b.frame(b.BATCH, {1: 0, 2: 1, 5: 8192, 6: bytes(4 * 8192)}),
            "Batch for bits": b.frame(b.BATCH, {1: 0, 2: 2, 5: 300}), "Restore": b.frame(p.RESTORE, {1: 0, 2: 1}),
            "Save": b.frame(b.SAVE, {1: 0}), "Committed": b.frame(b.COMMITTED, {1: [1, 2]}),
            "RefineRequest": b.frame(b.REFINE_REQUEST, {2: 1, 4: b"\xff" * 124}), "Gradients": b.frame(b.GRADIENTS, {2: 1, 3: bytes(256)}),
            "large Gradients": b.frame(b.GRADIENTS, {2: 1, 3: bytes(4_000_000)}), "large Committed": b.frame(b.COMMITTED, {1: [1] * 4_000_000}),
            "Welcome": b.frame(p.WELCOME, {1: 2, 3: 1, 4: text}), "Ping": b.frame(p.PING, {}),
        }
        serve = {
            "Request": b.frame(p.REQUEST, {1: 1, 2: bytes(196)}), "large Request": b.frame(p.REQUEST, {1: 1, 2: bytes(4_000_000)}),
            "Prepare": b.frame(p.PREPARE, {1: 9, 2: step + 1, 4: ("fixed", run), 5: text}),
            "Prepare and back": b.frame(p.PREPARE, {1: 9, 2: step, 4: ("fixed", run), 5: text}) + b.frame(p.SWITCH, {1: step % 2**32}),
            "Switch": b.frame(p.SWITCH, {1: step % 2**32}), "Ack": b.frame(b.ACK, {1: 2**64 - 1}), "Begin": b.frame(p.BEGIN, {}),
            "Restore": b.frame(p.RESTORE, {1: step}), "Refusal": b.frame(p.REFUSAL, {1: 7, 2: b"x" * 4_000_000}),
        }
        for mode, messages in ((b.TRAIN, train), (b.SERVE, serve)):
            node = self.node("--stream", "test")
            for name, data in messages.items():
                with self.subTest(name, mode=mode):
                    peer = self.server.meet(wide if mode == b.TRAIN else text, mode, run if mode == b.SERVE else 0x77)
                    self.assertEqual(peer.restore(0 if mode == b.TRAIN else step, mode == b.TRAIN)[0], p.READY)
                    self.flood(peer, data * max(1, min(2000, 200_000 // len(data))))
                    self.assert_small(node)
                    self.assertTrue(node.is_running(), self.fleet.explain())
                    self.assertLess(node.error_path.stat().st_size, 100_000)
            node.close()
        after = contents(self.state)
        self.assertEqual({name: after.get(name) for name in before}, before)
        self.assertLess(len(after) - len(before), 4)


class LongWork(BadServerCase):
    """A server that asks for minutes of work at a time, in tasks of some ten milliseconds or of less."""
    BATCHES = b.frame(b.BATCH, {1: 0, 2: 1, 5: 300}) * 4000
    LARGE, SMALL = 12000, 2000

    def meet(self, hidden):
        peer = self.server.meet(self.resolved(hidden=hidden))
        self.assertEqual(peer.restore()[0], p.READY)
        return peer

    def busy_node(self, hidden):
        """A node in the midst of the batches, and its server's side."""
        node = self.node("--max-memory", 1024)
        peer = self.meet(hidden)
        peer.send_raw(self.BATCHES)
        self.assertEqual(peer.receive()[0], b.ACTIVATIONS)
        return node, peer

    def test_nothing_is_done_for_one_that_is_gone(self):
        for hidden in (self.LARGE, self.SMALL):
            with self.subTest(hidden=hidden):
                node, peer = self.busy_node(hidden)
                peer.close()
                began = time.monotonic()
                self.meet(hidden).close()
                self.assertLess(time.monotonic() - began, 5)
                node.close()

    def test_a_stop_waits_for_one_task(self):
        for hidden in (self.LARGE, self.SMALL):
            with self.subTest(hidden=hidden):
                node, peer = self.busy_node(hidden)
                node.signal(signal.SIGTERM)
                peer.close()
                node.wait(0, 3)


if __name__ == "__main__":
    unittest.main()

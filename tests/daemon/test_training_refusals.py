#!/usr/bin/python3
"""Whoever and whatever does not belong into a training is refused, with one line that says why."""
import json
import shutil
import signal
import unittest

from lib import fleet as f, training
from lib.fleet import read_json, weights
from lib.relay import Between
from lib.training import OWN, SLOW, TEST, TRAIN, TrainingCase, setUpModule  # noqa: F401: unittest finds setUpModule here


class Meddler(Between):
    """Each change is done to one message of activations, one message to a connection."""
    ACTIVATIONS = 7

    def __init__(self, port, changes):
        self.changes, self.changed = list(changes), set()
        super().__init__(port, self.change)

    def change(self, kind, fields, connection):
        if kind != self.ACTIVATIONS or not self.changes or connection in self.changed:
            return True
        self.changed.add(connection)
        return kind, {**fields, **self.changes.pop(0)(fields)}


class Refusals(TrainingCase):
    def waiting_server(self):
        return self.fleet.train(self.experiment(), self.split, self.run_folder)

    def assert_refused(self, node, pattern):
        node.wait(7)
        lines = [line for line in node.said.splitlines() if line.startswith("encoder_node: ")]
        self.assertEqual(len(lines), 1, node.said)
        self.assertRegex(lines[0], pattern)

    def test_a_portion_twice(self):
        server = self.waiting_server()
        first = self.fleet.node(0, server, self.split, self.folder / "first", "--exit-when-done", name="first")
        server.wait_event("node_joined", portion=0, message=": first$")
        second = self.fleet.node(0, server, self.split, self.folder / "second", "--exit-when-done", name="second")
        server.wait_event("node_refused", 2, message="^second is refused: portion 0 is taken by first")
        self.assertTrue(second.is_running())
        others = self.fleet.nodes(server, self.split, self.states, "--exit-when-done", order=(1, 2))
        first.kill()
        server.wait_event("node_joined", portion=0, message=": second$")
        others += [self.fleet.node(3, server, self.split, self.states / "node-3", "--exit-when-done")]
        self.end_well(server, [second, *others])
        shutil.move(self.folder / "second", self.states / "node-0")
        self.assertEqual(weights(self.run_folder, self.states), self.reference(self.experiment())[1])

    def test_a_node_says_why_it_waits(self):
        server = self.waiting_server()
        self.fleet.nodes(server, self.split, self.states, order=(0,))
        second = self.fleet.node(0, server, self.split, self.folder / "second", name="second")
        server.wait_event("node_refused", 4, message="^second is refused: portion 0 is taken by node-0")
        self.assertRegex(second.said, "portion 0 is taken by node-0.*trying again until it works")

    def test_activations_that_do_not_fit(self):
        """Refused, and the training goes on to the same weights once they fit."""
        experiment = self.experiment(**OWN, encoder__bits=3)  # 30 bits a batch, in four bytes
        server = self.fleet.train(experiment, self.split, self.run_folder)
        meddler = Meddler(server.port, (
            lambda fields: {5: fields[5][:3] + bytes([fields[5][3] | 0x80])},
            lambda fields: {5: fields[5][:3]},
            lambda fields: {5: fields[5] + b"\0"},
            lambda fields: {4: bytes(4 * 30)},  # beside the bits
            lambda fields: {4: bytes(4 * 30), 5: b""},  # in their place
            lambda fields: {4: b"\0\0\xc0\x7f" * 30, 5: b""},  # not numbers
            lambda fields: {3: 9},
            lambda fields: {1: fields.get(1, 0) + 1},
        ))
        self.addCleanup(meddler.listener.close)
        nodes = self.fleet.nodes(server, self.split, self.states, "--exit-when-done", order=(0, 1, 3))
        nodes.append(self.fleet.node(2, meddler.port, self.split, self.states / "node-2", "--exit-when-done"))
        server.wait_event("node_dropped", 8, portion=2, message="sent activations that were not asked for or do not fit")
        self.end_well(server, nodes)
        self.assertEqual(meddler.changes, [])
        self.assert_same_weights(experiment)

    def test_an_encoder_that_diverges_ends_it(self):
        """Its outputs are no numbers, again when all have gone back; the head's would still be."""
        experiment = self.experiment(decoder__net="identity", classifier__net="mlp", optimiser__kind="adamw",
                                     optimiser__learning_rate=1, optimiser__weight_decay=10, training__epochs=50)
        said = r"(?m)^decoder_server: portion \d's outputs are no numbers at step \d+: a lower learning rate"
        server, nodes = self.start(experiment)
        server.wait(3)
        self.assertRegex(server.said, said)
        for node in nodes:
            node.wait(0)
        local = self.fleet.start("local", f.binary("decoder_server"), "train", experiment, "--local", "--data", self.split,
                                 "--labels", self.split / "server", "--out", self.folder / "local")
        local.wait(3)
        self.assertRegex(local.said, said)

    def test_data_that_does_not_fit(self):
        server = self.waiting_server()
        other = f.make_set(self.folder / "other-source", TRAIN, TEST, seed=8)
        cases = (
            ("quadrants", f.split_set(training.shared / "source", self.folder / "a", "--partition", "quadrants"),
             r"u8 \[1, 14, 14\], does not fit: this run wants mnist, u8 \[1, 7, 28\]"),
            ("halves", f.split_set(training.shared / "source", self.folder / "b", "--portions", "2"),
             r"u8 \[1, 14, 28\], does not fit: this run wants mnist, u8 \[1, 7, 28\]"),
            ("another set", f.split_set(training.shared / "source", self.folder / "c", name="fashion-mnist"),
             r"fashion-mnist, u8 \[1, 7, 28\], does not fit: this run wants mnist"),
            ("another digest", f.split_set(other, self.folder / "d"), "portion 1 .*digest differs"),
            ("fewer training samples", f.split_set(training.shared / "source", self.folder / "e", "--train", "1999"),
             "1999 training and 500 test samples, the labels 2000 and 500"),
            ("fewer test samples", f.split_set(training.shared / "source", self.folder / "f", "--test", "499"),
             "2000 training and 499 test samples, the labels 2000 and 500"),
        )
        for name, split, pattern in cases:
            with self.subTest(name):
                node = self.fleet.node(1, server, split, self.folder / "state", name="stranger")
                self.assert_refused(node, f"the server says: .*{pattern}")
                self.assertRegex(server.said, f"stranger is refused: .*{pattern}")
        with self.subTest("portion unknown"):
            split = f.split_set(training.shared / "source", self.folder / "g", "--portions", "7")
            self.assert_refused(self.fleet.node(5, server, split, self.folder / "state"), "there is no portion 5, only 0, 1, 2, 3")
        self.end_well(server, self.fleet.nodes(server, self.split, self.states, "--exit-when-done"))
        self.assert_same_weights(self.experiment())

    def test_portion_flag_is_checked_against_the_data(self):
        node = self.fleet.node(1, 1, self.split, self.folder / "state", "--portion", "2")
        node.wait(3)
        self.assertRegex(node.said, r"^encoder_node: .*node-1: holds portion 1, not 2\n$")

    def stopped_run(self):
        """A run stopped after some checkpoints."""
        experiment = self.experiment(**SLOW, training__checkpoint_every=7, training__epochs=3)
        server, nodes = self.start(experiment, node_options=())
        self.wait_for_event("committed", 4)
        server.signal(signal.SIGTERM)
        server.wait(130)
        for node in nodes:
            node.signal(signal.SIGTERM)
            node.wait(0)
        return experiment

    def part(self, k):
        manifest = read_json(self.run_folder / "manifest.json")
        folder = self.states / f"node-{k}" / manifest["run"] / f"portion-{k}"
        return folder / read_json(self.run_folder / "identity.json")["training"] / f"step-{manifest['last']['step']}.safetensors"

    def test_a_checkpoint_that_is_missing_or_altered(self):
        experiment = self.stopped_run()
        good = self.part(2).read_bytes()
        altered = bytearray(good)
        altered[-1] ^= 1
        cases = (("missing", None, "No such file"), ("altered", bytes(altered), "SHA-256 differs"),
                 ("cut short", good[:len(good) // 2], "safetensors"), ("empty", b"", "safetensors"),
                 ("another portion's", self.part(1).read_bytes(), "its part is 'encoder.1', not 'encoder.2'"))
        server, nodes = self.start(experiment, "--resume", order=(0, 1, 3))
        for name, content, pattern in cases:
            with self.subTest(name):
                self.part(2).unlink(missing_ok=True)
                if content is not None:
                    self.part(2).write_bytes(content)
                node = self.fleet.node(2, server, self.split, self.states / "node-2")
                self.assert_refused(node, pattern)
                self.assertTrue(server.is_running())
                server.wait_event("node_refuses", portion=2, message=pattern)
        self.part(2).write_bytes(good)
        nodes.append(self.fleet.node(2, server, self.split, self.states / "node-2", "--exit-when-done"))
        self.end_well(server, nodes)
        self.assert_same_weights(experiment)

    def test_a_head_that_is_missing_or_altered(self):
        experiment = self.experiment(training__epochs=1)
        self.fleet.train_local(experiment, self.split, self.run_folder)
        head = next((self.run_folder / "head").iterdir())
        good = head.read_bytes()
        for content, pattern in ((None, "No such file"), (good[:-1] + bytes([good[-1] ^ 1]), "SHA-256 differs")):
            with self.subTest(pattern):
                head.unlink()
                if content is not None:
                    head.write_bytes(content)
                local = self.fleet.start("resume", f.binary("decoder_server"), "train", experiment, "--local", "--data",
                                         self.split, "--labels", self.split / "server", "--out", self.run_folder, "--resume")
                self.assertIn(local.wait(), (3, 4))
                self.assertRegex(local.said, rf"(?m)^decoder_server: .*{head.name}: .*{pattern}")
                head.touch()

    def test_an_altered_encoder_in_one_process(self):
        experiment = self.experiment(training__epochs=1)
        self.fleet.train_local(experiment, self.split, self.run_folder)
        part = f.parts_of(self.run_folder / "nodes" / "node-3", self.run_folder, 3)[0]
        part.write_bytes(part.read_bytes()[:-1] + b"!")
        local = self.fleet.train_local(experiment, self.split, self.run_folder, "--resume", code=7)
        self.assertRegex(local.said, r"(?m)^decoder_server: node 3: .*SHA-256 differs")

    def test_every_log_line_can_be_json(self):
        experiment = self.experiment()
        local = self.fleet.train_local(experiment, self.split, self.run_folder, FEWBIT_LOG_FORMAT="json")
        again = self.fleet.train_local(experiment, self.split, self.run_folder, "--resume", "--epochs", "9", code=3,
                                       FEWBIT_LOG_FORMAT="json")
        lines = [json.loads(line) for line in local.error_path.read_text().splitlines()]
        self.assertEqual({line["program"] for line in lines}, {"decoder_server"})
        self.assertRegex(lines[-2]["message"], r"^epoch 2/2  loss ")
        self.assertEqual(lines[-1]["event"], "training_finished")
        self.assertIn(f"fewbit result {self.run_folder} ", lines[-1]["message"])
        self.assertRegex(again.said, r"^decoder_server: .*is a run of another experiment")  # nothing ran yet

    def test_an_existing_run_is_not_overwritten(self):
        experiment = self.experiment(training__epochs=1)
        self.fleet.train_local(experiment, self.split, self.run_folder)
        before = weights(self.run_folder)
        for options, pattern in ((("--epochs", "1"), "holds a run already; continue it with --resume"),
                                 (("--resume", "--seed", "9"), "is a run of another experiment"),
                                 (("--resume", "--epochs", "9"), "is a run of another experiment"),
                                 (("--resume", "--precision", "bf16"), "is a run of another experiment")):
            with self.subTest(options):
                again = self.fleet.train_local(experiment, self.split, self.run_folder, *options, code=3)
                self.assertRegex(again.said, rf"^decoder_server: .*{self.run_folder.name}: {pattern}[^\n]*\n$")
        self.assertEqual(weights(self.run_folder), before)

    def test_two_cannot_train_into_one_folder(self):
        experiment = self.experiment(training__epochs=1)
        server = self.fleet.train(experiment, self.split, self.run_folder)  # waits for its nodes
        again = self.fleet.train_local(experiment, self.split, self.run_folder, "--resume", code=3)
        self.assertRegex(again.said, rf"^decoder_server: .*{self.run_folder.name}: another process works in this folder\n$")
        server.signal(signal.SIGKILL)
        server.wait()
        self.fleet.train_local(experiment, self.split, self.run_folder, "--resume")  # its lock went with it

    def test_labels_of_another_split(self):
        split = f.split_set(training.shared / "source", self.folder / "quadrants", "--partition", "quadrants")
        local = self.fleet.train_local(self.experiment(), split, self.run_folder, code=3)
        self.assertRegex(local.said, r"wants mnist \(10 classes of 1x28x28\) in 4 slices, the labels are of mnist \(10 classes of 1x28x28\) in 4 quadrants")


if __name__ == "__main__":
    unittest.main()

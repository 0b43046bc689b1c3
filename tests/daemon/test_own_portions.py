#!/usr/bin/python3
"""Owners' own portions, of different type, shape, encoder and bits: packed one by one, trained over TCP and in one
process to the same bytes, and refused where they are not what the experiment lists."""
import json
import pathlib
import random
import shutil
import struct
import tempfile
import unittest

from lib import fleet as f
from lib.fleet import events, read_json, weights
from lib.serving import metric

SAMPLES, CLASSES = 300, 3
NAMES = ("guest", "host", "eye.2")
SHAPES = {"guest": ("|u1", "B", (7,)), "host": ("<f4", "f", (3, 20)), "eye.2": ("|u1", "B", (1, 6, 5))}
RAW_BITS = 8 * 7 + 32 * 60 + 8 * 30

EXPERIMENT = """\
name: own
dataset: {{name: parts{dataset}}}
portions:
  - name: guest
    shape: [7]
    type: u8
    encoder: {{bits: 3{guest}}}
  - {{name: host, shape: [3, 20], type: f32, encoder: {{bits: 8, hidden: 24, batch_norm: true{host}}}}}
  - {{name: eye.2, shape: [1, 6, 5], type: u8, encoder: {{net: conv-norm, hidden: 8, bits: {eye_bits},
     binarize: straight-through{eye}}}}}
encoder: {{net: simple-1d, hidden: 16, bits: 5, activation: sigmoid}}
decoder: {{net: {decoder}}}
classifier: {{net: mlp, hidden: 16}}
loss: {{quantization: 0.5{loss}}}
optimiser: {{kind: adam, learning_rate: 0.01}}
training: {{epochs: 3, batch_size: 20, seed: 1{training}}}
"""
PLAIN = {"dataset": "", "guest": "", "host": "", "eye": "", "eye_bits": 1, "decoder": "identity", "loss": "",
         "training": ""}

shared = None


def write_npy(path, dtype, code, shape, values):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() +
                     struct.pack(f"<{len(values)}{code}", *values))


def make_parts(folder, seed=3):
    """Each portion tells a little of the class: its mean grows with it."""
    draws = random.Random(seed)
    classes = [draws.randrange(CLASSES) for _ in range(SAMPLES)]
    folder.mkdir()
    for name, (dtype, code, shape) in SHAPES.items():
        size = 1
        for side in shape:
            size *= side
        def value(c):
            x = c + draws.gauss(0, 1.2)
            return x if code == "f" else min(255, max(0, int(60 + 40 * x)))
        write_npy(folder / f"{name}.npy", dtype, code, (SAMPLES, *shape), [value(c) for c in classes for _ in range(size)])
    write_npy(folder / "labels.npy", "<i8", "q", (SAMPLES,), classes)


def pack(fleet, source, to):
    for name in NAMES:
        fleet.run("pack", f.binary("fewbit"), "data", "pack", source / f"{name}.npy", "--dataset", "parts", "--portion", name,
                  "--to", to / f"node-{name}", code=0)
    fleet.run("pack", f.binary("fewbit"), "data", "pack", source / "labels.npy", "--labels", "--dataset", "parts",
              "--to", to / "server", code=0)


def setUpModule():
    global shared
    shared = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-own-"))
    unittest.addModuleCleanup(shutil.rmtree, shared, ignore_errors=True)
    for name, seed in (("parts", 3), ("others", 4)):
        make_parts(shared / f"{name}-source", seed)
        fleet = f.Fleet()
        pack(fleet, shared / f"{name}-source", shared / name)
        fleet.close()


class OwnPortions(f.FleetCase):
    def setUp(self):
        super().setUp()
        self.states, self.run_folder = self.folder / "states", self.folder / "run"

    def experiment(self, **changes):
        path = self.folder / "experiment.yaml"
        path.write_text(EXPERIMENT.format(**{**PLAIN, **changes}))
        return path

    def node(self, server, k, *options, data=None, name=None):
        return self.fleet.start(f"node-{k}", f.binary("encoder_node"), "--server", f"127.0.0.1:{server.port}",
                                "--name", name or f"owner-{k}", "--data", data or shared / "parts" / f"node-{NAMES[k]}",
                                "--state", self.states / f"node-{k}", *options)

    def train_both(self, **changes):
        """Over TCP and in one process: the same bytes. Returns the result."""
        experiment, local = self.experiment(**changes), self.folder / "local"
        self.fleet.train_local(experiment, shared / "parts", local)
        server = self.fleet.train(experiment, shared / "parts", self.run_folder)
        nodes = [self.node(server, k, "--exit-when-done") for k in (2, 0, 1)]
        server.wait(0)
        for node in nodes:
            node.wait(0)
        self.assertEqual(weights(self.run_folder, self.states, 3), weights(local, portions=3))
        self.assertEqual(len(weights(local, portions=3)), 4)
        ours, theirs = read_json(self.run_folder / "result.json"), read_json(local / "result.json")
        for entry in ours["history"] + theirs["history"]:
            del entry["seconds"]
        self.assertEqual(ours["history"], theirs["history"])
        return ours

    def test_portions_of_different_type_shape_and_bits(self):
        result = self.train_both()
        self.assertEqual(result["portions"], [{"name": "guest", "bits": 3}, {"name": "host", "bits": 8},
                                              {"name": "eye.2", "bits": 1}])
        self.assertEqual(result["bits_per_sample"]["payload"], 12)
        self.assertEqual(result["raw_bits_per_sample"], RAW_BITS)
        self.assertGreater(result["final"]["rounded_accuracy"], 60)
        encoders = result["history"][-1]["encoders"]
        self.assertEqual([len(e["ones"]) for e in encoders], [3, 8, 1])
        tested = read_json(shared / "parts" / "server" / "labels.json")["test_samples"]
        self.assertEqual([sum(e["bins"]) for e in encoders], [bits * tested for bits in (3, 8, 1)])

    def test_with_stages_and_missing_portions(self):
        result = self.train_both(guest=", refinement: [1, 2]", host=", refinement: [6, 2]", eye=", refinement: [1, 1]",
                                 eye_bits=2, decoder="linear", loss=", refinement_weights: [1, 2]",
                                 training=", portion_dropout: 0.25, confidence_thresholds: [0, 0.9, 1.1]")
        table = result["final"]["refinement"]
        self.assertEqual((table[0]["bits"], table[-1]["bits"]), (8, 13))  # the first stages of all, and all
        self.assertTrue(8 <= table[1]["bits"] <= 13)

    def test_data_that_is_not_what_is_listed(self):
        experiment = self.experiment()
        server = self.fleet.train(experiment, shared / "parts", self.run_folder)
        wrong = self.folder / "wrong" / "node-guest"
        self.fleet.run("pack", f.binary("fewbit"), "data", "pack", shared / "parts-source" / "host.npy", "--dataset",
                       "parts", "--portion", "guest", "--to", wrong, code=0)
        node = self.node(server, 0, data=wrong)
        node.wait(7)
        self.assertIn("portion guest of parts, f32 [3, 20], does not fit: this run wants parts, u8 [7]", node.said)
        self.fleet.run("pack", f.binary("fewbit"), "data", "pack", shared / "parts-source" / "guest.npy", "--dataset",
                       "parts", "--portion", "nobody", "--to", self.folder / "nobody", code=0)
        node = self.node(server, 0, data=self.folder / "nobody")
        node.wait(7)
        self.assertIn("there is no portion nobody, only guest, host, eye.2", node.said)
        node = self.node(server, 0, "--portion", "host")
        node.wait(3)
        self.assertRegex(node.said, "holds portion guest, not host")
        good = self.node(server, 0)
        server.wait_event("node_joined", message="owner-0")
        good.kill()
        server.wait_event("node_lost")
        other = self.node(server, 0, data=shared / "others" / "node-guest")  # the same shape, but not the same data
        other.wait(7)
        self.assertIn("the data of portion guest is not what it was when this run began", other.said)
        self.assertEqual(events(self.run_folder, "finished"), [])

    def test_a_folder_that_is_missing_or_of_another_portion(self):
        """The run's folder is free for another try."""
        experiment, data, again = self.experiment(), self.folder / "data", self.folder / "again"
        shutil.copytree(shared / "parts", data)
        (data / "node-host").rename(data / "elsewhere")
        local = self.fleet.train_local(experiment, data, again, code=4)
        self.assertIn("node-host/portion.json: cannot open", local.said)
        shutil.copytree(data / "node-guest", data / "node-host")
        local = self.fleet.train_local(experiment, data, again, code=3)
        self.assertIn("node-host: holds portion guest, not host", local.said)
        self.fleet.train_local(experiment, shared / "parts", again)

    def serve(self):
        """A server of a run, and its nodes in the order of NAMES."""
        local, nodes = self.folder / "run", {}
        self.fleet.train_local(self.experiment(), shared / "parts", local)
        self.states = local / "nodes"
        server = self.fleet.serve(local)
        for k in (2, 0, 1):
            nodes[k] = self.node(server, k)
            server.wait_event("node_ready", message=f"portion {NAMES[k]} is ready")
        return server, [nodes[k] for k in range(3)]

    def test_a_server_says_portions_by_their_names(self):
        server, nodes = self.serve()
        for name in NAMES:
            self.assertEqual(metric(server, f'fewbit_node_ready{{portion="{name}"}}'), 1)
        watch = self.fleet.start("watch", f.binary("fewbit"), "status", "--watch", "--server", f"http://127.0.0.1:{server.http}")
        f.wait_until(lambda: "eye.2" in watch.printed, "the nodes", explain=self.fleet.explain)
        for k, name in enumerate(NAMES):
            self.assertRegex(watch.printed, rf"(?m)^{name} +owner-{k} +ready")
        nodes[1].kill()
        server.wait_event("node_left", message="portion host is gone")

    def test_a_load_of_random_portions(self):
        """Of each one's type and shape; as codes too, in place of the nodes, of as many bits as each has."""
        server, nodes = self.serve()
        load = ("load", f.binary("fewbit"), "loadtest", "--server", f"http://127.0.0.1:{server.http}", "--rate", 100,
                "--seconds", 1, "--json")
        report = json.loads(self.fleet.run(*load).printed)
        self.assertEqual((report["status"], report["mismatched"]), ({"200": report["sent"]}, 0))
        self.assertEqual(metric(server, 'fewbit_classifications_total{outcome="classified"}'), report["sent"])
        for node in nodes:
            node.kill()
        server.wait_event("node_left", 3)
        report = json.loads(self.fleet.run(*load, "--codes", f"127.0.0.1:{server.port}").printed)
        self.assertGreater(report["sent"], 0)
        self.assertEqual(report["probes_failed"], 0)
        self.assertEqual(metric(server, 'fewbit_samples_complete_total{source="stream"}'), report["sent"])

    def test_a_loss_that_is_no_number_leaves_the_run(self):
        text = self.experiment().read_text().replace("kind: adam, learning_rate: 0.01", "kind: sgd, learning_rate: 100")
        (self.folder / "wild.yaml").write_text(text.replace("epochs: 3", "epochs: 50"))
        local = self.fleet.train_local(self.folder / "wild.yaml", shared / "parts", self.folder / "wild", code=3)
        self.assertRegex(local.said, "the loss is|outputs are no numbers")
        self.assertTrue((self.folder / "wild" / "experiment.yaml").exists())

    def test_labels_of_something_else(self):
        experiment = self.experiment()
        text = experiment.read_text().replace("name: parts", "name: wholes")
        experiment.write_text(text)
        local = self.fleet.train_local(experiment, shared / "parts", self.folder / "none", code=3)
        self.assertIn("the experiment wants wholes, the labels are of parts", local.said)
        local = self.fleet.train_local(f.write_experiment(experiment), shared / "parts", self.folder / "none", code=3)
        self.assertIn("the labels are of owners' own portions: list these under portions", local.said)

    def test_a_batch_of_more_samples_than_there_are(self):
        text = self.experiment().read_text().replace("batch_size: 20", "batch_size: 1000")
        (self.folder / "wide.yaml").write_text(text)
        self.fleet.train_local(self.folder / "wide.yaml", shared / "parts", self.folder / "wide")


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""Systems for images as users run them: convolutions, dropout, pretrained classifiers, a classifier alone; plots.

The images are CIFAR's in shape only, and few: what is held here is that every way of training gives the same bits."""
import collections
import json
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest
import xml.dom.minidom

from lib import fleet as f, serving
from lib.fleet import events, read_json, wait_until

TRAIN, TEST, CLASSES = 60, 30, 10
PLANE = 32 * 32
PATIENCE = 600 if f.SANITIZED else 180

shared = None  # pathlib.Path of what all tests use


def setUpModule():
    global shared
    shared = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-images-"))
    unittest.addModuleCleanup(shutil.rmtree, shared, ignore_errors=True)
    make_cifar(shared / "source")
    f.split_set(shared / "source", shared / "planes", "--partition", "planes", name="cifar10")
    f.split_set(shared / "source", shared / "whole", "--portions", "1", name="cifar10")


def make_samples(count, seed):
    """CIFAR's records: ten coloured patterns under noise."""
    draw = random.Random(1)
    patterns = [[[draw.randrange(190) for _ in range(16)] for _ in range(3)] for _ in range(CLASSES)]
    draw = random.Random(seed)
    records = b""
    for _ in range(count):
        label = draw.randrange(CLASSES)
        pixels = bytes(pattern[y // 8 * 4 + x // 8] for pattern in patterns[label] for y in range(32) for x in range(32))
        records += bytes([label]) + bytes(p + (n >> 2) for p, n in zip(pixels, draw.randbytes(len(pixels))))
    return records


def make_cifar(folder, records=None):
    folder.mkdir(parents=True)
    for k in range(5):
        (folder / f"data_batch_{k + 1}.bin").write_bytes(records or make_samples(TRAIN // 5, k))
    (folder / "test_batch.bin").write_bytes(records or make_samples(TEST, 9))
    return folder


BASE = {
    "name": "small",
    "dataset": {"name": "cifar10", "partition": "planes", "portions": 3, "mean": 0.5, "std": 0.5},
    "encoder": {"net": "conv-c", "bits": 4, "batch_norm": "true", "activation": "sigmoid", "binarize": "after-training"},
    "decoder": {"net": "linear"},
    "classifier": {"net": "mnist", "hidden": 32},
    "loss": {"quantization": 1},
    "optimiser": {"kind": "adam", "learning_rate": 0.001},
    "training": {"epochs": 2, "batch_size": 10, "seed": 1},
}
ALONE = {
    **BASE,
    "name": "alone",
    "dataset": {"name": "cifar10", "partition": "slices", "portions": 1, "mean": 0.5, "std": 0.5},
    "encoder": {"net": "none"},
    "decoder": {"net": "none"},
    "classifier": {"net": "playground"},
    "loss": None,
}
# A classifier that takes milliseconds.
QUICK = {**ALONE, "classifier": {"net": "mnist", "hidden": 32}}
# AlexNet's first two convolutions and its dropout, 28 million weights an encoder: plain SGD keeps checkpoints small.
DROPOUT = {
    **BASE,
    "name": "dropout",
    "encoder": {**BASE["encoder"], "net": "alexnet-small"},
    "optimiser": {"kind": "sgd", "learning_rate": 0.01},
    "training": {"epochs": 1, "batch_size": 10, "seed": 1, "checkpoint_every": 5, "portion_dropout": 0.3},
}


def weights(run, portions, states=None):
    """The bytes' digests of every checkpoint part, by a name that is the same in one process and over TCP."""
    states = states or run / "nodes"
    parts = {f"head/{p.name}": p for p in (run / "head").iterdir()}
    for k in range(portions):
        parts.update({f"node-{k}/{p.name}": p for p in f.parts_of(states / f"node-{k}", run, k)})
    return {name: digest(path) for name, path in sorted(parts.items())}


def digest(path):
    return subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True).stdout.split()[0]


def history(run):
    """result.json's history without what is never the same."""
    entries = read_json(run / "result.json")["history"]
    for entry in entries:
        del entry["seconds"]
    return entries


def tensors(path):
    """name -> (shape, bytes) of a safetensors file."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    values = data[8 + length:]
    return {name: (entry["shape"], values[slice(*entry["data_offsets"])])
            for name, entry in header.items() if name != "__metadata__"}


def write_tensors(path, content):
    """name -> (shape, bytes), or (shape, bytes, dtype) of another type than F32."""
    header, values = {}, b""
    for name, (shape, data, *dtype) in content.items():
        header[name] = {"dtype": (dtype or ["F32"])[0], "shape": shape, "data_offsets": [len(values), len(values) + len(data)]}
        values += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + values)
    return path


def head_file(run):
    return run / "head" / f"step-{read_json(run / 'manifest.json')['last']['step']}.safetensors"


class ImageCase(f.FleetCase):
    pretrained_run = None

    def setUp(self):
        super().setUp()
        self.states = self.folder / "states"
        self.run_folder = self.folder / "run"

    def experiment(self, base, name="experiment", **changes):
        path = self.folder / f"{name}.yaml"
        path.write_text(f.experiment_text(base, **changes))
        return path

    def local(self, experiment, run, *options, split="planes", **how):
        return self.fleet.train_local(experiment, shared / split, run, *options, **how)

    def start_local(self, experiment, run, *options, split="planes"):
        return self.fleet.start("local", f.binary("decoder_server"), "train", experiment, "--local", "--data",
                                shared / split, "--labels", shared / split / "server", "--out", run, *options)

    def start_tcp(self, experiment, run, *options, port=0, order=(2, 0, 1)):
        server = self.fleet.train(experiment, shared / "planes", run, *options, port=port)
        return server, self.fleet.nodes(server, shared / "planes", self.states, "--exit-when-done", order=order)

    def end_well(self, server, nodes):
        server.wait(0, PATIENCE)
        for node in nodes:
            node.wait(0)

    def wait_for_commits(self, run, count):
        return wait_until(lambda: events(run, "committed")[count - 1:], f"{count} commits", PATIENCE,
                          self.fleet.explain)

    def kill_and_resume(self, experiment, run, commits, split="planes"):
        """Trains in one process, killed once `commits` checkpoints are committed, then resumed on one thread."""
        program = self.start_local(experiment, run, split=split)
        self.wait_for_commits(run, commits)
        program.freeze()
        program.kill()
        self.assertIsNone(read_json(run / "result.json"), "too late: the run was over")
        self.local(experiment, run, "--resume", "--threads", "1", split=split)
        self.assertEqual(len(events(run, "resumed")), 1)

    @classmethod
    def pretrained(cls, case):
        """The run of a classifier trained alone, made once."""
        if not ImageCase.pretrained_run:
            run = shared / "pretrained"
            case.local(case.experiment(ALONE, "pretrained"), run, split="whole")
            ImageCase.pretrained_run = run
        return ImageCase.pretrained_run

    def assert_every_way_is_the_same(self, experiment, commits, lose_a_node=False):
        """In one process on one and on two threads, over TCP, killed and resumed: the same bytes and figures."""
        reference = self.folder / "reference"
        self.local(experiment, reference, "--threads", "1")
        wanted = weights(reference, 3)
        self.assertEqual(len(wanted), 4)
        ways = {}
        ways["two threads"] = self.folder / "threads", None
        self.local(experiment, ways["two threads"][0], "--threads", "2")
        ways["killed and resumed"] = self.folder / "killed", None
        self.kill_and_resume(experiment, ways["killed and resumed"][0], commits)
        ways["over TCP"] = self.folder / "tcp", self.states
        server, nodes = self.start_tcp(experiment, ways["over TCP"][0])
        if lose_a_node:
            self.wait_for_commits(ways["over TCP"][0], 1)
            nodes[1].kill()
            nodes[1] = self.fleet.node(1, server, shared / "planes", self.states / "node-1", "--exit-when-done")
        self.end_well(server, nodes)
        self.assertEqual(len(events(ways["over TCP"][0], "lost")), lose_a_node)
        for way, (run, states) in ways.items():
            with self.subTest(way):
                self.assertEqual(weights(run, 3, states), wanted)
                self.assertEqual(history(run), history(reference))
        return reference


class SameBits(ImageCase):
    @unittest.skipIf(shutil.disk_usage(tempfile.gettempdir()).free < 12 << 30, "checkpoints of AlexNets need 12 GB of disk")
    def test_dropout(self):
        self.assert_every_way_is_the_same(self.experiment(DROPOUT), 1, lose_a_node=True)

    def test_convolutions_and_a_frozen_classifier(self):
        pretrained = self.pretrained(self)
        experiment = self.experiment(BASE, classifier={"net": "playground", "train": "frozen", "weights": pretrained},
                                     training__epochs=1, training__checkpoint_every=2)
        run = self.assert_every_way_is_the_same(experiment, 1)
        before, after = tensors(head_file(pretrained)), tensors(head_file(run))
        names = [name for name in after if name.startswith("classifier.")]
        self.assertEqual(set(names), {name for name in before if name.startswith("classifier.")})
        self.assertEqual({name: after[name] for name in names}, {name: before[name] for name in names})
        self.assertFalse([name for name in after if name.startswith("optimiser.classifier.")])
        self.assertIn("decoder.0.weight", after)

    def test_convolutions_and_a_fine_tuned_classifier(self):
        pretrained = self.pretrained(self)
        experiment = self.experiment(BASE, classifier={"net": "playground", "train": "fine-tune", "weights": pretrained},
                                     training__epochs=1, training__checkpoint_every=2, training__evaluate_every=3,
                                     training__precision="bf16")
        run = self.assert_every_way_is_the_same(experiment, 2)  # killed behind its first evaluation
        self.assertEqual(len(history(run)), 2)
        before, after = tensors(head_file(pretrained)), tensors(head_file(run))
        for name in before:
            if name.startswith("classifier."):
                self.assertEqual(before[name][0], after[name][0])
                self.assertNotEqual(before[name][1], after[name][1], f"{name} was not trained")
        # It began with those weights: six steps of Adam move none by more than about six learning rates.
        started, ended = (struct.unpack("<10f", t["classifier.classifier.0.bias"][1]) for t in (before, after))
        self.assertLess(max(abs(a - b) for a, b in zip(started, ended)), 0.012)


    def test_precision_is_heard_by_the_encoders(self):
        """Weights that stand still: what an encoder puts out depends on its own arithmetic alone."""
        distances = {}
        for precision in ("f32", "bf16"):
            run = self.folder / precision
            self.local(self.experiment(BASE, training__precision=precision, optimiser__learning_rate=1e-12), run)
            distances[precision] = [encoder["distance"] for encoder in history(run)[-1]["encoders"]]
        for one, other in zip(*distances.values()):
            self.assertNotEqual(one, other)
            self.assertAlmostEqual(one, other, delta=0.01)

    def test_precision_is_heard_by_the_head(self):
        f32, bf16 = self.pretrained(self), self.folder / "bf16"
        self.local(self.experiment(ALONE, training__precision="bf16"), bf16, split="whole")
        self.assertNotEqual(tensors(head_file(f32))["classifier.features.0.weight"],
                            tensors(head_file(bf16))["classifier.features.0.weight"])
        losses = [history(run)[0]["loss"] for run in (f32, bf16)]
        self.assertAlmostEqual(*losses, delta=0.2 * losses[0])
        by_flag = self.folder / "by-flag"
        self.local(self.experiment(ALONE), by_flag, "--precision", "bf16", split="whole")
        self.assertEqual(tensors(head_file(by_flag)), tensors(head_file(bf16)))


class Dropout(ImageCase):
    def test_is_drawn_anew_each_step(self):
        """Every sample alike and weights that stand still: only the draws can make one step's loss differ."""
        source = make_cifar(self.folder / "source", make_samples(1, 3) * 4)
        split = f.split_set(source, self.folder / "split", "--partition", "planes", name="cifar10")
        experiment = self.experiment(DROPOUT, encoder__batch_norm="false", optimiser__learning_rate=1e-12,
                                     training={"epochs": 3, "batch_size": 20, "seed": 1})
        self.fleet.train_local(experiment, split, self.run_folder)
        history = read_json(self.run_folder / "result.json")["history"]
        losses = [entry["loss"] for entry in history]
        self.assertEqual(len(set(losses)), 3, losses)
        self.assertEqual(len({json.dumps(entry["encoders"]) for entry in history}), 1, "dropout in a test")


class Alone(ImageCase):
    def test_any_number_of_threads_and_after_a_kill(self):
        experiment = self.experiment(ALONE, training__epochs=1, training__checkpoint_every=2, dataset__validation=10)
        wanted = None
        for threads in ("1", "2"):
            run = self.folder / f"run-{threads}"
            self.local(experiment, run, "--threads", threads, split="whole")
            wanted = wanted or weights(run, 0)
            self.assertEqual(weights(run, 0), wanted)
        killed = self.folder / "killed"
        self.kill_and_resume(experiment, killed, 1, split="whole")
        self.assertEqual(weights(killed, 0), wanted)
        self.assertEqual(history(killed), history(self.folder / "run-1"))

    def test_result(self):
        run = self.pretrained(self)
        result = read_json(run / "result.json")
        self.assertEqual(set(result), {"experiment", "run", "final", "epochs", "seconds", "seconds_per_epoch", "steps",
                                       "history"})
        final = result["final"]
        self.assertEqual(set(final), {"epoch", "train_accuracy", "soft_accuracy", "rounded_accuracy",
                                      "soft_validation_accuracy", "validation_accuracy", "test"})
        self.assertIsNone(final["rounded_accuracy"])
        confusion = final["test"]["confusion"]
        right = sum(row[c] for c, row in enumerate(confusion))
        self.assertAlmostEqual(100 * right / final["test"]["samples"], final["soft_accuracy"])
        self.assertGreater(final["soft_accuracy"], 30, "hardly above chance")
        self.assertEqual((result["epochs"], result["steps"], len(result["history"])), (2, 12, 2))
        self.assertNotIn("encoders", result["history"][0])
        said = subprocess.run([f.binary("fewbit"), "result", run], capture_output=True, text=True, check=True,
                              env=f.environment()).stdout
        self.assertRegex(said, r"accuracy +training +[\d.]+ % +test +[\d.]+ %")
        self.assertNotIn("rounded", said)

    def test_progress_and_resuming_a_finished_run(self):
        experiment = self.experiment(QUICK, training__epochs=3)
        program = self.local(experiment, self.run_folder, split="whole")
        self.assertEqual(len(re.findall(r"(?m)^epoch \d/3 .* test [\d.]+ %", program.said)), 3)
        before = weights(self.run_folder, 0), (self.run_folder / "result.json").read_bytes()
        self.local(experiment, self.run_folder, "--resume", split="whole")
        self.assertEqual((weights(self.run_folder, 0), (self.run_folder / "result.json").read_bytes()), before)

    def test_evaluated_behind_some_epochs_only(self):
        always, rare = self.folder / "always", self.folder / "rare"
        self.local(self.experiment(QUICK, training__epochs=5), always, split="whole")
        self.local(self.experiment(QUICK, training__epochs=5, training__evaluate_epochs=2), rare, split="whole")
        wanted = [entry for entry in history(always) if entry["epoch"] in (2, 4, 5)]
        self.assertEqual(history(rare), wanted)

    def test_a_signal_ends_it_and_it_resumes(self):
        experiment = self.experiment(QUICK, classifier__hidden=500, training__epochs=60, training__checkpoint_every=7)
        self.local(experiment, self.folder / "reference", split="whole")
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number.name):
                run = self.folder / number.name
                program = self.start_local(experiment, run, split="whole")
                self.wait_for_commits(run, 2)
                self.assert_ends_soon(program, number, 130)
                self.assertRegex(program.said, "(?m)^decoder_server: stopped by a signal; --resume goes on")
                self.assertIsNone(read_json(run / "result.json"))
                self.local(experiment, run, "--resume", split="whole")
                self.assertEqual(weights(run, 0), weights(self.folder / "reference", 0))

    def test_samples_held_back_are_the_last_ones(self):
        """Their labels are wrong: trained on they would spoil the test, right they would be in another place."""
        source = make_cifar(self.folder / "source")
        last = bytearray((source / "data_batch_5.bin").read_bytes())
        last[::3 * PLANE + 1] = bytes((label + 1) % CLASSES for label in last[::3 * PLANE + 1])
        (source / "data_batch_5.bin").write_bytes(last)
        split = f.split_set(source, self.folder / "split", "--portions", "1", name="cifar10")
        experiment = self.experiment(QUICK, dataset__validation=TRAIN // 5, training__epochs=60)
        self.fleet.train_local(experiment, split, self.run_folder)
        result = read_json(self.run_folder / "result.json")
        self.assertEqual(result["steps"], 60 * 5)  # 48 samples in batches of 10
        last = result["history"][-1]
        self.assertGreater(last["train_accuracy"], 95)
        self.assertGreater(last["soft_accuracy"], 70)
        self.assertLess(last["validation_accuracy"], 30)

    def test_the_best_checkpoint_is_kept_and_it_stops_early(self):
        """With more to learn than it can: validation accuracy rises, then stays."""
        experiment = self.experiment(QUICK, dataset__validation=20, training={
            "epochs": 500, "batch_size": 10, "seed": 1, "keep_best": "true", "early_stopping_patience": 4})
        self.local(experiment, self.run_folder, split="whole")
        result, manifest = read_json(self.run_folder / "result.json"), read_json(self.run_folder / "manifest.json")
        scores = [entry["validation_accuracy"] for entry in result["history"]]
        best = scores.index(max(scores))
        self.assertEqual(len(scores), best + 1 + 4)
        self.assertEqual(result["final"]["epoch"], best + 1)
        self.assertEqual(manifest["best"]["step"], 4 * (best + 1))
        self.assertEqual(set(weights(self.run_folder, 0)),
                         {f"head/step-{manifest[kept]['step']}.safetensors" for kept in ("best", "last")})

    def test_refusals(self):
        experiment = self.experiment(ALONE, training__epochs=1)
        server = self.fleet.run("server", f.binary("decoder_server"), "train", experiment, "--listen", "127.0.0.1:0",
                                "--labels", shared / "whole/server", "--out", self.run_folder, code=2)
        self.assertRegex(server.said, "^decoder_server: a classifier alone has no nodes: train it with --local")
        self.assertFalse(self.run_folder.exists())
        planes = self.start_local(experiment, self.run_folder)
        planes.wait(3)
        self.assertRegex(planes.said, r"wants cifar10 .* in 1 slices, the labels are of cifar10 .* in 3 planes")
        run = self.pretrained(self)
        serving = self.fleet.run("serve", f.binary("decoder_server"), "serve", run, "--listen", "127.0.0.1:0", code=3)
        self.assertRegex(serving.said, "is a classifier alone, without encoders: there are no codes to serve")

    def test_a_manifest_that_stands_nowhere(self):
        experiment = self.experiment(QUICK, training__epochs=2)
        self.local(experiment, self.run_folder, split="whole")
        manifest = read_json(self.run_folder / "manifest.json")
        for place in ({"batch": 6}, {"epoch": 3}, {"epoch": 2, "batch": 1}):
            with self.subTest(place):
                changed = {**manifest, "last": {**manifest["last"], **place}}
                (self.run_folder / "manifest.json").write_text(json.dumps(changed))
                program = self.local(experiment, self.run_folder, "--resume", split="whole", code=3)
                self.assertRegex(program.said, "manifest.json: stands at batch [016] of epoch [23], the run has 2 epochs "
                                               "of 6 batches")

    def test_a_loss_that_is_no_number_ends_it(self):
        diverging = {"optimiser": {"kind": "sgd", "learning_rate": 100}, "training__epochs": 50}
        for name, base, split in (("alone", QUICK, "whole"), ("with encoders", BASE, "planes")):
            with self.subTest(name):
                program = self.start_local(self.experiment(base, **diverging), self.folder / name, split=split)
                program.wait(3, PATIENCE)
                self.assertRegex(program.said, r"(?m)^decoder_server: the loss is -?(nan|inf) at step \d+: ")


class Pretrained(ImageCase):
    """Files of weights, right and wrong. A small classifier does."""
    def setUp(self):
        super().setUp()
        self.alone = self.folder / "alone"
        self.local(self.experiment(QUICK, "alone", training__seed=3), self.alone, split="whole")
        self.weights = {name: t for name, t in tensors(head_file(self.alone)).items() if name.startswith("classifier.")}

    def system(self, path, train="frozen", name="experiment", **changes):
        return self.experiment(BASE, name, classifier={**BASE["classifier"], "train": train, "weights": path},
                               **{"training__epochs": 1, **changes})

    def kept(self, run):
        return {name: t for name, t in tensors(head_file(run)).items() if name.startswith("classifier.")}

    def test_every_form_of_the_same_weights(self):
        bare = {name.removeprefix("classifier."): t for name, t in self.weights.items()}
        extra = {"num_batches_tracked": ([], bytes(8), "I64"), "encoder.0.weight": ([2, 2], bytes(16)),
                 "half": ([3], bytes(6), "BF16"), "mask": ([5], bytes(5), "BOOL"), "raw": ([1, 1, 1, 1, 7], bytes(7), "U8"),
                 "double": ([1], bytes(8), "F64"), "of tomorrow": ([9], bytes(2), "F2_NEW")}
        forms = {
            "a run": self.alone,
            "a run's head": head_file(self.alone),
            "names with the prefix": write_tensors(self.folder / "a.safetensors", self.weights),
            "names without it": write_tensors(self.folder / "b.safetensors", {**extra, **bare}),
            "beside the experiment": "b.safetensors",
        }
        wanted = None
        for number, (form, path) in enumerate(forms.items()):
            with self.subTest(form):
                run = self.folder / f"run-{number}"
                self.local(self.system(path), run)
                self.assertEqual(self.kept(run), self.weights)
                noted = read_json(run / "identity.json")["weights"]
                self.assertEqual(noted["sha256"], digest(self.folder / noted["file"]))
                decoder = {name: t for name, t in tensors(head_file(run)).items() if "decoder" in name}
                wanted = wanted or decoder
                self.assertEqual(decoder, wanted)

    def test_over_tcp_it_fails_before_any_node_comes(self):
        path = write_tensors(self.folder / "few.safetensors", dict(list(self.weights.items())[1:]))
        server = self.fleet.run("server", f.binary("decoder_server"), "train", self.system(path), "--listen",
                                "127.0.0.1:0", "--labels", shared / "planes/server", "--out", self.run_folder, code=3)
        self.assertRegex(server.said, r"few.safetensors: no tensor 'classifier\.\d\.(weight|bias)'")

    def test_files_that_do_not_fit(self):
        short = dict(self.weights)
        short["classifier.0.weight"] = ([31, 3072], short["classifier.0.weight"][1][:31 * 3072 * 4])
        half = dict(self.weights)
        del half["classifier.2.bias"]
        typed = {**self.weights, "classifier.2.bias": ([10], bytes(20), "F16")}
        shape, data = self.weights["classifier.2.bias"]
        broken = {**self.weights, "classifier.2.bias": (shape, data[:8] + struct.pack("<f", float("nan")) + data[12:])}
        cases = (
            ("type", write_tensors(self.folder / "type.safetensors", typed), 3,
             r"type.safetensors: tensor 'classifier.2.bias' is F16, not F32"),
            ("not a number", write_tensors(self.folder / "nan.safetensors", broken), 3,
             r"nan.safetensors: value 2 of tensor 'classifier.2.bias' is nan, not a finite number"),
            ("shape", write_tensors(self.folder / "shape.safetensors", short), 3,
             r"shape.safetensors: tensor 'classifier.0.weight' has shape \[31, 3072\], not \[32, 3072\]"),
            ("bare shape", write_tensors(self.folder / "bare.safetensors",
                                         {name.removeprefix("classifier."): t for name, t in short.items()}), 3,
             r"bare.safetensors: tensor '0.weight' has shape \[31, 3072\], not \[32, 3072\]"),
            ("missing", write_tensors(self.folder / "half.safetensors", half), 3,
             r"half.safetensors: no tensor 'classifier.2.bias'"),
            ("another format", self.experiment(BASE, "yaml"), 3, r"yaml.yaml: "),
            ("nothing there", self.folder / "none.safetensors", 4, r"none.safetensors: cannot open"),
            ("no run", self.folder / "empty", 4, r"empty/experiment.yaml: "),
        )
        (self.folder / "empty").mkdir()
        for name, path, code, pattern in cases:
            with self.subTest(name):
                run = self.folder / f"run-{name}"
                program = self.local(self.system(path), run, code=code)
                self.assertRegex(program.said, rf"(?m)^decoder_server: .*{pattern}")

    def test_resuming_with_another_file(self):
        path = write_tensors(self.folder / "w.safetensors", self.weights)
        experiment = self.system(path, "fine-tune")
        self.local(experiment, self.run_folder)
        before = weights(self.run_folder, 3)
        other = {name: (shape, bytes(len(data))) for name, (shape, data) in self.weights.items()}
        write_tensors(path, other)
        program = self.local(experiment, self.run_folder, "--resume", code=3)
        self.assertRegex(program.said, r"(?m)^decoder_server: .*run: began with other weights than .*w.safetensors")
        path.unlink()
        self.local(experiment, self.run_folder, "--resume")
        self.assertEqual(weights(self.run_folder, 3), before)

    def test_a_run_is_complete_in_itself(self):
        """Killed after a checkpoint, its weights' file gone: it goes on and ends with the same bytes."""
        path = write_tensors(self.folder / "w.safetensors", self.weights)
        experiment = self.system(path, training__epochs=10, training__checkpoint_every=1)
        self.local(experiment, self.folder / "reference")
        program = self.start_local(experiment, self.run_folder)
        self.wait_for_commits(self.run_folder, 1)
        program.kill()
        self.assertIsNone(read_json(self.run_folder / "result.json"), "too late: the run was over")
        path.unlink()
        self.local(experiment, self.run_folder, "--resume")
        self.assertEqual(weights(self.run_folder, 3), weights(self.folder / "reference", 3))


class Serving(ImageCase):
    def test_serving_decides_as_the_rounded_test_did(self):
        """A head of convolutions, served: as many test samples right as the evaluation said, not one more or less."""
        experiment = self.experiment(BASE, classifier={"net": "playground", "train": "fine-tune",
                                                       "weights": self.pretrained(self)})
        self.end_well(*self.start_tcp(experiment, self.run_folder))
        server = self.fleet.serve(self.run_folder)
        self.fleet.nodes(server, shared / "planes", self.states, "--stream", "test", "--exit-when-done", order=(0, 1, 2))
        results = self.run_folder / "results.jsonl"

        def whole_lines():
            text = results.read_text() if results.exists() else ""
            return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        wait_until(lambda: len(whole_lines()) == TEST, "all results", PATIENCE, self.fleet.explain)
        truth = f.npy_values(shared / "planes/server/test-labels.npy")
        right = sum(line["class"] == truth[line["id"]] for line in whole_lines())
        self.assertGreater(len({line["class"] for line in whole_lines()}), 1, "it always says the same")
        self.assertFalse([line for line in whole_lines() if line["degraded"]])
        self.assertAlmostEqual(100 * right / TEST, read_json(self.run_folder / "result.json")["final"]["rounded_accuracy"])
        self.assert_ends_soon(server, signal.SIGTERM, 0)
        paths = serving.compare_paths(self, self.run_folder, results, TEST)
        # Where it takes too long to fill a table beforehand, as it does here on most machines, it keeps what it sees.
        self.assertGreaterEqual(paths["table"]["from_table"], TEST)
        self.assertEqual(paths["table"]["table_size"], 4096)


class Histograms(ImageCase):
    def test_counts(self):
        self.local(self.experiment(BASE, training__evaluate_every=3), self.run_folder)
        entries = read_json(self.run_folder / "result.json")["history"]
        logged = events(self.run_folder, "evaluated")
        self.assertEqual([entry["encoders"] for entry in entries], [event["encoders"] for event in logged])
        self.assertEqual(len(entries), 4)
        for entry in entries:
            self.assertEqual(len(entry["encoders"]), 3)
            for encoder in entry["encoders"]:
                self.assertEqual(set(encoder), {"bins", "ones", "distance"})
                self.assertEqual((len(encoder["bins"]), len(encoder["ones"])), (20, 4))
                self.assertEqual(sum(encoder["bins"]), TEST * 4)
                # bit 1 means above 0.5: the upper ten bins hold the ones (and any output of exactly 0.5)
                self.assertLessEqual(sum(encoder["ones"]), sum(encoder["bins"][10:]))
                self.assertGreaterEqual(sum(encoder["ones"]), sum(encoder["bins"][11:]))
                low = sum(n * min(i, 19 - i) for i, n in enumerate(encoder["bins"])) / 20 / (TEST * 4)
                self.assertLessEqual(low, encoder["distance"] + 1e-9)
                self.assertLessEqual(encoder["distance"], low + 0.05 + 1e-9)
        self.assertNotEqual(entries[0]["encoders"], entries[-1]["encoders"])
        self.assertNotEqual(*entries[0]["encoders"][:2])


class Plots(ImageCase):
    def fewbit(self, *arguments, code=0, **how):
        done = subprocess.run([f.binary("fewbit"), *map(str, arguments)], capture_output=True, text=True,
                              cwd=self.folder, env={**f.environment(), **how}, timeout=PATIENCE)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout, done.stderr

    def drawn(self, folder):
        return {path.name: xml.dom.minidom.parse(str(path)) for path in folder.iterdir()}

    def text_of(self, document):
        return " ".join("".join(child.data for child in node.childNodes if child.nodeType == child.TEXT_NODE)
                        for tag in ("text", "tspan", "title") for node in document.getElementsByTagName(tag))

    def train(self, **changes):
        title = "\"A <b>title</b> & 'quotes', `ls`, @x, %s\""
        experiment = self.experiment(BASE, title=title, paper={"row": 11, "epochs": 39, "train": 97.114, "soft": 63.87,
                                                               "rounded": 53.84}, **changes)
        self.local(experiment, self.run_folder)

    @unittest.skipUnless(shutil.which("gnuplot"), "there is no gnuplot")
    def test_a_run(self):
        self.train()
        said, _ = self.fewbit("plot", self.run_folder)
        names = {"accuracy.svg", "loss.svg", "confusion.svg", "reliability.svg", "distance.svg", "encoder-0.svg",
                 "encoder-1.svg", "encoder-2.svg"}
        self.assertEqual({pathlib.Path(line).name for line in said.splitlines()}, names)
        drawn = self.drawn(self.run_folder / "plots")
        self.assertEqual(set(drawn), names)
        for name, document in drawn.items():
            self.assertEqual(document.documentElement.tagName, "svg")
            self.assertIn("A <b>title</b> & 'quotes', `ls`, @x, %s", self.text_of(document), name)
        accuracy = self.text_of(drawn["accuracy.svg"])
        for curve in ("training", "soft test", "rounded test"):
            self.assertIn(curve, accuracy)
            self.assertIn(f"{curve}, in the paper", accuracy)
        self.assertIn("encoder 2", self.text_of(drawn["distance.svg"]))

    def points_of(self, document):
        """The marks of a plot's curves, each curve's own and then the one in the key."""
        found = [re.match(r"translate\(([\d.]+),([\d.]+)\)", use.getAttribute("transform"))
                 for use in document.getElementsByTagName("use") if use.hasAttribute("color")]
        return [(float(match[1]), float(match[2])) for match in found]

    @unittest.skipUnless(shutil.which("gnuplot"), "there is no gnuplot")
    def test_curves_are_the_runs_figures(self):
        """The curves' points, read back from the picture, lie where result.json says."""
        self.train(training__epochs=3)
        self.fewbit("plot", self.run_folder, "--to", self.folder / "drawn")
        entries = read_json(self.run_folder / "result.json")["history"]
        points = self.points_of(self.drawn(self.folder / "drawn")["accuracy.svg"])
        self.assertEqual(len(points), 3 * 4)
        shown = [point for i in range(3) for point in points[4 * i:4 * i + 3]]
        wanted = [(e["epoch"], e[key]) for key in ("train_accuracy", "soft_accuracy", "rounded_accuracy") for e in entries]
        # Positions are linear in epoch and accuracy: two points say how, all others are held to it.
        step = shown[1][0] - shown[0][0]
        low, high = (pick(range(9), key=lambda i: wanted[i][1]) for pick in (min, max))
        scale = (shown[high][1] - shown[low][1]) / (wanted[high][1] - wanted[low][1])
        self.assertGreater(step, 50)
        self.assertLess(scale, -1)
        for (epoch, accuracy), (x, y) in zip(wanted, shown):
            self.assertAlmostEqual(x, shown[0][0] + step * (epoch - 1), delta=0.1)
            self.assertAlmostEqual(y, shown[low][1] + scale * (accuracy - wanted[low][1]), delta=0.1)

    @unittest.skipUnless(shutil.which("gnuplot"), "there is no gnuplot")
    def test_maps_are_the_runs_figures(self):
        """Every cell is there, and the darkest of a column is the fullest bin."""
        self.train(training__evaluate_every=4)
        self.fewbit("plot", self.run_folder)
        entries = read_json(self.run_folder / "result.json")["history"]
        self.assertEqual(len(entries), 4)
        for k in range(3):
            cells = []
            for polygon in self.drawn(self.run_folder / "plots")[f"encoder-{k}.svg"].getElementsByTagName("polygon"):
                corners = [tuple(map(float, point.split(","))) for point in polygon.getAttribute("points").split()]
                left, bottom = min(x for x, _ in corners), max(y for _, y in corners)
                if left < 680:  # what is right of that is the scale of colours
                    cells.append((left, bottom, sum(map(int, re.findall(r"\d+", polygon.getAttribute("fill"))))))
            self.assertEqual(len(cells), 4 * (20 + 4))
            columns = sorted({left for left, bottom, _ in cells})
            self.assertEqual(len(columns), 4)
            for left, entry in zip(columns, entries):
                column = sorted((cell for cell in cells if cell[0] == left and cell[1] < 360), key=lambda c: -c[1])
                self.assertEqual(len(column), 20)
                bins = entry["encoders"][k]["bins"]
                self.assertEqual(bins[min(range(20), key=lambda i: column[i][2])], max(bins))

    def counts_of(self, document):
        """The numbers in the cells of the matrix, row by row."""
        rows = collections.defaultdict(list)
        for text in document.getElementsByTagName("text"):
            if text.parentNode.getAttribute("font-size") == "10.00":
                x, y = map(float, re.match(r"translate\(([\d.]+),([\d.]+)\)", text.parentNode.getAttribute("transform")).groups())
                rows[y].append((x, int(text.firstChild.data)))
        return [[count for _, count in sorted(row)] for _, row in sorted(rows.items())]

    @unittest.skipUnless(shutil.which("gnuplot"), "there is no gnuplot")
    def test_classes_are_the_runs_figures(self):
        """The matrix has every count where result.json has it, from the last commit too; the diagram a box a bin."""
        self.train()
        metrics = read_json(self.run_folder / "result.json")["final"]["test"]
        names = [f"a <i>name</i> {c}" for c in range(10)]
        identity = read_json(self.run_folder / "identity.json")
        (self.run_folder / "identity.json").write_text(json.dumps({**identity, "classes": names}))
        for number, record in enumerate(("result.json", "manifest.json")):
            to = self.folder / f"to-{number}"
            self.fewbit("plot", self.run_folder, "--to", to)
            (self.run_folder / record).rename(self.folder / record)
            drawn = self.drawn(to)
            shown = self.text_of(drawn["confusion.svg"])
            for c, name in enumerate(names):
                self.assertIn(f"{c} {name}", shown)
            self.assertEqual(self.counts_of(drawn["confusion.svg"]), metrics["confusion"])
            self.assertIn(f"calibration error {100 * metrics['calibration_error']:.2f} %", self.text_of(drawn["reliability.svg"]))

    @unittest.skipUnless(shutil.which("gnuplot"), "there is no gnuplot")
    def test_a_run_that_goes_on_and_a_classifier_alone(self):
        self.train()
        (self.run_folder / "result.json").unlink()
        self.fewbit("plot", self.run_folder, "--to", self.folder / "to")
        self.assertEqual(len(self.drawn(self.folder / "to")), 8)
        self.fewbit("plot", self.pretrained(self), "--to", self.folder / "alone")
        drawn = self.drawn(self.folder / "alone")
        self.assertEqual(set(drawn), {"accuracy.svg", "loss.svg", "confusion.svg", "reliability.svg"})
        self.assertNotIn("rounded", self.text_of(drawn["accuracy.svg"]))

    def test_refusals(self):
        self.train(training__epochs=1)
        _, errors = self.fewbit("plot", self.run_folder, code=4, PATH=str(self.folder))
        self.assertRegex(errors, r"^fewbit: there is no gnuplot here[^\n]*\n$")
        self.assertEqual(list((self.run_folder / "plots").iterdir()), [])
        self.assertRegex(self.fewbit("plot", self.states, code=4)[1], r"^fewbit: .*experiment.yaml: [^\n]*\n$")
        self.fewbit("plot", code=2)
        for text, pattern in (("{", "result.json:1: "), ("{}", "its history lists no evaluation"),
                              ('{"history": {}}', "its history lists no evaluation")):
            (self.run_folder / "result.json").write_text(text)
            self.assertRegex(self.fewbit("plot", self.run_folder, code=3)[1], pattern)
        (self.run_folder / "result.json").unlink()
        (self.run_folder / "manifest.json").unlink()
        self.assertRegex(self.fewbit("plot", self.run_folder, code=4)[1], "nothing to draw yet")

    @unittest.skipUnless(shutil.which("gnuplot"), "there is no gnuplot")
    def test_figures_that_are_none(self):
        """A result that was tampered with is drawn as far as it goes, or refused in one line; nothing is left behind."""
        self.train(training__epochs=1)
        good = read_json(self.run_folder / "result.json")["history"][0]
        test = read_json(self.run_folder / "result.json")["final"]["test"]
        finals = [{"test": of} for of in (
            None, 1, {}, {**test, "confusion": [[1], "x"]}, {**test, "confusion": [[-1, 1e308], [None, {}]]},
            {**test, "reliability": [{}, None, {"samples": 1e308, "correct": -1e308}]}, {**test, "samples": "x"},
            {**test, "reliability": [], "confusion": [[]] * 300})]
        for number, history in enumerate((
                [1], [None, good], [{"epoch": "x", "encoders": 3}], [{**good, "encoders": [{}]}],
                [{**good, "encoders": [{"bins": ["a", {}], "ones": [None]}]}], [{**good, "train_accuracy": None}],
                [{**good, "epoch": 1e308}], [{**good, "loss": None}])):
            with self.subTest(number):
                (self.run_folder / "result.json").write_text(json.dumps({"history": history, "final": finals[number % 8]}))
                to = self.folder / f"to-{number}"
                done = subprocess.run([f.binary("fewbit"), "plot", self.run_folder, "--to", to], capture_output=True,
                                      text=True, env=f.environment(), timeout=PATIENCE)
                self.assertIn(done.returncode, (0, 3))
                self.assertEqual(done.stderr.count("\n"), 1 if done.returncode else 0, done.stderr)
                self.assertFalse([path.name for path in to.iterdir() if not path.name.endswith(".svg")])
                self.drawn(to)

    def test_list_of_experiments(self):
        runs = self.folder / "runs"
        for name, experiment, epochs, epoch, rounded in (  # keep_best: the epoch kept is not the last
                ("a", "row-14-conv-c", 3, 1.0, 41.25), ("b", "row-14-conv-c", 2, 2.0, 99.0),
                ("c", "row-05-simple-1d-cifar10", 1, 1.0, None)):
            (runs / name).mkdir(parents=True)
            (runs / name / "result.json").write_text(json.dumps({"experiment": experiment, "epochs": epochs, "final": {
                "epoch": epoch, "train_accuracy": 12.345, "soft_accuracy": 0.0, "rounded_accuracy": rounded}}))
        (runs / "unfinished").mkdir()
        (runs / "d").mkdir()
        (runs / "d" / "result.json").write_text("[]")
        said, errors = self.fewbit("experiment", "list", "--experiments", f.ROOT / "experiments", "--runs", runs)
        lines = {line.split()[0]: line.split() for line in said.splitlines()[2:]}
        files = {f"best-{path.stem}" if path.parent.name == "best" else path.stem
                 for path in (f.ROOT / "experiments").glob("*/*.yaml") if path.parent.name != "sweeps"}
        self.assertEqual(set(lines), files)
        self.assertGreaterEqual(len(lines), 30)
        self.assertEqual(sorted(int(line[1]) for line in lines.values() if line[1] != "-"), list(range(1, 30)))
        self.assertEqual(lines["row-14-conv-c"][1:], ["14", "cifar10", "3", "x", "conv-c,", "planes", "3x12", "CE",
                                                     "84.35", "66.40", "55.27", "12.35", "0.00", "41.25", "3"])
        self.assertEqual(lines["row-05-simple-1d-cifar10"][-4:], ["12.35", "0.00", "-", "1"])
        self.assertEqual(lines["row-10-conv-quantization-loss-2"][8:], ["CE", "+", "2", "Q", "97.11", "-", "49.84"])
        self.assertEqual(lines["classifier-cifar10"][1:5], ["-", "cifar10", "none", "-"])
        self.assertRegex(errors, r"note: .*runs/d/result.json is no result of a run")

    def test_list_of_experiments_that_are_wrong(self):
        folder = self.folder / "experiments"
        folder.mkdir()
        self.assertRegex(self.fewbit("experiment", "list", "--experiments", folder, code=4)[1], "holds no experiment")
        self.assertRegex(self.fewbit("experiment", "list", "--experiments", folder / "none", code=4)[1], "holds no experiment")
        (folder / "good.yaml").write_text(f.experiment_text(BASE))
        (folder / "bad.yaml").write_text(f.experiment_text(BASE, encoder__bits=0))
        (folder / "notes.txt").write_text("no experiment")
        said, errors = self.fewbit("experiment", "list", "--experiments", folder, code=3)
        self.assertEqual([line.split()[0] for line in said.splitlines()[2:]], ["small"])
        self.assertRegex(errors, r"note: .*bad.yaml:\d+: key encoder.bits")


class Cifar100(ImageCase):
    def test_fine_labels_are_split(self):
        source = self.folder / "source" / "cifar-100-binary"
        source.mkdir(parents=True)
        for name, count in (("train", 7), ("test", 3)):
            (source / f"{name}.bin").write_bytes(b"".join(
                bytes([19 - i, 99 - i]) + bytes([i]) * PLANE + bytes([i + 10]) * PLANE + bytes([i + 20]) * PLANE
                for i in range(count)))
        split = f.split_set(source.parent, self.folder / "split", "--partition", "planes", name="cifar100")
        self.assertEqual((split / "server/train-labels.npy").read_bytes(), f.npy((7,), bytes(range(99, 92, -1))))
        self.assertEqual(read_json(split / "server/labels.json")["classes"][::99], ["apple", "worm"])
        for k in range(3):
            plane = b"".join(bytes([i + 10 * k]) * PLANE for i in range(3))
            self.assertEqual((split / f"node-{k}/test.npy").read_bytes(), f.npy((3, 1, 32, 32), plane))


if __name__ == "__main__":
    unittest.main()

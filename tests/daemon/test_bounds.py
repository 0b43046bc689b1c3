#!/usr/bin/python3
"""The largest system that the documents allow, and the smallest, with real daemons over TCP: trained, served, pushed to,
asked, and looked at with every tool. (tests/unit/test_bounds.c has the corners in between.)"""
import json
import random
import resource
import unittest
import urllib.request

from lib import fleet as f

BITS, STAGES = 64, [1, 1, 1, 1, 1, 1, 1, 57]
TRAIN, TEST = 8193, 1003  # a sample more than a batch, three more than a frame of codes


def make_cifar100(folder):
    folder.mkdir()
    draw = random.Random(1)
    for name, count in (("train", TRAIN), ("test", TEST)):
        pixels = draw.randbytes(3072)
        (folder / f"{name}.bin").write_bytes(b"".join(bytes([0, i % 100]) + pixels[i % 3072:] + pixels[:i % 3072]
                                                      for i in range(count)))
    return folder


class Bounds(f.FleetCase):
    def setUp(self):
        super().setUp()
        self.run_folder, self.states = self.folder / "run", self.folder / "states"

    def get(self, path, body=None):
        kind = {"Content-Type": "application/octet-stream"} if body else {}
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}{path}", body, kind), timeout=f.PATIENCE) as answer:
            return answer.read().decode()

    def fewbit(self, *arguments):
        return self.fleet.run("fewbit", f.binary("fewbit"), *arguments).printed

    def system(self, split, portions, changes, serve, push):
        """Trains over TCP and serves it; the nodes stay and push. What the results say, a list."""
        experiment = f.write_experiment(self.folder / "experiment.yaml", dataset__portions=portions, **changes)
        server = self.fleet.train(experiment, split, self.run_folder)
        for k in range(portions):
            self.fleet.node(k, server, split, self.states / f"node-{k}", "--stream", "test", *push)
        server.wait(0)
        server = self.fleet.serve(self.run_folder, *serve, port=server.port)
        self.url = f"http://127.0.0.1:{server.http}"
        self.fewbit("status", "--server", self.url, "--wait", str(f.PATIENCE))
        results = self.run_folder / "results.jsonl"
        count = f.read_json(split / "server/labels.json")["test_samples"]
        f.wait_until(lambda: results.exists() and results.read_bytes().count(b"\n") >= count, "all results", None,
                     self.fleet.explain)
        return server, [json.loads(line) for line in results.read_text().splitlines()]

    def check_codes(self, codes, portions, bits):
        self.assertEqual(len(codes), portions)
        for code in codes:
            self.assertRegex(code, rf"^[01]{{1,{bits}}}$")

    def ask(self, sample, portions, bits, classes):
        """Twice the same: once by the nets, once from where answers are kept."""
        answers = [json.loads(self.get("/v1/classify", sample)) for _ in range(2)]
        for answer in answers:
            self.check_codes(answer["bits"], portions, bits)
            self.assertEqual(len(answer["probabilities"]), classes)
            self.assertFalse(answer["degraded"])
        self.assertEqual(answers[0]["probabilities"], answers[1]["probabilities"])

    def look(self, portions):
        """Every view and tool has all of it."""
        self.assertEqual(len(json.loads(self.get("/v1/nodes"))["nodes"]), portions)
        self.assertEqual(len(json.loads(self.get("/v1/model"))["split"]["ranges"]), portions)
        self.assertIn(f'portion="{portions - 1}"', self.get("/metrics"))
        self.assertIn(f"{portions}", self.fewbit("status", "--server", self.url))
        self.assertIn("rounded", self.fewbit("result", self.run_folder))
        self.fewbit("plot", self.run_folder)
        self.assertTrue(list(self.run_folder.rglob("*.svg")))

    def test_the_largest(self):
        portions = 64
        split = f.split_set(make_cifar100(self.folder / "source"), self.folder / "split", "--portions", portions,
                            name="cifar100")
        changes = dict(dataset__name="cifar100", encoder__hidden=1, encoder__bits=BITS, encoder__refinement=STAGES,
                       encoder__activation="sigmoid", decoder__net="identity", classifier__hidden=1, training__batch_size=8192,
                       training__epochs=1, training__seed=2**64 - 1, training__portion_dropout=0.9)
        server, results = self.system(split, portions, changes, ("--confidence", "0.9"), ("--coding", "range"))
        self.assertEqual(sorted(line["id"] for line in results), list(range(TEST)))
        for line in results:
            self.check_codes(line["bits"], portions, BITS)
            self.assertFalse(line["degraded"])
        for i in range(3):
            self.ask(random.Random(i).randbytes(3072), portions, BITS, 100)
        self.look(portions)
        said = json.loads(self.fewbit("loadtest", "--server", self.url, "--seconds", "1", "--rate", "50", "--json"))
        self.assertTrue(said)
        server.signal(15)
        server.wait(0)

    def test_long_codes_at_once(self):
        """28 x 64 bits in one stage: what a key of the cache was once too short for."""
        portions = 28
        split = f.split_set(f.make_set(self.folder / "source", 20, 12), self.folder / "split", "--portions", portions)
        changes = dict(encoder__hidden=2, encoder__bits=BITS, classifier__hidden=2, training__batch_size=8192, training__epochs=1)
        server, results = self.system(split, portions, changes, (), ())
        self.assertEqual(len(results), 12)
        for line in results:
            self.check_codes(line["bits"], portions, BITS)
        self.ask(bytes(784), portions, BITS, 10)
        self.look(portions)
        images = self.folder / "source/t10k-images-idx3-ubyte"
        self.assertIn("class", self.fewbit("classify", "--server", self.url, "--json", f"{images}:3"))
        for p in self.fleet.programs:
            if p.name.startswith("node-"):
                p.kill()
        f.wait_until(lambda: json.loads(self.get("/v1/nodes"))["ready"] == 0, "all nodes to be gone")
        address = f"127.0.0.1:{server.port}"
        said = json.loads(self.fewbit("loadtest", "--server", self.url, "--codes", address, "--seconds", "1",
                                      "--rate", "2000", "--probes", "5", "--json"))
        self.assertTrue(said)
        server.signal(15)
        server.wait(0)

    def test_what_no_memory_holds(self):
        """Within every range, and more than this process may have: refused before it is taken, by what asks for it."""
        split = f.split_set(f.make_set(self.folder / "source", 3, 2), self.folder / "split", "--portions", 1)
        large = dict(dataset__portions=1, encoder__bits=BITS, decoder__net="identity", training__batch_size=8192)
        cases = ((dict(classifier__hidden=65536, encoder__refinement=[8] * 8),
                  r"decoder and classifier for 65536 rows a step \(training.batch_size x encoder.refinement\): .* MiB"),
                 (dict(encoder__hidden=65536, training__batch_size=8192), r"node 0: .* MiB of memory"))
        for number, (changes, pattern) in enumerate(cases):
            with self.subTest(pattern):
                experiment = f.write_experiment(self.folder / "e.yaml", **{**large, **changes})
                local = self.fleet.start("local", f.binary("decoder_server"), "train", experiment, "--local", "--data", split,
                                         "--labels", split / "server", "--out", self.folder / f"run-{number}",
                                         prepare=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)))
                local.wait()
                self.assertIn(local.popen.returncode, (1, 7))
                self.assertRegex(local.said, rf"(?m)^decoder_server: {pattern}[^\n]*\n\Z")

    def test_the_smallest(self):
        """One portion, one bit, one sample to train on, one to test with, a batch of one."""
        split = f.split_set(f.make_set(self.folder / "source", 1, 1), self.folder / "split", "--portions", 1)
        changes = dict(encoder__hidden=1, encoder__bits=1, classifier__hidden=1, training__batch_size=1, training__epochs=1,
                       training__seed=0)
        server, results = self.system(split, 1, changes, (), ())
        self.assertEqual([line["id"] for line in results], [0])
        self.check_codes(results[0]["bits"], 1, 1)
        self.ask(bytes(784), 1, 1, 10)
        self.look(1)
        server.signal(15)
        server.wait(0)


if __name__ == "__main__":
    unittest.main()

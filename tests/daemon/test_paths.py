#!/usr/bin/python3
"""Every way to an answer (table, cache, folded nets) gives the class and the probabilities of the nets as trained.

On the whole test set of MNIST, where this machine has it, else on made-up images; test_images.py does the same for a
head of convolutions."""
import signal
import unittest

from lib import fleet as f, serving
from lib.fleet import PORTIONS, wait_until
from test_demo import mnist_at


class Paths(f.FleetCase):
    def trained(self):
        """The split of a set, the run of the paper's row 1 after an epoch, and how many test samples there are."""
        source, count = mnist_at() and mnist_at() / "mnist", 10000
        if not source:
            source, count = f.make_set(self.folder / "set", 4000, 2000), 2000
        split = f.split_set(source, self.folder / "split")
        experiment = f.shipped_experiment("row-01-simple-1d.yaml", self.folder / "row-01.yaml", epochs=1, validation=100,
                                          evaluate_every=0, keep_best="false")
        self.fleet.train_local(experiment, split, self.folder / "run")
        return split, count

    def test_every_path_says_what_the_plain_nets_say(self):
        split, count = self.trained()
        run, results = self.folder / "run", self.folder / "results.jsonl"
        server = self.fleet.serve(run, "--results", results)
        self.assertRegex(server.said, r"prediction table: 65536 codewords, 2\.6 MiB")
        nodes = [self.fleet.node(k, server, split, run / "nodes" / f"node-{k}", "--stream", "test", "--exit-when-done")
                 for k in range(PORTIONS)]
        for node in nodes:
            node.wait(0)
        wait_until(lambda: results.exists() and results.read_bytes().count(b"\n") == count, f"{count} results",
                   explain=self.fleet.explain)
        server.signal(signal.SIGTERM)
        server.wait(0)
        self.assertEqual(len({r["class"] for r in serving.read_results(results)}), 10)
        paths = serving.compare_paths(self, run, results, count)
        self.assertEqual(paths["folded"]["from_nets"], 4 * count)
        self.assertEqual(paths["table"]["from_table"], 2 * count)
        self.assertEqual(paths["table"]["table_known"], 65536)
        self.assertGreater(paths["cache"]["from_cache"], 2 * count)
        self.assertGreater(paths["small cache"]["from_nets"], paths["cache"]["from_nets"])
        self.assertEqual(paths["table and cache"]["from_table"], 2 * count)
        self.assertGreater(paths["table and cache"]["from_cache"], count)


if __name__ == "__main__":
    unittest.main()

"""What the tests of training share: data, experiments, and the same training undisturbed to compare with."""
import pathlib
import shutil
import tempfile
import unittest

from . import fleet as f
from .fleet import PORTIONS, events, read_json, wait_until, weights

TRAIN, TEST = 2000, 500
BATCHES = TRAIN // 10
SLOW = {"encoder__hidden": 200, "classifier__hidden": 1000}  # an epoch takes a few tenths of a second
# What experiments/best/*.yaml train with, and noise.
OWN = {"encoder__batch_norm": "true", "encoder__binarize": "straight-through", "decoder__net": "identity",
       "classifier__net": "mlp", "optimiser__kind": "adamw", "optimiser__weight_decay": 0.01,
       "optimiser__schedule": "one-cycle", "training__ema_decay": 0.95, "encoder__noise": "logistic",
       "encoder__temperature": 0.3, "tta__flip": "true", "tta__shift": 1}

shared = None  # pathlib.Path of what all tests of a program use


def setUpModule():
    global shared
    shared = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-training-"))
    unittest.addModuleCleanup(shutil.rmtree, shared, ignore_errors=True)
    f.make_set(shared / "source", TRAIN, TEST)
    f.split_set(shared / "source", shared / "split")


class TrainingCase(f.FleetCase):
    references = {}  # experiment text -> (folder of an undisturbed local run, its weights)

    def setUp(self):
        super().setUp()
        self.split = shared / "split"
        self.states = self.folder / "states"
        self.run_folder = self.folder / "run"

    def experiment(self, **changes):
        return f.write_experiment(self.folder / "experiment.yaml", **changes)

    def reference(self, experiment):
        """The undisturbed run of the same experiment in one process: its folder and weights."""
        text = experiment.read_text()
        if text not in self.references:
            kept = shared / f"reference-{len(self.references)}"
            self.fleet.train_local(experiment, self.split, kept, "--threads", "1")
            self.references[text] = kept, weights(kept)
        return self.references[text]

    def start(self, experiment, *options, order=range(PORTIONS), node_options=("--exit-when-done",), **how):
        server = self.fleet.train(experiment, self.split, self.run_folder, *options, **how)
        return server, self.fleet.nodes(server, self.split, self.states, *node_options, order=order)

    def assert_same_weights(self, experiment):
        folder, wanted = self.reference(experiment)
        self.assertEqual(weights(self.run_folder, self.states), wanted)
        ours, theirs = (read_json(where / "result.json")["history"] for where in (self.run_folder, folder))
        for entry in ours + theirs:
            del entry["seconds"]
        self.assertEqual(ours, theirs)

    def wait_for_event(self, kind, count=1):
        return wait_until(lambda: events(self.run_folder, kind)[count - 1:], f"event {kind} {count}x",
                          explain=self.fleet.explain)[0]

    def end_well(self, server, nodes):
        server.wait(0)
        for node in nodes:
            node.wait(0)

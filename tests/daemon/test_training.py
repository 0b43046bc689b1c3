#!/usr/bin/python3
"""Joint training as users run it: real daemons on loopback, disturbed in every way we know, and always the same bits."""
import json
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from lib import fleet as f
from lib.fleet import PORTIONS, SANITIZED, events, read_json, wait_until, weights
from lib.relay import Between

TRAIN, TEST = 2000, 500
BATCHES = TRAIN // 10
SLOW = {"encoder__hidden": 200, "classifier__hidden": 1000}  # an epoch takes a few tenths of a second
# What experiments/best/*.yaml train with, and noise.
OWN = {"encoder__batch_norm": "true", "encoder__binarize": "straight-through", "decoder__net": "identity",
       "classifier__net": "mlp", "optimiser__kind": "adamw", "optimiser__weight_decay": 0.01,
       "optimiser__schedule": "one-cycle", "training__ema_decay": 0.95, "encoder__noise": "logistic",
       "encoder__temperature": 0.3, "tta__flip": "true", "tta__shift": 1}

shared = None  # pathlib.Path of what all tests use


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


class SameBits(TrainingCase):
    def test_any_order_of_joining(self):
        experiment = self.experiment()
        for order in ((0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)):
            with self.subTest(order=order):
                self.states = self.folder / f"states-{order}"
                self.run_folder = self.folder / f"run-{order}"
                self.end_well(*self.start(experiment, order=order))
                self.assert_same_weights(experiment)

    def test_any_number_of_threads(self):
        experiment = self.experiment()
        for threads in (1, 2, 3):
            with self.subTest(threads=threads):
                self.states = self.folder / f"states-{threads}"
                self.run_folder = self.folder / f"run-{threads}"
                self.end_well(*self.start(experiment, "--threads", str(threads)))
                self.assert_same_weights(experiment)
                local = self.folder / f"local-{threads}"
                self.fleet.train_local(experiment, self.split, local, "--threads", str(threads))
                self.assertEqual(weights(local), self.reference(experiment)[1])

    def test_all_shipped_variants(self):
        names = ("row-01-simple-1d", "row-02-simple-resigmoid", "row-03-simple-quantize",
                 "row-04-simple-1d-quantization-loss")
        for name in names:
            with self.subTest(name):
                self.states = self.folder / f"states-{name}"
                self.run_folder = self.folder / name
                experiment = f.shipped_experiment(f"{name}.yaml", self.folder / f"{name}.yaml", epochs=2, batch_size=100,
                                                  validation=200, evaluate_every=7)
                self.end_well(*self.start(experiment, order=(1, 3, 2, 0)))
                self.assert_same_weights(experiment)

    def test_our_own_ingredients(self):
        """Averaged weights, batch norm and noise before bits that are decided while training, no decoder."""
        experiment = self.experiment(**OWN)
        self.end_well(*self.start(experiment, order=(2, 0, 3, 1)))
        self.assert_same_weights(experiment)

    def test_other_seed_other_bits(self):
        one = self.reference(self.experiment())[1]
        other = self.reference(self.experiment(training__seed=2))[1]
        self.assertEqual(set(one), set(other))
        self.assertFalse(set(one.values()) & set(other.values()))

    def test_flags_replace_the_experiments_values(self):
        wanted = self.reference(self.experiment(training__seed=2))[1]
        run = self.folder / "flags"
        self.fleet.train_local(self.experiment(training__epochs=9), self.split, run, "--epochs", "2", "--seed", "2")
        self.assertEqual(weights(run), wanted)

    def test_a_run_of_an_older_version_goes_on(self):
        """Its experiment.yaml, as it was written then, lacks a key of today."""
        def head(folder):  # without the file's header, which names the run
            part = (folder / "head" / "step-400.safetensors").read_bytes()
            return part[8 + int.from_bytes(part[:8], "little"):]

        wanted = self.reference(self.experiment())[0]
        run = self.folder / "older"
        self.fleet.train_local(self.experiment(training__epochs=1), self.split, self.folder / "today")
        text = (self.folder / "today" / "experiment.yaml").read_text()
        older = re.sub(r"(?m)^  portion_dropout: .*\n", "", text).replace("  epochs: 1\n", "  epochs: 2\n")
        self.assertEqual(older.count("\n"), text.count("\n") - 1)
        (run / "head").mkdir(parents=True)
        shutil.copy(self.folder / "today" / "identity.json", run)
        identity = f.rewrite_experiment(run, older)
        for _ in range(2):  # begun, then opened again with a commit
            self.fleet.train_local(self.experiment(), self.split, run, "--resume")
        self.assertEqual((run / "experiment.yaml").read_text(), older)
        self.assertEqual(read_json(run / "manifest.json")["run"], identity)
        self.assertEqual(head(run), head(wanted))

    def test_last_batch_may_be_shorter(self):
        experiment = self.experiment(
            training__batch_size=300, training__epochs=3, optimiser__kind="adamw", optimiser__weight_decay=0.01,
            optimiser__schedule="one-cycle", loss__label_smoothing=0.1, augment={"shift": 1.5, "rotation": 10})
        self.end_well(*self.start(experiment))
        self.assert_same_weights(experiment)
        self.assertEqual(read_json(self.run_folder / "result.json")["steps"], 3 * 7)


class Crashes(TrainingCase):
    def lose_mid_epoch(self, server, nodes, k, checkpoints):
        """Kills node k and starts it again until that has happened inside an epoch; what the server said of it."""
        for attempt in range(1, 10):
            if checkpoints:
                wait_until(lambda: (read_json(self.run_folder / "manifest.json") or {"last": {"batch": 0}})
                           ["last"]["batch"], "a checkpoint inside an epoch", explain=self.fleet.explain)
            else:
                self.wait_for_event("training", attempt)
                self.let_it_work(server)
            nodes[k].kill()
            found = re.search(r"is lost at step (\d+); going back to step (\d+)",
                              server.wait_event("node_lost", attempt, portion=k)["message"])
            nodes[k] = self.fleet.node(k, server, self.split, self.states / f"node-{k}", "--exit-when-done")
            lost, back = int(found.group(1)), int(found.group(2))
            self.assertLess(back, 3 * BATCHES, "too late: the run was over")
            if lost % BATCHES and (back % BATCHES or not checkpoints):
                return lost, back
            self.wait_for_event("training", attempt + 1)
        raise self.failureException("never hit an epoch's middle")

    @staticmethod
    def let_it_work(server, ticks=4):
        """Returns once the server has computed for some hundredths of a second."""
        def used():
            return sum(map(int, pathlib.Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
        before = used()
        wait_until(lambda: used() >= before + ticks or not server.is_running(), "the server to work")

    def test_a_node_is_killed_with_checkpoints_inside_the_epoch(self):
        experiment = self.experiment(**SLOW, training__checkpoint_every=7, training__epochs=3)
        server, nodes = self.start(experiment)
        lost, back = self.lose_mid_epoch(server, nodes, 2, True)
        self.assertLessEqual(back, lost)
        self.end_well(server, nodes)
        self.assert_same_weights(experiment)
        self.assertIn("lost", [e["event"] for e in events(self.run_folder)])

    def test_a_node_is_killed_without_checkpoints_inside_the_epoch(self):
        experiment = self.experiment(**SLOW, training__epochs=3)
        server, nodes = self.start(experiment)
        _, back = self.lose_mid_epoch(server, nodes, 1, False)
        self.assertEqual(back % BATCHES, 0)
        self.end_well(server, nodes)
        self.assert_same_weights(experiment)

    def test_two_nodes_are_killed_at_once(self):
        experiment = self.experiment(**SLOW, training__checkpoint_every=13, training__epochs=3)
        server, nodes = self.start(experiment)
        self.wait_for_event("committed", 3)
        for k in (3, 0):
            nodes[k].signal(signal.SIGKILL)
        for k in (3, 0):
            nodes[k].wait()
            nodes[k] = self.fleet.node(k, server, self.split, self.states / f"node-{k}", "--exit-when-done")
        self.end_well(server, nodes)
        self.assert_same_weights(experiment)

    def test_a_frozen_node_is_given_up_and_comes_back(self):
        experiment = self.experiment(**SLOW, training__checkpoint_every=7, training__epochs=3)
        server, nodes = self.start(experiment, "--heartbeat", "500")
        self.wait_for_event("committed", 2)
        nodes[2].freeze()
        server.wait_event("node_lost", portion=2)
        nodes[2].thaw()
        self.end_well(server, nodes)
        self.assert_same_weights(experiment)

    def kill_server(self, experiment, is_the_moment, works_first=False):
        """Kills the server at a moment that holds while it stands still, and resumes it with the same nodes."""
        server, nodes = self.start(experiment)
        while True:
            wait_until(is_the_moment, "the moment to kill the server", explain=self.fleet.explain)
            if works_first:
                self.let_it_work(server)
            server.freeze()
            if is_the_moment():
                break
            server.thaw()
            self.assertTrue(server.is_running(), "the run was over before the moment came")
        self.assertIsNone(read_json(self.run_folder / "result.json"))
        server.kill()
        again = self.fleet.train(experiment, self.split, self.run_folder, "--resume", port=server.port)
        self.end_well(again, nodes)
        self.assert_same_weights(experiment)
        self.assertEqual(len(events(self.run_folder, "started")) + len(events(self.run_folder, "resumed")), 2)

    def test_the_server_is_killed_with_checkpoints_inside_the_epoch(self):
        def moment():
            manifest = read_json(self.run_folder / "manifest.json")
            return manifest and manifest["last"]["epoch"] == 1 and manifest["last"]["batch"] > 20
        self.kill_server(self.experiment(**SLOW, training__checkpoint_every=7, training__epochs=3), moment)

    def test_the_server_is_killed_without_checkpoints_inside_the_epoch(self):
        def moment():
            committed = len(events(self.run_folder, "committed"))
            return committed in (1, 2, 3) and len(events(self.run_folder, "evaluated")) == committed
        self.kill_server(self.experiment(**SLOW, training__epochs=4), moment, works_first=True)

    def test_the_server_is_killed_before_the_first_checkpoint(self):
        self.kill_server(self.experiment(**SLOW), lambda: events(self.run_folder, "training") and
                         not events(self.run_folder, "evaluated"), works_first=True)

    def test_our_own_ingredients_go_on(self):
        """Stopped in the middle of an epoch, and gone on with: the same bits."""
        experiment = self.experiment(**OWN, training__checkpoint_every=7, training__epochs=6)
        self.reference(experiment)
        stopped = self.fleet.start("stopped", f.binary("decoder_server"), "train", experiment, "--local", "--data",
                                   self.split, "--labels", self.split / "server", "--out", self.run_folder)
        self.wait_for_event("committed", 4)
        stopped.kill()
        self.assertLess(read_json(self.run_folder / "manifest.json")["last"]["step"], 6 * BATCHES)
        self.fleet.train_local(experiment, self.split, self.run_folder, "--resume")
        self.assertEqual(weights(self.run_folder), self.reference(experiment)[1])

    def test_everybody_is_killed(self):
        experiment = self.experiment(**SLOW, training__checkpoint_every=7, training__epochs=3)
        server, nodes = self.start(experiment)
        self.wait_for_event("committed", 5)
        for program in [server, *nodes]:
            program.signal(signal.SIGKILL)
        for program in [server, *nodes]:
            program.wait(-signal.SIGKILL)
        self.end_well(*self.start(experiment, "--resume", order=(3, 2, 1, 0)))
        self.assert_same_weights(experiment)

    def test_resuming_a_finished_run_changes_nothing(self):
        experiment = self.experiment()
        self.fleet.train_local(experiment, self.split, self.run_folder)
        before, result = weights(self.run_folder), read_json(self.run_folder / "result.json")
        self.fleet.train_local(experiment, self.split, self.run_folder, "--resume")
        self.assertEqual(read_json(self.run_folder / "result.json")["steps"], result["steps"])
        self.assertEqual(read_json(self.run_folder / "result.json")["final"], result["final"])
        self.assertEqual(weights(self.run_folder), before)

    def test_the_last_commit_without_its_result_is_finished_by_resume(self):
        """As after a crash between the last commit and result.json, of which no node has heard."""
        experiment = self.experiment()
        self.end_well(*self.start(experiment))
        (self.run_folder / "result.json").unlink()
        kept = [f.parts_of(self.states / f"node-{k}", self.run_folder, k) for k in range(4)]
        for [part] in kept:
            part.chmod(0o644)
            part.with_name("step-1.safetensors").write_bytes(b"of the commit before")
        self.end_well(*self.start(experiment, "--resume"))
        for k, parts in enumerate(kept):
            self.assertEqual(f.parts_of(self.states / f"node-{k}", self.run_folder, k), parts)
            self.assertEqual(parts[0].stat().st_mode & 0o777, 0o444)
        self.assert_same_weights(experiment)
        bits = read_json(self.run_folder / "result.json")["bits_per_sample"]  # nothing was sent this time
        self.assertEqual(bits, {"payload": 16, "coded": None, "entropy": None, "frames": None, "tls": None, "tcp": None})
        said = self.fleet.run("result", f.binary("fewbit"), "result", self.run_folder).printed
        self.assertIn("bits/sample   16 of payload (rounded test", said)
        self.assertNotIn("worth", said)


class Result(TrainingCase):
    def check(self, result, over_tcp):
        number = (int, float)
        self.assertEqual(set(result), {"experiment", "run", "final", "epochs", "seconds", "seconds_per_epoch", "steps",
                                       "bits_per_sample", "raw_bits_per_sample", "nodes", "history"})
        self.assertEqual(result["experiment"], "tiny")
        self.assertRegex(result["run"], "^[0-9a-f]{16}$")
        final = result["final"]
        self.assertEqual(set(final), {"epoch", "train_accuracy", "soft_accuracy", "rounded_accuracy",
                                      "soft_validation_accuracy", "validation_accuracy"})
        self.assertEqual((final["soft_validation_accuracy"], final["validation_accuracy"]), (None, None))
        for key in ("train_accuracy", "soft_accuracy", "rounded_accuracy"):
            self.assertIsInstance(final[key], number, key)
            self.assertGreater(final[key], 30, f"{key} is hardly above chance")
            self.assertLessEqual(final[key], 100)
        self.assertEqual((final["epoch"], result["epochs"], result["steps"]), (2, 2, 2 * BATCHES))
        self.assertIs(type(result["epochs"]), int)
        self.assertIsInstance(result["seconds_per_epoch"], float)
        self.assertGreater(result["seconds_per_epoch"], 0)
        self.assertAlmostEqual(result["seconds"], 2 * result["seconds_per_epoch"])
        self.assertEqual(result["raw_bits_per_sample"], 28 * 28 * 8)
        self.check_bits(result, over_tcp)
        self.assertEqual([entry["epoch"] for entry in result["history"]], [1, 2])
        for entry in result["history"]:
            self.assertEqual(set(entry), {"epoch", "loss", "train_accuracy", "soft_accuracy", "rounded_accuracy",
                                          "soft_validation_accuracy", "validation_accuracy", "seconds", "encoders"})
            self.assertEqual([sum(encoder["bins"]) for encoder in entry["encoders"]], [TEST * 4] * PORTIONS)
        self.assertGreater(result["history"][0]["loss"], result["history"][1]["loss"])
        self.assertEqual({k: v for k, v in result["history"][1].items() if k in final}, final)

    def check_bits(self, result, over_tcp):
        bits = result["bits_per_sample"]
        self.assertEqual(set(bits), {"payload", "coded", "entropy", "frames", "tls", "tcp"})
        self.assertEqual((bits["payload"], bits["coded"]), (16, 16))
        self.assertIsNone(bits["tls"])
        # One Codes frame a node for the whole set, and the Batch that asks for it: at most 16 + 15 bytes beside the
        # codes, so that 1,000 samples a frame cost at most 5 % for the codes' frames.
        self.assertGreaterEqual(bits["frames"], 16)
        self.assertLessEqual(bits["frames"], 16 + PORTIONS * 8 * (16 + 15) / TEST)
        if over_tcp:
            self.assertGreaterEqual(bits["tcp"], bits["frames"])
            self.assertLessEqual(bits["tcp"], bits["frames"] + PORTIONS * 8 * 8 / TEST)  # two heartbeats at most
        else:
            self.assertIsNone(bits["tcp"])
        self.assertEqual([node["portion"] for node in result["nodes"]], list(range(PORTIONS)))
        for node in result["nodes"]:
            payload = node["payload_bits"]
            self.assertEqual(payload["codes"], 2 * TEST * 4)
            self.assertEqual(payload["activations"], (2 * TRAIN + 2 * TEST) * 4 * 32)
            self.assertEqual(payload["gradients"], 2 * TRAIN * 4 * 32)
            self.assertGreater(node["frame_bits_in"]["Codes"], payload["codes"])
            self.assertLessEqual(node["frame_bits_in"]["Codes"], 2 * (TEST * 4 + 8 * 16))
            self.assertGreater(node["frame_bits_out"]["Gradients"], payload["gradients"])
            if over_tcp:
                self.assertGreaterEqual(node["tcp_bits"]["in"], sum(node["frame_bits_in"].values()) - 8 * 300)
            else:
                self.assertIsNone(node["tcp_bits"])

    def test_over_tcp(self):
        experiment = self.experiment()
        self.end_well(*self.start(experiment))
        result = read_json(self.run_folder / "result.json")
        self.check(result, True)
        self.assertEqual([node["name"] for node in result["nodes"]], [f"node-{k}" for k in range(PORTIONS)])
        local = read_json(self.reference(experiment)[0] / "result.json")
        self.assertEqual(result["bits_per_sample"]["frames"], local["bits_per_sample"]["frames"])

    def test_in_one_process(self):
        self.check(read_json(self.reference(self.experiment())[0] / "result.json"), False)

    def test_straight_through_sends_bits_not_floats(self):
        experiment = self.experiment(encoder__binarize="straight-through")
        for node in read_json(self.reference(experiment)[0] / "result.json")["nodes"]:
            self.assertEqual(node["payload_bits"]["activations"], 2 * TRAIN * 4 + 2 * TEST * 4 * 32)

    def test_codes_frames_of_1000_samples_cost_at_most_5_percent(self):
        source = f.make_set(self.folder / "source", 100, 1000)
        split = f.split_set(source, self.folder / "split")
        run = self.folder / "run"
        self.fleet.train_local(self.experiment(training__epochs=1), split, run)
        result = read_json(run / "result.json")
        for node in result["nodes"]:
            self.assertLessEqual(node["frame_bits_in"]["Codes"], 1.05 * node["payload_bits"]["codes"])
        self.assertLessEqual(result["bits_per_sample"]["frames"], 1.05 * 16 + PORTIONS * 8 * 15 / 1000)


    def test_samples_held_back_stand_in_for_the_test(self):
        """With dataset.evaluate_test: false nothing is asked of the test part; bits and histograms are of those held back."""
        held = 300
        experiment = self.experiment(dataset__validation=held, dataset__evaluate_test="false", training__evaluate_every=100)
        self.end_well(*self.start(experiment))
        self.assert_same_weights(experiment)
        result = read_json(self.run_folder / "result.json")
        final, last = result["final"], result["history"][-1]
        self.assertEqual((final["soft_accuracy"], final["rounded_accuracy"]), (None, None))
        for key in ("soft_validation_accuracy", "validation_accuracy"):
            self.assertGreater(final[key], 30, key)
            self.assertAlmostEqual(final[key] * held / 100, round(final[key] * held / 100))
        self.assertEqual([sum(encoder["bins"]) for encoder in last["encoders"]], [held * 4] * PORTIONS)
        self.assertGreater(result["bits_per_sample"]["frames"], 16)
        said = subprocess.run([f.binary("fewbit"), "result", self.run_folder], capture_output=True, text=True, check=True)
        self.assertRegex(said.stdout, r"accuracy +training +[\d.]+ %   soft validation +[\d.]+ %   rounded validation +")
        both = self.experiment(dataset__validation=held, training__evaluate_every=100)
        with_test = read_json(self.reference(both)[0] / "result.json")["final"]
        for key in ("soft_validation_accuracy", "validation_accuracy"):
            self.assertEqual(with_test[key], final[key])
        self.assertGreater(with_test["rounded_accuracy"], 30)


class Keeping(TrainingCase):
    def test_the_best_is_kept(self):
        # So large a rate that the accuracy goes up and down.
        experiment = self.experiment(dataset__validation=200, training__evaluate_every=50, training__keep_best="true",
                                     optimiser__learning_rate=0.02, training__epochs=3)
        self.end_well(*self.start(experiment))
        manifest, result = read_json(self.run_folder / "manifest.json"), read_json(self.run_folder / "result.json")
        history = result["history"]
        self.assertEqual([e["epoch"] for e in history],
                         [epoch + batch / 180 for epoch in range(3) for batch in (50, 100, 150, 180)])
        validation = [e["validation_accuracy"] for e in history]
        self.assertGreater(len(set(validation)), 1)
        best = validation.index(max(validation))
        self.assertEqual(manifest["best_evaluation"], best)
        self.assertEqual(manifest["best"]["step"], round(history[best]["epoch"] * 180))
        self.assertEqual(result["final"], {k: history[best][k] for k in result["final"]})
        steps = {manifest["last"]["step"], manifest["best"]["step"]}
        self.assertEqual(manifest["last"]["step"], 540)
        self.assertEqual(set(weights(self.run_folder, self.states)),
                         {f"{place}/step-{step}.safetensors" for step in steps
                          for place in ("head", *(f"node-{k}" for k in range(PORTIONS)))})
        for commit in (manifest["last"], manifest["best"]):
            held = weights(self.run_folder, self.states)
            self.assertEqual(held[f"head/step-{commit['step']}.safetensors"], commit["head"])
            for k in range(PORTIONS):
                self.assertEqual(held[f"node-{k}/step-{commit['step']}.safetensors"], commit["encoders"][k])
        self.assert_same_weights(experiment)

    def test_early_stop(self):
        experiment = self.experiment(dataset__validation=200, training__early_stopping_patience=1, training__epochs=50,
                                     optimiser__learning_rate=0.000000001)
        self.end_well(*self.start(experiment))
        result = read_json(self.run_folder / "result.json")
        self.assertEqual((len(result["history"]), result["epochs"], result["steps"]), (2, 2, 2 * 180))
        self.assertNotIn("best", read_json(self.run_folder / "manifest.json"))
        self.assertEqual(events(self.run_folder)[-1]["event"], "finished")

    def test_early_stop_waits_for_its_patience_within_epochs_too(self):
        experiment = self.experiment(dataset__validation=200, training__early_stopping_patience=3, training__epochs=50,
                                     training__evaluate_every=60, optimiser__learning_rate=0.000000001,
                                     training__checkpoint_every=7)
        result = read_json(self.reference(experiment)[0] / "result.json")
        self.assertEqual([round(e["epoch"] * 180) for e in result["history"]], [60, 120, 180, 240])

    def test_no_early_stop_while_it_gets_better(self):
        experiment = self.experiment(dataset__validation=200, training__early_stopping_patience=1, training__epochs=4,
                                     optimiser__learning_rate=0.0003)
        result = read_json(self.reference(experiment)[0] / "result.json")
        validation = [e["validation_accuracy"] for e in result["history"]]
        self.assertEqual(validation, sorted(set(validation)))
        self.assertEqual(result["epochs"], 4)

    def test_evaluations_behind_some_epochs_only(self):
        """What is trained stays the same, interrupted or not; each epoch ends with a checkpoint."""
        rare = self.experiment(training__epochs=5, training__evaluate_epochs=2)
        server, nodes = self.start(rare)
        self.end_well(server, nodes)
        self.assert_same_weights(rare)
        result = read_json(self.run_folder / "result.json")
        self.assertEqual([e["epoch"] for e in result["history"]], [2, 4, 5])
        self.assertEqual([e["step"] for e in events(self.run_folder, "committed")], [BATCHES * n for n in range(1, 6)])
        always = read_json(self.reference(self.experiment(training__epochs=5))[0] / "result.json")
        for ours, theirs in zip(result["history"], [always["history"][n - 1] for n in (2, 4, 5)]):
            for key in ("loss", "train_accuracy", "soft_accuracy", "rounded_accuracy"):
                self.assertEqual(ours[key], theirs[key], key)

    def test_an_epoch_without_an_evaluation_is_gone_on_from(self):
        experiment = self.experiment(**SLOW, training__epochs=3, training__evaluate_epochs=3)
        server, nodes = self.start(experiment, node_options=())
        self.wait_for_event("committed")
        server.kill()
        before = read_json(self.run_folder / "manifest.json")["last"]["seconds"]
        self.assertGreater(before, 0)
        for node in nodes:
            node.signal(signal.SIGTERM)
            node.wait(0)
        server, nodes = self.start(experiment, "--resume")
        self.end_well(server, nodes)
        self.assert_same_weights(experiment)
        history = read_json(self.run_folder / "result.json")["history"]
        self.assertEqual(len(history), 1)
        self.assertGreater(history[0]["seconds"], before)

    def test_checkpoints_inside_an_epoch_change_nothing(self):
        plain = self.reference(self.experiment())[0]
        often = self.reference(self.experiment(training__checkpoint_every=13))[0]
        self.assertEqual(*(read_json(run / "result.json")["final"] for run in (plain, often)))
        steps = [e["step"] for e in events(often, "committed")]
        self.assertEqual(steps, sorted({*range(13, 401, 13), 200, 400}))


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
            ("quadrants", f.split_set(shared / "source", self.folder / "a", "--partition", "quadrants"),
             "in 4 quadrants does not fit: this run wants mnist in 4 slices of 1x1x196"),
            ("halves", f.split_set(shared / "source", self.folder / "b", "--portions", "2"), "in 2 slices does not fit"),
            ("another set", f.split_set(shared / "source", self.folder / "c", name="fashion-mnist"),
             "fashion-mnist in 4 slices does not fit: this run wants mnist"),
            ("another digest", f.split_set(other, self.folder / "d"), "portion 1 .*digest differs"),
            ("fewer training samples", f.split_set(shared / "source", self.folder / "e", "--train", "1999"),
             "1999 training and 500 test samples, the labels 2000 and 500"),
            ("fewer test samples", f.split_set(shared / "source", self.folder / "f", "--test", "499"),
             "2000 training and 499 test samples, the labels 2000 and 500"),
        )
        for name, split, pattern in cases:
            with self.subTest(name):
                node = self.fleet.node(1, server, split, self.folder / "state", name="stranger")
                self.assert_refused(node, f"the server says: .*{pattern}")
                self.assertRegex(server.said, f"stranger is refused: .*{pattern}")
        with self.subTest("portion unknown"):
            split = f.split_set(shared / "source", self.folder / "g", "--portions", "7")
            self.assert_refused(self.fleet.node(5, server, split, self.folder / "state"), "there is no portion 5, only 0 to 3")
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
        self.assertRegex(lines[-1]["message"], r"^epoch 2/2  loss ")
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
        split = f.split_set(shared / "source", self.folder / "quadrants", "--partition", "quadrants")
        local = self.fleet.train_local(self.experiment(), split, self.run_folder, code=3)
        self.assertRegex(local.said, r"wants mnist \(10 classes of 1x28x28\) in 4 slices, the labels are of mnist \(10 classes of 1x28x28\) in 4 quadrants")


class Signals(TrainingCase):
    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def test_a_server_that_waits(self):
        for number in self.SIGNALS:
            with self.subTest(number.name):
                server = self.fleet.train(self.experiment(), self.split, self.folder / f"run-{number.name}")
                self.assert_ends_soon(server, number, 130)
                self.assertRegex(server.said, "(?m)^decoder_server: stopped by a signal; --resume goes on")

    def test_a_server_that_trains_and_then_resumes(self):
        for number in self.SIGNALS:
            with self.subTest(number.name):
                self.run_folder = self.folder / f"run-{number.name}"
                self.states = self.folder / f"states-{number.name}"
                experiment = self.experiment(**SLOW, training__checkpoint_every=7, training__epochs=3)
                server, nodes = self.start(experiment)
                self.wait_for_event("committed", 2)
                self.assert_ends_soon(server, number, 130)
                again = self.fleet.train(experiment, self.split, self.run_folder, "--resume", port=server.port)
                self.end_well(again, nodes)
                self.assert_same_weights(experiment)

    def test_in_one_process_and_then_resumes(self):
        for number in self.SIGNALS:
            with self.subTest(number.name):
                self.run_folder = self.folder / f"run-{number.name}"
                experiment = self.experiment(**SLOW, training__checkpoint_every=7, training__epochs=3)
                local = self.fleet.start(
                    "local", f.binary("decoder_server"), "train", experiment, "--local", "--data", self.split,
                    "--labels", self.split / "server", "--out", self.run_folder)
                self.wait_for_event("committed", 2)
                self.assert_ends_soon(local, number, 130)
                self.assertIsNone(read_json(self.run_folder / "result.json"))
                self.fleet.train_local(experiment, self.split, self.run_folder, "--resume")
                self.assertEqual(weights(self.run_folder), self.reference(experiment)[1])

    def test_nodes(self):
        server = self.fleet.train(self.experiment(), self.split, self.run_folder)
        alone = self.fleet.node(0, 1, self.split, self.folder / "state")
        alone.wait_event("server_away")
        joined = self.fleet.nodes(server, self.split, self.states, order=(1, 2))
        self.assert_ends_soon(alone, signal.SIGTERM, 0)
        self.assert_ends_soon(joined[0], signal.SIGTERM, 0)
        self.assert_ends_soon(joined[1], signal.SIGINT, 0)
        server.wait_event("node_lost", 2)
        self.assertTrue(server.is_running())

    def test_a_node_without_once_stays_after_the_run(self):
        server, nodes = self.start(self.experiment(training__epochs=1), node_options=())
        server.wait(0)
        for node in nodes:
            node.wait_event("server_away")
            self.assert_ends_soon(node, signal.SIGTERM, 0)


def can_mount():
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", "-l", folder], check=True)
        return done.returncode == 0


class FullDisk(TrainingCase):
    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / "disk" / "run"

    def disk(self, folder, size):
        """A file system of `size` bytes in `folder`."""
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size // 1024}k", "none", folder], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", folder])

    def enlarge(self, folder):
        subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)

    def sizes(self, experiment):
        """Bytes of a head and of an encoder."""
        folder = self.reference(experiment)[0]
        return (next((folder / "head").iterdir()).stat().st_size,
                f.parts_of(folder / "nodes" / "node-0", folder, 0)[0].stat().st_size)

    def assert_stands_at(self, step):
        """The manifest names a checkpoint of `step` whose parts are all there."""
        last = read_json(self.run_folder / "manifest.json")["last"]
        self.assertEqual(last["step"], step)
        held = weights(self.run_folder, self.states)
        self.assertEqual(held[f"head/step-{step}.safetensors"], last["head"])
        for k in range(PORTIONS):
            self.assertEqual(held[f"node-{k}/step-{step}.safetensors"], last["encoders"][k])

    def assert_goes_on(self, experiment):
        self.end_well(*self.start(experiment, "--resume"))
        self.assert_same_weights(experiment)

    @unittest.skipUnless(can_mount(), "cannot mount a small file system")
    def test_of_the_server(self):
        experiment = self.experiment(training__epochs=4)
        head = self.sizes(experiment)[0]
        self.disk(self.folder / "disk", head * 3 // 2 + 64 * 1024)
        server, nodes = self.start(experiment)
        server.wait(5)
        self.assertEqual(len(events(self.run_folder, "evaluated")), 4, "the run died in the middle")
        self.assertRegex(server.said, r"error checkpoint 400 failed, the one of step 200 stands: .*No space left")
        self.assertRegex(server.said, r"(?m)^decoder_server: the last checkpoint could not be written .*--resume")
        self.assertEqual([e["step"] for e in events(self.run_folder, "commit failed")], [400, 600, 800])
        self.assertIsNone(read_json(self.run_folder / "result.json"))
        for node in nodes:
            node.wait(0)
        self.assert_stands_at(200)
        self.enlarge(self.folder / "disk")
        self.assert_goes_on(experiment)

    @unittest.skipUnless(can_mount(), "cannot mount a small file system")
    def test_of_a_node(self):
        experiment = self.experiment(training__epochs=4)
        encoder = self.sizes(experiment)[1]
        self.disk(self.states / "node-2", encoder * 3 // 2 + 16 * 1024)
        server, nodes = self.start(experiment)
        server.wait(5)
        self.assertEqual(len(events(self.run_folder, "evaluated")), 4, "the run died in the middle")
        self.assertRegex(server.said, r"checkpoint 400 failed, the one of step 200 stands: portion 2: .*No space left")
        for node in nodes:
            node.wait(0)
        self.assertRegex(nodes[2].said, r"error checkpoint 400 is not written: .*No space left")
        self.assert_stands_at(200)
        self.enlarge(self.states / "node-2")
        self.assert_goes_on(experiment)

    @unittest.skipUnless(can_mount(), "cannot mount a small file system")
    def test_of_a_node_does_not_fill_the_others(self):
        """Checkpoints that came to nothing must not pile up where there is room."""
        experiment = self.experiment(training__checkpoint_every=20)
        encoder = self.sizes(experiment)[1]
        self.disk(self.states / "node-2", encoder * 3 // 2 + 16 * 1024)
        server, nodes = self.start(experiment)
        server.wait(5)
        for node in nodes:
            node.wait(0)
        self.assertGreater(len(events(self.run_folder, "commit failed")), 10)
        self.assert_stands_at(20)
        held = list(weights(self.run_folder, self.states))
        for place in ("head", "node-0", "node-1", "node-3"):
            self.assertLessEqual(len([name for name in held if name.startswith(place)]), 3, held)

    @unittest.skipUnless(can_mount(), "cannot mount a small file system")
    def test_that_has_room_again_in_time(self):
        experiment = self.experiment(**SLOW, training__checkpoint_every=7, training__epochs=3)
        head = self.sizes(experiment)[0]
        self.disk(self.folder / "disk", head * 3 // 2)
        server, nodes = self.start(experiment)
        self.wait_for_event("commit failed")
        self.enlarge(self.folder / "disk")
        self.end_well(server, nodes)
        self.assert_same_weights(experiment)

    def test_by_a_limit_on_file_sizes(self):
        """The same without root: no file may grow any more once the first checkpoint is there."""
        experiment = self.experiment(**SLOW, training__epochs=4)
        server, nodes = self.start(experiment, prepare=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
        self.wait_for_event("committed")
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        server.wait(5)
        self.assertRegex(server.said, r"checkpoint 800 failed, the one of step \d+ stands: .*File too large")
        for node in nodes:
            node.wait(0)
        self.assert_stands_at(read_json(self.run_folder / "manifest.json")["last"]["step"])
        self.assert_goes_on(experiment)


class Memory(TrainingCase):
    @unittest.skipIf(SANITIZED, "a sanitizer's memory is not the program's")
    def test_at_the_size_of_mnist(self):
        source = f.make_set(self.folder / "source", 2000, 500, tiles=(30, 20))
        self.split = f.split_set(source, self.folder / "split")
        experiment = f.shipped_experiment("row-03-simple-quantize.yaml", self.folder / "row-03.yaml", epochs=1)
        server, nodes = self.start(experiment)
        peaks = [0] * 5

        def watch():
            for i, program in enumerate([server, *nodes]):
                peaks[i] = max(peaks[i], program.peak_kib())
            return not server.is_running()
        wait_until(watch, "the end of the training", explain=self.fleet.explain)
        self.end_well(server, nodes)
        self.assertGreater(min(peaks), 0)
        self.assertLess(peaks[0], 200 * 1024, f"KiB: {peaks}")
        self.assertLess(max(peaks[1:]), 150 * 1024, f"KiB: {peaks}")
        print(f"\npeak memory: server {peaks[0] // 1024} MiB, nodes {[p // 1024 for p in peaks[1:]]} MiB", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()

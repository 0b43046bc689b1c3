#!/usr/bin/python3
"""What a training says of itself, and which of its checkpoints it keeps."""
import json
import re
import signal
import subprocess
import unittest

from lib import fleet as f
from lib.fleet import PORTIONS, events, read_json, weights
from lib.training import BATCHES, SLOW, TEST, TRAIN, TrainingCase, setUpModule  # noqa: F401: unittest finds setUpModule here


class Result(TrainingCase):
    def check(self, result, over_tcp):
        number = (int, float)
        self.assertEqual(set(result), {"experiment", "run", "final", "epochs", "seconds", "seconds_per_epoch", "steps",
                                       "portions", "bits_per_sample", "raw_bits_per_sample", "nodes", "history"})
        self.assertEqual(result["experiment"], "tiny")
        self.assertRegex(result["run"], "^[0-9a-f]{16}$")
        final = result["final"]
        self.assertEqual(set(final), {"epoch", "train_accuracy", "soft_accuracy", "rounded_accuracy",
                                      "soft_validation_accuracy", "validation_accuracy", "test"})
        self.assertEqual((final["soft_validation_accuracy"], final["validation_accuracy"]), (None, None))
        self.check_metrics(final.pop("test"), TEST, final["rounded_accuracy"])
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
        self.assertEqual(result["portions"], [{"name": str(k), "bits": 4} for k in range(PORTIONS)])
        self.check_bits(result, over_tcp)
        self.assertEqual([entry["epoch"] for entry in result["history"]], [1, 2])
        for entry in result["history"]:
            self.assertEqual(set(entry), {"epoch", "loss", "train_accuracy", "soft_accuracy", "rounded_accuracy",
                                          "soft_validation_accuracy", "validation_accuracy", "seconds", "encoders"})
            self.assertEqual([sum(encoder["bins"]) for encoder in entry["encoders"]], [TEST * 4] * PORTIONS)
        self.assertGreater(result["history"][0]["loss"], result["history"][1]["loss"])
        self.assertEqual({k: v for k, v in result["history"][1].items() if k in final}, final)

    def check_metrics(self, metrics, samples, accuracy):
        """Of the samples' codes: what the accuracy says, class by class."""
        self.assertEqual(set(metrics), {"samples", "confusion", "precision", "recall", "f1", "macro_f1", "calibration_error",
                                        "reliability"})
        confusion, classes = metrics["confusion"], range(10)
        self.assertEqual((metrics["samples"], sum(map(sum, confusion)), len(confusion)), (samples, samples, 10))
        self.assertAlmostEqual(100 * sum(confusion[c][c] for c in classes) / samples, accuracy)
        for c in classes:
            self.assertAlmostEqual(metrics["recall"][c] * sum(confusion[c]), confusion[c][c])
            self.assertAlmostEqual(metrics["precision"][c] * sum(row[c] for row in confusion), confusion[c][c])
        self.assertAlmostEqual(metrics["macro_f1"], sum(metrics["f1"]) / 10)
        self.assertEqual(len(metrics["reliability"]), 15)
        self.assertEqual([sum(b[key] for b in metrics["reliability"]) for key in ("samples", "correct")],
                         [samples, sum(confusion[c][c] for c in classes)])
        self.assertTrue(0 <= metrics["calibration_error"] <= 1)

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

    def test_classes_are_told_by_number_and_name(self):
        """`fewbit result` prints what result.json says class by class, of a tampered one as far as it goes."""
        run = self.folder / "run"
        self.fleet.train_local(self.experiment(dataset__validation=100), self.split, run)
        result, identity = read_json(run / "result.json"), read_json(run / "identity.json")
        names = ["cat", "1", "\u00e4" * 40, "\x1b[31mred", 7]
        for classes in (None, names):
            (run / "identity.json").write_text(json.dumps({**identity, "classes": classes}))
            said = self.fleet.run("result", f.binary("fewbit"), "result", run).printed
            for split in ("test", "validation"):
                of = result["final"][split]
                self.assertRegex(said, rf"(?m)^{split} +{of['samples']} samples   macro F1 {100 * of['macro_f1']:.2f} %   "
                                       rf"calibration error {100 * of['calibration_error']:.2f} %$")
                rows = [[int(word) for word in line.split()[-10:]] for line in
                        said.split(f"\n{split} ")[1].split("\ntaken for")[1].splitlines()[1:11]]
                self.assertEqual(rows, of["confusion"])
            for c in range(10):
                precision, recall, f1 = (100 * result["final"]["test"][key][c] for key in ("precision", "recall", "f1"))
                self.assertRegex(said, rf"(?m)^{c}\b.* {sum(result['final']['test']['confusion'][c])} +{precision:.2f} % +"
                                       rf"{recall:.2f} % +{f1:.2f} %$")
        for label in ("0 cat", "1", "2 " + "\u00e4" * 29 + "\u2026", "3  [31mred", "4"):
            self.assertRegex(said, rf"(?m)^{re.escape(label)} +\d+ +[\d.]+ %")
        for confusion in (3, [[1], "x"], [[None, {}], [1e300, "x"]], [[1] * 21] * 21, [[]] * 300):
            final = {**result["final"], "test": {"confusion": confusion}, "with_missing": {"samples": 7, "accuracy": 12.5}}
            (run / "result.json").write_text(json.dumps({**result, "final": final}))
            said = self.fleet.run("result", f.binary("fewbit"), "result", run).printed
            self.assertIn("with missing  rounded test  12.50 % of 7 samples", said)
            self.assertEqual(said.count("taken for"), 1 + (isinstance(confusion, list) and len(confusion) == 2))

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
        self.assertNotIn("test", final)
        self.check_metrics(final["validation"], held, final["validation_accuracy"])
        self.assertGreater(result["bits_per_sample"]["frames"], 16)
        said = subprocess.run([f.binary("fewbit"), "result", self.run_folder], capture_output=True, text=True, check=True)
        self.assertRegex(said.stdout, r"accuracy +training +[\d.]+ %   soft validation +[\d.]+ %   rounded validation +")
        both = self.experiment(dataset__validation=held, training__evaluate_every=100)
        with_test = read_json(self.reference(both)[0] / "result.json")["final"]
        for key in ("soft_validation_accuracy", "validation_accuracy"):
            self.assertEqual(with_test[key], final[key])
        self.assertEqual(with_test["validation"], final["validation"])
        self.check_metrics(with_test["test"], TEST, with_test["rounded_accuracy"])
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
        for split in ("test", "validation"):
            self.assertEqual(result["final"][split], manifest["evaluations"][best]["metrics"][split])
            del result["final"][split]
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


if __name__ == "__main__":
    unittest.main()

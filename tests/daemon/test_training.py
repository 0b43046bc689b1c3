#!/usr/bin/python3
"""Joint training as users run it: real daemons on loopback, disturbed in every way we know, and always the same bits."""
import pathlib
import re
import shutil
import signal
import sys
import unittest

from lib import fleet as f
from lib.fleet import SANITIZED, events, read_json, wait_until, weights
from lib.training import BATCHES, OWN, SLOW, TrainingCase, setUpModule  # noqa: F401: unittest finds setUpModule here


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

    def test_nets_that_are_lists_of_layers(self):
        experiment = self.experiment(
            encoder__net="[{convolution: {outputs: 4, kernel: 3, stride: 2, padding: 1}}, batch_norm, relu, {residual: "
            "[{convolution: {outputs: 4, kernel: 3, padding: 1}}]}, relu, {adaptive_average_pool: [2, 3]}, {dropout: "
            "0.2}, flatten, {dense: bits}]", encoder__hidden=0, decoder__net="[{dense: 16}, {unflatten: [1, 4, 4]}, "
            "{upsample: 8}]", classifier__net="[{max_pool: 2}, flatten, {residual: [{dense: 16}, relu]}, {dense: "
            "classes}]", classifier__hidden=0)
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
            optimiser__schedule="one-cycle", loss__label_smoothing=0.1, loss__class_weights="balanced",
            augment={"shift": 1.5, "rotation": 10})
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
        final = read_json(self.run_folder / "result.json")["final"]
        self.assertEqual(final, read_json(self.reference(experiment)[0] / "result.json")["final"])
        self.assertIn("confusion", final["test"])
        bits = read_json(self.run_folder / "result.json")["bits_per_sample"]  # nothing was sent this time
        self.assertEqual(bits, {"payload": 16, "coded": None, "entropy": None, "frames": None, "tls": None, "tcp": None})
        said = self.fleet.run("result", f.binary("fewbit"), "result", self.run_folder).printed
        self.assertIn("bits/sample   16 of payload (rounded test", said)
        self.assertNotIn("worth", said)


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

#!/usr/bin/python3
"""`fewbit sweep` and `fewbit plot --rate-accuracy` as a user runs them, on tiny data."""
import json
import pathlib
import re
import shutil
import signal
import statistics
import tempfile
import unittest
import xml.dom.minidom

from lib import fleet as f
from lib.fleet import wait_until

TRAIN, TEST, HELD = 600, 200, 150

shared = None


def setUpModule():
    global shared
    shared = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-sweep-"))
    unittest.addModuleCleanup(shutil.rmtree, shared, ignore_errors=True)
    f.make_set(shared / "source", TRAIN, TEST)
    f.split_set(shared / "source", shared / "split")


class SweepCase(f.FleetCase):
    def setUp(self):
        super().setUp()
        self.to = self.folder / "to"
        f.write_experiment(self.folder / "base.yaml", training__epochs=1)

    def sweep_file(self, text, name="sweep.yaml"):
        (self.folder / name).write_text(text)
        return self.folder / name

    def sweep(self, text, *options, code=0, to=None):
        program = self.fleet.run("sweep", f.binary("fewbit"), "sweep", self.sweep_file(text), "--to", to or self.to, "--data",
                                 shared / "split", *options, code=code)
        return program.printed, program.said

    def table(self, to=None):
        return json.loads(((to or self.to) / "sweep.json").read_text())


GRID = """base: base.yaml
variants:
  as-it-is: {}
  averaged: {training.ema_decay: 0.9, encoder.binarize: straight-through}
grid:
  encoder.bits: [1, 2]
  training.seed: [1, 2, 3]
"""


class Grids(SweepCase):
    def test_every_combination_once(self):
        printed, _ = self.sweep(GRID)
        names = [f"{v}.bits-{b}.seed-{s}" for v in ("as-it-is", "averaged") for b in (1, 2) for s in (1, 2, 3)]
        told = re.findall(r"^(\d+) of 12  (\S+)  trained in [\d.]+ s, rounded test [\d.]+ %$", printed, re.M)
        self.assertEqual(told, [(str(i + 1), name) for i, name in enumerate(names)])
        for name in names:
            text = (self.to / name / "experiment.yaml").read_text()
            variant, bits, seed = re.fullmatch(r"(.*)\.bits-(\d)\.seed-(\d)", name).groups()
            self.assertIn(f"  bits: {bits}\n", text)
            self.assertIn(f"  seed: {seed}\n", text)
            self.assertEqual("  ema_decay: 0\n" not in text, variant == "averaged")
            self.assertEqual("  binarize: straight-through\n" in text, variant == "averaged")
        self.check_table(names)
        before = {name: (self.to / name / "result.json").stat().st_mtime_ns for name in names}
        table = self.table()
        again, _ = self.sweep(GRID)
        self.assertEqual(len(re.findall(r"  kept, rounded", again)), 12)
        self.assertEqual({name: (self.to / name / "result.json").stat().st_mtime_ns for name in names}, before)
        self.assertEqual(self.table(), table)
        self.assertEqual(again.split("group", 1)[1], printed.split("group", 1)[1])

    def check_table(self, names):
        table = self.table()
        self.assertEqual((table["base"], table["dataset"]), ("tiny", "mnist"))
        self.assertEqual([p["name"] for p in table["points"]], names)
        self.assertEqual([(g["name"], g["bits"], g["seeds"]) for g in table["groups"]],
                         [(f"{v}.bits-{b}", 4 * b, [1, 2, 3]) for v in ("as-it-is", "averaged") for b in (1, 2)])
        self.assertEqual(table["groups"][2]["settings"], {"variant": "averaged", "encoder.bits": "1"})
        for group in table["groups"]:
            finals = [json.loads((self.to / f"{group['name']}.seed-{s}" / "result.json").read_text())["final"]
                      for s in (1, 2, 3)]
            for key in ("soft_accuracy", "rounded_accuracy"):
                values = [final[key] for final in finals]
                self.assertAlmostEqual(group[key]["mean"], statistics.mean(values))
                self.assertAlmostEqual(group[key]["std"], statistics.stdev(values))
                self.assertEqual((group[key]["min"], group[key]["max"]), (min(values), max(values)))
            self.assertGreater(len({final["rounded_accuracy"] for final in finals}), 1, "seeds change nothing")
            self.assertNotIn("validation_accuracy", group)

    def test_keys_whose_values_are_lists(self):
        self.sweep("base: base.yaml\nvariants:\n  even: {encoder.bits: 3, encoder.binarize: straight-through}\n"
                   "  first: {encoder.bits: 3, encoder.binarize: straight-through, loss.refinement_weights: [2, 1]}\n"
                   "grid:\n  encoder.refinement: [[1, 2], [2, 1]]\n")
        for name, rounds, loss in (("even.refinement-1+2", "[1, 2]", None), ("first.refinement-2+1", "[2, 1]", "[2, 1]")):
            text = (self.to / name / "experiment.yaml").read_text()
            self.assertIn(f"  refinement: {rounds}\n", text.split("decoder:")[0])
            self.assertEqual("  refinement_weights: [2, 1]\n" in text.split("loss:")[1], loss is not None)

    def test_the_test_part_is_left_alone(self):
        printed, _ = self.sweep("base: base.yaml\ngrid:\n  training.seed: [4]\n", "--validation", HELD, "--skip-test")
        final = json.loads((self.to / "seed-4" / "result.json").read_text())["final"]
        self.assertEqual((final["soft_accuracy"], final["rounded_accuracy"]), (None, None))
        held = final["validation_accuracy"]
        self.assertIn(f", rounded validation {held:.2f} %\n", printed)
        self.assertNotIn("test", printed)
        group, = self.table()["groups"]
        self.assertEqual((group["name"], group["validation_accuracy"]["mean"]), ("tiny", held))

    def test_a_point_that_fails_does_not_hide_the_others(self):
        text = "base: base.yaml\ngrid:\n  optimiser.learning_rate: [0.001, 100]\n  optimiser.kind: [sgd]\n"
        printed, said = self.sweep(text, code=3)
        self.assertRegex(printed, r"(?m)^1 of 2  learning_rate-0.001.kind-sgd  trained in")
        self.assertRegex(printed, r"(?m)^2 of 2  learning_rate-100.kind-sgd  failed: .*the loss is")
        self.assertRegex(said, r"^fewbit: 1 of 2 points have failed, first learning_rate-100.kind-sgd: [^\n]*\n$")
        self.assertEqual(len(self.table()["points"]), 1)


class Stopping(SweepCase):
    LONG = "base: base.yaml\ngrid:\n  training.seed: [1, 2]\n  training.epochs: [10]\n  training.checkpoint_every: [5]\n"

    def stop_in(self, name):
        """Stopped inside a point's training."""
        program = self.fleet.start("stopped", f.binary("fewbit"), "sweep", self.sweep_file(self.LONG), "--to", self.to,
                                   "--data", shared / "split")
        wait_until(lambda: (self.to / name / "manifest.json").exists(), "the point's first checkpoint",
                   explain=self.fleet.explain)
        program.signal(signal.SIGTERM)
        program.wait(130)
        self.assertTrue(program.leaves_nobody())
        return program

    def test_it_goes_on_where_it_was(self):
        """Stopped inside the second point's training: the first is kept, the second ends with the same bits."""
        whole = self.folder / "whole"
        self.sweep(self.LONG, to=whole)
        names = [f"seed-{s}.epochs-10.checkpoint_every-5" for s in (1, 2)]
        program = self.stop_in(names[1])
        self.assertFalse((self.to / names[1] / "result.json").exists())
        self.assertIn(names[0], program.printed)
        self.assertEqual(len(self.table()["points"]), 1)
        printed, _ = self.sweep(self.LONG)
        self.assertRegex(printed, rf"(?m)^1 of 2  {names[0]}  kept")
        self.assertRegex(printed, rf"(?m)^2 of 2  {names[1]}  trained")
        events = [json.loads(line)["event"] for line in (self.to / names[1] / "log.jsonl").read_text().splitlines()]
        self.assertIn("resumed", events)
        for name in names:
            heads = [sorted((where / name / "head").iterdir()) for where in (whole, self.to)]
            self.assertEqual(*[[path.read_bytes() for path in head] for head in heads])
        shutil.rmtree(self.to / names[0])
        self.stop_in(names[0])
        self.assertEqual([point["name"] for point in self.table()["points"]], names[1:])  # what is there stays in the table

    def test_a_killed_one_leaves_no_training_behind(self):
        name = "seed-1.epochs-10.checkpoint_every-5"
        program = self.fleet.start("killed", f.binary("fewbit"), "sweep", self.sweep_file(self.LONG), "--to", self.to,
                                   "--data", shared / "split")
        wait_until(lambda: (self.to / name / "manifest.json").exists(), "a first checkpoint", explain=self.fleet.explain)
        program.kill()
        wait_until(program.leaves_nobody, "the training's end", explain=self.fleet.explain)
        printed, _ = self.sweep(self.LONG)
        self.assertRegex(printed, rf"(?m)^1 of 2  {name}  trained")


ONE = "base: base.yaml\nvariants:\n  base: {}\n"


class Later(SweepCase):
    def rewrite(self, pattern, text):
        """Changes the run's experiment.yaml, as if it had begun with it."""
        run = self.to / "base"
        changed, count = re.subn(pattern, text, (run / "experiment.yaml").read_text())
        self.assertEqual(count, 1)
        result = json.loads((run / "result.json").read_text())
        result["run"] = f.rewrite_experiment(run, changed)
        (run / "result.json").write_text(json.dumps(result))

    def test_a_run_that_lacks_a_key_of_today_is_kept_and_one_with_a_key_of_old_refused(self):
        self.sweep(ONE)
        self.rewrite(r"(?m)^  label_smoothing: 0\n", "")
        self.assertRegex(self.sweep(ONE)[0], "1 of 1  base  kept")
        self.rewrite(r"(?m)^  shear: 0\n", r"\g<0>  erase: 0\n")
        self.assertRegex(self.sweep(ONE, code=3)[1], r"experiment.yaml:\d+: key augment.erase is not known")

    def test_the_environments_options_are_not_the_trainings(self):
        self.fleet.run("sweep", f.binary("fewbit"), "sweep", self.sweep_file(ONE), "--to", self.to, "--data",
                       shared / "split", FEWBIT_EPOCHS="3", FEWBIT_HTTP="127.0.0.1:1", FEWBIT_LOG_LEVEL="warn")
        self.assertEqual(json.loads((self.to / "base/result.json").read_text())["epochs"], 1)
        self.assertNotIn("joined", (self.to / "points/base.log").read_text())

    def test_weights_are_seen_from_the_plan(self):
        (self.folder / "weights").mkdir()
        (self.folder / "weights/one.safetensors").write_text("none")
        text = "base: base.yaml\nvariants:\n  one: {classifier.weights: %s, classifier.train: frozen}\n"
        self.assertRegex(self.sweep(text % "weights/none", code=4)[1], "weights/none: No such file")
        _, said = self.sweep(text % "weights/one.safetensors", code=3)
        self.assertIn("weights/one.safetensors: ", said)
        self.assertRegex((self.to / "points/one.yaml").read_text(), f"weights: .*{self.folder}/weights/one.safetensors")


class RateAccuracy(SweepCase):
    def table_of(self, name, measure="rounded_accuracy", set_name="mnist", groups=((4, 80, 78, 82), (16, 98, 97, 98.5))):
        folder = self.folder / name
        folder.mkdir()
        (folder / "sweep.json").write_text(json.dumps({"base": name, "dataset": set_name, "points": [], "groups": [
            {"name": f"b{bits}", "bits": bits, "settings": {"variant": "it's", "encoder.bits": str(bits // 4)}, "seeds": [1],
             measure: {"mean": mean, "std": 0, "min": least, "max": largest}}
            for bits, mean, least, largest in groups]}))
        return folder

    def plot(self, *arguments, code=0, **how):
        program = self.fleet.run("plot", f.binary("fewbit"), "plot", *arguments, code=code, **how)
        return program.printed, program.said

    @unittest.skipUnless(shutil.which("gnuplot"), "there is no gnuplot")
    def test_a_line_a_sweep_and_the_papers_points(self):
        one, other = self.table_of("one"), self.table_of("other")
        printed, _ = self.plot("--rate-accuracy", one, other, "--to", self.folder, "--experiments", f.ROOT / "experiments/paper")
        self.assertEqual(printed, f"{self.folder}/rate-accuracy.svg\n")
        document = xml.dom.minidom.parse(str(self.folder / "rate-accuracy.svg"))
        text = " ".join(node.firstChild.data for node in document.getElementsByTagName("text") if node.firstChild)
        text += " ".join(node.firstChild.data for node in document.getElementsByTagName("tspan") if node.firstChild)
        for wanted in ("one, it's", "other, it's", "the paper, by row", "of test samples", "mnist"):
            self.assertIn(wanted, text)
        marks = [(use.getAttribute("xlink:href"), *map(float, re.match(r"translate\(([\d.]+),([\d.]+)\)",
                                                                      use.getAttribute("transform")).groups()))
                 for use in document.getElementsByTagName("use") if use.hasAttribute("color")]
        ours = [mark[1:] for mark in marks if mark[0] == "#gpPt6"]
        paper = [mark[1:] for mark in marks if mark[0] == "#gpPt5"]
        self.assertEqual(len(ours), 2 * (2 + 1))  # and one in the key
        self.assertEqual(len(paper), 4 + 1)  # rows 1 to 4
        (low_x, low_y), (high_x, high_y) = ours[:2]
        best = min(y for _, y in paper[:4])
        self.assertAlmostEqual(paper[0][0], high_x, delta=0.1)  # 16 bits
        self.assertAlmostEqual(best, high_y + (98 - 96.56) * (low_y - high_y) / (98 - 80), delta=0.1)

    @unittest.skipUnless(shutil.which("gnuplot"), "there is no gnuplot")
    def test_a_sweep_that_left_the_test_alone(self):
        one = self.table_of("one", measure="validation_accuracy")
        self.plot("--rate-accuracy", one, "--experiments", self.folder)
        self.assertIn("of samples held back", (one / "rate-accuracy.svg").read_text())

    @unittest.skipUnless(shutil.which("gnuplot"), "there is no gnuplot")
    def test_a_name_is_no_command(self):
        one = self.table_of("one", set_name="'\n!echo ran\n#")
        self.plot("--rate-accuracy", one)
        self.assertIn("' !echo ran #: mean over seeds", (one / "rate-accuracy.svg").read_text().replace("&apos;", "'").replace("&#39;", "'"))

    def test_refusals(self):
        one, other = self.table_of("one"), self.table_of("other", set_name="cifar10")
        self.assertRegex(self.plot("--rate-accuracy", one, other, code=3)[1], "is on cifar10, the sweep before on mnist")
        held = self.table_of("held", measure="validation_accuracy")
        for both in ((one, held), (held, one)):
            self.assertRegex(self.plot("--rate-accuracy", *both, code=3)[1], "held/sweep.json: has no rounded_accuracy")
        self.assertRegex(self.plot("--rate-accuracy", self.folder, code=4)[1], "sweep.json")
        self.assertRegex(self.plot("--rate-accuracy", self.table_of("none", groups=()), code=4)[1], "no finished point")
        self.plot("--rate-accuracy", code=2)
        self.plot(one, other, code=2)
        self.assertRegex(self.plot("--rate-accuracy", one, code=4, PATH=str(self.folder))[1], "there is no gnuplot here")
        for text in ("{", "{}", '{"base": "a", "dataset": "mnist", "groups": 3}'):
            (one / "sweep.json").write_text(text)
            self.assertRegex(self.plot("--rate-accuracy", one, code=3)[1], r"^fewbit: [^\n]*sweep.json:[^\n]*\n$")


class Refusals(SweepCase):
    def test_files(self):
        for text, pattern in (
                ("", "is empty"),
                ("base: [", "sweep.yaml:"),
                ("grid: {}\n", "key base is missing"),
                ("base: none.yaml\n", "none.yaml"),
                ("base: base.yaml\nbits: 3\n", "sweep.yaml:2: is none of base, grid and variants"),
                ("base: base.yaml\ngrid:\n  encoder.bits: 3\n", "sweep.yaml:3: is no list of values"),
                ("base: base.yaml\ngrid:\n  encoder.bits: []\n", "sweep.yaml:3: lists no value"),
                ("base: base.yaml\ngrid:\n  encoder.bits: [1]\n  encoder.bits: [2]\n", "sweep.yaml:4: is there twice"),
                ("base: base.yaml\nbase: other.yaml\n", "sweep.yaml:2: is there twice"),
                ("base: base.yaml\ngrid:\n  encoder.bits: [1]\ngrid:\n  training.seed: [1]\n",
                 "sweep.yaml:4: is there twice"),
                ("base: base.yaml\nvariants:\n  a:\n    training.epochs: 3\n    training.epochs: 4\n",
                 "sweep.yaml:5: is there twice"),
                ("base: base.yaml\n\x01\n", "sweep.yaml:2: control characters"),
                ("base: base.yaml\n---\ngrid: {}\n", "sweep.yaml:2: a second document"),
                ("base: base.yaml\ngrid:\n  encoder.bits: &a [1]\n", r"sweep.yaml:3: key grid.encoder.bits: an anchor"),
                ("base: base.yaml\ngrid:\n  encoder.bits: [1, *a]\n", r"sweep.yaml:3: key grid.encoder.bits: an alias"),
                ("base: base.yaml\ngrid:\n  encoder.bits: [!!int 1]\n", r"sweep.yaml:3: key grid.encoder.bits: a tag"),
                ('base: base.yaml\ngrid:\n  encoder.bits: ["1\\0"]\n', "sweep.yaml:3: key grid.encoder.bits: a zero byte"),
                ("base: base.yaml\ngrid:\n  encoder.bits: [null]\n", "encoder.bits must be a whole number"),
                ("base: base.yaml\ngrid:\n  encoder.net: [conv-nrom]\n", "encoder.net is 'conv-nrom', none of .* is conv-norm meant"),
                ("base: " + "[" * 60000, "sweep.yaml:1: nests deeper than 12 levels"),
                ("base: base.yaml\ngrid:\n  encoder.bit: [1]\n", "point bit-1 as resolved: key encoder.bit is not known"),
                ("base: base.yaml\ngrid:\n  bits: [1]\n", "key bits is not known"),
                ("base: base.yaml\ngrid:\n  encoder.bits: [1, 65]\n", "point bits-65 as resolved.*encoder.bits must be from 1"),
                ("base: base.yaml\ngrid:\n  encoder.bits: ['1\\n']\n", "is not made of letters"),
                ("base: base.yaml\ngrid:\n  encoder.bits: [1, 1]\n", "two points are called bits-1"),
                ("base: base.yaml\ngrid:\n  encoder.bits: [1]\nvariants:\n  one: {encoder.bits: 2}\n",
                 "sweep.yaml:5: is varied by the grid too"),
                ("base: base.yaml\ngrid:\n  encoder.refinement: [[1, [2]]]\n", "sweep.yaml:3: is no value of"),
                (f"base: base.yaml\nvariants:\n  one: {{encoder.refinement: [{'1, ' * 40}1]}}\n",
                 "sweep.yaml:3: is a list of more than 63 characters"),
                ("base: base.yaml\nvariants:\n  one: {encoder.bits: [1]}\n", "point one as resolved"),
                ("base: base.yaml\nvariants:\n  ..: {encoder.bits: 1}\n", "a point cannot be called"),
                ("base: base.yaml\nvariants:\n  points: {encoder.bits: 1}\n", "a point cannot be called points"),
                ("base: base.yaml\nvariants:\n  one: 3\n", "sweep.yaml:3: is no mapping"),
                ("base: base.yaml\ngrid:\n" + "".join(
                    f"  {key}: [{', '.join(map(str, range(1, 60)))}]\n"
                    for key in ("encoder.bits", "training.seed", "training.epochs")), "more than 10000"),
        ):
            with self.subTest(text):
                _, said = self.sweep(text, code=4 if "none.yaml" in text else 3)
                self.assertRegex(said, rf"^fewbit: [^\n]*{pattern}[^\n]*\n$")
        self.assertFalse(self.to.exists())

    def test_options(self):
        for options in ((), ("sweep.yaml",), ("sweep.yaml", "--to", "to"), ("a", "b", "--to", "to", "--data", "data"),
                        ("sweep.yaml", "--to", "to", "--data", "data", "--validation", "0")):
            self.fleet.run("sweep", f.binary("fewbit"), "sweep", *options, code=2)
        _, said = self.sweep("base: base.yaml\n", "--skip-test", code=3)
        self.assertIn("dataset.evaluate_test false needs dataset.validation", said)

    def test_a_folder_of_other_settings(self):
        """Nothing is trained then, and the table stays as it was."""
        self.sweep(ONE)
        before = self.table()
        f.write_experiment(self.folder / "base.yaml", training__epochs=2)
        text = ONE + "  other: {training.seed: 2}\n"
        _, said = self.sweep(text, code=3)
        self.assertRegex(said, "1 of 2 points have failed, first base: .*base/experiment.yaml: is of other settings")
        self.assertFalse((self.to / "other").exists())
        self.assertEqual(self.table(), before)
        result = self.to / "base/result.json"
        f.write_experiment(self.folder / "base.yaml", training__epochs=1)
        result.write_text(result.read_text().replace('"run": "', '"run": "0'))
        self.assertRegex(self.sweep(text, code=3)[1], "is not the result of the experiment.yaml beside it")


if __name__ == "__main__":
    unittest.main()

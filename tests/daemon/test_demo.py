#!/usr/bin/python3
"""The README's first command, as a person runs it: in a copy of the checkout's layout, with real data and processes."""
import os
import pathlib
import shutil
import signal
import subprocess
import unittest

from lib import fleet as f
from lib.fleet import ROOT, read_json, wait_until

DEBIAN = pathlib.Path("/usr/share/datasets/fashion-mnist")


def mnist_at():
    """A folder that FEWBIT_DATA can name, with MNIST in it; None where this machine has none."""
    return next((folder.parent for folder in ROOT.parent.glob("*/data/mnist")), None)


def can_cut_off():
    return os.geteuid() == 0 and subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0


class DemoCase(f.FleetCase):
    def setUp(self):
        super().setUp()
        self.clone = self.folder / "clone"
        self.clone.mkdir()
        shutil.copytree(ROOT / "tools", self.clone / "tools")
        shutil.copytree(ROOT / "experiments", self.clone / "experiments")
        self.run_folder = self.clone / "runs/demo"

    def demo(self, *arguments, before=(), **environment):
        environment.setdefault("FEWBIT_BIN_DIR", pathlib.Path(f.binary("fewbit")).parent.resolve())
        environment.setdefault("FEWBIT_LOG_FORMAT", "text")
        return self.fleet.start("demo", *before, self.clone / "tools/demo", *arguments, **environment)

    def experiment(self, **keys):
        return f.shipped_experiment("row-03-simple-quantize.yaml", self.clone / "experiment.yaml", **keys)


class Demo(DemoCase):
    @unittest.skipUnless(mnist_at(), "MNIST is not on this machine")
    def test_the_whole_way(self):
        demo = self.demo("experiments/paper/row-03-simple-quantize.yaml", "1", FEWBIT_DATA=mnist_at(), FEWBIT_DEMO_IMAGES=200)
        demo.wait(0, 4 * f.PATIENCE)
        self.assertTrue(demo.leaves_nobody())
        result = read_json(self.run_folder / "result.json")
        self.assertEqual((result["epochs"], result["bits_per_sample"]["payload"]), (1, 16))
        self.assertGreater(result["final"]["rounded_accuracy"], 90)
        self.assertGreater(result["bits_per_sample"]["tcp"], 16)
        printed = demo.printed
        for pattern in (r"ready, 4 nodes", r":0: 7 \(\d+\.\d %\), 16 bits in [01]{4} [01]{4} [01]{4} [01]{4}, ",
                        r"200 images: 1[789]\d of 200 right \(", r"accuracy +training ",
                        rf"rounded test +{result['final']['rounded_accuracy']:.2f} %", r"16 of payload",
                        r"6272 bits a sample: 392 times"):
            self.assertRegex(printed, pattern)
        self.assertRegex(demo.said, r"epoch 1/1  loss .* rounded ")
        self.assertNotRegex(demo.said, "warn|error")
        served = [line for line in (self.run_folder / "results.jsonl").read_text().splitlines() if '"from":"http"' in line]
        self.assertEqual(len(served), 205)

    @unittest.skipUnless(can_cut_off() and all((DEBIAN / f"{name}.gz").exists() for name in (
        "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte")), "needs root and Debian's dataset-fashion-mnist")
    def test_without_mnist_it_goes_on_with_fashion_mnist(self):
        cut_off = ("unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
        demo = self.demo("experiments/paper/row-03-simple-quantize.yaml", "1", before=cut_off, FEWBIT_DEMO_IMAGES=50,
                         npm_config_cache=self.folder / "no-cache")
        demo.wait(0, 4 * f.PATIENCE)
        self.assertIn("MNIST cannot be had here: the demo goes on with Fashion-MNIST", demo.printed)
        self.assertIn("name: fashion-mnist", (self.run_folder / "experiment.yaml").read_text())
        self.assertGreater(read_json(self.run_folder / "result.json")["final"]["rounded_accuracy"], 70)

    def test_no_such_experiment(self):
        demo = self.demo("experiments/none.yaml")
        demo.wait(4)
        self.assertRegex(demo.said, r"^demo: experiments/none.yaml: there is no such experiment\n$")

    def test_an_experiment_that_is_wrong(self):
        self.experiment(hidden=0)
        demo = self.demo("experiment.yaml", FEWBIT_DATA=mnist_at() or "")
        demo.wait(3)
        self.assertRegex(demo.said, r"experiment.yaml:\d+: key encoder.hidden must be from 1 to 65536")


@unittest.skipUnless(mnist_at(), "MNIST is not on this machine")
class Interrupted(DemoCase):
    """Ctrl-C reaches every process of the terminal's group at once."""

    def interrupt(self, demo):
        os.killpg(demo.pid, signal.SIGINT)
        demo.wait(130, f.PATIENCE)
        wait_until(demo.leaves_nobody, "the last process to end", explain=self.fleet.explain)
        self.assertIn("demo: stopped; every process has ended", demo.said)

    def start(self, *arguments):
        return self.demo("experiments/paper/row-03-simple-quantize.yaml", *arguments, FEWBIT_DATA=mnist_at())

    def test_at_once(self):
        demo = self.start()
        wait_until(self.run_folder.exists, "the demo's first act")
        self.interrupt(demo)

    def test_while_it_trains(self):
        demo = self.start("200")
        demo.wait_text("epoch 2/200  loss")
        self.interrupt(demo)
        self.assertIsNone(read_json(self.run_folder / "result.json"))

    def test_while_it_serves(self):
        demo = self.demo("experiments/paper/row-03-simple-quantize.yaml", "1", FEWBIT_DATA=mnist_at(), FEWBIT_DEMO_IMAGES=10000)
        wait_until(lambda: "test images, one request each" in demo.printed, "live requests", 4 * f.PATIENCE,
                   self.fleet.explain)
        self.interrupt(demo)


if __name__ == "__main__":
    unittest.main()

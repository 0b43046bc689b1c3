#!/usr/bin/python3
"""Parity with PyTorch of the paper's image systems, rows 5 to 29.

    tests/parity/test_images.py          some of them, few steps on small batches: under a minute
    tests/parity/test_images.py --all    all of them, ten steps: a quarter of an hour, 10 GB of memory, 5 GB of disk

Our program trains ten steps in one go. At each of them PyTorch, from our weights and optimiser state before it and on the
same batch, must find the same loss and the same gradient of every parameter (as the optimiser's state shows it);
and with the weights we end with its encoders must put out the same bits.

PyTorch does not go its own way for ten steps, as these systems carry a difference on: batch norm after small numbers, and
a classifier full of kinks. PyTorch in float and PyTorch in double differ by 1e-7 in the loss of step 0, by 1e-4
after one step of Adam and by 1e-2 after four. A gradient may be off by some percent where one kink of
millions is on the other side (most often none is, and they agree to 1e-5), so the median step counts, too.

The frozen classifier's weights are drawn, its running statistics those of a net that has seen such images. What dropout
drops is handed over from our side.
"""
import contextlib
import dataclasses
import os
import subprocess
import sys
import unittest

from test_parity import MAY_FLIP, MISSING, Parity, setUpModule  # noqa: F401 (unittest finds setUpModule here)

if not MISSING:
    import numpy
    import torch

    from lib.parity import handover, image_nets, samples
    from lib.parity.systems import SYSTEMS

ALL = "--all" in sys.argv or os.environ.get("FEWBIT_PARITY") == "all"
FEW = {5: 3, 7: 3, 11: 3, 16: 1, 19: 1, 21: 3, 26: 3, 27: 3}  # row -> steps, where not all are run
LARGE = (16, 17, 19, 20)  # 224x224
OFTEN_OFF, EVER_OFF = 0.05, 0.3  # of a gradient, in the Euclidean norm: in the median step, and in any
SMALL = 1e-3  # of the part's largest gradient: what is smaller, a sum that cancels, is compared at that scale
STALLED = 300  # seconds for one of our steps


class Handed(torch.nn.Module if not MISSING else object):
    """Dropout that drops what it is told."""
    mask = None  # [rows, numbers]

    def forward(self, numbers):
        return numbers * self.mask if self.training else numbers


class Images(Parity):
    tolerance = 1e-3

    def draw_samples(self, seed, count):
        return samples.scenes(seed, count, self.system.shape, self.system.mean, self.system.deviation)

    def begin(self, *arguments, **keys):
        super().begin(*arguments, **keys)
        if not self.system.frozen:
            path = self.folder / "experiment.yaml"
            path.write_text(path.read_text().replace("  train: frozen\n  weights: ../../runs/classifier-cifar10\n", ""))

    def prepare(self):
        for layers in self.joint.modules():
            for at, layer in enumerate(layers) if isinstance(layers, torch.nn.Sequential) else ():
                if isinstance(layer, torch.nn.Dropout):
                    layers[at] = Handed()
        decoder = self.joint.head["decoder"]
        if isinstance(decoder, image_nets.Planes):  # else its last ReLUs may all sleep, and nothing learns
            [layer for layer in decoder if isinstance(layer, torch.nn.Conv2d)][-1].bias.data.abs_()
        if self.system.frozen:
            images, _ = self.draw_samples(0, 64)
            self.joint.head["classifier"].learn_statistics(torch.from_numpy(images).flatten(1))
            self.joint.train()

    @contextlib.contextmanager
    def our_program(self, end):
        """Our program, which takes a step a line and leaves its parts in `end` after each."""
        command = [*self.command(self.start, end, 0, self.steps, self.fresh_samples), "--stops"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
            try:
                yield program
                self.assertEqual(program.wait(STALLED), 0)
            finally:
                program.kill()

    def take_masks(self, codes, step):
        for k, encoder in enumerate(self.joint.encoders):
            places = sorted((int(name.split(".")[2]), name) for name in codes if name.startswith(f"dropout.{k}."))
            layers = [layer for layer in encoder.modules() if isinstance(layer, Handed)]
            self.assertEqual(len(layers), len(places))
            for layer, (_, name) in zip(layers, places):
                layer.mask = torch.from_numpy(codes[name][step])
                self.assertEqual(set(numpy.unique(layer.mask)), {0, 2})
                self.assertAlmostEqual(layer.mask.mean().item(), 1, delta=0.1)

    def gradients_off(self, folder):
        """How far our gradients are from PyTorch's in this step, before which both sides' first moments were the same:
        (part, name) -> share."""
        off, without_slope = {}, self.joint.without_slope()
        for part, module in self.joint.parts().items():
            tensors, _ = handover.read(folder / f"{part}.safetensors")
            trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
            moments = {f"optimiser.{name}.exp_avg" for name in trained}
            self.assertEqual(moments, {key for key in tensors if key.endswith(".exp_avg")})
            largest = max((parameter.grad.norm().item() for parameter in trained.values()), default=0)
            self.assertGreater(largest, 0, f"{part} learns nothing")
            for name, parameter in trained.items():
                if (part, name) not in without_slope:
                    theirs = self.optimiser.state[parameter]["exp_avg"].numpy()
                    difference = numpy.linalg.norm(theirs - tensors[f"optimiser.{name}.exp_avg"]) / 0.1
                    off[part, name] = difference / max(parameter.grad.norm().item(), SMALL * largest)
        return off

    def assert_same_gradients(self, steps):
        """steps: what gradients_off said of each."""
        self.assertGreater(len(steps), 0)
        self.assertNotEqual(steps[0], {})
        for tensor in steps[0]:
            shares = sorted(step[tensor] for step in steps)
            self.assertLessEqual(shares[len(shares) // 2], OFTEN_OFF, tensor)
            self.assertLessEqual(shares[-1], EVER_OFF, tensor)

    def assert_same_statistics(self, folder):
        """Batch norm's running ones, which were the same before this step."""
        for part, module in self.joint.parts().items():
            tensors, _ = handover.read(folder / f"{part}.safetensors")
            for name, theirs in module.named_buffers():
                if not name.endswith("num_batches_tracked"):
                    size = theirs.abs().max().item()
                    numpy.testing.assert_allclose(tensors[name], theirs, rtol=1e-4, atol=1e-5 * size, err_msg=name)

    def assert_frozen(self, folder):
        """What is frozen has not moved by a bit."""
        ours, _ = handover.read(folder / "head.safetensors")
        for name, before in self.initial["head"].items():
            if name.startswith("classifier."):
                numpy.testing.assert_array_equal(ours[name], before, name)

    def check(self, name, **keys):
        row = int(name[4:6])
        self.steps = 10 if ALL else FEW[row]
        self.rows = 4 if not ALL else 8 if row in LARGE else 10
        self.fresh_samples = 20 if row in LARGE else 200
        self.begin(name, 1, **keys)
        end, gradients = self.new_folder("end"), []
        with self.our_program(end) as program:
            for step in range(self.steps):
                ours = float(program.stdout.readline())
                codes, _ = handover.read(end / "codes.safetensors")
                self.take_masks(codes, step)
                theirs, numbers = self.their_step(step)
                if not self.is_flipped(numbers, codes["trained"][step]):
                    self.assert_same_loss(step, ours, theirs)
                    gradients.append(self.gradients_off(end))
                self.assert_same_statistics(end)
                self.take_over(end, step + 1)
                program.stdin.write("\n")
                program.stdin.flush()
        self.assertGreaterEqual(len(gradients), self.steps - MAY_FLIP)
        self.assert_same_gradients(gradients)
        if self.system.frozen:
            self.assert_frozen(end)
        self.assert_same_answers(end, handover.read(end / "codes.safetensors")[0])

    def test_row_11_with_the_classifier_trained_along(self):
        system = dataclasses.replace(SYSTEMS["row-11-conv"], frozen=False)
        self.check("row-11-conv", system=system)


def add_tests():
    for name in SYSTEMS:
        row = int(name[4:6])
        if row < 5 or not (ALL or row in FEW):
            continue

        def test(self, name=name):
            self.check(name)
        setattr(Images, f"test_row_{row:02}", test)


if not MISSING:
    add_tests()

if __name__ == "__main__":
    unittest.main(argv=[argument for argument in sys.argv if argument != "--all"])

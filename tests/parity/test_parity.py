#!/usr/bin/python3
"""Parity with PyTorch: from equal weights, on equal batches, the project's training steps are PyTorch's.

build/bin/tests/parity_steps trains with the project's code, systems.py says the same systems in PyTorch, and handover.py
passes weights and batches between them. FEWBIT_BIN_DIR: the folder of the programs (default build/bin).

What "the same" can mean. Sums of floats taken in another order differ in the last bits, and training carries that on.
  * Where nothing amplifies it, the losses of 20 steps agree to a few 1e-7; 1e-4 is asked for.
  * A kink amplifies it: a hidden unit within rounding of 0 is off here and on there, a number within rounding of 0.5 is a
    0 here and a 1 there. Of the millions of units of a run about one is. What comes of it may pass 1e-4, between
    PyTorch in float and PyTorch in double too. So runs on their own are asked for with most, not all, sets of samples;
  * and each of the 20 steps is compared from equal weights and equal optimiser state, where nothing can pile up.
  * Row 2's three steep sigmoids in a row multiply a difference by up to 43, and their slopes by more: PyTorch with one
    thread and PyTorch with two agree to 1e-5 after three steps and to no more than 5 % after twenty. There only the
    first steps run on their own.
  * A bias before batch norm has no slope. What it gets is the rounding of a sum that should be 0, and Adam makes steps
    of any size out of that: such biases, and the running means that follow them, are compared in what they do only.
"""
import collections
import dataclasses
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import lib  # noqa: F401: temporary folders

MISSING = [name for name in ("numpy", "torch") if importlib.util.find_spec(name) is None]
if not MISSING:
    import numpy
    import torch

    from lib.parity import handover, samples
    from lib.parity.systems import SYSTEMS, Joint, with_quantization

ROOT = pathlib.Path(__file__).resolve().parents[2]
WEIGHTS_OFF = 2e-3   # of a tensor's movement, in the Euclidean norm
NEAR = 1e-5          # of 0.5: a number that may be decided either way
SEEDS = (1, 2, 3, 4, 5)
MUST_AGREE = 3       # of the seeds, when both sides run on their own
MAY_FLIP = 2         # of the steps


def setUpModule():
    if MISSING:
        reason = f"SKIPPED: parity with PyTorch: python3 has no {' and no '.join(MISSING)}"
        print(reason, file=sys.stderr, flush=True)
        raise unittest.SkipTest(reason)
    torch.set_num_threads(1)


def steps_program():
    folder = ROOT / os.environ.get("FEWBIT_BIN_DIR", "build/bin")
    return next(p for p in (folder / "bin/tests/parity_steps", folder / "tests/parity_steps") if p.exists())


def experiment_text(name, **keys):
    """experiments/*/NAME.yaml with other values for some keys; momentum is added where it is not."""
    text = next((ROOT / "experiments").glob(f"*/{name}.yaml")).read_text()
    if "momentum" in keys:
        text = re.sub(r"(?m)^(  learning_rate: .*)$", r"\1\n  momentum: 0", text)
    for key, value in keys.items():
        text, found = re.subn(rf"(?m)^(  {key}: ).*$", rf"\g<1>{value}", text)
        assert found == 1, key
    return text


def floats(module):
    """Its parameters and buffers by name; torch's count of batches is no part of ours."""
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()
            if not name.endswith("num_batches_tracked")}


def weights_of(tensors):
    """What of a checkpoint part is the net's."""
    return {name: torch.from_numpy(value) for name, value in tensors.items() if not name.startswith("optimiser.")}


def with_sgd():
    """Row 4 with SGD and momentum, and another multiplier."""
    system = dataclasses.replace(SYSTEMS["row-04-simple-1d-quantization-loss"], loss=with_quantization(0.5))
    return {"system": system, "quantization": 0.5, "kind": "sgd", "learning_rate": 0.05, "momentum": 0.9}


class Parity(unittest.TestCase):
    steps, rows, fresh_samples = 20, 100, 1000
    tolerance = 1e-4  # of a loss, relative
    weights_off = WEIGHTS_OFF

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-parity-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def begin(self, name, seed, system=None, **keys):
        """A system with PyTorch's initial weights, its samples, and the experiment that says the same to our program."""
        self.system = system or SYSTEMS[name]
        (self.folder / "experiment.yaml").write_text(experiment_text(name, batch_size=self.rows, **keys))
        torch.manual_seed(seed)
        self.joint = Joint(self.system).train()
        self.prepare()
        self.initial = {part: floats(module) for part, module in self.joint.parts().items()}
        images, labels = self.draw_samples(seed, self.steps * self.rows + self.fresh_samples)
        self.images, self.labels = torch.from_numpy(images), torch.from_numpy(labels)
        self.fresh = self.images[self.steps * self.rows:]
        parameters = [parameter for parameter in self.joint.parameters() if parameter.requires_grad]
        if keys.get("kind") == "sgd":
            self.optimiser = torch.optim.SGD(parameters, lr=keys["learning_rate"], momentum=keys["momentum"])
        else:
            self.optimiser = torch.optim.Adam(parameters, lr=self.system.learning_rate)
        self.start = self.new_folder("start")
        for part, tensors in self.initial.items():
            identity = {"format": "fewbit-1", "run": "0" * 16, "part": part, "step": "0"}
            handover.write(self.start / f"{part}.safetensors", tensors, identity)

    def prepare(self):
        """What a system needs before its weights are handed over."""

    def draw_samples(self, seed, count):
        return samples.images(seed, count, self.system.shape, self.system.mean, self.system.deviation)

    def new_folder(self, name):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def batch(self, step):
        rows = slice(step * self.rows, (step + 1) * self.rows)
        return self.images[rows], self.labels[rows]

    def command(self, start, to, first, steps, fresh):
        tensors = {"labels": self.labels[first * self.rows:(first + steps) * self.rows].reshape(steps, self.rows).numpy()}
        for k, part in enumerate(self.system.split(self.images)):
            part = part.reshape(len(self.images), -1).numpy()
            tensors[f"portion.{k}"] = part[first * self.rows:(first + steps) * self.rows].reshape(steps, self.rows, -1)
            tensors[f"fresh.{k}"] = part[self.steps * self.rows:self.steps * self.rows + fresh]
        batches = self.folder / "batches.safetensors"
        handover.write(batches, tensors, {"first": str(first), "steps": str(steps), "samples": str(fresh)})
        return [steps_program(), self.folder / "experiment.yaml", start, batches, to]

    def ours(self, start, to, first, steps, fresh=None):
        """Our steps from the weights in `start`, which leaves those after them in `to`: losses and codes."""
        command = self.command(start, to, first, steps, self.fresh_samples if fresh is None else fresh)
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        losses = [float(line) for line in done.stdout.split()]
        self.assertEqual(len(losses), steps)
        return losses, handover.read(to / "codes.safetensors")[0]

    def their_step(self, step):
        loss, numbers = self.joint.loss(*self.batch(step))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item(), numbers.numpy()

    def assert_same_loss(self, step, ours, theirs):
        self.assertLessEqual(abs(ours - theirs), self.tolerance * theirs, f"loss of step {step}: {ours} and {theirs}")

    def assert_same_weights(self, folder, before):
        """After PyTorch's steps from `before`, the parts in `folder` have moved as PyTorch's have."""
        for part, module in self.joint.parts().items():
            ours, _ = handover.read(folder / f"{part}.safetensors")
            for name, theirs in floats(module).items():
                no_slope = (part, name) in self.joint.without_slope()
                if no_slope or name.endswith("running_mean"):
                    continue
                moved = numpy.linalg.norm(theirs - before[part][name])
                off = numpy.linalg.norm(theirs - ours[name])
                self.assertGreater(moved, 0, f"{part} {name}")
                self.assertLessEqual(off, self.weights_off * moved, f"{part} {name}")

    def load_ours(self, folder):
        """Our parts as they are, by name, into torch.nn.Sequential; strict: nothing missing, nothing unknown."""
        for part, module in self.joint.parts().items():
            tensors, _ = handover.read(folder / f"{part}.safetensors")
            module.load_state_dict(weights_of(tensors), strict=True)

    def their_fresh(self):
        """The encoders' numbers for the fresh samples, evaluated."""
        self.joint.eval()
        with torch.no_grad():
            numbers = torch.cat(self.joint.encode(self.fresh), dim=1).numpy()
        self.joint.train()
        return numbers

    def assert_same_bits(self, codes, share):
        bits = self.their_fresh().round()
        self.assertEqual(bits.shape, codes["bits"].shape)
        agree = (bits == codes["bits"]).mean()
        self.assertGreaterEqual(agree, share)
        self.assertTrue(0.05 < bits.mean() < 0.95, "bits that are all alike prove nothing")

    def assert_same_answers(self, folder, codes):
        """With our weights in PyTorch's nets: the same numbers, so all bits but those at the very threshold."""
        self.load_ours(folder)
        numbers = self.their_fresh()
        numpy.testing.assert_allclose(codes["soft"], numbers, rtol=0, atol=1e-4 if self.is_steep() else 1e-5)
        self.assert_same_bits(codes, 0.999)

    def is_steep(self):
        return "ReSigmoid" in str(self.joint)

    def is_flipped(self, numbers, codes):
        """Whether a number at the very threshold was decided otherwise by us, with a part in training."""
        flipped = (numbers > 0.5) != (codes > 0.5)
        if not self.system.decides or not flipped.any():
            return False
        self.assertLessEqual(abs(numbers[flipped] - 0.5).max(), NEAR, "decided otherwise far from the threshold")
        return True

    def take_over(self, folder, step):
        """Our weights and optimiser state after `step` steps, in PyTorch; returns the weights."""
        self.load_ours(folder)
        is_adam = isinstance(self.optimiser, torch.optim.Adam)
        for part, module in self.joint.parts().items():
            tensors, metadata = handover.read(folder / f"{part}.safetensors")
            self.assertEqual(metadata["step"], str(step))
            for name, parameter in module.named_parameters():
                if not parameter.requires_grad:
                    continue
                def state(of):
                    return torch.from_numpy(tensors[f"optimiser.{name}.{of}"])
                self.optimiser.state[parameter] = (
                    {"step": torch.tensor(float(step)), "exp_avg": state("exp_avg"), "exp_avg_sq": state("exp_avg_sq")}
                    if is_adam else {"momentum_buffer": state("momentum")})
        return {part: floats(module) for part, module in self.joint.parts().items()}


class OnTheirOwn(Parity):
    """20 steps on both sides from the same start, never brought together again."""

    def run_both(self, *arguments, **keys):
        self.begin(*arguments, **keys)
        end = self.new_folder("end")
        losses, codes = self.ours(self.start, end, 0, self.steps)
        for step in range(self.steps):
            theirs, _ = self.their_step(step)
            self.assert_same_loss(step, losses[step], theirs)
        self.assert_same_weights(end, self.initial)
        # Batch norm evaluates with running means, which follow biases that have no slope: see above.
        self.assert_same_bits(codes, 0.995 if self.joint.without_slope() else 0.999)
        self.assert_same_answers(end, codes)

    def check(self, name, **keys):
        agreed, reasons = 0, []
        for seed in SEEDS:
            try:
                self.run_both(name, seed, **keys)
                agreed += 1
            except AssertionError as difference:
                reasons.append(f"seed {seed}: {difference}")
            if agreed == MUST_AGREE:
                return
        self.fail("\n".join(reasons))

    def test_row_1(self):
        self.check("row-01-simple-1d")

    def test_row_2_begins_alike(self):
        self.begin("row-02-simple-resigmoid", 2)
        losses, _ = self.ours(self.start, self.new_folder("end"), 0, self.steps)
        for step in range(3):
            self.assert_same_loss(step, losses[step], self.their_step(step)[0])

    def test_row_3(self):
        self.check("row-03-simple-quantize")

    def test_row_4(self):
        self.check("row-04-simple-1d-quantization-loss")

    def test_row_4_with_sgd_and_half_the_multiplier(self):
        self.check("row-04-simple-1d-quantization-loss", **with_sgd())


class StepByStep(Parity):
    """Each of 20 steps from equal weights and equal optimiser state: ours, taken over from our checkpoints."""

    def check(self, name, seed=1, **keys):
        self.begin(name, seed, **keys)
        here, before, flips = self.start, self.initial, 0
        for step in range(self.steps):
            there = self.new_folder(f"after-{(step + 1) % 2}")
            losses, codes = self.ours(here, there, step, 1, self.fresh_samples if step == self.steps - 1 else 0)
            theirs, numbers = self.their_step(step)
            if self.is_flipped(numbers, codes["trained"][0]):
                flips += 1
            else:
                self.assert_same_loss(step, losses[0], theirs)
                self.assert_same_weights(there, before)
            before = self.take_over(there, step + 1)
            here = there
        self.assertLessEqual(flips, MAY_FLIP)
        self.assert_same_answers(here, codes)

    def test_row_1(self):
        self.check("row-01-simple-1d")

    def test_row_2(self):
        self.check("row-02-simple-resigmoid")

    def test_row_3(self):
        self.check("row-03-simple-quantize")

    def test_row_4(self):
        self.check("row-04-simple-1d-quantization-loss")

    def test_row_4_with_sgd_and_half_the_multiplier(self):
        self.check("row-04-simple-1d-quantization-loss", **with_sgd())


class StateDicts(Parity):
    def test_our_parts_load_into_sequential_as_they_are(self):
        """The names are those torch.nn.Sequential gives; nothing is missing and nothing unknown, but optimiser state."""
        for name, system in list(SYSTEMS.items())[:4]:
            with self.subTest(name):
                self.begin(name, 1)
                end = self.new_folder("end")
                self.ours(self.start, end, 0, 1)
                parts = {f"encoder.{k}": {"encoder": system.encoder()} for k in range(system.portions)}
                parts["head"] = {"decoder": system.decoder(), "classifier": system.classifier()}
                for part, nets in parts.items():
                    tensors, metadata = handover.read(end / f"{part}.safetensors")
                    module = torch.nn.Sequential(collections.OrderedDict(nets))
                    module.load_state_dict(weights_of(tensors), strict=True)
                    for key, value in floats(module).items():
                        numpy.testing.assert_array_equal(value, tensors[key])
                    states = {f"optimiser.{key}.{state}" for key, _ in module.named_parameters()
                              for state in ("exp_avg", "exp_avg_sq")}
                    self.assertEqual(states, {key for key in tensors if key.startswith("optimiser.")})
                    self.assertEqual(metadata, {"format": "fewbit-1", "run": "0" * 16, "part": part, "step": "1"})


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""Parity of what goes by classes: the weighted loss with PyTorch's CrossEntropyLoss."""
import importlib.util
import os
import pathlib
import subprocess
import sys
import unittest

MISSING = [name for name in ("numpy", "torch") if importlib.util.find_spec(name) is None]
if not MISSING:
    import numpy
    import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]


def setUpModule():
    if MISSING:
        reason = f"SKIPPED: parity of classes: python3 has no {' and no '.join(MISSING)}"
        print(reason, file=sys.stderr, flush=True)
        raise unittest.SkipTest(reason)
    torch.set_num_threads(1)


def program(name):
    folder = ROOT / os.environ.get("FEWBIT_BIN_DIR", "build/bin")
    return next(p for p in (folder / "bin/tests" / name, folder / "tests" / name) if p.exists())


class WeightedLoss(unittest.TestCase):
    def ours(self, weights, logits, labels, smoothing):
        rows, classes = logits.shape
        said = b"".join(part.astype("<f4").tobytes() for part in (weights, logits, labels))
        numbers = numpy.frombuffer(subprocess.run([program("parity_class_loss"), str(rows), str(classes), str(smoothing)],
                                                  input=said, capture_output=True, check=True, timeout=60).stdout, "<f8")
        return numbers[0], numbers[1:].reshape(rows, classes)

    def test_loss_and_gradient_are_those_of_pytorch(self):
        draws = numpy.random.default_rng(5)
        for classes in (2, 3, 10, 100):
            for rows in (1, 7, 100):
                for smoothing in (0.0, 0.1, 0.9):
                    with self.subTest(classes=classes, rows=rows, smoothing=smoothing):
                        logits = draws.normal(0, 4, (rows, classes)).astype("f4")
                        labels = draws.integers(0, classes, rows)
                        weights = draws.uniform(0.001, 10, classes).astype("f4")
                        loss, gradient = self.ours(weights, logits, labels, smoothing)
                        z = torch.tensor(logits.astype("f8"), requires_grad=True)
                        of = torch.nn.CrossEntropyLoss(torch.tensor(weights.astype("f8")), label_smoothing=smoothing)
                        wanted = of(z, torch.tensor(labels))
                        wanted.backward()
                        self.assertAlmostEqual(loss, wanted.item(), delta=2e-6 * max(1, wanted.item()))
                        # each number is a difference of two shares of the largest weight
                        scale = weights.max() / weights[labels].sum()
                        self.assertLess(numpy.abs(gradient - z.grad.numpy()).max(), 1e-6 * max(1, scale))


if __name__ == "__main__":
    unittest.main(verbosity=2)

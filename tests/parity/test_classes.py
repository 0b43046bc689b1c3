#!/usr/bin/python3
"""Parity of what goes by classes: the weighted loss with PyTorch's CrossEntropyLoss, and the metrics with what numpy makes
of their definitions."""
import importlib.util
import json
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


def share(part, whole):
    return part / whole if whole else 0.0


class Metrics(unittest.TestCase):
    BINS = 15

    def ours(self, probabilities, labels, piece):
        rows, classes = probabilities.shape
        said = probabilities.astype("<f4").tobytes() + labels.astype("<f4").tobytes()
        return json.loads(subprocess.run([program("parity_class_metrics"), str(rows), str(classes), str(piece)], input=said,
                                         capture_output=True, check=True, timeout=60).stdout)

    def wanted(self, probabilities, labels):
        rows, classes = probabilities.shape
        taken = probabilities.argmax(1)
        of = {"samples": rows, "confusion": [[int(((labels == t) & (taken == c)).sum()) for c in range(classes)]
                                             for t in range(classes)]}
        right = [int(((labels == c) & (taken == c)).sum()) for c in range(classes)]
        of["precision"] = [share(right[c], int((taken == c).sum())) for c in range(classes)]
        of["recall"] = [share(right[c], int((labels == c).sum())) for c in range(classes)]
        of["f1"] = [share(2 * p * r, p + r) for p, r in zip(of["precision"], of["recall"])]
        of["macro_f1"] = float(numpy.mean(of["f1"]))
        confidence = probabilities.max(1).astype("f8")
        bins = numpy.minimum((confidence * self.BINS).astype(int), self.BINS - 1)
        inside = [bins == b for b in range(self.BINS)]
        of["reliability"] = [{"samples": int(i.sum()), "correct": int((taken == labels)[i].sum()),
                              "confidence": float(confidence[i].mean()) if i.any() else None} for i in inside]
        of["calibration_error"] = sum(abs((taken == labels)[i].mean() - confidence[i].mean()) * i.sum() / rows
                                      for i in inside if i.any())
        if classes == 2:
            low, high = probabilities[labels == 0, 1], probabilities[labels == 1, 1]
            pairs = (high[:, None] > low).sum() + 0.5 * (high[:, None] == low).sum()
            of["auc"] = pairs / (len(low) * len(high)) if len(low) and len(high) else None
        return of

    def assert_same(self, ours, wanted):
        if isinstance(wanted, dict):
            self.assertEqual(sorted(ours), sorted(wanted))
            for key in wanted:
                self.assert_same(ours[key], wanted[key])
        elif isinstance(wanted, list):
            self.assertEqual(len(ours), len(wanted))
            for a, b in zip(ours, wanted):
                self.assert_same(a, b)
        elif isinstance(wanted, float):
            self.assertAlmostEqual(ours, wanted, delta=1e-9)
        else:
            self.assertEqual(ours, wanted)

    def test_metrics_are_their_definitions(self):
        draws = numpy.random.default_rng(6)
        for classes in (2, 3, 10, 100):
            for rows, sharpness, present in ((1, 1, classes), (2, 1, classes), (999, 0.2, classes), (3000, 4, classes),
                                             (500, 40, classes), (500, 2, 1), (500, 2, max(2, classes // 2))):
                with self.subTest(classes=classes, rows=rows, sharpness=sharpness, present=present):
                    labels = draws.integers(0, present, rows)
                    logits = draws.normal(0, 1, (rows, classes)) * sharpness
                    logits[numpy.arange(rows), labels] += sharpness
                    probabilities = numpy.exp(logits - logits.max(1, keepdims=True))
                    probabilities = (probabilities / probabilities.sum(1, keepdims=True)).astype("f4")
                    self.assert_same(self.ours(probabilities, labels, 1000), self.wanted(probabilities, labels))
                    coarse = numpy.round(probabilities * 4).astype("f4") / 4  # ties
                    self.assert_same(self.ours(coarse, labels, 7), self.wanted(coarse, labels))


if __name__ == "__main__":
    unittest.main(verbosity=2)

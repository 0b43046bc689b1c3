#!/usr/bin/python3
"""Parity with PyTorch of nets that are lists of layers: the same list, read by both sides.

Names and shapes of the tensors, which load into torch.nn.Sequential strictly; each of some training steps from equal
weights and equal optimiser state; and the codes of samples not seen before, which batch norm's running means decide.
"""
import json
import unittest

import test_parity
from test_parity import MISSING, Parity, setUpModule  # noqa: F401 (unittest finds setUpModule here)

if not MISSING:
    import torch

    from lib.parity.listed import listed
    from lib.parity.systems import System, cross_entropy, quadrants

BITS = 6
NORM = [{"convolution": {"outputs": 8, "kernel": 3, "padding": 1, "bias": False}}, "batch_norm", "relu"]
BLOCKS = {"norm": NORM, "down": ["norm", {"max_pool": 2}], "deep": ["down", "norm"]}
HEAD = [{"dense": 24}, "relu"], [{"dense": 20}, "sigmoid", {"dense": "classes"}]
SGD = {"kind": "sgd", "learning_rate": 0.05, "momentum": 0.9}  # Adam makes steps of any size of a slope that is only rounding


def net_of(layers, shape, **numbers):
    return listed(layers, torch.zeros(2, *shape), BLOCKS, numbers)


class Nets(Parity):
    steps, rows, fresh_samples = 4, 50, 500
    weights_off = 1e-2  # batch norm after batch norm leaves small slopes of large sums

    def begin(self, name, seed, encoder=None, head=HEAD, shape=(24,), end=()):
        decoder, classifier = head
        system = System(
            portions=4, split=quadrants, shape=(1, 28, 28), loss=cross_entropy,
            encoder=lambda: torch.nn.Sequential(
                *net_of(encoder, (1, 14, 14), bits=BITS), *(layer() for layer in end), torch.nn.Sigmoid()),
            decoder=lambda: net_of(decoder, (4 * BITS,)), classifier=lambda: net_of(classifier, shape, classes=10))
        super().begin(name, seed, system, **SGD)
        text = {"name": "listed", "dataset": {"name": "mnist", "partition": "quadrants", "portions": 4, "mean": 0.1307,
                                              "std": 0.3081}, "nets": BLOCKS,
                "encoder": {"net": encoder, "bits": BITS, "batch_norm": bool(end)}, "decoder": {"net": decoder},
                "classifier": {"net": classifier}, "optimiser": SGD,
                "training": {"epochs": 1, "batch_size": self.rows, "seed": 1}}
        (self.folder / "experiment.yaml").write_text(json.dumps(text))  # JSON is YAML

    def check(self, encoder, **more):
        test_parity.StepByStep.check(self, "row-01-simple-1d", encoder=encoder, **more)

    def test_rows_with_a_residual_block(self):
        self.check(["flatten", {"dense": 32}, {"residual": ["relu", {"dense": {"outputs": 32, "bias": False}}]},
                    {"residual": {"main": [{"dense": 16}, "sigmoid"], "shortcut": [{"dense": {"outputs": 16, "bias": False}}]}},
                    {"dense": "bits"}],
                   end=[lambda: torch.nn.BatchNorm1d(BITS)])

    def test_a_residual_block_first(self):
        self.check([{"residual": [{"convolution": {"outputs": 1, "kernel": 3, "padding": 1}}]}, {"average_pool": 2},
                    "flatten", {"dense": "bits"}])

    def test_residual_blocks_of_blocks_and_paths(self):
        self.check(["norm", {"residual": ["norm", "norm"]}, "relu",
                    {"residual": {"main": ["deep"], "shortcut": [
                        {"convolution": {"outputs": 8, "kernel": 1, "stride": 2, "bias": False}}, {"batch_norm": {"affine": False}}]}},
                    "relu", {"adaptive_average_pool": 1}, "flatten", {"dense": "bits"}])

    def test_pools_and_windows(self):
        self.check([{"convolution": {"outputs": 5, "kernel": 4, "stride": 2, "padding": 3}}, "sigmoid",
                    {"max_pool": {"kernel": 3, "stride": 2, "padding": 1}}, {"average_pool": {"kernel": 3, "stride": 1, "padding": 1}},
                    {"adaptive_average_pool": [3, 2]}, "flatten", {"dense": "bits"}])

    def test_a_convolution_to_the_bits(self):
        self.check(["norm", {"max_pool": 5}, {"convolution": {"outputs": "bits", "kernel": 2}}],
                   end=[lambda: torch.nn.BatchNorm2d(BITS), torch.nn.Flatten])

    def test_windows_that_are_uneven_with_gaps_of_groups(self):
        self.check([{"convolution": {"outputs": 8, "kernel": [3, 5], "stride": [1, 2], "padding": [2, 0], "dilation": [2, 1]}},
                    "relu", {"convolution": {"outputs": 8, "kernel": 3, "padding": 1, "groups": 8, "bias": False}},
                    "batch_norm", "relu", {"convolution": {"outputs": 16, "kernel": 1, "groups": 2}}, "sigmoid",
                    {"max_pool": {"kernel": [2, 3], "stride": [2, 1], "padding": [0, 1]}}, {"average_pool": [3, 1]}, "flatten",
                    {"dense": "bits"}])

    def test_lines(self):
        self.check(["flatten", {"unflatten": [4, 49]},
                    {"convolution": {"outputs": 8, "kernel": 5, "stride": 2, "padding": 2, "bias": False}}, "batch_norm",
                    "relu", {"max_pool": 3}, {"residual": [{"convolution": {
                        "outputs": 8, "kernel": [3], "padding": 4, "dilation": 4, "groups": 4}}, "sigmoid"]},
                    {"average_pool": {"kernel": 2, "stride": 1}}, {"upsample": 9}, {"adaptive_average_pool": 4}, "flatten",
                    {"dense": "bits"}])

    def test_a_convnext_block_and_smooth_layers(self):
        wide = [{"convolution": {"outputs": 24, "kernel": 1}}, "gelu", {"convolution": {"outputs": 6, "kernel": 1}}]
        self.check([{"convolution": {"outputs": 6, "kernel": 2, "stride": 2}}, "layer_norm",
                    {"residual": [{"convolution": {"outputs": 6, "kernel": 7, "padding": 3, "groups": 6}}, "layer_norm", *wide]},
                    "silu", {"adaptive_average_pool": 2}, "flatten", {"layer_norm": {"affine": False}}, {"dense": 20},
                    "layer_norm", "tanh", {"dense": "bits"}])

    def test_residual_blocks_in_residual_blocks(self):
        inner = {"residual": ["norm", {"convolution": {"outputs": 8, "kernel": 3, "padding": 1}}]}
        self.check([{"convolution": {"outputs": 8, "kernel": 3}}, {"residual": {
            "main": [inner, "relu", {"residual": {"main": ["silu"], "shortcut": ["layer_norm"]}}, "relu"],
            "shortcut": [{"residual": [{"convolution": {"outputs": 8, "kernel": 1}}, "relu"]}]}}, "relu",
            {"average_pool": 4}, "flatten", {"dense": "bits"}])

    def test_heads_of_images(self):
        self.check(["flatten", {"dense": 16}, "relu", {"dense": "bits"}], shape=(3, 9, 12), head=(
            [{"dense": 48}, {"unflatten": [3, 4, 4]}, {"upsample": [9, 12]}],
            ["norm", {"residual": ["norm"]}, {"average_pool": 3}, {"convolution": {"outputs": "classes", "kernel": 1}},
             {"adaptive_average_pool": 1}, "flatten"]))


if __name__ == "__main__":
    unittest.main()

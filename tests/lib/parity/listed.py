"""Nets as lists of layers in PyTorch, written from docs/experiment.md; the project's code is not used.

A list is what a YAML reader makes of the experiment's: words, and mappings of one word to its value or keys.
"""
import torch
from torch import nn


class Residual(nn.Module):
    def __init__(self, main, shortcut):
        super().__init__()
        self.main = main
        if shortcut is not None:
            self.shortcut = shortcut

    def forward(self, x):
        return self.main(x) + (self.shortcut(x) if hasattr(self, "shortcut") else x)


class PointNorm(nn.LayerNorm):
    """Over the channels of each point of [n, channels, ...]."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


ALONE = {"dense": "outputs", "max_pool": "kernel", "average_pool": "kernel", "adaptive_average_pool": "size",
         "upsample": "size", "unflatten": "size", "dropout": "rate", "residual": "main"}


def split(layer):
    """Its word and its keys."""
    if isinstance(layer, str):
        return layer, {}
    (word, value), = layer.items()
    return word, value if isinstance(value, dict) else {ALONE[word]: value}


def sided(x, line, image):
    """The module for [n, channels, length], or for [n, channels, height, width]."""
    return line if x.dim() == 3 else image


def convolution(x, numbers, outputs, kernel, stride=1, padding=0, dilation=1, groups=1, bias=True):
    make = sided(x, nn.Conv1d, nn.Conv2d)
    return make(x.shape[1], numbers.get(outputs, outputs), kernel, stride, padding, dilation, groups, bias)


MAKERS = {
    "dense": lambda x, numbers, outputs, bias=True: nn.Linear(x.shape[1], numbers.get(outputs, outputs), bias),
    "convolution": convolution,
    "max_pool": lambda x, numbers, kernel, stride=None, padding=0: sided(x, nn.MaxPool1d, nn.MaxPool2d)(
        kernel, stride, padding),
    "average_pool": lambda x, numbers, kernel, stride=None, padding=0: sided(x, nn.AvgPool1d, nn.AvgPool2d)(
        kernel, stride, padding),
    "adaptive_average_pool": lambda x, numbers, size: sided(x, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)(size),
    "upsample": lambda x, numbers, size: nn.Upsample(size, mode=sided(x, "linear", "bilinear")),
    "flatten": lambda x, numbers: nn.Flatten(),
    "unflatten": lambda x, numbers, size: nn.Unflatten(1, tuple(size)),
    "batch_norm": lambda x, numbers, affine=True: (nn.BatchNorm2d if x.dim() == 4 else nn.BatchNorm1d)(
        x.shape[1], affine=affine),
    "relu": lambda x, numbers: nn.ReLU(),
    "sigmoid": lambda x, numbers: nn.Sigmoid(),
    "tanh": lambda x, numbers: nn.Tanh(),
    "gelu": lambda x, numbers: nn.GELU(),
    "silu": lambda x, numbers: nn.SiLU(),
    "layer_norm": lambda x, numbers, affine=True: PointNorm(x.shape[1], elementwise_affine=affine),
    "dropout": lambda x, numbers, rate=0.5: nn.Dropout(rate),
}


def make(layer, x, blocks, numbers):
    word, keys = split(layer)
    if word in blocks:
        return listed(blocks[word], x, blocks, numbers)
    if word == "residual":
        shortcut = keys.get("shortcut")
        return Residual(listed(keys["main"], x, blocks, numbers), shortcut and listed(shortcut, x, blocks, numbers))
    return MAKERS[word](x, numbers, **keys)


def listed(layers, x, blocks=None, numbers=None):
    """nn.Sequential of a list, for inputs of the shape of x [n, ...]; numbers: what the words bits and classes stand for."""
    modules = []
    with torch.no_grad():
        for layer in layers:
            modules.append(make(layer, x, blocks or {}, numbers or {}).eval())
            x = modules[-1](x)
    return nn.Sequential(*modules)

"""The systems of experiments/own in PyTorch on the joined portions, to measure against. Started by own.py.

    torch_own.py

prints its version, then reads one JSON request a line from standard input and answers each with one line: {"portions": [folder, ...], "labels":
folder, "hidden", "bits", "head", "epochs", "batch_size", "learning_rate", "weight_decay", "seed", "net"} -> {"accuracy",
"auc", "seconds"} on the test samples; auc is null for more than two classes.

The portions are those that `fewbit data pack` has made, joined by id, with their own scaling. The net has the layers of
the encoders and of the head, but sees all portions at once and passes numbers between them in place of bits.
"""
import json
import pathlib
import sys
import time

import numpy
import torch
from torch import nn
from torch.nn import functional


def ids_of(folder, split):
    return pathlib.Path(folder, f"{split}-ids.txt").read_text().splitlines()


def load(portions, labels):
    """By split: inputs [samples, elements of all portions] (or [samples, channels of all, length]), classes."""
    out = {}
    for split in ("train", "test"):
        joined, wanted = [], ids_of(labels, split)
        for folder in portions:
            about = json.loads(pathlib.Path(folder, "portion.json").read_text())
            place = {sample: i for i, sample in enumerate(ids_of(folder, split))}
            values = numpy.load(pathlib.Path(folder, f"{split}.npy"))[[place[sample] for sample in wanted]]
            shape = (1, -1) + (1,) * (values.ndim - 2)
            mean, std = (numpy.array(about[key], "f4").reshape(shape) for key in ("mean", "std"))
            joined.append((values - mean) / std)
        classes = numpy.load(pathlib.Path(labels, f"{split}-labels.npy"))
        out[split] = torch.tensor(numpy.concatenate(joined, 1)).float(), torch.tensor(classes.astype("i8"))
    return out


class Block(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.main = nn.Sequential(nn.Conv1d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(),
                                  nn.Conv1d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm1d(outputs))
        self.short = nn.Sequential(nn.Conv1d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm1d(outputs))

    def forward(self, x):
        return functional.relu(self.main(x) + self.short(x))


def encoder(r, shape, width, outputs):
    """As the portions' encoders, `width` of them in one."""
    if r["net"] == "simple-1d":
        return [nn.Flatten(), nn.Linear(shape.numel(), width * r["hidden"]), nn.ReLU(),
                nn.Linear(width * r["hidden"], outputs)]
    return [nn.Conv1d(shape[0], 32, 3, 1, 1, bias=False), nn.BatchNorm1d(32), nn.ReLU(), Block(32, 64, 2),
            Block(64, 128, 2), nn.Conv1d(128, 256, 3, 2, 1, bias=False), nn.BatchNorm1d(256), nn.ReLU(),
            nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(256, outputs)]


def make_net(r, shape, classes):
    width = len(r["portions"])
    return nn.Sequential(*encoder(r, shape, width, width * r["bits"]), nn.BatchNorm1d(width * r["bits"]), nn.ReLU(),
                         nn.Linear(width * r["bits"], r["head"]), nn.BatchNorm1d(r["head"]), nn.ReLU(),
                         nn.Linear(r["head"], classes))


def auc(scores, is_one):
    """The share of pairs of either class that stand in the right order; a tie is half."""
    _, inverse, counts = numpy.unique(scores, return_inverse=True, return_counts=True)
    ranks = (numpy.cumsum(counts) - (counts - 1) / 2)[inverse]
    ones = is_one.sum()
    return float((ranks[is_one].sum() - ones * (ones + 1) / 2) / (ones * (len(scores) - ones)))


def train(r, net, x, y):
    batch, steps = r["batch_size"], -(-len(x) // r["batch_size"]) * r["epochs"]
    optimiser = torch.optim.AdamW(net.parameters(), lr=r["learning_rate"], weight_decay=r["weight_decay"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    net.train()
    for _ in range(r["epochs"]):
        order = torch.randperm(len(x))
        for rows in order.split(batch):
            optimiser.zero_grad()
            if len(rows) > 1:  # batch norm needs two
                functional.cross_entropy(net(x[rows]), y[rows]).backward()
                optimiser.step()
            schedule.step()


def answer(r):
    torch.manual_seed(r["seed"])
    data = load(r["portions"], r["labels"])
    x, y = data["train"]
    classes = len(json.loads(pathlib.Path(r["labels"], "labels.json").read_text())["classes"])
    net = make_net(r, x.shape[1:], classes)
    started = time.monotonic()
    train(r, net, x, y)
    seconds = time.monotonic() - started
    net.eval()
    x, y = data["test"]
    with torch.no_grad():
        p = torch.softmax(net(x), 1).double().numpy()
    y = y.numpy()
    return {"accuracy": 100 * float((p.argmax(1) == y).mean()), "seconds": seconds,
            "auc": auc(p[:, 1], y == 1) if classes == 2 else None}


if __name__ == "__main__":
    print(json.dumps({"version": torch.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)

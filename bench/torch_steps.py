"""The paper's row 1 in PyTorch, to measure against. Started by run.py.

    torch_steps.py SET_FOLDER THREADS

reads one JSON request a line from standard input and answers each with one line: {"net", "foreach", "jit", "steps",
"seconds"} -> {"steps", "seconds"}: what that many training steps took, or as many as fitted into the seconds given. A
setting keeps its weights between requests and is warmed up before its first.

It is meant to be as fast as PyTorch 1.13 gets on a CPU: the samples lie in memory as normalised floats, already in
the order they are asked for, so that a batch is a view; nothing is measured, printed or copied in a step; gradients
are dropped, not zeroed; denormal numbers are flushed.

Nets ("net"):
  plain    four encoders 196-200-4 (ReLU, sigmoid), their outputs side by side, decoder 16-784, classifier 784-1000-10
  batched  the same, the four encoders as one batched product: fewer, larger operations
  paired   plain, with decoder and the classifier's first layer multiplied into one matrix first, as Fewbit does: the
           same function and the same parameters in fewer operations. Not PyTorch's way of writing a net; it shows how
           much of the ratio comes from the algebra alone
"""
import gzip
import json
import pathlib
import struct
import sys
import time

import torch
from torch import nn
from torch.nn import functional

BATCH = 100
WARM_UP, WARM_UP_SECONDS = 10, 0.5
MEAN, DEVIATION = 0.1307, 0.3081


def read_idx(folder, name):
    path = pathlib.Path(folder, name)
    data = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(name + ".gz").read_bytes())
    rank = data[3]
    shape = struct.unpack(f">{rank}I", data[4:4 + 4 * rank])
    return torch.frombuffer(bytearray(data[4 + 4 * rank:]), dtype=torch.uint8).reshape(shape)


def load(folder):
    """Inputs [60000, 784] and labels [60000], in a random order."""
    pixels = read_idx(folder, "train-images-idx3-ubyte").flatten(1)
    labels = read_idx(folder, "train-labels-idx1-ubyte")
    order = torch.randperm(len(pixels))
    return (pixels[order].float() / 255 - MEAN) / DEVIATION, labels[order].long()


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoders = nn.ModuleList(
            nn.Sequential(nn.Linear(196, 200), nn.ReLU(), nn.Linear(200, 4), nn.Sigmoid()) for _ in range(4))
        self.decoder = nn.Linear(16, 784)
        self.classifier = nn.Sequential(nn.Linear(784, 1000), nn.ReLU(), nn.Linear(1000, 10))

    def encode(self, x):
        return torch.cat([encoder(portion) for encoder, portion in zip(self.encoders, x.split(196, 1))], 1)

    def forward(self, x):
        return self.classifier(self.decoder(self.encode(x)))


class Batched(Plain):
    def __init__(self):
        super().__init__()

        def stack(layer):
            weights = torch.stack([getattr(e[layer], "weight").detach().t() for e in self.encoders])
            biases = torch.stack([getattr(e[layer], "bias").detach()[None] for e in self.encoders])
            return nn.Parameter(weights.contiguous()), nn.Parameter(biases.contiguous())
        self.weight_1, self.bias_1 = stack(0)
        self.weight_2, self.bias_2 = stack(2)
        del self.encoders

    def encode(self, x):
        hidden = torch.baddbmm(self.bias_1, x.view(-1, 4, 196).transpose(0, 1), self.weight_1).relu()
        codes = torch.baddbmm(self.bias_2, hidden, self.weight_2).sigmoid()
        return codes.transpose(0, 1).reshape(-1, 16)


class Paired(Plain):
    def forward(self, x):
        first = self.classifier[0]
        weight = first.weight @ self.decoder.weight
        bias = torch.addmv(first.bias, first.weight, self.decoder.bias)
        return self.classifier[2](torch.addmm(bias, self.encode(x), weight.t()).relu())


NETS = {"plain": Plain, "batched": Batched, "paired": Paired}


class Training:
    def __init__(self, setting, inputs, labels):
        self.inputs, self.labels = inputs, labels
        net = NETS[setting["net"]]()
        self.optimiser = torch.optim.Adam(net.parameters(), lr=0.001, foreach=setting["foreach"])
        self.run = torch.jit.trace(net, inputs[:BATCH]) if setting["jit"] else net
        self.at = 0
        self.train(WARM_UP, WARM_UP_SECONDS)

    def train(self, most, seconds):
        """At most that many steps, no new one once the time is over; (steps, seconds taken)."""
        start = time.perf_counter()
        done = taken = 0
        while done < most and taken < seconds:
            batch = slice(self.at, self.at + BATCH)
            self.optimiser.zero_grad(set_to_none=True)
            functional.cross_entropy(self.run(self.inputs[batch]), self.labels[batch]).backward()
            self.optimiser.step()
            self.at = (self.at + BATCH) % len(self.inputs)
            done, taken = done + 1, time.perf_counter() - start
        return {"steps": done, "seconds": taken}


def main():
    folder, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    inputs, labels = load(folder)
    trainings = {}
    print(json.dumps({"version": torch.__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        key = (request["net"], request["foreach"], request["jit"])
        if key not in trainings:
            trainings[key] = Training(request, inputs, labels)
        print(json.dumps(trainings[key].train(request["steps"], request["seconds"])), flush=True)


if __name__ == "__main__":
    main()

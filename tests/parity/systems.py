"""The paper's systems in PyTorch, written from its text and Table 1, one entry a row; the project's code is not used.

Each encoder sees its portion and answers numbers near 0 and 1; the decoder makes a whole sample of all portions'
numbers; the classifier classifies it. The names of the modules are those of the project's checkpoints:
"encoder.0.weight" in the part of each encoder, "decoder.0.weight" and "classifier.0.weight" in the part "head".
"""
import dataclasses
import typing

import torch
from torch import nn
from torch.nn import functional


class ReSigmoid(nn.Module):
    """R(x) = 1 / (1 + e^-(14 x - 7))"""

    def forward(self, x):
        return torch.sigmoid(14 * x - 7)


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.round()  # 0.5 to 0: half to even

    @staticmethod
    def backward(context, gradient):
        return gradient


class RoundedInTraining(nn.Module):
    """The hard decision in the forward pass, the gradient as if there were none."""

    def forward(self, x):
        self.decided = x.detach()
        return StraightThrough.apply(x) if self.training else x


def simple(*soft):
    """"Two fully connected layers separated by a ReLU", the hidden one "limited to 200 neurons", four bits; 784 / 4
    inputs."""
    return nn.Sequential(nn.Linear(196, 200), nn.ReLU(), nn.Linear(200, 4), *soft)


def even_runs(portions):
    """"I flattened and split the records evenly": [n, channels, height, width] -> portions of [n, elements]."""
    return lambda images: list(images.flatten(1).chunk(portions, dim=1))


def cross_entropy(logits, labels, outputs):
    return functional.cross_entropy(logits, labels)


def with_quantization(alpha):
    """Cross entropy + alpha * the mean over encoders of MSE(encoder output, rounded encoder output)."""

    def loss(logits, labels, outputs):
        errors = [functional.mse_loss(output, output.round().detach()) for output in outputs]
        return functional.cross_entropy(logits, labels) + alpha * sum(errors) / len(errors)

    return loss


@dataclasses.dataclass(frozen=True)
class System:
    portions: int
    split: typing.Callable
    shape: tuple  # of a sample
    encoder: typing.Callable
    decoder: typing.Callable
    classifier: typing.Callable
    loss: typing.Callable
    decides: bool = False  # whether a hard decision has a part in training


def mnist(encoder, loss=cross_entropy, **more):
    """Rows 1 to 4: "decoded identically using a single fully connected layer with no nonlinearity", then "two fully
    connected layers separated by a ReLU" with "a hidden layer of 1000 neurons"."""
    return System(
        portions=4, split=even_runs(4), shape=(1, 28, 28), encoder=encoder, loss=loss, **more,
        decoder=lambda: nn.Sequential(nn.Linear(16, 784)),
        classifier=lambda: nn.Sequential(nn.Linear(784, 1000), nn.ReLU(), nn.Linear(1000, 10)))


# By the name of the experiment in experiments/.
SYSTEMS = {
    "fig01-simple-1d": mnist(lambda: simple(nn.Sigmoid())),
    "fig02-simple-resigmoid": mnist(
        lambda: simple(nn.BatchNorm1d(4), nn.Sigmoid(), ReSigmoid(), ReSigmoid(), ReSigmoid())),
    "fig03-simple-quantize": mnist(lambda: simple(nn.Sigmoid(), RoundedInTraining()), decides=True),
    "fig04-simple-1d-quantization-loss": mnist(
        lambda: simple(nn.BatchNorm1d(4), nn.Sigmoid()), loss=with_quantization(1), decides=True),
}


class Joint(nn.Module):
    """All of a system's nets, trained together."""

    def __init__(self, system):
        super().__init__()
        self.system = system
        self.encoders = nn.ModuleList(
            nn.ModuleDict({"encoder": system.encoder()}) for _ in range(system.portions))
        self.head = nn.ModuleDict({"decoder": system.decoder(), "classifier": system.classifier()})

    def encode(self, images):
        parts = self.system.split(images)
        return [module["encoder"](part) for module, part in zip(self.encoders, parts)]

    def loss(self, images, labels):
        """The loss, and the encoders' numbers [rows, bits of all] as they were before any hard decision."""
        outputs = self.encode(images)
        logits = self.head["classifier"](self.head["decoder"](torch.cat(outputs, dim=1)))
        rounded = [module.decided for module in self.modules() if isinstance(module, RoundedInTraining)]
        return self.system.loss(logits, labels, outputs), torch.cat(rounded or outputs, dim=1).detach()

    def without_slope(self):
        """Names of the parameters that cannot matter: batch norm takes the bias before it away again."""
        names = set()
        for part, modules in self.parts().items():
            for name, net in modules.items():
                for at in range(1, len(net)):
                    if isinstance(net[at], nn.BatchNorm1d):
                        names.add((part, f"{name}.{at - 1}.bias"))
        return names

    def parts(self):
        """Name of a checkpoint part -> its modules."""
        return {"head": self.head, **{f"encoder.{k}": module for k, module in enumerate(self.encoders)}}

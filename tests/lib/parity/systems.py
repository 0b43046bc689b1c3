"""The paper's systems in PyTorch, written from its text and Table 1, one entry a row; the project's code is not used.

Each encoder sees its portion and answers numbers near 0 and 1; the decoder makes a whole sample of all portions' numbers;
the classifier classifies it. The names of the modules are those of the project's checkpoints: "encoder.0.weight" in the
part of each encoder, "decoder.0.weight" and "classifier.0.weight" in the part "head".
"""
import dataclasses
import typing

import torch
from torch import nn
from torch.nn import functional

from . import image_nets
from .image_nets import conv, conv_b, conv_c, conv_small_3, conv_square, linear, normed


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


def planes(images):
    """"By color layer": portions of [n, 1, height, width]."""
    return list(images.split(1, dim=1))


def flat_planes(images):
    return [plane.flatten(1) for plane in planes(images)]


def quadrants(images):
    """"Into quadrants vertically and horizontally": upper left, upper right, lower left, lower right."""
    return [quarter for half in images.chunk(2, dim=2) for quarter in half.chunk(2, dim=3)]


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
    frozen: bool = False  # whether the classifier is a trained one that stays as it is
    learning_rate: float = 0.001
    mean: float = 0.1307  # an encoder sees (x / 255 - mean) / deviation
    deviation: float = 0.3081


def mnist(encoder, loss=cross_entropy, **more):
    """Rows 1 to 4: "decoded identically using a single fully connected layer with no nonlinearity", then "two fully
    connected layers separated by a ReLU" with "a hidden layer of 1000 neurons"."""
    return System(
        portions=4, split=even_runs(4), shape=(1, 28, 28), encoder=encoder, loss=loss, **more,
        decoder=lambda: nn.Sequential(nn.Linear(16, 784)),
        classifier=lambda: nn.Sequential(nn.Linear(784, 1000), nn.ReLU(), nn.Linear(1000, 10)))


def cifar(encoder, decoder=lambda: linear(24), split=planes, portions=3, alpha=0, **more):
    """Rows 5 to 29: colour planes or quadrants, and "the Pytorch Playground pretrained classifier", which stays as it is;
    its input is (x - 0.5) / 0.5."""
    return System(
        portions=portions, split=split, shape=(3, 32, 32), encoder=encoder, decoder=decoder,
        classifier=image_nets.Playground, frozen=True, mean=0.5, deviation=0.5, decides=more.pop("decides", alpha > 0),
        loss=with_quantization(alpha) if alpha else cross_entropy, **more)


def quarters(bits, **more):
    return cifar(lambda: conv_small_3(bits), lambda: linear(4 * bits), split=quadrants, portions=4, **more)


def simple_8(*soft):
    return nn.Sequential(nn.Linear(1024, 200), nn.ReLU(), nn.Linear(200, 8), *soft)


def squares(channels, decoder=image_nets.square, **more):
    return cifar(lambda: conv_square(16, channels), decoder, alpha=1, **more)


# By the name of the experiment in experiments/paper.
SYSTEMS = {
    "row-01-simple-1d": mnist(lambda: simple(nn.Sigmoid())),
    "row-02-simple-resigmoid": mnist(
        lambda: simple(nn.BatchNorm1d(4), nn.Sigmoid(), ReSigmoid(), ReSigmoid(), ReSigmoid())),
    "row-03-simple-quantize": mnist(lambda: simple(nn.Sigmoid(), RoundedInTraining()), decides=True),
    "row-04-simple-1d-quantization-loss": mnist(
        lambda: simple(nn.BatchNorm1d(4), nn.Sigmoid()), loss=with_quantization(1), decides=True),
    "row-05-simple-1d-cifar10": cifar(lambda: simple_8(*normed(8)), split=flat_planes),
    "row-06-simple-1d-cifar10-quantization-loss": cifar(lambda: simple_8(*normed(8)), split=flat_planes, alpha=1),
    "row-07-simple-quantize-cifar10": cifar(
        lambda: simple_8(nn.Sigmoid(), RoundedInTraining()), split=flat_planes, decides=True),
    "row-08-conv-quantization-loss-1": cifar(lambda: conv(12, *normed(12)), lambda: linear(36), alpha=1),
    "row-09-conv-quantization-loss-0.5": cifar(lambda: conv(12, *normed(12)), lambda: linear(36), alpha=0.5),
    "row-10-conv-quantization-loss-2": cifar(lambda: conv(12, *normed(12)), lambda: linear(36), alpha=2),
    "row-11-conv": cifar(lambda: conv(12, *normed(12)), lambda: linear(36)),
    "row-12-conv-without-batch-norm": cifar(lambda: conv(12, nn.Sigmoid()), lambda: linear(36)),
    "row-13-conv-b-quantization-loss": cifar(lambda: conv_b(8), alpha=1),
    "row-14-conv-c": cifar(lambda: conv_c(12), lambda: linear(36)),
    "row-15-conv-c-quantization-loss": cifar(lambda: conv_c(4), lambda: linear(12), alpha=1),
    "row-16-alexnet-quantization-loss": cifar(lambda: image_nets.AlexNet(8), alpha=1),
    "row-17-alexnet": cifar(lambda: image_nets.AlexNet(8)),
    "row-18-alexnet-small": cifar(lambda: image_nets.SmallAlexNet(16), lambda: linear(48)),
    "row-19-resnet18": cifar(lambda: image_nets.ResNet18(8)),
    "row-20-resnet18-quantization-loss": cifar(lambda: image_nets.ResNet18(8), alpha=1),
    "row-21-conv-square": squares(3),
    "row-22-conv-square-decoder-b": squares(3, image_nets.square_b),
    "row-23-conv-square-b": squares(16),
    "row-24-conv-square-b-batch-50": squares(16),
    "row-25-conv-square-b-batch-50-slow": squares(16, learning_rate=0.0001),
    "row-26-conv-square-8x8": cifar(image_nets.conv_square_8x8, image_nets.square_8x8, alpha=1),
    "row-27-quadrants-conv-small-3": quarters(8),
    "row-28-quadrants-conv-small-3-quantization-loss": quarters(8, alpha=1),
    "row-29-quadrants-conv-small-3-4-bits": quarters(4),
}


class Joint(nn.Module):
    """All of a system's nets, trained together."""

    def __init__(self, system):
        super().__init__()
        self.system = system
        self.encoders = nn.ModuleList(
            nn.ModuleDict({"encoder": system.encoder()}) for _ in range(system.portions))
        self.head = nn.ModuleDict({"decoder": system.decoder(), "classifier": system.classifier()})
        self.head["classifier"].requires_grad_(not system.frozen)

    def encode(self, images):
        parts = self.system.split(images)
        return [module["encoder"](part) for module, part in zip(self.encoders, parts)]

    def loss(self, images, labels):
        """The loss, and the encoders' numbers [rows, bits of all] as they were before any hard decision."""
        outputs = self.encode(images)
        logits = self.head["classifier"](self.head["decoder"](torch.cat(outputs, dim=1)))
        rounded = [module.decided for module in self.modules() if isinstance(module, RoundedInTraining)]
        return self.system.loss(logits, labels, outputs), torch.cat(rounded or outputs, dim=1).detach()

    def train(self, mode=True):
        super().train(mode)
        if self.system.frozen:
            self.head["classifier"].eval()  # batch norm with its running statistics, always
        return self

    def without_slope(self):
        """Names of the parameters that cannot matter: batch norm takes the bias before it away again."""
        names = set()
        for part, modules in self.parts().items():
            for name, net in modules.named_modules():
                if isinstance(net, nn.Sequential):
                    names |= {(part, f"{name}.{at - 1}.bias") for at in range(1, len(net))
                              if isinstance(net[at], (nn.BatchNorm1d, nn.BatchNorm2d))}
                elif hasattr(net, "before_norm"):
                    names.add((part, f"{name}.{net.before_norm}.bias"))
        return names

    def parts(self):
        """Name of a checkpoint part -> its modules."""
        return {"head": self.head, **{f"encoder.{k}": module for k, module in enumerate(self.encoders)}}

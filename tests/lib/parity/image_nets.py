"""The paper's nets for images in PyTorch, written from its text alone, under the names of their PyTorch originals.

Encoders take portions [n, channels, height, width] and answer [n, bits] numbers between 0 and 1; decoders and classifiers
take and give rows. Where the text leaves something open, the choice and its reason stand beside it.
"""
import math

import torch
from torch import nn
from torch.nn import functional


def normed(bits):
    """"followed by a batch normalization layer and then a sigmoid" """
    return nn.BatchNorm1d(bits), nn.Sigmoid()


def tutorial():
    """"Two convolutional layers, each followed by a MaxPool2d and a ReLU, and each using a 5x5 filter. The first brings
    input to 6 layers and the second to 16." The pools are the tutorial's 2x2; 16x5x5 is left of 32x32."""
    return (nn.Conv2d(1, 6, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU(),
            nn.Flatten())


def conv(bits, *soft):
    """"Three fully connected layers separated by ReLUs, with output sizes of 120, 84, and finally" the bits."""
    return nn.Sequential(*tutorial(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                         nn.Linear(84, bits), *soft)


def conv_b(bits):
    """The three "replaced with a single layer", "followed by a ReLU"."""
    return nn.Sequential(*tutorial(), nn.Linear(400, bits), nn.ReLU(), *normed(bits))


def conv_c(bits):
    """"Adds back one of the fully connected layers, with an intermediate hidden size of 84"."""
    return nn.Sequential(*tutorial(), nn.Linear(400, 84), nn.ReLU(), nn.Linear(84, bits), *normed(bits))


def conv_small_3(bits):
    """"Two convolutional layers, each with 3x3 filters and padding of size 1", "there are no maxpool layers"."""
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 16, 3, padding=1), nn.ReLU(), nn.Flatten(),
                         nn.Linear(16 * 16 * 16, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, bits),
                         *normed(bits))


def square_decision():
    """"Followed by batch norm, sigmoid" on the convolution's one channel: batch norm is 2-D."""
    return nn.BatchNorm2d(1), nn.Flatten(), nn.Sigmoid()


def conv_square(bits, channels):
    """"The first layer still outputs six channels, but the second layer scales this back to three and has a filter size of
    3x3" (16 in B). The last "scales back to one channel, and uses a filter whose sides are seven minus the square
    root of the encoded bit size"."""
    return nn.Sequential(nn.Conv2d(1, 6, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(6, channels, 3), nn.MaxPool2d(2), nn.ReLU(),
                         nn.Conv2d(channels, 1, 7 - math.isqrt(bits)), *square_decision())


def conv_square_8x8():
    """"The second convolutional layer has a filter size of 5, and is not followed by a maxpool layer"; the last has
    "a 3x3 filter to create 8x8 output"."""
    return nn.Sequential(nn.Conv2d(1, 6, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(6, 16, 5), nn.ReLU(),
                         nn.Conv2d(16, 1, 3), *square_decision())


def resized(images):
    return functional.interpolate(images, size=(224, 224), mode="bilinear", align_corners=False)


def alexnet_begin():
    return (nn.Conv2d(1, 64, kernel_size=11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2))


class AlexNet(nn.Module):
    """torchvision's, one channel in, as many outputs as bits; "followed it with a batchnorm and a sigmoid"."""
    before_norm = "classifier.6"

    def __init__(self, bits):
        super().__init__()
        self.features = nn.Sequential(
            *alexnet_begin(),
            nn.Conv2d(192, 384, kernel_size=3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2))
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(), nn.Dropout(),
                                        nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, bits))
        self.norm = nn.BatchNorm1d(bits)

    def forward(self, images):
        numbers = self.classifier(self.avgpool(self.features(resized(images))).flatten(1))
        return torch.sigmoid(self.norm(numbers))


class SmallAlexNet(nn.Module):
    """"Only the first two convolutional layers and their associated ReLUs and MaxPools, and then removed the second to last
    fully connected layer and its ReLU", with the dropout in front of it; "no longer necessary to resize"."""
    before_norm = "classifier.3"

    def __init__(self, bits):
        super().__init__()
        self.features = nn.Sequential(*alexnet_begin())
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(192 * 6 * 6, 4096), nn.ReLU(), nn.Linear(4096, bits))
        self.norm = nn.BatchNorm1d(bits)

    def forward(self, images):
        numbers = self.classifier(self.avgpool(self.features(images)).flatten(1))
        return torch.sigmoid(self.norm(numbers))


class BasicBlock(nn.Module):
    def __init__(self, channels, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Identity()
        if stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(channels, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, images):
        inner = functional.relu(self.bn1(self.conv1(images)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.downsample(images))


class ResNet18(nn.Module):
    """torchvision's, one channel in, as many outputs as bits; "followed by a batchnorm, sigmoid"."""
    before_norm = "fc"

    def __init__(self, bits):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))
        self.fc = nn.Linear(512, bits)
        self.norm = nn.BatchNorm1d(bits)

    def forward(self, images):
        images = functional.relu(self.bn1(self.conv1(resized(images))))
        images = functional.max_pool2d(images, 3, 2, 1)
        images = self.layer4(self.layer3(self.layer2(self.layer1(images))))
        numbers = functional.adaptive_avg_pool2d(images, 1).flatten(1)
        return torch.sigmoid(self.norm(self.fc(numbers)))


def linear(bits):
    """"A linear layer and reshaping to transform the combined portions to the correct dimensions", 3x32x32."""
    return nn.Sequential(nn.Linear(bits, 3 * 32 * 32))


class Planes(nn.Sequential):
    """Layers on the encoders' squares, "recombined as RGB"; rows in, rows out."""

    def __init__(self, side, *layers):
        super().__init__(*layers)
        self.side = side

    def forward(self, codes):
        return super().forward(codes.unflatten(1, (3, self.side, self.side))).flatten(1)


def upsample(factor):
    return nn.Upsample(scale_factor=factor, mode="bilinear")


def square():
    """"3x8x8", "6x10x10", 6x20x20, "12x22x22", "12x44x44", "6x38x38", "3x32x32"."""
    return Planes(4, upsample(2), nn.Conv2d(3, 6, 3, padding=2), nn.ReLU(), upsample(2), nn.Conv2d(6, 12, 5, padding=3),
                  nn.ReLU(), upsample(2), nn.Conv2d(12, 6, 7), nn.ReLU(), nn.Conv2d(6, 3, 7), nn.ReLU())


def square_b():
    """"Upscales once with a scale factor of 8", then a convolution with "three channel output, a 5x5 filter, and padding
    of 2"; no ReLU is named."""
    return Planes(4, upsample(8), nn.Conv2d(3, 3, 5, padding=2))


def square_8x8():
    """"Upsamples with a scale factor of 4", then "three convolutional layers each followed by ReLUs", "up to 6 channels,
    then 16, then back down to 3", "5x5 filters" and "padding of 2"."""
    return Planes(8, upsample(4), nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.Conv2d(6, 16, 5, padding=2), nn.ReLU(),
                  nn.Conv2d(16, 3, 5, padding=2), nn.ReLU())


class Playground(nn.Module):
    """PyTorch Playground's CIFAR-10 net (cifar/model.py); rows in."""

    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for outputs in (128, 128, "pool", 256, 256, "pool", 512, 512, "pool", 1024, "pool"):
            if outputs == "pool":
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers += [nn.Conv2d(channels, outputs, 3, padding=0 if outputs == 1024 else 1),
                       nn.BatchNorm2d(outputs, affine=False), nn.ReLU()]
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(1024, 10))

    def forward(self, samples):
        return self.classifier(self.features(samples.unflatten(1, (3, 32, 32))).flatten(1))

    def learn_statistics(self, samples):
        """Running statistics as of a net that has seen such samples."""
        norms = [layer for layer in self.features if isinstance(layer, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            self.train()(samples)
        for norm in norms:
            norm.momentum = 0.1

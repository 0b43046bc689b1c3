"""One of the paper's image systems in PyTorch, to measure against. Started by images.py.

    torch_images.py EXPERIMENT BATCH THREADS CLASSIFIER

EXPERIMENT is its name in tests/lib/parity/systems.py, where the nets are written. The classifier's weights are left in the
file CLASSIFIER (safetensors) before the first line is printed. Then one JSON request a line from standard input, each
answered with one line: {"channels_last", "foreach", "steps"} -> {"seconds", "peak_mib"}: what that many training steps
took, and the most memory this process has had. A setting is warmed up by one step before its first.

As fast as PyTorch 1.13 gets here: batches lie in memory as normalised floats, nothing is measured or printed in a step,
gradients are dropped, not zeroed, denormal numbers are flushed, and of a frozen classifier no weight has a gradient.
"""
import json
import pathlib
import sys
import time

import torch

ROOT = pathlib.Path(__file__).resolve().parents[1]
from lib.parity import handover
from lib.parity.systems import SYSTEMS, Joint

BATCHES, CLASSES = 2, 10


class Training:
    def __init__(self, system, batch, channels_last, foreach):
        self.joint = Joint(system).train()
        if channels_last:
            self.joint.to(memory_format=torch.channels_last)
        trained = [parameter for parameter in self.joint.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.Adam(trained, lr=system.learning_rate, foreach=foreach)
        self.images = [torch.rand(batch, *system.shape) * 2 - 1 for _ in range(BATCHES)]
        self.labels = [torch.randint(CLASSES, (batch,)) for _ in range(BATCHES)]
        self.train(1)

    def train(self, steps):
        start = time.perf_counter()
        for step in range(steps):
            self.optimiser.zero_grad(set_to_none=True)
            self.joint.loss(self.images[step % BATCHES], self.labels[step % BATCHES])[0].backward()
            self.optimiser.step()
        return time.perf_counter() - start


def peak_mib():
    line = next(row for row in pathlib.Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main():
    name, batch, threads, classifier = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4])
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    system = SYSTEMS[name]
    handover.write(classifier, {key: value.numpy() for key, value in system.classifier().state_dict().items()
                                if not key.endswith("num_batches_tracked")})
    print(json.dumps({"version": torch.__version__}), flush=True)
    setting, training = None, None
    for line in sys.stdin:
        request = json.loads(line)
        wanted = (request["channels_last"], request["foreach"])
        if wanted != setting:
            training = None  # its memory goes first
            training, setting = Training(system, batch, *wanted), wanted
        print(json.dumps({"seconds": training.train(request["steps"]), "peak_mib": peak_mib()}), flush=True)


if __name__ == "__main__":
    main()

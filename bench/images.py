#!/usr/bin/python3
"""Measures training steps of the paper's image systems beside PyTorch: prints a line a figure, writes images.json.

    images.py [ROW...]       rows of the paper; without: 5, 8, 14, 18, 21, 26, 27 at batch 100, 16 and 19 at batch 20

See README.md. The programs come from the folder FEWBIT_BIN_DIR (default build/bin). FEWBIT_BENCH_QUICK=1 makes a short
run that only shows that everything works.
"""
import os
import pathlib
import random
import shutil
import statistics
import sys
import time

from figures import Figures, spread
from programs import ROOT, f
from rivals import Process
from run import busy_share, machine

HERE = pathlib.Path(__file__).resolve().parent
BATCH = {5: 100, 8: 100, 14: 100, 18: 100, 21: 100, 26: 100, 27: 100, 16: 20, 19: 20}
RECORD = 1 + 3 * 32 * 32  # a CIFAR-10 sample: label, pixels
TRAIN_FILES = 5
# What PyTorch is tried with: memory format and optimiser, then threads of its matrix products (its own always 2).
SETTINGS = [{"channels_last": channels_last, "foreach": foreach} for channels_last in (False, True)
            for foreach in (False, True)]
PRODUCTS = (1, 2)


class Bench:
    """One system, at one batch size, ours and theirs."""

    def __init__(self, fleet, experiment, batch, steps):
        self.fleet, self.name, self.batch, self.steps = fleet, experiment.stem, batch, steps
        self.folder = fleet.folder / self.name
        self.folder.mkdir()
        self.classifier = self.folder / "classifier.safetensors"
        self.experiment = f.shipped_experiment(experiment.name, self.folder / experiment.name, batch_size=batch, epochs=2,
                                               weights=self.classifier)
        self.rates = {"f32": [], "bf16": [], "theirs": []}
        self.peaks = {"f32": [], "bf16": [], "theirs": []}

    def make_set(self):
        """Random pixels in CIFAR-10's layout: an epoch of `steps` batches, and one sample to test."""
        source, draw = self.folder / "source", random.Random(1)
        source.mkdir()
        for name in [f"data_batch_{k + 1}.bin" for k in range(TRAIN_FILES)] + ["test_batch.bin"]:
            records = [bytes([draw.randrange(10)]) + draw.randbytes(RECORD - 1)
                       for _ in range(1 if name == "test_batch.bin" else -(-self.steps * self.batch // TRAIN_FILES))]
            (source / name).write_bytes(b"".join(records))
        self.data = self.folder / "split"
        self.fleet.run("split", f.binary("fewbit"), "data", "split", "--experiment", self.experiment, "--from", source,
                       "--to", self.data, "--train", str(self.steps * self.batch))

    def start_rival(self, products):
        return Process([HERE / "torch_images.py", self.name, self.batch, 2, self.classifier],
                       {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": str(products)})

    def choose_rival(self):
        """Leaves the fastest setting running."""
        tried = []
        for products, settings in ((PRODUCTS[0], SETTINGS), (PRODUCTS[1], None)):
            rival = self.start_rival(products)
            for setting in settings or [min(tried, key=lambda t: t[0])[2]]:
                tried.append((rival.ask({**setting, "steps": 2})["seconds"], products, setting))
            rival.close()
        self.tried = [{"seconds_a_step": seconds / 2, "product_threads": products, **setting}
                      for seconds, products, setting in tried]
        _, products, self.setting = min(tried, key=lambda t: t[0])
        self.rival = self.start_rival(products)

    def measure_theirs(self):
        answer = self.rival.ask({**self.setting, "steps": self.steps})
        self.rates["theirs"].append(self.steps / answer["seconds"])
        self.peaks["theirs"].append(answer["peak_mib"])

    def measure_ours(self, precision):
        """The second epoch counts, from when the first, the warm-up, has its checkpoint committed: PyTorch saves none."""
        run, peak = self.folder / "run", 0
        program = self.fleet.start("local", f.binary("decoder_server"), "train", self.experiment, "--local", "--data",
                                   self.data, "--labels", self.data / "server", "--out", run, "--precision", precision)
        while program.is_running():
            peak = max(peak, program.peak_kib())
            time.sleep(0.01)
        program.wait(0)
        start, end = f.events(run, "committed")[0]["time"], f.events(run, "evaluated")[1]["time"]
        self.rates[precision].append(self.steps / (end - start))
        self.peaks[precision].append(peak / 1024)
        shutil.rmtree(run)

    def run(self, rounds):
        """Ours, theirs, ours in bf16; every other round in reverse."""
        parts = [lambda: self.measure_ours("f32"), self.measure_theirs, lambda: self.measure_ours("bf16")]
        for number in range(rounds):
            for part in parts if number % 2 == 0 else reversed(parts):
                part()

    def add(self, figures, row):
        theirs = statistics.median(self.rates["theirs"])
        for precision, target in (("f32", ">=1.1x"), ("bf16", ">=2x")):
            figures.add(f"row_{row}_step_{precision}", statistics.median(self.rates[precision]), theirs, target, "steps/s",
                        f"batch {self.batch}; PyTorch f32: {self.setting}", ours_spread=spread(self.rates[precision]),
                        theirs_spread=spread(self.rates["theirs"]), tried=self.tried)
        for precision in ("f32", "bf16"):
            figures.add(f"row_{row}_memory_{precision}", max(self.peaks[precision]), max(self.peaks["theirs"]), "<=1x",
                        "MiB", "VmHWM, all nets in one process")


def measure(figures, row, quick):
    experiment = next((ROOT / "experiments").glob(f"paper/row-{row:02}-*.yaml"))
    fleet = f.Fleet()
    try:
        bench = Bench(fleet, experiment, BATCH.get(row, 100), 2 if quick else 6)
        bench.choose_rival()
        try:
            bench.make_set()
            bench.run(1 if quick else 3)
        finally:
            bench.rival.close()
        bench.add(figures, row)
    finally:
        fleet.close()


def main():
    quick = os.environ.get("FEWBIT_BENCH_QUICK", "") not in ("", "0")
    start, busy = time.monotonic(), busy_share()
    if busy > 0.05:
        print(f"# others use {100 * busy:.0f} % of this machine: the figures will suffer")
    figures = Figures()
    figures.print_head()
    for row in map(int, sys.argv[1:] or BATCH):
        measure(figures, row, quick)
    if quick:
        return
    figures.write(HERE / "images.json", machine=machine(), busy_before=round(busy, 3),
                  seconds=round(time.monotonic() - start, 1))
    short = sum(row["verdict"] == "short" for row in figures.rows)
    print(f"# {len(figures.rows)} figures, {short} short, {time.monotonic() - start:.0f} s; more in bench/images.json")


if __name__ == "__main__":
    sys.exit(main())

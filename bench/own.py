#!/usr/bin/python3
"""Measures the systems of experiments/own, on data that others have published, beside PyTorch on the joined portions:
prints a line a figure, writes own.json.

    own.py [NAME...]         breast, credit, motions; without: all

See README.md. The programs come from the folder FEWBIT_BIN_DIR (default build/bin). FEWBIT_BENCH_QUICK=1 makes a short
run that only shows that everything works.
"""
import csv
import os
import pathlib
import random
import statistics
import sys

from figures import Figures
from programs import ROOT, f
from rivals import Process
from run import busy_share, machine

HERE = pathlib.Path(__file__).resolve().parent
QUICK = bool(os.environ.get("FEWBIT_BENCH_QUICK"))
SEEDS = (1,) if QUICK else (1, 2, 3)
DRAWS = SEEDS if QUICK else tuple(range(1, 13))  # of who holds what: a small test, and as many seeds, say little
PATIENCE = 300
RIVAL_EPOCHS = (1, 0.4)  # as many as ours, and fewer, where the joined net needs fewer: the better mean counts
HELD = 0.8  # the share of ids that a party holds, where parties differ
FOLDERS = (os.environ.get("FEWBIT_OWN_DATA"), ROOT / "data/vertical", *sorted(ROOT.parent.glob("*/data/vertical")))

# Portions: name, file, options of `fewbit data pack`. Figures: bits a portion, metric, how far below the joined net.
SYSTEMS = {
    "breast": {
        "portions": [("guest", "breast_hetero_guest.csv", ("--label-column", "y")), ("host", "breast_hetero_host.csv", ())],
        "labels": ("breast_hetero_guest.csv", ("--label-column", "y")),
        "figures": [(4, "auc", 0.005), (4, "accuracy", 1.0)]},
    "credit": {
        "portions": [("guest", "default_credit_hetero_guest.csv", ("--label-column", "y")),
                     ("host", "default_credit_hetero_host.csv", ())],
        "labels": ("default_credit_hetero_guest.csv", ("--label-column", "y")),
        "figures": [(8, "auc", 0.003), (4, "auc", 0.008)]},
    "motions": {
        "portions": [("accelerometer", "BasicMotions_TRAIN.ts", ("--dimensions", "0-2")),
                     ("gyroscope", "BasicMotions_TRAIN.ts", ("--dimensions", "3-5"))],
        "labels": ("BasicMotions_TRAIN.ts", ()),
        "test": "BasicMotions_TEST.ts",
        "draws": 3,
        "figures": [(2, "accuracy", None)]},  # None: all are to be right
}


def find_data():
    for folder in filter(None, FOLDERS):
        if (pathlib.Path(folder) / "breast_hetero_guest.csv").exists():
            return pathlib.Path(folder)
    sys.exit("own.py: no folder with the published tables and series: name it with FEWBIT_OWN_DATA (bench/README.md says "
             "whose they are)")


def shuffled(source, to, seed):
    """A table's or a series' samples, HELD of them, in an order of their own; and their ids."""
    draw = random.Random(seed)
    if source.suffix == ".csv":
        with source.open(newline="") as file:
            head, *rows = csv.reader(file)
        rows = draw.sample(rows, round(HELD * len(rows)))
        with to.open("w", newline="") as file:
            csv.writer(file).writerows([head, *rows])
        return ()
    lines = source.read_text().splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if line.strip().lower() == "@data") + 1
    kept = draw.sample(range(len(lines) - start), round(HELD * (len(lines) - start)))
    to.write_text("".join(lines[:start] + [lines[start + i] for i in kept]))
    return [f"{source.stem}-{i}" for i in kept]


class System:
    def __init__(self, fleet, name, source):
        self.fleet, self.name, self.source, self.about = fleet, name, source, SYSTEMS[name]
        self.experiment = ROOT / "experiments/own" / f"{name}.yaml"
        self.data = self.pack(fleet.folder / name)
        self.rival = Process([HERE / "torch_own.py"], {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

    def pack(self, to, apart=None):
        """Every party's folder; `apart`: a seed by which each has shuffled its samples and holds a part of them."""
        labels, options = self.about["labels"]
        self.pack_one(to / "server", labels, apart and 10 * apart, "--labels", *options)
        for k, (portion, file, options) in enumerate(self.about["portions"]):
            self.pack_one(to / f"node-{portion}", file, apart and 10 * apart + 1 + k, "--portion", portion, *options)
        return to

    def pack_one(self, to, file, apart, *options):
        sources, ids = [self.source / file], []
        if "test" in self.about:
            sources.append(self.source / self.about["test"])
        if apart:
            for i, source in enumerate(sources):
                sources[i] = to.parent / f"{to.name}-{source.name}"
                to.parent.mkdir(exist_ok=True)
                ids += shuffled(source, sources[i], apart)
        if ids:
            (to.parent / f"{to.name}-ids").write_text("".join(f"{i}\n" for i in ids))
            options += ("--ids", to.parent / f"{to.name}-ids")
        if len(sources) > 1:
            options += ("--test-from", sources[1])
        self.fleet.run(f"pack-{to.name}", f.binary("fewbit"), "data", "pack", sources[0], "--dataset", self.name, "--to",
                       to, *options)

    def variant(self, bits, missing=None):
        """The experiment with other bits, or another way with what is missing."""
        text = self.experiment.read_text()
        lines = [f"  bits: {bits}" if line.startswith("  bits:") else line for line in text.splitlines()]
        if missing:
            lines.insert(lines.index("dataset:") + 1, f"  missing: {missing}")
        if QUICK:
            lines = ["  epochs: 1" if line.startswith("  epochs:") else line for line in lines]
        path = self.fleet.folder / f"{self.name}-{bits}-{missing}.yaml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def train(self, data, experiment, seed):
        """result.json of a training over TCP."""
        run = self.fleet.folder / f"run-{experiment.stem}-{data.name}-{seed}"
        server = self.fleet.train(experiment, data, run, "--seed", str(seed))
        nodes = [self.fleet.node(portion, server, data, run / "nodes" / portion, "--exit-when-done")
                 for portion, _, _ in self.about["portions"]]
        for program in (server, *nodes):
            program.wait(0, PATIENCE)
        return f.read_json(run / "result.json")

    def ask_rival(self, bits, seed, share):
        keys = dict(line.strip().split(": ", 1) for line in self.experiment.read_text().splitlines()
                    if line.startswith("  ") and ": " in line and not line.startswith("  -"))
        hidden = [line.split(": ")[1] for line in self.experiment.read_text().splitlines() if "hidden:" in line]
        return self.rival.ask({
            "portions": [str(self.data / f"node-{portion}") for portion, _, _ in self.about["portions"]],
            "labels": str(self.data / "server"), "net": "simple-1d" if len(hidden) == 2 else "residual",
            "hidden": int(hidden[0]), "head": int(hidden[-1]), "bits": bits, "seed": seed,
            "epochs": 1 if QUICK else round(share * int(keys["epochs"])), "batch_size": int(keys["batch_size"]),
            "learning_rate": float(keys["learning_rate"]), "weight_decay": float(keys.get("weight_decay", 0))})


def metrics(result):
    final = result["final"]
    return {"accuracy": final["rounded_accuracy"], "auc": final["test"].get("auc"), "seconds": result["seconds"]}


def mean(runs, key):
    return statistics.mean(run[key] for run in runs)


def compare(figures, system):
    """By the experiment's bits: ours, and PyTorch's on the joined portions."""
    measured, slowest = {}, 0
    for bits, metric, below in system.about["figures"]:
        if bits not in measured:
            measured[bits] = ([metrics(system.train(system.data, system.variant(bits), seed)) for seed in SEEDS],
                              [[system.ask_rival(bits, seed, share) for seed in SEEDS] for share in RIVAL_EPOCHS])
        ours, tried = measured[bits]
        theirs = max(tried, key=lambda runs: mean(runs, metric))
        slowest = max(slowest, *(run["seconds"] for run in ours))
        joined = mean(theirs, metric)
        target = 100 if below is None else joined - below
        figures.add(f"own_{system.name}_{bits}_bits_{metric}", mean(ours, metric), joined, f">={target:.5f}",
                    ours_by_seed=[run[metric] for run in ours], theirs_by_seed=[run[metric] for run in theirs])
    figures.add(f"own_{system.name}_seconds", slowest, mean(theirs, "seconds"), "<30", "s")


def compare_missing(figures, system):
    """Parties whose samples overlap in part: those that lack portions used, or left out."""
    bits, metric, _ = system.about["figures"][0]
    results = {"drop": [], "train": []}
    for seed in DRAWS[:system.about.get("draws")]:
        data = system.pack(system.fleet.folder / f"{system.name}-apart-{seed}", apart=seed)
        for missing, runs in results.items():
            runs.append(metrics(system.train(data, system.variant(bits, missing), seed)))
    figures.add(f"own_{system.name}_missing_{metric}", mean(results["train"], metric), mean(results["drop"], metric),
                ">=1x", ours_by_seed=[run[metric] for run in results["train"]],
                theirs_by_seed=[run[metric] for run in results["drop"]])


def main():
    source, names = find_data(), sys.argv[1:] or list(SYSTEMS)
    busy = busy_share()
    if busy > 0.05:
        print(f"# other programs use {100 * busy:.0f} % of this machine")
    figures, fleet = Figures(), f.Fleet()
    try:
        figures.print_head()
        for name in names:
            system = System(fleet, name, source)
            compare(figures, system)
            compare_missing(figures, system)
            system.rival.close()
    finally:
        fleet.close()
    figures.write(HERE / "own.json", machine=machine(), seeds=SEEDS)


if __name__ == "__main__":
    main()

"""Fewbit's own programs, run for a bench, with the helpers of the daemon tests (tests/lib/fleet.py)."""
import json
import os
import pathlib
import shutil
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
from lib import fleet as f

PATIENCE = 180
EXPERIMENT = "row-01-simple-1d.yaml"
NODES = 4
TINY_TEST = 100


def run_json(name, *arguments):
    """What one of bench/*.c prints."""
    done = subprocess.run([f.binary(f"bench/{name}"), *map(str, arguments)], capture_output=True, text=True,
                          timeout=PATIENCE)
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def find_set():
    """(name, folder) of MNIST, or of Fashion-MNIST where it cannot be had: the same shapes, the same work."""
    for name in ("mnist", "fashion-mnist"):
        folder = ROOT / "data" / name
        environment = {**{k: v for k, v in os.environ.items() if k == "FEWBIT_DATA"},
                       **f.environment(FEWBIT_BIN_DIR=pathlib.Path(f.binary("fewbit")).parent.resolve())}
        got = subprocess.run([ROOT / "tools/get-data", name], env=environment, capture_output=True, text=True, timeout=900)
        if got.returncode == 0:
            return name, folder
        print(f"# {name}: {got.stderr.strip()}")
    raise RuntimeError("neither MNIST nor Fashion-MNIST can be had")


class Workshop:
    """A folder with the splits and experiments of a bench, and the programs running there."""

    def __init__(self):
        self.fleet = f.Fleet()
        self.folder = self.fleet.folder
        self.set_name, self.set_folder = find_set()
        self.full = self._split("full")
        self.trimmed = self._split("trimmed", "--test", str(TINY_TEST))
        self.experiment = f.shipped_experiment(
            EXPERIMENT, self.folder / EXPERIMENT, name=self.set_name, epochs=1, validation=0, evaluate_every=0,
            keep_best="false")
        self.runs = 0

    def _split(self, name, *options):
        return f.split_set(self.set_folder, self.folder / name, *options, name=self.set_name)

    def close(self):
        self.fleet.close()

    def _new_run(self):
        self.runs += 1
        return self.folder / f"run-{self.runs}"

    def train_local(self):
        """Steps a second of one epoch in one process."""
        run = self._new_run()
        local = self.fleet.start("local", f.binary("decoder_server"), "train", self.experiment, "--local", "--data",
                                 self.trimmed, "--labels", self.trimmed / "server", "--out", run)
        return self._rate_of(run, [local])

    def train_tcp(self, authority=None):
        """The same with a server and a process a node, over loopback TCP; `authority`: over TLS."""
        run = self._new_run()
        return self._rate_of(run, self._start_tcp(self.trimmed, run, authority))

    def _start_tcp(self, split, run, authority=None):
        server = self.fleet.train(self.experiment, split, run, *(authority.server() if authority else ()))
        nodes = [self.fleet.node(k, server, split, run / "nodes" / f"node-{k}", "--exit-when-done",
                                 *(authority.node(k) if authority else ())) for k in range(NODES)]
        return [server, *nodes]

    def _rate_of(self, run, programs):
        for program in programs:
            if program.popen.wait(PATIENCE):
                raise RuntimeError(self.fleet.explain())
        result = f.read_json(run / "result.json")
        shutil.rmtree(run)
        return result["steps"] / result["seconds"]

    def train_whole(self):
        """One epoch over TCP on the whole set; (run folder, peak MiB of the server, of the largest node)."""
        run = self._new_run()
        programs = self._start_tcp(self.full, run)
        peaks = [0] * len(programs)
        while any(program.is_running() for program in programs):
            peaks = [max(peak, program.peak_kib()) for peak, program in zip(peaks, programs)]
            time.sleep(0.005)
        for program in programs:
            program.wait(0)
        return run, peaks[0] / 1024, max(peaks[1:]) / 1024

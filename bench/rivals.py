"""PyTorch processes: those of torch_steps.py, the settings tried, the best of them kept to run beside Fewbit."""
import itertools
import json
import os
import pathlib
import select
import subprocess
import sys

PATIENCE = 180
HERE = pathlib.Path(__file__).resolve().parent
# Threads of PyTorch's own loops (OpenMP) and of its matrix products (OpenBLAS): each sets its own.
THREADS = ((1, 1), (2, 1), (1, 2), (2, 2))


class Absent(Exception):
    """PyTorch cannot be started here."""


class Process:
    """A PyTorch program that first prints its version, then answers requests: JSON lines both ways."""

    def __init__(self, arguments, environment):
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)], env={**os.environ, **environment}, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.version = self._read()["version"]

    def _read(self):
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.close()
            raise Absent(f"no answer from {sys.executable} with PyTorch")
        return json.loads(line)

    def ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self):
        self.process.kill()
        self.process.wait()


class Rival(Process):
    """torch_steps.py with these threads."""

    def __init__(self, set_folder, threads):
        self.threads = threads
        own, products = threads
        super().__init__([HERE / "torch_steps.py", set_folder, own],
                         {"OMP_NUM_THREADS": str(own), "OPENBLAS_NUM_THREADS": str(products)})

    def rate(self, setting, steps, seconds):
        """Training steps a second, over that many or as many as fit into the seconds."""
        taken = self.ask({**setting, "steps": steps, "seconds": seconds})
        return taken["steps"] / taken["seconds"]


def settings(quick):
    nets = ("plain", "paired") if quick else ("plain", "batched", "paired")
    others = (False,) if quick else (False, True)
    return [{"net": net, "foreach": foreach, "jit": jit}
            for net, foreach, jit in itertools.product(nets, others, others)]


def described(threads, setting):
    words = [setting["net"], f"{threads[0]}+{threads[1]} threads"]
    words += [word for word in ("foreach", "jit") if setting[word]]
    return ", ".join(words)


def try_all(set_folder, quick):
    """[(steps a second at best, threads, setting)] of every setting, best first."""
    tried = []
    repeats, steps, seconds = (2, 10, 0.2) if quick else (3, 25, 0.4)
    for threads in THREADS[:2] if quick else THREADS:
        rival = Rival(set_folder, threads)
        for setting in settings(quick):
            best = max(rival.rate(setting, steps, seconds) for _ in range(repeats))
            tried.append((best, threads, setting))
        rival.close()
    return sorted(tried, key=lambda t: -t[0])


class Chosen:
    """The best settings, running: `plain` has two of the net as written, since the trial was short; `paired` one."""

    def __init__(self, set_folder, quick):
        self.tried = try_all(set_folder, quick)
        self.processes = {}
        self.plain = [t[1:] for t in self.tried if t[2]["net"] != "paired"][:2]
        self.paired = [t[1:] for t in self.tried if t[2]["net"] == "paired"][:1]
        for threads, _ in self.plain + self.paired:
            if threads not in self.processes:
                self.processes[threads] = Rival(set_folder, threads)
        self.version = next(iter(self.processes.values())).version

    def rate(self, choice, steps, seconds):
        threads, setting = choice
        return self.processes[threads].rate(setting, steps, seconds)

    def close(self):
        for process in self.processes.values():
            process.close()

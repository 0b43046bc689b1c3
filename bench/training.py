"""The training figures: speed beside PyTorch's, GFLOP/s beside OpenBLAS's, memory."""
import statistics
import time

from figures import spread
from programs import run_json
from rivals import Absent, Chosen, described

PAUSE = 0.2  # seconds between two measurements: threads that spin fall asleep


class Rounds:
    """Ours, theirs, ours, theirs …: every round measures everything once, every other round in reverse."""

    def __init__(self, shop, rivals, quick):
        self.shop, self.rivals = shop, rivals
        self.torch = (30, 0.5) if quick else (150, 2.0)  # steps, and seconds at most
        self.gemm = ("1024", "0.1") if quick else ("3072", "0.4")
        self.local, self.tcp, self.plain, self.paired = [], [], {}, []
        self.peaks = {"1": [], "2": []}

    def run(self, rounds):
        steps = [self._local, self._plain, self._tcp, self._paired, self._peak]
        for number in range(rounds):
            for step in steps if number % 2 == 0 else reversed(steps):
                time.sleep(PAUSE)
                step()
            theirs = max((rates[-1] for rates in self.plain.values()), default=0)
            print(f"# round {number + 1} of {rounds}: in one process {self.local[-1]:.0f}, over TCP "
                  f"{self.tcp[-1]:.0f}, PyTorch {theirs:.0f} steps/s", flush=True)

    def _local(self):
        self.local.append(self.shop.train_local())

    def _tcp(self):
        self.tcp.append(self.shop.train_tcp())

    def _plain(self):
        for choice in self.rivals.plain if self.rivals else []:
            rates = self.plain.setdefault(described(*choice), [])
            rates.append(self.rivals.rate(choice, *self.torch))

    def _paired(self):
        for choice in self.rivals.paired if self.rivals else []:
            self.paired.append(self.rivals.rate(choice, *self.torch))

    def _peak(self):
        measured = run_json("gemm", self.shop.experiment, *self.gemm)
        self.step_flop = measured["step_flop"]
        for threads, rate in measured["sgemm_gflops"].items():
            self.peaks[threads].append(rate)


def start_rivals(shop, quick):
    print("# PyTorch: trying its settings", flush=True)
    try:
        return Chosen(shop.set_folder, quick)
    except Absent as reason:
        print(f"# no comparison: {reason}")
        return None


def add_speeds(figures, rounds, rivals):
    name, best = max(rounds.plain.items(), key=lambda item: statistics.median(item[1])) if rounds.plain else ("", None)
    theirs = statistics.median(best) if best else None
    details = {"theirs_spread": spread(best), "pytorch": rivals.version,
               "tried": {described(threads, setting): rate for rate, threads, setting in rivals.tried}} if best else {}
    for figure, rates, target in (("train_step_local", rounds.local, ">=3x"), ("train_step_tcp", rounds.tcp, ">=2x")):
        figures.add(figure, statistics.median(rates), theirs, target, "steps/s", f"PyTorch: {name}",
                    ours_spread=spread(rates), **details)
    if rounds.paired:
        figures.add("train_step_local_equal_algebra", statistics.median(rounds.local), statistics.median(rounds.paired),
                    None, "steps/s", f"PyTorch: {described(*rivals.paired[0])}", theirs_spread=spread(rounds.paired))


def add_gflops(figures, rounds):
    achieved = statistics.median(rounds.local) * rounds.step_flop * 1e-9
    for name, threads in (("train_gflops", "2"), ("train_gflops_of_1_thread", "1")):
        figures.add(name, achieved, max(rounds.peaks[threads]), None, "GFLOP/s",
                    f"theirs: sgemm peak of OpenBLAS, {threads} thread(s)", theirs_spread=spread(rounds.peaks[threads]))


def measure_speed(figures, shop, quick):
    rivals = start_rivals(shop, quick)
    try:
        rounds = Rounds(shop, rivals, quick)
        rounds.run(2 if quick else 11)
    finally:
        if rivals:
            rivals.close()
    add_speeds(figures, rounds, rivals)
    add_gflops(figures, rounds)


def measure_memory(figures, shop):
    """Returns the folder of a run over the whole set, for serving."""
    run, server, node = shop.train_whole()
    figures.add("memory_server_train", server, None, "<200", "MiB", "VmHWM at the end of an epoch")
    figures.add("memory_node_train", node, None, "<150", "MiB", "VmHWM, the largest of the nodes")
    return run

#!/usr/bin/python3
"""A serving server under load while everything around it goes wrong: soak.py [--seconds N] [--seed N] [--json FILE].

Four real nodes over TLS, two of them through a relay that cuts links in the middle of a record. `fewbit loadtest`
finds the server's peak, then asks at half of it, while nodes are killed, frozen and cut off, and slow readers and
malformed clients come and go (abusers.py). In the end every request must have been answered once, the server's counts
must be its clients', its memory flat, its log without what does not belong there, and answers whole again at once.

`make soak SECONDS=600` runs it; the short run of tests/soak/test_soak.py is the same.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
import unittest
import urllib.request

from abusers import Abusers
from lib import fleet as f, serving
from lib.certificates import Authority
from lib.fleet import PORTIONS, wait_until

HERE = pathlib.Path(__file__).resolve().parent
CUT = (2, 3)  # portions whose nodes connect through the relay
CONNECTIONS = 32
DEADLINE_MS = 300
RECOVERY_SECONDS = 2
RSS_GROWTH = 0.05
IDS_APART = 1 << 20  # results at least between two of one id
SHORT = 60  # seconds; a shorter run says little of memory: what is filled once weighs too much
EXPECTED = {  # all that the log may say at level warn
    "node_refused", "node_dropped", "node_tls_failed", "node_left", "node_silent", "log_lines_left_out"}


class Node:
    """A node that is killed and started again."""

    def __init__(self, soak, k):
        self.soak, self.k, self.program = soak, k, None

    def start(self):
        port = self.soak.relay_port if self.k in CUT else self.soak.server.port
        self.program = self.soak.fleet.node(self.k, port, self.soak.made.split, self.soak.made.state(self.k),
                                            *self.soak.trusted.node(self.k))

    def kill(self):
        self.program.kill()
        self.soak.fleet.programs.remove(self.program)


class Soak:
    def __init__(self, seconds, seed):
        self.seconds, self.seed, self.draw = seconds, seed, random.Random(seed)
        self.fleet, self.made = f.Fleet(), serving.Made()
        self.trusted = Authority(self.fleet.folder / "certificates")
        self.strangers = Authority(self.fleet.folder / "strangers")
        self.results = self.fleet.folder / "results.jsonl"
        self.chaos = collections.Counter()
        self.own = collections.Counter()  # statuses of requests of this process
        self.rss, self.problems, self.report = [], [], {"seconds": seconds, "seed": seed}

    def close(self):
        self.fleet.close()
        unittest.doModuleCleanups()

    def demand(self, holds, problem):
        if not holds:
            self.problems.append(problem)

    # The parts.

    def start(self):
        self.server = self.fleet.serve(self.made.run, "--results", self.results, "--deadline", DEADLINE_MS,
                                       *self.trusted.server())
        self.relay = self.fleet.start("relay", sys.executable, HERE / "cutter.py", self.server.port,
                                      stdin=subprocess.PIPE)
        self.relay_port = int(wait_until(lambda: self.relay.printed.partition("\n")[0], "the relay"))
        self.nodes = [Node(self, k) for k in range(PORTIONS)]
        for node in self.nodes:
            node.start()
        self.wait_ready()

    def wait_ready(self):
        wait_until(lambda: serving.health(self.server)["nodes_ready"] == PORTIONS, "all nodes",
                   explain=self.fleet.explain)

    def classify(self, index):
        status, answer = serving.post(self.server, self.made.images[index])
        self.own[str(status)] += 1
        return answer

    def whole(self, index):
        """A whole answer: whoever has to wait for a busy machine longer than the deadline gets another."""
        answers = []

        def ask():
            answers.append(self.classify(index))
            return answers[-1].get("degraded") is False
        wait_until(ask, "a whole answer", explain=self.fleet.explain)
        return answers[-1]

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.server.http}/metrics", timeout=f.PATIENCE) as answer:
            text = answer.read().decode()
        return {name: float(value) for name, value in re.findall(r"(?m)^([^#\s]\S*) (\S+)$", text)}

    def load(self, rate, seconds):
        return self.fleet.start("load", f.binary("fewbit"), "loadtest", "--server",
                                f"http://127.0.0.1:{self.server.http}", "--rate", rate, "--seconds", seconds,
                                "--connections", CONNECTIONS, "--json")

    def watch_memory(self):
        started = time.monotonic()
        while not self.over.wait(0.25 if self.seconds < SHORT else 1):
            size = self.server.status("VmRSS")
            if size:
                self.rss.append((time.monotonic() - started, int(size.split()[0])))

    def open_files(self):
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))

    # What goes wrong with nodes.

    def disturb(self, until):
        pace = 1 if self.seconds < SHORT else 3
        acts = {self.kill_some: 5, self.cut_one: 5, self.freeze_one: 2}
        while time.monotonic() < until:
            time.sleep(self.draw.uniform(0.2, 1) * pace)
            act, = self.draw.choices(list(acts), list(acts.values()))
            act()

    def kill_some(self):
        chosen = self.draw.sample(self.nodes, self.draw.choice((1, 1, 1, 2, 4)))
        for node in chosen:
            node.kill()
        time.sleep(self.draw.uniform(0, 0.7))
        for node in chosen:
            node.start()
        self.chaos[f"killed {len(chosen)} at once"] += 1

    def cut_one(self):
        self.relay.popen.stdin.write(b"\n")
        self.relay.popen.stdin.flush()

    def freeze_one(self):
        node = self.draw.choice(self.nodes).program
        node.freeze()
        time.sleep(self.draw.uniform(0.1, 1))
        node.thaw()
        self.chaos["frozen"] += 1

    # The run.

    def run(self):
        self.start()
        before = [self.whole(i) for i in range(50)]
        files = self.open_files()
        peak = self.measure_peak()
        self.over = threading.Event()
        memory = threading.Thread(target=self.watch_memory)
        abusers = Abusers(self.server, self.made, self.trusted, self.strangers, self.seed,
                          min(15, self.seconds / 8))
        half = max(1, int(peak["rate"] / 2))
        load = self.load(half, self.seconds)
        memory.start()
        try:
            abusers.start(0.05 if self.seconds < SHORT else 0.2)
            self.disturb(time.monotonic() + self.seconds - 1)
            self.recover(before)
            load.wait(0, self.seconds + 60)
        finally:
            abusers.stop()
            self.over.set()
            memory.join()
        self.chaos["cut in the middle"] = self.relay.printed.count("cut\n")
        loaded = json.loads(load.printed)
        self.report.update(peak=peak["rate"], asked_rate=half, load=loaded, chaos=dict(self.chaos),
                           abuse=dict(abusers.rounds))
        self.problems += abusers.failures
        self.demand(all(abusers.rounds.values()), f"not all abusers got through a round: {abusers.rounds}")
        self.check_counts(peak, loaded, abusers)
        self.check_rest(files)
        self.check_memory()
        self.end()

    def measure_peak(self):
        load = self.load(0, 2 if self.seconds < SHORT else 5)
        load.wait(0)
        return json.loads(load.printed)

    def recover(self, before):
        """Once all nodes are there, answers are whole at once, and what they were."""
        self.wait_ready()
        start = time.monotonic()
        self.whole(0)
        took = self.report["whole_again_after_s"] = round(time.monotonic() - start, 3)
        if self.seconds >= SHORT:
            self.demand(took < RECOVERY_SECONDS, f"whole answers only {took} s after the last recovery")
        for index, then in enumerate(before):
            now = self.whole(index)
            self.demand((now["class"], now["bits"]) == (then["class"], then["bits"]),
                        f"image {index} was {then}, is now {now}")

    # What must hold.

    def check_counts(self, peak, loaded, abusers):
        seen = self.own + abusers.answers
        for one in (peak, loaded):
            seen.update(one["status"])
            self.demand(sum(one["status"].values()) == one["sent"], f"the load does not know of all it sent: {one}")
            self.demand(one["mismatched"] == 0, f"{one['mismatched']} answers to other requests")
        self.demand(set(seen) <= {"200", "503", "504"}, f"honest requests ended with {dict(seen)}")
        m = self.metrics()
        outcome = {name: int(m[f'fewbit_classifications_total{{outcome="{name}"}}'])
                   for name in ("classified", "degraded", "no_nodes", "busy", "timeout")}
        of_status = {"200": outcome["classified"] + outcome["degraded"], "503": outcome["no_nodes"] + outcome["busy"],
                     "504": outcome["timeout"]}
        for status, samples in of_status.items():
            answered = int(m.get(f'fewbit_http_requests_total{{route="/v1/classify",status="{status}"}}', 0))
            self.demand(answered == samples == seen[status],
                        f"{status}: {seen[status]} seen by clients, {answered} answers, {samples} samples counted")
        ids = re.findall(rb'(?m)^\{"id":(\d+),"from":"http"', self.results.read_bytes())
        self.demand(len(ids) == of_status["200"], f"{len(ids)} results, {of_status['200']} answers")
        self.demand(not self.twice(ids), f"results that are there twice: {self.twice(ids)[:10]}")
        self.report.update(answers=dict(seen), outcomes=outcome, results=len(ids))
        self.report["refused"] = {name: int(m[name]) for name in (
            "fewbit_http_connections_total", "fewbit_http_connections_refused_total",
            "fewbit_http_connections_timed_out_total", "fewbit_links_refused_total", "fewbit_nodes_refused_total")}

    @staticmethod
    def twice(ids):
        """Ids that come again too soon: the server numbers requests anew after two million."""
        last, found = {}, []
        for at, number in enumerate(ids):
            if at - last.get(number, -IDS_APART) < IDS_APART:
                found.append(number)
            last[number] = at
        return found

    def check_rest(self, files):
        """Nothing waits any more, nothing is kept open."""
        def settled():
            m = self.metrics()
            return (m["fewbit_http_samples_waiting"] == m['fewbit_reassembly_samples{source="http"}'] == 0 and
                    m["fewbit_links"] == PORTIONS and m["fewbit_sse_subscribers"] == 0 and
                    self.open_files() <= files + 2)
        try:
            wait_until(settled, "an end of what waits", 40)
        except AssertionError:
            kept = {k: v for k, v in self.metrics().items() if "waiting" in k or "links" in k or "listeners" in k or
                    "connections" in k or "reassembly" in k}
            self.demand(False, f"something stays: {kept}, {self.open_files()} files open, {files} before")

    def check_memory(self):
        warm = [(at, kib) for at, kib in self.rss if at > self.seconds / 4]
        early = [kib for at, kib in warm if at < self.seconds / 2]
        late = [kib for at, kib in warm if at > self.seconds * 3 / 4]
        growth = statistics.median(late) / statistics.median(early) - 1
        self.report["rss_kib"] = {"start": self.rss[0][1], "second_quarter": statistics.median(early),
                                  "last_quarter": statistics.median(late), "most": max(k for _, k in self.rss),
                                  "growth_percent": round(100 * growth, 2)}
        if self.seconds >= SHORT:
            self.demand(growth < RSS_GROWTH, f"memory grew by {100 * growth:.1f} %")

    def end(self):
        self.server.signal(signal.SIGTERM)
        self.server.wait(0)
        log = self.server.log
        log.read()
        strange = log.plain + [str(r) for r in log.records if r["level"] == "error" or
                               r["level"] == "warn" and r.get("event") not in EXPECTED]
        self.demand(not strange, "the log has what does not belong there:\n" + "\n".join(strange[:20]))
        self.report["log_lines"] = len(log.records)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=pathlib.Path, help="write the report here, too")
    options = parser.parse_args()
    soak = Soak(options.seconds, options.seed)
    try:
        soak.run()
    finally:
        soak.report["problems"] = soak.problems
        text = json.dumps(soak.report, indent=2)
        print(text)
        if options.json:
            options.json.write_text(text + "\n")
        soak.close()
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())

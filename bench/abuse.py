"""What crowds cost those who are honest.

Latency: a client that asks 200 times a second on one connection, while 10,000 others connect, drip, or send bodies
without end; beside the same client just before. Throughput: HTTP classification and bulk codes with 1,000 links of
nodes that say nothing and 1,000 listeners to results that read what they get; beside the same without, in turn.
"""
import json
import multiprocessing
import os
import subprocess
import time

import http_rates
from figures import spread
from programs import NODES, f, run_json
from serving import apart

from lib import crowds
from lib.certificates import Authority

CROWD, LINKS, LISTENERS = 10000, 700, 1000
RATE = 200
WINDOW = 32000
BEGUN = b"\0"  # of a frame: with it a connection is accepted, and is a link
LISTEN = b"GET /v1/results HTTP/1.1\r\nHost: here\r\n\r\n"


class Beside:
    """`work(ready, over)` in a process of its own, which gives way to what is measured (`idles`: runs only where nobody
    else wants to): calls ready(), ends after over.wait()."""

    def __init__(self, work, idles=False):
        self.over, is_ready = multiprocessing.Event(), multiprocessing.Event()

        def run():
            os.nice(10)
            if idles:
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            with crowds.many_files():
                work(is_ready.set, self.over)
        self.process = multiprocessing.Process(target=run, daemon=True)
        self.process.start()
        if not is_ready.wait(60):
            raise RuntimeError("the crowd does not come together")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.process.join(30)
        self.process.kill()


def processor_seconds(pid):
    """What a process has had of the processors, all its threads together."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def drips(port):
    """More than the server takes, a byte each now and then."""
    def work(ready, over):
        ready()
        crowd = crowds.Crowd(port, CROWD, crowds.HEAD)
        while not over.wait(0.5):
            crowd.drip()
        crowd.close()
    return work


def comes_and_goes(port):
    """Connections without a word, again and again."""
    def work(ready, over):
        ready()
        while not over.is_set():
            crowds.Crowd(port, CROWD).close()
    return work


def pours(port, head, piece):
    def work(ready, over):
        pourers = crowds.Pourers(port, 4, head, piece)
        ready()
        over.wait()
        pourers.close()
    return work


def crowd_of(server, links, listeners):
    """Idle links and listeners that read."""
    def work(ready, over):
        idle = crowds.Crowd(server.port, links, BEGUN)
        listening = crowds.Crowd(server.http, listeners, LISTEN)
        readers = crowds.Readers(listening.sockets)
        ready()
        over.wait()
        readers.close()
        listening.close()
        idle.close()
    return work


class Abuse:
    """`split`, `run`: the data of nodes and the run that is served; `image`: a raw sample."""

    def __init__(self, figures, fleet, split, run, image, quick):
        self.figures, self.fleet, self.split, self.run, self.image = figures, fleet, split, run, image
        self.seconds, self.rounds, self.samples = (1, 1, 200000) if quick else (3, 5, 4000000)

    def measure(self):
        with crowds.many_files() as has_room:
            if not has_room:
                print("# too few open files are allowed here: crowds are not measured")
                return
            server = self._serve()
            nodes = [self.fleet.node(k, server, self.split, self.run / "nodes" / f"node-{k}") for k in range(NODES)]
            server.wait_event("node_ready", message="4 of 4 nodes are")
            self._measure_latencies(server, nodes)
            self._measure_http(server)
            for node in nodes:
                node.popen.terminate()
                node.wait(0)
            server.wait_event("node_left", NODES)
            self._measure_bulk(server)
            self._stop(server)
            self._measure_memory()

    def _serve(self, *options):
        return self.fleet.serve(self.run, "--results", "none", *options)

    @staticmethod
    def _stop(server):
        server.popen.terminate()
        server.wait(0)

    # Latency.

    def _measure_latencies(self, server, nodes):
        endless = crowds.HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        oversized = crowds.HEAD + b"Content-Length: 8000000\r\n\r\n"
        kinds = (("slowloris", drips(server.http), "10,000 connections that drip"),
                 ("connections", comes_and_goes(server.http), "10,000 HTTP connections at a time"),
                 ("links", comes_and_goes(server.port), "10,000 links of nodes at a time"),
                 ("endless_bodies", pours(server.http, endless, b"10000\r\n" + bytes(1 << 16) + b"\r\n"),
                  "4 bodies without end"),
                 ("oversized_bodies", pours(server.http, oversized, bytes(1 << 16)), "4 bodies of 8 MB at a time"))
        for name, work, note in kinds:
            self._compare(server, f"abuse_p99_{name}", work, note)
        with apart(server.pid, *(node.pid for node in nodes)):
            for name, work, note in kinds:
                self._compare(server, f"abuse_p99_{name}_own_core", work, f"{note}, the server alone on a core", True)

    def _compare(self, server, name, work, note, idles=False):
        """Rounds of before and during. The client keeps its connection from before, since a full house takes nobody."""
        before, during, cores = [], [], []
        for _ in range(self.rounds):
            before.append(self._report(self._start_honest(server))["latency_ms"])
            client = self._start_honest(server)
            time.sleep(0.2)
            with Beside(work, idles):
                begun, had = time.monotonic(), processor_seconds(server.pid)
                during.append(self._report(client)["latency_ms"])
                cores.append((processor_seconds(server.pid) - had) / (time.monotonic() - begun))
        ours, theirs = (spread([one["p99"] for one in rounds]) for rounds in (during, before))
        self.figures.add(name, ours["median"], theirs["median"], "<=2x", "ms", f"{note}; theirs: just before",
                         ours_spread=ours, theirs_spread=theirs, during=during, before=before, server_cores=cores)

    def _start_honest(self, server):
        return subprocess.Popen([f.binary("fewbit"), "loadtest", "--server", f"http://127.0.0.1:{server.http}",
                                 "--rate", str(RATE), "--connections", "1", "--seconds", str(self.seconds), "--json"],
                                stdout=subprocess.PIPE)

    @staticmethod
    def _report(client):
        said, _ = client.communicate(timeout=120)
        report = json.loads(said)
        if set(report["status"]) != {"200"}:
            raise RuntimeError(f"an honest client got {report['status']}")
        return report

    # Throughput.

    def _measure_http(self, server):
        image = self.fleet.folder / "crowd.raw"
        image.write_bytes(self.image)

        def rate():
            answers = http_rates.load(server.http, image, self.seconds)
            return answers, answers * self.seconds
        self._in_turn(server, "crowd_http", "requests", rate)

    def _measure_bulk(self, server):
        def rate():
            gone = len(server.events("node_left"))
            measured = run_json("bulk", server.port, server.http, self.split, self.run / "nodes", self.samples,
                                WINDOW)
            server.wait_event("node_left", gone + NODES)
            return measured["codes_per_second"], self.samples
        self._in_turn(server, "crowd_bulk", "codewords", rate)

    def _in_turn(self, server, name, unit, rate):
        """With the crowd and without; `rate` gives what was done a second, and in all. A link that is not let in lives
        for 10 seconds, so each round has new ones. The server's own time is what other work disturbs least."""
        rates, costs = {True: [], False: []}, {True: [], False: []}

        def measure(is_crowded):
            before = processor_seconds(server.pid)
            a_second, in_all = rate()
            rates[is_crowded].append(a_second)
            costs[is_crowded].append(1e6 * (processor_seconds(server.pid) - before) / in_all)
        for number in range(self.rounds):
            for is_crowded in (False, True) if number % 2 == 0 else (True, False):
                if is_crowded:
                    with Beside(crowd_of(server, LINKS, LISTENERS)):
                        measure(True)
                else:
                    measure(False)
        note = f"with {LINKS} idle links and {LISTENERS} listeners that read; theirs: without"
        for what, values, target, of in (("rate", rates, ">=0.9x", f"{unit}/s"), ("cost", costs, None, f"us/{unit}")):
            ours, theirs = spread(values[True]), spread(values[False])
            self.figures.add(f"{name}_{what}", ours["median"], theirs["median"], target, of, note, ours_spread=ours,
                             theirs_spread=theirs)

    # Memory.

    def _measure_memory(self):
        trusted = Authority(self.fleet.folder / "crowd-certificates")
        plain, secure = self._serve(), self._serve(*trusted.server())
        self._add_memory("memory_listener", plain, plain.http, LISTENERS, LISTEN, "an HTTP connection that listens")
        self._add_memory("memory_link_plain", plain, plain.port, LINKS, BEGUN, "a link before its handshake")
        context = trusted.client("node-0")
        self._add_memory("memory_link_tls", secure, secure.port, LINKS, b"", "the same, its handshake done", context)
        self._stop(plain)
        self._stop(secure)

    def _add_memory(self, name, server, port, count, first, note, context=None):
        crowds.Crowd(port, 10, first, context).close()  # what is made once
        before = int(server.status("VmRSS").split()[0])
        crowd = crowds.Crowd(port, count, first, context)
        time.sleep(0.5)
        there, after = crowd.present(), int(server.status("VmRSS").split()[0])
        crowd.close()
        if there != count:
            raise RuntimeError(f"{name}: {there} of {count} connections are there")
        self.figures.add(name, (after - before) / count, None, None, "KiB", f"VmRSS, {note}; mean of {count}")

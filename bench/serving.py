"""The serving figures: bits on the wire, latency, codewords a second, memory."""
import contextlib
import gzip
import json
import os
import shutil
import socket
import subprocess

import http_rates
from figures import spread
from programs import NODES, f, run_json
from relay import ANSWER, CODES, UP, Relay

PIXELS = 784
LONE_IMAGES = 500
BULK_WINDOW = 32000


class Serving:
    def __init__(self, figures, shop, run, quick):
        self.figures, self.shop, self.run = figures, shop, run
        self.fleet, self.quick = shop.fleet, quick
        self.states = run / "nodes"
        self.result = f.read_json(run / "result.json")
        self.lone_count, self.bulk_samples, self.bulk_rounds = (300, 400000, 2) if quick else (5000, 8000000, 5)
        self.redis_requests = 100000 if quick else 1000000
        self.results_samples = 20000 if quick else 500000
        self.images = shop.folder / "images.raw"
        self.images.write_bytes(self._test_file("images-idx3")[16:16 + LONE_IMAGES * PIXELS])

    def _test_file(self, kind):
        path = self.shop.set_folder / f"t10k-{kind}-ubyte"
        return path.read_bytes() if path.exists() else gzip.decompress(path.with_name(path.name + ".gz").read_bytes())

    def a_sample(self):
        """A raw image."""
        return self.images.read_bytes()[:PIXELS]

    def _nodes(self, server, port, *options):
        nodes = [self.fleet.node(k, port, self.shop.full, self.states / f"node-{k}", *options) for k in range(NODES)]
        server.wait_event("node_ready", message="4 of 4 nodes are")
        return nodes

    def _stop_nodes(self, server, nodes):
        gone = self._gone(server)
        for node in nodes:
            node.popen.terminate()
        for node in nodes:
            node.wait(0)
        server.wait_event("node_left", gone + NODES)

    @staticmethod
    def _gone(server):
        return len(server.events("node_left"))

    def _bulk(self, server, samples, *how):
        gone = self._gone(server)
        measured = run_json("bulk", server.port, server.http, self.shop.full, self.states, samples, BULK_WINDOW, *how)
        server.wait_event("node_left", gone + NODES)
        return measured

    # With results: what is written is checked, and the frames are counted on their way.

    def measure_wire(self):
        path = self.run / "bench-results.jsonl"
        server = self.fleet.serve(self.run, "--results", path)
        relay = Relay(server.port)
        nodes = self._nodes(server, relay.port, "--stream", "test")
        labels = self._test_file("labels-idx1")[8:]
        self._wait_for_lines(path, len(labels))
        self._check_accuracy(path, labels)
        run_json("lone", server.http, self.images, PIXELS, 100)
        self._add_wire(relay, len(labels))
        self._stop_nodes(server, nodes)
        relay.close()
        self._measure_results(server, path, len(labels))
        server.popen.terminate()
        server.wait()

    def _wait_for_lines(self, path, count):
        f.wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count, f"{count} results",
                     explain=self.fleet.explain)

    def _check_accuracy(self, path, labels):
        """The served classes must be those of the rounded test at the end of training."""
        served = {r["id"]: r["class"] for r in map(json.loads, path.read_text().splitlines()) if not r["degraded"]}
        right = sum(served.get(i) == label for i, label in enumerate(labels))
        accuracy, trained = 100 * right / len(labels), self.result["final"]["rounded_accuracy"]
        if abs(accuracy - trained) > 0.1:
            raise RuntimeError(f"served {accuracy:.2f} % right, the training's rounded test said {trained:.2f} %")

    def _add_wire(self, relay, samples):
        bits = self.result["bits_per_sample"]
        codes, lone = relay.count(UP, CODES), relay.count(UP, ANSWER)
        self.figures.add("wire_bulk_bits_per_payload_bit", codes.bytes * 8 / (samples * bits["payload"]), None,
                         "<=1.05", "", f"{codes.frames} Codes frames of {samples} pushed samples, seen on the sockets")
        self.figures.add("wire_test_bits_per_payload_bit", bits["frames"] / bits["payload"], None, None, "",
                         "the rounded test by the server's traffic counters: codes and the batches that ask for them")
        self.figures.add("wire_lone_frame_bytes", lone.largest, None, "<=16", "bytes",
                         f"the largest of {lone.frames} Answer frames, seen on the sockets")

    def _measure_results(self, server, path, first):
        """With a result line a codeword: nothing may be lost, twice there, or degraded. Its session begins at `first`."""
        before = path.read_bytes().count(b"\n")
        measured = self._bulk(server, self.results_samples)
        self._wait_for_lines(path, before + self.results_samples)
        results = [json.loads(line) for line in path.read_text().splitlines()]
        pushed = [r for r in results if r["id"] >= first and r["from"] == "stream"]
        whole = {r["id"] for r in pushed if not r["degraded"]}
        if len(pushed) != self.results_samples or len(whole) != self.results_samples:
            raise RuntimeError(f"{self.results_samples} codewords pushed, {len(pushed)} answered, {len(whole)} whole")
        self.figures.add("serve_bulk_codes_with_results", measured["codes_per_second"], None, None, "codewords/s",
                         "each with its line in a results file, all checked")

    # Without.

    def measure_speed(self):
        server = self.fleet.serve(self.run, "--results", "none")
        nodes = self._nodes(server, server.port)
        http_rates.measure(self.figures, server, self.shop.folder, self.a_sample(), self.quick, self._lone)
        node = max(n.peak_kib() for n in nodes) / 1024
        self._stop_nodes(server, nodes)
        self._measure_bulk(server)
        self.figures.add("memory_server_serve", server.peak_kib() / 1024, None, "<200", "MiB", "VmHWM, after all that")
        self.figures.add("memory_node_serve", node, None, "<150", "MiB", "VmHWM, the largest, the set resident")
        self._stop(server)
        self._measure_coded()
        self._measure_single()
        self._measure_without("serve_bulk_codes_from_cache", "every codeword seen before", "--table-memory", 0)
        self._measure_without("serve_bulk_codes_through_nets", "the folded nets, in batches", "--table-memory", 0,
                              "--cache-memory", 0)

    def _lone(self, port):
        return run_json("lone", port, self.images, PIXELS, self.lone_count)

    @staticmethod
    def _stop(server):
        server.popen.terminate()
        server.wait()

    def _measure_bulk(self, server):
        """Ours and redis in turn, each with its server on the first core and its client on the others."""
        redis = Redis(self.fleet.folder) if Redis.is_here() else None
        ours, theirs = [], []
        try:
            for _ in range(self.bulk_rounds):
                with apart(server.pid):
                    ours.append(self._bulk(server, self.bulk_samples)["codes_per_second"])
                if redis:
                    with apart(redis.server.pid):
                        theirs.append(redis.rate(self.redis_requests))
        finally:
            if redis:
                redis.stop()
        self.figures.add("serve_bulk_codes", spread(ours)["median"], None, ">=1000000", "codewords/s",
                         "from the prediction table, the server on one core", ours_spread=spread(ours))
        if redis:
            self.figures.add("serve_bulk_codes_by_redis_sets", spread(ours)["median"], spread(theirs)["median"],
                             ">=1x", "codewords/s", "theirs: redis-benchmark -t set -P 16 -c 4", ours_spread=spread(ours),
                             theirs_spread=spread(theirs))

    def _measure_coded(self):
        """Range-compressed codes beside packed ones, in turn, from the prediction table; each time at a server of its own."""
        rates = {"packed": [], "range": []}
        for _ in range(3):
            for coding, found in rates.items():
                server = self.fleet.serve(self.run, "--results", "none")
                with apart(server.pid):
                    found.append(self._bulk(server, self.bulk_samples // 4, "-", coding)["codes_per_second"])
                self._stop(server)
        ours, theirs = spread(rates["range"]), spread(rates["packed"])
        self.figures.add("serve_bulk_codes_range_coded", ours["median"], theirs["median"], ">=1000000", "codewords/s",
                         "theirs: packed; the server on one core", ours_spread=ours, theirs_spread=theirs)

    def _measure_single(self):
        """A code a frame, as nodes send that have one sample at a time."""
        server = self.fleet.serve(self.run, "--results", "none")
        rates = []
        for _ in range(3):
            with apart(server.pid):
                rates.append(self._bulk(server, self.bulk_samples // 40, "-", "packed", 1)["codes_per_second"])
        self.figures.add("serve_bulk_codes_single", spread(rates)["median"], None, None, "codewords/s",
                         "one code a frame, the server on one core", ours_spread=spread(rates))
        self._stop(server)

    def _measure_without(self, name, note, *options):
        server = self.fleet.serve(self.run, "--results", "none", *options)
        rates = []
        for _ in range(3):
            with apart(server.pid):
                rates.append(self._bulk(server, self.bulk_samples // 8)["codes_per_second"])
        self.figures.add(name, spread(rates)["median"], None, None, "codewords/s", f"{note}, the server on one core",
                         ours_spread=spread(rates))
        self._stop(server)


def _move(pid, cores):
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), cores)


@contextlib.contextmanager
def apart(pid, *beside):
    """A process with all its threads on one core; the processes `beside`, this one and what it starts on the others;
    together where there is but one."""
    cores = sorted(os.sched_getaffinity(0))
    others = cores[1:] or cores
    _move(pid, cores[:1])
    for process in (*beside, os.getpid()):
        _move(process, others)
    try:
        yield
    finally:
        for process in (pid, *beside, os.getpid()):
            _move(process, cores)


class Redis:
    """A redis-server on a free port, without a disk."""

    def __init__(self, folder):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.server = subprocess.Popen(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                                        "--appendonly", "no"], cwd=folder, stdout=subprocess.DEVNULL)
        f.wait_until(self._answers, "redis-server")

    @staticmethod
    def is_here():
        return shutil.which("redis-server") and shutil.which("redis-benchmark")

    def _answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def rate(self, requests):
        """Pipelined SETs of two bytes a second, over four connections."""
        done = subprocess.run(["redis-benchmark", "-p", str(self.port), "-t", "set", "-c", "4", "-P", "16", "-d", "2",
                               "-n", str(requests), "--csv"], capture_output=True, text=True, timeout=120)
        rows = [line.replace('"', "").split(",") for line in done.stdout.splitlines()]
        return next(float(row[1]) for row in rows if row[0] == "SET")

    def stop(self):
        self.server.terminate()
        self.server.wait()

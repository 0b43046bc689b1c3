"""What a request costs with the number of nodes: lone latency and HTTP rate with 4, 14 and 28 of them."""
import http_rates
from programs import EXPERIMENT, f, run_json

COUNTS = (4, 14, 28)
PIXELS = 784
SAMPLES = 2000


class Portions:
    def __init__(self, figures, shop, images, quick):
        self.figures, self.shop, self.images = figures, shop, images
        self.lone_count, self.seconds, self.rounds = (100, 1, 1) if quick else (3000, 4, 3)
        self.image = shop.folder / "one-of-portions.raw"
        self.image.write_bytes(images.read_bytes()[:PIXELS])

    def measure(self):
        found = [self._of(count) for count in COUNTS]
        for count, (lone, rate) in zip(COUNTS, found):
            self._add(f"serve_lone_latency_ms_{count}_nodes", lone["p50_ms"], "ms", f"p50 of {lone['requests']}", lone)
            if rate:
                self._add(f"serve_http_requests_{count}_nodes", rate, "requests/s", "wrk, the nodes on the same cores")
        first, last = found[0], found[-1]
        more = COUNTS[-1] - COUNTS[0]
        self._add("serve_lone_latency_us_a_node", (last[0]["p50_ms"] - first[0]["p50_ms"]) * 1000 / more, "us",
                  f"from {COUNTS[0]} to {COUNTS[-1]} nodes")
        if last[1]:
            self._add("serve_http_cost_us_a_node", (1e6 / last[1] - 1e6 / first[1]) / more, "us",
                      f"from {COUNTS[0]} to {COUNTS[-1]} nodes, of all cores")

    def _add(self, name, value, unit, note, details=None):
        self.figures.add(name, value, None, None, unit, note, **({"lone": details} if details else {}))

    def _of(self, count):
        """(lone latencies, classifications a second or None) of a server with so many nodes."""
        folder = self.shop.folder / f"of-{count}"
        folder.mkdir()
        fleet = f.Fleet()
        try:
            split = f.split_set(self.shop.set_folder, folder / "split", "--portions", str(count), "--train",
                                str(SAMPLES), "--test", "100", name=self.shop.set_name)
            experiment = f.shipped_experiment(EXPERIMENT, folder / EXPERIMENT, portions=count, epochs=1, validation=0,
                                              evaluate_every=0, keep_best="false")
            run = folder / "run"
            fleet.train_local(experiment, split, run)
            server = fleet.serve(run, "--results", "none")
            for k in range(count):
                fleet.node(k, server, split, run / "nodes" / f"node-{k}")
            server.wait_event("node_ready", message=f"{count} of {count} nodes are")
            lone = run_json("lone", server.http, self.images, PIXELS, self.lone_count)
            rates = [http_rates.load(server.http, self.image, self.seconds) for _ in range(self.rounds)] \
                if http_rates.can_measure() else [None]
            return lone, sorted(rates)[len(rates) // 2]
        finally:
            fleet.close()

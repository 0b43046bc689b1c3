"""What TLS costs: training steps and bulk codes with it, beside the same without, in turn."""

from figures import spread
from programs import NODES, run_json

from lib.certificates import Authority

WINDOW = 32000


class Tls:
    def __init__(self, figures, shop, run, quick):
        self.figures, self.shop, self.run = figures, shop, run
        self.rounds, self.samples = (1, 100000) if quick else (7, 1000000)
        self.trusted = Authority(shop.folder / "certificates")

    def measure(self):
        self._measure_training()
        self._measure_bulk()

    def _measure_training(self):
        rates = {False: [], True: []}
        for number in range(self.rounds):
            for is_tls in (False, True) if number % 2 == 0 else (True, False):
                rates[is_tls].append(self.shop.train_tcp(self.trusted if is_tls else None))
        self._add("train_step_tls", rates, "steps/s")

    def _measure_bulk(self):
        servers = {is_tls: self.shop.fleet.serve(self.run, "--results", "none",
                                                 *(self.trusted.server() if is_tls else ()))
                   for is_tls in (False, True)}
        rates = {False: [], True: []}
        for number in range(self.rounds):
            for is_tls in (False, True) if number % 2 == 0 else (True, False):
                server = servers[is_tls]
                measured = run_json("bulk", server.port, server.http, self.shop.full, self.run / "nodes", self.samples,
                                    WINDOW, *([self.trusted.folder] if is_tls else []))
                server.wait_event("node_left", NODES * (number + 1))
                rates[is_tls].append(measured["codes_per_second"])
        self._add("serve_bulk_codes_tls", rates, "codewords/s")
        for server in servers.values():
            server.popen.terminate()
            server.wait()

    def _add(self, name, rates, unit):
        ours, theirs = spread(rates[True]), spread(rates[False])
        self.figures.add(name, ours["median"], theirs["median"], None, unit, "theirs: the same in plain text",
                         ours_spread=ours, theirs_spread=theirs)

#!/usr/bin/python3
"""`fewbit loadtest`, both ways in: what it reports is what the server counted, and what it says when it cannot."""
import http.server
import json
import re
import socket
import threading
import unittest

from lib import fleet as f, plain_node, serving
from lib.fleet import PORTIONS
from lib.serving import metric

TOKEN = "a-token-of-32-characters-or-more"
REFINE_REQUEST, REFINEMENT, ACK = 20, 21, 22
PERCENTILES = ("p50", "p90", "p99", "p99.9", "max")


def setUpModule():
    serving.ServingCase.made = serving.Made()


class BenchCase(serving.ServingCase):
    def loadtest(self, server, *options, code=0):
        """`server`: one that runs, or a port."""
        port = server if isinstance(server, int) else server.http
        return self.fleet.run("loadtest", f.binary("fewbit"), "loadtest", "--server", f"http://127.0.0.1:{port}",
                              *options, code=code)

    def assert_latencies(self, measured, count):
        self.assertEqual(set(measured), {"count", "mean", *PERCENTILES})
        self.assertEqual(measured["count"], count)
        values = [measured[name] for name in PERCENTILES]
        self.assertEqual(values, sorted(values))
        self.assertGreater(values[0], 0)
        self.assertLessEqual(measured["mean"], measured["max"])


class Http(BenchCase):
    def test_at_a_rate(self):
        """As many as were due, each answered once, and the server has counted as many."""
        server, _ = self.start()
        report = json.loads(self.loadtest(server, "--rate", 300, "--seconds", 1, "--connections", 4, "--json").printed)
        self.assertEqual(set(report), {"offered", "sent", "answered", "mismatched", "seconds", "rate", "status",
                                       "latency_ms"})
        self.assertEqual((report["offered"], report["mismatched"]), (300, 0))
        self.assertGreater(report["sent"], 0)
        self.assertEqual(report["status"], {"200": report["sent"]})
        self.assertEqual(report["answered"], report["sent"])
        self.assertAlmostEqual(report["rate"], report["answered"] / report["seconds"], 3)
        self.assert_latencies(report["latency_ms"], report["sent"])
        counted = metric(server, 'fewbit_http_requests_total{route="/v1/classify",status="200"}')
        self.assertEqual(counted, report["sent"])
        self.assertGreater(len({str(r["bits"]) for r in self.wait_for_results(report["sent"])}), 1)  # not one image

    def test_waiting_counts(self):
        """A server that stalls: what was due meanwhile has waited since then, though it could not be sent."""
        server, nodes = self.start("--deadline", 8000, "--heartbeat", 5000)
        nodes[0].freeze()
        self.addCleanup(nodes[0].thaw)
        report = json.loads(self.loadtest(server, "--rate", 20, "--seconds", 1, "--connections", 1, "--json").printed)
        self.assertEqual(report["offered"], 20)
        self.assertLess(report["sent"], 16)  # the first waits for longer than the load test does behind its end
        self.assertEqual(report["latency_ms"]["count"], 20)  # those that were never sent have waited most
        self.assertGreater(report["latency_ms"]["p50"], 2000)

    def test_refusals_are_reported(self):
        server = self.serve()
        printed = self.loadtest(server, "--rate", 100, "--seconds", 1).printed
        refused = re.search(r"(?m)^status 503: (\d+)$", printed)
        self.assertTrue(refused, printed)
        self.assertEqual(int(refused.group(1)), metric(
            server, 'fewbit_http_requests_total{route="/v1/classify",status="503"}'))

    def test_a_token_for_people_and_as_fast_as_it_goes(self):
        path = self.folder / "token"
        path.write_text(TOKEN + "\n")
        server, _ = self.start("--api-token-file", path)
        printed = self.loadtest(server, "--token-file", path, "--seconds", 1).printed
        found = re.match(r"(\d+) requests offered, (\d+) sent; [\d.]+ a second over 1\.\d\d s\n"
                         r"latencies: (\d+); median [\d.]+ ms, 90 % [\d.]+, 99 % [\d.]+, 99.9 % [\d.]+, most [\d.]+\n\Z",
                         printed)
        self.assertTrue(found, printed)
        self.assertEqual(len(set(found.groups())), 1, printed)
        self.assertRegex(self.loadtest(server, code=3).said, "/v1/model: this needs Authorization")
        path.write_text(TOKEN[::-1] + "\n")
        self.assertRegex(self.loadtest(server, "--token-file", path, code=3).said, "/v1/model: this needs Authorization")


class Codes(BenchCase):
    def codes(self, server, *options, code=0):
        return self.loadtest(server, "--codes", f"127.0.0.1:{server.port}", *options, code=code)

    def test_at_a_rate_and_again_for_people(self):
        server = self.serve("--deadline", 1000 * f.PATIENCE)
        report = json.loads(self.codes(server, "--rate", 20000, "--seconds", 1, "--json").printed)
        self.assertEqual(set(report), {"offered", "sent", "asked", "seconds", "rate", "probes",
                                       "probes_failed"})
        self.assertEqual(report["asked"], 0)
        self.assertEqual((report["offered"], report["probes_failed"]), (20000, 0))
        self.assertGreater(report["sent"], 0)
        self.assertLessEqual(report["sent"], 20000)
        self.assertAlmostEqual(report["rate"], report["sent"] / report["seconds"], 3)
        self.assert_latencies(report["probes"], report["probes"]["count"])
        pushed = metric(server, 'fewbit_samples_complete_total{source="stream"}')
        self.assertEqual(pushed, report["sent"])  # the probe behind the last code has seen to it
        results = [r for r in self.wait_for_results(report["sent"]) if r["from"] == "stream"]
        self.assertEqual(len({r["id"] for r in results}), report["sent"])
        self.assertFalse(any(r["degraded"] for r in results))
        printed = self.codes(server, "--rate", 8000, "--seconds", 1).printed  # the portions are free again
        self.assertRegex(printed, r"\A8000 codewords offered, \d+ sent; .*\nHTTP requests meanwhile: \d+; median ")
        for reason in ("duplicate", "late", "unsolicited", "model_mismatch"):  # and the ids are new
            ignored = metric(server, f'fewbit_portions_discarded_total{{source="stream",reason="{reason}"}}')
            self.assertEqual(ignored, 0, reason)

    def test_a_portion_that_is_taken(self):
        server, _ = self.start(nodes=(2,))
        self.assertRegex(self.codes(server, code=7).said,
                         r"portion 2: the server refuses: portion 2 is taken by node-2\n\Z")
        self.wait_ready(server, 1)  # the node is left alone

    def test_a_server_that_makes_no_sense(self):
        """Whatever stands where nodes connect: the load ends with a line, and says which portion's link it was."""
        server = self.serve()
        text = (self.made.run / "experiment.yaml").read_bytes()
        welcome = (plain_node.WELCOME, {1: 2, 3: 1, 4: text, 5: 1000})
        for said, code, frames in (
                ("welcomes twice", 6, (welcome, welcome)),
                ("bytes, more than a resolved one", 6, ((plain_node.WELCOME, {1: 2, 3: 1, 4: text + b"#" * (32 << 10)}),)),
                ("the server's experiment", 6, ((plain_node.WELCOME, {1: 2, 3: 1, 4: b"bits: many"}),)),
                ("has 3 bits a code, its model 4", 7,
                 ((plain_node.WELCOME, {1: 2, 3: 1, 4: text.replace(b"  bits: 4", b"  bits: 3")}),)),
                ("asks for 9 stages of bits, there are 1", 7, (welcome, (plain_node.RESTORE, {1: 1, 5: 9}))),
                ("asks for stage 1 of 1", 7, ((20, {1: 1, 2: 1, 3: 5}),)),
                ("asks for stage 0 of 1", 7, (welcome, (20, {1: 1, 3: 5}))),
                ("the link goes silent", 6, ((plain_node.REQUEST, {1: 5}), (22, {1: 1 << 63}), None)),
                ("malformed", 6, ((plain_node.WELCOME, {1: b"x"}),))):
            with self.subTest(said), socket.create_server(("127.0.0.1", 0)) as listening:
                threading.Thread(target=self.say, args=(listening, frames), daemon=True).start()
                told = self.loadtest(server, "--codes", f"127.0.0.1:{listening.getsockname()[1]}", code=code).said
                self.assertRegex(told, rf"\Afewbit: portion \d: .*{'' if said == 'the link goes silent' else said}")

    @staticmethod
    def say(listening, frames):
        """To all who connect; None closes."""
        links = [listening.accept()[0] for _ in range(PORTIONS)]
        for link in links:
            with link, link.makefile("rwb") as stream:
                try:
                    plain_node.receive(stream)
                    for frame in frames:
                        if frame:
                            plain_node.send(stream, *frame)
                    if frames[-1]:
                        stream.read()
                except OSError:
                    pass

    def test_no_server_behind_that_port(self):
        server = self.serve()
        closed = socket.create_server(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        closed.close()
        self.assertRegex(self.loadtest(server, "--codes", f"127.0.0.1:{port}", code=6).said, "(?i)cannot connect")
        self.assertRegex(self.loadtest(port, code=6).said, "(?i)connect")


class UnevenPortions(BenchCase):
    """Portions that differ in their bits, and in the widths of their stages: a page and a port in place of a server
    say what they were sent."""
    STAGES = ((1, 3), (30, 34), (5, 2), (2, 10))

    def experiment(self, staged):
        portions = "".join(f"  - {{name: p{k}, shape: [196], type: u8, encoder: {{bits: {sum(stages)}"
                           + (f", refinement: [{stages[0]}, {stages[1]}]" if staged else "") + "}}\n"
                           for k, stages in enumerate(self.STAGES))
        return ("name: uneven\ndataset: {name: mnist, mean: 0, std: 0}\nportions:\n" + portions +
                "encoder: {net: simple-1d, hidden: 4, bits: 4, batch_norm: false, activation: sigmoid, "
                "binarize: after-training}\ndecoder: {net: linear}\nclassifier: {net: mnist, hidden: 8}\n"
                "loss: {quantization: 0}\noptimiser: {kind: adam, learning_rate: 0.001}\n"
                "training: {epochs: 1, batch_size: 10, seed: 1}\n").encode()

    def page(self):
        model = {"data_set": "mnist", "sample_shape": [1, 28, 28],
                 "split": {"kind": "slices"},
                 "portions": [{"name": f"p{k}", "type": "u8", "shape": [196], "bits": sum(stages)}
                              for k, stages in enumerate(self.STAGES)]}

        class Page(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = json.dumps(model if self.path == "/v1/model" else {}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_):
                pass
        page = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=page.serve_forever, daemon=True).start()
        self.addCleanup(page.server_close)
        self.addCleanup(page.shutdown)
        return page.server_port

    def meet(self, link, staged, seen):
        """One node's link: keeps (stage, codes, bytes) of all it sends; asks for the second stage of the first code."""
        with link, link.makefile("rwb") as stream:
            try:
                said = plain_node.receive(stream)[1]
                of = seen.setdefault(int(said[2].decode().rsplit("-", 1)[1]), [])
                plain_node.send(stream, plain_node.WELCOME, {1: said[1], 3: 1, 4: self.experiment(staged), 5: 10000})
                plain_node.send(stream, plain_node.RESTORE, {1: 1, 5: 1 if staged else 0})
                plain_node.receive(stream)
                plain_node.send(stream, plain_node.BEGIN, {1: 1})
                while True:
                    kind, fields = plain_node.receive(stream)
                    if kind == plain_node.CODES:
                        if staged and not of:
                            plain_node.send(stream, REFINE_REQUEST, {1: 1, 2: 1})
                        count = fields.get(3, 0) + 1
                        of.append((0, count, len(fields[4])))
                        plain_node.send(stream, ACK, {1: count})
                    elif kind == REFINEMENT:
                        of.append((1, 1, len(fields[3])))
            except (ConnectionError, ValueError):
                pass

    def load(self, staged):
        seen, links = {}, []
        with socket.create_server(("127.0.0.1", 0)) as listening:
            def listen():
                for _ in range(PORTIONS):
                    arguments = (listening.accept()[0], staged, seen)
                    links.append(threading.Thread(target=self.meet, args=arguments, daemon=True))
                    links[-1].start()
            threading.Thread(target=listen, daemon=True).start()
            report = json.loads(self.loadtest(self.page(), "--codes", f"127.0.0.1:{listening.getsockname()[1]}",
                                              "--rate", 3000, "--seconds", 1, "--json").printed)
        for link in links:  # until they have read to the end
            link.join(f.PATIENCE)
        return report, seen

    def test_each_portion_sends_its_own_bits(self):
        for staged in (False, True):
            with self.subTest(staged=staged):
                report, seen = self.load(staged)
                self.assertEqual((report["asked"], report["probes_failed"]), (PORTIONS if staged else 0, 0))
                self.assertEqual(sorted(seen), list(range(PORTIONS)))
                for k, stages in enumerate(self.STAGES):
                    widths = stages if staged else (sum(stages), 0)
                    self.assertEqual(sum(count for stage, count, _ in seen[k] if stage == 0), report["sent"])
                    self.assertEqual(sum(stage for stage, _, _ in seen[k]), 1 if staged else 0)
                    for stage, count, length in seen[k]:
                        self.assertEqual(length, (count * widths[stage] + 7) // 8, (k, stage, count))


class Usage(BenchCase):
    def test_options(self):
        def fails(*options):
            return self.fleet.run("loadtest", f.binary("fewbit"), "loadtest", *options, code=2).said
        self.assertRegex(fails(), "--server is missing")
        for options in (("--rate", "-1"), ("--seconds", "0"), ("--connections", "0"), ("--probes", "x"), ("what",),
                        ("--codes", "nowhere")):
            self.assertRegex(fails("--server", "http://127.0.0.1:1", *options), r"^fewbit: .*\S")


if __name__ == "__main__":
    unittest.main()

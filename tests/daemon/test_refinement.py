#!/usr/bin/env python3
"""More bits only when unsure, between real daemons: training, streamed and on demand, and a node that dies between the stages."""
import http.client
import json
import unittest

from lib import fleet, plain_node

REFINE_REQUEST = 20
THRESHOLDS = [0, 0.12, 0.14, 0.16, 0.18, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.1]


class Refinement(fleet.FleetCase):
    def setUp(self):
        super().setUp()
        self.source = fleet.make_set(self.folder / "set", train=2000, test=300)
        self.split = fleet.split_set(self.source, self.folder / "split", "--partition", "slices", "--portions", 4)
        self.experiment = fleet.write_experiment(self.folder / "e.yaml", encoder__binarize="straight-through", encoder__refinement="[1, 3]", loss__refinement_weights="[1, 2]", training__epochs=4,
                                                 training__confidence_thresholds=THRESHOLDS)
        self.local = self.folder / "local"
        self.fleet.train_local(self.experiment, self.split, self.local)

    def table(self, run):
        return {round(row["confidence"], 3): row for row in fleet.read_json(run / "result.json")["final"]["refinement"]}

    def lines(self, path):
        return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] \
            if path.exists() else []

    def pushed(self, path):
        return [line for line in self.lines(path) if line["from"] == "stream"]

    def test_training_over_tcp_is_the_same_and_the_table_is_what_bulk_sends(self):
        run, states = self.folder / "tcp", self.folder / "states"
        server = self.fleet.train(self.experiment, self.split, run)
        self.fleet.nodes(server, self.split, states, "--exit-when-done")
        server.wait(0)
        self.assertEqual(fleet.weights(self.local), fleet.weights(run, states))
        self.assertEqual(self.table(self.local), self.table(run))
        rows = self.table(run)
        self.assertEqual([rows[0]["bits"], rows[1.1]["bits"]], [4, 16])
        threshold = next(at for at in THRESHOLDS if rows[at]["asked"] > 0)
        self.assertLess(rows[threshold]["bits"], 16)
        self.assertGreater(rows[threshold]["bits_down"], 0)
        said = self.fleet.run("result", fleet.binary("fewbit"), "result", run).printed
        self.assertRegex(said, rf"(?m)^--confidence {threshold:g} .* with {rows[threshold]['bits']:.2f} bits a sample")
        results = self.folder / "results.jsonl"
        serving = self.fleet.serve(run, "--confidence", threshold, "--results", results)
        for node in self.fleet.nodes(serving, self.split, states, "--stream", "test", "--exit-when-done"):
            node.wait(0)  # once nobody can ask it for more
        lines = self.lines(results)
        self.assertEqual(len(lines), 300)
        sent = sum(len(bits) for line in lines for bits in line["bits"])
        self.assertAlmostEqual(sent / 300, rows[threshold]["bits"], delta=0.2)
        self.assertFalse(any(line["degraded"] for line in lines))
        self.assertEqual({line["rounds"] for line in lines}, {1, 2})

    def test_a_threshold_costs_what_it_costs_alone(self):
        run, threshold = self.folder / "alone", THRESHOLDS[-4]
        alone = fleet.write_experiment(self.folder / "alone.yaml", encoder__binarize="straight-through",
                                       encoder__refinement="[1, 3]", loss__refinement_weights="[1, 2]", training__epochs=4, training__confidence_thresholds=[threshold])
        self.fleet.train_local(alone, self.split, run)
        self.assertEqual(self.table(run)[threshold], self.table(self.local)[threshold])
        self.assertTrue(0 < self.table(run)[threshold]["asked"] < 1)

    def test_a_load_of_codes_is_asked_for_more(self):
        results = self.folder / "results.jsonl"
        serving = self.fleet.serve(self.local, "--confidence", 1, "--deadline", 60000, "--results", results)
        report = json.loads(self.fleet.run(
            "bench", fleet.binary("fewbit"), "loadtest", "--server", f"http://127.0.0.1:{serving.http}", "--codes",
            f"127.0.0.1:{serving.port}", "--rate", 80000, "--seconds", 1, "--json").printed)
        self.assertGreater(report["sent"], 0)
        self.assertEqual(report["probes_failed"], 0)
        lines = fleet.wait_until(lambda: len(self.pushed(results)) == report["sent"] and self.pushed(results), "all results",
                                 explain=self.fleet.explain)
        self.assertFalse(any(line["degraded"] for line in lines))
        for line in lines:
            self.assertEqual({len(bits) for bits in line["bits"]}, {1 if line["rounds"] == 1 else 4})
        self.assertEqual(report["asked"], 4 * sum(line["rounds"] == 2 for line in lines))
        self.assertGreater(report["asked"], 0)

    def test_a_node_that_dies_between_the_stages_costs_bits_not_the_sample(self):
        """Portion 3 is spoken for by a node of ours that answers the first round, and closes at the request for more."""
        results = self.folder / "results.jsonl"
        serving = self.fleet.serve(self.local, "--confidence", 1, "--results", results)
        for k in range(3):
            self.fleet.node(k, serving, self.split, self.local / "nodes" / f"node-{k}", "--stream", "test")
            serving.wait_event("node_ready", portion=k)
        with self.portion_3(serving) as connection, connection.makefile("rwb") as stream:
            model = self.ready(stream)
            self.until(stream, plain_node.BEGIN)
            plain_node.send(stream, plain_node.CODES, {1: model, 2: 0, 3: 299, 4: bytes((300 + 7) // 8)})
            self.until(stream, REFINE_REQUEST)
        lines = fleet.wait_until(lambda: len(self.lines(results)) == 300 and self.lines(results), "all results",
                                 explain=self.fleet.explain)
        self.assertTrue(all(line["degraded"] for line in lines))
        self.assertTrue(all(len(line["bits"][3]) == 1 for line in lines))
        self.assertTrue(all(len(line["bits"][0]) in (1, 4) for line in lines))

    def test_a_node_that_dies_between_the_stages_of_a_request_costs_bits_not_the_answer(self):
        """As above, of one live request, which is answered at once, not at its deadline."""
        serving = self.fleet.serve(self.local, "--confidence", 1, "--deadline", 60000)
        for k in range(3):
            self.fleet.node(k, serving, self.split, self.local / "nodes" / f"node-{k}")
            serving.wait_event("node_ready", portion=k)
        client = http.client.HTTPConnection("127.0.0.1", serving.http, timeout=fleet.PATIENCE)
        self.addCleanup(client.close)
        with self.portion_3(serving) as connection, connection.makefile("rwb") as stream:
            model = self.ready(stream)
            serving.wait_event("node_ready", portion=3)
            client.request("POST", "/v1/classify", fleet.image(self.source, 0),
                           {"Content-Type": "application/octet-stream"})
            asked = self.until(stream, plain_node.REQUEST)
            plain_node.send(stream, plain_node.ANSWER, {1: model, 2: asked.get(1, 0), 4: b"\1"})
            self.until(stream, REFINE_REQUEST)
        answer = client.getresponse()
        answer, status = json.load(answer), answer.status
        self.assertEqual((status, answer["degraded"], answer["rounds"]), (200, True, 2), answer)
        self.assertEqual([len(bits) for bits in answer["bits"]], [4, 4, 4, 1], answer)
        client.request("GET", "/metrics")
        metrics = client.getresponse().read().decode()
        self.assertIn('fewbit_refinement_samples_total{stages="1"} 0\n', metrics)
        self.assertIn('fewbit_refinement_samples_total{stages="2"} 1\n', metrics)
        self.assertIn("fewbit_refinements_incomplete_total 1\n", metrics)

    def portion_3(self, serving):
        return plain_node.socket.create_connection(("127.0.0.1", serving.port), timeout=fleet.PATIENCE)

    def ready(self, stream):
        """Joins as portion 3; the model's number."""
        plain_node.send(stream, plain_node.HELLO,
                        plain_node.hello(json.loads((self.split / "node-3" / "portion.json").read_text())))
        restore = self.until(stream, plain_node.RESTORE)
        self.assertEqual(restore[5], 1)  # stages
        plain_node.send(stream, plain_node.READY, {1: restore[1]})
        return restore[4]

    def until(self, stream, wanted):
        """The fields of the next frame of a kind."""
        while True:
            kind, fields = plain_node.receive(stream)
            if kind == wanted:
                return fields

    def test_bad_answers_to_an_ask_are_refused(self):
        """A round nobody asked for, and one that does not fit, end the connection; the server goes on."""
        serving = self.fleet.serve(self.local, "--confidence", 1)
        for refinement in ({1: 1, 2: 0, 3: b"\x07"}, {1: 9, 2: 1 << 60, 3: bytes(200)}, {1: 1, 2: 0, 4: bytes(range(100))}):
            with self.portion_3(serving) as connection, connection.makefile("rwb") as stream:
                self.ready(stream)
                plain_node.send(stream, 21, refinement)
                self.assertEqual(self.until(stream, plain_node.REFUSAL)[1], 6)
        self.assertTrue(serving.is_running())


if __name__ == "__main__":
    unittest.main()

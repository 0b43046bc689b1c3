#!/usr/bin/python3
"""Range-compressed codes with real daemons: the same results and weights as packed, in fewer bits, and a bad frame never misread."""
import contextlib
import re
import signal
import socket
import unittest

from lib import fleet as f, plain_node, serving
from lib.fleet import PATIENCE, PORTIONS, read_json, wait_until, weights
from lib.serving import TEST, HandNode, metrics

CODED = ("--coding", "range")
CODING, RANGE, PROTOCOL = 11, 1, 6  # Hello's field, its value, a reason to refuse


def setUpModule():
    serving.ServingCase.made = serving.Made()


class CodingCase(serving.ServingCase):
    def assert_results(self):
        """The whole test part came, and each result is the one that packed codes give."""
        for result in self.wait_for_results(TEST):
            wanted = self.made.reference()[result["id"]]
            for key in ("class", "bits", "degraded", "probability"):
                self.assertEqual(result[key], wanted[key], f"sample {result['id']}")


class Pushing(CodingCase):
    def test_same_results_in_fewer_bits(self):
        server, nodes = self.start(node_options=(*CODED, "--stream", "test"))
        self.assert_results()
        shown = metrics(server)
        for k in range(PORTIONS):
            value = lambda name, kind: shown[f'fewbit_node_{name}{{portion="{k}",kind="{kind}"}}']
            packed, coded = (value("compressed_bits_total", kind) for kind in ("packed", "compressed"))
            bit_by_bit, whole = (value("code_entropy_bits", kind) for kind in ("bits", "codes"))
            self.assertEqual(packed, 4 * TEST)
            self.assertLess(whole, bit_by_bit + 1e-9)
            self.assertLess(bit_by_bit, 4 + 1e-9)
            self.assertLess(coded, packed)
            self.assertLess(coded, TEST * whole + 150)  # learning 15 probabilities, from a half each
            self.assertGreater(coded, TEST * whole * 0.98)
            self.assertEqual(shown[f'fewbit_node_bits_total{{portion="{k}",direction="received",kind="payload"}}'], coded)
            self.assertEqual((value("compressed_frames_total", "good"), value("compressed_frames_total", "refused")), (1, 0))
        self.assert_serves(server, 5)  # a lone request beside it, whose answers are packed
        for node in nodes.values():
            self.assert_ends_soon(node, signal.SIGTERM, 0)

    def test_beside_packed_ones(self):
        server = self.serve("--deadline", 1000 * PATIENCE)
        for k in range(PORTIONS):
            self.node(server, k, "--stream", "test", *(CODED if k % 2 else ()))
        self.assert_results()
        counted = {name for name in metrics(server) if name.startswith("fewbit_node_compressed_bits_total")}
        self.assertEqual({re.search(r'portion="(\d)"', name)[1] for name in counted}, {"1", "3"})

    def test_nodes_that_come_again(self):
        """A new link starts afresh, whatever the one before had learned; and a new process, with new ids."""
        server = self.serve("--deadline", 1000 * PATIENCE)
        for turn in range(2):
            nodes = [self.node(server, k, "--stream", "test", "--exit-when-done", *CODED) for k in range(PORTIONS)]
            for node in nodes:
                node.wait(0)
            wait_until(lambda: serving.health(server)["nodes_ready"] == 0, "their leave", explain=self.fleet.explain)
        results = self.wait_for_results(2 * TEST)
        self.assertEqual(sorted(r["id"] for r in results), list(range(2 * TEST)))
        for result in results:
            self.assertEqual(result["bits"], self.made.reference()[result["id"] % TEST]["bits"])
        for k in range(PORTIONS):
            self.assertEqual(metrics(server)[f'fewbit_node_compressed_frames_total{{portion="{k}",kind="good"}}'], 2)


class BadFrames(CodingCase):
    # The codes 10 5 10 5 10 5, as samples 0 to 5: coded by hand once, with the check left to change.
    CODED_BYTES = b"\xa1\xe1"

    def hand(self, server):
        hand = HandNode(server, self.made, 0)
        hand.hello[CODING] = RANGE
        hand.join()
        self.assertEqual(hand.welcome[6], RANGE)
        hand.receive(plain_node.BEGIN)
        return hand

    def frame(self, hand, check, sequence=1):
        return (plain_node.pack({1: hand.model, 3: 5, 5: sequence, 6: self.CODED_BYTES}) + bytes([7 << 3 | 5]) +
                check.to_bytes(4, "little"))

    def assert_bad(self, server, payload_of, pattern, count):
        hand = self.hand(server)
        hand.send_raw(plain_node.CODES, payload_of(hand))
        reason, text = hand.refusal()
        self.assertEqual(reason, PROTOCOL)
        self.assertRegex(text, pattern)
        self.assertNotIn("\n", text)
        server.wait_event("node_dropped", message=f"^plain is dropped: .*{pattern}")
        self.assertEqual(metrics(server)['fewbit_node_compressed_frames_total{portion="0",kind="refused"}'], count)

    def test_are_refused_and_counted(self):
        server, _ = self.start(nodes=(1, 2, 3))
        self.assert_bad(server, lambda hand: self.frame(hand, 0x12345678), "its checksum differs", 1)
        self.assert_bad(server, lambda hand: self.frame(hand, 0, 2), "where frame 1 was due", 2)
        self.assert_bad(server, lambda hand: self.frame(hand, 0) + b"\x22\x01\x05", "both packed and compressed", 3)
        self.assertEqual(serving.read_results(self.results_path), [])
        node = self.node(server, 0, *CODED)  # the portion is free, and all goes on
        self.wait_ready(server, PORTIONS)
        self.assert_serves(server, 3)
        self.assert_ends_soon(node, signal.SIGTERM, 0)

    def test_unasked(self):
        server, _ = self.start(nodes=(1, 2, 3))
        hand = HandNode(server, self.made, 0).join()
        self.assertNotIn(6, hand.welcome)
        hand.receive(plain_node.BEGIN)
        hand.send_raw(plain_node.CODES, self.frame(hand, 0))
        self.assertRegex(hand.refusal()[1], "did not ask")


class OlderServer(serving.ServingCase):
    def test_codes_are_packed(self):
        """A server that says nothing of coding gets packed codes, and the node says so."""
        with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
            listener.settimeout(PATIENCE)
            node = self.node(listener.getsockname()[1], 1, *CODED, "--stream", "test")
            connection = stack.enter_context(listener.accept()[0])
            connection.settimeout(PATIENCE)
            stream = stack.enter_context(connection.makefile("rwb"))
            hello = plain_node.receive(stream)[1]
            self.assertEqual(hello[CODING], RANGE)
            manifest = read_json(self.made.run / "manifest.json")
            text = (self.made.run / "experiment.yaml").read_bytes()
            welcome = plain_node.pack({1: 2, 3: 2, 4: text, 5: 60000}) + bytes([2 << 3 | 1])
            payload = welcome + int(manifest["run"], 16).to_bytes(8, "little")
            stream.write(len(payload).to_bytes(3, "little") + bytes([plain_node.WELCOME]) + payload)
            plain_node.send(stream, plain_node.RESTORE, {1: manifest["last"]["step"]})
            self.assertEqual(plain_node.receive(stream)[0], plain_node.READY)
            plain_node.send(stream, plain_node.BEGIN, {1: 9})
            kind, codes = plain_node.receive(stream)
            self.assertEqual((kind, len(codes[4]), 5 in codes or 6 in codes), (plain_node.CODES, TEST // 2, False))
            node.wait_event("codes_sent_packed")


class Training(serving.ServingCase):
    def test_same_weights_in_fewer_bits(self):
        experiment = f.write_experiment(self.folder / "experiment.yaml")
        run, states = self.folder / "run", self.folder / "states"
        server = self.fleet.train(experiment, self.made.split, run)
        nodes = self.fleet.nodes(server, self.made.split, states, "--exit-when-done", *CODED)
        server.wait(0)
        for node in nodes:
            node.wait(0)
        self.assertEqual(weights(run, states), weights(self.made.run))
        ours, packed = (read_json(where / "result.json") for where in (run, self.made.run))
        self.assertEqual(ours["final"], packed["final"])
        bits, others = ours["bits_per_sample"], packed["bits_per_sample"]
        self.assertEqual((bits["payload"], others["payload"], others["coded"]), (16, 16, 16))
        self.assertEqual(bits["entropy"], others["entropy"])
        self.assertLess(bits["entropy"]["codes"], bits["entropy"]["bits"])
        self.assertLess(bits["coded"], bits["entropy"]["codes"] + 4 * 150 / TEST)
        self.assertLess(bits["frames"], others["frames"])
        for node in ours["nodes"]:
            self.assertEqual(node["payload_bits"]["codes"], 2 * TEST * 4)
            self.assertLess(node["payload_bits"]["coded"], 2 * TEST * 4)
        local = self.folder / "local"
        self.fleet.train_local(experiment, self.made.split, local, *CODED)
        self.assertEqual(read_json(local / "result.json")["bits_per_sample"]["coded"], bits["coded"])
        said = self.fleet.run("result", f.binary("fewbit"), "result", run).printed
        self.assertIn(f"codes         {bits['coded']:.2f} bits a sample as they came", said)

    def test_options_that_do_not_fit(self):
        server = self.fleet.train(f.write_experiment(self.folder / "experiment.yaml"), self.made.split,
                                  self.folder / "run", *CODED)
        server.wait_event("option_ignored", message="--coding is for --local")
        said = self.fleet.run("node", f.binary("encoder_node"), "--coding", "huffman", code=2).said
        self.assertIn("--coding: 'huffman' is neither packed nor range", said)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""The nodes' port: who comes in and how that is written down; nodes that owe answers, nodes that mean harm, crowds that
keep others out. Each bad node is played by hand beside three good ones, or stands between a good one and the server."""
import json
import pathlib
import re
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import fleet as f
import plain_node
import serving
from fleet import PORTIONS, read_json, wait_until
from serving import HandNode, call, health


def setUpModule():
    serving.ServingCase.made = serving.Made()


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class Addresses(serving.ServingCase):
    """Wherever an address is written, an IPv6 one stands in brackets, so that it can be used as it is."""

    def setUp(self):
        super().setUp()
        if not has_ipv6():
            self.skipTest("no IPv6 on this machine")

    def listening(self, server, announced):
        """Both addresses as the log has them, which must be those that are announced."""
        nodes = server.wait_for(r"(?:nodes|listening) on (\[::1\]:\d+)").group(1)
        http = server.wait_for(r"HTTP on (\[::1\]:\d+)\n").group(1)
        told = wait_until(lambda: read_json(announced), "the addresses", explain=self.fleet.explain)
        self.assertEqual((told["nodes"], told["http"]), (nodes, http))
        return nodes, http

    def status(self, http):
        return subprocess.run([f.binary("fewbit"), "status", "--server", f"http://{http}"], env=f.environment(),
                              capture_output=True, text=True, timeout=f.PATIENCE)

    def test_serving(self):
        announced = self.folder / "addresses"
        server = self.fleet.start("serve", f.binary("decoder_server"), "serve", self.made.run, "--listen", "[::1]:0", "--http",
                                  "[::1]:0", "--results", "none", "--announce", announced)
        nodes, http = self.listening(server, announced)
        for k in range(PORTIONS):
            self.fleet.start(f"node-{k}", f.binary("encoder_node"), "--server", nodes, "--name", f"node-{k}", "--data",
                             self.made.split / f"node-{k}", "--state", self.made.state(k), "--log-level", "debug")
        wait_until(lambda: self.status(http).returncode == 0, "all nodes", explain=self.fleet.explain)
        with socket.create_connection(("::1", int(http.rpartition(":")[2]))) as stream:
            stream.sendall(b"GET /v1/nodes HTTP/1.0\r\nHost: a\r\n\r\n")
            text = b"".join(iter(lambda: stream.recv(4096), b""))
        for node in json.loads(text.partition(b"\r\n\r\n")[2])["nodes"]:
            self.assertRegex(node["address"], r"^\[::1\]:\d+$")
        self.assertIn(f"connected to {nodes}", self.fleet.programs[1].said)
        taken = self.fleet.run("taken", f.binary("decoder_server"), "serve", self.made.run, "--listen", nodes, code=6)
        self.assertIn(f"cannot listen on {nodes}: ", taken.said)

    def test_training_and_then_serving(self):
        announced = self.folder / "addresses"
        experiment = f.write_experiment(self.folder / "e.yaml", training__epochs=1)
        server = self.fleet.start("server", f.binary("decoder_server"), "train", experiment, "--listen", "[::1]:0", "--http",
                                  "[::1]:0", "--labels", self.made.split / "server", "--out", self.folder / "run",
                                  "--announce", announced, "--then-serve")
        nodes, _ = self.listening(server, announced)
        for k in range(PORTIONS):
            self.fleet.start(f"node-{k}", f.binary("encoder_node"), "--server", nodes, "--name", f"node-{k}", "--data",
                             self.made.split / f"node-{k}", "--state", self.folder / f"node-{k}")
        server.wait_for(r"serving run .*: nodes on \[::1\]:\d+\n")

    def test_a_node_whose_server_is_away(self):
        node = self.fleet.start("node", f.binary("encoder_node"), "--server", "[::1]:1", "--name", "north", "--data",
                                self.made.split / "node-0", "--state", self.folder / "state")
        node.wait_for(r"cannot connect to \[::1\]:1: ")


class Names(serving.ServingCase):
    def test_the_node_itself_refuses_a_bad_one(self):
        for name in ("", "x" * 64, "a\nb", "a\x1b[2J", "a\x7f", "a\u009bb", "a\u202eb", "a\u2066b", "a\u2028b", "a\udcff"):
            with self.subTest(name):
                node = self.fleet.run("node", f.binary("encoder_node"), "--server", "127.0.0.1:1", "--name", name, "--data",
                                      self.made.split / "node-0", "--state", self.folder / "state", code=2)
                self.assertRegex(node.said, r"^encoder_node: --name: the name must [^\n]*\n\Z")


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""Crowds: more connections than a server takes, that drip or never end. They are refused and counted, and whoever is
honest gets every answer. (How long it takes meanwhile is the bench's matter.)"""
import contextlib
import json
import socket
import time
import unittest

from lib import crowds, fleet as f, serving
from lib.crowds import HEAD, Crowd, Honest, Pourers
from lib.fleet import PORTIONS, wait_until
from lib.serving import metrics

CROWD, HTTP_MAX, LINKS_MAX = 10000, 2048, 1024


def setUpModule():
    serving.ServingCase.made = serving.Made()


class Crowds(serving.ServingCase):
    def setUp(self):
        super().setUp()
        room = crowds.many_files()
        self.has_room = room.__enter__()
        self.addCleanup(room.__exit__, None, None, None)
        self.server, self.nodes = self.start("--deadline", 1000 * f.PATIENCE)

    def honest(self):
        """Clients, each of whose answers must be whole and right; the last check of a test is that they were."""
        wanted = self.made.reference()[0]

        def check(status, text):
            answer = json.loads(text)
            right = status == 200 and (answer["class"], answer["bits"]) == (wanted["class"], wanted["bits"])
            return None if right else f"{status}: {answer}"
        clients = Honest(self.server.http, self.made.images[0], check=check)

        def end():
            wait_until(lambda: clients.problems or len(clients.seconds) > 100, "answers", explain=self.fleet.explain)
            clients.close()
            self.assertEqual(clients.problems, [], self.fleet.explain())
            self.assert_serves(self.server)
            for k in range(PORTIONS):
                self.assertEqual(len(self.server.events("node_ready", portion=k)), 1, "a node was disturbed")
        return end

    def crowd(self, port, first=b""):
        if not self.has_room:
            self.skipTest("10,000 connections need more open files than this machine allows")
        crowd = Crowd(port, CROWD, first)
        self.addCleanup(crowd.close)
        return crowd

    def test_ten_thousand_that_drip(self):
        """Over HTTP: the rest is turned away, and those who got in are cut off, though bytes come now and then."""
        end = self.honest()
        crowd = self.crowd(self.server.http, HEAD)
        wait_until(lambda: crowd.drip() or crowd.present() == 0, "the drip to be cut off", explain=self.fleet.explain)
        m = metrics(self.server)
        refused = m["fewbit_http_connections_refused_total"]
        cut = m["fewbit_http_connections_timed_out_total"]
        self.assertEqual(refused + cut, CROWD)
        self.assertGreaterEqual(cut, HTTP_MAX - 8)
        self.assertLess(m["fewbit_http_connections"], 8)
        end()

    def test_a_houseful_that_was_answered_and_stays(self):
        """Connections between requests make room for new ones; those that are in use are not cut."""
        end = self.honest()
        ask = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
        busy = socket.create_connection(("127.0.0.1", self.server.http), timeout=f.PATIENCE)
        self.addCleanup(busy.close)

        def is_answered(connection):
            with contextlib.suppress(OSError):
                connection.sendall(ask)
                return connection.recv(4096).startswith(b"HTTP/1.1 200")
            return False

        held = []
        for _ in range(HTTP_MAX - 8):  # room for the honest ones
            connection = socket.create_connection(("127.0.0.1", self.server.http), timeout=f.PATIENCE)
            self.addCleanup(connection.close)
            self.assertTrue(is_answered(connection) and is_answered(busy))
            held.append(connection)
        new, end_at = [], time.monotonic() + 8  # until then none of the house is cut for its silence
        while len(new) < 100 and time.monotonic() < end_at:
            connection = socket.create_connection(("127.0.0.1", self.server.http), timeout=f.PATIENCE)
            self.addCleanup(connection.close)
            if is_answered(connection):
                new.append(connection)
            else:
                connection.close()
            self.assertTrue(is_answered(busy))
        self.assertEqual(len(new), 100)
        end()

    def test_ten_thousand_where_nodes_connect(self):
        end = self.honest()
        crowd = self.crowd(self.server.port, b"\xff\x0f\0\x01")  # a frame that does not come
        # All but a houseful; a second one gets in where connecting takes longer than a connection is let be silent.
        wait_until(lambda: metrics(self.server)["fewbit_links_refused_total"] >= CROWD - 2 * LINKS_MAX, "the rest's leave")
        self.assertLessEqual(metrics(self.server)["fewbit_links"], LINKS_MAX)
        crowd.close()
        wait_until(lambda: metrics(self.server)["fewbit_links"] == PORTIONS, "the crowd's leave")
        end()

    def test_bodies_that_never_end(self):
        end = self.honest()
        chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
        pourers = [Pourers(self.server.http, 2, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk),
                   Pourers(self.server.http, 2, HEAD + b"Content-Length: 99999999999\r\n\r\n", bytes(1 << 16))]
        wait_until(lambda: all(p.cut > 3 for p in pourers), "endless bodies to be cut off", explain=self.fleet.explain)
        for p in pourers:
            p.close()
        m = metrics(self.server)
        self.assertGreaterEqual(m["fewbit_http_connections_timed_out_total"], 6)
        self.assertGreaterEqual(m['fewbit_http_requests_total{route="/v1/classify",status="413"}'], 8)
        end()


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""Streams of real nodes: one that stands still, one that is restarted, all that begin anew, and input that fails."""
import os
import signal
import subprocess
import threading
import time
import unittest

from lib import fleet as f, plain_node, serving
from lib.fleet import PATIENCE, PORTIONS, wait_until
from lib.serving import TEST, HandNode, read_results

OUTSIDE = "in the middle of session"


def setUpModule():
    serving.ServingCase.made = serving.Made()


class StreamCase(serving.ServingCase):
    def file(self, k, first, count):
        """A file of what node k sees of `count` images from number `first` on, again and again."""
        path = self.folder / f"in-{k}-{first}-{count}"
        portions = b"".join(self.made.portion(k, i) for i in range(TEST)) * ((first + count) // TEST + 1)
        size = f.PIXELS // PORTIONS
        path.write_bytes(portions[first * size:(first + count) * size])
        return path

    def stream(self, server, k, first, count, *options, **how):
        with open(self.file(k, first, count), "rb") as source:
            return self.node(server, k, "--stream", "stdin", *(options or ("--exit-when-done",)), stdin=source, **how)

    def assert_whole(self, results, first=0, images=0):
        """Each sample once, of consecutive ids from `first` on, and as undisturbed: they are the images from `images` on."""
        self.assertEqual(sorted(r["id"] for r in results), list(range(first, first + len(results))))
        for r in results:
            self.assert_same(r, (r["id"] - first + images) % TEST)

    def wait_away(self, server):
        wait_until(lambda: serving.health(server)["nodes_ready"] == 0, "the nodes' leave", explain=self.fleet.explain)


class Pauses(StreamCase):
    BEFORE, DURING, AFTER = 20, 60, 20  # times TEST

    def check(self, pause_s, deadline, heartbeat):
        """Node 3 stands still, while the others get more as fast as they take it."""
        server = self.serve("--deadline", deadline, "--heartbeat", heartbeat)
        nodes = self.streaming(server, "--exit-when-done")
        portions = self.made.portions()

        def feed(k, times):
            for _ in range(times):
                nodes[k].popen.stdin.write(portions[k])
            nodes[k].popen.stdin.flush()

        def feed_all(times):
            feeders = [threading.Thread(target=feed, args=(k, times), daemon=True) for k in range(PORTIONS)]
            for feeder in feeders:
                feeder.start()
            return feeders

        def finish(feeders):
            for feeder in feeders:
                feeder.join(PATIENCE)
        finish(feed_all(self.BEFORE))
        self.wait_for_results(self.BEFORE * TEST)
        nodes[3].freeze()
        feeders = feed_all(self.DURING)
        time.sleep(pause_s)
        nodes[3].thaw()
        finish(feeders)
        finish(feed_all(self.AFTER))
        for node in nodes:
            node.popen.stdin.close()
            node.wait(0)
        return server, self.check_results(server)

    def check_results(self, server):
        count = (self.BEFORE + self.DURING + self.AFTER) * TEST
        results = self.wait_for_results(count)
        self.assertEqual(len(results), count)
        self.assertEqual(len({r["id"] for r in results}), count)
        for r in results:
            if not r["degraded"]:
                self.assert_same(r, r["id"] % TEST)
        degraded = [r["id"] for r in results if r["degraded"]]
        shown = serving.metrics(server)
        value = lambda name, more="": shown[f'fewbit_{name}{{source="stream"{more}}}']
        self.assertEqual(value("samples_complete_total") + value("deadline_misses_total"), count)
        self.assertEqual(value("deadline_misses_total"), len(degraded))
        self.assertEqual(value("portions_discarded_total", ',reason="duplicate"'), 0)
        self.assertGreater(value("portions_discarded_total", ',reason="late"'), 0)
        self.assertGreaterEqual(min(degraded), self.BEFORE * TEST)
        self.assertLess(max(degraded), count - self.AFTER * TEST)  # whole again as soon as it has caught up
        server.wait_event("stream_late", portion=3)
        return degraded

    def test_a_node_stands_still_longer_than_the_deadline(self):
        """The others wait for it, but for what they may be ahead."""
        _, degraded = self.check(1, 300, 5000)
        self.assertLess(len(degraded), 60 * TEST)

    def test_a_node_is_given_up_and_goes_on_where_it_was(self):
        server, _ = self.check(2, 300, 250)
        server.wait_event("node_ready", 2, portion=3)
        self.assertNotIn(OUTSIDE, server.said)
        self.assertEqual(len(server.events("stream_session_began")), 1)


class Sessions(StreamCase):
    def test_all_begin_anew(self):
        """Whether they end by themselves or are stopped: what comes then is another session, with ids of its own."""
        server, count = self.serve("--deadline", 1000 * PATIENCE), 300
        for turn, options in enumerate((("--exit-when-done",), ("--log-level", "info"), ("--exit-when-done",))):
            nodes = [self.stream(server, k, turn * count, count, *options) for k in range(PORTIONS)]
            self.wait_for_results((turn + 1) * count)
            for node in nodes:
                if options == ("--exit-when-done",):
                    node.wait(0)
                else:
                    self.assert_ends_soon(node, signal.SIGTERM, 0)
            self.wait_away(server)
        self.assert_whole(read_results(self.results_path))
        self.assertEqual(len(server.events("stream_session_began")), 3)

    def test_one_after_another_begins_anew(self):
        """Each is restarted as soon as its stream has ended; the next session waits for the last."""
        server, count = self.serve("--deadline", 1000 * PATIENCE), 200
        first = [self.stream(server, k, 0, count, "--log-level", "info") for k in range(PORTIONS)]
        self.wait_for_results(count)
        for k in (2, 0, 3, 1):
            self.assertEqual(len(read_results(self.results_path)), count)
            self.assert_ends_soon(first[k], signal.SIGTERM, 0)
            server.wait_event("node_left", portion=k)
            self.stream(server, k, count, count)
            if k != 1:
                server.wait_event("node_ready", 2, portion=k)
        self.assert_whole(self.wait_for_results(2 * count))

    def test_one_is_killed_and_started_again(self):
        server, rate = self.serve("--deadline", 500), 50
        nodes = self.streaming(server, "--exit-when-done")
        self.wait_ready(server, PORTIONS)

        def feed(first, count):
            for i in range(first, first + count):
                self.feed(nodes, i)
                time.sleep(1 / rate)
        feed(0, 20)
        self.wait_for_results(20)
        nodes[2].kill()
        server.wait_event("node_left", portion=2)
        again = nodes[2] = self.node(server, 2, "--stream", "stdin", "--exit-when-done", stdin=subprocess.PIPE)
        server.wait_event("stream_left_out", portion=2, message="has come with a new process in the middle of session")
        again.wait_event("stream_refused", message="a session of streams was under way")
        feed(20, 50)
        for node in nodes:
            node.popen.stdin.close()
            node.wait(7 if node is again else 0)
        self.assertIn("50 portions were not streamed", again.said)
        results = self.wait_for_results(70)
        self.assertEqual([r["id"] for r in results if not r["degraded"]], list(range(20)))
        for r in results:
            wanted = self.made.reference()[r["id"]]["bits"]
            self.assertEqual(r["bits"], wanted if r["id"] < 20 else [*wanted[:2], None, wanted[3]])
        self.wait_away(server)
        for k in range(PORTIONS):
            self.stream(server, k, 100, 100)
        self.assert_whole([r for r in self.wait_for_results(170) if r["id"] >= 70], 70, 100)

    def test_a_file_waits_for_the_next_session(self):
        server = self.serve("--deadline", 500)
        held = HandNode(server, self.made, 0).join()  # whose stream goes on
        self.addCleanup(held.close)
        nodes = {k: self.stream(server, k, 0, 100) for k in (1, 2, 3)}
        begin = held.receive(plain_node.BEGIN)
        for node in nodes.values():
            node.wait(0)
        early = self.stream(server, 1, 100, 100)
        server.wait_event("stream_left_out", portion=1, message="has come with a new process in the middle of session")
        held.send(plain_node.STREAM_END, {})
        held.close()
        for k in (0, 2, 3):
            self.stream(server, k, 100, 100)
        early.wait(0)
        self.assertEqual(begin.get(2, 0), 0)
        self.assert_whole([r for r in self.wait_for_results(200) if r["id"] >= 100], 100, 100)

    def test_a_server_is_restarted_in_the_middle(self):
        """Processes of one session go on with it; one that is new is not in it."""
        options = ("--deadline", 700)
        server = self.serve(*options)
        nodes = self.streaming(server, "--exit-when-done")
        self.feed(nodes, 0)
        self.wait_for_results(1)
        server.kill()
        nodes[1].kill()
        nodes[1] = self.node(server, 1, "--stream", "stdin", "--exit-when-done", stdin=subprocess.PIPE)
        server = self.serve(*options, port=server.port)
        server.wait_event("stream_session_resumed", message="goes on at sample 1")
        server.wait_event("stream_left_out", portion=1, message="has come with a new process in the middle of session")
        nodes[1].wait_event("stream_refused")
        self.feed(nodes, 1)
        results = self.wait_for_results(2)
        self.assertEqual([(r["id"], r["degraded"]) for r in results], [(0, False), (1, True)])
        self.assertEqual([code is None for code in results[1]["bits"]], [False, True, False, False])

    def test_codes_that_are_not_the_next_are_refused(self):
        server, _ = self.start(nodes=(1, 2, 3))
        for fields in ({2: 1}, {2: 1 << 40}, {2: 5, 3: 1}):
            node = HandNode(server, self.made, 0).join()
            node.receive(plain_node.BEGIN)
            node.send(plain_node.CODES, {1: node.model, 4: b"\x01" if 3 not in fields else b"\x11", **fields})
            self.assertRegex(node.refusal()[1], r"codes from sample \d+ on, where 0 was due")
            self.wait_ready(server, 3)
        self.assertEqual(read_results(self.results_path), [])


class BadInput(StreamCase):
    def source(self, what, text):
        """Standard input as one of these, with `text` where it can have some."""
        (self.folder / "input").write_bytes(text)
        ways = {"a file": ("input", os.O_RDONLY), "a bad disk": ("/proc/self/mem", os.O_RDONLY),  # EIO where it begins
                "a folder": ("", os.O_RDONLY), "for writing only": ("written", os.O_WRONLY | os.O_CREAT)}
        if what not in ways:
            return subprocess.DEVNULL
        name, flags = ways[what]
        source = os.open(self.folder / name, flags)
        self.addCleanup(os.close, source)
        return source

    def push(self, server, source, *options, closed=False):
        command = ("sh", "-c", 'exec "$0" "$@" <&-') if closed else ()
        return self.fleet.start("bad", *command, f.binary("encoder_node"), "--server", f"127.0.0.1:{server.port}", "--name",
                                "bad", "--data", self.made.split / "node-3", "--state", self.made.state(3), "--stream", "stdin",
                                *options, stdin=source)

    def test_ends_with_a_line_and_a_code(self):
        server, _ = self.start("--deadline", 200, nodes=(0, 1, 2))
        size, whole = f.PIXELS // PORTIONS, 0
        for what, text, code, count, pattern in (
                ("a file", b"x" * (3 * size), 0, 3, ""), ("a file", b"", 0, 0, ""),
                ("a file", b"x" * (3 * size + 100), 3, 3, f"ended inside a portion: 100 of {size} bytes"),
                ("a file", b"x", 3, 0, f"ended inside a portion: 1 of {size} bytes"),
                ("a bad disk", b"", 5, 0, "standard input: Input/output error"),
                ("a folder", b"", 5, 0, "standard input is a folder"),
                ("for writing only", b"", 5, 0, "not open for reading"), ("closed", b"", 5, 0, "is closed")):
            with self.subTest(what, code=code):
                source = self.source(what, text)
                node = self.push(server, source, "--exit-when-done", closed=what == "closed")
                node.wait(code)
                said = [line for line in node.said.splitlines() if line.startswith("encoder_node: ")]
                self.assertEqual(len(said), 1 if code else 0, node.said)
                self.assertRegex("".join(said), pattern or r"\A\Z")
                whole += count
                self.assertEqual(len(self.wait_for_results(whole)), whole)
                self.wait_ready(server, 3)

    def test_without_once_it_goes_on_answering(self):
        """What can never be read ends it at once; what fails in the middle ends the stream alone."""
        server, _ = self.start("--deadline", 200, nodes=(0, 1, 2))
        self.push(server, self.source("a folder", b"")).wait(5)
        node = self.push(server, self.source("a file", b"x" * 500))
        node.wait_event("stream_failed", message="standard input ended inside a portion: 108 of 196 bytes")
        self.wait_for_results(2)
        self.assert_serves(server, 4)
        self.assert_ends_soon(node, signal.SIGTERM, 0)


if __name__ == "__main__":
    unittest.main()

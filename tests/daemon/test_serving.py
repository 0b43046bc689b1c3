#!/usr/bin/python3
"""Serving as users run it: real daemons on loopback, codes pushed and images asked for, nodes and servers that die."""
import fcntl
import gzip
import http.client
import http.server
import json
import os
import pathlib
import random
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

from lib import fleet as f, plain_node, serving
from lib.fleet import PATIENCE, PORTIONS, read_json, wait_until
from lib.serving import ANSWER_KEYS, PNG, RAW, RESULT_KEYS, TEST, HandNode, call, post, read_results


def setUpModule():
    serving.ServingCase.made = serving.Made()


class Smoke(serving.ServingCase):
    def test_pushed_and_asked_for(self):
        server, nodes = self.start(node_options=("--stream", "test"))
        results = self.wait_for_results(TEST)
        self.assert_serves(server, 5)
        self.assertEqual(self.classify(server, 5)["bits"], next(r for r in results if r["id"] == 5)["bits"])
        self.assert_ends_soon(server, signal.SIGTERM, 0)
        for node in nodes.values():
            self.assert_ends_soon(node, signal.SIGTERM, 0)


class Pushing(serving.ServingCase):
    def test_the_test_part_gives_the_rounded_accuracy(self):
        run = self.folder / "run"
        shutil.copytree(self.made.run, run)
        server = self.fleet.serve(run)  # results go to RUN/results.jsonl
        nodes = [self.node(server, k, "--stream", "test", "--exit-when-done") for k in range(PORTIONS)]
        for node in nodes:
            node.wait(0)
        self.results_path = run / "results.jsonl"
        results = self.wait_for_results(TEST)
        self.assertEqual(sorted(r["id"] for r in results), list(range(TEST)))
        for r in results:
            self.assertEqual(set(r), RESULT_KEYS)
            self.assertEqual((r["from"], r["degraded"], r["label"]), ("stream", False, str(r["class"])))
            self.assertEqual([len(code.strip("01")) for code in r["bits"]], [0] * PORTIONS)
            self.assertEqual([len(code) for code in r["bits"]], [4] * PORTIONS)
            self.assertTrue(0 < r["probability"] <= 1)
        right = sum(r["class"] == self.made.labels[r["id"]] for r in results)
        self.assertAlmostEqual(100 * right / TEST, read_json(run / "result.json")["final"]["rounded_accuracy"], 9)
        self.assertGreater(right, TEST // 3)

    def test_standard_input_cut_anywhere(self):
        server = self.serve("--deadline", 1000 * PATIENCE)
        nodes = self.streaming(server, "--exit-when-done")
        self.wait_ready(server, PORTIONS)
        draw = random.Random(3)
        streams = [b"".join(self.made.portion(k, i) for i in range(40)) for k in range(PORTIONS)]
        size, sent = len(streams[0]) // 40, [0] * PORTIONS
        while min(sent) < 40 * size:
            for k, node in enumerate(nodes):
                piece = streams[k][sent[k]:sent[k] + draw.choice((1, 150, size - 1, size, size + 1, 3 * size + 7))]
                node.popen.stdin.write(piece)
                node.popen.stdin.flush()
                sent[k] += len(piece)
            self.wait_for_results(min(sent) // size)  # so that each node has read its pieces one by one
        for k, node in enumerate(nodes):
            node.popen.stdin.write(b"xyz"[:k])  # an incomplete portion for all but the first
            node.popen.stdin.close()
            node.wait(3 if k else 0)
            found = f"ended inside a portion: {k} of {size} bytes"
            self.assertEqual(found in node.said, k > 0, node.said)
        results = self.wait_for_results(40)
        self.assertEqual(len(results), 40)
        for r in results:
            self.assert_same(r, r["id"])

    def test_standard_input_live(self):
        """A sample is answered as soon as it is whole, while the streams stay open."""
        server = self.serve("--deadline", 1000 * PATIENCE)
        nodes = self.streaming(server)
        for i in range(5):
            for k in (2, 0, 3, 1):
                nodes[k].popen.stdin.write(self.made.portion(k, i))
                nodes[k].popen.stdin.flush()
            self.assert_same(self.wait_for_results(i + 1)[i], i)
        for node in nodes:  # one that waits for its standard input
            self.assert_ends_soon(node, signal.SIGTERM, 0)

    def test_sources_of_different_kinds_meet(self):
        server, _ = self.start("--deadline", 1000 * PATIENCE, nodes=(0, 1, 2), node_options=("--stream", "test"))
        late = self.node(server, 3, "--stream", "stdin", stdin=subprocess.PIPE)
        self.wait_ready(server, PORTIONS)
        self.assertEqual(read_results(self.results_path), [])
        late.popen.stdin.write(b"".join(self.made.portion(3, i) for i in range(TEST)))
        late.popen.stdin.close()
        for r in self.wait_for_results(TEST):
            self.assert_same(r, r["id"])

    def test_a_portion_that_never_comes(self):
        server, _ = self.start("--deadline", 2000, nodes=(0, 1, 3), node_options=("--stream", "test"))
        self.node(server, 2)  # is there, and pushes nothing
        for r in self.wait_for_results(TEST):
            wanted = self.made.reference()[r["id"]]["bits"]
            self.assertEqual((r["bits"], r["degraded"]), ([*wanted[:2], None, wanted[3]], True))

    def test_a_long_stream_loses_nothing(self):
        """More samples than the server can hold, from nodes that run far ahead of each other."""
        count = 150 * TEST
        server = self.serve("--deadline", 1000 * PATIENCE)
        portions = self.made.portions()
        nodes = self.streaming(server, "--exit-when-done")
        self.wait_ready(server, PORTIONS)

        def feed(k):
            for _ in range(count // TEST):
                nodes[k].popen.stdin.write(portions[k])
            nodes[k].popen.stdin.close()
        feeders = [threading.Thread(target=feed, args=(k,), daemon=True) for k in range(PORTIONS)]
        feeders[0].start()
        nodes[0].wait(0)  # all it has is with the server, or on the way
        for feeder in feeders[1:]:
            feeder.start()
        for node in nodes[1:]:
            node.wait(0)
        results = self.wait_for_results(count)
        self.assertEqual(len({r["id"] for r in results}), count)
        self.assertEqual([r["id"] for r in results if r["degraded"]], [])


class Requests(serving.ServingCase):
    def fewbit(self, server, *arguments, code=0):
        return self.fleet.run("classify", f.binary("fewbit"), "classify", "--server", f"http://127.0.0.1:{server.http}",
                              *arguments, code=code)

    def test_every_way_to_ask_gives_the_same(self):
        server, _ = self.start()
        images = self.made.source / "t10k-images-idx3-ubyte"
        zipped = self.folder / "images.gz"
        zipped.write_bytes(gzip.compress(images.read_bytes()))
        for index in (0, 7, TEST - 1):
            picture = self.folder / f"{index}.png"
            picture.write_bytes(f.png(self.made.images[index]))
            for answer in (self.classify(server, index), post(server, picture.read_bytes(), PNG)[1]):
                self.assertEqual(set(answer), ANSWER_KEYS)
                self.assert_same(answer, index)
            asked = self.fewbit(server, "--json", picture, f"{images}:{index}", f"{zipped}:{index}")
            answers = [json.loads(line) for line in asked.printed.splitlines()]
            self.assertEqual(len(answers), 3)
            for answer in answers:
                self.assert_same(answer, index)
            wanted = self.made.reference()[index]
            told = self.fewbit(server, picture, f"{zipped}:{index}").printed.splitlines()
            self.assertEqual(len(told), 2)
            for line, name in zip(told, (picture, f"{zipped}:{index}")):
                self.assertRegex(line, rf"^{name}: {wanted['label']} \(\d+\.\d %\), 16 bits in "
                                       rf"{' '.join(wanted['bits'])}, \d+\.\d\d ms$")
        sources = [(r["from"], r["id"]) for r in self.wait_for_results(3 * (2 + 3 + 2))]
        self.assertEqual({source for source, _ in sources}, {"http"})
        self.assertEqual(len(set(sources)), len(sources))

    def test_an_encoder_that_looks_more_than_once(self):
        """Live as in bulk it decides by its portion, by that one's mirror image and by both shifted."""
        run = self.folder / "run"
        self.fleet.train_local(f.write_experiment(self.folder / "experiment.yaml", tta__flip="true",
                                                    tta__shift=1),
                               self.made.split, run)
        server = self.fleet.serve(run)
        self.fleet.nodes(server, self.made.split, run / "nodes", "--stream", "test")
        self.results_path = run / "results.jsonl"
        pushed = {result["id"]: result["bits"] for result in self.wait_for_results(TEST) if result["from"] == "stream"}
        for index in range(100):
            self.assertEqual(self.classify(server, index)["bits"], pushed[index], index)

    def test_an_answer_in_full(self):
        server, _ = self.start()
        answer = self.classify(server, 1)
        self.assertEqual(len(answer["probabilities"]), 10)
        self.assertAlmostEqual(sum(answer["probabilities"]), 1, 5)
        self.assertEqual(max(range(10), key=answer["probabilities"].__getitem__), answer["class"])
        self.assertAlmostEqual(answer["probabilities"][answer["class"]], answer["probability"])
        self.assertEqual((answer["payload_bits"], answer["raw_bytes"], answer["missing"]), (16, f.PIXELS, []))
        self.assertGreater(answer["frame_bytes_sent"], f.PIXELS + 2)
        self.assertEqual(answer["frame_bytes"], answer["frame_bytes_sent"] + answer["frame_bytes_received"])
        self.assertLessEqual(answer["frame_bytes"], f.PIXELS + PORTIONS * (16 + 16))
        self.assertGreater(answer["ms"], 0)

    def test_many_at_once(self):
        connections, each = 64, 50
        server, _ = self.start()
        reference, answers, failures = self.made.reference(), [], []

        def work(worker):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)
                for turn in range(each):
                    index = (worker * each + turn) % TEST
                    connection.request("POST", "/v1/classify", self.made.images[index], {"Content-Type": RAW})
                    answer = connection.getresponse()
                    answers.append((index, answer.status, json.loads(answer.read())))
                connection.close()
            except Exception as failure:
                failures.append(failure)
        workers = [threading.Thread(target=work, args=(i,)) for i in range(connections)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.assertEqual(failures, [])
        self.assertEqual(len(answers), connections * each)
        for index, status, answer in answers:
            self.assertEqual((status, answer["class"], answer["bits"]),
                             (200, reference[index]["class"], reference[index]["bits"]))
        self.assertEqual(len({answer["request"] for _, _, answer in answers}), connections * each)
        results = self.wait_for_results(connections * each)
        self.assertEqual(len(results), connections * each)

    def test_one_that_waits_holds_up_no_other(self):
        """A node that swallows one request: it alone waits for the deadline, however many come behind it."""
        server, _ = self.start("--deadline", 1000 * PATIENCE, nodes=(0, 1, 2))
        node = HandNode(server, self.made, 3).join()
        self.addCleanup(node.close)
        node.receive(plain_node.BEGIN)
        answers = []
        held = threading.Thread(target=lambda: answers.append(post(server, self.made.images[0])), daemon=True)
        held.start()
        swallowed = node.receive(plain_node.REQUEST)
        node.keep_answering(9)
        connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)
        self.addCleanup(connection.close)
        for turn in range(1100):
            connection.request("POST", "/v1/classify", self.made.images[1], {"Content-Type": RAW})
            answer = connection.getresponse()
            body = json.loads(answer.read())
            self.assertEqual(answer.status, 200, f"request {turn}: {body}")
        self.assertEqual(body["bits"][3], "1001")
        self.assertEqual(answers, [])
        node.answer(swallowed, 6)
        held.join(PATIENCE)
        self.assertEqual([(status, answer["bits"][3]) for status, answer in answers], [(200, "0110")])


class Trouble(serving.ServingCase):
    def test_a_node_is_killed_and_comes_back(self):
        server, nodes = self.start()
        for k in (2, 0):
            nodes[k].kill()
            self.wait_ready(server, PORTIONS - 1)
            self.assert_degraded(self.classify(server, 3), 3, {k})
            self.assertEqual(call(server, "GET", "/readyz")[0], 503)
            nodes[k] = self.node(server, k)
            self.wait_ready(server, PORTIONS)
            self.assert_serves(server, 3)
            self.assertEqual(call(server, "GET", "/readyz")[0], 200)

    def test_nobody_waits_for_a_node_that_has_gone(self):
        """A node that goes with a request in its hands: the others' portions are answered, long before the deadline."""
        server, nodes = self.start("--deadline", 10000 * PATIENCE, nodes=(0, 1, 2))
        holder = HandNode(server, self.made, 3).join()
        self.addCleanup(holder.close)
        holder.receive(plain_node.BEGIN)
        answers = []
        asker = threading.Thread(target=lambda: answers.append(post(server, self.made.images[3])), daemon=True)
        asker.start()
        holder.receive(plain_node.REQUEST)
        self.assertEqual(answers, [])
        holder.close()
        asker.join(PATIENCE)
        self.assertEqual([status for status, _ in answers], [200])
        self.assert_degraded(answers[0][1], 3, {3})

    def test_killed_under_load(self):
        server, nodes = self.start("--deadline", 1000)
        going, failures, answers = threading.Event(), [], []
        going.set()

        def work(index):
            try:
                while going.is_set():
                    answers.append((index, *post(server, self.made.images[index])))
            except Exception as failure:
                failures.append(failure)
        workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for worker in workers:
            worker.start()
        try:
            for k in (1, 3, 1):
                for wanted in (False, True):
                    if wanted:
                        nodes[k].kill()
                        self.wait_ready(server, PORTIONS - 1)
                    seen = len(answers)
                    wait_until(lambda: any(a[2].get("degraded") == wanted for a in answers[seen:]),
                               f"answers with degraded {wanted}", explain=self.fleet.explain)
                nodes[k] = self.node(server, k)
                self.wait_ready(server, PORTIONS)
        finally:
            going.clear()
            for worker in workers:
                worker.join()
        self.assertEqual(failures, [])
        for index, status, answer in answers:
            self.assertEqual(status, 200, answer)
            if answer["degraded"]:
                self.assert_degraded(answer, index, set(answer["missing"]))
            else:
                self.assert_same(answer, index)
        self.assertEqual(len({answer["request"] for _, _, answer in answers}), len(answers))
        self.assert_serves(server)

    def test_a_frozen_node_is_given_up_and_comes_back(self):
        server, nodes = self.start("--deadline", 1000, "--heartbeat", 1000)
        nodes[1].freeze()
        answer = self.classify(server, 4)
        self.assert_degraded(answer, 4, {1})
        self.wait_ready(server, PORTIONS - 1)  # its heartbeats are missed
        self.assert_degraded(self.classify(server, 4), 4, {1})
        nodes[1].thaw()
        self.wait_ready(server, PORTIONS)
        self.assert_serves(server, 4)
        for k in (0, 2, 3):
            self.assertEqual(len(server.events("node_ready", portion=k)), 1)

    def test_no_node_at_all(self):
        server = self.serve()
        for _ in range(2):
            status, answer, headers = call(server, "POST", "/v1/classify", self.made.images[0], {"Content-Type": RAW})
            self.assertEqual((status, answer["error"]["code"]), (503, "no_nodes"))
            self.assertEqual(headers["Retry-After"], "1")
            self.assertEqual(call(server, "GET", "/readyz")[:2],
                             (503, {"ready": False, "code": "nodes_missing", "nodes_ready": 0, "nodes": PORTIONS, "mode": "serve"}))
            self.assertEqual(call(server, "GET", "/healthz")[0], 200)
            nodes = [self.node(server, k) for k in range(PORTIONS)]
            self.wait_ready(server, PORTIONS)
            for node in nodes:
                node.kill()
            self.wait_ready(server, 0)
        self.assertEqual(read_results(self.results_path), [])

    def test_all_frozen(self):
        server, nodes = self.start("--deadline", 200)
        for node in nodes.values():
            node.freeze()
        status, answer = post(server, self.made.images[0])
        self.assertEqual((status, answer["error"]["code"]), (504, "timeout"))
        for node in nodes.values():
            node.thaw()
        self.wait_ready(server, PORTIONS)
        wait_until(lambda: not post(server, self.made.images[0])[1].get("degraded", True), "whole answers again")
        self.assert_serves(server)

    def test_the_server_is_killed_and_started_again(self):
        server, nodes = self.start()
        self.assert_serves(server, 8)
        for _ in range(2):
            server.kill()
            server = self.serve(port=server.port)
            self.wait_ready(server, PORTIONS)
            self.assert_serves(server, 8)
        for node in nodes.values():
            self.assertTrue(node.is_running())

    def test_pushing_goes_on_after_the_server_was_killed(self):
        server = self.serve("--deadline", 1000 * PATIENCE)
        nodes = self.streaming(server)
        self.feed(nodes, 0)
        self.wait_for_results(1)
        server.kill()
        server = self.serve("--deadline", 1000 * PATIENCE, port=server.port)
        self.wait_ready(server, PORTIONS)
        self.feed(nodes, 1)
        self.assertEqual([r["id"] for r in self.wait_for_results(2)], [0, 1])
        self.assert_same(read_results(self.results_path)[1], 1)

    def test_the_server_stands_still_for_a_while(self):
        server, nodes = self.start("--heartbeat", 500)
        server.freeze()
        for node in nodes.values():
            node.wait_event("server_away", message="no sign of life")
        server.thaw()
        server.wait_event("node_left", PORTIONS)
        self.wait_ready(server, PORTIONS)
        self.assert_serves(server)

    def test_a_node_without_the_right_checkpoint(self):
        server, _ = self.start(nodes=(0, 1, 3))
        def damage(path):
            whole = bytearray(path.read_bytes())
            whole[-1] ^= 1
            path.write_bytes(whole)

        def other_portion(path):
            shutil.copy(f.parts_of(self.made.state(1), self.made.run, 1)[0], path)

        def truncate(path):
            path.write_bytes(path.read_bytes()[:-8])
        for case, change in (("missing", pathlib.Path.unlink), ("damaged", damage), ("another", other_portion),
                             ("truncated", truncate)):
            with self.subTest(case):
                state = self.folder / case
                shutil.copytree(self.made.state(2), state)
                path = f.parts_of(state, self.made.run, 2)[0]
                change(path)
                node = self.node(server, 2, state=state, name=case)
                node.wait(7)
                said = [line for line in node.said.splitlines() if line.startswith("encoder_node: ")]
                self.assertEqual(len(said), 1, node.said)
                self.assertIn(path.name, said[0])
                server.wait_event("node_refuses", portion=2, message=rf"\({case}\) refuses: .*{path.name}")
        self.wait_ready(server, 3)
        self.assert_degraded(self.classify(server, 0), 0, {2})
        self.node(server, 2)
        self.wait_ready(server, PORTIONS)
        self.assert_serves(server)

    def test_a_run_that_cannot_be_served(self):
        def alone(run, code, pattern):
            server = self.fleet.run("serve", f.binary("decoder_server"), "serve", run, "--listen", "127.0.0.1:0",
                                    code=code)
            self.assertRegex(server.said, rf"^decoder_server: .*{pattern}[^\n]*\n$")
        alone(self.folder / "nothing", 4, "nothing/experiment.yaml")
        run = self.folder / "run"
        shutil.copytree(self.made.run, run)
        head = next((run / "head").iterdir())
        head.write_bytes(head.read_bytes()[:-4])
        alone(run, 3, head.name)
        head.unlink()
        alone(run, 4, head.name)
        (run / "manifest.json").unlink()
        alone(run, 4, "no checkpoint is committed yet")

    def test_options_that_are_no_numbers(self):
        for option, value in (("--table-memory", "-1"), ("--cache-memory", "much"), ("--max-batch-delay", "1000001")):
            refused = self.fleet.run("refused", f.binary("decoder_server"), "serve", self.made.run, "--listen",
                                     "127.0.0.1:0", option, value, code=2)
            self.assertRegex(refused.said, rf"(?m)^decoder_server.*{option}")

    def test_a_port_that_is_taken(self):
        server = self.serve()
        for listen, port in ((server.port, 0), (0, server.http)):
            other = self.fleet.run("other", f.binary("decoder_server"), "serve", self.made.run, "--listen",
                                   f"127.0.0.1:{listen}", "--http", f"127.0.0.1:{port}", "--results", "none", code=6)
            self.assertRegex(other.said, r"(?mi)^decoder_server: cannot listen .*address (already )?in use\n*\Z")


class Turns(serving.ServingCase):
    """What takes long leaves nothing behind."""

    def hand_nodes(self, server):
        hands = [HandNode(server, self.made, k).join() for k in range(PORTIONS)]
        for hand in hands:
            self.addCleanup(hand.close)
            hand.receive(plain_node.BEGIN)
        return hands

    def ask(self, server, index):
        """Its answer comes to the list."""
        answers = []
        asker = threading.Thread(target=lambda: answers.append(post(server, self.made.images[index])))
        asker.start()
        self.addCleanup(asker.join)
        return asker, answers

    def test_answers_that_were_not_read_in_time_are_in_time(self):
        """The results' pipe is full: the engine waits for its reader, and no node is read from."""
        os.mkfifo(self.results_path)
        pipe = os.open(self.results_path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, pipe)
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        server = self.serve("--deadline", 2500, "--heartbeat", 60000)
        hands = self.hand_nodes(server)

        asked = []
        for index in range(3):  # the first one's line is in the pipe, the second one waits, the third one's line does
            asked.append(self.ask(server, index))
            requests = [hand.receive(plain_node.REQUEST) for hand in hands]
            for hand, request in zip(hands[:3 if index == 1 else PORTIONS], requests):
                hand.answer(request, 7)
            if index == 0:
                asked[0][0].join()
            elif index == 1:
                began, late = time.monotonic(), requests[3]
        time.sleep(0.3)
        hands[3].answer(late, 7)
        time.sleep(max(0, began + 2.7 - time.monotonic()))
        self.assertEqual(call(server, "GET", "/healthz")[0], 200)
        self.assertEqual([len(answers) for _, answers in asked], [1, 0, 0])
        while any(asker.is_alive() for asker, _ in asked):
            select.select([pipe], [], [], 0.05)
            try:
                os.read(pipe, 65536)
            except BlockingIOError:
                pass
        for _, answers in asked:
            self.assertEqual((answers[0][0], answers[0][1]["degraded"]), (200, False))


class Signals(serving.ServingCase):
    def test_a_server_with_a_request_under_way(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number.name):
                server, nodes = self.start("--deadline", 1000 * PATIENCE, "--drain-timeout", 200, nodes=(0, 1, 2))
                slow = HandNode(server, self.made, 3).join()
                self.addCleanup(slow.close)
                slow.receive(plain_node.BEGIN)
                answers = []
                asker = threading.Thread(target=lambda: answers.append(post(server, self.made.images[0])))
                asker.start()
                slow.receive(plain_node.REQUEST)
                self.assert_ends_soon(server, number, 0)
                asker.join()
                self.assertEqual([status for status, _ in answers], [200])
                self.assert_degraded(answers[0][1], 0, {3})
                for node in nodes.values():
                    node.wait_event("server_away")
                    self.assert_ends_soon(node, number, 0)

    def test_nothing_written_is_lost(self):
        server, _ = self.start(node_options=("--stream", "test"))
        self.wait_for_results(1)
        self.assert_ends_soon(server, signal.SIGTERM, 0)
        text = self.results_path.read_text()
        self.assertTrue(text.endswith("}\n"))
        self.assertEqual(len(read_results(self.results_path)), text.count("\n"))

    def test_nodes(self):
        server, nodes = self.start()
        for k, number in enumerate((signal.SIGTERM, signal.SIGINT)):
            self.assert_ends_soon(nodes[k], number, 0)
            self.wait_ready(server, PORTIONS - 1 - k)
        self.assert_degraded(self.classify(server, 2), 2, {0, 1})


class ClassifyErrors(serving.ServingCase):
    def fails(self, url, code, pattern, *images):
        images = images or [f"{self.made.source}/t10k-images-idx3-ubyte:0"]
        asked = self.fleet.run("classify", f.binary("fewbit"), "classify", "--server", url, *images, code=code)
        self.assertRegex(asked.said, rf"^fewbit: .*{pattern}[^\n]*\n\Z")
        self.assertEqual(asked.printed, "")
        return asked.said

    def test_no_server(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        self.fails(f"http://127.0.0.1:{port}", 6, f"http://127.0.0.1:{port}/v1/classify: ")

    def test_a_url_that_is_none(self):
        for url in ("http://", "nonsense://127.0.0.1:1", "file:///etc/passwd", "http://127.0.0.1:99999"):
            with self.subTest(url):
                self.fails(url, 6, "v1/classify: ")
        self.fails("http://127.0.0.1:1/" + "x" * 2000, 2, "--server is too long")

    def test_files_that_are_wrong(self):
        server, _ = self.start()
        url = f"http://127.0.0.1:{server.http}"
        images = self.made.source / "t10k-images-idx3-ubyte"
        small = self.folder / "small.png"
        small.write_bytes(f.png(self.made.images[0], 27, 28))
        text = self.folder / "text.png"
        text.write_text("no picture")
        huge = self.folder / "huge.png"
        huge.write_bytes(bytes((1 << 20) + 1))
        for image, code, pattern in (
                (self.folder / "missing.png", 4, "missing.png"), (f"{self.folder}/missing:0", 4, "missing"),
                (text, 3, r"text.png: the body is no PNG: .*\(status 400\)"),
                (small, 3, r"the image has 27 x 28 pixels, this model takes 28 x 28 \(status 400\)"),
                (huge, 3, "huge.png"), (f"{images}:{TEST}", 3, f"has no image {TEST}, only 0 to {TEST - 1}"),
                (f"{images}:x", 2, "the index"), (f"{images}:-1", 2, "the index"), (f"{text}:0", 3, "text.png"),
                (self.folder, 3, "")):
            with self.subTest(str(image)):
                self.fails(url, code, pattern, image)
        self.assert_serves(server)

    def test_a_server_without_nodes(self):
        server = self.serve()
        self.fails(f"http://127.0.0.1:{server.http}", 7, r"no node is ready \(status 503\)")

    def test_a_server_that_talks_nonsense(self):
        replies = {
            "/html": (200, b"<html>hello</html>"), "/empty": (200, b""), "/list": (200, b"[1, 2]"),
            "/half": (200, b'{"class": 3, '), "/object": (200, b"{}"), "/types": (200, b'{"class": "x", "label": 7}'),
            "/error": (500, b"oops"), "/odd": (500, b'{"error": 5}'),
            "/steers": (500, b'{"error": {"message": "a\\u001b[2J\\u009b31m\\u202e\xc2\x9b."}}'),
            "/long": (200, b'{"x": "' + b"y" * (9 << 20) + b'"}')}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                status, body = replies[self.path.removesuffix("/v1/classify")]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.addCleanup(server.server_close)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        for path in replies:
            with self.subTest(path):
                said = self.fails(f"http://127.0.0.1:{server.server_port}{path}", 6 if path == "/long" else 7, "")
                self.assertNotRegex(said, "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
                self.assertTrue(path != "/steers" or "a [2J?31m??." in said, said)

    def test_a_server_that_hangs(self):
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            self.fails(url, 6, "[Tt]ime", "--timeout", "200", f"{self.made.source}/t10k-images-idx3-ubyte:0")


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""Serving another model without a break: real daemons change under live requests and pushed streams, and every answer is
what one model gives, never a mixture. What cannot be served leaves the model as it is. And a stop that loses nothing."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest

from lib import fleet as f, plain_node, serving
from lib.certificates import Authority
from lib.fleet import PATIENCE, PORTIONS, read_json, wait_until
from lib.serving import RAW, TEST, HandNode, call, metrics, post, read_results

runs = trusted = None


class Runs(serving.Images):
    """Three models for the same nodes: `early` and `late` of one run, `other` of another run."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-reload-"))
        unittest.addModuleCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.source = f.make_set(self.folder / "source", serving.TRAIN, TEST)
        self.split = f.split_set(self.source, self.folder / "split")
        self.images = [f.image(self.source, i) for i in range(TEST)]
        self.states = self.folder / "states"
        fleet = f.Fleet()
        try:
            self.train(fleet)
            self.references = {name: self.reference(fleet, name) for name in ("early", "late", "other")}
        finally:
            fleet.close()

    def path(self, name):
        return self.folder / name

    def train(self, fleet):
        run, options = self.path("late"), ("--local", "--data", self.split, "--labels", self.split / "server")
        training = fleet.start("training", f.binary("decoder_server"), "train",
                               f.write_experiment(self.folder / "one.yaml", training__epochs=6), *options, "--out", run)
        wait_until(lambda: read_json(run / "manifest.json"), "a first commit", explain=fleet.explain)
        training.freeze()  # an earlier commit of the same run, whole as a crash would leave it
        shutil.copytree(run, self.path("early"))
        training.thaw()
        training.wait(0)
        fleet.train_local(f.write_experiment(self.folder / "two.yaml", training__seed=2), self.split, self.path("other"))
        for name in ("early", "late", "other"):
            shutil.copytree(self.path(name) / "nodes", self.states, dirs_exist_ok=True)

    def reference(self, fleet, name):
        """What undisturbed nodes give: {id: result}."""
        path = self.folder / f"{name}.jsonl"
        server = fleet.serve(self.path(name), "--results", path, "--deadline", 1000 * PATIENCE)
        for k in range(PORTIONS):
            fleet.node(k, server, self.split, self.states / f"node-{k}", "--stream", "test")
        wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= TEST, f"{name}'s results",
                   explain=fleet.explain)
        server.signal(signal.SIGTERM)
        server.wait(0)
        for program in fleet.programs:
            program.close()
        return {result["id"]: result for result in read_results(path)}

    def step(self, name):
        return read_json(self.path(name) / "manifest.json")["last"]["step"]

    def which(self, answer, index):
        """The names of the models that give this answer for that image."""
        def fits(wanted):
            return ((answer["bits"], answer["class"]) == (wanted["bits"], wanted["class"]) and
                    abs(answer["probability"] - wanted["probability"]) < 1e-4)
        return {name for name, results in self.references.items() if fits(results[index])}


def setUpModule():
    global runs, trusted
    runs = serving.ServingCase.made = Runs()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-certificates-"))
    unittest.addModuleCleanup(shutil.rmtree, folder, ignore_errors=True)
    trusted = Authority(folder / "trusted")


class ReloadNode(HandNode):
    """A node by hand that knows of other models."""

    def prepare(self):
        return self.receive(plain_node.PREPARE)

    def say_prepared(self, prepare, position=0, error=b""):
        self.send(plain_node.PREPARED, {1: prepare[1], 2: position, 3: error})

    def switch(self):
        fields = self.receive(plain_node.SWITCH)
        self.model = fields[1]
        return fields.get(2, 0)


class ReloadCase(serving.ServingCase):
    """self.served is what the server was given as its run: a link to one of the models."""

    def setUp(self):
        super().setUp()
        self.served = self.folder / "served"
        self.point_to("early")

    def point_to(self, name):
        path = runs.path(name) if isinstance(name, str) else name
        link = self.folder / "link"
        link.symlink_to(path)
        os.replace(link, self.served)

    def serve(self, *options, **how):
        return self.fleet.serve(self.served, "--results", self.results_path, *options, **how)

    def node(self, server, k, *options, state=None, **how):
        return self.fleet.node(k, server, runs.split, state or runs.states / f"node-{k}", *options, **how)

    def reload(self, server, name):
        """Changes to a model, and waits until it is in use."""
        before = len(server.events("model_changed"))
        self.point_to(name)
        server.signal(signal.SIGHUP)
        server.wait_event("model_changed", before + 1)

    def refuse(self, server, name, pattern):
        before = len(server.events("model_kept"))
        self.point_to(name)
        server.signal(signal.SIGHUP)
        self.assertRegex(server.wait_event("model_kept", before + 1)["message"], f"^the model stays as it is: .*{pattern}")

    def assert_model(self, server, name, images=range(12)):
        """At least one of these images tells the model from the others."""
        told = [runs.which(self.classify(server, i), i) for i in images]
        self.assertTrue(all(name in names for names in told), told)
        self.assertIn({name}, told)


    def with_hand(self, *options):
        """A server with three nodes, and one by hand for portion 3."""
        server, nodes = self.start(*options, nodes=(0, 1, 2))
        hand = ReloadNode(server, runs, 3).join()
        self.addCleanup(hand.close)
        self.wait_ready(server, PORTIONS)
        hand.receive(plain_node.BEGIN)
        return server, nodes, hand

    def ask(self, server, answers, index=0):
        def work():
            try:
                answers.append(post(server, runs.images[index]))
            except OSError as failure:  # the server has been killed
                answers.append(failure)
        asker = threading.Thread(target=work, daemon=True)
        asker.start()
        return asker

    def begin(self, server, hand, name="late"):
        self.point_to(name)
        server.signal(signal.SIGHUP)
        return hand.prepare()


class Changing(ReloadCase):
    def test_a_newer_commit_and_another_run(self):
        server, nodes = self.start()
        self.assert_model(server, "early")
        for name in ("late", "other", "early", "late"):
            self.reload(server, name)
            self.assert_model(server, name)
            self.assertEqual(call(server, "GET", "/readyz")[0], 200)
        server.wait_event("model_changed", 2, message=rf"^serving step {runs.step('late')} of run")
        server.wait_event("model_retired", 4)
        server.signal(signal.SIGHUP)
        server.wait_event("model_unchanged")
        nodes[1].kill()  # who joins later is told the model in use
        self.wait_ready(server, PORTIONS - 1)
        self.node(server, 1)
        self.wait_ready(server, PORTIONS)
        self.assert_model(server, "late")

    def test_over_http(self):
        server, _ = self.start()
        for name in ("other", "late"):
            self.point_to(name)
            status, model, _ = call(server, "POST", "/v1/model/reload", b"")
            self.assertEqual((status, model["step"]), (200, runs.step(name)), model)
            self.assertEqual(model, call(server, "GET", "/v1/model")[1])
            self.assert_model(server, name)
        self.point_to(self.folder / "nothing")
        status, refused, _ = call(server, "POST", "/v1/model/reload", b"")
        self.assertEqual((status, refused["error"]["code"]), (409, "not_reloaded"))
        self.assertIn("experiment.yaml", refused["error"]["message"])
        self.assertEqual(model, call(server, "GET", "/v1/model")[1])
        self.assert_model(server, "late")
        self.point_to("late")
        self.assertEqual(call(server, "POST", "/v1/model/reload", b"")[0], 200)
        for outcome, count in (("changed", 2), ("unchanged", 1), ("failed", 1)):
            self.assertEqual(serving.metric(server, f'fewbit_model_reloads_total{{outcome="{outcome}"}}'), count)

    def test_without_nodes(self):
        server = self.serve()
        self.reload(server, "other")
        for k in range(PORTIONS):
            self.node(server, k)
        self.wait_ready(server, PORTIONS)
        self.assert_model(server, "other")

    def test_a_load_in_place_of_nodes(self):
        """`fewbit loadtest --codes` has codes of one model: that in use when it comes, and no other one."""
        server = self.serve("--deadline", 1000 * PATIENCE)
        self.reload(server, "other")
        load = self.fleet.start("bench", f.binary("fewbit"), "loadtest", "--server",
                                f"http://127.0.0.1:{server.http}", "--codes", f"127.0.0.1:{server.port}", "--rate", 800,
                                "--seconds", 3, "--json")
        self.wait_ready(server, PORTIONS)
        self.refuse(server, "late", "random codes of one model")
        load.wait(0)
        report = json.loads(load.printed)
        self.assertEqual(report["probes_failed"], 0)
        self.assertGreater(report["sent"], 0)
        self.assertEqual(serving.metric(server, 'fewbit_samples_complete_total{source="stream"}'), report["sent"])

    def test_long_and_short_ways_to_an_answer(self):
        """Neither the table nor the cache keeps an answer of the model before."""
        for options in (("--table-memory", 0), ("--table-memory", 0, "--cache-memory", 0)):
            with self.subTest(options):
                self.point_to("early")
                server, nodes = self.start(*options)
                self.assert_model(server, "early")
                for name in ("other", "early"):
                    self.reload(server, name)
                    self.assert_model(server, name)
                for program in (server, *nodes.values()):
                    program.kill()


class Load(ReloadCase):
    RELOADS = ("late", "other", "early", "other", "late")

    def ask_on(self, server, index, going, answers, failures):
        """One client that asks without a break."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)
            while going.is_set():
                index = (index + 7) % TEST
                connection.request("POST", "/v1/classify", runs.images[index], {"Content-Type": RAW})
                answer = connection.getresponse()
                answers.append((index, answer.status, json.loads(answer.read())))
            connection.close()
        except Exception as failure:
            failures.append(failure)

    def feed_on(self, node, k, going, sent):
        portions, at = [runs.images[i][k * 196:(k + 1) * 196] for i in range(TEST)], 0
        while going.is_set():
            for _ in range(150):  # enough for a frame that is coded
                node.popen.stdin.write(portions[at % TEST])
                at += 1
            node.popen.stdin.flush()
            sent[k] = at
            wait_until(lambda: at - min(sent) < 500 or not going.is_set(), "the others")

    def assert_in_turn(self, told, order):
        """Each entry of `told` names the models that it fits; one after another they follow `order`."""
        at, seen = 0, {0}
        for place, names in enumerate(told):
            self.assertTrue(names, f"entry {place} is of no model")
            while order[at] not in names:
                at += 1
                self.assertLess(at, len(order), f"entry {place} of {names} is out of turn")
            seen.add(at)
        self.assertEqual(seen, set(range(len(order))), "a model never answered")

    def check(self, server, nodes):
        going, answers, failures, sent = threading.Event(), [[] for _ in range(4)], [], [0] * PORTIONS
        going.set()
        work = [threading.Thread(target=self.ask_on, args=(server, i, going, answers[i], failures), daemon=True)
                for i in range(len(answers))]
        work += [threading.Thread(target=self.feed_on, args=(nodes[k], k, going, sent), daemon=True)
                 for k in range(PORTIONS)]
        for one in work:
            one.start()

        def some_more():
            live, pushed = [len(a) for a in answers], sent[0]
            wait_until(lambda: all(len(a) > n + 20 for a, n in zip(answers, live)) and sent[0] > pushed + 300 or failures,
                       "more answers", explain=self.fleet.explain)
        some_more()
        for name in self.RELOADS:
            self.reload(server, name)
            some_more()
        going.clear()
        for one in work:
            one.join(PATIENCE)
        self.assertEqual(failures, [])
        order = ("early", *self.RELOADS)
        for of_one in answers:
            self.assertEqual({status for _, status, _ in of_one}, {200})
            self.assertEqual([a["missing"] for _, _, a in of_one if a["degraded"]], [])
            self.assert_in_turn([runs.which(answer, index) for index, _, answer in of_one], order)
        numbers = [answer["request"] for of_one in answers for _, _, answer in of_one]
        self.assertEqual(len(set(numbers)), len(numbers))
        count = min(sent)
        live = len(numbers)
        results = self.wait_for_results(count + live)
        pushed = {}
        for r in results:
            if r["from"] == "stream":
                self.assertNotIn(r["id"], pushed, "answered twice")
                pushed[r["id"]] = r
        self.assertEqual([i for i in range(count) if i not in pushed], [])
        self.assertEqual([i for i in range(count) if pushed[i]["degraded"]], [])
        self.assert_in_turn([runs.which(pushed[i], i % TEST) for i in range(count)], order)
        self.assertEqual(len(results) - len(pushed), live)
        self.assertEqual(server.events("node_left"), [])

    def test_nothing_is_lost_or_mixed(self):
        server = self.serve("--deadline", 1000 * PATIENCE)
        nodes = [self.node(server, k, "--stream", "stdin", *(("--coding", "range") if k % 2 else ()),
                           stdin=subprocess.PIPE) for k in range(PORTIONS)]
        self.wait_ready(server, PORTIONS)
        self.check(server, nodes)
        coded = [metrics(server).get(f'fewbit_node_compressed_frames_total{{portion="{k}",kind="good"}}', 0) > 0
                 for k in range(PORTIONS)]
        self.assertEqual(coded, [False, True, False, True])

    def test_a_node_far_ahead(self):
        """One that is slowed, because the server has no room for more of what it says, is heard all the same."""
        count = 130 * TEST
        server = self.serve("--deadline", 1000 * PATIENCE)
        nodes = self.streaming(server)
        self.wait_ready(server, PORTIONS)
        portions = self.made.portions()

        def feed(k):
            for _ in range(count // TEST):
                nodes[k].popen.stdin.write(portions[k])
            nodes[k].popen.stdin.flush()
        feeders = [threading.Thread(target=feed, args=(k,), daemon=True) for k in range(PORTIONS)]
        feeders[0].start()
        feeders[0].join(PATIENCE)
        self.reload(server, "late")
        for feeder in feeders[1:]:
            feeder.start()
        results = self.wait_for_results(count)
        self.assertEqual(len({r["id"] for r in results}), count)
        self.assertEqual([r["id"] for r in results if r["degraded"]], [])
        in_the_pipe = 65536 // 196 + 1  # samples that node 0 may not have read yet at the reload
        late = [r["id"] for r in results if "early" not in runs.which(r, r["id"] % TEST)]
        self.assertEqual([i for i in late if i < count - in_the_pipe], [])

    def test_over_tls(self):
        server = self.serve("--deadline", 1000 * PATIENCE, *trusted.server())
        nodes = [self.node(server, k, "--stream", "stdin", *trusted.node(k), stdin=subprocess.PIPE)
                 for k in range(PORTIONS)]
        self.wait_ready(server, PORTIONS)
        self.check(server, nodes)


class Trouble(ReloadCase):
    def test_what_cannot_be_served(self):
        server, _ = self.start()
        run = self.folder / "run"

        def copy(change):
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(runs.path("late"), run, ignore=shutil.ignore_patterns("nodes"))
            change(next((run / "head").glob(f"step-{runs.step('late')}.*")))
            return run

        def damage(head):
            whole = bytearray(head.read_bytes())
            whole[-1] ^= 1
            head.write_bytes(whole)
        self.refuse(server, copy(damage), "step-.*safetensors")
        self.refuse(server, copy(lambda head: head.write_bytes(head.read_bytes()[:-5])), "step-.*safetensors")
        self.refuse(server, copy(pathlib.Path.unlink), "step-.*safetensors")
        self.refuse(server, copy(lambda head: (run / "manifest.json").write_text("{")), "manifest.json")
        self.refuse(server, copy(lambda head: (run / "manifest.json").unlink()), "no checkpoint is committed")
        self.refuse(server, self.folder / "nothing", "experiment.yaml")
        fewer = self.folder / "fewer"
        self.fleet.train_local(f.write_experiment(self.folder / "fewer.yaml", encoder__bits=3, training__epochs=1),
                               runs.split, fewer)
        self.refuse(server, fewer, "portion 0 has 3 bits; it has 4 in what is served here")
        self.assert_model(server, "early")
        self.reload(server, "late")
        self.assert_model(server, "late")

    def test_a_node_without_the_checkpoint(self):
        server, nodes = self.start(nodes=(0, 1, 2))
        state = self.folder / "state"
        shutil.copytree(runs.path("early") / "nodes" / "node-3", state)
        poor = self.node(server, 3, state=state)
        self.wait_ready(server, PORTIONS)
        self.refuse(server, "late", rf"portion 3 cannot change: .*step-{runs.step('late')}.safetensors")
        self.assert_model(server, "early")
        shutil.copytree(runs.states / "node-3", state, dirs_exist_ok=True)
        damaged = next(state.rglob(f"step-{runs.step('late')}.safetensors"))
        good = damaged.read_bytes()
        damaged.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        self.refuse(server, "late", rf"portion 3 cannot change: .*{damaged.name}")
        self.assert_model(server, "early")
        damaged.write_bytes(good)
        self.reload(server, "late")
        self.assert_model(server, "late")
        self.assertTrue(poor.is_running())
        self.assertEqual(server.events("node_left"), [])

    def test_nodes_that_die_between(self):
        server, nodes, hand = self.with_hand()
        prepare = self.begin(server, hand)
        self.assert_degraded_early(server, hand)
        nodes[0].kill()
        server.wait_event("node_left", portion=0)
        late = self.node(server, 0)  # joins while the change waits, and is prepared like the others
        server.wait_event("node_ready", 2, portion=0)
        nodes[1].kill()
        server.wait_event("node_left", portion=1)
        hand.say_prepared(prepare)
        server.wait_event("model_changed")
        self.assertEqual(hand.switch(), 0)
        self.node(server, 1)
        server.wait_event("node_ready", 2, portion=1)
        hand.close()
        server.wait_event("node_left", portion=3)
        self.node(server, 3)
        self.wait_ready(server, PORTIONS)
        self.assert_model(server, "late")
        self.assertTrue(late.is_running())

    def assert_degraded_early(self, server, hand):
        """While one node is not prepared, requests are answered by the model in use."""
        answers = []
        asker = self.ask(server, answers, 3)
        hand.answer(hand.receive(plain_node.REQUEST), 5)
        asker.join(PATIENCE)
        status, answer = answers[0]
        self.assertEqual((status, answer["bits"]), (200, [*runs.references["early"][3]["bits"][:3], "1010"]))

    def test_the_last_to_be_awaited_dies(self):
        server, _, hand = self.with_hand()
        self.begin(server, hand)
        hand.close()
        server.wait_event("model_changed")
        self.node(server, 3)
        self.wait_ready(server, PORTIONS)
        self.assert_model(server, "late")

    def test_a_request_belongs_to_the_model_it_came_under(self):
        """It is answered by the old model behind the switch, and codes of the new one do not count for it."""
        server, _, hand = self.with_hand("--deadline", 1000 * PATIENCE)
        old = hand.model
        prepare = self.begin(server, hand)
        before, after = [], []
        first = self.ask(server, before, 3)
        held = hand.receive(plain_node.REQUEST)
        hand.say_prepared(prepare)
        hand.switch()
        server.wait_event("model_changed")
        second = self.ask(server, after, 3)
        request = hand.receive(plain_node.REQUEST)
        hand.answer(held, 15)  # of the new model: not for this request
        hand.answer(request, 6)
        second.join(PATIENCE)
        self.assertEqual(after[0][1]["bits"], [*runs.references["late"][3]["bits"][:3], "0110"])
        self.assertEqual(before, [])
        self.assertEqual(server.events("model_retired"), [])
        hand.model, new = old, hand.model
        hand.answer(held, 9)
        first.join(PATIENCE)
        self.assertEqual(before[0][1]["bits"], [*runs.references["early"][3]["bits"][:3], "1001"])
        server.wait_event("model_retired")
        hand.model = new
        self.assertEqual(hand.switch(), 0)
        hand.model = old  # too late, but no reason to be cut off
        hand.answer(held, 9)
        hand.model = new
        self.assert_still_there(server, hand)

    def assert_still_there(self, server, hand):
        answers = []
        asker = self.ask(server, answers, 4)
        hand.answer(hand.receive(plain_node.REQUEST), 1)
        asker.join(PATIENCE)
        self.assertEqual(answers[0][1]["bits"][3], "1000")

    def test_one_reload_after_another(self):
        server, _, hand = self.with_hand()
        prepare = self.begin(server, hand, "late")
        self.point_to("other")
        for _ in range(3):
            server.signal(signal.SIGHUP)
        self.assert_degraded_early(server, hand)
        hand.say_prepared(prepare)
        hand.switch()
        self.assertEqual(hand.switch(), 0)  # the old model is over
        prepare = hand.prepare()  # what came in between is done once, with what is there now
        hand.say_prepared(prepare)
        hand.switch()
        server.wait_event("model_changed", 2)
        hand.close()
        server.wait_event("node_left", portion=3)
        self.node(server, 3)
        self.wait_ready(server, PORTIONS)
        self.assert_model(server, "other")
        self.assertEqual(len(server.events("model_changed")), 2)

    def test_a_refusal_by_hand(self):
        server, _, hand = self.with_hand()
        old = hand.model
        prepare = self.begin(server, hand)
        hand.say_prepared(prepare, error=b"out of paper")
        server.wait_event("model_kept", message="portion 3 cannot change: out of paper")
        self.assertEqual((hand.switch(), hand.model), (0, old))
        self.assert_degraded_early(server, hand)
        hand.say_prepared(prepare)  # nobody asked
        self.assertEqual(hand.refusal()[0], 6)


class Stopping(ReloadCase):
    def test_what_is_under_way_is_finished(self):
        server, nodes, hand = self.with_hand("--deadline", 1000 * PATIENCE, "--drain-timeout", 1000 * PATIENCE)
        answers = []
        asker = self.ask(server, answers, 3)
        held = hand.receive(plain_node.REQUEST)
        server.signal(signal.SIGTERM)
        wait_until(lambda: call(server, "GET", "/readyz")[0] == 503, "a server that is not ready")
        status, refused = post(server, runs.images[0])
        self.assertEqual((status, refused["error"]["code"]), (503, "stopping"))
        with self.assertRaises(OSError):
            ReloadNode(server, runs, 2)
        self.assertEqual(answers, [])
        hand.answer(held, 9)
        asker.join(PATIENCE)
        self.assertEqual(answers[0][0], 200)
        self.assertEqual(answers[0][1]["bits"], [*runs.references["early"][3]["bits"][:3], "1001"])
        self.assertEqual(hand.refusal(), (7, "the server is stopping"))
        server.wait(0)
        self.assertEqual(len(read_results(self.results_path)), 1)
        for node in nodes.values():
            node.wait_event("server_away", message="the server is stopping")

    def test_a_second_signal(self):
        server, _, hand = self.with_hand("--deadline", 1000 * PATIENCE, "--drain-timeout", 1000 * PATIENCE)
        self.ask(server, [], 3)
        hand.receive(plain_node.REQUEST)
        server.signal(signal.SIGTERM)
        server.wait_event("stopping")
        server.signal(signal.SIGTERM)
        server.wait(130)

    def test_pushed_samples_that_wait(self):
        """They are answered with what is there, once."""
        server, _, hand = self.with_hand("--deadline", 1000 * PATIENCE, "--drain-timeout", 100)
        hand.send(plain_node.CODES, {1: hand.model, 3: 1, 4: bytes([0x53])})
        asker = self.ask(server, [])
        hand.answer(hand.receive(plain_node.REQUEST), 1)  # behind the codes on the same link
        asker.join(PATIENCE)
        self.assert_ends_soon(server, signal.SIGTERM, 0)
        pushed = {r["id"]: r for r in read_results(self.results_path) if r["from"] == "stream"}
        self.assertEqual({i: (r["bits"], r["degraded"]) for i, r in pushed.items()},
                         {0: ([None, None, None, "1100"], True), 1: ([None, None, None, "1010"], True)})
        self.assertEqual(len(read_results(self.results_path)), 3)

    def test_in_the_middle_of_a_reload(self):
        server, _, hand = self.with_hand()
        self.begin(server, hand)
        self.assert_ends_soon(server, signal.SIGTERM, 0)


if __name__ == "__main__":
    unittest.main()

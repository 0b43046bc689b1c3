#!/usr/bin/python3
"""Whose checkpoints are whose: a run is its experiment and its data, a training keeps to its own folder, nodes of several
portions may share one."""
import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import tempfile
import threading
import unittest

from lib import bad_server, fleet as f, plain_node
from lib.fleet import PORTIONS, events, read_json, wait_until, weights
from lib.serving import call, health, post

TRAIN, TEST = 300, 100
shared = None  # pathlib.Path of what all tests use


def setUpModule():
    global shared
    shared = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-runs-"))
    unittest.addModuleCleanup(shutil.rmtree, shared, ignore_errors=True)
    for number, name in enumerate(("one", "two")):
        f.split_set(f.make_set(shared / f"source-{name}", TRAIN, TEST, seed=7 + number), shared / name)


def contents(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in folder.rglob("*") if p.is_file()}


class RunsCase(f.FleetCase):
    def setUp(self):
        super().setUp()
        self.states = self.folder / "states"
        self.yaml = f.write_experiment(self.folder / "experiment.yaml", training__epochs=1)

    def train(self, data, out, *options, states=None, **how):
        """Over TCP, to the end."""
        server = self.fleet.train(self.yaml, shared / data, self.folder / out, *options, **how)
        nodes = self.fleet.nodes(server, shared / data, states or self.states, "--exit-when-done")
        for program in (server, *nodes):
            program.wait(0)
        return self.folder / out

    def identity(self, run):
        return read_json(run / "identity.json")["run"]


class OtherData(RunsCase):
    def test_a_run_is_its_data_too(self):
        """Trained on other data, then rolled forward and back, with nodes that come anew each time."""
        runs = {"one": self.train("one", "run-one")}
        before = contents(self.states)
        runs["two"] = self.train("two", "run-two")
        self.assertNotEqual(self.identity(runs["one"]), self.identity(runs["two"]))
        after = contents(self.states)
        self.assertEqual({name: after[name] for name in before}, before)
        served, link = self.folder / "served", self.folder / "link"

        def point_to(name):
            link.symlink_to(runs[name])
            os.replace(link, served)

        point_to("one")
        server = self.fleet.serve(served)
        nodes = [self.fleet.node(k, server, shared / "one", self.states / f"node-{k}") for k in range(PORTIONS)]

        def wait_ready(name):
            wait_until(lambda: health(server)["nodes_ready"] == PORTIONS, "all nodes", explain=self.fleet.explain)
            self.assertEqual(call(server, "GET", "/v1/model")[1]["run"], self.identity(runs[name]))
            status, answer = post(server, f.image(shared / "source-one", 3))
            self.assertEqual((status, answer["degraded"]), (200, False))
            return answer["bits"]

        bits = {"one": wait_ready("one")}
        for name in ("two", "one", "two", "one"):
            for node in nodes:
                node.signal(signal.SIGTERM)
                node.wait(0)
            wait_until(lambda: health(server)["nodes_ready"] == 0, "the nodes' leave", explain=self.fleet.explain)
            nodes = [self.fleet.node(k, server, shared / "one", self.states / f"node-{k}") for k in range(PORTIONS)]
            wait_until(lambda: health(server)["nodes_ready"] == PORTIONS, "all nodes", explain=self.fleet.explain)
            told = len(server.events("model_changed"))
            point_to(name)
            self.assertEqual(call(server, "POST", "/v1/model/reload")[0], 200, self.fleet.explain())
            server.wait_event("model_changed", told + 1)
            self.assertEqual(wait_ready(name), bits.setdefault(name, wait_ready(name)))
        for node in nodes:
            self.assertTrue(node.is_running())

    def test_one_identity_however_it_is_trained(self):
        runs = {"tcp": self.train("one", "tcp"), "local": self.folder / "local", "resumed": self.folder / "resumed"}
        self.fleet.train_local(self.yaml, shared / "one", runs["local"])
        local = self.fleet.start("local", f.binary("decoder_server"), "train", self.yaml, "--local", "--data", shared / "one",
                                 "--labels", shared / "one/server", "--out", runs["resumed"])
        wait_until(lambda: events(runs["resumed"], "training") or not local.is_running(), "a start")
        local.signal(signal.SIGTERM)
        local.wait()
        self.fleet.train_local(self.yaml, shared / "one", runs["resumed"], "--resume")
        self.assertEqual({f.identity_of(run) for run in runs.values()}, {self.identity(runs["tcp"])})
        for run in runs.values():
            self.assertEqual(read_json(run / "manifest.json")["run"], self.identity(run))
            self.assertEqual(read_json(run / "result.json")["run"], self.identity(run))
        wanted = weights(runs["local"])
        self.assertEqual(weights(runs["resumed"]), wanted)
        self.assertEqual(weights(runs["tcp"], self.states), wanted)

    def test_resuming_on_other_data_is_refused_by_name(self):
        run = self.folder / "run"
        self.fleet.train_local(self.yaml, shared / "one", run)
        before = contents(run)
        mixed = self.folder / "mixed"  # the same pixels, other labels
        shutil.copytree(shared / "one", mixed)
        path = mixed / "server/train-labels.npy"
        labels = bytearray(path.read_bytes())
        labels[-1] = (labels[-1] + 1) % 10
        path.write_bytes(labels)
        fewer = f.split_set(shared / "source-one", self.folder / "fewer", "--train", TRAIN - 1)
        for data, pattern in ((shared / "two", "portion 0 has digest [0-9a-f]{12}, not [0-9a-f]{12}"),
                              (mixed, "its labels have digest"), (fewer, f"on {TRAIN} training samples, not {TRAIN - 1}")):
            for how in (("--local", "--data", data), ("--listen", "127.0.0.1:0")):
                with self.subTest(pattern, how=how[0]):
                    program = self.fleet.run("resume", f.binary("decoder_server"), "train", self.yaml, *how, "--labels",
                                             data / "server", "--out", run, "--resume", code=3)
                    self.assertRegex(program.said, f"^decoder_server: .*/run: is a run on other data: {pattern}[^\n]*\n$")
        self.assertEqual(contents(run), before)

    def test_a_sweep_keeps_no_result_of_other_data(self):
        plan = self.folder / "sweep.yaml"
        plan.write_text("base: experiment.yaml\nvariants:\n  base: {}\n")
        to = self.folder / "sweep"
        self.fleet.run("sweep", f.binary("fewbit"), "sweep", plan, "--to", to, "--data", shared / "one")
        again = self.fleet.run("sweep", f.binary("fewbit"), "sweep", plan, "--to", to, "--data", shared / "two", code=3)
        self.assertRegex(again.said, "base: is a run on other data: portion 0 has digest")

    def test_a_run_of_before_gets_one_line(self):
        run = self.folder / "run"
        self.fleet.train_local(self.yaml, shared / "one", run)
        (run / "identity.json").unlink()
        line = r"^decoder_server: .*/run: has no identity.json: a run of an earlier version, to be trained again\n$"
        for arguments in (("serve", run, "--listen", "127.0.0.1:0"),
                          ("train", self.yaml, "--local", "--data", shared / "one", "--labels", shared / "one/server",
                           "--out", run, "--resume")):
            self.assertRegex(self.fleet.run("old", f.binary("decoder_server"), *arguments, code=3).said, line)


class Unfinished(RunsCase):
    def test_serving_says_that_a_run_is_not_finished(self):
        """When it starts, and when it is loaded anew; of a finished one nothing is said."""
        f.write_experiment(self.yaml, training__epochs=30)
        run, line = self.folder / "run", r"/run: its training is not finished: what is served is from after (\d+) of 30 epochs\n"
        local = self.fleet.start("local", f.binary("decoder_server"), "train", self.yaml, "--local", "--data", shared / "one",
                                 "--labels", shared / "one/server", "--out", run)
        wait_until(lambda: read_json(run / "manifest.json"), "a commit", explain=self.fleet.explain)
        local.signal(signal.SIGTERM)
        local.wait(130)
        epoch = read_json(run / "manifest.json")["last"]["epoch"]
        server = self.fleet.serve(run)
        self.assertEqual(re.findall(line, server.said), [str(epoch)])
        self.fleet.train_local(self.yaml, shared / "one", run, "--resume")
        self.assertEqual(call(server, "POST", "/v1/model/reload")[0], 200)
        self.assertEqual(len(re.findall(line, server.said)), 1)
        (run / "result.json").unlink()
        self.assertEqual(self.fleet.serve(run).said.count("from after 30 of 30 epochs\n"), 1)


class SharedState(RunsCase):
    def setUp(self):
        super().setUp()
        self.one = self.folder / "one-state"

    def one_state(self, server, data, *options):
        return [self.fleet.node(k, server, shared / data, self.one, *options) for k in range(PORTIONS)]

    def test_nodes_of_all_portions_share_one_folder(self):
        server = self.fleet.train(self.yaml, shared / "one", self.folder / "run")
        for program in (server, *self.one_state(server, "one", "--exit-when-done")):
            program.wait(0)
        serving = self.fleet.serve(self.folder / "run")
        self.one_state(serving, "one")
        wait_until(lambda: health(serving)["nodes_ready"] == PORTIONS, "all nodes", explain=self.fleet.explain)
        self.assertEqual(post(serving, f.image(shared / "source-one", 0))[1]["degraded"], False)

    def test_one_process_a_portion_trains(self):
        """Of a training that another process of the portion has, and of --local in the same folder."""
        long = f.write_experiment(self.yaml, training__epochs=1000)
        servers = [self.fleet.train(long, shared / "one", self.folder / f"run-{i}") for i in range(2)]
        first = self.fleet.node(0, servers[0], shared / "one", self.one)
        servers[0].wait_event("node_joined", portion=0)
        wait_until(lambda: list(self.one.glob("*/portion-0")), "the folder", explain=self.fleet.explain)
        second = self.fleet.node(0, servers[1], shared / "one", self.one, name="second")
        self.assertEqual(second.wait(), 7)
        self.assertRegex(second.said, r"(?m)^encoder_node: .*/portion-0: another process works in this folder$")
        self.assertEqual(len([line for line in second.said.splitlines() if "another process" in line]), 1)
        servers[1].wait_event("node_refuses", portion=0, message="another process works in this folder")
        other = self.fleet.node(1, servers[1], shared / "one", self.one)  # of another portion: welcome
        servers[1].wait_event("node_joined", portion=1)
        self.assertTrue(first.is_running() and other.is_running())

    def test_two_trainings_of_one_run_do_each_other_no_harm(self):
        """One is stopped in the middle; the other one goes through in the same folders; the first goes on."""
        f.write_experiment(self.yaml, training__epochs=3, training__checkpoint_every=10)
        server = self.fleet.train(self.yaml, shared / "one", self.folder / "cut")
        nodes = self.fleet.nodes(server, shared / "one", self.states)
        wait_until(lambda: len(events(self.folder / "cut", "committed")) >= 2, "two commits", explain=self.fleet.explain)
        server.signal(signal.SIGTERM)
        server.wait(130)
        for node in nodes:
            node.signal(signal.SIGTERM)
            node.wait(0)
        cut = contents(self.states)
        whole = self.train("one", "whole")
        after = contents(self.states)
        self.assertEqual({name: after[name] for name in cut}, cut)
        step = read_json(self.folder / "cut/manifest.json")["last"]["step"]
        self.assertEqual(self.identity(whole), self.identity(self.folder / "cut"))
        self.assertLess(step, read_json(whole / "manifest.json")["last"]["step"])
        wanted = weights(whole, self.states)
        self.train("one", "cut", "--resume")
        self.assertEqual(weights(self.folder / "cut", self.states), wanted)
        self.assertEqual(weights(whole, self.states), wanted)
        for run in ("cut", "whole"):
            serving = self.fleet.serve(self.folder / run)
            for k in range(PORTIONS):
                self.fleet.node(k, serving, shared / "one", self.states / f"node-{k}")
            wait_until(lambda: health(serving)["nodes_ready"] == PORTIONS, "all nodes", explain=self.fleet.explain)


class Liar:
    """A node of portion 3 by hand: it says it has saved what it has not. `after`: what it does when asked to restore it."""

    def __init__(self, port, after):
        info = read_json(shared / "one/node-3/portion.json")
        self.restores, self.after = 0, after
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(f.PATIENCE)
            self.stream = connection.makefile("rwb")
            plain_node.send(self.stream, plain_node.HELLO, plain_node.hello(info))
            try:
                while self.answer(*plain_node.receive(self.stream)):
                    pass
            except (ConnectionError, TimeoutError):
                pass

    def answer(self, kind, fields):
        if kind == plain_node.REFUSAL:
            self.refused = fields[2].decode()
            return False
        if kind == plain_node.RESTORE:
            self.restores += 1
            return self.restore(fields)
        if kind == bad_server.BATCH:
            value = 0.5 if self.restores < 2 or self.after != "other outputs" else 0.25
            plain_node.send(self.stream, bad_server.ACTIVATIONS, {
                1: fields.get(1, 0), 2: fields.get(2, 0), 3: fields[5], 4: struct.pack("<f", value) * 4 * fields[5]})
        elif kind == bad_server.SAVE:
            plain_node.send(self.stream, bad_server.SAVED, {1: fields[1], 2: bytes(range(32))})
        return True

    def restore(self, fields):
        if self.restores == 2 and self.after == "refuses":
            plain_node.send(self.stream, plain_node.REFUSAL, {1: 5, 2: b"it is not here"})
            return False
        step = fields.get(1, 0) + (self.restores == 2 and self.after == "another step")
        if self.restores == 1 or self.after != "silence":
            plain_node.send(self.stream, plain_node.READY, {1: step})
        return True


class Proof(RunsCase):
    """What is committed is what every node has restored."""

    def start(self, *options):
        f.write_experiment(self.yaml, training__epochs=1, training__checkpoint_every=2, training__evaluate_every=0)
        self.run = self.folder / "run"
        server = self.fleet.train(self.yaml, shared / "one", self.run, *options)
        self.nodes = self.fleet.nodes(server, shared / "one", self.states, order=range(3))
        return server

    def test_no_made_up_part_is_committed(self):
        server = self.start("--answer-timeout", 1)
        for after, pattern in (("refuses", r"portion 3 \(plain\) refuses: it is not here"),
                               ("another step", r"portion 3 \(plain\): says it is ready for a step nobody asked for"),
                               ("silence", r"portion 3 \(plain\): its Ready has not come within 1 s"),
                               ("other outputs", r"portion 3 \(plain\): restored another encoder than it has saved")):
            with self.subTest(after):
                before = len(server.events("node_lost", portion=3))
                self.assertEqual(Liar(server.port, after).restores, 2)
                server.wait_event("node_lost", before + 1, portion=3)
                self.assertRegex(server.said, pattern)
                self.assertTrue(server.is_running())
                self.assertFalse((self.run / "manifest.json").exists())
        Liar(server.port, "other outputs")
        server.wait(7)
        self.assertRegex(server.said, r"(?m)^decoder_server: portion 3's node \(plain\) has restored another encoder than "
                                      r"it has saved at step 2, again: .*--resume")
        self.assertFalse((self.run / "manifest.json").exists())

    def test_a_training_survives_a_liar(self):
        """An honest node in its place: the same weights as ever."""
        server = self.start()
        Liar(server.port, "other outputs")
        node = self.fleet.node(3, server, shared / "one", self.states / "node-3")
        server.wait(0)
        self.assertTrue(node.is_running())
        self.fleet.train_local(self.yaml, shared / "one", self.folder / "local")
        self.assertEqual(weights(self.run, self.states), weights(self.folder / "local"))

    def test_what_reads_back_otherwise_is_not_committed(self):
        """A node whose file is damaged behind its back, between saving and restoring, says so and ends."""
        server = self.start()
        relay = Relay(server.port)
        self.addCleanup(relay.close)
        node = self.fleet.node(3, relay.port, shared / "one", self.states / "node-3")
        node.wait(7)
        self.assertRegex(node.said, r"step-2.safetensors: is not the file that was committed \(its SHA-256 differs\)")
        server.wait_event("node_refuses", portion=3, message="SHA-256 differs")
        self.assertFalse((self.run / "manifest.json").exists())
        server.signal(signal.SIGTERM)
        server.wait(130)


class Relay:
    """Between one node and the server: turns a bit of the digest that the node says it has saved."""

    def __init__(self, port):
        self.upstream = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.carry, daemon=True).start()

    def carry(self):
        try:
            node, server = self.listener.accept()[0], socket.create_connection(("127.0.0.1", self.upstream))
        except OSError:
            return
        threading.Thread(target=self.pass_on, args=(server, node), daemon=True).start()
        with contextlib.suppress(OSError, ConnectionError), node, node.makefile("rb") as frames, server:
            while True:
                header = frames.read(4)
                payload = bytearray(frames.read(int.from_bytes(header[:3], "little")))
                if len(header) < 4:
                    break
                if header[3] == bad_server.SAVED:
                    payload[-1] ^= 1
                server.sendall(header + payload)

    @staticmethod
    def pass_on(source, sink):
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                sink.sendall(chunk)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""What an engine that runs the programs asks of them: are they well, and does a training go on to serve by itself?"""
import signal
import unittest

from lib import fleet as f, serving
from lib.fleet import wait_until

REFUSED, NO_ANSWER, USAGE = 7, 6, 2


def setUpModule():
    serving.ServingCase.made = serving.Made()


class Health(serving.ServingCase):
    def health(self, *options, code=0, **how):
        return self.fleet.run("health", f.binary("fewbit"), "health", *options, code=code, **how)

    def test_of_a_server(self):
        server = self.serve()
        url = f"http://127.0.0.1:{server.http}"
        self.health("--url", url)
        self.health(FEWBIT_URL=url)
        server.signal(signal.SIGTERM)
        server.wait(0)
        self.health("--url", url, code=NO_ANSWER)

    def test_of_a_node_follows_its_link(self):
        ready = self.folder / "ready"
        ready.write_text("left by a process that was killed")
        node = self.fleet.node(0, 9, self.made.split, self.made.state(0), "--ready-file", ready)
        wait_until(lambda: not ready.exists(), "a mark of its own", explain=self.fleet.explain)
        self.health("--ready-file", ready, code=REFUSED)
        node.signal(signal.SIGTERM)
        node.wait(0)

        server = self.serve()
        node = self.node(server, 0, "--ready-file", ready, FEWBIT_SERVER="elsewhere:1")
        self.wait_ready(server, 1)
        wait_until(ready.exists, "the mark", explain=self.fleet.explain)
        self.health(FEWBIT_READY_FILE=ready)
        server.kill()
        wait_until(lambda: not ready.exists(), "the mark's end", explain=self.fleet.explain)
        server = self.fleet.serve(self.made.run, port=server.port)
        self.wait_ready(server, 1)
        wait_until(ready.exists, "the mark again", explain=self.fleet.explain)
        node.signal(signal.SIGTERM)
        node.wait(0)
        self.assertFalse(ready.exists())

    def test_a_mark_that_cannot_be_written_stops_nothing(self):
        server = self.serve()
        node = self.node(server, 0, "--ready-file", self.folder / "nowhere" / "ready")
        self.wait_ready(server, 1)
        node.wait_event("ready_file_failed", message="nowhere/ready")
        self.assertTrue(node.is_running())

    def test_options(self):
        self.health(code=USAGE)
        self.health("--url", "http://127.0.0.1:9", "--ready-file", "x", code=USAGE)
        self.health("x", code=USAGE)


class ThenServe(serving.ServingCase):
    def train(self, run, **how):
        experiment = f.write_experiment(self.folder / "experiment.yaml")
        return self.fleet.start("server", f.binary("decoder_server"), "train", experiment, "--listen", "127.0.0.1:0",
                                "--labels", self.made.split / "server", "--out", run, "--resume", "--serve-after",
                                "--address-file", self.folder / "where.json", FEWBIT_HTTP="127.0.0.1:0", FEWBIT_RESULTS="none",
                                **how)

    def test_it_serves_what_it_has_trained(self):
        run = self.folder / "run"
        server = self.train(run)
        port = server.wait_port("listening")
        states = {k: self.folder / f"state-{k}" for k in range(f.PORTIONS)}
        nodes = [self.fleet.node(k, port, self.made.split, states[k], "--exit-when-done") for k in range(f.PORTIONS)]
        for node in nodes:
            node.wait(0)
        server.wait_event("training_over")
        port = server.wait_port("serving")
        wait_until(lambda: f.read_json(self.folder / "where.json")["nodes"].endswith(f":{port}"), "where it serves",
                   explain=self.fleet.explain)
        where = f.read_json(self.folder / "where.json")
        self.assertEqual(where["pid"], server.pid)  # the same process
        self.answers(server, where, states)
        server.signal(signal.SIGTERM)
        server.wait(0)
        self.assertFalse((run / "results.jsonl").exists())

        events = f.events(run)
        again = self.train(run)  # at once, without nodes
        again.wait_event("serving")
        self.assertEqual(f.events(run), events)
        again.signal(signal.SIGTERM)
        again.wait(0)

    def answers(self, server, where, states):
        server.http = int(where["http"].rsplit(":", 1)[1])
        port = int(where["nodes"].rsplit(":", 1)[1])
        for k, state in states.items():
            self.fleet.node(k, port, self.made.split, state)
        self.wait_ready(server, f.PORTIONS)
        status, answer = serving.post(server, self.made.images[0])
        self.assertEqual((status, answer["degraded"]), (200, False))

    def test_a_training_that_is_stopped_does_not_serve(self):
        server = self.train(self.folder / "run")
        server.wait_event("listening")
        server.signal(signal.SIGTERM)
        server.wait(130)
        self.assertNotIn("serving", server.said)

    def test_it_needs_an_address(self):
        self.fleet.run("server", f.binary("decoder_server"), "train", f.write_experiment(self.folder / "experiment.yaml"),
                       "--local", "--data", self.made.split, "--labels", self.made.split / "server", "--out",
                       self.folder / "run", "--serve-after", code=USAGE)


if __name__ == "__main__":
    unittest.main()

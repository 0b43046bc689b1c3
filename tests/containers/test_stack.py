"""docker-compose.yml for real: it trains, serves, keeps its parts apart, and survives what machines and networks do.

With an engine: tests/containers/with-engine tests/containers/run
"""
import json
import os
import re
import time
import unittest
import urllib.parse

import stack as s
from stack import PORTIONS, Client, Load, Stack, docker, wait_until

IMAGE_MB = 150
SMALL_DISKS = "tests/containers/small-disks.yml"
HEARTBEAT_MS = 500  # a silent link is dead after three
IMAGES, LABELS = s.mnist_images(500)
TLS = {"cert.pem", "key.pem", "ca.pem"}
SERVERS = {"decoder": "one", "decoder-2": "two"}  # as HAProxy calls them
NODES = [f"node-{k}" for k in range(PORTIONS)]


def setUpModule():
    begin = time.monotonic()
    for target, name in (("image", "fewbit"), ("prepare", "fewbit-prepare")):
        docker("build", "-q", "-f", "deploy/Dockerfile", "--target", target, "-t", name, ".")
    print(f"images built in {time.monotonic() - begin:.0f} s", flush=True)


class Case(unittest.TestCase):
    SMALL = ("runs", "state-1")  # volumes of SMALL_DISKS
    stack = None

    @classmethod
    def start(cls, **settings):
        cls.stack = Stack(f"fewbit-test-{os.getpid()}", SMALL_DISKS, FEWBIT_HEARTBEAT=HEARTBEAT_MS, **settings)
        cls.addClassCleanup(cls.stack.down)
        cls.stack.up("keeper")
        cls.stack.up()
        cls.attach()

    @classmethod
    def attach(cls):
        """Waits until the stack serves, and makes a client for it; its published port may be another than before."""
        stack = cls.stack
        token = stack.token()
        wait_until(lambda: Client(stack.port(), token).serves_whole(), "serving", explain=stack.logs)
        cls.token, cls.port = token, stack.port()
        cls.client = Client(cls.port, token)

    def all_answered(self, load):
        self.assertEqual(load.failures, [])
        bad = [(o[2], o[4]) for o in load.outcomes if o[2] != 200]
        self.assertEqual(bad[:3], [], f"{len(bad)} of {len(load.outcomes)}")
        # HTTP/1.1 answers a connection's requests in order; a number given twice would be a request answered twice
        numbers = [o[4]["request"] for o in load.outcomes]
        self.assertEqual(len(set(numbers)), len(numbers))


class Serving(Case):
    """Two epochs on 2,000 samples, then serving."""

    @classmethod
    def setUpClass(cls):
        cls.start(FEWBIT_TRAIN=2000, FEWBIT_TEST=500, FEWBIT_EPOCHS=2)

    def test_image_is_small_and_bare(self):
        size = json.loads(docker("inspect", "fewbit"))[0]["Size"] / 1e6
        print(f"image: {size:.0f} MB", flush=True)
        self.assertLess(size, IMAGE_MB)
        for shell in ("/bin/sh", "/bin/bash", "/usr/bin/perl"):
            status, _ = s.run("docker", "run", "--rm", "--entrypoint", shell, "fewbit", "-c", "true", check=False)
            self.assertNotEqual(status, 0, shell)

    def test_classifies_through_the_published_port(self):
        right = 0
        for image, label in zip(IMAGES[:200], LABELS):
            status, answer = self.client.classify(image)
            self.assertEqual((status, answer["degraded"]), (200, False), answer)
            right += answer["class"] == label
        self.assertGreater(right, 110)  # two epochs on 2,000 samples give some 75 %, guessing 10 %

    def test_parts_are_healthy(self):
        for service in ("decoder", *NODES):
            wait_until(lambda: self.stack.about(service)["State"]["Health"]["Status"] == "healthy", f"{service}'s health",
                       seconds=40, explain=self.stack.logs)

    def test_parts_have_no_rights(self):
        for service in ("decoder", *NODES):
            with self.subTest(service):
                about = self.stack.about(service)
                host = about["HostConfig"]
                self.assertEqual(about["Config"]["User"], "10001:10001")
                self.assertTrue(host["ReadonlyRootfs"])
                self.assertEqual((host["CapDrop"], host["CapAdd"], host["Privileged"]), (["ALL"], None, False))
                self.assertIn("no-new-privileges:true", host["SecurityOpt"])
                self.assertGreater(host["Memory"], 0)
                self.assertGreater(host["NanoCpus"], 0)
                self.assertEqual(host["RestartPolicy"]["Name"], "unless-stopped")
                # as the program meets it
                container = self.stack.container(service)
                status, said = s.run("docker", "exec", container, "/usr/bin/fewbit", "data", "get", "mnist", "--to",
                                     "/elsewhere", check=False)
                self.assertEqual(status, 5, said)
                self.assertIn("Read-only file system", said)
                self.see_status(about["State"]["Pid"])

    def see_status(self, pid):
        try:
            with open(f"/proc/{pid}/status") as file:
                lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        except OSError:
            return  # the engine is on another machine
        for sort in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(lines[sort], 16), 0, sort)
        self.assertEqual(lines["NoNewPrivs"], "1")

    def test_a_node_has_its_own_portion_and_nothing_else(self):
        seen = {}
        for k, node in enumerate(NODES):
            mounts = {m["Destination"]: m for m in self.stack.about(node)["Mounts"] if m["Type"] == "volume"}
            self.assertEqual({path: (m["Name"], m["RW"]) for path, m in mounts.items()},
                             {"/var/lib/fewbit/data": (self.stack.volume(f"data-{k}"), False),
                              "/var/lib/fewbit/state": (self.stack.volume(f"state-{k}"), True),
                              "/etc/fewbit": (self.stack.volume(f"secrets-{k}"), False)})
            data = self.stack.files_in(node, "/var/lib/fewbit/data")
            self.assertEqual([name for name in data if "label" in name], [])
            images = [data[name] for name in data if name.endswith("train.npy")]
            self.assertTrue(images, sorted(data))
            self.assertLess(max(map(len, images)), 2000 * s.PIXELS // PORTIONS + 1000)
            seen[k] = images[0]
            self.assertEqual(set(self.stack.files_in(node, "/etc/fewbit")), {f"fewbit/{name}" for name in TLS})
        self.assertEqual(len(set(seen.values())), PORTIONS)
        self.assertEqual(set(self.stack.files_in("decoder", "/etc/fewbit")),
                         {f"fewbit/{name}" for name in (*TLS, "api-token")})

    def test_nodes_reach_the_server_only(self):
        for node in NODES:
            self.assertEqual(list(self.stack.about(node)["NetworkSettings"]["Networks"]), [self.stack.volume("links")])
        self.assertTrue(json.loads(docker("network", "inspect", self.stack.volume("links")))[0]["Internal"])

    def test_zz_a_finished_run_is_served_at_once(self):
        events, head = self.stack.events(), self.stack.head()
        self.stack.compose("stop", "-t", "10", "decoder", *NODES)
        for service in ("decoder", *NODES):
            self.assertEqual(self.stack.about(service)["State"]["ExitCode"], 0, service)
        self.stack.up("decoder", *NODES[:3])  # a node that is missing holds nothing up
        wait_until(lambda: Client(self.stack.port(), self.token).misses() == [3], "serving", explain=self.stack.logs)
        self.stack.up()
        type(self).attach()
        self.assertEqual(self.client.classify(IMAGES[0])[1]["degraded"], False)
        self.assertEqual(self.stack.events(), events)
        self.assertTrue(self.stack.head() == head, "the weights differ")

    def lose_node(self, lose, bring_back, what):
        """A node goes and comes back under load."""
        with Load(self.port, self.token, IMAGES) as load:
            wait_until(lambda: len(load.whole(0)) > 20, "whole answers")
            lose()
            gone = time.monotonic()
            wait_until(lambda: len(load.degraded(gone)) > 20, "degraded answers", explain=self.stack.logs)
            missing = {tuple(o[4]["missing"]) for o in load.degraded(gone)}
            begin = time.monotonic()
            bring_back()
            back = time.monotonic()
            first = min(wait_until(lambda: load.whole(begin), "whole answers again", explain=self.stack.logs))[1]
            wait_until(lambda: len(load.whole(back)) > 20, "whole answers from then on")
        self.all_answered(load)
        self.assertEqual(missing, {(1,)})
        print(f"{what}: {len(load.outcomes)} requests, {len(load.degraded(0))} degraded; whole again "
              f"{max(0.0, first - back):.2f} s after its return", flush=True)
        self.assertLess(first - back, 2.0)

    def test_a_node_is_killed(self):
        container = self.stack.container("node-1")
        self.lose_node(lambda: docker("kill", container), lambda: docker("start", container), "node killed")

    def test_a_node_is_frozen(self):
        container = self.stack.container("node-1")
        self.lose_node(lambda: docker("pause", container), lambda: docker("unpause", container), "node paused")

    def test_a_node_is_cut_off(self):
        container, network = self.stack.container("node-1"), self.stack.volume("links")
        self.lose_node(lambda: docker("network", "disconnect", network, container),
                       lambda: docker("network", "connect", network, container), "node cut off")

    def test_the_server_is_killed(self):
        """What it had taken goes with its connections, and is told to nobody twice; it is back with all its nodes at once."""
        container = self.stack.container("decoder")
        with Load(self.port, self.token, IMAGES) as load:
            wait_until(lambda: len(load.whole(0)) > 20, "whole answers")
            gone = time.monotonic()
            docker("kill", container)
            docker("start", container)
            back = time.monotonic()
            first = min(wait_until(lambda: load.whole(back), "whole answers again", explain=self.stack.logs))[1]
            wait_until(lambda: len(load.whole(first)) > 20, "whole answers from then on")
        self.assertEqual([f for f in load.failures if not gone - 1 < f[0] < first], [])
        self.assertEqual({o[2] for o in load.outcomes} - {200, 503}, set())
        numbers = [o[4]["request"] for o in load.outcomes if o[2] == 200]
        self.assertEqual(len(set(numbers)), len(numbers))
        print(f"server killed: {len(load.outcomes)} requests answered, {len(load.failures)} without a server; whole again "
              f"{first - back:.2f} s after its return", flush=True)
        self.assertLess(first - back, 2.0)

    def test_disks_are_full(self):
        """Results that find no room are lost, answers are not."""
        with Load(self.port, self.token, IMAGES) as load:
            for volume in self.SMALL:
                self.stack.fill(volume)
            full = time.monotonic()
            wait_until(lambda: self.stack.log_events("decoder", "file_write_failed"), "a word about the disk")
            wait_until(lambda: len(load.whole(full)) > 100, "answers", explain=self.stack.logs)
            for volume in self.SMALL:
                self.stack.drain(volume)
            begin = len(self.stack.files_in("decoder", f"{s.RUN}/results.jsonl")["results.jsonl"])
            wait_until(lambda: len(self.stack.files_in("decoder", f"{s.RUN}/results.jsonl")["results.jsonl"]) > begin,
                       "results on the disk again")
        self.all_answered(load)
        self.assertEqual(load.degraded(0), [])
        print(f"disks full: {len(load.outcomes)} requests, none failed or degraded", flush=True)

    def test_a_node_comes_back_by_itself(self):
        before = self.stack.about("node-2")["RestartCount"]
        with Load(self.port, self.token, IMAGES) as load:
            wait_until(lambda: len(load.whole(0)) > 20, "whole answers")
            self.stack.crash("node-2")
            wait_until(lambda: self.stack.about("node-2")["State"]["Running"], "node-2")
            wait_until(lambda: Client(self.port, self.token).serves_whole(), "all nodes", explain=self.stack.logs)
            ready = time.monotonic()
            wait_until(lambda: len(load.whole(ready)) > 20, "whole answers again")
        self.all_answered(load)
        self.assertGreaterEqual(self.stack.about("node-2")["RestartCount"], before)


class Training(Case):
    """The same training twice, undisturbed and with everything that can happen to it: the weights are the same bytes."""

    SETTINGS = {"FEWBIT_TRAIN": 5000, "FEWBIT_TEST": 500, "FEWBIT_EPOCHS": 160}
    HEADERS = 66  # Ethernet, IP, TCP with time stamps

    @classmethod
    def setUpClass(cls):
        cls.start(**cls.SETTINGS)
        cls.weights = cls.all_weights()
        cls.meter = json.loads(cls.stack.files_in("decoder", f"{s.RUN}/result.json")["result.json"])
        cls.interfaces = [cls.stack.network_bytes(node) for node in NODES]

    @classmethod
    def all_weights(cls):
        return cls.stack.head(), [cls.stack.node_weights(k) for k in range(PORTIONS)]

    def test_the_interface_counts_what_the_meter_counts(self):
        for about, counted in zip(self.meter["nodes"], self.interfaces):
            for name, meter, interface in (("to", "out", "rx"), ("from", "in", "tx")):
                metered = about["tcp_bits"][meter] / 8
                on_wire = counted[f"{interface}_bytes"] - self.HEADERS * counted[f"{interface}_packets"]
                print(f"{name} {about['name']}: meter {metered:.0f} bytes, interface {on_wire:.0f} "
                      f"({counted[f'{interface}_bytes']} with headers)", flush=True)
                self.assertAlmostEqual(on_wire / metered, 1, delta=0.05)

    def reach(self, more):
        """Waits until the training has got `more` epochs further, and says how far it was."""
        begin = self.stack.epochs()
        return wait_until(lambda: (e := self.stack.epochs()) >= begin + more and e, "epochs", explain=self.stack.logs)

    def test_disturbed_training_ends_with_the_same_weights(self):
        stack = self.stack
        stack.compose("rm", "-sf", "keeper", "decoder", *NODES)
        docker("volume", "rm", *(stack.volume(v) for v in ("runs", *(f"state-{k}" for k in range(PORTIONS)))))
        stack.up("keeper")
        stack.up()
        node, network = stack.container("node-1"), stack.volume("links")
        disturbances = {  # disks first: they must be full before the training is over
            "server's disk full": lambda: self.fill_until("runs", r": .*runs/.*No space left"),
            "node's disk full": lambda: self.fill_until("state-1", "portion 1: .*No space left"),
            "node crashes": lambda: stack.crash("node-0"),
            "server crashes": lambda: stack.crash("decoder"),
            "node killed by the engine": lambda: (docker("kill", node), docker("start", node)),
            "server killed by the engine": lambda: (docker("kill", stack.container("decoder")),
                                                    docker("start", stack.container("decoder"))),
            "node frozen for 20 s": lambda: (docker("pause", node), time.sleep(20), docker("unpause", node)),
            "node cut off": lambda: (docker("network", "disconnect", network, node), self.await_loss(),
                                     docker("network", "connect", network, node)),
        }
        for what, disturb in disturbances.items():
            at = self.reach(2)
            self.assertLess(at, self.SETTINGS["FEWBIT_EPOCHS"] - 3, f"too late for: {what}")
            disturb()
            print(f"{what}, after epoch {at:.0f}", flush=True)
        type(self).attach()
        self.assertGreaterEqual(sum(e["event"] in ("lost", "resumed") for e in stack.events()), len(disturbances) - 3)
        self.assertGreaterEqual(sum(e["event"] == "commit failed" for e in stack.events()), 1)
        head, nodes = self.all_weights()
        self.assertEqual(head.keys(), self.weights[0].keys())
        self.assertTrue(head == self.weights[0], "the server's weights differ")
        self.assertTrue(nodes == self.weights[1], "a node's weights differ")

    def fill_until(self, volume, said):
        """A commit fails for want of room, and then there is room again."""
        def failed():
            return len(self.stack.log_events("decoder", "checkpoint_failed", message=said))
        begin = failed()
        node = self.stack.container("node-0")
        docker("pause", node)  # the training waits, however long the filling takes: it must not be over before
        self.stack.fill(volume)
        docker("unpause", node)
        wait_until(lambda: failed() > begin, f"a checkpoint without room: {volume}",
                   explain=self.stack.logs)
        self.stack.drain(volume)

    def await_loss(self):
        before = sum(e["event"] == "lost" for e in self.stack.events())
        wait_until(lambda: sum(e["event"] == "lost" for e in self.stack.events()) > before, "the loss to be noticed",
                   explain=self.stack.logs)


class Balanced(Case):
    """Two servers behind HAProxy, with Prometheus, serving what one of them has trained."""

    FILES = ("deploy/stack/serve.yml", "deploy/stack/scale.yml")

    @classmethod
    def setUpClass(cls):
        for target in ("haproxy", "prometheus"):
            docker("build", "-q", "-f", "deploy/stack/Dockerfile", "--target", target, "-t", f"fewbit-{target}", ".")
        cls.start(FEWBIT_TRAIN=2000, FEWBIT_TEST=500, FEWBIT_EPOCHS=2)
        trained = cls.stack
        trained.up("decoder", FEWBIT_RUN="second", FEWBIT_EPOCHS=1)
        cls.attach()
        cls.link("second")
        cls.stack = Stack(trained.name, SMALL_DISKS, *cls.FILES, **{
            **trained.settings, "FEWBIT_RUN": "served", "FEWBIT_BALANCED": "127.0.0.1:0",
                                                       "FEWBIT_PROMETHEUS": "127.0.0.1:0"})
        cls.addClassCleanup(cls.stack.down)
        cls.stack.up()
        cls.attach()
        for service in SERVERS:
            cls.await_server(service)
        cls.balanced = cls.stack.port("haproxy")

    @classmethod
    def link(cls, run):
        """`served` is another run from one moment to the next."""
        cls.stack.in_keeper(f"ln -sfn {run} /runs/next && mv -T /runs/next /runs/served")

    @classmethod
    def await_server(cls, service):
        """It has all its nodes, and HAProxy knows."""
        ask = ["exec", cls.stack.container(service), "/usr/bin/fewbit", "status", "--server", "http://127.0.0.1:8080"]
        wait_until(lambda: s.run("docker", *ask, check=False)[0] == 0, service, explain=cls.stack.logs)
        line = f'haproxy_server_status{{proxy="decoders",server="{SERVERS[service]}",state="UP"}} 1\n'
        wait_until(lambda: line in cls.haproxy_metrics(), f"HAProxy to see {service}", explain=cls.stack.logs)

    @classmethod
    def haproxy_metrics(cls):
        return s.run("docker", "exec", cls.stack.container("haproxy"), "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8404 && "
                     "printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3", check=False)[1]

    @classmethod
    def served_by(cls, server):
        found = re.search(rf'haproxy_server_http_responses_total{{proxy="decoders",server="{server}",code="2xx"}} (\d+)',
                          cls.haproxy_metrics())
        return int(found[1]) if found else 0

    @classmethod
    def query(cls, expression):
        port = cls.stack.port("prometheus", 9090)
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            found = Client(port, "none").ask("GET", path)[1]["data"]["result"]
        except (OSError, ValueError):
            return None
        return float(found[0]["value"][1]) if found else None

    def test_prometheus_sees_everything(self):
        wait_until(lambda: self.query('sum(up{job="fewbit"})') == 2, "both targets", explain=self.stack.logs)
        self.assertEqual(self.query("sum(fewbit_node_ready)"), 2 * PORTIONS)
        print(docker("exec", self.stack.container("prometheus"), "promtool", "check", "config",
                     "/etc/fewbit/prometheus.yml"), flush=True)

    def test_both_servers_give_the_same_answers(self):
        client = Client(self.balanced, self.token)
        for image in IMAGES[:20]:
            here, there = self.client.classify(image)[1], client.classify(image)[1]
            self.assertEqual((here["class"], here["bits"]), (there["class"], there["bits"]))

    def no_request_fails(self, disturb, what):
        with Load(self.balanced, self.token, IMAGES) as load:
            self.load = load
            wait_until(lambda: len(load.whole(0)) > 20, "answers")
            disturb()
            ended = time.monotonic()
            wait_until(lambda: len(load.whole(ended)) > 20, "answers afterwards")
        self.assertEqual(load.failures, [])
        self.assertEqual([(o[2], o[4]) for o in load.outcomes if o[2] != 200][:3], [])
        print(f"{what}: {len(load.outcomes)} requests, none failed, {len(load.degraded(0))} degraded", flush=True)

    def models(self):
        """The runs that the last few askers met behind HAProxy."""
        return {Client(self.balanced, self.token).ask("GET", "/v1/model")[1]["run"] for _ in range(12)}

    def test_a_model_is_rolled_forward_and_back(self):
        runs = []

        def roll():
            for name in ("current", "second", "current", "second"):
                before = self.models()
                self.link(name)
                self.stack.compose("kill", "-s", "HUP", *SERVERS)
                wait_until(lambda: len(now := self.models()) == 1 and now != before, f"the model {name}",
                           explain=self.stack.logs)
                runs.append(min(self.models()))
        self.no_request_fails(roll, "model rolled forward and back")
        self.assertEqual(runs[:2], runs[2:])
        self.assertEqual(len(set(runs)), 2)

    def test_scaled_down_and_up(self):
        second = ["decoder-2", *(f"{node}-2" for node in NODES)]

        def scale():
            self.stack.compose("stop", "-t", "10", *second)
            self.stack.compose("up", "-d", *second)
            self.await_server("decoder-2")
            before = self.served_by("two")
            wait_until(lambda: self.served_by("two") > before, "requests at the second server")
        self.no_request_fails(scale, "one server, then two")

    def test_a_server_hangs(self):
        container = self.stack.container("decoder")

        def hang():
            docker("pause", container)
            hung = time.monotonic()
            wait_until(lambda: self.load.has_ended(hung), "answers to what the hanging server had", explain=self.stack.logs)
            docker("unpause", container)
            self.await_server("decoder")
        self.no_request_fails(hang, "server paused until its requests were answered by the other one")

    def test_a_server_is_cut_off(self):
        container, front = self.stack.container("decoder"), self.stack.volume("front")
        self.no_request_fails(lambda: (docker("network", "disconnect", front, container), time.sleep(3),
                                       docker("network", "connect", "--alias", "decoder", front, container),
                                       self.await_server("decoder")), "server cut off from HAProxy")

    def restart_both(self, restart):
        for service in SERVERS:
            before = self.stack.about(service)["State"]["StartedAt"]
            restart(service)
            wait_until(lambda: self.stack.about(service)["State"]["StartedAt"] != before, f"another {service}")
            self.await_server(service)

    def test_rolling_restart(self):
        self.no_request_fails(lambda: self.restart_both(
            lambda service: docker("restart", "-t", "10", self.stack.container(service))), "rolling restart")

    def test_servers_crash_in_turn(self):
        self.no_request_fails(lambda: self.restart_both(self.stack.crash), "servers crash in turn")


def main():
    result = unittest.main(exit=False, verbosity=2).result
    failed = len(result.failures) + len(result.errors)
    print(f"{max(0, result.testsRun - failed - len(result.skipped))} passed, {failed} failed")
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    raise SystemExit(main())

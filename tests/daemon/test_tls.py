#!/usr/bin/python3
"""The daemons over TLS: the same bits as without, nodes held to their portions, certificates renewed under live links,
HTTPS by HAProxy, and every way in which certificates and plain text do not fit, told in one line on both sides."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import tempfile
import unittest

from lib import fleet as f, serving
from lib.certificates import Authority
from lib.fleet import PATIENCE, PORTIONS, ROOT, read_json, wait_until, weights
from lib.serving import RAW, HandNode, health

made = trusted = other = None


def setUpModule():
    global made, trusted, other
    made = serving.ServingCase.made = serving.Made()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-certificates-"))
    unittest.addModuleCleanup(shutil.rmtree, folder, ignore_errors=True)
    trusted = Authority(folder / "trusted")
    other = Authority(folder / "other")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class TlsCase(serving.ServingCase):
    def serve_tls(self, *options, authority=None, **how):
        return self.serve(*(authority or trusted).server(), *options, **how)

    def node_tls(self, server, k, *options, authority=None, **how):
        return self.node(server, k, *(authority or trusted).node(k), *options, **how)

    def start_tls(self, *options):
        server = self.serve_tls(*options)
        nodes = [self.node_tls(server, k) for k in range(PORTIONS)]
        self.wait_ready(server, PORTIONS)
        return server, nodes

    def one_line(self, program, start):
        """The program's only line of that beginning, without it."""
        lines = [line for line in program.said.splitlines() if line.startswith(start)]
        self.assertEqual(len(lines), 1, program.said)
        return lines[0].removeprefix(start)


class Training(TlsCase):
    def test_the_same_bits(self):
        experiment = f.write_experiment(self.folder / "experiment.yaml")
        run, states = self.folder / "run", self.folder / "states"
        server = self.fleet.train(experiment, made.split, run, *trusted.server())
        nodes = [self.fleet.node(k, server, made.split, states / f"node-{k}", "--exit-when-done", *trusted.node(k))
                 for k in (2, 0, 3, 1)]
        server.wait(0)
        for node in nodes:
            node.wait(0)
        self.assertEqual(weights(run, states), weights(made.run))
        result = read_json(run / "result.json")
        bits = result["bits_per_sample"]
        self.assertGreater(bits["tls"], bits["frames"])
        self.assertGreaterEqual(bits["tcp"], bits["tls"])
        for node in result["nodes"]:
            for way in ("in", "out"):
                frames = sum(node[f"frame_bits_{way}"].values())
                self.assertGreater(node["tls_bits"][way], frames)
                self.assertLess(node["tls_bits"][way], 1.1 * frames + 8 * 4000)
        shown = self.fleet.run("result", f.binary("fewbit"), "result", run).printed
        self.assertRegex(shown, rf" in frames, {bits['tls']:.2f} in TLS, {bits['tcp']:.2f} in TCP ")


class Serving(TlsCase):
    def test_pushed_and_asked_for(self):
        server = self.serve_tls()
        for k in range(PORTIONS):
            self.node_tls(server, k, "--stream", "test")
        self.wait_ready(server, PORTIONS)
        for result in self.wait_for_results(serving.TEST):
            self.assertEqual((result["class"], result["bits"]),
                             tuple(made.reference()[result["id"]][key] for key in ("class", "bits")))
        self.assert_serves(server, 5)

    def test_a_node_is_killed_and_comes_back(self):
        server, nodes = self.start_tls()
        nodes[1].kill()
        self.wait_ready(server, PORTIONS - 1)
        self.assert_degraded(self.classify(server, 3), 3, {1})
        self.node_tls(server, 1)
        self.wait_ready(server, PORTIONS)
        self.assert_serves(server, 3)

    def test_by_host_name(self):
        server = self.serve_tls()
        node = self.fleet.start("node", f.binary("encoder_node"), "--server", f"localhost:{server.port}", "--name", "n",
                                "--data", made.split / "node-0", "--state", made.state(0), *trusted.node(0))
        server.wait_event("node_ready", portion=0)
        self.assert_ends_soon(node, signal.SIGTERM, 0)

    def test_https_by_haproxy(self):
        server, _ = self.start_tls()
        port = free_port()
        settings = {"FEWBIT_CERTIFICATE": trusted.folder / "http.pem", "FEWBIT_HTTPS_PORT": port,
                    "FEWBIT_SERVER": f"127.0.0.1:{server.http}"}
        config = ROOT / "deploy/haproxy.cfg"
        self.fleet.run("check", "haproxy", "-c", "-f", config, **settings)
        proxy = self.fleet.start("haproxy", "haproxy", "-f", config, **settings)

        def ask(method, path, body=None):
            connection = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE, context=trusted.client())
            try:
                connection.request(method, path, body, {"Content-Type": RAW})
                answer = connection.getresponse()
                return answer.status, answer.read()
            finally:
                connection.close()

        def is_up():
            try:
                return ask("GET", "/readyz")[0] == 200
            except OSError:
                self.assertTrue(proxy.is_running(), self.fleet.explain())
                return False
        wait_until(is_up, "HTTPS", explain=self.fleet.explain)
        status, answer = ask("POST", "/v1/classify", made.images[7])
        self.assertEqual(status, 200, answer)
        direct = self.classify(server, 7)
        through = json.loads(answer)
        self.assertEqual({k: through[k] for k in ("class", "bits", "degraded")},
                         {k: direct[k] for k in ("class", "bits", "degraded")})


class Reload(TlsCase):
    def shown_by(self, server, authority=None):
        """The serial number of the certificate that the server shows now."""
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain:
            with (authority or trusted).client("node-0").wrap_socket(plain, server_hostname="localhost") as stream:
                return stream.getpeercert()["serialNumber"]

    def test_a_servers_certificate_under_live_links(self):
        authority = Authority(self.folder / "own")
        server = self.serve_tls(authority=authority)
        nodes = [self.node_tls(server, k, authority=authority) for k in range(PORTIONS)]
        self.wait_ready(server, PORTIONS)
        before = self.shown_by(server, authority)
        self.assertEqual(before, authority.serial("server"))
        authority.renew()
        self.assertEqual(self.shown_by(server, authority), before)
        server.signal(signal.SIGHUP)
        server.wait_event("certificate_reloaded", message="server.pem: ")
        after = self.shown_by(server, authority)
        self.assertEqual(after, authority.serial("server"))
        self.assertNotEqual(after, before)
        whole = (authority.folder / "server.pem").read_bytes()
        (authority.folder / "server.pem").write_bytes(whole[:-40])
        server.signal(signal.SIGHUP)
        server.wait_event("certificate_reload_failed", message=r"server\.pem: is no certificate in PEM form ")
        self.assertEqual(self.shown_by(server, authority), after)
        self.assert_serves(server)
        self.assertEqual(server.events("node_left"), [])
        for node in nodes:
            self.assertEqual(node.events("server_away"), [])

    def test_a_server_that_trains(self):
        authority = Authority(self.folder / "own")
        server = self.fleet.train(f.write_experiment(self.folder / "experiment.yaml"), made.split, self.folder / "run",
                                  *authority.server())
        before = self.shown_by(server, authority)
        authority.renew()
        server.signal(signal.SIGHUP)
        server.wait_event("certificate_reloaded")
        self.assertNotEqual(self.shown_by(server, authority), before)
        self.assert_ends_soon(server, signal.SIGTERM, 130)

    def test_a_node_that_is_not_let_in(self):
        server = self.serve_tls()
        authority = Authority(self.folder / "wrong")
        node = self.node(server, 0, *authority.options("node-0", ca=trusted))
        node.wait_event("server_away", message="it does not know its CA")
        for name in ("node-0.pem", "node-0-key.pem"):
            shutil.copy(trusted.folder / name, authority.folder / name)
        node.signal(signal.SIGHUP)
        node.wait_event("certificate_reloaded", message=r"node-0\.pem: ")
        server.wait_event("node_ready", portion=0)


class Refusals(TlsCase):
    def test_another_portion(self):
        server = self.serve_tls()
        said = r"its certificate does not name portion 2 \(subjectAltName URI fewbit:portion:2\)"
        node = self.node(server, 2, *trusted.node(1), name="eve")
        node.wait(7)
        self.assertRegex(self.one_line(node, "encoder_node: "), said)
        server.wait_event("node_refused", message=f"^eve is refused: {said}")
        self.node_tls(server, 2)
        server.wait_event("node_ready", portion=2)

    def test_another_portion_in_training(self):
        server = self.fleet.train(f.write_experiment(self.folder / "experiment.yaml"), made.split, self.folder / "run",
                                  *trusted.server())
        self.fleet.node(0, server, made.split, self.folder / "state", *trusted.node(3)).wait(7)
        server.wait_event("node_refused", message="^node-0 is refused: its certificate does not name portion 0")

    def test_a_servers_certificate_speaks_for_no_portion(self):
        server = self.serve_tls()
        node = self.node(server, 0, *trusted.server())
        node.wait_event("server_away", message="the other side refuses our certificate")
        server.wait_event("node_tls_failed", message=r"the node's certificate is refused: CN=server \(unsuitable certificate purpose\)")
        self.assertGreaterEqual(serving.metric(server, "fewbit_tls_failures_total"), 1)

    def test_certificates_of_another_ca(self):
        server = self.serve_tls()
        stranger = self.node(server, 0, *other.options("node-0", ca=trusted))
        stranger.wait_event("server_away", message=rf"127\.0\.0\.1:{server.port}: the other side refuses our certificate: it does not know its CA")
        server.wait_event("node_tls_failed", message=r"127\.0\.0\.1:\d+: the node's certificate is refused: CN=node-0 .*: it is not of the CA in "
                        rf"{trusted.folder}/ca\.pem")
        wary = self.node(server, 0, *trusted.options("node-0", ca=other))
        wary.wait_event("server_away", message=r"the server's certificate is refused: CN=server .*: it is not of the CA in "
                      rf"{other.folder}/ca\.pem; trying again until it works")
        server.wait_event("node_tls_failed", message="the other side refuses our certificate: it does not know its CA")
        self.assertTrue(stranger.is_running() and wary.is_running())
        self.assertEqual(health(server)["nodes_ready"], 0)

    def test_a_server_of_another_name(self):
        authority = Authority(self.folder / "elsewhere", hosts="fewbit.example")
        server = self.serve_tls(authority=authority)
        self.node_tls(server, 0, authority=authority).wait_event(
            "server_away", message=r"the server's certificate is refused: CN=server does not name the host 127\.0\.0\.1; trying again")

    def test_no_certificate(self):
        server = self.serve_tls()
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain:
            stream = trusted.client().wrap_socket(plain, server_hostname="localhost")
            with self.assertRaisesRegex((ssl.SSLError, ConnectionError), "(?i)certificate.required|reset"):
                while stream.recv(100):
                    pass
            stream.close()
        server.wait_event("node_tls_failed", message="the node shows no certificate")

    def test_plain_text_meets_tls(self):
        server = self.serve_tls()
        node = self.node(server, 0)
        node.wait_event("server_away", message=r"the other side speaks TLS, this one plain text \(--tls-cert, --tls-key, --tls-ca\)")
        server.wait_event("node_tls_failed", message=r"127\.0\.0\.1:\d+: the other side does not speak TLS \(plain text\?\)")
        plain = self.serve()
        self.node_tls(plain, 0).wait_event(
            "server_away", message=rf"127\.0\.0\.1:{plain.port}: closed by the other side during the TLS handshake \(does it speak TLS\?\); trying")
        plain.wait_event("node_tls_failed", message="the other side speaks TLS, this one plain text")
        for each in (server, plain):
            self.assertEqual(health(each)["nodes_ready"], 0)

    def test_a_node_of_ones_own(self):
        """The protocol over Python's ssl: what docs/protocol.md says of TLS is enough."""
        server = self.serve_tls()
        node = HandNode(server, made, 3)
        node.socket = trusted.client("node-3").wrap_socket(node.socket, server_hostname="localhost")
        node.stream = node.socket.makefile("rwb")
        self.addCleanup(node.close)
        node.join()
        server.wait_event("node_ready", portion=3)

    def test_the_log_is_not_flooded(self):
        server = self.serve_tls()
        for _ in range(300):
            with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as stream:
                stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
                stream.recv(100)

        def is_summed_up():
            with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as stream:
                stream.sendall(b"hello")
                stream.recv(100)
            return "more lines like this: 127.0.0.1:" in server.said
        wait_until(is_summed_up, "the sum of those not told", explain=self.fleet.explain)

    def test_peers_that_mean_harm(self):
        """Whatever comes through a good handshake or instead of one, the server goes on."""
        server, _ = self.start_tls()
        context = trusted.client("node-0")
        for junk in (b"", os.urandom(3000), bytes(5000), b"\xff\xff\xff\x01", b"GET / HTTP/1.1\r\n\r\n"):
            for wrapped in (True, False):
                with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as stream:
                    try:
                        if wrapped:
                            stream = context.wrap_socket(stream, server_hostname="localhost")
                        stream.sendall(junk)
                        if len(junk) < 2000:
                            stream.shutdown(socket.SHUT_WR)
                        while stream.recv(1000):
                            pass
                    except OSError:
                        pass
                    stream.close()
        self.assert_serves(server)
        self.assertEqual(server.events("node_left"), [])


class Options(TlsCase):
    def fails(self, code, pattern, *options, program="decoder_server"):
        ours = ("serve", made.run, "--listen", "127.0.0.1:0", "--results", "none")
        theirs = ("--server", "127.0.0.1:9", "--name", "n", "--data", made.split / "node-0", "--state", self.folder / "s")
        ended = self.fleet.run("fails", f.binary(program), *(ours if program == "decoder_server" else theirs), *options,
                               code=code)
        self.assertRegex(ended.said, rf"^{program}: .*{pattern}[^\n]*\n\Z")

    def test_files_that_cannot_be_used(self):
        text = self.folder / "text.pem"
        text.write_text("hello")
        for program in ("decoder_server", "encoder_node"):
            good = dict(zip(("cert", "key", "ca"), trusted.node(0)[1::2]))
            for code, pattern, change in (
                    (4, r"missing\.pem", {"cert": self.folder / "missing.pem"}),
                    (4, r"missing\.pem", {"ca": self.folder / "missing.pem"}),
                    (3, r"text\.pem: is no certificate in PEM form", {"cert": text}),
                    (3, r"text\.pem: is no private key", {"key": text}),
                    (3, r"text\.pem: is no CA certificate", {"ca": text}),
                    (3, r"node-1-key\.pem: is not the key of the certificate in .*node-0\.pem",
                     {"key": trusted.folder / "node-1-key.pem"}),
                    (3, "", {"cert": self.folder}),
                    (2, "go together: --tls-key is missing", {"key": None})):
                with self.subTest(program, pattern=pattern):
                    options = {**good, **change}
                    self.fails(code, pattern, *(part for key, value in options.items() if value
                                                for part in (f"--tls-{key}", value)), program=program)

    def test_plain_text_stays_on_loopback(self):
        for options in (("--listen", "0.0.0.0:0"), ("--listen", ":0"), ("--http", "0.0.0.0:0"), ("--listen", "[::]:0"),
                        ("--http", ":0", *trusted.server())):
            with self.subTest(options):
                self.fails(2, f"{options[0]}: plain text would leave this machine at .*--insecure", *options)
        for host in ("decoder.example", "192.0.2.1"):
            self.fails(2, f"--server: plain text would leave this machine at {host}", "--server", f"{host}:7000",
                       program="encoder_node")

    def test_unless_it_is_asked_for(self):
        run = (f.binary("decoder_server"), "serve", made.run, "--results", "none")
        for options in (("--listen", "0.0.0.0:0", "--http", "0.0.0.0:0", "--insecure"),
                        ("--listen", "0.0.0.0:0", *trusted.server())):
            with self.subTest(options):
                server = self.fleet.start("open", *run, *options)
                server.wait_event("serving", message=r"nodes on 0\.0\.0\.0:\d+")
                self.assert_ends_soon(server, signal.SIGTERM, 0)
        server = self.fleet.start("open", *run, "--listen", ":0", FEWBIT_INSECURE="yes")
        server.wait_event("serving", message=r"nodes on 0\.0\.0\.0:\d+")
        node = self.fleet.start("node", f.binary("encoder_node"), "--server", "fewbit.invalid:7000", "--name", "n",
                                "--data", made.split / "node-0", "--state", self.folder / "state", "--insecure")
        node.wait_event("server_away")


if __name__ == "__main__":
    unittest.main()

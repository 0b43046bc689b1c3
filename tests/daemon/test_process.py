#!/usr/bin/python3
"""Every program against the system: signals at any moment, closed standard streams."""
import concurrent.futures
import http.client
import itertools
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from lib import fleet as f, serving
from lib.fleet import read_json, wait_until

TRAIN, TEST = 600, 200
MOMENTS_MS = (0, 1, 2, 5, 8, 13, 34, 55, 89, 144)
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
SOON = 20 if f.SANITIZED else 3  # seconds from a signal to the end

made = None


class Made:
    """Data, a finished run of 16 bits and one of a classifier alone, for all tests of the module."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-process-"))
        unittest.addModuleCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.source = f.make_set(self.folder / "source", TRAIN, TEST)
        self.split = f.split_set(self.source, self.folder / "split")
        self.whole = f.split_set(self.source, self.folder / "whole", "--portions", 1)
        self.experiment = f.write_experiment(self.folder / "tiny.yaml")
        self.long = f.write_experiment(self.folder / "long.yaml", training__epochs=60)
        self.alone = f.write_experiment(self.folder / "alone.yaml", encoder={"net": "none"}, decoder={"net": "none"}, loss=None,
                                        dataset__portions=1, training__epochs=3)
        (self.folder / "sweep.yaml").write_text("base: tiny.yaml\ngrid: {training.seed: [1, 2, 3, 4, 5, 6]}\n")
        self.run = self.folder / "run"
        trainer = f.Fleet()
        try:
            trainer.train_local(self.experiment, self.split, self.run)
        finally:
            trainer.close()


def setUpModule():
    global made
    made = Made()


def is_caught(pid, number):
    """Whether a process has a handler for a signal; None once it has ended."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    if fields["State"].startswith("Z"):
        return None
    return bool(int(fields["SigCgt"], 16) >> (number - 1) & 1)


def processes_with(mark):
    """Everybody who has this in the environment."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            pass
    return found


class ProcessCase(f.FleetCase):
    def silent_server(self):
        """The port of one that takes connections and says nothing."""
        listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.addCleanup(listening.close)
        return listening.getsockname()[1]

    def server(self, *words):
        return [f.binary("decoder_server"), *words]

    def node(self, port, *words, host="127.0.0.1", state=None):
        return [f.binary("encoder_node"), "--server", f"{host}:{port}", "--name", "n0", "--data", made.split / "node-0",
                "--state", state or self.folder / "state", *words]

    def fewbit(self, *words):
        return [f.binary("fewbit"), *words]

    def serving(self, *words):
        return self.server("serve", made.run, "--listen", "127.0.0.1:0", "--results", self.folder / "results.jsonl", *words)

    def training(self, run, *words, experiment=None):
        return self.server("train", experiment or made.long, "--labels", made.split / "server", "--out", run, "--resume",
                           *words)


class Signals(ProcessCase):
    """From main's first instruction on a program that is asked to stop does so, within seconds, with its exit code."""

    def stop_at(self, argv, moment, number, prefix=(), **how):
        """Starts it, sends the signal so many milliseconds after it has begun to catch it; the exit code, or None where
        it had ended before."""
        program = self.fleet.start("program", *prefix, *argv, **how)
        pid = program.pid if not prefix else self.child_of(program)
        wait_until(lambda: is_caught(pid, number) is not False, "its main")
        time.sleep(moment / 1000)
        if is_caught(pid, number) is None:
            program.wait()
            return None
        os.kill(pid, number)
        started = time.monotonic()
        if number == signal.SIGHUP and how.get("MAY_RELOAD"):
            wait_until(lambda: is_caught(pid, signal.SIGTERM) is not False, "its main")  # again after an exec
            program.signal(signal.SIGTERM)
        code = program.wait(seconds=f.PATIENCE)
        self.assertLess(time.monotonic() - started, SOON, f"{moment} ms\n{program.said}")
        return code

    def child_of(self, program):
        def look():
            children = pathlib.Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
            return int(children[0]) if children else None
        return wait_until(look, "the child", explain=self.fleet.explain)

    def at_any_moment(self, argv, code, reloads=False, ends=0, after=lambda: None, moments=MOMENTS_MS, **how):
        """`code`: of the stop; `ends`: of its own end, where it comes to that."""
        mark = f"PROCESS_TEST={self.id()}-{os.getpid()}"
        name, value = mark.split("=")
        extra = {"MAY_RELOAD": 1} if reloads else {}
        for i, moment in enumerate(moments):
            number = STOPS[i % len(STOPS)]
            with self.subTest(moment=moment, signal=number.name):
                ended = self.stop_at(argv, moment, number, **{name: value}, **extra, **how)
                said = self.fleet.programs[-1].said
                if ended is None:
                    self.assertEqual(self.fleet.programs[-1].popen.returncode, ends, said)
                else:
                    self.assertIn(ended, (code, ends), said)
                wait_until(lambda: not processes_with(mark), "the end of its children", 5)
                after()

    def assert_whole_lines(self, path):
        if path.exists():
            text = path.read_bytes()
            self.assertTrue(text == b"" or text.endswith(b"\n"), text[-100:])

    def test_a_server_that_serves(self):
        self.at_any_moment(self.serving("--http", "127.0.0.1:0"), 0, reloads=True,
                           after=lambda: self.assert_whole_lines(self.folder / "results.jsonl"))

    def test_a_server_that_waits_for_nodes(self):
        run = self.folder / "run"
        self.at_any_moment(self.training(run, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"), 130, reloads=True)

    def test_a_training_in_one_process_and_it_goes_on(self):
        run, fresh = self.folder / "run", self.folder / "fresh"
        local = ("--local", "--data", made.split)
        experiment = f.write_experiment(self.folder / "e.yaml", training__epochs=40, training__checkpoint_every=20)
        self.at_any_moment(self.training(run, *local, experiment=experiment), 130,
                           after=lambda: self.assert_whole_lines(run / "log.jsonl"))
        for folder in (run, fresh):
            self.fleet.run("to its end", *self.training(folder, *local, experiment=experiment))
        self.assertEqual(f.weights(run), f.weights(fresh))
        self.assertEqual(list(run.rglob("*.part-*")), [])

    def test_a_classifier_alone(self):
        run = self.folder / "run"
        argv = self.server("train", made.alone, "--local", "--data", made.whole, "--labels", made.whole / "server", "--out",
                           run, "--resume")
        self.at_any_moment(argv, 130)
        self.fleet.run("to its end", *argv)

    def test_a_training_that_goes_on_to_serve(self):
        run = shutil.copytree(made.run, self.folder / "run")
        self.at_any_moment(self.training(run, "--listen", "127.0.0.1:0", "--serve-after", experiment=made.experiment), 130,
                           reloads=True)

    def test_nodes(self):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = closed.getsockname()[1]
        trains = self.fleet.train(made.long, made.split, self.folder / "run")
        for name, argv in {"no server": self.node(nobody), "no such name": self.node(7010, "--insecure", host="nobody.invalid"),
                           "a training that waits": self.node(trains.port)}.items():
            with self.subTest(name):
                self.at_any_moment(argv, 0, reloads=True)
        with self.subTest("a silent server"):  # which is waited for, a second at most
            self.at_any_moment(self.node(self.silent_server()), 0, reloads=True, moments=(0, 21))

    def test_a_node_whose_name_server_is_silent(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, for a name server of its own")
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(silent.close)
        silent.bind(("127.0.0.2", 53))
        servers = self.folder / "resolv.conf"
        servers.write_text("nameserver 127.0.0.2\n")

        def prepare():
            f.LIBC.unshare(CLONE_NEWNS)
            f.LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
            f.LIBC.mount(bytes(servers), b"/etc/resolv.conf", None, MS_BIND, None)
        self.at_any_moment(self.node(7010, "--insecure", host="decoder.example"), 0, reloads=True, moments=(0, 5, 21, 55, 144),
                           prepare=prepare)

    def test_a_node_that_streams(self):
        serves = self.fleet.serve(made.run, "--results", "none")
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        self.at_any_moment(self.node(serves.port, "--stream", "stdin", state=made.run / "nodes/node-0"), 0, reloads=True, stdin=reader)

    def test_what_asks_a_server(self):
        url = f"http://127.0.0.1:{self.silent_server()}"
        for words in (("status", "--server", url, "--wait", 60), ("loadtest", "--server", url),
                      ("classify", "--server", url, f"{made.source}/t10k-images-idx3-ubyte:0"),
                      ("data", "get", "mnist", "--to", self.folder / "get", "--mirror", url)):
            with self.subTest(words[0]):
                self.at_any_moment(self.fewbit(*words), 130)
        with self.subTest("status --watch"):
            self.at_any_moment(self.fewbit("status", "--server", url, "--watch"), 0)

    def test_a_data_set_is_parted(self):
        to = self.folder / "parts"
        argv = self.fewbit("data", "split", "--dataset", "mnist", "--from", made.source, "--to", to)

        def no_half_file():
            self.assertEqual(list(to.rglob("*.part-*")), [])
        self.at_any_moment(argv, 130, after=no_half_file)
        self.fleet.run("whole", *argv)

    def test_a_sweep_and_a_plot_leave_nobody(self):
        to = self.folder / "sweep"
        argv = self.fewbit("sweep", made.folder / "sweep.yaml", "--to", to, "--data", made.split)
        self.at_any_moment(argv, 130)
        self.fleet.run("to its end", *argv)
        self.at_any_moment(self.fewbit("plot", made.run, "--to", self.folder / "plots"), 130)
        self.assertEqual(list((self.folder / "plots").glob(".fewbit-*")), [])

    def test_process_1_of_a_container(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, for a process namespace")
        prefix = ("unshare", "--pid", "--fork", "--kill-child")
        run = self.folder / "run"
        modes = {"serves": (self.serving(), 0), "trains": (self.training(run, "--listen", "127.0.0.1:0"), 130),
                 "in one process": (self.training(run, "--local", "--data", made.split), 130),
                 "a node": (self.node(1), 0)}
        for (name, (argv, code)), moment in itertools.product(modes.items(), (0, 5, 55, 144)):
            with self.subTest(name, moment=moment):
                self.assertEqual(self.stop_at(argv, moment, signal.SIGTERM, prefix=prefix), code)

    def test_a_second_one_ends_it_at_once(self):
        serves = self.fleet.start("serves", *self.serving("--drain-timeout", 60000))
        serves.wait_event("serving")
        serves.signal(signal.SIGSTOP)
        serves.signal(signal.SIGTERM)
        serves.signal(signal.SIGINT)
        serves.signal(signal.SIGCONT)
        self.assertIn(serves.wait(seconds=SOON), (0, 130))

    def test_nohup(self):
        """A hang-up that is ignored stays so; other programs stop by it, and those that reload go on."""
        local = self.training(self.folder / "run", "--local", "--data", made.split)
        program = self.fleet.start("nohup", *local, prepare=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        wait_until(lambda: f.events(self.folder / "run", "started"), "its start")
        program.signal(signal.SIGHUP)
        wait_until(lambda: f.events(self.folder / "run", "committed") or not program.is_running(), "a checkpoint")
        self.assertTrue(program.is_running())
        self.assert_ends_soon(program, signal.SIGTERM, 130)
        node = self.fleet.start("node", *self.node(1))
        node.wait_event("server_away")
        node.signal(signal.SIGHUP)
        node.wait_event("nothing_to_reload")
        self.assert_ends_soon(node, signal.SIGTERM, 0)


class Streams(ProcessCase):
    """Standard streams that are closed are /dev/null: no file or socket gets their numbers."""

    def closed(self, which):
        def prepare():
            for fd in which:
                os.close(fd)
        return prepare

    def test_every_combination(self):
        """Of those that run on, the descriptors are looked at; of those that end, the exit code."""
        run = self.folder / "run"
        daemons = {"serves": self.serving("--http", "127.0.0.1:0"),
                   "trains": self.training(run, "--listen", "127.0.0.1:0"),
                   "in one process": self.training(self.folder / "local", "--local", "--data", made.split),
                   "a node": self.node(1),
                   "asks": self.fewbit("status", "--server", f"http://127.0.0.1:{self.silent_server()}", "--wait", 60)}
        for count in range(4):
            for which in itertools.combinations(range(3), count):
                for name, argv in daemons.items():
                    with self.subTest(name, closed=which):
                        self.look_at_streams(self.fleet.start(name, *argv, prepare=self.closed(which)), which)
                with self.subTest("ends", closed=which):
                    self.fleet.run("ends", *self.fewbit("result", made.run), prepare=self.closed(which))

    def look_at_streams(self, program, which):
        links = pathlib.Path(f"/proc/{program.pid}/fd")
        wait_until(lambda: is_caught(program.pid, signal.SIGTERM) is not False, "main")
        wait_until(lambda: (links / "5").exists() or not program.is_running(), "its files")
        for fd in which:
            self.assertEqual(os.readlink(links / str(fd)), "/dev/null")
        program.signal(signal.SIGTERM)
        self.assertIn(program.wait(seconds=SOON), (0, 130))

    def test_no_log_line_gets_into_the_results(self):
        results = self.folder / "results.jsonl"
        server = self.fleet.start("serves", *self.serving("--address-file", self.folder / "where.json"),
                                  prepare=self.closed((2,)))
        wait_until(lambda: read_json(self.folder / "where.json"), "its addresses")
        self.assert_ends_soon(server, signal.SIGTERM, 0)
        self.assertEqual(results.read_bytes(), b"")

    def test_output_that_cannot_be_written(self):
        for command in (("experiment", "list", "--experiments", f.ROOT / "experiments"), ("result", made.run), ("--help",), ("data", "get", "--help")):
            with self.subTest(command), open("/dev/full", "wb") as full:
                done = subprocess.run([str(w) for w in self.fewbit(*command)], stdout=full, stderr=subprocess.PIPE)
                self.assertEqual(done.returncode, 5, done.stderr)
                self.assertRegex(done.stderr, rb"^fewbit[^\n]*: standard output: No space left on device\n$")
        for command in (("result", made.run), ("status", "--watch", "--server", "http://127.0.0.1:1")):
            with self.subTest("closed pipe", command=command):
                reader, writer = os.pipe()
                os.close(reader)
                done = subprocess.run([str(w) for w in self.fewbit(*command)], stdout=writer, stderr=subprocess.PIPE,
                                      timeout=f.PATIENCE)
                os.close(writer)
                self.assertEqual(done.returncode, 5, done.stderr)
                self.assertIn(b"Broken pipe", done.stderr)


@unittest.skipIf(f.SANITIZED, "a sanitizer has its own malloc")
class Memory(ProcessCase):
    """Memory that lacks for a while loses what is asked meanwhile, at most: all that is asked afterwards is answered."""

    def preload(self):
        library = self.folder / "no_memory.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, pathlib.Path(__file__).with_name("no_memory.c")], check=True)
        return library

    def ask_everything(self, server, timeout):
        """What comes of each request, at once: a status, or how it failed."""
        boundary = "part"
        image = f.image(made.source, 0)
        batch = b"".join(b"--part\r\nContent-Disposition: form-data; name=a\r\nContent-Type: application/octet-stream\r\n\r\n" +
                         image + b"\r\n" for _ in range(64)) + b"--part--\r\n"
        raw = {"Content-Type": "application/octet-stream"}
        requests = [("GET", path, None, {}) for path in ("/metrics", "/v1/nodes", "/healthz", "/readyz", "/v1/model", "/")]
        requests += [("POST", "/v1/classify", image, raw), ("POST", "/v1/model/reload", None, {}),
                     ("POST", "/v1/classify", batch, {"Content-Type": f"multipart/form-data; boundary={boundary}"})]

        def ask(request):
            connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=timeout)
            try:
                connection.request(*request)
                answer = connection.getresponse()
                text = answer.read().decode()
                return f"{request[1]} {answer.status}" + (" with an error" if '"error"' in text else "")
            except OSError as failure:
                return f"{request[1]} {type(failure).__name__}"
            except http.client.HTTPException as failure:
                return f"{request[1]} {type(failure).__name__}"
            finally:
                connection.close()
        with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
            return sorted(pool.map(ask, requests))

    def start(self, **extra):
        server = self.fleet.serve(made.run, "--results", "none", **extra)
        nodes = [self.fleet.node(k, server, made.split, made.run / "nodes" / f"node-{k}") for k in range(f.PORTIONS)]
        serving.ServingCase.wait_ready(self, server, f.PORTIONS)
        return server, nodes

    def test_for_a_moment(self):
        """From the start, before any buffer has grown to its working size."""
        flag, library = self.folder / "flag", self.preload()
        wanted = self.ask_everything(self.start()[0], f.PATIENCE)
        for least in (131072, 32768, 8192, 2048, 512, 64):
            with self.subTest(least=least):
                server, nodes = self.start(LD_PRELOAD=library, NO_MEMORY_FILE=flag, NO_MEMORY_FROM=least)
                flag.touch()
                self.ask_everything(server, 0.3)
                flag.unlink()
                serving.ServingCase.wait_ready(self, server, f.PORTIONS)
                self.assertEqual(self.ask_everything(server, 10), wanted)
                for node in nodes:
                    self.assert_ends_soon(node, signal.SIGTERM, 0)
                self.assert_ends_soon(server, signal.SIGTERM, 0, 8)


class Limits(ProcessCase):
    """Too little of anything is one line and an exit code: no signal, no abort, no waiting without an end."""

    LOADER = 127  # of a program whose libraries cannot be loaded
    CODES = (0, 1, 3, 4, 5, 6, 7, 130)
    IS_AT_WORK = r"nodes on |listening on |trying again|welcome to run|epoch "

    def modes(self, to):
        """Everything that writes does so in `to`."""
        return {"serves": self.server("serve", made.run, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--results",
                                      to / "results.jsonl", "--address-file", to / "where.json"),
                "trains": self.training(to / "train", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"),
                "in one process": self.training(to / "local", "--local", "--data", made.split, "--threads", 2),
                "a node": self.node(1, state=to / "state"),
                "a node that streams": self.node(1, "--stream", "stdin", state=to / "streams"),
                "splits": self.fewbit("data", "split", "--dataset", "mnist", "--from", made.source, "--to", to / "split"),
                "lists": self.fewbit("experiment", "list", "--experiments", f.ROOT / "experiments", "--runs", to),
                "shows": self.fewbit("result", made.run),
                "plots": self.fewbit("plot", made.run, "--to", to / "plots")}

    def ends_well(self, argv, prepare):
        """Starts it and stops it once it is at work; whether it came to that, or to a good end."""
        program = self.fleet.start("limited", *argv, prepare=prepare, FEWBIT_LOG_FORMAT="text")
        wait_until(lambda: not program.is_running() or re.search(self.IS_AT_WORK, program.said), "work, or its end", 20,
                   lambda: program.said)
        was_at_work = program.is_running()
        if was_at_work:
            program.signal(signal.SIGTERM)
        code = program.wait(seconds=20)
        said = program.said
        self.assertIn(code, (*self.CODES, self.LOADER), said)
        self.assertNotIn("did not close clean", said)
        if code and code != 130:
            line = "while loading shared libraries" if code == self.LOADER else r"^(decoder_server|encoder_node|fewbit): "
            self.assertRegex(said.splitlines()[-1], line)
        return code == 0 or was_at_work

    def sweep(self, limit, values, names=None):
        to = self.folder / "to"
        to.mkdir()
        for name, argv in self.modes(to).items():
            good = 0
            for value in values if names is None or name in names else ():
                with self.subTest(name, limit=value):
                    good += self.ends_well(argv, lambda: resource.setrlimit(limit, (value, value)))
                if good == 2:  # it has enough
                    break
            else:
                self.assertTrue(names or good, name)

    def test_descriptors(self):
        self.sweep(resource.RLIMIT_NOFILE, range(3, 40))

    def test_descriptors_that_others_have_taken(self):
        """A server whose descriptors are all in use takes no connection, and no processor, until one is free again."""
        for port in ("port", "http"):
            with self.subTest(port):
                server = self.fleet.serve(made.run, "--results", "none",
                                          prepare=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48)))
                crowd = [socket.create_connection(("127.0.0.1", getattr(server, port))) for _ in range(80)]
                server.wait_event("accept_failed", message="Too many open files")
                ticks = [sum(map(int, pathlib.Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))]
                time.sleep(0.5)
                ticks += [sum(map(int, pathlib.Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))]
                self.assertLess(ticks[1] - ticks[0], 0.5 * os.sysconf("SC_CLK_TCK") / 4)
                for caller in crowd:
                    caller.close()
                node = self.fleet.node(0, server, made.split, made.run / "nodes" / "node-0")
                serving.ServingCase.wait_ready(self, server, 1)
                self.assert_ends_soon(node, signal.SIGTERM, 0)
                self.assert_ends_soon(server, signal.SIGTERM, 0)

    @unittest.skipIf(f.SANITIZED, "a sanitizer takes address space as it likes")
    def test_address_space(self):
        self.sweep(resource.RLIMIT_AS, [mib << 20 for mib in (*range(80, 640, 28), 2048)],
                   ("serves", "trains", "in one process", "a node", "splits", "lists", "shows"))  # gnuplot itself would hang

    def test_file_size(self):
        """From what the log needs itself."""
        self.sweep(resource.RLIMIT_FSIZE, (400, 2000, 20000, 1 << 30), ("serves", "trains", "in one process", "a node", "splits", "plots"))

    @unittest.skipIf(os.geteuid() != 0, "needs root, to mount")
    def test_a_disk_that_is_full_or_for_reading_only(self):
        for options in ("size=4k", "size=16k", "size=64k", "size=256k", "ro"):
            with self.subTest(options):
                disk = self.folder / options
                disk.mkdir()
                done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", disk], capture_output=True)
                if done.returncode:
                    self.skipTest("cannot mount here")
                try:
                    for name, argv in self.modes(disk).items():
                        with self.subTest(name):
                            self.ends_well(argv, None)
                finally:
                    for program in self.fleet.programs:
                        program.close()
                    subprocess.run(["umount", "-l", disk], check=True)


class Lines(ProcessCase):
    """Files of lines have whole lines, whatever happened; every loss is told when it begins and when it ends."""

    def test_a_disk_that_is_full_twice(self):
        results = self.folder / "results.jsonl"
        results.write_bytes(1000 * (b"{" + 100 * b" " + b"}\n"))  # longer than the log will be, for which the limit is one, too
        server = self.fleet.serve(made.run, "--results", results)
        for k in range(f.PORTIONS):
            self.fleet.node(k, server, made.split, made.run / "nodes" / f"node-{k}")
        serving.ServingCase.wait_ready(self, server, f.PORTIONS)
        asked = 0

        def ask(count):
            for i in range(count):
                self.assertEqual(serving.post(server, f.image(made.source, i))[0], 200)
            return count
        for episode in (1, 2):
            asked += ask(4)
            wait_until(lambda: results.read_bytes().count(b"\n") >= 1000 + asked - 4 * (episode - 1), "results")
            size = results.stat().st_size
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size + 50, resource.RLIM_INFINITY))
            asked += ask(4)
            server.wait_event("file_write_failed", episode, message="File too large")
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            asked += ask(1)
            server.wait_event("lines_lost", episode)
        lost = int(serving.metric(server, "fewbit_results_lost_total"))
        self.assertEqual(lost, 8)
        self.assert_ends_soon(server, signal.SIGTERM, 0)
        self.assertIn(f"{lost} results were lost in all", server.said)
        lines = results.read_text().splitlines()
        self.assertEqual(len(lines) + lost, 1000 + asked)
        for line in lines:
            json.loads(line)

    def test_half_a_line_of_a_crash(self):
        run, results = shutil.copytree(made.run, self.folder / "run"), self.folder / "results.jsonl"
        whole = (run / "log.jsonl").read_text()
        (run / "log.jsonl").write_text(whole + '{"event": "sta')
        results.write_text('{"id":1}\n{"id":2,"cl')
        local = self.fleet.run("resume", *self.training(run, "--local", "--data", made.split, experiment=made.experiment))
        self.assertIn("log.jsonl: ends in half a line of 14 bytes, which is cut off", local.said)
        text = (run / "log.jsonl").read_text()
        self.assertTrue(text.startswith(whole) and len(text) > len(whole))
        for line in text.splitlines():
            json.loads(line)
        server = self.fleet.serve(made.run, "--results", results)
        self.assertIn("results.jsonl: ends in half a line of 11 bytes, which is cut off", server.said)
        self.assert_ends_soon(server, signal.SIGTERM, 0)
        self.assertEqual(results.read_text(), '{"id":1}\n')

    def test_a_log_whose_disk_is_full(self):
        """Whoever writes to it: half a line is ended, and the lines that are lost are counted."""
        log = self.folder / "log"
        command = [str(w) for w in self.node(1)]
        with open(log, "ab") as to:
            node = subprocess.Popen(command, stderr=to, cwd=self.folder, env=f.environment(FEWBIT_LOG_FORMAT="text"))
            self.addCleanup(node.wait)
            self.addCleanup(node.kill)
            wait_until(lambda: b"trying again" in log.read_bytes(), "its first line")
            size = log.stat().st_size
            resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
            for _ in range(3):
                node.send_signal(signal.SIGHUP)
                time.sleep(0.05)
            wait_until(lambda: log.stat().st_size == size + 20, "half a line")
            resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            node.send_signal(signal.SIGHUP)
            wait_until(lambda: b"lines of the log were lost" in log.read_bytes(), "how much was lost")
        lines = log.read_text().splitlines()
        self.assertRegex(lines[-2], "there is nothing here to read again$")
        self.assertRegex(lines[-1], r" [1-3] lines of the log were lost before this$")


def hear_interrupts():
    """In a child: a shell has background jobs ignore SIGINT, and so what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Leftovers(ProcessCase):
    """A test program leaves no temporary folder and no process, however it ends."""

    SUITE = """
import tempfile, time
from lib import fleet
started = fleet.Fleet()
started.start("child", "sleep", 1000)
tempfile.mkdtemp(prefix="fewbit-forgotten-")
print("ready", flush=True)
{end}
"""

    def setUp(self):
        super().setUp()
        self.room = self.folder / "room"
        self.room.mkdir()
        self.environment = {**os.environ, "TMPDIR": str(self.room)}

    def assert_nothing_is_left(self):
        wait_until(lambda: not list(self.room.iterdir()), f"the end of {list(self.room.rglob('*'))}", 10)
        wait_until(lambda: not processes_with(f"TMPDIR={self.room}"), "the end of all processes", 10)

    def test_of_a_suite_with_programs(self):
        ends = {"at its end": ("pass", None), "with an exception": ("raise ValueError", None),
                "by os._exit": ("import os; os._exit(3)", None), "stopped": ("time.sleep(1000)", signal.SIGTERM),
                "interrupted": ("time.sleep(1000)", signal.SIGINT), "killed": ("time.sleep(1000)", signal.SIGKILL)}
        for name, (end, number) in ends.items():
            with self.subTest(name):
                text = self.SUITE.format(end=end)
                suite = subprocess.Popen(["/usr/bin/python3", "-c", text], cwd=f.ROOT / "tests/daemon",
                                         env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                         preexec_fn=hear_interrupts)
                with suite:
                    self.assertEqual(suite.stdout.readline(), b"ready\n")
                    if number:
                        suite.send_signal(number)
                    suite.wait(30)
                self.assert_nothing_is_left()

    def test_of_unit_tests(self):
        def start(name):
            return subprocess.Popen([f.binary(f"tests/{name}")], env=self.environment, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)
        for name in ("test_results", "test_data"):
            self.assertEqual(start(name).wait(), 0)
            self.assertEqual(list(self.room.iterdir()), [])
        killed = start("test_torture")
        wait_until(lambda: list(self.room.iterdir()), "its folder")
        killed.kill()
        killed.wait()
        self.assertNotEqual(list(self.room.iterdir()), [])
        self.assertEqual(start("test_results").wait(), 0)  # the next one removes it
        self.assertEqual(list(self.room.iterdir()), [])

    def test_make_help_lists_every_target(self):
        makefile = (f.ROOT / "Makefile").read_text()
        shown = subprocess.run(["make", "-C", f.ROOT, "help"], capture_output=True, check=True).stdout.decode()
        wanted = re.findall(r"(?m)^([^\s:]+):.*## ", makefile)
        self.assertEqual(re.findall(r"(?m)^  (\S+)", shown), wanted)
        self.assertIn("results-cifar10", wanted)


if __name__ == "__main__":
    unittest.main()

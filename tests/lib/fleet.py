"""Real daemons on loopback for tests: start, watch, disturb and end them.

Nothing here sleeps for luck: a test waits for an event (a line on standard error, a file, an answer over HTTP, the end
of a process) until a generous deadline, and a deadline that passes fails with what every program said. Whatever a
test started is gone when it ends: each program has its own process group, killed by Fleet.close, and dies with us.

The programs come from the folder FEWBIT_BIN_DIR (default build/bin). FEWBIT_SANITIZE says that they are slow.
"""
import ctypes
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
import zlib

from .log_reader import LogReader

ROOT = pathlib.Path(__file__).resolve().parents[2]
SANITIZED = bool(os.environ.get("FEWBIT_SANITIZE"))
PATIENCE = 300 if SANITIZED else 60
PORTIONS = 4
SIDE = 28
PIXELS = SIDE * SIDE
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def binary(name):
    folder = ROOT / os.environ.get("FEWBIT_BIN_DIR", "build/bin")
    inner = folder / "bin" / name
    return str(inner if inner.exists() else folder / name)


def environment(**extra):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FEWBIT_")}
    return {**kept, "no_proxy": "*", "FEWBIT_LOG_FORMAT": "json", **{key: str(value) for key, value in extra.items()}}


def wait_until(holds, what, seconds=None, explain=lambda: ""):
    """The first true value of holds(); fails once the deadline has passed."""
    end = time.monotonic() + (seconds or PATIENCE)
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}\n{explain()}")
        time.sleep(0.003)


class Program:
    """One running program; its standard output and error go to files."""

    def __init__(self, fleet, name, arguments, stdin=subprocess.DEVNULL, prepare=None, **extra):
        self.fleet, self.name = fleet, name
        base = fleet.folder / f"said-{len(fleet.programs)}-{name}"
        self.out_path, self.error_path = base.with_suffix(".out"), base.with_suffix(".err")

        def before_exec():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests in the background ignores it
            if prepare:
                prepare()

        with open(self.out_path, "wb") as out, open(self.error_path, "wb") as error:
            self.popen = subprocess.Popen(
                [str(a) for a in arguments], stdin=stdin, stdout=out, stderr=error, cwd=fleet.folder,
                env=environment(**extra), start_new_session=True, preexec_fn=before_exec)
        self.pid = self.popen.pid
        self.log = LogReader(self.error_path)

    @property
    def said(self):
        """Standard error as people read it."""
        return self.log.text()

    @property
    def printed(self):
        return self.out_path.read_text(errors="replace")

    def is_running(self):
        return self.popen.poll() is None

    def events(self, event, **fields):
        """The events so far, each with its fields; see LogReader.events."""
        return self.log.events(event, **fields)

    def wait_text(self, pattern):
        """Waits for what a program says that has no log of its own."""
        wait_until(lambda: re.search(pattern, self.said), f"{self.name} to say {pattern!r}", explain=self.fleet.explain)

    def wait_event(self, event, count=1, seconds=None, **fields):
        """Waits until there are `count` such events; returns the fields of the last of these."""
        what = f"{event} {fields or ''}{f' {count} times' if count > 1 else ''}"

        def look():
            ended = not self.is_running()
            found = self.events(event, **fields)
            if len(found) < count and ended:
                raise AssertionError(f"{self.name} ended without {what}\n{self.fleet.explain()}")
            return found[count - 1] if len(found) >= count else None
        return wait_until(look, f"{what} of {self.name}", seconds, self.fleet.explain)

    def wait_port(self, event):
        """The port that a server listens on, once it does."""
        return int(re.search(r" on \S*:(\d+)", self.wait_event(event)["message"]).group(1))

    def wait(self, code=None, seconds=None):
        """Waits for the end; `code`: what the exit status must be."""
        wait_until(lambda: not self.is_running(), f"the end of {self.name}", seconds, self.fleet.explain)
        if code is not None and self.popen.returncode != code:
            raise AssertionError(f"{self.name} ended with {self.popen.returncode}, not {code}\n{self.fleet.explain()}")
        return self.popen.returncode

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait()

    def freeze(self):
        """Stops it and waits until the kernel says so."""
        self.signal(signal.SIGSTOP)
        wait_until(lambda: self.status("State").startswith(("T", "Z")), f"{self.name} to stand still")

    def thaw(self):
        self.signal(signal.SIGCONT)

    def status(self, field):
        """A field of /proc/PID/status; "" once it has ended."""
        try:
            text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return ""
        found = re.search(rf"^{field}:\s*(.*)$", text, re.M)
        return found.group(1) if found else ""

    def peak_kib(self):
        value = self.status("VmHWM")
        return int(value.split()[0]) if value else 0

    def leaves_nobody(self):
        """Whether its process group is empty."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def close(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self.popen.wait()
        if self.popen.stdin:
            try:
                self.popen.stdin.close()
            except OSError:
                pass


class Fleet:
    """The programs of one test, in a folder of their own."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-fleet-"))
        self.programs = []

    def start(self, name, *arguments, **how):
        program = Program(self, name, arguments, **how)
        self.programs.append(program)
        return program

    def run(self, name, *arguments, code=0, **how):
        program = self.start(name, *arguments, **how)
        program.wait(code)
        return program

    def train(self, experiment, split, run, *options, port=0, **how):
        """A training server; its port is .port."""
        server = self.start("server", binary("decoder_server"), "train", experiment, "--listen", f"127.0.0.1:{port}",
                            "--labels", split / "server", "--out", run, *options, **how)
        server.port = server.wait_port("listening")
        return server

    def train_local(self, experiment, split, run, *options, code=0, **how):
        return self.run("local", binary("decoder_server"), "train", experiment, "--local", "--data", split,
                        "--labels", split / "server", "--out", run, *options, code=code, **how)

    def serve(self, run, *options, port=0, **how):
        """A serving server; its ports are .port and .http."""
        server = self.start("serve", binary("decoder_server"), "serve", run, "--listen", f"127.0.0.1:{port}",
                            "--http", "127.0.0.1:0", *options, **how)
        server.port, server.http = server.wait_port("serving"), server.wait_port("http_listening")
        return server

    def node(self, k, server, split, state, *options, name=None, **how):
        port = server if isinstance(server, int) else server.port
        name = name or f"node-{k}"
        return self.start(name, binary("encoder_node"), "--server", f"127.0.0.1:{port}", "--name", name,
                          "--data", split / f"node-{k}", "--state", state, *options, **how)

    def nodes(self, server, split, states, *options, order=range(PORTIONS), **how):
        """All nodes, each started once the one before it has joined; by portion. `states` is a folder of folders."""
        started = {}
        for k in order:
            joined = ("node_joined", "node_ready")
            before = len(server.events(joined, portion=k))
            started[k] = self.node(k, server, split, states / f"node-{k}", *options, **how)
            server.wait_event(joined, before + 1, portion=k)
        return [started[k] for k in sorted(started)]

    def explain(self):
        """What every program said last, for a failure's message."""
        lines = []
        for p in self.programs[-12:]:
            state = "running" if p.is_running() else f"ended with {p.popen.returncode}"
            lines.append(f"--- {p.name} ({state})\n{p.said[-1500:]}")
        return "\n".join(lines)

    def close(self):
        for p in self.programs:
            p.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class FleetCase(unittest.TestCase):
    """A test with a fleet of its own in self.fleet, and its folder in self.folder."""

    def setUp(self):
        self.fleet = Fleet()
        self.addCleanup(self.fleet.close)
        self.folder = self.fleet.folder

    def assert_ends_soon(self, program, number, code, seconds=5):
        """A signal ends it within seconds, with nobody left."""
        program.signal(number)
        program.wait(code, seconds * 4 if SANITIZED else seconds)
        self.assertTrue(program.leaves_nobody(), f"{program.name} has left a child")


# Data.

def idx(dims, data):
    return struct.pack(f">HBB{len(dims)}I", 0, 8, len(dims), *dims) + bytes(data)


def npy(dims, data):
    """A .npy file of bytes, as NumPy writes it."""
    shape = f"({dims[0]},)" if len(dims) == 1 else str(tuple(dims))
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + bytes(data)


def npy_values(path):
    """The elements of a .npy file, as bytes."""
    stored = path.read_bytes()
    return stored[10 + int.from_bytes(stored[8:10], "little"):]


def portion_digest(info, train, test):
    """The digest of a portion of bytes without ids, scaling and columns, as shared/data/portion.c has it."""
    dims = [*info["shape"], 0, 0][:3]
    numbers = struct.pack("<10I", 0, len(info["shape"]), *dims, info["train_samples"], info["test_samples"], 0, 0, 0)
    return hashlib.sha256(numbers + train + test).hexdigest()


def make_samples(count, seed, classes_seed=1):
    """Images [count, 784] of ten patterns under heavy noise, and their classes."""
    draw = random.Random(classes_seed)
    patterns = []
    for _ in range(10):
        blocks = [[draw.choice((0, 22)) for _ in range(7)] for _ in range(7)]
        patterns.append([blocks[y // 4][x // 4] for y in range(SIDE) for x in range(SIDE)])
    draw = random.Random(seed)
    classes = bytes(draw.randrange(10) for _ in range(count))
    images = bytearray()
    for c in classes:
        images += bytes([p + (n * 5 >> 3) for p, n in zip(patterns[c], draw.randbytes(PIXELS))])
    return bytes(images), classes


def make_set(folder, train=2000, test=500, seed=7, tiles=(1, 1)):
    """The four files of an MNIST-shaped set; `tiles`: how often each training and each test sample is in it."""
    folder.mkdir(parents=True)
    for part, count, salt, often in (("train", train, 0, tiles[0]), ("t10k", test, 1000, tiles[1])):
        images, classes = make_samples(count, seed + salt)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx((count * often, SIDE, SIDE), images * often))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx((count * often,), classes * often))
    return folder


def split_set(source, to, *options, name="mnist"):
    subprocess.run([binary("fewbit"), "data", "split", "--dataset", name, "--from", source, "--to", to,
                    *map(str, options)], check=True, env=environment(), capture_output=True, timeout=PATIENCE)
    return to


def image(source, index):
    """One test image's bytes."""
    with open(source / "t10k-images-idx3-ubyte", "rb") as f:
        f.seek(16 + index * PIXELS)
        return f.read(PIXELS)


def labels(source):
    return (source / "t10k-labels-idx1-ubyte").read_bytes()[8:]


def png(pixels, width=SIDE, height=SIDE):
    """A PNG of 8-bit greys."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = b"".join(b"\0" + pixels[y * width:(y + 1) * width] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) +
            chunk(b"IEND", b""))


# Experiments.

EXPERIMENT = {
    "name": "tiny",
    "dataset": {"name": "mnist", "partition": "slices", "portions": PORTIONS, "mean": 0.1307, "std": 0.3081},
    "encoder": {"net": "simple-1d", "hidden": 32, "bits": 4, "batch_norm": "false", "activation": "sigmoid",
                "binarize": "after-training"},
    "decoder": {"net": "linear"},
    "classifier": {"net": "mnist", "hidden": 64},
    "loss": {"quantization": 0},
    "optimiser": {"kind": "adam", "learning_rate": 0.001},
    "training": {"epochs": 2, "batch_size": 10, "seed": 1},
}


def experiment_text(base=None, **changes):
    """`base` (the tiny experiment) as YAML, with training__batch_size=20 for key batch_size of section training; None leaves a key or
    section out."""
    whole = {section: dict(keys) if isinstance(keys, dict) else keys for section, keys in (base or EXPERIMENT).items()}
    for path, value in changes.items():
        section, _, key = path.partition("__")
        (whole.setdefault(section, {}) if key else whole)[key or section] = value
    lines = []
    for section, keys in whole.items():
        if isinstance(keys, dict):
            lines.append(f"{section}:")
            lines += [f"  {key}: {value}" for key, value in keys.items() if value is not None]
        elif keys is not None:
            lines.append(f"{section}: {keys}")
    return "\n".join(lines) + "\n"


def write_experiment(path, **changes):
    path.write_text(experiment_text(**changes))
    return path


def shipped_experiment(name, path, /, **keys):
    """A copy of experiments/*/NAME with other values for some keys, wherever they stand."""
    text = next((ROOT / "experiments").glob(f"*/{name}")).read_text()
    for key, value in keys.items():
        text = re.sub(rf"(?m)^(  {key}: ).*$", rf"\g<1>{value}", text)
    path.write_text(text)
    return path


# Runs.

def read_json(path):
    """The file's content; None while there is none."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def events(run, kind=None):
    """The whole lines of log.jsonl."""
    try:
        text = (run / "log.jsonl").read_text()
    except FileNotFoundError:
        return []
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [e for e in lines if kind is None or e["event"] == kind]


def identity_of(run, text=None):
    """The identity of a run, as shared/data/run_identity.h says what it is of: 16 hex digits."""
    text = (run / "experiment.yaml").read_bytes() if text is None else text.encode()
    known = read_json(run / "identity.json")
    of_portions = [] if known["pinned"] else known["portion_digests"]
    digests = [d.encode().ljust(65, b"\0") for d in (known["labels"], known["ids"], *of_portions)]
    numbers = struct.pack("<QIIII", len(text), known["train_samples"], known["test_samples"],
                          len(known["portions"]), known["pinned"])
    weights_digest = bytes.fromhex(known["weights"]["sha256"]) if known["weights"] else b""
    return hashlib.sha256(numbers + text + b"".join(digests) + weights_digest).hexdigest()[:16]


def rewrite_experiment(run, text):
    """As if the run had begun with this text."""
    known = {**read_json(run / "identity.json"), "run": identity_of(run, text)}
    (run / "identity.json").write_text(json.dumps(known))
    (run / "experiment.yaml").write_text(text)
    return known["run"]


def parts_of(state, run, k):
    """The checkpoints that a node of portion k keeps of the training in a folder."""
    identity = read_json(run / "identity.json")
    return sorted((state / identity["run"] / f"portion-{k}" / identity["training"]).iterdir())


def weights(run, states=None, portions=PORTIONS):
    """SHA-256 of every checkpoint part by a name that is the same in one process and over TCP."""
    states = states or run / "nodes"
    parts = {f"head/{p.name}": p for p in (run / "head").iterdir()}
    for k in range(portions):
        parts.update({f"node-{k}/{p.name}": p for p in parts_of(states / f"node-{k}", run, k)})
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(parts.items())}

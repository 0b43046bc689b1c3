#!/usr/bin/python3
"""`fewbit data get` and `fewbit data split` as a user runs them, against loopback mirrors and tiny data sets."""
import gzip
import hashlib
import http.server
import itertools
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import lib  # noqa: F401: temporary folders
from lib.fleet import npy, npy_values, portion_digest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def program(name="fewbit"):
    folder = ROOT / os.environ.get("FEWBIT_BIN_DIR", "build")
    return folder / "bin" / name if (folder / "bin" / name).exists() else folder / name


def genuine():
    """A set whose published files are on this machine, and where; (None, None) without one."""
    for name in ("mnist", "fashion-mnist"):
        for folder in (*ROOT.parent.glob(f"*/data/{name}"), pathlib.Path("/usr/share/datasets") / name):
            if all((folder / f"{file}.gz").exists() for file in FILES):
                return name, folder
    return None, None


SET, FOLDER = genuine()
needs_genuine = unittest.skipUnless(SET, "neither MNIST nor Fashion-MNIST is on this machine")


class Mirror:
    """Serves `files` ({path: bytes}) on loopback and keeps what was asked as (path, Range).

    cut: (path, bytes): the connection is cut after that many bytes of the answer, `cuts` times.
    dead: (path, offset): no byte of the file from there on is ever sent; the connection is cut.
    """

    def __init__(self, files, ranges=True, cut=None, cuts=1, dead=None, length=None, pause=0):
        self.files, self.ranges, self.cut, self.cuts, self.dead = files, ranges, cut, cuts, dead
        self.length, self.pause = length, pause
        self.asked = []
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                mirror.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        body = self.files.get(request.path)
        if body is None:
            request.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if start and start >= len(body):
            request.send_response(416)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        request.send_header("Content-Length", str(self.length or len(body) - start))
        request.end_headers()
        end = self.end(request, start)
        self.send(request, body[start:end])

    def end(self, request, start):
        if self.dead and self.dead[0] == request.path:
            request.close_connection = True
            return self.dead[1]
        if self.cut and self.cut[0] == request.path and self.cuts > 0:
            request.close_connection = True
            self.cuts -= 1
            return start + self.cut[1]
        return None

    def send(self, request, body):
        try:
            request.wfile.write(body)
            request.wfile.flush()
            time.sleep(self.pause)
        except OSError:
            pass


def genuine_files():
    return {f"/{file}.gz": (FOLDER / f"{file}.gz").read_bytes() for file in FILES}


def idx(dims, data):
    return struct.pack(f">HBB{len(dims)}I", 0, 8, len(dims), *dims) + bytes(data)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-data-cli-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.work = self.folder / "work"
        self.work.mkdir()
        self.to = self.folder / "to"

    def environment(self, extra):
        kept = {key: value for key, value in os.environ.items() if not key.startswith("FEWBIT_")}
        return {**kept, "no_proxy": "*", **extra}

    def fewbit(self, *arguments, code=0, **environment):
        done = subprocess.run(
            [program(), *map(str, arguments)], cwd=self.work, env=self.environment(environment),
            capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout, done.stderr

    def get(self, mirror, code=0, name=None):
        return self.fewbit("data", "get", name or SET, "--to", self.to, "--mirror", mirror.url, code=code)

    def names(self):
        return sorted(entry.name for entry in self.to.iterdir())

    def assert_complete(self):
        self.assertEqual(self.names(), sorted(f"{file}.gz" for file in FILES))
        for file in FILES:
            self.assertEqual((self.to / f"{file}.gz").read_bytes(), (FOLDER / f"{file}.gz").read_bytes())


class CommandLine(Case):
    def test_version_and_help(self):
        for name in ("fewbit", "encoder_node", "decoder_server"):
            said = subprocess.run([program(name), "--version"], check=True, capture_output=True, text=True).stdout
            self.assertRegex(said, rf"^{name} \d+\.\d+\.\d+( \([0-9a-f]{{12}}\))?\n$")
        self.assertIn("data split ", self.fewbit("--help")[0])
        self.assertIn("--mirror", self.fewbit("data", "get", "--help")[0])
        self.assertIn("--portions", self.fewbit("data", "split", "--help")[0])

    def test_usage_errors(self):
        for arguments in ([], ["data"], ["data", "gett"], ["data", "get"], ["data", "get", "mnist"],
                          ["data", "get", "emnist", "--to", "x"], ["data", "get", "mnist", "more", "--to", "x"],
                          ["data", "get", "--wrong"], ["data", "split", "--dataset", "mnist"],
                          ["data", "get", "mnist", "--to", "x", "--from", "y", "--mirror", "http://127.0.0.1:1"]):
            with self.subTest(arguments):
                self.assertRegex(self.fewbit(*arguments, code=2)[1], r"(?m)^fewbit.*: .+")
        self.assertEqual(list(self.work.iterdir()), [])


class Descriptions(Case):
    LISTED = """{name: own, dataset: {name: x}, nets: {wide: [{dense: 9}, relu]},
      portions: [{name: a, shape: [10], type: f32}, {name: b, shape: [2, 8], type: f32, encoder: {bits: 3, net: [
        {convolution: {outputs: 4, kernel: 3}}, {residual: {main: [gelu], shortcut: [layer_norm]}}, flatten,
        {dense: bits}]}}, {name: c, shape: [10], type: f32}],
      encoder: {net: [wide, {dense: bits}], bits: 5}, decoder: {net: identity},
      classifier: {net: [{dense: 7}, {dense: classes}]},
      optimiser: {kind: adam, learning_rate: 0.01}, training: {epochs: 1, batch_size: 5, seed: 1}}"""

    def describe(self, *arguments, code=0):
        printed, said = self.fewbit("describe", *arguments, code=code)
        return said if code else printed

    def listed(self, text=LISTED):
        (self.work / "own.yaml").write_text(text)
        return self.work / "own.yaml"

    def test_every_experiment_is_described(self):
        for path in sorted(p for folder in ("paper", "best", "own") for p in (ROOT / "experiments" / folder).glob("*.yaml")):
            with self.subTest(path.stem):
                told = json.loads(self.describe("--json", path))
                self.assertTrue(told["experiment"].endswith(path.stem))
                for net in told["nets"]:
                    for what in ("parameters", "macs"):
                        self.assertEqual(net[what], sum(layer[what] for layer in net["layers"]))
                    self.assertGreater(net["macs"], 0)
                bits = sum(net["bits"] * len(net["portions"]) for net in told["nets"][:-1])
                self.assertEqual(told["bits_per_sample"], bits)
                self.assertEqual(told["nets"][-1]["layers"][-1]["output"], [1, 1, told["classes"]])

    def test_nets_of_ones_own(self):
        told = json.loads(self.describe("--json", self.listed(), "--classes", "6"))
        rows, lines, head = told["nets"]
        self.assertEqual((rows["portions"], rows["bits"], rows["input"]), (["a", "c"], 5, [1, 1, 10]))
        self.assertEqual((rows["parameters"], rows["macs"]), (10 * 9 + 9 + 9 * 5 + 5, 10 * 9 + 9 * 5))
        self.assertEqual((lines["portions"], lines["bits"], lines["input"]), (["b"], 3, [2, 1, 8]))
        self.assertEqual([(layer["name"], layer["kind"], layer["output"]) for layer in lines["layers"][1:8]], [
            ("encoder.0", "convolution", [4, 1, 6]), ("", "residual", [4, 1, 6]), ("encoder.1.main.0", "gelu", [4, 1, 6]),
            ("", "shortcut", [4, 1, 6]), ("encoder.1.shortcut.0", "layer_norm", [4, 1, 6]), ("", "sum", [4, 1, 6]),
            ("encoder.2", "flatten", [1, 1, 24])])
        self.assertEqual(lines["parameters"], 4 * 2 * 3 + 4 + 8 + 24 * 3 + 3)
        self.assertEqual((head["layers"][-1]["output"], told["bits_per_sample"]), ([1, 1, 6], 13))
        for net in (rows, lines):
            self.assertGreater(net["bytes_to_train"], net["bytes_to_serve"])
            self.assertGreater(net["bytes_to_serve"], 4 * net["parameters"])

    def test_the_text_says_the_same(self):
        text = self.describe(self.listed())
        self.assertRegex(text, r"(?m)^encoder of a, c, input 10$")
        self.assertRegex(text, r"(?m)^encoder of b, input 2x1x8$")
        self.assertRegex(text, r"(?m)^  encoder.0 +convolution +4x1x6 +28 +144$")
        self.assertRegex(text, r"(?m)^  all +149 +135$")
        self.assertRegex(text, r"(?m)^  5 bits; its net takes  \d\.\d MiB to train,  \d\.\d MiB to serve$")
        self.assertTrue(text.endswith("13 bits a sample, 2 classes\n"))

    def test_what_does_not_fit_is_refused(self):
        self.assertIn("own.yaml:6: key classifier.net.0 does not fit: layer 0 (classifier.0) has as many outputs as an encoder",
                      self.describe(self.listed(self.LISTED.replace("[{dense: 7}", "[{dense: bits}")), code=3))
        self.describe(self.work / "none.yaml", code=4)
        self.describe(code=2)
        self.describe(self.listed(), "--classes", "1", code=2)


class ExperimentValues(Case):
    FILE = ROOT / "experiments/paper/row-03-simple-quantize.yaml"

    def value(self, *keys, file=FILE, code=0):
        printed, said = self.fewbit("experiment", "get", file, *keys, code=code)
        return said if code else printed

    def test_every_key_has_the_value_that_is_printed_of_all(self):
        section, keys, values = "", [], []
        for line in self.value().splitlines():
            key, _, value = line.strip().partition(": ")
            if line.endswith(":") and not line.startswith(" "):
                section = line
                continue
            keys.append(f"{section[:-1]}.{key}" if line.startswith(" ") else key)
            values.append(value.strip('"'))
        self.assertGreater(len(keys), 40)
        self.assertEqual(self.value(*keys).splitlines(), values)

    def test_values_are_resolved_and_texts_plain(self):
        self.assertEqual(self.value("name", "dataset.name", "dataset.portions", "encoder.bits"),
                         f"{self.FILE.stem}\nmnist\n4\n4\n")
        self.assertEqual(self.value("training.ema_decay"), "0\n")  # the file does not say it
        self.assertIn(", 200 neurons: ", self.value("title"))

    def test_values_can_be_changed(self):
        self.assertEqual(self.value("encoder.bits=8", "encoder.bits", "dataset.portions"), "8\n4\n")
        (self.work / "changed.yaml").write_text(self.value("name=changed", "training.portion_dropout=0.25"))
        self.assertEqual(self.value("name", "training.portion_dropout", file="changed.yaml"), "changed\n0.25\n")
        line = self.value("encoder.bits=8").splitlines().index("  bits: 8") + 1  # of that text, not of the file
        self.assertIn(f"as resolved:{line}: key encoder.bits must be", self.value("encoder.bits=0", code=3))
        self.assertIn("key encoder.bit is not known", self.value("encoder.bit=1", code=3))

    def test_what_is_no_key_is_refused(self):
        for key in ("dataset", "names", "nam", "dataset.nam", "name.more", "dataset.name.more", ".", "", "dataset."):
            with self.subTest(key):
                self.assertIn(f"'{key}' is no key of an experiment", self.value(key, code=2))
        self.assertIn("FILE [KEY=VALUE...] [KEY...] is missing", self.fewbit("experiment", "get", code=2)[1])
        self.value(file="none.yaml", code=4)
        (self.work / "wrong.yaml").write_text("name: a\n")
        self.assertIn("wrong.yaml", self.value("name", file=self.work / "wrong.yaml", code=3))


class GetFromFolders(Case):
    def make_fake(self, folder):
        folder.mkdir(parents=True)
        for file in FILES:
            (folder / f"{file}.gz").write_bytes(gzip.compress(b"not the published bytes"))

    def test_other_bytes_are_refused(self):
        self.make_fake(self.folder / "data" / "mnist")
        _, errors = self.fewbit("data", "get", "mnist", "--to", self.to, "--from", self.folder / "data", code=4)
        digest = hashlib.sha256(b"not the published bytes").hexdigest()
        self.assertRegex(errors, rf"note: {self.folder}/data did not have it: .*data/mnist/train-images-idx3-ubyte.gz: .*{digest}")
        self.assertIn("fewbit: mnist: none of the 1 sources asked had it", errors)
        self.assertEqual(self.names(), [])

    def test_missing_file_is_named(self):
        (self.folder / "data").mkdir()
        _, errors = self.fewbit("data", "get", "cifar10", "--to", self.to, "--from", self.folder / "data", code=4)
        self.assertIn("holds no data_batch_1.bin", errors)

    @needs_genuine
    def test_files_are_taken_plain_or_gzipped(self):
        data = self.folder / "data"
        data.mkdir()
        for file in FILES[:2]:
            (data / file).write_bytes(gzip.decompress((FOLDER / f"{file}.gz").read_bytes()))
        for file in FILES[2:]:
            shutil.copy(FOLDER / f"{file}.gz", data)
        said, _ = self.fewbit("data", "get", SET, "--to", self.to, "--from", data)
        self.assertIn(f"taken from {data}", said)
        self.assertEqual(self.names(), sorted([*FILES[:2], f"{FILES[2]}.gz", f"{FILES[3]}.gz"]))
        said, _ = self.fewbit("data", "get", SET, "--to", self.to)
        self.assertIn("already", said)


@needs_genuine
class GetFromMirror(Case):
    IMAGES = f"/{FILES[0]}.gz"

    def test_files_arrive_once(self):
        with Mirror(genuine_files()) as mirror:
            self.get(mirror)
            self.assert_complete()
            self.assertEqual(len(mirror.asked), 4)
            said, _ = self.get(mirror)
            self.assertIn("already", said)
            self.assertEqual(len(mirror.asked), 4)

    def test_a_damaged_file_is_fetched_again(self):
        with Mirror(genuine_files()) as mirror:
            self.get(mirror)
            (self.to / f"{FILES[1]}.gz").write_bytes(gzip.compress(b"damaged"))
            (self.to / FILES[2]).write_bytes(b"in the way")
            self.get(mirror)
            self.assert_complete()
            self.assertEqual([path for path, _ in mirror.asked[4:]], [f"/{FILES[1]}.gz", f"/{FILES[2]}.gz"])

    def test_a_cut_connection_is_taken_up_again(self):
        with Mirror(genuine_files(), cut=(self.IMAGES, 100000), cuts=3) as mirror:
            self.get(mirror)
            self.assert_complete()
            self.assertEqual([wanted for path, wanted in mirror.asked if path == self.IMAGES],
                             [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"])

    def test_a_server_without_ranges_starts_over(self):
        with Mirror(genuine_files(), ranges=False, cut=(self.IMAGES, 100000)) as mirror:
            self.get(mirror)
            self.assert_complete()

    def test_an_interrupted_download_goes_on_in_the_next_run(self):
        with Mirror(genuine_files(), dead=(self.IMAGES, 5000)) as mirror:
            _, errors = self.get(mirror, code=6)
        self.assertIn(f"{self.IMAGES}: ", errors)
        self.assertEqual(self.names(), [f"{FILES[0]}.gz.part"])
        self.assertEqual((self.to / f"{FILES[0]}.gz.part").stat().st_size, 5000)
        with Mirror(genuine_files()) as mirror:
            self.get(mirror)
            self.assert_complete()
            self.assertEqual(mirror.asked[0], (self.IMAGES, "bytes=5000-"))

    def test_a_whole_part_is_not_fetched_again(self):
        self.to.mkdir()
        shutil.copy(FOLDER / f"{FILES[0]}.gz", self.to / f"{FILES[0]}.gz.part")
        with Mirror(genuine_files()) as mirror:
            self.get(mirror)
            self.assert_complete()

    def test_a_part_of_something_else_is_thrown_away(self):
        self.to.mkdir()
        (self.to / f"{FILES[0]}.gz.part").write_bytes(b"something else")
        with Mirror(genuine_files()) as mirror:
            self.get(mirror)
            self.assert_complete()
            self.assertEqual([wanted for path, wanted in mirror.asked if path == self.IMAGES], ["bytes=14-", None])

    def test_asked_to_stop(self):
        with Mirror(genuine_files(), dead=(self.IMAGES, 5000), pause=20) as mirror:
            child = subprocess.Popen(
                [program(), "data", "get", SET, "--to", self.to, "--mirror", mirror.url], cwd=self.work,
                env=self.environment({}), stderr=subprocess.PIPE, text=True)
            part = self.to / f"{FILES[0]}.gz.part"
            end = time.monotonic() + 30
            while time.monotonic() < end and not (part.exists() and part.stat().st_size == 5000):
                time.sleep(0.02)
            child.send_signal(signal.SIGTERM)
            errors = child.communicate(timeout=30)[1]
        self.assertEqual(child.returncode, 130, errors)
        self.assertIn("stopped after 5000 bytes", errors)
        self.assertEqual(self.names(), [part.name])


class MirrorRefusals(Case):
    def refused(self, mirror, code, reason, name="mnist"):
        _, errors = self.get(mirror, code=code, name=name)
        self.assertRegex(errors, reason)
        self.assertIn(f"fewbit: {name}: none of the 1 sources asked had it", errors)
        self.assertEqual(self.names(), [])

    def test_wrong_digest(self):
        with Mirror({f"/{file}.gz": gzip.compress(b"wrong") for file in FILES}) as mirror:
            digest = hashlib.sha256(b"wrong").hexdigest()
            self.refused(mirror, 4, rf"{mirror.url}/{FILES[0]}.gz: .*its SHA-256 is {digest}, not [0-9a-f]{{64}}")

    def test_wrong_archive(self):
        with Mirror({"/cifar-10-binary.tar.gz": gzip.compress(b"wrong")}) as mirror:
            self.refused(mirror, 4, "cifar-10-binary.tar.gz: .*SHA-256", name="cifar10")

    def test_not_there(self):
        with Mirror({}) as mirror:
            self.refused(mirror, 6, f"{FILES[0]}.gz: .*404")

    def test_too_large(self):
        with Mirror({f"/{FILES[0]}.gz": b"x"}, length=1 << 40) as mirror:
            self.refused(mirror, 4, "larger than the 67108864 bytes allowed")

    def test_nobody_listens(self):
        with Mirror({}) as mirror:
            pass
        self.refused(mirror, 6, "(?i)connect")

    def test_other_protocols(self):
        _, errors = self.fewbit("data", "get", "mnist", "--to", self.to, "--mirror", "file:///etc", code=6)
        self.assertIn("file", errors)


class Split(Case):
    TRAIN, TEST = 5, 3

    def setUp(self):
        super().setUp()
        self.data = self.folder / "data"
        self.data.mkdir()
        self.images = {"train": self.pixels(self.TRAIN, 1), "test": self.pixels(self.TEST, 7)}
        self.labels = {"train": bytes(range(self.TRAIN)), "test": bytes([9, 8, 7])}
        self.write("train-images-idx3-ubyte", (self.TRAIN, 28, 28), self.images["train"])
        self.write("train-labels-idx1-ubyte", (self.TRAIN,), self.labels["train"])
        self.write("t10k-images-idx3-ubyte", (self.TEST, 28, 28), self.images["test"])
        self.write("t10k-labels-idx1-ubyte", (self.TEST,), self.labels["test"])

    @staticmethod
    def pixels(count, factor):
        return bytes((i * factor + i // 251) % 256 for i in range(count * 784))

    def write(self, name, dims, data):
        (self.data / f"{name}.gz").write_bytes(gzip.compress(idx(dims, data)))

    def split(self, *arguments, code=0, **environment):
        return self.fewbit("data", "split", "--dataset", "mnist", "--from", self.data, "--to", self.to, *arguments,
                           code=code, **environment)

    def part(self, node, part):
        return (self.to / f"node-{node}" / f"{part}.npy").read_bytes()

    def test_runs(self):
        self.split()
        self.assertEqual(self.names(), ["node-0", "node-1", "node-2", "node-3", "server"])
        for node in range(4):
            for part, count in (("train", self.TRAIN), ("test", self.TEST)):
                run = b"".join(self.images[part][i * 784 + node * 196:i * 784 + node * 196 + 196] for i in range(count))
                self.assertEqual(self.part(node, part), npy((count, 1, 7, 28), run))

    def test_quadrants(self):
        self.split("--partition", "quadrants")
        for node, (top, left) in enumerate(((0, 0), (0, 14), (14, 0), (14, 14))):
            quadrant = b"".join(
                self.images["test"][i * 784 + (top + row) * 28 + left:][:14]
                for i in range(self.TEST) for row in range(14))
            self.assertEqual(self.part(node, "test"), npy((self.TEST, 1, 14, 14), quadrant))

    def test_manifests(self):
        self.split("--portions", "2")
        server = json.loads((self.to / "server" / "labels.json").read_text())
        node = json.loads((self.to / "node-1" / "portion.json").read_text())
        values = [[npy_values(self.to / f"node-{k}" / f"{part}.npy") for part in ("train", "test")] for k in range(2)]
        digests = {str(k): portion_digest(node, *values[k]) for k in range(2)}
        cut = {"kind": "slices", "portions": 2, "sample_shape": [1, 28, 28]}
        counts = {"train_samples": self.TRAIN, "validation_samples": 0, "test_samples": self.TEST, "ids": "counted"}
        self.assertEqual(server, {"format": 2, "dataset": "mnist", "classes": [str(digit) for digit in range(10)],
                                  **counts, "partition": cut, "portion_digests": digests})
        self.assertEqual(node, {"format": 2, "dataset": "mnist", "portion": "1", "type": "u8", "shape": [1, 14, 28],
                                **counts, "digest": digests["1"], "partition": {**cut, "portion": 1}})

    def test_labels_are_the_servers_alone(self):
        self.split()
        for part in ("train", "test"):
            self.assertEqual((self.to / "server" / f"{part}-labels.npy").read_bytes(),
                             npy((len(self.labels[part]),), self.labels[part]))
        self.assertEqual(sorted(entry.name for entry in (self.to / "server").iterdir()),
                         ["labels.json", "test-labels.npy", "train-labels.npy"])
        for node in range(4):
            self.assertEqual(sorted(entry.name for entry in (self.to / f"node-{node}").iterdir()),
                             ["portion.json", "test.npy", "train.npy"])

    def test_first_samples_only(self):
        self.split("--train", "2", FEWBIT_TEST="1")
        self.assertEqual(self.part(0, "train"),
                         npy((2, 1, 7, 28), self.images["train"][:196] + self.images["train"][784:980]))
        self.assertEqual(self.part(3, "test"), npy((1, 1, 7, 28), self.images["test"][588:784]))
        self.assertEqual((self.to / "server" / "train-labels.npy").read_bytes(), npy((2,), self.labels["train"][:2]))

    def everything(self):
        return {str(path.relative_to(self.to)): path.is_file() and path.read_bytes() for path in self.to.rglob("*")}

    def test_a_folder_holds_what_the_last_split_made(self):
        """Whatever lay there before, of more portions or fewer, of more samples or fewer."""
        wanted = {}
        for portions in ("1", "2", "4"):
            self.split("--portions", portions)
            wanted[portions] = self.everything()
            shutil.rmtree(self.to)
        for before, portions in itertools.permutations(wanted, 2):
            with self.subTest(before=before, portions=portions):
                self.split("--portions", before, "--train", "3")
                self.split("--portions", portions)
                self.assertEqual(self.everything(), wanted[portions])

    def test_a_split_that_fails_leaves_no_mixture(self):
        """Nothing to train with is there then; what is refused before leaves all as it was."""
        self.split("--portions", "4")
        before = self.everything()
        (self.to / "notes").write_text("mine")
        self.assertIn("to: holds 'notes', which no split has made; choose another folder", self.split(code=3)[1])
        (self.to / "notes").unlink()
        self.split("--train", "6", code=3)
        self.assertEqual(self.everything(), before)
        (self.to / "node-1/train.npy").unlink()
        (self.to / "node-1/train.npy").mkdir()  # cannot be replaced
        self.split("--portions", "2", code=5)
        self.assertFalse((self.to / "server/labels.json").exists())
        self.assertEqual([path.name for path in self.to.rglob("portion.json")], ["portion.json"])
        self.assertFalse((self.to / "node-1/portion.json").exists())

    def test_too_few_samples(self):
        self.assertIn("holds 5 samples, fewer than the 6 of --train", self.split("--train", "6", code=3)[1])
        self.assertFalse(self.to.exists())

    def test_refusals_of_options(self):
        for arguments, reason in ((("--portions", "3"), "784 elements do not part into 3"),
                                  (("--portions", "0"), "--portions is '0'"),
                                  (("--partition", "halves"), "split 'halves' is none of"),
                                  (("--partition", "quadrants", "--portions", "2"), "4 portions, not 2"),
                                  (("--partition", "planes", "--portions", "3"), "1 channels, not 3"),
                                  (("--train", "x"), "--train is 'x'"), (("more",), "'more' is too much")):
            with self.subTest(arguments):
                self.assertIn(reason, self.split(*arguments, code=2)[1])
        self.assertFalse(self.to.exists())

    def test_refusals_of_files(self):
        for name, dims, data, reason in (
                ("train-labels-idx1-ubyte", (4,), bytes(4), "4 labels, but there are 5 images"),
                ("train-labels-idx1-ubyte", (5,), bytes([0, 1, 10, 0, 0]), "label 2 is 10, not below the 10 classes"),
                ("train-images-idx3-ubyte", (5, 28, 27), bytes(5 * 28 * 27), "not that of mnist"),
                ("train-images-idx3-ubyte", (5, 28, 28), bytes(783), "truncated")):
            with self.subTest(reason):
                kept = (self.data / f"{name}.gz").read_bytes()
                self.write(name, dims, data)
                errors = self.split(code=3)[1]
                self.assertIn(f"{name}.gz: ", errors)
                self.assertIn(reason, errors)
                (self.data / f"{name}.gz").write_bytes(kept)
        (self.data / "t10k-labels-idx1-ubyte.gz").unlink()
        self.assertIn("holds no t10k-labels-idx1-ubyte", self.split(code=4)[1])
        self.assertFalse(self.to.exists())

    def test_planes_of_cifar(self):
        records = [bytes([k]) + bytes([10 + k]) * 1024 + bytes([20 + k]) * 1024 + bytes([30 + k]) * 1024
                   for k in range(6)]
        batches = self.data / "cifar-10-batches-bin"
        batches.mkdir()
        for k in range(5):
            (batches / f"data_batch_{k + 1}.bin").write_bytes(records[k])
        (batches / "test_batch.bin").write_bytes(records[5])
        self.fewbit("data", "split", "--dataset", "cifar10", "--from", self.data, "--to", self.to, "--partition", "planes")
        for node in range(3):
            plane = b"".join(bytes([10 * (node + 1) + k]) * 1024 for k in range(5))
            self.assertEqual(self.part(node, "train"), npy((5, 1, 32, 32), plane))
        self.assertEqual((self.to / "server" / "train-labels.npy").read_bytes(), npy((5,), bytes(range(5))))


if __name__ == "__main__":
    unittest.main()

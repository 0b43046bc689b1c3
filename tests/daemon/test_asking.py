#!/usr/bin/python3
"""Asking a serving system whose portions are a table, a signal, a picture and numbers: by portion, by id, and what is
refused. Real daemons, over HTTP and with fewbit classify."""
import concurrent.futures
import contextlib
import csv
import http.server
import io
import json
import pathlib
import random
import shutil
import signal
import tempfile
import threading
import unittest

import numpy as np
from PIL import Image

from lib import fleet as f, serving
from lib.fleet import PATIENCE, wait_until
from lib.serving import call, health, metric

JSON, CSV, NPY, RAW, PNG = "application/json", "text/csv", "application/x-npy", "application/octet-stream", "image/png"
NAMES = ["clinic", "wrist", "eye", "gauge"]
BITS = [5, 3, 4, 2]
SAMPLES = 240
EXPERIMENT = """
name: anything
dataset: {name: anything}
portions:
  - {name: clinic, shape: [4], type: f32, encoder: {bits: 5}}
  - {name: wrist, shape: [2, 16], type: f32, encoder: {bits: 3}}
  - {name: eye, shape: [1, 6, 8], type: u8, encoder: {bits: 4}}
  - {name: gauge, shape: [3], type: f32, encoder: {bits: 2}}
encoder: {net: simple-1d, hidden: 8, bits: 4, batch_norm: false, activation: sigmoid, binarize: straight-through}
decoder: {net: identity}
classifier: {net: mlp, hidden: 8}
optimiser: {kind: adam, learning_rate: 0.01}
training: {epochs: 3, batch_size: 20, seed: 1}
"""


def npy_bytes(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def png_bytes(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels, "L").save(out, "PNG")
    return out.getvalue()


class Made:
    """What four owners have of the same samples, packed; a run trained on it; and a second folder of the wrist's owner,
    that lacks some."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fewbit-asking-"))
        unittest.addModuleCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        draw, numbers = random.Random(1), np.random.default_rng(1)
        self.ids = [f"p-{i:03}" for i in range(SAMPLES)]
        truth = [i % 2 for i in range(SAMPLES)]
        shift = np.array(truth)
        self.rows = {p: {"age": 40 + 20 * t + draw.randrange(10), "height": round(draw.uniform(1.5, 2), 2),
                         "blood": draw.choice("AB")} for p, t in zip(self.ids, truth)}
        self.wrist = (numbers.normal(size=(SAMPLES, 2, 16)) + shift[:, None, None]).astype("f4")
        self.eye = (numbers.integers(0, 128, (SAMPLES, 1, 6, 8)) + 100 * shift[:, None, None, None]).astype("u1")
        self.gauge = (numbers.normal(size=(SAMPLES, 3)) + shift[:, None]).astype("f4")
        with open(self.folder / "clinic.csv", "w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["id", "age", "height", "blood", "ill"])
            for p, t in zip(self.ids, truth):
                lines.writerow([p, *self.rows[p].values(), ["no", "yes"][t]])
        (self.folder / "ids.txt").write_text("\n".join(self.ids) + "\n")
        for name in NAMES[1:]:
            np.save(self.folder / f"{name}.npy", getattr(self, name))
        np.save(self.folder / "wrist-few.npy", self.wrist[::2])
        (self.folder / "few.txt").write_text("\n".join(self.ids[::2]) + "\n")
        self.run = self.folder / "run"
        self.pack_and_train()

    def pack_and_train(self):
        trainer = f.Fleet()
        try:
            def pack(source, to, *options):
                trainer.run("pack", f.binary("fewbit"), "data", "pack", self.folder / source, "--dataset", "anything",
                            "--to", self.folder / to, *options)
            pack("clinic.csv", "split/node-clinic", "--portion", "clinic", "--label-column", "ill")
            pack("clinic.csv", "split/server", "--labels", "--label-column", "ill")
            for name in NAMES[1:]:
                pack(f"{name}.npy", f"split/node-{name}", "--portion", name, "--ids", self.folder / "ids.txt")
            pack("wrist-few.npy", "few", "--portion", "wrist", "--ids", self.folder / "few.txt")
            (self.folder / "anything.yaml").write_text(EXPERIMENT)
            trainer.train_local(self.folder / "anything.yaml", self.folder / "split", self.run)
        finally:
            trainer.close()

    def data(self, name):
        return self.folder / "split" / f"node-{name}"


def setUpModule():
    Asking.made = Made()


def multipart(*parts):
    """Content type and body of parts (name, type or None, bytes)."""
    body = b""
    for name, kind, content in parts:
        body += f'--gap\r\nContent-Disposition: form-data; name="{name}"\r\n'.encode()
        body += (f"Content-Type: {kind}\r\n" if kind else "").encode() + b"\r\n" + content + b"\r\n"
    return "multipart/form-data; boundary=gap", body + b"--gap--\r\n"


class Asking(f.FleetCase):
    made = None  # set by the module

    def setUp(self):
        super().setUp()
        self.results_path = self.folder / "results.jsonl"

    def start(self, *names, wrist=None, options=(), serving=()):
        """A server with nodes for these portions (all), ready."""
        names = names or NAMES
        server = self.fleet.serve(self.made.run, "--results", self.results_path, *serving)
        for name in names:
            data = wrist if wrist and name == "wrist" else self.made.data(name)
            self.fleet.start(name, f.binary("encoder_node"), "--server", f"127.0.0.1:{server.port}", "--name", name, "--data",
                             data, "--state", self.made.run / "nodes" / f"node-{NAMES.index(name)}", *options)
        wait_until(lambda: health(server)["nodes_ready"] == len(names), "the nodes", explain=self.fleet.explain)
        return server

    def post(self, server, kind, body, status=200):
        got, answer, _ = call(server, "POST", "/v1/classify", body, {"Content-Type": kind})
        self.assertEqual(got, status, answer)
        return answer

    def by_id(self, server, *ids):
        results = self.post(server, JSON, json.dumps({"samples": ids}))["results"]
        self.assertEqual([r["sample"] for r in results], list(ids))
        return results

    def parts_of(self, i):
        """A sample's portions, each in every form that it can be handed over in: {name: [(type, bytes)]}."""
        made, row = self.made, self.made.rows[self.made.ids[i]]
        header, cells = ",".join(row), ",".join(map(str, row.values()))
        turned = ",".join(reversed(row)) + ",name\n" + ",".join(map(str, reversed(row.values()))) + ",nobody\n"
        floats = {name: getattr(made, name)[i] for name in ("wrist", "gauge")}
        forms = {name: [(NPY, npy_bytes(values)), (RAW, values.tobytes()), (None, values.tobytes()),
                        (None, npy_bytes(values.astype("f8"))), (JSON, json.dumps(values.tolist()).encode()),
                        (JSON, json.dumps(values.ravel().tolist()).encode())] for name, values in floats.items()}
        eye = made.eye[i]
        forms["eye"] = [(PNG, png_bytes(eye[0])), (None, png_bytes(eye[0])), (RAW, eye.tobytes()), (NPY, npy_bytes(eye[0])),
                        (JSON, json.dumps(eye.tolist()).encode())]
        forms["clinic"] = [(CSV, cells.encode()), (CSV, f"{header}\r\n{cells}\r\n".encode()), (CSV, turned.encode())]
        return forms

    def test_three_ways_say_the_same(self):
        server = self.start()
        model = call(server, "GET", "/v1/model")[1]
        self.assertEqual([(p["name"], p["type"], p["shape"], p["bits"]) for p in model["portions"]],
                         [("clinic", "f32", [4], 5), ("wrist", "f32", [2, 16], 3), ("eye", "u8", [1, 6, 8], 4),
                          ("gauge", "f32", [3], 2)])
        self.assertEqual((model["split"], model["sample_shape"], model["classes"]), (None, None, ["no", "yes"]))
        right = 0
        for i in (0, 7, 100, SAMPLES - 1):
            wanted, = self.by_id(server, self.made.ids[i])
            right += wanted["label"] == ["no", "yes"][i % 2]
            self.assertEqual((wanted["status"], wanted["missing"], wanted["degraded"]), (200, [], False))
            self.assertEqual([len(code) for code in wanted["bits"]], BITS)
            forms = self.parts_of(i)
            for turn in range(max(map(len, forms.values()))):
                parts = [(name, *forms[name][turn % len(forms[name])]) for name in NAMES]
                random.Random(turn).shuffle(parts)
                answer = self.post(server, *multipart(*parts))
                for key in ("class", "label", "probabilities", "bits", "payload_bits", "raw_bytes", "missing"):
                    self.assertEqual(answer[key], wanted[key], (i, turn, key))
            values = {name: getattr(self.made, name)[i].tolist() for name in NAMES[1:]}
            row = self.made.rows[self.made.ids[i]]
            answer = self.post(server, JSON, json.dumps({"portions": {**values, "clinic": row}}))
            self.assertEqual(answer["bits"], wanted["bits"])
            self.assertEqual(answer["probabilities"], wanted["probabilities"])
            # By id nothing but the id and bits crosses the wire: some 20 bytes a node each way.
            self.assertLess(wanted["frame_bytes"], 40 * len(NAMES))
            self.assertGreater(answer["frame_bytes_sent"], 16 + 128 + 48 + 12)
        self.assertGreaterEqual(right, 3)

    def test_what_is_left_out_is_missing(self):
        server = self.start()
        whole, = self.by_id(server, self.made.ids[5])
        forms = self.parts_of(5)
        for given in (["clinic"], ["eye", "wrist"], ["gauge", "clinic", "wrist"]):
            missing = [k for k, name in enumerate(NAMES) if name not in given]
            answer = self.post(server, *multipart(*[(name, *forms[name][0]) for name in given]))
            self.assertEqual((answer["missing"], answer["degraded"]), (missing, True))
            self.assertEqual(answer["bits"], [None if k in missing else code for k, code in enumerate(whole["bits"])])

    def test_nodes_that_lack_a_sample(self):
        server = self.start(wrist=self.made.folder / "few")
        here, lacking, nobody, again = self.by_id(server, self.made.ids[4], self.made.ids[5], "p-999", self.made.ids[4])
        self.assertEqual((here["status"], here["missing"], again["bits"]), (200, [], here["bits"]))
        self.assertEqual((lacking["status"], lacking["missing"], lacking["degraded"]), (200, [1], True))
        self.assertEqual((nobody["status"], nobody["error"]["code"]), (404, "unknown_sample"))
        self.assertEqual(health(server)["nodes_ready"], len(NAMES))  # who says so is not silent
        self.assertEqual(metric(server, 'fewbit_classifications_total{outcome="unknown_sample"}'), 1)
        everybody = self.by_id(server, *(self.made.ids * 5)[:1000])
        self.assertEqual([r["missing"] for r in everybody], [[1] if i % SAMPLES % 2 else [] for i in range(1000)])
        self.assertEqual(everybody[SAMPLES]["bits"], everybody[0]["bits"])

    def test_without_a_node(self):
        server = self.start("clinic", "eye")
        answer, = self.by_id(server, self.made.ids[3])
        self.assertEqual(answer["missing"], [1, 3])
        parts = self.parts_of(3)
        refused = self.post(server, *multipart(("wrist", *parts["wrist"][0])), status=503)
        self.assertEqual(refused["error"]["code"], "no_nodes")

    def test_what_is_refused(self):
        server = self.start()
        forms = self.parts_of(1)
        good = {name: forms[name][0] for name in NAMES}
        self.post(server, *multipart(*[(name, *part) for name, part in good.items()]))

        def parts(**changed):
            return multipart(*[(name, *part) for name, part in {**good, **changed}.items()])

        wave, row = self.made.wrist[1], "41,1.7,A"
        cases = [
            (400, "bad_portion", "column 'age'", parts(clinic=(CSV, b"old,1.7,A"))),
            (400, "bad_portion", "column 'blood'", parts(clinic=(CSV, b"41,1.7,X"))),
            (400, "bad_portion", "column 'height'", parts(clinic=(CSV, b"41,,A"))),
            (400, "bad_portion", "portion 'clinic'", parts(clinic=(CSV, b"41,1.7"))),
            (400, "bad_portion", "column 'blood'", parts(clinic=(CSV, b"age,height\n41,1.7"))),
            (400, "bad_portion", "portion 'clinic'", parts(clinic=(CSV, b"\n"))),
            (400, "bad_portion", "text/csv", parts(clinic=(RAW, row.encode()))),
            (400, "bad_portion", '{"column": value}', (JSON, b'{"portions": {"clinic": [41, 1.7]}}')),
            (400, "bad_portion", "portion 'gauge'", parts(gauge=(CSV, row.encode()))),  # its data has no columns
            (400, "bad_portion", "portion 'wrist'", parts(wrist=(NPY, npy_bytes(wave[:, :15])))),
            (400, "bad_portion", "portion 'wrist'", parts(wrist=(NPY, npy_bytes(wave)[:-1]))),
            (400, "bad_portion", "value 3 ", parts(wrist=(RAW, np.where(np.arange(32) == 3, np.nan, 1).astype("f4").tobytes()))),
            (400, "bad_portion", "portion 'wrist'", parts(wrist=(RAW, wave.tobytes()[4:]))),
            (400, "bad_portion", "value 0 ", parts(gauge=(JSON, b'["1", 2, 3]'))),
            (400, "bad_portion", "3 of them, not 16", parts(wrist=(JSON, b"[[1, 2, 3], [4, 5, 6]]"))),
            (400, "bad_image", "portion 'eye'", parts(eye=(PNG, png_bytes(np.zeros((6, 9), "u1"))))),
            (400, "bad_image", "portion 'eye'", parts(eye=(PNG, b"no picture"))),
            (415, "unsupported_type", "portion 'gauge'", parts(gauge=(PNG, png_bytes(self.made.eye[1][0])))),
            (415, "unsupported_type", "portion 'gauge'", parts(gauge=("video/mp4", b"abc"))),
            (400, "bad_portion", "no portion 'nose', only 'clinic', 'wrist', 'eye', 'gauge'", parts(nose=(RAW, b"abc"))),
            (400, "bad_portion", "portion 'eye': it is there twice", multipart(("eye", *good["eye"]), ("eye", *good["eye"]))),
            (400, "bad_multipart", "", ("multipart/form-data; boundary=gap", b"nothing")),
            (413, "too_large", "", multipart(*[("eye", RAW, b"")] * 65)),
            (413, "too_large", "", multipart(("eye", RAW, bytes(1 << 20)))),
            (413, "too_large", "256 KiB of JSON", (JSON, b'{"portions": {"gauge": [1, 2, 3]}}'.ljust((256 << 10) + 1))),
            (413, "too_large", "portion 'gauge': a request has at most 256 KiB of JSON",
             parts(gauge=(JSON, b"[1, 2, 3]".ljust((256 << 10) + 1)))),
            (400, "bad_json", "line 1", (JSON, b"{")),
            (400, "bad_json", "", (JSON, b'{"portions": {}, "samples": ["a"]}')),
            (400, "bad_portion", "", (JSON, b'{"portions": {}}')),
            (400, "bad_portion", "portion 'clinic': column 'age'", (JSON, b'{"portions": {"clinic": {"age": [1]}}}')),
            (400, "bad_portion", "column 'age'", (JSON, b'{"portions": {"clinic": {"age": "x", "height": 1, "blood": "A"}}}')),
            (400, "bad_json", "sample 1 of the list", (JSON, b'{"samples": ["a", "b\\nc"]}')),
            (413, "too_large", "1000", (JSON, json.dumps({"samples": ["a"] * 1001}).encode())),
            (415, "unsupported_type", "4 portions", (RAW, bytes(200))),
            (415, "unsupported_type", "4 portions", (PNG, png_bytes(self.made.eye[1][0]))),
        ]
        for status, code, words, (kind, body) in cases:
            with self.subTest(code=code, words=words):
                error = self.post(server, kind, body, status)["error"]
                self.assertEqual(error["code"], code)
                self.assertIn(words, error["message"])
        self.assertEqual(health(server)["nodes_ready"], len(NAMES))
        counted = sum(code in ("bad_portion", "unsupported_type") and kind != RAW and kind != PNG
                      or code == "too_large" and "portion" in words for _, code, words, (kind, _) in cases)
        self.assertEqual(metric(server, 'fewbit_classifications_total{outcome="bad_portion"}'), counted)
        self.assertEqual(self.by_id(server, self.made.ids[0])[0]["missing"], [])

    def test_a_link_with_no_room_for_a_request_stays(self):
        """A node that takes nothing of requests of 1 MiB: once its link is full they are refused, and it answers the others
        when it goes on."""
        server = self.start(serving=["--deadline", 1000 * PATIENCE, "--heartbeat", 60000])
        clinic, = (program for program in self.fleet.programs if program.name == "clinic")
        row = f"age,height,blood,{'x' * 1000000}\n41,1.7,A,\n".encode()
        self.post(server, *multipart(("clinic", CSV, row)))
        clinic.freeze()
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            asked = [pool.submit(call, server, "POST", "/v1/classify", body, {"Content-Type": kind})
                     for kind, body in [multipart(("clinic", CSV, row))] * 50]
            wait_until(lambda: any(one.done() for one in asked), "a refusal", explain=self.fleet.explain)
            clinic.thaw()
        said = {(status, answer.get("error", {}).get("code")) for status, answer, _ in (one.result() for one in asked)}
        self.assertEqual(said, {(200, None), (503, "busy")})
        self.assertEqual(server.events("node_lost"), [])
        self.assertEqual(call(server, "GET", "/v1/nodes")[1]["nodes"][0]["reconnects"], 0)
        self.post(server, *multipart(("clinic", CSV, row)))

    def test_samples_are_offered_where_their_owners_want_it(self):
        server = self.start()
        self.assertEqual(call(server, "GET", "/v1/samples")[:2], (200, {"samples": []}))
        server.signal(signal.SIGTERM)
        server.wait(0)
        server = self.start(wrist=self.made.folder / "few", options=["--offer-samples"])
        offered = call(server, "GET", "/v1/samples")[1]["samples"]
        few = set(self.made.ids[::2])
        self.assertTrue(offered and set(offered) <= few, offered)
        self.assertEqual({r["status"] for r in self.by_id(server, *offered)}, {200})

    def test_fewbit_classify(self):
        server = self.start(wrist=self.made.folder / "few")
        (self.folder / "row.csv").write_text("41,1.7,A\n")
        (self.folder / "eye.png").write_bytes(png_bytes(self.made.eye[1][0]))
        (self.folder / "gauge.json").write_text(json.dumps(self.made.gauge[1].tolist()))
        np.save(self.folder / "wrist.npy", self.made.wrist[1])

        def classify(*options, code=0):
            return self.fleet.run("classify", f.binary("fewbit"), "classify", "--server", f"http://127.0.0.1:{server.http}",
                                  *options, code=code)
        files = {"clinic": "row.csv", "eye": "eye.png", "gauge": "gauge.json", "wrist": "wrist.npy"}
        options = [part for name, file in files.items() for part in ("--portion", f"{name}={self.folder / file}")]
        answer = json.loads(classify("--json", *options).printed)
        self.assertEqual(answer["missing"], [])
        said = classify(*options).printed
        self.assertIn(answer["label"], said)
        for code in answer["bits"]:
            self.assertIn(code, said)
        printed = classify("--sample", self.made.ids[2], "--sample", self.made.ids[3]).printed.splitlines()
        self.assertRegex(printed[0], rf"^{self.made.ids[2]}: (no|yes) \(")
        self.assertRegex(printed[1], rf"^{self.made.ids[3]}: (no|yes) .* - .*DEGRADED")
        refused = classify("--sample", self.made.ids[2], "--sample", "nobody", code=3)
        self.assertIn(self.made.ids[2], refused.printed)
        self.assertIn("nobody: ", refused.said)
        self.assertIn("--sample", classify("nobody.png", code=4).said)
        self.assertIn("column 'age'", classify("--portion", f"clinic={self.make('old,1,A')}", code=3).said)
        self.assertIn("is not NAME=FILE", classify("--portion", "clinic", code=2).said)
        self.assertIn("name either", classify(*options, "--sample", "x", code=2).said)

    def test_answers_of_a_thousand_samples_are_read(self):
        """Of 1,000 samples of 64 portions and 100 classes they have 6 MiB; what is longer than any is refused."""
        ids = [f"p{i}" for i in range(1000)]

        class Answers(http.server.BaseHTTPRequestHandler):
            length = 6000

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                one = {"class": 0, "label": "no", "probability": 1, "bits": ["01" * (self.length // 2)], "payload_bits": 1}
                body = json.dumps({"results": [{"sample": name, **one} for name in ids]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body)

            def log_message(self, *_):
                pass
        stub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.addCleanup(stub.server_close)
        threading.Thread(target=stub.serve_forever, daemon=True).start()
        self.addCleanup(stub.shutdown)

        def classify(code):
            return self.fleet.run("classify", f.binary("fewbit"), "classify", "--server", f"http://127.0.0.1:{stub.server_port}",
                                  *(part for name in ids for part in ("--sample", name)), code=code)
        self.assertEqual(len(classify(0).printed.splitlines()), 1000)
        Answers.length = 9000
        self.assertIn("the answer has more than 8 MiB", classify(6).said)

    def make(self, text):
        path = self.folder / "made.csv"
        path.write_text(text)
        return path


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""The HTTP API with real processes: docs/openapi.yaml against the running server, events, metrics, tokens, limits."""
import http.client
import io
import json
import re
import shutil
import signal
import socket
import threading
import unittest

from PIL import Image

from lib import fleet as f, plain_node, serving
from lib.fleet import PATIENCE, PORTIONS, read_json, wait_until
from lib.openapi import OpenApi
from lib.serving import PNG, RAW, HandNode

JPEG, JSON = "image/jpeg", "application/json"
TOKEN = "a-token.of_32~characters+or/so=="
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LISTENERS = 1000


def setUpModule():
    serving.ServingCase.made = serving.Made()


def jpeg(pixels, size=(f.SIDE, f.SIDE), mode="L", **how):
    out = io.BytesIO()
    Image.frombytes("L", size, pixels).convert(mode).save(out, "JPEG", **{"quality": 100, **how})
    return out.getvalue()


def multipart(*parts, boundary="gap"):
    """Body and content type of parts (type or None, bytes)."""
    body = b""
    for i, (kind, content) in enumerate(parts):
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{i}"; filename="{i}"\r\n'
        head += f"Content-Type: {kind}\r\n" if kind else ""
        body += head.encode() + b"\r\n" + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def multipart_named(*parts, boundary="gap"):
    """Content type and body of parts (name, type or None, bytes)."""
    body = b""
    for name, kind, content in parts:
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n'.encode()
        body += (f"Content-Type: {kind}\r\n" if kind else "").encode() + b"\r\n" + content + b"\r\n"
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()


class Stream:
    """A listener to server-sent events."""

    def __init__(self, port, path, token=None, small=False):
        self.socket = socket.socket()
        if small:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", port))
        head = f"GET {path} HTTP/1.1\r\nHost: test\r\n" + (f"Authorization: Bearer {token}\r\n" if token else "")
        self.socket.sendall(head.encode() + b"\r\n")
        self.response = http.client.HTTPResponse(self.socket)
        self.response.begin()

    def events(self):
        """(event, data) one after another; ("", "") for a comment line. Ends with the stream."""
        kind = ""
        while True:
            line = self.response.readline().decode()
            if not line:
                return
            if line.startswith(":"):
                yield "", ""
            elif line.startswith("event: "):
                kind = line[7:-1]
            elif line.startswith("data: "):
                yield kind, line[6:-1]

    def close(self):
        self.response.close()
        self.socket.close()


class HttpCase(serving.ServingCase):
    def ask(self, server, method, path, body=None, **headers):
        """Status, headers and body of one answer; checked against self.api where there is one."""
        connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def listen(self, server, path="/v1/results", **how):
        stream = Stream(server.http, path, **how)
        self.addCleanup(stream.close)
        return stream

    def metrics(self, server):
        """{name with labels: value}, with the form of the text checked."""
        status, _, text = self.ask(server, "GET", "/metrics")
        self.assertEqual(status, 200)
        values, known = {}, set()
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                known.add(line.split()[2])
            elif not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                base = name.partition("{")[0]
                self.assertIn(re.sub(r"_(bucket|sum|count)$", "", base) if base not in known else base, known)
                self.assertNotIn(name, values)
                values[name] = float(value)
        self.assertEqual(text.count("# HELP "), len(known))
        return values


class Documented(HttpCase):
    """Every path, status and field of docs/openapi.yaml."""

    def setUp(self):
        super().setUp()
        self.api = OpenApi()

    def answer(self, status, path, method="GET", body=None, of=None, **headers):
        """An answer with this status, checked; `of`: the server."""
        got, answered, text = self.ask(of or self.server, method, path, body, **headers)
        self.assertEqual(got, status, text)
        return self.api.check_answer(path, method, got, answered, text)

    def refused(self, status, code, path, method="GET", body=None, **how):
        self.assertEqual(self.answer(status, path, method, body, **how)["error"]["code"], code)

    def classify(self, kind, body, status=200, **headers):
        return self.answer(status, "/v1/classify", "POST", body, Content_Type=kind, **headers)

    def listen(self, server, path="/v1/results", **how):
        stream = super().listen(server, path, **how)
        if stream.response.status == 200:
            self.api.check_answer(path, "GET", 200, stream.response.headers, "")
        return stream

    def event_of(self, stream, kind, schema):
        data = next(data for name, data in stream.events() if name == kind)
        self.api.check_event(schema, data)
        return json.loads(data)

    def no_http(self):
        """What is answered before there is a request, and so has no path in the document."""
        for status, code, data in ((400, "bad_request", b"GARBAGE\r\n\r\n"),
                                   (505, "bad_version", b"GET / HTTP/9.9\r\n\r\n"),
                                   (414, "head_too_long", b"GET /" + b"x" * 12288),
                                   (417, "expectation_failed", b"GET / HTTP/1.1\r\nHost:\r\nExpect: more\r\n\r\n"),
                                   (501, "not_implemented", b"MKCOL / HTTP/1.1\r\nHost:\r\n\r\n")):
            with socket.create_connection(("127.0.0.1", self.server.http), timeout=PATIENCE) as connection:
                connection.sendall(data)
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                text = answer.read()
            self.assertEqual((answer.status, json.loads(text)["error"]["code"]), (status, code))
            self.api.check_event("Error", text)

    def test_all_of_it(self):
        self.serving()
        self.waiting()
        self.reloading()
        self.with_token()
        self.training()
        self.in_stages()
        self.assertEqual(self.api.unseen(), [])

    def serving(self):
        self.server, nodes = self.start("--deadline", 1000)
        image = self.made.images[3]
        listener = self.listen(self.server)
        for kind, body in ((RAW, image), (PNG, f.png(image)), (JPEG, jpeg(image))):
            self.assertEqual(self.classify(kind, body)["class"], self.made.reference()[3]["class"])
        self.assertEqual(self.event_of(listener, "result", "Result")["class"], self.made.reference()[3]["class"])
        self.batches(image)
        self.by_portion(3)
        self.by_id()
        for path in ("/v1/samples", "/v1/nodes", "/v1/model", "/metrics", "/healthz", "/readyz"):
            self.answer(200, path)
        self.wrong(image)
        self.no_http()
        nodes[2].kill()
        self.wait_ready(self.server, 3)
        self.assertEqual(self.answer(200, "/v1/nodes")["nodes"][2]["state"], "missing")
        self.assertEqual(self.classify(RAW, image)["missing"], [2])
        self.too_many_listeners()

    def batches(self, image):
        body, kind = multipart((RAW, image), (PNG, image), (None, image), (JPEG, jpeg(image)), (PNG, f.png(image)))
        results = self.classify(kind, body)["results"]
        self.assertEqual([r["error"]["code"] if "error" in r else r["class"] for r in results],
                         [results[0]["class"], "bad_image", results[0]["class"], results[0]["class"], results[0]["class"]])
        for body, kind in ((b"nothing", "multipart/form-data; boundary=x"), (b"", "multipart/form-data"),
                           (multipart((RAW, image))[0][:-9], "multipart/form-data; boundary=gap")):
            self.assertEqual(self.classify(kind, body, 400)["error"]["code"], "bad_multipart")
        body, kind = multipart(*[(RAW, b"")] * 65)
        self.assertEqual(self.classify(kind, body, 413)["error"]["code"], "too_large")

    def by_portion(self, index):
        parts = [(str(k), RAW, self.made.portion(k, index)) for k in range(PORTIONS)]
        answer = self.classify(*multipart_named(*parts))
        self.assertEqual(answer["bits"], self.made.reference()[index]["bits"])
        values = {str(k): list(self.made.portion(k, index)) for k in range(1, PORTIONS)}
        answer = self.classify(JSON, json.dumps({"portions": values}))
        self.assertEqual((answer["bits"][1:], answer["missing"]), (self.made.reference()[index]["bits"][1:], [0]))
        for status, code, kind, body in (
                (400, "bad_portion", *multipart_named(parts[0], parts[0])),
                (400, "bad_portion", JSON, '{"portions": {"0": [1, 2, 3]}}'),
                (400, "bad_json", JSON, '{"portions": 7}'),
                (413, "too_large", JSON, json.dumps({"samples": ["a"] * 1001})),
                (415, "unsupported_type", *multipart_named(("0", "video/mp4", b"abc")))):
            self.assertEqual(self.classify(kind, body, status)["error"]["code"], code)

    def by_id(self):
        results = self.classify(JSON, json.dumps({"samples": [str(serving.TRAIN + 3), "nobody"]}))["results"]
        self.assertEqual([(r["sample"], r["status"]) for r in results], [(str(serving.TRAIN + 3), 200), ("nobody", 404)])
        self.assertEqual(results[0]["bits"], self.made.reference()[3]["bits"])

    def wrong(self, image):
        self.assertEqual(self.classify(JPEG, image, 400)["error"]["code"], "bad_image")
        self.assertEqual(self.classify("text/plain", image[1:], 415)["error"]["code"], "unsupported_type")
        self.assertEqual(self.classify(RAW, bytes(2 << 20), 413)["error"]["code"], "too_large")
        for path in ("/v1/classify", "/v1/model/reload"):
            self.refused(403, "foreign_site", path, "POST", b"", Origin="http://evil.example")
        for path in self.api.document["paths"]:
            method = "DELETE"
            status, headers, text = self.ask(self.server, method, path)
            documented = next(iter(self.api.document["paths"][path]))
            self.api.check_answer(path, documented, status, headers, text)
            self.assertEqual(status, 404 if path == "/v1/training" else 405)
        self.refused(404, "not_found", "/v1/training")

    def too_many_listeners(self):
        streams = [self.listen(self.server) for _ in range(1023)]
        status, headers, text = self.ask(self.server, "GET", "/v1/results")
        self.assertEqual(self.api.check_answer("/v1/results", "GET", status, headers, text)["error"]["code"], "busy")
        for stream in streams:
            stream.close()

    def waiting(self):
        """No node; then one that says nothing."""
        self.server = self.serve("--deadline", 200)
        self.refused(503, "no_nodes", "/v1/classify", "POST", self.made.images[0], Content_Type=RAW)
        self.assertFalse(self.answer(503, "/readyz")["ready"])
        node = HandNode(self.server, self.made, 0).join()
        self.addCleanup(node.close)
        self.wait_ready(self.server, 1)
        self.refused(504, "timeout", "/v1/classify", "POST", self.made.images[0], Content_Type=RAW)

    def reloading(self):
        """The same model; one whose node takes its time; none; and the end."""
        run = self.folder / "reloaded"
        shutil.copytree(self.made.run, run)
        manifest = run / "manifest.json"
        self.server = self.fleet.serve(run, "--deadline", 1000 * PATIENCE)
        model = self.answer(200, "/v1/model/reload", "POST", b"")
        self.assertEqual(model, self.answer(200, "/v1/model"))
        node = HandNode(self.server, self.made, 0).join()
        self.addCleanup(node.close)
        self.wait_ready(self.server, 1)
        was = read_json(manifest)["last"]["encoders"][0]
        manifest.write_text(manifest.read_text().replace(was, "0" * 64))
        first = threading.Thread(target=self.answer, args=(200, "/v1/model/reload", "POST", b""))
        first.start()
        prepare = node.receive(plain_node.PREPARE)
        self.refused(409, "reload_under_way", "/v1/model/reload", "POST", b"")
        node.send(plain_node.PREPARED, {1: prepare[1]})
        first.join(PATIENCE)
        node.receive(plain_node.SWITCH)
        manifest.write_text("{")
        self.refused(409, "not_reloaded", "/v1/model/reload", "POST", b"")
        held = threading.Thread(target=self.ask, daemon=True, args=(
            self.server, "POST", "/v1/classify", self.made.images[0]), kwargs={"Content_Type": RAW})
        held.start()
        node.receive(plain_node.SWITCH)
        node.receive(plain_node.REQUEST)
        self.server.signal(signal.SIGTERM)
        wait_until(lambda: not self.answer(503, "/readyz")["ready"] if "stopping" in self.server.said else None,
                   "a server that stops")
        self.refused(503, "stopping", "/v1/classify", "POST", self.made.images[0], Content_Type=RAW)
        node.close()
        held.join(PATIENCE)
        self.server.wait(0)

    def with_token(self):
        path = self.folder / "token"
        path.write_text(TOKEN + "\n")
        self.server = self.serve("--api-token-file", path, "--ready-nodes", 1, "--allowed-hosts", "127.0.0.1")
        status, _, text = self.ask(self.server, "GET", "/healthz", Host="evil.example")
        self.assertEqual((status, json.loads(text)["error"]["code"]), (421, "wrong_host"))
        self.api.check_event("Error", text)
        good = f"Bearer {TOKEN}"
        for place in self.api.document["paths"]:
            method = next(iter(self.api.document["paths"][place])).upper()
            if place in ("/healthz", "/readyz"):
                self.assertIn(self.ask(self.server, method, place)[0], (200, 503))
                continue
            for wrong in (None, TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer", good + " x"):
                headers = {"Authorization": wrong} if wrong else {}
                self.refused(401, "unauthorized", place, method, **headers)
        self.assertEqual(self.ask(self.server, "GET", "/nowhere")[0], 401)
        self.answer(200, "/v1/model", Authorization=good)
        self.answer(200, "/v1/model", Authorization=f"bearer  {TOKEN}")
        self.assertEqual(self.ask(self.server, "GET", "/nowhere", Authorization=good)[0], 404)
        self.assertNotIn(TOKEN, self.server.said)

    def training(self):
        """Events from the first to the last epoch, for one who came before the nodes and one who came late."""
        run = self.folder / "run"
        server = self.fleet.train(f.write_experiment(self.folder / "e.yaml", training__epochs=3), self.made.split, run,
                                  "--http", "127.0.0.1:0")
        server.http = server.wait_port("http_listening")
        self.server = server
        early = self.listen(server, "/v1/training")
        self.assertFalse(self.answer(503, "/readyz")["ready"])
        self.refused(404, "not_found", "/v1/results")
        self.refused(404, "not_found", "/v1/samples")
        self.refused(404, "not_found", "/v1/model/reload", "POST", b"")
        self.refused(404, "not_found", "/v1/classify", "POST", b"x", Content_Type=RAW)
        self.assertIsNone(self.answer(200, "/v1/model")["step"])
        nodes = self.fleet.nodes(server, self.made.split, run / "nodes", "--exit-when-done")
        server.wait_event("training_progress", message="^epoch 1/3  loss")
        nodes[3].freeze()
        late = self.listen(server, "/v1/training")
        wait_until(lambda: "fewbit_training_loss" in self.answer(200, "/metrics"), "metrics of the training")
        for status, path in ((503, "/readyz"), (200, "/healthz")):  # nothing to classify with, and alive
            state = self.answer(status, path)
            self.assertEqual((state["ready"], state["code"], state["mode"]), (False, "training", "train"))
        self.assertNotIn("HTTP GET /readyz", server.said)  # a balancer asks all the time
        self.assertGreater(self.answer(200, "/v1/nodes")["nodes"][0]["sent"]["payload_bits"], 0)
        status, headers, text = self.ask(server, "DELETE", "/v1/training")
        self.api.check_answer("/v1/training", "GET", status, headers, text)
        self.training_is_full(server)
        nodes[3].thaw()
        for stream in (early, late):
            events = list(stream.events())
            epochs = {json.loads(data)["epoch"] for kind, data in events if kind == "epoch"}
            self.assertEqual(epochs, {1, 2, 3})
            for kind, data in events:
                if kind:
                    self.api.check_event(kind.capitalize(), data)
        server.wait(0)
        self.api.check_event("Lost", '{"lost": 1}')  # Listeners.test_a_slow_one_is_told sees a real one

    def in_stages(self):
        run = self.folder / "in-stages"
        self.fleet.train_local(f.write_experiment(self.folder / "in-stages.yaml", encoder__refinement="[1, 3]", training__epochs=1,
                                                  encoder__binarize="straight-through"), self.made.split, run)
        self.server = self.fleet.serve(run, "--confidence", 1)
        for k in range(f.PORTIONS):
            self.fleet.node(k, self.server, self.made.split, run / "nodes" / f"node-{k}")
            self.server.wait_event("node_ready", portion=k)
        listener = self.listen(self.server)
        self.assertEqual(self.classify(RAW, self.made.images[3])["rounds"], 2)
        self.assertEqual(self.event_of(listener, "result", "Result")["rounds"], 2)

    def training_is_full(self, server):
        streams = [self.listen(server, "/v1/training") for _ in range(1022)]
        status, headers, text = self.ask(server, "GET", "/v1/training")
        self.assertEqual(status, 503)
        self.api.check_answer("/v1/training", "GET", status, headers, text)
        for stream in streams:
            stream.close()


class Images(HttpCase):
    def test_jpeg(self):
        """Grey, colour, progressive; what is damaged or too large is refused, quickly."""
        server, _ = self.start()
        image = self.made.images[5]
        for picture in (jpeg(image), jpeg(image, mode="RGB"), jpeg(image, progressive=True)):
            status, answer = serving.post(server, picture, JPEG)
            self.assertEqual((status, answer.get("class")), (200, self.made.reference()[5]["class"]), answer)
        whole = jpeg(image)
        frame = whole.index(b"\xff\xc0")
        huge = whole[:frame + 5] + b"\xea\x60\xea\x60" + whole[frame + 9:]
        for body, pattern in ((b"", "no JPEG"), (whole[:-2], "damaged"), (whole[:len(whole) // 2], "damaged"),
                              (whole[:100], "damaged"), (huge, "60000 x 60000"),
                              (jpeg(bytes(27 * 28), (27, 28)), "27 x 28"), (whole[:2] + bytes(500), "no JPEG"),
                              (jpeg(image, mode="CMYK"), "CMYK")):
            status, answer = serving.post(server, body, JPEG)
            self.assertEqual((status, answer["error"]["code"]), (400, "bad_image"))
            self.assertRegex(answer["error"]["message"], pattern)
        self.assert_serves(server)

    def test_a_batch_answers_in_order(self):
        server, _ = self.start()
        body, kind = multipart(*[(RAW, image) for image in self.made.images[:64]])
        status, answer = serving.post(server, body, kind)
        self.assertEqual(status, 200)
        for index, one in enumerate(answer["results"]):
            self.assert_same(one, index)


class Identity(HttpCase):
    def test_ids_and_traces(self):
        server, _ = self.start("--log-level", "debug")
        image = self.made.images[0]
        made = set()
        for offered, taken in (("abc-1.2_3", True), ("x" * 64, True), ("x" * 65, False), ("a b", False),
                               ('"}', False), ("", False)):
            status, headers, text = self.ask(server, "POST", "/v1/classify", image, Content_Type=RAW,
                                             X_Request_Id=offered)
            self.assertEqual((status, json.loads(text)["request"]), (200, headers["X-Request-Id"]))
            self.assertEqual(headers["X-Request-Id"] == offered, taken, offered)
            made.add(headers["X-Request-Id"])
        self.assertEqual(len(made), 6)
        for trace, good in ((TRACE, True), (TRACE.upper(), False), (TRACE[:-1], False), (TRACE + "0", False),
                            ("00-" + "0" * 32 + TRACE[35:], False), ("01" + TRACE[2:], False)):
            mark = f"t{len(made)}"
            made.add(mark)
            self.ask(server, "POST", "/v1/classify", image, Content_Type=RAW, X_Request_Id=mark, traceparent=trace)
            line = server.wait_event("http_request", request=mark, status=200)
            self.assertEqual(line.get("traceparent"), trace if good else None)
        self.assertRegex(server.said, rf"info +HTTP POST .* traceparent {TRACE}\n")
        self.assertRegex(server.said, r"debug +HTTP POST .* request abc-1.2_3\n")

    def test_lines_of_json_have_fields(self):
        server = self.fleet.start("serve", f.binary("decoder_server"), "serve", self.made.run, "--listen", "127.0.0.1:0", "--http",
                                  "127.0.0.1:0", "--log-format", "json", "--results", "none")
        server.http = server.wait_port("http_listening")
        self.ask(server, "GET", "/v1/nodes", X_Request_Id="mark", traceparent=TRACE)
        line = server.wait_event("http_request", message="^HTTP GET")
        self.assertEqual((line["status"], line["request"], line["traceparent"]), (200, "mark", TRACE))
        self.assertGreater(line["ms"], 0)
        self.assertIn("request mark", line["message"])


class Metrics(HttpCase):
    def test_what_is_counted(self):
        server, nodes = self.start("--deadline", 1000)
        for index in range(20):
            self.classify(server, index)
        serving.post(server, b"x")
        nodes[1].kill()
        self.wait_ready(server, 3)
        self.classify(server, 0)
        nodes[1] = self.node(server, 1)
        self.wait_ready(server, PORTIONS)
        m = self.metrics(server)
        self.assertEqual(m['fewbit_classifications_total{outcome="classified"}'], 20)
        self.assertEqual(m['fewbit_classifications_total{outcome="degraded"}'], 1)
        self.assertEqual(m['fewbit_classifications_total{outcome="bad_image"}'], 1)
        self.assertEqual(m['fewbit_http_requests_total{route="/v1/classify",status="200"}'], 21)
        self.assertEqual(m['fewbit_http_requests_total{route="/v1/classify",status="400"}'], 1)
        self.assertEqual(m["fewbit_classification_duration_seconds_count"], 21)
        buckets = [v for name, v in m.items() if "_duration_seconds_bucket" in name]
        self.assertEqual((buckets, buckets[-1]), (sorted(buckets), 21))
        self.assertEqual(m['fewbit_samples_complete_total{source="http"}'], 21)
        self.assertEqual(m["fewbit_nodes_ready"], PORTIONS)
        self.assertEqual(m['fewbit_node_reconnects_total{portion="1",node="node-1"}'], 1)
        self.assertEqual(m['fewbit_node_reconnects_total{portion="0",node="node-0"}'], 0)
        labels = 'portion="{}",node="node-{}",direction="received"'
        self.assertEqual(m[f'fewbit_node_bits_total{{{labels.format(0, 0)},kind="payload"}}'], 4 * 21)
        self.assertEqual(m[f'fewbit_node_bits_total{{{labels.format(1, 1)},kind="payload"}}'], 4 * 20)
        self.assertEqual(m[f'fewbit_node_frames_total{{{labels.format(0, 0)},message="Answer"}}'], 21)
        self.assertGreater(m[f'fewbit_node_bits_total{{{labels.format(0, 0)},kind="frames"}}'], 8 * 7 * 21)
        later = self.metrics(server)
        self.assertEqual(later['fewbit_http_requests_total{route="/metrics",status="200"}'], 1)
        self.assertTrue(all(later[name] >= value for name, value in m.items() if name.endswith("_total")))

    def test_deadlines_and_names(self):
        """A missed deadline is counted, and a name cannot break the text."""
        server, _ = self.start("--deadline", 300, nodes=(0, 1, 2))
        name = 'a"b\\c d'
        node = HandNode(server, self.made, 3, name=name.encode()).join()
        self.addCleanup(node.close)
        self.wait_ready(server, PORTIONS)
        self.assertEqual(self.classify(server, 0)["missing"], [3])
        m = self.metrics(server)
        self.assertEqual(m['fewbit_deadline_misses_total{source="http"}'], 1)
        self.assertEqual(m['fewbit_node_up{portion="3",node="a\\"b\\\\c d"}'], 1)
        shown = json.loads(self.ask(server, "GET", "/v1/nodes")[2])
        self.assertEqual(shown["nodes"][3]["name"], name)


class Listeners(HttpCase):
    def test_every_result_in_order(self):
        server, _ = self.start()
        streams = [self.listen(server) for _ in range(3)]
        for index in range(50):
            self.classify(server, index)
        for stream in streams:
            got = [json.loads(data) for _, (_, data) in zip(range(50), (e for e in stream.events() if e[0]))]
            self.assertEqual([r["class"] for r in got], [self.made.reference()[i]["class"] for i in range(50)])
            self.assertEqual([r["id"] for r in got], sorted(r["id"] for r in got))

    def test_a_slow_one_is_told(self):
        """It reads nothing while thousands of results pass: nobody waits for it, and it learns how many it missed."""
        server, _ = self.start()
        slow = self.listen(server, small=True)
        workers = [threading.Thread(target=self.pour, args=(server, 625)) for _ in range(16)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        results = lost = 0
        for kind, data in slow.events():
            results += kind == "result"
            lost += json.loads(data)["lost"] if kind == "lost" else 0
            if results + lost >= 10000:
                break
        self.assertEqual(results + lost, 10000)
        self.assertGreater(lost, 0)

    def pour(self, server, count):
        """So many requests on one connection, without waiting for answers in between."""
        one = (b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
               b"Content-Length: 784\r\n\r\n" + self.made.images[0])
        with socket.create_connection(("127.0.0.1", server.http)) as connection:
            sender = threading.Thread(target=connection.sendall, args=(one * count,))
            sender.start()
            got = b""
            while got.count(b"HTTP/1.1 200 ") < count:
                piece = connection.recv(1 << 16)
                self.assertTrue(piece, "the connection was closed")
                got += piece
            sender.join()

    def test_a_thousand(self):
        """A thousand at once: each gets each result, and the server's memory stays flat while they come and go."""
        server, _ = self.start()
        rounds = []
        for _ in range(3):
            streams = [self.listen(server) for _ in range(LISTENERS)]
            self.classify(server, 1)
            for stream in streams:
                data = next(data for kind, data in stream.events() if kind == "result")
                self.assertEqual(json.loads(data)["class"], self.made.reference()[1]["class"])
            self.assertEqual(self.metrics(server)["fewbit_sse_subscribers"], LISTENERS)
            rounds.append(int(server.status("VmRSS").split()[0]))
            for stream in streams:
                stream.close()
            self.classify(server, 2)  # what it writes now tells it that they are gone
            wait_until(lambda: self.classify(server, 2) and self.metrics(server)["fewbit_sse_subscribers"] == 0,
                       "the listeners' leave")
        if not f.SANITIZED:  # a sanitizer keeps what is freed
            self.assertLess(rounds[2], rounds[0] * 1.1 + 2048, f"KiB by round: {rounds}")

    def test_the_end(self):
        server, _ = self.start()
        stream = self.listen(server)
        self.assertEqual(next(stream.events()), ("", ""))
        self.assert_ends_soon(server, signal.SIGTERM, 0)
        self.assertEqual([kind for kind, _ in stream.events() if kind], [])


class Client(HttpCase):
    """The program `fewbit` over this API."""

    def fewbit(self, server, command, *arguments, **how):
        return self.fleet.start(command, f.binary("fewbit"), command, "--server", f"http://127.0.0.1:{server.http}",
                                *arguments, **how)

    def test_pictures_and_a_token(self):
        token = self.folder / "token"
        token.write_text(TOKEN + "\n")
        server, _ = self.start("--api-token-file", token)
        picture = self.folder / "picture"  # the content says what it is
        picture.write_bytes(jpeg(self.made.images[4]))
        asked = self.fewbit(server, "classify", "--json", "--token-file", token, picture)
        asked.wait(0)
        self.assert_same(json.loads(asked.printed), 4)
        refused = self.fewbit(server, "classify", picture)
        refused.wait(3)
        self.assertRegex(refused.said, "this needs Authorization")
        self.fewbit(server, "status").wait(0)
        self.fewbit(server, "status", "--watch").wait(3)
        watching = self.fewbit(server, "status", "--watch", "--token-file", token)
        self.read_until(watching, "4 of 4 nodes ready")
        watching.signal(signal.SIGINT)
        watching.wait(0)

    def read_until(self, program, pattern):
        wait_until(lambda: re.search(pattern, program.printed), f"{pattern} from {program.name}",
                   explain=self.fleet.explain)

    def test_watching(self):
        """Nodes that go and come, rates, and a server that goes."""
        server, nodes = self.start()
        watching = self.fewbit(server, "status", "--watch")
        self.read_until(watching, r"serving tiny \(mnist\), 4 x 4 bits a sample against 6272 raw, step \d+, rounded "
                                  r"test [\d.]+ %\nrequests 0.0/s.*\n4 of 4 nodes ready\n")
        for index in range(10):
            self.classify(server, index)
        self.read_until(watching, r"requests (?!0\.0)[\d.]+/s")
        nodes[2].kill()
        self.read_until(watching, r"3 of 4 nodes ready\n(.*\n)*2 +node-2 +missing +- ")
        server.signal(signal.SIGTERM)
        server.wait(0)
        self.read_until(watching, "/v1/model: .*[Cc]onnect")
        watching.signal(signal.SIGTERM)
        watching.wait(0)


class Tokens(HttpCase):
    def test_files_that_are_wrong(self):
        path = self.folder / "token"
        for text, pattern in (("short\n", "has 16 to 512 characters"), (TOKEN + "\n" + TOKEN, "is one line"),
                              ("with blanks in it, many\n", "letters, digits"), ("x" * 600, "600"), (None, "No such file")):
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(text)
            failed = self.fleet.run("serve", f.binary("decoder_server"), "serve", self.made.run, "--listen",
                                    "127.0.0.1:0", "--http", "127.0.0.1:0", "--results", "none", "--api-token-file",
                                    path, code=4 if text is None else 3)
            self.assertRegex(failed.said, pattern)
            self.assertNotIn(TOKEN, failed.said)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""What deploy/ gives to systemd, Kubernetes and Prometheus, against the validators that Debian has; docs/metrics.md against /metrics."""
import re
import subprocess
import unittest
import urllib.request

import yaml

from lib import fleet as f, serving

try:
    from kubernetes import client as kubernetes
except ImportError:
    kubernetes = None

MANIFEST = f.ROOT / "deploy/kubernetes/fewbit.yaml"
SCORE = 1.1  # of systemd-analyze security, as docs/operations.md has it


class Units(unittest.TestCase):
    def test_score(self):
        for unit in ("fewbit-node", "fewbit-decoder"):
            done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                                   f.ROOT / f"deploy/systemd/{unit}.service"], capture_output=True, text=True)
            said = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
            self.assertTrue(said, done.stdout + done.stderr)
            self.assertLessEqual(float(said[1]), SCORE)
        self.assertIn(f"gives both {SCORE} of 10", (f.ROOT / "docs/operations.md").read_text())


def complaints(value, kind, path):
    """What does not fit Kubernetes's own types, as its Python client has them: unknown fields, missing ones, wrong sorts."""
    if kind in ("object", "datetime"):
        return
    if match := re.fullmatch(r"list\[(.*)\]|dict\(str, (.*)\)", kind):
        if type(value) is not (list if match[1] else dict):
            yield f"{path}: {value!r} is no {kind}"
            return
        for key, item in enumerate(value) if match[1] else value.items():
            yield from complaints(item, match[1] or match[2], f"{path}.{key}")
        return
    sorts = {"str": str, "int": int, "bool": bool, "float": (int, float)}
    if kind in sorts:
        if not isinstance(value, sorts[kind]) or (isinstance(value, bool) and kind != "bool"):
            yield f"{path}: {value!r} is no {kind}"
        return
    model = getattr(kubernetes, kind)
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no {kind}"
        return
    names = {there: here for here, there in model.attribute_map.items()}
    for key, item in value.items():
        if key not in names:
            yield f"{path}: {kind} has no {key}"
        elif item is not None:
            yield from complaints(item, model.openapi_types[names[key]], f"{path}.{key}")
    try:  # the client's own checks: required fields, ranges, patterns
        model(**{names[key]: item for key, item in value.items() if key in names})
    except ValueError as wrong:
        yield f"{path}: {wrong}"


@unittest.skipUnless(kubernetes, "needs python3-kubernetes")
class Kubernetes(unittest.TestCase):
    def setUp(self):
        self.objects = [o for o in yaml.safe_load_all(MANIFEST.read_text()) if o]

    def check(self, thing):
        group, _, version = thing["apiVersion"].rpartition("/")
        return list(complaints(thing, f"{version.capitalize()}{thing['kind']}", thing["kind"]))

    def test_every_object_fits_its_type(self):
        for thing in self.objects:
            with self.subTest(f"{thing['kind']} {thing['metadata']['name']}"):
                self.assertEqual(self.check(thing), [])

    def test_mistakes_are_found(self):
        pod = next(o for o in self.objects if o["kind"] == "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
        for key, wrong in (("livenesProbe", {}), ("name", None), ("ports", [{"name": "x"}]), ("image", 7)):
            broken = {**pod, key: wrong}
            self.assertTrue(list(complaints(broken, "V1Container", "container")), key)

    def test_parts_fit_together(self):
        by_kind = {}
        for thing in self.objects:
            by_kind.setdefault(thing["kind"], {})[thing["metadata"]["name"]] = thing
            if thing["kind"] != "Namespace":
                self.assertEqual(thing["metadata"]["namespace"], "fewbit")
        labels = [s["spec"]["template"]["metadata"]["labels"] for s in by_kind["StatefulSet"].values()]
        for kind in ("Service", "PodDisruptionBudget"):
            for thing in by_kind[kind].values():
                wanted = thing["spec"]["selector"]
                wanted = wanted.get("matchLabels", wanted)
                self.assertTrue(any(wanted.items() <= have.items() for have in labels), wanted)
        scaler = by_kind["HorizontalPodAutoscaler"]["decoder"]["spec"]
        target = by_kind[scaler["scaleTargetRef"]["kind"]][scaler["scaleTargetRef"]["name"]]
        self.assertEqual(target["spec"]["replicas"], scaler["minReplicas"])
        containers = by_kind["StatefulSet"]["node"]["spec"]["template"]["spec"]["containers"]
        self.assertEqual([c["name"] for c in containers], [f"to-decoder-{k}" for k in range(scaler["maxReplicas"])])
        for k, container in enumerate(containers):
            self.assertIn(f"decoder-{k}.decoder-nodes:7010", container["args"])


class Metrics(serving.ServingCase):
    @classmethod
    def setUpClass(cls):
        cls.made = serving.Made()

    def names(self, server):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http}/metrics", timeout=f.PATIENCE) as answer:
            return set(re.findall(r"^# TYPE (\S+)", answer.read().decode(), re.M))

    def test_every_metric_is_explained(self):
        server, _ = self.start()
        run = self.folder / "run"
        training = self.fleet.train(f.write_experiment(self.folder / "e.yaml", training__epochs=400), self.made.split, run,
                                    "--http", "127.0.0.1:0")
        training.http = training.wait_port("http_listening")
        self.fleet.nodes(training, self.made.split, run / "nodes")
        training.wait_event("training_progress", message="^epoch 1/400  loss")
        known = self.names(server) | self.names(training)
        explained = re.findall(r"^\| `(fewbit_\w+)` \|", (f.ROOT / "docs/metrics.md").read_text(), re.M)
        self.assertEqual(sorted(explained), sorted(known))
        for rule in yaml.safe_load((f.ROOT / "deploy/stack/alerts.yml").read_text())["groups"][0]["rules"]:
            used = {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"fewbit_\w+", rule["expr"])}
            self.assertLessEqual(used, known, rule["alert"])


if __name__ == "__main__":
    unittest.main()

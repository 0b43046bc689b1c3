"""A compose stack of this tree, driven as its users would, and the engine's own interface where a command is not exact enough."""
import concurrent.futures
import gzip
import http.client
import io
import json
import os
import pathlib
import socket
import subprocess
import tarfile
import time
import urllib.parse

from lib.log_reader import matching, record_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
MNIST = (ROOT / os.environ.get("FEWBIT_TEST_MNIST", "data/mnist")).resolve()
PATIENCE = 120  # seconds that anything awaited may take
PORTIONS, PIXELS = 4, 784
RUN = "/var/lib/fewbit/runs/current"


def run(*words, check=True, **environment):
    done = subprocess.run([str(w) for w in words], cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors="replace")
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{text[-4000:]}")
    return done.returncode, text


def docker(*words, **options):
    return run("docker", *words, **options)[1].strip()


def wait_until(true, what, seconds=PATIENCE, pause=0.05, explain=lambda: ""):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = true()
        if found:
            return found
        time.sleep(pause)
    raise AssertionError(f"waited {seconds} s for {what}\n{explain()}")


def mnist_images(count):
    """The test set's first images, as raw bytes, and their labels."""
    def payload(name, header):
        plain = MNIST / name
        data = plain.read_bytes() if plain.exists() else gzip.decompress((MNIST / (name + ".gz")).read_bytes())
        return data[header:]
    pixels, labels = payload("t10k-images-idx3-ubyte", 16), payload("t10k-labels-idx1-ubyte", 8)
    return [pixels[i * PIXELS:(i + 1) * PIXELS] for i in range(count)], list(labels[:count])


def free_port():
    """For a service that keeps its port when it is started again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Engine(http.client.HTTPConnection):
    """The engine's interface over its socket."""

    def __init__(self):
        super().__init__("engine", timeout=30)
        self.path = urllib.parse.urlparse(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")).path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    @classmethod
    def ask(cls, path):
        engine = cls()
        try:
            engine.request("GET", path)
            return json.loads(engine.getresponse().read())
        finally:
            engine.close()


class Stack:
    def __init__(self, name, *files, **settings):
        self.name = name
        self.files = [word for file in ("docker-compose.yml", *files) for word in ("-f", file)]
        self.settings = {"FEWBIT_DATA": str(MNIST), "FEWBIT_PUBLISH": f"127.0.0.1:{free_port()}",
                         **{key: str(value) for key, value in settings.items()}}

    def compose(self, *words, **options):
        return run(*compose_command(), "-p", self.name, "--project-directory", ROOT, *self.files, *words,
                   **{**self.settings, **options})[1]

    def up(self, *services, **settings):
        self.settings.update({key: str(value) for key, value in settings.items()})
        self.compose("up", "-d", *services)

    def down(self):
        self.compose("down", "-v", "--remove-orphans", "-t", "3", check=False)

    def in_keeper(self, command):
        return docker("exec", self.container("keeper"), "bash", "-c", command)

    def fill(self, volume):
        self.in_keeper(f"head -c 1G /dev/zero >/{volume}/filler 2>/dev/null; "
                       f"df -k --output=avail /{volume} | grep -qx ' *0'")

    def drain(self, volume):
        self.in_keeper(f"rm /{volume}/filler")

    def log_events(self, service, event, **how):
        """The events in a container's log; see tests/lib/log_reader.py."""
        lines = docker("logs", self.container(service)).splitlines()
        return matching(filter(None, map(record_of, lines)), event, **how)

    def container(self, service):
        found = docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.name}",
                       "--filter", f"label=com.docker.compose.service={service}", "--filter",
                       "label=com.docker.compose.oneoff=False")
        assert found and "\n" not in found, f"{service}: {found!r} is not one container"
        return found

    def volume(self, name):
        return f"{self.name}_{name}"

    def about(self, service):
        return json.loads(docker("inspect", self.container(service)))[0]

    def logs(self):
        return self.compose("logs", "--no-color", "--tail", "15", check=False)

    def files_in(self, service, path):
        """{name: bytes} of what a container has below `path`, volumes among them."""
        done = subprocess.run(["docker", "cp", f"{self.container(service)}:{path}", "-"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        if done.returncode != 0:
            return {}
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}

    def events(self):
        """The lines of the run's log."""
        text = self.files_in("decoder", f"{RUN}/log.jsonl").get("log.jsonl", b"")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]

    def epochs(self):
        return max((e["epoch"] for e in self.events() if e["event"] == "evaluated"), default=0)

    def head(self):
        """The final commit's decoder and classifier: {file: its digest as the manifest has it}, and the bytes."""
        files = self.files_in("decoder", RUN)
        heads = {name: data for name, data in files.items() if "/head/" in name}
        assert heads, f"no weights among {sorted(files)}"
        return heads

    def node_weights(self, k):
        """A node's parts by their steps: each training has a folder with a number of its own."""
        files = self.files_in(f"node-{k}", "/var/lib/fewbit/state")
        return {name.rpartition("/")[2]: data for name, data in files.items() if name.endswith(".safetensors")}

    def port(self, service="decoder", inside=8080):
        return int(docker("port", self.container(service), f"{inside}/tcp").splitlines()[0].rsplit(":", 1)[1])

    def token(self):
        return self.files_in("decoder", "/etc/fewbit/api-token")["api-token"].decode().strip()

    def network_bytes(self, service):
        """Bytes and packets of all the interfaces of a container, as the kernel counted them at the interface."""
        networks = Engine.ask(f"/containers/{self.container(service)}/stats?stream=false&one-shot=true")["networks"]
        return {key: sum(n[key] for n in networks.values()) for key in
                ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets", "rx_dropped", "tx_dropped")}

    def crash(self, service):
        """SIGKILL as the kernel would, so that the restart policy acts; `docker kill` counts as being told to stop."""
        pid = self.about(service)["State"]["Pid"]
        exe = pathlib.Path(f"/proc/{pid}/exe")
        if os.geteuid() == 0 and exe.exists() and exe.resolve().name in ("encoder_node", "decoder_server"):
            os.kill(pid, 9)
        else:
            docker("kill", self.container(service))
            docker("start", self.container(service))


def compose_command():
    """docker-compose 1.29, or Compose v2 where that is what there is."""
    try:
        run("docker-compose", "version")
        return ["docker-compose"]
    except (OSError, AssertionError):
        return ["docker", "compose"]


class Client:
    """Requests over HTTP, one connection."""

    def __init__(self, port, token):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.headers = {"Authorization": f"Bearer {token}"}

    def ask(self, method, path, body=None, kind="application/octet-stream"):
        headers = {**self.headers, **({"Content-Type": kind} if body is not None else {})}
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise

    def classify(self, image):
        return self.ask("POST", "/v1/classify", image)

    def misses(self):
        """The portions that an answer misses now; None where there is no answer."""
        try:
            status, answer = self.classify(bytes(PIXELS))
            return answer["missing"] if status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            self.connection.close()

    def serves_whole(self):
        return self.misses() == []


class Load:
    """Requests at a steady rate from several connections while a test does something; every outcome is kept."""

    def __init__(self, port, token, images, rate=200, connections=16):
        self.port, self.token, self.images = port, token, images
        self.gap, self.connections = connections / rate, connections
        self.outcomes, self.failures, self.stopping = [], [], False
        self.under_way = {}  # connection: when its request began

    def _ask(self, offset):
        client = Client(self.port, self.token)
        next_at = time.monotonic() + self.gap * offset / self.connections
        n = offset
        while not self.stopping:
            time.sleep(max(0.0, next_at - time.monotonic()))
            next_at = max(next_at + self.gap, time.monotonic())
            begin = self.under_way[offset] = time.monotonic()
            try:
                status, answer = client.classify(self.images[n % len(self.images)])
                self.outcomes.append((begin, time.monotonic(), status, n % len(self.images), answer))
            except (OSError, http.client.HTTPException) as failure:
                self.failures.append((begin, repr(failure)))
            del self.under_way[offset]
            n += self.connections
        client.connection.close()

    def __enter__(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(self.connections)
        self.jobs = [self.pool.submit(self._ask, k) for k in range(self.connections)]
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.pool.shutdown()
        for job in self.jobs:
            job.result()

    def has_ended(self, before):
        """What began before that moment has its outcome."""
        return all(begin > before for begin in list(self.under_way.values()))

    def degraded(self, since):
        return [o for o in self.outcomes if o[0] >= since and o[2] == 200 and o[4]["degraded"]]

    def whole(self, since):
        return [o for o in self.outcomes if o[0] >= since and o[2] == 200 and not o[4]["degraded"]]

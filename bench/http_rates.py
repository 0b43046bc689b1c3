"""HTTP requests a second (wrk): classification by Fewbit beside nginx, with a constant answer of the same size and as a
reverse proxy before a second nginx that gives it."""
import os
import re
import shutil
import socket
import subprocess
import urllib.request

from figures import spread
from programs import f

HERE = os.path.dirname(os.path.abspath(__file__))
CONNECTIONS, SECONDS, QUICK_SECONDS, ROUNDS, QUICK_ROUNDS = 256, 5, 1, 5, 1

NGINX = """worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
daemon off;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    {server}
}}
"""
CONSTANT = """server {{
        listen 127.0.0.1:{port};
        location / {{ default_type application/json; return 200 '{body}'; }}
    }}
"""
PROXY = """upstream constant {{ server 127.0.0.1:{behind}; keepalive 512; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://constant;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
"""


def nginx_program():
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class Nginx:
    """One worker with this server block, in a folder of its own below `folder`."""

    def __init__(self, folder, name, server, **values):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        own = folder / f"nginx-{name}"
        own.mkdir()
        config = own / "nginx.conf"
        config.write_text(NGINX.format(folder=own, server=server.format(port=self.port, **values)))
        self.process = subprocess.Popen([nginx_program(), "-c", str(config), "-p", str(own)])
        f.wait_until(self._answers, "nginx")

    def _answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self):
        self.process.terminate()
        self.process.wait()


def load(port, image, seconds):
    """Answers a second; all must be 2xx."""
    done = subprocess.run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", f"{HERE}/post.lua",
                           f"http://127.0.0.1:{port}/v1/classify"], env={**os.environ, "IMAGE": str(image)},
                          capture_output=True, text=True, timeout=60, check=True)
    if "Non-2xx" in done.stdout:
        raise RuntimeError(done.stdout)
    return float(re.search(r"Requests/sec: +([\d.]+)", done.stdout).group(1))


def can_measure():
    return bool(shutil.which("wrk") and nginx_program())


class Rivals:
    """nginx with a constant answer, and nginx as a reverse proxy before it."""

    def __init__(self, folder, body):
        self.constant = Nginx(folder, "constant", CONSTANT, body=body)
        self.proxy = Nginx(folder, "proxy", PROXY, behind=self.constant.port)

    def close(self):
        self.proxy.close()
        self.constant.close()


def answer_of(server, image_bytes):
    request = urllib.request.Request(f"http://127.0.0.1:{server.http}/v1/classify", image_bytes,
                                     {"Content-Type": "application/octet-stream"})
    with urllib.request.urlopen(request) as answered:
        return answered.read().decode().replace("'", "")


def measure(figures, server, folder, image_bytes, quick, lone):
    """`server` serves with all its nodes; `lone` measures lone requests at a port."""
    if not can_measure():
        print("# no wrk or no nginx here: HTTP rates are not measured")
        return
    image = folder / "one.raw"
    image.write_bytes(image_bytes)
    body = answer_of(server, image_bytes)
    seconds, rounds = (QUICK_SECONDS, QUICK_ROUNDS) if quick else (SECONDS, ROUNDS)
    rivals = Rivals(folder, body)
    ports = (server.http, rivals.proxy.port, rivals.constant.port)
    try:
        rates = [[load(port, image, seconds) for port in ports] for _ in range(rounds)]
        latencies = [lone(port) for port in ports[:2]]
    finally:
        rivals.close()
    ours, proxy, constant = (spread(list(values)) for values in zip(*rates))
    note = f"wrk, {CONNECTIONS} connections, the same POST; theirs: nginx, one worker, "
    for name, theirs, target, what in (
            ("serve_http_requests", proxy, ">=1x", "a reverse proxy before a second one with a constant answer"),
            ("serve_http_requests_by_constant", constant, ">=0.5x", "a constant answer")):
        figures.add(name, ours["median"], theirs["median"], target, "requests/s",
                    f"{note}{what} of {len(body)} bytes", ours_spread=ours, theirs_spread=theirs)
    for part, target in (("p50", "<=0.2"), ("p99", "<=0.5")):
        mine, its = (latency[f"{part}_ms"] for latency in latencies)
        figures.add(f"serve_lone_latency_ms_{part}", mine, its, target, "ms",
                    "bench/lone.c, one keep-alive connection; theirs: nginx as a reverse proxy", lone=latencies[0])

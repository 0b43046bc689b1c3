"""HTTP requests a second (wrk): classification by Fewbit beside nginx with a constant answer of the same size."""
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
    server {{
        listen 127.0.0.1:{port};
        location / {{ default_type application/json; return 200 '{body}'; }}
    }}
}}
"""


def nginx_program():
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class Nginx:
    """One worker that answers everything with `body`."""

    def __init__(self, folder, body):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, port=self.port, body=body))
        self.process = subprocess.Popen([nginx_program(), "-c", str(config), "-p", str(folder)])
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


def measure(figures, server, folder, image_bytes, quick):
    """`server` serves with all its nodes."""
    if not shutil.which("wrk") or not nginx_program():
        print("# no wrk or no nginx here: HTTP rates are not measured")
        return
    image = folder / "one.raw"
    image.write_bytes(image_bytes)
    request = urllib.request.Request(f"http://127.0.0.1:{server.http}/v1/classify", image_bytes,
                                     {"Content-Type": "application/octet-stream"})
    with urllib.request.urlopen(request) as answered:
        body = answered.read().decode().replace("'", "")
    seconds, rounds = (QUICK_SECONDS, QUICK_ROUNDS) if quick else (SECONDS, ROUNDS)
    nginx = Nginx(folder, body)
    try:
        pairs = [(load(server.http, image, seconds), load(nginx.port, image, seconds)) for _ in range(rounds)]
    finally:
        nginx.close()
    ours, theirs = (spread(list(values)) for values in zip(*pairs))
    figures.add("serve_http_requests", ours["median"], theirs["median"], ">=0.5x", "requests/s",
                f"wrk, {CONNECTIONS} connections; theirs: nginx, one worker, the same POST, a constant answer of "
                f"{len(body)} bytes", ours_spread=ours, theirs_spread=theirs)

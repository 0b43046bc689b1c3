#!/usr/bin/python3
"""What people and machines that run the daemons rely on: what a service manager hears, and which events the log has."""
import re
import signal
import socket
import unittest

from lib import fleet as f, serving


def setUpModule():
    serving.ServingCase.made = serving.Made()


class Supervisor(serving.ServingCase):
    """systemd's side of its notification socket."""

    def setUp(self):
        super().setUp()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.address = self.folder / "notify"
        self.socket.bind(str(self.address))
        self.socket.settimeout(f.PATIENCE)

    def hear(self):
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())

    def test_a_server_is_ready_once_it_listens_and_says_when_it_ends(self):
        server = self.fleet.serve(self.made.run, NOTIFY_SOCKET=self.address)
        self.assertEqual(self.hear(), {"READY": "1", "STATUS": "serving"})
        server.signal(signal.SIGTERM)
        self.assertEqual(self.hear()["STOPPING"], "1")
        server.wait(0)

    def test_a_node_is_ready_without_its_server(self):
        node = self.fleet.start("node", f.binary("encoder_node"), "--server", "127.0.0.1:9", "--name", "one", "--data",
                                self.made.split / "node-0", "--state", self.folder / "state", NOTIFY_SOCKET=self.address)
        self.assertEqual(self.hear()["READY"], "1")
        node.signal(signal.SIGTERM)
        self.assertEqual(self.hear()["STOPPING"], "1")
        node.wait(0)


class Events(unittest.TestCase):
    """The documents list every event that a program can log, and no other."""

    def test_documents_and_programs_agree(self):
        call = re.compile(r'\blog_(?:event|event_with|limited)\([^"]*?"([a-z_]+)"')
        logged = {event for folder in ("decoder_server", "encoder_node", "shared")
                  for path in (f.ROOT / folder).rglob("*.c") for event in call.findall(path.read_text())}
        logged |= set(re.findall(r'\bput_line\([^"]*"([a-z_]+)"', (f.ROOT / "shared/base/log.c").read_text()))
        sections = [text.split("\n#")[0] for path in (f.ROOT / "docs").glob("*.md")
                    for text in re.split(r"(?m)^#+ Events\n", path.read_text())[1:]]
        told = {event for row in re.findall(r"(?m)^\| (`.*?) \|", "\n".join(sections)) for event in re.findall("`([a-z_]+)`", row)}
        self.assertGreater(len(logged), 40)
        self.assertEqual(logged, told)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""What people and machines that run the daemons rely on: what a service manager hears."""
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


if __name__ == "__main__":
    unittest.main()

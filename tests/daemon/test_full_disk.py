#!/usr/bin/python3
"""A training whose disk fills up, at the server and at a node: the last whole checkpoint stands."""
import resource
import signal
import subprocess
import tempfile
import unittest

from lib import fleet as f
from lib.fleet import PORTIONS, events, read_json, weights
from lib.training import SLOW, TrainingCase, setUpModule  # noqa: F401: unittest finds setUpModule here


def can_mount():
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", "-l", folder], check=True)
        return done.returncode == 0


class FullDisk(TrainingCase):
    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / "disk" / "run"

    def disk(self, folder, size):
        """A file system of `size` bytes in `folder`."""
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size // 1024}k", "none", folder], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", folder])

    def enlarge(self, folder):
        subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)

    def sizes(self, experiment):
        """Bytes of a head and of an encoder."""
        folder = self.reference(experiment)[0]
        return (next((folder / "head").iterdir()).stat().st_size,
                f.parts_of(folder / "nodes" / "node-0", folder, 0)[0].stat().st_size)

    def assert_stands_at(self, step):
        """The manifest names a checkpoint of `step` whose parts are all there."""
        last = read_json(self.run_folder / "manifest.json")["last"]
        self.assertEqual(last["step"], step)
        held = weights(self.run_folder, self.states)
        self.assertEqual(held[f"head/step-{step}.safetensors"], last["head"])
        for k in range(PORTIONS):
            self.assertEqual(held[f"node-{k}/step-{step}.safetensors"], last["encoders"][k])

    def assert_goes_on(self, experiment):
        self.end_well(*self.start(experiment, "--resume"))
        self.assert_same_weights(experiment)

    @unittest.skipUnless(can_mount(), "cannot mount a small file system")
    def test_of_the_server(self):
        experiment = self.experiment(training__epochs=4)
        head = self.sizes(experiment)[0]
        self.disk(self.folder / "disk", head * 3 // 2 + 64 * 1024)
        server, nodes = self.start(experiment)
        server.wait(5)
        self.assertEqual(len(events(self.run_folder, "evaluated")), 4, "the run died in the middle")
        self.assertRegex(server.said, r"error checkpoint 400 failed, the one of step 200 stands: .*No space left")
        self.assertRegex(server.said, r"(?m)^decoder_server: the last checkpoint could not be written .*--resume")
        self.assertEqual([e["step"] for e in events(self.run_folder, "commit failed")], [400, 600, 800])
        self.assertIsNone(read_json(self.run_folder / "result.json"))
        for node in nodes:
            node.wait(0)
        self.assert_stands_at(200)
        self.enlarge(self.folder / "disk")
        self.assert_goes_on(experiment)

    @unittest.skipUnless(can_mount(), "cannot mount a small file system")
    def test_of_a_node(self):
        experiment = self.experiment(training__epochs=4)
        encoder = self.sizes(experiment)[1]
        self.disk(self.states / "node-2", encoder * 3 // 2 + 16 * 1024)
        server, nodes = self.start(experiment)
        server.wait(5)
        self.assertEqual(len(events(self.run_folder, "evaluated")), 4, "the run died in the middle")
        self.assertRegex(server.said, r"checkpoint 400 failed, the one of step 200 stands: portion 2: .*No space left")
        for node in nodes:
            node.wait(0)
        self.assertRegex(nodes[2].said, r"error checkpoint 400 is not written: .*No space left")
        self.assert_stands_at(200)
        self.enlarge(self.states / "node-2")
        self.assert_goes_on(experiment)

    @unittest.skipUnless(can_mount(), "cannot mount a small file system")
    def test_of_a_node_does_not_fill_the_others(self):
        """Checkpoints that came to nothing must not pile up where there is room."""
        experiment = self.experiment(training__checkpoint_every=20)
        encoder = self.sizes(experiment)[1]
        self.disk(self.states / "node-2", encoder * 3 // 2 + 16 * 1024)
        server, nodes = self.start(experiment)
        server.wait(5)
        for node in nodes:
            node.wait(0)
        self.assertGreater(len(events(self.run_folder, "commit failed")), 10)
        self.assert_stands_at(20)
        held = list(weights(self.run_folder, self.states))
        for place in ("head", "node-0", "node-1", "node-3"):
            self.assertLessEqual(len([name for name in held if name.startswith(place)]), 3, held)

    @unittest.skipUnless(can_mount(), "cannot mount a small file system")
    def test_that_has_room_again_in_time(self):
        experiment = self.experiment(**SLOW, training__checkpoint_every=7, training__epochs=3)
        head = self.sizes(experiment)[0]
        self.disk(self.folder / "disk", head * 3 // 2)
        server, nodes = self.start(experiment)
        self.wait_for_event("commit failed")
        self.enlarge(self.folder / "disk")
        self.end_well(server, nodes)
        self.assert_same_weights(experiment)

    def test_by_a_limit_on_file_sizes(self):
        """The same without root: no file may grow any more once the first checkpoint is there."""
        experiment = self.experiment(**SLOW, training__epochs=4)
        server, nodes = self.start(experiment, prepare=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
        self.wait_for_event("committed")
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        server.wait(5)
        self.assertRegex(server.said, r"checkpoint 800 failed, the one of step \d+ stands: .*File too large")
        for node in nodes:
            node.wait(0)
        self.assert_stands_at(read_json(self.run_folder / "manifest.json")["last"]["step"])
        self.assert_goes_on(experiment)


if __name__ == "__main__":
    unittest.main()

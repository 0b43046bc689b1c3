#!/usr/bin/python3
"""docs/your-own.md, command by command: from an owner's files to live answers."""
import json
import pathlib
import random
import re
import signal
import socket
import subprocess
import unittest
import urllib.request

from lib import fleet as f

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/your-own.md"
BUILD = re.compile(r"(?m)^(git clone|export PATH).*\n")  # what this test has done already
PATIENCE = 240


def section(title):
    """The experiment's name and text, and the commands, of a part of the page."""
    text = PAGE.read_text().split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    experiment, commands = (re.search(rf"(?s)```{kind}\n(.*?)```", text).group(1) for kind in ("yaml", "sh"))
    return re.match(r"name: (\S+)", experiment).group(1), experiment, commands


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class YourOwn(f.FleetCase):
    def setUp(self):
        super().setUp()
        self.folder = self.fleet.folder
        self.draw = random.Random(1)

    def run_page(self, title):
        """Runs a part's commands in one shell, as a reader would; what the last one printed."""
        name, experiment, commands = section(title)
        self.assertLessEqual(len(commands.strip().splitlines()), 10)
        (self.folder / f"{name}.yaml").write_text(experiment)
        commands, removed = BUILD.subn("", commands)
        self.assertEqual(removed, 2)
        self.http = free_port()
        commands = commands.replace(":7000", f":{free_port()}").replace(":8080", f":{self.http}")
        programs = pathlib.Path(f.binary("fewbit")).resolve().parent
        with (self.folder / "said").open("w") as said:
            shell = subprocess.Popen(["bash", "-ec", commands], cwd=self.folder, stdout=said, stderr=said,
                                     env=f.environment(PATH=f"{programs}:/usr/bin:/bin"), start_new_session=True)
        self.addCleanup(self.end, shell)
        try:
            shell.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.fail(f"the commands take too long:\n{self.said()}")
        self.assertEqual(shell.returncode, 0, self.said())

    @staticmethod
    def end(shell):
        """The nodes and the server in the background, too."""
        subprocess.run(["pkill", "-TERM", "-s", str(shell.pid)], check=False)
        f.wait_until(lambda: subprocess.run(["pgrep", "-s", str(shell.pid)], stdout=subprocess.DEVNULL).returncode,
                     "the page's programs end")

    def said(self):
        return (self.folder / "said").read_text()[-3000:]

    def result(self):
        return f.read_json(self.folder / "run/result.json")["final"]

    def ask(self, *arguments):
        """What `fewbit classify` prints."""
        done = self.fleet.run("classify", f.binary("fewbit"), "classify", "--server", f"http://127.0.0.1:{self.http}",
                              *arguments)
        return done.printed

    def test_two_tables(self):
        """An illness that neither clinic sees alone, patients in an order of each one's own, some at one alone."""
        patients = {number: [self.draw.gauss(0, 1) for _ in range(30)] for number in range(600)}

        def ill(values):
            return int(values[0] + values[10] > 0)

        def write(name, held, columns, of):
            held = self.draw.sample(held, len(held))
            lines = [",".join(["id", *columns])] + [",".join(map(str, [number, *of(number)])) for number in held]
            (self.folder / name).write_text("\n".join(lines) + "\n")

        write("clinic-a.csv", range(0, 580), ["ill", *(f"a{i}" for i in range(1, 11))],
              lambda n: [ill(patients[n]), *patients[n][:10]])
        write("clinic-b.csv", range(20, 600), [f"b{i}" for i in range(1, 21)], lambda n: patients[n][10:])
        write("new-a.csv", [133], [f"a{i}" for i in range(1, 11)], lambda n: patients[n][:10])
        write("new-b.csv", [133], [f"b{i}" for i in range(1, 21)], lambda n: patients[n][10:])
        self.run_page("Two tables")
        self.assertGreater(self.result()["test"]["auc"], 0.85)
        rows = self.ask("--portion", f"clinic-a={self.folder}/new-a.csv", "--portion", f"clinic-b={self.folder}/new-b.csv",
                        "--json")
        by_id = self.ask("--sample", "133", "--json")
        rows, by_id = json.loads(rows), json.loads(by_id)["results"][0]
        for key in ("bits", "probabilities", "label"):
            self.assertEqual(rows[key], by_id[key])
        self.assertEqual(by_id["payload_bits"], 8)

    def test_two_sensors(self):
        head = ["@problemName moves", "@timeStamps false", "@missing false", "@univariate false", "@dimensions 6",
                "@equalLength true", "@seriesLength 100", "@classLabel true rest walk run", "@data"]

        def series(period, size):
            start = self.draw.random() * 100
            return ",".join(f"{size * ((t + start) % period < period / 2) + self.draw.gauss(0, 0.1):.4f}" for t in range(100))

        kinds = {"rest": (100, 0), "walk": (25, 1), "run": (10, 2)}
        lines = [":".join([*(series(*kinds[kind]) for _ in range(6)), kind]) for kind in list(kinds) * 30]
        (self.folder / "moves.ts").write_text("\n".join(head + lines) + "\n")
        self.run_page("Two sensors")
        self.assertGreater(self.result()["rounded_accuracy"], 90)

    def test_pictures(self):
        for kind, colour in (("cat", (200, 60, 60)), ("dog", (60, 60, 200))):
            (self.folder / "pictures" / kind).mkdir(parents=True)
            for i in range(120):
                height, width = 30 + i % 20, 40
                pixels = bytes(min(255, max(0, round(self.draw.gauss(c, 40)))) for _ in range(height * width) for c in colour)
                (self.folder / "pictures" / kind / f"{kind}-{i}.png").write_bytes(f.png(pixels, width, height))
        self.run_page("A folder of pictures, on four nodes")
        self.assertGreater(self.result()["rounded_accuracy"], 90)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/v1/samples") as answer:
            offered = json.load(answer)["samples"]
        self.assertTrue(offered and all(re.fullmatch(r"(cat|dog)-\d+", sample) for sample in offered), offered)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""`fewbit data pack` as an owner runs it: every format against the values it was made of, and all that is refused."""
import csv
import gzip
import hashlib
import io
import json
import os
import pathlib
import random
import resource
import struct
import subprocess
import tempfile
import time
import unittest
import wave
import zipfile
import zlib

import lib  # noqa: F401: temporary folders
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]


def program(name="fewbit"):
    folder = ROOT / os.environ.get("FEWBIT_BIN_DIR", "build")
    return folder / "bin" / name if (folder / "bin" / name).exists() else folder / name


def share_of(sample_id):
    """Where an id falls between 0 and 1."""
    return int.from_bytes(hashlib.sha256(b"fewbit split" + sample_id.encode()).digest()[:8], "big") / 2**64


def part_of(sample_id, test=0.2, validation=0.0):
    at = share_of(sample_id)
    return "test" if at < test else "validation" if at < test + validation else "train"


def png(pixels):
    """A PNG of u8 [height, width] or [height, width, 3]."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + pixels[y].tobytes() for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wav(path, samples, rate=8000):
    """16 bits, of int16 [frames, channels]."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


class Packed:
    """A portion or labels folder, read by what the documents say of it."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.is_labels = (folder / "labels.json").exists()
        self.info = json.loads((folder / ("labels.json" if self.is_labels else "portion.json")).read_text())
        self.ids, self.values = [], []
        for split in ("train", "test"):
            self.ids += (folder / f"{split}-ids.txt").read_text().splitlines()
            self.values.append(np.load(folder / (f"{split}-labels.npy" if self.is_labels else f"{split}.npy")))
        self.train, self.test = map(len, self.values)
        self.values = np.concatenate(self.values)
        self.validation = self.info["validation_samples"]

    def by_id(self):
        return dict(zip(self.ids, self.values))

    def part(self, name):
        trained = self.train - self.validation
        return self.ids[{"train": slice(0, trained), "validation": slice(trained, self.train),
                         "test": slice(self.train, None)}[name]]


class Packing(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(lambda: subprocess.run(["rm", "-rf", self.folder], check=True))
        self.to = self.folder / "packed"

    def put(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run_pack(self, *arguments, to=None):
        return subprocess.run([program(), "data", "pack", *map(str, arguments), "--dataset", "small", "--to",
                               str(to or self.to)], capture_output=True, text=True, timeout=120)

    def pack(self, *arguments, to=None):
        """A portion, where nothing else is said."""
        kind = [] if "--labels" in arguments or "--portion" in arguments else ["--portion", "left"]
        done = self.run_pack(*arguments, *kind, to=to)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stderr)
        return Packed(to or self.to)

    def refuse(self, *arguments, told, code=3, to=None):
        kind = [] if "--labels" in arguments or "--portion" in arguments else ["--portion", "left"]
        before = self.listing()
        done = self.run_pack(*arguments, *kind, to=to)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for text in [told] if isinstance(told, str) else told:
            self.assertIn(text, done.stderr)
        self.assertEqual(self.listing(), before, "something was written")

    def listing(self):
        return {path: path.stat().st_mtime_ns for path in self.folder.rglob("*") if path.is_file()}

    def table(self, rows, name="table.csv", delimiter=",", **options):
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter, **options).writerows(rows)
        return self.put(name, text.getvalue())

    def numbers(self, count=60, columns=3, seed=1):
        """A table of numbers: the values, and the rows of its file."""
        values = np.random.default_rng(seed).normal(size=(count, columns)).astype("f4")
        header = ["id", *(f"x{k}" for k in range(columns)), "label"]
        return values, [header] + [[f"p{i}", *map(repr, map(float, values[i])), "ab"[i % 2]] for i in range(count)]

    def assert_holds(self, packed, values, ids):
        """All samples by their ids, each exactly, in the parts of their ids and in each part in the file's order."""
        self.assertEqual(sorted(packed.ids), sorted(ids))
        self.assertEqual(packed.values.dtype, values.dtype)
        found = packed.by_id()
        for i, sample_id in enumerate(ids):
            np.testing.assert_array_equal(found[sample_id], values[i], sample_id)
        for part in ("train", "validation", "test"):
            held = set(packed.part(part))
            self.assertEqual(packed.part(part), [sample_id for sample_id in ids if sample_id in held])

    def assert_scaled(self, packed):
        """Mean and deviation of the training samples alone, a channel (of rank 1 a feature)."""
        values = packed.values[:packed.train - packed.validation].astype("f8")
        values = values / 255 if packed.info["type"] == "u8" else values
        axes = (0,) if len(packed.info["shape"]) == 1 else (0, *range(2, values.ndim))
        std = values.std(axis=axes)
        constant = values.min(axis=axes) == values.max(axis=axes)
        np.testing.assert_allclose(packed.info["mean"], values.mean(axis=axes), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(packed.info["std"], np.where(constant, 1, std), rtol=1e-5)


class Tables(Packing):
    def test_every_value_comes_back_in_its_part(self):
        values, rows = self.numbers()
        ids = [row[0] for row in rows[1:]]
        packed = self.pack(self.table(rows), "--test", "30%", "--validation", "20%")
        self.assertEqual((packed.info["dataset"], packed.info["portion"], packed.info["type"], packed.info["shape"]),
                         ("small", "left", "f32", [3]))
        self.assert_holds(packed, values, ids)
        self.assert_scaled(packed)
        for part in ("train", "validation", "test"):
            self.assertEqual(packed.part(part), [i for i in ids if part_of(i, 0.3, 0.2) == part])
        self.assertEqual(packed.info["columns"], [{"name": f"x{k}", "kind": "number"} for k in range(3)])

    def test_every_way_to_write_it_gives_the_same_folder(self):
        _, rows = self.numbers()
        wanted = self.pack(self.table(rows), to=self.folder / "wanted")
        ways = {
            "crlf.csv": dict(lineterminator="\r\n"),
            "lf.csv": dict(lineterminator="\n"),
            "quoted.csv": dict(quoting=csv.QUOTE_ALL),
            "tabs.tsv": dict(delimiter="\t"),
            "semicolons.csv": dict(delimiter=";"),
        }
        for name, options in ways.items():
            path = self.table(rows, name, **options)
            more = ["--delimiter", ";"] if name == "semicolons.csv" else []
            self.assertEqual(self.pack(path, *more).info["digest"], wanted.info["digest"], name)
        marked = self.put("mark.csv", b"\xef\xbb\xbf" + (self.folder / "lf.csv").read_bytes().rstrip())
        self.assertEqual(self.pack(marked).info["digest"], wanted.info["digest"])

    def test_labels_and_portion_of_one_table_fit(self):
        _, rows = self.numbers()
        path = self.table(rows)
        portion = self.pack(path, "--validation", "10%")
        labels = self.pack(path, "--labels", "--validation", "10%", to=self.folder / "labels")
        self.assertEqual(portion.ids, labels.ids)
        self.assertEqual((portion.train, portion.validation), (labels.train, labels.validation))
        self.assertEqual(labels.info["classes"], ["a", "b"])
        for sample_id, label in labels.by_id().items():
            self.assertEqual(label, int(sample_id[1:]) % 2)

    def test_classes_are_sorted_by_number_or_by_bytes(self):
        for names in (["10", "9", "-1"], ["b", "a", "10"]):
            rows = [["id", "y"]] + [[i, names[i % 3]] for i in range(60)]
            labels = self.pack(self.table(rows), "--labels", "--label-column", "y")
            self.assertEqual(labels.info["classes"], sorted(names, key=int if "9" in names else None))
            for sample_id, label in labels.by_id().items():
                self.assertEqual(labels.info["classes"][label], names[int(sample_id) % 3])

    def test_words_become_one_feature_a_category(self):
        rows = [["id", "blood", "age", "ward"]] + [[i, "ABO"[i % 3], i, i % 2] for i in range(60)]
        packed = self.pack(self.table(rows), "--categories", "ward", "--label-column", "none")
        self.assertEqual(packed.info["shape"], [6])
        self.assertEqual(packed.info["columns"][0], {"name": "blood", "kind": "category", "categories": ["A", "B", "O"]})
        for sample_id, value in packed.by_id().items():
            i = int(sample_id)
            np.testing.assert_array_equal(value, [*(i % 3 == k for k in range(3)), i, *(i % 2 == k for k in range(2))])
        self.assert_scaled(packed)

    def test_what_was_made_of_columns_and_classes_is_told(self):
        rows = [["id", "blood", "age", "ward", "label"]] + [[i, "ABO"[i % 3], i, i % 2, "xy"[i % 2]] for i in range(60)]
        told = self.run_pack(self.table(rows), "--portion", "left", "--label-column", "none").stdout.splitlines()
        self.assertEqual(told[1:], ["  numbers: age, ward", "  categories: blood (3), label (2)"])
        told = self.run_pack(self.table(rows), "--labels", to=self.folder / "labels").stdout.splitlines()
        counts = [[sum(part_of(str(i)) == part for i in range(first, 60, 2)) for part in ("train", "test")] for first in (0, 1)]
        self.assertEqual(told[1:], ["  classes (samples + the test's): " +
                                    ", ".join(f"{name} ({a} + {b})" for name, (a, b) in zip("xy", counts))])
        wide = [["id", *(f"x{k}" for k in range(50))]] + [[i, *range(50)] for i in range(60)]
        told = self.run_pack(self.table(wide, "wide.csv"), "--portion", "left").stdout
        self.assertIn("x39, and 10 more\n", told)

    def test_columns_are_chosen_and_ordered(self):
        values, rows = self.numbers()
        packed = self.pack(self.table(rows), "--columns", "x2,x0")
        self.assert_holds(packed, values[:, [2, 0]], [row[0] for row in rows[1:]])

    def test_missing_cells_become_the_training_mean_or_no_category(self):
        rows = [["id", "age", "blood"]] + [[i, "" if i % 5 == 0 else i, "" if i % 7 == 0 else "AB"[i % 2]]
                                           for i in range(60)]
        path = self.table(rows)
        self.refuse(path, told=["table.csv", "line 2", "column 'age'", "empty"])
        packed = self.pack(path, "--missing-cells", "mean")
        present = [int(i) for i in packed.part("train") if int(i) % 5]
        mean = np.float32(sum(present) / len(present))
        self.assertEqual(np.float32(packed.info["columns"][0]["missing"]), mean)
        self.assertEqual(packed.info["columns"][1]["missing"], "zeros")
        for sample_id, value in packed.by_id().items():
            i = int(sample_id)
            blood = [0, 0] if i % 7 == 0 else [i % 2 == 0, i % 2 == 1]
            np.testing.assert_array_equal(value, [mean if i % 5 == 0 else i, *blood])

    def test_constant_columns_have_deviation_1(self):
        rows = [["id", "x", "y"]] + [[i, "0.1", i] for i in range(60)]
        packed = self.pack(self.table(rows))
        self.assertEqual(packed.info["std"][0], 1)
        self.assert_scaled(packed)

    def test_parts_by_lists_and_by_files(self):
        values, rows = self.numbers()
        ids = [row[0] for row in rows[1:]]
        tested = self.put("tested.txt", "\r\n".join(ids[:7]) + "\r\nsomeone else\n")
        held = self.put("held.txt", "\n".join(ids[50:]))
        packed = self.pack(self.table(rows), "--test-ids", tested, "--validation-ids", held)
        self.assertEqual((packed.part("test"), packed.part("validation")), (ids[:7], ids[50:]))
        first, second = self.table(rows[:41], "first.csv"), self.table([rows[0], *rows[41:]], "second.csv")
        packed = self.pack(first, "--test-from", second, "--validation", "10%")
        self.assert_holds(packed, values, ids)
        self.assertEqual(packed.part("test"), ids[40:])
        self.assertEqual(packed.part("validation"), [i for i in ids[:40] if part_of(i, 0, 0.1) == "validation"])

    def test_the_second_file_may_have_its_columns_in_another_order(self):
        values, rows = self.numbers()
        turned = [list(reversed(row)) for row in [rows[0], *rows[41:]]]
        packed = self.pack(self.table(rows[:41], "first.csv"), "--test-from", self.table(turned, "second.csv"))
        self.assert_holds(packed, values, [row[0] for row in rows[1:]])

    def test_a_table_without_ids_is_counted_or_takes_them_from_a_file(self):
        values, rows = self.numbers()
        bare = [row[1:] for row in rows]
        path = self.table(bare)
        self.refuse(path, told=["table.csv", "no column 'id'", "--ids"])
        self.assert_holds(self.pack(path, "--ids", "counted"), values, [str(i) for i in range(60)])
        self.assert_holds(self.pack(self.table(rows), "--ids", "counted"), values, [str(i) for i in range(60)])
        path = self.table(bare)
        given = self.put("ids.txt", "".join(f"q{i}\n" for i in range(60)))
        self.assert_holds(self.pack(path, "--ids", given), values, [f"q{i}" for i in range(60)])
        self.refuse(path, "--ids", self.put("few.txt", "a\nb\n"), told="only 2 ids")
        self.refuse(path, "--ids", self.put("many.txt", "".join(f"q{i}\n" for i in range(61))), told="has 61 ids")

    def test_what_is_no_table_is_refused(self):
        good = [["id", "x", "w"]] + [[f"p{i}", i, "uv"[i % 2]] for i in range(60)]
        train = next(i for i in range(1, 60) if part_of(f"p{i}") == "train")
        test = next(i for i in range(1, 60) if part_of(f"p{i}") == "test")

        def changed(row, column, cell):
            rows = [list(row) for row in good]
            rows[row][column] = cell
            return self.table(rows, "bad.csv")

        for row, column, cell, told in (
                (train + 1, 1, "abc", "column 'x': 'abc' is no number"),
                (test + 1, 1, "abc", "column 'x': 'abc' is no number"),
                (train + 1, 1, "", "column 'x': the cell is empty"),
                (test + 1, 2, "", "column 'w': the cell is empty"),
                (test + 1, 2, "z", "column 'w': 'z' is none of its 2 categories"),
                (test + 1, 1, "nan", "column 'x': 'nan' is no number"),
                (train + 1, 1, "-inf", "column 'x': '-inf' is no number"),
                (train + 1, 1, "1e39", "column 'x': 1e39 does not fit"),
                (9, 0, "p1", "the id 'p1' is there twice"),
                (9, 0, "", "is no id"),
                (9, 0, "x" * 65, "is no id")):
            with self.subTest(cell=cell, told=told):
                self.refuse(changed(row, column, cell), told=["bad.csv: ", f"line {row + 1}: ", told])
        self.refuse(self.table([*good, ["p60", 1]], "bad.csv"), told=["bad.csv: line 62: ", "2 cells"])
        for header in ("id,x,x", "id,id,x", "id,x,label,label"):
            rows = self.put("bad.csv", header + "\n" + "".join(f"p{i}{',1' * header.count(',')}\n" for i in range(60)))
            for more in ([], ["--columns", "x"], ["--labels"]):
                self.refuse(rows, *more, told=["bad.csv: line 1: column '", "is there twice"])
        for cell in ("a\nb", "a\x01", "z" * 128):
            rows = [[*row[:2], "uv"[i % 2]] if i else row for i, row in enumerate(good)]
            rows[train + 1][2] = cell
            line = train + 2 + cell.count("\n")
            self.refuse(self.table(rows, "bad.csv"), told=[f"bad.csv: line {line}: column 'w': '", "is no category"])
            rows = [["id", "label"]] + [[row[0], row[2]] for row in rows[1:]]
            self.refuse(self.table(rows, "bad.csv"), "--labels", told=[f"bad.csv: line {line}: sample 'p{train}' has a class"])
        text = "\r".join(["id,x", *(f"p{i},{i}" for i in range(60))])
        self.assertEqual(len(self.pack(self.put("mac.csv", text), to=self.folder / "mac").ids), 60)
        self.refuse(self.put("mac.csv", text.replace("p7,7", "p7,seven")), told="mac.csv: line 9: column 'x'")
        self.refuse(self.put("bad.csv", ""), told="bad.csv: is empty")
        self.refuse(self.put("bad.csv", "id,x\n"), told="bad.csv: has no samples")
        self.refuse(self.put("bad.csv", "id,x\np1,\"2\n"), told="bad.csv: line 2: ")
        self.refuse(self.put("bad.csv", b"id,x\np1,\0\n"), told="bad.csv: line 2: has a zero byte")
        path = self.table(good)
        self.refuse(path, "--columns", "x,y", told="has no column 'y'")
        self.refuse(path, "--columns", "x,id", told="--columns: 'id'", code=2)
        self.refuse(path, "--columns", "x,w", "--label-column", "w", told="--columns: 'w'", code=2)
        self.refuse(path, "--id-column", "ID", told=["has no column 'ID'", "it has id, x"])
        self.refuse(path, "--delimiter", ";", told=["has no column 'id'", "--delimiter"])
        self.refuse(path, "--columns", "x,x", told="column 'x' is there twice")
        self.refuse(path, "--categories", "y", told="--categories: 'y'")
        self.refuse(path, "--labels", told="has no column 'label'")
        self.refuse(path, "--test", "0%", told="no test samples")
        self.refuse(path, "--test-ids", self.put("all.txt", "".join(f"p{i}\n" for i in range(60))),
                    told="no training samples")
        self.refuse(self.folder / "none.csv", told="none.csv", code=4)
        many = [["id", "w"]] + [[f"p{i}", f"word {i}"] for i in range(600)]
        self.refuse(self.table(many, "bad.csv"), told=["bad.csv", "column 'w'", "too many"])
        for form in ("{},5", "{}", "-{},25"):
            commas = [["id", "x"]] + [[f"p{i}", (form if i != train else "{},5").format(i)] for i in range(60)]
            self.refuse(self.table(commas, "bad.csv"), told=["bad.csv: line ", "column 'x'", "decimals take a point"])
        values = [["id", "label"]] + [[f"p{i}", i + 0.5] for i in range(600)]
        self.refuse(self.table(values, "bad.csv"), "--labels", told=["bad.csv", "more than 100 classes", ".5'"])
        classes = [["id", "label"]] + [[f"p{i}", "a" if i != test else "b"] for i in range(60)]
        self.refuse(self.table(classes, "bad.csv"), "--labels", told=["bad.csv", "2"])
        classes = [["id", "label"]] + [[f"p{i}", "ab"[i % 2] if i != test else "c"] for i in range(60)]
        self.refuse(self.table(classes, "bad.csv"), "--labels", told=[f"line {test + 2}", "'c'", "no training sample has"])
        classes[5][1] = ""
        self.refuse(self.table(classes, "bad.csv"), "--labels", told=["line 6", "has no class"])

    def test_what_is_no_command_is_refused(self):
        path = self.table(self.numbers()[1])
        for arguments in (["--test", "20"], ["--test", "100%"], ["--test", "0x10%"], ["--test", "60%", "--validation", "40%"],
                          ["--test", "10%", "--test-ids", path], ["--validation", "1%", "--validation-ids", path],
                          ["--size", "4x4"], ["--dimensions", "0"], ["--array", "a"], ["--length", "3"],
                          ["--channels", "1"], ["--part", "quadrants:0"], ["--part", "slices:0"], ["--part", "planes"],
                          ["--delimiter", ",,"], ["--missing-cells", "drop"], ["--dimensions", "3-1"],
                          ["--portion", "-left"], ["--portion", "left", "--labels"]):
            with self.subTest(arguments=arguments):
                self.refuse(path, *arguments, told="--", code=2)
        done = subprocess.run([program(), "data", "pack", path, "--dataset", "Small", "--portion", "a", "--to", self.to],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)

    def test_a_folder_is_replaced_whole_and_never_mixed(self):
        values, rows = self.numbers()
        path, ids = self.table(rows), [row[0] for row in rows[1:]]
        self.pack(path)
        packed = self.pack(path, "--columns", "x1", "--test", "50%")
        self.assert_holds(packed, values[:, [1]], ids)
        self.refuse(path, "--labels", told="folders of their own")

    def test_a_folder_that_cannot_be_written_whole_stays_as_it_was(self):
        values, rows = self.numbers(count=6000)
        path = self.table(rows)
        for kind in (["--portion", "left", "--columns", "x0"], ["--labels"]):
            to = self.folder / kind[0][2:]
            for is_there in (False, True):
                if is_there:
                    self.pack(path, *kind, "--test", "50%", to=to)
                    (to / "notes.txt").write_text("an owner's own")
                before = {file.name: file.read_bytes() for file in to.iterdir()} if is_there else None
                for most in (0, 25000):  # the second is less than the file of the ids alone
                    done = subprocess.run([program(), "data", "pack", path, "--dataset", "small", "--to", to, *kind],
                                          capture_output=True, text=True, timeout=120, preexec_fn=lambda: (
                                              resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))))
                    self.assertEqual((done.returncode, len(done.stderr.splitlines())), (5, 1), done.stderr)
                    self.assertIn("cannot write", done.stderr)
                    after = {file.name: file.read_bytes() for file in to.iterdir()} if to.exists() else None
                    self.assertEqual(after, before)
            self.pack(path, *kind, to=to)
            self.assertEqual((to / "notes.txt").read_text(), "an owner's own")
            self.assertEqual([file.name for file in to.iterdir() if file.name.startswith(".")], [])

    def test_many_rows_are_packed_in_seconds(self):
        def measure(count):
            lines = ["id,x,y,z"] + [f"{i * 7919 % count},{i % 97}.5,{i % 89},{i % 3}" for i in range(count)]
            path = self.put("many.csv", "\n".join(lines))
            began = time.monotonic()
            packed = self.pack(path)
            self.assertEqual(len(packed.ids), count)
            return time.monotonic() - began

        few, many = measure(30_000), measure(300_000)
        self.assertLess(many, 5 + 40 * few)  # and not a hundredfold


class Arrays(Packing):
    def test_every_type_and_shape_comes_back(self):
        random.seed(2)
        for shape in ((60, 5), (60, 2, 9), (60, 3, 4, 6), (60,)):
            for kind in ("u1", "i1", "<i2", ">i4", "<i8", "<f4", ">f8", "<f2"):
                values = np.arange(np.prod(shape)).reshape(shape) * 37 % 120
                array = values.astype(kind)
                path = self.folder / "a.npy"
                np.save(path, array)
                packed = self.pack(path)
                wanted = array.astype("u1" if kind == "u1" else "f4").reshape(60, *(shape[1:] or (1,)))
                self.assertEqual(packed.info["type"], "u8" if kind == "u1" else "f32")
                self.assertEqual(packed.info["shape"], list(wanted.shape[1:]))
                self.assert_holds(packed, wanted, [str(i) for i in range(60)])
                self.assert_scaled(packed)

    def test_npz_stored_and_deflated(self):
        values = np.random.default_rng(3).normal(size=(60, 4)).astype("f4")
        for save in (np.savez, np.savez_compressed):
            path = self.folder / "a.npz"
            save(path, x=values)
            self.assert_holds(self.pack(path), values, [str(i) for i in range(60)])
            save(path, x=values, other=values[:, :2], y=np.arange(60) % 3)
            self.assert_holds(self.pack(path, "--array", "other"), values[:, :2], [str(i) for i in range(60)])
            self.refuse(path, told=["a.npz: ", "x, other, y"])
            self.refuse(path, "--array", "z", told=["a.npz: ", "no array 'z'"], code=4)
            labels = self.pack(path, "--array", "y", "--labels", to=self.folder / "labels")
            self.assertEqual(labels.info["classes"], ["0", "1", "2"])
            for sample_id, label in labels.by_id().items():
                self.assertEqual(label, int(sample_id) % 3)

    def test_ids_come_from_a_second_array(self):
        values = np.arange(120, dtype="f4").reshape(60, 2)
        np.save(self.folder / "a.npy", values)
        for kind in ("<i4", ">i8", "u2"):
            ids = np.arange(1000, 1060).astype(kind)
            np.save(self.folder / "ids.npy", ids)
            self.assert_holds(self.pack(self.folder / "a.npy", "--ids", self.folder / "ids.npy"), values,
                              [str(i) for i in ids])
        large = np.arange(60).astype("u8") + np.uint64(2**64 - 60)
        np.save(self.folder / "ids.npy", large)
        self.assert_holds(self.pack(self.folder / "a.npy", "--ids", self.folder / "ids.npy"), values,
                          [str(int(i)) for i in large])
        marked = self.put("ids.txt", b"\xef\xbb\xbf" + "".join(f"q{i}\r\n" for i in range(60)).encode())
        self.assert_holds(self.pack(self.folder / "a.npy", "--ids", marked), values, [f"q{i}" for i in range(60)])
        np.save(self.folder / "ids.npy", np.arange(-3, 57))
        self.assertIn("-3", self.pack(self.folder / "a.npy", "--ids", self.folder / "ids.npy").ids)
        np.save(self.folder / "ids.npy", np.arange(60) + 0.5)
        self.refuse(self.folder / "a.npy", "--ids", self.folder / "ids.npy", told=["--ids", "whole numbers"])

    def test_train_and_test_files(self):
        values = np.arange(180, dtype="f4").reshape(60, 3)
        np.save(self.folder / "a.npy", values[:40])
        np.save(self.folder / "b.npy", values[40:])
        ids = [f"train-{i}" for i in range(40)] + [f"test-{i}" for i in range(20)]
        packed = self.pack(self.folder / "a.npy", "--test-from", self.folder / "b.npy")
        self.assert_holds(packed, values, ids)
        self.assertEqual(packed.part("test"), ids[40:])
        np.save(self.folder / "b.npy", values[40:, :2])
        self.refuse(self.folder / "a.npy", "--test-from", self.folder / "b.npy", told=["b.npy", "[2]", "[3]"])

    def test_a_portion_of_as_many_features_as_there_may_be(self):
        values = np.random.default_rng(11).normal(size=(4, 1 << 20)).astype("f4") * np.float32(-1e-5)
        np.save(self.folder / "a.npy", values)
        packed = self.pack(self.folder / "a.npy", "--test-ids", self.put("tested.txt", "2\n"))
        self.assertEqual(len(packed.info["mean"]), 1 << 20)
        self.assert_scaled(packed)
        np.save(self.folder / "a.npy", np.ones((4, (1 << 20) + 1), "f4"))
        self.refuse(self.folder / "a.npy", told=["a.npy", "more than 1048576"])

    def test_idx_and_its_labels(self):
        values = np.random.default_rng(4).integers(0, 256, size=(60, 4, 6)).astype("u1")
        path = self.put("train-images-idx3-ubyte.gz", gzip.compress(idx(values)))
        packed = self.pack(path)
        self.assertEqual(packed.info["shape"], [1, 4, 6])
        self.assert_holds(packed, values[:, None], [str(i) for i in range(60)])
        self.assert_scaled(packed)
        labels = self.pack(self.put("labels.idx", idx((np.arange(60) % 10).astype("u1"))), "--labels",
                           to=self.folder / "labels")
        self.assertEqual(labels.info["classes"], [str(k) for k in range(10)])
        self.assertEqual(labels.ids, packed.ids)

    def test_pieces_of_pictures(self):
        values = np.random.default_rng(5).integers(0, 256, size=(60, 3, 4, 6)).astype("u1")
        np.save(self.folder / "a.npy", values)
        ids = [str(i) for i in range(60)]
        for k in range(4):
            piece = values[:, :, 2 * (k // 2):2 * (k // 2) + 2, 3 * (k % 2):3 * (k % 2) + 3]
            self.assert_holds(self.pack(self.folder / "a.npy", "--part", f"quadrants:{k}"), piece, ids)
        for k in range(3):
            packed = self.pack(self.folder / "a.npy", "--part", f"planes:{k}")
            self.assert_holds(packed, values[:, k:k + 1], ids)
            self.assert_scaled(packed)
        self.refuse(self.folder / "a.npy", "--part", "planes:3", told="0 to 2", code=2)
        self.refuse(self.folder / "a.npy", "--part", "quadrants:4", told="0 to 3", code=2)

    def test_what_is_no_array_is_refused(self):
        good = self.folder / "good.npy"
        np.save(good, np.ones((60, 2), "f4"))
        bad = np.ones((60, 2), "f4")
        bad[7, 1] = np.nan
        np.save(self.folder / "bad.npy", bad)
        self.refuse(self.folder / "bad.npy", told="bad.npy")
        np.save(self.folder / "bad.npy", np.array(["a", "b"]))
        self.refuse(self.folder / "bad.npy", told="bad.npy")
        np.save(self.folder / "bad.npy", np.ones((4, 2, 2, 2, 2), "f4"))
        self.refuse(self.folder / "bad.npy", told="bad.npy")
        content = good.read_bytes()
        for bad in (content[:-1], content + b"x", b"", b"PK", content[:20]):
            self.refuse(self.put("bad.npy", bad), told="bad.npy")
        self.refuse(good, "--array", "x", told="--array", code=2)
        self.refuse(good, "--labels", told="good.npy")
        np.savez_compressed(self.folder / "good.npz", x=np.ones((600, 2), "f4"))
        whole = (self.folder / "good.npz").read_bytes()
        for bad in (whole[:-30], b"", b"PK\x03\x04", whole[:60] + b"\xff" * 9 + whole[69:]):
            self.refuse(self.put("bad.npz", bad), told="bad.npz")
        with zipfile.ZipFile(self.folder / "bad.npz", "w", zipfile.ZIP_BZIP2) as file:
            file.writestr("x.npy", content)
        self.refuse(self.folder / "bad.npz", told=["bad.npz", "neither stored nor deflated"])
        with zipfile.ZipFile(self.folder / "bad.npz", "w") as file:
            file.writestr("readme.txt", "nothing")
        self.refuse(self.folder / "bad.npz", told=["bad.npz", "no NumPy array"])

    def test_a_zip_that_promises_more_than_it_has_is_refused_without_the_memory(self):
        path = self.folder / "bomb.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("x.npy", b"\0" * 1000)
        content = bytearray(path.read_bytes())
        at = content.rfind(b"PK\x01\x02")
        struct.pack_into("<I", content, at + 24, 0xfffffff0)
        self.refuse(self.put("bomb.npz", bytes(content)), told="bomb.npz")


class Series(Packing):
    def make(self, count=60, dimensions=3, length=7, seed=6):
        return np.random.default_rng(seed).normal(size=(count, dimensions, length)).astype("f4")

    def text(self, values, classes=("up", "down"), more=""):
        head = ("# a comment\n@problemName Small\n@timeStamps false\n@univariate false\n"
                f"@dimensions {len(values[0])}\n@classLabel {'true ' + ' '.join(classes) if classes else 'false'}\n"
                f"{more}@data\n")
        return head + "".join(
            ":".join([*(",".join(map(repr, map(float, line))) for line in sample), *([classes[i % 2]] if classes else [])])
            + "\n" for i, sample in enumerate(values))

    def test_values_dimensions_and_labels(self):
        values = self.make()
        first, second = self.put("a_TRAIN.ts", self.text(values[:40])), self.put("a_TEST.ts", self.text(values[40:]))
        ids = [f"train-{i}" for i in range(40)] + [f"test-{i}" for i in range(20)]
        packed = self.pack(first, "--test-from", second)
        self.assertEqual(packed.info["shape"], [3, 7])
        self.assert_holds(packed, values, ids)
        self.assert_scaled(packed)
        for text, chosen in (("0", [0]), ("1-2", [1, 2]), ("0,2", [0, 2])):
            self.assert_holds(self.pack(first, "--test-from", second, "--dimensions", text), values[:, chosen], ids)
        labels = self.pack(first, "--test-from", second, "--labels", to=self.folder / "labels")
        self.assertEqual((labels.info["classes"], labels.ids), (["down", "up"], packed.ids))
        for sample_id, label in labels.by_id().items():
            self.assertEqual(labels.info["classes"][label], ("up", "down")[int(sample_id.split("-")[1]) % 2])

    def test_one_dimension_and_no_classes(self):
        values = self.make(dimensions=1)
        text = self.text(values, classes=None).replace("@dimensions 1\n", "").replace("@univariate false",
                                                                                       "@univariate true")
        for written in (text.replace("\n", "\r\n"), "\ufeff" + text, text.replace(",", ",\t")):
            packed = self.pack(self.put("a.ts", written))
            self.assert_holds(packed, values, [str(i) for i in range(60)])
        self.refuse(self.folder / "a.ts", "--labels", told="has no class", to=self.folder / "labels")

    def test_lengths(self):
        values = self.make(length=7)
        samples = [[line[:5 + i % 3] for line in sample] for i, sample in enumerate(values)]
        path = self.put("a.ts", self.text(samples))
        self.refuse(path, told=["a.ts: line 9: ", "dimension 0", "6 values", "--length"])
        for length in (3, 6, 9):
            packed = self.pack(path, "--length", length)
            wanted = np.zeros((60, 3, length), "f4")
            for i, sample in enumerate(samples):
                for k, line in enumerate(sample):
                    wanted[i, k, :len(line)] = line[:length]
            self.assert_holds(packed, wanted, [str(i) for i in range(60)])

    def test_what_is_no_series_is_refused(self):
        good = self.text(self.make())
        lines = good.splitlines()
        for bad, told in ((good.replace("@timeStamps false", "@timeStamps true"), "line 3: series with time stamps"),
                          ("hello\n" + good, "line 1: "), ("\n".join(lines[:6]), "has no @data"),
                          ("\n".join(lines[:7]), "has no samples"), ("", "has no @data"), (good + "\0", "zero byte"),
                          (good + "1,2:3,4:up\n", "line 68: has 2 dimensions, not 3"),
                          (good + "1,2:3,4:5,6:7,8:up\n", "line 68: has 4 dimensions, not 3"),
                          (good + "1,2,3:1,2,3:1,2,3:up\n", "line 68: dimension 0: has 3 values"),
                          (good + "1,2,3,4,5,6,7:1,2,?,4,5,6,7:1,2,3,4,5,6,7:up\n",
                           "line 68: dimension 1: value 2: '?' is no number"),
                          (good + "1,2,3,4,5,6,7:1,2,NaN,4,5,6,7:1,2,3,4,5,6,7:up\n", "'NaN' is no number"),
                          (good.replace("@dimensions 3", "@dimensions 99999"), "line 5: @dimensions")):
            with self.subTest(told=told):
                self.refuse(self.put("bad.ts", bad), told=["bad.ts", told])
        self.refuse(self.put("good.ts", good), "--dimensions", "1,3", told=["good.ts", "0 to 2", "3"])


class Folders(Packing):
    def test_pictures_in_folders_of_their_classes(self):
        pictures = np.random.default_rng(7).integers(0, 256, size=(60, 5, 6, 3)).astype("u1")
        ids = [f"p{i:02}" for i in range(60)]
        for i, name in enumerate(ids):
            self.put(f"photos/{'cat dog'.split()[i % 2]}/{name}.png", png(pictures[i]))
        self.put("photos/cat/notes.txt", "not a picture")
        packed = self.pack(self.folder / "photos", "--size", "5x6")
        self.assertEqual(packed.info["shape"], [3, 5, 6])
        self.assert_holds(packed, pictures.transpose(0, 3, 1, 2), ids)
        self.assert_scaled(packed)
        labels = self.pack(self.folder / "photos", "--labels", to=self.folder / "labels")
        self.assertEqual((labels.info["classes"], labels.ids), (["cat", "dog"], packed.ids))
        for sample_id, label in labels.by_id().items():
            self.assertEqual(label, int(sample_id[1:]) % 2)
        self.put("photos/cat/p01.png", png(pictures[0]))
        self.refuse(self.folder / "photos", "--size", "5x6", told=["photos", "'p01' is there twice", "cat/p01.png", "dog/p01.png"])

    def test_pictures_are_scaled_and_made_grey(self):
        pictures = np.random.default_rng(8).integers(0, 256, size=(60, 8, 12)).astype("u1")
        for i, picture in enumerate(pictures):
            self.put(f"photos/{i}.png", png(picture))
        ids = sorted(map(str, range(60)))
        blocks = pictures.reshape(60, 4, 2, 3, 4).mean(axis=(2, 4))
        wanted = np.floor(blocks + 0.5).astype("u1")[[int(i) for i in ids]][:, None]
        packed = self.pack(self.folder / "photos", "--size", "4x3", "--channels", "1")
        self.assert_holds(packed, wanted, ids)
        quadrant = self.pack(self.folder / "photos", "--size", "4x2", "--channels", "1", "--part", "quadrants:3")
        self.assertEqual(quadrant.info["shape"], [1, 2, 1])
        self.refuse(self.folder / "photos", told="--size", code=2)
        self.refuse(self.folder / "photos", "--size", "4x3", "--ids", "counted", told="--ids", code=2)
        self.refuse(self.folder / "photos", "--labels", told="has no class", to=self.folder / "labels")
        self.put("photos/5.png", png(pictures[5])[:-30])
        self.refuse(self.folder / "photos", "--size", "4x3", told="photos/5.png: ")
        self.put("photos/5.png", b"GIF89a")
        self.refuse(self.folder / "photos", "--size", "4x3", told="photos/5.png: ")

    def test_sounds(self):
        sounds = np.random.default_rng(9).integers(-32768, 32768, size=(60, 20, 2))
        for i, sound in enumerate(sounds):
            (self.folder / "sounds").mkdir(exist_ok=True)
            wav(self.folder / "sounds" / f"s{i:02}.wav", sound)
        ids = [f"s{i:02}" for i in range(60)]
        values = (sounds / 32768).astype("f4").transpose(0, 2, 1)
        packed = self.pack(self.folder / "sounds")
        self.assertEqual(packed.info["shape"], [2, 20])
        self.assert_holds(packed, values, ids)
        self.assert_scaled(packed)
        self.assert_holds(self.pack(self.folder / "sounds", "--channels", "1"),
                          ((values[:, :1] + values[:, 1:]) / np.float32(2)).astype("f4"), ids)
        for channel in (0, 1):
            for more in ([], ["--channels", "1"]):
                self.assert_holds(self.pack(self.folder / "sounds", "--dimensions", str(channel), *more),
                                  values[:, channel:channel + 1], ids)
        self.refuse(self.folder / "sounds", "--dimensions", "0,2", told=["s00.wav", "0 to 1", "2"])
        cut = np.concatenate([values, np.zeros((60, 2, 5), "f4")], axis=2)
        for length in (7, 25):
            self.assert_holds(self.pack(self.folder / "sounds", "--length", length), cut[:, :, :length], ids)
        for change, told in ((dict(samples=sounds[5][:10]), "10 values"), (dict(samples=sounds[5][:, :1]), "1 channels"),
                             (dict(samples=sounds[5], rate=16000), "16000 Hz"), (dict(samples=sounds[5][:0]), "no values")):
            wav(self.folder / "sounds" / "s05.wav", **change)
            self.refuse(self.folder / "sounds", told=["sounds/s05.wav: ", told])
        (self.folder / "sounds" / "s05.wav").unlink()
        os.mkfifo(self.folder / "sounds" / "s05.wav")
        self.refuse(self.folder / "sounds", told="sounds/s05.wav: not a regular file")
        (self.folder / "sounds" / "s05.wav").unlink()
        self.put("sounds/s05.wav", "RIFF")
        self.refuse(self.folder / "sounds", told="sounds/s05.wav: ")
        self.put("sounds/s05.png", png(np.zeros((2, 2), "u1")))
        self.refuse(self.folder / "sounds", told="pictures and sounds")

    def test_a_folder_without_files_is_refused(self):
        (self.folder / "empty").mkdir()
        self.refuse(self.folder / "empty", told="empty: holds no")
        self.refuse(self.put("a.txt", "x"), told="a.txt: is no")


if __name__ == "__main__":
    unittest.main()

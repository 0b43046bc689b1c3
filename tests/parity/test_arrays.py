#!/usr/bin/python3
"""Parity with NumPy: its files become the values that NumPy itself makes of them, and it reads ours."""
import os
import pathlib
import subprocess
import tempfile
import unittest

import numpy

import lib  # noqa: F401: temporary folders

ROOT = pathlib.Path(__file__).resolve().parents[2]
KINDS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")
SHAPES = ((7,), (3, 5), (2, 1, 4), (2, 3, 2, 5), (1, 70000))


def program():
    folder = ROOT / os.environ.get("FEWBIT_BIN_DIR", "build")
    tests = folder / "tests" if (folder / "tests/parity_arrays").exists() else folder / "bin/tests"
    return tests / "parity_arrays"


class Arrays(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.draw = numpy.random.default_rng(1)

    def read(self, kind, code=0):
        """What our reader makes of `from.npy`, and its error line."""
        done = subprocess.run([program(), kind, self.folder / "from.npy", self.folder / "values", self.folder / "to.npy"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stderr)
        return None if code else (self.folder / "values").read_bytes(), done.stderr

    def save(self, array, version=None):
        with open(self.folder / "from.npy", "wb") as file:
            numpy.lib.format.write_array(file, array, version=version)

    def numbers(self, dtype, shape, low, high):
        """Numbers of this type, with its own extremes among them."""
        kind = numpy.dtype(dtype)
        if kind.kind == "f":
            values = self.draw.normal(size=shape) * 10.0 ** self.draw.integers(-5, 5, size=shape)
            extremes = [0.0, -0.0, 1e-7, float(numpy.finfo(numpy.float16).max), 2.0 ** -24]
        else:
            values = self.draw.integers(low, high, size=shape, endpoint=True, dtype=kind.newbyteorder("="))
            extremes = [low, high]
        values.flat[:len(extremes)] = extremes[:values.size]
        return values.astype(dtype)

    def test_every_type_order_version_and_shape_becomes_floats(self):
        for kind in KINDS:
            info = numpy.iinfo(kind) if kind[0] != "f" else None
            for order in ("<", ">"):
                for shape in SHAPES:
                    for version in ((1, 0), (2, 0), (3, 0)):
                        array = self.numbers(order + kind, shape, info and info.min, info and info.max)
                        with self.subTest(kind=order + kind, shape=shape, version=version):
                            self.save(array, version)
                            self.assertEqual(self.read("f32")[0], array.astype("<f4").tobytes())
                            back = numpy.load(self.folder / "to.npy", allow_pickle=False)
                            self.assertEqual((back.dtype, back.shape), (numpy.dtype("<f4"), shape))
                            self.assertEqual(back.tobytes(), array.astype("<f4").tobytes())

    def test_whole_numbers_to_255_become_bytes(self):
        for kind in KINDS:
            high = 127 if kind == "i1" else 255
            array = self.draw.integers(0, high, size=(5, 60), endpoint=True).astype(">" + kind)
            array.flat[:2] = 0, high
            with self.subTest(kind):
                self.save(array)
                self.assertEqual(self.read("u8")[0], array.astype("u1").tobytes())
                back = numpy.load(self.folder / "to.npy", allow_pickle=False)
                self.assertEqual((back.dtype, back.shape), (numpy.dtype("u1"), (5, 60)))

    def test_what_does_not_fit_is_named(self):
        for kind, value, to, reason in (
                ("i1", -1, "u8", "no whole number from 0 to 255"), ("i2", 256, "u8", "no whole number"),
                ("u4", 1 << 31, "u8", "no whole number"), ("i8", -1, "u8", "no whole number"),
                ("u8", 1 << 63, "u8", "no whole number"), ("f4", 0.5, "u8", "no whole number"),
                ("f8", -1, "u8", "no whole number"), ("f2", numpy.nan, "u8", "no whole number"),
                ("f4", numpy.nan, "f32", "not finite"), ("f4", -numpy.inf, "f32", "not finite"),
                ("f2", numpy.inf, "f32", "not finite"), ("f8", 1e39, "f32", "not finite as a 32-bit float")):
            for order in ("<", ">"):
                array = numpy.zeros((4, 2, 3), order + kind)
                array[2, 1, 0] = value
                with self.subTest(kind=order + kind, value=value, to=to):
                    self.save(array)
                    said = self.read(to, code=3)[1]
                    self.assertIn("from.npy: row 2, element 3: ", said)
                    self.assertIn(reason, said)

    def test_other_arrays_are_refused(self):
        for array, reason in ((numpy.zeros(3, bool), "its elements are '|b1'"), (numpy.zeros(3, complex), "'<c16'"),
                              (numpy.array(["a", "b"]), "'<U1'"), (numpy.zeros(2, "f4,i4"), "no plain numbers"),
                              (numpy.float32(1), "a single number"), (numpy.zeros((2, 0)), "each with elements"),
                              (numpy.zeros((1,) * 5), "1 to 4 dimensions"), (numpy.zeros((2, 3)).T, "Fortran order"),
                              (numpy.zeros(1 << 21, "u1"), "more than the 1048576 allowed")):
            with self.subTest(reason):
                self.save(numpy.asarray(array))
                self.assertIn(reason, self.read("f32", code=3)[1])


if __name__ == "__main__":
    unittest.main()

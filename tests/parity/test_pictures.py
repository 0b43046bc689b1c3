#!/usr/bin/python3
"""A picture means the same in every format: every kind of PNG and JPEG against samples computed here, from the pixels.

PNGs are written here, chunk by chunk, and must fit exactly. JPEGs are Pillow's: they must fit Pillow's pixels exactly
(it reads them with the same library), and those of the best quality the original within TOLERANCE.
"""
import io
import itertools
import os
import pathlib
import random
import resource
import struct
import subprocess
import tempfile
import unittest
import zlib

import numpy as np
from PIL import Image, ImageOps

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / os.environ.get("FEWBIT_BIN_DIR", "build/bin") / "tests/parity_pictures"
INPUT, REFUSED = 2, 6  # ERR_INPUT, ERR_REFUSED
TOLERANCE = 3
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGB_ALPHA: (8, 16)}
KINDS = [(colour, depth) for colour, depths in DEPTHS.items() for depth in depths]
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
RAW, PNG, JPEG, GIF = "application/octet-stream", "image/png", "image/jpeg", "image/gif"


class Ask:
    """Collects pictures, and asks about all of them at once."""

    def __init__(self):
        self.records, self.named = [], []

    def add(self, name, body, shape, kind=PNG):
        self.named.append(name)
        self.records.append(kind.encode() + b"\0" + struct.pack("<4I", *shape, len(body)) + body)

    def answers(self):
        """(name, error, the sample's bytes or the error's line) of each."""
        done = subprocess.run([PROGRAM], input=b"".join(self.records), stdout=subprocess.PIPE, check=True)
        at = 0
        for name in self.named:
            error, length = struct.unpack_from("<2I", done.stdout, at)
            yield name, error, done.stdout[at + 8:at + 8 + length]
            at += 8 + length
        assert at == len(done.stdout)


# ---- What a picture should be.

def oriented(pixels, orientation):
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    return {1: turned, 2: turned[:, ::-1], 3: turned[::-1, ::-1], 4: turned[::-1],
            5: turned, 6: turned[:, ::-1], 7: turned[::-1, ::-1], 8: turned[::-1]}[orientation]


def over_black(colour, alpha):
    """value * alpha / 255, rounded; 255 is odd, so there are no ties."""
    return (2 * colour * alpha + 255) // 510


def planes(rgb, channels):
    """[height, width, 3] -> the sample's bytes."""
    rgb = rgb.astype(np.int64)
    if channels == 1:
        return ((19595 * rgb[..., 0] + 38470 * rgb[..., 1] + 7471 * rgb[..., 2] + 32768) >> 16).astype(np.uint8).tobytes()
    return rgb.astype(np.uint8).transpose(2, 0, 1).tobytes()


def stored_pixels(colour, depth, values, palette, clear):
    """[height, width, 3], laid on black, of stored values [height, width, channels]."""
    values = values.astype(np.int64)
    alpha = np.full(values.shape[:2] + (1,), 255)
    if colour == PALETTE:
        if clear is not None:
            alpha = np.concatenate([clear, np.full(256, 255)])[values]
        return over_black(palette[values[..., 0]].astype(np.int64), alpha)
    if clear is not None and colour in (GREY, RGB):
        alpha = np.where((values == clear).all(axis=2, keepdims=True), 0, 255)
    bytes_ = values >> 8 if depth == 16 else values * 255 // (2 ** depth - 1)
    if colour in (GREY_ALPHA, RGB_ALPHA):
        alpha, bytes_ = bytes_[..., -1:], bytes_[..., :-1]
    return over_black(np.broadcast_to(bytes_, bytes_.shape[:2] + (3,)), alpha)


# ---- PNGs, by hand.

def chunk(kind, body, crc=0):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ crc)


def packed_rows(values, depth, filters):
    """Rows as they are stored, each with its filter."""
    height, width, channels = values.shape
    if depth == 16:
        rows = values.astype(">u2").reshape(height, -1).view(np.uint8)
    elif depth == 8:
        rows = values.astype(np.uint8).reshape(height, -1)
    else:
        bits = (values.reshape(height, width, 1) >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    step, before, out = max(1, channels * depth // 8), np.zeros(rows.shape[1], int), b""
    for y, row in enumerate(rows.astype(int)):
        left, above_left = np.zeros_like(row), np.zeros_like(row)
        left[step:], above_left[step:] = row[:-step], before[:-step]
        estimate = left + before - above_left
        near = [abs(estimate - left), abs(estimate - before), abs(estimate - above_left)]
        paeth = np.where((near[0] <= near[1]) & (near[0] <= near[2]), left, np.where(near[1] <= near[2], before, above_left))
        kind = filters[y % len(filters)]
        guess = (0, left, before, (left + before) // 2, paeth)[kind]
        out += bytes([kind]) + ((row - guess) % 256).astype(np.uint8).tobytes()
        before = row
    return out


def png(colour, depth, values, interlaced=False, before=b"", after=b"", filters=(0,), pieces=1, data=None):
    height, width, _ = values.shape
    rows = data
    if rows is None:
        passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
        parts = [values[y0::down, x0::across] for x0, y0, across, down in passes]
        rows = zlib.compress(b"".join(packed_rows(part, depth, filters) for part in parts if part.size), 1)
    size = -(-len(rows) // pieces)
    return (b"\x89PNG\r\n\x1a\n" +
            chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, colour, 0, 0, int(interlaced))) + before +
            b"".join(chunk(b"IDAT", rows[i:i + size]) for i in range(0, len(rows), size)) + after + chunk(b"IEND", b""))


def tiff(orientation, order="<", kind=3, count=1, fillers=0, offset=8):
    """EXIF data with that orientation, behind some other entries."""
    entries = [struct.pack(order + "HHI4s", 0x100 + i, 4, 1, bytes(4)) for i in range(fillers)]
    entries.append(struct.pack(order + "HHIHH", 0x112, kind, count, orientation, 0))
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return (mark + struct.pack(order + "I", offset) + bytes(offset - 8) + struct.pack(order + "H", len(entries)) +
            b"".join(entries) + bytes(4))


# EXIF data that name no orientation rightly: the picture is as it is stored.
DAMAGED = [b"", b"II*", b"II*\0", b"JJ*\0" + tiff(6)[4:], tiff(6)[:12], tiff(6)[:18], tiff(0), tiff(9), tiff(65535),
           tiff(6, kind=2), tiff(6, kind=4), tiff(6, count=2), tiff(6)[:4] + b"\xff\xff\xff\x7f" + tiff(6)[8:],
           tiff(6)[:4] + b"\0\0\0\0" + tiff(6)[8:], tiff(6)[:8] + b"\0\0" + tiff(6)[10:], tiff(6, ">").replace(b"MM", b"II")]
SOUND = [(orientation, tiff(orientation, order, fillers=fillers, offset=offset))
         for orientation in range(1, 9) for order in "<>" for fillers, offset in ((0, 8), (3, 8), (1, 20))]

PROFILE = b"one\0\0" + zlib.compress(bytes(200))


def ignored_chunks(colour, depth):
    """Chunks that other readers change values by, and some that change nothing anywhere."""
    grounds = {GREY: (1 << depth) - 1, RGB: 1, PALETTE: 0}
    ground = (bytes(1) if colour == PALETTE else struct.pack(">H", grounds.get(colour, 0)) * (3 if colour & 2 else 1))
    significant = bytes([1] * (3 if colour == PALETTE else CHANNELS[colour]))
    gamma, linear = chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"gAMA", struct.pack(">I", 100000))
    primaries = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(b"z" * 9000)) + chunk(b"iTXt", b"k\0\0\0\0\0text")
    return {"none": b"", "gamma": gamma, "linear": linear, "srgb": chunk(b"sRGB", b"\0"), "profile": chunk(b"iCCP", PROFILE),
            "primaries": primaries + linear, "bits": chunk(b"sBIT", significant), "text": text,
            "animation": chunk(b"acTL", struct.pack(">2I", 1, 0)), "broken": chunk(b"tEXt", b"no end", crc=1),
            "video": chunk(b"cICP", b"\x09\x10\0\1"), "ground": chunk(b"bKGD", ground)}


class Pictures(unittest.TestCase):
    def setUp(self):
        self.draw = np.random.default_rng(5)
        self.ask, self.expected = Ask(), []

    def add(self, name, body, rgb, kind=PNG, tolerance=0):
        """A picture that should be as `rgb` [height, width, 3], in samples of one channel and of three."""
        for channels in (1, 3):
            self.ask.add((name, channels), body, (channels, *rgb.shape[:2]), kind)
            self.expected.append((planes(rgb, channels), tolerance))

    def check(self, least):
        """Asks about all that were added, which are at least so many."""
        self.assertGreaterEqual(len(self.expected), least)
        for (name, error, got), (wanted, tolerance) in zip(self.ask.answers(), self.expected):
            self.assertEqual(error, 0, (name, got))
            off = np.abs(np.frombuffer(got, np.uint8).astype(int) - np.frombuffer(wanted, np.uint8)).max()
            self.assertLessEqual(off, tolerance, name)

    def made(self, colour, depth, width, height, clear=False):
        """Values, the chunks that go before the data, and what the picture should be."""
        palette, transparent, before = None, None, b""
        colours = 1 << min(depth, 8)
        values = self.draw.integers(0, colours if colour == PALETTE else 1 << depth, (height, width, CHANNELS[colour]))
        if colour == PALETTE:
            palette = self.draw.integers(0, 256, (colours, 3))
            before = chunk(b"PLTE", palette.astype(np.uint8).tobytes())
        if clear and colour == PALETTE:
            transparent = self.draw.integers(0, 256, max(1, colours - 1))
            before += chunk(b"tRNS", transparent.astype(np.uint8).tobytes())
        elif clear:
            transparent = values[height // 2, width // 2].copy()
            values[0, 0] = transparent
            if depth == 16:  # the same high bytes are not the same colour
                values[-1, -1] = transparent ^ 1
            before = chunk(b"tRNS", b"".join(struct.pack(">H", int(value)) for value in transparent))
        return values, before, stored_pixels(colour, depth, values, palette, transparent)

    def test_png_kinds(self):
        """Every colour type, depth and interlacing, opaque and with a transparent colour, with every chunk around."""
        for (colour, depth), interlaced, clear in itertools.product(KINDS, (False, True), (False, True)):
            if clear and colour in (GREY_ALPHA, RGB_ALPHA):
                continue
            for name, around in ignored_chunks(colour, depth).items():
                values, before, rgb = self.made(colour, depth, 13, 11, clear)
                body = png(colour, depth, values, interlaced, (before + around if name == "ground" else around + before),
                           filters=(0, 1, 2, 3, 4), pieces=3)
                self.add((colour, depth, interlaced, clear, name), body, rgb)
        self.check(1200)

    def test_png_values(self):
        """Every value with every alpha, and every palette's alpha: all of 65,536 pairs."""
        value, alpha = np.meshgrid(np.arange(256), np.arange(256))
        for colour in (GREY_ALPHA, RGB_ALPHA):
            values = np.stack([value] * (CHANNELS[colour] - 1) + [alpha], axis=2)
            self.add(colour, png(colour, 8, values), stored_pixels(colour, 8, values, None, None))
        every = np.arange(1 << 16).reshape(256, 256, 1)
        self.add("16 bits", png(GREY, 16, every), np.repeat(every >> 8, 3, axis=2))
        colours = self.draw.integers(0, 256, (256, 256, 3))
        self.add("colours", png(RGB, 8, colours), colours)
        self.check(8)

    def test_png_palette_that_ends_early(self):
        """What is beyond its end is black, and opaque."""
        for depth, entries, clear in itertools.product((1, 2, 4, 8), (1, 2, 3, 200), (0, 1, 3)):
            if entries > 1 << depth or clear > entries:
                continue
            values = self.draw.integers(0, 1 << depth, (8, 8, 1))
            palette, alpha = self.draw.integers(0, 256, (entries, 3)), self.draw.integers(0, 256, clear)
            before = chunk(b"PLTE", palette.astype(np.uint8).tobytes())
            before += chunk(b"tRNS", alpha.astype(np.uint8).tobytes()) if clear else b""
            whole = np.concatenate([palette, np.zeros((256, 3), int)])
            self.add((depth, entries, clear), png(PALETTE, depth, values, before=before),
                     stored_pixels(PALETTE, depth, values, whole, alpha))
        self.check(40)

    def test_what_follows_a_picture(self):
        """Is not looked at: further pictures of a camera, bytes that somebody added."""
        pixels = self.draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        for more in (b"x", bytes(1000), jpeg(pixels, "RGB"), png(RGB, 8, pixels), b"\xff" * 9):
            self.add(("png", more[:4]), png(RGB, 8, pixels) + more, pixels)
            body = jpeg(pixels, "RGB")
            self.add(("jpeg", more[:4]), body + more, pillow(body), JPEG)
        self.check(20)

    def test_png_sizes(self):
        """Interlacing has passes without pixels where a picture is small."""
        for width, height, interlaced, (colour, depth) in itertools.product(
                range(1, 10), range(1, 10), (False, True), ((GREY, 1), (PALETTE, 4), (RGB, 16), (GREY_ALPHA, 8))):
            values, before, rgb = self.made(colour, depth, width, height)
            self.add((width, height, interlaced, colour, depth), png(colour, depth, values, interlaced, before), rgb)
        self.check(1200)

    def test_png_orientation(self):
        for (colour, depth), interlaced in itertools.product(((GREY, 8), (RGB, 16), (PALETTE, 2)), (False, True)):
            values, before, rgb = self.made(colour, depth, 9, 5)
            for orientation, exif in SOUND:
                for where in ("before", "after"):
                    around = {where: (before if where == "before" else b"") + chunk(b"eXIf", exif)}
                    around.setdefault("before", before)
                    self.add((colour, orientation, exif, where), png(colour, depth, values, interlaced, **around),
                             oriented(rgb, orientation))
            for exif in DAMAGED:
                self.add(("damaged", exif), png(colour, depth, values, interlaced, before + chunk(b"eXIf", exif)), rgb)
            self.add("wrong sum", png(colour, depth, values, interlaced, before + chunk(b"eXIf", tiff(6), crc=1)), rgb)
        self.check(1100)

    def test_png_as_pillow(self):
        """What Pillow makes of the same files; but for greys of 16 bits, which it cuts at 255, and for a transparent one of
        other than 8 bits, or a colour of 16, which it does not find."""
        for (colour, depth), interlaced, clear in itertools.product(KINDS, (False, True), (False, True)):
            if (clear and (colour in (GREY_ALPHA, RGB_ALPHA) or (colour != PALETTE and depth != 8))) or (colour, depth) == (GREY, 16):
                continue
            values, before, _ = self.made(colour, depth, 13, 11, clear)
            body = png(colour, depth, values, interlaced, before + chunk(b"eXIf", tiff(6)))
            self.add((colour, depth, interlaced, clear), body, pillow(body))
        self.check(70)

    def test_png_written_by_pillow(self):
        original = self.draw.integers(0, 256, (28, 28, 4), dtype=np.uint8)
        for mode, how in itertools.product(("1", "L", "LA", "P", "RGB", "RGBA"), ({}, {"optimize": True})):
            out = io.BytesIO()
            Image.fromarray(original, "RGBA").convert(mode).save(out, "PNG", **how)
            self.add((mode, how), out.getvalue(), pillow(out.getvalue()))
        self.check(20)

    def jpegs(self):
        """(name, body, original or None) of every kind that is taken."""
        y, x = np.mgrid[0:28, 0:28]
        smooth = np.stack([x * 9, y * 9, 128 + 4 * x - 4 * y], axis=2).astype(np.uint8)
        noise = self.draw.integers(0, 256, (27, 35, 3), dtype=np.uint8)
        for quality, progressive, sampling, optimize in itertools.product((100, 75, 20), (False, True), (0, 1, 2),
                                                                           (False, True)):
            how = {"quality": quality, "progressive": progressive, "optimize": optimize}
            for name, pixels in (("smooth", smooth), ("noise", noise)):
                best = pixels if quality == 100 and sampling == 0 and name == "smooth" else None
                yield (name, how, sampling), jpeg(pixels, "RGB", subsampling=sampling, **how), best
                grey = np.repeat(pixels[..., :1], 3, axis=2)
                yield (name, how, "grey"), jpeg(pixels[..., 0], "L", **how), grey if best is not None else None
                if sampling == 0:  # R, G and B as they are
                    stored = jpeg(pixels, "YCbCr", subsampling=0, **how)
                    yield (name, how, "rgb"), adobe(stored, 0), best

    def test_jpeg_kinds(self):
        for name, body, original in self.jpegs():
            self.add(name, body, pillow(body), JPEG)
            if original is not None:
                self.add((name, "original"), body, original, JPEG, TOLERANCE)
        self.check(300)

    def test_jpeg_orientation(self):
        for mode, progressive in itertools.product(("L", "RGB"), (False, True)):
            pixels = self.draw.integers(0, 256, (9, 21, 3), dtype=np.uint8)
            body = jpeg(pixels if mode == "RGB" else pixels[..., 0], mode, quality=90, progressive=progressive)
            rgb = pillow(body)
            for orientation, exif in SOUND:
                self.add((mode, orientation, exif), segment(body, 0xe1, b"Exif\0\0" + exif), oriented(rgb, orientation), JPEG)
            for exif in DAMAGED:
                self.add((mode, exif), segment(body, 0xe1, b"Exif\0\0" + exif), rgb, JPEG)
            self.add((mode, "no EXIF"), segment(body, 0xe1, b"http" + tiff(6)), rgb, JPEG)
        self.check(500)

    def test_formats_agree(self):
        """The same ink in every format, in every colour: what the nets see differs by no more than the tolerance."""
        shape = self.draw.integers(0, 2, (4, 4)).repeat(7, axis=0).repeat(7, axis=1)
        for ink in itertools.product((0, 128, 255), repeat=3):
            rgb = (shape[..., None] * np.array(ink)).astype(np.uint8)
            self.add((ink, "8"), png(RGB, 8, rgb), rgb)
            self.add((ink, "16"), png(RGB, 16, rgb.astype(int) * 257, True), rgb)
            palette = chunk(b"PLTE", bytes(3) + bytes(ink))
            self.add((ink, "palette"), png(PALETTE, 1, shape[..., None], before=palette), rgb)
            clear = np.concatenate([np.broadcast_to(np.uint8(ink), rgb.shape), 255 * shape[..., None]], axis=2)
            self.add((ink, "alpha"), png(RGB_ALPHA, 8, clear), rgb)
            self.add((ink, "jpeg"), jpeg(rgb, "RGB", quality=100, subsampling=0), rgb, JPEG, TOLERANCE)
        self.check(27 * 10)


class Types(unittest.TestCase):
    """The content says what a body is, and the content type what is said of one that is nothing."""

    def test_every_type_with_every_content(self):
        draw, ask, wanted = random.Random(3), Ask(), []
        grey = np.frombuffer(draw.randbytes(784), np.uint8).reshape(28, 28)
        raw, bright = grey.tobytes(), b"\xff\xd8\xff\xe0" + draw.randbytes(780)
        size = len(png(GREY, 8, grey[..., None] & 0xc0))
        as_long = png(GREY, 8, grey[..., None] & 0xc0, before=chunk(b"tEXt", bytes(784 - size - 12)))
        self.assertEqual(len(as_long), 784)
        cut = np.asarray(Image.open(io.BytesIO(jpeg(grey, "L"))))
        for kind in ("", RAW, PNG, JPEG, "image/jpg", "IMAGE/PNG; a=b", GIF, "image/pngx", "text/plain",
                     "multipart/form-data", "application/json", "x" * 90):
            is_picture = kind.lower().startswith("image/")
            for body, sample in ((png(GREY, 8, grey[..., None]), raw), (jpeg(grey, "L"), cut.tobytes()),
                                 (as_long, bytes(grey.ravel() & 0xc0)), (raw, None if is_picture else raw),
                                 (bright, None if is_picture else bright), (b"", None), (raw[1:], None), (raw + b"x", None),
                                 (b"GIF89a" + raw, None), (b"\x89PNG", None)):
                ask.add((kind, body[:8]), body, (1, 28, 28), kind)
                wanted.append(sample)
        said = {RAW: r"^the body has \d+ bytes, a sample 784$", PNG: "^the body is no PNG: ", JPEG: "^the body is no JPEG: ",
                "image/jpg": "^the body is no JPEG: ", "IMAGE/PNG; a=b": "^the body is no PNG: "}
        for ((kind, start), error, got), sample in zip(ask.answers(), wanted):
            if sample is not None:
                self.assertEqual((error, got), (0, sample), (kind, start))
            elif start.startswith(b"\xff\xd8\xff"):  # and is called a picture
                self.assertEqual(error, INPUT)
                self.assertRegex(got.decode(), "^the JPEG is damaged: ")
            else:
                self.assertEqual(error, INPUT if kind in said else REFUSED, (kind, start))
                self.assertRegex(got.decode(), said.get(kind, "^the image is no PNG and no JPEG"), (kind, start))

    def test_kinds_that_are_not_taken(self):
        """By name: they are whole."""
        pixels = np.arange(784 * 3, dtype=np.uint8).reshape(28, 28, 3)
        colour = jpeg(pixels, "RGB", quality=90)
        frame = colour.index(b"\xff\xc0")
        inks = io.BytesIO()
        Image.fromarray(pixels, "RGB").convert("CMYK").save(inks, "JPEG")
        bodies = {name: colour[:frame + 1] + bytes([marker]) + colour[frame + 2:] for name, marker in (
            ("lossless", 0xc3), ("hierarchical", 0xc5), ("hierarchical", 0xc6), ("hierarchical", 0xc7),
            ("arithmetically coded", 0xc9), ("arithmetically coded", 0xca), ("arithmetically coded and lossless", 0xcb),
            ("arithmetically coded and hierarchical", 0xcd), ("arithmetically coded and hierarchical", 0xcf))}
        bodies["neither grey nor in three colours"] = colour[:frame + 9] + b"\2" + colour[frame + 10:]
        bodies["depth than 8 bits"] = colour[:frame + 4] + b"\x0c" + colour[frame + 5:]
        ask, wanted = Ask(), []
        for name, body in [*bodies.items(), ("CMYK or YCCK", inks.getvalue()), ("CMYK or YCCK", adobe(inks.getvalue(), 2))]:
            ask.add(name, body, (3, 28, 28), JPEG)
            wanted.append(f"^the JPEG is .*{name}.*which is not taken")
        grey = pixels[..., :1].astype(int)
        ask.add("critical", png(GREY, 8, grey, before=chunk(b"CgBI", bytes(4))), (1, 28, 28))
        wanted.append("^the PNG is of a kind that is not taken: .*'CgBI'")
        for name, body in (("png", png(GREY, 8, grey)), ("jpeg", colour)):
            ask.add(name, body, (2, 28, 28))
            wanted.append("^samples of 2 channels have no PNG or JPEG form$")
        for (name, error, got), pattern in zip(ask.answers(), wanted):
            self.assertEqual(error, INPUT, name)
            self.assertRegex(got.decode(), pattern)

    def test_sizes_are_those_of_the_upright_picture(self):
        values = np.zeros((9, 5, 1), int)
        ask = Ask()
        for body in (png(GREY, 8, values, before=chunk(b"eXIf", tiff(6))),
                     segment(jpeg(values[..., 0].astype(np.uint8), "L"), 0xe1, b"Exif\0\0" + tiff(6))):
            ask.add("stored", body, (1, 9, 5))
            ask.add("upright", body, (1, 5, 9))
        results = list(ask.answers())
        self.assertEqual([error for _, error, _ in results], [INPUT, 0, INPUT, 0])
        for _, _, line in results[::2]:
            self.assertEqual(line.decode(), "the image has 9 x 5 pixels, this model takes 5 x 9")


class Bounds(unittest.TestCase):
    """However a body of 1 MiB is made, reading it takes little time and memory. In processor time: the machine may be
    busy. Each bomb took seconds where chunks were not skipped, and where data was unpacked behind the last row."""

    CPU_SECONDS, MEMORY_BYTES = 0.05, 8 << 20

    def limit_memory(self):
        resource.setrlimit(resource.RLIMIT_DATA, (self.MEMORY_BYTES, self.MEMORY_BYTES))

    def measure(self, name, body, shape, kind, pattern):
        """One body in a process of its own; `pattern` of the refusal, or None: it is taken."""
        self.assertLessEqual(len(body), 1 << 20, name)
        ask = Ask()
        ask.add(name, body, shape, kind)
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as taken:
            given.write(ask.records[0])
            given.seek(0)
            child = subprocess.Popen([PROGRAM], stdin=given, stdout=taken, preexec_fn=self.limit_memory)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            taken.seek(0)
            answer = taken.read()
        self.assertEqual(child.returncode, 0, name)
        error, length = struct.unpack_from("<2I", answer)
        if pattern:
            self.assertEqual(error, INPUT, name)
            self.assertRegex(answer[8:].decode(), pattern, name)
        else:
            self.assertEqual((error, length), (0, shape[0] * shape[1] * shape[2]), (name, answer[8:100]))
        self.assertLess(usage.ru_utime + usage.ru_stime, self.CPU_SECONDS, name)

    def test_png(self):
        values = np.zeros((28, 28, 1), int)
        for name, before, behind, data, pattern in png_bombs():
            for interlaced in (False, True):
                body = png(GREY, 8, values, interlaced, before, behind, data=data)
                self.measure((name, interlaced), body, (1, 28, 28), PNG, pattern)

    def test_jpeg(self):
        good = jpeg(np.zeros((28, 28), np.uint8), "L")
        for name, segments, pattern in jpeg_bombs():
            self.measure(name, good[:2] + segments + good[2:], (1, 28, 28), JPEG, pattern)

    def test_scans(self):
        """A progressive JPEG may go over all its blocks as often as it likes, in some twenty bytes each time."""
        for side, scans, pattern in ((28, 60, None), (28, 64, None), (28, 65, "more than 64 scans"), (28, 180, "more than 64"),
                                     (512, 60, None), (512, 180, "more than 64 scans")):
            self.measure((side, scans), many_scans(side, scans), (1, side, side), JPEG, pattern)


# ---- What costs its reader much.

def png_bombs():
    """(name, chunks before the data, behind it, the data or None, the refusal or None) of some 1 MiB each."""
    room = (1 << 20) - 2000
    packed = zlib.compress(bytes(7_900_000), 9)
    for kind in (b"zTXt", b"iTXt", b"iCCP"):
        one = chunk(kind, b"k\0" + (b"\1\0\0\0" if kind == b"iTXt" else b"\0") + packed)
        for where in ("before", "behind"):
            many = one * (room // len(one))
            yield kind, many if where == "before" else b"", many if where == "behind" else b"", None, None
    for kind, body in ((b"tEXt", b"k\0" + b"t" * 500), (b"sPLT", b"k\0\x10" + bytes(1000)), (b"teXt", b"u" * 300)):
        one = chunk(kind, body)
        yield kind, one * (room // len(one)), b"", None, None
    yield "nothing", chunk(b"teXt", b"") * (room // 12), b"", None, "more than 4096 chunks"
    yield "no data", chunk(b"IDAT", b"") * (room // 12), b"", None, "more than 4096 chunks"
    yield "orientations", chunk(b"eXIf", tiff(0, fillers=65000)), b"", None, None
    yield "one wrong", chunk(b"eXIf", tiff(6), crc=1) * 4000, b"", None, None
    data = zlib.compress(bytes(28 * 29 + 1_000_000_000 // 2), 9)
    yield "data behind the last row", b"", b"", data, "bytes of image data, where 28 x 28 pixels need at most"
    rows = zlib.compress(bytes(28 * 29), 0)[:-4]  # without its sum: more follows
    yield "tables", b"", b"", rows[:2] + empty_tables(room), "bytes of image data"
    yield "tables that fit", b"", b"", rows[:2] + empty_tables(5500), "damaged"
    yield "empty blocks", b"", b"", rows[:2] + b"\0\0\0\xff\xff" * (room // 5), "bytes of image data"


def empty_tables(length):
    """Deflate's dearest blocks: two tables of codes, and nothing coded with them."""
    bits, count = 0, 0
    order = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)
    fields = [(0, 1), (2, 2), (0, 5), (0, 5), (len(order) - 4, 4), *((int(code in (1, 18)), 3) for code in order),
              (1, 1), (127, 7), (1, 1), (107, 7), (0, 1), (0, 1), (0, 1)]  # 256 codes of no length, an end, a distance
    for value, size in fields * 8:  # so that it ends with a byte
        bits |= value << count
        count += size
    block = bits.to_bytes(count // 8, "little")
    return block * (length // len(block))


def jpeg_bombs():
    """(name, segments behind the start, the refusal or None)."""
    room, many = (1 << 20) - 4000, "more than 1024 segments"
    yield "comments", b"\xff\xfe\0\2" * (room // 4), many
    yield "EXIF", b"\xff\xe1\0\x08Exif\0\0" * (room // 10), many
    yield "code tables", (b"\xff\xc4\0\x14\0\1" + bytes(16)) * (room // 22), many
    yield "quantisation tables", (b"\xff\xdb\0\x43\0" + b"\1" * 64) * (room // 69), many
    yield "code tables in one", (b"\xff\xc4" + struct.pack(">H", 2 + 3600 * 18) + (b"\0\1" + bytes(16)) * 3600) * 15, None
    yield "fill bytes", b"\xff" * room, None
    yield "long comments", (b"\xff\xfe\xff\xff" + bytes(65533)) * 15, None
    yield "orientations", (b"\xff\xe1\xff\xf4Exif\0\0" + tiff(0, fillers=5400).ljust(65516, b"\0")) * 15, None


def many_scans(side, scans):
    """Grey everywhere: a scan of the means, then one a coefficient and bit, each an end-of-band run over all blocks."""
    across = -(-side // 8)
    table = lambda where, symbol: b"\xff\xc4" + struct.pack(">H", 20) + bytes([where, 1]) + bytes(15) + bytes([symbol])
    run = (across * across).bit_length() - 1
    bits = format(across * across - (1 << run), f"0{run}b") if run else ""
    body = b"\xff\xd8\xff\xdb\0\x43\0" + b"\1" * 64
    body += b"\xff\xc2\0\x0b\x08" + struct.pack(">2H", side, side) + b"\1\1\x11\0" + table(0, 0) + table(0x10, run << 4)
    body += b"\xff\xda\0\x08\1\1\0\0\0\0" + bytes(across * across // 8) + bytes([255 >> across * across % 8])
    code = "0" + bits
    code += "1" * (-len(code) % 8)
    data = int(code, 2).to_bytes(len(code) // 8, "big").replace(b"\xff", b"\xff\0")
    turns = [(k, high, low) for high, low in ((0, 2), (2, 1), (1, 0)) for k in range(1, 64)]
    for k, high, low in turns[:scans - 1]:
        body += b"\xff\xda\0\x08\1\1\0" + bytes([k, k, high << 4 | low]) + data
    return body + b"\xff\xd9"


# ---- Pillow.

def pillow(body):
    """[height, width, 3] as Pillow has them, upright, laid on black."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(body)))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        clear = image.convert("RGBA")
        image = Image.new("RGB", clear.size)
        image.paste(clear, mask=clear.getchannel("A"))
    return np.asarray(image.convert("RGB"))


def jpeg(pixels, mode, **how):
    out = io.BytesIO()
    Image.frombytes(mode, pixels.shape[1::-1], np.ascontiguousarray(pixels).tobytes()).save(
        out, "JPEG", **{"quality": 100, **how})
    return out.getvalue()


def segment(body, marker, content):
    return body[:2] + b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content + body[2:]


def adobe(body, transform):
    """Says in Adobe's way how the colours are stored; where it says so already, otherwise."""
    at = body.find(b"Adobe\0")
    if at >= 0:
        return body[:at + 11] + bytes([transform]) + body[at + 12:]
    if body[2:4] == b"\xff\xe0":  # JFIF would say that it is YCbCr
        body = body[:2] + body[4 + struct.unpack(">H", body[4:6])[0]:]
    return segment(body, 0xee, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))


if __name__ == "__main__":
    unittest.main()

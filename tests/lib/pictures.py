"""Pictures for tests: PNGs written chunk by chunk, JPEGs by Pillow, what costs its reader much, and a way to ask the
server's reader about many of them (tests/parity/pictures.c)."""
import io
import struct
import subprocess
import zlib

import numpy as np
from PIL import Image

from . import fleet as f

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
        done = subprocess.run([f.binary("tests/parity_pictures")], input=b"".join(self.records), stdout=subprocess.PIPE, check=True)
        at = 0
        for name in self.named:
            error, length = struct.unpack_from("<2I", done.stdout, at)
            yield name, error, done.stdout[at + 8:at + 8 + length]
            at += 8 + length
        assert at == len(done.stdout)


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


# ---- JPEGs.

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

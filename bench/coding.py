"""Range-compressed codes beside zlib's deflate of the same packed codes: speed, and what a code takes."""
import pathlib
import tempfile
import time
import zlib

from programs import run_json

BITS, ROWS, PASSES = 4, 1000, 5


def deflate(packed):
    """One stream, flushed after each frame, so that it learns from frame to frame too, there and back; the best of a
    few passes: (bits a code, seconds there, seconds back)."""
    size = ROWS * BITS // 8
    frames = [packed[at:at + size] for at in range(0, len(packed), size)]
    there, back = [], []
    for _ in range(PASSES):
        pack, unpack = zlib.compressobj(6), zlib.decompressobj()
        start = time.perf_counter()
        coded = [pack.compress(frame) + pack.flush(zlib.Z_SYNC_FLUSH) for frame in frames]
        middle = time.perf_counter()
        if [unpack.decompress(frame) for frame in coded] != frames:
            raise RuntimeError("zlib gives other codes")
        there.append(middle - start)
        back.append(time.perf_counter() - middle)
    return 8 * sum(map(len, coded)) / (len(frames) * ROWS), min(there), min(back)


def measure_coding(figures, quick):
    count = 200 if quick else 4000
    with tempfile.TemporaryDirectory(prefix="fewbit-coding-") as folder:
        path = pathlib.Path(folder) / "packed"
        ours = run_json("coding", BITS, count, path)
        bits, there, back = deflate(path.read_bytes())
    codes = count * ROWS
    for name, key, theirs in (("code_range_encode", "codes_in", there), ("code_range_decode", "codes_out", back)):
        figures.add(name, ours[key], codes / theirs, None, "codes/s", "theirs: deflate, level 6", bits=BITS)
    figures.add("code_range_size", ours["bits"], ours["worth"], "<=1.02x", "bits/code",
                f"theirs: the source's entropy; deflate takes {bits:.2f}", bits=BITS)

"""Range-compressed codes beside zlib's deflate of the same packed codes: speed, and what a code takes."""
from programs import run_json

BITS = 4


def measure_coding(figures, quick):
    done = run_json("coding", BITS, 200 if quick else 4000)
    ours, theirs = done["range"], done["deflate"]
    for name, key in (("code_range_encode", "codes_in"), ("code_range_decode", "codes_out")):
        figures.add(name, ours[key], theirs[key], None, "codes/s", "theirs: deflate, level 6", bits=BITS)
    figures.add("code_range_size", ours["bits"], done["worth"], "<=1.02x", "bits/code",
                f"theirs: the source's entropy; deflate takes {theirs['bits']:.2f}", bits=BITS)

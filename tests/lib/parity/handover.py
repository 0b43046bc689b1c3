"""safetensors files by hand, with numpy alone: how weights and batches pass between PyTorch and the project.

    8 bytes  length of the header, little-endian
    header   JSON: name -> {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, "__metadata__" -> strings
    values   little-endian floats, in the order of their offsets
"""
import json
import struct

import numpy


def write(path, tensors, metadata=()):
    """tensors: name -> array; metadata: name -> text."""
    header, values, at = {"__metadata__": dict(metadata)}, [], 0
    for name, tensor in tensors.items():
        data = numpy.ascontiguousarray(tensor, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(numpy.shape(tensor)), "data_offsets": [at, at + len(data)]}
        values.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(values))


def read(path):
    """(name -> array, name -> text). The arrays may be written to; the file stays as it is."""
    data = numpy.memmap(path, mode="c")
    start = 8 + struct.unpack_from("<Q", data)[0]
    header = json.loads(bytes(data[8:start]))
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        assert entry["dtype"] == "F32", name
        tensors[name] = numpy.asarray(data[start + begin:start + end]).view("<f4").reshape(entry["shape"])
    return tensors, metadata

"""Data of owners' own: folders of portions and labels as shared/data/portion.h and labels.h say, with listed ids."""
import hashlib
import json
import struct

import numpy as np

FORMAT, TYPES = 2, {"u1": (0, "u8"), "f4": (1, "f32")}


def write_ids(folder, ids):
    for split, of_split in zip(("train", "test"), ids):
        (folder / f"{split}-ids.txt").write_text("".join(f"{name}\n" for name in of_split))


def ids_digest(ids):
    """Lower-case hex, as sample_ids_digest has it."""
    text = b"".join(name.encode() + b"\0" for of_split in ids for name in of_split)
    return hashlib.sha256(struct.pack("<II", *map(len, ids)) + text).hexdigest()


def write_portion(folder, name, ids, values, validation=0, dataset="own", counted=False):
    """ids: two lists; values: two arrays [samples, shape] of u8 or f32. `counted`: the ids are not written."""
    folder.mkdir(parents=True)
    shape = values[0].shape[1:]
    number, kind = TYPES[values[0].dtype.str[1:]]
    for split, of_split in zip(("train", "test"), values):
        np.save(folder / f"{split}.npy", of_split)
    numbers = (number, len(shape), *shape, *[0] * (3 - len(shape)), len(ids[0]), len(ids[1]), not counted, 0, 0)
    body = struct.pack("<10I", *numbers) + values[0].tobytes() + values[1].tobytes()
    if not counted:
        write_ids(folder, ids)
        body += ids_digest(ids).encode()
    (folder / "portion.json").write_text(json.dumps({
        "format": FORMAT, "dataset": dataset, "portion": name, "type": kind, "shape": list(shape),
        "train_samples": len(ids[0]), "validation_samples": validation, "test_samples": len(ids[1]),
        "ids": "counted" if counted else "listed", "digest": hashlib.sha256(body).hexdigest()}))


def write_labels(folder, ids, labels, classes, validation=0, dataset="own", counted=False):
    """labels: two lists of numbers below len(classes)."""
    folder.mkdir(parents=True)
    for split, of_split in zip(("train", "test"), labels):
        np.save(folder / f"{split}-labels.npy", np.array(of_split, dtype=np.uint8))
    if not counted:
        write_ids(folder, ids)
    (folder / "labels.json").write_text(json.dumps({
        "format": FORMAT, "dataset": dataset, "classes": list(classes), "train_samples": len(ids[0]),
        "validation_samples": validation, "test_samples": len(ids[1]), "ids": "counted" if counted else "listed"}))


def tensors(path):
    """SHA-256 of a checkpoint part without its metadata, which name the run."""
    bytes_of = path.read_bytes()
    length, = struct.unpack("<Q", bytes_of[:8])
    header = json.loads(bytes_of[8:8 + length])
    header.pop("__metadata__", None)
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode() + bytes_of[8 + length:]).hexdigest()

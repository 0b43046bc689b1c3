#!/usr/bin/python3
"""Writes the seeds of every fuzz target: FOLDER/TARGET/NAME, good inputs and bad ones.

    tests/fuzz/make_corpus.py FOLDER

The build makes them; the bytes depend on this file and on experiments/paper alone. What a fuzzer found lies in
tests/fuzz/findings.
"""
import gzip
import hashlib
import io
import json
import math
import pathlib
import re
import struct
import sys
import zipfile
import zlib

from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent

# Frame types and enumerations of proto/fewbit.proto.
(HELLO, WELCOME, REFUSAL, RESTORE, READY, BATCH, ACTIVATIONS, GRADIENTS, CODES, SAVE, SAVED, COMMITTED, REQUEST,
 ANSWER, BEGIN, PING, PREPARE, PREPARED, SWITCH, REFINE_REQUEST, REFINEMENT, ACK, STREAM_END, STREAM_HOLD,
 REQUEST_ERROR, ALIGN_REQUEST, ALIGN_IDS, ALIGNED) = range(1, 29)
TRAIN, SERVE = 1, 2
PHASE_TRAIN, PHASE_SOFT, PHASE_ROUNDED = 0, 1, 2


# Protobuf, as far as it is needed: a message is a list of (field, value).

def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


class Fixed64(int):
    pass


class Fixed32(int):
    pass


def message(*fields):
    out = b""
    for number, value in fields:
        if isinstance(value, Fixed64):
            out += varint(number << 3 | 1) + struct.pack("<Q", value)
        elif isinstance(value, Fixed32):
            out += varint(number << 3 | 5) + struct.pack("<I", value)
        elif isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def packed(*numbers):
    return b"".join(varint(n) for n in numbers)


def frame(kind, payload=b"", claims=None):
    length = len(payload) if claims is None else claims
    return struct.pack("<I", length | kind << 24) + payload


def record(control, kind=PING, payload=b"", claims=None):
    return bytes([control]) + frame(kind, payload, claims)


# An experiment as small_run.h and fuzz_node.c want it.

def experiment(portions=4, decision="after-training", soft="sigmoid", batch_norm="false", extra=""):
    return f"""\
name: small
dataset:
  name: mnist
  partition: slices
  portions: {portions}
encoder:
  net: simple-1d
  hidden: 8
  bits: 4
  batch_norm: {batch_norm}
  activation: {soft}
  binarize: {decision}
decoder:
  net: linear
classifier:
  net: mnist
  hidden: 8
optimiser:
  kind: sgd
  learning_rate: 0.25
training:
  epochs: 2
  batch_size: 4
  seed: 1
{extra}"""


def hello(portion, name="node", digest=None, protocol=2, train=8, test=6, shape=(1, 14, 28), kind="u8", coding=None):
    return message((1, protocol), (2, name), (4, "mnist"), (7, packed(*shape)), (8, train), (9, test),
                   (10, digest or str(portion) * 64), *([(11, coding)] if coding else []), (12, str(portion)), (13, kind))


def welcome(mode, text=None, run=7, protocol=2, heartbeat=1000):
    return message((1, protocol), (2, Fixed64(run)), (3, mode), (4, text or experiment()), (5, heartbeat))


def batch(step, phase, ids=None, first=0, count=None, part=0):
    fields = [(1, step), (2, phase), (3, part)]
    if ids is None:
        fields += [(4, first), (5, count)]
    else:
        fields += [(5, len(ids)), (6, struct.pack(f"<{len(ids)}I", *ids))]
    return message(*fields)


def soft(rows, bits=4, value=0.25):
    return struct.pack(f"<{rows * bits}f", *([value] * (rows * bits)))


def activations(step, phase, rows, **values):
    field = (5, values["packed"]) if "packed" in values else (4, values.get("soft", soft(rows)))
    return message((1, step), (2, phase), (3, rows), field)


def codes(model, first, samples, bits=None):
    return message((1, model), (2, first), (3, samples - 1), (4, bits or b"\x5a" * ((samples * 4 + 7) // 8)))


def coded(sequence, first, samples, bits, check, model=2):
    return message((1, model), (2, first), (3, samples - 1), (5, sequence), (6, bits), (7, Fixed32(check)))


# The first frames of codes(2, 0, 6) and codes(2, 6, 6), range-coded.
CODED = (1, 0, 6, b"\xa1\xe1", 0x4772d565), (2, 6, 6, b"\xa5", 0x83b57602)


def gradients(step, rows, value=0.5):
    return message((1, step), (2, rows), (3, soft(rows, value=value)))


# The targets.

def frames_seeds():
    stream = frame(HELLO, b"abc") + frame(PING) + frame(CODES, b"x" * 40) + frame(BEGIN)
    whole = bytes([4, 0])
    return {
        "whole": whole + stream,
        "byte-by-byte": bytes([4, 1, 0]) + stream,
        "uneven-cuts": bytes([4, 5, 0, 3, 6, 30, 1]) + stream,
        "ends-in-a-header": whole + stream + b"\x05\x00",
        "ends-in-a-payload": whole + stream + frame(CODES, b"yz", claims=9),
        "at-the-limit": bytes([3, 2, 100, 7]) + frame(SAVE, b"a" * 300) + frame(PING),
        "over-the-limit": bytes([3, 2, 100, 7]) + frame(SAVE, b"a" * 301),
        "length-lie": whole + frame(CODES, b"short", claims=0xffffff),
        "limit-0": bytes([0, 1, 0]) + frame(PING) * 9,
        "limit-0-broken": bytes([0, 1, 0]) + frame(PING) * 3 + frame(PING, b"x"),
        "grows": bytes([5, 1, 255]) + frame(BATCH, bytes(range(256)) * 12) + frame(PING) * 5,
        "claims-4-mib": bytes([6, 3, 0, 1, 2]) + frame(BATCH, b"q" * 50, claims=4 << 20),
    }


BASE_POINT = bytes.fromhex("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")  # of P-256


def messages_seeds():
    good = {
        "hello": (HELLO, hello(1)),
        "welcome": (WELCOME, welcome(TRAIN)),
        "refusal": (REFUSAL, message((1, 6), (2, "a message out of turn"))),
        "restore": (RESTORE, message((1, 12), (3, bytes(range(32))))),
        "restore-fresh": (RESTORE, message((2, 1))),
        "ready": (READY, message((1, 12))),
        "batch": (BATCH, batch(3, PHASE_TRAIN, ids=[5, 1, 2, 0])),
        "batch-range": (BATCH, batch(3, PHASE_ROUNDED, first=10, count=100, part=1)),
        "activations": (ACTIVATIONS, activations(3, PHASE_TRAIN, 2)),
        "activations-bits": (ACTIVATIONS, activations(3, PHASE_TRAIN, 2, packed=b"\xa5")),
        "gradients": (GRADIENTS, gradients(3, 2)),
        "codes": (CODES, codes(12, 1 << 40, 3)),
        "save": (SAVE, message((1, 13))),
        "saved": (SAVED, message((1, 13), (2, bytes(32)))),
        "saved-not": (SAVED, message((1, 13), (3, "No space left on device"))),
        "committed": (COMMITTED, message((1, packed(12, 13)))),
        "committed-unpacked": (COMMITTED, message((1, 12), (1, 13))),
        "request": (REQUEST, message((1, 9), (2, bytes(196)))),
        "answer": (ANSWER, codes(12, 9, 1, b"\x0d")),
        "begin": (BEGIN, message((1, 9), (2, 1 << 40))),
        "ready-in-a-session": (READY, message((1, 12), (3, 9), (4, 1 << 40))),
        "ready-without-a-stream": (READY, message((1, 12), (2, 1))),
        "stream-end": (STREAM_END, b""),
        "stream-hold": (STREAM_HOLD, message((1, 1))),
        "stream-outside": (STREAM_HOLD, message((1, 1), (2, 1), (3, "too late"))),
        "request-by-id": (REQUEST, message((1, 5), (4, "patient-17"))),
        "request-row": (REQUEST, message((1, 5), (2, b"age,height\n41,1.7\n"), (3, 1))),
        "request-error": (REQUEST_ERROR, message((1, 5), (2, 2), (3, "column 'age': 'old' is no number"))),
        "ready-with-samples": (READY, message((1, 2), (5, "a"), (5, "b"), (5, "c"))),
        "ping": (PING, b""),
        "prepare": (PREPARE, message((1, 13), (2, 13), (3, bytes(range(32))), (4, Fixed64(7)), (5, experiment()))),
        "prepared": (PREPARED, message((1, 13), (2, 1 << 40))),
        "prepared-not": (PREPARED, message((1, 13), (3, "no such file"))),
        "switch": (SWITCH, message((1, 13), (2, 1 << 40))),
        "refine-request-map": (REFINE_REQUEST, message((1, 13), (2, 1), (3, 7), (4, b"\x05\x80"))),
        "refine-request-skips": (REFINE_REQUEST, message((1, 13), (2, 1), (3, 7), (5, b"\x00\x81\x01\x02"), (6, 1))),
        "refine-request-both": (REFINE_REQUEST, message((1, 13), (2, 1), (3, 7), (4, b"\x01"), (5, b"\x00"))),
        "refinement": (REFINEMENT, message((1, 1), (2, 7), (3, b"\xb3\x0f"), (4, b"\x01\x03"))),
        "ack": (ACK, message((1, 4096))),
        "align-request": (ALIGN_REQUEST, message((2, bytes(range(16))))),
        "align-request-points": (ALIGN_REQUEST, message((1, 1), (3, BASE_POINT * 2))),
        "align-ids": (ALIGN_IDS, message((1, bytes(range(32))))),
        "align-ids-points": (ALIGN_IDS, message((2, BASE_POINT))),
        "aligned": (ALIGNED, message((1, 3), (2, 1), (3, 1), (4, bytes([2, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255])))),
    }
    bad = {
        "unknown-type": (20, b""),
        "type-0": (0, b""),
        "ping-with-payload": (PING, b"x"),
        "unknown-fields": (READY, message((1, 1), (99, 5), (100, b"more"), (101, Fixed64(1)))),
        "wrong-wire-type": (CODES, message((1, b"text"), (4, 7))),
        "length-lie": (REQUEST, b"\x12\xff\xff\xff\xff\x0f"),
        "varint-without-end": (READY, b"\x08" + b"\xff" * 11),
        "field-0": (READY, b"\x00\x01"),
        "group": (READY, b"\x0b\x0c"),
        "repeated-scalar": (READY, message((1, 1)) * 40),
        "many-unknown": (READY, b"".join(message((n, 1)) for n in range(2, 90))),
        "unknown-field-often": (READY, b"\x78\x01" * 1500),
        "zero-in-string": (HELLO, message((2, "a\0b"))),
        "no-utf-8": (HELLO, message((2, b"\xff\xfe\x80"))),
        "many-numbers": (COMMITTED, message((1, b"\x01" * 3000))),
        "negative-enum": (REFUSAL, b"\x08" + b"\xff" * 9 + b"\x01"),
    }
    return {name: bytes([kind]) + payload for name, (kind, payload) in {**good, **bad}.items()}


def node_seeds():
    fresh = message((2, 1))

    def begin(mode=TRAIN, **job):
        return record(0, WELCOME, welcome(mode, experiment(**job)))

    restore = record(0, RESTORE, fresh)
    step = lambda n: record(0, BATCH, batch(n, PHASE_TRAIN, ids=[n % 6, 1, 5])) + record(0, GRADIENTS, gradients(n, 3))
    tests = (record(0, BATCH, batch(2, PHASE_SOFT, first=0, count=4, part=1)) +
             record(0, BATCH, batch(2, PHASE_ROUNDED, first=0, count=4, part=1)))
    save = record(0, SAVE, message((1, 2))) + record(0, COMMITTED, message((1, packed(2))))
    training = begin() + restore + step(0) + step(1) + tests + save
    back = record(0, RESTORE, message((1, 2)))

    def prepare(model, step=2, run=7, control=0, **job):
        return record(control, PREPARE, message((1, model), (2, step), (4, Fixed64(run)), (5, experiment(**job))))

    switch = lambda model, start=0, control=0: record(control, SWITCH, message((1, model), (2, start)))
    begin_stream = record(2, BEGIN, message((1, 9)))
    hold = lambda *fields: record(2, STREAM_HOLD, message(*fields))
    serving = back + begin_stream + record(2, REQUEST, message((1, 5), (2, bytes(196)))) + record(2)
    asked = lambda *fields: record(2, REQUEST, message((1, 6), *fields)) + record(2)
    by_id = asked((4, "7")) + asked((4, "patient-17")) + asked((2, b"a,b\n1,2\n"), (3, 1)) + asked((2, bytes(195)))
    return {
        "asked-in-other-ways": training + record(1, WELCOME, welcome(SERVE)) + serving + by_id,
        "training": training,
        "goes-back": training + step(2) + back + step(2),
        "connection-lost": training + record(1, WELCOME, welcome(TRAIN)) + back + step(2),
        "lost-within-a-batch": begin() + restore + record(0, BATCH, batch(0, PHASE_TRAIN, ids=[1, 2])) + begin()
        + record(1, WELCOME, welcome(TRAIN)) + restore + step(0),
        "then-serving": training + record(1, WELCOME, welcome(SERVE)) + serving,
        "straight-through": begin(decision="straight-through", batch_norm="true") + restore + step(0) + step(1) + tests,
        "resigmoid": begin(soft="resigmoid", batch_norm="true") + restore + step(0) + tests,
        "changes": training + record(1, WELCOME, welcome(SERVE)) + serving + prepare(3, control=2) + switch(3, 2, 2)
        + record(2, REQUEST, message((1, 6), (2, bytes(196)))) + switch(3) + record(2),
        "changes-back": training + record(1, WELCOME, welcome(SERVE)) + serving + prepare(3) + switch(2, control=2)
        + switch(3) + record(2),
        "changes-far-ahead": training + record(1, WELCOME, welcome(SERVE)) + serving + prepare(3) + switch(3, 1 << 63, 2)
        + prepare(4) + record(3, WELCOME, welcome(SERVE)) + serving,
        "changes-to-what-is-not-there": training + record(1, WELCOME, welcome(SERVE)) + serving + prepare(3, 9)
        + prepare(4, run=8) + prepare(5, portions=7) + prepare(6, soft="none") + switch(6),
        "changes-twice": training + record(1, WELCOME, welcome(SERVE)) + serving + prepare(3) + prepare(4),
        "changes-in-training": training + prepare(3) + switch(2),
        "serving-nothing": begin(SERVE) + serving,
        "begins-twice": training + record(1, WELCOME, welcome(SERVE)) + back + begin_stream + begin_stream,
        "begins-in-no-session": training + record(1, WELCOME, welcome(SERVE)) + back + record(2, BEGIN),
        "held-and-outside": training + record(1, WELCOME, welcome(SERVE)) + serving + hold((1, 1)) + hold()
        + hold((1, 1), (2, 1), (3, "too late")) + record(2, REQUEST, message((1, 6), (2, bytes(196)))),
        "refused": record(0, REFUSAL, message((1, 4), (2, "no"))),
        "refused-for-now": record(0, REFUSAL, message((1, 2), (2, "taken"))) + training,
        "over": training + record(0, REFUSAL, message((1, 9), (2, "over"))),
        "other-version": record(0, WELCOME, welcome(TRAIN, protocol=1)),
        "other-portions": begin(portions=7),
        "bad-experiment": record(0, WELCOME, welcome(TRAIN, "name: [")),
        "no-experiment": record(0, WELCOME, message((1, 1), (3, 1))),
        "welcome-twice": begin() + begin(),
        "batch-first": record(0, BATCH, batch(0, PHASE_TRAIN, ids=[0])),
        "batch-of-none": begin() + restore + record(0, BATCH, batch(0, PHASE_TRAIN, first=0, count=0)),
        "batch-too-far": begin() + restore + record(0, BATCH, batch(0, PHASE_TRAIN, ids=[6])),
        "batch-range-too-far": begin() + restore + record(0, BATCH, batch(0, PHASE_SOFT, first=0xffffffff, count=2)),
        "batch-too-long": begin() + restore + record(0, BATCH, batch(0, PHASE_SOFT, ids=[1] * 1001)),
        "batch-ids-lie": begin() + restore + record(0, BATCH, message((5, 3), (6, b"\0" * 11))),
        "gradients-first": begin() + restore + record(0, GRADIENTS, gradients(0, 3)),
        "gradients-short": begin() + restore + record(0, BATCH, batch(0, PHASE_TRAIN, ids=[1, 2]))
        + record(0, GRADIENTS, gradients(0, 1)),
        "gradients-no-numbers": begin() + restore + record(0, BATCH, batch(0, PHASE_TRAIN, ids=[1, 2]))
        + record(0, GRADIENTS, gradients(0, 2, float("nan"))) + step(1),
        "request-too-short": begin(SERVE) + record(0, REQUEST, message((1, 1), (2, bytes(3)))),
        "large-batch": begin(extra="  evaluate_every: 3\n").replace(b"batch_size: 4", b"batch_size: 9") + restore + step(0),
        "garbage": record(0, HELLO, hello(0)) + record(0, PING, b"x") + record(0, 99, b"?") + record(0, CODES, b"\xff" * 9),
    }


def server_train_seeds():
    def joined(how, names=("a", "b")):
        return (record(how) + record(0, HELLO, hello(0, names[0])) + record(1, HELLO, hello(1, names[1])))

    def ready(step):
        return record(0, READY, message((1, step))) + record(1, READY, message((1, step)))

    def both(kind, payload):
        return record(0, kind, payload) + record(1, kind, payload)

    def train(step, **values):
        return both(ACTIVATIONS, activations(step, PHASE_TRAIN, 4, **values))

    def evaluate(step, rounds=1):
        return both(ACTIVATIONS, activations(step, PHASE_SOFT, 6)) + both(CODES, codes(step, 0, 6)) * rounds

    def outputs(step, rows=8):
        return both(ACTIVATIONS, activations(step, PHASE_SOFT, rows))

    def saved(step, rows=8):
        return outputs(step, rows) + both(SAVED, message((1, step), (2, bytes(32)))) + ready(step) + outputs(step, rows)

    epoch = train(0) + train(1) + evaluate(2) + saved(2)
    second = train(2) + train(3) + evaluate(4) + saved(4)
    straight = both(ACTIVATIONS, activations(0, PHASE_TRAIN, 4, packed=b"\x5a\xa5"))
    held_back = both(ACTIVATIONS, activations(0, PHASE_TRAIN, 4)) + both(ACTIVATIONS, activations(1, PHASE_TRAIN, 1))
    best = held_back + both(ACTIVATIONS, activations(2, PHASE_SOFT, 6)) + both(CODES, codes(2, 0, 6)) \
        + both(CODES, codes(2, 0, 3)) + saved(2, 5)
    down = record(4 | 1)
    again = record(1, HELLO, hello(1, "b again"))
    return {
        "whole": joined(16) + ready(0) + epoch + second,
        "straight-through": joined(17) + ready(0) + straight,
        "keeps-best": joined(18) + ready(0) + best,
        "saves-often": joined(4) + ready(0) + train(0) + saved(1) + train(1) + evaluate(2) + saved(2),
        "tests-often": joined(8) + ready(0) + train(0) + evaluate(1) + saved(1) + train(1) + evaluate(2) + saved(2),
        "node-lost": joined(16) + ready(0) + train(0) + down + again + ready(0) + epoch,
        "lost-after-commit": joined(0) + ready(0) + epoch + down + again + ready(2) + second,
        "lost-while-testing": joined(0) + ready(0) + train(0) + train(1)
        + record(0, ACTIVATIONS, activations(2, PHASE_SOFT, 6)) + down + again + ready(0) + epoch,
        "lost-while-saving": joined(0) + ready(0) + train(0) + train(1) + evaluate(2) + outputs(2)
        + record(0, SAVED, message((1, 2), (2, bytes(32)))) + down + again + ready(0) + epoch,
        "old-ready": joined(0) + down + again + record(0, READY, message((1, 9))) + ready(0) + epoch,
        "restored-otherwise": joined(0) + ready(0) + train(0) + train(1) + evaluate(2) + outputs(2)
        + both(SAVED, message((1, 2), (2, bytes(32)))) + ready(2) + record(0, ACTIVATIONS, activations(2, PHASE_SOFT, 8))
        + record(1, ACTIVATIONS, activations(2, PHASE_SOFT, 8, soft=bytes(128))) + again + ready(0) + epoch,
        "restored-elsewhere": joined(0) + ready(0) + train(0) + train(1) + evaluate(2) + outputs(2)
        + both(SAVED, message((1, 2), (2, bytes(32)))) + ready(3),
        "not-saved": joined(16) + ready(0) + train(0) + train(1) + evaluate(2) + outputs(2)
        + both(SAVED, message((1, 2), (3, "No space left on device"))) + second,
        "saved-unasked": joined(0) + ready(0) + saved(0),
        "portion-taken": joined(0) + record(2, HELLO, hello(1, "c")) + ready(0) + epoch,
        "portion-unknown": record(0) + record(0, HELLO, hello(2)),
        "other-version": record(0) + record(0, HELLO, hello(0, protocol=1)),
        "other-data": record(0) + record(0, HELLO, hello(0, digest="f" * 64)) + record(1, HELLO, hello(1, train=9)),
        "other-shape": record(0) + record(0, HELLO, hello(0, shape=(1, 14, 27))) + record(1, HELLO, hello(1, shape=(1,)))
        + record(1, HELLO, hello(1, kind="f32")) + record(1, HELLO, hello(1, kind="u9")),
        "no-name": record(0) + record(0, HELLO, hello(0, "")) + record(1, HELLO, hello(1, "n" * 64)),
        "name-no-utf-8": joined(16, (b"\xff\x80", "\x1b[31mred\n")) + ready(0) + epoch + second,
        "hello-twice": joined(0) + record(0, HELLO, hello(0)) + ready(0),
        "no-hello": record(0) + record(0, READY, message((1, 0))),
        "ready-twice": joined(0) + ready(0) + ready(0),
        "answers-twice": joined(0) + ready(0) + record(0, ACTIVATIONS, activations(0, PHASE_TRAIN, 4)) * 2,
        "out-of-range": joined(0) + ready(0) + train(0, soft=soft(4, value=1.5)),
        "no-number": joined(0) + ready(0) + train(0, soft=soft(4, value=float("nan"))),
        "short": joined(0) + ready(0) + train(0, soft=soft(3)),
        "bits-and-soft": joined(0) + ready(0)
        + both(ACTIVATIONS, message((3, 4), (4, soft(4)), (5, b"\0\0"))),
        "codes-unclear-tail": joined(0) + ready(0) + train(0) + train(1)
        + both(ACTIVATIONS, activations(2, PHASE_SOFT, 6)) + both(CODES, codes(2, 0, 6, b"\xff" * 4)),
        "refuses": joined(0) + record(0, REFUSAL, message((1, 5), (2, "no such checkpoint"))) + record(4),
        "server-messages": joined(0) + ready(0) + record(0, BATCH, batch(0, 0, ids=[1])) + record(1, WELCOME, welcome(1)),
        "malformed": joined(0) + ready(0) + record(0, ACTIVATIONS, b"\x22\xff\xff\xff\x7f") + record(1, 77, b""),
        "answers-on-their-way": joined(0) + record(8, READY, message()) + record(9, READY, message())
        + record(8, ACTIVATIONS, activations(0, 0, 4)) + record(9, ACTIVATIONS, activations(0, 0, 4))
        + record(8, ACTIVATIONS, b"\xff") + record(8, ACTIVATIONS, activations(1, 0, 4)),
        "long-hello": record(0) + record(0, HELLO, hello(0, "n" * 4000)),
    }


def align_seeds():
    numbers = lambda *places: b"".join(place.to_bytes(4, "little") for place in places)
    salt, ids = bytes(range(16)), bytes(range(192))  # of 12
    ask = record(0, ALIGN_REQUEST, message((2, salt)))
    told = record(0, ALIGNED, message((1, 3), (2, 1), (3, 2), (4, numbers(5, 0, 0xffffffff, 8, 11))))
    half = record(0, ALIGNED, message((1, 3), (2, 1), (3, 2), (4, numbers(5, 0))))
    private = record(0, ALIGN_REQUEST, message((1, 1), (3, BASE_POINT * 12)))
    own = record(0, ALIGN_REQUEST, message((1, 1)))
    answer = lambda k, *fields: record(k, ALIGN_IDS, message(*fields))
    return {
        "node": record(0) + ask + told,
        "node-in-pieces": record(0) + ask + half + record(0, ALIGNED, message((1, 3), (2, 1), (3, 2), (4, numbers(1, 8, 9)))),
        "node-private": record(1) + private + own + told,
        "node-not-asked": record(0) + told,
        "node-asked-twice": record(0) + ask + ask + ask + told + told,
        "node-other-salt": record(0) + ask + record(0, ALIGN_REQUEST, message((2, salt[::-1]))),
        "node-other-split": record(0) + ask + record(0, ALIGNED, message((1, 2), (3, 1), (4, numbers(9, 0, 8)))),
        "hashes": record(0) + answer(1, (1, ids)) + answer(2, (1, ids)),
        "hashes-too-few": record(0) + answer(1, (1, ids[:16])) + answer(2, (1, ids)),
        "hashes-lost": record(0) + answer(1, (1, ids)) + answer(3, (1, ids)) + answer(2, (1, ids)),
        "points": record(1) + answer(1, (2, BASE_POINT * 12)) + answer(1, (2, BASE_POINT * 12)),
        "points-that-are-none": record(1) + answer(1, (2, bytes(396))) + answer(1, (2, bytes(396))),
        "other-messages": record(0) + record(1, READY, message((1, 1))) + record(0, BATCH, batch(0, PHASE_TRAIN, ids=[1])),
    }


def codes_seeds():
    def frame(what, rows, data=b"", model=1, how=b""):
        return bytes([model << 3 | what]) + how + bytes([rows - 1]) + data
    lose, change, replace = 5, 6, 7
    text = bytes(range(256)) * 8
    return {
        "good": bytes([3]) + frame(0, 6, b"\x5a\x5a\x5a") + frame(0, 100, b"\x11" * 50) + frame(0, 1, b"\x07"),
        "lost": bytes([7]) + frame(0, 20, text[:20]) + frame(lose, 20, text[:20]) + frame(0, 20, text[:20]) * 3,
        "changed": bytes([11]) + frame(0, 50, text[:75]) + frame(change, 50, text[:75], how=b"\x05\x40")
        + frame(0, 50, text[:75]),
        "replaced": bytes([15]) + frame(0, 9, text[:18]) + frame(replace, 9, b"\xff\xff" * 9) + frame(0, 256, text[:512]),
        "other-model": bytes([3]) + frame(0, 8, b"1234") + frame(0, 8, b"1234", model=2) + frame(0, 8, b"1234"),
        "lost-then-other-model": bytes([3]) + frame(0, 8, b"1234") + frame(lose, 8, b"1234") + frame(0, 8, b"1234", model=2),
        "one-bit": bytes([0]) + frame(0, 256, bytes(32)) * 4,
        "widest": bytes([63]) + frame(0, 16, text[:128]) + frame(0, 256, text),
    }


def server_serve_seeds():
    down, asked, later, alone, changes, stops, by_id = (n << 2 for n in range(1, 8))

    def node(k, digest=None):
        return record(k, HELLO, hello(k, digest=digest)) + record(k, READY, message((1, 2)))

    both = node(0) + node(1)
    push = lambda k, first, n, control=0: record(control | k, CODES, codes(2, first, n))
    answer = lambda k, n, model=2: record(k, ANSWER, codes(model, n, 1, b"\x05"))
    request = record(asked, PING, bytes(range(200)))
    wait = record(later, PING, b"\xff")
    change = record(changes)
    named = record(by_id, PING, b"patient-17")
    error = lambda k, n, problem: record(k, REQUEST_ERROR, message((1, n), (2, problem), (3, "it cannot be read")))
    prepared = lambda k, model, start=0, error="": record(k, PREPARED, message((1, model), (2, start), (3, error)))
    return {
        "pushed": both + push(0, 0, 6) + push(1, 0, 6),
        "pushed-in-pieces": both + push(0, 0, 2) + push(1, 1, 3) + push(0, 2, 4) + push(1, 0, 1),
        "batches": both + push(0, 0, 1200, alone) + push(1, 0, 1200, alone),
        "expires": both + push(0, 0, 4) + wait + push(1, 0, 4),
        "duplicates": both + push(0, 0, 3) * 2 + push(1, 0, 3) * 2,
        "request": both + request + answer(0, 0) + answer(1, 0),
        "requests": both + request * 3 + answer(1, 2) + answer(0, 1) + answer(0, 2) + answer(1, 0) + answer(0, 0) + wait,
        "request-without-nodes": request + node(0) + request + answer(0, 0),
        "request-degraded": both + request + answer(0, 0) + wait,
        "request-unanswered": both + request + wait + answer(0, 0),
        "node-lost": both + request + answer(0, 0) + record(down | 1) + request + answer(0, 1) + wait + node(1) + request,
        "named": both + named + answer(0, 0) + answer(1, 0),
        "named-here-alone": both + named * 2 + error(0, 0, 1) + answer(1, 0) + answer(0, 1) + error(1, 1, 1),
        "named-nowhere": both + named + error(0, 0, 1) + error(1, 0, 1) + error(1, 0, 1) + answer(1, 0),
        "row-refused": both + request * 2 + error(0, 0, 2) + answer(1, 0) + answer(0, 1) + error(0, 1, 2) + error(1, 1, 3),
        "row-refused-twice": both + request + error(0, 0, 2) + error(1, 0, 2) + request + error(0, 1, 2) + record(down | 1),
        "errors-unasked": both + error(0, 3, 1) * 70,
        "other-model": both + answer(0, 0, model=3) + push(1, 0, 2),
        "other-step": record(0, HELLO, hello(0)) + record(0, READY, message((1, 3))),
        "not-ready": record(0, HELLO, hello(0)) + push(0, 0, 1),
        "ready-twice": both + record(0, READY, message((1, 2))),
        "refuses": record(0, HELLO, hello(0)) + record(0, REFUSAL, message((1, 5), (2, "no such checkpoint"))),
        "ids-run-over": both + push(0, (1 << 64) - 3, 4) + push(1, (1 << 64) - 5, 4),
        "more-lies": both + record(0, CODES, message((1, 2), (3, 0xffffffff), (4, b"\x00"))),
        "answer-of-many": both + request + record(0, ANSWER, codes(2, 0, 2)),
        "answer-unasked": both + answer(0, 8191) + answer(1, 1 << 50),
        "unclear-tail": both + record(0, CODES, message((1, 2), (4, b"\xff"))),
        "training-messages": both + record(0, ACTIVATIONS, activations(0, 0, 4)) + record(1, SAVED, message((1, 2))),
        "changes": both + push(0, 0, 6) + request + change + prepared(0, 3, 6) + answer(0, 0) + prepared(1, 3)
        + record(0, CODES, codes(3, 6, 3)) + push(1, 0, 6) + request + answer(0, 1, 3) + answer(1, 1, 3) + answer(1, 0)
        + record(1, CODES, codes(3, 6, 3)) + push(1, 6, 1),
        "changes-often": both + (change + prepared(0, 3) + prepared(1, 3)) + (change + prepared(0, 4) + prepared(1, 4)) * 2,
        "changes-alone": change + both + change,
        "changes-refused": both + change + prepared(0, 3, 0, "no such file") + prepared(1, 3) + push(0, 0, 2)
        + push(1, 0, 2),
        "changes-too-slow": both + change + prepared(0, 3) + wait * 50 + push(0, 0, 1),
        "changes-and-goes": both + change + prepared(0, 3) + record(down | 1) + request + answer(0, 0, 3),
        "changes-for-ever": both + push(0, (1 << 64) - 3, 2) + change + prepared(0, 3, (1 << 64) - 1) + prepared(1, 3)
        + wait,
        "prepared-unasked": both + prepared(0, 3),
        "coded": record(0, HELLO, hello(0, coding=1)) + record(0, READY, message((1, 2))) + node(1)
        + record(0, CODES, coded(*CODED[0])) + record(0, CODES, coded(*CODED[1])) + push(1, 0, 12),
        "coded-unasked": both + record(0, CODES, coded(*CODED[0])),
        "coded-twice": record(0, HELLO, hello(0, coding=1)) + record(0, READY, message((1, 2)))
        + record(0, CODES, coded(*CODED[0])) + record(0, CODES, coded(*CODED[1])) * 2,
        "coding-unknown": record(0, HELLO, hello(0, coding=9)) + record(0, READY, message((1, 2))) + push(0, 0, 6),
        "stops": both + push(0, 0, 3) + request + record(stops) + request + push(1, 0, 2) + answer(0, 0),
        "malformed": both + record(0, CODES, b"\x22\x7f") + record(1, 40, b"!"),
    }


def server_refinement_seeds():
    """Codes of one bit, then three bits more of every sample, for a fleet of two."""
    down, asked, later, _, changes, stops = (n << 2 for n in range(1, 7))

    def node(k):
        return record(k, HELLO, hello(k)) + record(k, READY, message((1, 2)))

    both = node(0) + node(1)
    push = lambda k, first, n, model=2: record(k, CODES, codes(model, first, n, b"\x00" * ((n + 7) // 8)))
    answer = lambda k, n, model=2: record(k, ANSWER, codes(model, n, 1, b"\x01"))

    def refinement(k, first, n, gone=(), number=1):
        left = n - len(gone)
        return record(k, REFINEMENT, message((1, number), (2, first), (3, b"\x00" * ((3 * left + 7) // 8)),
                                        *([(4, packed(*gone))] if gone else [])))

    request = record(asked, PING, bytes(range(200)))
    wait = record(later, PING, b"\xff")
    change = record(changes)
    prepared = lambda k, model, start=0: record(k, PREPARED, message((1, model), (2, start), (3, "")))
    first = both + push(0, 0, 3) + push(1, 0, 3)
    live = both + request + answer(0, 0) + answer(1, 0)
    return {
        "both-rounds": first + refinement(0, 0, 3) + refinement(1, 0, 3),
        "many": both + push(0, 0, 1200) + push(1, 0, 1200) + refinement(0, 0, 1000) + refinement(1, 0, 1000) + refinement(1, 1000, 200)
        + refinement(0, 1000, 200),
        "live": live + refinement(1, 0, 1) + refinement(0, 0, 1),
        "live-and-pushed": live + push(0, 0, 2) + push(1, 0, 2) + refinement(0, 0, 1) + refinement(0, 0, 2) + refinement(1, 0, 1)
        + refinement(1, 0, 2),
        "gone": first + refinement(0, 0, 3, (0, 2)) + refinement(1, 0, 3, (0, 1, 2)),
        "gone-twice": first + refinement(0, 0, 3, (1, 1)),
        "gone-beyond": first + refinement(0, 0, 3, (3,)),
        "too-few-bits": first + refinement(0, 0, 2) + refinement(1, 0, 3),
        "another-round": first + refinement(0, 0, 3, number=2),
        "another-first": first + refinement(0, 1, 3),
        "unasked": both + refinement(0, 0, 1),
        "twice": first + refinement(0, 0, 3) * 2,
        "late": first + refinement(0, 0, 3) + wait + refinement(1, 0, 3),
        "never": first + wait,
        "node-lost": first + record(down | 1) + refinement(0, 0, 3) + node(1) + push(1, 3, 2) + push(0, 3, 2) + refinement(1, 3, 2),
        "request-node-lost": live + refinement(0, 0, 1) + record(down | 1),
        "one-portion": node(0) + request + answer(0, 0) + refinement(0, 0, 1),
        "changes": first + change + prepared(0, 3, 3) + prepared(1, 3, 3) + refinement(0, 0, 3) + push(0, 3, 1, 3) + refinement(1, 0, 3)
        + push(1, 3, 1, 3) + refinement(0, 3, 1) + refinement(1, 3, 1),
        "stops": first + record(stops) + refinement(0, 0, 3) + wait,
        "all-bits-at-once": both + record(0, CODES, codes(2, 0, 3)),
    }


def request_seeds():
    get = b"GET /v1/results HTTP/1.1\r\nHost: here\r\n"
    batch = b"POST /v1/classify HTTP/1.1\r\nHost: here\r\nContent-Type: multipart/form-data; boundary=BB\r\n\r\n"
    return {
        "get": get + b"\r\n",
        "post": b"POST /v1/classify HTTP/1.1\r\nHost: here\r\nContent-Type: image/png\r\nContent-Length: 5\r\n\r\nhello",
        "chunked": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "newlines-alone": b"GET / HTTP/1.0\nA: b\n\n",
        "empty-lines-before": b"\r\n\n" + get + b"\r\n",
        "folded": get + b"A: b\r\n  c\r\n\r\n",
        "two-lengths": get + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "no-length": get + b"Content-Length: -1\r\n\r\n",
        "long-length": get + b"Content-Length: 99999999999999999999999\r\n\r\n",
        "no-name": get + b": value\r\n\r\n",
        "no-colon": get + b"Accept\r\n\r\n",
        "other-version": b"GET / HTTP/2.0\r\n\r\n",
        "no-version": b"GET /\r\n\r\n",
        "no-http": b"\x16\x03\x01\x02\x00\x01\x00",
        "zeroes": get + b"A: \0\0\r\n\r\n",
        "long-target": b"GET /" + b"x" * 12300,
        "long-head": get + b"A: " + b"x" * 12300,
        "many-lines": get + b"A: b\r\n" * 300 + b"\r\n",
        "half": get[:30],
        "absolute": b"GET http://[::1]:80/v1/%63lassify/../x?y HTTP/1.1\r\nHost: here\r\nOrigin: http://there\r\n\r\n",
        "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: here:80\r\n\r\n",
        "authority": b"CONNECT here:80 HTTP/1.1\r\nHost: here:80\r\n\r\n",
        "fields": get + b"Connection: close, x\r\nExpect: 100-continue\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n",
        "chunks": b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n00A \t;z\r\n"
        b"0123456789\r\n0\r\nA: b\r\n\r\nGET",
        "parts": batch + b"preamble\r\n--BB\r\nContent-Type:\r\n image/png\r\n\r\n1\r\n--B\r\n--BB \t\r\n\r\n\r\n--BB\r\n"
        b"X: y\r\n--BB--\r\nepilogue",
        "parts-quoted": batch.replace(b"=BB", b'="B B"; x="; boundary=Y"') + b"--B B\r\n\r\n1\r\n--B B--",
        "parts-many": batch + b"--BB\r\n\r\n1\r\n" * 9 + b"--BB--",
        "parts-damaged": batch + b"--BB\r\nno field\r\n\r\n1\r\n--BB--",
        "parts-empty": batch + b"--BB--",
        "empty": b"",
    }


def records_seeds():
    ten, hundred = bytes([7]) + bytes(i % 251 for i in range(3072)), bytes([3, 99]) + bytes(range(256)) * 12
    return {
        "one": b"\0" + ten,
        "three": b"\0" + 3 * ten,
        "one-of-100": b"\1" + hundred,
        "two-of-100": b"\1" + 2 * hundred,
        "label-10": b"\0" + b"\x0a" + ten[1:],
        "label-100": b"\1" + b"\0\x64" + hundred[2:],
        "truncated": b"\0" + ten[:-1],
        "too-long": b"\0" + ten + b"x",
        "of-the-other": b"\1" + ten,
        "empty": b"\0",
    }


def idx(dims, kind=8, zero=b"\0\0", values=None):
    count = 1
    for d in dims:
        count *= d
    values = bytes(i % 251 for i in range(count)) if values is None else values
    return zero + bytes([kind, len(dims)]) + b"".join(struct.pack(">I", d) for d in dims) + values


def idx_seeds():
    small = idx([2, 3])
    zipped = gzip.compress(idx([3, 4, 5]), mtime=0)
    return {
        "rank-1": idx([7]),
        "rank-2": small,
        "rank-4": idx([2, 1, 3, 2]),
        "gzipped": zipped,
        "gzipped-twice": gzip.compress(small[:9], mtime=0) + gzip.compress(small[9:], mtime=0),
        "well-packed": gzip.compress(idx([64, 28, 28], values=bytes(64 * 784)), mtime=0),
        "truncated": small[:-1],
        "too-long": small + b"x",
        "header-only": small[:12],
        "half-a-header": small[:6],
        "empty": b"",
        "no-idx": b"PK\x03\x04 not this",
        "other-type": idx([2, 3], kind=0x0d),
        "rank-0": b"\0\0\x08\0",
        "rank-5": idx([1, 1, 1, 1, 1]),
        "size-0": idx([2, 0, 3]),
        "too-large": idx([0xffffffff, 0xffffffff], values=b"abc"),
        "runs-over": idx([65536, 65536, 65536, 65536], values=b"abc"),
        "promises-too-much": idx([1 << 19], values=b"abc"),
        "promises-far-too-much": idx([1 << 14, 1 << 13], values=b"abc"),
        "gzip-truncated": zipped[:-9],
        "gzip-bad-crc": zipped[:-8] + b"\0\0\0\0" + zipped[-4:],
        "gzip-bomb": gzip.compress(idx([1 << 20], values=bytes(1 << 20)), mtime=0),
    }


def npy(dims, descr="|u1", values=None, order="False", version=(1, 0), header=None, claims=None):
    shape = f"({dims[0]},)" if len(dims) == 1 else str(tuple(dims))
    text = header or f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}"
    text = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text) if claims is None else claims)
    size = int(descr[2:]) if descr[2:].isdigit() else 1
    return (b"\x93NUMPY" + bytes(version) + length + text +
            (values if values is not None else bytes(math.prod(dims) * size)))


def npy_seeds():
    """Byte 0: 0 to bytes, 1 to floats; then the file."""
    kinds = ("|u1", "|i1", "<u2", ">i2", "<u4", ">i4", "<i8", ">u8", "<f2", "<f4", ">f4", "<f8")
    seeds = {f"kind-{i}": bytes([i % 2]) + npy([2, 3], kind) for i, kind in enumerate(kinds)}
    files = {
        "values": npy([4], "<f4", struct.pack("<4f", 1.5, -2, 1e30, 0)),
        "infinite": npy([2, 2], "<f4", struct.pack("<4f", 1, 2, 3, math.inf)),
        "too-large-for-f32": npy([2], "<f8", struct.pack("<2d", 1, 1e300)),
        "half": npy([3], "<f2", b"\x00\x3c\x01\x00\xff\x7b"),
        "version-2": npy([3], version=(2, 0)), "version-3": npy([3], version=(3, 0)), "version-4": npy([3], version=(4, 0)),
        "rank-4": npy([1, 2, 3, 4]), "rank-5": npy([1, 1, 1, 1, 1]), "rank-0": npy([], header="{'descr': '|u1', 'fortran_order': False, 'shape': (), }"),
        "size-0": npy([2, 0]), "fortran": npy([2, 3], order="True"), "truth": npy([2], "|b1"), "object": npy([2], "|O8"),
        "structure": npy([1], header="{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }"),
        "huge": npy([4294967295, 4294967295], values=b"abc"), "runs-over": npy([65536] * 4, values=b"abc"),
        "short": npy([9])[:-1], "long": npy([9]) + b"x", "header-lies": npy([3], claims=9000), "header-cut": npy([3])[:20],
        "twice": npy([3], header="{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (3,), }"),
        "other-order": npy([3], header="{ 'shape': ( 3, ), \"fortran_order\":False,'descr' :'|u1'}"),
        "no-npy": b"PK\x03\x04", "empty": b"",
    }
    return {**seeds, **{name: b"\1" + file for name, file in files.items()}}


def portion_digest(shape, train, test, ids):
    numbers = struct.pack("<10I", 0, len(shape), *[*shape, 0, 0][:3], 6, 4, 1, 0, 0)
    of_ids = hashlib.sha256(struct.pack("<2I", 6, 4) + ids.replace(b"\n", b"\0")).hexdigest()
    return hashlib.sha256(numbers + train + test + of_ids.encode()).hexdigest()


def portion_json(**changes):
    digest = portion_digest([1, 7, 28], bytes(6 * 196), bytes(4 * 196), b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n")
    described = {"format": 2, "dataset": "mnist", "portion": "1", "type": "u8", "shape": [1, 7, 28], "train_samples": 6,
                 "validation_samples": 0, "test_samples": 4, "ids": "listed", "digest": digest,
                 "partition": {"kind": "slices", "portions": 4, "portion": 1, "sample_shape": [1, 28, 28]}}
    described.update(changes)
    return json.dumps({k: v for k, v in described.items() if v is not None}).encode()


def portion_seeds():
    cut = {"kind": "slices", "portions": 4, "portion": 1, "sample_shape": [1, 28, 28]}
    manifests = {
        "good": portion_json(),
        "whole": portion_json(partition=None),
        "other-format": portion_json(format=1),
        "other-shape": portion_json(shape=[1, 14, 14], partition=None),
        "other-type": portion_json(type="f32", partition=None),
        "counted": portion_json(ids="counted"),
        "other-digest": portion_json(digest="0" * 64),
        "short-digest": portion_json(digest="00"),
        "upper-digest": portion_json(digest="A" * 64),
        "scaled": portion_json(mean=[0.5], std=[0.25]),
        "scaled-by-0": portion_json(mean=[0.5], std=[0]),
        "scaled-for-two": portion_json(mean=[0.5, 1], std=[0.25, 1]),
        "columns": portion_json(columns=[{"name": "age", "kind": "number"}]),
        "portion-too-high": portion_json(partition={**cut, "portion": 4}),
        "many-portions": portion_json(partition={**cut, "portions": 65}),
        "cut-otherwise": portion_json(partition={**cut, "portions": 2}),
        "negative": portion_json(train_samples=-6),
        "fraction": portion_json(train_samples=6.0),
        "huge": portion_json(train_samples=4294967295, shape=[1048576, 1, 1], partition=None),
        "huge-shape": portion_json(shape=[1048576, 1048576, 1048576]),
        "no-samples": portion_json(test_samples=0),
        "all-held-back": portion_json(validation_samples=6),
        "two-sizes": portion_json(shape=[14, 14], partition=None),
        "field-missing": portion_json(dataset=None),
        "field-unknown": portion_json(owner="me"),
        "odd-name": portion_json(dataset="../mnist"),
        "odd-portion": portion_json(portion="../1"),
        "long-name": portion_json(dataset="m" * 32),
        "no-object": b"[]",
        "no-json": b"{",
        "twice": b'{"portion": 1, "portion": 1}',
        "deep": b"[" * 3000,
    }
    seeds = {name: b"\0" + text for name, text in manifests.items()}
    train = npy([6, 1, 7, 28])
    seeds["train-good"] = b"\1" + train
    seeds["train-other"] = b"\1" + train[:-1] + b"\1"
    seeds["train-fewer"] = b"\1" + npy([5, 1, 7, 28])
    seeds["train-short"] = b"\1" + train[:40]
    seeds["train-of-another-kind"] = b"\1" + npy([6, 1, 7, 28], "<i2")
    seeds["test-good"] = b"\2" + npy([4, 1, 7, 28])
    seeds["test-rank-2"] = b"\2" + npy([4, 196])
    ids = {"good": b"a\nb\nc\nd\ne\nf\n", "twice": b"a\na\nc\nd\ne\nf\n", "elsewhere": b"a\nb\nc\nd\ne\ng\n",
           "fewer": b"a\nb\n", "no-end": b"a\nb\nc\nd\ne\nf", "empty": b"\n\n\n\n\n\n", "zero": b"a\0\nb\nc\nd\ne\nf\n",
           "long": b"x" * 65 + b"\nb\nc\nd\ne\nf\n", "no-utf8": b"\xff\nb\nc\nd\ne\nf\n", "control": b"\x1b\nb\nc\nd\ne\nf\n"}
    seeds.update({f"ids-{name}": b"\3" + text for name, text in ids.items()})
    seeds["test-ids"] = b"\4g\nh\ni\nj\n"
    return seeds


def labels_json(**changes):
    described = {"format": 2, "dataset": "mnist", "classes": [str(c) for c in range(10)], "train_samples": 8,
                 "validation_samples": 0, "test_samples": 6, "ids": "counted",
                 "partition": {"kind": "slices", "portions": 2, "sample_shape": [1, 28, 28]},
                 "portion_digests": {"0": "0" * 64, "1": "1" * 64}}
    described.update(changes)
    return json.dumps({k: v for k, v in described.items() if v is not None}).encode()


def labels_seeds():
    def cut(kind, portions, shape=(1, 28, 28)):
        return {"kind": kind, "portions": portions, "sample_shape": list(shape)}

    four = {str(k): "a" * 64 for k in range(4)}
    manifests = {
        "good": labels_json(),
        "own-data": labels_json(partition=None, portion_digests=None),
        "own-portions": labels_json(partition=None, portion_digests={"host": "a" * 64, "guest.2": "b" * 64}),
        "other-format": labels_json(format=1),
        "classes-few": labels_json(classes=["0"] + [str(c) for c in range(2, 10)]),
        "classes-many": labels_json(classes=[str(c) for c in range(101)]),
        "classes-twice": labels_json(classes=["a", "a"]),
        "class-odd": labels_json(classes=["a", "b\n"]),
        "quadrants": labels_json(partition=cut("quadrants", 4), portion_digests=four),
        "planes": labels_json(partition=cut("planes", 2)),
        "uneven": labels_json(partition=cut("slices", 5)),
        "digest-missing": labels_json(portion_digests={"0": "0" * 64}),
        "digest-wrong": labels_json(portion_digests={"0": "0" * 64, "1": 7}),
        "digests-of-others": labels_json(portion_digests={"a": "0" * 64, "b": "1" * 64}),
        "no-portions": labels_json(partition=cut("slices", 0), portion_digests={}),
        "shape-runs-over": labels_json(partition=cut("slices", 2, [1048576, 1048576, 1048576])),
        "samples-many": labels_json(train_samples=1 << 28),
        "listed": labels_json(ids="listed"),
        "field-missing": labels_json(classes=None),
        "no-json": b"\xff\xfe",
    }
    seeds = {name: b"\0" + text for name, text in manifests.items()}
    seeds["train-good"] = b"\1" + npy([8], values=bytes(range(8)))
    seeds["train-out-of-range"] = b"\1" + npy([8], values=bytes(range(3, 11)))
    seeds["train-rank-2"] = b"\1" + npy([4, 2], values=bytes(range(8)))
    seeds["test-good"] = b"\2" + npy([6], values=bytes(range(6)))
    seeds["test-short"] = b"\2" + npy([6], values=bytes(range(5)))
    return seeds


def safetensors(header, values=b"", claims=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text) if claims is None else claims) + text + values


def safetensors_seeds():
    def tensor(shape, begin, end, kind="F32"):
        return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}

    about = {"format": "fewbit-1", "part": "head", "run": "0000000000000007", "step": "2"}
    weight, bias = tensor([2, 3], 0, 24), tensor([3], 24, 36)
    good = {"__metadata__": about, "w.weight": weight, "w.bias": bias}
    values = bytes(range(36))
    return {
        "good": safetensors(good, values),
        "no-tensors": safetensors({}),
        "scalar": safetensors({"s": tensor([], 0, 4)}, b"abcd"),
        "empty-tensor": safetensors({"e": tensor([0, 5], 0, 0), "s": tensor([1], 0, 4)}, b"abcd"),
        "no-metadata": safetensors({"w": tensor([9], 0, 36)}, values),
        "out-of-order": safetensors({"w.bias": bias, "w.weight": weight}, values),
        "overlap": safetensors({"a": tensor([6], 0, 24), "b": tensor([6], 12, 36)}, values),
        "gap": safetensors({"a": tensor([3], 0, 12), "b": tensor([3], 24, 36)}, values),
        "behind": safetensors(good, values + b"more"),
        "beyond": safetensors(good, values[:-4]),
        "shape-lies": safetensors({"a": tensor([2, 2], 0, 36)}, values),
        "shape-runs-over": safetensors({"a": tensor([1 << 31, 1 << 31, 1 << 2], 0, 36)}, values),
        "rank-5": safetensors({"a": tensor([1, 1, 1, 1, 9], 0, 36)}, values),
        "negative-size": safetensors({"a": tensor([-9], 0, 36)}, values),
        "negative-offset": safetensors({"a": tensor([9], -36, 0)}, values),
        "offsets-backwards": safetensors({"a": tensor([9], 36, 0)}, values),
        "other-type": safetensors({"a": tensor([18], 0, 36, "F16")}, values),
        "no-offsets": safetensors({"a": {"dtype": "F32", "shape": [9]}}, values),
        "tensor-is-no-object": safetensors({"a": 7}, values),
        "metadata-is-no-object": safetensors({"__metadata__": [1], "a": tensor([9], 0, 36)}, values),
        "header-lies": safetensors(good, values, claims=1 << 40),
        "header-too-long": safetensors(good, values, claims=(1 << 20) + 1),
        "header-is-no-object": safetensors(b"[1, 2]  "),
        "header-is-no-json": safetensors(b"{\"a\": "),
        "twice": safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],'
                             b'"data_offsets":[0,4]}}', b"abcd"),
        "short": b"\x08\0\0\0",
    }


def experiment_seeds():
    papers = sorted((HERE.parents[1] / "experiments/paper").glob("row-*.yaml"))[::3]
    seeds = {path.stem: path.read_bytes() for path in papers}
    small = experiment()
    change = lambda old, new: small.replace(old, new, 1).encode()
    seeds.update({
        "small": small.encode(),
        "listed": (re.sub(r"(?m)^  (partition|portions): .*\n", "", small).replace("name: mnist", "name: own") +
                   "portions:\n  - {name: guest, shape: [10], type: f32, encoder: {bits: 4, hidden: 32}}\n"
                   "  - name: host.2\n    shape: [3, 20]\n    type: u8\n    encoder:\n      bits: 7\n").encode(),
        "nets": small.replace("  hidden: 8\n", "").replace(
            "net: simple-1d", "net: [two, {residual: {main: [one], shortcut: [{convolution: {outputs: 4, kernel: 1, bias: "
            "false}}]}}, {adaptive_average_pool: [2, 1]}, {dropout: 0.2}, flatten, {dense: bits}]").replace(
            "net: linear", "net: [{dense: 16}, {unflatten: [1, 4, 4]}, {upsample: 8}]").replace(
            "net: mnist", "net: [{average_pool: 2}, {residual: [sigmoid]}, flatten, {dense: classes}]").encode() +
        b"nets:\n  one: [{convolution: {outputs: 4, kernel: 3, stride: 1, padding: 1}}, {batch_norm: {affine: false}}]\n"
        b"  two: [one, relu, {max_pool: 2}]\n",
        "full": experiment(portions=1, extra="  checkpoint_every: 5\n  evaluate_every: 7\n  early_stopping_patience: 3\n"
                           "  keep_best: true\npaper:\n  row: 3\n  epochs: 10\n  train: 98.1\n  rounded: 96.56\n")
        .replace("  portions: 1\n", "  portions: 1\n  mean: 0.1307\n  std: 0.3081\n  validation: 5000\n").encode(),
        "cifar-planes": small.replace("name: mnist", "name: cifar10").replace("slices", "planes")
        .replace("portions: 4", "portions: 3").encode(),
        "momentum": change("learning_rate: 0.25", "learning_rate: 0.25\n  momentum: 0.9"),
        "many-digits": change("learning_rate: 0.25", "learning_rate: 0.0123456"),
        "tiny-rate": change("0.25", "1e-9"),
        "rate-inf": change("0.25", "inf"),
        "rate-nan": change("0.25", "nan"),
        "rate-0": change("0.25", "0"),
        "seed-large": change("seed: 1", "seed: 18446744073709551615"),
        "seed-negative": change("seed: 1", "seed: -1"),
        "uneven": change("portions: 4", "portions: 5"),
        "portions-65": change("portions: 4", "portions: 65"),
        "portions-large": change("portions: 4", "portions: 4294967300"),
        "set-unknown": change("mnist", "imagenet"),
        "set-long": change("mnist", "m" * 64),
        "key-unknown": change("  hidden: 8", "  hiden: 8"),
        "key-twice": change("  hidden: 8", "  hidden: 8\n  hidden: 9"),
        "key-missing": change("  seed: 1\n", ""),
        "text-for-number": change("bits: 4", "bits: four"),
        "list-for-section": change("decoder:\n  net: linear", "decoder: [linear]"),
        "alias": change("name: small", "name: &a small\ntitle: *a"),
        "title-quoted": change("name: small", "name: small\ntitle: \"a: 'b' # c \\u00e4 \\t \\\" %\""),
        "title-odd": change("name: small", "name: small\ntitle: \"\\x85\\u2028 null ~ 007\""),
        "title-controls": change("name: small", "name: small\ntitle: \"\\x01\\x7f\\x80\\x9f\\uFEFF\\uFFFE\""),
        "name-empty": change("name: small", "name: \"\""),
        "name-folded": change("name: small", "name: >\n  small\n  one\n"),
        "batch-1-norm": small.replace("batch_size: 4", "batch_size: 1").replace("batch_norm: false", "batch_norm: true").encode(),
        "largest-nets": small.replace("hidden: 8", "hidden: 65536").replace("batch_size: 4", "batch_size: 8192").encode(),
        "empty": b"",
        "comment": b"# nothing\n",
        "null": b"~\n",
        "no-yaml": b"\t- [ {",
        "no-utf-8": b"name: \xff\xfe\xfd\n",
        "two-documents": small.encode() + b"---\n" + small.encode(),
        "deep": b"name: " + b"[" * 500,
        "tag": change("name: small", "name: !!str small"),
        "bom": b"\xef\xbb\xbf" + small.encode(),
        "utf-16": small.encode("utf-16"),
    })
    return seeds


def manifest(**changes):
    commit = {"step": 2, "epoch": 1, "batch": 0, "evaluations": 1, "loss_sum": 0.0, "correct": 0, "seen": 0,
              "head": "H" * 64, "encoders": ["00" * 32, "11" * 32]}
    evaluation = {"epoch": 1.0, "loss": 2.25, "train_accuracy": 50.0, "soft_accuracy": 33.3,
                  "rounded_accuracy": 16.7, "validation_accuracy": 0.0, "seconds": 0.125}
    described = {"run": "RUNRUNRUNRUNRUN!", "last": commit, "evaluations": [evaluation]}
    for key, value in changes.items():
        if key in commit and not (key == "evaluations" and isinstance(value, list)):
            described["last"] = {**described["last"], key: value}
        else:
            described[key] = value
    return described


def run_manifest_seeds():
    commit = manifest()["last"]
    best = {**commit, "step": 1}
    described = {
        "good": manifest(),
        "best": manifest(best=best, best_evaluation=0),
        "best-null": manifest(best=None),
        "best-out-of-range": manifest(best=best, best_evaluation=1),
        "within-an-epoch": manifest(batch=1, loss_sum=9.21034037197618, correct=3, seen=4, step=1, epoch=0),
        "other-run": manifest(run="0123456789abcdef"),
        "no-run": manifest(run=7),
        "evaluations-missing": manifest(evaluations=[]),
        "evaluations-many": manifest(evaluations=manifest()["evaluations"] * 2),
        "evaluation-empty": manifest(evaluations=[{}]),
        "negative": manifest(step=-1, epoch=-1, batch=-1),
        "large": manifest(step=9223372036854775807, epoch=4294967297, batch=2147483648),
        "far-batch": manifest(batch=1000000, epoch=0),
        "loss-text": manifest(loss_sum="much"),
        "one-encoder": manifest(encoders=["00" * 32]),
        "three-encoders": manifest(encoders=["00" * 32] * 3),
        "other-head": manifest(head="ab" * 32),
        "all-epochs": manifest(epoch=2),
        "all-epochs-untested": {**manifest(epoch=2, evaluations=0), "evaluations": []},
        "last-batch": manifest(batch=2, epoch=0),
        "many-encoders": manifest(encoders=["00" * 32] * 70),
        "digest-short": manifest(head="ab"),
        "digest-blanks": manifest(head=" a" * 32),
        "digest-signs": manifest(head="+a-b" * 16),
        "no-commit": manifest(last=None),
    }
    seeds = {name: json.dumps(value).encode() for name, value in described.items()}
    seeds.update({"empty": b"", "list": b"[]", "half": seeds["good"][:100], "deep": b'{"a":' * 2100,
                  "loss-too-large": seeds["good"].replace(b'"loss_sum": 0.0', b'"loss_sum": 1e999')})
    return seeds


def chunk(kind, body, crc=None):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) if crc is None else crc)


def png(width=28, height=28, depth=8, colour=0, interlace=0, rows=None, before=b"", claims=None):
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    line = (width * samples * depth + 7) // 8
    if rows is None:
        rows = b"".join(b"\0" + bytes((x * 7 + y) % (4 if colour == 3 else 256) for x in range(line))
                        for y in range(height))
    shown = claims or (width, height)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *shown, depth, colour, 0, 0, interlace))
            + before + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def jpeg(width=28, height=28, mode="L", **how):
    out = io.BytesIO()
    picture = Image.frombytes("L", (width, height), bytes((x * 7 + y * 3) % 256 for y in range(height)
                                                          for x in range(width)))
    picture.convert(mode).save(out, "JPEG", **how)
    return out.getvalue()


def jpeg_seeds():
    good = jpeg()
    frame = good.index(b"\xff\xc0")
    return {
        "jpeg-grey": good,
        "jpeg-colour": jpeg(32, 32, "RGB", subsampling=0),
        "jpeg-colour-small": jpeg(28, 28, "RGB"),
        "jpeg-progressive": jpeg(progressive=True),
        "jpeg-progressive-colour": jpeg(32, 32, "RGB", progressive=True),
        "jpeg-optimised": jpeg(optimize=True, quality=10),
        "jpeg-cmyk": jpeg(mode="CMYK"),
        "jpeg-other-width": jpeg(27, 28),
        "jpeg-huge": good[:frame + 5] + b"\xea\x60\xea\x60" + good[frame + 9:],
        "jpeg-truncated": good[:-20],
        "jpeg-header-only": good[:frame + 12],
        "jpeg-comment": good[:2] + b"\xff\xfe\x00\x08remark" + good[2:],
        "jpeg-garbage": good[:-60] + bytes(range(40)) + good[-20:],
        **{f"jpeg-orientation-{o}": good[:2] + b"\xff\xe1\x00\x22Exif\0\0" + orientation(o) + good[2:] for o in (1, 6, 9)},
        "jpeg-orientation-cut": good[:2] + b"\xff\xe1\x00\x14Exif\0\0" + orientation(6)[:12] + good[2:],
        "jpeg-rgb": good[:2] + b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\0" + jpeg(mode="RGB", subsampling=0)[20:],
        "jpeg-arithmetic": good[:frame + 1] + b"\xc9" + good[frame + 2:],
        "jpeg-12-bit": good[:frame + 4] + b"\x0c" + good[frame + 5:],
        "jpeg-comments": good[:2] + b"\xff\xfe\0\2" * 1100 + good[2:],
        "jpeg-scans": many_scans(70),
        "jpeg-two-frames": good[:frame] + good[frame:frame + 13] + good[frame:],
    }


def many_scans(count):
    """Grey everywhere, in a scan of the means and one for each other coefficient."""
    table = b"\xff\xc4\0\x14%c\1" + bytes(15) + b"%c"
    scan = b"\xff\xda\0\x08\1\1\0%c%c%c%s"
    turns = [(k, bits) for bits in (2, 0x21, 0x10) for k in range(1, 64)][:count - 1]
    return (b"\xff\xd8\xff\xdb\0\x43\0" + b"\1" * 64 + b"\xff\xc2\0\x0b\x08\0\x1c\0\x1c\1\1\x11\0" + table % (0, 0) +
            table % (0x10, 0x40) + scan % (0, 0, 0, bytes(2)) +
            b"".join(scan % (k, k, bits, b"\7") for k, bits in turns) + b"\xff\xd9")


def orientation(value):
    return b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([value]) + bytes(6)


def image_seeds():
    palette = chunk(b"PLTE", bytes(range(12)))
    good = png()
    return {
        "grey": good,
        "grey-1-bit": png(depth=1),
        "grey-16-bit": png(depth=16),
        "colour": png(32, 32, colour=2),
        "colour-small": png(colour=2),
        "palette": png(colour=3, before=palette),
        "palette-clear": png(colour=3, before=palette + chunk(b"tRNS", b"\0\x40\x80")),
        "grey-alpha": png(colour=4),
        "colour-alpha": png(32, 32, colour=6),
        "interlaced": png(interlace=1, rows=bytes(28 * 28 + 100)),
        "interlaced-16-bit": png(depth=16, interlace=1, rows=bytes(2 * 28 * 28 + 100)),
        **{f"orientation-{o}": png(before=chunk(b"eXIf", orientation(o))) for o in (1, 6, 9)},
        "orientation-cut": png(before=chunk(b"eXIf", orientation(6)[:12])),
        "clear-16-bit": png(depth=16, before=chunk(b"tRNS", b"\0\7")),
        "clear-colour": png(32, 32, colour=2, before=chunk(b"tRNS", bytes(6))),
        "critical-chunk": png(before=chunk(b"CgBI", bytes(4))),
        "one-byte-data": good[:33] + b"".join(chunk(b"IDAT", bytes([byte])) for byte in good[41:-16]) + good[-12:],
        "many-chunks": png(before=chunk(b"teXt", b"") * 5000),
        "data-behind": good[:-16] + bytes(20000) + good[-16:],
        "filters": png(rows=b"".join(bytes([y % 5]) + bytes(28) for y in range(28))),
        "gamma": png(before=chunk(b"gAMA", struct.pack(">I", 45455))),
        "text": png(before=chunk(b"tEXt", b"Title\0two") + chunk(b"zTXt", b"T\0\0" + zlib.compress(b"z" * 9000))),
        "text-claims-much": good[:33] + struct.pack(">I", 0x7000000) + b"tEXtTitle\0two" + good[33:],
        "palette-missing": png(colour=3),
        "palette-short": png(colour=3, before=chunk(b"PLTE", b"\1\2\3")),
        "other-width": png(27, 28),
        "other-height": png(28, 29),
        "huge": png(claims=(0x7fffffff, 0x7fffffff)),
        "size-0": png(claims=(0, 28)),
        "too-few-rows": png(rows=bytes(29 * 20)),
        "too-many-rows": png(rows=bytes(29 * 40)),
        "filter-unknown": png(rows=b"\x09" + bytes(29 * 28 - 1)),
        "truncated": good[:-30],
        "header-only": good[:33],
        "bad-crc": good.replace(good[29:33], b"\0\0\0\0", 1),
        "depth-3": png(depth=8).replace(b"\x08\0\0\0\0", b"\x03\0\0\0\0", 1),
        "raw": bytes(784),
        "no-png": b"GIF89a",
        "empty": b"",
        **jpeg_seeds(),
    }


def tls_record(kind, body, claims=None, version=0x0303):
    return struct.pack(">BHH", kind, version, len(body) if claims is None else claims) + body


def client_hello(versions=(0x0304, 0x0303), share=32, extra=b"", claims=None):
    def extension(kind, body):
        return struct.pack(">HH", kind, len(body)) + body
    offered = b"".join(struct.pack(">H", v) for v in versions)
    extensions = (extension(43, bytes([len(offered)]) + offered)
                  + extension(10, struct.pack(">HHH", 4, 29, 23)) + extension(13, struct.pack(">HHH", 4, 0x0403, 0x0804))
                  + extension(51, struct.pack(">HHH", 4 + share, 29, share) + bytes(range(share))) + extra)
    body = (struct.pack(">H", 0x0303) + bytes(range(32)) + b"\0" + struct.pack(">HHHH", 6, 0x1301, 0x1302, 0xc02b) + b"\1\0"
            + struct.pack(">H", len(extensions)) + extensions)
    return b"\x01" + (len(body) if claims is None else claims).to_bytes(3, "big") + body


def tls_seeds():
    no_handshake, written, changed, no_records = (bytes([way, 0]) for way in range(4))
    cut = bytes([3, 0, 4, 100])  # a byte, five, a hundred and one
    hello = tls_record(22, client_hello(), version=0x0301)
    stream = frame(HELLO, b"abc") + frame(PING) + frame(CODES, b"x" * 400)
    garbage = bytes(x * 73 % 256 for x in range(300))
    bad_alert = tls_record(21, b"\2\x30")
    return {
        "hello": no_handshake + hello,
        "hello-in-pieces": bytes([0]) + cut + hello,
        "hello-then-garbage": no_handshake + hello + tls_record(23, garbage),
        "hello-then-alert": no_handshake + hello + bad_alert,
        "hello-twice": no_handshake + hello * 2,
        "hello-in-two-records": no_handshake + tls_record(22, client_hello()[:60]) + tls_record(22, client_hello()[60:]),
        "hello-1.2": no_handshake + tls_record(22, client_hello(versions=(0x0303,))),
        "hello-1.1": no_handshake + tls_record(22, client_hello(versions=(0x0302,))),
        "hello-bad-share": no_handshake + tls_record(22, client_hello(share=31)),
        "hello-claims-much": no_handshake + tls_record(22, client_hello(claims=0xffffff)),
        "hello-strange-extension": no_handshake + tls_record(22, client_hello(extra=b"\xab\xcd\x00\x02hi")),
        "certificate-first": no_handshake + tls_record(22, b"\x0b\0\0\x04\0\0\0\0"),
        "record-claims-much": no_handshake + tls_record(22, client_hello(), claims=0xffff),
        "plain-text": no_handshake + stream,
        "http": no_handshake + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "written": written + stream,
        "written-in-pieces": bytes([1]) + cut + stream * 3,
        "written-two-records": written + bytes(20000),
        "changed-header": changed + b"\0\0\0" + stream,
        "changed-length": changed + b"\0\0\x20" + stream,
        "changed-body": changed + b"\0\x01\0" + stream,
        "changed-second-record": changed + b"\x02\0\0" + bytes(20000),
        "records": no_records + tls_record(23, garbage),
        "records-short": no_records + tls_record(23, b"\1"),
        "records-empty": no_records + tls_record(23, b"") * 40,
        "records-clear-goodbye": no_records + tls_record(21, b"\1\0"),
        "records-change-cipher": no_records + tls_record(20, b"\1") * 3,
        "records-hello-again": no_records + hello,
        "empty": b"",
    }


def columns_seeds():
    return {
        "row": b"25,A,1.75",
        "missing": b"25,B,\r\n",
        "header": b"height,id,age,blood\n1.5,7,25,A\n",
        "quoted": b'"age","blood","height"\n"25","A","1"\n',
        "mark": b"\xef\xbb\xbfage,blood,height\n1e3,A,-1\n",
        "no-number": b"x,A,1",
        "no-category": b"1,C,1",
        "too-few": b"1,A",
        "too-many-rows": b"age,blood,height\n1,A,1\n1,A,1\n",
        "zero": b"1,A\0,1",
        "open-quote": b'1,"A,1',
    }


def packing_seeds():
    table = "id,x,y,w\n" + "".join(f"p{i},{i / 7:.3f},{i % 2},{'uv'[i % 2]}\n" for i in range(12))
    series = ("# of nobody\n@problemName p\n@timeStamps false\n@univariate false\n@dimensions 2\n@classLabel true a b\n"
              "@data\n" + "".join(f"{i},1.5,-2:3,4,{i}e-1:{'ab'[i % 2]}\n" for i in range(6)))

    def npy(shape, descr, content):
        header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
        header += b" " * (-(len(header) + 11) % 64) + b"\n"
        return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + content

    def npz(kind, **arrays):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", kind) as file:
            for name, content in arrays.items():
                file.writestr(zipfile.ZipInfo(f"{name}.npy"), content, kind)
        return out.getvalue()

    floats = npy((3, 2), "<f4", struct.pack("<6f", *range(6)))
    numbers = npy((4,), "<i8", struct.pack("<4q", 3, 1, -2, 3))
    idx = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 2, 3) + bytes(range(12))
    kinds = {
        "csv": (0, table), "csv-labels": (0x80, table), "csv-mixed": (0, table.replace("0.571", "?")),
        "csv-open-quote": (0, table + '"'), "tsv": (1, table.replace(",", "\t")),
        "ts": (2, series), "ts-labels": (0x82, series), "ts-stamped": (2, series.replace("Stamps false", "Stamps true")),
        "ts-missing": (2, series.replace("1.5", "?")), "npy": (3, floats), "npy-labels": (0x83, numbers),
        "npz": (4, npz(zipfile.ZIP_DEFLATED, x=floats)), "npz-stored": (4, npz(zipfile.ZIP_STORED, x=floats)),
        "npz-two": (4, npz(zipfile.ZIP_DEFLATED, x=floats, y=numbers)), "idx": (5, idx),
    }
    # A kind of 128 and more wants labels; taken modulo 6 it is another one than without.
    return {name: bytes([kind if kind < 0x80 else next(k for k in range(128, 256) if k % 6 == kind - 128)]) +
            (content.encode() if isinstance(content, str) else content) for name, (kind, content) in kinds.items()}


def question_seeds():
    """As fuzz_question has its portions: row f32 [3], wave f32 [2, 3], eye u8 [1, 2, 3], bytes u8 [4]."""
    def parts(*named):
        body = b""
        for name, kind, content in named:
            head = f'--gap\r\nContent-Disposition: form-data; name="{name}"\r\n'
            head += f"Content-Type: {kind}\r\n" if kind else ""
            body += head.encode() + b"\r\n" + content + b"\r\n"
        return b"\x01" + body + b"--gap--\r\n"

    def npy(descr, shape, values):
        text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
        text += b" " * (-(len(text) + 11) % 64) + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + values

    floats = struct.pack("<3f", 1, -2.5, 3e30)
    in_json = lambda text: b"\0" + text.encode()
    return {
        "raw": parts(("row", None, floats), ("wave", "application/octet-stream", floats * 2), ("bytes", "x/y", b"abcd")),
        "npy": parts(("wave", "application/x-npy", npy("<f4", (2, 3), floats * 2)), ("eye", None, npy("|u1", (2, 3), b"123456"))),
        "npy-cut": parts(("row", None, npy("<f8", (3,), floats))),
        "json-parts": parts(("row", "application/json", b"[1, 2.5, -3e3]"), ("wave", "application/json", b"[[1,2,3],[4,5,6]]")),
        "csv": parts(("row", "text/csv", b"a,b\n1,2\n"), ("wave", "text/csv", b"\0")),
        "picture": parts(("eye", "image/png", image_seeds()["no-png"]), ("row", "image/png", b"x")),
        "twice": parts(("row", None, floats), ("row", None, floats)),
        "unknown": parts(("nobody", None, floats)),
        "no-name": b"\x01--gap\r\n\r\nabcd\r\n--gap--\r\n",
        "not-finite": parts(("row", None, struct.pack("<3f", 1, float("nan"), 2))),
        "json": in_json('{"portions": {"row": [1, 2, 3], "eye": [[[1, 2, 3], [4, 5, 6]]], "wave": {"a": 1, "b\\"": "x,\\"y", "c": null}}}'),
        "json-wrong": in_json('{"portions": {"row": [1, [2], 3], "bytes": [256, 0, 0, 0], "eye": 7}}'),
        "json-deep": in_json("[" * 3000),
        "samples": in_json('{"samples": ["a", "\\u00e9", "7"]}'),
        "samples-wrong": in_json('{"samples": ["", 7, "\\n"]}'),
        "both": in_json('{"samples": ["a"], "portions": {}}'),
        "empty": b"",
    }


TARGETS = {
    "frames": frames_seeds,
    "messages": messages_seeds,
    "node": node_seeds,
    "align": align_seeds,
    "server_train": server_train_seeds,
    "server_serve": server_serve_seeds,
    "server_refinement": server_refinement_seeds,
    "request": request_seeds,
    "question": question_seeds,
    "idx": idx_seeds,
    "npy": npy_seeds,
    "records": records_seeds,
    "portion": portion_seeds,
    "labels": labels_seeds,
    "safetensors": safetensors_seeds,
    "experiment": experiment_seeds,
    "run_manifest": run_manifest_seeds,
    "image": image_seeds,
    "tls": tls_seeds,
    "codes": codes_seeds,
    "columns": columns_seeds,
    "packing": packing_seeds,
}


def main():
    root = pathlib.Path(sys.argv[1])
    for target, seeds_of in TARGETS.items():
        folder = root / target
        folder.mkdir(parents=True, exist_ok=True)
        seeds = seeds_of()
        for old in folder.iterdir():
            if old.name not in seeds:
                old.unlink()
        for name, content in seeds.items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""An encoder node in plain Python, from docs/protocol.md and proto/fewbit.proto: an example for nodes in any language.

    plain_node.py HOST:PORT DATA [push]

DATA is the folder of a portion (`fewbit data split` makes it). The encoder is made up and needs no training: bit b says
whether strip b of the portion is bright. With "stream", the codes of the whole test part are sent once serving begins, which ends its stream."""
import io
import json
import pathlib
import re
import socket
import sys

HELLO, WELCOME, REFUSAL, RESTORE, READY, CODES, REQUEST, ANSWER, BEGIN, PING = 1, 2, 3, 4, 5, 9, 13, 14, 15, 16
PREPARE, PREPARED, SWITCH, STREAM_END, REQUEST_ERROR = 17, 18, 19, 23, 25


# Protobuf: fields, each a key (field number * 8 + kind) and a value. Kind 0: a varint, 1: eight bytes,
# 2: a length (varint), then that many bytes. A varint has seven bits a byte, lowest first; the top bit: more follow.
def pack_varint(number):
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + pack_varint(number // 128)


def unpack_varint(stream):
    byte = stream.read(1)[0]
    return byte if byte < 128 else byte - 128 + 128 * unpack_varint(stream)


def pack(fields):  # {field number: int or bytes} -> bytes
    return b"".join(pack_varint(number * 8) + pack_varint(value) if isinstance(value, int) else
                    pack_varint(number * 8 + 2) + pack_varint(len(value)) + value for number, value in fields.items())


def unpack(payload):  # bytes -> {field number: int or bytes}; a field that is 0 or empty may be missing
    fields, stream = {}, io.BytesIO(payload)
    while stream.tell() < len(payload):
        number, kind = divmod(unpack_varint(stream), 8)
        value = stream.read(8) if kind == 1 else unpack_varint(stream)
        fields[number] = stream.read(value) if kind == 2 else value
    return fields


# Frames: length of the payload (three bytes, lowest first), type (one byte), payload.
def send(stream, kind, fields):
    payload = pack(fields)
    stream.write(len(payload).to_bytes(3, "little") + bytes([kind]) + payload)
    stream.flush()


def receive(stream):
    if len(header := stream.read(4)) < 4:
        raise ConnectionError("closed by the server")
    return header[3], unpack(stream.read(int.from_bytes(header[:3], "little")))


def hello(info):  # of samples that are counted
    return {1: 2, 2: b"plain", 4: info["dataset"].encode(), 7: b"".join(map(pack_varint, info["shape"])), 8: info["train_samples"],
            9: info["test_samples"], 10: info["digest"].encode(), 12: info["portion"].encode(), 13: info["type"].encode()}


def encode(portions, count, bits, bright=80):  # [count] portions -> their codes in one stream, the first bit lowest
    size, strip = len(portions) // count, len(portions) // count // bits
    starts = (i * size + b * strip for i in range(count) for b in range(bits))
    return sum((sum(portions[at:at + strip]) > bright * strip) << i
               for i, at in enumerate(starts)).to_bytes((count * bits + 7) // 8, "little")


def serve(host, port, data, push=False):
    info = json.loads((data / "portion.json").read_text())
    stream = (connection := socket.create_connection((host, port))).makefile("rwb")
    send(stream, HELLO, hello(info))
    while True:
        kind, fields = receive(stream)
        if kind == REFUSAL:
            sys.exit(f"refused: {fields[2].decode()}")
        elif kind == WELCOME:
            connection.settimeout(3 * fields[5] / 1000)  # a server silent for longer is dead
            bits = int(re.search(r"(?m)^  bits: (\d+)", fields[4].decode()).group(1))
        elif kind == RESTORE:
            model = fields.get(4, fields.get(1, 0))  # a node with weights would now load those of step fields[1]
            send(stream, READY, {1: fields.get(1, 0), 2: 0 if push else 1})  # 1: no stream
        elif kind == PREPARE:  # another model: a node with weights would load them, and push nothing until SWITCH
            send(stream, PREPARED, {1: fields[1]})  # 2: the sample that it would push next
        elif kind == SWITCH:  # from here on; a node that pushes would send samples below fields[2] with the old model
            model = fields[1]
        elif kind == BEGIN:
            portions, count = (data / "test.npy").read_bytes()[128:], info["test_samples"]  # behind NumPy's header
            send(stream, CODES, {1: model, 2: fields.get(2, 0), 3: count - 1, 4: encode(portions, count, bits)})
            send(stream, STREAM_END, {})
        elif kind == REQUEST and 2 not in fields:  # by a sample's id, fields[4]: this node looks none up
            send(stream, REQUEST_ERROR, {1: fields.get(1, 0), 2: 1})
        elif kind == REQUEST:
            send(stream, ANSWER, {1: model, 2: fields.get(1, 0), 4: encode(fields[2], 1, bits)})
        elif kind == PING:  # the server sends one when it has nothing else to say: answering each is often enough
            send(stream, PING, {})


if __name__ == "__main__":
    serve(*sys.argv[1].rsplit(":", 1), pathlib.Path(sys.argv[2]), "stream" in sys.argv[3:])

#!/usr/bin/env python3
"""Makes inputs for the fuzz targets `line` and `split` of what clients say in tests/transcripts.

Thin them out afterwards, as fuzz/README.md says (`cmin`).
"""
import pathlib
import re

ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def octets(text):
    """What an octet string of a transcript stands for."""
    one = lambda match: bytes([int(match[1], 16)]) if match[1] else ESCAPES[match[2]]
    return re.sub(rb"\\(?:x([0-9a-fA-F]{2})|(.))", one, text)


fuzz = pathlib.Path(__file__).parent
for path in sorted((fuzz.parent / "tests/transcripts").glob("*.txt")):
    said = b""
    for line in path.read_bytes().split(b"\n"):
        head, _, rest = line.partition(b" ")
        rest = re.sub(rb"\$\{(.+?)\*(\d+)\}", lambda match: match[1] * min(int(match[2]), 100), rest)
        if head == b"C:":
            said += rest + b"\r\n"
        elif head in (b"C!", b"C^"):
            said += octets(rest)
        elif head == b"D:":
            said += rest + (b" 192,0,2,2,200,1" if rest == b"PORT" else b"") + b"\r\n"
    for target, before in ("line", b""), ("split", bytes([3, 5, 1, 11])):
        folder = fuzz / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.stem).write_bytes(before + said)

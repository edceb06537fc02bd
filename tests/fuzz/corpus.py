#!/usr/bin/env python3
"""The corpora of the fuzz targets are text files, NAME.corpus, an input a line: \\N is a newline, \\R a return,
\\XNN a byte, and every other backslash itself.

  corpus.py unpack NAME.corpus FOLDER    a file an input, as libFuzzer wants them
  corpus.py line FILE                    prints FILE as such a line: to append a find to its corpus"""

import hashlib
import pathlib
import re
import sys


def unpack(line: bytes) -> bytes:
    def byte(match):
        code = match.group(1)
        return {b"N": b"\n", b"R": b"\r"}.get(code) or bytes([int(code[1:], 16)])

    return re.sub(rb"\\(N|R|X[0-9a-fA-F]{2})", byte, line)


def pack(data: bytes) -> bytes:
    out = bytearray()
    for i, byte in enumerate(data):
        if byte == 0x0A:
            out += b"\\N"
        elif byte == 0x0D:
            out += b"\\R"
        elif byte == 0x5C and data[i + 1 : i + 2] in (b"N", b"R", b"X"):
            out += b"\\X5C"
        elif byte < 0x20 or byte == 0x7F:
            out += b"\\X%02X" % byte
        else:
            out.append(byte)
    try:
        out.decode()
    except UnicodeDecodeError:  # corpora stay readable as UTF-8
        out = b"".join(bytes([b]) if b < 0x80 else b"\\X%02X" % b for b in out)
    return bytes(out)


def main() -> int:
    match sys.argv[1:]:
        case ["unpack", corpus, folder]:
            target = pathlib.Path(folder)
            target.mkdir(parents=True, exist_ok=True)
            for line in pathlib.Path(corpus).read_bytes().split(b"\n")[:-1]:
                data = unpack(line)
                assert unpack(pack(data)) == data
                (target / hashlib.sha1(data).hexdigest()).write_bytes(data)
        case ["line", file]:
            sys.stdout.buffer.write(pack(pathlib.Path(file).read_bytes()) + b"\n")
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

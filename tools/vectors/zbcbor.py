"""CBOR with one spelling for each value (SPEC §2.1): a writer that knows only that spelling, a reader that refuses every other.

In: bytes. Out: int, bytes, str, list, dict, bool, None, and where the item ended. Written by hand because general decoders
repair what we must refuse, and read ahead where items of a sequence must be told apart; `selftest.py` holds this one against cbor2.
"""

DEPTH_MAX = 8          # CBOR_DEPTH_MAX: levels of a value inside `any` (R2.1-f)
DEPTH_HARD = 32        # our own stack: no grammar here is deeper than 6 + DEPTH_MAX


class Bad(Exception):
    """The bytes are not the one spelling of a value."""


class Deep(Bad):
    """Nested deeper than R2.1-f allows."""


class Cut(Exception):
    """The bytes end inside an item; nothing wrong was met before the end."""


class Raw(bytes):
    """Bytes that stand in an encoding as they are: for parts already encoded, and for spelling things wrong on purpose."""


def head(major: int, n: int) -> bytes:
    for info, limit in ((24, 1 << 8), (25, 1 << 16), (26, 1 << 32), (27, 1 << 64)):
        if n < 24:
            return bytes([major << 5 | n])
        if n < limit:
            return bytes([major << 5 | info]) + n.to_bytes(1 << (info - 24), "big")
    raise ValueError(n)


def enc(value) -> bytes:
    if isinstance(value, Raw):
        return bytes(value)
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, (bytes, bytearray)):
        return head(2, len(value)) + bytes(value)
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, (list, tuple)):
        return head(4, len(value)) + b"".join(map(enc, value))
    if isinstance(value, dict):
        rows = sorted((enc(k), enc(v)) for k, v in value.items())
        return head(5, len(rows)) + b"".join(k + v for k, v in rows)
    raise TypeError(type(value))


def read_head(buf, pos: int, end: int):
    """One head in shortest form: (major, argument, position after it)."""
    if pos >= end:
        raise Cut()
    first = buf[pos]
    major, info = first >> 5, first & 31
    pos += 1
    if info < 24:
        return major, info, pos
    if info > 27:
        raise Bad("indefinite or reserved length")                       # R2.1-b
    if major == 7:
        raise Bad("float or long simple value")                          # R2.1-c
    width = 1 << (info - 24)
    if pos + width > end:
        raise Cut()
    n = int.from_bytes(buf[pos:pos + width], "big")
    if n < (24, 1 << 8, 1 << 16, 1 << 32)[info - 24]:
        raise Bad("head is not in its shortest form")                    # R2.1-a
    return major, n, pos + width


def decode(buf, pos: int = 0, end: int | None = None, level: int = 1):
    """One item from `pos`: (value, position after it). null is let through; the grammar decides where it may stand."""
    end = len(buf) if end is None else end
    if level > DEPTH_HARD:
        raise Deep("nested too deep")
    start = pos
    major, n, pos = read_head(buf, pos, end)
    if major == 0:
        return n, pos
    if major == 1:
        if n >= 1 << 63:
            raise Bad("negative beyond 64 bits")
        return -1 - n, pos
    if major in (2, 3):
        if n > end - pos:                                                # R2.1-i
            raise Cut()
        chunk = bytes(buf[pos:pos + n])
        if major == 2:
            return chunk, pos + n
        try:
            return chunk.decode("utf-8"), pos + n                        # R2.1-e
        except UnicodeDecodeError:
            raise Bad("text is not UTF-8") from None
    if major == 4:
        out = []
        for _ in range(n):                                               # grows with the bytes, never with the claim
            value, pos = decode(buf, pos, end, level + 1)
            out.append(value)
        return out, pos
    if major == 5:
        table, before = {}, None
        for _ in range(n):
            key_at = pos
            if pos < end and buf[pos] >> 5 > 1:
                raise Bad("map key is not an integer")
            key, pos = decode(buf, pos, end, level + 1)
            spelled = bytes(buf[key_at:pos])
            if before is not None and spelled <= before:
                raise Bad("map keys do not ascend")                      # R2.1-d
            before = spelled
            table[key], pos = decode(buf, pos, end, level + 1)
        return table, pos
    if major == 7 and n in (20, 21):
        return n == 21, pos
    if major == 7 and n == 22:
        return None, pos
    raise Bad(f"tag, undefined or simple value at {start}")


def whole(buf):
    """One item that fills its bytes (R2.1-g)."""
    value, pos = decode(buf)
    if pos != len(buf):
        raise Bad("bytes after the value")
    return value


def check_any(value, level: int = 1):
    """What stands under an unknown key: no null (R2.1-c), at most 8 levels (R2.1-f)."""
    if level > DEPTH_MAX:
        raise Deep("nested deeper than 8 levels")
    if value is None:
        raise Bad("null where the grammar has none")
    for inner in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        check_any(inner, level + 1)

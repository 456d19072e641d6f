"""Shapes of SPEC §3, §4 and §8 on decoded values. Each function takes a value and raises `Fault` with the code of SPEC §6.1."""

import zbcbor

EVENT_LEN_MAX, PART_LEN, PART_COUNT_MAX = 16_384, 4_096, 4_096
TYPE_LEN_MAX, FIELD_LEN_MAX, BASE_COUNT_MAX = 128, 200, 64
RANGE_EVENT_COUNT_MAX, RANGE_RAW_LEN_MAX, RANGE_DATA_LEN_MAX = 4_096, 1 << 20, (1 << 20) + 4_096
RECIPIENT_COUNT_MAX = 64
SEQ_MAX = (1 << 63) - 1
RANGE_ITEM_LEN_MAX = (1 << 20) + 8_192 + 80 * 4_096


class Fault(Exception):
    """The first fault met: a code of SPEC §6.1 and a sentence for whoever debugs."""

    def __init__(self, code: str, why: str):
        super().__init__(f"{code} {why}")
        self.code, self.why = code, why


class Shape:
    """Checks that fail with one code; the words say what was expected."""

    def __init__(self, code: str):
        self.code = code

    def need(self, ok: bool, why: str):
        if not ok:
            raise Fault(self.code, why)

    def uint(self, v, what, low=0, high=(1 << 64) - 1):
        self.need(type(v) is int and low <= v <= high, f"{what}: not an unsigned integer in {low}..{high}")
        return v

    def bytes(self, v, what, length=None):
        self.need(type(v) is bytes and length in (None, len(v)), f"{what}: not a byte string of {length}")
        return v

    def text(self, v, what, low=0, high=1 << 62):
        self.need(type(v) is str and low <= len(v.encode()) <= high, f"{what}: not a text of {low}..{high} bytes")
        return v

    def array(self, v, what, length=None):
        self.need(type(v) is list and length in (None, len(v)), f"{what}: not an array of {length}")
        return v

    def map(self, v, what, required=(), optional=()):
        """Keys by R2.1-h: unknown even or negative ones refuse, unknown odd ones are skipped after R2.1-c and -f."""
        self.need(type(v) is dict, f"{what}: not a map")
        for key, value in v.items():
            if key in required or key in optional:
                continue
            if key < 0 or key % 2 == 0:
                raise Fault("Z223", f"{what}: unknown critical key {key}")
            try:
                zbcbor.check_any(value)
            except zbcbor.Bad as bad:
                raise Fault(self.code, f"{what}: key {key}: {bad}") from None
        for key in required:
            self.need(key in v, f"{what}: key {key} is missing")
        return v

    def origin_rest(self, v, what):
        self.bytes(v[1], f"{what} incarnation", 4)
        self.uint(v[2], f"{what} lane", 0, 3)


# ---- header, §4.1 ----
def header(value):
    s = Shape("Z217")
    s.map(value, "header", (0, 2, 4, 6, 8), (1, 3))
    if 1 in value:
        s.uint(value[1], "created")
    s.bytes(value[2], "domain hint", 4)
    if 3 in value:
        s.uint(value[3], "lane", 0, 3)
    s.bytes(value[4], "sender", 8)
    s.bytes(value[6], "sender's signing key", 32)
    s.array(value[8], "recipients")
    s.need(len(value[8]) > 0, "no recipient")
    if len(value[8]) > RECIPIENT_COUNT_MAX:
        raise Fault("Z218", "more than 64 recipients")
    for row in value[8]:
        s.array(row, "recipient", 2)
        s.bytes(row[0], "hint", 4)
        s.bytes(row[1], "sealed key", 80)


# ---- manifest, §4.2 ----
def log(s: Shape, v, table, what):
    """An origin written with indexes into the node table -> the origin of R3.1-c."""
    s.array(v, what)
    s.need(len(v) >= 4, f"{what}: too short")
    s.uint(v[0], f"{what} node index", 0, len(table) - 1)
    s.origin_rest(v, what)
    if v[3] is not None:
        s.uint(v[3], f"{what} audience index", 0, len(table) - 1)
    return (table[v[0]], v[1], v[2], None if v[3] is None else table[v[3]])


def order(origin):
    """R3.1-d: null before any id."""
    node, incarnation, lane, audience = origin
    return node, incarnation, lane, b"" if audience is None else audience


def manifest(value):
    """-> {nodes, vector: [(origin, seq, tag)], receipt, forks}."""
    s = Shape("Z222")
    s.map(value, "manifest", (0, 1), (3, 5, 9))
    table = s.array(value[0], "node table")
    for node in table:
        s.bytes(node, "node table entry", 8)
    s.need(all(a < b for a, b in zip(table, table[1:])), "node table does not ascend")
    vector = []
    for row in s.array(value[1], "vector"):
        s.array(row, "vector entry", 6)
        origin = log(s, row, table, "vector entry")
        vector.append((origin, s.uint(row[4], "vector seq", 1, SEQ_MAX), s.bytes(row[5], "tag", 4)))
    places = [(order(o), seq, tag) for o, seq, tag in vector]
    s.need(all(a < b for a, b in zip(places, places[1:])), "vector does not ascend")
    if 3 in value:
        s.array(value[3], "receipt", 2)
        s.bytes(value[3][0], "receipt incarnation", 4)
        s.uint(value[3][1], "receipt number")
    if 9 in value:
        s.array(value[9], "granted", 2)
        s.uint(value[9][0], "granted work")
        s.uint(value[9][1], "granted speed")
    forks = []
    for row in s.array(value.get(5, []), "fork notices"):
        s.array(row, "fork notice", 4)
        s.array(row[0], "fork notice log", 4)
        origin = log(s, row[0], table, "fork notice")
        s.uint(row[1], "fork seq", 1, SEQ_MAX)
        s.need(s.bytes(row[2], "digest", 8) < s.bytes(row[3], "digest", 8), "fork digests do not ascend")
        forks.append((origin, row[1], row[2], row[3]))
    return {"nodes": table, "vector": vector, "receipt": value.get(3), "forks": forks}


# ---- ranges, §4.3 ----
def in_file(table):
    """How a file's ranges name their histories: by indexes into its node table (R4.3-a)."""
    def name(s: Shape, value):
        return log(s, s.array(value, "log", 4), table, "log")
    return name


def range_(value, name):
    """The shape of one range -> a flat dict; nothing is decompressed, hashed or verified here. `name` reads key 0."""
    s = Shape("Z222")
    s.map(value, "range", (0, 2, 4, 6, 8, 10), (12, 14))
    origin = name(s, value[0])
    first = s.uint(value[2], "first", 1, SEQ_MAX)
    count = s.uint(value[4], "count", 1)
    if count > RANGE_EVENT_COUNT_MAX:
        raise Fault("Z218", "more than 4 096 events in a range")
    s.need(first + count - 1 <= SEQ_MAX, "last seq is beyond 2^63 - 1")
    codec, raw_len = s.array(value[6], "codec", 2)
    s.uint(codec, "codec")
    s.uint(raw_len, "raw length", 1)
    if codec > 3:
        raise Fault("Z223", f"codec {codec} is unknown")
    if raw_len > RANGE_RAW_LEN_MAX:
        raise Fault("Z218", "raw length above 1 MiB")
    data = s.bytes(value[8], "data")
    if len(data) > RANGE_DATA_LEN_MAX:
        raise Fault("Z218", "data above 1 MiB + 4 KiB")
    checkpoints, before = [], 0
    for row in s.array(value[10], "checkpoints"):
        offset, cp = s.array(row, "checkpoint entry", 2)
        s.uint(offset, "offset", before + 1, count)
        before = offset
        number, signature = s.array(cp, "checkpoint", 2)
        checkpoints.append((offset, s.uint(number, "key number"), s.bytes(signature, "signature", 64)))
    s.need(before == count, "no checkpoint at the end of the range")
    base = s.bytes(value[12], "base", 32) if 12 in value else None     # its absence is check 17's
    prefix = None
    if 14 in value:
        prefix = s.array(value[14], "prefix", 2)
        s.uint(prefix[0], "prefix first", 1, SEQ_MAX)
        s.uint(prefix[1], "prefix count", 1)
        s.need(prefix[0] + prefix[1] <= first, "prefix does not end before first")
    s.need(prefix is not None if codec == 2 else prefix is None or codec == 3, "prefix goes with codec 2, may go with 3, and with no other")
    return {"origin": origin, "first": first, "count": count, "codec": codec, "raw_len": raw_len, "data": data,
            "checkpoints": checkpoints, "base": base, "prefix": prefix}


# ---- origins in full, §3.1 ----
def whole_origin(s: Shape, v, what):
    s.array(v, what, 4)
    s.bytes(v[0], f"{what} node", 8)
    s.origin_rest(v, what)
    if v[3] is not None:
        s.bytes(v[3], f"{what} audience", 8)
    return tuple(v)


# ---- events, §3.2 ----
def event_id(s: Shape, v, what):
    s.array(v, what, 3)
    whole_origin(s, v[0], f"{what} origin")
    s.uint(v[1], f"{what} seq", 1, SEQ_MAX)
    s.bytes(v[2], f"{what} digest", 8)


def event(raw: bytes, value):
    s = Shape("Z226")
    s.need(len(raw) <= EVENT_LEN_MAX, "event above 16 384 bytes")
    s.array(value, "event")
    s.need(len(value) in (3, 4), "event is not an array of 3 or 4")
    s.uint(value[0], "hlc")
    s.text(value[1], "type", 1, TYPE_LEN_MAX)
    payload = s.bytes(value[2], "payload")
    s.need(len(payload) <= PART_LEN, "payload above 4 096 bytes")
    if len(value) == 3:
        return
    known = (1, 2, 3, 5, 7, 9, 11, 13)
    ext = s.map(value[3], "ext", (), known)
    s.need(len(ext) > 0, "ext is empty")
    for key in (1, 7, 9, 11):
        if key in ext:
            s.text(ext[key], f"ext {key}", 1, FIELD_LEN_MAX)
    if 2 in ext:
        index, count = s.array(ext[2], "part", 2)
        s.uint(count, "part count", 2, PART_COUNT_MAX)
        s.uint(index, "part index", 0, count - 1)
        s.need(len(payload) == PART_LEN or (index == count - 1 and payload != b""), "part of a wrong length")
        s.need(index == 0 or not ext.keys() & set(known) - {2}, "ext keys besides 2 stand on part 0 only")
    if 3 in ext:
        s.need(len(s.array(ext[3], "base")) <= BASE_COUNT_MAX, "more than 64 event ids in base")
        for seen in ext[3]:
            event_id(s, seen, "base")
    if 5 in ext:
        s.uint(ext[5], "op", 1, 2)
    if 13 in ext:
        event_id(s, ext[13], "orig")


def events(raw: bytes, count: int):
    """Exactly `count` events that fill `raw` (R4.3-c) -> [(bytes, value)]."""
    out, pos = [], 0
    for _ in range(count):
        try:
            value, after = zbcbor.decode(raw, pos)
        except zbcbor.Cut:
            raise Fault("Z226", "fewer events than claimed, or one cut short") from None
        except zbcbor.Bad as bad:
            raise Fault("Z226", f"event: {bad}") from None
        event(raw[pos:after], value)
        out.append((raw[pos:after], value))
        pos = after
    if pos != len(raw):
        raise Fault("Z226", "more bytes than the claimed events")
    return out

#!/usr/bin/env python3
"""What the program says of many inputs against what this reader says: `compare.py DIR`, DIR as `cargo xtask compare` lays it out.

Both must take the same and refuse the same. Of CBOR that is whether it is one value, and what both take cbor2 must read and write again in the same bytes;
of events and bundles it is how many events. Where both refuse, the codes may differ only as far as SPEC leaves open which of several faults in one item
is told (R6.1-i); such pairs are counted.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import cbor2

import zb_read
import zbcbor
import zbside
from zbgrammar import Fault

# R6.1-i: the codes of one item that breaks several rules.
OF_ONE_ITEM = [{"Z212", "Z217", "Z218", "Z223"}, {"Z218", "Z222", "Z223"}, {"Z223", "Z226"}]
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def rows(path: Path):
    for line in path.read_text().splitlines():
        yield line.split("\t")


def of_cbor(data: bytes) -> str:
    try:
        value = zbcbor.whole(data)
        zbcbor.check_any(value)
    except (zbcbor.Bad, zbcbor.Cut):
        return "no"
    assert cbor2.dumps(cbor2.loads(data)) == data, f"cbor2 writes {data.hex()} in other bytes"
    return "ok"


def of_event(data: bytes) -> str:
    try:
        zbside.event(data)
    except Fault as fault:
        return fault.code
    return "ok 1"


def of_bundle(data: bytes, context: zb_read.Context) -> str:
    try:
        found = zb_read.read(data, context)
    except Fault as fault:
        return fault.code
    return f"ok {sum(len(one['events']) for one in found['ranges'])}"


def main() -> int:
    folder = Path(sys.argv[1])
    context = zb_read.Context(json.loads((FIXTURES / "context.json").read_text()))
    judges = [("cbor.tsv", lambda text: of_cbor(bytes.fromhex(text))), ("events.tsv", lambda text: of_event(bytes.fromhex(text))),
              ("bundles.tsv", lambda name: of_bundle((folder / name).read_bytes(), context))]
    differ, said, pairs = 0, [], Counter()
    for name, judge in judges:
        verdicts = Counter()
        for text, ours in rows(folder / name):
            theirs = judge(text)
            verdicts[theirs.split()[0]] += 1
            of_one_item = any({ours, theirs} <= codes for codes in OF_ONE_ITEM)
            if theirs != ours and of_one_item:
                pairs[f"{ours}, here {theirs}"] += 1
            elif theirs != ours:
                differ += 1
                print(f"{name}: the program says {ours}, this reader {theirs}: {text[:400]}")
        said.append(f"{name} {sum(verdicts.values())} ({', '.join(f'{code} {count}' for code, count in sorted(verdicts.items()))})")
    for pair, count in pairs.most_common():
        print(f"both refuse, {count} times with other codes: {pair}")
    print("; ".join(said) + f"; {sum(pairs.values())} refused with other codes, {differ} differ")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())

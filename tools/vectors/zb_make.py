#!/usr/bin/env python3
"""Writes every fixture from fixed keys and loaded dice: the same bytes on every machine.

    zb_make.py --out fixtures       write all of them
    zb_make.py --check [fixtures]   write them elsewhere and compare: nothing missing, nothing more, no byte different
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

import fixtures_accept
import fixtures_logs
import fixtures_messages
import fixtures_reject
import fixtures_side
import zbworld


def toml_value(v) -> str:
    if isinstance(v, bool):
        return str(v).lower()
    if isinstance(v, list):
        return "[" + ", ".join(map(toml_value, v)) + "]"
    return json.dumps(v, ensure_ascii=False)


def toml(rows: dict, tables=(), of="range") -> str:
    text = "".join(f"{key} = {toml_value(value)}\n" for key, value in rows.items())
    return text + "".join(f"\n[[{of}]]\n" + "".join(f"{k} = {toml_value(v)}\n" for k, v in table.items()) for table in tables)


def all_files() -> dict:
    """Path under fixtures -> bytes."""
    files = {"context.json": (json.dumps(zbworld.context(), indent=1) + "\n").encode()}
    files |= {f"keys/{name}": text.encode() for name, text in zbworld.key_files().items()}
    for row in fixtures_accept.ALL:
        data, ranges = row["make"](row["name"])
        story = {"story": row["story"], "rules": row["rules"], "keys": row["keys"], "events": sum(r["last"] - r["first"] + 1 for r in ranges)}
        tables = [{"origin": r["log"].text, "first": r["first"], "last": r["last"], "h": r["h"].hex()} for r in ranges]
        files[f"bundles/accept/{row['name']}.zb"] = data
        files[f"bundles/accept/{row['name']}.toml"] = toml(story | row["facts"], tables).encode()
    for row in fixtures_reject.ALL:
        files[f"bundles/reject/{row['name']}.zb"] = row["make"](row["name"])
        files[f"bundles/reject/{row['name']}.toml"] = toml({k: row[k] for k in ("why", "rules", "expect", "keys")}).encode()
    files |= {path: data if isinstance(data, bytes) else toml(*data).encode() for path, data in fixtures_messages.all_files().items()}
    files |= {path: data if isinstance(data, bytes) else toml(*data, of="stream").encode() for path, data in fixtures_logs.all_files().items()}
    return files | {path: data if isinstance(data, bytes) else toml(data).encode() for path, data in fixtures_side.all_files().items()}


def unknown_rules(files: dict) -> list:
    """Rules that a story cites and SPEC.md does not have."""
    page = (Path(__file__).parents[2] / "SPEC.md").read_text()
    known = set(re.findall(r"^- \*\*(R[0-9.]+-[a-z])\*\*", page, re.M))
    cited = {(rule, name) for name, data in files.items() if name.endswith(".toml") for rule in re.findall(r"R[0-9]+\.[0-9]+-[a-z]", data.decode())}
    return [f"{name} cites {rule}, which SPEC.md does not have" for rule, name in sorted(cited) if rule not in known]


def write(root: Path, files: dict):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def check(root: Path, files: dict) -> int:
    with tempfile.TemporaryDirectory() as fresh:
        write(Path(fresh), files)
        ours = {str(p.relative_to(fresh)) for p in Path(fresh).rglob("*") if p.is_file()}
        theirs = {str(p.relative_to(root)) for kind in ("bundles", "events", "logs", "messages", "requests", "keys") for p in (root / kind).rglob("*") if p.is_file()} | {"context.json"}
        faults = [f"missing: {name}" for name in sorted(ours - theirs)] + [f"not made here: {name}" for name in sorted(theirs - ours)]
        faults += [f"differs: {name}" for name in sorted(ours & theirs) if (Path(fresh) / name).read_bytes() != (root / name).read_bytes()]
    faults += unknown_rules(files)
    print(*faults, f"{len(ours)} files, {len(faults)} differences", sep="\n")
    return 1 if faults else 0


def main() -> int:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = args.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path)
    what.add_argument("--check", type=Path, nargs="?", const=Path(__file__).parents[2] / "fixtures")
    a = args.parse_args()
    files = all_files()
    if a.check:
        return check(a.check, files)
    write(a.out, files)
    print(*unknown_rules(files), sep="\n", end="")
    size = sum(map(len, files.values()))
    print(f"{len(files)} files, {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What the tools here must do before anybody believes them: SPEC §4.7's and §7.10's worked examples byte for byte, CBOR against cbor2, padding, strict keys."""

import hashlib
import io
import json
import pathlib
import random
import sys

import cbor2

import zb_read
import zbcbor
import zbmessage
import zbwrite
from zbgrammar import Fault
from zbcrypto import domain_id, node_id, sealing_public, sha256, sign, signing_public, usable_point, verify

FILE_SHA256 = "15d8d18da6b6b4905bcda21aa41ea9410b8b69e8689ca6d36712f88d936f219b"

LINK_SHA256 = "32a25c727e7cf4f7a8b109fd4e1345955482f155c9e961838e8f7552756ffae0"


def counting(first):
    return bytes(range(first, first + 32))


def worked_example():
    authority = signing_public(counting(0x00))
    clinic = zbwrite.Node("clinic")
    clinic.signing, clinic.signing_public = [counting(0x20)], [signing_public(counting(0x20))]
    clinic.node, clinic.incarnation = node_id(clinic.signing_public[0]), bytes.fromhex("7f3a91c2")
    domain = domain_id(authority)
    log = zbwrite.Log(clinic, 2).add("vitals", b'{"pulse":72}', {1: "Patient/BT-1"}, 1_795_219_200_000 << 16)
    assert log.hashes[1].hex() == "436dbdae9ead129ebcff989c9f16e26fc893b65e6f46739a2630a698381a1aae", "h_1"
    made = zbwrite.bundle("", clinic, [sealing_public(counting(0x40))], [log.range(domain=domain)], domain=domain,
                          content_key=counting(0x60), ephemerals=[counting(0x80)])
    assert len(made) == 464 and hashlib.sha256(made).hexdigest() == FILE_SHA256, "the worked example's file"
    told = {"domain": domain.hex(), "authority": {"node": node_id(authority).hex(), "incarnation": "00000000"}, "roster": [
        {"node": clinic.node.hex(), "name": "clinic", "keys": [{"number": 1, "signing": clinic.signing_public[0].hex(), "sealing": "00" * 32}]}],
        "secret_sealing_keys": {"aa": counting(0x40).hex()}}
    found = zb_read.read(made, zb_read.Context(told))
    assert zb_read.shown(found)["ranges"][0]["h"] == log.hashes[1].hex(), "the worked example, read"


def worked_link():
    """SPEC §7.10: what the clinic says, and what it hears."""
    clinic = zbwrite.Node("clinic")
    clinic.signing, clinic.signing_public = [counting(0x20)], [signing_public(counting(0x20))]
    clinic.node, clinic.incarnation = node_id(clinic.signing_public[0]), bytes.fromhex("7f3a91c2")
    domain = domain_id(signing_public(counting(0x00)))
    log = zbwrite.Log(clinic, 2).add("vitals", b'{"pulse":72}', {1: "Patient/BT-1"}, 1_795_219_200_000 << 16)
    tag = sha256(counting(0xc0), log.hashes[1])[:4]
    hello = zbcbor.enc([0, 1, False, 65_536, None, {0: [clinic.node], 1: [[0, clinic.incarnation, 2, None, 1, tag]], 3: [clinic.incarnation, 2]}])
    wire = log.range(domain=domain)["wire"] | {0: 0}
    del wire[12]
    said = b"".join(map(zbcbor.enc, (hello, zbcbor.enc([1, wire]), zbcbor.enc([4]))))
    assert tag.hex() == "9aec04a3" and len(said) == 188, "the worked link"
    assert hashlib.sha256(said).hexdigest() == LINK_SHA256, "the worked link's bytes"
    assert [message["kind"] for message in zbmessage.conversation(said)] == ["hello", "range", "done"]
    assert zbmessage.conversation(bytes.fromhex("4483020001")) == [{"kind": "ack", "pairs": [(0, 1)]}]


def largest_message():
    longest = zbcbor.enc([7, "x" * (98_304 - 7)])
    assert len(longest) == 98_304 and zbmessage.conversation(zbcbor.enc(longest))[0]["kind"] == "bye"


def any_value(dice, depth=0):
    kind = dice.randrange(5 if depth > 4 else 7)
    if kind == 0:
        return dice.choice([0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1])
    if kind == 1:
        return -1 - dice.choice([0, 23, 24, 255, 256, 2**32, 2**63 - 1])
    if kind == 2:
        return dice.randbytes(dice.choice([0, 1, 23, 24, 300]))
    if kind == 3:
        return "འབྲུག" * dice.randrange(4)
    if kind == 4:
        return dice.choice([True, False, None])
    if kind == 5:
        return [any_value(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.randrange(-24, 24): any_value(dice, depth + 1) for _ in range(dice.randrange(4))}   # longer keys: cbor2 still sorts by RFC 7049


def cbor_like_cbor2():
    dice = random.Random(7)
    for _ in range(2000):
        value = any_value(dice)
        ours = zbcbor.enc(value)
        assert cbor2.loads(ours) == value and zbcbor.whole(ours) == value, value
        assert cbor2.dumps(value, canonical=True) == ours, value
    taken = 0
    for _ in range(50_000):                       # what we take from noise, cbor2 takes too and spells the same
        noise = dice.randbytes(dice.randrange(1, 12))
        try:
            value, end = zbcbor.decode(noise)
        except (zbcbor.Bad, zbcbor.Cut):
            continue
        taken += 1
        assert cbor2.load(io.BytesIO(noise[:end])) == value and zbcbor.enc(value) == noise[:end], noise.hex()
    assert taken > 1000
    for wrong in ("1801", "190001", "5801aa", "9f", "bf", "5f", "f7", "f90000", "fb0000000000000000", "c101", "c240", "f0", "f820", "62c328",
                  "a201010001", "a200010001", "a14000", "3bffffffffffffffff"):
        try:
            zbcbor.whole(bytes.fromhex(wrong))
        except zbcbor.Bad:
            continue
        except zbcbor.Cut:
            pass
        raise AssertionError(wrong)


def padding():
    assert zbwrite.padme(460) == 464 and zbwrite.padme(464) == 464 and zbwrite.padme(9) == 10
    for inner in (1, 100, 216, 5_000, 65_535, 65_536, 65_537, 131_072, 400_000):
        pad = zbwrite.pad_for(146, inner)
        total = zbwrite.file_len(146, inner + len(pad))
        assert zbwrite.padme(total) == total


def strict_keys():
    low_order = ["01" + "00" * 31, "ec" + "ff" * 30 + "7f", "00" * 32, "00" * 31 + "80", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"]
    not_canonical = ["ee" + "ff" * 30 + "7f", "ed" + "ff" * 30 + "7f", "01" + "00" * 30 + "80", "ff" * 32]
    assert not any(usable_point(bytes.fromhex(k)) for k in low_order + not_canonical)
    key, signature = signing_public(counting(0)), sign(counting(0), b"x")
    assert verify(key, signature, b"x") and not verify(key, signature, b"y")
    higher = (int.from_bytes(signature[32:], "little") + 2**252 + 27742317777372353535851937790883648493).to_bytes(32, "little")
    assert not verify(key, signature[:32] + higher, b"x"), "S above the order"
    assert sha256(b"") == hashlib.sha256().digest()


def bound_of_codec_3():
    """R4.4-m, at a smaller bound: 2 MiB take this decoder a quarter of an hour."""
    fixtures = pathlib.Path(__file__).resolve().parents[2] / "fixtures"
    context, file = zb_read.Context(json.loads((fixtures / "context.json").read_text())), (fixtures / "bundles/accept/mixed.zb").read_bytes()
    usual, mixed = zb_read.MIX_FILE_RAW_LEN_MAX, sum(r["raw_len"] for r in zb_read.read(file, context)["ranges"] if r["codec"] == 3)
    assert 0 < mixed < usual == 2 << 20
    for bound, code in ((mixed, None), (mixed - 1, "Z218")):
        zb_read.MIX_FILE_RAW_LEN_MAX = bound
        try:
            zb_read.read(file, context)
            assert code is None, "taken above the bound"
        except Fault as fault:
            assert fault.code == code, fault
    zb_read.MIX_FILE_RAW_LEN_MAX = usual


if __name__ == "__main__":
    for claim in (worked_example, worked_link, largest_message, cbor_like_cbor2, padding, strict_keys, bound_of_codec_3):
        claim()
        print("ok  ", claim.__name__)
    sys.exit(0)

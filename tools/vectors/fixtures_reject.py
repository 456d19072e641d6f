"""Files every reader must refuse, one fault each: what the checks before it look at is right, sealed, signed and summed anew where that needs it.

In the order of SPEC §6.1. The expected code is the one of the first check that can see the fault.
"""

import struct

import zbcbor
import zbmix
from zbcbor import Raw, enc
from zbcrypto import ORDER, hint
from zbworld import DOMAIN, GASA, HUB, LAYA, LUNANA, NOBODY, OTHER_DOMAIN, REHUB, enrol, rekey, roster, visits
from zbwrite import Log, block, bundle, frame, resum, stored_frame

ALL = []


def reject(name, why, rules, expect, make, keys="punakha-hub"):
    ALL.append({"name": name, "why": why, "rules": rules, "expect": expect, "keys": keys, "make": make})


def plain(label, **how):
    """The good file most of these are made from: three visits from lunana-bhu to the hub."""
    ranges = how.pop("ranges", None) or [visits().range(domain=DOMAIN)]
    return bundle(label, how.pop("sender", LUNANA), how.pop("to", [HUB]), ranges, domain=how.pop("domain", DOMAIN), **how)


def header_len(data: bytes) -> int:
    return zbcbor.decode(data, 12)[1] - 12


def flipped(data: bytes, at: int, bit=1) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1:]


def flip(at, bit=1):
    return lambda data: flipped(data, at(data) if callable(at) else at, bit)


def keep(length):
    return lambda data: data[:length(data) if callable(length) else length]


# ---- the magic ----
reject("not_a_bundle", "a text somebody gave the ending .zb", ["R4.1-a"], "Z211", lambda label: b"visits of November\n")
reject("magic_bit", "one bit of the magic is flipped", ["R4.1-a"], "Z211", lambda label: plain(label, file=flip(7)))
reject("short_and_other", "4 bytes, and not those of the magic", ["R4.1-a"], "Z211", lambda label: b"\xd9\xd9\xf8\xdb")

# ---- cut short ----
CUTS = {
    "empty": ("no byte has arrived yet", 0),
    "cut_in_magic": ("ends within the magic", 7),
    "cut_after_magic": ("ends after the magic", 12),
    "cut_in_header": ("ends within the header", 60),
    "cut_after_header": ("ends after the header", lambda d: 12 + header_len(d)),
    "cut_in_chunk_head": ("ends within the head of the chunk", lambda d: 13 + header_len(d)),
    "cut_in_chunk": ("ends within the chunk", lambda d: len(d) - 200),
    "cut_before_trailer": ("the chunk is whole, the trailer is missing", lambda d: len(d) - 72),
    "cut_in_signature": ("ends within the signature", lambda d: len(d) - 40),
    "cut_last_byte": ("the last byte is missing", lambda d: len(d) - 1),
}
for name_, (why_, length_) in CUTS.items():
    reject(name_, why_, ["R4.1-g", "R6.1-a"], "Z212", lambda label, length=length_: plain(label, file=keep(length)))

# ---- damaged on the way: one bit, the checksum as it was ----
FLIPS = {
    "header_sender_bit": ("the sender's id in the header", 26, 1, "Z213"),
    "recipient_bit": ("the sealed key", 100, 1, "Z213"),
    "chunk_bit": ("the ciphertext", lambda d: len(d) - 150, 1, "Z213"),
    "trailer_head_bit": ("the first byte of the trailer, which is no array then", lambda d: len(d) - 72, 0x80, "Z213"),
    "signature_head_bit": ("the head of the signature, which is a text then", lambda d: len(d) - 71, 0x20, "Z213"),
    "signature_bit": ("the signature", lambda d: len(d) - 30, 1, "Z213"),
    "crc_head_bit": ("the head of the checksum, which is a text then", lambda d: len(d) - 5, 0x20, "Z213"),
    "crc_bit": ("the checksum", -1, 1, "Z213"),
    "version_bit": ("the version, so that it reads 3: read before any checksum", 14, 2, "Z216"),
    "header_head_bit": ("the head of the header's map, which then holds the chunk too", 12, 1, "Z217"),
    "chunk_head_bit": ("the length of the chunk, which then reaches beyond the end", lambda d: 13 + header_len(d), 0x80, "Z212"),
}
for name_, (what_, at_, bit_, code_) in FLIPS.items():
    reject(name_, f"one bit is flipped in {what_}", ["R5.5-a", "R6.1-a"], code_, lambda label, at=at_, bit=bit_: plain(label, file=flip(at, bit)))

# ---- the header, written so ----
LATER = (1 << 16) + 1          # an odd key nobody knows


def raw_header(change):
    """`change`: bytes -> bytes, on the right header."""
    return lambda label: plain(label, header_bytes=change)


def more_header(item: bytes):
    """The right header and one more key at its end: key 65537 with the value `item`."""
    return raw_header(lambda h: bytes([h[0] + 1]) + h[1:] + enc(LATER) + item)


def edit_header(change, **how):
    return lambda label: plain(label, header_edit=change, **how)


def without(key):
    return lambda m: {k: v for k, v in m.items() if k != key}


def nested(levels: int) -> bytes:
    return b"\x81" * (levels - 1) + b"\x00"


reject("version_2", "the version is 2", ["R4.1-c"], "Z216", edit_header(lambda h: h | {0: 2}))
reject("version_2_and_other_rules", "the version is 2, and what follows is not ours to judge: a float, a date, no recipients", ["R4.1-c"], "Z216",
       raw_header(lambda h: b"\xa3\x00\x02\x01\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00\x02\xc0\x6a2026-11-21"))
reject("version_2_and_cut", "the version is 2, and the header is cut off behind it", ["R4.1-c", "R6.1-a"], "Z216",
       lambda label: plain(label, header_edit=lambda h: h | {0: 2}, file=lambda d: d[:15]))
reject("version_is_a_text", "the version is \"1\", and no later one is a text", ["R4.1-c"], "Z217", edit_header(lambda h: h | {0: "1"}))
reject("version_2_with_another_end", "the version is 2, and the file ends as no file of version 1 does", ["R6.1-a"], "Z216",
       lambda label: plain(label, header_edit=lambda h: h | {0: 2}, file=lambda d: d + b"\xa0" * 80))
for key_, name_ in ((0, "version"), (2, "domain"), (4, "sender"), (6, "signing_key"), (8, "recipients")):
    reject(f"header_without_{name_}", f"key {key_} is missing", ["R4.1-b"], "Z217",
           lambda label, key=key_: plain(label, header_bytes=lambda h: enc(without(key)(decoded(h)))))


def decoded(h):
    return zbcbor.whole(h)


BAD_VALUES = {
    "long_head": ("a number in more bytes than it needs", b"\x18\x01", "R2.1-a"),
    "indefinite": ("an array of indefinite length", b"\x9f\xff", "R2.1-b"),
    "float": ("a float", struct.pack(">Bd", 0xFB, 1.5), "R2.1-c"),
    "half_float": ("a half-precision float", b"\xf9\x3c\x00", "R2.1-c"),
    "tag": ("a tag", b"\xc1\x00", "R2.1-c"),
    "bignum": ("a bignum", b"\xc2\x49\x01" + bytes(8), "R2.1-c"),
    "null": ("null, where the grammar does not write it", b"\xf6", "R2.1-c"),
    "undefined": ("undefined", b"\xf7", "R2.1-c"),
    "simple": ("a simple value that is neither true nor false", b"\xe5", "R2.1-c"),
    "negative_65_bits": ("a negative integer below -2^63", b"\x3b\x80" + bytes(7), "R2.1-c"),
    "not_utf8": ("a text that is not UTF-8", b"\x62\xc3\x28", "R2.1-e"),
    "surrogate": ("a text with a surrogate", b"\x63\xed\xa0\x80", "R2.1-e"),
    "text_key": ("a map with a text as key", b"\xa1\x61a\x00", "R2.1-d"),
    "unsorted": ("a map whose keys do not ascend", b"\xa2\x02\x00\x01\x00", "R2.1-d"),
    "duplicate": ("a map with one key twice", b"\xa2\x01\x00\x01\x00", "R2.1-d"),
    "nine_levels": ("a value of nine levels", nested(9), "R2.1-f"),
}
for name_, (what_, item_, rule_) in BAD_VALUES.items():
    reject(f"header_{name_}", f"under an unknown odd key stands {what_}", [rule_, "R2.1-h"], "Z217", more_header(item_))
reject("header_depth_bomb", "under an unknown odd key stand 5 000 arrays, each in the one before", ["R2.1-f"], "Z217", more_header(nested(5000)))
reject("header_map_long_head", "the head of the header's map takes two bytes", ["R2.1-a"], "Z217", raw_header(lambda h: b"\xb8" + bytes([h[0] & 31]) + h[1:]))
reject("header_keys_unsorted", "key 3 stands behind key 4", ["R2.1-d"], "Z217",
       raw_header(lambda h: h.replace(b"\x03\x02\x04\x48" + LUNANA.node, b"\x04\x48" + LUNANA.node + b"\x03\x02")))
reject("header_key_twice", "key 3 stands twice", ["R2.1-d"], "Z217", raw_header(lambda h: bytes([h[0] + 1]) + h[1:].replace(b"\x03\x02\x04\x48", b"\x03\x02\x03\x02\x04\x48", 1)))
reject("header_unknown_even_key", "a key that a reader must understand and does not: 10", ["R2.1-h"], "Z223", edit_header(lambda h: h | {10: 0}))
reject("header_negative_key", "a negative key", ["R2.1-h"], "Z223", edit_header(lambda h: h | {-1: 0}))
reject("header_created_text", "the known odd key 1 holds a text", ["R2.1-h", "R4.1-b"], "Z217", edit_header(lambda h: h | {1: "today"}))
reject("header_lane_4", "the lane is 4", ["R4.1-b"], "Z217", edit_header(lambda h: h | {3: 4}))
reject("header_short_domain", "a domain hint of 3 bytes", ["R4.1-b"], "Z217", edit_header(lambda h: h | {2: h[2][:3]}))
reject("header_is_array", "the header is an array", ["R4.1-b"], "Z217", raw_header(lambda h: b"\x81\x00"))
reject("header_too_long", "9 000 bytes under an unknown odd key", ["R4.1-b"], "Z218", edit_header(lambda h: h | {LATER: bytes(9000)}))
reject("no_recipient", "the list of recipients is empty", ["R4.1-b"], "Z217", lambda label: plain(label, to=[]))
reject("recipients_65", "65 recipients", ["R4.1-b"], "Z218", lambda label: plain(label, to=[HUB] * 65))
reject("sealed_key_short", "a sealed key of 79 bytes", ["R4.1-b"], "Z217", edit_header(lambda h: h | {8: [[t, s[:79]] for t, s in h[8]]}))
reject("recipient_of_three", "a recipient with a third element", ["R4.1-b"], "Z217", edit_header(lambda h: h | {8: [[t, s, 0] for t, s in h[8]]}))
SMALL_ORDER = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
NOT_CANONICAL = bytes.fromhex("f0" + "ff" * 30 + "7f")         # y = p + 3: the point of y = 3, spelled wrong
reject("sender_key_small_order", "the sender's key is a point of order 8", ["R2.2-b"], "Z217", edit_header(lambda h: h | {6: SMALL_ORDER}))
reject("sender_key_not_canonical", "the sender's key has y >= p", ["R2.2-b"], "Z217", edit_header(lambda h: h | {6: NOT_CANONICAL}))
reject("sender_key_no_point", "the sender's key is not on the curve", ["R2.2-b"], "Z217", edit_header(lambda h: h | {6: b"\x02" + bytes(31)}))

# ---- the frames, written so ----
reject("no_chunk", "the trailer follows the header at once", ["R4.1-e"], "Z213", lambda label: plain(label, frames=lambda f: []))
reject("chunk_without_content", "the only chunk holds a tag and nothing else", ["R4.1-e"], "Z213", lambda label: plain(label, split=lambda p: [b""]))
reject("chunk_short_in_the_middle", "a first chunk of 100 bytes, then the last", ["R4.1-e"], "Z213", lambda label: plain(label, split=lambda p: [p[:100], p[100:]]))
reject("chunk_too_long", "a chunk of 65 537 bytes", ["R4.1-e"], "Z213",
       lambda label: plain(label, pad=False, inner=lambda i: i + [enc(bytes(65_537 - 3 - sum(map(len, i))))], split=lambda p: [p]))
reject("chunk_long_head", "the chunk's head is longer than it needs", ["R2.1-a"], "Z213",
       lambda label: plain(label, frames=lambda f: [b"\x5a\x00\x00" + f[0][1:3] + f[0][3:]] if f[0][0] == 0x59 else [b"\x59\x00" + f[0][1:]]))
reject("chunk_is_text", "a text stands where a chunk should", ["R4.1-e"], "Z213", lambda label: plain(label, frames=lambda f: [bytes([f[0][0] | 0x20]) + f[0][1:]]))
reject("trailer_long_head", "the signature's length takes two bytes", ["R6.1-a"], "Z213",
       lambda label: plain(label, file=lambda d: resum(d[:-72] + b"\x82\x59\x00\x40" + d[-69:])))
IMPOSSIBLE = {
    "chunk_length_impossible": ("the chunk says 2 MiB, more than a chunk may have and than there is: it will not become whole",
                                lambda d: d[:12 + header_len(d)] + b"\x5a\x00\x20\x00\x00" + d[15 + header_len(d):]),
    "chunk_behind_a_short_one": ("behind a chunk that is not full another begins, and the file ends there", lambda d: d[:-72] + b"\x59"),
    "trailer_head_wrong_and_cut": ("the trailer is cut off behind a byte that no trailer has there", lambda d: d[:-71] + b"\x59"),
    "checksum_head_wrong_and_cut": ("the checksum is cut off behind a byte that it does not begin with", lambda d: d[:-5] + b"\x64"),
}
for name_, (why_, file_) in IMPOSSIBLE.items():
    reject(name_, why_, ["R6.1-a"], "Z213", lambda label, file=file_: plain(label, file=file))
reject("trailing_byte", "one byte behind the trailer", ["R4.1-f"], "Z219", lambda label: plain(label, file=lambda d: d + b"\0"))
reject("second_trailer", "the trailer stands twice", ["R4.1-f"], "Z219", lambda label: plain(label, file=lambda d: d + d[-72:]))
reject("two_files_in_one", "two files, one behind the other", ["R4.1-f"], "Z219", lambda label: plain(label) + plain(label + " again"))

# ---- the signature: the checksum fits ----
reject("signature_bit_summed", "one bit of the signature is flipped, the checksum made anew", ["R5.4-a", "R5.5-a"], "Z215", lambda label: plain(label, file=lambda d: resum(flipped(d, -40))))
reject("signed_by_another", "signed with another key than the header names", ["R5.4-a"], "Z215", lambda label: plain(label, sign_with=NOBODY.signing[0]))
reject("header_changed_summed", "the lane in the header was changed, the checksum made anew", ["R5.4-a"], "Z215",
       lambda label: plain(label, file=lambda d: resum(d.replace(b"\x03\x02\x04\x48", b"\x03\x01\x04\x48", 1))))
reject("chunk_bit_summed", "one bit of the chunk is flipped, the checksum made anew", ["R5.4-a"], "Z215", lambda label: plain(label, file=lambda d: resum(flipped(d, -100))))
reject("signature_s_above_order", "S of the signature is raised by the group order: the lax take it", ["R2.2-a"], "Z215",
       lambda label: plain(label, signature=lambda s: s[:32] + (int.from_bytes(s[32:], "little") + ORDER).to_bytes(32, "little")))

# ---- ours? ----
reject("sealed_for_another", "sealed for gasa-bhu, read by the hub", ["R5.2-c"], "Z611", lambda label: plain(label, to=[GASA]))
reject("sealed_key_bit", "the hint is the hub's, one bit of its sealed key was wrong when the file was signed", ["R5.2-c"], "Z611",
       edit_header(lambda h: h | {8: [[t, flipped(s, 60)] for t, s in h[8]]}))
reject("sealed_with_zero_point", "enc is 32 zero bytes, the hint fits: the shared secret would be known to all", ["R2.3-a"], "Z611",
       edit_header(lambda h: h | {8: [[hint(bytes(32), HUB.sealing_public[0]), bytes(32) + h[8][0][1][32:]]]}))
reject("other_domain", "a file of another domain, sealed for us all the same", ["R4.1-b"], "Z613", lambda label: plain(label, domain=OTHER_DOMAIN, ranges=[visits().range(domain=OTHER_DOMAIN)]))

# ---- the chunks ----


def photos(count=17):
    log = Log(LUNANA, 3)
    for i in range(count):
        log.add("photo", bytes([i]) * 4000)
    return [log.range(domain=DOMAIN)]


reject("chunk_bit_signed", "one bit of the chunk was wrong when its sender signed the file", ["R5.3-d"], "Z221", lambda label: plain(label, sealed=lambda c: [flipped(c[0], 9)]))
reject("chunk_tag_bit_signed", "one bit of the second chunk's tag was wrong when its sender signed the file; the first is good", ["R5.3-d"], "Z221",
       lambda label: plain(label, ranges=photos(), sealed=lambda c: [c[0], flipped(c[1], -1)]))
reject("chunks_swapped", "the first two of three chunks have changed places, then the file was signed", ["R5.3-c"], "Z221",
       lambda label: plain(label, ranges=photos(33), sealed=lambda c: [c[1], c[0], c[2]]))
reject("first_chunk_dropped", "the first of two chunks was left out, then the file was signed", ["R5.3-c"], "Z221", lambda label: plain(label, ranges=photos(), sealed=lambda c: c[1:]))
reject("last_chunk_dropped", "the second of two chunks was left out, then the file was signed: the first is not marked as last", ["R5.3-c"], "Z221",
       lambda label: plain(label, ranges=photos(), sealed=lambda c: c[:1]))
reject("last_flag_missing", "the only chunk is not sealed as the last", ["R5.3-a"], "Z221", lambda label: plain(label, last=False))
reject("last_flag_early", "both of two chunks are sealed as the last", ["R5.3-a"], "Z221", lambda label: plain(label, ranges=photos(), last=True))

# ---- the inner items ----


def edit_inner(change):
    return lambda label: plain(label, inner=change)


def edit_manifest(change, **how):
    return lambda label: plain(label, manifest_edit=change, **how)


def raw_manifest(change):
    return lambda label: plain(label, manifest_bytes=change)


def edit_told(change):
    """`change`: the first vector entry -> another."""
    return edit_manifest(lambda m: m | {1: [change(list(m[1][0]))] + m[1][1:]})


def put(row, at, value):
    return row[:at] + [value] + row[at + 1:]


reject("manifest_missing", "only a pad is inside", ["R4.1-d"], "Z222", edit_inner(lambda i: [b"\x44" + bytes(4)]))
reject("manifest_not_a_map", "the first item is an array", ["R4.1-d"], "Z222", raw_manifest(lambda m: b"\x80"))
reject("manifest_too_long", "a manifest of 1 MiB and some bytes", ["R4.2-a"], "Z218", edit_manifest(lambda m: m | {LATER: bytes(1 << 20)}))
reject("manifest_without_table", "key 0 is missing", ["R4.2-a"], "Z222", lambda label: plain(label, manifest_edit=lambda m: {1: [], 3: m[3]}))
reject("manifest_without_vector", "key 1 is missing", ["R4.2-a"], "Z222", edit_manifest(without(1)))
reject("manifest_unknown_even_key", "a key that a reader must understand and does not: 2", ["R2.1-h"], "Z223", edit_manifest(lambda m: m | {2: 0}))
reject("manifest_negative_key", "a negative key", ["R2.1-h"], "Z223", edit_manifest(lambda m: m | {-1: 0}))
reject("manifest_table_unsorted", "the node table does not ascend", ["R4.2-a"], "Z222",
       lambda label: plain(label, manifest_edit=lambda m: m | {0: [max(LUNANA.node, GASA.node), min(LUNANA.node, GASA.node)]}, vector=[]))
reject("manifest_table_twice", "the node table holds one id twice", ["R4.2-a"], "Z222", edit_manifest(lambda m: m | {0: m[0] + m[0]}))
reject("manifest_node_beyond_table", "a vector entry names node 1 of a table of one", ["R4.2-a"], "Z222", edit_told(lambda row: put(row, 0, 1)))
reject("manifest_audience_beyond_table", "a vector entry names audience 7 of a table of one", ["R4.2-a"], "Z222", edit_told(lambda row: put(row, 3, 7)))
reject("manifest_lane_4", "a vector entry names lane 4", ["R4.2-a"], "Z222", edit_told(lambda row: put(row, 2, 4)))
reject("manifest_seq_0", "a vector entry tells seq 0", ["R4.2-a", "R3.6-a"], "Z222", edit_told(lambda row: put(row, 4, 0)))
reject("manifest_short_tag", "a tag of 3 bytes", ["R3.6-b"], "Z222", edit_told(lambda row: put(row, 5, b"abc")))
reject("manifest_vector_unsorted", "the vector's entries stand in the wrong order", ["R3.1-d"], "Z222",
       lambda label: plain(label, vector=[(visits(), 3), (visits(lane=1), 3)], manifest_edit=lambda m: m | {1: m[1][::-1]}))
reject("manifest_vector_entry_twice", "the vector tells one position twice", ["R4.2-a"], "Z222",
       lambda label: plain(label, vector=[(visits(), 3), (visits(), 3)]))
reject("manifest_receipt_text", "the receipt number is a text", ["R6.5-a"], "Z222", edit_manifest(lambda m: m | {3: [m[3][0], "1"]}))
reject("manifest_fork_digests_unsorted", "the digests of a fork notice do not ascend", ["R4.2-a"], "Z222",
       edit_manifest(lambda m: m | {5: [[[0, LUNANA.incarnation, 2, None], 2, b"\x02" * 8, b"\x01" * 8]]}))
reject("manifest_fork_digests_equal", "a fork notice tells one digest twice", ["R4.2-a", "R6.4-h"], "Z222",
       edit_manifest(lambda m: m | {5: [[[0, LUNANA.incarnation, 2, None], 2, b"\x01" * 8, b"\x01" * 8]]}))
reject("manifest_long_head", "a seq in more bytes than it needs", ["R2.1-a"], "Z222", raw_manifest(lambda m: m.replace(b"\x02\xf6\x03\x44", b"\x02\xf6\x18\x03\x44", 1)))
for name_ in ("float", "null", "bignum", "duplicate", "nine_levels"):
    what_, item_, rule_ = BAD_VALUES[name_]
    reject(f"manifest_{name_}", f"under an unknown odd key stands {what_}", [rule_, "R2.1-h"], "Z222", edit_manifest(lambda m, item=item_: m | {LATER: Raw(item)}))
reject("manifest_depth_bomb", "under an unknown odd key stand 20 000 arrays, each in the one before", ["R2.1-f"], "Z222", edit_manifest(lambda m: m | {LATER: Raw(nested(20_000))}))
reject("inner_item_cut", "the inside ends within the range", ["R4.1-d"], "Z222", lambda label: plain(label, pad=False, inner=lambda i: [i[0], i[1][:-5]]))
reject("inner_item_number", "a number stands where a range should", ["R4.1-d"], "Z222", edit_inner(lambda i: [i[0], b"\x00"]))
reject("inner_item_tagged", "the range bears a tag", ["R2.1-c"], "Z222", edit_inner(lambda i: [i[0], b"\xc1" + i[1]]))
reject("pad_not_zero", "the pad holds a 1", ["R4.5-a"], "Z222", edit_inner(lambda i: i[:2] + [b"\x44\0\0\0\1"]))
reject("pad_twice", "two pads", ["R4.5-a"], "Z222", edit_inner(lambda i: i[:2] + [b"\x42\0\0", b"\x42\0\0"]))
reject("range_after_pad", "a range behind the pad", ["R4.5-a", "R4.1-d"], "Z222", edit_inner(lambda i: [i[0], b"\x44" + bytes(4), i[1]]))

# ---- the shape of ranges ----


def edit_range(change):
    return lambda label: plain(label, ranges=[visits().range(domain=DOMAIN, edit=change)])


def swap(key, value):
    return edit_range(lambda r: r | {key: value(r) if callable(value) else value})


reject("range_unknown_even_key", "a key that a reader must understand and does not: 16", ["R2.1-h"], "Z223", swap(16, 0))
reject("range_negative_key", "a negative key", ["R2.1-h"], "Z223", swap(-2, 0))
reject("range_odd_key_null", "null under an unknown odd key", ["R2.1-c", "R2.1-h"], "Z222", swap(17, None))
for key_, name_ in ((0, "log"), (2, "first"), (4, "count"), (6, "codec"), (8, "data"), (10, "checkpoints"), (12, "base")):
    reject(f"range_without_{name_}", f"key {key_} is missing", ["R4.3-e" if key_ == 12 else "R4.3-a"], "Z222", edit_range(without(key_)))
reject("range_node_beyond_table", "the range's origin is node 1 of a table of one", ["R4.3-a", "R4.2-a"], "Z222", swap(0, lambda r: put(r[0], 0, 1)))
reject("range_audience_beyond_table", "the range's audience is node 3 of a table of one", ["R4.3-a", "R4.2-a"], "Z222", swap(0, lambda r: put(r[0], 3, 3)))
reject("range_lane_4", "the range's lane is 4", ["R3.1-c"], "Z222", swap(0, lambda r: put(r[0], 2, 4)))
reject("range_incarnation_long", "an incarnation of 5 bytes", ["R3.1-c"], "Z222", swap(0, lambda r: put(r[0], 1, bytes(5))))
reject("range_first_0", "the first event is number 0", ["R4.3-b"], "Z222", swap(2, 0))
reject("range_last_too_high", "the last event would be number 2^63", ["R4.3-b"], "Z222", swap(2, (1 << 63) - 2))
reject("range_count_0", "no events, and no checkpoints", ["R4.3-b"], "Z222", edit_range(lambda r: r | {4: 0, 10: []}))
reject("range_count_4097", "4 097 events", ["R4.3-b"], "Z218",
       lambda label: plain(label, ranges=[tiny(4097).range(domain=DOMAIN)]))
reject("range_checkpoints_empty", "the list of checkpoints is empty", ["R4.3-d"], "Z222", swap(10, []))
reject("range_offsets_descend", "the checkpoints' offsets do not ascend", ["R4.3-d"], "Z222",
       lambda label: plain(label, ranges=[visits().range(domain=DOMAIN, checkpoints=[2, 3], edit=lambda r: r | {10: r[10][::-1]})]))
reject("range_offset_twice", "one checkpoint stands twice", ["R4.3-d"], "Z222", swap(10, lambda r: r[10] * 2))
reject("range_offset_0", "a checkpoint at offset 0", ["R4.3-d"], "Z222", swap(10, lambda r: [[0, r[10][0][1]]] + r[10]))
reject("range_offset_beyond", "a checkpoint at offset 4 of 3", ["R4.3-d"], "Z222", swap(10, lambda r: r[10] + [[4, r[10][0][1]]]))
reject("range_checkpoint_not_at_end", "the last checkpoint is at 2 of 3", ["R4.3-d"], "Z222", lambda label: plain(label, ranges=[visits().range(domain=DOMAIN, checkpoints=[2])]))
reject("range_base_short", "a base of 31 bytes", ["R4.3-e"], "Z222", swap(12, lambda r: r[12][:31]))
reject("range_signature_short", "a checkpoint's signature of 63 bytes", ["R4.3-d"], "Z222", swap(10, lambda r: [[3, [1, r[10][0][1][1][:63]]]]))
reject("range_codec_4", "codec 4", ["R4.4-a"], "Z223", swap(6, lambda r: [4, r[6][1]]))
reject("range_raw_len_0", "a raw length of 0", ["R4.3-c"], "Z222", edit_range(lambda r: r | {6: [0, 0], 8: b""}))
reject("range_raw_len_too_long", "a raw length of 1 MiB + 1, claimed of a few compressed bytes", ["R4.3-c"], "Z218", swap(6, [1, (1 << 20) + 1]))
reject("range_raw_len_above", "stored data, the raw length claims one byte more", ["R4.4-c"], "Z224", swap(6, lambda r: [0, r[6][1] + 1]))
reject("range_raw_len_below", "stored data, the raw length claims one byte less", ["R4.4-c"], "Z224", swap(6, lambda r: [0, r[6][1] - 1]))
reject("prefix_without_need", "a prefix beside stored data", ["R4.4-a"], "Z222", lambda label: plain(label, ranges=[visits().range(3, 3, domain=DOMAIN, edit=lambda r: r | {14: [1, 2]})]))


def primed(prefix):
    """Event 10 of a history, compressed after a prefix that this reader does not hold."""
    log = visits(count=10)
    more = {} if prefix is None else {14: prefix}
    return lambda label: plain(label, ranges=[log.range(10, domain=DOMAIN, codec=2, data=stored_frame(log.events[9]), edit=lambda r: r | more)])


reject("prefix_missing", "codec 2 without a prefix", ["R4.4-a"], "Z222", primed(None))
reject("prefix_reaches_into_range", "a prefix that ends at first", ["R4.4-a", "R4.4-d"], "Z222", primed([9, 2]))
reject("prefix_in_a_file", "codec 2, with a prefix that might be held: a file opens without the log", ["R4.4-d"], "Z222", primed([1, 9]))


def mixed(edit):
    """Two events in codec 3, whose data is then not what a writer writes."""
    log = visits(count=2)
    data = zbmix.encode(b"".join(log.events))
    return lambda label: plain(label, ranges=[log.range(domain=DOMAIN, codec=3, data=edit(data))])


reject("mixed_empty", "codec 3 without even the size of its tables", ["R4.8-a"], "Z224", mixed(lambda d: b""))
reject("mixed_tables_small", "codec 3 with memories of 2^11 bytes", ["R4.8-a"], "Z224", mixed(lambda d: b"\x0b" + d[1:]))
reject("mixed_tables_large", "codec 3 with memories of 2^19 bytes", ["R4.8-a"], "Z224", mixed(lambda d: b"\x13" + d[1:]))
reject("mixed_code_long", "codec 3, one zero behind the code: it would decode alike, and one value has one spelling", ["R4.8-b"], "Z224", mixed(lambda d: d + b"\0"))
reject("mixed_code_short", "codec 3, the last two bytes of the code are missing", ["R4.8-b"], "Z224", mixed(lambda d: d[:-2]))
reject("mixed_prefix_in_a_file", "codec 3, with a prefix that might be held: a file opens without the log", ["R4.4-d"], "Z222",
       lambda label: plain(label, ranges=[visits(count=10).range(10, domain=DOMAIN, codec=3, data=zbmix.encode(visits(count=10).events[9], b"".join(visits(count=10).events[:9])), edit=lambda r: r | {14: [1, 9]})]))

# ---- the roster inside ----


def laya_roster(**how):
    return enrol(roster(), LAYA, 0).range(5, domain=DOMAIN, **how)


def from_laya(label, ranges, **how):
    return bundle(label, LAYA, [HUB], ranges, domain=DOMAIN, **how)


reject("roster_after_other", "a roster range behind a clinic's", ["R4.6-g"], "Z222", lambda label: plain(label, ranges=[visits().range(domain=DOMAIN), laya_roster()]))
reject("roster_compressed", "a roster range with codec 1", ["R4.4-e"], "Z222",
       lambda label: plain(label, ranges=[laya_roster(codec=1, data=stored_frame(enrol(roster(), LAYA, 0).events[4])), visits().range(domain=DOMAIN)]))
reject("roster_gap", "the roster from event 6 on, which enrols the sender; we hold up to 4", ["R6.1-e"], "Z612",
       lambda label: from_laya(label, [enrol(enrol(roster(), NOBODY, 0), LAYA, 0).range(6, domain=DOMAIN), visits(LAYA).range(domain=DOMAIN)]))
reject("roster_forged", "lunana-bhu signs a roster event that makes laya-bhu a member", ["R8.1-c", "R3.5-b"], "Z225",
       lambda label: from_laya(label, [forged_roster(LUNANA).range(5, domain=DOMAIN), visits(LAYA).range(domain=DOMAIN)]))
reject("roster_own_voucher", "the authority's new key vouches for the event that introduces it", ["R8.3-g"], "Z615",
       lambda label: bundle(label, REHUB, [GASA], [rekey(roster(REHUB), REHUB, 2, []).range(5, domain=DOMAIN, number=2)], domain=DOMAIN), keys="gasa-bhu")
reject("roster_by_replaced_key", "behind a rekey of the authority the outgoing key enrols laya-bhu, whose events are in the file", ["R8.3-l"], "Z615",
       lambda label: replaced(label, lambda log: [log.range(6, 6, domain=DOMAIN)]), keys="gasa-bhu")
reject("roster_behind_replaced_key", "the same, and a range of the new key behind it: what that vouches for is learned from a log, not in this file", ["R8.3-l"], "Z615",
       lambda label: replaced(label, lambda log: [log.range(6, 6, domain=DOMAIN), log.range(7, 7, domain=DOMAIN, number=2)]), keys="gasa-bhu")
reject("roster_event_long", "a roster event with a payload of 4 097 bytes", ["R3.2-c"], "Z226",
       lambda label: plain(label, ranges=[roster().add("zb/later", bytes(4097)).range(5, domain=DOMAIN), visits().range(domain=DOMAIN)]))


def replaced(label, behind):
    log = enrol(rekey(roster(REHUB), REHUB, 2, []), LAYA, 0).add("zb/alive", enc({}))
    ranges = [log.range(5, 5, domain=DOMAIN), *behind(log), visits(LAYA, 1).range(domain=DOMAIN)]
    return bundle(label, REHUB, [GASA], ranges, domain=DOMAIN, sender_key=2)


def forged_roster(writer):
    log = enrol(roster(), LAYA, 0)
    log.writer = writer
    return log


# ---- the sender ----
reject("unknown_sender", "a stranger carries what lunana-bhu wrote", ["R6.3-d", "R5.4-c"], "Z612", lambda label: plain(label, sender=NOBODY))
reject("unknown_sender_receipt", "a stranger's receipt, nothing else", ["R6.3-d"], "Z612", lambda label: bundle(label, NOBODY, [HUB], [], domain=DOMAIN, vector=[(visits(), 3)]))
reject("sender_with_other_id", "lunana-bhu's key beside gasa-bhu's id", ["R8.3-f"], "Z612", edit_header(lambda h: h | {4: GASA.node}))

# ---- the ranges' content ----


def tiny(count):
    log = Log(LUNANA, 3)
    for _ in range(count):
        log.add("t", hlc=0)
    return log


def compressed(data, log=None, raw_len=None):
    log = log or visits()
    edit = (lambda r: r | {6: [1, raw_len]}) if raw_len else None
    return lambda label: plain(label, ranges=[log.range(domain=DOMAIN, codec=1, data=data, edit=edit)])


RAW = b"".join(visits().events)
BLOCK = block(RAW, True)
reject("sum_of_claims", "two ranges of 1 MiB each in a file that allows 1 MiB and 200 times itself; the first is good", ["R4.4-l"], "Z218", lambda label: plain(label, ranges=[zeros(1), zeros(2)]))


def zeros(lane):
    """64 events of the largest size, together exactly 1 MiB, and a frame of 1.5 kB that says so."""
    log = Log(LUNANA, lane)
    for _ in range(64):
        log.add_raw(enc([0, "z", b"", {15: bytes(16_384 - 10)}]))
    body = log.events[0].rstrip(b"\0")
    blocks = b"".join(block(body, False) + block(b"\0", i == 63, 16_384 - len(body)) for i in range(64))
    return log.range(domain=DOMAIN, codec=1, data=frame(blocks, 1 << 20))


reject("zstd_raw_len_above", "the raw length claims one byte more than the frame", ["R4.4-c"], "Z224", compressed(stored_frame(RAW), raw_len=len(RAW) + 1))
reject("zstd_raw_len_below", "the raw length claims one byte less than the frame", ["R4.4-c"], "Z224", compressed(stored_frame(RAW), raw_len=len(RAW) - 1))
reject("zstd_bomb", "a frame that says it is small and unpacks to 8 MiB", ["R4.4-c"], "Z224",
       compressed(frame(b"".join(block(b"\0", i == 63, 1 << 17) for i in range(64)), len(RAW), window_log=17)))
reject("zstd_short", "a frame that unpacks to less than it says", ["R4.4-c"], "Z224", compressed(frame(block(RAW[:-1], True), len(RAW))))
reject("zstd_window_21", "a window of 2^21", ["R4.4-h", "R4.4-b"], "Z224", compressed(stored_frame(RAW, window_log=21)))
reject("zstd_two_frames", "two frames, one behind the other", ["R4.4-c"], "Z224", compressed(stored_frame(RAW) + b"\x28\xb5\x2f\xfd" + stored_frame(RAW)))
reject("zstd_bytes_behind", "one byte behind the frame", ["R4.4-c"], "Z224", compressed(stored_frame(RAW) + b"\0"))
reject("zstd_skippable_behind", "a skippable frame behind the frame", ["R4.4-c"], "Z224", compressed(stored_frame(RAW) + b"\x50\x2a\x4d\x18\x00\x00\x00\x00"))
reject("zstd_cut", "the frame's last byte is missing", ["R4.4-c"], "Z224", compressed(stored_frame(RAW)[:-1]))
reject("zstd_never_ends", "no block of the frame is the last", ["R4.4-c"], "Z224", compressed(frame(block(RAW, False), len(RAW))))
reject("zstd_checksum_wrong", "a frame with a checksum, a wrong one", ["R4.4-b", "R4.4-c"], "Z224", compressed(stored_frame(RAW, flags=4) + bytes(4)))
reject("zstd_reserved_bit", "the frame header's reserved bit is set", ["R4.4-c"], "Z224", compressed(stored_frame(RAW, flags=8)))
reject("zstd_dictionary", "a frame that names a dictionary", ["R4.4-b", "R4.4-c"], "Z224", compressed(bytes([0xA1, 0x07]) + stored_frame(RAW)[1:]))
reject("zstd_corrupt", "a block of the reserved kind", ["R4.4-c"], "Z224", compressed(frame((len(RAW) << 3 | 7).to_bytes(3, "little") + RAW, len(RAW))))
reject("zstd_with_magic", "a frame with its magic bytes, which should not be there", ["R4.4-b"], "Z224", compressed(b"\x28\xb5\x2f\xfd" + stored_frame(RAW)))
reject("zstd_empty", "no data at all", ["R4.4-c"], "Z224", compressed(b""))


# ---- events ----


def count_lies(count):
    """Three events in the data, another number claimed, and the checkpoint at that number."""
    log = visits()
    return lambda label: plain(label, ranges=[log.range(domain=DOMAIN, edit=lambda r: r | {4: count, 10: [[count, r[10][0][1]]]})])


def one_raw(raw: bytes):
    """A range of this one event; chain and checkpoint are right for these bytes."""
    def make(label):
        return plain(label, ranges=[Log(LUNANA, 2).add_raw(raw).range(domain=DOMAIN)])
    make.event = raw                                  # fixtures/events/reject is made of these
    return make


def one(kind="visit", payload=b"{}", ext=None, hlc=7):
    return one_raw(enc([hlc, kind, payload] + ([ext] if ext is not None else [])))


reject("events_fewer", "the range claims 4 events and holds 3", ["R4.3-c"], "Z226", count_lies(4))
reject("events_more", "the range claims 2 events and holds 3", ["R4.3-c"], "Z226", count_lies(2))
reject("events_bytes_between", "a byte stands between two events", ["R4.3-c", "R2.1-g"], "Z226",
       lambda label: plain(label, ranges=[visits().range(domain=DOMAIN, raw=visits().events[0] + b"\0" + b"".join(visits().events[1:]))]))
reject("event_cut", "the last event's last byte is missing", ["R4.3-c"], "Z226", lambda label: plain(label, ranges=[visits().range(domain=DOMAIN, raw=RAW[:-1])]))
reject("event_too_long", "an event of more than 16 384 bytes, by an unknown odd key", ["R3.2-c"], "Z226", one(ext={15: bytes(16_384)}))
reject("event_payload_too_long", "a payload of 4 097 bytes", ["R3.2-c"], "Z226", one(payload=bytes(4097)))
reject("event_payload_text", "the payload is a text", ["R3.2-c"], "Z226", one(payload="{}"))
reject("event_type_empty", "an empty type", ["R3.2-c"], "Z226", one(kind=""))
reject("event_type_too_long", "a type of 129 bytes", ["R3.2-c"], "Z226", one(kind="t" * 129))
reject("event_hlc_negative", "a negative stamp", ["R3.2-c"], "Z226", one(hlc=-1))
reject("event_hlc_float", "a float as stamp", ["R2.1-c"], "Z226", one(hlc=Raw(b"\xfb\x41\xda\x00\x00\x00\x00\x00\x00")))
reject("event_of_two", "an event without payload", ["R3.2-c"], "Z226", one_raw(enc([7, "visit"])))
reject("event_of_five", "an event with a fifth element", ["R3.2-c"], "Z226", one_raw(enc([7, "visit", b"", {1: "a"}, 0])))
reject("event_is_map", "a map where an event should be", ["R3.2-c"], "Z226", one_raw(enc({0: 7})))
reject("event_indefinite", "an event that is an array of indefinite length", ["R2.1-b"], "Z226", one_raw(b"\x9f\x07\x61t\x40\xff"))
reject("event_long_head", "a stamp in more bytes than it needs", ["R2.1-a"], "Z226", one(hlc=Raw(b"\x18\x07")))
reject("event_ext_empty", "an ext map without entries", ["R3.2-c"], "Z226", one(ext={}))
reject("event_ext_unknown_even_key", "an ext key that a reader must understand and does not: 4", ["R3.2-c", "R2.1-h"], "Z223", one(ext={4: 0}))
reject("event_ext_negative_key", "a negative ext key", ["R2.1-h"], "Z223", one(ext={-1: 0}))
reject("event_ext_nine_levels", "a value of nine levels under an unknown odd key", ["R2.1-f"], "Z226", one(ext={15: Raw(nested(9))}))
reject("event_ext_null", "null under an unknown odd key", ["R2.1-c"], "Z226", one(ext={15: None}))
reject("event_ext_unsorted", "ext keys that do not ascend", ["R2.1-d"], "Z226", one(ext=Raw(b"\xa2\x0b\x61a\x01\x61b")))
reject("event_record_key_empty", "an empty record key", ["R3.2-c"], "Z226", one(ext={1: ""}))
reject("event_record_key_too_long", "a record key of 201 bytes", ["R3.2-c"], "Z226", one(ext={1: "P" * 201}))
reject("event_record_key_bytes", "a record key that is a byte string", ["R3.2-c", "R2.1-h"], "Z226", one(ext={1: b"Patient"}))
reject("event_author_too_long", "an author of 201 bytes", ["R3.2-c"], "Z226", one(ext={11: "P" * 201}))
reject("event_base_65", "65 event ids in base", ["R3.2-c"], "Z226", one(ext={3: [visits().event_id(1)] * 65}))
reject("event_base_origin_text", "an event id whose origin is a text", ["R3.1-e"], "Z226", one(ext={3: [["lunana-bhu", 1, bytes(8)]]}))
reject("event_orig_short_digest", "an event id with a digest of 7 bytes", ["R3.1-e"], "Z226", one(ext={13: put(visits().event_id(1), 2, bytes(7))}))
reject("event_op_0", "op 0, which is never written", ["R3.2-c"], "Z226", one(ext={5: 0}))
reject("event_op_3", "op 3", ["R3.2-c"], "Z226", one(ext={5: 3}))
reject("part_index_beyond", "part 2 of 2, counted from 0", ["R3.2-e"], "Z226", one(payload=b"x", ext={2: [2, 2]}))
reject("part_of_one", "a part of one", ["R3.2-e"], "Z226", one(payload=b"x", ext={2: [0, 1]}))
reject("part_of_4097", "a part of 4 097", ["R3.2-e"], "Z226", one(payload=bytes(4096), ext={2: [0, 4097]}))
reject("part_short", "a part before the last with 4 095 bytes", ["R3.2-e"], "Z226", one(payload=bytes(4095), ext={2: [0, 2]}))
reject("part_last_empty", "a last part without a byte", ["R3.2-e"], "Z226", one(payload=b"", ext={2: [1, 2]}))
reject("part_with_author", "an author on part 1", ["R3.2-e"], "Z226", one(payload=b"x", ext={2: [1, 2], 11: "Dr Pema"}))

# ---- signers, chain, checkpoints ----


def checkpointed(make, log=None, seq=3):
    """The range's last checkpoint replaced by make(log)."""
    log = log or visits()
    return lambda label: plain(label, ranges=[log.range(domain=DOMAIN, edit=lambda r: r | {10: [[seq, make(log)]]})])


def with_origin(node, incarnation, lane, audience):
    return lambda log: log.checkpoint(3, DOMAIN, origin=(node, incarnation, lane, audience))


def by(node):
    def make(log):
        other = visits()
        other.writer = node
        return other.checkpoint(3, DOMAIN)
    return make


reject("unknown_signer", "lunana-bhu brings events of a node that nobody enrolled", ["R6.3-d", "R4.6-h"], "Z615", lambda label: plain(label, ranges=[visits(NOBODY).range(domain=DOMAIN)]))
reject("unknown_key_number", "a checkpoint under lunana-bhu's key number 2, which it does not have", ["R3.5-b"], "Z615", lambda label: plain(label, ranges=[visits().range(domain=DOMAIN, number=2)]))
reject("unknown_key_number_inside", "the end is signed with key 1, a checkpoint before it with key 2, which there is not", ["R3.5-b"], "Z615",
       lambda label: plain(label, ranges=[visits().range(domain=DOMAIN, checkpoints=[(2, 2), (3, 1)])]))
reject("base_not_h_0", "a range from 1 with a base that is not h_0; chain and checkpoint go on from it rightly", ["R4.3-e"], "Z225", lambda label: plain(label, ranges=[other_base()]))
reject("base_wrong", "a range from 2 with a wrong base", ["R4.3-f"], "Z225",
       lambda label: plain(label, ranges=[visits().range(2, domain=DOMAIN, edit=lambda r: r | {12: flipped(r[12], 5)})]))
reject("event_changed", "one byte of a payload is another than was signed", ["R4.3-f", "R3.5-a"], "Z225",
       lambda label: plain(label, ranges=[visits().range(domain=DOMAIN, raw=RAW.replace(b"111/80", b"191/80"))]))
reject("event_changed_compressed", "the same, compressed", ["R4.3-f", "R3.5-a"], "Z225", compressed(stored_frame(RAW.replace(b"111/80", b"191/80"))))
reject("events_swapped", "two events have changed places", ["R4.3-f", "R3.4-a"], "Z225",
       lambda label: plain(label, ranges=[visits().range(domain=DOMAIN, raw=b"".join(visits().events[i] for i in (1, 0, 2)))]))
reject("event_left_out", "the second of three events was left out; the relay renumbered", ["R4.3-f", "R6.7-b"], "Z225",
       lambda label: plain(label, ranges=[visits().range(domain=DOMAIN, raw=visits().events[0] + visits().events[2], edit=lambda r: r | {4: 2, 10: [[2, r[10][0][1]]]})]))
reject("range_renumbered", "events 1 to 3, told as 2 to 4", ["R4.3-f", "R3.4-a"], "Z225", swap(2, 2))
reject("checkpoint_bit", "one bit of the checkpoint is flipped", ["R4.3-f"], "Z225", checkpointed(lambda log: put(log.checkpoint(3, DOMAIN), 1, flipped(log.checkpoint(3, DOMAIN)[1], 33))))
reject("checkpoint_inside_bad", "the checkpoint at 2 is not good, the one at the end is", ["R4.3-f"], "Z225",
       lambda label: plain(label, ranges=[visits().range(domain=DOMAIN, checkpoints=[2, 3], edit=lambda r: r | {10: [[2, [1, flipped(r[10][0][1][1], 3)]], r[10][1]]})]))
reject("checkpoint_of_other_domain", "a checkpoint made for another domain", ["R3.4-b", "R3.5-a"], "Z225", checkpointed(lambda log: log.checkpoint(3, OTHER_DOMAIN)))
reject("checkpoint_of_other_lane", "a checkpoint of the same events in another lane", ["R3.5-e"], "Z225", checkpointed(with_origin(LUNANA.node, LUNANA.incarnation, 1, None)))
reject("checkpoint_of_other_audience", "a checkpoint of a directed history under an undirected one", ["R3.5-e"], "Z225", checkpointed(with_origin(LUNANA.node, LUNANA.incarnation, 2, HUB.node)))
reject("checkpoint_of_other_incarnation", "a checkpoint of another life", ["R3.5-e"], "Z225", checkpointed(with_origin(LUNANA.node, bytes(4), 2, None)))
reject("checkpoint_of_other_seq", "a checkpoint over the right hash that says 2", ["R3.5-e"], "Z225", checkpointed(lambda log: log.checkpoint(3, DOMAIN, signed_seq=2)))
reject("checkpoint_of_earlier_position", "the checkpoint of position 2 stands at 3", ["R3.5-e"], "Z225", checkpointed(lambda log: log.checkpoint(2, DOMAIN)))
reject("checkpoint_by_another", "gasa-bhu signs for lunana-bhu", ["R3.5-b"], "Z225", checkpointed(by(GASA)))
reject("checkpoint_by_the_hub", "the authority signs for lunana-bhu: it may enrol it, not speak for it", ["R3.5-b"], "Z225", checkpointed(by(HUB)))
reject("checkpoint_other_key_number", "gasa-bhu's key 2 under number 1", ["R3.5-b"], "Z225",
       lambda label: bundle(label, GASA, [HUB], [visits(GASA).range(domain=DOMAIN, number=2, edit=lambda r: r | {10: [[3, [1, r[10][0][1][1]]]]})], domain=DOMAIN, sender_key=2))
reject("checkpoint_s_above_order", "S of the checkpoint's signature is raised by the group order", ["R2.2-a"], "Z225",
       checkpointed(lambda log: [1, (lambda s: s[:32] + (int.from_bytes(s[32:], "little") + ORDER).to_bytes(32, "little"))(log.checkpoint(3, DOMAIN)[1])]))
reject("second_range_bad", "the first range is good, the second is not: nothing of the file is taken", ["R6.1-c", "R4.3-f"], "Z225",
       lambda label: plain(label, ranges=[visits(lane=1).range(domain=DOMAIN), visits().range(domain=DOMAIN, raw=RAW.replace(b"111/80", b"191/80"))]))


def other_base():
    log = visits()
    log.hashes = [flipped(log.hashes[0], 0)]
    events, log.events = log.events, []
    for e in events:
        log.add_raw(e)
    return log.range(domain=DOMAIN)


# ---- two faults: the earlier check tells ----
reject("order_bytes_behind_before_damage", "the checksum is wrong and a byte stands behind the trailer", ["R6.1-a"], "Z219", lambda label: plain(label, file=lambda d: flipped(d, -1) + b"\0"))
reject("order_bytes_behind_before_signature", "a byte behind the trailer and a wrong signature", ["R6.1-a"], "Z219", lambda label: plain(label, sign_with=NOBODY.signing[0], file=lambda d: d + b"\0"))
reject("order_signature_before_recipient", "a wrong signature, and sealed for another", ["R6.1-b"], "Z215", lambda label: plain(label, to=[GASA], sign_with=NOBODY.signing[0]))
reject("order_domain_before_recipient", "of another domain, and sealed for another", ["R6.1-b"], "Z613", lambda label: plain(label, to=[GASA], domain=OTHER_DOMAIN))
reject("order_first_chunk_before_second", "a bad manifest in the first chunk, a bad tag on the second", ["R6.1-b"], "Z222",
       lambda label: plain(label, ranges=photos(), manifest_edit=lambda m: m | {0: m[0] * 2}, sealed=lambda c: [c[0], flipped(c[1], -1)]))
reject("order_sender_before_unpacking", "a stranger brings a bomb: nothing is decompressed for it", ["R6.1-d"], "Z612",
       lambda label: plain(label, sender=NOBODY, ranges=[visits().range(domain=DOMAIN, codec=1, data=frame(b"".join(block(b"\0", i == 63, 1 << 17) for i in range(64)), len(RAW), window_log=17))]))
reject("order_unpacking_before_signer", "events of an unknown signer, compressed wrongly", ["R6.1-b"], "Z224", lambda label: plain(label, ranges=[visits(NOBODY).range(domain=DOMAIN, codec=1, data=b"\0")]))
reject("order_unpacking_before_events", "a frame that does not unpack, of events that are none", ["R6.1-b"], "Z224",
       lambda label: plain(label, ranges=[Log(LUNANA, 2).add_raw(b"\xff").range(domain=DOMAIN, codec=1, data=b"\x20\x05\x00\x00")]))
reject("order_events_before_checkpoints", "an event of a wrong shape under a wrong checkpoint", ["R6.1-b"], "Z226",
       lambda label: plain(label, ranges=[Log(LUNANA, 2).add_raw(enc([7, "", b""])).range(domain=OTHER_DOMAIN)]))

"""Hashes, signatures and seals of SPEC §2.2 and §2.3, on top of `cryptography`; the strict half of Ed25519 by hand."""

import functools
import hashlib
import hmac

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from zbcbor import enc

MAGIC = bytes.fromhex("d9d9f8da5a424e3143424f52")
CP, FILE, REQUEST = b"zbundle/1 cp\0", b"zbundle/1 file\0", b"zbundle/1 request\0"


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def node_id(first_key: bytes) -> bytes:
    return sha256(b"zbundle/1 node\0", first_key)[:8]


def domain_id(authority_key: bytes) -> bytes:
    return sha256(b"zbundle/1 domain\0", authority_key)


# ---- the chain, §3.4 ----
def h_0(origin) -> bytes:
    return sha256(b"zbundle/1 log\0", enc(list(origin)))


def digest(event: bytes) -> bytes:
    return sha256(b"\0", event)


def h_next(h: bytes, seq: int, event: bytes) -> bytes:
    return sha256(b"\1", h, seq.to_bytes(8, "big"), digest(event))


def checkpoint_message(domain, origin, key_number, seq, h) -> bytes:
    return CP + enc([domain, *origin, key_number, seq, h])


# ---- Ed25519, strict (R2.2-a) ----
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def _double(x, y):
    """2(x, y) on the curve, affine: slow and plain."""
    t = D * x * x * y * y % P
    return 2 * x * y * pow(1 + t, P - 2, P) % P, (y * y + x * x) * pow(1 - t, P - 2, P) % P


@functools.lru_cache(maxsize=4096)
def usable_point(encoded: bytes) -> bool:
    """A canonical point that is not of small order (R2.2-b)."""
    if len(encoded) != 32:
        return False
    n = int.from_bytes(encoded, "little")
    sign, y = n >> 255, n & ((1 << 255) - 1)
    if y >= P:
        return False
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * ROOT % P
    if (x * x - xx) % P or (x == 0 and sign):
        return False
    if x & 1 != sign:
        x = P - x
    for _ in range(3):
        x, y = _double(x, y)
    return (x, y) != (0, 1)


def verify(key: bytes, signature: bytes, message: bytes) -> bool:
    if not usable_point(key) or not usable_point(signature[:32]) or int.from_bytes(signature[32:], "little") >= ORDER:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def sign(seed: bytes, message: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def signing_public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sealing_public(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def usable_sealing(public: bytes) -> bool:
    """Not of small order (R2.3-a, R8.3-e): any secret tells."""
    try:
        X25519PrivateKey.from_private_bytes(bytes(31) + b"\x40").exchange(X25519PublicKey.from_public_bytes(public))
        return True
    except ValueError:
        return False


# ---- HKDF, RFC 5869 ----
def extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), ikm, "sha256")


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    out = block = b""
    for i in range(1, -(-length // 32) + 1):
        block = hmac.digest(prk, block + info + bytes([i]), "sha256")
        out += block
    return out[:length]


# ---- HPKE, RFC 9180, mode Base, one shot (§2.3) ----
KEM = b"KEM\x00\x20"
SUITE = b"HPKE\x00\x20\x00\x01\x00\x03"
SEAL_INFO = b"zbundle/1 seal"


def _lextract(suite, salt, label, ikm):
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def _lexpand(suite, prk, label, info, length):
    return expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def _hpke_key(shared_dh: bytes, enc_key: bytes, recipient: bytes):
    if shared_dh == bytes(32):
        raise ValueError("X25519 gave zero")                             # R2.3-a
    shared = _lexpand(KEM, _lextract(KEM, b"", b"eae_prk", shared_dh), b"shared_secret", enc_key + recipient, 32)
    context = b"\0" + _lextract(SUITE, b"", b"psk_id_hash", b"") + _lextract(SUITE, b"", b"info_hash", SEAL_INFO)
    secret = _lextract(SUITE, shared, b"secret", b"")
    return ChaCha20Poly1305(_lexpand(SUITE, secret, b"key", context, 32)), _lexpand(SUITE, secret, b"base_nonce", context, 12)


def hpke_seal(recipient: bytes, plain: bytes, ephemeral: bytes) -> bytes:
    enc_key = sealing_public(ephemeral)
    dh = X25519PrivateKey.from_private_bytes(ephemeral).exchange(X25519PublicKey.from_public_bytes(recipient))
    aead, nonce = _hpke_key(dh, enc_key, recipient)
    return enc_key + aead.encrypt(nonce, plain, b"")


def hpke_open(secret: bytes, sealed: bytes):
    """The plaintext, or None."""
    try:
        dh = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(sealed[:32]))
        aead, nonce = _hpke_key(dh, sealed[:32], sealing_public(secret))
        return aead.decrypt(nonce, sealed[32:], b"")
    except (ValueError, InvalidTag):
        return None


def hint(enc_key: bytes, recipient: bytes) -> bytes:
    return sha256(enc_key, recipient)[:4]


# ---- chunks, §5.2 and §5.3 ----
def chunk_key(content_key: bytes, header: bytes) -> bytes:
    return expand(content_key, b"zbundle/1 chunks\0" + sha256(header), 32)


def _nonce(index: int, last: bool) -> bytes:
    return bytes(7) + index.to_bytes(4, "big") + bytes([last])


def chunk_seal(key, index, last, plain) -> bytes:
    return ChaCha20Poly1305(key).encrypt(_nonce(index, last), plain, b"")


def chunk_open(key, index, last, sealed):
    try:
        return ChaCha20Poly1305(key).decrypt(_nonce(index, last), sealed, b"")
    except InvalidTag:
        return None

"""Context mixing, SPEC §4.8, written from that section alone: a model that foretells bits, and a coder that writes down where it was wrong."""

from zbgrammar import Fault

U32, U64 = (1 << 32) - 1, (1 << 64) - 1
PREFIX_MAX = 128 * 1024
A = [
    1, 1, 1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 28, 36, 47, 60, 77, 98, 126, 162, 208, 267, 342, 439, 562, 720, 922, 1179, 1506, 1921,
    2446, 3108, 3938, 4971, 6249, 7812, 9702, 11955, 14595, 17625, 21025, 24743, 28693, 32768, 36843, 40793, 44511, 47911, 50941, 53581, 55834,
    57724, 59287, 60565, 61598, 62428, 63090, 63615, 64030, 64357, 64614, 64816, 64974, 65097, 65194, 65269, 65328, 65374, 65410, 65438, 65459,
    65476, 65489, 65500, 65508, 65514, 65519, 65523, 65526, 65528, 65530, 65531, 65532, 65533, 65534, 65534, 65535, 65535, 65535, 65535, 65535,
    65535,
]
M = [41, 27, 12, 6, 5, 5]
F = [0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4] + [5] * 30


def hash_(a, b):
    x = ((a ^ (b << 15 | b >> 17) & U32) * 0x9e3779b1) & U32
    return x ^ x >> 15


def wrapped(x):
    return ((x + (1 << 31)) & U32) - (1 << 31)


def cut(x, most):
    return max(-most, min(most, x))


def probability(x):
    i, f = divmod(cut(x, 3071) + 3072, 64)
    return (A[i] * (64 - f) + A[i + 1] * f + 32) // 64


def evidences():
    out, x = [], -3071
    for q in range(4096):
        while x < 3071 and probability(x + 1) <= 16 * q + 8:
            x += 1
        out.append(x)
    return out


PROBABILITY = [probability(x) for x in range(-3071, 3072)]
EVIDENCE = evidences()


def histories():
    """-> (next history after a 0 and after a 1, first guess), by number."""
    every = sorted((z + o, z, last, o) for z in range(42) for o in range(42) for last in (0, 1)
                   if min(z, o) <= 5 and max(z, o) <= M[min(z, o)] and ((z and o) or last == (o > 0)))
    number = {(z, o, last): i for i, (_, z, last, o) in enumerate(every)}

    def after(c, o):
        o = F[o]
        return min(c + 1, M[o]), o

    def named(z, o, last):
        return number[z, o, last if z and o else int(o > 0)]
    following, guess = [], []
    for _, z, _, o in every:
        (z1, o1), (o2, z2) = after(z, o), after(o, z)
        following.append((named(z1, o1, 0), named(z2, o2, 1)))
        guess.append((2 * o + 1) * 65535 // (2 * (z + o) + 2))
    return following, guess + [32768] * (256 - len(guess))


FOLLOWING, GUESS = histories()


class Counter:
    def __init__(self, p):
        self.p, self.n = p << 8, 0

    def learn(self, bit):
        self.p += (((1 << 24) - 1 if bit else 0) - self.p) * (131072 // (2 * self.n + 3)) >> 16
        self.n = min(self.n + 1, 254)

    def q(self):
        return self.p >> 12


class Place:
    """R4.8-g: where in a record the next byte stands."""
    def __init__(self):
        self.pending = self.left = self.major = self.argument = self.argument_left = self.item = 0
        self.json = self.first = self.in_text = self.escaped = False
        self.depth, self.level, self.text, self.place = [0] * 16, 0, 0, [0] * 4096
        self.key = self.key_before = self.value = self.offset = self.word = self.last_text = self.kinds = self.before = 0

    def take(self, b, count):
        c = chr(b)
        kind = (1 if c in "0123456789" else 2 if c in "abcdef" else 3 if "g" <= c <= "z" else 4 if "A" <= c <= "Z" else
                5 if c == '"' else 6 if c in "-.:/" else 7 if c == " " else 0)
        self.kinds = (self.kinds * 8 + kind) & U32
        self.word = hash_(self.word, b | 32) if "a" <= chr(b | 32) <= "z" and b < 128 and c.isalpha() else 0
        if self.before > 0 and self.before + 1 < count:
            self.before += 1
        if self.left > 0:
            self.left -= 1
            self.within(b, count)
            if self.left == 0:
                self.item_ends(count)
        elif self.argument_left > 0:
            self.argument = (self.argument << 8 | b) & U64
            self.argument_left -= 1
            self.go_on(b)
            if self.argument_left == 0:
                self.headed(count)
        else:
            if self.pending == 0:
                self.pending, self.item = 1, 0
            self.major, short = b >> 5, b % 32
            self.go_on(b)
            if 24 <= short <= 27:
                self.argument, self.argument_left = 0, 1 << short - 24
            else:
                self.argument = short if short < 24 else 0
                self.headed(count)

    def go_on(self, b):
        self.value, self.offset = hash_(self.value, b), self.offset + 1

    def headed(self, count):
        self.pending -= 1
        if self.major in (2, 3) and self.argument > 0:
            self.left, self.first, self.json = self.argument, True, False
            self.value, self.offset = hash_(self.major, 11), 0
            return
        if self.major in (4, 5):
            self.pending = min(self.pending + min(self.argument * (self.major - 3), U64), U64)
        self.item_ends(count)

    def item_ends(self, count):
        self.item = 0 if self.pending == 0 else (self.item + 1) & U32
        self.json = self.in_text = False
        self.level = self.key_before = 0
        self.arrive(hash_(self.item, 0xcb), count)
        self.value = 6

    def arrive(self, key, count):
        self.key, self.offset, self.value = key, 0, 1
        self.before, self.place[key >> 20] = self.place[key >> 20], count

    def within(self, b, count):
        if self.first:
            self.first = self.in_text = self.escaped = False
            self.level, self.json = 0, self.major == 2 and b in b"{["
        if not self.json:
            self.go_on(b)
        elif self.in_text:
            if self.escaped:
                self.escaped = False
            elif b == 92:
                self.escaped = True
            elif b == 34:
                self.in_text, self.last_text = False, self.text
                self.go_on(b)
                return
            self.text = hash_(self.text, b)
            self.go_on(b)
        elif b == 34:
            self.in_text, self.text, self.value = True, 0, hash_(self.value, 34)
        elif b == 58:
            self.key_before = self.key
            self.arrive(hash_(self.last_text, self.depth[(self.level - 1) % 16] if self.level > 0 else 0), count)
        elif b in b"{[":
            self.depth[self.level % 16] = self.key
            self.level, self.value, self.offset = self.level + 1, 2, 0
        elif b in b"}]":
            if self.level > 0:
                self.level -= 1
                self.key = self.depth[self.level % 16]
            self.value, self.offset = 3, 0
        elif b == 44:
            self.value, self.offset = 4, 0
        else:
            self.go_on(b)


def wrap4(data):
    """The last three fours of bytes, oldest first."""
    return data[-12:-8], data[-8:-4], data[-4:]


class Repetition:
    """R4.8-h."""
    def __init__(self, named_by, agreeing):
        self.named_by, self.agreeing = named_by, agreeing
        self.place, self.at, self.length, self.bit = [0] * (1 << 15), 0, 0, None
        self.right = [Counter(32768) for _ in range(64)]

    def take(self, data):
        if self.length > 0:
            self.at, self.length = self.at + 1, self.length + 1
        u, v, w = (int.from_bytes(part, "big") for part in wrap4(bytes(12) + data[-12:]))
        name = hash_(w, v & 0xffff) if self.named_by == 6 else hash_(hash_(w, v), u)
        candidate, self.place[name >> 17] = self.place[name >> 17], len(data)
        if self.length == 0 and candidate > 0:
            agree = 0
            while agree < min(400, candidate) and data[candidate - 1 - agree] == data[len(data) - 1 - agree]:
                agree += 1
            if agree >= self.agreeing:
                self.at, self.length = candidate, agree

    def counter(self):
        n = self.length
        return self.right[n if n < 16 else 12 + n // 4 if n < 32 else min(18 + n // 16, 63)]

    def guesses(self, data, known):
        self.bit = None
        if self.length == 0:
            return [0, 0]
        self.bit = data[self.at] >> 7 - known & 1
        said = [EVIDENCE[self.counter().q()], 16 * min(self.length, 32)]
        return said if self.bit else [-g for g in said]

    def learn(self, bit):
        if self.bit is not None:
            self.counter().learn(self.bit == bit)
            if self.bit != bit:
                self.length = 0


class Model:
    def __init__(self, t):
        self.data, self.place = bytearray(), Place()
        self.repetitions = [Repetition(6, 5), Repetition(12, 10)]
        self.slots = [[bytearray(16) for _ in range((1 << t) // 16)] for _ in range(8)]
        self.meanings = [[Counter(GUESS[h]) for h in range(256)] for _ in range(8)]
        self.plain = {}
        first = [2250] * 8 + [0] * 8
        self.weights, self.first = [{}, {}, {}], first
        self.last_weights = [[21845] * 3 for _ in range(256)]
        self.corrections = [{}, {}]
        self.plainly = [min(65535, probability((s - 12) * 256)) for s in range(25)]
        self.bits, self.known = 1, 0
        self.arrive()

    def arrive(self):
        """R4.8-i."""
        p, d = self.place, self.data
        b1, b2, b3, b4 = (d[-i] if len(d) >= i else 0 for i in (1, 2, 3, 4))
        w2 = b1 | b2 << 8
        e0, e1 = (d[p.before + i] if p.before > 0 and p.before + i < len(d) else 0 for i in (0, 1))
        r = self.repetitions[0]
        t = d[r.at] + 1 if r.length > 0 else 0
        this = [w2, w2 | b3 << 16 | b4 << 24, hash_(e0 | e1 << 8, w2), hash_(hash_(p.key, p.value), p.key_before),
                hash_(t | min(r.length, 31) // 4 << 9, p.key), hash_(p.key, min(p.offset, 60) + 1000),
                hash_(p.word, hash_(p.last_text, b1)), hash_(p.key, b1)]
        self.contexts = [hash_(c, (i + 1) * 0x01000193 & U32) for i, c in enumerate(this)]
        self.plain_context = hash_(p.key, hash_(p.kinds % 64, 7))
        self.find_slots()

    def find_slots(self):
        """R4.8-f."""
        self.slot = []
        for context, slots in zip(self.contexts, self.slots):
            n = hash_(context, self.bits * 0x2545f491 & U32) * 0x85ebca6b & U32
            check, near = max(1, n >> 24), (n >> 4) % len(slots)
            far = near ^ 1
            if slots[near][0] == check:
                at = near
            elif slots[far][0] == check:
                at = far
            else:
                at = near if slots[near][1] <= slots[far][1] else far
                slots[at][:] = bytes(16)
                slots[at][0] = check
            self.slot.append(slots[at])

    def predict(self):
        half = self.known & 3
        self.node = 1 << half | self.bits & (1 << half) - 1
        q, self.asked = [], []
        for slot, meanings in zip(self.slot, self.meanings):
            h = slot[self.node]
            self.asked.append(meanings[h])
            q.append(meanings[h].q() if h else 2048)
        at = hash_(self.plain_context, self.bits * 0x2545f491 & U32) >> 18
        self.counter = self.plain.setdefault(at, Counter(32768))
        g = [EVIDENCE[each] for each in q] + [q[3] - 2048 >> 2, q[4] - 2048 >> 2, EVIDENCE[self.counter.q()]]
        for repetition in self.repetitions:
            g += repetition.guesses(self.data, self.known)
        self.g = g + [256]
        length = self.repetitions[0].length
        r = 0 if length == 0 else 1 if length < 16 else 2 if length < 32 else 3
        key = self.place.key
        sets = [self.bits + 256 * r, (key ^ key >> 8) % 256 * 3 + min(r, 2), self.place.kinds % 256 * 8 + self.known]
        self.sets = [w.setdefault(s, list(self.first)) for w, s in zip(self.weights, sets)]
        self.xs = [cut(wrapped(sum(a * b for a, b in zip(w, self.g))) >> 14, 3071) for w in self.sets]
        self.x = cut(sum(a * b for a, b in zip(self.last_weights[self.bits], self.xs)) >> 16, 3071)
        p, (s, f) = 2 * PROBABILITY[self.x + 3071], divmod(self.x + 3072, 256)
        at = [self.bits + 256 * r, hash_(self.contexts[4], self.bits) >> 22]
        self.corrected = [c.setdefault(a, list(self.plainly)) for c, a in zip(self.corrections, at)]
        for v in self.corrected:
            p += v[s] * (256 - f) + v[s + 1] * f >> 8
        return max(16, min(65520, p >> 2))

    def learn(self, bit):
        """R4.8-m."""
        pace = 7 + 20 * 8192 // (8192 + min(len(self.data), 1 << 17))
        for w, x in zip(self.sets, self.xs):
            e = cut((bit * 65536 - PROBABILITY[x + 3071]) * pace >> 5, 32767)
            for i, guess in enumerate(self.g):
                w[i] = max(-32768, min(32767, w[i] + (guess * e + 0x4000 >> 15)))
        error = bit * 65536 - PROBABILITY[self.x + 3071]
        last = self.last_weights[self.bits]
        for j, x in enumerate(self.xs):
            last[j] += x * error + 0x4000 >> 15
        for v in self.corrected:
            s = (self.x + 3072 + 128) // 256
            v[s] += 65535 * bit - v[s] >> 5
        for counter, slot in zip(self.asked, self.slot):
            counter.learn(bit)
            slot[self.node] = FOLLOWING[slot[self.node]][bit]
        self.counter.learn(bit)
        for repetition in self.repetitions:
            repetition.learn(bit)
        self.bits, self.known = self.bits << 1 | bit, self.known + 1
        if self.known == 8:
            self.data.append(self.bits & 255)
            self.bits, self.known = 1, 0
            self.place.take(self.data[-1], len(self.data))
            for repetition in self.repetitions:
                repetition.take(self.data)
            self.arrive()
        elif self.known == 4:
            self.find_slots()


def bits_of(data):
    return (b >> i & 1 for b in data for i in range(7, -1, -1))


def learned(t, prefix):
    if len(prefix) > PREFIX_MAX:
        raise Fault("Z224", "a prefix above 128 KiB")
    model = Model(t)
    for bit in bits_of(prefix):
        model.predict()
        model.learn(bit)
    return model


def ending(low):
    return bytes([(low >> 24) + 1]) if low else b""


def encode(raw, prefix=b"", t=12):
    model, low, high, out = learned(t, prefix), 0, U32, bytearray([t])
    for bit in bits_of(raw):
        middle = low + ((high - low) * model.predict() >> 16)
        low, high = (low, middle) if bit else (middle + 1, high)
        while low >> 24 == high >> 24:
            out.append(low >> 24)
            low, high = low << 8 & U32, high << 8 & U32 | 255
        model.learn(bit)
    return bytes(out + ending(low))


def decode(data, raw_len, prefix=b""):
    """The `raw_len` bytes that `data` stands for; Fault Z224 if it is anything else than what a writer writes."""
    if not data or not 12 <= data[0] <= 18:
        raise Fault("Z224", "no size of tables there is")
    model, code = learned(data[0], prefix), data[1:]
    low, high, at, sent = 0, U32, int.from_bytes((code[:4] + bytes(4))[:4], "big"), 0
    for _ in range(8 * raw_len):
        middle = low + ((high - low) * model.predict() >> 16)
        bit = int(at <= middle)
        low, high = (low, middle) if bit else (middle + 1, high)
        while low >> 24 == high >> 24:
            low, high = low << 8 & U32, high << 8 & U32 | 255
            at = at << 8 & U32 | (code[sent + 4] if sent + 4 < len(code) else 0)
            sent += 1
        model.learn(bit)
    if len(code) < sent or code[sent:] != ending(low):
        raise Fault("Z224", "the code does not end where its events do")
    return bytes(model.data[len(prefix):])

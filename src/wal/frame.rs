//! One frame of a segment: the unit that is checksummed, sealed, and torn or whole.
//!
//! `len u32 | crc u32 | kind u8 | stream u32 | first u64 | count u16 | hlc u64 | sealed body | tag 16`, all little-endian. `len` counts from `kind` through the
//! tag; the CRC-32 covers `len` and everything behind the CRC. `len` 0 ends the log: what follows is padding.

use super::keys::{SALT_LEN, Session, SessionKey};

/// `len` through `hlc`.
pub const HEAD_LEN: usize = 31;
/// Poly1305 tag.
pub const TAG_LEN: usize = 16;
/// Head and tag: what a frame costs beyond its body.
pub const FRAME_OVERHEAD: usize = HEAD_LEN + TAG_LEN;
/// Largest frame: resync never checksums more than this at one offset. The largest body is one event of 65 535 bytes (R10.3-c).
pub const FRAME_LEN_MAX: usize = 128 * 1024;
/// Event bytes in one frame, unless one event alone is larger: what reading a single event decrypts (R10.3-c).
pub const FRAME_EVENTS_LEN: usize = 16 * 1024;

/// What a disk writes whole or not at all. Larger ones are made of these.
const SECTOR_LEN: usize = 512;

/// What a frame holds, and what its head's `stream`, `first`, `count` and `hlc` mean for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `count` lengths u16, then that many events of `stream` from position `first`; `hlc` is the stamp of their run's last.
    Events = 1,
    /// A writer begins: its salt in clear, an empty body; `stream` is the data key's number.
    Session = 2,
    /// What `stream` stands for: [`super::heads`].
    Stream = 3,
    /// `count` checkpoints of `stream`, `first` the lowest position, `hlc` the highest.
    Checkpoints = 4,
    /// Heads of the `count` streams touched since the last mark; `first` more such frames follow.
    Mark = 5,
    /// `count` streams go on at an earlier position: what they had behind it, up to here, is void. `first` and `hlc`: offset and length of the damage.
    CutBack = 6,
    /// Heads of all streams when the segment was sealed; `first` more such frames follow; the last ends with SHA-256 of the tables behind it.
    Heads = 7,
    /// Events again that rotted in an earlier segment: `stream`, `first`, `count` and body as of events; `hlc` 0. They move no head.
    Mended = 8,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        use Kind::{Checkpoints, CutBack, Events, Heads, Mark, Mended, Session, Stream};
        [Events, Session, Stream, Checkpoints, Mark, CutBack, Heads, Mended].into_iter().find(|kind| *kind as u8 == number)
    }
}

/// The clear part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// See [`Kind`] for it and the fields below.
    pub kind: Kind,
    /// Number of the stream in this log.
    pub stream: u32,
    /// First position.
    pub first: u64,
    /// How many.
    pub count: u16,
    /// Stamp.
    pub hlc: u64,
}

/// What stands at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A frame whose checksum fits, of this whole length.
    Frame(Head, usize),
    /// The end of the log, if only zeros follow.
    Zero,
    /// No frame.
    Bad,
    /// Perhaps a frame of this length, longer than the bytes given.
    Short(usize),
}

/// Look at the frame at the start of `bytes`.
pub fn look(bytes: &[u8]) -> Look {
    let Some((head, _)) = bytes.split_first_chunk::<HEAD_LEN>() else {
        return if bytes.iter().all(|byte| *byte == 0) { Look::Zero } else { Look::Short(HEAD_LEN) };
    };
    let len = u32_at(head, 0) as usize;
    if len == 0 {
        return Look::Zero;
    }
    let Some(kind) = Kind::from_number(head[8]) else { return Look::Bad };
    if !(FRAME_OVERHEAD - 8..=FRAME_LEN_MAX - 8).contains(&len) {
        return Look::Bad;
    }
    let Some(frame) = bytes.get(..len + 8) else { return Look::Short(len + 8) };
    if checksum(frame) != u32_at(head, 4) {
        return Look::Bad;
    }
    Look::Frame(Head { kind, stream: u32_at(head, 9), first: u64_at(head, 13), count: u16_at(head, 21), hlc: u64_at(head, 23) }, len + 8)
}

/// Whether the damaged frame at the start of `bytes`, `offset` in its file, was written whole, as far as anybody can tell (R10.8-g): `bytes` go up to the last
/// one of the log that is not zero, and as far as the file does but at most one beyond, for a tag may end with a zero. What the power cut off lacks sectors,
/// which are blank, or its end (R10.1-b).
pub fn was_whole(bytes: &[u8], offset: u64) -> bool {
    let Some((head, _)) = bytes.split_first_chunk::<HEAD_LEN>() else { return false };
    let told = (u32_at(head, 0) as usize).saturating_add(8);
    let is_length = |len: &usize| (FRAME_OVERHEAD..=FRAME_LEN_MAX).contains(len);
    if is_length(&told) && told <= bytes.len() && has_all_sectors(&bytes[..told], offset) {
        return true;
    }
    if bytes.len() <= FRAME_OVERHEAD || !has_all_sectors(bytes.strip_suffix(&[0]).unwrap_or(bytes), offset) {
        return false;
    }
    // The length itself has rotted, when all else is right for another one.
    let fits = |len: &usize| is_length(len) && checksum(&bytes[..*len]) == u32_at(head, 4);
    // Or more than the length. Of what ends inside a sector, more than a few zeros away from its edge, the end was written.
    let into = (offset + bytes.len() as u64 - 1) % SECTOR_LEN as u64;
    let ends_inside = bytes.last() == Some(&0) && (4..SECTOR_LEN as u64 - 4).contains(&into);
    [bytes.len() - 1, bytes.len()].iter().any(fits) || !is_length(&told) && ends_inside
}

/// Whether no sector that `bytes` reach into from `offset` on is blank there.
fn has_all_sectors(bytes: &[u8], offset: u64) -> bool {
    let into = usize::try_from(offset % SECTOR_LEN as u64).expect("below the sector's length");
    let (first, rest) = bytes.split_at((SECTOR_LEN - into).min(bytes.len()));
    std::iter::once(first).chain(rest.chunks(SECTOR_LEN)).all(|sector| sector.iter().any(|byte| *byte != 0))
}

/// Append a frame to `out`: `body` appends the plaintext. It will stand at `offset` of its segment.
pub fn write(out: &mut Vec<u8>, offset: u64, head: &Head, key: &SessionKey, body: impl FnOnce(&mut Vec<u8>)) {
    let start = open_head(out, head);
    body(out);
    close(out, start, start + HEAD_LEN, offset, key);
}

/// Append a session frame to `out`: the salt stands in clear, the tag proves the key.
pub fn write_session(out: &mut Vec<u8>, session: &Session, key: &SessionKey) {
    let head = Head { kind: Kind::Session, stream: session.key_id, first: 0, count: 0, hlc: 0 };
    let start = open_head(out, &head);
    out.extend_from_slice(&session.salt);
    close(out, start, start + HEAD_LEN + SALT_LEN, u64::from(session.offset), key);
}

/// The session a session frame begins; `None` when it is too short for one.
pub fn read_session(frame: &[u8], head: &Head, offset: u64) -> Option<Session> {
    let salt = *frame.get(HEAD_LEN..)?.first_chunk()?;
    (frame.len() == FRAME_OVERHEAD + SALT_LEN).then_some(Session { offset: u32::try_from(offset).ok()?, key_id: head.stream, salt })
}

/// Open the frame in place: its body, or `None` when this session did not seal it here.
pub fn open<'a>(frame: &'a mut [u8], offset: u64, key: &SessionKey) -> Option<&'a mut [u8]> {
    let (head, rest) = frame.split_first_chunk_mut::<HEAD_LEN>()?;
    let (mut body, tag) = rest.split_last_chunk_mut::<TAG_LEN>()?;
    if head[8] == Kind::Session as u8 {
        body = body.get_mut(SALT_LEN..)?; // in clear; the key itself is made of it
    }
    key.open(offset, &head[8..], body, tag).then_some(body)
}

/// Where the first event stands in the body of an opened events frame; `None` when the lengths do not add up.
pub fn first_event(body: &[u8], count: u16) -> Option<usize> {
    let lens_len = usize::from(count) * 2;
    let lens = body.get(..lens_len)?.chunks_exact(2).map(|len| usize::from(u16::from_le_bytes([len[0], len[1]])));
    (lens_len + lens.sum::<usize>() == body.len()).then_some(lens_len)
}

/// Length of event `index` of a body that [`first_event`] found good.
pub fn event_len(body: &[u8], index: u16) -> usize {
    usize::from(u16_at(body, usize::from(index) * 2))
}

fn open_head(out: &mut Vec<u8>, head: &Head) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.push(head.kind as u8);
    out.extend_from_slice(&head.stream.to_le_bytes());
    out.extend_from_slice(&head.first.to_le_bytes());
    out.extend_from_slice(&head.count.to_le_bytes());
    out.extend_from_slice(&head.hlc.to_le_bytes());
    start
}

fn close(out: &mut Vec<u8>, start: usize, body: usize, offset: u64, key: &SessionKey) {
    let (before, plain) = out.split_at_mut(body);
    let tag = key.seal(offset, &before[start + 8..start + HEAD_LEN], plain);
    out.extend_from_slice(&tag);
    let len = out.len() - start;
    assert!(len <= FRAME_LEN_MAX, "a frame of {len} bytes could not be read back");
    out[start..start + 4].copy_from_slice(&u32::try_from(len - 8).expect("bounded above").to_le_bytes());
    let crc = checksum(&out[start..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Of a whole frame, whatever its first 4 bytes say: they are its length.
fn checksum(frame: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&u32::try_from(frame.len() - 8).unwrap_or(u32::MAX).to_le_bytes());
    crc.update(&frame[8..]);
    crc.finalize()
}

/// Little-endian fields at fixed places; callers pass whole heads and entries.
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("2 bytes"))
}

/// See [`u16_at`].
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

/// See [`u16_at`].
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of `len` bytes behind its checksum, all of it right but perhaps its length.
    fn frame(len: usize) -> Vec<u8> {
        let mut frame = vec![0; (len + 8).max(HEAD_LEN)];
        frame[..4].copy_from_slice(&u32::try_from(len).unwrap().to_le_bytes());
        frame[8] = Kind::Events as u8;
        let crc = checksum(&frame[..len + 8]);
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
        frame
    }

    #[test]
    fn a_frame_is_neither_shorter_than_its_head_and_tag_nor_longer_than_the_most() {
        for (len, is_frame) in
            [(1, false), (5, false), (38, false), (39, true), (40, true), (128 * 1024 - 8, true), (128 * 1024 - 7, false), (1 << 20, false)]
        {
            assert_eq!(matches!(look(&frame(len)), Look::Frame(_, whole) if whole == len + 8), is_frame, "{len}");
        }
    }

    /// Who reads on knows how much to read.
    #[test]
    fn a_frame_cut_short_tells_how_long_it_would_be() {
        let whole = frame(200);
        for len in 0..whole.len() {
            let want = if len == 0 { Look::Zero } else { Look::Short(if len < HEAD_LEN { HEAD_LEN } else { 208 }) };
            assert_eq!(look(&whole[..len]), want, "{len}");
        }
        assert!(matches!(look(&whole), Look::Frame(_, 208)));
        for len in [1, HEAD_LEN - 1, HEAD_LEN, 500] {
            assert_eq!(look(&vec![0; len]), Look::Zero);
        }
    }

    /// R10.8-g, each of its three ways, at every place in a sector.
    #[test]
    fn what_was_written_whole_is_told_from_what_was_not() {
        let mut whole = frame(1500);
        whole[HEAD_LEN..].fill(0x5a);
        let crc = checksum(&whole);
        whole[4..8].copy_from_slice(&crc.to_le_bytes());
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = [&whole[..], &[0]].concat();
            change(&mut bytes);
            bytes
        };
        for offset in 64..64 + SECTOR_LEN as u64 {
            let ends = (offset + whole.len() as u64) % 512;
            let edge = usize::try_from(512 - offset % 512).unwrap();
            let is = |bytes: &[u8], want: bool, why: &str| assert_eq!(was_whole(bytes, offset), want, "{why}, at {offset}");
            is(&with(&|bytes| bytes[700] ^= 1), true, "a bit of it");
            is(&with(&|bytes| bytes[8] = 77), true, "its kind");
            is(&with(&|bytes| bytes[5] ^= 1), true, "its checksum");
            is(&with(&|bytes| bytes.extend([7; 40])), true, "something behind it");
            is(&with(&|bytes| bytes[0] ^= 1), true, "its length, by little");
            is(&with(&|bytes| bytes[1] ^= 0x40), true, "its length, by more");
            is(&with(&|bytes| (bytes[0], bytes[900]) = (bytes[0] ^ 2, 1)), false, "a length that was not reached: what a cut leaves");
            let garbled = with(&|bytes| (bytes[3], bytes[900]) = (0x80, 1));
            is(&garbled, (4..508).contains(&ends), "a length that none has, and a bit of it");
            is(&garbled[..whole.len()], false, "the file ends with it");
            is(&with(&|bytes| bytes[edge..edge + 512].fill(0)), false, "a sector is blank");
            is(&with(&|bytes| (bytes[3], bytes[edge + 600]) = (0x80, 1)), (4..508).contains(&ends), "and so is none of this");
            if edge < whole.len() {
                is(&with(&|bytes| bytes[..edge].fill(0)), false, "the first sector is blank");
            }
            let last = (offset + whole.len() as u64 - 1) / 512 * 512 - offset;
            is(&with(&|bytes| bytes[usize::try_from(last).unwrap()..].fill(0)), false, "the last one is blank");
            is(&whole[..whole.len() - 1], false, "its last byte is missing");
        }
        for len in 0..FRAME_OVERHEAD {
            assert!(!was_whole(&vec![0xff; len], 64), "{len} bytes are no frame");
        }
    }
}

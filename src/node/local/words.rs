//! What the two ends say to each other: frames of CBOR, length first. Local, of one user, of one version; the strict decoder is for strangers.

use crate::push::Skew;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;

/// Of these words.
pub const VERSION: u16 = 2;
/// A larger payload is not sent: its process borrows the node and writes it itself.
pub const PAYLOAD_LEN_MAX: usize = 64 * 1024;
/// One frame: a payload, or the fields of a push, whose texts are far below this.
const FRAME_LEN_MAX: usize = PAYLOAD_LEN_MAX + 4096;
/// Bytes of its length.
const PREFIX_LEN: usize = 4;

/// What a command asks. Answers come in the order of the requests.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// First: what we speak. Answered by `Hello`.
    Hello {
        /// [`VERSION`].
        version: u16,
    },
    /// What is said once for the payloads that follow. Answered by `Ready`.
    Begin(About),
    /// One payload. Answered by `Pushed` once it is durable.
    Push {
        /// As it is to be stored.
        #[serde(with = "raw")]
        payload: Vec<u8>,
    },
    /// Let us have the directory. Answered by `Lent`; only `Returned` may follow.
    Lend,
    /// The directory is yours again. Not answered.
    Returned,
    /// A command for the process that stays, as JSON. Answered by any number of `Line`, then `Exit`.
    Run {
        /// What to do.
        command: String,
    },
}

/// What the process that keeps the node answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// What we speak.
    Hello {
        /// [`VERSION`].
        version: u16,
    },
    /// Payloads may come.
    Ready {
        /// How our clock and our stamps stand apart (Z305).
        skew: Option<Skew>,
    },
    /// A payload is durable.
    Pushed {
        /// Its ids, one per audience.
        ids: Vec<String>,
    },
    /// What was asked was not done.
    Refused {
        /// A row of the table, such as `Z404`.
        code: String,
        /// What makes it concrete.
        detail: String,
    },
    /// The directory is free for the asker, until it says `Returned` or goes.
    Lent,
    /// A result of a command that runs.
    Line(String),
    /// The command's end.
    Exit(u8),
    /// The process ends in order: every request that is not answered by now was not taken.
    Bye,
}

/// What a push says once for all its payloads, as a person wrote it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct About {
    /// The lane's name.
    pub lane: String,
    /// Names of the nodes it is for.
    pub audiences: Vec<String>,
    /// See [`crate::push::Fields`].
    pub kind: String,
    /// See [`crate::push::Fields`].
    pub record_key: Option<String>,
    /// Ids of events seen.
    pub base: Option<Vec<String>>,
    /// See [`crate::push::Fields`].
    pub content_type: Option<String>,
    /// See [`crate::push::Fields`].
    pub idempotency_key: Option<String>,
    /// See [`crate::push::Fields`].
    pub author: Option<String>,
}

/// Append one word to `out`.
pub fn write(out: &mut Vec<u8>, word: &impl Serialize) -> Result<(), Malformed> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_LEN]);
    ciborium::into_writer(word, &mut *out).expect("a Vec takes everything, and our words hold nothing CBOR cannot");
    let len = out.len() - start - PREFIX_LEN;
    if len > FRAME_LEN_MAX {
        out.truncate(start);
        return Err(Malformed);
    }
    out[start..start + PREFIX_LEN].copy_from_slice(&u32::try_from(len).map_err(|_| Malformed)?.to_be_bytes());
    Ok(())
}

/// Bytes that make no word, or more than a word may have.
#[derive(Debug, thiserror::Error)]
#[error("the other process speaks another language")]
pub struct Malformed;

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, malformed)
    }
}

/// Bytes that came, until they make words.
#[derive(Default)]
pub struct Frames {
    /// Add to its end.
    pub bytes: Vec<u8>,
    used: usize,
}

impl Frames {
    /// The next word that is here whole.
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Malformed> {
        let rest = &self.bytes[self.used..];
        if let Some((prefix, body)) = rest.split_first_chunk::<PREFIX_LEN>() {
            let len = usize::try_from(u32::from_be_bytes(*prefix)).ok().filter(|len| *len <= FRAME_LEN_MAX).ok_or(Malformed)?;
            if let Some(mut body) = body.get(..len) {
                let word = ciborium::from_reader(&mut body).map_err(|_| Malformed)?;
                self.used += PREFIX_LEN + len;
                return if body.is_empty() { Ok(Some(word)) } else { Err(Malformed) };
            }
        }
        self.bytes.drain(..self.used);
        self.used = 0;
        Ok(None)
    }
}

/// Bytes as bytes: serde would write a list of numbers.
mod raw {
    use serde::{Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_whole_in_whatever_pieces_they_come() {
        let mut sent = Vec::new();
        write(&mut sent, &Request::Push { payload: vec![7; PAYLOAD_LEN_MAX] }).unwrap();
        write(&mut sent, &Request::Begin(About { lane: "urgent".into(), base: Some(Vec::new()), ..About::default() })).unwrap();
        write(&mut sent, &Request::Returned).unwrap();
        for piece_len in [1, 7, 4096, sent.len()] {
            let mut frames = Frames::default();
            let mut came = Vec::new();
            for piece in sent.chunks(piece_len) {
                frames.bytes.extend_from_slice(piece);
                while let Some(word) = frames.next::<Request>().unwrap() {
                    came.push(word);
                }
            }
            let [Request::Push { payload }, Request::Begin(about), Request::Returned] = &came[..] else { panic!("{came:?}") };
            assert_eq!((payload.len(), about.lane.as_str(), frames.bytes.len()), (PAYLOAD_LEN_MAX, "urgent", 0));
        }
    }

    #[test]
    fn what_is_too_long_or_no_word_is_refused_before_it_is_kept() {
        assert!(write(&mut Vec::new(), &Request::Push { payload: vec![7; FRAME_LEN_MAX] }).is_err());
        for bytes in [&[0xff; 4][..], &[0, 1, 0x10, 1], &[0, 0, 0, 1, 0xff], &[0, 0, 0, 0], b"\0\0\0\x0aeReturnedx"] {
            assert!(Frames { bytes: bytes.to_vec(), used: 0 }.next::<Request>().is_err(), "{}", bytes.escape_ascii());
        }
    }
}

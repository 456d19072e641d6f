//! Who dials begins with one whole record of TLS. Until that is there, nobody gets more of us than a socket and these few bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// Head of a record of TLS: type, version, length.
const HEAD_LEN: usize = 5;
/// The type of a record that carries a handshake.
const HANDSHAKE: u8 = 22;
/// A first record of ours has some 300 bytes; what is longer is not waited for.
const RECORD_LEN_MAX: usize = 1024;

/// A stream whose first record has been read, and is read again by whoever reads it.
#[derive(Debug)]
pub struct Begun<S> {
    first: Vec<u8>,
    read_len: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> Begun<S> {
    /// Wait for the first record. What is none comes back as soon as that is seen: the handshake says what is wrong with it. Bound the wait.
    pub async fn wait(mut stream: S) -> Self {
        let mut first = Vec::new();
        while let Some(missing_len) = missing_len(&first) {
            let before = first.len();
            first.resize(before + missing_len, 0);
            let read_len = stream.read(first.get_mut(before..).unwrap_or_default()).await.unwrap_or(0); // it fails again when the handshake reads
            first.truncate(before + read_len);
            if read_len == 0 {
                break;
            }
        }
        Self { first, read_len: 0, stream }
    }
}

/// How much more is to be read, at most, before a handshake can go on.
fn missing_len(first: &[u8]) -> Option<usize> {
    match first {
        [kind, ..] if *kind != HANDSHAKE => None,
        [_, _, _, high, low, body @ ..] => {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            Some(len.saturating_sub(body.len())).filter(|missing_len| *missing_len > 0 && len <= RECORD_LEN_MAX)
        }
        _ => Some(HEAD_LEN - first.len()),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = self.first.get(self.read_len..).unwrap_or_default();
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, into);
        }
        let len = left.len().min(into.remaining());
        into.put_slice(left.get(..len).unwrap_or_default());
        self.read_len += len;
        if self.read_len == self.first.len() {
            (self.first, self.read_len) = (Vec::new(), 0); // the session that follows may last for days
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    /// What is waited for when `written` comes in these pieces, and that all of it is read afterwards.
    async fn check(pieces: &[&[u8]], waits: bool) {
        let (mut near, far) = tokio::io::duplex(4096);
        for piece in pieces {
            near.write_all(piece).await.unwrap();
        }
        let begun = tokio::time::timeout(std::time::Duration::from_secs(1), Begun::wait(far)).await;
        assert_eq!(begun.is_err(), waits, "{pieces:?}");
        if let Ok(mut begun) = begun {
            drop(near);
            let mut all = Vec::new();
            begun.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, pieces.concat());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_record_is_waited_for_and_read_again() {
        check(&[], true).await;
        check(&[&[22, 3, 1]], true).await;
        check(&[&[22, 3, 1, 0, 4, 1, 2, 3]], true).await;
        check(&[&[22, 3], &[1, 0, 4], &[1, 2, 3, 4], &[5, 6]], false).await;
        check(&[&[22, 3, 1, 0xff, 0xff, 1]], false).await;
        check(&[b"GET / HTTP/1.1\r\n\r\n"], false).await;
    }
}

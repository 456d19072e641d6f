//! A line whose other end must take what is sent. Not here: what is sent, and how long a request may take.
//!
//! In: a stream. Out: the same, failing once a write has waited for too long. Why: who stops reading would keep its connection, of which there are so
//! many, and what is buffered for it, as long as it lives (R10.13-e).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream with a bound on waiting.
pub struct Patient<S> {
    inner: S,
    most: Duration,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// Writes into `inner` wait no longer than `most` for it to take anything.
    pub fn new(inner: S, most: Duration) -> Self {
        Self { inner, most, waiting: None }
    }

    /// What a write has come to, unless it has waited for too long.
    fn bounded<T>(&mut self, context: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.waiting = None;
            return wrote;
        }
        let most = self.most;
        ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(most))).as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.bounded(context, wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.bounded(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(context);
        self.bounded(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const MOST: Duration = Duration::from_mins(1);

    /// R10.13-e. Its task had ended after a minute, but the connection stood for ever: what was buffered could not be written.
    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_let_go() {
        let (ours, theirs) = tokio::io::duplex(16);
        let mut line = Patient::new(ours, MOST);
        let refused = line.write_all(&[7; 17]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }

    /// It took longer than a minute in all.
    #[tokio::test(start_paused = true)]
    async fn who_is_slow_is_waited_for() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut line = Patient::new(ours, MOST);
        let reader = async {
            let mut all = vec![0; 160];
            for piece in all.chunks_mut(16) {
                sleep(MOST / 2).await;
                theirs.read_exact(piece).await.unwrap();
            }
            all
        };
        let (wrote, read) = tokio::join!(line.write_all(&[7; 160]), reader);
        wrote.unwrap();
        assert_eq!(read, [7; 160]);
    }
}

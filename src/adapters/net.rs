//! TCP. Names are resolved by the system.

use crate::ports::net::{Listener, Network, Stream, Waiting};
use rustix::net::sockopt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

/// Silence after which the system asks whether the peer's machine is still there. Long, for the probes cost money on some lines; a session
/// has its own, shorter waits.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
/// Between two questions without an answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Questions without an answer after which the connection is dead: two minutes after the last byte.
const KEEPALIVE_COUNT: u32 = 4;
/// How long one address of a name is tried: four SYNs. The system would try for two minutes, and a name may have a second address that answers.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Connections the system completes before we accept them.
const BACKLOG: u32 = 128;

/// The machine's network.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsNetwork;

impl Network for OsNetwork {
    fn connect<'a>(&'a self, address: &'a str) -> Waiting<'a, io::Result<Stream>> {
        Box::pin(async move {
            let mut last = unresolved();
            for resolved in lookup_host(address).await? {
                match dial(resolved).await {
                    Ok(stream) => return Ok(Box::new(stream) as Stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> Waiting<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let mut last = unresolved();
            for resolved in lookup_host(address).await? {
                match bind(resolved) {
                    Ok(listener) => return Ok(Box::new(OsListener(listener)) as Box<dyn Listener>),
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }
}

struct OsListener(TcpListener);

impl Listener for OsListener {
    fn accept(&self) -> Waiting<'_, io::Result<(Stream, IpAddr)>> {
        Box::pin(async {
            let (stream, source) = self.0.accept().await?;
            set_options(&stream)?;
            Ok((Box::new(stream) as Stream, source.ip().to_canonical()))
        })
    }

    fn address(&self) -> io::Result<String> {
        Ok(self.0.local_addr()?.to_string())
    }
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_TIME_MAX, TcpStream::connect(address)).await??;
    set_options(&stream)?;
    Ok(stream)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?; // a listener that was restarted need not wait for the last connections of the one before
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?; // what is written is a whole message: waiting for more would only cost a round trip
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    Ok(())
}

/// What is told when a name resolves to no address at all.
fn unresolved() -> io::Error {
    io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_stream_carries_bytes_between_two_sockets() {
        let listener = OsNetwork.listen("127.0.0.1:0").await.unwrap();
        let address = listener.address().unwrap();
        assert!(!address.ends_with(":0"), "the port it really got: {address}");
        let (dialed, accepted) = tokio::join!(OsNetwork.connect(&address), listener.accept());
        let (mut dialed, (mut accepted, source)) = (dialed.unwrap(), accepted.unwrap());
        dialed.write_all(b"kuzuzangpo").await.unwrap();
        dialed.shutdown().await.unwrap();
        let mut heard = Vec::new();
        accepted.read_to_end(&mut heard).await.unwrap();
        assert_eq!((heard.as_slice(), source), (b"kuzuzangpo".as_slice(), IpAddr::from([127, 0, 0, 1])));
    }

    #[tokio::test]
    async fn sockets_send_at_once_and_ask_after_silent_peers() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let stream = dial(listener.local_addr().unwrap()).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), KEEPALIVE_IDLE);
        assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), KEEPALIVE_INTERVAL);
        assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), KEEPALIVE_COUNT);
        assert!(sockopt::socket_reuseaddr(&listener).unwrap());
    }

    #[tokio::test]
    async fn nobody_listening_is_told_at_once() {
        let free = bind("127.0.0.1:0".parse().unwrap()).unwrap().local_addr().unwrap(); // dropped: nobody listens there now
        assert_eq!(OsNetwork.connect(&free.to_string()).await.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
        assert!(OsNetwork.connect("no port").await.is_err());
    }
}

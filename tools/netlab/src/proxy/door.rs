//! The door: the listening socket, which may also be silent, or shut.
//!
//! Silent: the backlog is short and full, so the kernel drops every SYN, as a link without signal does. Shut: the port is bound and
//! nobody listens, so the kernel answers RST, as a machine does whose program is down.

use super::faults::Weather;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const BACKLOG: i32 = 128;
/// Shortest backlog at which Linux answers with a full handshake and not with SYN cookies.
const BACKLOG_SILENT: i32 = 1;
/// Connections of our own that fill it: at most so many are tried, two are enough.
const FILLER_COUNT_MAX: usize = 8;
/// A connection over loopback that takes longer was not answered.
const UNANSWERED: Duration = Duration::from_millis(20);

/// The listening socket.
pub(super) struct Door {
    address: SocketAddr,
    buffer_len: usize,
    state: State,
    /// Our own connections that fill the backlog.
    fillers: Vec<TcpStream>,
    /// Where those came from that were let go: not to be taken for dialers.
    filler_addresses: Vec<SocketAddr>,
}

enum State {
    Open(TcpListener),
    Silent(TcpListener),
    Shut(Socket),
    /// The port was taken while nobody held it.
    Lost,
}

impl Door {
    /// Open at `address`.
    pub(super) fn open(address: SocketAddr, buffer_len: usize) -> io::Result<Self> {
        let listener = listen(bind(address, buffer_len)?)?;
        let address = listener.local_addr()?;
        Ok(Self { address, buffer_len, state: State::Open(listener), fillers: Vec::new(), filler_addresses: Vec::new() })
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Be as the weather wants it.
    pub(super) async fn suit(&mut self, weather: Weather) -> io::Result<()> {
        self.state = match (std::mem::replace(&mut self.state, State::Lost), weather) {
            (State::Open(listener), Weather::Clear) => State::Open(listener),
            (State::Silent(listener), Weather::Dark) => State::Silent(listener),
            (State::Shut(socket), Weather::Refusing) => State::Shut(socket),
            (State::Open(listener), Weather::Dark) => self.silence(listener).await?,
            (State::Silent(listener), Weather::Clear) => {
                rustix::net::listen(&listener, BACKLOG)?;
                self.release();
                State::Open(listener)
            }
            (State::Open(listener) | State::Silent(listener), Weather::Refusing) => {
                drop(listener);
                self.release();
                State::Shut(bind(self.address, self.buffer_len)?)
            }
            (State::Shut(socket), Weather::Clear) => State::Open(listen(socket)?),
            (State::Shut(socket), Weather::Dark) => self.silence(listen(socket)?).await?,
            (State::Lost, weather) => {
                let socket = bind(self.address, self.buffer_len)?;
                match weather {
                    Weather::Clear => State::Open(listen(socket)?),
                    Weather::Refusing => State::Shut(socket),
                    Weather::Dark => self.silence(listen(socket)?).await?,
                }
            }
        };
        Ok(())
    }

    /// The next dialer; never while the door is not open.
    pub(super) async fn accept(&mut self) -> io::Result<TcpStream> {
        let State::Open(listener) = &self.state else { return std::future::pending().await };
        loop {
            let (dialer, from) = listener.accept().await?;
            match self.filler_addresses.iter().position(|address| *address == from) {
                Some(at) => drop(self.filler_addresses.swap_remove(at)),
                None => return Ok(dialer),
            }
        }
    }

    async fn silence(&mut self, listener: TcpListener) -> io::Result<State> {
        rustix::net::listen(&listener, BACKLOG_SILENT)?;
        while self.fillers.len() < FILLER_COUNT_MAX {
            match timeout(UNANSWERED, TcpStream::connect(self.address)).await {
                Ok(Ok(filler)) => self.fillers.push(filler),
                Ok(Err(_)) | Err(_) => break,
            }
        }
        Ok(State::Silent(listener))
    }

    fn release(&mut self) {
        self.filler_addresses = self.fillers.drain(..).filter_map(|filler| filler.local_addr().ok()).collect();
    }
}

fn bind(address: SocketAddr, buffer_len: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    socket.set_recv_buffer_size(buffer_len)?; // connections inherit it; later it would not bound the window they announce
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

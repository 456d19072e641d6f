//! Connections: so many at once, each in a task of its own, ended in order when the process ends.

use super::gate::Gate;
use super::patience::Patient;
use super::tables::{Opener, Tables};
use super::{answer, routes};
use crate::node::standing::Standing;
use crate::ports::Ports;
use crate::ports::entropy::random;
use crate::ports::local::LocalListener;
use crate::ports::net::{Listener, Stream};
use crate::push::schema::Schema;
use bundle_format::error::Code;
use bundle_format::ids::hex;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections at once; who comes later waits in the kernel's queue.
const CONNECTION_COUNT_MAX: usize = 128;
/// Bodies read at once: each may be held in memory up to what a spool keeps there.
const BODY_COUNT_MAX: usize = 8;
/// A request's head is here by then, or the connection is closed.
const HEAD_WAIT: Duration = Duration::from_secs(15);
/// What of a head or of a response is buffered per connection.
const BUFFER_LEN: usize = 16 * 1024;
/// Who has not taken anything of an answer in this time is let go; a reader of the feed comes back with its cursor.
pub(super) const TAKE_WAIT: Duration = Duration::from_mins(1);
/// How long those who are being answered may take when we end.
const END_WAIT: Duration = Duration::from_secs(5);
/// After the system refused to accept, until it is asked again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// What all requests share.
pub struct Hub {
    /// The node.
    pub standing: Rc<Standing>,
    /// The world.
    pub ports: Ports,
    /// Where it lives: a large body waits there.
    pub data_dir: PathBuf,
    /// True once the process is to end.
    pub stop: watch::Receiver<bool>,
    /// Bodies that may be read.
    pub bodies: Semaphore,
    /// What payloads must fit.
    pub schema: Option<Schema>,
    /// What stands in every form that this process makes.
    pub form_token: String,
    /// What the log comes to.
    pub tables: Tables,
}

/// Where requests come from.
pub enum Line {
    /// A socket with a name.
    Local(Box<dyn LocalListener>),
    /// TCP.
    Tcp(Box<dyn Listener>),
}

impl Line {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Local(listener) => listener.accept().await.map(|stream| Box::new(tokio::io::join(stream.reader, stream.writer)) as Stream),
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| stream),
        }
    }
}

impl Hub {
    /// For the node in `data_dir` with tables that `open` opens and payloads that fit `schema`, until `stop`.
    pub fn new(
        standing: Rc<Standing>,
        ports: &Ports,
        data_dir: PathBuf,
        open: Opener,
        schema: Option<Schema>,
        stop: watch::Receiver<bool>,
    ) -> Rc<Self> {
        let (bodies, tables) = (Semaphore::new(BODY_COUNT_MAX), Tables::new(open));
        let form_token = hex(&random::<32>(&*ports.entropy));
        Rc::new(Self { form_token, standing, ports: ports.clone(), data_dir, stop, bodies, schema, tables })
    }

    /// Answer who comes by `line` and passes `gate`, until told to stop; then requests that have been read are answered.
    pub async fn serve(self: Rc<Self>, line: Line, gate: Gate) {
        let (gate, mut stop, mut connections) = (Rc::new(gate), self.stop.clone(), JoinSet::new());
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                _ = connections.join_next(), if !connections.is_empty() => {}
                came = line.accept(), if connections.len() < CONNECTION_COUNT_MAX => match came {
                    Ok(stream) => {
                        connections.spawn_local(Rc::clone(&self).converse(stream, Rc::clone(&gate)));
                    }
                    Err(_) => sleep(ACCEPT_AGAIN).await, // no descriptors left: others will end
                },
            }
        }
        drop(line);
        let ended = async { while connections.join_next().await.is_some() {} };
        timeout(END_WAIT, ended).await.unwrap_or(()); // who is left is dropped with the set
    }

    async fn converse(self: Rc<Self>, stream: Stream, gate: Rc<Gate>) {
        let mut stop = self.stop.clone();
        let service = service_fn(|request| {
            let (hub, gate) = (Rc::clone(&self), Rc::clone(&gate));
            async move {
                let checked = gate.check(request.uri().path(), request.headers());
                let answered = match checked {
                    Ok(()) => routes::answer(&hub, request).await,
                    Err(problem) => Err(problem),
                };
                Ok::<_, Infallible>(answered.unwrap_or_else(answer::Problem::into_answer))
            }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT).max_buf_size(BUFFER_LEN);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(Patient::new(stream, TAKE_WAIT)), service));
        tokio::select! {
            ended = connection.as_mut() => return ended.unwrap_or(()), // what it sent was no HTTP, or it went: it knows
            _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
        }
        connection.await.unwrap_or(());
    }

    /// Leave to read one body.
    ///
    /// # Errors
    /// Z436 when too many are being read.
    pub fn body(&self) -> Result<tokio::sync::SemaphorePermit<'_>, answer::Problem> {
        self.bodies.try_acquire().map_err(|_| answer::Problem::new(Code::Z436, ""))
    }
}

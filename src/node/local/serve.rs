//! The end of the process that stays: many commands at once, each with little memory, none of which can delay the others.
//!
//! Of each client one half reads and works, the other waits for what was done to be durable and answers, in order. So a client may send while it
//! waits, and everything that comes while the disk syncs shares the next sync.

use super::words::{Answer, Frames, Malformed, PAYLOAD_LEN_MAX, Request, VERSION, write};
use crate::node::NodeError;
use crate::node::layout::Layout;
use crate::node::pushing::Intent;
use crate::node::standing::{Standing, Ticket};
use crate::ports::Ports;
use crate::ports::local::{LocalListener, LocalStream};
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Who comes when so many are here waits in the kernel's queue.
const CLIENT_COUNT_MAX: usize = 32;
/// Who has not said what it speaks by then goes.
const HELLO_WAIT: Duration = Duration::from_secs(5);
/// Bytes read at a time; more than a frame of them never wait.
const READ_LEN: usize = 32 * 1024;
/// Payloads appended in one turn.
const BATCH_COUNT_MAX: usize = 256;
/// Batches of one client that wait for their answers to be written; a client that does not read gets no further.
const BATCHES_AHEAD: usize = 8;
/// How long those who are spoken with may take when we end.
const END_WAIT: Duration = Duration::from_secs(5);
/// A borrower that has not taken the lock by then will not.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// Runs a command that was forwarded to this process: its text, where its results go, and its exit status.
pub type Runner = Rc<dyn Fn(String, Lines) -> Pin<Box<dyn Future<Output = u8>>>>;

/// Where a forwarded command's results go.
#[derive(Clone)]
pub struct Lines(mpsc::Sender<String>);

impl Lines {
    /// Tell one line; false when nobody listens any more.
    pub async fn tell(&self, line: String) -> bool {
        self.0.send(line).await.is_ok()
    }
}

/// Take the name in `data_dir` under which other commands find us. Whoever calls keeps the node; a name left by a process that was killed is replaced.
///
/// # Errors
/// Z202 where the file system has no sockets: then other commands cannot work beside us, which is to be told.
pub fn listen(ports: &Ports, data_dir: &Path) -> Result<Box<dyn LocalListener>, NodeError> {
    let path = Layout::new(data_dir).control();
    ports.local.listen(&path).map_err(|error| NodeError::writing(&path, error))
}

/// Serve commands that come to `listener` until `stop` is true (or its sender gone): then everything read is answered, `Bye` is said, and the name is
/// gone when this returns. The node stays; its owner closes it afterwards.
pub async fn serve_control(standing: Rc<Standing>, listener: Box<dyn LocalListener>, runner: Runner, mut stop: watch::Receiver<bool>) {
    let mut clients = JoinSet::new();
    let heard = stop.clone();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = clients.join_next(), if !clients.is_empty() => {}
            asked = listener.accept(), if clients.len() < CLIENT_COUNT_MAX => match asked {
                Ok(stream) => {
                    clients.spawn_local(converse(Rc::clone(&standing), stream, Rc::clone(&runner), heard.clone()));
                }
                Err(_) => sleep(Duration::from_millis(100)).await, // no descriptors left: others will end
            },
        }
    }
    drop(listener);
    let ended = async { while clients.join_next().await.is_some() {} };
    timeout(END_WAIT, ended).await.unwrap_or(()); // who is left is dropped with the set
}

/// What the writing half says next.
enum Next {
    Say(Answer),
    /// These, when they are durable.
    Stored(Ticket, Vec<Vec<String>>),
}

async fn converse(standing: Rc<Standing>, stream: LocalStream, runner: Runner, stop: watch::Receiver<bool>) {
    let (say, next) = mpsc::channel(BATCHES_AHEAD);
    let client = Client {
        standing: Rc::clone(&standing),
        reader: stream.reader,
        frames: Frames::default(),
        chunk: vec![0; READ_LEN].into(),
        ahead: None,
        say,
        intent: None,
        runner,
        stop,
    };
    tokio::join!(client.attend(), answer(&standing, stream.writer, next));
}

/// The writing half. Ends with `Bye` unless the reading half left by a fault.
async fn answer(standing: &Standing, mut writer: Box<dyn AsyncWrite + Unpin>, mut next: mpsc::Receiver<Next>) {
    let mut bytes = Vec::new();
    while let Some(next) = next.recv().await {
        match next {
            Next::Say(answer) => put(&mut bytes, &answer),
            Next::Stored(ticket, events) => match standing.settled(&ticket).await {
                Ok(()) => events.into_iter().for_each(|ids| put(&mut bytes, &Answer::Pushed { ids })),
                Err(error) => events.iter().for_each(|_| put(&mut bytes, &refusal(&error))),
            },
        }
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
        bytes.clear();
    }
}

fn put(bytes: &mut Vec<u8>, answer: &Answer) {
    if write(bytes, answer).is_err() {
        write(bytes, &Answer::Refused { code: "Z100".to_owned(), detail: "the answer is too long".to_owned() }).unwrap_or(());
    }
}

fn refusal(error: &NodeError) -> Answer {
    Answer::Refused { code: error.code().as_str().to_owned(), detail: error.to_string() }
}

/// The reading half.
struct Client {
    standing: Rc<Standing>,
    reader: Box<dyn AsyncRead + Unpin>,
    frames: Frames,
    chunk: Box<[u8]>,
    /// Read and not yet done.
    ahead: Option<Request>,
    say: mpsc::Sender<Next>,
    intent: Option<Intent>,
    runner: Runner,
    stop: watch::Receiver<bool>,
}

/// Why a conversation ends.
enum End {
    /// We end: what was read is answered.
    Stop,
    /// The client is gone, or hears nothing any more.
    Gone,
    /// It says what nobody says.
    Fault,
}

impl From<Malformed> for End {
    fn from(_: Malformed) -> Self {
        Self::Fault
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl<T> From<mpsc::error::SendError<T>> for End {
    fn from(_: mpsc::error::SendError<T>) -> Self {
        Self::Gone
    }
}

impl Client {
    async fn attend(mut self) {
        let end = match self.greet().await {
            Ok(()) => loop {
                if let Err(end) = self.step().await {
                    break end;
                }
            },
            Err(end) => end,
        };
        let last = match end {
            End::Stop => Answer::Bye,
            End::Fault => Answer::Refused { code: "Z100".to_owned(), detail: Malformed.to_string() },
            End::Gone => return,
        };
        self.say.send(Next::Say(last)).await.unwrap_or(());
    }

    async fn greet(&mut self) -> Result<(), End> {
        match timeout(HELLO_WAIT, self.request()).await {
            Ok(Ok(Request::Hello { .. })) => Ok(self.say(Answer::Hello { version: VERSION }).await?), // whether it can speak so it knows itself
            Ok(Ok(_)) => Err(End::Fault),
            Ok(Err(end)) => Err(end),
            Err(_) => Err(End::Gone),
        }
    }

    async fn step(&mut self) -> Result<(), End> {
        match self.request().await? {
            Request::Push { payload } => self.push(payload).await,
            Request::Begin(about) => {
                let standing = Rc::clone(&self.standing);
                let intended = self.in_turn(standing.with(|node| Ok((node.intend(&about)?, node.skew())))).await?;
                match intended {
                    Ok((intent, skew)) => {
                        self.intent = Some(intent);
                        self.say(Answer::Ready { skew }).await
                    }
                    Err(error) => self.say(refusal(&error)).await,
                }
            }
            Request::Lend => self.lend().await,
            Request::Run { command } => self.run(command).await,
            Request::Hello { .. } | Request::Returned => Err(End::Fault),
        }
    }

    async fn say(&self, answer: Answer) -> Result<(), End> {
        Ok(self.say.send(Next::Say(answer)).await?)
    }

    /// The next request.
    async fn request(&mut self) -> Result<Request, End> {
        if let Some(request) = self.ahead.take() {
            return Ok(request);
        }
        loop {
            if let Some(request) = self.frames.next()? {
                return Ok(request);
            }
            let len = tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => return Err(End::Stop),
                len = self.reader.read(&mut self.chunk) => len?,
            };
            if len == 0 {
                return Err(End::Gone);
            }
            self.frames.bytes.extend_from_slice(&self.chunk[..len]);
        }
    }

    /// A wait that ends when we do. What it waited for has not begun then.
    async fn in_turn<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            _ = self.stop.wait_for(|stop| *stop) => Err(End::Stop),
        }
    }

    /// Append `first` and the payloads that have come behind it.
    async fn push(&mut self, first: Vec<u8>) -> Result<(), End> {
        let mut payloads = vec![first];
        while payloads.len() < BATCH_COUNT_MAX {
            match self.frames.next()? {
                Some(Request::Push { payload }) => payloads.push(payload),
                other => {
                    self.ahead = other;
                    break;
                }
            }
        }
        if payloads.iter().any(|payload| payload.len() > PAYLOAD_LEN_MAX) {
            return Err(End::Fault);
        }
        let Some(intent) = self.intent.take() else { return Err(End::Fault) };
        let standing = Rc::clone(&self.standing);
        let appended = self.in_turn(standing.with(|node| node.append_payloads(&intent, &payloads))).await?;
        let ticket = standing.ticket();
        self.intent = Some(intent);
        match appended {
            Ok(events) => Ok(self.say.send(Next::Stored(ticket, events)).await?),
            Err(error) => {
                for _ in payloads {
                    self.say(refusal(&error)).await?;
                }
                Ok(())
            }
        }
    }

    /// The lease lasts until the client says so or is gone. Meanwhile it says nothing else.
    async fn lend(&mut self) -> Result<(), End> {
        let standing = Rc::clone(&self.standing);
        let lease = tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => return Err(End::Stop),
            lease = standing.lend() => lease,
            spoken = hung_up(&mut self.reader, &mut self.frames) => return Err(spoken),
        };
        let lease = match lease {
            Ok(lease) => lease,
            Err(error) => return self.say(refusal(&error)).await,
        };
        self.say(Answer::Lent).await?;
        let returned = {
            let mut returned = pin!(self.request());
            loop {
                tokio::select! {
                    biased;
                    request = &mut returned => break request,
                    () = sleep(STALE_AFTER) => if standing.is_lock_free() { break Err(End::Gone) },
                }
            }
        };
        drop(lease);
        if matches!(returned, Err(End::Stop)) {
            return Err(End::Stop); // the borrower has the lock and needs us no more
        }
        let home = standing.with(|_| Ok(())).await; // at once, so that the lock is ours again before a stranger asks for it
        match (returned?, home) {
            (Request::Returned, _) => Ok(()), // what opening says the next work will say too
            _ => Err(End::Fault),
        }
    }

    async fn run(&mut self, command: String) -> Result<(), End> {
        let (lines, mut said) = mpsc::channel(16);
        let mut work = (self.runner)(command, Lines(lines));
        let say = self.say.clone();
        // Beside the work, which goes on where nobody reads: who watches it from a terminal that stands still holds up nothing else.
        let mut telling = pin!(async move {
            while let Some(line) = said.recv().await {
                say.send(Next::Say(Answer::Line(line))).await?;
            }
            Ok::<_, End>(())
        });
        let mut has_told = false;
        let exit = loop {
            tokio::select! {
                biased;
                told = &mut telling, if !has_told => {
                    told?;
                    has_told = true; // and works on in silence
                }
                exit = &mut work => break exit,
                spoken = hung_up(&mut self.reader, &mut self.frames) => return Err(spoken),
            }
        };
        drop(work);
        if !has_told {
            telling.await?;
        }
        self.say(Answer::Exit(exit)).await
    }
}

/// Ends when the client goes; it has nothing to say while it waits.
async fn hung_up(reader: &mut (dyn AsyncRead + Unpin), frames: &mut Frames) -> End {
    match reader.read(&mut [0]).await {
        Ok(0) | Err(_) => End::Gone,
        Ok(_) => {
            frames.bytes.clear();
            End::Fault
        }
    }
}

//! A member that dials with its own keys and speaks by hand: what it says on the line is not what its log holds, or no message at all.
//!
//! What it may do: harm itself. Whoever listens must be as it was, but for what this member may truly write, and must be able to talk to the next.

use crate::hostile::range_of;
use crate::luck::Luck;
use crate::model::Verdict;
use crate::plan::{Lie, Line, Speech, Step};
use crate::world::{Asked, World};
use bundle_format::ids::{Incarnation, NodeId};
use bundle_format::limits::MESSAGE_LEN_MAX;
use bundle_format::logs::LogTable;
use bundle_format::manifest::Manifest;
use bundle_format::message::{Again, Hello, Message, Reason, frame_len};
use bundle_format::range::Range;
use bundle_format::vector::{Salt, Tag, Told};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zbundle::link::{Profile, Revoked};
use zbundle::node::View;
use zbundle::ports::net::{Network as _, Stream as Connection};
use zbundle::ports::store::Stream;

/// It listens no longer than this for the next thing that is said to it, in the time of the world.
const PATIENCE: Duration = Duration::from_secs(10);
/// It answers so much, then hangs up: what it repeats would otherwise never end.
const ANSWER_COUNT_MAX: usize = 24;

impl World {
    /// A member dials another and lies.
    ///
    /// # Errors
    /// What is not as it was promised of the other.
    pub fn lie_on_the_line(&mut self, at: usize, to: usize, speech: Speech, step: &Step) -> Verdict {
        if self.machines[at].station.member == self.machines[to].station.member {
            return Ok(());
        }
        let Ok(view) = self.machines[at].station.durable_view() else { return Ok(()) };
        let other = self.machines[to].station.id;
        let spoken = self.while_it_happens(to, None, step, &[], |world| world.with_a_listener(to, &view, other, speech, step.luck))?;
        let heard = spoken.flatten();
        self.tell(format!("   {} said its lies to {}: {}", self.name(at), self.name(to), heard.as_deref().unwrap_or("nobody listened")));
        if heard.is_some() {
            self.model.liars.insert(self.machines[at].station.id);
            self.coverage.count("a lie is told on a line");
        }
        Ok(())
    }

    fn with_a_listener(&mut self, to: usize, view: &View, other: NodeId, speech: Speech, luck: u64) -> Asked<Option<String>> {
        let address = format!("{}:1", self.machines[to].station.name);
        let cable = self.around.cable.clone();
        cable.set(&Line::default());
        self.while_listening(to, &address, async || {
            let connected = cable.connect(&address).await.ok()?;
            let mut liar = Liar::dial(view, connected).await?;
            liar.speak(view, other, speech, &mut Luck(luck)).await;
            Some(liar.last_words)
        })
    }
}

/// One end of a secured line, held by somebody without rules.
struct Liar {
    stream: Connection,
    salt: Salt,
    ours: LogTable,
    theirs: LogTable,
    input: Vec<u8>,
    /// The last thing that was said to it.
    last_words: String,
}

impl Liar {
    async fn dial(view: &View, connected: Connection) -> Option<Self> {
        let profile = Profile::new(view.keyring().signing().0, &Revoked::default()).ok()?;
        let secured = profile.dial(connected).await.ok()?; // its key may have been revoked
        let (ours, theirs) = (LogTable::default(), LogTable::default());
        Some(Self { stream: Box::new(secured.stream), salt: secured.salt, ours, theirs, input: Vec::new(), last_words: "nothing".to_owned() })
    }

    async fn speak(&mut self, view: &View, other: NodeId, speech: Speech, luck: &mut Luck) {
        let lie = if let Speech::Hello(lie) = speech { Some(lie) } else { None };
        let hello = self.hello(view, lie, luck);
        self.say(&hello).await;
        match speech {
            Speech::Hello(_) => {}
            Speech::Range(lie) => {
                for range in lies(view, &other, lie, luck) {
                    self.say(&Message::Range(range)).await;
                }
            }
            Speech::Acknowledge | Speech::Again => return self.answer(speech, luck).await,
            Speech::Disorder => {
                for message in [Message::Done(luck.below(3)), Message::Who, hello, Message::Ack(vec![(luck.below(90), luck.below(9))])] {
                    self.say(&message).await;
                }
            }
            Speech::Noise => {
                let noise: Vec<u8> = (0..=luck.index(MESSAGE_LEN_MAX / 64)).map(|_| luck.draw().to_le_bytes()[0]).collect();
                self.say_bytes(&noise).await;
            }
            Speech::Silence => {
                let message = hello.to_bytes(&self.ours);
                self.say_bytes(&message[..luck.index(message.len())]).await;
            }
        }
        let mut heard = 0;
        while heard < ANSWER_COUNT_MAX && self.hear().await.is_some() {
            heard += 1;
        }
    }

    /// What its log proves it holds, or what it says instead; under a receipt number of its own making.
    fn hello(&mut self, view: &View, lie: Option<Lie>, luck: &mut Luck) -> Message {
        let mut vector = Vec::new();
        for (stream, head) in view.log().streams().into_iter().filter(|(stream, head)| stream.branch.is_none() && head.checkpoint_seq > 0) {
            let Ok(Some(position)) = view.log().position(&stream, head.checkpoint_seq) else { continue };
            let mut told = Told::new(&self.salt, stream.origin, &position);
            match lie.filter(|_| luck.once_in(2)) {
                Some(Lie::TooMuch) => told.seq += 1 + luck.below(5),
                Some(_) => told.tag = Tag([0xee; 4]),
                None => {}
            }
            vector.push(told);
        }
        vector.sort_by_key(|told| told.origin);
        let life = if luck.once_in(4) { Incarnation([0xee; 4]) } else { view.keyring().incarnation() };
        let manifest = Manifest::new(vector, Some((life, luck.below(1_000_000))), Vec::new(), []);
        manifest.vector.iter().for_each(|told| self.ours.push(told.origin));
        Message::Hello(Hello { more: false, window: 65_536, take: None, manifest })
    }

    /// To everything it is sent.
    async fn answer(&mut self, speech: Speech, luck: &mut Luck) {
        for _ in 0..ANSWER_COUNT_MAX {
            let Some(message) = self.hear().await else { return };
            let Message::Range(range) = message else { continue };
            let Some(log) = self.theirs.handle(&range.origin) else { continue };
            let answer = match speech {
                Speech::Acknowledge => Message::Ack(vec![(log, range.first + range.count - 1)]),
                _ => Message::Again(Again { log, seq: range.first - 1, tag: Tag([luck.draw().to_le_bytes()[0]; 4]), reason: Reason::Gap }),
            };
            self.say(&answer).await;
        }
    }

    async fn say(&mut self, message: &Message) {
        let bytes = message.to_bytes(&self.ours);
        if let Message::Range(range) = message {
            self.ours.named(range.origin);
        }
        self.say_bytes(&bytes).await;
    }

    async fn say_bytes(&mut self, bytes: &[u8]) {
        let said = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        said.await.unwrap_or_default(); // who listens may have hung up by now, as it should
    }

    /// The next thing said to it; nothing when nobody says anything any more.
    async fn hear(&mut self) -> Option<Message> {
        loop {
            if let Ok(Some((head, len))) = frame_len(&self.input)
                && self.input.len() >= head + len
            {
                let message = Message::read(&self.input[head..head + len], &self.theirs).ok()?;
                self.input.drain(..head + len);
                match &message {
                    Message::Hello(hello) => hello.manifest.vector.iter().for_each(|told| self.theirs.push(told.origin)),
                    Message::Range(range) => self.theirs.named(range.origin),
                    _ => {}
                }
                self.last_words = last_words(&message);
                return Some(message);
            }
            let mut bytes = [0; 4096];
            match tokio::time::timeout(PATIENCE, self.stream.read(&mut bytes)).await {
                Ok(Ok(count @ 1..)) => self.input.extend_from_slice(&bytes[..count]),
                _ => return None,
            }
        }
    }
}

fn last_words(message: &Message) -> String {
    match message {
        Message::Hello(_) => "a hello".to_owned(),
        Message::Range(range) => format!("{} events", range.count),
        other => format!("{other:?}"),
    }
}

/// Histories that `other` may see, not as their writers signed them.
fn lies(view: &View, other: &NodeId, lie: Lie, luck: &mut Luck) -> Vec<Range> {
    let streams = view.log().streams();
    let may_be_sent = |stream: &Stream| stream.branch.is_none() && view.roster().may_see(other, &stream.origin);
    let streams = streams.into_iter().filter(|(stream, head)| head.checkpoint_seq > 0 && may_be_sent(stream));
    streams.filter_map(|(stream, _)| range_of(view, &stream, Some(lie), luck)).collect()
}

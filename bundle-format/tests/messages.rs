//! Every fixture of messages, read by this crate as the other end of the link would read them, and spelled again. They were written from SPEC.md by
//! another program (tools/vectors).

mod stories;

use bundle_format::chain::Position;
use bundle_format::error::Code;
use bundle_format::ids::{DomainId, Hash, NodeId, Origin};
use bundle_format::logs::LogTable;
use bundle_format::message::{Message, MessageError, frame_len};
use bundle_format::range::{Range, VerifiedRange};
use bundle_format::sign::VerifyingKey;
use bundle_format::trust::Trust;
use serde::Deserialize;
use std::collections::BTreeMap;
use stories::{Context, Fixture, Story, Taken, bytes, check_all, fixtures, same, taken};

#[test]
fn every_message_of_accept_is_heard_as_its_story_says() {
    let known = Known(Context::read());
    check_all(&fixtures::<Said>("messages/accept", "bin"), 30, |fixture| {
        let heard = hear(&fixture.bytes);
        let messages = heard.whole.iter().map(|(_, message)| name(message)).collect::<Vec<_>>();
        if let Some(fault) = heard.fault {
            return Err(format!("{fault} in message {}", messages.len()));
        }
        same("messages", &messages, &fixture.story.messages.iter().map(String::as_str).collect())?;
        let mut held = Held::default();
        let ranges = heard.whole.iter().flat_map(|(_, message)| ranges(message));
        let found = ranges.map(|range| held.take(range, &known)).collect::<Result<Vec<_>, _>>()?;
        same("ranges", &found, &fixture.story.range)?;
        same("the bytes, spelled again", &(heard.spelled == fixture.bytes), &!fixture.story.respelled)
    });
}

#[test]
fn every_message_of_reject_is_refused_at_its_place_and_for_its_fault() {
    check_all(&fixtures::<Unsaid>("messages/reject", "bin"), 60, |fixture: &Fixture<Unsaid>| {
        assert_eq!(Code::from_name(&fixture.story.expect), Some(Code::Z505), "{}: a message has one code for every fault", fixture.name);
        let heard = hear(&fixture.bytes);
        let fault = heard.fault.ok_or("accepted")?;
        same("fault", &(kind(&fault), heard.whole.len()), &(fixture.story.fault.as_str(), fixture.story.at)).map_err(|why| format!("{why} ({fault})"))
    });
}

/// What one end said, as far as it is right.
struct Heard {
    whole: Vec<(Vec<u8>, Message)>,
    fault: Option<MessageError>,
    /// What this crate writes to say the same.
    spelled: Vec<u8>,
}

/// Hear it as a peer does: each message by the numbers that those before it gave (R7.3-b).
fn hear(mut rest: &[u8]) -> Heard {
    let mut heard = Heard { whole: Vec::new(), fault: None, spelled: Vec::new() };
    let mut numbers = LogTable::default();
    while heard.fault.is_none() {
        let (head, len) = match frame_len(rest) {
            Ok(Some((head, len))) if head + len <= rest.len() => (head, len),
            Ok(_) => break,
            Err(error) => {
                heard.fault = Some(error);
                break;
            }
        };
        let (message, behind) = rest.split_at(head + len);
        match Message::read(&message[head..], &numbers) {
            Ok(said) => {
                heard.spelled.extend(said.to_bytes(&numbers));
                match &said {
                    Message::Hello(hello) => hello.manifest.vector.iter().for_each(|told| numbers.push(told.origin)),
                    Message::Range(range) => numbers.named(range.origin),
                    _ => {}
                }
                heard.whole.push((message.to_vec(), said));
            }
            Err(error) => heard.fault = Some(error),
        }
        rest = behind;
    }
    heard
}

fn name(message: &Message) -> &'static str {
    match message {
        Message::Hello(_) => "hello",
        Message::Range(_) => "range",
        Message::Ack(_) => "ack",
        Message::Again(_) => "again",
        Message::Done(_) => "done",
        Message::Who => "who",
        Message::Introduction(_) => "introduction",
        Message::Bye(_) => "bye",
        Message::Busy => "busy",
        Message::Lost(_) => "lost",
    }
}

fn kind(fault: &MessageError) -> &'static str {
    match fault {
        MessageError::Cbor(_) | MessageError::Range(_) => "format",
        MessageError::Length(_) => "length",
        MessageError::Kind(_) => "kind",
        MessageError::Version(_) => "version",
        _ => "of a kind that no story knows",
    }
}

fn ranges(message: &Message) -> Vec<Range> {
    match message {
        Message::Range(range) => vec![range.clone()],
        Message::Introduction(ranges) => ranges.clone(),
        _ => Vec::new(),
    }
}

/// Histories as they grow in one fixture: chain hashes from `h_0` on, and the events. What begins behind them is verified and not kept.
#[derive(Default)]
struct Held(BTreeMap<Origin, (Vec<Hash>, Vec<Vec<u8>>)>);

impl Held {
    /// Verify a range with the base and the prefix that a reader has who took what came before (R7.3-f, R7.3-g).
    fn take(&mut self, range: Range, known: &Known) -> Result<Taken, String> {
        let start = Position::start(&range.origin).hash;
        let (hashes, events) = self.0.entry(range.origin).or_insert_with(|| (vec![start], Vec::new()));
        let place = |seq: u64| usize::try_from(seq).unwrap();
        let base = range.base.or_else(|| hashes.get(place(range.first - 1)).copied()).ok_or("no base of our own")?;
        let prefix = range.prefix.map(|(first, count)| events.get(place(first - 1)..place(first + count - 1)).map(<[_]>::concat));
        if prefix == Some(None) {
            return Err("a prefix that is not held".to_owned());
        }
        let verified = range.verify(base, known, prefix.flatten().as_deref()).map_err(|error| error.to_string())?;
        for (seq, event) in verified.events() {
            if place(seq) == hashes.len() {
                hashes.push(verified.position(seq).unwrap().hash);
                events.push(event.to_vec());
            }
        }
        Ok(taken(&verified, &|node| known.name(node)))
    }
}

/// The roster of `context.json`, as it is told there.
struct Known(Context);

impl Known {
    fn name(&self, node: NodeId) -> String {
        self.0.roster.iter().find(|member| bytes::<8>(&member.node) == node.0).map_or_else(|| format!("@{node}"), |member| member.name.clone())
    }
}

impl Trust for Known {
    fn domain(&self) -> DomainId {
        self.0.authority_key().domain_id()
    }
    fn signer(&self, node: &NodeId, key_number: u64) -> Option<VerifyingKey> {
        let member = self.0.roster.iter().find(|member| bytes::<8>(&member.node) == node.0)?;
        let key = member.keys.iter().find(|key| key.number == key_number)?;
        VerifyingKey::new(bytes(&key.signing)).ok()
    }
    fn is_sender(&self, _: &NodeId, _: &VerifyingKey) -> bool {
        false // TLS knows who speaks
    }
    fn is_roster(&self, _: &Origin) -> bool {
        false
    }
    fn learn(&mut self, _: &VerifiedRange) {}
}

/// The story of what one end may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    story: String,
    rules: Vec<String>,
    /// The messages, by their names.
    messages: Vec<String>,
    /// It is heard and would be said in other bytes: something in it is passed over.
    #[serde(default)]
    respelled: bool,
    #[serde(default)]
    range: Vec<Taken>,
}

/// The story of what nobody may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsaid {
    why: String,
    rules: Vec<String>,
    expect: String,
    fault: String,
    /// How many messages before it are right.
    at: usize,
}

impl Story for Said {
    fn told(&self) -> &str {
        &self.story
    }
    fn rules(&self) -> &[String] {
        &self.rules
    }
}

impl Story for Unsaid {
    fn told(&self) -> &str {
        &self.why
    }
    fn rules(&self) -> &[String] {
        &self.rules
    }
}

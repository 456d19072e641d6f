//! Every fixture of requests and join files, read by the program; and the fixtures of bundles once more, under its own roster.

#[path = "../../bundle-format/tests/stories/mod.rs"]
mod stories;

use bundle_format::error::Code;
use bundle_format::ids::{NodeId, from_hex, hex};
use bundle_format::sign::VerifyingKey;
use serde::Deserialize;
use stories::{Context, Fixture, Refused, Roll, Story, bytes, check_all, check_code};
use zbundle::keys::{Join, Pin, Request, Roster, Standing, Words};

#[test]
fn every_bundle_of_accept_opens_under_the_real_roster() {
    let context = Context::read();
    let roster = roster(&context);
    check_all(&stories::fixtures("bundles/accept", "zb"), 12, |fixture| stories::check_accepted(fixture, &context, &roster));
}

#[test]
fn every_bundle_of_reject_is_refused_under_the_real_roster() {
    let context = Context::read();
    let roster = roster(&context);
    check_all(&stories::fixtures("bundles/reject", "zb"), 40, |fixture| stories::check_refused(fixture, &context, &roster));
}

#[test]
fn the_roster_is_what_the_context_says() {
    let context = Context::read();
    let roster = roster(&context);
    assert_eq!(hex(&roster.domain().0), context.domain);
    assert_eq!((roster.head().seq, roster.head().hash), stories::told_head(&context));
    assert!(roster.refused().is_empty());
    assert_eq!(roster.members().count(), context.roster.len());
    for told in &context.roster {
        let member = roster.member(&NodeId(bytes(&told.node))).unwrap();
        assert_eq!(member.name.as_str(), told.name);
        let keys = member.keys.iter().map(|key| (key.number, hex(key.signing.as_bytes()), hex(&key.sealing.0)));
        assert!(keys.eq(told.keys.iter().map(|key| (key.number, key.signing.clone(), key.sealing.clone()))), "{}", told.name);
    }
}

#[test]
fn every_request_and_join_file_of_accept_is_taken() {
    let (context, first) = (Context::read(), first_request());
    check_all(&stories::fixtures::<Asked>("requests/accept", "bin"), 4, |fixture| {
        take(fixture, &context, &first).map_err(|(code, why)| format!("{code} ({why})"))?;
        let Some(told) = &fixture.story.words else { return Ok(()) };
        let hash = from_hex::<9>(told).ok_or("words are 9 bytes of a hash")?;
        let shown = Words::of(&fixture.bytes, &context.authority_key()).to_string();
        if shown == words(hash) { Ok(()) } else { Err(format!("words: {shown}, not {}", words(hash))) }
    });
}

#[test]
fn every_request_and_join_file_of_reject_is_refused() {
    let (context, first) = (Context::read(), first_request());
    check_all(&stories::fixtures::<Refused>("requests/reject", "bin"), 15, |fixture| check_code(&fixture.story, take(fixture, &context, &first)));
}

/// Of a request or a join file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    story: String,
    rules: Vec<String>,
    words: Option<String>,
}

impl Story for Asked {
    fn told(&self) -> &str {
        &self.story
    }
    fn rules(&self) -> &[String] {
        &self.rules
    }
}

/// The request that all join files answer.
fn first_request() -> Request {
    let fixtures = stories::fixtures::<Asked>("requests/accept", "bin");
    Request::read(&fixtures.iter().find(|fixture| fixture.name == "first").unwrap().bytes).unwrap()
}

/// What the authority does with a request, and the asker with a join file, up to the words.
fn take<S>(fixture: &Fixture<S>, context: &Context, first: &Request) -> Result<(), (Code, String)> {
    if fixture.name.starts_with("join") {
        let answer = || {
            let join = Join::read(&fixture.bytes)?;
            join.answers(first)?;
            join.enrols(first, &join.prove()?.0)
        };
        return answer().map_err(|error| (error.code(), error.to_string()));
    }
    let request = Request::read(&fixture.bytes).map_err(|error| (error.code(), error.to_string()))?;
    let outgoing = roster(context).signer(&request.node, request.key_number - 1);
    if request.old_signature_fits(outgoing.as_ref()) { Ok(()) } else { Err((Code::Z609, "the old signature is not by the key before".to_owned())) }
}

/// 66 bits of a hash in words, by the list that comes with no code of ours.
fn words(hash: [u8; 9]) -> String {
    let bits = hash.map(|byte| format!("{byte:08b}")).concat();
    let number = |word: usize| usize::from_str_radix(&bits[word * 11..word * 11 + 11], 2).unwrap();
    let list = bip39::Language::English.word_list();
    (0..6).map(|word| list[number(word)]).collect::<Vec<_>>().join(" ")
}

fn roster(context: &Context) -> Roster {
    let pin = Pin { authority_key: context.authority_key(), incarnation: context.incarnation() };
    let mut roster = Roster::new(pin);
    for event in context.roster_events() {
        let position = roster.head().then(&bundle_format::chain::digest(&event));
        roster.apply(position, &bundle_format::event::Event::from_bytes(&event).unwrap()).unwrap();
    }
    roster
}

impl Roll for Roster {
    fn name(&self, node: NodeId) -> String {
        self.display(&node)
    }
    fn is_current(&self, node: NodeId, key: &VerifyingKey) -> bool {
        self.sender(&node, key) == Some(Standing::Current)
    }
}

//! A stick's round: 5 000 events out and in with `exchange`, and NNCP doing the same work in the same run.

use crate::Failure;
use crate::benches::Corpus;
use crate::measure::{Cost, Input, measure};
use crate::report::{Report, Unit, thousands, time};
use crate::walk::{Node, Zbundle, len_below};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const EVENTS: usize = 5000;
/// Out and in together.
const SECONDS_MAX: f64 = 1.0;
/// Peak memory of either.
const RSS_MAX: f64 = 10e6;
/// On the stick, sealed, padded, with the receipt.
const LEN_PER_EVENT_MAX: f64 = 66.0;
/// Packets of the run in which NNCP carries each event by itself; ten times as many would take minutes.
const PACKETS: usize = 500;

/// `stick/…`.
///
/// # Errors
/// When a command fails.
pub fn round(zbundle: &Zbundle, report: &mut Report, corpora: &[Corpus]) -> Result<(), Failure> {
    for corpus in corpora.iter().filter(|corpus| corpus.judged) {
        if corpus.file.as_ref().is_some_and(|file| !file.is_file()) {
            report.note(format!("stick/{}", corpus.name), format!("not measured: {} is not there (`--data`)", corpus.name));
            continue;
        }
        let place = zbundle.place("stick")?;
        let hub = place.authority("punakha-hub")?;
        let clinic = place.member("lunana-bhu", &hub)?;
        clinic.push(corpus.lines(EVENTS)?)?;
        let stick = place.scratch.join("stick");
        clinic.run(words(&["stick", "init", "--folder"], &stick), Input::Nothing)?;
        let out = exchange(&clinic, &stick)?;
        let len = len_below(&stick, ".zb")? as f64;
        let taken = exchange(&hub, &stick)?;
        if out.number("copied") != Some(EVENTS as u64) || taken.number("new") != Some(EVENTS as u64) {
            return Err(format!("{} copied, {} taken in", out.last_line, taken.last_line).into());
        }
        let row = |what: &str| format!("stick/{}/{}, {what}", corpus.name, thousands(EVENTS as u64));
        report.at_most(row("out and in"), (out.wall + taken.wall).as_secs_f64(), SECONDS_MAX, Unit::Seconds);
        report.at_most(row("peak memory"), out.rss.max(taken.rss) as f64, RSS_MAX, Unit::Bytes);
        report.at_most(row("on the stick"), len / EVENTS as f64, LEN_PER_EVENT_MAX, Unit::BytesPerEvent);
        let again = exchange(&hub, &stick)?;
        report.note(row("again, nothing new"), format!("{}, {} files written", time(again.wall), again.number("files").unwrap_or(0)));
    }
    nncp(zbundle, report, &corpora[0])
}

fn exchange(node: &Node, stick: &Path) -> Result<Cost, Failure> {
    node.run(words(&["exchange"], stick), Input::Nothing)
}

fn words(words: &[&str], path: &Path) -> Vec<OsString> {
    words.iter().map(OsString::from).chain([path.as_os_str().to_owned()]).collect()
}

/// The same 5 000 events as one packet, NNCP's best case; and some of them as packets of their own, which is how it keeps events apart.
fn nncp(zbundle: &Zbundle, report: &mut Report, corpus: &Corpus) -> Result<(), Failure> {
    if Command::new("nncp-xfer").arg("-version").output().is_err() {
        report.note("stick/nncp", "not measured: the package nncp is not installed");
        return Ok(());
    }
    let place = zbundle.place("nncp")?;
    let pair = Nncp::make(&place.scratch)?;
    let lines: Vec<String> = corpus.lines(EVENTS)?.collect();
    let (whole, each) = (place.scratch.join("whole"), place.scratch.join("each"));
    fs::write(&whole, lines.join("\n"))?;
    fs::create_dir(&each)?;
    let mut one = pair.send(&whole)?;
    let len = pair.carry(&mut one)?;
    report.note(
        format!("stick/nncp, {} events in one packet", thousands(EVENTS as u64)),
        format!("{}, {:.1} B/event, {:.1} MB", time(one.wall), len as f64 / EVENTS as f64, one.rss as f64 / 1e6),
    );
    let mut many = Spent::default();
    for (number, line) in lines.iter().take(PACKETS).enumerate() {
        let file = each.join(format!("{number}.json"));
        fs::write(&file, line)?;
        many.add(&pair.send(&file)?);
    }
    let len = pair.carry(&mut many)?;
    report.note(
        format!("stick/nncp, {} packets of one event", thousands(PACKETS as u64)),
        format!("{}, {:.1} B/event, {:.1} MB", time(many.wall), len as f64 / PACKETS as f64, many.rss as f64 / 1e6),
    );
    Ok(())
}

/// What several commands cost together.
#[derive(Default)]
struct Spent {
    wall: std::time::Duration,
    rss: u64,
}

impl Spent {
    fn add(&mut self, more: &Self) {
        (self.wall, self.rss) = (self.wall + more.wall, self.rss.max(more.rss));
    }
}

/// Two nodes of NNCP that know each other, and a stick.
struct Nncp {
    folder: PathBuf,
}

impl Nncp {
    fn make(folder: &Path) -> Result<Self, Failure> {
        let keys = ["near", "far"].map(|_| Command::new("nncp-cfgnew").arg("-nocomments").output());
        let [near, far] = keys.map(|output| output.map(|output| fields(&String::from_utf8_lossy(&output.stdout))));
        let (near, far) = (near?, far?);
        for (name, own, other) in [("near", &near, &far), ("far", &far, &near)] {
            let spool = folder.join(format!("{name}-spool"));
            let incoming = folder.join(format!("{name}-incoming"));
            fs::create_dir_all(&spool)?;
            fs::create_dir_all(&incoming)?;
            let pick = |fields: &HashMap<String, String>, names: &[&str]| -> String {
                names.iter().copied().flat_map(|name| [name, ": ", fields.get(name).map_or("", String::as_str), "\n"]).collect()
            };
            let public = ["id", "exchpub", "signpub", "noisepub"];
            let own_keys = pick(own, &["id", "exchpub", "exchprv", "signpub", "signprv", "noiseprv", "noisepub"]);
            let config = format!(
                "{{\nspool: {}\nlog: {}\nself: {{\n{own_keys}}}\nneigh: {{\nself: {{\n{}}}\nother: {{\n{}incoming: {}\n}}\n}}\n}}\n",
                spool.display(),
                folder.join(format!("{name}.log")).display(),
                pick(own, &public),
                pick(other, &public),
                incoming.display()
            );
            fs::write(folder.join(format!("{name}.hjson")), config)?;
        }
        fs::create_dir_all(folder.join("stick"))?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn run(&self, program: &str, node: &str, args: &[&str]) -> Result<Spent, Failure> {
        let config = self.folder.join(format!("{node}.hjson"));
        let mut all: Vec<OsString> = vec!["-cfg".into(), config.into_os_string(), "-quiet".into()];
        all.extend(args.iter().map(OsString::from));
        let cost = measure(Path::new(program), &all, Input::Nothing, &self.folder)?;
        if cost.exit == 0 { Ok(Spent { wall: cost.wall, rss: cost.rss }) } else { Err(format!("{program} {args:?} ended with {}", cost.exit).into()) }
    }

    fn send(&self, file: &Path) -> Result<Spent, Failure> {
        self.run("nncp-file", "near", &[&file.to_string_lossy(), "other:"])
    }

    /// Onto the stick, off it, and out of its envelope; returns what lay on the stick.
    fn carry(&self, spent: &mut Spent) -> Result<u64, Failure> {
        let stick = self.folder.join("stick");
        let stick = stick.to_string_lossy();
        spent.add(&self.run("nncp-xfer", "near", &["-mkdir", "-tx", &stick])?);
        let len = len_below(Path::new(&*stick), "")?;
        spent.add(&self.run("nncp-xfer", "far", &["-rx", &stick])?);
        spent.add(&self.run("nncp-toss", "far", &[])?);
        Ok(len)
    }
}

/// `name: value` lines of a configuration.
fn fields(text: &str) -> HashMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.trim().split_once(": "));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

//! The scenes: what is run, and what must be true after it was broken off anywhere.

use crate::Failure;
use crate::link;
use crate::program::{Ended, Program, ended};
use crate::stage::{Stage, files};
use crate::trace::{Fault, Kind};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// How long "try again" may take: the one who was killed holds no lock, others may still be at work.
const AGAIN: &str = "10s";

/// One command that is broken off.
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    /// What is done to it.
    pub kinds: &'static [Kind],
    /// Whether the clinic is a member before.
    pub joined: bool,
    /// What the stage needs besides.
    pub set: fn(&Program, &Path) -> Result<(), Failure>,
    form: Form,
}

/// Who is broken off.
enum Form {
    /// A command alone; then what must be true.
    Alone(&'static [&'static str], Check),
    /// Who dials, while another listens.
    Dialer,
    /// Who listens, while another dials.
    Listener,
}

type Check = fn(&Program, &Path, &Ended, &Stage) -> Result<(), Failure>;

/// Every scene.
pub fn all() -> Vec<Scene> {
    const CLINIC: &str = "--data-dir=clinic";
    const HUB: &str = "--data-dir=hub";
    let alone = |name, args, check| Scene { name, kinds: Fault::KINDS, joined: true, set: |_, _| Ok(()), form: Form::Alone(args, check) };
    let linked = |name, form| Scene { name, kinds: Fault::KINDS, joined: true, set: |_, _| Ok(()), form };
    vec![
        alone("init", &["--data-dir=new", "init", "new"], check_init),
        alone("init --authority", &["--data-dir=new", "init", "new", "--authority"], check_init_authority),
        Scene { joined: false, ..alone("join", &[CLINIC, "join", "clinic.join", "--yes"], check_join) },
        alone("push", &[CLINIC, "push", "--ndjson", "more.ndjson"], check_push),
        alone("push in parts", &[CLINIC, "push", "--file", "large"], check_push),
        Scene { set: nearly_full, ..alone("push that seals a segment", &[CLINIC, "push", "--file", "large"], check_push) },
        alone("cut", &[CLINIC, "cut", "--to", "hub", "--out", "stick"], check_cut),
        Scene { set: cut, ..alone("ingest", &[HUB, "ingest", "stick"], check_ingest) },
        Scene { set: prepare, ..alone("exchange at a clinic", &[CLINIC, "exchange", "stick"], check_exchange) },
        Scene { set: exchanged, ..alone("exchange at the hub", &[HUB, "exchange", "stick"], check_exchange) },
        Scene { set: exchanged, ..alone("watch --once", &[HUB, "watch", "--once", "stick"], check_exchange) },
        Scene { set: asked, ..alone("sign", &[HUB, "sign", "newcomer.request"], check_sign) },
        linked("sync that dials", Form::Dialer),
        linked("serve that listens", Form::Listener),
    ]
}

impl Scene {
    /// The command, where it is one.
    pub fn arguments(&self) -> &'static [&'static str] {
        match self.form {
            Form::Alone(args, _) => args,
            Form::Dialer | Form::Listener => &[],
        }
    }

    /// Whether it is one of two processes.
    pub fn is_linked(&self) -> bool {
        matches!(self.form, Form::Dialer | Form::Listener)
    }

    /// See whether every promise is kept in `at`, after the command ended as `broken` says.
    ///
    /// # Errors
    /// The promise that is not.
    pub fn check(&self, program: &Program, at: &Path, broken: &Ended, stage: &Stage) -> Result<(), Failure> {
        match self.form {
            Form::Alone(_, check) => check(program, at, broken, stage),
            Form::Dialer | Form::Listener => check_synced(program, at, broken, stage),
        }
    }

    /// Run it under `traced` without breaking anything off.
    ///
    /// # Errors
    /// When it does not end well even so.
    pub fn good_run(&self, program: &Program, at: &Path, mut traced: Command) -> Result<(), Failure> {
        match self.form {
            Form::Alone(args, _) => {
                let ended = ended(traced.current_dir(at).args(args))?;
                if ended.exit == Some(0) { Ok(()) } else { Err(format!("`{}` ended with {:?}: {}", args.join(" "), ended.exit, ended.err)) }
            }
            Form::Dialer => link::dial(program, at, traced).map(drop),
            Form::Listener => link::listen(program, at, traced).map(drop),
        }
    }
}

/// Break `scene` off by `fault`, then see whether every promise is kept.
///
/// # Errors
/// The promise that is not.
pub fn play(program: &Program, stage: &Stage, scene: &Scene, fault: &Fault) -> Result<(), Failure> {
    let copy = stage.copy()?;
    let at = copy.path();
    let mut command = fault.command(program);
    match scene.form {
        Form::Alone(args, check) => {
            let broken = ended(command.current_dir(at).args(args))?;
            check_end(fault, &broken)?;
            check(program, at, &broken, stage)
        }
        Form::Dialer => {
            let ended = link::dial(program, at, command)?;
            check_end(fault, &ended)?;
            check_synced(program, at, &ended, stage)
        }
        Form::Listener => {
            let nobody = Ended { exit: None, out: String::new(), err: String::new() };
            check_synced(program, at, &link::listen(program, at, command)?.unwrap_or(nobody), stage)
        }
    }
}

/// Whoever was not killed ends by itself, and does not panic.
fn check_end(fault: &Fault, ended: &Ended) -> Result<(), Failure> {
    if fault.kind != Kind::Kill && (ended.exit.is_none_or(|exit| exit == link::PANICKED) || ended.err.contains("panicked")) {
        return Err(format!("it ended with {:?}: {}", ended.exit, ended.err.trim()));
    }
    Ok(())
}

/// The log ends so near the end of its segment that the next large payload begins another.
fn nearly_full(program: &Program, at: &Path) -> Result<(), Failure> {
    let large = std::fs::read(at.join("large")).map_err(|error| error.to_string())?;
    let filling: Vec<u8> = large.iter().cycle().take(15_900_000).copied().collect();
    std::fs::write(at.join("filling"), filling).map_err(|error| error.to_string())?;
    program.expect(at, &["--data-dir=clinic", "push", "--file", "filling"], &[0])?;
    std::fs::remove_file(at.join("filling")).map_err(|error| error.to_string())
}

fn cut(program: &Program, at: &Path) -> Result<(), Failure> {
    program.expect(at, &["--data-dir=clinic", "cut", "--to", "hub", "--out", "stick"], &[0]).map(drop)
}

/// Somebody asks to be taken in.
fn asked(program: &Program, at: &Path) -> Result<(), Failure> {
    program.expect(at, &["--data-dir=newcomer", "init", "newcomer"], &[0])?;
    program.expect(at, &["--data-dir=newcomer", "push", "first"], &[0])?;
    program.expect(at, &["--data-dir=newcomer", "request", "--out", "newcomer.request"], &[0]).map(drop)
}

/// A shared folder, prepared.
fn prepare(program: &Program, at: &Path) -> Result<(), Failure> {
    program.expect(at, &["stick", "init", "stick", "--folder", "--label", "round"], &[0]).map(drop)
}

/// One that a clinic has been at.
fn exchanged(program: &Program, at: &Path) -> Result<(), Failure> {
    prepare(program, at)?;
    program.expect(at, &["--data-dir=clinic", "exchange", "stick"], &[0]).map(drop)
}

/// The node opens, is whole, and takes another event.
fn check_node(program: &Program, at: &Path, data_dir: &str) -> Result<(), Failure> {
    let node = ["--data-dir", data_dir, "--lock-wait", AGAIN];
    program.expect(at, &[&node[..], &["status"]].concat(), &[0])?;
    let pushed = program.expect(at, &[&node[..], &["push", "afterwards"]].concat(), &[0])?;
    program.expect(at, &[&node[..], &["fsck"]].concat(), &[0])?;
    let events = program.events(at, data_dir)?;
    let ids: BTreeSet<&str> = pushed.out.lines().collect();
    if ids.iter().all(|id| events.contains_key(*id)) { Ok(()) } else { Err("the next push was acknowledged and is not there".to_owned()) }
}

fn check_init(program: &Program, at: &Path, broken: &Ended, _: &Stage) -> Result<(), Failure> {
    init_again(program, at, broken, &["--data-dir=new", "init", "new"])
}

fn init_again(program: &Program, at: &Path, broken: &Ended, args: &[&str]) -> Result<(), Failure> {
    let again = program.run(at, args)?;
    match again.exit {
        Some(0) if broken.exit == Some(0) => return Err("it ended well, and there was no node".to_owned()),
        Some(0 | 2) => {}
        other => return Err(format!("`init` again ended with {other:?}: {}", again.err.trim())),
    }
    check_node(program, at, "new")
}

/// It takes members in, too.
fn check_init_authority(program: &Program, at: &Path, broken: &Ended, _: &Stage) -> Result<(), Failure> {
    init_again(program, at, broken, &["--data-dir=new", "init", "new", "--authority"])?;
    program.expect(at, &["--data-dir=another", "init", "another"], &[0])?;
    program.expect(at, &["--data-dir=another", "request", "--out", "another.request"], &[0])?;
    program.expect(at, &["--data-dir=new", "sign", "another.request", "--out", "another.join"], &[0])?;
    program.expect(at, &["--data-dir=another", "join", "another.join", "--yes"], &[0]).map(drop)
}

fn check_join(program: &Program, at: &Path, _: &Ended, stage: &Stage) -> Result<(), Failure> {
    program.expect(at, &["--data-dir=clinic", "join", "clinic.join", "--yes"], &[0])?;
    check_node(program, at, "clinic")?;
    program.expect(at, &["--data-dir=clinic", "cut", "--to", "hub", "--out", "stick"], &[0])?;
    check_carried(program, at, stage)
}

/// Signed again it is the same member, who can be joined and heard.
fn check_sign(program: &Program, at: &Path, broken: &Ended, _: &Stage) -> Result<(), Failure> {
    let mut join = "newcomer.join";
    if broken.exit != Some(0) {
        join = "again.join";
        program.expect(at, &["--data-dir=hub", "sign", "newcomer.request", "--out", join], &[0])?;
    }
    program.expect(at, &["--data-dir=newcomer", "join", join, "--yes"], &[0])?;
    program.expect(at, &["--data-dir=newcomer", "cut", "--to", "hub", "--out", "stick"], &[0])?;
    program.expect(at, &["--data-dir=hub", "ingest", "stick"], &[0])?;
    if program.events(at, "newcomer")?.iter().any(|(id, content)| program.events(at, "hub").is_ok_and(|held| held.get(id) != Some(content))) {
        return Err("what the newcomer wrote did not arrive".to_owned());
    }
    check_node(program, at, "hub")
}

/// What was acknowledged is there, once, with what was there before; nothing else that nobody pushed.
fn check_push(program: &Program, at: &Path, broken: &Ended, stage: &Stage) -> Result<(), Failure> {
    let events = program.events(at, "clinic")?;
    for id in broken.out.lines().filter(|line| line.contains('~')) {
        if !events.contains_key(id) {
            return Err(format!("{id} was acknowledged and is not there"));
        }
    }
    let contents: Vec<&String> = events.values().collect();
    let different: BTreeSet<&String> = contents.iter().copied().collect();
    if different.len() < contents.len() {
        return Err("an event stands there twice".to_owned());
    }
    if !stage.held.iter().all(|content| different.contains(content)) {
        return Err("something that was there before is not there any more".to_owned());
    }
    check_node(program, at, "clinic")
}

/// Nothing that is not whole has a bundle's name; the next run completes, and leaves nothing behind.
fn check_cut(program: &Program, at: &Path, _: &Ended, stage: &Stage) -> Result<(), Failure> {
    for bundle in files(&at.join("stick"), ".zb")? {
        program.expect(at, &["verify", &bundle.to_string_lossy()], &[0])?;
    }
    cut(program, at)?;
    let left = files(&at.join("stick"), ".part")?;
    if !left.is_empty() {
        return Err(format!("{left:?} is still there after the next run"));
    }
    check_node(program, at, "clinic")?;
    check_carried(program, at, stage)
}

/// What lies on the stick brings the hub all that the clinic had.
fn check_carried(program: &Program, at: &Path, stage: &Stage) -> Result<(), Failure> {
    program.expect(at, &["--data-dir=hub", "ingest", "stick"], &[0])?;
    check_arrived(program, at, stage)
}

fn check_arrived(program: &Program, at: &Path, stage: &Stage) -> Result<(), Failure> {
    let there = program.events(at, "hub")?;
    let contents: BTreeSet<&String> = there.values().collect();
    if contents.len() < there.len() {
        return Err("the hub holds an event twice".to_owned());
    }
    let missing = stage.held.iter().filter(|content| !contents.contains(content)).count();
    if missing > 0 { Err(format!("the hub lacks {missing} of {} events", stage.held.len())) } else { Ok(()) }
}

/// "Safe" was said only when it ended well; whoever was broken off, a round of both brings everything over and the answer back.
fn check_exchange(program: &Program, at: &Path, broken: &Ended, stage: &Stage) -> Result<(), Failure> {
    if broken.exit != Some(0) && broken.out.contains("safe to remove") {
        return Err(format!("it ended with {:?} and said: {}", broken.exit, broken.out.trim()));
    }
    for bundle in files(&at.join("stick"), ".zb")? {
        program.expect(at, &["verify", &bundle.to_string_lossy()], &[0])?;
    }
    for node in ["--data-dir=clinic", "--data-dir=hub", "--data-dir=clinic"] {
        program.expect(at, &[node, "exchange", "stick"], &[0])?;
    }
    check_arrived(program, at, stage)?;
    let left = files(&at.join("stick"), ".part")?;
    if !left.is_empty() {
        return Err(format!("{left:?} is still there after three more runs"));
    }
    check_node(program, at, "clinic")?;
    check_node(program, at, "hub")
}

fn check_ingest(program: &Program, at: &Path, _: &Ended, stage: &Stage) -> Result<(), Failure> {
    check_carried(program, at, stage)?;
    check_node(program, at, "hub")
}

/// "Sent" was not said of what the hub does not have; the next sync brings the rest.
fn check_synced(program: &Program, at: &Path, broken: &Ended, stage: &Stage) -> Result<(), Failure> {
    let there = program.events(at, "hub")?;
    let told = broken.out.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let sent = told.filter_map(|object| object["sent"].as_u64()).max().unwrap_or(0);
    if sent > there.len() as u64 {
        return Err(format!("{sent} were told as sent, the hub has {}", there.len()));
    }
    link::complete(program, at)?;
    check_arrived(program, at, stage)?;
    check_node(program, at, "clinic")?;
    check_node(program, at, "hub")
}

//! The command line: one file per command; how results, refusals and exit statuses are told.
//!
//! Only this room names `adapters`, in one line. Commands decide nothing: they read options, call `node`, and tell what came of it.

mod accept;
mod alarm;
mod ask;
mod bundle;
mod cells;
mod config;
mod conflicts;
mod console;
mod cut;
mod demo;
mod error;
mod escape;
mod exchange;
mod files;
mod fork;
mod fsck;
mod halt;
mod heal;
mod held;
mod http;
mod ingest;
mod init;
mod inspect;
mod join;
mod log;
mod members;
mod opening;
mod peer;
mod policy;
mod progress;
mod project;
mod push;
mod request;
mod revoke;
mod schema;
mod serve;
mod settle;
mod show;
mod sign;
mod standing;
mod status;
mod stick;
mod sync;
mod tell;
pub mod units;
mod verify;
mod watch;

use crate::adapters::{
    Confined, Files, Messenger, OsHints, OsInput, Talks, ask_program, asked_to_end, confine, open_tables, os_ports, read_hidden_line, run_program,
};
use crate::hub::object;
use crate::node::record::Rotted;
use crate::ports::Ports;
use bundle_format::error::{Code, Exit};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use console::{Color, Console};
use halt::Halt;
use object::Object;
use std::cell::RefCell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

const ABOUT: &str = "Carries events between places that are seldom connected.

Events pushed at one node are kept in an encrypted log, cut into sealed bundles, carried by whatever path exists (a USB stick, a shared folder, a bad mobile link), checked, and taken in at another node: each exactly once, in order, byte for byte.";

const EXAMPLES: &str = "\
First steps, on two machines with no network between them:
  hub    $ zbundle init punakha-hub --authority
  clinic $ zbundle init lunana-bhu
  clinic $ zbundle request --out stick/lunana.request
  hub    $ zbundle sign stick/lunana.request --out stick/lunana.join
  clinic $ zbundle join stick/lunana.join
  clinic $ zbundle push '{\"bp\":\"120/80\"}' --type vitals --key Patient/BT-0042
  clinic $ zbundle cut --to punakha-hub --out stick
  hub    $ zbundle ingest stick
  hub    $ zbundle log

Or see it all at once, on files in a temporary folder:
  $ zbundle demo

Exit status:
  0 done or nothing to do   1 internal   2 usage   3 done in part   10 no node here   11 in use   12 key or passphrase wrong
  13 not trusted   14 damaged or forged   15 no space   16 link failed   17 conflict or fork open, 18 peer silent (--check)   19 log damaged";

/// What the command line says.
#[derive(Debug, Parser)]
#[command(name = "zbundle", version, about = "Carries events between places that are seldom connected", long_about = ABOUT, after_long_help = EXAMPLES)]
#[command(max_term_width = 110, subcommand_required = true, arg_required_else_help = false, disable_help_subcommand = false)]
struct CommandLine {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Globals {
    /// Where the node lives [default: ~/.local/share/zbundle]
    #[arg(long, global = true, value_name = "DIR", env = "ZBUNDLE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
    /// The file that unlocks the node's keys; lies outside the data directory [default: <data-dir>.key]
    #[arg(long, global = true, value_name = "FILE", env = "ZBUNDLE_KEY_FILE", hide_env_values = true, conflicts_with = "passphrase_file")]
    key_file: Option<PathBuf>,
    /// The file whose first line unlocks the node's keys, when they are kept by a passphrase
    #[arg(long, global = true, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Results as one JSON object per line; the last has "type":"summary"
    #[arg(long, global = true)]
    json: bool,
    /// No progress and no notes: only results and refusals
    #[arg(long, short, global = true)]
    quiet: bool,
    /// When to colour (`NO_COLOR` is honoured)
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// How long to wait while another process uses the node
    #[arg(long, global = true, value_name = "TIME", default_value = "5s", value_parser = units::parse_duration_ms)]
    lock_wait: u64,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Request(request::Args),
    Sign(sign::Args),
    Join(join::Args),
    Members(members::Args),
    Policy(policy::Args),
    Revoke(revoke::Args),
    Accept(accept::Args),
    Heal(heal::Args),
    Fork(fork::Args),
    Held(held::Args),
    Push(push::Args),
    Log(log::Args),
    Project(project::Args),
    Conflicts(conflicts::Args),
    Config(config::Args),
    Cut(cut::Args),
    Ingest(ingest::Args),
    Exchange(exchange::Args),
    Stick(stick::Args),
    Peer(peer::Args),
    Sync(sync::Args),
    Serve(serve::Args),
    Watch(watch::Args),
    Status(status::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Fsck(fsck::Args),
    Demo(demo::Args),
    Error(error::Args),
    #[command(hide = true)]
    Tell(tell::Args),
}

/// What a command works with.
struct Context {
    globals: Globals,
    ports: Ports,
    console: Console,
    /// What the nodes that were opened found rotten beside their logs, and nobody has told yet.
    rotted: RefCell<Vec<Rotted>>,
}

/// How a command ended when nothing stopped it.
struct Finished {
    exit: Exit,
    summary: Object,
}

impl Finished {
    /// All done; the summary says what.
    fn done(summary: Object) -> Self {
        Self { exit: Exit::Done, summary }
    }
}

/// The summary every command ends with under `--json`.
fn summary(command: &str) -> Object {
    Object::of("summary").with("command", command)
}

/// Run the program.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let exit = match CommandLine::try_parse_from(&arguments) {
        Ok(CommandLine { globals, command }) => run(globals, command),
        Err(error) => not_understood(&error, &arguments),
    };
    ExitCode::from(exit as u8)
}

fn run(globals: Globals, command: Command) -> Exit {
    let console = Console::new(globals.json, globals.quiet, globals.color);
    let ports = os_ports();
    let mut context = Context { globals, ports, console, rotted: RefCell::default() };
    let name = command.name();
    let finished = command.run(&mut context);
    let told = context.tell_rotted();
    let ended =
        finished.and_then(|finished| told.map(|()| finished)).and_then(|Finished { exit, summary }| match context.console.summary(summary, exit) {
            Ok(()) | Err(Halt::PipeClosed) => Ok(exit), // what was done is done, whoever listens
            Err(halt) => Err(halt),
        });
    match ended {
        Ok(exit) => exit,
        Err(halt) => {
            if let Halt::Refused { code, why } = &halt {
                let told = context.console.refuse(*code, why);
                let summary = summary(name).with("code", code.as_str());
                told.and_then(|()| context.console.summary(summary, halt.exit())).unwrap_or(()); // stdout failed; stderr has been told
            }
            halt.exit()
        }
    }
}

/// `--help` and `--version` are results; all else that clap says is a usage error. With `--json` either is told to programs too.
fn not_understood(error: &clap::Error, arguments: &[OsString]) -> Exit {
    let usage = !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let (json, version) = (arguments.iter().any(|argument| argument == "--json"), error.kind() == ErrorKind::DisplayVersion);
    if !(json && version) {
        error.print().unwrap_or(()); // a closed pipe is a quiet end
    }
    let mut console = Console::new(json, true, Color::Never);
    let exit = if usage { Exit::Usage } else { Exit::Done };
    let commands = <CommandLine as clap::CommandFactory>::command();
    let named = arguments.iter().skip(1).filter_map(|argument| argument.to_str()).find(|word| commands.find_subcommand(word).is_some());
    let told = if usage {
        let text = error.to_string();
        let why = text.split("\n\nUsage:").next().unwrap_or_default().trim_start_matches("error: ").trim_end();
        let summary = Object::of("summary").with_some("command", named).with("code", Code::Z101.as_str());
        console.object(halt::to_object(Code::Z101, why)).and_then(|()| console.summary(summary, exit))
    } else if version {
        console.summary(summary("version").with("version", env!("CARGO_PKG_VERSION")), exit)
    } else {
        Ok(())
    };
    told.unwrap_or(()); // nobody listens any more
    exit
}

macro_rules! commands {
    ($($variant:ident $name:literal;)*) => {
        impl Command {
            fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            fn run(self, context: &mut Context) -> Result<Finished, Halt> {
                match self { $(Self::$variant(args) => args.run(context),)* }
            }
        }
    };
}

commands! {
    Init "init";
    Request "request";
    Sign "sign";
    Join "join";
    Members "members";
    Policy "policy";
    Revoke "revoke";
    Accept "accept";
    Heal "heal";
    Fork "fork";
    Held "held";
    Push "push";
    Log "log";
    Project "project";
    Conflicts "conflicts";
    Config "config";
    Cut "cut";
    Ingest "ingest";
    Exchange "exchange";
    Stick "stick";
    Peer "peer";
    Sync "sync";
    Serve "serve";
    Watch "watch";
    Status "status";
    Inspect "inspect";
    Verify "verify";
    Fsck "fsck";
    Demo "demo";
    Error "error";
    Tell "tell";
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent_and_every_command_teaches_by_example() {
        let command = CommandLine::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            let name = sub.get_name();
            assert!(sub.get_about().is_some(), "{name} says what it does");
            assert!(sub.get_after_help().is_some_and(|help| help.to_string().contains(&format!("zbundle {name}"))), "{name} shows an example");
        }
    }
}

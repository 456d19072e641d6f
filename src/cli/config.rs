//! `zbundle config`: what a person has set for this node, what holds, and whether a file would be understood.

use super::escape::{plain, plain_path};
use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, summary, units};
use crate::node::NodeError;
use crate::node::config::{CONFIG_LEN_MAX, Config};
use crate::node::layout::Layout;
use crate::node::setting::settings;
use crate::ports::disk::read_small;
use bundle_format::error::{Code, Exit};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  zbundle config show                   where the file is, and all that holds, defaults too
  zbundle config check                  whether it is understood, and whether the programs it names can be run
  zbundle config check new.toml && cp new.toml ~/.local/share/zbundle/config.toml

A file that is not understood sets nothing at all; it is refused with its line and column (Z106). What may stand in it: docs/sql.md.";

/// What config.toml sets, and what holds without it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Whether the file is understood
    Check {
        /// Another file than this node's
        file: Option<PathBuf>,
    },
    /// Every setting: its value, and where it comes from
    Show,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        match self.action {
            Action::Check { file } => check(context, file),
            Action::Show => show(context),
        }
    }
}

/// Which directory and key file are used, and what decided that.
fn places(context: &Context) -> [(&'static str, String, &'static str); 2] {
    let from = |given: Option<&PathBuf>, variable: &'static str, option: &'static str| match given {
        None => "default",
        Some(path) if std::env::var_os(variable).is_some_and(|value| value == path.as_os_str()) => variable,
        Some(_) => option,
    };
    let globals = &context.globals;
    [
        ("data-dir", plain_path(&context.data_dir()), from(globals.data_dir.as_ref(), "ZBUNDLE_DATA_DIR", "--data-dir")),
        ("key-file", plain_path(&context.key_file()), from(globals.key_file.as_ref(), "ZBUNDLE_KEY_FILE", "--key-file")),
    ]
}

/// The file of this node; there must be a node, or a slip in --data-dir would pass for an empty configuration.
fn own(context: &Context) -> Result<PathBuf, Halt> {
    let layout = Layout::new(&context.data_dir());
    let look = context.ports.disk.look(&layout.keyring()).map_err(|error| NodeError::reading(&layout.keyring(), error))?;
    look.map(|_| layout.config()).ok_or_else(|| Halt::new(Code::Z102, plain_path(&context.data_dir())))
}

/// Its text, if it is there.
fn read(context: &Context, path: &Path) -> Result<Option<String>, Halt> {
    let wrong = |why: &str| Halt::new(Code::Z106, format!("{}: {why}", plain_path(path)));
    let bytes = read_small(&*context.ports.disk, path, CONFIG_LEN_MAX).map_err(|error| NodeError::reading(path, error))?;
    bytes.map(|bytes| String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))).transpose()
}

fn parsed(path: &Path, text: &str) -> Result<Config, Halt> {
    Config::parse(text).map_err(|why| Halt::new(Code::Z106, format!("{}: {why}", plain_path(path))))
}

fn show(context: &mut Context) -> Result<Finished, Halt> {
    let path = own(context)?;
    let text = read(context, &path)?;
    let config = parsed(&path, text.as_deref().unwrap_or_default())?;
    let name = plain_path(&path);
    let is_there = if text.is_some() { "" } else { "  (not there: the defaults hold)" };
    context
        .console
        .result(&format!("{name}{is_there}"), || Object::of("file").with("file", path.to_string_lossy()).with("present", text.is_some()))?;
    for (name, value, from) in places(context) {
        context
            .console
            .result(&format!("  {name} = {value}    {from}"), || Object::of("setting").with("name", name).with("value", &value).with("from", from))?;
    }
    let all = settings(text.as_deref().unwrap_or_default(), &config);
    for setting in &all {
        let from = setting.at.map_or_else(|| "default".to_owned(), |at| format!("line {}", at.line));
        let line = format!("  {} = {}    {from}", setting.name, plain(&setting.value.to_string()));
        context.console.result(&line, || {
            let object = Object::of("setting").with("name", &setting.name).with("value", &setting.value);
            let object = object.with("from", if setting.at.is_some() { "config.toml" } else { "default" });
            object.with_some("line", setting.at.map(|at| at.line)).with_some("column", setting.at.map(|at| at.column))
        })?;
    }
    Ok(Finished::done(
        summary("config").with("file", path.to_string_lossy()).with("present", text.is_some()).with("rules", config.conflicts.rules.len()),
    ))
}

fn check(context: &mut Context, file: Option<PathBuf>) -> Result<Finished, Halt> {
    let is_named = file.is_some();
    let path = file.map_or_else(|| own(context), Ok)?;
    let name = plain_path(&path);
    let text = read(context, &path)?;
    if text.is_none() && is_named {
        return Err(Halt::new(Code::Z201, format!("{name}: it is not there")));
    }
    let config = parsed(&path, text.as_deref().unwrap_or_default())?;
    let rules = config.conflicts.rules.len();
    let said = if text.is_some() { format!("understood, {}", units::count(rules as u64, "rule")) } else { "not there: the defaults hold".to_owned() };
    context.console.result(&format!("{name}: {said}"), || Object::of("file").with("file", path.to_string_lossy()).with("present", text.is_some()))?;
    let mut missing = 0u64;
    for program in config.conflicts.rules.iter().filter_map(|rule| rule.program.as_deref()) {
        if !context.ports.disk.is_program(program).unwrap_or(false) {
            context.console.warn(Code::Z415, &format!("{}: there is no program that can be run", plain_path(program)))?;
            missing += 1;
        }
    }
    let summary =
        summary("config").with("file", path.to_string_lossy()).with("present", text.is_some()).with("rules", rules).with("missing", missing);
    Ok(Finished { exit: if missing > 0 { Exit::Partial } else { Exit::Done }, summary })
}

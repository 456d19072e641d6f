//! `zbundle project`: the log as tables, for SQL.

use super::escape;
use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, open_tables, summary, units};
use crate::node::NodeError;
use crate::node::layout::Layout;
use crate::node::writer::require_owner;
use crate::ports::projection::Projection;
use bundle_format::error::{Code, Exit};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a command waits while another program writes into the file.
const PATIENCE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  zbundle project                                into index.db in the data directory
  zbundle project --to /srv/reports/clinic.db    into a file of your own
  zbundle project --rebuild                      from nothing; the content is the same
  sqlite3 /srv/reports/clinic.db \"SELECT record,
    CASE WHEN json_valid(payload) THEN payload ->> '$.bp' END FROM current\"

The tables are made from the log and can be lost and made again at any time; docs/sql.md says what they hold. They are NOT encrypted: they hold
the payloads as they were pushed. Keep the file where only those may read who may read the records.";

/// Put what the log holds into SQL tables, in a SQLite file
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The file [default: index.db in the data directory]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Make the tables from nothing
    #[arg(long)]
    rebuild: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let view = context.view()?;
        context.tell_damage(&view)?;
        let layout = Layout::new(&context.data_dir());
        if self.to.is_none() {
            require_owner(&context.ports, &layout)?;
        }
        let path = self.to.clone().unwrap_or_else(|| layout.index());
        if let Some(folder) = self.to.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty()) {
            context.ports.disk.create_folder(folder).map_err(|error| Halt::from(NodeError::writing(folder, error)))?;
        }
        if self.rebuild && self.to.is_none() {
            set_aside(context, &path)?;
        }
        let mut tables = tables(&path, true)?;
        let done = view.project(&mut *tables, self.rebuild)?;
        view.project_beside(&mut *tables)?;
        let (events, records) = tables.counts().map_err(NodeError::from)?;
        let name = escape::plain_path(&path);
        let text = format!("{name}: {} in {}, {} new", units::count(events, "event"), units::count(records, "record"), done.events);
        context
            .console
            .result(&text, || Object::of("projection").with("file", path.to_string_lossy()).with("events", events).with("records", records))?;
        if done.lacking > 0 {
            let lacking = units::count(done.lacking, "event");
            context.note_rot(&view)?;
            context.console.warn(Code::Z301, &format!("{lacking} cannot be read here, and no row has them; `zbundle fsck` tells which"))?;
        }
        let exit = if done.lacking == 0 { Exit::Done } else { Exit::LogDamaged };
        let summary = summary("project").with("new", done.events).with("rebuilt", done.rebuilt).with("lacking", done.lacking);
        Ok(Finished { exit, summary })
    }
}

/// What bears the name of the node's own tables and cannot be opened as such is kept under another: from nothing means also where they have rotted.
/// A file that somebody named may be anything, and stays.
fn set_aside(context: &mut Context, path: &Path) -> Result<(), Halt> {
    let opened = open_tables(path, true, PATIENCE);
    if !opened.is_err_and(|error| matches!(error.code(), Code::Z410 | Code::Z411)) {
        return Ok(());
    }
    let aside = path.with_extension("db.damaged");
    context.ports.disk.rename(path, &aside).map_err(|error| Halt::from(NodeError::writing(&aside, error)))?;
    context.console.note(&format!("what stood there is {} now", escape::plain_path(&aside)));
    Ok(())
}

/// The tables of the data directory; they hold payloads only when somebody asked for that.
pub fn own_tables(context: &Context) -> Result<Box<dyn Projection>, Halt> {
    let layout = Layout::new(&context.data_dir());
    require_owner(&context.ports, &layout)?;
    tables(&layout.index(), false)
}

fn tables(path: &Path, payloads: bool) -> Result<Box<dyn Projection>, Halt> {
    open_tables(path, payloads, PATIENCE).map_err(|error| Halt::new(error.code(), format!("{}: {error}", escape::plain_path(path))))
}

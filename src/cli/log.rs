//! `zbundle log`: what the log holds.

use super::console::Console;
use super::halt::Halt;
use super::show::{self, CSV_HEADER, Names};
use super::{Context, Finished, summary, units};
use crate::node::View;
use crate::node::log::{Filter, Shown, Since, each_event};
use crate::ports::store::Log;
use bundle_format::error::{Code, Exit};
use bundle_format::ids::{Lane, Origin};
use std::collections::BTreeSet;
use std::io::Write as _;

const EXAMPLES: &str = "\
Examples:
  zbundle log
  zbundle log --origin lunana-bhu --lane urgent --since 2026-11-01
  zbundle log --key Patient/BT-0042 --format json
  zbundle log --since lunana-bhu~7f3a91c2/routine:41     what was stored after that event
  zbundle log --key scan-7 --payload > scan.jpg          payloads as they were pushed

A payload in parts (above 4 KiB) stands where its first part was stored. One whose last part came later than what is named by --since is not shown then: whoever
must miss nothing reads on from a cursor, GET /v1/events (docs/http-api.md), where it stands behind its last part.

One payload comes out exactly; of several, each that does not end in a newline gets one.
Notes of the nodes themselves are in the control lane and shown only by --lane control.";

/// How to show events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A line to read.
    #[default]
    Text,
    /// One JSON object per line, payload included.
    Json,
    /// A table with a header, payload included, for a spreadsheet: no cell is a formula, controls are spelled out.
    Csv,
}

/// Show the events that are held, in the order they were stored
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only this node or origin: lunana-bhu, lunana-bhu/urgent, lunana-bhu~7f3a91c2/routine
    #[arg(long)]
    origin: Option<String>,
    /// Only this lane: control, urgent, routine or bulk
    #[arg(long, value_parser = lane)]
    lane: Option<Lane>,
    /// Only what was stored after this event, or stamped at or after this date (UTC)
    #[arg(long, value_name = "ID|DATE")]
    since: Option<String>,
    /// Only this record
    #[arg(long)]
    key: Option<String>,
    /// How to show them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Only the payloads, as they were pushed
    #[arg(long)]
    payload: bool,
}

fn lane(text: &str) -> Result<Lane, String> {
    Lane::from_name(text).ok_or_else(|| "control, urgent, routine or bulk".to_owned())
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let view = context.view()?;
        let filter = self.filter(&view)?;
        let (log, console) = (view.log(), &mut context.console);
        let mut names = Names::new(view.naming(), log);
        let format = if console.json() { Format::Json } else { self.format };
        if format == Format::Csv {
            console.line(CSV_HEADER.trim_end())?;
        }
        let mut payloads = Payloads::default();
        let read = each_event(log, &filter, |shown| match (self.payload, format) {
            (true, Format::Text) => payloads.put(console, log, shown),
            (_, Format::Text) => console.line(&show::text(shown, &mut names)?),
            (_, Format::Json) => show::json(console.stdout(), log, shown, &mut names),
            (_, Format::Csv) => show::csv(console.stdout(), log, shown, &mut names),
        })?;
        payloads.end(console)?;
        console.flush()?;
        for damage in &read.damage {
            console.warn(damage.code(), &damage.to_string())?;
        }
        let damaged = read.damage.len() as u64 + context.tell_damage(&view)?;
        let exit = if damaged == 0 { Exit::Done } else { Exit::LogDamaged };
        Ok(Finished { exit, summary: summary("log").with("events", read.shown).with("damaged", damaged) })
    }

    fn filter(&self, view: &View) -> Result<Filter, Halt> {
        let since = match &self.since {
            None => Since::Start,
            Some(text) => match units::parse_date_ms(text) {
                Some(ms) => Since::Date(ms),
                None => view.event(text).map(|(stream, id)| Since::After(stream, id.seq))?,
            },
        };
        let (origins, lane) = match &self.origin {
            None => (None, None),
            Some(text) => origins(view, text).map(|(origins, lane)| (Some(origins), lane))?,
        };
        Ok(Filter { origins, lane: self.lane.or(lane), since, record_key: self.key.clone() })
    }
}

/// The histories a person means by a node, a life of it, or one lane of either; and the lane, if they named one.
fn origins(view: &View, text: &str) -> Result<(BTreeSet<Origin>, Option<Lane>), Halt> {
    let naming = view.naming();
    let (writer, history) = text.split_once('/').map_or((text, None), |(writer, history)| (writer, Some(history)));
    let (name, life) = writer.split_once('~').map_or((writer, None), |(name, life)| (name, Some(life)));
    let node = naming.parse_node(name).map_err(|error| Halt::new(Code::Z407, error.to_string()))?;
    let wanted = |origin: &Origin| {
        let lane_and_audience = || naming.origin(origin).split_once('/').map(|(_, history)| history.to_owned());
        let here = origin.node == node && life.is_none_or(|life| origin.incarnation.to_string() == life);
        here && history.is_none_or(|history| lane_and_audience().as_deref() == Some(history))
    };
    let found: BTreeSet<Origin> = view.log().streams().into_iter().map(|(stream, _)| stream.origin).filter(wanted).collect();
    if found.is_empty() && history.or(life).is_some() {
        return Err(Halt::new(Code::Z407, format!("{text:?}")));
    }
    let lane = history.and_then(|history| Lane::from_name(history.split('>').next().unwrap_or_default()));
    Ok((found, lane))
}

/// Payloads one after the other: a single one exactly as it is, several each with a newline at its end.
#[derive(Default)]
struct Payloads {
    count: u64,
    open: bool,
}

impl Payloads {
    fn put(&mut self, console: &mut Console, log: &dyn Log, shown: &Shown<'_>) -> Result<(), Halt> {
        if self.open {
            console.stdout().write_all(b"\n").map_err(|error| Halt::output(&error))?;
        }
        let last = show::payload(console.stdout(), log, shown)?;
        self.open = last != Some(b'\n');
        self.count += 1;
        Ok(())
    }

    fn end(&self, console: &mut Console) -> Result<(), Halt> {
        if self.count > 1 && self.open { console.stdout().write_all(b"\n").map_err(|error| Halt::output(&error)) } else { Ok(()) }
    }
}

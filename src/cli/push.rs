//! `zbundle push`: put events into the log.

use super::halt::Halt;
use super::{Context, Finished};
use bundle_format::ids::Lane;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle push '{\"bp\":\"120/80\"}' --type vitals --key Patient/BT-0042
  zbundle push --file scan.jpg --content-type image/jpeg --lane bulk
  echo -n hello | zbundle push -
  tail -f app.ndjson | zbundle push --ndjson -   one event per line, stored as they come
  zbundle push --to lunana-bhu --type lab/result --file result.json

A payload is any bytes up to 16 MiB and comes out byte for byte. A line that is not JSON is named and left out; the others go on (exit 3).
An event is safe when its id is printed, not before.";

/// Store events durably; print one id per event once it is safe on the disk
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["payload", "file", "ndjson"])))]
pub struct Args {
    /// The payload itself; - reads one payload from stdin
    #[arg(value_name = "PAYLOAD", allow_hyphen_values = false)]
    payload: Option<std::ffi::OsString>,
    /// A file that is one payload
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A file of JSON values, one per line, each an event; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["idempotency_key"])]
    ndjson: Option<PathBuf>,
    /// How urgent: urgent, routine or bulk
    #[arg(long, default_value = "routine", value_parser = lane)]
    lane: Lane,
    /// What kind of event; the application's own word
    #[arg(long = "type", value_name = "TYPE", default_value = "record")]
    kind: String,
    /// The record this is about, such as Patient/BT-0042
    #[arg(long)]
    key: Option<String>,
    /// An event of that record its writer had seen (several times for several; none: had seen nothing)
    #[arg(long, value_name = "ID")]
    base: Vec<String>,
    /// What the payload is [default: application/json]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Names this push, so that repeating it stores nothing new
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Who wrote it
    #[arg(long)]
    author: Option<String>,
    /// Only for this node, and the hubs that carry it there; may be given several times
    #[arg(long, value_name = "NODE")]
    to: Vec<String>,
}

fn lane(text: &str) -> Result<Lane, String> {
    let lane = Lane::from_name(text).filter(|lane| *lane != Lane::Control);
    lane.ok_or_else(|| "urgent, routine or bulk; the control lane is the nodes' own".to_owned())
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = (self, context);
        Err(Halt::new(bundle_format::error::Code::Z100, "not wired"))
    }
}

//! The command line, and what it means.

use clap::{Args, Parser, Subcommand, ValueEnum};
use netlab::link;
use netlab::proxy::{BUFFER_LEN, Each, Ending, Faults, Span, Way};
use netlab::units::{self, Cut, Pair};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Bad links for tests
#[derive(Parser)]
pub struct CommandLine {
    #[command(subcommand)]
    pub tool: Tool,
}

#[derive(Subcommand)]
pub enum Tool {
    /// Stand between a dialer and a listener on TCP, and break their connections
    Proxy(Box<ProxyOptions>),
    /// Run two commands at the two ends of an emulated link: `netlab link [OPTIONS] -- A_CMD ... ::: B_CMD ...`
    Link(Box<LinkOptions>),
    /// Measure the emulated link, beside what it should be
    Selftest,
    /// What the selftest runs at the ends of its links
    #[command(hide = true)]
    Probe {
        /// Which, and its arguments
        #[arg(required = true)]
        probe: Vec<String>,
    },
}

/// Faults in one direction are written `up=…` (dialer to listener) or `down=…`; without, they are in both
#[derive(Args)]
pub struct ProxyOptions {
    /// Where to be dialed; port 0 takes a free one, and the first line on stdout tells it
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Where it leads
    #[arg(long)]
    pub to: SocketAddr,
    /// One-way delay
    #[arg(long, value_name = "[up=|down=]TIME", value_parser = |text: &str| sided(text, time))]
    delay: Vec<Sided<Duration>>,
    /// Evenly spread, more or less than the delay; the order is kept
    #[arg(long, value_name = "[up=|down=]TIME", value_parser = |text: &str| sided(text, time))]
    jitter: Vec<Sided<Duration>>,
    /// Bytes per second, or bits with a unit: 2875, 23kbit
    #[arg(long, value_name = "[up=|down=]RATE", value_parser = |text: &str| sided(text, units::byte_rate))]
    rate: Vec<Sided<u64>>,
    /// One byte each so long
    #[arg(long, value_name = "[up=|down=]TIME", value_parser = |text: &str| sided(text, time))]
    drip: Vec<Sided<Duration>>,
    /// Cut each connection after N bytes; a list serves successive connections, `-` in it is no cut: 15000,-,3000
    #[arg(long, value_name = "[up=|down=]N[,N…]", value_parser = |text: &str| sided(text, |text| each(text, byte_count)))]
    cut_after: Vec<Sided<Each<u64>>>,
    /// Cut each connection so long after its begin; a list as above
    #[arg(long, value_name = "[up=|down=]TIME[,TIME…]", value_parser = |text: &str| sided(text, |text| each(text, time)))]
    cut_at: Vec<Sided<Each<Duration>>>,
    /// How a cut ends its connection
    #[arg(long, default_value = "reset")]
    ending: EndingName,
    /// From BEGIN on nothing moves and nobody is answered, for LENGTH
    #[arg(long, value_name = "BEGIN:LENGTH[,…]", value_delimiter = ',', value_parser = span)]
    blackout: Vec<Span>,
    /// A blackout kills the connections it meets; otherwise they go on after it
    #[arg(long)]
    blackout_kills: bool,
    /// From BEGIN on dialers are refused, for LENGTH
    #[arg(long, value_name = "BEGIN:LENGTH[,…]", value_delimiter = ',', value_parser = span)]
    refuse: Vec<Span>,
    /// Bytes each direction holds before its sender must wait
    #[arg(long, value_name = "BYTES", default_value_t = BUFFER_LEN)]
    buffer: usize,
    /// Repeats the jitter
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End after so long
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub lasts: Option<Duration>,
    /// End with stdin; until then its lines steer: counts, cut ENDING, dark, light, refuse, admit
    #[arg(long)]
    pub until_stdin_closes: bool,
}

/// `Ending`, as it is written.
#[derive(Clone, Copy, ValueEnum)]
pub enum EndingName {
    /// RST to both
    Reset,
    /// FIN to both
    Fin,
    /// Both stay open, nothing moves
    BlackHole,
    /// The direction of the cut falls silent, the other goes on
    HalfOpen,
}

impl From<EndingName> for Ending {
    fn from(name: EndingName) -> Self {
        match name {
            EndingName::Reset => Self::Reset,
            EndingName::Fin => Self::Fin,
            EndingName::BlackHole => Self::BlackHole,
            EndingName::HalfOpen => Self::HalfOpen,
        }
    }
}

impl ProxyOptions {
    /// What is to go wrong.
    pub fn faults(&self) -> Faults {
        let mut faults = Faults {
            ending: self.ending.into(),
            blackouts: self.blackout.clone(),
            blackout_kills: self.blackout_kills,
            refusals: self.refuse.clone(),
            buffer_len: self.buffer,
            seed: self.seed,
            ..Faults::default()
        };
        apply(&mut faults, &self.delay, |way, delay| way.delay = delay);
        apply(&mut faults, &self.jitter, |way, jitter| way.jitter = jitter);
        apply(&mut faults, &self.rate, |way, rate| way.rate = Some(rate));
        apply(&mut faults, &self.drip, |way, drip| way.drip = Some(drip));
        apply(&mut faults, &self.cut_after, |way, cuts| way.cut_after = cuts);
        apply(&mut faults, &self.cut_at, |way, cuts| way.cut_at = cuts);
        faults
    }
}

/// A value and where it holds.
#[derive(Clone, Debug, PartialEq)]
struct Sided<T> {
    up: bool,
    down: bool,
    value: T,
}

fn sided<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Sided<T>, String> {
    let (up, down, text) = match text.split_once('=') {
        Some(("up", text)) => (true, false, text),
        Some(("down", text)) => (false, true, text),
        Some((other, _)) => return Err(format!("`{other}` is neither `up` nor `down`")),
        None => (true, true, text),
    };
    Ok(Sided { up, down, value: read(text)? })
}

fn apply<T: Clone>(faults: &mut Faults, sided: &[Sided<T>], set: impl Fn(&mut Way, T)) {
    for Sided { up, down, value } in sided {
        if *up {
            set(&mut faults.up, value.clone());
        }
        if *down {
            set(&mut faults.down, value.clone());
        }
    }
}

/// One value is for every connection, a list for successive ones.
fn each<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Each<T>, String> {
    if !text.contains(',') {
        return read(text).map(Each::Every);
    }
    let values = text.split(',').map(|one| if matches!(one, "" | "-") { Ok(None) } else { read(one).map(Some) });
    values.collect::<Result<_, _>>().map(Each::Successive)
}

fn byte_count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number of bytes"))
}

fn time(text: &str) -> Result<Duration, String> {
    Duration::try_from_secs_f64(units::seconds(text)?).map_err(|error| format!("`{text}`: {error}"))
}

fn span(text: &str) -> Result<Span, String> {
    let (at, lasts) = text.split_once(':').ok_or_else(|| format!("`{text}` is no BEGIN:LENGTH"))?;
    Ok(Span { at: time(at)?, lasts: time(lasts)? })
}

/// One value holds both ways, two as A->B/B->A
#[derive(Args)]
pub struct LinkOptions {
    /// Bits per second; 0 is no limit
    #[arg(long, default_value = "23kbit", value_parser = |text: &str| units::pair(text, units::rate))]
    rate: Pair<f64>,
    /// One way
    #[arg(long, default_value = "300ms", value_parser = |text: &str| units::pair(text, units::seconds))]
    delay: Pair<f64>,
    /// Evenly spread, more or less than the delay; packets are never reordered
    #[arg(long, default_value = "0", value_parser = units::seconds)]
    jitter: f64,
    /// Share of packets lost on the air: 1%, 0.01
    #[arg(long, default_value = "0", value_parser = |text: &str| units::pair(text, units::share))]
    loss: Pair<f64>,
    /// Bytes each direction queues before it drops
    #[arg(long, value_name = "BYTES", default_value_t = 32768)]
    queue: usize,
    /// Dark times from A's start, both ways, also for packets on their way: 8s:5s,30s:2s, or 8s:5s/20s for every 20 s
    #[arg(long, value_name = "BEGIN:LENGTH[/EVERY][,…]", value_delimiter = ',', value_parser = units::cut)]
    cut: Vec<Cut>,
    /// Of both ends: 1440 gives segments of 1388 bytes with timestamps
    #[arg(long, default_value_t = 1440)]
    mtu: u16,
    /// Bytes below IP that each packet costs of the rate
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    overhead: usize,
    /// Set inside both namespaces: `net.ipv4.tcp_timestamps=0`
    #[arg(long, value_name = "KEY=VALUE", value_parser = sysctl)]
    sysctl: Vec<(String, String)>,
    /// Repeats loss and jitter
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Longest the whole may take, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600.0)]
    timeout: f64,
    /// From B's start to A's, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0.3)]
    b_wait: f64,
    /// How long B may go on after A, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    linger: f64,
    /// Raise the forwarder's priority by this
    #[arg(long, default_value_t = 5)]
    nice: i32,
    /// Write the report here instead of to stderr
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
    /// Write a line for each packet: time, direction, length, flags, payload
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// `A_CMD ... ::: B_CMD ...`
    #[arg(last = true, required = true)]
    words: Vec<String>,
}

impl LinkOptions {
    /// The link.
    pub fn link(&self) -> link::Options {
        link::Options {
            rate: self.rate,
            delay: self.delay,
            jitter: self.jitter,
            loss: self.loss,
            queue_len: self.queue,
            cuts: self.cut.clone(),
            mtu: self.mtu,
            overhead_len: self.overhead,
            sysctls: self.sysctl.clone(),
            seed: self.seed,
            timeout: self.timeout,
            b_wait: self.b_wait,
            linger: self.linger,
            nice: self.nice,
            trace: self.trace.clone(),
        }
    }

    /// A's command and B's.
    pub fn commands(&self) -> [Vec<String>; 2] {
        let mut ends = self.words.splitn(2, |word| word == ":::");
        [(); 2].map(|()| match ends.next().unwrap_or_default() {
            [line] => shlex::split(line).unwrap_or_else(|| vec![line.clone()]),
            words => words.to_vec(),
        })
    }
}

fn sysctl(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is no KEY=VALUE"))?;
    if !key.starts_with("net.") || key.contains('/') {
        return Err(format!("`{key}` is not of a network namespace: its names begin with `net.`"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn proxy(args: &[&str]) -> Faults {
        match CommandLine::try_parse_from([&["netlab", "proxy", "--to", "127.0.0.1:1"], args].concat()).map(|line| line.tool) {
            Ok(Tool::Proxy(options)) => options.faults(),
            Ok(_) => panic!("{args:?} is a proxy"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn faults_are_for_the_side_that_is_named() {
        assert_eq!(proxy(&[]), Faults::default());
        let faults = proxy(&["--delay", "300ms", "--rate", "up=23kbit", "--cut-after", "down=15000,-,1", "--cut-at", "up=8s", "--ending", "fin"]);
        let delay = Duration::from_millis(300);
        assert_eq!(faults.up, Way { delay, rate: Some(2875), cut_at: Each::Every(Duration::from_secs(8)), ..Way::default() });
        assert_eq!(faults.down, Way { delay, cut_after: Each::Successive(vec![Some(15000), None, Some(1)]), ..Way::default() });
        assert_eq!(faults.ending, Ending::Fin);
        assert_eq!(proxy(&["--blackout", "1s:2s,5s:100ms"]).blackouts[1], Span { at: Duration::from_secs(5), lasts: delay / 3 });
    }

    #[test]
    fn commands_are_told_apart() {
        let check = |words: &[&str], a: &[&str], b: &[&str]| match CommandLine::try_parse_from([&["netlab", "link", "--"], words].concat()) {
            Ok(CommandLine { tool: Tool::Link(options) }) => {
                assert_eq!(options.commands(), [a, b].map(|words| words.iter().map(ToString::to_string).collect::<Vec<_>>()));
            }
            _ => panic!("{words:?} is a link"),
        };
        check(&["a", "-x", ":::", "b", "1"], &["a", "-x"], &["b", "1"]);
        check(&["sh -c 'a 1'", ":::", "b -y"], &["sh", "-c", "a 1"], &["b", "-y"]);
        check(&["a", "1"], &["a", "1"], &[]);
        check(&[":::", "b", "1"], &[], &["b", "1"]);
    }
}

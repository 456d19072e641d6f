//! `cargo run -p bench -- clinic --seed 1 --events 1000`
use std::io::{BufWriter, Write as _};
fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for event in bench::clinic::events(args[3].parse().unwrap_or(1), args[5].parse().unwrap_or(1000)) {
        writeln!(out, "{event}")?;
    }
    out.flush()
}

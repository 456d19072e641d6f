//! `netlab proxy`: the proxy until its time is over, steered by lines and signals.

use crate::options::{EndingName, ProxyOptions};
use clap::ValueEnum as _;
use netlab::proxy::Proxy;
use std::io::{self, BufRead as _, Write as _};
use std::thread;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Serve, and print the counts at the end.
pub fn run(options: &ProxyOptions) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(options))
}

async fn serve(options: &ProxyOptions) -> io::Result<()> {
    let [mut interrupt, mut terminate] = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    let mut asked = signal(SignalKind::user_defined1())?;
    let proxy = Proxy::start_at(options.listen, options.to, options.faults())?;
    print_line(&serde_json::json!({ "listening": proxy.address() }))?;
    let mut lines = options.until_stdin_closes.then(stdin_lines);
    let time_up = async {
        match options.lasts {
            Some(lasts) => sleep(lasts).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(time_up);
    loop {
        tokio::select! {
            () = &mut time_up => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = asked.recv() => print_line(&proxy.counts())?,
            line = next(&mut lines) => match line {
                Some(line) => steer(&proxy, line.trim())?,
                None => break,
            },
        }
    }
    print_line(&proxy.stop())
}

/// Do what a line says.
fn steer(proxy: &Proxy, line: &str) -> io::Result<()> {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("", "") => {}
        ("counts", "") => print_line(&proxy.counts())?,
        ("dark", "") => proxy.steer(|faults| faults.dark = true),
        ("light", "") => proxy.steer(|faults| faults.dark = false),
        ("refuse", "") => proxy.steer(|faults| faults.refusing = true),
        ("admit", "") => proxy.steer(|faults| faults.refusing = false),
        ("cut", name) if let Ok(ending) = EndingName::from_str(name, false) => proxy.cut(ending.into()),
        _ => eprintln!("netlab: `{line}` is none of: counts, cut ENDING, dark, light, refuse, admit"),
    }
    Ok(())
}

/// Lines as they come. A thread reads them, because a read of stdin cannot be given up.
fn stdin_lines() -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel(16);
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if send.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

async fn next(lines: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

fn print_line(value: &impl serde::Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(value)?)?;
    out.flush()
}

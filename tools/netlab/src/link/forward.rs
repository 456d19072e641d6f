//! The forwarder: reads packets out of one device, lets the pipe decide, writes them into the other.

use super::pipe::Pipe;
use super::segments::Segment;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tun_rs::SyncDevice;

/// Longest sleep, after which the end is looked for.
const SLEEP_MAX: Duration = Duration::from_millis(50);
/// Packets read before others are delivered.
const BATCH: usize = 256;
/// As the report names the directions.
const NAMES: [&str; 2] = ["a_to_b", "b_to_a"];

/// Forward until told to stop. `zero` is A's start, maybe still to come.
///
/// # Errors
/// When a device fails, or the trace cannot be written.
pub fn forward(
    devices: &[SyncDevice; 2],
    mut pipes: [Pipe; 2],
    zero: Instant,
    mut trace: Option<impl Write>,
    stop: &AtomicBool,
) -> io::Result<[Pipe; 2]> {
    let mut packet = vec![0; 1 << 16];
    while !stop.load(Ordering::Relaxed) {
        sleep(devices, &pipes, zero)?;
        for (at, pipe) in pipes.iter_mut().enumerate() {
            for _ in 0..BATCH {
                let len = match devices[at].recv(&mut packet) {
                    Ok(len) => len,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                };
                let packet = &packet[..len];
                if packet.first().is_some_and(|first| first >> 4 == 4) {
                    let now = seconds(zero);
                    pipe.enter(packet, now);
                    if let Some(trace) = &mut trace {
                        write_line(trace, NAMES[at], packet, now)?;
                    }
                }
            }
        }
        for (at, pipe) in pipes.iter_mut().enumerate() {
            let now = seconds(zero);
            while let Some(packet) = pipe.arrive(now) {
                match devices[1 - at].send(&packet) {
                    Ok(_) => pipe.delivered(packet.len(), now),
                    Err(_) => pipe.refused(),
                }
            }
        }
    }
    if let Some(trace) = &mut trace {
        trace.flush()?;
    }
    Ok(pipes)
}

/// Until a packet comes or one is due.
fn sleep(devices: &[SyncDevice; 2], pipes: &[Pipe; 2], zero: Instant) -> io::Result<()> {
    let due = pipes.iter().filter_map(Pipe::next_arrival).map(|arrival| arrival - seconds(zero)).fold(SLEEP_MAX.as_secs_f64(), f64::min);
    let time = Timespec::try_from(Duration::from_secs_f64(due.max(0.0))).map_err(io::Error::other)?;
    let mut fds = devices.each_ref().map(|device| PollFd::new(device, PollFlags::IN));
    match poll(&mut fds, Some(&time)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Seconds since `zero`; negative before.
pub fn seconds(zero: Instant) -> f64 {
    let now = Instant::now();
    now.duration_since(zero).as_secs_f64() - zero.duration_since(now).as_secs_f64()
}

fn write_line(trace: &mut impl Write, name: &str, packet: &[u8], now: f64) -> io::Result<()> {
    let (letters, payload_len) = match Segment::read(packet) {
        Some(segment) => (segment.letters(), segment.payload_len as usize),
        None => ("-".to_owned(), packet.len().saturating_sub(usize::from(packet[0] & 15) * 4 + 8)),
    };
    writeln!(trace, "{now:.4} {name} len {} flags {letters} payload {payload_len}", packet.len())
}

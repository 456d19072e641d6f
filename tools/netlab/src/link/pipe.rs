//! Pipe: one direction of the link, on paper. Queue → sender → air.
//!
//! In: packets and the time. Out: the packets that arrive, and when. Invariants: the order is kept; what was lost on the air used the
//! link's time all the same; equal seeds and times give equal fates. Not here: devices, clocks.

use super::segments::{Segment, Sent};
use crate::units::Cut;
use serde::Serialize;
use std::collections::VecDeque;

/// What a direction is like. Times in seconds since A's start.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Bits per second; 0 is no limit.
    pub rate: f64,
    /// One way, seconds.
    pub delay: f64,
    /// How much longer or shorter, evenly spread.
    pub jitter: f64,
    /// Share of packets lost on the air.
    pub loss: f64,
    /// Bytes the queue holds; what does not fit is dropped.
    pub queue_len_max: usize,
    /// Bytes below IP that each packet costs of the rate.
    pub overhead_len: usize,
    /// When nothing enters and nothing arrives.
    pub cuts: Vec<Cut>,
}

/// What went through. The names are those of the report.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Packets handed to the link.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub ip_bytes: u64,
    /// TCP payload among them, also what is sent again.
    pub tcp_payload_bytes: u64,
    /// Segments that only acknowledge.
    pub pure_acks: u64,
    /// Segments with SYN.
    pub syn: u64,
    /// Segments with FIN.
    pub fin: u64,
    /// Segments with RST.
    pub rst: u64,
    /// Packets that arrived.
    pub delivered_packets: u64,
    /// Their bytes.
    pub delivered_ip_bytes: u64,
    /// Lost on the air.
    pub lost: u64,
    /// Killed by a cut.
    pub cut: u64,
    /// Dropped because the queue was full.
    pub queue_dropped: u64,
    /// Fullest the queue was.
    pub max_queue_bytes: usize,
    /// Segments whose last byte was sent before.
    pub retrans_segments: u64,
    /// The first packet entered, seconds since A's start.
    pub first_s: Option<f64>,
    /// The last packet arrived, seconds since A's start.
    pub last_delivery_s: Option<f64>,
}

/// One direction.
pub struct Pipe {
    shape: Shape,
    random: fastrand::Rng,
    /// Departure and length of what is queued or being sent.
    queue: VecDeque<(f64, usize)>,
    queue_len: usize,
    busy_until: f64,
    last_arrival: f64,
    air: VecDeque<(f64, Vec<u8>)>,
    sent: Sent,
    tally: Tally,
}

impl Pipe {
    /// An empty pipe.
    pub fn new(shape: Shape, seed: u64) -> Self {
        Self {
            shape,
            random: fastrand::Rng::with_seed(seed),
            queue: VecDeque::new(),
            queue_len: 0,
            busy_until: f64::NEG_INFINITY,
            last_arrival: f64::NEG_INFINITY,
            air: VecDeque::new(),
            sent: Sent::default(),
            tally: Tally::default(),
        }
    }

    /// What went through so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// A host hands a packet to the link.
    pub fn enter(&mut self, packet: &[u8], now: f64) {
        self.count(packet, now);
        if self.is_cut(now) {
            self.tally.cut += 1;
            return;
        }
        while let Some((_, len)) = self.queue.pop_front_if(|(departure, _)| *departure <= now) {
            self.queue_len -= len;
        }
        if self.queue_len + packet.len() > self.shape.queue_len_max {
            self.tally.queue_dropped += 1;
            return;
        }
        self.queue_len += packet.len();
        self.tally.max_queue_bytes = self.tally.max_queue_bytes.max(self.queue_len);
        let bits = ((packet.len() + self.shape.overhead_len) * 8) as f64;
        self.busy_until = self.busy_until.max(now) + if self.shape.rate > 0.0 { bits / self.shape.rate } else { 0.0 };
        self.queue.push_back((self.busy_until, packet.len()));
        if self.shape.loss > 0.0 && self.random.f64() < self.shape.loss {
            self.tally.lost += 1;
            return;
        }
        let spread = if self.shape.jitter > 0.0 { (2.0 * self.random.f64() - 1.0) * self.shape.jitter } else { 0.0 };
        self.last_arrival = (self.busy_until + (self.shape.delay + spread).max(0.0)).max(self.last_arrival);
        self.air.push_back((self.last_arrival, packet.to_vec()));
    }

    /// When the next packet arrives.
    pub fn next_arrival(&self) -> Option<f64> {
        self.air.front().map(|(arrival, _)| *arrival)
    }

    /// The next packet that has arrived by now; [`Self::delivered`] or [`Self::refused`] follows.
    pub fn arrive(&mut self, now: f64) -> Option<Vec<u8>> {
        while let Some((_, packet)) = self.air.pop_front_if(|(arrival, _)| *arrival <= now) {
            if !self.is_cut(now) {
                return Some(packet);
            }
            self.tally.cut += 1;
        }
        None
    }

    /// The host took it.
    pub fn delivered(&mut self, len: usize, now: f64) {
        self.tally.delivered_packets += 1;
        self.tally.delivered_ip_bytes += len as u64;
        self.tally.last_delivery_s = Some(now);
    }

    /// The host had no room.
    pub fn refused(&mut self) {
        self.tally.queue_dropped += 1;
    }

    fn is_cut(&self, now: f64) -> bool {
        self.shape.cuts.iter().any(|cut| cut.holds(now))
    }

    fn count(&mut self, packet: &[u8], now: f64) {
        let tally = &mut self.tally;
        tally.packets += 1;
        tally.ip_bytes += packet.len() as u64;
        tally.first_s.get_or_insert(now);
        let Some(segment) = Segment::read(packet) else { return };
        tally.tcp_payload_bytes += u64::from(segment.payload_len);
        tally.syn += u64::from(segment.is_syn());
        tally.fin += u64::from(segment.is_fin());
        tally.rst += u64::from(segment.is_rst());
        tally.pure_acks += u64::from(segment.is_pure_ack());
        tally.retrans_segments += u64::from(self.sent.again(&segment));
    }
}

#[cfg(test)]
mod tests {
    use super::super::segments::tests::packet;
    use super::*;
    use crate::units::cut;

    fn shape() -> Shape {
        Shape { rate: 8000.0, delay: 0.3, jitter: 0.0, loss: 0.0, queue_len_max: 32768, overhead_len: 0, cuts: Vec::new() }
    }

    /// All arrivals, asked for when they are due.
    fn arrivals(pipe: &mut Pipe) -> Vec<f64> {
        let mut times = Vec::new();
        while let Some(now) = pipe.next_arrival() {
            if let Some(packet) = pipe.arrive(now) {
                pipe.delivered(packet.len(), now);
                times.push((now * 1e6).round() / 1e6);
            }
        }
        times
    }

    #[test]
    fn packets_are_sent_one_after_the_other() {
        let mut pipe = Pipe::new(shape(), 1);
        for _ in 0..3 {
            pipe.enter(&[0x45; 100], -0.2); // 100 ms each at 1 byte per ms
        }
        pipe.enter(&[0x45; 50], 1.0);
        assert_eq!(arrivals(&mut pipe), [0.2, 0.3, 0.4, 1.35]);
        assert_eq!((pipe.tally().max_queue_bytes, pipe.tally().delivered_ip_bytes), (300, 350));
        let mut pipe = Pipe::new(Shape { overhead_len: 100, ..shape() }, 1);
        pipe.enter(&[0x45; 100], 0.0);
        assert_eq!(arrivals(&mut pipe), [0.5], "what lies below IP costs time");
    }

    #[test]
    fn what_does_not_fit_the_queue_is_dropped() {
        let mut pipe = Pipe::new(Shape { queue_len_max: 250, ..shape() }, 1);
        for at in [0.0, 0.0, 0.0, 0.1] {
            pipe.enter(&[0x45; 100], at);
        }
        assert_eq!(arrivals(&mut pipe), [0.4, 0.5, 0.6], "the third found two before it, the fourth one");
        assert_eq!(pipe.tally().queue_dropped, 1);
    }

    #[test]
    fn a_cut_kills_what_enters_and_what_would_arrive() {
        let mut pipe = Pipe::new(Shape { cuts: vec![cut("1s:1s").unwrap()], ..shape() }, 1);
        for at in [0.5, 0.7, 1.5, 1.9, 2.0] {
            pipe.enter(&[0x45; 50], at);
        }
        assert_eq!(arrivals(&mut pipe), [0.85, 2.35]);
        assert_eq!((pipe.tally().cut, pipe.tally().packets), (3, 5));
    }

    #[test]
    fn a_seed_repeats_loss_and_jitter_and_jitter_keeps_the_order() {
        let run = |seed| {
            let mut pipe = Pipe::new(Shape { jitter: 0.2, loss: 0.1, rate: 0.0, ..shape() }, seed);
            for at in 0..1000 {
                pipe.enter(&[0x45; 50], f64::from(at) * 0.001);
            }
            (arrivals(&mut pipe), pipe.tally().lost)
        };
        let (times, lost) = run(7);
        assert!(times.is_sorted() && (60..140).contains(&lost), "{lost}");
        assert!(times[0] >= 0.1 && times[times.len() - 1] <= 0.999 + 0.5);
        assert_eq!(run(7), (times.clone(), lost));
        assert_ne!(run(8).0, times);
    }

    #[test]
    fn segments_are_told_by_kind() {
        let mut pipe = Pipe::new(shape(), 1);
        for packet in [packet(0, 2, 0), packet(1, 0x10, 0), packet(1, 0x18, 90), packet(1, 0x18, 90), packet(91, 0x11, 0), packet(92, 4, 0)] {
            pipe.enter(&packet, 0.0);
        }
        let tally = pipe.tally();
        assert_eq!([tally.syn, tally.pure_acks, tally.fin, tally.rst, tally.retrans_segments], [1; 5]);
        assert_eq!((tally.tcp_payload_bytes, tally.ip_bytes), (180, 6 * 40 + 180));
    }
}

//! What an IPv4 packet tells of TCP: payload, flags, and whether it was sent before. Pure.

use std::collections::HashMap;

/// A TCP segment's header, as far as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    flow: [u8; 12],
    seq: u32,
    /// Bytes of payload.
    pub payload_len: u32,
    flags: u8,
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
/// Flags and their letters, as traces write them.
const LETTERS: [(u8, char); 5] = [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (8, 'P'), (16, 'A')];

impl Segment {
    /// The segment in a packet; `None` if it holds none.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let is_tcp = packet.first()? >> 4 == 4 && *packet.get(9)? == 6;
        let header_len = usize::from(packet[0] & 15) * 4;
        let total_len = u32::from(u16::from_be_bytes([packet[2], packet[3]]));
        let tcp = packet.get(header_len..)?.first_chunk::<20>().filter(|_| is_tcp)?;
        let data_at = header_len as u32 + u32::from(tcp[12] >> 4) * 4;
        let mut flow = [0; 12];
        flow[..8].copy_from_slice(packet.get(12..20)?);
        flow[8..].copy_from_slice(&tcp[..4]);
        let seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        Some(Self { flow, seq, payload_len: total_len.checked_sub(data_at)?, flags: tcp[13] })
    }

    /// Whether it opens a connection.
    pub fn is_syn(&self) -> bool {
        self.flags & SYN != 0
    }

    /// Whether it finishes one side.
    pub fn is_fin(&self) -> bool {
        self.flags & FIN != 0
    }

    /// Whether it resets.
    pub fn is_rst(&self) -> bool {
        self.flags & RST != 0
    }

    /// Whether it only acknowledges.
    pub fn is_pure_ack(&self) -> bool {
        self.payload_len == 0 && self.flags & (SYN | FIN | RST) == 0
    }

    /// `SA`, `PA`, `FA`, …
    pub fn letters(&self) -> String {
        LETTERS.iter().filter(|(bit, _)| self.flags & bit != 0).map(|(_, letter)| letter).collect()
    }
}

/// How far each flow has come, to know what is sent again.
#[derive(Default)]
pub struct Sent(HashMap<[u8; 12], u32>);

impl Sent {
    /// Note a segment; whether its last byte went before.
    pub fn again(&mut self, segment: &Segment) -> bool {
        if segment.payload_len == 0 {
            return false;
        }
        let end = segment.seq.wrapping_add(segment.payload_len);
        if segment.is_syn() {
            self.0.remove(&segment.flow); // a new connection between old ports
        }
        let farthest = self.0.entry(segment.flow).or_insert(segment.seq);
        let ahead = end.wrapping_sub(*farthest);
        let is_again = ahead == 0 || ahead > u32::MAX / 2;
        if !is_again {
            *farthest = end;
        }
        is_again
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A packet of `payload_len` bytes from port 7 to port 9.
    pub fn packet(seq: u32, flags: u8, payload_len: usize) -> Vec<u8> {
        let mut packet = vec![0; 40 + payload_len];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&((40 + payload_len) as u16).to_be_bytes());
        packet[9] = 6;
        packet[21] = 7;
        packet[23] = 9;
        packet[24..28].copy_from_slice(&seq.to_be_bytes());
        packet[32] = 5 << 4;
        packet[33] = flags;
        packet
    }

    #[test]
    fn a_segment_is_read_out_of_its_packet() {
        let segment = Segment::read(&packet(1, 0x18, 100)).unwrap();
        assert_eq!((segment.payload_len, segment.letters().as_str(), segment.is_pure_ack()), (100, "PA", false));
        assert!(Segment::read(&packet(1, 0x10, 0)).unwrap().is_pure_ack());
        assert!(Segment::read(&packet(1, 0x12, 0)).unwrap().is_syn());
        let mut udp = packet(1, 0, 0);
        udp[9] = 17;
        assert_eq!(Segment::read(&udp), None);
        for len in 0..40 {
            assert_eq!(Segment::read(&packet(1, 0, 0)[..len]), None, "{len} bytes are no segment");
        }
    }

    #[test]
    fn what_is_sent_again_is_told_also_where_numbers_wrap() {
        let mut sent = Sent::default();
        let mut again = |seq, len| sent.again(&Segment::read(&packet(seq, 0x10, len)).unwrap());
        let first = u32::MAX - 99;
        assert_eq!([again(first, 100), again(0, 50), again(first, 100), again(0, 50), again(50, 50)], [false, false, true, true, false]);
        assert!(!again(50, 0), "an acknowledgement is none");
    }
}

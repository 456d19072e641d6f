//! What was seen in one place: a byte that counts zeros and ones, roughly when there were many. SPEC §4.8.
//!
//! A history is (zeros, ones, last bit). Few counts are kept exactly; a surprise makes the model forget most of what spoke against it.

/// With so many of the rarer bit, the other is counted up to this.
const COUNT_MAX: [u8; 6] = [41, 27, 12, 6, 5, 5];
/// What is left of a count when the other bit comes.
const FADED: [u8; 42] =
    [0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5];

/// Every history by number; 0 is "nothing seen".
#[derive(Clone)]
pub struct Histories {
    next: [[u8; 2]; 256],
    first_guess: [u16; 256],
}

impl Histories {
    /// Enumerate: by how much was seen, then by zeros, then by the last bit where there were both (R4.8-e).
    pub fn new() -> Self {
        let all = enumerate();
        let number = |zeros: u8, ones: u8, last: u8| {
            let last = if zeros > 0 && ones > 0 { last } else { u8::from(ones > 0) };
            all.iter().position(|history| *history == (zeros, ones, last)).unwrap_or(0) as u8
        };
        let (mut next, mut first_guess) = ([[0; 2]; 256], [32768; 256]);
        for (index, &(zeros, ones, _)) in all.iter().enumerate() {
            let (z, o) = (u32::from(zeros), u32::from(ones));
            first_guess[index] = ((2 * o + 1) * 65535 / (2 * (z + o) + 2)) as u16;
            let (more, less) = after(zeros, ones);
            let (ones_more, zeros_less) = after(ones, zeros);
            next[index] = [number(more, less, 0), number(zeros_less, ones_more, 1)];
        }
        Self { next, first_guess }
    }

    /// The history after one more bit.
    #[inline]
    pub fn after(&self, history: u8, bit: u32) -> u8 {
        self.next[usize::from(history)][(bit & 1) as usize]
    }

    /// The probability of a one, in 1/65536, before anything was learned about this history.
    pub fn first_guess(&self, history: u8) -> u16 {
        self.first_guess[usize::from(history)]
    }
}

/// One more of the first kind: both counts.
fn after(this: u8, other: u8) -> (u8, u8) {
    let other = FADED[usize::from(other)];
    ((this + 1).min(COUNT_MAX[usize::from(other)]), other)
}

fn enumerate() -> Vec<(u8, u8, u8)> {
    let mut all = Vec::with_capacity(256);
    for total in 0..=COUNT_MAX[0] {
        for zeros in 0..=total {
            let ones = total - zeros;
            let (few, many) = (zeros.min(ones), zeros.max(ones));
            if COUNT_MAX.get(usize::from(few)).is_none_or(|most| many > *most) {
                continue;
            }
            if few > 0 {
                all.extend([(zeros, ones, 0), (zeros, ones, 1)]);
            } else {
                all.push((zeros, ones, u8::from(ones > 0)));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_history_has_a_number_and_leads_to_another() {
        let all = enumerate();
        assert!(all.len() <= 256, "{} histories", all.len());
        assert_eq!(all[0], (0, 0, 0));
        let histories = Histories::new();
        for (index, (zeros, ones, _)) in all.iter().enumerate() {
            for bit in 0..2 {
                let next = all[usize::from(histories.after(index as u8, bit))];
                assert_eq!(u32::from(next.2), bit, "{zeros} {ones} then {bit}: {next:?}");
                let (grown, old) = if bit == 1 { (next.1, *ones) } else { (next.0, *zeros) };
                assert!(grown >= old.min(5), "what is seen again is not forgotten: {zeros} {ones} then {bit}: {next:?}");
            }
        }
    }
}

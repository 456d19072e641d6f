//! The two curves between probabilities and the scale on which guesses are added up. SPEC §4.8.
//!
//! A probability is a number of 1/65536; a *weight of evidence* is the logarithm of its odds, in 1/256. Whole numbers only: one result everywhere.

/// The strongest evidence, either way: odds of e^12 to 1.
pub const EVIDENCE_MAX: i32 = 3071;
/// Probabilities in 1/65536 at evidence −3072, −3008, … +3072: 65536 / (1 + e^(−x/256)), rounded, at most 65535 (R4.8-d).
const ANCHORS: [u16; 97] = [
    1, 1, 1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 28, 36, 47, 60, 77, 98, 126, 162, 208, 267, 342, 439, 562, 720, 922, 1179, 1506, 1921,
    2446, 3108, 3938, 4971, 6249, 7812, 9702, 11955, 14595, 17625, 21025, 24743, 28693, 32768, 36843, 40793, 44511, 47911, 50941, 53581, 55834,
    57724, 59287, 60565, 61598, 62428, 63090, 63615, 64030, 64357, 64614, 64816, 64974, 65097, 65194, 65269, 65328, 65374, 65410, 65438, 65459,
    65476, 65489, 65500, 65508, 65514, 65519, 65523, 65526, 65528, 65530, 65531, 65532, 65533, 65534, 65534, 65535, 65535, 65535, 65535, 65535,
    65535,
];
/// Evidence between two anchors.
const STEP: i32 = 64;

/// Both curves, tabulated.
#[derive(Clone)]
pub struct Curves {
    /// From −3071; rounded up to a power of two, so that a mask proves an index.
    probabilities: Box<[u16; 8192]>,
    evidence: Box<[i16; 4096]>,
}

impl Curves {
    /// Tabulate.
    pub fn new() -> Self {
        let probabilities: Box<[u16; _]> = Box::new(std::array::from_fn(|index| between_anchors((index as i32 - EVIDENCE_MAX).min(EVIDENCE_MAX))));
        let mut evidence = Box::new([0; 4096]);
        let mut x = -EVIDENCE_MAX;
        for (p, evidence) in (0..).zip(evidence.iter_mut()) {
            while x < EVIDENCE_MAX && i32::from(probabilities[(x + 1 + EVIDENCE_MAX) as usize]) <= 16 * p + 8 {
                x += 1;
            }
            *evidence = x as i16;
        }
        Self { probabilities, evidence }
    }

    /// The probability in 1/65536 that `x` stands for, which is within the ends.
    #[inline]
    pub fn probability(&self, x: i32) -> i32 {
        i32::from(self.probabilities[(x + EVIDENCE_MAX) as usize % 8192])
    }

    /// The evidence that `p` of 4096 stands for.
    #[inline]
    pub fn evidence(&self, p: u32) -> i16 {
        self.evidence[(p & 4095) as usize]
    }
}

fn between_anchors(x: i32) -> u16 {
    let behind = x + EVIDENCE_MAX + 1;
    let (index, part) = ((behind / STEP) as usize, behind % STEP);
    let [low, high] = [index, index + 1].map(|index| i32::from(ANCHORS[index]));
    ((low * (STEP - part) + high * part + STEP / 2) / STEP) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curves_are_each_others_inverse_and_never_certain() {
        let curves = Curves::new();
        assert_eq!((curves.probability(0), curves.probability(-EVIDENCE_MAX), curves.probability(EVIDENCE_MAX)), (32768, 1, 65535));
        for x in -EVIDENCE_MAX..EVIDENCE_MAX {
            let (p, next) = (curves.probability(x), curves.probability(x + 1));
            assert!((1..=65535).contains(&p) && p <= next, "{x}");
            assert!((p + curves.probability(-x) - 65536).abs() <= 1, "{x}");
        }
        for p in 1..4095 {
            let back = curves.probability(i32::from(curves.evidence(p)));
            assert!((back - 16 * p as i32).abs() <= 64, "{p}: {back}");
        }
    }
}

//! The hand that makes choices from an input: numbers and bytes, taken from the front. When the input is used up it chooses 0 for ever, so every input
//! means something and a mutant of an input means nearly the same.

/// Takes choices from bytes.
pub struct Hand<'a>(&'a [u8]);

impl<'a> Hand<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `bound`, 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = usize::from(self.byte()) << 8 | usize::from(self.byte());
        let number = if bound > 1 << 16 { wide << 16 | usize::from(self.byte()) << 8 | usize::from(self.byte()) } else { wide };
        number.checked_rem(bound).unwrap_or(0)
    }

    /// One of `choices`.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// Up to 255 bytes: their number, then they.
    pub fn piece(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (piece, rest) = self.0.split_at(len);
        self.0 = rest;
        piece
    }
}

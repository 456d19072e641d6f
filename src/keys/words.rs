//! Six words that two people compare: on both screens while a node joins, so that nobody stands in between (SPEC §8.5, R8.5-g), and on the paper
//! that goes with a stick (R10.12-h).

use bip39::Language;
use bundle_format::chain;
use bundle_format::ids::Hash;
use bundle_format::sign::VerifyingKey;
use std::collections::BTreeSet;
use std::fmt;

/// How many: 66 bits, far beyond what anyone can search for while a person waits.
const WORD_COUNT: usize = 6;
const WORD_BITS: usize = 11;

/// The first 66 bits of SHA-256("zbundle/1 join" 00 ‖ request ‖ authority's first signing key) in words of the English BIP-39 list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words([&'static str; WORD_COUNT]);

impl Words {
    /// Of a request file's bytes and the authority that signs it.
    pub fn of(request: &[u8], authority_key: &VerifyingKey) -> Self {
        Self::of_hash(&chain::hash(b"zbundle/1 join\0", &[request, authority_key.as_bytes()]).0)
    }

    /// Of the bundles one node left in one place, by what their signatures are over, each once however many files hold it: SHA-256("zbundle/1 stick" 00 ‖
    /// sorted digests) (R10.12-h).
    pub fn of_bundles(digests: &BTreeSet<Hash>) -> Self {
        Self::of_hash(&chain::hash(b"zbundle/1 stick\0", &digests.iter().map(|digest| digest.0.as_slice()).collect::<Vec<_>>()).0)
    }

    fn of_hash(hash: &[u8; 32]) -> Self {
        let bit = |at: usize| usize::from(hash[at / 8] >> (7 - at % 8) & 1);
        let number = |word: usize| (word * WORD_BITS..(word + 1) * WORD_BITS).fold(0, |number, at| number << 1 | bit(at));
        Self(std::array::from_fn(|word| Language::English.word_list()[number(word)]))
    }

    /// Whether a person typed these words: case, commas, hyphens and spaces do not matter.
    pub fn are(&self, typed: &str) -> bool {
        let words = typed.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        words.map(str::to_ascii_lowercase).eq(self.0.iter().copied())
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle_format::sign::SigningKey;

    #[test]
    fn the_words_of_known_bytes_never_change() {
        let key = SigningKey::from_seed(&[1; 32]).verifying_key();
        assert_eq!(Words::of(b"request", &key).to_string(), "news capable hunt orange derive bicycle");
    }

    #[test]
    fn the_words_of_a_stick_depend_neither_on_the_order_of_its_files_nor_on_copies() {
        let words = |seeds: &[u8]| Words::of_bundles(&seeds.iter().map(|seed| Hash([*seed; 32])).collect());
        assert_eq!(words(&[1, 2, 3]), words(&[3, 1, 2, 1]));
        assert!(words(&[1, 2]) != words(&[1, 2, 3]) && words(&[]) != words(&[1]));
    }

    #[test]
    fn typing_style_does_not_matter_but_every_word_does() {
        let words = Words(["abandon", "ability", "able", "about", "above", "zoo"]);
        for good in ["abandon ability able about above zoo", "Abandon, ABILITY-able\nabout  above zoo "] {
            assert!(words.are(good), "{good}");
        }
        for bad in ["", "abandon ability able about above", "abandon ability able about above zoo zoo", "ability abandon able about above zoo"] {
            assert!(!words.are(bad), "{bad}");
        }
    }
}

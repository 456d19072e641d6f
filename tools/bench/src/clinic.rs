//! Realistic clinic events: what a small clinic in Bhutan writes in a day, one JSON object a line, about 305 bytes each.
//!
//! In: a seed and a count. Out: the same lines on every machine and for ever (`fixtures/clinic` is made of them): whole numbers only,
//! no clock, no library whose output could change. People, ids and notes are invented. Shares: vitals 38 %, visit 20 %, medication
//! 16 %, lab 14 %, registration 8 %, allergy 4 %. Every event carries a random UUID, 16 bytes that no codec can take away.

use std::fmt::Write as _;
use std::iter;

/// `count` events of the clinic that `seed` names, oldest first.
pub fn events(seed: u64, count: usize) -> impl Iterator<Item = String> {
    let mut clinic = Clinic::new(seed);
    iter::repeat_with(move || clinic.event()).take(count)
}

const PLACES: &[(&str, &[&str])] = &[
    ("Thimphu", &["Chang", "Kawang", "Mewang", "Genye", "Lingzhi"]),
    ("Paro", &["Dopshari", "Lungnyi", "Shaba", "Tsento", "Wangchang"]),
    ("Punakha", &["Chhubu", "Guma", "Kabjisa", "Talo", "Toewang"]),
    ("Gasa", &["Khamaed", "Khatoed", "Laya", "Lunana"]),
    ("Wangdue Phodrang", &["Athang", "Bjenag", "Gangtey", "Nahi", "Sephu"]),
    ("Bumthang", &["Chhoekhor", "Chhume", "Tang", "Ura"]),
    ("Trongsa", &["Drakteng", "Korphu", "Langthil", "Nubi", "Tangsibji"]),
    ("Mongar", &["Balam", "Chaskhar", "Drametse", "Kengkhar", "Ngatshang"]),
    ("Trashigang", &["Bartsham", "Kanglung", "Merak", "Radhi", "Sakteng", "Yangnyer"]),
    ("Lhuentse", &["Gangzur", "Jaray", "Khoma", "Kurtoe", "Minjey"]),
];
const GIVEN: &str = "Karma Tashi Sonam Pema Dorji Tshering Ugyen Kinley Choden Dechen Jigme Namgay Rinchen Sangay Yeshey Phuntsho Deki Lhamo \
                     Wangmo Zangmo Kezang Chimi Thinley Nima Dawa Passang Singye Tandin Leki Norbu";
const SECOND: &str = "Dorji Wangchuk Tshering Lhamo Wangmo Zangmo Choden Penjor Tenzin Gyeltshen Namgyel Rinzin Dema Yangzom Tobgay Dukpa \
                      Norbu Zam Phuntsho Wangdi Om Pelden Dendup Yangden Samdrup";
const STAFF: &[u64] = &[4, 7, 12, 15, 21, 33, 48];
const DRUGS: &[(&str, &str, &str)] = &[
    ("Paracetamol", "500 mg", "tab"),
    ("Amoxicillin", "250 mg", "cap"),
    ("Amlodipine", "5 mg", "tab"),
    ("Metformin", "500 mg", "tab"),
    ("ORS", "1 sachet", "sachet"),
    ("Zinc sulfate", "20 mg", "tab"),
    ("Ferrous sulfate + folic acid", "60 mg/400 ug", "tab"),
    ("Albendazole", "400 mg", "tab"),
    ("Enalapril", "5 mg", "tab"),
    ("Salbutamol inhaler", "100 ug", "puff"),
    ("Omeprazole", "20 mg", "cap"),
    ("Cotrimoxazole", "480 mg", "tab"),
    ("Ibuprofen", "400 mg", "tab"),
    ("Isoniazid", "300 mg", "tab"),
    ("Vitamin A", "200000 IU", "cap"),
];
/// Test, unit, lowest, highest (both in units of the last decimal), decimals.
const LABS: &[(&str, &str, u64, u64, u32)] = &[
    ("HGB", "g/dL", 75, 170, 1),
    ("GLU", "mg/dL", 62, 320, 0),
    ("WBC", "10^9/L", 28, 185, 1),
    ("PLT", "10^9/L", 85, 450, 0),
    ("CREA", "mg/dL", 40, 310, 2),
    ("ALT", "U/L", 8, 140, 0),
    ("HBA1C", "%", 46, 124, 1),
    ("URIC", "mg/dL", 24, 102, 1),
];
const RAPID_TESTS: &[(&str, &[&str])] = &[
    ("MAL-RDT", &["negative", "negative", "negative", "pf", "pv"]),
    ("HIV-RDT", &["non-reactive", "non-reactive", "reactive"]),
    ("UPT", &["negative", "positive"]),
    ("SPUTUM-AFB", &["negative", "negative", "scanty", "1+", "2+"]),
    ("URINE-ALB", &["nil", "trace", "1+", "2+"]),
];
const DIAGNOSES: &[(&str, &str)] = &[
    ("J06.9", "Acute upper respiratory infection"),
    ("I10", "Essential hypertension"),
    ("E11.9", "Type 2 diabetes mellitus"),
    ("A09", "Gastroenteritis, infectious"),
    ("K29.7", "Gastritis"),
    ("M54.5", "Low back pain"),
    ("Z34.9", "Normal pregnancy, ANC"),
    ("L30.9", "Dermatitis"),
    ("B82.9", "Intestinal parasitism"),
    ("J45.9", "Asthma"),
    ("T14.1", "Open wound"),
    ("N39.0", "Urinary tract infection"),
];
const ALLERGENS: &[&str] = &["penicillin", "sulfonamides", "peanut", "egg", "ibuprofen", "bee sting", "latex", "shellfish"];
const REACTIONS: &[&str] = &["rash", "urticaria", "anaphylaxis", "vomiting", "wheeze", "facial swelling"];
const WORDS: &str = "patient reports since yesterday morning mild severe fever cough headache abdominal pain loose stool vomiting no blood \
                     appetite poor good sleeping well walked two hours from village mother says child drinking less today advised rest \
                     fluids return if worse follow up next week at outreach clinic BP rechecked after ten minutes referred to district \
                     hospital ambulance not available family informed takes tablets irregularly counselled wound cleaned dressed sutures \
                     intact swelling reduced chest clear mild crepitations left base throat red fundal height consistent foetal heart \
                     heard regular iron given second dose vaccine card lost reissued";

/// The first event is written some time after this: 2026-01-01 00:00 UTC.
const START_MS: u64 = 1_767_225_600_000;

struct Clinic {
    random: Random,
    name: String,
    home: (&'static str, &'static [&'static str]),
    now_ms: u64,
    tick: u64,
    patients: Vec<String>,
}

impl Clinic {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let home = random.one_of(PLACES);
        let number = random.below(9) + 1;
        let name = format!("{}-{number:02}", home.0.split(' ').next().unwrap_or_default().to_lowercase());
        Self { random, name, home, now_ms: START_MS, tick: 0, patients: Vec::new() }
    }

    fn event(&mut self) -> String {
        let share = if self.patients.is_empty() { 0 } else { self.random.below(100) };
        let kind = match share {
            0..8 => "registration",
            8..46 => "vitals",
            46..66 => "visit",
            66..82 => "medication",
            82..96 => "lab",
            _ => "allergy",
        };
        let id = self.random.uuid();
        let stamp = self.stamp();
        let by = self.random.one_of(STAFF);
        let patient = if kind == "registration" { self.new_patient() } else { self.known_patient() };
        let data = match kind {
            "registration" => self.registration(),
            "vitals" => self.vitals(),
            "visit" => self.visit(),
            "medication" => self.medication(),
            "lab" => self.lab(),
            _ => self.allergy(),
        };
        format!(r#"{{"id":"{id}","type":"{kind}","hlc":"{stamp}","by":"hw-{by:03}","patient":"{patient}","data":{data}}}"#)
    }

    /// Work comes in bursts; some minutes pass between two events, a night now and then.
    fn stamp(&mut self) -> String {
        if self.random.percent(6) {
            self.tick += 1;
        } else {
            self.tick = 0;
            self.now_ms += self.random.waiting(240_000) + 1;
            if self.random.percent(1) {
                self.now_ms += self.random.between(9 * 3_600_000, 15 * 3_600_000);
            }
        }
        format!("{:013}:{:04}:{}", self.now_ms, self.tick, self.name)
    }

    fn new_patient(&mut self) -> String {
        let patient = self.random.uuid();
        self.patients.push(patient.clone());
        patient
    }

    /// Those who came lately are likely to come again.
    fn known_patient(&mut self) -> String {
        let newest = self.patients.len() as u64 - 1;
        let back = if self.random.percent(60) { self.random.waiting(12).min(newest) } else { self.random.below(newest + 1) };
        self.patients[usize::try_from(newest - back).unwrap_or_default()].clone()
    }

    fn registration(&mut self) -> String {
        let random = &mut self.random;
        let name = format!("{} {}", random.word(GIVEN), random.word(SECOND));
        let sex = random.one_of(&["F", "M"]);
        let (year, month, day) = (random.between(1938, 2026), random.between(1, 12), random.between(1, 28));
        let cid = random.below(1 << 33);
        let (dzongkhag, gewogs) = if random.percent(80) { self.home } else { random.one_of(PLACES) };
        let gewog = random.one_of(gewogs);
        let phone = random.below(1_000_000);
        format!(
            r#"{{"name":"{name}","sex":"{sex}","dob":"{year:04}-{month:02}-{day:02}","cid":"1{cid:010}","dzongkhag":"{dzongkhag}","gewog":"{gewog}","phone":"+975 17{phone:06}","consent":true}}"#
        )
    }

    fn vitals(&mut self) -> String {
        let random = &mut self.random;
        let mut data = format!(
            r#"{{"temp_c":{},"pulse":{},"resp":{},"bp_sys":{},"bp_dia":{},"spo2":{}"#,
            decimal(random.around(369, 7), 1),
            random.around(82, 13),
            random.around(18, 3),
            random.around(124, 17),
            random.around(79, 10),
            random.around(95, 3).min(100)
        );
        if random.percent(50) {
            let _ = write!(data, r#","weight_kg":{}"#, decimal(random.around(560, 140), 1));
        }
        if random.percent(15) {
            let _ = write!(data, r#","muac_mm":{}"#, random.around(142, 14));
        }
        data.push('}');
        data
    }

    fn visit(&mut self) -> String {
        let reason = self.random.one_of(&["walk-in", "follow-up", "anc", "emergency", "outreach"]);
        let (code, text) = self.random.one_of(DIAGNOSES);
        let disposition = self.random.one_of(&["home", "home", "home", "review", "referred", "admitted"]);
        let note = self.random.note(22);
        format!(r#"{{"reason":"{reason}","dx":{{"code":"{code}","text":"{text}"}},"disposition":"{disposition}","note":"{note}"}}"#)
    }

    fn medication(&mut self) -> String {
        let random = &mut self.random;
        let (drug, strength, form) = random.one_of(DRUGS);
        let dose = random.one_of(&["1", "1", "2", "0.5"]);
        let frequency = random.one_of(&["OD", "BD", "TDS", "QID", "PRN"]);
        let days = random.one_of(&[3, 5, 7, 10, 14, 30, 90]);
        let (quantity, lot) = (random.between(3, 180), random.between(23_000, 23_140));
        let mut data = format!(
            r#"{{"drug":"{drug}","strength":"{strength}","form":"{form}","dose":{dose},"freq":"{frequency}","days":{days},"qty":{quantity},"stock_lot":"L{lot:05}""#
        );
        if random.percent(20) {
            let _ = write!(data, r#","note":"{}""#, random.note(8));
        }
        data.push('}');
        data
    }

    fn lab(&mut self) -> String {
        let random = &mut self.random;
        let sample = random.between(100_000, 999_999);
        let mut results = Vec::new();
        if random.percent(60) {
            let first = random.below(LABS.len() as u64);
            for step in 0..random.one_of(&[1, 1, 2, 4]) {
                let (test, unit, lowest, highest, decimals) = LABS[usize::try_from((first + step * 3) % LABS.len() as u64).unwrap_or_default()];
                let value = random.between(lowest, highest);
                let fifth = (highest - lowest) / 5;
                let flag = if value > highest - fifth {
                    "H"
                } else if value < lowest + fifth {
                    "L"
                } else {
                    "N"
                };
                results.push(format!(r#"{{"test":"{test}","value":{},"unit":"{unit}","flag":"{flag}"}}"#, decimal(value, decimals)));
            }
        } else {
            let (test, values) = random.one_of(RAPID_TESTS);
            results.push(format!(r#"{{"test":"{test}","value":"{}"}}"#, random.one_of(values)));
        }
        format!(r#"{{"sample":"S{sample}","results":[{}]}}"#, results.join(","))
    }

    fn allergy(&mut self) -> String {
        let substance = self.random.one_of(ALLERGENS);
        let reaction = self.random.one_of(REACTIONS);
        let severity = self.random.one_of(&["mild", "moderate", "severe"]);
        let note = self.random.note(6);
        format!(r#"{{"substance":"{substance}","reaction":"{reaction}","severity":"{severity}","note":"{note}"}}"#)
    }
}

/// `decimal(369, 1)` is `36.9`.
fn decimal(value: u64, decimals: u32) -> String {
    let unit = 10_u64.pow(decimals);
    match decimals {
        0 => value.to_string(),
        _ => format!("{}.{:0width$}", value / unit, value % unit, width = decimals as usize),
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): eight bytes of state, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `bound` − 1, near enough evenly for made-up patients.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Both ends included.
    fn between(&mut self, lowest: u64, highest: u64) -> u64 {
        lowest + self.below(highest - lowest + 1)
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap_or_default()]
    }

    fn word<'a>(&mut self, words: &'a str) -> &'a str {
        let count = words.split(' ').count() as u64;
        let chosen = self.below(count);
        words.split(' ').nth(usize::try_from(chosen).unwrap_or_default()).unwrap_or_default()
    }

    /// Bell-shaped: twelve even draws added up have a spread of one twelfth of twelve times their range, squared.
    fn around(&mut self, mean: u64, spread: u64) -> u64 {
        let sum: u64 = (0..12).map(|_| self.below(spread + 1)).sum();
        (mean + sum).saturating_sub(6 * spread)
    }

    /// Waiting time for something rare: exponential, −ln u taken from the leading zeros of u and a straight line between.
    fn waiting(&mut self, mean: u64) -> u64 {
        let u = self.next() | 1;
        let zeros = u64::from(u.leading_zeros());
        let fraction = 1024 - ((u << zeros) >> 53 & 1023); // how far u is below the next power of two, in 1/1024
        (zeros * 1024 + fraction) * 693 / 1000 * mean / 1024
    }

    fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        let high = high & 0xffff_ffff_ffff_0fff | 0x4000; // version 4
        let low = low & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000; // variant 1
        format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, high >> 16 & 0xffff, high & 0xffff, low >> 48, low & 0xffff_ffff_ffff)
    }

    fn note(&mut self, mean: u64) -> String {
        let count = self.waiting(mean).clamp(2, 160);
        let words: Vec<&str> = (0..count).map(|_| self.word(WORDS)).collect();
        let mut note = words.join(" ");
        if let Some(first) = note.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        note.push('.');
        note
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixture_is_what_the_generator_makes() {
        let fixture = include_str!("../../../fixtures/clinic/clinic_1000.ndjson");
        let made: String = events(1, 1000).map(|event| event + "\n").collect();
        assert!(fixture == made, "fixtures are never edited; a generator that makes other bytes is another generator");
    }

    #[test]
    fn every_line_is_json_of_the_usual_size() {
        let lines: Vec<String> = events(7, 5000).collect();
        for line in &lines {
            let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(event.as_object().map(serde_json::Map::len), Some(6), "{line}");
        }
        let mean = lines.iter().map(String::len).sum::<usize>() / lines.len();
        assert!((290..=320).contains(&mean), "{mean} bytes a line");
    }

    #[test]
    fn seeds_differ_and_a_longer_log_begins_like_a_shorter_one() {
        assert_ne!(events(1, 1).next(), events(2, 1).next());
        assert!(events(3, 50).eq(events(3, 100).take(50)));
    }
}

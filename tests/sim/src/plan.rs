//! What will happen in one life: a shape and a list of steps, drawn from the seed before anything runs. A step names everything by numbers that are
//! taken modulo what is there, so that any step may be left out and the rest still mean something: that is how a failure is made small.

use crate::luck::Luck;

/// One life.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// Which domain it begins with; see `base`.
    pub shape: usize,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One thing that happens, what goes wrong while it does, and the luck that decides what is left open.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is done.
    pub act: Act,
    /// What goes wrong meanwhile.
    pub mishap: Option<Mishap>,
    /// Decides what else there is to decide.
    pub luck: u64,
}

/// What people, couriers, lines and thieves do.
#[derive(Clone, Debug)]
pub enum Act {
    /// Payloads of these lengths are pushed, one sync for all.
    Push {
        /// Where.
        at: usize,
        /// 1 urgent, 2 routine, 3 bulk.
        lane: u64,
        /// Directed to whom.
        to: Option<usize>,
        /// How long each is.
        lens: Vec<usize>,
    },
    /// A bundle is cut onto a stick.
    Cut {
        /// Where.
        at: usize,
        /// For whom.
        to: usize,
        /// Onto which.
        stick: usize,
        /// Largest file.
        max_size: u64,
    },
    /// A stick is taken in.
    Ingest {
        /// Where.
        at: usize,
        /// Which.
        stick: usize,
    },
    /// A stick is exchanged with: what is on it for us, what others lack, what has arrived.
    Exchange {
        /// Where.
        at: usize,
        /// Which.
        stick: usize,
        /// Largest file.
        max_size: u64,
    },
    /// A stick is put in a machine that watches for it.
    Watch {
        /// Where.
        at: usize,
        /// Which.
        stick: usize,
    },
    /// One dials another.
    Sync {
        /// Who dials.
        at: usize,
        /// Who listens.
        to: usize,
        /// What the line does.
        line: Line,
        /// Bytes it may cost.
        budget: Option<u64>,
    },
    /// What a courier does to a file on a stick.
    Courier {
        /// Which stick.
        stick: usize,
        /// What.
        deed: Deed,
    },
    /// The card of a machine is copied.
    Image {
        /// Of which.
        at: usize,
    },
    /// An image is put back in the machine it came from.
    Restore {
        /// Which.
        at: usize,
    },
    /// An image is put in a second machine, which works beside the first.
    Clone {
        /// Of which.
        at: usize,
    },
    /// A clone is found and switched off.
    Dismiss,
    /// The clock of a machine jumps.
    Clock {
        /// Which.
        at: usize,
        /// How.
        leap: Leap,
    },
    /// Bytes of a log rot.
    Rot {
        /// Where.
        at: usize,
        /// How many bytes.
        len: usize,
    },
    /// A new machine joins the domain.
    Enrol {
        /// What it may see: an index into the policies.
        policy: usize,
    },
    /// A member gets new keys.
    Rekey {
        /// Which.
        at: usize,
    },
    /// A member's key is revoked.
    Revoke {
        /// Whose.
        at: usize,
    },
    /// What an ended key wrote is accepted.
    Accept {
        /// Whose.
        at: usize,
    },
    /// What a member may see is changed.
    Policy {
        /// Whose.
        at: usize,
        /// An index into the policies.
        policy: usize,
    },
    /// The authority signs although it is in doubt.
    Insist {
        /// Whose policy it changes.
        at: usize,
        /// An index into the policies.
        policy: usize,
    },
    /// A forked roster is healed.
    Heal,
    /// A member seals lies with its own keys.
    Forge {
        /// Who.
        at: usize,
        /// For whom.
        to: usize,
        /// Onto which stick.
        stick: usize,
        /// What lie.
        lie: Lie,
    },
    /// A member dials with its own keys and lies.
    Speak {
        /// Who.
        at: usize,
        /// To whom.
        to: usize,
        /// What it says.
        speech: Speech,
    },
}

/// How a line treats those who use it.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// The nth connection dies after so many bytes upwards, or downwards.
    pub cuts: Vec<(Option<u64>, Option<u64>)>,
    /// Who listens is not told of a cut: its connection stays open, and silent.
    pub half_open: bool,
    /// Bytes a second and milliseconds of delay.
    pub slow: Option<(u64, u64)>,
}

/// What a courier does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Loses a file.
    Lose,
    /// Copies only a part of it.
    Truncate,
    /// Damages it.
    Flip,
    /// Copies it twice, under another name.
    Twice,
    /// Puts it on another stick.
    Swap,
    /// Brings a file from long ago.
    LastYear,
    /// Brings something that is no bundle.
    Rubbish,
    /// Pulls the stick without asking: what was not synced may be gone.
    Yank,
}

/// How a clock jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leap {
    /// To 1970.
    Epoch,
    /// Two days ahead.
    Ahead,
    /// Ten years ahead.
    FarAhead,
    /// An hour back.
    Back,
    /// To the right time.
    Right,
}

/// What a member lies about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// An event of another is changed.
    Changed,
    /// An event of another is left out.
    LeftOut,
    /// Two change places.
    Reordered,
    /// An event that nobody wrote stands behind the others.
    Invented,
    /// The vector tells another history than there is.
    WrongTag,
    /// The vector tells more than there is.
    TooMuch,
}

/// What a member says on a line that is not as the rules want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// A hello that tells another history than there is, or more of one.
    Hello(Lie),
    /// An honest hello, then a history that is not what its writer signed.
    Range(Lie),
    /// It acknowledges all that it is sent, and keeps nothing.
    Acknowledge,
    /// It wants everything again, and again.
    Again,
    /// It says that all is said, asks who we are, and says hello a second time.
    Disorder,
    /// Bytes that are no message.
    Noise,
    /// Half a message, and then nothing.
    Silence,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The power goes at the nth operation of the card.
    PowerCut(u64),
    /// The nth sync of the card fails, and the next ones lie.
    SyncFails(u64),
    /// The nth write fails.
    WriteFails(u64),
    /// The nth making, renaming or removing of a file fails.
    NameFails(u64),
    /// The nth read fails.
    ReadFails(u64),
    /// The card has so many bytes left.
    CardFull(u64),
    /// The stick has so many bytes left.
    StickFull(u64),
    /// The stick is pulled at its nth operation.
    StickPulled(u64),
}

impl Plan {
    /// The life of a seed.
    pub fn of(seed: u64) -> Self {
        let mut luck = Luck(seed);
        let shape = luck.index(8);
        // Most faults need little; long lives find the rest.
        let long = luck.once_in(4);
        let count = 8 + luck.index(if long { 48 } else { 24 });
        let temper = Temper::draw(&mut luck);
        let steps = (0..count).map(|_| temper.step(&mut luck)).collect();
        Self { seed, shape, steps }
    }
}

/// What this life is inclined to: most have only a few kinds of trouble, so that each kind is met undisturbed by others.
struct Temper {
    weights: [u64; 22],
    mishaps: bool,
}

impl Temper {
    fn draw(luck: &mut Luck) -> Self {
        let mut some = |weight: u64| if luck.once_in(2) { weight } else { 0 };
        let (line, courier, card, clone, clock, rot) = (some(7), some(4), some(4), some(1), some(2), some(2));
        let (members, authority, hostile) = (some(1), some(1), some(2));
        let (exchange, watched) = (some(8), some(3));
        let weights = [
            10, 8, 8, line, courier, card, card, clone, clone, clock, rot, members, members, members, members, members, authority, authority,
            hostile, exchange, watched, hostile,
        ];
        Self { weights, mishaps: luck.once_in(2) }
    }

    fn step(&self, luck: &mut Luck) -> Step {
        let mut left = luck.below(self.weights.iter().sum());
        let kind = self.weights.iter().position(|weight| {
            let here = left < *weight;
            left = left.wrapping_sub(*weight);
            here
        });
        let act = act(kind.unwrap_or(0), luck);
        let mishap = (self.mishaps && luck.once_in(5)).then(|| mishap(luck));
        Step { act, mishap, luck: luck.draw() }
    }
}

fn act(kind: usize, luck: &mut Luck) -> Act {
    let at = luck.index(60);
    let stick = luck.index(4);
    match kind {
        0 => Act::Push { at, lane: luck.one_of(&[1, 2, 2, 2, 3]), to: luck.once_in(4).then(|| luck.index(60)), lens: lens(luck) },
        1 => Act::Cut { at, to: if luck.once_in(2) { 0 } else { luck.index(60) }, stick, max_size: luck.one_of(&[64 << 20, 64 << 20, 2048]) },
        2 => Act::Ingest { at, stick },
        3 => Act::Sync {
            at,
            to: if luck.once_in(2) { 0 } else { luck.index(60) },
            line: line(luck),
            budget: luck.once_in(8).then(|| 4000 + luck.below(8000)),
        },
        4 => Act::Courier {
            stick,
            deed: luck.one_of(&[
                Deed::Lose,
                Deed::Truncate,
                Deed::Flip,
                Deed::Twice,
                Deed::Swap,
                Deed::LastYear,
                Deed::LastYear,
                Deed::Rubbish,
                Deed::Yank,
            ]),
        },
        5 => Act::Image { at },
        6 => Act::Restore { at },
        7 => Act::Clone { at },
        8 => Act::Dismiss,
        9 => Act::Clock { at, leap: luck.one_of(&[Leap::Epoch, Leap::Ahead, Leap::FarAhead, Leap::Back, Leap::Right]) },
        10 => Act::Rot { at, len: luck.one_of(&[1, 1, 16, 700]) },
        11 => Act::Enrol { policy: luck.index(4) },
        12 => Act::Rekey { at },
        13 => Act::Revoke { at },
        14 => Act::Accept { at },
        15 => Act::Policy { at, policy: luck.index(4) },
        16 => Act::Insist { at, policy: luck.index(4) },
        17 => Act::Heal,
        19 => Act::Exchange { at, stick, max_size: luck.one_of(&[64 << 20, 64 << 20, 2048]) },
        20 => Act::Watch { at, stick },
        21 => Act::Speak { at, to: luck.index(60), speech: speech(luck) },
        _ => Act::Forge { at, to: luck.index(60), stick, lie: luck.one_of(LIES) },
    }
}

const LIES: &[Lie] = &[Lie::Changed, Lie::LeftOut, Lie::Reordered, Lie::Invented, Lie::WrongTag, Lie::TooMuch];

fn speech(luck: &mut Luck) -> Speech {
    match luck.below(8) {
        0 => Speech::Hello(luck.one_of(&[Lie::WrongTag, Lie::TooMuch])),
        1..=2 => Speech::Range(luck.one_of(LIES)),
        3 => Speech::Acknowledge,
        4 => Speech::Again,
        5 => Speech::Disorder,
        6 => Speech::Noise,
        _ => Speech::Silence,
    }
}

fn lens(luck: &mut Luck) -> Vec<usize> {
    let count = 1 + luck.index(4);
    (0..count).map(|_| if luck.once_in(12) { 4096 + luck.index(9000) } else { 13 + luck.index(400) }).collect()
}

fn line(luck: &mut Luck) -> Line {
    let count = if luck.once_in(3) { 0 } else { 1 + luck.index(4) };
    let cut = |luck: &mut Luck| {
        let soon = luck.once_in(2);
        let after = Some(luck.below(if soon { 900 } else { 3000 }));
        if luck.once_in(2) { (after, None) } else { (None, after) }
    };
    let cuts = (0..count).map(|_| cut(luck)).collect();
    Line { cuts, half_open: luck.once_in(2), slow: luck.once_in(6).then(|| (luck.one_of(&[2875, 20_000]), luck.one_of(&[50, 600]))) }
}

fn mishap(luck: &mut Luck) -> Mishap {
    let soon = luck.once_in(2);
    let nth = 1 + luck.below(if soon { 12 } else { 60 });
    match luck.below(10) {
        0..=2 => Mishap::PowerCut(nth),
        3..=4 => Mishap::SyncFails(1 + luck.below(6)),
        5 => Mishap::WriteFails(1 + luck.below(10)),
        6 => Mishap::NameFails(1 + luck.below(8)),
        7 => Mishap::ReadFails(nth),
        8 if luck.once_in(2) => Mishap::StickFull(luck.below(3000)),
        8 => Mishap::CardFull(luck.below(2000)),
        _ => Mishap::StickPulled(1 + luck.below(12)),
    }
}

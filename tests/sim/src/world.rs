//! A world: machines, sticks, a network, and the model that knows what was promised. Steps are carried out here; after each one everything that may have
//! changed is looked at.

use crate::base;
use crate::coverage::Coverage;
use crate::luck::Luck;
use crate::model::{Memory, Model, Verdict};
use crate::nonces::Nonces;
use crate::plan::{Act, Mishap, Plan, Step};
use crate::rotting::segment_len;
use crate::station::{Around, Station};
use crate::tables::Reader;
use bundle_format::error::Code;
use bundle_format::ids::NodeId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use zbundle::adapters::SqliteProjection;
use zbundle::keys::Policy;
use zbundle::node::peers::{Peer, Peers};
use zbundle::node::workshop::Workshop;
use zbundle::node::{Node, NodeError};
use zbundle::ports::MemoryDisk;
use zbundle::ports::disk::Disk as _;
use zbundle::ports::memory_disk::{Counts, Fault, Operation};

/// Sticks there are.
const STICK_COUNT: usize = 3;

/// A machine and what is known of it.
pub struct Machine {
    /// The machine.
    pub station: Station,
    /// What it showed when it was last looked at.
    pub memory: Memory,
    /// Its card as it was copied once.
    pub image: Option<MemoryDisk>,
    /// Its luck then.
    pub luck_then: u64,
    /// It is a second machine with another's card.
    pub is_clone: bool,
    /// Something in an old part of its log may have rotted that nobody has met yet: one command may fail for it.
    pub has_unmet_rot: bool,
    /// Operations of its card when it was last looked at.
    pub seen: Option<Counts>,
    /// Its log as tables, when they were last wanted.
    pub tables: Option<SqliteProjection>,
    /// Who reads its feed.
    pub reader: Reader,
}

impl Machine {
    /// One that nobody has looked at yet.
    pub fn new(station: Station) -> Self {
        Self {
            station,
            memory: Memory::default(),
            image: None,
            luck_then: 0,
            is_clone: false,
            has_unmet_rot: false,
            seen: None,
            tables: None,
            reader: Reader::default(),
        }
    }
}

/// A fault planted in the world itself, to see whether the simulator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Syncs of cards do nothing.
    LyingCards,
    /// People are told that something is safe that was not pushed.
    FalsePromise,
    /// Somebody writes in a member's log what its people did not push.
    Invention,
    /// A log forgets one payload.
    LostEvent,
    /// Everybody is sent more than it may see.
    NoPolicy,
    /// Images of cards bring the luck of their time back with them.
    LuckRestored,
    /// Nobody is told of forks.
    SilentForks,
}

/// The world.
pub struct World {
    /// Members' ids, by number; the first is the authority.
    pub members: Vec<NodeId>,
    /// Members' names.
    pub names: Vec<String>,
    /// Machines; the first ones are the members', clones come behind.
    pub machines: Vec<Machine>,
    /// What was promised.
    pub model: Model,
    /// Members' cards as they were when they had joined.
    pub first_cards: Vec<MemoryDisk>,
    /// Files as they were once cut.
    pub archive: Vec<(String, Vec<u8>)>,
    /// For whom the newest file on a stick is.
    pub carried: BTreeMap<usize, usize>,
    /// What happened, line by line.
    pub story: Vec<String>,
    /// How often what happened.
    pub coverage: Coverage,
    /// Shared by all sessions.
    pub workshop: Rc<RefCell<Workshop>>,
    /// What machines share.
    pub around: Around,
    /// Members whose key the authority has ended.
    pub revoked: Vec<usize>,
    /// Members that were restored or cloned, ever.
    pub restored: Vec<usize>,
    /// The authority has asked for new keys: a card of it that rots now may take the domain with it.
    pub has_new_authority: bool,
    /// Members that asked for new keys, ever.
    pub rekeyed: Vec<usize>,
    /// Members whose log rotted, ever.
    pub rotten: Vec<usize>,
    /// It is the end, and everybody has met the authority.
    pub all_were_heard: bool,
    /// Somebody may see less, or more, than it did.
    pub has_changed_policies: bool,
    /// Markers written so far.
    pub prepared: u64,
    /// What is planted.
    pub planted: Option<Planted>,
    nonces: Nonces,
    /// What determines this life.
    pub seed: u64,
}

/// Bytes a second that everybody's processor does in codec 3: in most lives so few that it is never worth it, for it takes real time.
fn mixing_speed(seed: u64) -> u64 {
    if seed.is_multiple_of(16) { 400_000 } else { 1000 }
}

/// How a step ended for the one who asked for it.
pub type Asked<T> = Result<T, NodeError>;

impl World {
    /// The world of a plan, before its first step.
    ///
    /// # Panics
    /// When no domain can be founded.
    pub fn new(plan: &Plan, planted: Option<Planted>) -> Self {
        let sticks = (0..STICK_COUNT).map(|number| {
            let stick = MemoryDisk::new();
            stick.create_folder(&Station::stick(number)).expect("an empty stick");
            stick
        });
        let around = Around { sticks: Rc::new(sticks.collect()), ticker: Rc::default(), cable: crate::wire::Cable::default() };
        let begun = base::domain(plan.shape, &around);
        let mut model = Model::default();
        let policy = |member: &base::Begun| if planted == Some(Planted::NoPolicy) { Policy::Own } else { member.policy.clone() };
        for member in &begun {
            model.grant(member.id, &policy(member));
        }
        for member in &begun {
            if planted == Some(Planted::LyingCards) {
                member.card.lie();
            }
            if let Some(len) = segment_len(plan.seed) {
                member.card.set_segment_len(len);
            }
        }
        let machine = |(at, member): (usize, &base::Begun)| {
            let station = Station::new(member.name.to_owned(), at, member.id, member.card.clone(), plan.seed.rotate_left(17) ^ at as u64, &around);
            *station.log_keys.borrow_mut() = Some(member.log_keys.clone());
            Machine::new(station)
        };
        Self {
            members: begun.iter().map(|member| member.id).collect(),
            names: begun.iter().map(|member| member.name.to_owned()).collect(),
            machines: begun.iter().enumerate().map(machine).collect(),
            model,
            first_cards: begun.iter().map(|member| member.card.image()).collect(),
            archive: Vec::new(),
            carried: BTreeMap::new(),
            story: Vec::new(),
            coverage: Coverage::default(),
            workshop: Rc::new(RefCell::new(Workshop::new().expect("memory").at_speed(mixing_speed(plan.seed)))),
            around,
            revoked: Vec::new(),
            restored: Vec::new(),
            has_new_authority: false,
            rekeyed: Vec::new(),
            rotten: Vec::new(),
            all_were_heard: false,
            has_changed_policies: false,
            prepared: 0,
            planted,
            nonces: Nonces::default(),
            seed: plan.seed,
        }
    }

    /// Say what happens.
    pub fn tell(&mut self, line: impl Into<String>) {
        self.story.push(line.into());
    }

    /// The name of a machine.
    pub fn name(&self, at: usize) -> String {
        self.machines[at].station.name.clone()
    }

    /// A machine, whatever number was drawn.
    pub fn machine(&self, number: usize) -> usize {
        number % self.machines.len()
    }

    /// A member, whatever number was drawn.
    pub fn member(&self, number: usize) -> usize {
        number % self.members.len()
    }

    /// Another member than that of a machine.
    fn other(&self, at: usize, number: usize) -> usize {
        let to = self.member(number);
        if to == self.machines[at].station.member { self.member(to + 1) } else { to }
    }

    /// A machine of a member: its own, or a clone.
    fn machine_of(&self, member: usize, luck: &mut Luck) -> usize {
        let machines: Vec<_> = (0..self.machines.len()).filter(|at| self.machines[*at].station.member == member).collect();
        luck.one_of(&machines)
    }

    /// Who is given a stick: most reach somebody they are for.
    fn bearer(&self, at: usize, stick: usize, luck: &mut Luck) -> usize {
        let meant = self.carried.get(&stick).copied().filter(|_| !luck.once_in(5));
        meant.map_or_else(|| self.machine(at), |member| self.machine_of(member, luck))
    }

    /// Whether it ends with sticks cut for one, or with sticks exchanged, first: 0 or 2.
    pub fn turn(&self) -> usize {
        usize::from(self.seed % 2 == 1) * 2
    }

    /// Whether machines have tables.
    pub fn has_tables(&self) -> bool {
        crate::tables::are_kept(self.seed)
    }

    /// Luck for what this world leaves open beside its steps.
    pub fn luck(&self, of: u64) -> Luck {
        Luck(self.seed ^ of.rotate_left(32))
    }

    /// Do one step and look at everything it may have changed.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn step(&mut self, number: usize, step: &Step) -> Verdict {
        let mishap = step.mishap.map_or_else(String::new, |mishap| format!(" [{mishap:?}]"));
        self.tell(format!("{number}. {:?}{mishap}", step.act));
        self.coverage.count(step.act.name());
        self.around.ticker.pass(60_000);
        self.act(step)?;
        self.look_at_all()?;
        if step.luck.is_multiple_of(4) { self.project(self.machine(number)) } else { Ok(()) }
    }

    fn act(&mut self, step: &Step) -> Verdict {
        let luck = &mut Luck(step.luck);
        match &step.act {
            Act::Push { at, lane, to, lens } => self.push(self.machine(*at), *lane, *to, lens, step),
            Act::Cut { at, to, stick, max_size } => {
                let at = self.machine(*at);
                self.cut(at, self.other(at, *to), stick % STICK_COUNT, *max_size, step)
            }
            Act::Ingest { at, stick } => {
                let stick = stick % STICK_COUNT;
                self.ingest(self.bearer(*at, stick, luck), stick, step)
            }
            Act::Exchange { at, stick, max_size } => {
                let stick = stick % STICK_COUNT;
                self.exchange(self.bearer(*at, stick, luck), stick, *max_size, step).map(drop)
            }
            Act::Watch { at, stick } => {
                let stick = stick % STICK_COUNT;
                self.watch(self.bearer(*at, stick, luck), stick, step).map(drop)
            }
            Act::Sync { at, to, line, budget } => {
                let at = self.machine(*at);
                self.sync(at, self.other(at, *to), line, *budget, step)
            }
            Act::Courier { stick, deed } => self.courier(stick % STICK_COUNT, *deed, luck),
            Act::Image { at } => self.image(self.machine(*at)),
            Act::Restore { at } => self.restore(self.machine(*at)),
            Act::Clone { at } => self.clone_machine(self.machine(*at), step.luck),
            Act::Dismiss => self.dismiss(),
            Act::Clock { at, leap } => self.clock(self.machine(*at), *leap),
            Act::Rot { at, len } => self.rot(self.machine(*at), *len, luck),
            Act::Enrol { policy } => self.enrol(*policy, step),
            Act::Rekey { at } => self.rekey(self.machine(*at), step),
            Act::Revoke { at } => self.revoke(self.member(*at), step),
            Act::Accept { at } => self.accept(self.member(*at), step),
            Act::Policy { at, policy } => self.set_policy(self.member(*at), *policy, false, step),
            Act::Insist { at, policy } => self.set_policy(self.member(*at), *policy, true, step),
            Act::Heal => self.heal(step),
            Act::Speak { at, to, speech } => {
                let at = self.machine(*at);
                self.lie_on_the_line(at, self.other(at, *to), *speech, step)
            }
            Act::Forge { at, to, stick, lie } => self.forge(self.machine(*at), self.member(*to), stick % STICK_COUNT, *lie, luck),
        }
    }

    /// Let `work` happen at a machine while the mishap of its step is about. What it answers is `None` when the mishap struck and it failed.
    ///
    /// # Errors
    /// When it failed though nothing went wrong, and not for one of `allowed`.
    pub fn while_it_happens<T>(
        &mut self,
        at: usize,
        stick: Option<usize>,
        step: &Step,
        allowed: &[Code],
        work: impl FnOnce(&mut Self) -> Asked<T>,
    ) -> Verdict<Option<T>> {
        self.prepare(at, stick, step.mishap);
        let done = work(self);
        let struck = self.clear_up(at, stick, step)?;
        match done {
            Ok(done) => Ok(Some(done)),
            Err(error) => {
                self.tell(format!("   {}: {} {error}", self.name(at), error.code()));
                if error.code() == Code::Z301 && self.machines[at].has_unmet_rot {
                    self.coverage.count("rot is met");
                    self.fsck(at)?;
                    Ok(None)
                } else if struck || allowed.contains(&error.code()) {
                    self.coverage.count(if struck { "failed by a mishap" } else { "refused" });
                    Ok(None)
                } else {
                    Err(format!("P4: {} at {}: {error}, and nothing is wrong there", error.code(), self.name(at)))
                }
            }
        }
    }

    fn prepare(&mut self, at: usize, stick: Option<usize>, mishap: Option<Mishap>) {
        let card = &self.machines[at].station.card;
        let fail = |operation, nth| card.fail(Fault { operation, nth, error: std::io::ErrorKind::Other, sticky: false });
        match mishap {
            Some(Mishap::PowerCut(nth)) => card.lose_power(nth),
            Some(Mishap::SyncFails(nth)) => fail(Operation::Sync, nth),
            Some(Mishap::WriteFails(nth)) => fail(Operation::Write, nth),
            Some(Mishap::NameFails(nth)) => fail(Operation::Name, nth),
            Some(Mishap::ReadFails(nth)) => fail(Operation::Read, nth),
            Some(Mishap::CardFull(room)) => card.set_space(Some(card.used() + room)),
            Some(Mishap::StickFull(room)) => {
                if let Some(stick) = stick.map(|stick| &self.around.sticks[stick]) {
                    stick.set_space(Some(stick.used() + 64 * 1024 + room));
                }
            }
            Some(Mishap::StickPulled(nth)) => {
                if let Some(stick) = stick {
                    self.around.sticks[stick].lose_power(nth);
                }
            }
            None => {}
        }
    }

    /// The mishap is over: what it left is left. Returns whether it struck.
    fn clear_up(&mut self, at: usize, stick: Option<usize>, step: &Step) -> Verdict<bool> {
        let Some(mishap) = step.mishap else { return Ok(false) };
        let card = self.machines[at].station.card.clone();
        let of_stick = matches!(mishap, Mishap::StickFull(_) | Mishap::StickPulled(_));
        let struck = match (of_stick, stick) {
            (true, Some(stick)) => self.around.sticks[stick].has_struck() || matches!(mishap, Mishap::StickFull(_)),
            (true, None) => false,
            (false, _) => card.has_struck(),
        };
        self.nonces.note(&card)?;
        if struck {
            self.coverage.count(mishap.name());
            if matches!(mishap, Mishap::PowerCut(_)) {
                card.crash(step.luck);
                if let Some(stick) = stick {
                    self.around.sticks[stick].crash(step.luck);
                }
            }
        }
        if let Some(stick) = stick {
            if struck && matches!(mishap, Mishap::StickPulled(_)) {
                self.around.sticks[stick].crash(step.luck);
            }
            self.around.sticks[stick].heal();
        }
        card.heal();
        Ok(struck)
    }

    /// Open a node and do something with it.
    ///
    /// # Errors
    /// What the node says.
    pub fn with_node<T>(&mut self, at: usize, work: impl FnOnce(&mut Self, &mut Node) -> Asked<T>) -> Asked<T> {
        let mut node = self.machines[at].station.open()?;
        for finding in node.findings().to_vec() {
            self.coverage.found(&finding);
            self.tell(format!("   {}: {finding:?}", self.name(at)));
        }
        work(self, &mut node)
    }

    /// Look at every machine whose card was used, and at what each believes of the others.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn look_at_all(&mut self) -> Verdict {
        let mut changed = Vec::new();
        for at in 0..self.machines.len() {
            let counts = self.machines[at].station.card.counts();
            if self.machines[at].seen != Some(counts) {
                self.look(at, false)?;
                self.machines[at].seen = Some(counts);
                changed.push(at);
            }
        }
        for at in changed {
            self.check_receipts(at)?;
        }
        Ok(())
    }

    /// Look at one machine: what it showed before it still shows, unless its card was `replaced`.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn look(&mut self, at: usize, replaced: bool) -> Verdict {
        let machine = &self.machines[at];
        self.nonces.note(&machine.station.card)?;
        let card = machine.station.card.durable();
        let log = machine.station.log_on(&card);
        let log = log.map_err(|error| format!("P4: after a power cut {} would not open: {} {error}", machine.station.name, error.code()))?;
        let memory = self.model.look(machine.station.id, &log).map_err(|why| format!("{why}, at {}", machine.station.name))?;
        let mut memory = memory;
        if self.planted == Some(Planted::LostEvent) {
            memory.whole.pop_last();
        }
        let before = &machine.memory;
        if !replaced && let Some(lost) = before.held.difference(&memory.held).next() {
            return Err(format!("P1: {} showed {lost:?}, and would not after a power cut", machine.station.name));
        }
        if memory.rotten < before.rotten && !replaced {
            self.coverage.count("what rotted is here again");
        }
        let forked = Model::forked(&memory);
        memory.forks = forked.union(&before.forks).copied().collect();
        if !forked.is_empty() {
            self.coverage.count("a fork is held");
            let view = machine.station.durable_view().map_err(|error| format!("P4: {} does not open: {error}", machine.station.name))?;
            let forks = view.forks().map_err(|error| format!("forks at {}: {error}", machine.station.name))?;
            if let Some(origin) = forked.iter().find(|origin| !forks.iter().any(|fork| fork.origin == **origin)) {
                return Err(format!("forks: {} holds {origin:?} twice and does not say so", machine.station.name));
            }
        }
        self.machines[at].memory = memory;
        Ok(())
    }

    /// A card went back in time, rotted, or is gone: what nobody holds any more is lost, and nobody is to blame. What anybody holds must come back.
    pub fn forgive(&mut self) {
        let machines = &self.machines;
        let held = |number: &usize| machines.iter().any(|machine| machine.memory.whole.contains(number));
        self.model.promised.retain(held);
    }

    fn check_receipts(&self, at: usize) -> Verdict {
        for (node, peer) in self.peers_of(at)? {
            self.model.receipt(node, &peer).map_err(|why| format!("{why}, at {}", self.name(at)))?;
        }
        Ok(())
    }

    /// Whom a machine knows, and what of them.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn peers_of(&self, at: usize) -> Verdict<Vec<(NodeId, Peer)>> {
        let peers =
            Peers::at(&std::path::Path::new(crate::station::NODE).join("peers"), std::rc::Rc::new(zbundle::ports::clock::FakeClock::default()));
        peers.all(&self.machines[at].station.card.durable()).map_err(|error| format!("P3: peers at {}: {error}", self.name(at)))
    }

    /// Frames of all logs that were looked at.
    pub fn frame_count(&self) -> usize {
        self.nonces.count()
    }
}

//! One life from beginning to end, panics caught; and a failing one made as short as it can be.

use crate::coverage::Coverage;
use crate::plan::Plan;
use crate::world::{Planted, World};
use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a life went.
#[derive(Clone, Debug)]
pub struct Life {
    /// What was not as it was promised.
    pub violation: Option<String>,
    /// What happened.
    pub story: Vec<String>,
    /// How often what happened.
    pub coverage: Coverage,
    /// Of the story and of what every machine showed at the end: two runs of one seed have one digest.
    pub digest: u64,
    /// Sealed frames that were looked at.
    pub frames: usize,
}

thread_local! {
    /// Where the last panic of this thread began, as a failure tells it.
    static PANICKED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A panic in a life is a failure of that life, told with it, and not where it happens.
pub fn hush_panics() {
    std::panic::set_hook(Box::new(|panic| {
        PANICKED.replace(panic.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default());
    }));
}

/// Live through a plan.
pub fn live(plan: &Plan, planted: Option<Planted>) -> Life {
    let mut world = World::new(plan, planted);
    let lived = catch_unwind(AssertUnwindSafe(|| {
        world.look_at_all()?;
        for (number, step) in plan.steps.iter().enumerate() {
            world.step(number, step)?;
        }
        world.finish()
    }));
    let violation = match lived {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("P3: a panic{}: {}", PANICKED.take(), text.unwrap_or_default()))
        }
    };
    let mut hasher = DefaultHasher::new();
    world.story.hash(&mut hasher);
    violation.hash(&mut hasher);
    for machine in &world.machines {
        machine.memory.held.iter().for_each(|(origin, seq, digest)| (format!("{origin:?}"), seq, digest).hash(&mut hasher));
    }
    let frames = world.frame_count();
    Life { violation, story: world.story, coverage: world.coverage, digest: hasher.finish(), frames }
}

/// The shortest plan found that fails in the same way: steps are left out, then mishaps, until nothing more can be.
pub fn shrink(plan: &Plan, planted: Option<Planted>) -> Plan {
    let kind = |plan: &Plan| live(plan, planted).violation.map(|why| why.split(':').next().unwrap_or_default().to_owned());
    let Some(wanted) = kind(plan) else { return plan.clone() };
    let fails = |plan: &Plan| kind(plan).as_deref() == Some(wanted.as_str());
    let mut best = plan.clone();
    let mut chunk = best.steps.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < best.steps.len() {
            let mut shorter = best.clone();
            shorter.steps.drain(at..(at + chunk).min(best.steps.len()));
            if fails(&shorter) {
                best = shorter;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
    for at in 0..best.steps.len() {
        let mut calmer = best.clone();
        if calmer.steps[at].mishap.take().is_some() && fails(&calmer) {
            best = calmer;
        }
    }
    best
}

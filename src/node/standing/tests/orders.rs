//! The group commit in every order. Everybody shares one thread, so what a model checker of threads would vary does not exist; what varies is which
//! task is polled next, which is dropped, and which sync fails. All of that is tried here, not drawn: a depth-first walk over every choice, each time from
//! the same disk.

use super::*;
use crate::ports::Disk as _;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

type Answer = Result<(), NodeError>;
type Task = Pin<Box<dyn Future<Output = Answer>>>;

/// Choices made so far in this walk, and how many there were each time.
#[derive(Default)]
struct Walk {
    given: Vec<usize>,
    made: Vec<(usize, usize)>,
}

impl Walk {
    fn choose(&mut self, of: usize) -> usize {
        let choice = self.given.get(self.made.len()).copied().unwrap_or(0);
        self.made.push((choice, of));
        choice
    }

    /// The walk that differs from this one at the last place where one can.
    fn next(mut self) -> Option<Self> {
        while let Some((choice, of)) = self.made.pop() {
            if choice + 1 < of {
                let given = self.made.iter().map(|(choice, _)| *choice).chain([choice + 1]).collect();
                return Some(Self { given, made: Vec::new() });
            }
        }
        None
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Poll `tasks` as `walk` chooses among those that were woken, until all have ended; the last of them may be dropped at any moment when `may_drop`.
/// `answered` hears of each end at once.
fn poll_all(walk: &mut Walk, tasks: Vec<Task>, may_drop: bool, mut answered: impl FnMut(usize, Answer)) {
    let mut droppable = may_drop.then(|| tasks.len() - 1);
    let mut tasks: Vec<_> = tasks.into_iter().map(|task| Some((task, Arc::new(Flag(AtomicBool::new(true)))))).collect();
    while tasks.iter().any(Option::is_some) {
        let woken = |task: &Option<(Task, Arc<Flag>)>| task.as_ref().is_some_and(|(_, flag)| flag.0.load(Ordering::SeqCst));
        let ready: Vec<usize> = (0..tasks.len()).filter(|at| woken(&tasks[*at])).collect();
        let drops = usize::from(droppable.is_some_and(|at| tasks[at].is_some()));
        assert!(!ready.is_empty() || drops > 0, "nobody is awake and somebody waits");
        let choice = walk.choose(ready.len() + drops);
        let Some(at) = ready.get(choice).copied() else {
            droppable.take().map(|at| tasks[at].take());
            continue;
        };
        let Some((task, flag)) = &mut tasks[at] else { continue };
        flag.0.store(false, Ordering::SeqCst);
        if let Poll::Ready(answer) = task.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(flag)))) {
            tasks[at] = None;
            answered(at, answer);
        }
    }
}

fn on(disk: MemoryDisk) -> Place {
    let clock = Rc::new(FakeClock(Cell::new(1_800_000_000_000)));
    let ports = Place::ports(&disk, &clock, 7);
    let opening = Opening { data_dir: Path::new(DATA_DIR), secret: &Place::secret(), lock_wait_ms: 0 };
    let node = Node::open(&ports, &opening).unwrap();
    let standing = Standing::new(ports, DATA_DIR.into(), Place::secret(), node);
    Place { disk, clock, standing }
}

fn image() -> MemoryDisk {
    let place = Place::new();
    run(place.standing.close()).unwrap();
    place.disk.image()
}

fn pusher(standing: &Rc<Standing>, payload: String) -> Task {
    let standing = Rc::clone(standing);
    Box::pin(async move {
        standing.with(|node| push(node, &payload)).await?;
        standing.durable().await
    })
}

fn lender(standing: &Rc<Standing>) -> Task {
    let standing = Rc::clone(standing);
    Box::pin(async move {
        let lease = standing.lend().await?;
        assert!(standing.is_lock_free(), "the directory is the borrower's");
        tokio::task::yield_now().await;
        drop(lease);
        Ok(())
    })
}

/// What logs hold, by their bytes: most orders lead to one of few.
#[derive(Default)]
struct Logs(BTreeMap<Vec<Option<Vec<u8>>>, Vec<String>>);

impl Logs {
    fn stored(&mut self, disk: &MemoryDisk) -> &[String] {
        let log = Path::new(DATA_DIR).join("log");
        let bytes = disk.list(&log).unwrap().iter().map(|entry| disk.bytes(&entry.path)).collect();
        self.0.entry(bytes).or_insert_with(|| Place::stored(disk))
    }
}

/// Every order of `pushers`, a lender if wanted, and the drop of the last task if wanted, while the `nth` sync from now fails (0: none). Returns
/// how many orders there are.
fn every_order(image: &MemoryDisk, pushers: usize, lends: bool, may_drop: bool, nth: u64) -> u64 {
    let (mut walk, mut logs, mut orders) = (Walk::default(), Logs::default(), 0);
    loop {
        let place = on(image.image());
        if nth > 0 {
            place.disk.fail(Fault { operation: Operation::Sync, nth, error: io::ErrorKind::Other, sticky: false });
        }
        let mut tasks: Vec<Task> = lends.then(|| lender(&place.standing)).into_iter().collect();
        let first = tasks.len();
        tasks.extend((0..pushers).map(|number| pusher(&place.standing, format!("p{number}"))));
        let (mut acked, mut refused) = (Vec::new(), 0);
        poll_all(&mut walk, tasks, may_drop, |at, answer| match answer {
            Ok(()) if at >= first => acked.push((format!("p{}", at - first), place.disk.image_of_synced())),
            Ok(()) => {}
            Err(error) => {
                assert!(nth > 0 && error.code() == Code::Z303, "{error}");
                refused += 1;
            }
        });
        assert!(nth > 0 || may_drop || acked.len() == pushers, "everybody is answered");
        for (payload, cut) in &acked {
            let stored = logs.stored(cut);
            assert_eq!(stored.iter().filter(|other| *other == payload).count(), 1, "the power goes right after the answer: {stored:?}");
        }
        place.disk.heal();
        place.clock.0.set(place.clock.0.get() + REOPEN_AFTER_MS);
        poll_all(&mut Walk::default(), vec![pusher(&place.standing, "after".into())], false, |_, answer| answer.unwrap());
        let stored = logs.stored(&place.disk.image_of_synced());
        assert!(acked.iter().all(|(payload, _)| stored.contains(payload)) && stored.contains(&"after".to_owned()), "{refused} refused: {stored:?}");
        orders += 1;
        match walk.next() {
            Some(next) => walk = next,
            None => return orders,
        }
    }
}

#[test]
fn in_every_order_an_answer_means_durable_whichever_sync_fails() {
    let image = image();
    for nth in 0..=2 {
        assert!(every_order(&image, 2, false, false, nth) >= 20, "two who are polled three times each");
    }
    assert!(every_order(&image, 3, false, false, 1) > 1000);
}

#[test]
fn in_every_order_a_lease_or_a_task_that_is_dropped_holds_nobody_up() {
    let image = image();
    for nth in 0..=2 {
        assert!(every_order(&image, 2, true, false, nth) > 100);
        assert!(every_order(&image, 1, true, true, nth) > 10);
    }
}

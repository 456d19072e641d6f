//! Signatures of events that are held already: those we lost are taken again, no others.

use super::rotting::{Rotting, check_rotted};
use super::*;

/// Hold events 1 to `last`, signed at `signed` under key 1.
fn holding(history: &History, last: usize, signed: &[u64]) -> Rotting {
    let mut store = Rotting::default();
    let run = history.run(1, last);
    store.append(&history.main(), &run, Hlc(last as u64), &at(history, signed, 1)).unwrap();
    store
}

fn at(history: &History, seqs: &[u64], key_number: u64) -> Vec<Checkpointed> {
    let at = |seq: &u64| Checkpointed { position: history.position(*seq), checkpoint: history.checkpoint(*seq, key_number) };
    seqs.iter().map(at).collect()
}

/// Where we hold a checkpoint, and under which keys.
fn held(store: &dyn Store, stream: &Stream) -> Vec<(u64, u64)> {
    let all = store.checkpoints(stream, 1, 99).unwrap();
    all.iter().map(|held| (held.position.seq, held.checkpoint.key_number)).collect()
}

/// R6.5-a: what is held and signed nowhere behind is told to nobody: its signature comes again, and is taken.
#[test]
fn signatures_of_what_is_held_are_taken_again_where_they_are_missing() {
    for (lane, signed, range, also, refilled, want) in [
        // Behind the last that is held they are missed, up to our end and there too.
        (Lane::Routine, &[2][..], (1, 4), &[][..], 1, &[(2, 1), (4, 1)][..]),
        (Lane::Routine, &[2], (3, 8), &[4], 2, &[(2, 1), (4, 1), (8, 1)]),
        (Lane::Routine, &[], (1, 6), &[1, 3], 3, &[(1, 1), (3, 1), (6, 1)]),
        // Before it they are not: one further on says as much.
        (Lane::Routine, &[6], (1, 4), &[2], 0, &[(6, 1)]),
        (Lane::Routine, &[4], (1, 4), &[], 0, &[(4, 1)]),
        // In the control lanes each may be the only one whose key somebody knows.
        (Lane::Control, &[6], (1, 4), &[2], 2, &[(2, 1), (4, 1), (6, 1)]),
        (Lane::Control, &[4, 6], (1, 4), &[2], 1, &[(2, 1), (4, 1), (6, 1)]),
        (Lane::Control, &[4, 8], (1, 4), &[], 0, &[(4, 1), (8, 1)]),
        (Lane::Control, &[8], (1, 8), &[], 0, &[(8, 1)]),
    ] {
        let ours = History::new(lane);
        let mut store = holding(&ours, 8, signed);
        let range = ours.range(range, also);
        check(&mut store, &range, Applied { refilled, ..known(range.count() as u64) });
        assert_eq!(held(&store, &ours.main()), want, "{lane:?} signed at {signed:?}, {range:?} signed also at {also:?}");
    }
}

/// A control lane's event may be signed anew under a new key: both signatures are kept, each once.
#[test]
fn a_signature_under_another_key_is_another_signature() {
    let ours = History::new(Lane::Control);
    let mut store = holding(&ours, 8, &[4, 8]);
    check(&mut store, &ours.range_under(2, (1, 4), &[]), Applied { refilled: 1, ..known(4) });
    check(&mut store, &ours.range_under(2, (1, 4), &[]), known(4));
    assert_eq!(held(&store, &ours.main()), [(4, 1), (4, 2), (8, 1)]);
    let routine = History::new(Lane::Routine);
    let mut store = holding(&routine, 8, &[4, 8]);
    check(&mut store, &routine.range_under(2, (1, 4), &[]), known(4));
    assert_eq!(held(&store, &routine.main()), [(4, 1), (8, 1)]);
}

/// What rotted is taken again where it stood, also before others; what did not rot is not.
#[test]
fn a_signature_that_rotted_is_taken_again() {
    let ours = History::new(Lane::Routine);
    let mut store = holding(&ours, 8, &[2, 4, 8]);
    store.lose_checkpoint(&ours.main(), 4);
    check(&mut store, &ours.range((1, 4), &[2]), Applied { refilled: 1, ..known(4) });
    assert_eq!(held(&store, &ours.main()), [(2, 1), (4, 1), (8, 1)]);
    check(&mut store, &ours.range((1, 4), &[2]), known(4));
}

/// A signature is of one history: none is taken for a position that another history has there, nor for one that cannot be read now.
#[test]
fn a_signature_of_another_history_is_not_taken() {
    let ours = History::new(Lane::Control);
    let theirs = ours.parting(6, "clone");
    let mut store = holding(&ours, 8, &[]);
    check(&mut store, &theirs.range((3, 7), &[4]), Applied { refilled: 1, ..fork(ours.main(), 6, 3, 2) });
    assert_eq!(held(&store, &ours.main()), [(4, 1)]);
    assert_eq!(held(&store, &theirs.branch(6)), [(7, 1)]);
    // Of what two streams hold before they part, only the stream that holds it takes it.
    check(&mut store, &theirs.range((1, 7), &[2, 6]), Applied { refilled: 2, ..known(7) });
    assert_eq!(held(&store, &ours.main()), [(2, 1), (4, 1)]);
    assert_eq!(held(&store, &theirs.branch(6)), [(6, 1), (7, 1)]);
}

#[test]
fn what_cannot_be_read_before_it_is_mended_first() {
    let ours = History::new(Lane::Routine);
    let mut store = holding(&ours, 8, &[8]);
    store.lose(&ours.main(), 2..=3);
    store.lose_checkpoint(&ours.main(), 6);
    // Its place is behind what cannot be read, and the range does not bring that: it is not taken, and nothing fails.
    check_rotted(&mut store, &ours.range((5, 6), &[]), known(2), &[(2, 3)]);
    assert_eq!(held(&store, &ours.main()), [(8, 1)]);
    check_rotted(&mut store, &ours.range((1, 6), &[]), Applied { mended: 2, refilled: 1, ..known(6) }, &[]);
    assert_eq!(held(&store, &ours.main()), [(6, 1), (8, 1)]);
}

/// Those that stand behind what is new go with it, those before do not: they are of what is held.
#[test]
fn what_is_appended_is_signed_where_it_was() {
    let ours = History::new(Lane::Routine);
    let mut store = holding(&ours, 4, &[4]);
    check(&mut store, &ours.range((1, 8), &[2, 4, 5, 7]), append(ours.main(), 4, 4, 4));
    assert_eq!(held(&store, &ours.main()), [(4, 1), (5, 1), (7, 1), (8, 1)]);
}

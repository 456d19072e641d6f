//! Long work goes piece by piece, and others have their turn in between: nobody on another link waits for more than a piece. SPEC §7.3.

/// Bytes of codec 3 after which others have their turn: some milliseconds.
pub(super) const PIECE_LEN: usize = 2048;

/// `piece` after piece until one says that it was the last; how long they took by themselves, without what others did in between.
pub(super) async fn between_turns(now_ms: impl Fn() -> u64, mut piece: impl FnMut() -> bool) -> u64 {
    let mut busy_ms = 0;
    loop {
        let began_ms = now_ms();
        let done = piece();
        busy_ms += now_ms().saturating_sub(began_ms);
        if done {
            return busy_ms;
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::cell::Cell;

    /// `work`, and how often another who is always ready had its turn meanwhile.
    pub async fn turns_during<T>(work: impl Future<Output = T>) -> (T, usize) {
        let turns = Cell::new(0);
        let other = async {
            loop {
                turns.set(turns.get() + 1);
                tokio::task::yield_now().await;
            }
        };
        let done = tokio::select! {
            biased;
            done = work => done,
            () = other => unreachable!("it never ends"),
        };
        (done, turns.get())
    }

    #[tokio::test]
    async fn others_have_a_turn_after_each_piece_and_their_time_is_not_counted() {
        let (clock_ms, left) = (Cell::new(0), Cell::new(5));
        let piece = || {
            clock_ms.set(clock_ms.get() + 3);
            left.set(left.get() - 1);
            left.get() == 0
        };
        let (busy_ms, turns) = turns_during(between_turns(|| clock_ms.get(), piece)).await;
        assert_eq!((busy_ms, turns), (15, 4));
    }
}

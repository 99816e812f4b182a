//! The order in which a round takes its subjects: another one each time.
//!
//! Whoever comes first finds the caches cold, and whoever comes after a certain other finds what
//! that one has left behind. If the order were always the same, so would be what it does to the
//! ratios, and no number of rounds would show it.

/// `subjects` in their order in round number `round`. Of three, each is first once in three rounds;
/// the next three times they go backwards.
pub fn order<T>(subjects: impl IntoIterator<Item = T>, round: usize) -> Vec<T> {
    let mut subjects: Vec<T> = subjects.into_iter().collect();
    let count = subjects.len().max(1);
    subjects.rotate_left(round % count);
    if round / count % 2 == 1 {
        subjects.reverse();
    }
    subjects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_is_first_and_each_follows_every_other() {
        let orders: Vec<String> =
            (0..6).map(|round| order("abc".chars(), round).into_iter().collect()).collect();
        assert_eq!(orders, ["abc", "bca", "cab", "cba", "acb", "bac"]);
        assert_eq!(order([1], 7), [1]);
    }
}

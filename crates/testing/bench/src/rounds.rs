//! The order of subjects in a round, which differs from round to round.
//!
//! The first subject of a round has cold caches, and each later one is affected by the one before
//! it. A constant order would bias every ratio by the same amount, whatever the number of rounds.

/// `subjects` in the order of round number `round`: rotated by one in each round, and reversed
/// after as many rounds as there are subjects.
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

//! Statistics over the rounds of a benchmark: the median, the lowest and the highest sample.

use std::iter::zip;

/// The median, lowest and highest of several samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median: of an even number of samples, the mean of the two in the middle.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

impl Spread {
    /// The spread of `samples`.
    ///
    /// # Panics
    /// `samples` is empty.
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (first, last) = (sorted.first(), sorted.last());
        let (low, high) = first.zip(last).expect("a round was measured");
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Self { median, low: *low, high: *high }
    }

    /// The spread of the ratio of two subjects, taken within each round: what slows a whole round
    /// slows both and leaves the ratio unchanged.
    ///
    /// # Panics
    /// There are no rounds, or the two have different numbers of them.
    pub fn of_ratio(samples: &[f64], to: &[f64]) -> Self {
        assert_eq!(samples.len(), to.len(), "rounds come in pairs");
        let ratios: Vec<f64> = zip(samples, to).map(|(sample, to)| sample / to).collect();
        Self::of(&ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_between_the_lowest_and_the_highest() {
        let spread = Spread::of(&[3.0, 1.0, 10.0]);
        assert_eq!(spread, Spread { median: 3.0, low: 1.0, high: 10.0 });
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 9.0]).median, 3.0);
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        // The machine was three times as slow in the second round.
        let ratio = Spread::of_ratio(&[90.0, 30.0, 88.0], &[100.0, 30.0, 110.0]);
        assert_eq!(ratio, Spread { median: 0.9, low: 0.8, high: 1.0 });
    }
}

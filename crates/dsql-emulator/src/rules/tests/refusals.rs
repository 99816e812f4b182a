//! The table of refusals.

use super::*;
use crate::rules::refusals::{Evidence, REFUSALS, Refusal};

#[test]
fn each_row_refuses_its_example() {
    for row in REFUSALS {
        let expected = (row.code.to_owned(), row.message.to_owned());
        assert_eq!(refusal(row.example), expected, "{}", row.example);
    }
}

#[test]
fn no_row_is_hidden_by_an_earlier_one_of_its_place() {
    for (at, row) in REFUSALS.iter().enumerate() {
        let hides = |earlier: &&Refusal| {
            earlier.place == row.place
                && (row.words == earlier.words
                    || row.words.starts_with(&format!("{} ", earlier.words)))
        };
        let hidden = REFUSALS[..at].iter().find(hides);
        assert!(hidden.is_none(), "{row:?} is hidden by {hidden:?}");
    }
}

#[test]
fn a_recorded_refusal_is_among_the_probes() {
    let recorded: String = crate::probes::RECORDED.iter().map(|(_, json)| *json).collect();
    for row in REFUSALS.iter().filter(|row| row.evidence == Evidence::Recorded) {
        let message = serde_json::to_string(row.message).unwrap();
        assert!(recorded.contains(&message), "no probe has {message}");
    }
}

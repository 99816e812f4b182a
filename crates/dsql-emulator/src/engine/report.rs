//! The reports of the emulator's triggers, which arrive as notices and are removed from the answer.

use serde::Deserialize;

use super::{
    changes::Changes,
    footprint::{Class, Footprint},
};
use crate::{
    sql::text_of_bytea,
    wire::{DbError, Message, tag},
};

/// The message of a report; its detail is the JSON.
const MARK: &str = "dsql_emulator";

/// The effects of one statement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effect {
    pub(crate) footprint: Footprint,
    pub(crate) changes: Changes,
    /// Created indexes: oid and qualified name.
    pub(crate) indexes: Vec<(u32, String)>,
    /// Tables and indexes that were dropped.
    pub(crate) dropped: Vec<u32>,
    /// Statements that repeat the changes of settings by `set_config`.
    pub(crate) settings: Vec<String>,
    /// Whether CREATE INDEX without ASYNC is permitted from now on, if `set_config` has changed it.
    pub(crate) sync_index: Option<bool>,
    /// PostgreSQL's id of the transaction, if it has written rows.
    pub(crate) xid: Option<u64>,
}

/// Keys of rows in an index; null for a key with a null in it.
type Keys = (u32, Option<Vec<Option<String>>>);

#[derive(Debug, Deserialize)]
struct Report {
    /// The operation: `i`nsert, `u`pdate, `d`elete, `K` or `S` for a row locked in that class,
    /// `index`, `drop`, `setting`, `sync_index`.
    o: String,
    /// The table, or the created or dropped object.
    #[serde(default)]
    t: u32,
    /// The entries of a locked row: index and key.
    #[serde(default)]
    e: Vec<(u32, Option<String>)>,
    /// PostgreSQL's id of the transaction that writes.
    #[serde(default)]
    x: Option<u64>,
    /// How many rows. For `sync_index`: 1 if it is permitted.
    #[serde(default)]
    n: u64,
    /// How many bytes.
    #[serde(default)]
    b: u64,
    /// Inserted and deleted keys; those of the primary key come first, if there is one.
    #[serde(default)]
    k: Option<Vec<Keys>>,
    /// Primary keys of updated rows.
    #[serde(default)]
    w: Option<Vec<Option<String>>>,
    /// Keys that foreign keys reference.
    #[serde(default)]
    s: Option<Vec<Keys>>,
    /// Without a primary key: the rows that were added.
    #[serde(default)]
    a: Option<Vec<String>>,
    /// Without a primary key: the rows that were removed.
    #[serde(default)]
    r: Option<Vec<String>>,
    /// The name of an index, or the statement that sets a setting, as bytea.
    #[serde(default)]
    name: String,
}

impl Effect {
    /// Adds `message` if it is a report; returns whether it is one.
    pub(crate) fn take(&mut self, message: &Message) -> bool {
        if message.tag() != tag::NOTICE {
            return false;
        }
        let notice = DbError::read(message);
        if notice.message != MARK {
            return false;
        }
        match serde_json::from_str(notice.detail.as_deref().unwrap_or_default()) {
            Ok(report) => self.add(report),
            // The emulator's own triggers wrote it, so this is a defect.
            Err(error) => tracing::error!(%error, "the report of a trigger cannot be parsed"),
        }
        true
    }

    fn add(&mut self, report: Report) {
        match report.o.as_str() {
            "index" => return self.indexes.push((report.t, report.name)),
            "drop" => return self.dropped.push(report.t),
            "setting" => return self.settings.extend(text_of_bytea(&report.name)),
            "sync_index" => return self.sync_index = Some(report.n == 1),
            "K" => return self.lock(report.e, Class::Key),
            "S" => return self.lock(report.e, Class::Share),
            _ => {}
        }
        let table = report.t;
        self.xid = report.x.or(self.xid);
        let footprint = &mut self.footprint;
        footprint.wrote(table, report.n, report.b);
        let moved = report.k.unwrap_or_default();
        for (index, keys) in &moved {
            for key in keys.iter().flatten().flatten() {
                footprint.add(*index, key.as_str(), Class::Key);
            }
        }
        for (index, keys) in report.s.into_iter().flatten() {
            for key in keys.into_iter().flatten().flatten() {
                footprint.add(index, key, Class::Share);
            }
        }
        let (added, removed) = (report.a, report.r);
        if added.is_none() && removed.is_none() {
            // The table has a primary key, whose keys come first.
            let Some((primary, keys)) = moved.into_iter().next() else { return };
            self.changes.add(table, keys.into_iter().flatten().flatten());
            for key in report.w.into_iter().flatten().flatten() {
                footprint.add(primary, key.as_str(), Class::NonKey);
                self.changes.add(table, [key]);
            }
            return;
        }
        let deletes = report.o == "d";
        for image in removed.iter().flatten() {
            let class = if deletes { Class::Key } else { Class::NonKey };
            footprint.add(table, image.as_str(), class);
        }
        self.changes.replace(table, removed.unwrap_or_default(), added.unwrap_or_default());
    }

    /// Adds a row that was locked and not written.
    fn lock(&mut self, entries: Vec<(u32, Option<String>)>, class: Class) {
        for (relation, key) in entries {
            if let Some(key) = key {
                self.footprint.lock(relation, key, class);
            }
        }
    }

    /// Adds the reports among the messages of an answer.
    pub(crate) fn take_all(&mut self, answer: &[Message]) {
        for message in answer {
            self.take(message);
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.footprint.merge(other.footprint);
        self.changes.merge(other.changes);
        self.indexes.extend(other.indexes);
        self.dropped.extend(other.dropped);
        self.sync_index = other.sync_index.or(self.sync_index);
        self.xid = other.xid.or(self.xid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn effect(reports: &[&str]) -> Effect {
        let mut effect = Effect::default();
        for report in reports {
            let notice = wire::notice(&DbError::warning("00000", MARK).with_detail(*report));
            assert!(effect.take(&notice), "{report}");
        }
        effect
    }

    fn entries(effect: &Effect) -> Vec<(u32, String, Vec<Class>)> {
        let mut entries: Vec<_> = effect
            .footprint
            .entries()
            .map(|(entry, classes)| {
                (entry.relation, entry.key.to_string(), classes.iter().collect())
            })
            .collect();
        entries.sort_by_key(|(relation, key, _)| (*relation, key.clone()));
        entries
    }

    #[test]
    fn an_insert_accesses_its_keys_and_the_referenced_ones() {
        let effect = effect(&[
            r#"{"t":9,"o":"i","x":77,"n":2,"b":50,"k":[[1,["[1]","[2]"]],[2,["[\"x\"]",null]]],"s":[[5,["[7]",null]]],"a":null}"#,
        ]);
        assert_eq!(
            entries(&effect),
            [
                (1, "[1]".into(), vec![Class::Key]),
                (1, "[2]".into(), vec![Class::Key]),
                (2, "[\"x\"]".into(), vec![Class::Key]),
                (5, "[7]".into(), vec![Class::Share]),
            ]
        );
        assert_eq!((effect.footprint.rows, effect.footprint.bytes), (2, 50));
        assert_eq!(effect.xid, Some(77));
        assert_eq!(effect.changes.read_rows_argument(), r#"{"9":["[1]","[2]"]}"#);
    }

    #[test]
    fn an_update_accesses_its_rows_and_the_keys_that_it_changes() {
        let plain = effect(&[
            r#"{"t":9,"o":"u","n":1,"b":50,"k":[[1,null]],"w":["[1]"],"s":[[5,null]],"a":null,"r":null}"#,
        ]);
        assert_eq!(entries(&plain), [(1, "[1]".into(), vec![Class::NonKey])]);
        let moved = effect(&[
            r#"{"t":9,"o":"u","n":1,"b":50,"k":[[1,["[1]","[2]"]]],"w":["[2]"],"s":[],"a":null,"r":null}"#,
        ]);
        assert_eq!(
            entries(&moved),
            [
                (1, "[1]".into(), vec![Class::Key]),
                (1, "[2]".into(), vec![Class::Key, Class::NonKey]),
            ]
        );
        assert_eq!(moved.changes.read_rows_argument(), r#"{"9":["[1]","[2]"]}"#);
    }

    #[test]
    fn without_a_primary_key_the_content_is_the_key() {
        let effect = effect(&[
            r#"{"t":9,"o":"i","n":1,"b":5,"k":[],"s":[],"a":["(1)"]}"#,
            r#"{"t":9,"o":"u","n":1,"b":5,"k":null,"w":null,"s":[],"a":["(2)"],"r":["(1)"]}"#,
            r#"{"t":9,"o":"d","n":1,"k":[],"r":["(3)"]}"#,
        ]);
        assert_eq!(
            entries(&effect),
            [(9, "(1)".into(), vec![Class::NonKey]), (9, "(3)".into(), vec![Class::Key]),]
        );
        assert_eq!(effect.footprint.rows, 3);
    }

    #[test]
    fn other_notices_are_ignored() {
        let notice = wire::notice(&DbError::warning("00000", "table \"x\" does not exist"));
        assert!(!Effect::default().take(&notice));
        assert!(!Effect::default().take(&wire::sync()));
    }

    #[test]
    fn created_and_dropped_objects_are_reported() {
        let effect =
            effect(&[r#"{"o":"index","t":12,"name":"public.i"}"#, r#"{"o":"drop","t":13}"#]);
        assert_eq!(effect.indexes, [(12, "public.i".into())]);
        assert_eq!(effect.dropped, [13]);
        assert!(effect.footprint.is_empty());
    }

    #[test]
    fn each_row_is_locked_in_its_own_class() {
        let effect =
            effect(&[r#"{"o":"S","e":[[1,"[1]"],[2,null]]}"#, r#"{"o":"K","e":[[3,"[1]"]]}"#]);
        assert_eq!(
            entries(&effect),
            [(1, "[1]".into(), vec![Class::Share]), (3, "[1]".into(), vec![Class::Key])]
        );
        assert_eq!((effect.footprint.rows, effect.footprint.bytes), (0, 6));
    }
}

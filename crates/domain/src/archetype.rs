//! Archetypes: the kinds of executions, and their numeric ids.

use std::fmt;

/// The numeric id of an archetype (temporal-persistence.md#archetype-ids).
///
/// An id is the FarmHash `Fingerprint32` of the archetype's fully qualified name,
/// `library.component`. The constants are the archetypes of Temporal 1.32. Other ids are valid too,
/// because servers may register archetypes of their own.
///
/// ```
/// use temporal_dsql_domain::ArchetypeId;
///
/// assert_eq!(ArchetypeId::from_name("scheduler.scheduler"), ArchetypeId::SCHEDULER);
/// assert_eq!(ArchetypeId::SCHEDULER.to_string(), "scheduler.scheduler");
/// assert_eq!(ArchetypeId(7).to_string(), "7");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchetypeId(pub u32);

impl ArchetypeId {
    /// No archetype. In a filter it means [`Self::WORKFLOW`] (requirements.md#req-5-1); in a row it is
    /// an error.
    pub const UNSPECIFIED: Self = Self(0);
    /// `workflow.workflow`: the only archetype whose current execution is in
    /// `current_executions` (requirements.md#req-2-1).
    pub const WORKFLOW: Self = Self(2_918_170_192);
    /// `scheduler.scheduler`.
    pub const SCHEDULER: Self = Self(403_648_407);
    /// `activity.activity`, the standalone activity.
    pub const ACTIVITY: Self = Self(3_332_429_922);
    /// `nexusoperation.operation`, the standalone Nexus operation.
    pub const NEXUS_OPERATION: Self = Self(131_748_067);

    /// The archetypes with a constant, and their fully qualified names.
    pub const NAMED: [(Self, &'static str); 4] = [
        (Self::WORKFLOW, "workflow.workflow"),
        (Self::SCHEDULER, "scheduler.scheduler"),
        (Self::ACTIVITY, "activity.activity"),
        (Self::NEXUS_OPERATION, "nexusoperation.operation"),
    ];

    /// The id of the archetype with the fully qualified name `library.component`.
    pub fn from_name(name: &str) -> Self {
        Self(farmhash::fingerprint32(name.as_bytes()))
    }

    /// The fully qualified name, if it is one of the constants.
    pub fn name(self) -> Option<&'static str> {
        Self::NAMED.iter().find(|(id, _)| *id == self).map(|(_, name)| *name)
    }
}

impl fmt::Display for ArchetypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None if *self == Self::UNSPECIFIED => f.write_str("unspecified"),
            None => self.0.fmt(f),
        }
    }
}

impl fmt::Debug for ArchetypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArchetypeId({} = {})", self.0, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_constant_is_the_fingerprint_of_its_name() {
        for (id, name) in ArchetypeId::NAMED {
            assert_eq!(ArchetypeId::from_name(name), id, "{name}");
            assert_eq!(id.name(), Some(name));
        }
    }

    #[test]
    fn the_hash_agrees_with_the_published_vectors() {
        // temporal-persistence.md#archetype-ids
        let vectors = [
            ("", 3_696_677_242),
            ("a", 1_016_544_589),
            ("nexusoperation.cancellation", 4_135_035_266),
            ("callback.callback", 4_052_090_371),
            ("workflow.update", 519_693_434),
            ("scheduler.generator", 545_946_520),
            ("scheduler.invoker", 2_628_858_954),
            ("scheduler.backfiller", 571_775_395),
            ("scheduler.eventlog", 3_354_203_524),
            ("core.vis", 2_662_156_547),
            ("tests.payloadStore", 3_968_769_152),
        ];
        for (name, id) in vectors {
            assert_eq!(ArchetypeId::from_name(name), ArchetypeId(id), "{name}");
        }
    }

    #[test]
    fn an_unknown_archetype_prints_its_number_and_zero_prints_unspecified() {
        assert_eq!(ArchetypeId(u32::MAX).to_string(), "4294967295");
        assert_eq!(ArchetypeId::UNSPECIFIED.to_string(), "unspecified");
        assert_eq!(
            format!("{:?}", ArchetypeId::ACTIVITY),
            "ArchetypeId(3332429922 = activity.activity)"
        );
    }
}

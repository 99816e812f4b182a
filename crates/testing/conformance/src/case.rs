//! The parameters that a scenario runs with.

use std::fmt;

use temporal_dsql_domain::{ArchetypeId, MapTable};

use crate::queue::Queue;

/// For what a scenario is played, once for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cases {
    /// Once.
    One,
    /// For workflows, for every archetype of Temporal 1.32 and for one that nobody knows: the
    /// largest id, as in Temporal's own suite.
    Archetypes,
    /// For every map of a run.
    Maps,
    /// For every task queue, and for two categories.
    Queues,
}

/// What a scenario is played for.
#[derive(Clone, Debug)]
pub enum Case {
    /// Nothing in particular.
    One,
    /// An archetype.
    Archetype(ArchetypeId),
    /// A map of a run.
    Map(MapTable),
    /// A task queue.
    Queue(Queue),
}

impl Cases {
    pub(crate) fn list(self) -> Vec<Case> {
        const ARCHETYPES: [ArchetypeId; 5] = [
            ArchetypeId::WORKFLOW,
            ArchetypeId::SCHEDULER,
            ArchetypeId::ACTIVITY,
            ArchetypeId::NEXUS_OPERATION,
            ArchetypeId(u32::MAX),
        ];
        match self {
            Self::One => vec![Case::One],
            Self::Archetypes => ARCHETYPES.map(Case::Archetype).into(),
            Self::Maps => MapTable::ALL.map(Case::Map).into(),
            Self::Queues => Queue::all().into_iter().map(Case::Queue).collect(),
        }
    }
}

impl fmt::Display for Case {
    /// As it follows the name of a scenario.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => Ok(()),
            Self::Archetype(archetype) => write!(f, "[{archetype}]"),
            Self::Map(map) => write!(f, "[{}]", map.table()),
            Self::Queue(queue) => write!(f, "[{queue}]"),
        }
    }
}

//! The parameters that a scenario runs with.

use std::fmt;

use temporal_dsql_domain::{ArchetypeId, MapTable, TaskQueueKind};

use crate::queue::Queue;

/// The parameter that a scenario runs for, once per value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cases {
    /// No parameter: the scenario runs once.
    One,
    /// Workflow, every other archetype of Temporal 1.32, and the largest archetype id, which is
    /// unknown, as in Temporal's own suite.
    Archetypes,
    /// Every map of a run.
    Maps,
    /// Every history task queue, and two categories.
    Queues,
    /// Normal and fair task queues of matching.
    Kinds,
}

/// The value of the parameter.
#[derive(Clone, Debug)]
pub enum Case {
    /// None.
    One,
    /// An archetype.
    Archetype(ArchetypeId),
    /// A map of a run.
    Map(MapTable),
    /// A history task queue.
    Queue(Queue),
    /// A kind of task queues of matching.
    Kind(TaskQueueKind),
}

impl Cases {
    pub(crate) fn list(self) -> Vec<Case> {
        match self {
            Self::One => vec![Case::One],
            Self::Archetypes => {
                let named = ArchetypeId::NAMED.into_iter().map(|(id, _)| id);
                named.chain([ArchetypeId(u32::MAX)]).map(Case::Archetype).collect()
            }
            Self::Maps => MapTable::ALL.map(Case::Map).into(),
            Self::Kinds => TaskQueueKind::ALL.map(Case::Kind).into(),
            Self::Queues => Queue::all().into_iter().map(Case::Queue).collect(),
        }
    }
}

impl fmt::Display for Case {
    /// The suffix of the scenario's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => Ok(()),
            Self::Archetype(archetype) => write!(f, "[{archetype}]"),
            Self::Map(map) => write!(f, "[{}]", map.table()),
            Self::Queue(queue) => write!(f, "[{queue}]"),
            Self::Kind(kind) => write!(f, "[{kind}]"),
        }
    }
}

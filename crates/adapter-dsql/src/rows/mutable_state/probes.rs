//! Statements that the combined forms are tried with ([`crate::forms`]): the texts that will be
//! used, for a shard that nobody has. They find no row and write none.

use temporal_dsql_domain::{
    ArchetypeId, BusinessId, CurrentExecutionsFilter, DataBlob, Encoding, ExecutionsRow,
    MapEntries, MapTable, NamespaceId, RunId, ShardId, Tasks,
};
use temporal_dsql_ports::{
    BufferedWrite, CurrentExecutionsRoute, ExecutionWrite, Locks, MapWrite, Removal, RunWrite,
    StoreError,
};
use uuid::Uuid;

use super::{delete, lock, write};
use crate::{fence::ShardGuard, statement::Statement};

/// Shards are counted from one.
pub(crate) const NO_SHARD: ShardId = ShardId(i32::MIN);

/// The texts that write and delete an execution, but the one for new runs: it would write, and has
/// no part that the others have not.
pub(crate) fn writes() -> Result<Vec<Statement>, StoreError> {
    let nothing = DataBlob::new([], Encoding::new("")?);
    let row = ExecutionsRow {
        shard_id: NO_SHARD,
        namespace_id: NamespaceId(Uuid::nil()),
        workflow_id: BusinessId::new("")?,
        run_id: RunId(Uuid::nil()),
        next_event_id: 0,
        last_write_version: 0,
        data: nothing.clone(),
        state: nothing,
        db_record_version: 0,
    };
    let delete = delete::statement(&row.filter());
    let mut update = ExecutionWrite {
        run: RunWrite::Update(row),
        current: None,
        maps: Vec::new(),
        buffered: BufferedWrite::default(),
        tasks: Tasks::default(),
    };
    let by_keys = write::statement(&update, None)?;
    let replace = MapEntries::none(MapTable::Activities);
    update.maps.push(MapWrite { remove: Removal::Others, replace });
    Ok(vec![by_keys, write::statement(&update, None)?, delete])
}

/// The texts that take locks.
pub(crate) fn locks(guard: ShardGuard) -> Result<Vec<Statement>, StoreError> {
    let filter = CurrentExecutionsFilter {
        shard_id: NO_SHARD,
        namespace_id: NamespaceId(Uuid::nil()),
        workflow_id: BusinessId::new("")?,
        archetype_id: ArchetypeId::UNSPECIFIED,
    };
    let routes = [
        None,
        Some(CurrentExecutionsRoute::CurrentExecutions),
        Some(CurrentExecutionsRoute::CurrentChasmExecutions {
            archetype_id: ArchetypeId::UNSPECIFIED,
        }),
    ];
    let locks = routes.into_iter().filter_map(|route| {
        let current = route.map(|_| filter.clone());
        lock::statement(&Locks { shard_id: NO_SHARD, current, runs: Vec::new() }, route, guard)
    });
    Ok(locks.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combined_text_is_tried_but_the_one_that_would_write() {
        let mut tried: Vec<_> = writes().unwrap().iter().map(|probe| probe.meta.sql).collect();
        for guard in [ShardGuard::ForUpdate, ShardGuard::ForKeyShare] {
            tried.extend(locks(guard).unwrap().iter().map(|probe| probe.meta.sql));
        }
        let untried: Vec<_> = super::super::statements()
            .filter(|meta| !tried.contains(&meta.sql))
            .map(|meta| meta.op)
            .collect();
        assert_eq!(untried, ["SelectMutableState", "WriteNewExecution"]);
    }
}

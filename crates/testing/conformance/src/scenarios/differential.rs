//! Random operations of every store, on the adapter and on the memory adapter with the same rows:
//! all results and the rows at the end are the same.
//!
//! The operations use few shards, ids, runs and branches, so that they affect the same rows, and
//! most of them fit the stored rows, so that they succeed. The others are invalid or unusual:
//! inconsistent requests, missing or existing rows, wrong range ids and versions, extreme numbers,
//! values and keys of the maximum size and one byte more, empty lists, and rows that a deletion has
//! left without their run. Operations are not concurrent, and none is larger than a transaction may
//! be, because stock PostgreSQL has no such limit.

mod generator;
mod operation;
mod requests;
mod rows;

use std::sync::Arc;

use temporal_dsql_memory::MemoryStore;

use self::generator::Generator;
use crate::{
    context::{TestContext, owned_shard::SharedStore},
    scenario::scenario_table,
};

scenario_table! { "differential":
    random_operations_have_the_results_of_the_memory_adapter;
}

/// The number of operations. Each takes a few round trips.
const OPERATIONS: usize = 300;
/// The rows are compared after so many operations.
const COMPARE_EVERY: usize = 100;

async fn random_operations_have_the_results_of_the_memory_adapter(ctx: &TestContext) {
    let seed = ctx.random(|random| random.u64(..));
    let memory = MemoryStore::builder().seed(seed).build();
    let model: SharedStore = Arc::new(memory.clone());
    let store = SharedStore::clone(&ctx.store);
    let mut generator = Generator::new(seed, SharedStore::clone(&model));
    let mut succeeded = 0;
    for number in 1..=OPERATIONS {
        let operation = generator.next_operation().await;
        let expected = operation.execute(&model).await;
        let result = operation.execute(&store).await;
        assert!(
            result == expected,
            "seed {seed}, operation {number} of {OPERATIONS}: {result:?}, but the memory adapter returns \
             {expected:?} to {operation:?}"
        );
        succeeded += usize::from(result.is_ok());
        if number % COMPARE_EVERY == 0 {
            rows::assert_same(ctx, &memory, &format!("seed {seed}, after operation {number}"))
                .await;
        }
    }
    assert!(
        succeeded > OPERATIONS / 4,
        "seed {seed}: only {succeeded} of {OPERATIONS} operations succeed"
    );
}

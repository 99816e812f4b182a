//! Random acts of every store, on the adapter and on the memory adapter with the same rows: every
//! answer is the same, and so are the rows that are left.
//!
//! The acts are drawn from few shards, ids, runs and branches, so that they meet, and most of them
//! fit what is stored, so that they succeed. The others are odd: parts that do not belong
//! together, rows that are missing or exist, wrong range ids and versions, numbers at the ends of
//! their ranges, values and keys of the largest size and one more, empty lists, and rows that
//! nobody's run has left. No two acts run at the same time, and no act is larger than a
//! transaction may be: stock PostgreSQL has no such limit.

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

/// How many acts are done. Each is a few round trips.
const OPERATIONS: usize = 300;
/// After how many acts the rows are compared, too.
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
            "seed {seed}, act {number} of {OPERATIONS}: {result:?}, but the memory adapter answers \
             {expected:?} to {operation:?}"
        );
        succeeded += usize::from(result.is_ok());
        if number % COMPARE_EVERY == 0 {
            rows::assert_same(ctx, &memory, &format!("seed {seed}, after act {number}")).await;
        }
    }
    assert!(
        succeeded > OPERATIONS / 4,
        "seed {seed}: only {succeeded} of {OPERATIONS} acts succeed"
    );
}

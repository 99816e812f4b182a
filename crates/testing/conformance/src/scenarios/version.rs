//! The schema version that a store reports (requirements.md#req-1-5) and the check at startup.

use temporal_dsql_domain::VERSION;
use temporal_dsql_ports::{IncompatibleSchema, verify_compatible_version};

use crate::{context::TestContext, scenario::scenario_table};

scenario_table! { "version":
    the_store_reports_the_version_of_this_release
        = "version_tests.go/TestVerifyCompatibleVersion", "requirements.md#req-1-5";
    an_unknown_logical_name_has_no_version = "version_tests.go/TestVerifyCompatibleVersion";
}

async fn the_store_reports_the_version_of_this_release(ctx: &TestContext) {
    let recorded = ctx.store.schema_version("postgres").await.unwrap().unwrap();
    assert_eq!(recorded.current, VERSION);
    assert!(recorded.min_compatible <= VERSION, "{recorded:?}");
    assert_eq!(verify_compatible_version(&*ctx.store, "postgres").await.unwrap(), VERSION);
}

async fn an_unknown_logical_name_has_no_version(ctx: &TestContext) {
    assert_eq!(ctx.store.schema_version("nowhere").await.unwrap(), None);
    let error = verify_compatible_version(&*ctx.store, "nowhere").await.unwrap_err();
    assert!(
        matches!(&error, IncompatibleSchema::Missing { database } if database == "nowhere"),
        "{error}"
    );
    assert!(error.to_string().contains("setup-schema"), "{error}");
}

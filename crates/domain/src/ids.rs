//! Numeric and UUID ids, each a type of its own.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::InvalidValue;

/// A history shard: the first column of every key in the execution family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub i32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The smallest id, at which the first page of a list begins.
            pub const MIN: Self = Self(Uuid::nil());

            /// The id after this one in the order of ids; `None` after the largest.
            pub fn next(self) -> Option<Self> {
                self.0.as_u128().checked_add(1).map(|next| Self(Uuid::from_u128(next)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                text.parse().map(Self).map_err(|error| {
                    InvalidValue::new($field, format!("`{text}` is not a UUID: {error}"))
                })
            }
        }
    };
}

uuid_id! {
    /// A namespace. Its [`Display`](fmt::Display) is the hyphenated string form that DSQL and the
    /// Go server exchange (requirements.md#req-3-4).
    NamespaceId, "namespace_id"
}

uuid_id! {
    /// One run of an execution. Unique across archetypes (temporal-persistence.md#routing).
    RunId, "run_id"
}

uuid_id! {
    /// A history tree: all branches of one run's history.
    TreeId, "tree_id"
}

uuid_id! {
    /// A branch of a history tree.
    BranchId, "branch_id"
}

uuid_id! {
    /// A task queue: a hash of its id in upstream's tables
    /// ([`TaskQueueKey`](crate::TaskQueueKey)).
    TaskQueueId, "task_queue_id"
}

uuid_id! {
    /// A process of the service, in its cluster's membership.
    HostId, "host_id"
}

uuid_id! {
    /// A Nexus endpoint.
    NexusEndpointId, "id"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_id_prints_the_hyphenated_form_and_parses_it_back() {
        let text = "01a20632-c72c-759f-9d04-cfcdf4e443e1";
        let id: RunId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(format!("{id:?}"), format!("RunId({text})"));
    }

    #[test]
    fn the_next_id_is_the_smallest_that_is_greater() {
        let id = RunId(Uuid::from_u128(0xff));
        assert_eq!(id.next(), Some(RunId(Uuid::from_u128(0x100))));
        assert_eq!(RunId::MIN.next(), Some(RunId(Uuid::from_u128(1))));
        assert_eq!(RunId(Uuid::max()).next(), None);
    }

    #[test]
    fn a_malformed_uuid_is_refused_by_the_name_of_its_field() {
        let error = "not-a-uuid".parse::<NamespaceId>().unwrap_err();
        assert_eq!(error.field, "namespace_id");
        assert!(error.reason.contains("`not-a-uuid` is not a UUID"), "{error}");
    }
}

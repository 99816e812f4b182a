//! Strings with the maximum length of their column.
//!
//! DSQL and PostgreSQL refuse a string that is longer than its `VARCHAR(n)` (SQLSTATE `22001`) and a
//! string with a NUL character (`22021`), but only after a round trip and without the name of the
//! field. These types refuse both before anything is sent.

use std::{
    fmt,
    ops::{Deref, RangeInclusive},
    str::FromStr,
    sync::Arc,
};

use crate::InvalidValue;

fn checked(
    field: &'static str,
    length: RangeInclusive<usize>,
    text: &str,
) -> Result<Arc<str>, InvalidValue> {
    let has_nul = text.contains('\0');
    InvalidValue::unless(!has_nul, field, || "contains a NUL character, which text cannot hold")?;
    let (min, max) = (*length.start(), *length.end());
    let characters = text.chars().count();
    InvalidValue::unless(characters >= min, field, || "is empty")?;
    InvalidValue::unless(characters <= max, field, || {
        format!("is {characters} characters long; at most {max} are allowed")
    })?;
    Ok(text.into())
}

macro_rules! column_text {
    ($(#[$doc:meta])* $name:ident, $field:literal, $min:literal..=$max:literal) => {
        $(#[$doc])*
        ///
        /// Cloning shares the text.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The minimum number of characters.
            pub const MIN_CHARS: usize = $min;
            /// The maximum number of characters (Unicode scalar values).
            pub const MAX_CHARS: usize = $max;

            /// Checks the text.
            ///
            /// # Errors
            /// Fewer than [`MIN_CHARS`](Self::MIN_CHARS) or more than
            /// [`MAX_CHARS`](Self::MAX_CHARS) characters, or a NUL character.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidValue> {
                checked($field, $min..=$max, text.as_ref()).map(Self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidValue;

            fn try_from(text: String) -> Result<Self, InvalidValue> {
                Self::new(text)
            }
        }
    };
}

column_text! {
    /// The user-meaningful id of an execution: 1 to 255 characters, unique among the open executions
    /// of one archetype in a namespace.
    ///
    /// `current_executions` calls it `workflow_id`, `current_chasm_executions` calls it
    /// `business_id` (requirements.md#req-2-5); it is the same value, so [`WorkflowId`] is the same
    /// type.
    BusinessId, "workflow_id", 1..=255
}

/// The name of [`BusinessId`] for workflows.
pub type WorkflowId = BusinessId;

column_text! {
    /// The id of the request that created an execution: at most 255 characters.
    RequestId, "create_request_id", 0..=255
}

column_text! {
    /// The id of a timer in its execution: at most 255 characters.
    TimerId, "timer_id", 0..=255
}

column_text! {
    /// The id of a signal request: at most 255 characters.
    SignalId, "signal_id", 0..=255
}

column_text! {
    /// The path of a node in an execution's component tree: at most 1,536 characters, as in upstream's
    /// schemas, and empty for the root. The column of this schema holds 255
    /// (temporal-persistence.md#chasm-nodes). A database may have a wider one, so the store decides.
    ChasmPath, "chasm_path", 0..=1536
}

column_text! {
    /// The name of a namespace: 1 to 255 characters, unique among all namespaces.
    NamespaceName, "name", 1..=255
}

column_text! {
    /// The name of a cluster: at most 255 characters.
    ClusterName, "cluster_name", 0..=255
}

column_text! {
    /// The address at which the other processes reach a process of the service, without the port: at
    /// most 128 characters.
    RpcAddress, "rpc_address", 0..=128
}

column_text! {
    /// The name of a queue of `queues`: 1 to 255 characters.
    QueueName, "queue_name", 1..=255
}

column_text! {
    /// The name of a task queue, with the number of its partition: 1 to 255 characters.
    TaskQueueName, "task_queue_name", 1..=255
}

column_text! {
    /// The build id of a worker: at most 255 characters.
    BuildId, "build_id", 0..=255
}

column_text! {
    /// How a blob is encoded, by the name of Temporal's enum value (`Proto3`, `Json`): at most 16
    /// characters. Empty where the blob is absent.
    Encoding, "data_encoding", 0..=16
}

impl Encoding {
    /// `Proto3`, the encoding of Temporal's servers.
    pub fn proto3() -> Self {
        Self("Proto3".into())
    }

    /// Whether it is the name of an encoding of Temporal 1.32.
    pub fn is_known(&self) -> bool {
        ["Unspecified", "Proto3", "Json"].contains(&self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_id_has_255_characters_of_any_size() {
        for character in ["a", "é", "転", "🦀"] {
            assert!(BusinessId::new(character.repeat(255)).is_ok(), "{character}");
            let error = BusinessId::new(character.repeat(256)).unwrap_err();
            assert_eq!(
                error.to_string(),
                "workflow_id: is 256 characters long; at most 255 are allowed"
            );
        }
    }

    #[test]
    fn an_empty_workflow_id_is_refused_by_every_constructor() {
        for refused in [BusinessId::new(""), "".parse(), String::new().try_into()] {
            assert_eq!(refused.unwrap_err().to_string(), "workflow_id: is empty");
        }
        assert!(BusinessId::new(" ").is_ok());
        assert!(ChasmPath::new("").is_ok(), "the root");
    }

    #[test]
    fn a_nul_character_is_refused() {
        let error = RequestId::new("a\0b").unwrap_err();
        assert_eq!(error.field, "create_request_id");
        assert!(error.reason.contains("NUL"), "{error}");
    }

    #[test]
    fn an_encoding_is_at_most_16_characters() {
        assert!(Encoding::new("Proto3").is_ok());
        assert!(Encoding::new("").is_ok());
        assert_eq!(Encoding::new("x".repeat(17)).unwrap_err().field, "data_encoding");
    }

    #[test]
    fn a_workflow_id_and_a_business_id_are_the_same_value() {
        let workflow: WorkflowId = "order-é-転".parse().unwrap();
        let business: BusinessId = workflow.clone();
        assert_eq!(workflow, business);
        assert_eq!(business.as_str(), "order-é-転");
    }
}

//! History branches, and their serialization as branch tokens and in `history_tree`.
//!
//! A branch has its own nodes from its begin node on, and shares the nodes before it with its
//! ancestors. Temporal stores a branch as a protobuf message in `history_tree.data`, and callers
//! identify it by a branch token (`persistence/v1/history_tree.proto`).

use prost::Message;

use crate::{
    BranchId, BranchKey, DataBlob, Encoding, ExecutionsFilter, InvalidValue, ShardId, Timestamp,
    TreeId,
};

/// The id of the first node of every history.
pub const FIRST_NODE_ID: i64 = 1;

/// A range of nodes of a branch, from `begin_node_id`, inclusive, to `end_node_id`, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchRange {
    /// The branch of the nodes.
    pub branch_id: BranchId,
    /// The first node.
    pub begin_node_id: i64,
    /// The first node after the range.
    pub end_node_id: i64,
}

/// A branch of a history tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryBranch {
    /// The tree.
    pub tree_id: TreeId,
    /// The branch.
    pub branch_id: BranchId,
    /// The ranges of its ancestors, in the order of their nodes.
    pub ancestors: Vec<BranchRange>,
}

/// A branch with the record of its creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryTreeInfo {
    /// The branch.
    pub branch: HistoryBranch,
    /// The time of its creation.
    pub fork_time: Timestamp,
    /// The run of the branch, in the format of [`info_of`](Self::info_of).
    pub info: String,
}

impl HistoryBranch {
    /// A branch without ancestors.
    pub const fn root(tree_id: TreeId, branch_id: BranchId) -> Self {
        Self { tree_id, branch_id, ancestors: Vec::new() }
    }

    /// The key of the branch's own rows.
    pub const fn key(&self, shard_id: ShardId) -> BranchKey {
        BranchKey { shard_id, tree_id: self.tree_id, branch_id: self.branch_id }
    }

    /// The first of the branch's own nodes.
    pub fn begin_node_id(&self) -> i64 {
        self.ancestors.last().map_or(FIRST_NODE_ID, |range| range.end_node_id)
    }

    /// All ranges of the branch in the order of their nodes. Its own range ends at `end_node_id`.
    pub fn ranges(&self, end_node_id: i64) -> Vec<BranchRange> {
        let own = BranchRange {
            branch_id: self.branch_id,
            begin_node_id: self.begin_node_id(),
            end_node_id,
        };
        self.ancestors.iter().copied().chain([own]).collect()
    }

    /// The branch `branch_id` that is forked from this one at `fork_node_id`: it shares the nodes before
    /// that node.
    ///
    /// # Errors
    /// A branch cannot be forked before its first node.
    pub fn fork(&self, fork_node_id: i64, branch_id: BranchId) -> Result<Self, InvalidValue> {
        InvalidValue::unless(fork_node_id > FIRST_NODE_ID, "fork_node_id", || {
            format!("is {fork_node_id}; it must be larger than {FIRST_NODE_ID}")
        })?;
        let ancestors = self
            .ranges(fork_node_id)
            .into_iter()
            .take_while(|range| range.begin_node_id < fork_node_id)
            .map(|range| BranchRange { end_node_id: range.end_node_id.min(fork_node_id), ..range })
            .collect();
        Ok(Self { tree_id: self.tree_id, branch_id, ancestors })
    }

    /// The branch as Temporal's branch token.
    pub fn to_token(&self) -> Vec<u8> {
        proto::HistoryBranch::from(self).encode_to_vec()
    }

    /// Decodes a branch token.
    ///
    /// # Errors
    /// The bytes are not a branch token.
    pub fn from_token(token: &[u8]) -> Result<Self, InvalidValue> {
        let message = proto::HistoryBranch::decode(token)
            .map_err(|error| InvalidValue::new("branch_token", error.to_string()))?;
        Self::try_from(message)
    }
}

impl HistoryTreeInfo {
    /// The run of a branch in Temporal's format: `namespace:workflow:run`.
    pub fn info_of(run: &ExecutionsFilter) -> String {
        format!("{}:{}:{}", run.namespace_id, run.workflow_id, run.run_id)
    }

    /// The run of the branch, in `shard_id`; `None` if `info` has another format. A workflow id may
    /// contain colons.
    pub fn run(&self, shard_id: ShardId) -> Option<ExecutionsFilter> {
        let (namespace_id, rest) = self.info.split_once(':')?;
        let (workflow_id, run_id) = rest.rsplit_once(':')?;
        Some(ExecutionsFilter {
            shard_id,
            namespace_id: namespace_id.parse().ok()?,
            workflow_id: workflow_id.parse().ok()?,
            run_id: run_id.parse().ok()?,
        })
    }

    /// Encodes the value of `history_tree.data`.
    pub fn to_blob(&self) -> DataBlob {
        let micros = self.fork_time.unix_micros();
        let nanos = micros.rem_euclid(1_000_000) * 1_000;
        let message = proto::HistoryTreeInfo {
            branch_info: Some((&self.branch).into()),
            fork_time: Some(proto::Timestamp {
                seconds: micros.div_euclid(1_000_000),
                nanos: i32::try_from(nanos).expect("less than a second"),
            }),
            info: self.info.clone(),
            branch_token: self.branch.to_token(),
        };
        let proto3 = Encoding::new("Proto3").expect("shorter than the column");
        DataBlob::new(message.encode_to_vec(), proto3)
    }

    /// Decodes the value of `history_tree.data`.
    ///
    /// # Errors
    /// The encoding is not `Proto3`, or the bytes are not such a message.
    pub fn from_blob(blob: &DataBlob) -> Result<Self, InvalidValue> {
        let invalid = |reason: String| InvalidValue::new("history_tree.data", reason);
        if blob.encoding.as_str() != "Proto3" {
            return Err(invalid(format!("is encoded as `{}`, not Proto3", blob.encoding)));
        }
        let message = proto::HistoryTreeInfo::decode(&*blob.data)
            .map_err(|error| invalid(error.to_string()))?;
        let branch = match message.branch_info {
            Some(branch) => branch.try_into()?,
            None if message.branch_token.is_empty() => {
                return Err(invalid("has no branch".into()));
            }
            None => HistoryBranch::from_token(&message.branch_token)?,
        };
        let fork_time = match message.fork_time {
            Some(time) => Timestamp::from_unix_nanos(
                i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos),
            )?,
            None => Timestamp::UNIX_EPOCH,
        };
        Ok(Self { branch, fork_time, info: message.info })
    }
}

impl TryFrom<proto::HistoryBranch> for HistoryBranch {
    type Error = InvalidValue;

    fn try_from(message: proto::HistoryBranch) -> Result<Self, InvalidValue> {
        let ancestor = |range: proto::HistoryBranchRange| {
            Ok(BranchRange {
                branch_id: range.branch_id.parse()?,
                begin_node_id: range.begin_node_id,
                end_node_id: range.end_node_id,
            })
        };
        let mut ancestors = message
            .ancestors
            .into_iter()
            .map(ancestor)
            .collect::<Result<Vec<_>, InvalidValue>>()?;
        ancestors.sort_by_key(|range| range.begin_node_id);
        Ok(Self {
            tree_id: message.tree_id.parse()?,
            branch_id: message.branch_id.parse()?,
            ancestors,
        })
    }
}

/// Temporal's messages (`persistence/v1/history_tree.proto`).
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct HistoryTreeInfo {
        #[prost(message, optional, tag = "1")]
        pub branch_info: Option<HistoryBranch>,
        #[prost(message, optional, tag = "2")]
        pub fork_time: Option<Timestamp>,
        #[prost(string, tag = "3")]
        pub info: String,
        /// The branch token.
        #[prost(bytes = "vec", tag = "4")]
        pub branch_token: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct HistoryBranch {
        #[prost(string, tag = "1")]
        pub tree_id: String,
        #[prost(string, tag = "2")]
        pub branch_id: String,
        #[prost(message, repeated, tag = "3")]
        pub ancestors: Vec<HistoryBranchRange>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct HistoryBranchRange {
        #[prost(string, tag = "1")]
        pub branch_id: String,
        #[prost(int64, tag = "2")]
        pub begin_node_id: i64,
        #[prost(int64, tag = "3")]
        pub end_node_id: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct Timestamp {
        #[prost(int64, tag = "1")]
        pub seconds: i64,
        #[prost(int32, tag = "2")]
        pub nanos: i32,
    }

    impl From<&super::HistoryBranch> for HistoryBranch {
        fn from(branch: &super::HistoryBranch) -> Self {
            Self {
                tree_id: branch.tree_id.to_string(),
                branch_id: branch.branch_id.to_string(),
                ancestors: branch
                    .ancestors
                    .iter()
                    .map(|range| HistoryBranchRange {
                        branch_id: range.branch_id.to_string(),
                        begin_node_id: range.begin_node_id,
                        end_node_id: range.end_node_id,
                    })
                    .collect(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const fn branch_id(number: u128) -> BranchId {
        BranchId(Uuid::from_u128(number))
    }

    fn root() -> HistoryBranch {
        HistoryBranch::root(TreeId(Uuid::from_u128(7)), branch_id(1))
    }

    const fn range(number: u128, begin_node_id: i64, end_node_id: i64) -> BranchRange {
        BranchRange { branch_id: branch_id(number), begin_node_id, end_node_id }
    }

    /// The cases that Temporal documents for forking (`sql/history_store.go`).
    #[test]
    fn a_fork_has_the_nodes_of_its_parent_up_to_the_fork() {
        let second = root().fork(6, branch_id(2)).unwrap();
        assert_eq!(second.ancestors, [range(1, 1, 6)]);
        assert_eq!(second.begin_node_id(), 6);
        // A fork before the second branch's own nodes: the second branch is not an ancestor.
        let third = second.fork(6, branch_id(3)).unwrap();
        assert_eq!(third.ancestors, [range(1, 1, 6)]);
        let early = second.fork(3, branch_id(3)).unwrap();
        assert_eq!(early.ancestors, [range(1, 1, 3)]);
        // A fork after some of them: it is an ancestor.
        let third = second.fork(8, branch_id(3)).unwrap();
        assert_eq!(third.ancestors, [range(1, 1, 6), range(2, 6, 8)]);
        let fourth = third.fork(7, branch_id(4)).unwrap();
        assert_eq!(fourth.ancestors, [range(1, 1, 6), range(2, 6, 7)]);
    }

    #[test]
    fn a_branch_cannot_be_forked_before_its_first_node() {
        for node in [i64::MIN, 0, 1] {
            assert_eq!(root().fork(node, branch_id(2)).unwrap_err().field, "fork_node_id");
        }
    }

    #[test]
    fn a_branch_is_decoded_from_its_token_and_its_blob() {
        let branch = root().fork(6, branch_id(2)).unwrap().fork(8, branch_id(3)).unwrap();
        assert_eq!(HistoryBranch::from_token(&branch.to_token()).unwrap(), branch);
        let info = HistoryTreeInfo {
            branch,
            fork_time: "2026-11-23T02:18:41.818082Z".parse().unwrap(),
            info: "namespace:workflow:run".into(),
        };
        assert_eq!(HistoryTreeInfo::from_blob(&info.to_blob()).unwrap(), info);
    }

    #[test]
    fn the_run_of_a_branch_is_read_from_its_record() {
        let info = |info: &str| HistoryTreeInfo {
            branch: root(),
            fork_time: Timestamp::UNIX_EPOCH,
            info: info.into(),
        };
        let (namespace, run) =
            ("32049b68-7872-4094-8e63-d0dd59896a83", "01a20632-c72c-759f-9d04-cfcdf4e443e1");
        for workflow in ["w", "a:b::c", ":", "転"] {
            let text = format!("{namespace}:{workflow}:{run}");
            let found = info(&text).run(ShardId(3)).unwrap();
            assert_eq!((found.shard_id, found.workflow_id.as_str()), (ShardId(3), workflow));
            assert_eq!(HistoryTreeInfo::info_of(&found), text);
        }
        let other_formats = [
            String::new(),
            "a scenario".into(),
            format!("{namespace}:{run}"),
            format!("{namespace}::{run}"),
            format!("{namespace}:w:"),
            format!("{namespace}:w:{run}:"),
            format!("{namespace}:w:{}", "w".repeat(36)),
            format!("namespace:w:{run}"),
        ];
        for text in other_formats {
            assert_eq!(info(&text).run(ShardId(3)), None, "{text}");
        }
    }

    #[test]
    fn bytes_that_are_not_a_branch_are_refused() {
        assert_eq!(HistoryBranch::from_token(b"\xff").unwrap_err().field, "branch_token");
        let blob = |encoding| DataBlob::new(*b"{}", Encoding::new(encoding).unwrap());
        assert!(HistoryTreeInfo::from_blob(&blob("Json")).is_err());
        assert!(HistoryTreeInfo::from_blob(&blob("Proto3")).is_err());
    }
}

//! Page tokens of history reads, and their serialization.

use bytes::{Buf, BufMut};
use temporal_dsql_domain::{InvalidValue, NodeOrder, NodePosition};

use super::ReadHistory;
#[cfg(doc)]
use crate::page::PageKey;
use crate::page::{KeyFields, fnv1a, invalid};

/// The position where a page of a history ended. Callers pass it back to read the next page.
///
/// A token is valid for the same direction, shard, branch, and first and last node. The page size may
/// change. It is serialized as every [`PageKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageToken {
    order: NodeOrder,
    /// The fingerprint of the request.
    fingerprint: u64,
    /// The index of the current range of the branch, in the order of the read.
    pub(super) range: u32,
    /// The last node that was read in it.
    pub(super) after: Option<NodePosition>,
    /// The last valid node. Its transaction is, forwards, its own; backwards, the one of the next
    /// node, or [`NO_TRANSACTION`](super::trim::NO_TRANSACTION) if it is not known.
    pub(super) valid: NodePosition,
}

const ORDERS: [NodeOrder; 2] = [NodeOrder::Forward, NodeOrder::Reverse];

impl PageToken {
    /// The token of the first page of `request`, which begins after a valid node at `valid`.
    pub(super) fn first(request: &ReadHistory, order: NodeOrder, valid: NodePosition) -> Self {
        Self { order, fingerprint: fingerprint(request), range: 0, after: None, valid }
    }

    /// Checks that the token is of a page of `request` in this order.
    pub(super) fn check(
        &self,
        request: &ReadHistory,
        order: NodeOrder,
    ) -> Result<(), InvalidValue> {
        if self.order != order {
            return Err(invalid("comes from a read in the other direction"));
        }
        if self.fingerprint != fingerprint(request) {
            return Err(invalid("comes from a read of another branch, or of other nodes of it"));
        }
        Ok(())
    }
}

impl KeyFields for PageToken {
    /// The fingerprint of the request is the name of the list.
    const LIST: &'static str = "";

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.put_u8(u8::from(self.order == NodeOrder::Reverse));
        bytes.put_u64(self.fingerprint);
        bytes.put_u32(self.range);
        bytes.put_u8(u8::from(self.after.is_some()));
        let none = NodePosition { node_id: 0, txn_id: 0 };
        for position in [self.after.unwrap_or(none), self.valid] {
            bytes.put_i64(position.node_id);
            bytes.put_i64(position.txn_id);
        }
    }

    fn get(bytes: &mut &[u8]) -> Option<Self> {
        let order = *ORDERS.get(usize::from(bytes.try_get_u8().ok()?))?;
        let fingerprint = bytes.try_get_u64().ok()?;
        let range = bytes.try_get_u32().ok()?;
        let has_after = bytes.try_get_u8().ok()? == 1;
        let mut position = || {
            let node_id = bytes.try_get_i64().ok()?;
            Some(NodePosition { node_id, txn_id: bytes.try_get_i64().ok()? })
        };
        let (after, valid) = (position()?, position()?);
        Some(Self { order, fingerprint, range, after: has_after.then_some(after), valid })
    }
}

/// A hash of the request without the page size.
fn fingerprint(request: &ReadHistory) -> u64 {
    let ReadHistory { shard_id, branch, min_node_id, max_node_id, limit: _ } = request;
    let mut bytes = Vec::new();
    bytes.extend(shard_id.0.to_be_bytes());
    bytes.extend(branch.tree_id.0.as_bytes());
    for range in branch.ranges(*max_node_id) {
        bytes.extend(range.branch_id.0.as_bytes());
        bytes.extend(range.begin_node_id.to_be_bytes());
        bytes.extend(range.end_node_id.to_be_bytes());
    }
    bytes.extend(min_node_id.to_be_bytes());
    fnv1a(bytes)
}

#[cfg(test)]
mod tests {
    use temporal_dsql_domain::{BranchId, HistoryBranch, ShardId, TreeId};
    use uuid::Uuid;

    use super::*;
    use crate::page::{PageKey, assert_is_serialized};

    fn request() -> ReadHistory {
        let root = HistoryBranch::root(TreeId(Uuid::from_u128(7)), BranchId(Uuid::from_u128(1)));
        ReadHistory {
            shard_id: ShardId(3),
            branch: root.fork(6, BranchId(Uuid::from_u128(2))).unwrap(),
            min_node_id: 1,
            max_node_id: 100,
            limit: 10,
        }
    }

    fn tokens() -> Vec<PageToken> {
        let position = NodePosition { node_id: 5, txn_id: i64::MAX };
        let valid = NodePosition { node_id: i64::MIN, txn_id: -1 };
        let mut tokens = Vec::new();
        for order in ORDERS {
            for after in [None, Some(position)] {
                let first = PageToken::first(&request(), order, valid);
                tokens.push(PageToken { range: 1, after, ..first });
            }
        }
        tokens
    }

    #[test]
    fn a_token_is_serialized() {
        for token in tokens() {
            assert_is_serialized(&token);
        }
    }

    /// Clients may keep tokens across an upgrade of the service, so the bytes are fixed.
    #[test]
    fn the_bytes_of_version_1_stay_the_same() {
        let bytes = tokens()[1].to_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "0100b05996bea6b8623c000000010100000000000000057fffffffffffffff8000000000000000\
             ffffffffffffffffedf94b8c83831240"
        );
    }

    #[test]
    fn a_token_is_valid_for_its_read_with_any_page_size() {
        let (request, other_branch) = (request(), BranchId(Uuid::from_u128(9)));
        let valid = NodePosition { node_id: 0, txn_id: 0 };
        let token = PageToken::first(&request, NodeOrder::Forward, valid);
        token.check(&ReadHistory { limit: 1, ..request.clone() }, NodeOrder::Forward).unwrap();
        let mut others = vec![
            ReadHistory { shard_id: ShardId(4), ..request.clone() },
            ReadHistory { min_node_id: 2, ..request.clone() },
            ReadHistory { max_node_id: 99, ..request.clone() },
        ];
        let branch = &request.branch;
        for branch in [
            HistoryBranch { branch_id: other_branch, ..branch.clone() },
            HistoryBranch { tree_id: TreeId(Uuid::nil()), ..branch.clone() },
            HistoryBranch::root(branch.tree_id, branch.branch_id),
        ] {
            others.push(ReadHistory { branch, ..request.clone() });
        }
        for other in others {
            let error = token.check(&other, NodeOrder::Forward).unwrap_err();
            assert!(error.reason.contains("another branch"), "{error}");
        }
        let error = token.check(&request, NodeOrder::Reverse).unwrap_err();
        assert!(error.reason.contains("other direction"), "{error}");
    }
}

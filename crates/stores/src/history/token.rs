//! Page tokens of history reads, and their serialization.

use bytes::Buf;
use temporal_dsql_domain::{InvalidValue, NodeOrder, NodePosition};

use super::ReadHistory;

/// The position where a page of a history ended. Callers pass it back to read the next page.
///
/// A token is valid for the same direction, shard, branch, and first and last node. The page size may
/// change.
///
/// A service that returns tokens to its clients serializes them with [`to_bytes`](Self::to_bytes).
/// The bytes have a checksum and no signature: a client that forges a token can read any page of the
/// request that it is used with, and nothing else.
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

/// The version of the serialization, in the first byte.
const VERSION: u8 = 1;
const ORDERS: [NodeOrder; 2] = [NodeOrder::Forward, NodeOrder::Reverse];
/// Version, order, fingerprint, range, whether `after` is set, two positions, checksum.
const LENGTH: usize = 1 + 1 + 8 + 4 + 1 + 16 + 16 + 8;
const CHECKED: usize = LENGTH - 8;

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

    /// Serializes the token. Later versions of this crate accept the bytes of earlier ones, or refuse
    /// them with an error.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend([VERSION, u8::from(self.order == NodeOrder::Reverse)]);
        bytes.extend(self.fingerprint.to_be_bytes());
        bytes.extend(self.range.to_be_bytes());
        bytes.push(u8::from(self.after.is_some()));
        let none = NodePosition { node_id: 0, txn_id: 0 };
        for position in [self.after.unwrap_or(none), self.valid] {
            bytes.extend(position.node_id.to_be_bytes());
            bytes.extend(position.txn_id.to_be_bytes());
        }
        bytes.extend(fnv1a(&bytes).to_be_bytes());
        bytes
    }

    /// Deserializes a token.
    ///
    /// # Errors
    /// The bytes are not a page token, are damaged, or have another version. Converted to a
    /// [`StoreError`](temporal_dsql_ports::StoreError), it is `InvalidArgument`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidValue> {
        match bytes.first() {
            None => return Err(invalid("is empty")),
            Some(&VERSION) => {}
            Some(version) => return Err(invalid(&format!("is of version {version}"))),
        }
        let bytes: &[u8; LENGTH] = bytes
            .try_into()
            .map_err(|_| invalid(&format!("is {} bytes long, not {LENGTH}", bytes.len())))?;
        let (content, checksum) = bytes.split_at(CHECKED);
        if checksum != fnv1a(content).to_be_bytes() {
            return Err(invalid("is damaged"));
        }
        let mut fields = &content[1..];
        let order =
            ORDERS.get(usize::from(fields.get_u8())).ok_or_else(|| invalid("is damaged"))?;
        let (fingerprint, range) = (fields.get_u64(), fields.get_u32());
        let has_after = fields.get_u8() == 1;
        let mut position = || NodePosition { node_id: fields.get_i64(), txn_id: fields.get_i64() };
        let [after, valid] = [position(), position()];
        Ok(Self { order: *order, fingerprint, range, after: has_after.then_some(after), valid })
    }
}

fn invalid(reason: &str) -> InvalidValue {
    InvalidValue::new("page_token", reason)
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
    fnv1a(&bytes)
}

/// The 64-bit FNV-1a hash. Changing one byte always changes it.
fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use temporal_dsql_domain::{BranchId, HistoryBranch, ShardId, TreeId};
    use uuid::Uuid;

    use super::*;

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
    fn a_token_is_read_back_from_its_bytes() {
        for token in tokens() {
            assert_eq!(PageToken::from_bytes(&token.to_bytes()).unwrap(), token);
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
    fn bytes_that_are_damaged_or_of_another_version_are_refused() {
        let refused = |bytes: &[u8], why: &str| {
            let error = PageToken::from_bytes(bytes).unwrap_err();
            assert_eq!(error.field, "page_token");
            assert!(error.reason.contains(why), "{error}");
        };
        for token in tokens() {
            let bytes = token.to_bytes();
            refused(&[], "is empty");
            for length in 1..bytes.len() {
                refused(&bytes[..length], "bytes long");
            }
            refused(&[&bytes[..], &[0]].concat(), "bytes long");
            for at in 1..bytes.len() {
                for bit in 0..8 {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= 1 << bit;
                    refused(&damaged, "is damaged");
                }
            }
            for version in [0, 2, u8::MAX] {
                let mut other = bytes.clone();
                other[0] = version;
                refused(&other, &format!("version {version}"));
            }
        }
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

//! Pages of lists, and the serialization of the keys at which they continue.
//!
//! A token is the version, the fields of the key, and a checksum of both and of the name of the list.

use bytes::{Buf, BufMut};
use temporal_dsql_domain::{
    BranchId, BranchKey, ClusterName, HostId, InvalidValue, NamespaceId, NexusEndpointId,
    QueueName, ScheduledKey, ShardId, TaskLevel, TaskQueueId, TaskQueueKey, TaskQueueKind,
    TaskQueueName, Timestamp, TreeId,
};
use uuid::Uuid;

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, K> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// Where the next page begins, to pass back to the method that returned this one; `None` on the
    /// last page. A [`PageKey`] can be serialized.
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// The page of `items`, of which a statement reads at most `limit`. If they are as many, the next
    /// page begins at the key that `next` returns for the last item.
    pub(crate) fn new(items: Vec<T>, limit: u32, next: impl FnOnce(&T) -> Option<K>) -> Self {
        let next = items.last().filter(|_| items.len() >= limit as usize).and_then(next);
        Self { items, next }
    }
}

/// A position in a list, where its next page begins.
///
/// A service that returns page tokens to its clients serializes the key with
/// [`to_bytes`](Self::to_bytes). The bytes have a checksum and no signature: a client that forges a
/// token can read any page of the request that it is used with, and nothing else.
///
/// The ids of tasks and of messages are `i64`. A token does not contain the request that returned
/// it, except that of a history ([`PageToken`](crate::PageToken)).
pub trait PageKey: KeyFields {
    /// Serializes the key. Later versions of this crate accept the bytes of earlier ones, or refuse
    /// them with an error.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        self.put(&mut bytes);
        let checksum = checksum(Self::LIST, &bytes);
        bytes.put_u64(checksum);
        bytes
    }

    /// Deserializes a key.
    ///
    /// # Errors
    /// The bytes are not a page token, are damaged, have another version, or are of a list with other
    /// keys. Converted to a [`StoreError`](temporal_dsql_ports::StoreError), it is `InvalidArgument`.
    fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidValue> {
        match bytes.first() {
            None => return Err(invalid("is empty")),
            Some(&VERSION) => {}
            Some(version) => return Err(invalid(format!("is of version {version}"))),
        }
        let damaged =
            || invalid(format!("is damaged, or of another list; it is {} bytes long", bytes.len()));
        let (content, sum) = bytes.split_last_chunk().ok_or_else(damaged)?;
        if content.is_empty() || *sum != checksum(Self::LIST, content).to_be_bytes() {
            return Err(damaged());
        }
        let mut fields = &content[1..];
        let key = Self::get(&mut fields).ok_or_else(damaged)?;
        if fields.is_empty() { Ok(key) } else { Err(damaged()) }
    }
}

impl<K: KeyFields> PageKey for K {}

/// The fields of a key, and the name of the lists that it belongs to.
pub trait KeyFields: Sized {
    /// The name of the lists with such keys. It is part of the checksum.
    const LIST: &'static str;

    /// Adds the fields to `bytes`.
    fn put(&self, bytes: &mut Vec<u8>);

    /// Takes the fields from the beginning of `bytes`; `None` if they are not there.
    fn get(bytes: &mut &[u8]) -> Option<Self>;
}

/// The version of the serialization, in the first byte.
const VERSION: u8 = 1;

pub(crate) fn invalid(reason: impl Into<String>) -> InvalidValue {
    InvalidValue::new("page_token", reason)
}

fn checksum(list: &str, content: &[u8]) -> u64 {
    fnv1a(list.bytes().chain(content.iter().copied()))
}

/// The 64-bit FNV-1a hash. Changing one byte always changes it.
pub(crate) fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.into_iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// Takes a UUID from the beginning of `bytes`.
fn get_uuid(bytes: &mut &[u8]) -> Option<Uuid> {
    bytes.try_get_u128().ok().map(Uuid::from_u128)
}

impl KeyFields for i64 {
    const LIST: &'static str = "id";

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.put_i64(*self);
    }

    fn get(bytes: &mut &[u8]) -> Option<Self> {
        bytes.try_get_i64().ok()
    }
}

impl KeyFields for ScheduledKey {
    const LIST: &'static str = "scheduled_tasks";

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.put_i64(self.visibility_timestamp.unix_micros());
        bytes.put_i64(self.task_id);
    }

    fn get(bytes: &mut &[u8]) -> Option<Self> {
        let micros = bytes.try_get_i64().ok()?;
        let visibility_timestamp = Timestamp::from_unix_micros(micros).ok()?;
        Some(Self { visibility_timestamp, task_id: bytes.try_get_i64().ok()? })
    }
}

impl KeyFields for BranchKey {
    const LIST: &'static str = "history_tree";

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.put_i32(self.shard_id.0);
        bytes.put_slice(self.tree_id.0.as_bytes());
        bytes.put_slice(self.branch_id.0.as_bytes());
    }

    fn get(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            shard_id: ShardId(bytes.try_get_i32().ok()?),
            tree_id: TreeId(get_uuid(bytes)?),
            branch_id: BranchId(get_uuid(bytes)?),
        })
    }
}

/// Implements [`KeyFields`] for a type of the domain whose only field is a text. The text is the
/// rest of the key.
macro_rules! text_key {
    ($name:ident, $list:literal) => {
        impl KeyFields for $name {
            const LIST: &'static str = $list;

            fn put(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.as_str().as_bytes());
            }

            fn get(bytes: &mut &[u8]) -> Option<Self> {
                let text = std::str::from_utf8(std::mem::take(bytes)).ok()?;
                Self::new(text).ok()
            }
        }
    };
}

/// Implements [`KeyFields`] for a type of the domain whose only field is a UUID.
macro_rules! uuid_key {
    ($name:ident, $list:literal) => {
        impl KeyFields for $name {
            const LIST: &'static str = $list;

            fn put(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.0.as_bytes());
            }

            fn get(bytes: &mut &[u8]) -> Option<Self> {
                get_uuid(bytes).map(Self)
            }
        }
    };
}

impl KeyFields for TaskQueueKey {
    const LIST: &'static str = "task_queues";

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.put_u8(u8::from(self.kind == TaskQueueKind::Fair));
        bytes.put_u32(self.range_hash);
        bytes.put_slice(self.task_queue_id.0.as_bytes());
    }

    fn get(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            kind: *TaskQueueKind::ALL.get(usize::from(bytes.try_get_u8().ok()?))?,
            range_hash: bytes.try_get_u32().ok()?,
            task_queue_id: TaskQueueId(get_uuid(bytes)?),
        })
    }
}

impl KeyFields for TaskLevel {
    const LIST: &'static str = "tasks";

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.put_i64(self.pass);
        bytes.put_i64(self.task_id);
    }

    fn get(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self { pass: bytes.try_get_i64().ok()?, task_id: bytes.try_get_i64().ok()? })
    }
}

uuid_key!(NamespaceId, "namespaces");
uuid_key!(HostId, "cluster_membership");
uuid_key!(NexusEndpointId, "nexus_endpoints");
text_key!(ClusterName, "cluster_metadata_info");
text_key!(TaskQueueName, "task_queue_user_data");
text_key!(QueueName, "queues");

/// Checks that a key is read back from its bytes, and that damaged bytes, bytes of another version,
/// and bytes of a list with other keys are refused.
#[cfg(test)]
pub(crate) fn assert_is_serialized<K: PageKey + PartialEq + std::fmt::Debug>(key: &K) {
    struct Other;
    impl KeyFields for Other {
        const LIST: &'static str = "another list";
        fn put(&self, _: &mut Vec<u8>) {}
        fn get(bytes: &mut &[u8]) -> Option<Self> {
            *bytes = &[];
            Some(Self)
        }
    }

    let refused = |bytes: &[u8], why: &str| {
        let error = K::from_bytes(bytes).unwrap_err();
        assert_eq!(error.field, "page_token");
        assert!(error.reason.contains(why), "{error}");
    };
    let bytes = key.to_bytes();
    assert_eq!(K::from_bytes(&bytes).unwrap(), *key);
    refused(&[], "is empty");
    for length in 1..bytes.len() {
        refused(&bytes[..length], &format!("{length} bytes long"));
    }
    refused(&[&bytes[..], &[0]].concat(), "bytes long");
    for at in 1..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            refused(&damaged, "is damaged");
        }
    }
    for version in [0, VERSION + 1, u8::MAX] {
        let mut other = bytes.clone();
        other[0] = version;
        refused(&other, &format!("version {version}"));
    }
    assert!(Other::from_bytes(&bytes).is_err(), "{key:?}");
    let checked = [&[VERSION][..], &checksum(K::LIST, &[VERSION]).to_be_bytes()].concat();
    if let Ok(empty) = K::from_bytes(&checked) {
        assert_eq!(empty.to_bytes(), checked, "only an empty text has no fields");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_serialized() {
        for id in [i64::MIN, 0, i64::MAX] {
            assert_is_serialized(&id);
            for visibility_timestamp in [Timestamp::MIN, Timestamp::MAX] {
                assert_is_serialized(&ScheduledKey { visibility_timestamp, task_id: id });
            }
        }
        assert_is_serialized(&BranchKey {
            shard_id: ShardId(-3),
            tree_id: TreeId(Uuid::from_u128(7)),
            branch_id: BranchId(Uuid::max()),
        });
        for kind in TaskQueueKind::ALL {
            assert_is_serialized(&TaskQueueKey::of_upstream_id(kind, b"queue"));
            assert_is_serialized(&kind.end_level());
        }
        assert_is_serialized(&TaskQueueName::new("q").unwrap());
        assert_is_serialized(&NamespaceId(Uuid::from_u128(1)));
        assert_is_serialized(&HostId(Uuid::from_u128(1)));
        assert_is_serialized(&NexusEndpointId(Uuid::max()));
        assert_is_serialized(&ClusterName::new("east").unwrap());
        for name in ["queue", "転"] {
            assert_is_serialized(&QueueName::new(name).unwrap());
        }
    }

    /// Clients may keep tokens across an upgrade of the service, so the bytes are fixed.
    #[test]
    fn the_bytes_of_version_1_stay_the_same() {
        let hex =
            |bytes: Vec<u8>| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
        assert_eq!(hex(7_i64.to_bytes()), "0100000000000000077a3db0690267dad2");
        let key = ScheduledKey { visibility_timestamp: Timestamp::UNIX_EPOCH, task_id: -1 };
        assert_eq!(hex(key.to_bytes()), "010000000000000000ffffffffffffffffd3d6e70ffcd2e9dc");
    }

    #[test]
    fn a_full_page_has_a_next_key_and_a_shorter_one_has_none() {
        let page = |items: &[i64]| Page::new(items.to_vec(), 2, |last| last.checked_add(1)).next;
        assert_eq!(page(&[]), None);
        assert_eq!(page(&[1]), None);
        assert_eq!(page(&[1, 2]), Some(3));
        assert_eq!(page(&[1, i64::MAX]), None, "no key follows");
    }
}

//! What a request costs before it is refused or read: never more than a few times its size.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{BufMut as _, Bytes, BytesMut};
use proptest::prelude::*;
use prost::{Message, Name};
use shoal_proto::{
    codec::{COST_FREE_BYTES, COST_PER_BYTE, decode},
    v1::*,
};
use tonic::Code;

/// Counts the bytes that are allocated now, and the most that there were.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
/// One test counts at a time.
static COUNTS: Mutex<()> = Mutex::new(());

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: what the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: what the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Reads a request; the most bytes that were allocated for it, its own included.
fn cost<M: Message + Default + Name>(request: &Bytes) -> (usize, Result<M, tonic::Status>) {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let read = decode::<M>(request.clone());
    (request.len() + MOST.load(Ordering::Relaxed) - before, read)
}

#[track_caller]
fn is_cheap<M: Message + Default + Name>(request: &Bytes) -> bool {
    let (cost, read) = cost::<M>(request);
    let most = COST_PER_BYTE * request.len() + COST_FREE_BYTES;
    // A vector that grows has its old place and its new one for a moment.
    assert!(cost <= most + most / 2, "{}: {} bytes cost {cost}", M::NAME, request.len());
    if let Err(refused) = &read {
        assert_eq!(refused.code(), Code::InvalidArgument, "{}: {refused:?}", M::NAME);
    }
    read.is_ok()
}

fn tag(field: u32, wire: u32) -> u8 {
    u8::try_from(field << 3 | wire).unwrap_or(0x0a)
}

/// So many empty parts in a field, and in a field of each part of another.
fn spam(field: u32, count: usize) -> Bytes {
    let mut bytes = BytesMut::new();
    for _ in 0..count {
        bytes.put_slice(&[tag(field, 2), 0]);
    }
    bytes.freeze()
}

fn within(field: u32, inner: &Bytes) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(tag(field, 2));
    prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
    bytes.put_slice(inner);
    bytes.freeze()
}

fn every_spam_is_cheap<M: Message + Default + Name>() {
    for field in 1..=15 {
        let spammed = spam(field, 500_000);
        is_cheap::<M>(&spammed);
        // Numbers that are packed, and parts of parts.
        is_cheap::<M>(&within(field, &Bytes::from(vec![1; 1 << 20])));
        let fewer = spam(field, 50_000);
        for outer in 1..=15 {
            is_cheap::<M>(&within(outer, &fewer));
        }
    }
}

#[test]
fn a_million_empty_parts_cost_little_whatever_they_are_parts_of() {
    let _alone = COUNTS.lock().unwrap();
    // What the review did: 1 MiB of empty queries made 456 MiB of a worker.
    let (cost, read) = cost::<TopItemsManyRequest>(&spam(3, 500_000));
    assert!(cost < 2 * COST_FREE_BYTES, "{cost}");
    assert!(read.unwrap_err().message().contains("send fewer at a time"));
    every_spam_is_cheap::<TopItemsManyRequest>();
    every_spam_is_cheap::<LookupUsersRequest>();
    every_spam_is_cheap::<StepRequest>();
    every_spam_is_cheap::<HeartbeatRequest>();
    every_spam_is_cheap::<RegisterModelRequest>();
    every_spam_is_cheap::<ImportDatasetRequest>();
    every_spam_is_cheap::<StartTrainingRequest>();
    every_spam_is_cheap::<StartListsRequest>();
    every_spam_is_cheap::<RecommendBatchRequest>();
    every_spam_is_cheap::<RecommendForItemsRequest>();
    every_spam_is_cheap::<RecordBatch>();
    every_spam_is_cheap::<FactorChunk>();
}

fn id(number: i64) -> EntityId {
    EntityId { kind: Some(entity_id::Kind::Integer(number)) }
}

/// The largest requests that are honest are read.
#[test]
fn honest_requests_are_read() {
    let _alone = COUNTS.lock().unwrap();
    let ids = |count: i64| (0..count).map(id).collect::<Vec<_>>();
    let read = |bytes: Vec<u8>, is_read: fn(&Bytes) -> bool| assert!(is_read(&bytes.into()));
    let lookup = LookupUsersRequest { users: ids(1_000), ..LookupUsersRequest::default() };
    read(lookup.encode_to_vec(), is_cheap::<LookupUsersRequest>);
    let batch = RecommendBatchRequest { user_ids: ids(1_000), ..RecommendBatchRequest::default() };
    read(batch.encode_to_vec(), is_cheap::<RecommendBatchRequest>);
    // A pass of queries, each with the longest filter that there can be and a user who has seen much.
    let filter = ItemFilter {
        genres: vec!["Comedy".to_owned(); 50],
        exclude_ids: ids(1_000),
        ..ItemFilter::default()
    };
    let query = TopItemsRequest {
        exclude_rows: vec![7; 40_000].into(),
        filter: Some(filter),
        ..TopItemsRequest::default()
    };
    let pass = TopItemsManyRequest { queries: vec![query; 64], ..TopItemsManyRequest::default() };
    read(pass.encode_to_vec(), is_cheap::<TopItemsManyRequest>);
    // An import of as many parts as a source may have, and owners of as many shards.
    let file = SourceFile {
        uri: "part-00000.csv".to_owned(),
        length_bytes: 1 << 30,
        columns: vec![0, 1, 2, 3],
        values: Some(ValueRules { null_words: vec!["NULL".to_owned(); 4], ..ValueRules::default() }),
        ..SourceFile::default()
    };
    let owner = ShardOwner { node: "worker-1".to_owned(), shard: 4_000, ..ShardOwner::default() };
    let begin =
        IngestBegin { files: vec![file; 10_000], owners: vec![owner; 8_192], ..IngestBegin::default() };
    let step = step_request::Step::IngestBegin(begin);
    let step = StepRequest { job_id: "job-000001".to_owned(), step: Some(step), ..StepRequest::default() };
    read(step.encode_to_vec(), is_cheap::<StepRequest>);
}

#[test]
fn what_is_no_protobuf_is_its_senders_mistake() {
    let _alone = COUNTS.lock().unwrap();
    for bytes in [&[0x0a, 5][..], &[0x0b], &[0xff; 20], &[0x0a, 1, 0xff], &[0x0d, 1]] {
        let refused = decode::<LookupUserRequest>(Bytes::copy_from_slice(bytes)).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_cheap(parts in proptest::collection::vec((1_u32..16, 0_u32..6, proptest::collection::vec(any::<u8>(), 0..40)), 0..200)) {
        let _alone = COUNTS.lock().unwrap();
        let mut bytes = BytesMut::new();
        for (field, wire, value) in parts {
            bytes.put_u8(tag(field, wire));
            if wire == 2 {
                bytes.put_u8(value.len() as u8);
            }
            bytes.put_slice(&value);
        }
        let bytes = bytes.freeze();
        is_cheap::<TopItemsManyRequest>(&bytes);
        is_cheap::<StepRequest>(&bytes);
        is_cheap::<HeartbeatRequest>(&bytes);
    }
}

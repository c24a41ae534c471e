//! The store through its methods: what is put, got and refused.

use object_store::{
    memory::InMemory,
    throttle::{ThrottleConfig, ThrottledStore},
};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_deleted_stays_so_although_writes_to_it_were_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    let bytes = Bytes::from(vec![7_u8; 64 * 1024]);
    for round in 0..200 {
        let path = format!("job/part-{round}");
        // Begun, and given up at once.
        let put = store.put(&path, bytes.clone());
        assert!(futures::poll!(std::pin::pin!(put)).is_pending());
        store.delete_folder("job").await.unwrap();
    }
    assert_eq!(store.list("job").await.unwrap(), []);
}

#[tokio::test]
async fn what_is_put_is_got_and_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    let entry = store.put("a/b.bin", Bytes::from_static(b"factors")).await.unwrap();
    let entry = ObjectEntry { path: "b.bin".into(), ..entry };
    assert_eq!(store.get_verified("a", &entry).await.unwrap(), "factors");

    std::fs::write(folder.path().join("a/b.bin"), b"factorz").unwrap();
    let error = store.get_verified("a", &entry).await.unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
    assert!(store.get("a/none").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn of_two_writers_of_a_new_object_one_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    let (first, second) = tokio::join!(
        store.put_new("a/claim", Bytes::from_static(b"first")),
        store.put_new("a/claim", Bytes::from_static(b"second"))
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.is_some() != second.is_some());
    let kept = if first.is_some() { "first" } else { "second" };
    assert_eq!(store.get("a/claim").await.unwrap(), kept);
}

/// What a manifest, a message or a person may call an object, and what none of them may.
#[tokio::test]
async fn nothing_is_done_with_a_path_that_leads_out_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let beside = folder.path().join("beside");
    std::fs::create_dir(&beside).unwrap();
    std::fs::write(beside.join("a"), b"do not lose me").unwrap();
    let store = Store::open(folder.path().join("store").to_str().unwrap()).unwrap();
    let absolute = beside.to_str().unwrap();
    for path in ["../beside", "x/../../beside", absolute, "/", "", "x//y", "./x", "x\0y", &"x".repeat(2_000)]
    {
        let is_refused = |outcome: Result<(), StoreError>| matches!(outcome, Err(StoreError::Path { .. }));
        let inside = join(path, "a");
        assert!(is_refused(store.delete_folder(path).await), "{path:?}");
        assert!(is_refused(store.point_latest(path, "target").await), "{path:?}");
        assert!(is_refused(store.point_latest("link", path).await), "{path:?}");
        if !path.is_empty() {
            assert!(is_refused(store.put(&inside, Bytes::new()).await.map(|_| ())), "{path:?}");
            assert!(is_refused(store.put_new(&inside, Bytes::new()).await.map(|_| ())), "{path:?}");
            assert!(is_refused(store.get(&inside).await.map(|_| ())), "{path:?}");
            assert!(is_refused(store.get_range(&inside, 0..1).await.map(|_| ())), "{path:?}");
            assert!(is_refused(store.delete(&inside).await), "{path:?}");
            assert!(is_refused(store.file_path(&inside).map(|_| ())), "{path:?}");
            assert!(is_refused(store.list(path).await.map(|_| ())), "{path:?}");
            assert!(is_refused(store.list_entries(path).await.map(|_| ())), "{path:?}");
        }
    }
    assert_eq!(std::fs::read(beside.join("a")).unwrap(), b"do not lose me");
    assert!(store.list("").await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_not_waited_for_without_end() {
    let never = Duration::from_secs(1 << 30);
    let throttle = ThrottleConfig {
        wait_delete_per_call: never,
        wait_get_per_call: never,
        wait_list_per_call: never,
        wait_list_with_delimiter_per_call: never,
        wait_put_per_call: never,
        ..ThrottleConfig::default()
    };
    let objects = Arc::new(ThrottledStore::new(InMemory::new(), throttle));
    let store = Store::of(objects, "s3://hangs", Pulse::default());
    let bytes = Bytes::from_static(b"x");
    let outcomes = [
        store.get("a").await.map(drop),
        store.get_range("a", 0..1).await.map(drop),
        store.put("a", bytes.clone()).await.map(drop),
        store.put_new("a", bytes).await.map(drop),
        store.list("").await.map(drop),
        store.list_entries("f").await.map(drop),
        store.delete("a").await,
        store.delete_folder("f").await,
    ];
    for (number, outcome) in outcomes.iter().enumerate() {
        let error = outcome.as_ref().unwrap_err();
        assert!(matches!(error, StoreError::Slow { .. }), "{number}: {error}");
    }
}

#[tokio::test]
async fn a_pipe_in_the_store_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status();
    assert!(made.unwrap().success());
    assert!(matches!(store.get("pipe").await, Err(StoreError::File { .. })));
    assert!(matches!(store.get_range("pipe", 0..1).await, Err(StoreError::File { .. })));
}

/// Sparse files of a terabyte: whoever read them first would have no memory left to refuse them.
#[tokio::test]
async fn what_is_too_long_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    let entry = store.put("m/part", Bytes::from_static(b"rows")).await.unwrap();
    let entry = ObjectEntry { path: "part".into(), ..entry };
    for name in ["live.json", "m/manifest.json", "m/part"] {
        let file = std::fs::File::create(folder.path().join(name)).unwrap();
        file.set_len(1 << 40).unwrap();
    }
    let refused = [
        LiveVersions::read(&store).await.map(drop),
        Manifest::read(&store, "m", "").await.map(drop),
        store.get_verified("m", &entry).await.map(drop),
    ];
    for outcome in refused {
        let error = outcome.unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("it has 1099511627776 bytes"), "{error}");
    }
}

#[tokio::test]
async fn deleting_a_folder_twice_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    store.put("x/1", Bytes::from_static(b"1")).await.unwrap();
    store.delete_folder("x").await.unwrap();
    store.delete_folder("x").await.unwrap();
    assert!(store.list("x").await.unwrap().is_empty());
}

#[test]
fn an_unknown_scheme_is_refused_with_the_remedy() {
    let error = Store::open("ftp://somewhere").unwrap_err();
    assert!(error.to_string().contains("file:///"), "{error}");
}

/// Parts that are sent at the same time come together in the order of the object.
#[tokio::test]
async fn a_large_object_goes_in_parts_and_is_whole() {
    let objects = Arc::new(InMemory::new());
    let store = Store::of(Arc::clone(&objects) as Arc<dyn ObjectStore>, "s3://bucket", Pulse::default());
    let large: Bytes = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let entry = store.put("a/large", large.clone()).await.unwrap();
    assert_eq!((entry.length_bytes, store.get("a/large").await.unwrap() == large), (20_000_000, true));
    assert_eq!(store.list("a").await.unwrap(), [("a/large".to_owned(), 20_000_000)]);
}

#[test]
fn an_address_of_s3_is_opened_with_options_and_refused_with_a_reason() {
    let open = |uri: &str, options: &[(&str, &str)]| {
        Store::open_with(uri, &StoreOptions::from_iter(options.iter().copied())).map(drop)
    };
    open(
        "s3://bucket/prefix",
        &[("region", "eu-west-1"), ("aws_endpoint", "http://127.0.0.1:9"), ("allow_http", "true")],
    )
    .unwrap();
    for (uri, options, word) in [
        ("s3://bucket", &[("reigon", "x")][..], "'region'"),
        ("s3://bucket", &[("access_key_id", "k")], "SecretAccessKey"),
        ("s3://bucket", &[("ca_bundle", "/nowhere.pem")], "/nowhere.pem"),
        ("s3://bucket", &[("endpoint", "http://127.0.0.1:9")], "allow_http=true"),
        ("s3://bucket", &[("endpoint", "http://127.0.0.1:9"), ("allow_http", "false")], "allow_http=true"),
        ("gs://bucket", &[], "s3://"),
    ] {
        let error = open(uri, options).unwrap_err().to_string();
        assert!(error.contains(word), "{uri}: {error}");
    }
}

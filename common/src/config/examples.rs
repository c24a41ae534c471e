//! An example of each setting, as it is written in a file.

/// Keys and examples of their values, as TOML.
const EXAMPLES: &[(&str, &str)] = &[
    ("node.cluster_id", "\"shop\""),
    ("node.name", "\"worker-1\""),
    ("node.listen", "\"10.0.0.11:7001\""),
    ("node.advertise", "\"worker-1.example.org:7001\""),
    ("node.data_dir", "\"/var/lib/shoal\""),
    ("node.store", "\"/mnt/shoal\""),
    ("node.store_options", "{ aws_region = \"eu-west-1\" }"),
    ("node.coordinators", "[\"10.0.0.1:7000\", \"10.0.0.2:7000\", \"10.0.0.3:7000\"]"),
    ("node.metrics_listen", "\"10.0.0.11:9464\""),
    ("node.connections", "8192"),
    ("node.log_format", "\"json\""),
    ("node.log", "\"info,shoal_worker=debug\""),
    ("node.seed", "7"),
    ("node.certs", "\"/etc/shoal\""),
    ("node.tls.ca", "\"/etc/shoal/ca.pem\""),
    ("node.tls.certificate", "\"/etc/shoal/worker-1.pem\""),
    ("node.tls.key", "\"/etc/shoal/worker-1.key\""),
    ("node.tls.revoked", "\"/etc/shoal/revoked.pem\""),
    ("node.tokens", "true"),
    ("node.insecure", "true"),
    ("node.audit", "\"/var/log/shoal/audit.log\""),
    ("node.audit_file_bytes", "16777216"),
    ("node.audit_files", "8"),
    ("coordinator.raft_id", "1"),
    ("coordinator.peers", "{ 1 = \"10.0.0.1:7000\", 2 = \"10.0.0.2:7000\", 3 = \"10.0.0.3:7000\" }"),
    ("coordinator.replicas", "2"),
    ("coordinator.lease_ms", "3000"),
    ("coordinator.replace_after_ms", "30000"),
    ("coordinator.tick_ms", "100"),
    ("coordinator.snapshot_every_entries", "4096"),
    ("coordinator.first_token_file", "\"/etc/shoal/first.token\""),
    ("coordinator.queued_jobs", "64"),
    ("worker.training_threads", "4"),
    ("worker.serving_threads", "4"),
    ("worker.serving_queue", "256"),
    ("worker.import_roots", "[\"/data/ratings\"]"),
    ("worker.export_roots", "[\"/data/lists\"]"),
    ("router.http_listen", "\"10.0.0.21:8000\""),
    ("router.admin_listen", "\"127.0.0.1:8001\""),
    ("router.timeout_ms", "1000"),
    ("router.concurrency", "512"),
    ("router.hedge_after_ms", "5"),
    ("router.hedge_percent", "5"),
    ("router.cache_entries", "1000"),
    ("router.cache_bytes", "67108864"),
    ("router.cache_ttl_s", "3600"),
    ("router.hosts", "[\"shoal.example.org\"]"),
    ("router.cors_origins", "[\"https://example.org\"]"),
];

/// How a setting is written, as `key = value` below its section; `None` for a key that there is not.
pub(super) fn example(key: &str) -> Option<String> {
    let (key, value) = EXAMPLES.iter().find(|(known, _)| *known == key)?;
    let (section, name) = key.rsplit_once('.')?;
    Some(format!("{name} = {value} in [{section}]"))
}

/// The key that one was probably meant to be.
pub(super) fn nearest(key: &str) -> Option<&'static str> {
    let likeness = |known: &str| strsim::jaro_winkler(known, key);
    let (best, like) = EXAMPLES
        .iter()
        .map(|(known, _)| (*known, likeness(known)))
        .max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (like > 0.9).then_some(best)
}

#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    EXAMPLES.iter().copied()
}

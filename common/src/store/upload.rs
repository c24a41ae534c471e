//! Large objects go to remote stores in parts: a part that fails is sent again alone.

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart, path::Path};

/// A part's size: S3 takes at most 10,000 of at least 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// From this size on an object goes in parts.
const WHOLE_BYTES_MAX: usize = 2 * PART_BYTES;

/// Parts that are under way at once.
const PARTS_AT_ONCE: usize = 4;

/// Whether an object goes in parts.
pub(super) fn is_large(bytes: &Bytes) -> bool {
    bytes.len() > WHOLE_BYTES_MAX
}

/// Writes an object in parts; it is there whole, or not at all, and what was sent of one that failed is given up.
pub(super) async fn in_parts(
    objects: &dyn ObjectStore,
    key: &Path,
    mut bytes: Bytes,
) -> Result<(), object_store::Error> {
    let upload = objects.put_multipart(key).await?;
    let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
    while !bytes.is_empty() {
        if let Err(error) = upload.wait_for_capacity(PARTS_AT_ONCE).await {
            // The part's error is the one to report.
            let _ = upload.abort().await;
            return Err(error);
        }
        upload.put(bytes.split_to(bytes.len().min(PART_BYTES)));
    }
    upload.finish().await.map(drop)
}
